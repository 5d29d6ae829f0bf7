package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
)

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = errors.New("server is closed")

// A Server runs one session for each connection. It owns every goroutine it starts: when Shutdown returns nil, none is
// left.
type Server struct {
	gate    *Gate
	session func(context.Context, net.Conn)
	ctx     context.Context // of all sessions; done once the server drains
	drain   context.CancelFunc

	mu       sync.Mutex     // makes sessions grow only while ctx is alive
	sessions sync.WaitGroup // loops and sessions
}

// New returns a Server. The session gets a guarded connection (TLS, if any, is the session's to put over it) and a
// context that ends when the server drains: its reads then fail with [ErrDraining], and it should take its leave and
// return. The connection is closed when it returns. A panic ends that connection only.
func New(session func(context.Context, net.Conn), opts Options) *Server {
	s := &Server{gate: NewGate(opts), session: session}
	s.ctx, s.drain = context.WithCancel(context.Background())
	return s
}

// Serve accepts connections from l until Shutdown. It may be called for several listeners. Its error is never nil:
// ErrClosed after Shutdown.
func (s *Server) Serve(l net.Listener) error {
	guarded := s.gate.Guard(l)
	if !s.begin() {
		return ErrClosed
	}
	defer s.sessions.Done()
	defer guarded.Close()
	for {
		c, err := guarded.Accept()
		if s.ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return ErrClosed
		}
		if err != nil {
			return fmt.Errorf("listen: accept on %s: %w", l.Addr(), err)
		}
		s.sessions.Add(1) // this loop is one of sessions, so Wait has not returned
		go s.run(c)
	}
}

// ServeConn runs the session of one connection that came by another way, such as a socket pair, and returns when it is
// over. It does not count against the limits of connections. After Shutdown it closes c at once.
func (s *Server) ServeConn(c net.Conn) {
	guarded, ok := s.gate.admit(c, true)
	if !ok {
		return
	}
	if !s.begin() {
		guarded.Close()
		return
	}
	s.run(guarded)
}

// run is one session. The caller has counted it.
func (s *Server) run(c net.Conn) {
	defer s.sessions.Done()
	defer c.Close()
	defer func() {
		if v := recover(); v != nil {
			s.gate.opts.Log.Error("session panicked", "peer", PeerOf(c).String(), "err", v, "stack", string(debug.Stack()))
		}
	}()
	s.session(s.ctx, c)
}

// begin counts one more goroutine, or reports that the server drains.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.sessions.Add(1)
	return true
}

// Shutdown stops accepting, lets every session finish the command in hand and waits for it. If ctx ends first, the
// connections are cut and ctx.Err() is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.drain()
	s.mu.Unlock()
	if err := s.gate.Shutdown(ctx); err != nil {
		return err
	}
	s.sessions.Wait()
	return nil
}
