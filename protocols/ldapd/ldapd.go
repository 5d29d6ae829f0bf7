// Package ldapd serves the embedded directory over LDAPv3 (RFC 4511): to dirpost itself, and to any LDAP tool.
//
// A [Server] runs one session for each connection. A session reads one request after the other and starts an operation
// for each. Bind and StartTLS run alone (RFC 4511 sections 4.2.1 and 4.14.1), the others beside each other, up to a
// number and a size at which the session stops reading. Every answer is written whole, by one writer at a time, and a
// client that does not read loses its connection.
//
// The package knows the protocol and nothing of the content: who may see what, what is valid, and what an entry holds is
// decided by package dit, whose errors carry the result codes.
//
// Start reading at session.run; perform has the list of operations, each in a file of its own name.
package ldapd

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols/ldapwire"
	"github.com/dirpost/dirpost/protocols/listen"
)

// Options of a [Server]. Zero fields mean the defaults.
type Options struct {
	TLS *tls.Config // for StartTLS, which is not offered without it, and ServeTLS

	// Certificate returns the name of the entry whose holder a client certificate proves, the leaf first. With it, clients
	// that have shown one may bind by SASL EXTERNAL; TLS must ask for certificates then. Its errors wrap those of
	// [directory]: wrong or refused, or nobody can tell.
	Certificate func(ctx context.Context, chain []*x509.Certificate) (dn string, err error)

	Log *slog.Logger // nil = discard

	MaxStrangerBytes int             // message before a bind: 64 KiB
	MaxBytes         int             // message after it: 4 MiB
	MaxAdminBytes    int             // message of the local administrator: 16 MiB
	Message          ldapwire.Limits // what one message may hold
	MaxOperations    int             // at work at once on one connection: 64
	MaxPages         int             // paged searches open on one connection: 4
	MaxConsumers     int             // searches that go on with what changes (RFC 4533), of all connections: 64
	MaxConns         int             // connections: 4096
	MaxConnsOfPeer   int             // connections from one address, or local account other than ours: 200

	IdleTimeout      time.Duration // between messages, whatever is at work: 5 minutes
	ConsumerTimeout  time.Duration // the same while changes are waited for: 24 hours
	MessageTimeout   time.Duration // from the first octet of a message to its last: 30 seconds
	WriteTimeout     time.Duration // for the client to take 64 KiB: 30 seconds
	HandshakeTimeout time.Duration // of TLS: 15 seconds
	PageTimeout      time.Duration // between two pages of a search: 1 minute

	// Unbraked are the addresses whose failed binds are answered without delay, because they check passwords of others.
	// Unix sockets always are. nil = loopback.
	Unbraked []netip.Prefix
}

// withDefaults fills in what is zero.
func (o Options) withDefaults() Options {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.MaxStrangerBytes = cmp.Or(o.MaxStrangerBytes, 64<<10)
	o.MaxBytes = cmp.Or(o.MaxBytes, 4<<20)
	o.MaxAdminBytes = cmp.Or(o.MaxAdminBytes, 16<<20)
	o.MaxOperations = cmp.Or(o.MaxOperations, 64)
	o.MaxPages = cmp.Or(o.MaxPages, 4)
	o.MaxConsumers = cmp.Or(o.MaxConsumers, 64)
	o.MaxConns = cmp.Or(o.MaxConns, 4096)
	o.MaxConnsOfPeer = cmp.Or(o.MaxConnsOfPeer, 200)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 5*time.Minute)
	o.ConsumerTimeout = cmp.Or(o.ConsumerTimeout, 24*time.Hour)
	o.MessageTimeout = cmp.Or(o.MessageTimeout, 30*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 30*time.Second)
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, 15*time.Second)
	o.PageTimeout = cmp.Or(o.PageTimeout, time.Minute)
	if o.Unbraked == nil {
		o.Unbraked = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	return o
}

// A Server speaks LDAP for one directory, on any number of listeners. All methods may be called concurrently.
type Server struct {
	tree   *dit.Tree
	opts   Options
	brake  *brake
	conns  *listen.Server
	secure *listen.Server // the same for connections that begin with TLS

	consumers chan struct{} // a place for each search that waits for changes

	ctx context.Context // of every operation; done when Shutdown may wait no longer
	cut context.CancelFunc
}

// New returns a Server for tree, which must stay open until Shutdown has returned.
func New(tree *dit.Tree, opts Options) *Server {
	opts = opts.withDefaults()
	s := &Server{tree: tree, opts: opts, brake: newBrake(time.Now), consumers: make(chan struct{}, opts.MaxConsumers)}
	s.ctx, s.cut = context.WithCancel(context.Background())
	limits := listen.Options{
		Idle:           opts.IdleTimeout,
		Life:           opts.IdleTimeout,
		Write:          opts.WriteTimeout,
		MaxConns:       opts.MaxConns,
		MaxConnsOfPeer: opts.MaxConnsOfPeer,
		Log:            opts.Log,
	}
	s.conns, s.secure = listen.New(s.serve, limits), listen.New(s.serveTLS, limits)
	return s
}

// Serve accepts connections from l, a TCP or unix socket, until Shutdown. Its error is never nil: [listen.ErrClosed]
// after Shutdown.
func (s *Server) Serve(l net.Listener) error { return s.conns.Serve(localListener{l}) }

// ServeTLS is Serve for a listener whose connections begin with TLS (ldaps).
func (s *Server) ServeTLS(l net.Listener) error {
	if s.opts.TLS == nil {
		return errors.New("ldapd: TLS without a TLS configuration")
	}
	return s.secure.Serve(l)
}

// ServeConn serves one connection that came by another way, such as a socket pair, and returns when it is over.
func (s *Server) ServeConn(c net.Conn) { s.conns.ServeConn(withCredentials(c)) }

// Shutdown stops accepting, lets every session finish its operations and waits for them. If ctx ends first, operations
// and connections are cut and ctx.Err() is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.cut)()
	secure := make(chan error, 1)
	go func() { secure <- s.secure.Shutdown(ctx) }()
	err := s.conns.Shutdown(ctx)
	return cmp.Or(err, <-secure)
}
