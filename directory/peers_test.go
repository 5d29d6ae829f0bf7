//go:build peers

package directory_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/auth"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/directory/profile"
	"github.com/dirpost/dirpost/directory/provision"
	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/schema/ds389test"
)

// servers are those that the tests run against.
func servers() map[string]func(testing.TB) *server {
	return map[string]func(testing.TB) *server{"389ds": startDS389}
}

// means are those by which it tells of changes: content synchronization once that is switched on.
func means() []string {
	if named := os.Getenv("DIRPOST_TEST_FEED"); named != "" {
		return []string{named}
	}
	return []string{view.PSearch, view.Poll}
}

func startDS389(t testing.TB) *server { return over(t, newDS389(t)) }

// newDS389 starts a 389-ds with the reference configuration, and with content synchronization if the feed is to use that.
func newDS389(t testing.TB) *ds389test.Server {
	t.Helper()
	return ds389test.Start(t, ds389test.Options{Base: base, ContentSync: os.Getenv("DIRPOST_TEST_FEED") == view.Syncrepl})
}

func over(t testing.TB, s *ds389test.Server) *server {
	t.Helper()
	names, err := profile.New(profile.DS389, profile.Changes{})
	if err != nil {
		t.Fatal(err)
	}
	return &server{
		uri:     s.LDAPI,
		profile: names,
		admin:   client.Options{URIs: []string{s.LDAPI}, BindDN: s.RootDN, Password: s.RootPassword, Profile: names},
		locked:  directory.ErrRefused,
		stop:    func() { s.Stop(t) },
		start:   func() { s.Start(t) },
	}
}

// Who is locked with the server's own tools may not log in, by password or by certificate, and still gets mail.
func TestAccountLock(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		user(t, p, "alice")
		c := s.frontend(t)
		_, v, _ := s.fed(t, "", "", nil)
		eventually(t, "the view is current", current(v))
		live := lookup.New(c, lookup.Options{Base: base})
		a := auth.New(c, live, auth.Options{})
		for _, locked := range []bool{false, true, false} {
			status, right := directory.Active, error(nil)
			change := ldap.NewModifyRequest(person("alice"), nil)
			change.Replace("nsAccountLock", nil)
			if locked {
				status, right = directory.NoLogin, directory.ErrRefused
				change.Replace("nsAccountLock", []string{"TRUE"})
				change.Changes = change.Changes[1:]
			}
			if err := s.connect(t, s.admin).Modify(t.Context(), change); err != nil {
				t.Fatal(err)
			}
			acct, err := live.Account(t.Context(), "alice")
			if err != nil || acct.Status != status {
				t.Errorf("locked %v: status %q, %v; want %q", locked, acct.Status, err, status)
			}
			fed := lookup.New(c, lookup.Options{Base: base, View: v})
			eventually(t, "the view has the status "+string(status), func() bool {
				acct, err := fed.Account(t.Context(), "alice")
				return err == nil && acct.Status == status
			})
			if err := a.Password(t.Context(), acct, "alice-password"); !errors.Is(err, right) || right == nil && err != nil {
				t.Errorf("locked %v: the right password: %v, want %v", locked, err, right)
			}
			if route, err := live.Route(t.Context(), address(t, "alice@example.org"), nil); err != nil || len(route.Mailboxes) != 1 {
				t.Errorf("locked %v: route %+v, %v", locked, route, err)
			}
		}
	})
}

// What the server answers to a bind is one of three things.
func TestDS389Answers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		user(t, p, "alice")
		admin, c := s.connect(t, s.admin), s.frontend(t)
		s.add(t, admin, "cn=none,ou=services,"+base, "objectClass", "applicationProcess", "cn", "none")
		answers := func(when, dn, password string, want error) {
			t.Helper()
			err := c.Bind(t.Context(), dn, password)
			if !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%s: %v, want %v", when, err, want)
			}
			t.Logf("%s: %v", when, err)
		}
		answers("right", person("alice"), "alice-password", nil)
		answers("wrong", person("alice"), "wrong", directory.ErrWrong)
		answers("an entry that is not there", person("nobody"), "alice-password", directory.ErrWrong)
		answers("an entry without a password", "cn=none,ou=services,"+base, "wrong", directory.ErrWrong)
		answers("a name below another suffix", "uid=alice,dc=elsewhere", "alice-password", directory.ErrWrong)
		s.set(t, admin, person("alice"), "nsAccountLock", "TRUE")
		answers("locked by hand", person("alice"), "alice-password", directory.ErrRefused)
		s.set(t, admin, person("alice"), "nsAccountLock")
		if _, err := admin.SetPassword(t.Context(), person("alice"), "", "from-an-operator"); err != nil {
			t.Fatal(err)
		}
		answers("must be changed", person("alice"), "from-an-operator", directory.ErrRefused)
		s.set(t, admin, person("alice"), "passwordExpirationTime", "20200101000000Z")
		answers("after its time", person("alice"), "from-an-operator", nil) // passwordExp is off
		for range 6 {
			c.Bind(t.Context(), person("alice"), "wrong")
		}
		answers("locked for wrong ones", person("alice"), "from-an-operator", directory.ErrRefused)
		for range 8 {
			c.Bind(t.Context(), provision.FrontendDN(base), "wrong")
		}
		answers("a service after wrong ones", provision.FrontendDN(base), "frontend-password", nil)
		s.stop()
		answers("stopped", person("alice"), "from-an-operator", directory.ErrUnavailable)
		s.start()
	})
}

