package client

import (
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// Whatever the value, a built filter has the shape that was built, and holds the value.
func FuzzEscape(f *testing.F) {
	for _, seed := range []string{
		"alice", "", "*", "*)(uid=*", "a)(|(uid=*))", `\`, `\2a`, "\x00", "ä", "\xff\xfe", "a b ", "(", ")", "&", "=", "~=", ">=", ":=", "\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		text := And(Equal("objectClass", "x"), Or(Equal("uid", value), Equal("mail", "y")))
		p, err := ldap.CompileFilter(text)
		if err != nil {
			t.Fatalf("CompileFilter(%q): %v", text, err)
		}
		if p.Tag != ldap.FilterAnd || len(p.Children) != 2 {
			t.Fatalf("%q has another shape", text)
		}
		or := p.Children[1]
		if or.Tag != ldap.FilterOr || len(or.Children) != 2 {
			t.Fatalf("%q has another shape", text)
		}
		leaf := or.Children[0]
		if leaf.Tag != ldap.FilterEqualityMatch || len(leaf.Children) != 2 {
			t.Fatalf("%q is not an equality match of uid, but tag %d", text, leaf.Tag)
		}
		if got, want := leaf.Children[0].Data.String(), "uid"; got != want {
			t.Errorf("attribute %q, want %q", got, want)
		}
		if got, want := leaf.Children[1].Data.String(), value; got != want {
			t.Errorf("value %q, want %q", got, want)
		}
	})
}
