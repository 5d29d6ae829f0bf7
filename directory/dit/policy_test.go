package dit_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory/dit"
)

// change modifies somebody's entry and returns the result code.
func (w *world) change(who, of string, changes ...ldap.Change) int {
	req := ldap.NewModifyRequest(name(of), nil)
	req.Changes = changes
	return code(w.as(who).Modify(req))
}

func password(kind uint, value string) ldap.Change {
	return ldap.Change{Operation: kind, Modification: ldap.PartialAttribute{Type: "userPassword", Vals: []string{value}}}
}

// The policy of the reference, and one that asks for more, in the order in which things happen.
func TestPolicyLikeSlapd(t *testing.T) {
	t.Parallel()
	replace := func(value string) []ldap.Change { return []ldap.Change{password(ldap.ReplaceAttribute, value)} }
	steps := []struct {
		name      string
		who, of   string
		do        []ldap.Change
		result    int
		knows     string
		wantReset bool
	}{
		{"too short", "gina", "gina", replace("short"), 19, "", false},
		{"the same again", "gina", "gina", replace("ginapw"), 19, "", false},
		{"a new one", "gina", "gina", replace("first-password"), 0, "first-password", false},
		{"not changed at all", "gina", "gina", replace("first-password"), 19, "", false},
		{"a second", "gina", "gina", replace("second-password"), 0, "second-password", false},
		{"one in the history", "gina", "gina", replace("first-password"), 19, "", false},
		{"two at once", "gina", "gina", []ldap.Change{password(ldap.AddAttribute, "aaaaaaaa"), password(ldap.AddAttribute, "bbbbbbbb")}, 19, "", false},
		{"the old one deleted, a new one added", "gina", "gina",
			[]ldap.Change{password(ldap.DeleteAttribute, "second-password"), password(ldap.AddAttribute, "third-password")}, 0, "third-password", false},
		{"a wrong old one", "gina", "gina",
			[]ldap.Change{password(ldap.DeleteAttribute, "wrong"), password(ldap.AddAttribute, "fourth-password")}, 53, "", false},
		{"an administrator is bound by it too", "carol", "gina", replace("short"), 19, "", false},
		{"and need not be feared", "carol", "gina", replace("fourth-password"), 0, "fourth-password", false},
		{"an operator is not bound", "bob", "gina", replace("short"), 0, "short", true},
		{"who was reset changes it", "gina", "gina", replace("fifth-password"), 0, "fifth-password", false},
	}
	for server, start := range map[string]func(testing.TB) *world{"slapd": overSlapd, "embedded": overEmbedded} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			for _, s := range steps {
				if got := w.change(s.who, s.of, s.do...); got != s.result {
					t.Errorf("%s: result %d, want %d", s.name, got, s.result)
				}
				if s.knows != "" {
					w.passwords[s.of] = s.knows
				}
				lines, _ := w.lines("root", name(s.of), entire, ldap.ScopeBaseObject, nil, "pwdReset")
				if got := strings.Contains(strings.Join(lines, "\n"), "pwdReset: TRUE"); got != s.wantReset {
					t.Errorf("%s: must change: %v, want %v", s.name, got, s.wantReset)
				}
			}
			for _, c := range stateChecks() {
				if wrong := c.do(w); wrong != "" {
					t.Errorf("%s: %s", c.id, wrong)
				}
			}
		})
	}
}

