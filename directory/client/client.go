// Package client talks LDAP to the directory: searches and changes under the service identity on one pool of
// connections, password checks on another, so that a connection that was bound as a user never answers a search.
//
// Every call has a deadline and follows its context. Every error wraps one of the sentinels of package directory:
// ErrNotFound, ErrExists, ErrAmbiguous, ErrWrong and ErrRefused are answers of the server, and whatever is not known to be
// an answer is ErrUnavailable (result.go has the table). Referrals are never followed, for they would carry credentials to
// a server nobody named. Nothing here logs or repeats a password.
//
// Names of attributes and classes are those of our schema, in both directions; package profile knows what the server calls
// them.
//
// Start reading at [Client]; search.go has the searches, pool.go the connections, dial.go the servers and their health.
package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/profile"
)

// Bounds of what a caller may hand on. A DN or a password beyond them is refused before LDAP.
const (
	maxDN       = 8192
	maxPassword = 4096
	pageSize    = 500 // entries a page: what slapd gives to anybody, and below Active Directory's 1000
)

// Options of [New]. URIs or Dial is required; all else has a working zero value.
type Options struct {
	URIs     []string    // ldapi://PATH (ldapi:/// = Debian's slapd), ldap:// or ldaps://, the preferred one first
	BindDN   string      // the service identity; empty = anonymous, or EXTERNAL
	Password string      // of BindDN
	External bool        // SASL EXTERNAL instead of a password: the uid of this process on ldapi
	StartTLS bool        // on ldap:// URIs; required when the host is not loopback
	TLS      *tls.Config // whom to trust, and a certificate for EXTERNAL; nil = the authorities of the system

	Profile *profile.Profile // what the server calls things; nil = as our schema does

	PoolSize   int           // connections for searches, and again for binds; 0 = 8
	Timeout    time.Duration // of one call, with waiting, dialling and retrying; 0 = 10 s
	IdleTime   time.Duration // after which an unused connection is closed; 0 = 1 minute
	Retry      time.Duration // first pause before a failed server is tried again, doubled up to a minute; 0 = 1 s
	MaxEntries int           // of one search; 0 = 500,000

	Dial func(ctx context.Context) (net.Conn, error) // instead of URIs: a server inside this process
	Log  *slog.Logger                                // nil = discarded

	// Observe, when not nil, is told of each call when it ends: search, bind, ping, add, modify, delete, rename or set (a
	// password), how long it took with waiting and dialling, and whether a server gave an answer, whatever it was.
	Observe func(op string, took time.Duration, answered bool)
}

// A Client is a pool of connections to one directory, which any number of goroutines may use.
type Client struct {
	opts     Options
	log      *slog.Logger
	servers  []*server
	searches *pool
	binds    *pool

	ctx   context.Context // done once the client closes; ends calls and probes
	close context.CancelFunc
	work  sync.WaitGroup // the sweeper and the probes
	once  sync.Once      // of Close

	mu sync.Mutex // guards the health of servers, and that work grows only while ctx is alive
}

// New checks the options and returns a client. It does not dial: a client of a directory that is down is a good one, whose
// calls fail with ErrUnavailable until it is up.
func New(opts Options) (*Client, error) {
	opts = opts.withDefaults()
	servers, err := opts.servers()
	if err != nil {
		return nil, fmt.Errorf("ldap client: %w", err)
	}
	c := &Client{opts: opts, log: opts.Log, servers: servers}
	c.ctx, c.close = context.WithCancel(context.Background())
	c.searches = newPool(c, opts.PoolSize, c.serviceBind)
	c.binds = newPool(c, opts.PoolSize, nil)
	c.work.Go(c.sweep)
	return c, nil
}

