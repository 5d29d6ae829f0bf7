package dit

import "testing"

// An accessCheck is one thing that somebody does on the sample tree, and the result that the rules give it.
type accessCheck struct {
	name string
	who  Subject
	do   func(t testing.TB, tree *Tree, who Subject) int // a result code, or entries or attributes found
	want int
}

func as(dn string) Subject { return Subject{DN: dn} }

func searchCount(dn string, scope Scope, filter string) func(testing.TB, *Tree, Subject) int {
	return func(t testing.TB, tree *Tree, who Subject) int {
		entries, _ := find(t, tree, who, SearchRequest{Base: dn, Scope: scope, Filter: parseFilter(t, filter)})
		return len(entries)
	}
}

func searchCode(dn string, scope Scope) func(testing.TB, *Tree, Subject) int {
	return func(t testing.TB, tree *Tree, who Subject) int {
		_, code := find(t, tree, who, SearchRequest{Base: dn, Scope: scope})
		return code
	}
}

// readValues counts the values of one attribute in one entry that a search returns.
func readValues(dn, attr string) func(testing.TB, *Tree, Subject) int {
	return func(t testing.TB, tree *Tree, who Subject) int {
		entries, _ := find(t, tree, who, SearchRequest{Base: dn, Attributes: []string{"*", "+", attr}})
		n := 0
		for _, e := range entries {
			for _, a := range e.Attributes {
				if a.Name == attr {
					n += len(a.Values)
				}
			}
		}
		return n
	}
}

func modify(dn string, op ChangeOp, attr string, values ...string) func(testing.TB, *Tree, Subject) int {
	return func(t testing.TB, tree *Tree, who Subject) int {
		return codeOf(tree.Modify(t.Context(), who, dn, []Change{{op, Attribute{attr, texts(values...)}}}))
	}
}

func addEntry(dn string, attrs ...string) func(testing.TB, *Tree, Subject) int {
	return func(t testing.TB, tree *Tree, who Subject) int {
		return codeOf(tree.Add(t.Context(), who, entryOf(dn, attrs...)))
	}
}

// entryOf makes an entry of names and values in turn.
func entryOf(dn string, attrs ...string) Entry {
	var lines []Attribute
	for i := 0; i+1 < len(attrs); i += 2 {
		lines = append(lines, Attribute{attrs[i], texts(attrs[i+1])})
	}
	return Entry{dn, merge(lines)}
}

func compareCode(dn, attr, value string) func(testing.TB, *Tree, Subject) int {
	return func(t testing.TB, tree *Tree, who Subject) int {
		ok, err := tree.Compare(t.Context(), who, dn, attr, []byte(value))
		if err == nil && ok {
			return 6 // compareTrue
		}
		return codeOf(err)
	}
}

const (
	bobPassword = "{SSHA}UwCcYm8Mck0AZgRkxvMA6OXjBLtzYWx0c2FsdA=="
	gina        = "uid=gina," + people
)

