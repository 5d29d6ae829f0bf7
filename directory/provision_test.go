package directory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/directory/provision"
	"github.com/dirpost/dirpost/schema/slapdtest"
)

func TestInit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		// Again, with another password of the service, over what is there.
		err := p.Init(t.Context(), "Another Name", "second-password", provision.NewAdmin{Login: "root", Password: "another-password"})
		if err != nil {
			t.Fatal(err)
		}
		service := s.connect(t, client.Options{BindDN: provision.FrontendDN(base), Password: "second-password"})
		if err := service.Ping(t.Context()); err != nil {
			t.Errorf("the service does not get in with its new password: %v", err)
		}
		if err := service.Bind(t.Context(), person("root"), "root-password"); err != nil {
			t.Errorf("the administrator lost the password: %v", err)
		}
		for _, login := range []string{"", "-a", ".a", "a b", "a@example.org", "a,ou=x", "ä", strings.Repeat("a", 65)} {
			if err := p.Init(t.Context(), "Example", "", provision.NewAdmin{Login: login}); !errors.Is(err, directory.ErrRefused) {
				t.Errorf("Init with login %q: error = %v, want %v", login, err, directory.ErrRefused)
			}
		}
	})
}

// TestInitOfBareServer: an OpenLDAP with our schema and nothing else is enough.
func TestInitOfBareServer(t *testing.T) {
	t.Parallel()
	s := slapdtest.Start(t, slapdtest.Options{Base: base, Bare: true})
	connect := func(dn, password string) *client.Client {
		c, err := client.New(client.Options{URIs: []string{s.URI}, BindDN: dn, Password: password})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	p := provision.New(connect(s.RootDN, s.RootPassword), provision.Options{Base: base})
	if has, err := p.HasPolicies(t.Context()); has || err != nil {
		t.Errorf("HasPolicies() = %v, %v; want that it has none", has, err)
	}
	if err := p.Init(t.Context(), "Example", "frontend-password", provision.NewAdmin{Login: "root", Password: "root-password"}); err != nil {
		t.Fatal(err)
	}
	if err := p.AddDomain(t.Context(), "example.org"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.AddUser(t.Context(), provision.NewUser{Login: "alice", Mail: address(t, "alice@example.org"), Password: "alice-password"}); err != nil {
		t.Fatal(err)
	}
	front := connect(provision.FrontendDN(base), "frontend-password")
	acct, err := lookup.New(front, lookup.Options{Base: base}).Account(t.Context(), "alice")
	if err != nil || front.Bind(t.Context(), acct.DN, "alice-password") != nil {
		t.Errorf("alice is %v, %v, and her password is not good", acct, err)
	}
}

// The administrator that Init makes, in person and not as root, can do all the rest.
func TestProvision(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, _ *provision.Provisioner) {
		p := provision.New(s.connect(t, client.Options{BindDN: person("root"), Password: "root-password"}), provision.Options{Base: base})
		front := s.frontend(t)
		a := func(s string) directory.Address { return address(t, s) }
		add := func(login, mail string) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := p.AddUser(ctx, provision.NewUser{Login: login, Name: "Test " + login, Mail: a(mail), Password: login + "-password"})
				return err
			}
		}
		role := func(mail string, occupants ...string) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := p.AddRole(ctx, provision.NewRole{Address: a(mail), Occupants: occupants})
				return err
			}
		}
		steps := []struct {
			name string
			do   func(ctx context.Context) error
			err  error
			says string // must be in the error
		}{
			{"domain", func(ctx context.Context) error { return p.AddDomain(ctx, "Example.NET") }, nil, ""},
			{"domain again", func(ctx context.Context) error { return p.AddDomain(ctx, "example.net") }, directory.ErrExists, ""},
			{"domain that is none", func(ctx context.Context) error { return p.AddDomain(ctx, "exa mple") }, directory.ErrBadAddress, ""},
			{"user", add("alice", "alice@example.org"), nil, ""},
			{"second user", add("bob", "bob@example.org"), nil, ""},
			{"a login twice", add("alice", "alice2@example.org"), directory.ErrExists, person("alice")},
			{"a login twice in other case", add("ALICE", "alice2@example.org"), directory.ErrExists, person("alice")},
			{"an address twice", add("carol", "Alice@example.org"), directory.ErrExists, person("alice")},
			{"foreign domain", add("carol", "carol@example.com"), directory.ErrNotLocal, "add the domain first"},
			{"user in the other domain", add("carol", "carol@example.net"), nil, ""},
			{"a password works at once", func(ctx context.Context) error { return front.Bind(ctx, person("alice"), "alice-password") }, nil, ""},
			{"password that cannot be set: no entry stays", func(ctx context.Context) error {
				_, err := p.AddUser(ctx, provision.NewUser{Login: "dave", Mail: a("dave@example.org"), Password: "a\x00b"})
				return err
			}, directory.ErrRefused, ""},
			{"no entry stayed", func(ctx context.Context) error { _, err := p.User(ctx, "dave"); return err }, directory.ErrNotFound, ""},

			{"alias", func(ctx context.Context) error { return p.AddAlias(ctx, "alice", a("info@example.org")) }, nil, ""},
			{"alias that another has", func(ctx context.Context) error { return p.AddAlias(ctx, "bob", a("info@example.org")) }, directory.ErrExists, person("alice")},
			{"alias in a foreign domain", func(ctx context.Context) error { return p.AddAlias(ctx, "bob", a("info@example.com")) }, directory.ErrNotLocal, ""},
			{"alias of nobody", func(ctx context.Context) error { return p.AddAlias(ctx, "nobody", a("x@example.org")) }, directory.ErrNotFound, ""},
			{"alias goes", func(ctx context.Context) error { return p.RemoveAlias(ctx, "alice", a("Info@Example.org")) }, nil, ""},
			{"alias is gone", func(ctx context.Context) error { return p.RemoveAlias(ctx, "alice", a("info@example.org")) }, directory.ErrNotFound, ""},
			{"the mail address stays", func(ctx context.Context) error { return p.RemoveAlias(ctx, "alice", a("alice@example.org")) }, directory.ErrRefused, ""},

			{"role", role("press@example.org", "alice"), nil, ""},
			{"role of the same name in another domain", role("press@example.net", "carol"), nil, ""},
			{"role twice", role("press@example.org"), directory.ErrExists, "cn=press,"},
			{"role with an address of a person", role("bob@example.org"), directory.ErrExists, person("bob")},
			{"role of nobody we know", role("chair@example.org", "nobody"), directory.ErrNotFound, ""},
			{"vacant role", role("chair@example.org"), nil, ""},
			{"grant", func(ctx context.Context) error { return p.Grant(ctx, a("press@example.org"), "bob") }, nil, ""},
			{"grant twice", func(ctx context.Context) error { return p.Grant(ctx, a("press@example.org"), "bob") }, directory.ErrExists, ""},
			{"occupy", func(ctx context.Context) error { return p.Occupy(ctx, a("press@example.org"), "bob") }, nil, ""},
			{"revoke", func(ctx context.Context) error { return p.Revoke(ctx, a("press@example.org"), "alice") }, nil, ""},
			{"revoke twice", func(ctx context.Context) error { return p.Revoke(ctx, a("press@example.org"), "alice") }, directory.ErrNotFound, ""},
			{"vacate", func(ctx context.Context) error { return p.Vacate(ctx, a("press@example.org"), "alice") }, nil, ""},
			{"grant on no role", func(ctx context.Context) error { return p.Grant(ctx, a("nothing@example.org"), "bob") }, directory.ErrNotFound, ""},
			{"occupy a person", func(ctx context.Context) error { return p.Occupy(ctx, a("alice@example.org"), "bob") }, directory.ErrRefused, ""},

			{"new password", func(ctx context.Context) error { return p.SetPassword(ctx, "bob", "second-password") }, nil, ""},
			{"it works", func(ctx context.Context) error { return front.Bind(ctx, person("bob"), "second-password") }, nil, ""},
			{"the old one does not", func(ctx context.Context) error { return front.Bind(ctx, person("bob"), "bob-password") }, directory.ErrWrong, ""},
			{"empty password", func(ctx context.Context) error { return p.SetPassword(ctx, "bob", "") }, directory.ErrRefused, ""},
			{"status", func(ctx context.Context) error { return p.SetStatus(ctx, "bob", directory.NoLogin) }, nil, ""},
			{"status that is none", func(ctx context.Context) error { return p.SetStatus(ctx, "bob", "asleep") }, directory.ErrRefused, ""},
			{"delete", func(ctx context.Context) error { return p.DeleteUser(ctx, "carol") }, nil, ""},
			{"a deleted user does not get in", func(ctx context.Context) error { return front.Bind(ctx, person("carol"), "carol-password") }, directory.ErrWrong, ""},
			{"its address is not free", add("dora", "carol@example.net"), directory.ErrExists, person("carol")},
			{"the service may change nothing", func(ctx context.Context) error {
				return provision.New(front, provision.Options{Base: base}).SetStatus(ctx, "alice", directory.Suspended)
			}, directory.ErrRefused, ""},
		}
		for _, tt := range steps {
			err := tt.do(t.Context())
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Errorf("%s: error = %v, want %v", tt.name, err, tt.err)
			} else if err != nil && !strings.Contains(strings.ToLower(err.Error()), tt.says) {
				t.Errorf("%s: error = %v, want %q in it", tt.name, err, tt.says)
			}
		}
		checkResult(t, s, p)
	})
}

