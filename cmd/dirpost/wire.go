package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/directory/auth"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/protocols/certs"
	"github.com/dirpost/dirpost/protocols/delivery"
	"github.com/dirpost/dirpost/protocols/imapd"
	"github.com/dirpost/dirpost/protocols/inbound"
	"github.com/dirpost/dirpost/protocols/listen"
	"github.com/dirpost/dirpost/protocols/login"
	"github.com/dirpost/dirpost/protocols/smtpd"
	"github.com/dirpost/dirpost/protocols/submit"
	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// A platform is every part of a running server, built in order of dependency: directory, certificates, store, door,
// path, servers. Whatever is built is closed in the opposite order.
type platform struct {
	cfg config.Config
	log *slog.Logger

	embedded  *embedded // nil with an LDAP server of one's own
	client    *client.Client
	resolver  *lookup.Resolver
	auth      *auth.Authenticator
	certs     *certs.Store
	store     *mailbox.Store
	door      *login.Door
	endpoints []endpoint
	closers   []func(context.Context) error
}

// An endpoint is one service: where it listens and what serves a connection.
type endpoint struct {
	name      string
	addresses []string
	mode      fs.FileMode // of a unix socket
	serve     func(net.Listener) error
	shutdown  func(context.Context) error
}

// build makes every part; it opens files but no port, and asks the directory nothing.
func build(cfg config.Config, log *slog.Logger) (*platform, error) {
	p := &platform{cfg: cfg, log: log}
	for _, part := range []func() error{
		p.openCertificates,
		p.openDirectory,
		p.openStore,
		p.openServers,
	} {
		if err := part(); err != nil {
			return nil, errors.Join(err, p.close(context.Background()))
		}
	}
	return p, nil
}

func (p *platform) openCertificates() (err error) {
	var pairs []certs.Pair
	for _, pair := range p.cfg.TLS {
		pairs = append(pairs, certs.Pair{Cert: pair.Cert, Key: pair.Key})
	}
	p.certs, err = certs.Open(pairs)
	return err
}

func (p *platform) openDirectory() error {
	opts, err := clientOptions(p.cfg)
	if err != nil {
		return err
	}
	if p.cfg.Directory.Embedded {
		if p.embedded, err = openEmbedded(p.cfg, p.certs.Server(nil), p.log); err != nil {
			return err
		}
		p.closers = append(p.closers, p.embedded.close)
		opts.Dial = p.embedded.dial
	}
	opts.Log = p.log
	if p.client, err = client.New(opts); err != nil {
		return err
	}
	p.closers = append(p.closers, func(context.Context) error { return p.client.Close() })
	p.resolver = lookup.New(p.client, lookup.Options{Base: p.cfg.Directory.Base, Log: p.log})
	p.auth = auth.New(p.client, p.resolver, auth.Options{Log: p.log})
	p.door = login.New(p.resolver, p.auth, login.Options{Log: p.log})
	return nil
}

func (p *platform) openStore() (err error) {
	p.store, err = mailbox.Open(mailbox.Options{
		Homes:  filepath.Join(p.cfg.Data, "homes"),
		Cache:  p.cfg.Cache,
		Node:   p.cfg.Hostname,
		Limits: storage.Limits{MessageBytes: p.cfg.Limits.MessageBytes},
		Log:    p.log,
	})
	if err == nil {
		p.closers = append(p.closers, func(context.Context) error { return p.store.Close() })
	}
	return err
}

// openServers makes the servers and says where each of them listens.
func (p *platform) openServers() error {
	l := p.cfg.Listen
	plain, users := p.certs.Server(nil), p.certs.Server(p.authorityHints)
	deliverer := delivery.New(p.store, delivery.Options{Log: p.log})
	fromOthers := inbound.New(p.resolver, deliverer, inbound.Options{Hostname: p.cfg.Hostname})
	fromUsers := submit.New(p.resolver, deliverer, submit.Options{Hostname: p.cfg.Hostname})

	smtpOptions := smtpd.Options{
		Hostname: p.cfg.Hostname, TLS: plain, Log: p.log,
		MaxBytes: p.cfg.Limits.MessageBytes, MaxRcpts: p.cfg.Limits.Recipients,
		MaxConns: p.cfg.Limits.Connections, MaxConnsOfPeer: p.cfg.Limits.ConnectionsPerPeer,
	}
	mx, lmtp := smtpd.NewMX(fromOthers, smtpOptions), smtpd.NewLMTP(fromOthers, smtpOptions)
	smtpOptions.TLS = users
	submission := smtpd.NewSubmission(fromUsers, p.door, smtpOptions)
	imap := imapd.New(p.door, p.store, imapd.Options{
		Hostname: p.cfg.Hostname, TLS: users, Log: p.log,
		MaxBytes: p.cfg.Limits.MessageBytes, Idle: time.Duration(p.cfg.Limits.Idle),
		MaxConns: p.cfg.Limits.Connections, MaxConnsOfPeer: p.cfg.Limits.ConnectionsPerPeer,
	})

	smtp := func(name string, addresses []string, s *smtpd.Server, implicitTLS bool) endpoint {
		return endpoint{name, addresses, 0o660, func(l net.Listener) error { return s.Serve(l, implicitTLS) }, s.Shutdown}
	}
	imaps := func(name string, addresses []string, implicitTLS bool) endpoint {
		return endpoint{name, addresses, 0o660, func(l net.Listener) error { return imap.Serve(l, implicitTLS) }, imap.Shutdown}
	}
	p.endpoints = []endpoint{
		smtp("mx", l.MX, mx, false),
		smtp("lmtp", l.LMTP, lmtp, false),
		smtp("submission", l.Submission, submission, false),
		smtp("submissions", l.Submissions, submission, true),
		imaps("imap", l.IMAP, false),
		imaps("imaps", l.IMAPS, true),
	}
	if p.embedded != nil {
		ldap := p.embedded.server
		p.endpoints = append(p.endpoints,
			endpoint{"ldap", l.LDAP, 0, ldap.Serve, ldap.Shutdown},
			endpoint{"ldapi", []string{"unix:" + l.LDAPI}, 0o666, ldap.Serve, nil})
	}
	return nil
}

