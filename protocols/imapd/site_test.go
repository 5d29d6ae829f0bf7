package imapd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/auth"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/directory/provision"
	"github.com/dirpost/dirpost/protocols/certs"
	"github.com/dirpost/dirpost/protocols/ldapd"
	"github.com/dirpost/dirpost/protocols/listen"
	"github.com/dirpost/dirpost/protocols/login"
	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

const (
	base     = "dc=example,dc=org"
	password = "correct horse"
	patience = 20 * time.Second // bounds every wait for what should be there at once
)

// A site is a server with everything behind it: the embedded directory with alice and bob, a door and a store.
type site struct {
	*Server
	store     *mailbox.Store
	homes     string
	people    *provision.Provisioner
	directory *ldapd.Server
	ca        *certs.KeyPair // signs client certificates; trusted
	server    *certs.KeyPair // signs itself
	roots     *x509.CertPool // of the server's certificate
	plain     net.Listener
	secure    net.Listener
	log       *logBuffer
}

// newSite starts a server that runs until the test ends.
func newSite(t testing.TB, opts Options) *site {
	t.Helper()
	s := &site{log: new(logBuffer), homes: filepath.Join(t.TempDir(), "homes")}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	s.store, err = mailbox.Open(mailbox.Options{Homes: s.homes, Cache: filepath.Join(t.TempDir(), "cache"), Node: "node1", Log: log})
	must(t, err)
	t.Cleanup(func() { s.store.Close() })
	door := s.openDoor(t)
	opts.Log, opts.TLS = log, s.tlsConfig(t)
	s.Server = New(door, s.store, opts)
	s.plain, s.secure = s.serve(t, "127.0.0.1:0", false), s.serve(t, "127.0.0.1:0", true)
	return s
}

// serve listens until the test ends.
func (s *site) serve(t testing.TB, addr string, implicitTLS bool) net.Listener {
	t.Helper()
	l, err := listen.Listen(t.Context(), addr, 0)
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l, implicitTLS) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, listen.ErrClosed) {
			t.Errorf("Serve: %v, want %v", err, listen.ErrClosed)
		}
	})
	return l
}

