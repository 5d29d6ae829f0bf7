package view

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// A trie says the same as a map, whatever was put and dropped before, and what it was before a change it stays.
func TestTrie(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var root *node
	model := map[uint64][]*record{}
	type moment struct {
		root  *node
		model map[uint64][]*record
	}
	var past []moment
	m := new(maker)
	for i := range 20_000 {
		hash := random.Uint64N(300)
		if hash%3 == 0 {
			hash <<= 55 // the same places down to the last levels
		}
		switch holders := model[hash]; {
		case len(holders) > 0 && random.IntN(2) == 0:
			gone := holders[random.IntN(len(holders))]
			root = root.drop(hash, gone, 0, m)
			model[hash] = slices.DeleteFunc(slices.Clone(holders), func(r *record) bool { return r == gone })
		default:
			rec := &record{packed: fmt.Sprint(i)}
			root = root.put(hash, rec, 0, m)
			model[hash] = append(slices.Clip(holders), rec)
		}
		if i%4000 == 0 {
			past = append(past, moment{root, maps.Clone(model)})
			m = []*maker{nil, new(maker)}[i/4000%2] // what was given away is not changed in place
		}
	}
	for _, m := range append(past, moment{root, model}) {
		total := 0
		for hash, want := range m.model {
			var got []*record
			m.root.each(hash, func(r *record) bool { got = append(got, r); return true })
			total += len(want)
			if len(got) != len(want) || slices.ContainsFunc(want, func(r *record) bool { return !slices.Contains(got, r) }) {
				t.Fatalf("hash %x has %d records, want %d", hash, len(got), len(want))
			}
		}
		m.root.all(func(*record) bool { total--; return true })
		if total != 0 {
			t.Errorf("%d records more than are found one by one", -total)
		}
	}
	for hash, holders := range model {
		for _, rec := range holders {
			root = root.drop(hash, rec, 0, nil)
		}
	}
	if root != nil {
		t.Error("something is left of an empty trie")
	}
}

const uuid = "01234567-89ab-cdef-0123-456789abcdef"

// What is kept of an entry is what is asked for, and no more.
func TestRecord(t *testing.T) {
	t.Parallel()
	e := &ldap.Entry{DN: "uid=ann,ou=people,dc=example,dc=org", Attributes: []*ldap.EntryAttribute{
		{Name: "OBJECTCLASS", Values: []string{"top", "dpmailaccount", "inetOrgPerson"}},
		{Name: "mail", Values: []string{"Ann@example.org"}},
		{Name: "mailLocalAddress", Values: []string{"ann@example.org", strings.Repeat("x", 300)}},
		{Name: "dpAccountStatus", Values: []string{"active"}},
		{Name: "member", Values: nil},
		{Name: "userPassword", Values: []string{"secret"}},
		{Name: "entryUUID", Values: []string{uuid}},
	}}
	id, err := ParseID(uuid)
	if err != nil {
		t.Fatal(err)
	}
	rec := pack(id, e)
	got, err := rec.entry()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]string{}
	for _, a := range got.Attributes {
		values[a.Name] = a.Values
	}
	want := map[string][]string{
		"entryUUID": {uuid}, "objectClass": {"dpMailAccount"}, "mail": {"Ann@example.org"},
		"mailLocalAddress": {"ann@example.org", strings.Repeat("x", 300)}, "dpAccountStatus": {"active"},
	}
	if got.DN != e.DN || !reflect.DeepEqual(values, want) {
		t.Errorf("entry is %s %v, want %s %v", got.DN, values, e.DN, want)
	}
	for _, bad := range []string{"", uuid + "0", "z" + uuid[1:]} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("%q is taken for a UUID", bad)
		}
	}
}