// stateChecks are about lockout, expiry and what may be set by hand.
func stateChecks() []check {
	strict := "cn=strict,ou=policies," + base
	frank := name("frank")
	answers := func(id, login, password string, want, policy, grace int) check {
		return check{id, func(w *world) string {
			result, p := w.bind(login, password)
			if p == nil {
				return fmt.Sprintf("result %d and no control", result)
			}
			if result != want || int(p.Error) != policy || int(p.Grace) != grace {
				return fmt.Sprintf("result %d, error %d, grace %d; want %d, %d, %d", result, p.Error, p.Grace, want, policy, grace)
			}
			return ""
		}}
	}
	return []check{
		answers("nothing to say", "frank", "frankpw", 0, -1, -1),
		answers("a wrong password", "frank", "wrong", 49, -1, -1),
		sees("it is counted", "root", frank, entire, "pwdFailureTime:", "+"),
		answers("a right one", "frank", "frankpw", 0, -1, -1),
		misses("the count is over", "root", frank, entire, "^pwdFailureTime:", "+"),
		ends("locked by hand", done, put("root", frank, "pwdAccountLockedTime", "000001010000Z")),
		answers("locked for ever", "frank", "frankpw", 49, -1, -1),
		ends("unlocked", done, drop("carol", frank, "pwdAccountLockedTime")),
		answers("in again", "frank", "frankpw", 0, -1, -1),
		ends("a strict policy", done, func(w *world) error {
			req := ldap.NewAddRequest(strict, nil)
			req.Attribute("objectClass", []string{"applicationProcess", "pwdPolicy"})
			for _, a := range [][2]string{{"cn", "strict"}, {"pwdAttribute", "userPassword"}, {"pwdMaxAge", "1"}, {"pwdGraceAuthNLimit", "2"}, {"pwdMinAge", "1000"}, {"pwdAllowUserChange", "FALSE"}} {
				req.Attribute(a[0], []string{a[1]})
			}
			return w.as("root").Add(req)
		}),
		ends("a new password for it", done, set("root", frank, "userPassword", "frankpassword")),
		ends("is for frank", done, set("root", frank, "pwdPolicySubentry", strict)),
		{"it expires", func(*world) string { time.Sleep(2100 * time.Millisecond); return "" }},
		answers("one more login", "frank", "frankpassword", 0, -1, 1),
		answers("and one", "frank", "frankpassword", 0, -1, 0),
		answers("and none", "frank", "frankpassword", 49, 0, -1),
		ends("his own he may not change", []int{50}, func(w *world) error {
			if err := set("root", strict, "pwdMaxAge", "0")(w); err != nil {
				return err
			}
			w.passwords["frank"] = "frankpassword"
			return set("frank", frank, "userPassword", "something-new")(w)
		}),
		ends("who was reset may change it at once", done, func(w *world) error {
			if err := set("root", strict, "pwdAllowUserChange", "TRUE")(w); err != nil {
				return err
			}
			return changes("frank", "frank-own-password", set("frank", frank, "userPassword", "frank-own-password"))(w)
		}),
		ends("too young", []int{19}, set("frank", frank, "userPassword", "something-new")),
		ends("the old one must come along", []int{50}, func(w *world) error {
			for _, step := range []func(*world) error{set("root", strict, "pwdMinAge", "0"), set("root", strict, "pwdSafeModify", "TRUE")} {
				if err := step(w); err != nil {
					return err
				}
			}
			return set("frank", frank, "userPassword", "something-new")(w)
		}),
		ends("as it does", done, func(w *world) error {
			_, err := w.as("frank").PasswordModify(ldap.NewPasswordModifyRequest("", "frank-own-password", "something-new"))
			return err
		}),
	}
}