func (o Options) withDefaults() Options {
	if o.PoolSize <= 0 {
		o.PoolSize = 8
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.IdleTime <= 0 {
		o.IdleTime = time.Minute
	}
	if o.Retry <= 0 {
		o.Retry = time.Second
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = 500_000
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Observe == nil {
		o.Observe = func(string, time.Duration, bool) {}
	}
	return o
}

// Close ends calls that are under way, which fail with ErrUnavailable, and closes all connections.
func (c *Client) Close() error {
	c.once.Do(func() {
		c.mu.Lock()
		c.close()
		c.mu.Unlock()
		c.work.Wait()
		c.searches.drain()
		c.binds.drain()
	})
	return nil
}

// Bind checks a password by a simple bind with the password policy control. ErrWrong: the password does not fit.
// ErrRefused: the server's policy says no, also where the bind itself succeeds but the account must change its password or
// has an expired one. All else is ErrUnavailable. The name must come from a search, never from a peer.
func (c *Client) Bind(ctx context.Context, dn, password string) error {
	if dn == "" || len(dn) > maxDN || password == "" || len(password) > maxPassword || strings.ContainsRune(password, 0) {
		// An empty password would be an unauthenticated bind, which succeeds for anybody (RFC 4513 section 5.1.2).
		return fmt.Errorf("bind: %w: name or password is empty, too long or has a NUL", directory.ErrWrong)
	}
	var result *ldap.SimpleBindResult
	err := c.binds.run(ctx, "bind", false, func(l *ldap.Conn) (err error) {
		result, err = l.SimpleBind(ldap.NewSimpleBindRequest(dn, password, []ldap.Control{ldap.NewControlBeheraPasswordPolicy()}))
		return err
	})
	return bindError(dn, result, err)
}

// Add adds an entry.
func (c *Client) Add(ctx context.Context, req *ldap.AddRequest) error {
	req = c.opts.Profile.Add(req)
	return c.write(ctx, "add "+req.DN, func(l *ldap.Conn) error { return l.Add(req) })
}

// Modify changes an entry; all changes of req are made, or none.
func (c *Client) Modify(ctx context.Context, req *ldap.ModifyRequest) error {
	req = c.opts.Profile.Modify(req)
	return c.write(ctx, "modify "+req.DN, func(l *ldap.Conn) error { return l.Modify(req) })
}

// Delete removes an entry that has none below it.
func (c *Client) Delete(ctx context.Context, dn string) error {
	return c.write(ctx, "delete "+dn, func(l *ldap.Conn) error { return l.Del(ldap.NewDelRequest(dn, nil)) })
}

// Rename gives an entry another name or place.
func (c *Client) Rename(ctx context.Context, req *ldap.ModifyDNRequest) error {
	return c.write(ctx, "rename "+req.DN, func(l *ldap.Conn) error { return l.ModifyDN(req) })
}

// SetPassword is Password Modify (RFC 3062): the server hashes the password and judges its quality. An empty old one is
// for administrators; for an empty new one the server makes one and it is returned. ErrWrong: the old one does not fit.
func (c *Client) SetPassword(ctx context.Context, dn, old, new string) (generated string, err error) {
	if len(old) > maxPassword || len(new) > maxPassword || strings.ContainsRune(old+new, 0) {
		return "", fmt.Errorf("set password: %w: it is too long or has a NUL", directory.ErrRefused)
	}
	err = c.write(ctx, "set password of "+dn, func(l *ldap.Conn) error {
		result, err := l.PasswordModify(ldap.NewPasswordModifyRequest(dn, old, new))
		if result != nil {
			generated = result.GeneratedPassword
		}
		return err
	})
	return generated, err
}

// write runs a change once: whether one that got no answer was made is not known, so it is never repeated.
func (c *Client) write(ctx context.Context, op string, change func(*ldap.Conn) error) error {
	if c.opts.Profile.ReadOnly() {
		return fmt.Errorf("%s: %w: entries of a directory of kind %s are changed with its own tools", op, directory.ErrRefused, c.opts.Profile.Name())
	}
	return writeError(op, c.searches.run(ctx, op, false, change))
}

// Ping asks for the root entry, so that a nil error means that the directory answers under the service identity.
func (c *Client) Ping(ctx context.Context) error {
	err := c.searches.run(ctx, "ping", true, func(l *ldap.Conn) error {
		_, err := l.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, c.seconds(), false, "(objectClass=*)", []string{"1.1"}, nil))
		return err
	})
	return readError("ping", err)
}
