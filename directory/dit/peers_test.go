//go:build peers

package dit_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory/profile"
	"github.com/dirpost/dirpost/schema/ds389test"
)

// unlike are the reference checks that 389-ds does not pass, and why.
var unlike = map[string]string{
	"b2-exact-gser": "it has no certificateExactMatch",
	"b3-exact-eq":   "it has no certificateExactMatch",

	"e0-after-reset-only-password": "only a password set by Password Modify, or by the root DN, must be changed",
	"g6-syntax":                    "it has no rules for the form of values",
	"g7-fp-format":                 "it has no rules for the form of values",
	"j4-form":                      "it has no rules for the form of values",
	"i5-audit-reads-proxy-rights":  "who may act as whom is in its access rules",
	"i7-full-not-authzto":          "who may act as whom is in its access rules",
	"h3-lockout-looks-like-bad-pw": "it tells everybody that an account is locked",

	"k2-web-reads-as-alice":  proxyRight,
	"k4-web-writes-as-alice": proxyRight,

	"k1-web-is-alice":           deaf,
	"k5-web-not-cn=frontend":    deaf,
	"k5-web-not-cn=apppw":       deaf,
	"k5-web-not-cn=root":        deaf,
	"k5-web-not-cn=mail-admins": deaf,
	"k6-alice-not-bob":          deaf,
	"k6-frontend-not-alice":     deaf,
	"k6-admin-not-alice":        deaf,
	"k6-anonymous-not-alice":    deaf,
}

const (
	proxyRight = "whom its right proxy is given to acts as anybody, the frontend too: nobody gets it"
	deaf       = "its Who am I takes no notice of the control; searches and changes do"
)

// checksByName are the reference checks without those for EXTERNAL: whom a certificate or a local account is, its administrator
// configures.
func checksByName() []check {
	return slices.DeleteFunc(referenceChecks(), func(c check) bool { return strings.HasPrefix(c.id, "l") })
}

// checksOfDS389 are those it passes, with some that stand for others.
func checksOfDS389() []check {
	var list []check
	for _, c := range checksByName() {
		if unlike[c.id] == "" {
			list = append(list, c)
		}
	}
	nothing := func(id, who, as string) check {
		return check{id, func(w *world) string {
			if got, result := w.lines(who, people, "(uid=bob)", ldap.ScopeWholeSubtree, proxied(as), "*"); len(got) > 0 {
				return fmt.Sprintf("result %d and %q", result, got)
			}
			return ""
		}}
	}
	return append(list,
		sees("i1-address-finds-role", "dave", roles, "(cn=postmaster)", "mail: postmaster@", "mail"),
		sees("c11-containers", "", base, "(ou=people)", "ou: people", "ou"),
		sees("c12-not-locked", "", base, entire, "dn: uid=alice", "cn"),
		ends("c12-lock", done, set("carol", name("alice"), "nsAccountLock", "TRUE")),
		misses("c12-locked", "", base, entire, "^dn: uid=alice", "cn"),
		ends("c12-unlock", done, drop("carol", name("alice"), "nsAccountLock")),
		nothing("k5-web-not-frontend", "web", name("frontend")), nothing("k5-web-not-root", "web", "cn=root"),
		nothing("k6-alice-not-bob", "alice", name("bob")), nothing("k6-anonymous-not-bob", "", name("bob")))
}

// The reference checks over 389-ds with its reference configuration. What it cannot do is named, and no longer when it can.
func TestDS389Checks(t *testing.T) {
	t.Parallel()
	s := startDS389(t)
	w := overDS389(t, s)
	for _, c := range checksByName() {
		wrong := c.do(w)
		switch why := unlike[c.id]; {
		case wrong == "" && why != "":
			t.Errorf("%s passes, although %s", c.id, why)
		case wrong != "" && why == "":
			t.Errorf("%s: %s", c.id, wrong)
		}
	}
	w = overDS389(t, s)
	for _, c := range checksOfDS389() {
		if wrong := c.do(w); wrong != "" {
			t.Errorf("%s: %s", c.id, wrong)
		}
	}
	t.Logf("%d checks passed, %d it cannot", len(checksOfDS389()), len(unlike))
}

// TestDS389EachRuleIsNeeded drops the access rules of the reference configuration one by one: some check has to notice.
func TestDS389EachRuleIsNeeded(t *testing.T) {
	t.Parallel()
	s := startDS389(t)
	rules, result := overDS389(t, s).lines("root", base, entire, ldap.ScopeBaseObject, nil, "aci")
	if result != 0 || len(rules) < 2 {
		t.Fatalf("the rules are %q, result %d", rules, result)
	}
	for _, line := range rules[1:] {
		rule := strings.TrimPrefix(line, "aci: ")
		_, named, _ := strings.Cut(rule, `acl "`)
		named, _, _ = strings.Cut(named, `"`)
		w := overDS389(t, s)
		if err := drop("root", base, "aci", rule)(w); err != nil {
			t.Fatal(err)
		}
		caught := ""
		for _, c := range checksOfDS389() {
			if c.do(w) != "" {
				caught = c.id
				break
			}
		}
		if err := put("root", base, "aci", rule)(w); err != nil {
			t.Fatal(err)
		}
		if caught == "" {
			t.Errorf("without the rule %q: no check notices", named)
		}
		t.Logf("%s: %s", named, caught)
	}
}

func startDS389(t testing.TB) *ds389test.Server {
	return ds389test.Start(t, ds389test.Options{Base: base})
}

// overDS389 makes the sample tree on a server, which may have had it before.
func overDS389(t testing.TB, s *ds389test.Server) *world {
	names, err := profile.New(profile.DS389, profile.Changes{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, s.LDAPI)
	w.names = names
	w.root = func(c *ldap.Conn) error { return c.Bind(s.RootDN, s.RootPassword) }
	w.empty()
	w.prepare = w.forDS389
	w.load()
	for login := range w.passwords {
		// It says that they must be changed, for somebody else set them.
		if err := set("root", name(login), "passwordExpirationTime")(w); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// empty deletes what a load has made, the lowest first.
func (w *world) empty() {
	found, err := w.as("root").Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, entire, []string{"1.1"}, nil))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range slices.Backward(found.Entries) {
		if keeps(e.DN) {
			continue
		}
		if err := w.as("root").Del(ldap.NewDelRequest(e.DN, nil)); err != nil {
			w.t.Fatalf("delete %s: %v", e.DN, err)
		}
	}
}

// keeps reports whether an entry is the reference configuration's.
func keeps(dn string) bool {
	return dn == base || dn == "ou=services,"+base || dn == name("frontend") || strings.HasSuffix(dn, "ou=policies,"+base)
}

// forDS389 leaves out what that server has in its own way: password policies and authzTo. What the reference configuration
// made is there.
func (w *world) forDS389(req *ldap.AddRequest) bool {
	if req.DN == name("frontend") {
		if err := set("root", req.DN, "userPassword", hashed(w.passwords["frontend"]))(w); err != nil {
			w.t.Fatal(err)
		}
	}
	req.Attributes = slices.DeleteFunc(req.Attributes, func(a ldap.Attribute) bool { return a.Type == "authzTo" })
	return !keeps(req.DN)
}
