package dit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dirpost/dirpost/schema"
)

func TestSearchLimits(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	tree.opts.MaxEntries = 5
	all := len(readLDIF(t, "testdata/tree.ldif"))
	tests := []struct {
		name    string
		who     Subject
		limit   int
		entries int
		code    int
	}{
		{"the client's", as(carol), 3, 3, codeSizeLimit},
		{"the server's when the client has none", as(carol), 0, 5, codeSizeLimit},
		{"the server's when the client wants more", as(carol), 50, 5, codeSizeLimit},
		{"the local administrator goes beyond when he says so", root, 50, all, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			entries, code := find(t, tree, tt.who, SearchRequest{Base: base, Scope: WholeSubtree, SizeLimit: tt.limit})
			if len(entries) != tt.entries || code != tt.code {
				t.Errorf("%d entries, code %d; want %d, %d", len(entries), code, tt.entries, tt.code)
			}
		})
	}
}

func TestSearchEndsInTime(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	if _, code := find(t, tree, root, SearchRequest{Base: base, Scope: WholeSubtree, TimeLimit: 1}); code != codeTimeLimit {
		t.Errorf("after a nanosecond: code %d, want %d", code, codeTimeLimit)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range tree.Search(ctx, root, SearchRequest{Base: base, Scope: WholeSubtree}) {
		if codeOf(err) != codeUnavailable {
			t.Errorf("abandoned: %v, want code %d", err, codeUnavailable)
		}
	}
}

func TestASlowReaderCostsNoTime(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	synctest.Test(t, func(t *testing.T) {
		for _, err := range tree.Search(t.Context(), root, SearchRequest{Base: base, Scope: WholeSubtree, TimeLimit: time.Second}) {
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) // of the bubble's clock
		}
	})
}

func TestSearchGivesParentsFirst(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	if err := tree.Rename(t.Context(), root, people, "ou=persons", true, groups); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	entries, _ := find(t, tree, root, SearchRequest{Base: base, Scope: WholeSubtree})
	for _, e := range entries {
		d, err := tree.catalog.parseDN(e.DN)
		if err != nil {
			t.Fatal(err)
		}
		if e.DN != base && !seen[d.parent().norm] {
			t.Errorf("%s comes before its parent", e.DN)
		}
		seen[d.norm] = true
	}
}

func TestTheTreeMayChangeDuringASearch(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	n := 0
	for e, err := range tree.Search(t.Context(), root, SearchRequest{Base: people, Scope: SingleLevel}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Delete(t.Context(), root, e.DN); err != nil {
			t.Fatalf("delete %s: %v", e.DN, err)
		}
		n++
	}
	if left := searchCount(people, SingleLevel, "(objectClass=*)")(t, tree, root); n != 7 || left != 0 {
		t.Errorf("%d deleted, %d left; want 7, 0", n, left)
	}
}