// FuzzRecord: a record of any octets is an entry or an error, and an entry packs to the same entry again.
func FuzzRecord(f *testing.F) {
	f.Add(pack(ID{1}, ldap.NewEntry("uid=ann", map[string][]string{"objectClass": {"dpMailAccount"}, "uid": {"ann"}})).packed)
	f.Add("\x01a\x02\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Fuzz(func(t *testing.T, packed string) {
		e, err := (&record{ID{1}, packed}).entry()
		if err != nil {
			return
		}
		again, err := pack(ID{1}, e).entry()
		if err != nil {
			t.Fatal(err)
		}
		if again.DN != e.DN {
			t.Errorf("name %q became %q", e.DN, again.DN)
		}
	})
}

// A query finds entries by any spelling of a value or name, each once, and only those of the class.
func TestFind(t *testing.T) {
	t.Parallel()
	entry := func(n int, dn string, pairs ...string) *ldap.Entry {
		attrs := map[string][]string{"entryUUID": {fmt.Sprintf("00000000-0000-0000-0000-%012d", n)}}
		for i := 0; i < len(pairs); i += 2 {
			attrs[pairs[i]] = append(attrs[pairs[i]], pairs[i+1])
		}
		return ldap.NewEntry(dn, attrs)
	}
	s, err := New(
		entry(1, "uid=ann,ou=people", "objectClass", "dpMailAccount", "uid", "ann", "mail", "ann@example.org", "mailLocalAddress", "ann@example.org", "mailLocalAddress", "info@example.org"),
		entry(2, "uid=bob,ou=people", "objectClass", "dpMailAccount", "uid", "ann@example.org"),
		entry(3, "cn=all,ou=groups", "objectClass", "groupOfNames", "member", "UID=Ann, ou=people", "mailLocalAddress", "all@example.org"),
	)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		q    Query
		want string
	}{
		{"a value in another case", Query{Any: []Term{{"mailLocalAddress", "INFO@example.org"}}}, "uid=ann,ou=people"},
		{"two values of one entry", Query{Any: []Term{{"mailLocalAddress", "info@example.org"}, {"mailLocalAddress", "ann@example.org"}}}, "uid=ann,ou=people"},
		{"two attributes", Query{Any: []Term{{"uid", "ann@example.org"}, {"mail", "ann@example.org"}}}, "uid=ann,ou=people uid=bob,ou=people"},
		{"an attribute that does not have it", Query{Any: []Term{{"mail", "info@example.org"}}}, ""},
		{"a class", Query{Class: "groupOfNames", Any: []Term{{"mailLocalAddress", "ann@example.org"}}}, ""},
		{"all of a class", Query{Class: "dpMailAccount"}, "uid=ann,ou=people uid=bob,ou=people"},
		{"a member", Query{Any: []Term{{"member", "uid=ann,ou=People"}}}, "cn=all,ou=groups"},
		{"a name", Query{Any: []Term{{"entryDN", "CN=all, ou=groups"}}}, "cn=all,ou=groups"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			entries, err := s.Find(t.Context(), tt.q)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, e := range entries {
				names = append(names, e.DN)
			}
			slices.Sort(names)
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
	if _, err := s.Find(t.Context(), Query{Any: []Term{{"cn", "all"}}}); err == nil {
		t.Error("an attribute without an index is searched for in vain, without an error")
	}
}

// The short way to the form of a name leads to where the long one does.
func FuzzName(f *testing.F) {
	for _, dn := range []string{"uid=ann,ou=people,dc=example,dc=org", "CN=Ann Adler,OU=People", "cn=a ,ou=b", "cn= a", "cn=a,,b", "cn=a=b", "cn=a+sn=b", "cn=\\41", "", "cn", "cn=#04024869", "cn=a  b", ",cn=a"} {
		f.Add(dn)
	}
	f.Fuzz(func(t *testing.T, dn string) {
		if !plain(dn) {
			return
		}
		want := strings.ToLower(dn)
		if parsed, err := ldap.ParseDN(dn); err == nil {
			want = strings.ToLower(parsed.String())
		}
		if got := Name(dn); got != want {
			t.Errorf("Name(%q) = %q, want %q", dn, got, want)
		}
	})
}
