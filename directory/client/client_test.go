package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/schema/slapd"
	"github.com/dirpost/dirpost/schema/slapdtest"
)

const (
	base     = "dc=example,dc=org"
	people   = "ou=people," + base
	frontend = "cn=frontend,ou=services," + base
	alice    = "uid=alice," + people
)

// sample has the service, people in the states that a bind can meet, and a referral.
const sample = `
dn: cn=frontend,ou=services,dc=example,dc=org
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: frontend
userPassword: frontend-password
pwdPolicySubentry: cn=services,ou=policies,dc=example,dc=org

dn: cn=expiring,ou=policies,dc=example,dc=org
objectClass: applicationProcess
objectClass: pwdPolicy
cn: expiring
pwdAttribute: userPassword
pwdMaxAge: 1
pwdGraceAuthNLimit: 0

dn: uid=alice,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: Adler
userPassword: alice-password

dn: uid=reset,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: reset
cn: Reset
sn: Reset
userPassword: reset-password
pwdReset: TRUE

dn: uid=expired,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: expired
cn: Expired
sn: Expired
userPassword: expired-password
pwdPolicySubentry: cn=expiring,ou=policies,dc=example,dc=org

dn: uid=passwordless,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: passwordless
cn: Passwordless
sn: Passwordless

dn: ou=elsewhere,dc=example,dc=org
objectClass: referral
objectClass: extensibleObject
ou: elsewhere
ref: ldap://127.0.0.1:1/ou=elsewhere,dc=example,dc=org
`

func start(t *testing.T) *slapdtest.Server {
	t.Helper()
	s := slapdtest.Start(t, slapdtest.Options{})
	tree, err := slapd.Tree(base, "Example")
	if err != nil {
		t.Fatal(err)
	}
	s.Load(t, slapd.LDIF(tree)+sample)
	return s
}

// connect returns a client as the root DN, unless opts say otherwise.
func connect(t *testing.T, s *slapdtest.Server, opts client.Options) *client.Client {
	t.Helper()
	if opts.URIs == nil && opts.Dial == nil {
		opts.URIs = []string{s.LDAPI}
	}
	if opts.BindDN == "" && !opts.External {
		opts.BindDN, opts.Password = s.RootDN, s.RootPassword
	}
	c, err := client.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestNew(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		opts client.Options
		ok   bool
	}{
		{"nothing to dial", client.Options{}, false},
		{"ldapi", client.Options{URIs: []string{"ldapi://%2Frun%2Fldapi"}}, true},
		{"ldapi with a slash at the end", client.Options{URIs: []string{"ldapi://%2Frun%2Fldapi/"}}, true},
		{"ldapi with a relative path", client.Options{URIs: []string{"ldapi://run"}}, false},
		{"ldaps", client.Options{URIs: []string{"ldaps://ldap.example.org"}}, true},
		{"clear text to loopback", client.Options{URIs: []string{"ldap://127.0.0.1:389", "ldap://[::1]", "ldap://localhost"}}, true},
		{"clear text over the network", client.Options{URIs: []string{"ldap://ldap.example.org"}}, false},
		{"StartTLS over the network", client.Options{URIs: []string{"ldap://ldap.example.org"}, StartTLS: true}, true},
		{"TLS without verification", client.Options{URIs: []string{"ldaps://ldap.example.org"}, TLS: &tls.Config{InsecureSkipVerify: true}}, false},
		{"unknown scheme", client.Options{URIs: []string{"http://ldap.example.org"}}, false},
		{"no scheme", client.Options{URIs: []string{"ldap.example.org"}}, false},
		{"URI with a base", client.Options{URIs: []string{"ldaps://ldap.example.org/dc=example"}}, false},
		{"URI with a password", client.Options{URIs: []string{"ldaps://a:b@ldap.example.org"}}, false},
		{"service without a password", client.Options{URIs: []string{"ldaps://ldap.example.org"}, BindDN: frontend}, false},
		{"service by EXTERNAL", client.Options{URIs: []string{"ldapi://%2Frun%2Fldapi"}, External: true}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := client.New(tt.opts)
			if (err == nil) != tt.ok {
				t.Errorf("New(%+v) error = %v, want ok = %v", tt.opts, err, tt.ok)
			}
			if c != nil {
				c.Close()
				c.Close() // the second time does nothing
			}
		})
	}
}

