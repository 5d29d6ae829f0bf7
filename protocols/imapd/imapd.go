// Package imapd serves the mail of a home over IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051), with UIDPLUS, MOVE,
// ESEARCH, SEARCHRES, LIST-EXTENDED, LIST-STATUS, SPECIAL-USE, BINARY, NAMESPACE, IDLE and what else the two include.
//
// The protocol engine is go-imap's; a session here is what stands behind its commands. Package login decides who comes
// in, package mailbox holds the mail, package message finds the pieces of one.
//
// What a client knows of its mailbox is a View, taken when it was last told. Other sessions and deliveries make new
// views; between commands, and in IDLE as soon as it happens, the difference is told (update.go), so that message
// numbers never change under a command.
//
// What the engine does not let us do, until there is one of our own, is listed in ARCHITECTURE.md under "What waits";
// testdata/gaps.txtar pins some of it.
//
// Start reading at [Server.Serve] and session.go; then one file for each group of commands. reply.go is the one
// place where an error becomes an answer.
package imapd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"github.com/dirpost/dirpost/protocols/listen"
	"github.com/dirpost/dirpost/protocols/login"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// Options of a [Server]. The zero value works.
type Options struct {
	Hostname string      // our name in words of farewell; empty = "localhost"
	TLS      *tls.Config // for STARTTLS and implicit TLS; nil = neither
	Log      *slog.Logger

	MaxBytes        int64         // of one message in APPEND, on the wire; 0 = 50 MiB
	MaxAuthFailures int           // the last of which ends the connection; 0 = 5
	MaxLoginBytes   int64         // a client may send, TLS included, until it is logged in; 0 = 128 KiB
	LoginTime       time.Duration // to log in; 0 = 1 minute
	Idle            time.Duration // without a command before the session ends; 0 = 30 minutes (RFC 9051 section 5.4)
	Life            time.Duration // of a session; 0 = 30 days

	MaxConns       int // for each of plain and implicit TLS; 0 = 5000, negative = no limit
	MaxConnsOfPeer int // see listen.Options
}

func (o Options) withDefaults() Options {
	setDefault(&o.Hostname, "localhost")
	setDefault(&o.Log, slog.New(slog.DiscardHandler))
	setDefault(&o.MaxBytes, 50<<20)
	setDefault(&o.MaxAuthFailures, 5)
	setDefault(&o.MaxLoginBytes, 128<<10)
	setDefault(&o.LoginTime, time.Minute)
	setDefault(&o.Idle, 30*time.Minute)
	setDefault(&o.Life, 30*24*time.Hour)
	return o
}

func setDefault[T comparable](option *T, value T) {
	var zero T
	if *option == zero {
		*option = value
	}
}

// A Server serves IMAP on any number of listeners. It owns every goroutine it starts: when Shutdown returns nil, none
// is left.
type Server struct {
	opts  Options
	door  *login.Door
	store *mailbox.Store
	log   *slog.Logger

	plain, secure *listen.Server // without and with implicit TLS

	// The engine takes passwords in the clear from everybody or from nobody, so there are two of it.
	public, private *imapserver.Server
}

// New returns a Server that lets in whom door lets in, to the homes of store.
func New(door *login.Door, store *mailbox.Store, opts Options) *Server {
	opts = opts.withDefaults()
	s := &Server{opts: opts, door: door, store: store, log: opts.Log}
	guard := listen.Options{
		Idle: opts.LoginTime, Life: opts.LoginTime, MaxConns: opts.MaxConns, MaxConnsOfPeer: opts.MaxConnsOfPeer,
		Refusal: "* BYE " + opts.Hostname + " has too many connections\r\n", Log: opts.Log,
	}
	s.plain = listen.New(func(ctx context.Context, c net.Conn) { s.serve(ctx, c, false) }, guard)
	s.secure = listen.New(func(ctx context.Context, c net.Conn) { s.serve(ctx, c, true) }, guard)
	s.public, s.private = s.engine(false), s.engine(true)
	return s
}

