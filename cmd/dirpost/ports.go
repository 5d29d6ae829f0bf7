package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/cmd/dirpost/internal/systemd"
	"github.com/dirpost/dirpost/protocols/listen"
)

// A service is something that listens: its name in the configuration, and where.
type service struct {
	name      string
	addresses []string    // host:port or unix:/path
	mode      fs.FileMode // of a unix socket
}

// services lists all that cfg has the server listen for.
func services(cfg config.Config) []service {
	l := cfg.Listen
	all := []service{
		{"mx", l.MX, 0o660},
		{"lmtp", l.LMTP, 0o660},
		{"submission", l.Submission, 0o660},
		{"submissions", l.Submissions, 0o660},
		{"imap", l.IMAP, 0o660},
		{"imaps", l.IMAPS, 0o660},
	}
	if cfg.Directory.Embedded {
		all = append(all, service{"ldap", l.LDAP, 0o660}, service{"ldaps", l.LDAPS, 0o660}, service{"ldapi", []string{"unix:" + l.LDAPI}, 0o666})
	}
	all = append(all, service{"status", l.Status, 0o660})
	if l.Control != "" {
		all = append(all, service{"control", []string{"unix:" + l.Control}, 0o600})
	}
	return all
}

// An endpoint is a service with the server behind it.
type endpoint struct {
	service
	serve    func(net.Listener) error
	shutdown func(context.Context) error // nil when another endpoint has the same server
	traffic  *traffic
}

// A bound is a listener with its endpoint.
type bound struct {
	endpoint
	listener net.Listener
}

// An early listener is one that was open before the server was built: handed over by systemd, or opened by root.
type early struct {
	name string // of the service; what systemd calls it if that is none
	addr string // as the configuration has it; empty = see what it is bound to
	net.Listener
}

// serves reports whether the listener is meant for an address of a service.
func (e early) serves(s service, addr string) bool {
	if e.addr != "" {
		return e.name == s.name && e.addr == addr
	}
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return e.Addr().Network() == "unix" && e.Addr().String() == path
	}
	have, ok := e.Addr().(*net.TCPAddr)
	want, err := net.ResolveTCPAddr("tcp", addr)
	return ok && err == nil && have.Port == want.Port && (have.IP.Equal(want.IP) || anywhere(have.IP) && anywhere(want.IP))
}

func anywhere(ip net.IP) bool { return len(ip) == 0 || ip.IsUnspecified() }

// inherit takes over what systemd opened.
func (p *platform) inherit() error {
	sockets, err := systemd.Listeners()
	for _, s := range sockets {
		p.early = append(p.early, early{name: s.Name, Listener: s.Listener})
	}
	return err
}

// listen opens every address before anything is served, so that a port that is taken stops the start as a whole. A
// service that systemd has named sockets for gets those instead of its addresses.
func (p *platform) listen(ctx context.Context) ([]bound, error) {
	var all []bound
	for _, e := range p.endpoints {
		named := p.takeEarly(func(s early) bool { return s.addr == "" && s.name == e.name })
		for _, l := range named {
			all = append(all, bound{e, l})
		}
		if len(named) > 0 {
			continue
		}
		for _, addr := range e.addresses {
			l, err := p.open(ctx, e.service, addr)
			if err != nil {
				for _, b := range all {
					b.listener.Close()
				}
				return nil, fmt.Errorf("listen.%s: %w", e.name, err)
			}
			all = append(all, bound{e, l})
		}
	}
	for _, l := range p.takeEarly(func(early) bool { return true }) {
		p.log.Warn("a socket that systemd opened is of no service", "name", l.name, "addr", l.Addr().String())
		l.Close()
	}
	return all, nil
}

// open opens one address, unless it is open already.
func (p *platform) open(ctx context.Context, s service, addr string) (net.Listener, error) {
	if found := p.takeEarly(func(e early) bool { return e.serves(s, addr) }); len(found) > 0 {
		return found[0].Listener, nil
	}
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
	}
	l, err := listen.Listen(ctx, addr, s.mode)
	if errors.Is(err, fs.ErrPermission) && !strings.HasPrefix(addr, "unix:") {
		err = fmt.Errorf("%w: it takes root or systemd (dirpost.socket) to open this port", err)
	}
	return l, err
}

// taken names the ports of cfg that another program has.
func taken(ctx context.Context, cfg config.Config) []string {
	var found []string
	for _, s := range services(cfg) {
		for _, addr := range s.addresses {
			if strings.HasPrefix(addr, "unix:") {
				continue
			}
			l, err := listen.Listen(ctx, addr, 0)
			if err == nil {
				l.Close()
			} else if errors.Is(err, listen.ErrInUse) {
				found = append(found, fmt.Sprintf("%s (listen.%s)", addr, s.name))
			}
		}
	}
	return found
}

// takeEarly takes out the early listeners that fit.
func (p *platform) takeEarly(fits func(early) bool) []early {
	var found []early
	p.early = slices.DeleteFunc(p.early, func(e early) bool {
		if fits(e) {
			found = append(found, e)
			return true
		}
		return false
	})
	return found
}

// bindPorts opens the TCP ports ahead of time, while this process may.
func (p *platform) bindPorts(ctx context.Context) error {
	for _, s := range services(p.cfg) {
		for _, addr := range s.addresses {
			open := slices.ContainsFunc(p.early, func(e early) bool { return e.serves(s, addr) || e.addr == "" && e.name == s.name })
			if open || strings.HasPrefix(addr, "unix:") {
				continue
			}
			l, err := listen.Listen(ctx, addr, 0)
			if err != nil {
				return fmt.Errorf("listen.%s: %w", s.name, err)
			}
			p.early = append(p.early, early{s.name, addr, l})
		}
	}
	return nil
}

// outermost is the listener as the server gets it: counted, and behind the forwarders that it may have.
func (p *platform) outermost(b bound) net.Listener {
	counted := countingListener{b.listener, b.traffic}
	if b.listener.Addr().Network() == "unix" {
		return counted
	}
	return listen.Forwarded(counted, p.cfg.Listen.ForwardersOf(b.name), p.log)
}

// traffic counts the connections of one service.
type traffic struct {
	total atomic.Uint64
	open  atomic.Int64
}

// A countingListener counts what it accepts.
type countingListener struct {
	net.Listener
	traffic *traffic
}

// Accept waits for the next connection.
func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.traffic.total.Add(1)
	l.traffic.open.Add(1)
	return &countedConn{Conn: c, traffic: l.traffic}, nil
}

// A countedConn is open until it is closed.
type countedConn struct {
	net.Conn
	traffic *traffic
	once    sync.Once
}

// Close may be called again.
func (c *countedConn) Close() error {
	c.once.Do(func() { c.traffic.open.Add(-1) })
	return c.Conn.Close()
}

// SyscallConn is how the credentials of the peer of a unix socket are had.
func (c *countedConn) SyscallConn() (syscall.RawConn, error) {
	raw, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return raw.SyscallConn()
}
