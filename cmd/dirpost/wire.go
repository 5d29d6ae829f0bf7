package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/cmd/dirpost/internal/systemd"
	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/auth"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/feed"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/protocols/certs"
	"github.com/dirpost/dirpost/protocols/controld"
	"github.com/dirpost/dirpost/protocols/delivery"
	"github.com/dirpost/dirpost/protocols/imapd"
	"github.com/dirpost/dirpost/protocols/inbound"
	"github.com/dirpost/dirpost/protocols/ldapd"
	"github.com/dirpost/dirpost/protocols/login"
	"github.com/dirpost/dirpost/protocols/queue"
	"github.com/dirpost/dirpost/protocols/smtpd"
	"github.com/dirpost/dirpost/protocols/submit"
	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// A platform is every part of a running server, built in order of dependency: directory, certificates, store, door,
// path, servers. Whatever is built is closed in the opposite order.
type platform struct {
	path   string // of the configuration, which a reload reads again
	log    *slog.Logger
	level  *slog.LevelVar // of log
	notify *systemd.Notifier
	began  time.Time

	mu       sync.Mutex // guards cfg, which a reload changes, and stopping
	cfg      config.Config
	stopping bool

	early     []early   // listeners that were open before
	embedded  *embedded // nil with an LDAP server of one's own
	client    *client.Client
	view      *view.View
	feed      *feed.Feed
	resolver  *lookup.Resolver
	auth      *auth.Authenticator
	certs     *certs.Store
	store     *mailbox.Store
	queue     *queue.Queue
	door      *login.Door
	meters    *meters
	endpoints []endpoint
	closers   []func(context.Context) error
}

// newPlatform returns a platform of which nothing is built yet.
func newPlatform(cfg config.Config, log *slog.Logger) *platform {
	return &platform{
		cfg: cfg, log: log, level: new(slog.LevelVar), notify: new(systemd.Notifier), began: time.Now(), meters: newMeters(),
	}
}

// build makes every part; it opens files but no port, and asks the directory nothing.
func (p *platform) build() error {
	for _, part := range []func() error{
		p.openCertificates,
		p.openDirectory,
		p.openStore,
		p.openServers,
	} {
		if err := part(); err != nil {
			return errors.Join(err, p.close(context.Background()))
		}
	}
	return nil
}

// openCertificates reads the certificates, unless that was done while this process still was root.
func (p *platform) openCertificates() (err error) {
	if p.certs == nil {
		p.certs, err = certs.Open(certificatePairs(p.cfg))
	}
	return notReadable(err)
}

// notReadable adds to an error of a key that this process may not read how it may: a key that was renewed is often root's
// alone, and the server is not root.
func notReadable(err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	group := strconv.Itoa(os.Getegid())
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return fmt.Errorf("%w; let the server read it: chgrp %s KEY && chmod 640 KEY", err, group)
}

func certificatePairs(cfg config.Config) []certs.Pair {
	var pairs []certs.Pair
	for _, pair := range cfg.TLS {
		pairs = append(pairs, certs.Pair{Cert: pair.Cert, Key: pair.Key})
	}
	return pairs
}

func (p *platform) openDirectory() error {
	opts, err := clientOptions(p.cfg)
	if err != nil {
		return err
	}
	if p.cfg.Directory.Embedded {
		if p.embedded, err = openEmbedded(p.cfg, ldapd.Options{TLS: p.certs.Server(p.authorityHints), Certificate: p.certificateEntry, Log: p.log}); err != nil {
			return err
		}
		p.closers = append(p.closers, p.embedded.close)
		opts.Dial = p.embedded.dial
	}
	opts.Log, opts.Observe = p.log, p.meters.ldapCall
	if p.client, err = client.New(opts); err != nil {
		return err
	}
	p.closers = append(p.closers, func(context.Context) error { return p.client.Close() })
	p.view = view.Open(view.Options{File: filepath.Join(p.cfg.Cache, ".directory"), Log: p.log, Changed: p.changed})
	p.resolver = lookup.New(p.client, lookup.Options{
		Base: p.cfg.Directory.Base, Node: p.cfg.Hostname, Domains: p.cfg.Directory.Domains, View: p.view, Log: p.log,
	})
	p.auth = auth.New(p.client, p.resolver, auth.Options{Log: p.log})
	p.door = login.New(p.resolver, p.auth, login.Options{
		Log: p.log, WrongPerPeer: p.cfg.Limits.WrongPerPeer, WrongPerAccount: p.cfg.Limits.WrongPerAccount,
		Observe: p.meters.login, Ended: p.meters.ended,
	})
	p.feed = feed.Start(p.client, p.view, feed.Options{
		Base: p.cfg.Directory.Base, Means: os.Getenv("DIRPOST_TEST_FEED"), Log: p.log,
	})
	p.closers = append(p.closers, func(context.Context) error { return p.feed.Close() })
	if p.embedded == nil {
		p.beside(func(ctx context.Context) { p.logSurvey(ctx, surveyOptions(p.cfg, opts)) })
	}
	return nil
}

