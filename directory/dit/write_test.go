package dit

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// What slapd and we do alike is in testdata; here is what only we do, or do otherwise.
func TestChanges(t *testing.T) {
	t.Parallel()
	person := func(dn string, more ...string) func(testing.TB, *Tree, Subject) int {
		name, _, _ := strings.Cut(strings.TrimPrefix(dn, "uid="), ",")
		return addEntry(dn, append([]string{"objectClass", "inetOrgPerson", "objectClass", "dpMailAccount", "uid", name, "cn", name, "sn", name, "dpAccountStatus", "active"}, more...)...)
	}
	rename := func(dn, rdn, superior string) func(testing.TB, *Tree, Subject) int {
		return func(t testing.TB, tree *Tree, who Subject) int {
			return codeOf(tree.Rename(t.Context(), who, dn, rdn, true, superior))
		}
	}
	tests := []struct {
		name string
		do   func(testing.TB, *Tree, Subject) int
		want int
	}{
		{"length bounds of the schema hold", modify(alice, ReplaceValues, "mailHost", strings.Repeat("a", 257)), codeConstraint},
		{"up to the bound", modify(alice, ReplaceValues, "mailHost", strings.Repeat("a", 256)), 0},
		{"an add without values", modify(alice, AddValues, "description"), codeProtocol},
		{"an unknown operation", modify(alice, 7, "description", "x"), codeProtocol},
		{"a value of 64 digits", modify(alice, ReplaceValues, "dpQuotaBytes", strings.Repeat("9", 64)), 0},
		{"no longer one", modify(alice, ReplaceValues, "dpQuotaBytes", strings.Repeat("9", 65)), codeBadSyntax},
		{"unique over entries", modify(alice, AddValues, "mailLocalAddress", "BOB@example.org"), codeConstraint},
		{"unique in another entry's other attribute is none of it", modify(alice, AddValues, "dpSendAddress", "bob.brandt@example.org"), 0},
		{"unique on an add", person("uid=new,"+people, "dpMailboxId", "m-0002"), codeConstraint},
		{"unique on a rename", rename(alice, "mail=bob.brandt@example.org", ""), codeConstraint},
		{"the own values are no hindrance", modify(alice, ReplaceValues, "mailLocalAddress", "Alice@example.org", "alice.adler@example.org"), 0},
		{"case is not folded where the schema says so", person("uid=new,"+people, "dpMailboxId", "M-0002"), 0},
		{"a member must exist", modify(adminsDN, AddValues, "member", "uid=ghost,"+people), codeConstraint},
		{"a fingerprint is 64 lower-case digits", modify(alice, ReplaceValues, "dpCertSHA256", strings.Repeat("A", 64)), codeConstraint},
		{"an address has one @", modify(alice, ReplaceValues, "dpForward", "a@b@c"), codeConstraint},
		{"options make attributes of their own", modify(alice, AddValues, "cn;lang-de", "Alice Adler"), 0},
		{"an option that nobody knows", modify(alice, AddValues, "cn;x-foo", "Alice"), codeUndefinedType},
		{"nine options", modify(alice, AddValues, "cn"+strings.Repeat(";lang-de", 9), "Alice"), codeUndefinedType},
		{"a certificate that is none", modify(alice, ReplaceValues, "userCertificate;binary", "\x30\x03\x02\x01\x00"), codeBadSyntax},
		{"a scheme that nobody knows", modify(alice, ReplaceValues, "userPassword", "{FOO}bar"), codeConstraint},
		{"the naming context is not added twice", addEntry("dc=Example,dc=org", "objectClass", "domain", "dc", "example"), codeEntryExists},
		{"nothing below what does not exist", person("uid=new,ou=nowhere," + people), codeNoObject},
		{"an entry larger than the server takes", modify(alice, ReplaceValues, "jpegPhoto", strings.Repeat("x", 17<<20)), codeAdminLimit},
		{"a thousand changes and one", func(t testing.TB, tree *Tree, who Subject) int {
			return codeOf(tree.Modify(t.Context(), who, alice, make([]Change, maxChanges+1)))
		}, codeAdminLimit},
		{"five passwords at once", modify(alice, ReplaceValues, "userPassword", "1", "2", "3", "4", "5"), codeConstraint},
		{"two passwords under an option", modify(alice, AddValues, "userPassword;lang-de", "1", "2"), codeConstraint},
		{"not below another naming context", rename(alice, "uid=alice", "dc=net"), codeMultipleServer},
		{"a rename to the place of another", rename("cn=board,"+groups, "cn=everyone", ""), codeEntryExists},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tree := sampleTree(t)
			before, _ := find(t, tree, root, SearchRequest{Base: base, Scope: WholeSubtree, Attributes: []string{"*", "+"}})
			got := tt.do(t, tree, root)
			if got != tt.want {
				t.Fatalf("code %d, want %d", got, tt.want)
			}
			after, _ := find(t, tree, root, SearchRequest{Base: base, Scope: WholeSubtree, Attributes: []string{"*", "+"}})
			if changed := strings.Join(ldif(before), "\n") != strings.Join(ldif(after), "\n"); changed != (tt.want == 0) {
				t.Errorf("with code %d, changed: %v", got, changed)
			}
		})
	}
}

