package smtpd

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/auth"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/directory/provision"
	"github.com/dirpost/dirpost/protocols/certs"
	"github.com/dirpost/dirpost/protocols/delivery"
	"github.com/dirpost/dirpost/protocols/inbound"
	"github.com/dirpost/dirpost/protocols/ldapd"
	"github.com/dirpost/dirpost/protocols/listen"
	"github.com/dirpost/dirpost/protocols/login"
	"github.com/dirpost/dirpost/protocols/queue"
	"github.com/dirpost/dirpost/protocols/submit"
	"github.com/dirpost/dirpost/storage/mailbox"
)

const (
	hostname = "mx.example.org"
	password = "correct horse"
)

// A world is a mail system in a temporary directory: embedded directory, store and everything between, with alice and
// bob at example.org. Alice has a password, a client certificate, and a receive-only address; press@ is a role of both,
// and alice may send as it.
type world struct {
	t        testing.TB
	homes    string
	people   *provision.Provisioner
	resolver *lookup.Resolver
	door     *login.Door
	store    *mailbox.Store
	queue    *queue.Queue
	in       *inbound.Acceptor
	out      *submit.Acceptor
	tls      *tls.Config // of the server
	dial     *tls.Config // of a client
	ca       *certs.KeyPair
	alice    *certs.KeyPair
	cert     tls.Certificate // of alice
	log      *logged

	mu    sync.Mutex // guards the way to the directory
	down  bool
	links []net.Conn
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, homes: filepath.Join(t.TempDir(), "homes"), log: &logged{}}
	w.makeCertificates()
	w.startDirectory()
	w.populate()
	var err error
	w.store, err = mailbox.Open(mailbox.Options{Homes: w.homes, Cache: filepath.Join(t.TempDir(), "cache"), Node: "node"})
	w.must(err)
	t.Cleanup(func() { w.store.Close() })
	deliverer := delivery.New(w.store, delivery.Options{Log: w.log.logger()})
	w.queue, err = queue.Open(filepath.Join(t.TempDir(), "spool"), w.store, w.resolver, deliverer, queue.Options{Hostname: hostname, Log: w.log.logger()})
	w.must(err)
	t.Cleanup(func() { w.queue.Close() })
	w.in = inbound.New(w.resolver, deliverer, w.queue, inbound.Options{Hostname: hostname})
	w.out = submit.New(w.resolver, deliverer, w.queue, submit.Options{Hostname: hostname})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// startDirectory serves an embedded directory over socket pairs, where this process is its administrator.
func (w *world) startDirectory() {
	tree, err := dit.Open(filepath.Join(w.t.TempDir(), "directory.db"), dit.Options{
		Suffixes: []string{"dc=example,dc=org"}, ServiceUIDs: []int{os.Getuid()},
	})
	w.must(err)
	w.t.Cleanup(func() { tree.Close() })
	server := ldapd.New(tree, ldapd.Options{})
	w.t.Cleanup(func() { server.Shutdown(context.Background()) })
	c, err := client.New(client.Options{External: true, Dial: func(context.Context) (net.Conn, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.down {
			return nil, errors.New("directory is down")
		}
		ours, theirs, err := socketPair()
		if err == nil {
			go server.ServeConn(theirs)
			w.links = append(w.links, theirs)
		}
		return ours, err
	}})
	w.must(err)
	w.t.Cleanup(func() { c.Close() })
	w.people = provision.New(c, provision.Options{Base: "dc=example,dc=org"})
	w.resolver = lookup.New(c, lookup.Options{Base: "dc=example,dc=org"})
	w.door = login.New(w.resolver, auth.New(c, w.resolver, auth.Options{}), login.Options{FailureTime: time.Millisecond})
}

// outage takes the directory out of reach.
func (w *world) outage() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for _, c := range w.links {
		c.Close()
	}
}

func socketPair() (net.Conn, net.Conn, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket pair")
		conns[i], err = net.FileConn(f)
		f.Close()
		if err != nil {
			return nil, nil, err
		}
	}
	return conns[0], conns[1], nil
}