// beside runs work until the platform closes.
func (p *platform) beside(work func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { work(ctx) })
	p.closers = append(p.closers, func(context.Context) error {
		cancel()
		running.Wait()
		return nil
	})
}

// changed is told of each change of the directory that the view has learned of.
func (p *platform) changed(old, now *ldap.Entry) {
	p.door.Changed(context.Background(), lookup.ChangeOf(old, now))
}

// sweepEvery is how often sessions are held against what no change of their person tells. The authorities that the resolver
// keeps are up to ten seconds old.
const sweepEvery = 5 * time.Second

// sweep ends the sessions whose ground is gone, until ctx ends.
func (p *platform) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.door.Sweep(ctx)
		}
	}
}

// traceRoom is what the store takes above the limit of a message: the fields that we put on top do not count against
// the sender.
const traceRoom = 64 << 10

func (p *platform) openStore() (err error) {
	p.store, err = mailbox.Open(mailbox.Options{
		Homes:  homesFolder(p.cfg),
		Cache:  p.cfg.Cache,
		Node:   p.cfg.Hostname,
		Limits: storage.Limits{MessageBytes: p.cfg.Limits.MessageBytes + traceRoom},
		Log:    p.log,
	})
	if err == nil {
		p.closers = append(p.closers, func(context.Context) error { return p.store.Close() })
	}
	return err
}

// openServers makes the servers and says where each of them listens.
func (p *platform) openServers() (err error) {
	plain, users := p.certs.Server(nil), p.certs.Server(p.authorityHints)
	deliverer := delivery.New(p.store, delivery.Options{Log: p.log, Warnings: p.cfg.Limits.QuotaWarnings, Observe: p.meters.delivery})
	p.queue, err = queue.Open(spoolFolder(p.cfg), p.store, p.resolver, deliverer, queue.Options{Hostname: p.cfg.Hostname, Log: p.log})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, func(context.Context) error { return p.queue.Close() })
	fromOthers := inbound.New(p.resolver, deliverer, p.queue, inbound.Options{Hostname: p.cfg.Hostname})
	fromUsers := submit.New(p.resolver, deliverer, p.queue, submit.Options{Hostname: p.cfg.Hostname})

	smtpOptions := smtpd.Options{
		Hostname: p.cfg.Hostname, TLS: plain, Log: p.log,
		MaxBytes: p.cfg.Limits.MessageBytes, MaxRcpts: p.cfg.Limits.Recipients,
		MaxConns: p.cfg.Limits.Connections, MaxConnsOfPeer: p.cfg.Limits.ConnectionsPerPeer,
		GreetPause: time.Duration(p.cfg.Limits.GreetPause),
	}
	mx, lmtp := smtpd.NewMX(fromOthers, smtpOptions), smtpd.NewLMTP(fromOthers, smtpOptions)
	smtpOptions.TLS = users
	submission := smtpd.NewSubmission(fromUsers, p.door, smtpOptions)
	imap := imapd.New(p.door, p.store, imapd.Options{
		Hostname: p.cfg.Hostname, TLS: users, Log: p.log,
		MaxBytes: p.cfg.Limits.MessageBytes, Idle: time.Duration(p.cfg.Limits.Idle),
		MaxConns: p.cfg.Limits.Connections, MaxConnsOfPeer: p.cfg.Limits.ConnectionsPerPeer,
	})

	control := controld.New(p.controlSource(), p.log)
	servers := map[string]endpoint{
		"mx":          {serve: inClear(mx.Serve), shutdown: mx.Shutdown},
		"lmtp":        {serve: inClear(lmtp.Serve), shutdown: lmtp.Shutdown},
		"submission":  {serve: inClear(submission.Serve), shutdown: submission.Shutdown},
		"submissions": {serve: inTLS(submission.Serve)},
		"imap":        {serve: inClear(imap.Serve), shutdown: imap.Shutdown},
		"imaps":       {serve: inTLS(imap.Serve)},
		"status":      {serve: control.Serve, shutdown: control.Shutdown},
		"control":     {serve: control.ServeAdmin},
	}
	if p.embedded != nil { // its shutdown is that of the directory: it answers until the last session is over
		servers["ldap"] = endpoint{serve: p.embedded.server.Serve}
		servers["ldapi"] = servers["ldap"]
		servers["ldaps"] = endpoint{serve: p.embedded.server.ServeTLS}
	}
	for _, s := range services(p.cfg) {
		e := servers[s.name]
		e.service, e.traffic = s, new(traffic)
		p.endpoints = append(p.endpoints, e)
	}
	return nil
}

