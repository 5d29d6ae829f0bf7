package listen

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Limits of what stands before the first octet of a protocol.
const (
	headerTime  = 5 * time.Second // for the header to arrive
	headersOpen = 1000            // connections whose header is still to come; more are refused
)

// Forwarded returns l for a place behind forwarders, such as HAProxy, which tell by the PROXY protocol (versions 1 and
// 2) for whom they connect. Connections from a network of sources must begin with its header, and are from then on
// those of the client that it names; see [protocols.Peer] for what that does not prove. Connections from elsewhere must
// not begin with one. What is otherwise is closed, and logged. What it returns must be what [Gate.Guard] is given.
//
// Nobody is kept waiting by a header that does not come. The listener owns the goroutines that read headers; its Close
// waits for them.
func Forwarded(l net.Listener, sources []netip.Prefix, log *slog.Logger) net.Listener {
	f := &forwarding{
		Listener: l, sources: sources, log: log,
		ready: make(chan net.Conn), broken: make(chan struct{}), done: make(chan struct{}), waiting: map[net.Conn]bool{},
	}
	f.work.Go(f.accept)
	return f
}

// A forwarding is the listener that Forwarded returns.
type forwarding struct {
	net.Listener
	sources []netip.Prefix
	log     *slog.Logger

	ready  chan net.Conn // connections whose beginning is known
	broken chan struct{} // closed when fault is set
	fault  error         // why there are no more connections
	done   chan struct{} // closed by Close
	close  sync.Once
	work   sync.WaitGroup

	mu      sync.Mutex
	waiting map[net.Conn]bool // whose header is still to come; nil after Close
}

// Accept returns the next connection that begins as it should. Errors that pass are those of the listener below.
func (f *forwarding) Accept() (net.Conn, error) {
	select {
	case c := <-f.ready:
		return c, nil
	case <-f.broken:
		return nil, f.fault
	}
}

// Close stops accepting, and drops the connections whose header is still to come.
func (f *forwarding) Close() error {
	err := net.ErrClosed
	f.close.Do(func() {
		close(f.done)
		err = f.Listener.Close()
		f.mu.Lock()
		for c := range f.waiting {
			c.Close()
		}
		f.waiting = nil
		f.mu.Unlock()
	})
	f.work.Wait()
	return err
}

// accept takes connections from the listener below until it fails for good.
func (f *forwarding) accept() {
	pause := backOff{done: f.done}
	for {
		c, err := f.Listener.Accept()
		switch {
		case err == nil:
			pause.reset()
			f.begin(c)
		case passing(err) && pause.wait():
			f.log.Warn("accept", "addr", f.Addr().String(), "err", err)
		default:
			f.fault = err
			close(f.broken)
			return
		}
	}
}

// begin hands c on as soon as its beginning is known.
func (f *forwarding) begin(c net.Conn) {
	source := addrPort(c.RemoteAddr()).Addr().WithZone("")
	if !slices.ContainsFunc(f.sources, func(p netip.Prefix) bool { return p.Contains(source) }) {
		f.handOn(&unforwarded{Conn: c, log: f.log})
		return
	}
	f.mu.Lock()
	full := f.waiting == nil || len(f.waiting) >= headersOpen
	if !full {
		f.waiting[c] = true
		f.work.Add(1)
	}
	f.mu.Unlock()
	if full {
		c.Close()
		return
	}
	go func() {
		defer f.work.Done()
		named, err := readForwarded(c)
		f.mu.Lock()
		delete(f.waiting, c)
		f.mu.Unlock()
		if err != nil {
			f.log.Warn("forwarder refused", "peer", source.String(), "err", err)
			c.Close()
			return
		}
		f.handOn(named)
	}()
}

func (f *forwarding) handOn(c net.Conn) {
	select {
	case f.ready <- c:
	case <-f.done:
		c.Close()
	}
}

// A forwarded connection is one that a forwarder made for somebody else.
type forwarded struct {
	net.Conn
	in     *bufio.Reader // nil once empty; used by the one who reads
	remote net.Addr
	local  net.Addr
}

// readForwarded reads the header at the beginning of c.
func readForwarded(c net.Conn) (*forwarded, error) {
	if err := c.SetReadDeadline(time.Now().Add(headerTime)); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(c, maxHeader)
	h, err := readHeader(in)
	if err != nil {
		return nil, fmt.Errorf("PROXY header: %w", err)
	}
	f := &forwarded{Conn: c, in: in, remote: c.RemoteAddr(), local: c.LocalAddr()}
	if !h.own {
		f.remote, f.local = net.TCPAddrFromAddrPort(h.client), net.TCPAddrFromAddrPort(h.server)
	}
	return f, c.SetReadDeadline(time.Time{})
}

// RemoteAddr is the address of the client. Where the forwarder speaks for itself, to see whether we are well, it is his.
func (f *forwarded) RemoteAddr() net.Addr { return f.remote }

// LocalAddr is the address that the client has connected to.
func (f *forwarded) LocalAddr() net.Addr { return f.local }

// Read begins with what came together with the header.
func (f *forwarded) Read(p []byte) (int, error) {
	if f.in == nil {
		return f.Conn.Read(p)
	}
	if f.in.Buffered() == 0 {
		f.in = nil
		return f.Conn.Read(p)
	}
	return f.in.Read(p[:min(len(p), f.in.Buffered())])
}

var errUnlisted = errors.New("PROXY header from an address that is not a forwarder's")

// An unforwarded connection is one of a client of its own, who has no business to name another.
type unforwarded struct {
	net.Conn
	log  *slog.Logger
	over bool // whether there is a header is known; for the one who reads
	seen []byte
	err  error
}

// Read ends the connection when it begins with a header.
func (u *unforwarded) Read(p []byte) (int, error) {
	if u.err != nil {
		return 0, u.err
	}
	n, err := u.Conn.Read(p)
	if u.over || n == 0 {
		return n, err
	}
	u.seen = append(u.seen, p[:min(n, len(signature2)-len(u.seen))]...)
	switch startsHeader(u.seen) {
	case yes:
		u.err = errUnlisted
		u.log.Info("connection refused", "peer", u.RemoteAddr().String(), "err", u.err)
		u.Close()
		return 0, u.err
	case no:
		u.over, u.seen = true, nil
	}
	return n, err
}