// The values of an index entry must go exactly when the last spelling of them has gone.
func TestIndexFollowsEverySpelling(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	steps := []struct {
		name string
		do   func(testing.TB, *Tree, Subject) int
		want int // entries with the name
	}{
		{"under an option too", modify(alice, AddValues, "cn;lang-de", "ALICE ADLER"), 1},
		{"without the option gone", modify(alice, ReplaceValues, "cn", "Somebody"), 1},
		{"both gone", modify(alice, DeleteValues, "cn;lang-de"), 0},
		{"back", modify(alice, ReplaceValues, "cn", "Alice Adler"), 1},
		{"spelled otherwise", modify(alice, ReplaceValues, "cn", "alice  adler"), 1},
		{"in two entries", modify(bob, AddValues, "cn", "Alice Adler"), 2},
		{"in three", modify(carol, AddValues, "cn", "Alice Adler"), 3},
		{"in two again", modify(bob, DeleteValues, "cn", "alice adler"), 2},
		{"in one again", modify(carol, DeleteValues, "cn", "alice adler"), 1},
	}
	for _, s := range steps {
		if code := s.do(t, tree, root); code != 0 {
			t.Fatalf("%s: code %d", s.name, code)
		}
		if got := searchCount(base, WholeSubtree, "(cn=Alice Adler)")(t, tree, root); got != s.want {
			t.Errorf("%s: %d entries, want %d", s.name, got, s.want)
		}
	}
}

func TestNamesFollowRenamesAndDeletions(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	count := func(name, filter string, want int) {
		t.Helper()
		if got := searchCount(base, WholeSubtree, filter)(t, tree, root); got != want {
			t.Errorf("%s: %s finds %d, want %d", name, filter, got, want)
		}
	}
	if err := tree.Rename(t.Context(), root, people, "ou=persons", true, "ou=services,"+base); err != nil {
		t.Fatal(err)
	}
	moved := "uid=carol,ou=persons,ou=services," + base
	count("moved", "(member="+carol+")", 0)
	count("moved", "(member="+moved+")", 3)
	count("moved", "(memberOf="+adminsDN+")", 1)
	if got := readValues(alice, "dpQuotaBytes")(t, tree, as(moved)); got != 0 {
		t.Errorf("the old name is still read: %d values", got)
	}
	if got := readValues("uid=alice,ou=persons,ou=services,"+base, "dpQuotaBytes")(t, tree, as(moved)); got != 1 {
		t.Errorf("the administrator has lost the right with the move: %d values, want 1", got)
	}
	if got := readValues("uid=alice,ou=persons,ou=services,"+base, "dpQuotaBytes")(t, tree, as(carol)); got != 0 {
		t.Errorf("the old name keeps the right: %d values", got)
	}
	if err := tree.Delete(t.Context(), root, moved); err != nil {
		t.Fatal(err)
	}
	count("deleted", "(member="+moved+")", 0)
	count("deleted", "(member=cn=nobody,ou=services,"+base+")", 1)
	count("deleted", "(&(objectClass=groupOfNames)(!(member=*)))", 0)
}