// accessChecks leave the tree as it was but for passwords, so that they can be run in any order.
var accessChecks = []accessCheck{
	{"anonymous finds what is listed", Subject{}, searchCount(people, SingleLevel, "(objectClass=*)"), 2},
	{"anonymous finds nobody who is not, by his name", Subject{}, searchCount(bob, BaseObject, "(objectClass=*)"), 0},
	{"anonymous reads the root DSE", Subject{}, searchCount("", BaseObject, "(objectClass=*)"), 1},
	{"anonymous reads the schema", Subject{}, searchCount("cn=Subschema", BaseObject, "(objectClass=subschema)"), 1},
	{"anonymous compares nothing", Subject{}, compareCode(alice, "uid", "alice"), codeAccess},
	{"anonymous adds nothing", Subject{}, addEntry("uid=x,"+people, "objectClass", "inetOrgPerson", "uid", "x", "cn", "x", "sn", "x"), codeStrongerAuth},
	{"anonymous changes nothing", Subject{}, modify(alice, ReplaceValues, "description", "x"), codeStrongerAuth},
	{"anonymous binds", Subject{}, func(t testing.TB, tree *Tree, _ Subject) int {
		_, _, err := tree.Bind(t.Context(), carol, []byte("carolpw"))
		return codeOf(err)
	}, 0},

	{"a password operator finds people", as(bob), searchCount(base, WholeSubtree, "(uid=*)"), 7},
	{"a person who is not listed finds the own entry too", as(gina), searchCount(people, SingleLevel, "(objectClass=*)"), 3},
	{"a person sees the container", as(alice), searchCount(people, BaseObject, "(objectClass=*)"), 1},
	{"a person finds nobody else", as(alice), searchCode(bob, BaseObject), codeNoObject},
	{"a person finds no group", as(alice), searchCount(groups, SingleLevel, "(objectClass=*)"), 0},
	{"a person reads the own quota", as(alice), readValues(alice, "dpQuotaBytes"), 1},
	{"a person reads the own groups", as(alice), readValues(alice, "memberOf"), 1},
	{"a person does not read the own hash", as(alice), readValues(alice, "userPassword"), 0},
	{"a person does not find the own hash", as(alice), searchCount(alice, BaseObject, "(userPassword=*)"), 0},
	{"a person does not find it by negation", as(alice), searchCount(alice, BaseObject, "(!(userPassword=x))"), 0},
	{"a person does not compare the own hash", as(bob), compareCode(bob, "userPassword", bobPassword), codeAccess},
	{"a person does not read the own app passwords", as(gina), readValues(gina, "dpAppPassword"), 0},
	{"a person does not remove the own app passwords", as(gina), modify(gina, DeleteValues, "dpAppPassword"), codeAccess},
	{"a person changes the own password", as(alice), modify(alice, ReplaceValues, "userPassword", "a new password"), 0},
	{"a person does not choose the stored form", as(alice), modify(alice, ReplaceValues, "userPassword", bobPassword), codeConstraint},
	{"a person changes nothing else", as(alice), modify(alice, ReplaceValues, "dpQuotaBytes", "1"), codeAccess},
	{"a person takes no address", as(alice), modify(alice, AddValues, "mailLocalAddress", "x@example.org"), codeAccess},
	{"a person learns nothing from uniqueness", as(alice), modify(alice, AddValues, "mailLocalAddress", "bob@example.org"), codeAccess},
	{"a person does not change another's password", as(alice), modify(bob, ReplaceValues, "userPassword", "x"), codeNoObject},
	{"a person adds nothing", as(alice), addEntry("cn=x,"+alice, "objectClass", "device", "cn", "x"), codeAccess},
	{"a person does not leave", as(alice), func(t testing.TB, tree *Tree, who Subject) int {
		return codeOf(tree.Delete(t.Context(), who, alice))
	}, codeAccess},
	{"a person is not renamed by himself", as(alice), func(t testing.TB, tree *Tree, who Subject) int {
		return codeOf(tree.Rename(t.Context(), who, alice, "uid=alice2", true, ""))
	}, codeAccess},
	{"the frontend searches below every container", as(frontDN), searchCount("ou=services,"+base, SingleLevel, "(cn=web)"), 1},
	{"a member of another right is no administrator", as(bob), readValues(carol, "dpMailService"), 0},

	{"the frontend finds people", as(frontDN), searchCount(people, SingleLevel, "(objectClass=dpMailAccount)"), 7},
	{"the frontend finds addresses", as(frontDN), searchCount(base, WholeSubtree, "(mailLocalAddress=pr@example.org)"), 1},
	{"the frontend reads no hash", as(frontDN), readValues(bob, "userPassword"), 0},
	{"the frontend finds no hash", as(frontDN), searchCount(base, WholeSubtree, "(userPassword=*)"), 0},
	{"the frontend reads app passwords", as(frontDN), readValues(gina, "dpAppPassword"), 1},
	{"the frontend does not read who may act as whom", as(frontDN), readValues(webDN, "authzTo"), 0},
	{"the frontend does not read for whom one may act", as(frontDN), readValues(webDN, "authzFrom"), 0},
	{"the frontend reads no old hash", as(frontDN), readValues(bob, "pwdHistory"), 0},
	{"the frontend finds no old hash", as(frontDN), searchCount(base, WholeSubtree, "(pwdHistory=*)"), 0},
	{"the frontend writes nothing", as(frontDN), modify(alice, ReplaceValues, "dpQuotaBytes", "1"), codeAccess},
	{"the frontend makes no app password", as(frontDN), modify(gina, AddValues, "dpAppPassword", "a$$$$b"), codeAccess},
	{"the frontend searches below the containers", as(frontDN), searchCount(base, BaseObject, "(objectClass=*)"), 1},
	{"another service reads no addresses", as(webDN), readValues(bob, "mail"), 0},
	{"another service reads no app password", as(webDN), readValues(gina, "dpAppPassword"), 0},

	{"an administrator reads everybody", as(carol), readValues(alice, "dpQuotaBytes"), 1},
	{"an administrator sees containers", as(carol), searchCount(people, BaseObject, "(objectClass=*)"), 1},
	{"an administrator reads no hash", as(carol), readValues(bob, "userPassword"), 0},
	{"an administrator reads no app password", as(carol), readValues(gina, "dpAppPassword"), 0},
	{"an administrator makes no app password", as(carol), modify(gina, AddValues, "dpAppPassword", "a$$$$b"), codeAccess},
	{"an administrator does not bring one by an add", as(carol), addEntry("uid=y,"+people,
		"objectClass", "inetOrgPerson", "objectClass", "dpMailAccount", "uid", "y", "cn", "y", "sn", "y",
		"dpAccountStatus", "active", "dpAppPassword", "a$$$$b"), codeAccess},
	{"an administrator does not say who may act as whom", as(carol), modify(webDN, ReplaceValues, "authzTo", "x"), codeAccess},
	{"an administrator sets quotas", as(carol), modify(alice, ReplaceValues, "dpQuotaBytes", "5368709120"), 0},
	{"an administrator changes the own entry too", as(carol), modify(carol, ReplaceValues, "dpQuotaBytes", "5368709120"), 0},
	{"an administrator sets passwords", as(carol), modify(gina, ReplaceValues, "userPassword", "a new one"), 0},
	{"an administrator brings hashes along", as(carol), modify(bob, ReplaceValues, "userPassword", bobPassword), 0},
	{"an administrator brings no hash that costs hours", as(carol), modify(bob, ReplaceValues, "userPassword", "{PBKDF2}2000000000$c2FsdA$c2FsdHNhbHRzYWx0c2FsdA"), codeConstraint},
	{"an administrator adds and deletes", as(carol), func(t testing.TB, tree *Tree, who Subject) int {
		if err := tree.Add(t.Context(), who, entryOf("cn=z,"+people, "objectClass", "device", "cn", "z")); err != nil {
			return codeOf(err)
		}
		return codeOf(tree.Delete(t.Context(), who, "cn=z,"+people))
	}, 0},
	{"an administrator hears of what is taken", as(carol), modify(alice, AddValues, "mailLocalAddress", "bob@example.org"), codeConstraint},
	{"an administrator removes app passwords", as(carol), func(t testing.TB, tree *Tree, who Subject) int {
		attr := "dpAppPassword"
		if code := modify(gina, DeleteValues, attr)(t, tree, who); code != 0 {
			return code
		}
		return modify(gina, AddValues, attr, "phone$imap$$$x")(t, tree, root)
	}, 0},

	{"a local user of no account sees what is listed", Subject{DN: "gidNumber=7+uidNumber=7" + peerSuffix}, searchCount(people, SingleLevel, "(objectClass=*)"), 2},
	{"a local user of no account changes nothing", Subject{DN: "gidNumber=7+uidNumber=7" + peerSuffix}, modify(alice, ReplaceValues, "cn", "x"), codeAccess},
	{"the local administrator reads hashes", root, readValues(bob, "userPassword"), 1},
	{"the local administrator says who may act as whom", root, modify(webDN, ReplaceValues, "authzTo", "dn.onelevel:"+people), 0},
}

// accessTree is the sample tree with attributes that no client can write, or that it lacks.
func accessTree(t testing.TB) *Tree {
	t.Helper()
	tree := sampleTree(t)
	for _, p := range []struct{ dn, attr, value string }{
		{bob, "pwdHistory", "an old hash"}, {webDN, "authzFrom", "dn:" + alice},
	} {
		d, err := tree.catalog.parseDN(p.dn)
		if err != nil {
			t.Fatal(err)
		}
		id, _ := tree.find(d)
		v, err := tree.view(id)
		if err != nil {
			t.Fatal(err)
		}
		after := v.record.clone()
		tree.set(after, p.attr, p.value)
		if err := tree.commit([]edit{{v.record, after}}); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func TestAccess(t *testing.T) {
	t.Parallel()
	tree := accessTree(t)
	for _, c := range accessChecks {
		t.Run(c.name, func(t *testing.T) {
			if got := c.do(t, tree, c.who); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}
