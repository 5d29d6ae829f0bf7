package dit

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What slapd 2.5.13 answers on the sample tree with the reference configuration, to its root DN, is in testdata/*.golden, entries sorted by
// name and lines by text.

func TestSearchesAnswerLikeSlapd(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	golden, err := os.ReadFile("testdata/searches.golden")
	if err != nil {
		t.Fatal(err)
	}
	scopes := map[string]Scope{"base": BaseObject, "one": SingleLevel, "sub": WholeSubtree}
	for _, c := range strings.Split("\n"+string(golden), "\n? ")[1:] {
		query, rest, _ := strings.Cut(c, "\n= ")
		code, body, _ := strings.Cut(rest, "\n")
		f := strings.Split(query, " | ")
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			want, _ := strconv.Atoi(code)
			entries, got := find(t, tree, root, SearchRequest{
				Base: f[0], Scope: scopes[f[1]], Filter: parseFilter(t, f[2]), Attributes: strings.Fields(f[3]),
			})
			if got != want {
				t.Fatalf("code %d, want %d", got, want)
			}
			diffText(t, strings.Join(ldif(entries), "\n"), strings.TrimSpace(body))
		})
	}
}

func TestChangesEndLikeSlapd(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	for _, r := range readLDIF(t, "testdata/changes.ldif") {
		code, name, _ := strings.Cut(r.note, " ")
		want, err := strconv.Atoi(code)
		if err != nil {
			t.Fatalf("%s: no result code in the comment %q", r.dn, r.note)
		}
		if err := r.apply(t, tree, root); codeOf(err) != want {
			t.Errorf("%s: got %v, want code %d", name, err, want)
		}
	}
	golden, err := os.ReadFile("testdata/changes.golden")
	if err != nil {
		t.Fatal(err)
	}
	entries, _ := find(t, tree, root, SearchRequest{
		Base: base, Scope: WholeSubtree,
		Attributes: []string{"*", "memberOf", "structuralObjectClass", "hasSubordinates", "entryDN"},
	})
	for _, e := range entries {
		e.Attributes = slices.DeleteFunc(e.Attributes, func(a Attribute) bool { return a.Name == "userPassword" })
	}
	diffText(t, strings.Join(ldif(entries), "\n"), strings.ReplaceAll(strings.TrimSpace(string(golden)), "\n\n", "\n"))
}

func diffText(t *testing.T, got, want string) {
	t.Helper()
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for _, line := range a {
		if !slices.Contains(b, line) {
			t.Errorf("too much: %s", line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			t.Errorf("missing: %s", line)
		}
	}
	if !t.Failed() && got != want {
		t.Errorf("same lines in another order:\n%s\nwant:\n%s", got, want)
	}
}