// A new entry with the name of a deleted administrator must not be one.
func TestRightsEndWithTheEntry(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	if err := tree.Delete(t.Context(), root, carol); err != nil {
		t.Fatal(err)
	}
	if code := addEntry(carol, "objectClass", "inetOrgPerson", "uid", "carol", "cn", "C", "sn", "C")(t, tree, root); code != 0 {
		t.Fatalf("code %d", code)
	}
	if got := readValues(alice, "dpQuotaBytes")(t, tree, as(carol)); got != 0 {
		t.Errorf("the second carol reads %d values, want 0", got)
	}
}

// A group that gives a right in one naming context gives none in another.
func TestRightsEndAtTheNamingContext(t *testing.T) {
	t.Parallel()
	tree := openTree(t, Options{})
	other, err := tree.catalog.parseDN("dc=net")
	if err != nil {
		t.Fatal(err)
	}
	tree.suffixes = append(tree.suffixes, other)
	for _, code := range []int{
		addEntry(base, "objectClass", "domain", "dc", "example")(t, tree, root),
		addEntry("dc=net", "objectClass", "domain", "dc", "net")(t, tree, root),
		addEntry("uid=eve,dc=net", "objectClass", "inetOrgPerson", "uid", "eve", "cn", "E", "sn", "E")(t, tree, root),
		addEntry("cn=admins,dc=net", "objectClass", "groupOfNames", "objectClass", "dpAdminRole", "cn", "admins", "dpAdminRight", "full", "member", "uid=eve,dc=net")(t, tree, root),
	} {
		if code != 0 {
			t.Fatalf("code %d", code)
		}
	}
	eve := as("uid=eve,dc=net")
	if got := searchCount("dc=net", BaseObject, "(objectClass=*)")(t, tree, eve); got != 1 {
		t.Errorf("in the own context: %d entries, want 1", got)
	}
	if got := modify(base, ReplaceValues, "o", "x")(t, tree, eve); got != codeAccess {
		t.Errorf("in the other: code %d, want %d", got, codeAccess)
	}
}

// Two clients that take the same address at once: one gets it. Readers meanwhile never see an entry without it.
func TestConcurrentChanges(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	const clients, rounds = 4, 25
	var won atomic.Int32
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if got := searchCount(base, WholeSubtree, "(&(uid=alice)(mailLocalAddress=alice@example.org))")(t, tree, as(frontDN)); got != 1 {
				t.Errorf("a reader finds %d entries, want 1", got)
				return
			}
		}
	})
	for c := range clients {
		writers.Go(func() {
			for r := range rounds {
				dn := fmt.Sprintf("cn=c%d-%d,%s", c, r, people)
				code := addEntry(dn, "objectClass", "device", "objectClass", "inetLocalMailRecipient",
					"cn", fmt.Sprintf("c%d-%d", c, r), "mailLocalAddress", fmt.Sprintf("taken%d@example.org", r))(t, tree, root)
				switch code {
				case 0:
					won.Add(1)
				case codeConstraint:
				default:
					t.Errorf("%s: code %d", dn, code)
				}
				if code := modify(alice, ReplaceValues, "description", dn)(t, tree, root); code != 0 {
					t.Errorf("modify: code %d", code)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	if got := won.Load(); got != rounds {
		t.Errorf("%d addresses given away, want %d", got, rounds)
	}
}
