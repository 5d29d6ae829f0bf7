package directory_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/auth"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/directory/provision"
)

func TestAccount(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, login, want string
		err               error
	}{
		{"uid", "alice", "alice", nil},
		{"uid in another case", "ALICE", "alice", nil},
		{"mail", "alice@example.org", "alice", nil},
		{"mail in another case", "Alice@Example.Org", "alice", nil},
		{"own send address that is received", "a.adler@example.org", "alice", nil},
		{"alias, which is receive-only", "info@example.org", "", directory.ErrNotFound},
		{"send address that is not received", "claimed@example.org", "", directory.ErrNotFound},
		{"mail of one that another claims to send as", "bob@example.org", "bob", nil},
		{"uid of one, mail of another", "carol@example.org", "", directory.ErrAmbiguous},
		{"nobody", "nobody", "", directory.ErrNotFound},
		{"empty", "", "", directory.ErrNotFound},
		{"filter", "*)(uid=*", "", directory.ErrNotFound},
		{"star", "*", "", directory.ErrNotFound},
		{"part of a name", "ali*", "", directory.ErrNotFound},
		{"end of a filter", "alice)", "", directory.ErrNotFound},
		{"escape", `\61lice`, "", directory.ErrNotFound},
		{"NUL", "alice\x00", "", directory.ErrNotFound},
		{"blanks around", " alice ", "", directory.ErrNotFound},
		{"wide letters", "ａlice", "", directory.ErrNotFound},
		{"not UTF-8", "\xff", "", directory.ErrNotFound},
		{"endless", strings.Repeat("a", 10_000), "", directory.ErrNotFound},
		{"service", "frontend", "", directory.ErrNotFound},
		{"deleted, for the login door to judge", "dave", "dave", nil},
	}
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		seedAccounts(t, s, p)
		r := lookup.New(s.frontend(t), lookup.Options{Base: base})
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				got, err := r.Account(t.Context(), tt.login)
				if got.Login != tt.want || !errors.Is(err, tt.err) || tt.err == nil && err != nil {
					t.Errorf("Account(%q) = %q, %v; want %q, %v", tt.login, got.Login, err, tt.want, tt.err)
				}
			})
		}
		checkAlice(t, r)
		checkStrict(t, r)
	})
}

func seedAccounts(t *testing.T, s *server, p *provision.Provisioner) {
	t.Helper()
	c := s.connect(t, s.admin)
	for _, login := range []string{"alice", "bob", "carol", "dave", "mallory"} {
		user(t, p, login)
	}
	s.set(t, c, person("alice"), "mailLocalAddress", "alice@example.org", "a.adler@example.org", "info@example.org")
	s.set(t, c, person("alice"), "dpSendAddress", "a.adler@example.org", "claimed@example.org")
	s.set(t, c, person("alice"), "dpAllowedNetwork", "192.0.2.7", "2001:db8::/32", "office")
	s.set(t, c, person("alice"), "dpQuotaBytes", "5")
	s.set(t, c, person("mallory"), "dpSendAddress", "bob@example.org")
	s.set(t, c, person("mallory"), "uid", "mallory", "carol@example.org")
	if err := p.DeleteUser(t.Context(), "dave"); err != nil {
		t.Fatal(err)
	}
}