// checkResult compares the entries with what the steps above should have made.
func checkResult(t *testing.T, s *server, p *provision.Provisioner) {
	t.Helper()
	users, err := p.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	ids := map[string]bool{}
	for _, u := range users {
		got = append(got, fmt.Sprintf("%s %s %s %v %v", u.Login, u.Mail, u.Status, u.Addresses, u.Services))
		ids[u.ID] = u.ID != ""
	}
	want := []string{
		"alice alice@example.org active [alice@example.org] [submission imap]",
		"bob bob@example.org nologin [bob@example.org] [submission imap]",
		"carol carol@example.net deleted [carol@example.net] []",
		"root  active [] [admin imap]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("users:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(ids) != len(users) {
		t.Errorf("%d mailbox ids for %d users", len(ids), len(users))
	}
	role, err := s.frontend(t).One(t.Context(), "cn=press,"+roles, ldap.ScopeBaseObject, "(objectClass=organizationalRole)")
	if err != nil {
		t.Fatal(err)
	}
	for attr, want := range map[string]string{"roleOccupant": person("bob"), "dpSendGrant": person("bob"), "mail": "press@example.org"} {
		if got := role.GetAttributeValues(attr); !slices.Equal(got, []string{want}) {
			t.Errorf("%s of the role = %v, want %s", attr, got, want)
		}
	}
	list, err := p.Domains(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Name != "example.net" || list[1].Name != "example.org" || list[0].Status != directory.Active || list[0].Transport != "" {
		t.Errorf("Domains() = %+v", list)
	}
}

// Lists are read page by page, by an administrator in person too.
func TestManyUsers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		const many = 620
		root := s.connect(t, s.admin)
		for i := range many {
			login := fmt.Sprintf("user%d", i)
			s.add(t, root, person(login), "objectClass", "inetOrgPerson", "objectClass", "inetLocalMailRecipient", "objectClass", "dpMailAccount",
				"uid", login, "cn", login, "sn", login, "mail", login+"@example.org", "mailLocalAddress", login+"@example.org", "dpAccountStatus", "active")
		}
		admin := provision.New(s.connect(t, client.Options{BindDN: person("root"), Password: "root-password"}), provision.Options{Base: base})
		users, err := admin.Users(t.Context())
		if err != nil || len(users) != many+1 {
			t.Fatalf("Users() = %d, %v; want %d", len(users), err, many+1)
		}
		if users[1].ID == "" {
			t.Error("an entry without dpMailboxId has no mailbox id, want its entryUUID")
		}
	})
}

