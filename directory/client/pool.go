package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

var (
	errTimeout = errors.New("no answer in time")
	errClosed  = errors.New("client is closed")
)

// A conn is one LDAP connection. It is used by one call at a time.
type conn struct {
	ldap   *ldap.Conn
	raw    net.Conn // below TLS: closing it ends a call that waits, which go-ldap itself cannot
	server *server
	used   time.Time // when it went idle
	reused bool      // it served a call before
}

// do runs op and cuts the connection when ctx ends first. It reports whether the connection can be used again.
func (c *conn) do(ctx context.Context, op func(*ldap.Conn) error) (alive bool, err error) {
	stop := context.AfterFunc(ctx, func() { c.raw.Close() })
	err = op(c.ldap)
	alive = stop() && answered(err)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return alive, err
}

// answered reports whether err is what a server said, and not a fault of the connection. go-ldap numbers its own faults
// from 200; a server that is shutting down says 52.
func answered(err error) bool {
	if err == nil {
		return true
	}
	var result *ldap.Error
	return errors.As(err, &result) && result.ResultCode < ldap.ErrorNetwork && result.ResultCode != ldap.LDAPResultUnavailable
}

// quit takes leave of the server and closes the connection, without waiting for a server that does not read.
func (c *conn) quit() {
	c.raw.SetDeadline(time.Now().Add(time.Second))
	c.ldap.Unbind()
	c.cut()
}

// cut closes the connection; a call that waits on it ends.
func (c *conn) cut() {
	c.raw.Close()
	c.ldap.Close()
}

// A pool bounds the connections of one kind and keeps the idle ones.
type pool struct {
	client *Client
	bind   func(*ldap.Conn) error // makes a fresh connection ours; nil = nothing to do
	slots  chan struct{}          // one for each connection in use

	mu   sync.Mutex // guards idle
	idle []*conn    // the longest idle first
}

func newPool(c *Client, size int, bind func(*ldap.Conn) error) *pool {
	return &pool{client: c, bind: bind, slots: make(chan struct{}, size)}
}

// run calls op with a connection of the pool, within the time a call may take. With retry set, op is run once more if an
// idle connection turns out to be dead: the server may have been started anew meanwhile. op must be repeatable then.
func (p *pool) run(ctx context.Context, name string, retry bool, op func(*ldap.Conn) error) (err error) {
	defer func(begun time.Time) {
		kind, _, _ := strings.Cut(name, " ")
		p.client.opts.Observe(kind, time.Since(begun), answered(err))
	}(time.Now())
	ctx, cancel := context.WithTimeoutCause(ctx, p.client.opts.Timeout, errTimeout)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(p.client.ctx, func() { end(errClosed) })()
	for {
		c, err := p.acquire(ctx)
		if err != nil {
			return err
		}
		alive, err := c.do(ctx, op)
		again := retry && !alive && c.reused && ctx.Err() == nil
		p.release(c, alive)
		if !alive && err != nil {
			p.dead(ctx, c.server, err)
		}
		if !again {
			return err
		}
		p.client.log.DebugContext(ctx, "ldap connection was stale", "op", name, "server", c.server.name, "err", err)
		retry = false
	}
}

// acquire waits for a free slot and returns an idle connection, or a new one.
func (p *pool) acquire(ctx context.Context) (*conn, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("all %d connections are busy: %w", cap(p.slots), context.Cause(ctx))
	}
	p.client.probe()
	for c := p.take(); c != nil; c = p.take() {
		// go-ldap reads all the time, so it knows already when the server has closed the connection.
		if !c.ldap.IsClosing() && !p.client.better(c.server) {
			c.reused = true
			return c, nil
		}
		c.quit()
	}
	c, err := p.client.dial(ctx, p.bind)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return c, nil
}

func (p *pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	c := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return c
}

// release gives the slot back, and the connection if it is alive.
func (p *pool) release(c *conn, alive bool) {
	if alive && p.client.ctx.Err() == nil {
		c.used = time.Now()
		p.mu.Lock()
		p.idle = append(p.idle, c)
		p.mu.Unlock()
	} else {
		c.cut()
	}
	<-p.slots
}

// dead closes what is idle of a server whose connection broke, since the rest of its age is probably broken too. A
// server that did not answer in time is left for the next one.
func (p *pool) dead(ctx context.Context, s *server, err error) {
	switch cause := context.Cause(ctx); {
	case cause == errTimeout:
		p.client.down(s, err)
	case cause != nil:
		return // the caller left: nothing is known of the server
	}
	p.discard(func(c *conn) bool { return c.server == s })
}

// drain closes what is idle, once nothing is in use any more.
func (p *pool) drain() {
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
	p.discard(func(*conn) bool { return true })
}

func (p *pool) discard(which func(*conn) bool) {
	p.mu.Lock()
	var kept, gone []*conn
	for _, c := range p.idle {
		if which(c) {
			gone = append(gone, c)
		} else {
			kept = append(kept, c)
		}
	}
	p.idle = kept
	p.mu.Unlock()
	for _, c := range gone {
		c.quit()
	}
}

// sweep closes connections that nobody used for a while, until the client closes.
func (c *Client) sweep() {
	tick := time.NewTicker(c.opts.IdleTime / 2)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			old := func(conn *conn) bool { return now.Sub(conn.used) >= c.opts.IdleTime }
			c.searches.discard(old)
			c.binds.discard(old)
		case <-c.ctx.Done():
			return
		}
	}
}