// engine returns a server of the library that offers what our sessions can do.
func (s *Server) engine(insecure bool) *imapserver.Server {
	caps := imap.CapSet{}
	for _, c := range []imap.Cap{
		imap.CapIMAP4rev1, imap.CapIMAP4rev2, imap.CapNamespace, imap.CapUIDPlus, imap.CapESearch, imap.CapSearchRes,
		imap.CapListExtended, imap.CapListStatus, imap.CapMove, imap.CapStatusSize, imap.CapBinary, imap.CapChildren,
		imap.CapSpecialUse, imap.CapCreateSpecialUse,
	} {
		caps[c] = struct{}{}
	}
	return imapserver.New(&imapserver.Options{
		NewSession:   newSession,
		Caps:         caps,
		Logger:       engineLog{s.log},
		TLSConfig:    s.opts.TLS,
		InsecureAuth: insecure,
	})
}

// Serve accepts connections from l until Shutdown. It may be called for several listeners. With implicitTLS the
// handshake comes first (RFC 8314 section 3.2). Its error is never nil: listen.ErrClosed after Shutdown.
func (s *Server) Serve(l net.Listener, implicitTLS bool) error {
	if !implicitTLS {
		return s.plain.Serve(l)
	}
	if s.opts.TLS == nil {
		l.Close()
		return errors.New("imapd: implicit TLS without a TLS configuration")
	}
	return s.secure.Serve(l)
}

// Shutdown stops accepting, lets every session finish the command in hand and say BYE, and waits. If ctx ends first,
// the connections are cut and ctx.Err() is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	var (
		both sync.WaitGroup
		errs [2]error
	)
	for i, l := range []*listen.Server{s.plain, s.secure} {
		both.Go(func() { errs[i] = l.Shutdown(ctx) })
	}
	both.Wait()
	return errors.Join(errs[:]...)
}

// serve is one connection from its first to its last octet.
func (s *Server) serve(ctx context.Context, c net.Conn, implicitTLS bool) {
	wire := newConn(c, s.opts.MaxLoginBytes)
	defer wire.Close()
	peer := listen.PeerOf(c)
	var top net.Conn = wire
	if implicitTLS {
		// Before the greeting, so that the greeting can offer EXTERNAL.
		secure := tls.Server(wire, s.opts.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			s.log.DebugContext(ctx, "handshake", "conn", peer.ID, "peer", peer.String(), "err", err)
			return
		}
		top = secure
	}
	wire.session = s.session(ctx, wire, peer)
	engine := s.public
	if peer.Private() {
		engine = s.private
	}
	engine.Serve(&once{conn: top}) // starts the engine's goroutine; the error is that there is no second connection
	<-wire.session.done
	<-wire.closed
	wire.session.report(ctx)
}

// newSession is called by the engine at the start of a connection.
func newSession(c *imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
	top := c.NetConn()
	if secure, ok := top.(*tls.Conn); ok {
		top = secure.NetConn()
	}
	s := top.(*conn).session
	s.engine = c
	return s, nil, nil
}

// once is a listener with one connection.
type once struct {
	conn net.Conn
}

// Accept returns the connection, then net.ErrClosed.
func (o *once) Accept() (net.Conn, error) {
	if o.conn == nil {
		return nil, net.ErrClosed
	}
	c := o.conn
	o.conn = nil
	return c, nil
}

// Close does nothing: the connection has its own.
func (o *once) Close() error { return nil }

// Addr is not asked for.
func (o *once) Addr() net.Addr { return &net.TCPAddr{} }

// An engineLog takes what the engine reports. Panics are bugs; all else is a peer who went away or talks nonsense.
type engineLog struct{ log *slog.Logger }

// Printf implements imapserver.Logger.
func (l engineLog) Printf(format string, args ...any) {
	level := slog.LevelDebug
	if strings.HasPrefix(format, "panic") {
		level = slog.LevelError
	}
	l.log.Log(context.Background(), level, "imap engine", "err", fmt.Sprintf(format, args...))
}