func TestAuthorityRefusals(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		ca, other := newAuthority(t, "CA"), newAuthority(t, "Other")
		leaf := ca.leaf(t, leafOptions{})
		tests := []struct {
			name string
			do   func(ctx context.Context) error
			err  error
		}{
			{"certificate that signs nothing", func(ctx context.Context) error { return p.AddAuthority(ctx, "leaf", leaf, nil, nil, "") }, directory.ErrRefused},
			{"unknown kind", func(ctx context.Context) error { return p.AddAuthority(ctx, "ca", ca.cert, nil, []string{"md5"}, "") }, directory.ErrRefused},
			{"unknown check", func(ctx context.Context) error { return p.AddAuthority(ctx, "ca", ca.cert, nil, nil, "never") }, directory.ErrRefused},
			{"list of another", func(ctx context.Context) error { return p.AddAuthority(ctx, "ca", ca.cert, other.crl(t, nil), nil, "") }, directory.ErrRefused},
			{"list that is none", func(ctx context.Context) error { return p.AddAuthority(ctx, "ca", ca.cert, []byte("x"), nil, "") }, directory.ErrRefused},
			{"authority", func(ctx context.Context) error { return p.AddAuthority(ctx, "ca", ca.cert, nil, nil, "") }, nil},
			{"authority twice", func(ctx context.Context) error { return p.AddAuthority(ctx, "ca", ca.cert, nil, nil, "") }, directory.ErrExists},
			{"list", func(ctx context.Context) error { return p.SetCRL(ctx, "ca", ca.crl(t, nil)) }, nil},
			{"list of another for it", func(ctx context.Context) error { return p.SetCRL(ctx, "ca", other.crl(t, nil)) }, directory.ErrRefused},
			{"list of no authority", func(ctx context.Context) error { return p.SetCRL(ctx, "nobody", ca.crl(t, nil)) }, directory.ErrNotFound},
		}
		for _, tt := range tests {
			if err := tt.do(t.Context()); !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Errorf("%s: error = %v, want %v", tt.name, err, tt.err)
			}
		}
		list, err := lookup.New(s.frontend(t), lookup.Options{Base: base}).Authorities(t.Context())
		if err != nil || len(list) != 1 || len(list[0].CRLs) != 1 || list[0].Revocation != lookup.NoRevocation || !slices.Equal(list[0].Trust, []string{lookup.KindSHA256}) {
			t.Errorf("Authorities() = %+v, %v", list, err)
		}
	})
}