// checkAlice compares every field of one account.
func checkAlice(t *testing.T, r *lookup.Resolver) {
	t.Helper()
	got, err := r.AccountByDN(t.Context(), person("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if got.DN != person("alice") || got.Name != "alice" || !strings.HasPrefix(got.ID, "m-") || len(got.ID) != 18 {
		t.Errorf("account = %+v", got)
	}
	if got.Mail.String() != "alice@example.org" || got.Status != directory.Active || got.AuthPolicy != directory.Either || got.MailHost != "" {
		t.Errorf("account = %+v", got)
	}
	if want := (directory.Quota{Bytes: 5}); got.Quota != want {
		t.Errorf("quota %+v, want %+v", got.Quota, want)
	}
	if !got.Allows(directory.IMAP) || !got.Allows(directory.Submission) || got.Allows(directory.POP3) {
		t.Errorf("services %v", got.Services)
	}
	send := []directory.Address{{Local: "alice", Domain: "example.org"}, {Local: "a.adler", Domain: "example.org"}}
	if !slices.Equal(got.SendAddresses, send) {
		t.Errorf("sends as %v, want %v: not what it only receives or only claims", got.SendAddresses, send)
	}
	slices.SortFunc(got.Networks, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
	want := []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32"), {}}
	if !slices.Equal(got.Networks, want) {
		t.Errorf("networks %v, want %v: one that is not understood contains nothing", got.Networks, want)
	}
}

func checkStrict(t *testing.T, r *lookup.Resolver) {
	t.Helper()
	for dn, want := range map[string]error{
		person("nobody"):                   directory.ErrNotFound,
		"cn=mail-admins," + groups:         directory.ErrNotFound,
		provision.FrontendDN(base):         directory.ErrNotFound,
		"uid=alice,ou=people,dc=elsewhere": directory.ErrNotFound,
	} {
		if _, err := r.AccountByDN(t.Context(), dn); !errors.Is(err, want) {
			t.Errorf("AccountByDN(%s) error = %v, want %v", dn, err, want)
		}
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		user(t, p, "alice")
		c := s.frontend(t)
		r := lookup.New(c, lookup.Options{Base: base})
		a := auth.New(c, r, auth.Options{})
		alice, err := r.Account(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		check := func(name, password string, want error) {
			t.Helper()
			if err := a.Password(t.Context(), alice, password); !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%s: error = %v, want %v", name, err, want)
			}
		}
		check("right", "alice-password", nil)
		check("wrong", "Alice-password", directory.ErrWrong)
		check("empty", "", directory.ErrWrong)
		s.stop()
		check("right, during an outage", "alice-password", directory.ErrUnavailable)
		check("empty, during an outage", "", directory.ErrWrong)
		s.start()
		check("right, after it", "alice-password", nil)
		admin := s.connect(t, s.admin)
		if _, err := admin.SetPassword(t.Context(), alice.DN, "", "from-an-operator"); err != nil {
			t.Fatal(err)
		}
		check("right, and must be changed", "from-an-operator", directory.ErrRefused)
		check("wrong, and must be changed", "alice-password", directory.ErrWrong)
		s.set(t, admin, alice.DN, "pwdReset")
		check("right, as nobody asks for another any more", "from-an-operator", nil)
		for range 5 {
			check("wrong", "guessed", directory.ErrWrong)
		}
		check("right, and locked", "from-an-operator", s.locked)
	})
}

func TestMaySend(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, login, from string
		want              bool
	}{
		{"own mail address", "alice", "alice@example.org", true},
		{"in another case", "alice", "ALICE@example.ORG", true},
		{"own address that is only received", "alice", "info@example.org", false},
		{"own address that is only claimed", "mallory", "claimed@example.org", false},
		{"own detail address", "alice", "alice+x@example.org", false},
		{"own address in an alias domain", "alice", "alice@alias.example", true},
		{"address of another", "alice", "bob@example.org", false},
		{"address of another that one claims", "mallory", "bob@example.org", false},
		{"role, granted", "alice", "press@example.org", true},
		{"role, granted, in an alias domain", "alice", "press@alias.example", true},
		{"role, occupied but not granted", "bob", "press@example.org", false},
		{"second address of the role that it sends as", "alice", "media@example.org", true},
		{"second address of the role that it only receives", "alice", "reply@example.org", false},
		{"role granted to a group", "bob", "chair@example.org", true},
		{"role granted to a group in a group", "alice", "chair@example.org", true},
		{"role granted to a group of others", "mallory", "chair@example.org", false},
		{"delegation of a person", "bob", "alice@example.org", true},
		{"suspended role", "alice", "resting@example.org", false},
		{"role that claims another's address", "alice", "bob@example.org", false},
		{"nobody's address", "alice", "nobody@example.org", false},
		{"foreign address", "alice", "alice@example.com", false},
	}
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		seedSenders(t, s, p)
		r := lookup.New(s.frontend(t), lookup.Options{Base: base})
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				acct, err := r.Account(t.Context(), tt.login)
				if err != nil {
					t.Fatal(err)
				}
				got, err := r.MaySend(t.Context(), acct, address(t, tt.from))
				if err != nil || got != tt.want {
					t.Errorf("MaySend(%s, %s) = %v, %v; want %v", tt.login, tt.from, got, err, tt.want)
				}
			})
		}
	})
}

func seedSenders(t *testing.T, s *server, p *provision.Provisioner) {
	t.Helper()
	c := s.connect(t, s.admin)
	for _, login := range []string{"alice", "bob", "mallory"} {
		user(t, p, login)
	}
	s.add(t, c, "associatedDomain=alias.example,"+domains, "objectClass", "domain", "objectClass", "domainRelatedObject", "objectClass", "dpMailDomain",
		"dc", "alias", "associatedDomain", "alias.example", "dpAliasDomainOf", "example.org")
	for _, role := range []provision.NewRole{
		{Address: address(t, "press@example.org"), Occupants: []string{"alice", "bob"}},
		{Address: address(t, "chair@example.org")},
		{Address: address(t, "resting@example.org"), Occupants: []string{"alice"}},
		{Address: address(t, "greedy@example.org"), Occupants: []string{"alice"}},
	} {
		if _, err := p.AddRole(t.Context(), role); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Revoke(t.Context(), address(t, "press@example.org"), "bob"); err != nil {
		t.Fatal(err)
	}
	if err := p.Grant(t.Context(), address(t, "alice@example.org"), "bob"); err != nil {
		t.Fatal(err)
	}
	s.set(t, c, "cn=press,"+roles, "mailLocalAddress", "press@example.org", "media@example.org", "reply@example.org")
	s.set(t, c, "cn=press,"+roles, "dpSendAddress", "media@example.org")
	s.set(t, c, "cn=resting,"+roles, "dpAccountStatus", "suspended")
	s.set(t, c, "cn=greedy,"+roles, "dpSendAddress", "bob@example.org")
	s.set(t, c, person("alice"), "mailLocalAddress", "alice@example.org", "info@example.org")
	s.set(t, c, person("mallory"), "dpSendAddress", "claimed@example.org")
	s.add(t, c, "cn=inner,"+groups, "objectClass", "groupOfNames", "cn", "inner", "member", person("alice"))
	s.add(t, c, "cn=outer,"+groups, "objectClass", "groupOfNames", "cn", "outer", "member", person("bob"), "member", "cn=inner,"+groups)
	s.set(t, c, "cn=inner,"+groups, "member", person("alice"), "cn=outer,"+groups)
	s.set(t, c, "cn=chair,"+roles, "dpSendGrant", "CN=Outer, "+groups)
}
