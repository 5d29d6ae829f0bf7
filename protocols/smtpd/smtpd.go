// Package smtpd serves mail coming in: the MX (RFC 5321), submission by our own people (RFC 6409), and LMTP for an MTA
// beside us (RFC 2033). The three share one session and differ in the path a message takes, inbound or submit, and in
// who may walk it.
//
// The protocol itself is go-smtp's, used as it is; the gaps it has are closed from outside. Those that stay, because
// they are in its parser, are pinned by tests: RCPT TO:<postmaster> without a domain is a syntax error, unknown
// parameters get 500 and not 555, SIZE over 4 GiB gets 501 and not 552, and the texts of the banner and of accepted MAIL
// and RCPT commands are not ours. A client that says HELO is recorded as one that said EHLO.
//
// A "." at the start of a line with a bare CR behind it is dropped by the library, unseen by the check of line ends. Where
// LF follows, the library does not see the end of the message in the line after it either, so the client waits in vain,
// hears 451 once he has been idle for too long, and comes again.
//
// A message with other line ends than CRLF is refused for good, but only at its end, lest the rest of it be taken for
// commands. Its sender may see an end (CR CR LF before the dot) where there is none; he is not waited for much longer.
//
// Start reading at [Server.Serve], then session.go, which has one method for each command, in the order of a
// transaction. reply.go is the one place where an error becomes an answer.
package smtpd

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/protocols/inbound"
	"github.com/dirpost/dirpost/protocols/listen"
	"github.com/dirpost/dirpost/protocols/login"
	"github.com/dirpost/dirpost/protocols/submit"
)

// maxLine bounds one line of a message or command, and by it the memory of a connection; see maxLong for that of all
// together. Real mail has lines far beyond the 1,000 octets of RFC 5321 section 4.5.3.1.6; they are not refused for it.
const maxLine = 1 << 20

// Options of a [Server]. The zero value works. Of the limits a negative one is none.
type Options struct {
	Hostname string      // our name in the greeting; empty = "localhost"
	TLS      *tls.Config // for STARTTLS and implicit TLS; nil = neither
	Log      *slog.Logger
	Now      func() time.Time // nil = time.Now

	MaxBytes        int64 // of one message as sent; 0 = 50 MiB
	MaxRcpts        int   // of one message; 0 = 100 (RFC 5321 section 4.5.3.1.8)
	MaxMessages     int   // of one session; 0 = 1,000, in LMTP none
	MaxErrors       int   // refused commands, other than RCPT and AUTH, before the session ends; 0 = 20
	MaxRefusedRcpts int   // before the session ends; 0 = 20, in LMTP none
	MaxAuthFailures int   // the last of which ends the session; 0 = 5
	MaxAnswers      int   // lines that we say before a message or a login comes of it; 0 = 1,000, in LMTP none

	GreetPause time.Duration // in which no client of an MX speaks who listens; 0 = none. Not for those on this machine
	Linger     time.Duration // longest wait for more of a message that is refused for its line ends; 0 = 10 seconds

	Turn           time.Duration // for one command, or a message at 500 octets a second, see listen.Options, for this and the rest; 0 = 10 minutes
	Idle           time.Duration
	Life           time.Duration
	MaxConns       int
	MaxConnsOfPeer int
}