// TestUsualSocket: ldapi:/// is the socket of this machine's slapd, which the test may find running or not.
func TestUsualSocket(t *testing.T) {
	t.Parallel()
	c, err := client.New(client.Options{URIs: []string{"ldapi:///"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ping(t.Context()); err != nil && !strings.Contains(err.Error(), "unix /run/slapd/ldapi: ") {
		t.Errorf("Ping of ldapi:/// = %v, want that of /run/slapd/ldapi", err)
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	s := start(t)
	tests := []struct {
		name string
		opts client.Options
		err  error
	}{
		{"ldapi with a password", client.Options{URIs: []string{s.LDAPI}, BindDN: frontend, Password: "frontend-password"}, nil},
		{"ldapi with EXTERNAL", client.Options{URIs: []string{s.LDAPI}, External: true}, nil},
		{"loopback in the clear", client.Options{URIs: []string{s.URI}, BindDN: frontend, Password: "frontend-password"}, nil},
		{"StartTLS", client.Options{URIs: []string{s.URI}, StartTLS: true, TLS: &tls.Config{RootCAs: s.CA}, BindDN: frontend, Password: "frontend-password"}, nil},
		{"ldaps", client.Options{URIs: []string{s.LDAPS}, TLS: &tls.Config{RootCAs: s.CA}, BindDN: frontend, Password: "frontend-password"}, nil},
		{"ldaps of an unknown authority", client.Options{URIs: []string{s.LDAPS}, BindDN: frontend, Password: "frontend-password"}, directory.ErrUnavailable},
		{"StartTLS of an unknown authority", client.Options{URIs: []string{s.URI}, StartTLS: true, BindDN: frontend, Password: "frontend-password"}, directory.ErrUnavailable},
		{"ldaps under another name", client.Options{URIs: []string{s.LDAPS}, TLS: &tls.Config{RootCAs: s.CA, ServerName: "ldap.example.org"}, BindDN: frontend, Password: "frontend-password"}, directory.ErrUnavailable},
		{"a wrong service password is an outage, not a wrong password of the caller", client.Options{URIs: []string{s.URI}, BindDN: frontend, Password: "wrong"}, directory.ErrUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := connect(t, s, tt.opts)
			if err := c.Ping(t.Context()); !errors.Is(err, tt.err) || errors.Is(err, directory.ErrWrong) {
				t.Errorf("Ping() = %v, want %v", err, tt.err)
			}
			_, err := c.One(t.Context(), alice, ldap.ScopeBaseObject, "(objectClass=*)", "uid")
			if !errors.Is(err, tt.err) {
				t.Errorf("One() error = %v, want %v", err, tt.err)
			}
			if tt.err != nil { // of a change too, where 49 would mean the old password
				if _, err := c.SetPassword(t.Context(), alice, "old", "new"); !errors.Is(err, tt.err) || errors.Is(err, directory.ErrWrong) {
					t.Errorf("SetPassword() = %v, want %v", err, tt.err)
				}
			}
			// A user's password is checked on a connection of its own, where the service is not bound.
			if err := c.Bind(t.Context(), alice, "alice-password"); tt.opts.Password != "wrong" && !errors.Is(err, tt.err) {
				t.Errorf("Bind() = %v, want %v", err, tt.err)
			}
		})
	}
}

func TestBind(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := connect(t, s, client.Options{BindDN: frontend, Password: "frontend-password"})
	past := time.Now().Add(-time.Hour).UTC().Format("20060102150405Z")
	root := connect(t, s, client.Options{})
	aged := ldap.NewModifyRequest("uid=expired,"+people, []ldap.Control{ldap.NewControlString("1.3.6.1.4.1.4203.666.5.12", true, "")}) // relax: pwdChangedTime
	aged.Replace("pwdChangedTime", []string{past})
	if err := root.Modify(t.Context(), aged); err != nil {
		t.Fatal(err)
	}

	tests := []struct {
		name, dn, password string
		err                error
	}{
		{"right", alice, "alice-password", nil},
		{"wrong", alice, "Alice-password", directory.ErrWrong},
		{"right after wrong", alice, "alice-password", nil},
		{"empty password is no login", alice, "", directory.ErrWrong},
		{"password with a NUL", alice, "alice-password\x00", directory.ErrWrong},
		{"endless password", alice, strings.Repeat("a", 5000), directory.ErrWrong},
		{"empty name is anonymous", "", "alice-password", directory.ErrWrong},
		{"no such entry", "uid=nobody," + people, "alice-password", directory.ErrWrong},
		{"entry without a password", "uid=passwordless," + people, "alice-password", directory.ErrWrong},
		{"name that is no DN", "alice", "alice-password", directory.ErrUnavailable},
		{"must change: the bind succeeds, the login does not", "uid=reset," + people, "reset-password", directory.ErrRefused},
		{"must change, wrong", "uid=reset," + people, "wrong", directory.ErrWrong},
		{"expired", "uid=expired," + people, "expired-password", directory.ErrRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := c.Bind(t.Context(), tt.dn, tt.password)
			if !errors.Is(err, tt.err) {
				t.Errorf("Bind(%q) = %v, want %v", tt.dn, err, tt.err)
			}
			if err != nil && len(tt.password) > 5 && strings.Contains(err.Error(), tt.password) {
				t.Errorf("Bind(%q) = %v repeats the password", tt.dn, err)
			}
		})
	}
	// No bind has changed who searches.
	if _, err := c.One(t.Context(), alice, ldap.ScopeBaseObject, "(objectClass=*)", "uid"); err != nil {
		t.Errorf("search after binds: %v", err)
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := connect(t, s, client.Options{})
	const many = 1201 // three pages
	var ldif strings.Builder
	for i := range many {
		fmt.Fprintf(&ldif, "dn: cn=route %d,ou=routes,%s\nobjectClass: applicationProcess\ncn: route %d\n\n", i, base, i)
	}
	s.Load(t, ldif.String())

	got, err := c.Search(t.Context(), "ou=routes,"+base, ldap.ScopeSingleLevel, "(objectClass=*)", "cn")
	if err != nil || len(got) != many {
		t.Errorf("Search of %d entries = %d, %v", many, len(got), err)
	}
	few := connect(t, s, client.Options{MaxEntries: 600})
	if got, err := few.Search(t.Context(), "ou=routes,"+base, ldap.ScopeSingleLevel, "(objectClass=*)", "cn"); !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("Search beyond MaxEntries = %d, %v; want %v", len(got), err, directory.ErrUnavailable)
	}

	tests := []struct {
		name, base, filter string
		scope              int
		err                error
	}{
		{"one", people, "(uid=alice)", ldap.ScopeWholeSubtree, nil},
		{"none", people, "(uid=nobody)", ldap.ScopeWholeSubtree, directory.ErrNotFound},
		{"two", people, "(|(uid=alice)(uid=reset))", ldap.ScopeWholeSubtree, directory.ErrAmbiguous},
		{"more than two", people, "(objectClass=inetOrgPerson)", ldap.ScopeWholeSubtree, directory.ErrAmbiguous},
		{"missing base", "ou=nowhere," + base, "(uid=alice)", ldap.ScopeWholeSubtree, directory.ErrNotFound},
		{"referral as the answer", "ou=elsewhere," + base, "(uid=alice)", ldap.ScopeWholeSubtree, directory.ErrUnavailable},
		{"referral beside the answer", base, "(uid=alice)", ldap.ScopeWholeSubtree, directory.ErrUnavailable},
		{"filter that is none", people, "(uid=alice", ldap.ScopeWholeSubtree, directory.ErrUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.One(t.Context(), tt.base, tt.scope, tt.filter, "uid")
			if !errors.Is(err, tt.err) {
				t.Errorf("One(%s, %s) error = %v, want %v", tt.base, tt.filter, err, tt.err)
			}
		})
	}
	if _, err := c.Search(t.Context(), base, ldap.ScopeWholeSubtree, "(uid=alice)", "uid"); !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("Search with a referral beside the answer: error = %v, want %v", err, directory.ErrUnavailable)
	}
}