func TestTypesOnly(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	entries, _ := find(t, tree, root, SearchRequest{Base: alice, TypesOnly: true, Attributes: []string{"cn", "memberOf"}})
	got := strings.Join(ldif(entries), "\n")
	if want := "dn: " + alice + "\ncn:\nmemberOf:"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRootDSE(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	entries, code := find(t, tree, Subject{}, SearchRequest{
		Attributes: []string{"*", "+"}, RootDSE: []Attribute{{"supportedLDAPVersion", texts("3")}},
	})
	got := strings.Join(ldif(entries), "\n")
	want := "dn:\nentryDN:\nnamingContexts: " + base + "\nobjectClass: top\nsubschemaSubentry: cn=Subschema\nsupportedLDAPVersion: 3"
	if code != 0 || got != want {
		t.Errorf("code %d, got\n%s\nwant\n%s", code, got, want)
	}
	if got := searchCount("", BaseObject, "(objectClass=person)")(t, tree, Subject{}); got != 0 {
		t.Errorf("the filter does not count: %d entries, want 0", got)
	}
	if got := searchCode("", WholeSubtree)(t, tree, Subject{}); got != codeNoObject {
		t.Errorf("a subtree of everything: code %d, want %d", got, codeNoObject)
	}
}

// What cn=Subschema says must read back as the schema that it was made from.
func TestSubschemaReadsBack(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	entries, _ := find(t, tree, Subject{}, SearchRequest{
		Base: "cn=subschema", Attributes: []string{"attributeTypes", "objectClasses", "matchingRules", "ldapSyntaxes"},
	})
	if len(entries) != 1 || len(entries[0].Attributes) != 4 {
		t.Fatalf("got %v, want one entry with four attributes", ldif(entries))
	}
	var text strings.Builder
	for _, a := range entries[0].Attributes {
		for _, v := range a.Values {
			if a.Name == "attributeTypes" || a.Name == "objectClasses" {
				fmt.Fprintf(&text, "%s %s\n", strings.ToLower(a.Name), v)
			}
		}
	}
	read := schema.New()
	if err := read.Parse(text.String()); err != nil {
		t.Fatal(err)
	}
	for _, want := range tree.catalog.schema.AttributeTypes {
		if got := read.Attribute(want.OID); got == nil || attributeText(got) != attributeText(want) {
			t.Errorf("%s reads back as %+v", want.Name(), got)
		}
	}
	for _, want := range tree.catalog.schema.ObjectClasses {
		if got := read.Class(want.OID); got == nil || classText(got) != classText(want) {
			t.Errorf("%s reads back as %+v", want.Name(), got)
		}
	}
}

// The indexes only save work: random filters find with them exactly what testing every entry finds.
func TestIndexesChangeNoAnswer(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	random := rand.New(rand.NewPCG(1, 2))
	leaves := []string{
		"(uid=alice)", "(uid=BOB)", "(uid=nobody)", "(uid=*)", "(objectClass=person)", "(objectClass=groupOfNames)", "(objectClass=top)",
		"(mail=*example*)", "(mailLocalAddress=pr@example.org)", "(member=" + carol + ")", "(memberOf=" + adminsDN + ")",
		"(memberOf=cn=none," + groups + ")", "(entryDN=" + bob + ")", "(dpQuotaBytes>=1073741824)", "(nosuch=1)", "(sn~=adler)",
		"(dpPublicListing=TRUE)", "(dpPublicListing=junk)", "(cn:dn:=press)", "(name=Bob Brandt)", "(owner=" + carol + ")",
		"(hasSubordinates=TRUE)", "(objectClass=nosuch)", "(dpAdminRight=full)", "(roleOccupant=" + alice + ")",
	}
	var filter func(depth int) string
	filter = func(depth int) string {
		if depth == 0 || random.IntN(3) == 0 {
			return leaves[random.IntN(len(leaves))]
		}
		var subs strings.Builder
		op := []string{"&", "|", "!"}[random.IntN(3)]
		for n := 1 + random.IntN(3); n > 0; n-- {
			subs.WriteString(filter(depth - 1))
			if op == "!" {
				break
			}
		}
		return "(" + op + subs.String() + ")"
	}
	for range 500 {
		text := filter(3)
		want, err := tree.naive(t, parseFilter(t, text))
		if err != nil {
			t.Fatal(err)
		}
		entries, code := find(t, tree, root, SearchRequest{Base: base, Scope: WholeSubtree, Filter: parseFilter(t, text), Attributes: []string{"1.1"}})
		if got := ldif(entries); code != 0 || !slices.Equal(got, want) {
			t.Fatalf("%s: code %d\n%s\nwant\n%s", text, code, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// naive tests every entry with three-valued logic written out anew.
func (t *Tree) naive(tb testing.TB, f *Filter) ([]string, error) {
	tb.Helper()
	var out []string
	err := t.forEach(func(r *record) error {
		views, err := t.views([]uint32{r.id})
		if err != nil {
			return err
		}
		if t.value(tb, views[0], f) == 1 {
			out = append(out, ldifLine("dn", views[0].text))
		}
		return nil
	})
	slices.Sort(out)
	return out, err
}

// value is 1 for true, 0 for undefined, -1 for false.
func (t *Tree) value(tb testing.TB, v *view, f *Filter) int {
	switch f.Kind {
	case Not:
		return -t.value(tb, v, f.Subs[0])
	case And, Or:
		sign := 1
		if f.Kind == Or {
			sign = -1
		}
		result := 1
		for _, s := range f.Subs {
			result = min(result, sign*t.value(tb, v, s))
		}
		return sign * result
	}
	leaf, err := t.catalog.compile(f)
	if err != nil {
		tb.Fatal(err)
	}
	return int(leaf.eval(v, t.judge(root))) - 1
}

func TestFiltersAreBounded(t *testing.T) {
	t.Parallel()
	deep := &Filter{Kind: Present, Attr: "cn"}
	for range maxFilterDepth + 1 {
		deep = &Filter{Kind: Not, Subs: []*Filter{deep}}
	}
	wide := &Filter{Kind: And}
	for range maxFilterNodes + 1 {
		wide.Subs = append(wide.Subs, &Filter{Kind: Present, Attr: "cn"})
	}
	tests := []struct {
		name string
		f    *Filter
		code int
	}{
		{"too deep", deep, codeAdminLimit},
		{"too wide", wide, codeAdminLimit},
		{"a negation of two", &Filter{Kind: Not, Subs: wide.Subs[:2]}, codeProtocol},
		{"a kind that is none", &Filter{Kind: 12}, codeProtocol},
	}
	tree := sampleTree(t)
	for _, tt := range tests {
		if _, code := find(t, tree, root, SearchRequest{Base: base, Filter: tt.f}); code != tt.code {
			t.Errorf("%s: code %d, want %d", tt.name, code, tt.code)
		}
	}
}