func (o Options) withDefaults(lmtp bool) Options {
	few, many := 20, 1000
	if lmtp {
		few, many = -1, -1
	}
	setDefault(&o.Hostname, "localhost")
	setDefault(&o.Log, slog.New(slog.DiscardHandler))
	setDefault(&o.MaxBytes, 50<<20)
	setDefault(&o.MaxRcpts, 100)
	setDefault(&o.MaxMessages, many)
	setDefault(&o.MaxErrors, 20)
	setDefault(&o.MaxRefusedRcpts, few)
	setDefault(&o.MaxAuthFailures, 5)
	setDefault(&o.MaxAnswers, many)
	setDefault(&o.Linger, 10*time.Second)
	setDefault(&o.Turn, 10*time.Minute)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func setDefault[T comparable](option *T, value T) {
	var zero T
	if *option == zero {
		*option = value
	}
}

// A path is the way of a message from this server on: [inbound.Acceptor] or [submit.Submission].
type path interface {
	Sender(ctx context.Context, from directory.Address) error
	Recipient(ctx context.Context, from, to directory.Address, size int64) (directory.Route, error)
	Accept(ctx context.Context, env protocols.Envelope, body io.Reader) ([]error, error)
}

// A Server serves one of the three protocols on any number of listeners. It owns every goroutine it starts: when
// Shutdown returns nil, none is left.
type Server struct {
	opts Options
	gate *listen.Gate
	smtp *smtp.Server
	log  *slog.Logger
	long chan struct{} // see burden

	open  path             // where messages go without a login; nil on submission
	door  *login.Door      // nil except on submission
	desks *submit.Acceptor // nil except on submission

	ctx context.Context // of all work; done when a shutdown loses its patience
	cut context.CancelFunc

	mu     sync.Mutex // makes work grow only while not closed
	closed bool
	work   sync.WaitGroup // accept loops and messages being received
}

// NewMX returns a server for mail from strangers.
func NewMX(in *inbound.Acceptor, opts Options) *Server {
	s := newServer(opts, false)
	s.open = in
	return s
}

// NewLMTP returns a server for mail from an MTA beside us, which gets an answer for each recipient.
func NewLMTP(in *inbound.Acceptor, opts Options) *Server {
	opts.GreetPause = 0
	s := newServer(opts, true)
	s.open = in
	return s
}

// NewSubmission returns a server for those whom door lets in. Whether a TLS handshake asks for a client certificate,
// which EXTERNAL needs, is in opts.TLS.
func NewSubmission(desks *submit.Acceptor, door *login.Door, opts Options) *Server {
	opts.GreetPause = 0
	s := newServer(opts, false)
	s.door, s.desks = door, desks
	return s
}

func newServer(opts Options, lmtp bool) *Server {
	opts = opts.withDefaults(lmtp)
	s := &Server{opts: opts, log: opts.Log, long: make(chan struct{}, maxLong)}
	s.ctx, s.cut = context.WithCancel(context.Background())
	s.gate = listen.NewGate(listen.Options{
		Turn: opts.Turn, Idle: opts.Idle, Life: opts.Life, MaxConns: opts.MaxConns, MaxConnsOfPeer: opts.MaxConnsOfPeer,
		Refusal: fmt.Sprintf("421 4.7.0 %s too many connections\r\n", opts.Hostname),
		Log:     opts.Log,
	})
	s.smtp = smtp.NewServer(smtp.BackendFunc(s.newSession))
	s.smtp.Domain = opts.Hostname
	s.smtp.LMTP = lmtp
	s.smtp.TLSConfig = opts.TLS
	s.smtp.MaxRecipients = max(opts.MaxRcpts, 0)
	s.smtp.MaxMessageBytes = max(opts.MaxBytes+1, 0) // it refuses what is exactly as large as its limit
	s.smtp.MaxLineLength = maxLine
	s.smtp.AllowInsecureAuth = true // it knows TLS only; the session knows unix sockets and loopback too
	s.smtp.ErrorLog = errorLog{opts.Log}
	// ReadTimeout stays 0: it is absolute for a whole body. The gate bounds every single read.
	return s
}

// Serve accepts connections from l until Shutdown. It may be called for several listeners. With implicitTLS the
// handshake comes first (RFC 8314 section 3.3). Its error is never nil: listen.ErrClosed after Shutdown.
func (s *Server) Serve(l net.Listener, implicitTLS bool) error {
	if !s.begin() {
		l.Close()
		return listen.ErrClosed
	}
	defer s.work.Done()
	defer l.Close()
	var guarded net.Listener = wires{s.gate.Guard(l), s}
	if implicitTLS {
		guarded = tls.NewListener(guarded, s.opts.TLS)
	}
	err := s.smtp.Serve(guarded)
	if s.draining() {
		return listen.ErrClosed
	}
	return fmt.Errorf("smtpd: accept on %s: %w", l.Addr(), err)
}

// Shutdown stops accepting, says 421 to idle clients, lets every message that is on its way arrive, and waits. If ctx
// ends first, the connections are cut and ctx.Err() is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	defer s.cut()
	if err := s.gate.Shutdown(ctx); err != nil {
		return err
	}
	s.work.Wait()
	s.smtp.Shutdown(ctx) // its error is about listeners that are closed already
	return ctx.Err()
}

// begin counts one more thing that Shutdown waits for, or reports that it has begun. Its end is s.work.Done.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.work.Add(1)
	return true
}

func (s *Server) draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// An errorLog takes what go-smtp reports. Panics are bugs of ours; all else is a peer who went away.
type errorLog struct{ log *slog.Logger }

func (l errorLog) Printf(format string, args ...any) {
	level := slog.LevelDebug
	if strings.HasPrefix(format, "panic") {
		level = slog.LevelError
	}
	l.log.Log(context.Background(), level, "smtp library", "err", fmt.Sprintf(format, args...))
}

func (l errorLog) Println(args ...any) { l.Printf("%s", fmt.Sprint(args...)) }