func TestWrites(t *testing.T) {
	t.Parallel()
	s := start(t)
	root := connect(t, s, client.Options{})
	person := func(uid string) *ldap.AddRequest {
		req := ldap.NewAddRequest("uid="+uid+","+people, nil)
		req.Attribute("objectClass", []string{"inetOrgPerson"})
		req.Attribute("uid", []string{uid})
		req.Attribute("cn", []string{uid})
		req.Attribute("sn", []string{uid})
		return req
	}
	modify := func(dn string, change func(*ldap.ModifyRequest)) *ldap.ModifyRequest {
		req := ldap.NewModifyRequest(dn, nil)
		change(req)
		return req
	}
	service := connect(t, s, client.Options{BindDN: frontend, Password: "frontend-password"})
	self := connect(t, s, client.Options{BindDN: alice, Password: "alice-password"})
	tests := []struct {
		name string
		do   func(ctx context.Context) error
		err  error
	}{
		{"add", func(ctx context.Context) error { return root.Add(ctx, person("carol")) }, nil},
		{"add again", func(ctx context.Context) error { return root.Add(ctx, person("carol")) }, directory.ErrExists},
		{"add without the right", func(ctx context.Context) error { return service.Add(ctx, person("dave")) }, directory.ErrRefused},
		{"add below nothing", func(ctx context.Context) error {
			req := person("dave")
			req.DN = "uid=dave,ou=nowhere," + base
			return root.Add(ctx, req)
		}, directory.ErrNotFound},
		{"add against the schema", func(ctx context.Context) error {
			req := person("dave")
			req.Attribute("dpMailboxId", []string{"m-1"})
			return root.Add(ctx, req)
		}, directory.ErrRefused},
		{"modify", func(ctx context.Context) error {
			return root.Modify(ctx, modify("uid=carol,"+people, func(m *ldap.ModifyRequest) { m.Add("title", []string{"Chair"}) }))
		}, nil},
		{"add a value that is there", func(ctx context.Context) error {
			return root.Modify(ctx, modify("uid=carol,"+people, func(m *ldap.ModifyRequest) { m.Add("title", []string{"chair"}) }))
		}, directory.ErrExists},
		{"delete a value that is not there", func(ctx context.Context) error {
			return root.Modify(ctx, modify("uid=carol,"+people, func(m *ldap.ModifyRequest) { m.Delete("title", []string{"Clerk"}) }))
		}, directory.ErrNotFound},
		{"a uid twice", func(ctx context.Context) error {
			return root.Modify(ctx, modify("uid=carol,"+people, func(m *ldap.ModifyRequest) { m.Add("uid", []string{"alice"}) }))
		}, directory.ErrRefused},
		{"rename", func(ctx context.Context) error {
			return root.Rename(ctx, ldap.NewModifyDNRequest("uid=carol,"+people, "uid=caro", true, ""))
		}, nil},
		{"delete what is gone", func(ctx context.Context) error { return root.Delete(ctx, "uid=carol,"+people) }, directory.ErrNotFound},
		{"delete a branch", func(ctx context.Context) error { return root.Delete(ctx, people) }, directory.ErrRefused},
		{"delete", func(ctx context.Context) error { return root.Delete(ctx, "uid=caro,"+people) }, nil},
		{"change sent elsewhere", func(ctx context.Context) error { return root.Delete(ctx, "ou=elsewhere,"+base) }, directory.ErrUnavailable},
		{"password without the right", func(ctx context.Context) error {
			_, err := service.SetPassword(ctx, alice, "", "new-password")
			return err
		}, directory.ErrRefused},
		{"password with a NUL", func(ctx context.Context) error {
			_, err := root.SetPassword(ctx, alice, "", "new\x00password")
			return err
		}, directory.ErrRefused},
		{"own password", func(ctx context.Context) error {
			_, err := self.SetPassword(ctx, alice, "alice-password", "new-password")
			return err
		}, nil},
		{"new password works", func(ctx context.Context) error { return service.Bind(ctx, alice, "new-password") }, nil},
		{"old one does not", func(ctx context.Context) error { return service.Bind(ctx, alice, "alice-password") }, directory.ErrWrong},
		{"made by the server, to be changed", func(ctx context.Context) error {
			made, err := root.SetPassword(ctx, alice, "", "")
			if err != nil {
				return err
			}
			return service.Bind(ctx, alice, made)
		}, directory.ErrRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.do(t.Context()); !errors.Is(err, tt.err) {
				t.Errorf("error = %v, want %v", err, tt.err)
			}
		})
	}
}
