package schema_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/schema"
)

var parseTests = []struct {
	name, in string
	err      string // must be in the error; empty = none
}{
	{"nothing", "", ""},
	{"comment", "# objectclass\n", ""},
	{"attribute type", "attributetype ( 1.2.3 NAME 'a' DESC 'NAME ( x )' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{32} SINGLE-VALUE )", ""},
	{"several names", "attributetype ( 1.2.3 NAME ( 'a' 'b' ) )", ""},
	{"continued lines", "attributetype ( 1.2.3\n\tNAME 'a'\n  SINGLE-VALUE )\n", ""},
	{"macro", "objectidentifier root 1.2\nobjectidentifier attr root:3\nattributetype ( attr:1 NAME 'a' )", ""},
	{"class", "attributetype ( 1.2 NAME 'a' )\nattributetype ( 1.3 NAME 'b' )\nobjectclass ( 1.4 NAME 'c' SUP top AUXILIARY MUST a MAY ( a $ b ) )", "unknown superclass"},
	{"class with attributes in another case", "attributetype ( 1.2 NAME 'aB' )\nobjectclass ( 1.4 NAME 'c' AUXILIARY MUST Ab )", ""},
	{"extension", "attributetype ( 1.2 NAME 'a' X-ORIGIN ( 'one' 'two' ) )", ""},
	{"supertype that comes later", "attributetype ( 1.2 NAME 'a' SUP b )\nattributetype ( 1.3 NAME 'b' )", `line 1: unknown supertype "b"`},
	{"attribute that comes later", "objectclass ( 1.4 NAME 'c' MUST a )", `line 1: class c uses unknown attribute "a"`},
	{"name twice, in another case", "attributetype ( 1.2 NAME 'a' )\nattributetype ( 1.3 NAME 'A' )", `line 2: attribute type "A" is defined twice`},
	{"number twice", "attributetype ( 1.2 NAME 'a' )\nattributetype ( 1.2 NAME 'b' )", "defined twice"},
	{"class twice", "objectclass ( 1.2 NAME 'a' )\nobjectclass ( 1.3 NAME 'a' )", `object class "a" is defined twice`},
	{"no name", "attributetype ( 1.2 )", "has no name"},
	{"class without a name", "objectclass ( 1.2 )", "has no name"},
	{"unknown macro", "attributetype ( attr:1 NAME 'a' )", `unknown object identifier "attr:1"`},
	{"unknown statement", "\nattribute ( 1.2 NAME 'a' )", `line 2: unknown statement "attribute"`},
	{"unknown word", "attributetype ( 1.2 NAME 'a' SINGLE )", `unknown word "SINGLE"`},
	{"no parenthesis", "attributetype 1.2", "begins with a parenthesis"},
	{"ends early", "attributetype ( 1.2 NAME", "ends early"},
	{"list that does not end", "attributetype ( 1.2 NAME ( 'a'", "ends early"},
	{"text that does not end swallows the rest", "attributetype ( 1.2 NAME 'a )", "unknown word"},
	{"bound that is no number", "attributetype ( 1.2 NAME 'a' SYNTAX 1.2{x} )", "bad length bound"},
	{"macro of nothing", "objectidentifier a", "wants a name and a number"},
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range parseTests {
		t.Run(tt.name, func(t *testing.T) {
			err := schema.New().Parse(tt.in)
			switch {
			case tt.err == "" && err != nil:
				t.Errorf("Parse() = %v, want none", err)
			case tt.err != "" && (!errors.Is(err, schema.ErrSyntax) || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("Parse() = %v, want %q", err, tt.err)
			}
		})
	}
}

// Any text gives an error or a schema in which everything has a name and can be found by it.
func FuzzParse(f *testing.F) {
	for _, tt := range parseTests {
		f.Add(tt.in)
	}
	f.Add(schema.OpenLDAP)
	f.Add(schema.Standard)
	f.Fuzz(func(t *testing.T, text string) {
		s := schema.New()
		err := s.Parse(text)
		if err != nil && !errors.Is(err, schema.ErrSyntax) {
			t.Errorf("error %v does not wrap ErrSyntax", err)
		}
		for _, a := range s.AttributeTypes {
			if s.Attribute(a.Name()) != a || s.Attribute(a.OID) != a {
				t.Errorf("attribute type %q is not found", a.Name())
			}
		}
		for _, c := range s.ObjectClasses {
			if s.Class(c.Name()) != c || s.Class(c.OID) != c {
				t.Errorf("class %q is not found", c.Name())
			}
			for _, name := range slices.Concat(c.Must, c.May) {
				if a := s.Attribute(name); a == nil || a.Name() != name {
					t.Errorf("class %q has the unknown attribute %q", c.Name(), name)
				}
			}
		}
	})
}

func TestInherit(t *testing.T) {
	t.Parallel()
	s := schema.New()
	err := s.Parse(`attributetype ( 1.2 NAME 'name' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.15{64} )
attributetype ( 1.3 NAME 'cn' SUP name EQUALITY caseExactMatch )`)
	if err != nil {
		t.Fatal(err)
	}
	a := s.Attribute("CN")
	if a.Equality != "caseExactMatch" || a.Substr != "caseIgnoreSubstringsMatch" || a.Syntax != "1.15" {
		t.Errorf("cn = %+v: what it lacks comes from its supertype, what it has stays", a)
	}
	if s.Attribute("cn;lang-de") != nil || s.Attribute("sn") != nil || s.Class("cn") != nil {
		t.Error("found what is not there")
	}
}
