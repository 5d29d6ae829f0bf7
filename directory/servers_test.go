package directory_test

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/directory/profile"
	"github.com/dirpost/dirpost/directory/provision"
	"github.com/dirpost/dirpost/protocols/ldapd"
	"github.com/dirpost/dirpost/schema/slapdtest"
)

const (
	base     = "dc=example,dc=org"
	people   = "ou=people," + base
	groups   = "ou=groups," + base
	roles    = "ou=roles," + base
	routes   = "ou=routes," + base
	domains  = "ou=domains," + base
	patience = 20 * time.Second
)

// The tests of this folder are those of client, lookup, auth and provision together, as far as they need a directory. Each
// runs against both kinds of servers.

// A server is a directory that a test runs against: a real slapd, or the embedded one behind its protocol server, or, with
// `make peers`, a real 389-ds. All must give the same answers.
type server struct {
	uri         string
	profile     *profile.Profile // what it calls things; nil = as our schema does
	admin       client.Options   // may do everything, as the one who sets a directory up
	locked      error            // how it answers the right password of an account that is locked for wrong ones
	stop, start func()
}

// onBoth runs a test against slapd and against the embedded directory, each initialised and with the domain example.org; with
// `make peers` against 389-ds instead.
func onBoth(t *testing.T, test func(t *testing.T, s *server, p *provision.Provisioner)) {
	t.Helper()
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			test(t, s, s.ready(t))
		})
	}
}

// ready initialises the directory, with the domain example.org.
func (s *server) ready(t *testing.T) *provision.Provisioner {
	t.Helper()
	p := provision.New(s.connect(t, s.admin), provision.Options{Base: base})
	if err := p.Init(t.Context(), "Example Association", "frontend-password", provision.NewAdmin{Login: "root", Name: "Rita Root", Password: "root-password"}); err != nil {
		t.Fatal(err)
	}
	if err := p.AddDomain(t.Context(), "example.org"); err != nil {
		t.Fatal(err)
	}
	return p
}

func startSlapd(t testing.TB) *server {
	t.Helper()
	s := slapdtest.Start(t, slapdtest.Options{Base: base})
	return &server{
		uri:    s.LDAPI,
		admin:  client.Options{URIs: []string{s.LDAPI}, BindDN: s.RootDN, Password: s.RootPassword},
		locked: directory.ErrWrong,
		stop:   func() { s.Stop(t) },
		start:  func() { s.Start(t) },
	}
}

func startEmbedded(t testing.TB) *server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "directory.db")
	short, err := os.MkdirTemp("", "dit") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	socket := filepath.Join(short, "ldapi")
	s := &server{uri: "ldapi://" + url.PathEscape(socket), locked: directory.ErrWrong, stop: func() {}}
	s.admin = client.Options{URIs: []string{s.uri}, External: true}
	s.start = func() {
		tree, err := dit.Open(file, dit.Options{Suffixes: []string{base}, ServiceUIDs: []int{os.Getuid()}})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		ldap := ldapd.New(tree, ldapd.Options{})
		served := make(chan error, 1)
		go func() { served <- ldap.Serve(l) }()
		s.stop = func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := ldap.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			<-served
			if err := tree.Close(); err != nil {
				t.Error(err)
			}
			s.stop = func() {}
		}
	}
	t.Cleanup(func() { s.stop() })
	s.start()
	return s
}

// connect returns a client that closes before the server stops.
func (s *server) connect(t testing.TB, opts client.Options) *client.Client {
	t.Helper()
	if opts.Profile == nil {
		opts.Profile = s.profile
	}
	if opts.URIs == nil && opts.Dial == nil {
		opts.URIs = []string{s.uri}
	}
	c, err := client.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// frontend is a client with the rights of dirpost itself: nothing is tested with more.
func (s *server) frontend(t testing.TB) *client.Client {
	t.Helper()
	return s.connect(t, client.Options{BindDN: provision.FrontendDN(base), Password: "frontend-password"})
}

// add adds an entry from pairs of names and values.
func (s *server) add(t testing.TB, c *client.Client, dn string, pairs ...string) {
	t.Helper()
	values := map[string][]string{}
	var order []string
	for i := 0; i < len(pairs); i += 2 {
		if values[pairs[i]] == nil {
			order = append(order, pairs[i])
		}
		values[pairs[i]] = append(values[pairs[i]], pairs[i+1])
	}
	req := ldap.NewAddRequest(dn, nil)
	for _, name := range order {
		req.Attribute(name, values[name])
	}
	if err := c.Add(t.Context(), req); err != nil {
		t.Fatal(err)
	}
}

// set replaces the values of an attribute.
func (s *server) set(t testing.TB, c *client.Client, dn, attr string, values ...string) {
	t.Helper()
	req := ldap.NewModifyRequest(dn, nil)
	req.Replace(attr, values)
	if err := c.Modify(t.Context(), req); err != nil {
		t.Fatal(err)
	}
}

func address(t testing.TB, s string) directory.Address {
	t.Helper()
	a, err := directory.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func person(login string) string { return "uid=" + login + "," + people }

// user adds a person with LOGIN@example.org.
func user(t testing.TB, p *provision.Provisioner, login string) {
	t.Helper()
	if _, err := p.AddUser(t.Context(), provision.NewUser{Login: login, Mail: address(t, login+"@example.org"), Password: login + "-password"}); err != nil {
		t.Fatal(err)
	}
}