// A lockout is as durable as any change, is written as often as it takes and not more, and ends by itself.
func TestLockout(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "directory")
	open := func() *dit.Tree {
		tree, err := dit.Open(path, dit.Options{Suffixes: []string{base}, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return tree
	}
	tree := open()
	root := dit.Subject{DN: "root", Admin: true}
	for _, e := range dit.SampleEntries(t) {
		if strings.HasPrefix(e.DN, "uid=") && !strings.HasPrefix(e.DN, "uid=bob") || strings.HasPrefix(e.DN, "cn=") && !strings.Contains(e.DN, "policies") {
			continue
		}
		if err := tree.Add(t.Context(), root, e); err != nil {
			t.Fatal(err)
		}
	}
	state := func() string {
		for e, err := range tree.Search(t.Context(), root, dit.SearchRequest{Base: name("bob"), Attributes: []string{"pwdFailureTime", "pwdAccountLockedTime"}}) {
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%q", e.Attributes)
		}
		return ""
	}
	bind := func(password string) bool {
		_, _, err := tree.Bind(t.Context(), name("bob"), []byte(password))
		return err == nil
	}
	for range 5 {
		bind("wrong")
	}
	if bind("bobpw") {
		t.Error("the right password opens a locked account")
	}
	locked := state()
	for range 20 {
		bind("wrong")
	}
	if got := state(); got != locked {
		t.Errorf("guesses at a locked account are written: %s, then %s", locked, got)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	tree = open()
	defer func() { tree.Close() }()
	if bind("bobpw") {
		t.Error("a restart unlocks")
	}
	now = now.Add(301 * time.Second)
	if !bind("bobpw") {
		t.Error("the lockout does not end")
	}
	if got := state(); strings.Contains(got, "pwdAccountLockedTime") {
		t.Errorf("after the end: %s", got)
	}
}

// What the control says of a refusal.
func TestPolicyErrors(t *testing.T) {
	t.Parallel()
	w, tree := embedded(t)
	bob := dit.Subject{DN: name("bob")}
	change := func(kind dit.ChangeOp, value string) dit.Change {
		return dit.Change{Op: kind, Attribute: dit.Attribute{Name: "userPassword", Values: [][]byte{[]byte(value)}}}
	}
	if got := code(reset("carol", "bob", "bobs-password")(w)); got != 0 {
		t.Fatalf("result %d", got)
	}
	tests := []struct {
		name    string
		who     dit.Subject
		changes []dit.Change
		want    dit.PolicyError
	}{
		{"short", bob, []dit.Change{change(dit.ReplaceValues, "short")}, dit.PasswordTooShort},
		{"the same", bob, []dit.Change{change(dit.ReplaceValues, "bobs-password")}, dit.PasswordInHistory},
		{"a wrong old one", bob, []dit.Change{change(dit.DeleteValues, "wrong"), change(dit.AddValues, "long-enough")}, dit.MustSupplyOldPassword},
		{"no right to it", dit.Subject{DN: name("alice")}, []dit.Change{change(dit.ReplaceValues, "short")}, dit.NoPolicyError},
	}
	for _, tt := range tests {
		var e *dit.Error
		if err := tree.Modify(t.Context(), tt.who, name("bob"), tt.changes); !errors.As(err, &e) || e.Policy != tt.want {
			t.Errorf("%s: %v, want policy error %d", tt.name, err, tt.want)
		}
	}
	if err := reset("root", "bob", "from-the-root")(w); err != nil {
		t.Fatal(err)
	}
	who, notice, err := tree.Bind(t.Context(), name("bob"), []byte("from-the-root"))
	if err != nil || !who.MustChange || notice.Error != dit.ChangeAfterReset {
		t.Fatalf("bind: %+v, %+v, %v", who, notice, err)
	}
	none := dit.Entry{DN: "cn=x," + people}
	for op, do := range map[string]func() error{
		"add":    func() error { return tree.Add(t.Context(), who, none) },
		"delete": func() error { return tree.Delete(t.Context(), who, none.DN) },
		"rename": func() error { return tree.Rename(t.Context(), who, none.DN, "cn=y", true, "") },
		"compare": func() error {
			_, err := tree.Compare(t.Context(), who, name("bob"), "uid", []byte("bob"))
			return err
		},
		"search": func() (err error) {
			for _, err = range tree.Search(t.Context(), who, dit.SearchRequest{Base: name("bob")}) {
			}
			return err
		},
		"sync": func() (err error) {
			for _, err = range tree.Sync(t.Context(), who, dit.SyncRequest{SearchRequest: dit.SearchRequest{Base: name("bob")}}) {
			}
			return err
		},
	} {
		var e *dit.Error
		if err := do(); !errors.As(err, &e) || e.Policy != dit.ChangeAfterReset {
			t.Errorf("%s by who must change the password: %v", op, err)
		}
	}
}
