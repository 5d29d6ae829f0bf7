package dit

import "testing"

// What the tests of the outside need of the inside.

// Rules is how many access rules there are.
func Rules() int { return len(accessRules) }

// DropRule takes one of the access rules away from a tree and returns what it says.
func (t *Tree) DropRule(n int) string {
	t.rules = append(append([]rule{}, accessRules[:n]...), accessRules[n+1:]...)
	return accessRules[n].name
}

// SampleEntries are the entries of testdata/tree.ldif.
func SampleEntries(t testing.TB) []Entry {
	var out []Entry
	for _, r := range readLDIF(t, "testdata/tree.ldif") {
		if r.dn != "" {
			out = append(out, Entry{r.dn, merge(r.lines)})
		}
	}
	return out
}
