package ldapd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/protocols/ldapwire"
	"github.com/dirpost/dirpost/protocols/listen"
	"github.com/go-ldap/ldap/v3"
)

// errOrder: messages that are well formed in a place where they must not come.
var errOrder = errors.New("protocol error")

// A session is one connection from its first octet to its last.
type session struct {
	server   *Server
	log      *slog.Logger
	raw      net.Conn        // below TLS
	ctx      context.Context // of the operations; done when the session is over
	over     context.CancelFunc
	inflight *inflight
	pages    *pages

	// These change while nothing is in flight.
	who  dit.Subject
	peer protocols.Peer
	conn net.Conn // raw, or TLS over it after StartTLS
	in   *bufio.Reader
	out  *output
}

// serveTLS is the session of a connection that begins with TLS.
func (s *Server) serveTLS(ctx context.Context, c net.Conn) {
	listen.Limit(c, s.opts.HandshakeTimeout, s.opts.HandshakeTimeout)
	secure := tls.Server(c, s.opts.TLS)
	if err := secure.HandshakeContext(s.ctx); err != nil {
		s.opts.Log.Debug("tls handshake", "peer", listen.PeerOf(c).String(), "err", err)
		return
	}
	listen.Limit(c, s.opts.IdleTimeout, s.opts.IdleTimeout)
	s.session(c, secure)
}

// serve is the session of one connection. It needs no context for the drain, because reads fail then.
func (s *Server) serve(_ context.Context, c net.Conn) { s.session(c, c) }

// session serves c, which is raw or TLS over it.
func (s *Server) session(raw, c net.Conn) {
	peer := listen.PeerOf(c)
	ss := &session{
		server:   s,
		log:      s.opts.Log.With("conn", peer.ID, "peer", peer.String()),
		raw:      raw,
		inflight: newInflight(s.opts.MaxOperations),
		pages:    newPages(s.opts.MaxPages, s.opts.PageTimeout),
		peer:     peer,
		conn:     c,
		in:       bufio.NewReader(c),
		out:      newOutput(c),
	}
	ss.ctx, ss.over = context.WithCancel(s.ctx)
	began := time.Now()
	operations := ss.run()
	ss.over()
	ss.conn.Close()
	ss.inflight.wait()
	ss.pages.clear()
	ss.log.Info("ldap session", "dn", ss.who.DN, "operations", operations, "duration", time.Since(began))
}

// hangUp ends the session from within an operation.
func (s *session) hangUp() {
	s.over()
	s.raw.Close()
}

// run reads requests until the client or the server has had enough, and counts them.
func (s *session) run() (operations int) {
	for s.ctx.Err() == nil {
		frame, err := s.read()
		if err != nil {
			s.leave(err)
			break
		}
		operations++
		if !s.handle(frame) {
			break
		}
	}
	return operations
}

// read waits for one message: long for its first octet, then not so long for the rest.
func (s *session) read() ([]byte, error) {
	if _, err := s.in.Peek(1); err != nil {
		return nil, err
	}
	opts := &s.server.opts
	listen.Limit(s.raw, opts.MessageTimeout, opts.MessageTimeout)
	defer s.limitIdle()
	return ldapwire.ReadFrame(s.in, s.maxBytes())
}

// limitIdle says how long the client may be silent: long when it waits for changes and is not a stranger.
func (s *session) limitIdle() {
	idle := s.server.opts.IdleTimeout
	if s.who.DN != "" && s.inflight.waiting() {
		idle = s.server.opts.ConsumerTimeout
	}
	listen.Limit(s.raw, idle, idle)
}

// maxBytes is how long a message may be, by who sends it.
func (s *session) maxBytes() int {
	switch opts := &s.server.opts; {
	case s.who.Admin:
		return opts.MaxAdminBytes
	case s.who.DN != "":
		return opts.MaxBytes
	default:
		return opts.MaxStrangerBytes
	}
}

// handle deals with one message and reports whether the session goes on.
func (s *session) handle(frame []byte) bool {
	m, err := ldapwire.Decode(frame, s.server.opts.Message)
	var refused *dit.Error
	if err != nil && !errors.As(err, &refused) {
		s.leave(err)
		return false
	}
	switch req := m.Request.(type) {
	case *ldapwire.UnbindRequest:
		return false
	case *ldapwire.AbandonRequest:
		s.inflight.abandon(req.ID)
		return true
	}
	if m.ID == 0 {
		s.leave(fmt.Errorf("%w: message number 0 is the server's", errOrder))
		return false
	}
	s.pages.sweep(time.Now())
	return s.start(&operation{Message: m, size: len(frame), stays: stays(m)}, refused)
}

// start performs an operation: bind and StartTLS alone and to their end, any other beside those that are at work.
func (s *session) start(op *operation, refused *dit.Error) bool {
	alone := false
	if isStartTLS(op.Request) && !s.inflight.quiet() {
		refused = &dit.Error{Code: ldap.LDAPResultOperationsError, Text: "other operations are outstanding"}
	} else if _, isBind := op.Request.(*ldapwire.BindRequest); isBind || isStartTLS(op.Request) {
		alone = true
		s.inflight.wait()
	}
	var ctx context.Context
	ctx, op.cancel = context.WithCancel(s.ctx)
	if err := s.inflight.enter(op, 2*s.maxBytes()); err != nil {
		op.cancel()
		s.leave(fmt.Errorf("%w: %w", errOrder, err))
		return false
	}
	if op.stays {
		s.limitIdle()
	}
	if alone {
		s.perform(ctx, op, refused)
	} else {
		go s.perform(ctx, op, refused)
	}
	return true
}

// leave says why the session ends, if there is anybody to hear it (RFC 4511 section 4.4.1).
func (s *session) leave(err error) {
	var syntax *ldapwire.SyntaxError
	r := ldapwire.Result{Text: err.Error()}
	switch {
	case errors.Is(err, listen.ErrDraining):
		s.inflight.wait()
		r.Code = ldap.LDAPResultUnavailable
	case errors.Is(err, listen.ErrIdle), errors.Is(err, listen.ErrLife), errors.Is(err, ldapwire.ErrTooLarge):
		r.Code = ldap.LDAPResultAdminLimitExceeded
	case errors.As(err, &syntax), errors.Is(err, errOrder):
		r.Code = ldap.LDAPResultProtocolError
	default:
		s.log.Debug("client is gone", "err", err)
		return
	}
	s.log.Debug("notice of disconnection", "code", r.Code, "err", err)
	s.write(ldapwire.AppendExtended(nil, 0, r, ldapwire.NoticeOfDisconnection, nil), true)
}

// write sends b, which is one answer, and ends the session when the client does not take it.
func (s *session) write(b []byte, end bool) error {
	err := s.out.send(b, end)
	if err != nil {
		s.hangUp()
	}
	return err
}