// openDoor starts the embedded directory, fills it and returns the door before it.
func (s *site) openDoor(t testing.TB) *login.Door {
	t.Helper()
	tree, err := dit.Open(filepath.Join(t.TempDir(), "directory.db"), dit.Options{Suffixes: []string{base}, ServiceUIDs: []int{os.Getuid()}})
	must(t, err)
	t.Cleanup(func() { tree.Close() })
	dir, err := os.MkdirTemp("", "imapd") // short: see listen.Listen
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "ldapi")
	l, err := listen.Listen(t.Context(), "unix:"+socket, 0)
	must(t, err)
	s.directory = ldapd.New(tree, ldapd.Options{})
	go s.directory.Serve(l)
	t.Cleanup(func() { s.stopDirectory(t) })
	c, err := client.New(client.Options{External: true, Retry: 10 * time.Millisecond, Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	s.fill(t, c)
	r := lookup.New(c, lookup.Options{Base: base})
	return login.New(r, auth.New(c, r, auth.Options{}), login.Options{FailureTime: time.Millisecond})
}

func (s *site) stopDirectory(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.directory.Shutdown(ctx); err != nil {
		t.Errorf("directory: %v", err)
	}
}

// fill makes alice, bob with a quota, and an authority for certificates.
func (s *site) fill(t testing.TB, c *client.Client) {
	t.Helper()
	ctx := t.Context()
	s.people = provision.New(c, provision.Options{Base: base, NewID: sequence("m-")})
	must(t, s.people.Init(ctx, "Example", "frontend-password", provision.NewAdmin{Login: "admin", Name: "Admin", Password: password}))
	must(t, s.people.AddDomain(ctx, "example.org"))
	for _, u := range []provision.NewUser{{Login: "alice"}, {Login: "bob", Quota: directory.Quota{Bytes: 20_000}}} {
		u.Mail = directory.Address{Local: u.Login, Domain: "example.org"}
		u.Password = password
		_, err := s.people.AddUser(ctx, u)
		must(t, err)
	}
	var err error
	s.ca, err = certs.SelfSigned(certs.Request{Subject: pkix.Name{CommonName: "People CA"}, CA: true})
	must(t, err)
	must(t, s.people.AddAuthority(ctx, "people", s.ca.Cert, nil, nil, ""))
}

// sequence makes ids that a test can foresee.
func sequence(prefix string) func() string {
	n := 0
	return func() string {
		n++
		return fmt.Sprintf("%s%d", prefix, n)
	}
}

// tlsConfig is the server's, as cmd makes it.
func (s *site) tlsConfig(t testing.TB) *tls.Config {
	t.Helper()
	key, err := certs.SelfSigned(certs.Request{Subject: pkix.Name{CommonName: "localhost"}, Server: true, DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	must(t, err)
	dir := t.TempDir()
	pair := certs.Pair{Cert: filepath.Join(dir, "server.pem"), Key: filepath.Join(dir, "server.key")}
	must(t, key.Write(pair.Cert, pair.Key))
	s.server, s.roots = key, x509.NewCertPool()
	s.roots.AddCert(key.Cert)
	store, err := certs.Open([]certs.Pair{pair})
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(s.ca.Cert)
	return store.Server(func() *x509.CertPool { return pool })
}

// clientTLS is a client's configuration, with a certificate or without.
func (s *site) clientTLS(key *certs.KeyPair) *tls.Config {
	config := &tls.Config{RootCAs: s.roots, ServerName: "localhost"}
	if key != nil {
		config.Certificates = []tls.Certificate{key.TLS()}
	}
	return config
}

// home is the mail of an account.
func (s *site) home(t testing.TB, login string) *mailbox.Home {
	t.Helper()
	account, err := s.people.User(t.Context(), login)
	must(t, err)
	home, err := s.store.Home(account.ID)
	must(t, err)
	return home
}

// deliver files a message as delivery does.
func (s *site) deliver(t testing.TB, login, folder, text string, flags storage.Flags) storage.UID {
	t.Helper()
	home := s.home(t, login)
	staged, err := s.store.Stage()
	must(t, err)
	defer staged.Discard()
	_, err = io.WriteString(staged, text)
	must(t, err)
	staged.SetDate(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	must(t, staged.Seal())
	done, err := home.Append(t.Context(), folder, staged, mailbox.AppendOptions{Flags: flags})
	must(t, err)
	return done.UID
}

// dial connects the library's client and logs in.
func (s *site) dial(t testing.TB, login string, options *imapclient.Options) *imapclient.Client {
	t.Helper()
	if options == nil {
		options = &imapclient.Options{}
	}
	options.TLSConfig = s.clientTLS(nil)
	c, err := imapclient.DialTLS(s.secure.Addr().String(), options)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.Login(login, password).Wait())
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// A wireClient speaks IMAP line by line.
type wireClient struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// connect opens a connection in the clear, or by implicit TLS when there is a configuration.
func (s *site) connect(t testing.TB, config *tls.Config) *wireClient {
	t.Helper()
	addr := s.plain.Addr().String()
	if config != nil {
		addr = s.secure.Addr().String()
	}
	conn, err := net.Dial("tcp", addr)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	if config != nil {
		conn = tls.Client(conn, config)
	}
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	return &wireClient{t, conn, bufio.NewReader(conn)}
}

func (w *wireClient) send(text string) {
	w.t.Helper()
	_, err := io.WriteString(w.conn, strings.ReplaceAll(text, "\n", "\r\n"))
	must(w.t, err)
}

// line reads one line.
func (w *wireClient) line() string {
	w.t.Helper()
	line, err := w.in.ReadString('\n')
	if err != nil {
		w.t.Fatalf("read: %v after %q", err, line)
	}
	return strings.TrimRight(line, "\r\n")
}

// until reads lines up to one that begins with the prefix, and returns all.
func (w *wireClient) until(prefix string) []string {
	w.t.Helper()
	for lines := []string{}; ; {
		line := w.line()
		lines = append(lines, line)
		if strings.HasPrefix(line, prefix) {
			return lines
		}
	}
}

// do sends a command under the tag x and returns all that is answered.
func (w *wireClient) do(command string) []string {
	w.t.Helper()
	w.send("x " + command + "\n")
	return w.until("x ")
}

// login logs in as the person, having read the greeting.
func (w *wireClient) login(name string) {
	w.t.Helper()
	w.line()
	if got := w.do("LOGIN " + name + ` "` + password + `"`); !strings.HasPrefix(got[len(got)-1], "x OK") {
		w.t.Fatalf("login: %q", got)
	}
}
