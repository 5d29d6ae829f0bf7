package imapd

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2/imapserver"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/protocols/listen"
	"github.com/dirpost/dirpost/protocols/login"
	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// A session is one client. The engine calls its methods one after another, except that Idle may overlap with what
// follows it when the client or the connection breaks it off.
type session struct {
	server  *Server
	wire    *conn
	engine  *imapserver.Conn
	ctx     context.Context // of all commands: the engine has none to hand on
	cancel  context.CancelFunc
	log     *slog.Logger
	peer    protocols.Peer
	started time.Time
	done    chan struct{} // closed when the engine is through with the session

	failures int // logins
	id       directory.Identity
	home     *mailbox.Home // nil before login
	stay     *login.Stay   // nil before login

	turn   sync.Mutex // held while one command, or Idle, works in the mailbox; guards what follows
	over   bool
	idling sync.WaitGroup // grows only while not over
	box    *selected      // nil when no mailbox is selected
	saved  []storage.UID  // the result that SEARCH RETURN (SAVE) keeps, for "$"
	cache  parsed         // the message that was looked into last
}

func (s *Server) session(ctx context.Context, wire *conn, peer protocols.Peer) *session {
	// A command in hand outlives the begin of a shutdown.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &session{
		server: s, wire: wire, ctx: ctx, cancel: cancel, peer: peer, started: time.Now(), done: make(chan struct{}),
		log: s.log.With("conn", peer.ID),
	}
}

// who is the peer as it is now: after STARTTLS it has TLS.
func (s *session) who() protocols.Peer {
	p := s.peer
	if secure, ok := s.engine.NetConn().(*tls.Conn); ok {
		state := secure.ConnectionState()
		p.TLS = &state
	}
	return p
}

// admit is what a login leads to.
func (s *session) admit(id directory.Identity) error {
	home, err := s.server.store.Home(id.ID)
	if err != nil {
		return s.reply(err)
	}
	s.id, s.home = id, home
	s.stay = s.server.door.Enter(s.who(), directory.IMAP, id, func(error) {
		s.wire.finish(listen.ErrEnded)
		listen.End(s.wire.Conn)
	})
	s.wire.trust()
	listen.Limit(s.wire.Conn, s.server.opts.Idle, s.server.opts.Life)
	return nil
}

// quota is how much the home may hold.
func (s *session) quota() storage.Quota { return storage.Quota(s.id.Quota) }

// AppendLimit is the size of the largest message that APPEND takes (RFC 7889).
func (s *session) AppendLimit() uint32 {
	return uint32(min(s.server.opts.MaxBytes, 1<<32-1))
}

// Close is the end of the session, for whatever reason. A client that is still there hears it.
func (s *session) Close() error {
	defer close(s.done)
	s.stay.Leave()
	s.turn.Lock()
	s.over = true
	s.deselect()
	s.turn.Unlock()
	s.idling.Wait()
	s.cancel()
	if text := farewell(s.wire.reason(), s.home != nil); text != "" {
		text = s.server.opts.Hostname + " " + text
		if errors.Is(s.wire.reason(), listen.ErrEnded) {
			text = "[UNAVAILABLE] " + text
		}
		s.engine.Bye(text)
	}
	return nil
}

// farewell is the text of BYE (RFC 9051 section 7.1.5), empty when the client has gone by itself.
func farewell(reason error, in bool) string {
	switch {
	case errors.Is(reason, listen.ErrEnded):
		return "has ended the session, for what let you in has changed"
	case errors.Is(reason, listen.ErrDraining):
		return "is shutting down"
	case errors.Is(reason, listen.ErrIdle) && in:
		return "has heard no command for too long"
	case errors.Is(reason, listen.ErrLife) && in:
		return "ends sessions that last too long"
	case errors.Is(reason, listen.ErrIdle), errors.Is(reason, listen.ErrLife):
		return "has waited too long for a login"
	case errors.Is(reason, errFlood):
		return "was sent too much before login"
	case errors.Is(reason, errFailures):
		return "has seen too many failed logins"
	}
	return ""
}

// report writes the line of the log that a session has.
func (s *session) report(ctx context.Context) {
	received, sent := s.wire.traffic()
	reason := s.wire.reason()
	end := "logout"
	switch {
	case errors.Is(reason, io.EOF), errors.Is(reason, net.ErrClosed):
		end = "disconnect"
	case reason != nil:
		end = reason.Error()
	}
	s.log.InfoContext(ctx, "imap session", "peer", s.peer.String(), "login", s.id.Login, "method", s.id.Method,
		"failures", s.failures, "received", received, "sent", sent, "duration", time.Since(s.started).Round(time.Millisecond),
		"end", end)
}