// authorityHints is the list of issuers that clients choose their certificate by. Without it, because the directory is
// away, they are asked for any certificate.
func (p *platform) authorityHints() *x509.CertPool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	pool, err := p.auth.Authorities(ctx)
	if err != nil {
		return nil
	}
	return pool
}

// A bound is a listener with its endpoint.
type bound struct {
	endpoint
	listener net.Listener
}

// listen opens every address before anything is served, so that a port that is taken stops the start as a whole.
func (p *platform) listen(ctx context.Context) ([]bound, error) {
	var all []bound
	for _, e := range p.endpoints {
		for _, addr := range e.addresses {
			if path, ok := strings.CutPrefix(addr, "unix:"); ok {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					return nil, err
				}
			}
			l, err := listen.Listen(ctx, addr, e.mode)
			if err != nil {
				for _, b := range all {
					b.listener.Close()
				}
				return nil, fmt.Errorf("listen.%s: %w", e.name, err)
			}
			all = append(all, bound{e, l})
		}
	}
	return all, nil
}

// shutdownTimeout is how long sessions may take to finish the command in hand.
const shutdownTimeout = 20 * time.Second

// serve answers on all listeners until ctx ends or one of them fails, then lets every session take its leave.
func (p *platform) serve(parent context.Context, all []bound) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	var loops sync.WaitGroup
	for _, b := range all {
		p.log.Info("listening", "service", b.name, "addr", b.listener.Addr().String())
		loops.Go(func() {
			if err := b.serve(b.listener); ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", b.name, err))
			}
		})
	}
	<-ctx.Done()
	p.log.Info("stopping", "cause", context.Cause(ctx))
	grace, stop := context.WithTimeout(context.Background(), shutdownTimeout)
	defer stop()
	var ends sync.WaitGroup
	for _, e := range p.endpoints {
		if e.shutdown != nil && e.name != "ldap" { // the directory answers until the last session is over; close ends it
			ends.Go(func() { _ = e.shutdown(grace) })
		}
	}
	ends.Wait()
	closed := p.close(grace)
	loops.Wait()
	if parent.Err() != nil {
		return closed // asked to stop
	}
	return errors.Join(context.Cause(ctx), closed)
}

func (p *platform) close(ctx context.Context) error {
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i](ctx))
	}
	p.closers = nil
	return errors.Join(errs...)
}

// frontendFile holds the password of the service entry of the embedded directory.
func frontendFile(cfg config.Config) string { return filepath.Join(cfg.Data, "keys", "frontend") }

// frontendDN is the service entry that dirpost searches as, unless the configuration names another.
func frontendDN(base string) string { return "cn=frontend,ou=services," + base }

// clientOptions turns the configuration into those of the directory client, with the service identity.
func clientOptions(cfg config.Config) (client.Options, error) {
	d := cfg.Directory
	opts := client.Options{URIs: d.URIs, BindDN: d.BindDN, StartTLS: d.StartTLS, Timeout: time.Duration(d.Timeout)}
	if opts.BindDN == "" {
		opts.BindDN = frontendDN(d.Base)
	}
	if d.CA != "" {
		text, err := os.ReadFile(d.CA)
		if err != nil {
			return opts, fmt.Errorf("directory.ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return opts, fmt.Errorf("directory.ca: %s holds no certificate", d.CA)
		}
		opts.TLS = &tls.Config{RootCAs: pool}
	}
	file := d.PasswordFile
	if d.Embedded {
		file = frontendFile(cfg)
	}
	if file == "" {
		opts.BindDN, opts.External = "", true
		return opts, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return opts, fmt.Errorf("the password dirpost searches with: %w", err)
	}
	opts.Password = strings.TrimRight(string(text), "\r\n")
	return opts, nil
}