func (w *world) populate() {
	ctx := w.t.Context()
	w.must(w.people.Init(ctx, "Example", "frontend secret", provision.NewAdmin{Login: "admin", Name: "Admin", Password: "admin secret"}))
	w.must(w.people.AddDomain(ctx, "example.org"))
	w.addUser("alice", directory.Quota{})
	w.addUser("bob", directory.Quota{})
	w.must(w.people.AddAlias(ctx, "alice", address("post@example.org")))
	w.addRole("press", "alice", "bob")
	w.must(w.people.AddCertificate(ctx, "alice", w.cert.Leaf, "sha256"))
	w.must(w.people.AddAuthority(ctx, "test", w.ca.Cert, nil, []string{"sha256"}, "none"))
}

// addUser adds login@example.org, with the password of this file if it is alice.
func (w *world) addUser(login string, quota directory.Quota) {
	w.t.Helper()
	u := provision.NewUser{Login: login, Name: login, Mail: address(login + "@example.org"), Quota: quota}
	if login == "alice" {
		u.Password = password
	}
	_, err := w.people.AddUser(w.t.Context(), u)
	w.must(err)
}

// addRole adds role@example.org, held by these logins, who may also send as it.
func (w *world) addRole(role string, logins ...string) {
	w.t.Helper()
	_, err := w.people.AddRole(w.t.Context(), provision.NewRole{Address: address(role + "@example.org"), Occupants: logins})
	w.must(err)
}

func address(s string) directory.Address {
	a, err := directory.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// makeCertificates makes an authority, and of it a server certificate and alice's.
func (w *world) makeCertificates() {
	var err error
	w.ca, err = certs.SelfSigned(certs.Request{Subject: pkix.Name{CommonName: "Test CA"}, CA: true})
	w.must(err)
	server, err := w.ca.Issue(certs.Request{Subject: pkix.Name{CommonName: "localhost"}, Server: true, DNS: []string{"localhost"}})
	w.must(err)
	w.alice, err = w.ca.Issue(certs.Request{Subject: pkix.Name{CommonName: "alice"}, Client: true})
	w.must(err)
	w.cert = w.alice.TLS()
	w.tls = &tls.Config{Certificates: []tls.Certificate{server.TLS()}, ClientAuth: tls.RequestClientCert}
	roots := x509.NewCertPool()
	roots.AddCert(w.ca.Cert)
	w.dial = &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

// serve starts one of the three servers on a loopback port and returns it with its address. It is shut down with the
// test.
func (w *world) serve(kind string, opts Options) (*Server, string) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	return w.serveOn(l, kind, opts), l.Addr().String()
}

func (w *world) serveOn(l net.Listener, kind string, opts Options) *Server {
	opts.Hostname, opts.TLS, opts.Log = hostname, w.tls, w.log.logger()
	var s *Server
	switch kind {
	case "mx":
		s = NewMX(w.in, opts)
	case "lmtp":
		s = NewLMTP(w.in, opts)
	case "submission", "submissions":
		s = NewSubmission(w.out, w.door, opts)
	default:
		w.t.Fatalf("no server %q", kind)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l, kind == "submissions") }()
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			w.t.Errorf("shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, listen.ErrClosed) {
			w.t.Errorf("serve: got %v, want %v", err, listen.ErrClosed)
		}
	})
	return s
}

// inbox returns the messages of login, as they lie on the disk, in the order they came.
func (w *world) inbox(login string) []string {
	w.t.Helper()
	acct, err := w.resolver.Account(context.Background(), login)
	w.must(err)
	files, err := filepath.Glob(filepath.Join(w.homes, acct.ID, "Maildir", "new", "*"))
	w.must(err)
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(uidOf(a), uidOf(b)) })
	out := make([]string, len(files))
	for i, file := range files {
		text, err := os.ReadFile(file)
		w.must(err)
		out[i] = string(text)
	}
	return out
}

// uidOf returns the UID in a file name, padded so that it sorts.
func uidOf(file string) string {
	_, uid, _ := strings.Cut(file, ",I=")
	_, uid, _ = strings.Cut(uid, ".")
	uid, _, _ = strings.Cut(uid, ":")
	return strings.Repeat("0", max(0, 10-len(uid))) + uid
}

// A logged is what the servers of a world have logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
