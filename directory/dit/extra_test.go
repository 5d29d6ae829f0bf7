package dit

import (
	"path/filepath"
	"slices"
	"testing"
)

// The local administrator restores an entry as an export has it, with what the server would write itself; others do not.
func TestRelax(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	const id, csn, when = "8ee7f5d0-2f3a-103f-8000-0123456789ab", "20200102030405.000001Z#000000#000#000000", "20200102030405Z"
	e := entryOf("uid=zoe,"+people, "objectClass", "inetOrgPerson", "uid", "zoe", "cn", "Zoe", "sn", "Zoe",
		"userPassword", bobPassword, "structuralObjectClass", "inetOrgPerson", "entryUUID", id, "entryCSN", csn, "createTimestamp", when,
		"creatorsName", carol, "pwdChangedTime", when, "memberOf", "cn=board,"+groups, "hasSubordinates", "FALSE")
	if got := codeOf(tree.Add(t.Context(), root, e)); got != codeConstraint {
		t.Errorf("without the control: code %d, want %d", got, codeConstraint)
	}
	if got := codeOf(tree.Add(t.Context(), as(carol), e, &Extra{Relax: true})); got != codeAccess {
		t.Errorf("by an administrator of the tree: code %d, want %d", got, codeAccess)
	}
	if err := tree.Add(t.Context(), root, e, &Extra{Relax: true}); err != nil {
		t.Fatal(err)
	}
	entries, _ := find(t, tree, root, SearchRequest{Base: e.DN, Attributes: []string{"*", "+"}})
	for _, want := range []struct{ name, value string }{
		{"entryUUID", id}, {"entryCSN", csn}, {"createTimestamp", when}, {"creatorsName", carol}, {"pwdChangedTime", when}, {"userPassword", bobPassword},
		{"modifiersName", root.DN},
	} {
		if !slices.ContainsFunc(entries[0].Attributes, func(a Attribute) bool {
			return a.Name == want.name && len(a.Values) == 1 && string(a.Values[0]) == want.value
		}) {
			t.Errorf("%s is not %q: %q", want.name, want.value, entries[0].Attributes)
		}
	}
	e.DN = "uid=zoe2," + people
	e.Attributes[1].Values = texts("zoe2")
	if got := codeOf(tree.Add(t.Context(), root, e, &Extra{Relax: true})); got != codeConstraint {
		t.Errorf("an identity that is taken: code %d, want %d", got, codeConstraint)
	}
}

// Who reads together with a change sees what he may read, and the entry as this change left it.
func TestReadings(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	x := &Extra{Before: &Reading{Attributes: []string{"cn", "userPassword"}}, After: &Reading{Attributes: []string{"userPassword"}}}
	change := []Change{{ReplaceValues, Attribute{"userPassword", texts("a new password")}}}
	if err := tree.Modify(t.Context(), as(alice), alice, change, x); err != nil {
		t.Fatal(err)
	}
	if got := x.Before.Entry; got == nil || len(got.Attributes) != 1 || got.Attributes[0].Name != "cn" {
		t.Errorf("before: %+v, want cn", got)
	}
	if got := x.After.Entry; got == nil || len(got.Attributes) != 0 {
		t.Errorf("after: %+v, want the entry without its password", got)
	}
}

// What authzTo may say, and whom it means.
func TestNamesOfAuthzTo(t *testing.T) {
	t.Parallel()
	tree := peopleAt(t, filepath.Join(t.TempDir(), "directory"), Options{})
	tests := []struct {
		value, name string
		want        bool
	}{
		{"dn.onelevel:" + people, alice, true},
		{"dn.one:" + people, "cn=x," + alice, false},
		{"dn.onelevel:" + people, people, false},
		{"dn.children:" + people, "cn=x," + alice, true},
		{"dn.children:" + people, people, false},
		{"dn.subtree:" + people, people, true},
		{"dn.exact:" + alice, "UID=Alice, " + people, true},
		{"dn:" + alice, alice, true},
		{"dn:" + alice, bob, false},
		{"dn.onelevel:", "dc=org", false},
		{"dn.subtree:", alice, false},
		{"dn.regex:^.*$", alice, false},
		{"*", alice, false},
		{"", alice, false},
	}
	for _, tt := range tests {
		d, err := tree.catalog.parseDN(tt.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := tree.names(tt.value, d); got != tt.want {
			t.Errorf("%q means %q: %t, want %t", tt.value, tt.name, got, tt.want)
		}
	}
}