// inClear and inTLS are how a server that knows both serves a listener.
func inClear(serve func(net.Listener, bool) error) func(net.Listener) error {
	return func(l net.Listener) error { return serve(l, false) }
}

func inTLS(serve func(net.Listener, bool) error) func(net.Listener) error {
	return func(l net.Listener) error { return serve(l, true) }
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

// certificateEntry is whose entry a client certificate proves, to the embedded directory: by the one rule that counts for
// mail too.
func (p *platform) certificateEntry(ctx context.Context, chain []*x509.Certificate) (dn string, err error) {
	acct, err := p.auth.Certificate(ctx, chain)
	if err == nil && acct.AuthPolicy != directory.Either && acct.AuthPolicy != directory.CertificateOnly {
		err = fmt.Errorf("%w: the account wants a password", directory.ErrRefused)
	}
	return acct.DN, err
}

// homesFolder is where the homes of all mailboxes lie.
func homesFolder(cfg config.Config) string { return filepath.Join(cfg.Data, "homes") }

// spoolFolder is where messages wait that not everybody has yet.
func spoolFolder(cfg config.Config) string { return filepath.Join(cfg.Data, "spool") }

// frontendFile holds the password of the service entry of the embedded directory.
func frontendFile(cfg config.Config) string { return filepath.Join(cfg.Data, "keys", "frontend") }

// frontendDN is the service entry that dirpost searches as, unless the configuration names another.
func frontendDN(base string) string { return "cn=frontend,ou=services," + base }

// clientOptions turns the configuration into those of the directory client, with the service identity.
func clientOptions(cfg config.Config) (client.Options, error) {
	opts, err := connectOptions(cfg)
	if err != nil {
		return opts, err
	}
	return opts, actAsService(cfg, &opts)
}

// connectOptions are those of a client that has no identity yet.
func connectOptions(cfg config.Config) (client.Options, error) {
	d := cfg.Directory
	opts := client.Options{URIs: d.URIs, StartTLS: d.StartTLS, Timeout: time.Duration(d.Timeout)}
	names, err := d.Names()
	if err != nil {
		return opts, err // not after the check of the file
	}
	opts.Profile = names
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
	return opts, nil
}

// actAsService sets the identity of the service entry.
func actAsService(cfg config.Config, opts *client.Options) error {
	file := cfg.Directory.PasswordFile
	if cfg.Directory.Embedded {
		file = frontendFile(cfg)
	}
	if file == "" {
		opts.External = true
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("the password dirpost searches with: %w", err)
	}
	opts.BindDN = cmp.Or(cfg.Directory.BindDN, frontendDN(cfg.Directory.Base))
	opts.Password = strings.TrimRight(string(text), "\r\n")
	return nil
}
