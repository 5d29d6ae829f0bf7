package listen

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Options of a [Gate]. The zero value is usable; a negative number of connections is no limit.
type Options struct {
	Idle           time.Duration // longest wait for the next octet; 0 = 5 minutes (RFC 5321 section 4.5.3.2.7)
	Turn           time.Duration // longest time from our last word to the next, while a command is held with a second more for each 500 octets; 0 = no limit
	Life           time.Duration // longest life of a connection; 0 = 24 hours
	Write          time.Duration // longest time for the peer to take what one write sends; 0 = 1 minute
	MaxConns       int           // open at once; 0 = 5000
	MaxConnsOfPeer int           // open at once from one address, in IPv6 from one /64; 0 = 200. Not for unix sockets
	Refusal        string        // sent in the clear to a connection above a limit before it is closed; may be empty
	Log            *slog.Logger  // nil = discard
}

// A Gate counts and bounds the connections of one server, however many listeners it has. All methods may be called
// concurrently.
type Gate struct {
	opts Options
	done chan struct{} // closed when Shutdown begins

	mu        sync.Mutex // guards what follows
	closed    bool
	listeners map[*listener]bool
	conns     map[*conn]bool
	ofPeer    map[any]int    // by peerKey
	open      sync.WaitGroup // one for each of conns; grows only under mu, while not closed
}

// NewGate returns a Gate with no listeners.
func NewGate(opts Options) *Gate {
	defaultTo(&opts.Idle, 5*time.Minute)
	defaultTo(&opts.Life, 24*time.Hour)
	defaultTo(&opts.Write, time.Minute)
	defaultTo(&opts.MaxConns, 5000)
	defaultTo(&opts.MaxConnsOfPeer, 200)
	defaultTo(&opts.Log, slog.New(slog.DiscardHandler))
	return &Gate{
		opts:      opts,
		done:      make(chan struct{}),
		listeners: map[*listener]bool{},
		conns:     map[*conn]bool{},
		ofPeer:    map[any]int{},
	}
}

// Guard returns l with every connection it accepts counted and bounded. It is what the Serve method of a protocol
// library takes. After Shutdown l is closed at once.
func (g *Gate) Guard(l net.Listener) net.Listener {
	guarded := &listener{Listener: l, gate: g}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		l.Close()
	} else {
		g.listeners[guarded] = true
	}
	return guarded
}

// Shutdown closes the listeners, wakes every connection that waits in Read (see [ErrDraining] and [Hold]), and waits
// until all are closed. If ctx ends first, they are cut and ctx.Err() is returned.
func (g *Gate) Shutdown(ctx context.Context) error {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		close(g.done)
	}
	listeners, conns := slices.Collect(maps.Keys(g.listeners)), slices.Collect(maps.Keys(g.conns))
	g.mu.Unlock()

	for _, l := range listeners {
		l.Close()
	}
	for _, c := range conns {
		c.drain(ErrDraining)
	}
	cut := func() {
		for _, c := range conns {
			c.Close()
		}
	}
	defer context.AfterFunc(ctx, cut)()
	g.open.Wait()
	return ctx.Err()
}

// admit returns c guarded, or closes it when a limit is reached. An own connection, which came by no listener, is beyond
// the limits: strangers who take all the places must not shut out the server's own parts.
func (g *Gate) admit(c net.Conn, own bool) (*conn, bool) {
	guarded := &conn{
		Conn:  c,
		id:    freshID(),
		gate:  g,
		of:    peerKey(c.RemoteAddr()),
		idle:  g.opts.Idle,
		turn:  g.opts.Turn,
		spoke: time.Now(),
		end:   time.Now().Add(g.opts.Life),
		write: g.opts.Write,
	}
	switch reason := g.count(guarded, own); reason {
	case "":
		return guarded, true
	case reasonClosed:
	default:
		g.opts.Log.Info("connection refused", "peer", c.RemoteAddr().String(), "err", reason)
		c.SetWriteDeadline(time.Now().Add(time.Second))
		io.WriteString(c, g.opts.Refusal)
	}
	c.Close()
	return nil, false
}

const reasonClosed = "shutting down"

// count notes c as open, or says why it may not be.
func (g *Gate) count(c *conn, own bool) (reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return reasonClosed
	case own:
	case g.opts.MaxConns > 0 && len(g.conns) >= g.opts.MaxConns:
		return "too many connections"
	case g.opts.MaxConnsOfPeer > 0 && c.of != nil && g.ofPeer[c.of] >= g.opts.MaxConnsOfPeer:
		return "too many connections from this address"
	}
	g.conns[c] = true
	g.ofPeer[c.of]++
	g.open.Add(1)
	return ""
}

// release forgets c, once.
func (g *Gate) release(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.conns[c] {
		return
	}
	delete(g.conns, c)
	if g.ofPeer[c.of]--; g.ofPeer[c.of] == 0 {
		delete(g.ofPeer, c.of)
	}
	g.open.Done()
}

// An Account is the address of somebody on this machine who is known. His connections count together.
type Account interface {
	net.Addr
	Account() int // user id
}

// peerKey is what connections are counted by: an IPv4 address, or the /64 that one IPv6 subscriber has, or an account of this
// machine, but for root and our own. It is nil for unix sockets otherwise.
func peerKey(a net.Addr) any {
	if local, ok := a.(Account); ok {
		if uid := local.Account(); uid != 0 && uid != os.Getuid() {
			return uid
		}
		return nil
	}
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return nil
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return nil
	}
	return prefix
}

// A listener hands out the connections of the one below that its gate admits.
type listener struct {
	net.Listener
	gate *Gate
}

// Accept waits for the next connection that is within the limits. While the machine is out of descriptors or memory it
// waits and tries again.
func (l *listener) Accept() (net.Conn, error) {
	pause := backOff{done: l.gate.done}
	for {
		c, err := l.Listener.Accept()
		switch {
		case err == nil:
			if guarded, ok := l.gate.admit(c, false); ok {
				return guarded, nil
			}
		case passing(err):
			l.gate.opts.Log.Warn("accept", "addr", l.Addr().String(), "err", err)
			if !pause.wait() {
				return nil, net.ErrClosed
			}
		default:
			return nil, err
		}
	}
}

// A backOff is the time between two attempts to accept: longer after each failure, a second at most.
type backOff struct {
	done  <-chan struct{}
	delay time.Duration
}

// wait reports whether it is worth to try again: not when done is closed.
func (b *backOff) wait() bool {
	b.delay = min(max(2*b.delay, 5*time.Millisecond), time.Second)
	select {
	case <-time.After(b.delay):
		return true
	case <-b.done:
		return false
	}
}

func (b *backOff) reset() { b.delay = 0 }

// Close stops accepting; open connections stay.
func (l *listener) Close() error {
	l.gate.mu.Lock()
	delete(l.gate.listeners, l)
	l.gate.mu.Unlock()
	return l.Listener.Close()
}

// passing reports whether an error of accept says something about this moment and nothing about the listener.
func passing(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// defaultTo gives an option its default when it is not set.
func defaultTo[T comparable](option *T, value T) {
	var zero T
	if *option == zero {
		*option = value
	}
}
