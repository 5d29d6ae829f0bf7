package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// usualSocket is what ldapi:/// means: where slapd listens, and its tools look for it, on Debian.
const usualSocket = "/run/slapd/ldapi"

// maxRetry bounds the pause before a failed server is tried again.
const maxRetry = time.Minute

// A server is one place where the directory can be reached. Client.mu guards its health.
type server struct {
	name     string // the URI, for logs
	rank     int    // 0 = the preferred one
	connect  func(ctx context.Context) (net.Conn, error)
	tls      *tls.Config // nil = in the clear
	startTLS bool        // tls begins by StartTLS

	failures int       // since it last worked
	until    time.Time // not tried before, unless there is no other
	probing  bool
}

// servers checks what the options say about where and how to connect.
func (o Options) servers() ([]*server, error) {
	switch {
	case len(o.URIs) == 0 && o.Dial == nil:
		return nil, errors.New("no URI")
	case o.TLS != nil && o.TLS.InsecureSkipVerify:
		return nil, errors.New("TLS without verification would hand passwords to anybody")
	case o.BindDN != "" && !o.External && (o.Password == "" || strings.ContainsRune(o.Password, 0)):
		return nil, fmt.Errorf("no usable password for %s", o.BindDN)
	}
	if o.Dial != nil {
		return []*server{{name: "in this process", connect: o.Dial}}, nil
	}
	var list []*server
	for i, uri := range o.URIs {
		s, err := o.server(uri)
		if err != nil {
			return nil, fmt.Errorf("URI %q: %w", uri, err)
		}
		s.name, s.rank = uri, i
		list = append(list, s)
	}
	return list, nil
}

func (o Options) server(uri string) (*server, error) {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return nil, errors.New("it does not begin with ldap://, ldaps:// or ldapi://")
	}
	dial := func(network, addr string) func(context.Context) (net.Conn, error) {
		return func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		}
	}
	if scheme == "ldapi" {
		path, err := url.PathUnescape(rest)
		if err != nil || !strings.HasPrefix(path, "/") {
			return nil, errors.New("the path of the socket must be absolute, with %2F for each slash")
		}
		return &server{connect: dial("unix", cmp.Or(strings.TrimSuffix(path, "/"), usualSocket))}, nil
	}
	u, err := url.Parse(uri)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New("it must be a host and a port only")
	}
	host := u.Hostname()
	switch {
	case scheme == "ldaps":
		addr := net.JoinHostPort(host, cmp.Or(u.Port(), ldap.DefaultLdapsPort))
		return &server{connect: dial("tcp", addr), tls: o.tlsFor(host)}, nil
	case scheme != "ldap":
		return nil, fmt.Errorf("unknown scheme %q", scheme)
	}
	s := &server{connect: dial("tcp", net.JoinHostPort(host, cmp.Or(u.Port(), ldap.DefaultLdapPort)))}
	if o.StartTLS {
		s.tls, s.startTLS = o.tlsFor(host), true
	} else if !loopback(host) {
		return nil, errors.New("passwords would cross the network in the clear: use ldaps:// or StartTLS")
	}
	return s, nil
}

func (o Options) tlsFor(host string) *tls.Config {
	config := &tls.Config{}
	if o.TLS != nil {
		config = o.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = host
	}
	return config
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// dial returns a connection to the first server that takes one. Each gets its share of the time that is left, so that a
// server that swallows packets does not use up the time of the next.
func (c *Client) dial(ctx context.Context, bind func(*ldap.Conn) error) (*conn, error) {
	var faults []error
	list := c.order()
	for i, s := range list {
		deadline, _ := ctx.Deadline()
		share := time.Until(deadline) / time.Duration(len(list)-i)
		sctx, cancel := context.WithTimeoutCause(ctx, share, errTimeout)
		conn, err := s.open(sctx, bind)
		cancel()
		if err == nil {
			c.up(s)
			return conn, nil
		}
		// Not %w: a result code of our own bind must not be taken for the answer to the caller's question.
		faults = append(faults, fmt.Errorf("connect to %s: %v", s.name, err))
		if cause := context.Cause(ctx); cause != nil && cause != errTimeout {
			break // the caller left: no fault of the server
		}
		c.down(s, err)
	}
	return nil, errors.Join(faults...)
}

// open connects, begins TLS and binds.
func (s *server) open(ctx context.Context, bind func(*ldap.Conn) error) (*conn, error) {
	raw, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{raw: raw, server: s}
	stream := raw
	if s.tls != nil && !s.startTLS {
		secure := tls.Client(raw, s.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		stream = secure
	}
	c.ldap = ldap.NewConn(stream, s.tls != nil && !s.startTLS)
	c.ldap.Start()
	alive, err := c.do(ctx, func(l *ldap.Conn) error {
		if s.startTLS {
			if err := l.StartTLS(s.tls); err != nil {
				return fmt.Errorf("StartTLS: %w", err)
			}
		}
		if bind == nil {
			return nil
		}
		return bind(l)
	})
	if err == nil && !alive {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.cut()
		return nil, err
	}
	return c, nil
}

// serviceBind makes a connection speak for the service.
func (c *Client) serviceBind(l *ldap.Conn) error {
	var err error
	switch {
	case c.opts.External:
		err = l.ExternalBind()
	case c.opts.BindDN != "":
		err = l.Bind(c.opts.BindDN, c.opts.Password)
	}
	if err != nil {
		return fmt.Errorf("bind as the service: %w", err)
	}
	return nil
}

// order lists the servers to try: those that work, then those that failed, each by rank.
func (c *Client) order() []*server {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := slices.Clone(c.servers)
	slices.SortStableFunc(list, func(a, b *server) int { return min(a.failures, 1) - min(b.failures, 1) })
	return list
}

// better reports whether another server works that is preferred to s, or any other if s does not work.
func (c *Client) better(s *server) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.servers, func(p *server) bool {
		return p.failures == 0 && (p.rank < s.rank || s.failures > 0)
	})
}

func (c *Client) up(s *server) {
	c.mu.Lock()
	failures := s.failures
	s.failures = 0
	c.mu.Unlock()
	if failures > 0 {
		c.log.Info("directory server is back", "server", s.name)
	}
}

func (c *Client) down(s *server, err error) {
	c.mu.Lock()
	s.failures++
	failures := s.failures
	s.until = time.Now().Add(min(c.opts.Retry<<min(failures-1, 10), maxRetry))
	c.mu.Unlock()
	if failures == 1 {
		c.log.Warn("directory server is down", "server", s.name, "err", err)
	}
}

// probe looks, in the background, whether servers that failed some time ago are back, so that no call pays for finding
// out. A single server needs none: every call tries it anyway.
func (c *Client) probe() {
	if len(c.servers) == 1 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return
	}
	for _, s := range c.servers {
		if s.failures == 0 || s.probing || time.Now().Before(s.until) {
			continue
		}
		s.probing = true
		c.work.Go(func() { c.probeOne(s) })
	}
}

func (c *Client) probeOne(s *server) {
	ctx, cancel := context.WithTimeoutCause(c.ctx, c.opts.Timeout, errTimeout)
	defer cancel()
	conn, err := s.open(ctx, c.serviceBind)
	if err == nil {
		conn.quit()
		c.up(s)
	} else {
		c.down(s, err)
	}
	c.mu.Lock()
	s.probing = false
	c.mu.Unlock()
}
