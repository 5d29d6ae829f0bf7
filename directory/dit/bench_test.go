package dit

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"
)

// bigFile makes a file of so many people, with the attributes that an account of ours has.
func bigFile(b *testing.B, n int) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "directory")
	tree, err := Open(path, Options{Suffixes: []string{base}})
	if err != nil {
		b.Fatal(err)
	}
	var edits []edit
	add := func(id, parent uint32, rdn string, e Entry) {
		r := &record{id: id, parent: parent, rdn: rdn}
		for _, a := range e.Attributes {
			d, err := tree.catalog.describe(a.Name)
			if err != nil {
				b.Fatal(err)
			}
			r.attrs = append(r.attrs, attribute{d, a.Values})
		}
		_, structural, err := tree.catalog.entryClasses(r)
		if err != nil {
			b.Fatal(err)
		}
		tree.stampNew(r, structural, tree.judge(root))
		tree.stamp(r, tree.judge(root))
		edits = append(edits, edit{new: r})
	}
	add(1, 0, base, entryOf(base, "objectClass", "domain", "dc", "example"))
	add(2, 1, "ou=people", entryOf(people, "objectClass", "organizationalUnit", "ou", "people"))
	for i := range n {
		u := fmt.Sprintf("u%06d", i)
		add(uint32(i+3), 2, "uid="+u, entryOf("uid="+u+","+people,
			"objectClass", "inetOrgPerson", "objectClass", "inetLocalMailRecipient", "objectClass", "dpMailAccount",
			"uid", u, "cn", "User "+u, "sn", u, "givenName", "User", "mail", u+".last@example.org",
			"mailLocalAddress", u+"@example.org", "mailLocalAddress", u+".last@example.org", "dpSendAddress", u+"@example.org",
			"dpAccountStatus", "active", "dpMailService", "imap", "dpMailService", "submission", "dpMailboxId", "m-"+u,
			"dpQuotaBytes", "1073741824", "userPassword", storedSecrets[0].stored))
	}
	if err = tree.commit(edits); err == nil {
		err = tree.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
	return path
}

func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			path := bigFile(b, n)
			heap := func() float64 {
				runtime.GC()
				runtime.GC() // the first one only ends the life of what finalizers and pools hold
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return float64(m.HeapAlloc)
			}
			before := heap()
			var tree *Tree
			for b.Loop() {
				if tree != nil {
					tree.Close()
				}
				var err error
				if tree, err = Open(path, Options{Suffixes: []string{base}}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((heap()-before)/float64(n), "B/entry")
			tree.Close()
		})
	}
}

func BenchmarkSearchByAddress(b *testing.B) {
	const n = 100_000
	tree := openAt(b, bigFile(b, n), Options{})
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			address := fmt.Sprintf("u%06d@example.org", rand.IntN(n))
			f := &Filter{Kind: Or, Subs: []*Filter{
				{Kind: EqualityMatch, Attr: "mailLocalAddress", Value: []byte(address)},
				{Kind: EqualityMatch, Attr: "mailLocalAddress", Value: []byte("@example.org")},
			}}
			found := 0
			for _, err := range tree.Search(b.Context(), as(frontDN), SearchRequest{Base: base, Scope: WholeSubtree, Filter: f}) {
				if err != nil {
					b.Fatal(err)
				}
				found++
			}
			if found != 1 {
				b.Fatalf("%s: %d entries", address, found)
			}
		}
	})
}

func BenchmarkScan(b *testing.B) {
	const n = 10_000
	tree := openAt(b, bigFile(b, n), Options{})
	f := &Filter{Kind: Substrings, Attr: "mail", Any: texts("0099")}
	for b.Loop() {
		for _, err := range tree.Search(b.Context(), as(frontDN), SearchRequest{Base: base, Scope: WholeSubtree, Filter: f}) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkModify(b *testing.B) {
	tree := openAt(b, bigFile(b, 10_000), Options{})
	for b.Loop() {
		changes := []Change{{ReplaceValues, Attribute{"dpQuotaBytes", texts(fmt.Sprint(rand.IntN(1 << 30)))}}}
		if err := tree.Modify(b.Context(), root, "uid=u000001,"+people, changes); err != nil {
			b.Fatal(err)
		}
	}
}
