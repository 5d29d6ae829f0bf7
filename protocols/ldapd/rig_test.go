package ldapd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols/certs"
	"github.com/dirpost/dirpost/protocols/listen"
	"github.com/go-ldap/ldap/v3"
)

const (
	base  = "dc=example,dc=org"
	alice = "uid=alice,ou=people," + base
	carol = "uid=carol,ou=people," + base // an administrator
)

// patience bounds every wait of a test for something that should be there at once.
const patience = 20 * time.Second

// A rig is a server over a directory with three people and a service, on TCP and on a unix socket.
type rig struct {
	*Server
	tree   *dit.Tree
	tcp    string
	tls    string // where TLS comes first
	socket string
	client *tls.Config // trusts the server
	caFile string
	ends   <-chan string // "dn" of the log line at the end of each session
}

// start runs a server with the tree of openTree until the test ends.
func start(t testing.TB, opts Options) *rig {
	t.Helper()
	return serve(t, openTree(t), opts)
}

// serve runs a server for a directory until the test ends.
func serve(t testing.TB, tree *dit.Tree, opts Options) *rig {
	t.Helper()
	r := &rig{tree: tree}
	opts.TLS, r.client, r.caFile = pki(t)
	ends := make(chan string, 100)
	r.ends = ends
	if opts.Log == nil {
		opts.Log = slog.New(ending{slog.DiscardHandler, ends})
	}
	r.Server = New(r.tree, opts)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// A socket's path is at most 107 octets long, which the folder of a test may be alone.
	dir, err := os.MkdirTemp("", "ldapd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r.socket = filepath.Join(dir, "ldapi")
	unix, err := net.Listen("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	r.tcp = tcp.Addr().String()
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.tls = secure.Addr().String()
	served := make(chan error, 3)
	for _, l := range []net.Listener{tcp, unix} {
		go func() { served <- r.Serve(l) }()
	}
	go func() { served <- r.ServeTLS(secure) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		for range 3 {
			if err := <-served; !errors.Is(err, listen.ErrClosed) {
				t.Errorf("Serve: %v, want %v", err, listen.ErrClosed)
			}
		}
	})
	return r
}

// openTree returns a directory in which the user of the test is a local administrator.
func openTree(t testing.TB) *dit.Tree {
	t.Helper()
	tree, err := dit.Open(filepath.Join(t.TempDir(), "directory.db"), dit.Options{Suffixes: []string{base}, ServiceUIDs: []int{os.Getuid()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	local := tree.Peer(os.Getuid(), os.Getgid())
	for _, e := range []dit.Entry{
		entry(base, "objectClass", "dcObject", "objectClass", "organization", "dc", "example", "o", "Example"),
		entry("ou=people,"+base, "objectClass", "organizationalUnit", "ou", "people"),
		entry("ou=groups,"+base, "objectClass", "organizationalUnit", "ou", "groups"),
		entry("ou=services,"+base, "objectClass", "organizationalUnit", "ou", "services"),
		entry(alice, "objectClass", "inetOrgPerson", "uid", "alice", "cn", "Alice Adler", "sn", "Adler", "userPassword", "alice-password"),
		entry("uid=bob,ou=people,"+base, "objectClass", "inetOrgPerson", "uid", "bob", "cn", "Bob Brandt", "sn", "Brandt"),
		entry(carol, "objectClass", "inetOrgPerson", "uid", "carol", "cn", "Carol Conti", "sn", "Conti", "userPassword", "carol-password"),
		entry("cn=mail-admins,ou=groups,"+base, "objectClass", "groupOfNames", "objectClass", "dpAdminRole", "cn", "mail-admins",
			"dpAdminRight", "full", "member", carol),
	} {
		if err := tree.Add(context.Background(), local, e); err != nil {
			t.Fatalf("add %s: %v", e.DN, err)
		}
	}
	return tree
}

// entry makes an entry from names and values.
func entry(dn string, pairs ...string) dit.Entry {
	e := dit.Entry{DN: dn}
	for i := 0; i < len(pairs); i += 2 {
		if n := len(e.Attributes); n > 0 && e.Attributes[n-1].Name == pairs[i] {
			e.Attributes[n-1].Values = append(e.Attributes[n-1].Values, []byte(pairs[i+1]))
			continue
		}
		e.Attributes = append(e.Attributes, dit.Attribute{Name: pairs[i], Values: [][]byte{[]byte(pairs[i+1])}})
	}
	return e
}

// pki makes a certificate for localhost and returns both sides' configuration, and the authority as a file for tools.
func pki(t testing.TB) (server, client *tls.Config, caFile string) {
	t.Helper()
	ca, err := certs.SelfSigned(certs.Request{CA: true})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue(certs.Request{Server: true, DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	caFile = filepath.Join(dir, "ca.pem")
	if err := ca.Write(caFile, filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Cert)
	return &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}, ClientAuth: tls.RequestClientCert}, &tls.Config{RootCAs: roots, ServerName: "localhost"}, caFile
}

// ending is a log handler that passes on what sessions say at their end.
type ending struct {
	slog.Handler
	to chan<- string
}

func (e ending) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (e ending) WithAttrs([]slog.Attr) slog.Handler           { return e }
func (e ending) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "ldap session" {
		return nil
	}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "dn" {
			select {
			case e.to <- a.Value.String():
			default: // more than any test looks at
			}
		}
		return true
	})
	return nil
}

// ended waits for the end of a session.
func (r *rig) ended(t *testing.T) (dn string) {
	t.Helper()
	select {
	case dn = <-r.ends:
	case <-time.After(patience):
		t.Fatal("the session does not end")
	}
	return dn
}

func (r *rig) uri() string  { return "ldap://" + r.tcp }
func (r *rig) uriI() string { return "ldapi://" + url.PathEscape(r.socket) }

// dial connects go-ldap's client by TCP.
func (r *rig) dial(t testing.TB) *ldap.Conn {
	t.Helper()
	c, err := ldap.DialURL(r.uri())
	if err != nil {
		t.Fatal(err)
	}
	c.SetTimeout(patience)
	t.Cleanup(func() { c.Close() })
	return c
}

// dialAdmin connects it by the unix socket and binds as the local administrator.
func (r *rig) dialAdmin(t testing.TB) *ldap.Conn {
	t.Helper()
	raw, err := net.Dial("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	c := ldap.NewConn(raw, false)
	c.Start()
	c.SetTimeout(patience)
	t.Cleanup(func() { c.Close() })
	if err := c.ExternalBind(); err != nil {
		t.Fatal(err)
	}
	return c
}