// Whatever is asked while mail comes and people log in, the reference configuration has an index for.
func TestDS389Indexes(t *testing.T) {
	t.Parallel()
	ds := newDS389(t)
	s := over(t, ds)
	p := s.ready(t)
	seedRoutes(t, s, p)
	c := s.frontend(t)
	r := lookup.New(c, lookup.Options{Base: base})
	for _, to := range []string{"alice@example.org", "board@example.org", "everyone@example.org", "nobody@example.org", "postmaster@bare.example"} {
		r.Route(t.Context(), address(t, to), nil)
	}
	acct, err := r.Account(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.MaySend(t.Context(), acct, address(t, "press@example.org")); err != nil {
		t.Error(err)
	}
	keys := lookup.KeysOf(newAuthority(t, "CA").leaf(t, leafOptions{}))
	if _, err := r.ByCertificate(t.Context(), keys, []string{lookup.KindSHA256, lookup.KindSPKI, lookup.KindIssuerSerial, lookup.KindSubject, lookup.KindEmail}); !errors.Is(err, directory.ErrNotFound) {
		t.Error(err)
	}
	if _, err := r.Authorities(t.Context()); err != nil {
		t.Error(err)
	}
	for _, means := range means() {
		_, v, _ := s.fed(t, means, "", nil)
		eventually(t, "the view is current", current(v))
		user(t, p, "new-"+means)
		eventually(t, "it has a new user", func() bool {
			_, err := lookup.New(c, lookup.Options{Base: base, View: v}).Account(t.Context(), "new-"+means)
			return err == nil
		})
	}
	s.stop()
	for _, filter := range ds.Unindexed(t) {
		if filter != "(objectClass=*)" {
			t.Errorf("no index for %s", filter)
		}
	}
}

// A directory with more entries than 389-ds gives to anybody, or looks at for anybody, is seen whole.
func TestDS389Limits(t *testing.T) {
	t.Parallel()
	ds := newDS389(t)
	s := over(t, ds)
	s.ready(t)
	const many = 5200 // nsslapd-sizelimit is 2,000 and nsslapd-lookthroughlimit 5,000
	var tree strings.Builder
	for i := range many {
		fmt.Fprintf(&tree, "dn: uid=u%[1]d,%[2]s\nobjectClass: inetOrgPerson\nobjectClass: mailRecipient\nobjectClass: dpMailAccount\nuid: u%[1]d\ncn: U\nsn: U\nmail: u%[1]d@example.org\nmailAlternateAddress: u%[1]d@example.org\ndpAccountStatus: active\ndpPublicListing: TRUE\n\n", i, people)
	}
	ds.Load(t, tree.String())
	c := s.frontend(t)
	all, err := lookup.New(c, lookup.Options{Base: base}).Accounts(t.Context())
	if err != nil || len(all) != many+1 { // and the administrator
		t.Errorf("%d accounts, %v; want %d", len(all), err, many+1)
	}
	for _, means := range means() {
		_, v, _ := s.fed(t, means, "", nil)
		eventually(t, "the view is current", current(v))
		if now, _ := v.Moment(); now.Len() < many {
			t.Errorf("%s: %d entries in the view, want %d and some", means, now.Len(), many)
		}
	}
	anybody := s.connect(t, client.Options{})
	if list, err := anybody.Search(t.Context(), base, ldap.ScopeWholeSubtree, "(cn=U)", "cn"); !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("anybody sees %d entries, %v; want a limit", len(list), err)
	}
}
