package dit

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// The names of the sample tree.
const (
	base     = "dc=example,dc=org"
	people   = "ou=people," + base
	groups   = "ou=groups," + base
	alice    = "uid=alice," + people
	bob      = "uid=bob," + people
	carol    = "uid=carol," + people // an administrator
	frontDN  = "cn=frontend,ou=services," + base
	webDN    = "cn=web,ou=services," + base
	adminsDN = "cn=mail-admins," + groups
)

var root = Subject{DN: "gidNumber=0+uidNumber=0" + peerSuffix, Admin: true}

// openTree returns an empty tree for the naming context of the sample.
func openTree(t testing.TB, opts Options) *Tree {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "directory"), opts)
}

// openAt opens a tree and has it closed at the end of the test.
func openAt(t testing.TB, path string, opts Options) *Tree {
	t.Helper()
	opts.Suffixes = []string{base}
	tree, err := Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree
}

// sampleTree returns a tree that holds testdata/tree.ldif. Disk flushes are off: what they are for is tested elsewhere.
func sampleTree(t testing.TB) *Tree {
	t.Helper()
	path := filepath.Join(t.TempDir(), "directory")
	if err := os.WriteFile(path, sampleFile(t), 0o600); err != nil {
		t.Fatal(err)
	}
	tree := openAt(t, path, Options{})
	tree.db.NoSync = true
	return tree
}

var sample struct {
	once sync.Once
	file []byte
}

// sampleFile makes the file of the sample tree once, for most of the time goes into hashing its passwords.
func sampleFile(t testing.TB) []byte {
	t.Helper()
	sample.once.Do(func() {
		path := filepath.Join(t.TempDir(), "directory")
		tree, err := Open(path, Options{Suffixes: []string{base}})
		if err != nil {
			t.Fatal(err)
		}
		tree.db.NoSync = true
		for _, r := range readLDIF(t, "testdata/tree.ldif") {
			if err := r.apply(t, tree, root); err != nil {
				t.Fatalf("add %s: %v", r.dn, err)
			}
		}
		if err := tree.Close(); err != nil {
			t.Fatal(err)
		}
		if sample.file, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	})
	return sample.file
}

// codeOf is the LDAP result of an error: 0 for none, -1 for one that is no *Error.
func codeOf(err error) int {
	var e *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Code
	}
	return -1
}

// An ldifRecord is one change, or one entry to add, of an LDIF file.
type ldifRecord struct {
	note  string // the comment before it
	dn    string
	kind  string
	lines []Attribute // one value each, in order; "-" separates modifications
}

func readLDIF(t testing.TB, path string) []ldifRecord {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []ldifRecord
	for block := range strings.SplitSeq(strings.ReplaceAll(string(raw), "\n ", ""), "\n\n") {
		r := ldifRecord{kind: "add"}
		for line := range strings.SplitSeq(strings.Trim(block, "\n"), "\n") {
			if note, ok := strings.CutPrefix(line, "# "); ok {
				r.note = note
				continue
			}
			name, value, _ := strings.Cut(line, ":")
			if coded, ok := strings.CutPrefix(value, ":"); ok {
				b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(coded))
				if err != nil {
					t.Fatalf("%s: %s: %v", path, name, err)
				}
				value = string(b)
			} else {
				value = strings.TrimLeft(value, " ")
			}
			switch name {
			case "dn":
				r.dn = value
			case "changetype":
				r.kind = value
			default:
				r.lines = append(r.lines, Attribute{name, texts(value)})
			}
		}
		if r.dn != "" || r.kind != "add" {
			out = append(out, r)
		}
	}
	return out
}

func (r ldifRecord) apply(t testing.TB, tree *Tree, who Subject) error {
	switch r.kind {
	case "add":
		return tree.Add(t.Context(), who, Entry{r.dn, merge(r.lines)})
	case "delete":
		return tree.Delete(t.Context(), who, r.dn)
	case "modrdn":
		get := func(name string) string {
			for _, l := range r.lines {
				if l.Name == name {
					return string(l.Values[0])
				}
			}
			return ""
		}
		return tree.Rename(t.Context(), who, r.dn, get("newrdn"), get("deleteoldrdn") == "1", get("newsuperior"))
	}
	ops := map[string]ChangeOp{"add": AddValues, "delete": DeleteValues, "replace": ReplaceValues, "increment": IncrementValues}
	var changes []Change
	for lines := r.lines; len(lines) > 0; {
		end := slices.IndexFunc(lines, func(l Attribute) bool { return l.Name == "-" })
		if end < 0 {
			end = len(lines)
		}
		c := Change{ops[lines[0].Name], Attribute{Name: string(lines[0].Values[0])}}
		for _, l := range lines[1:end] {
			c.Attribute.Values = append(c.Attribute.Values, l.Values[0])
		}
		changes = append(changes, c)
		lines = lines[min(end+1, len(lines)):]
	}
	return tree.Modify(t.Context(), who, r.dn, changes)
}

// merge joins the values of each name, as ldapadd does.
func merge(lines []Attribute) []Attribute {
	var out []Attribute
	for _, l := range lines {
		i := slices.IndexFunc(out, func(a Attribute) bool { return strings.EqualFold(a.Name, l.Name) })
		if i < 0 {
			out = append(out, Attribute{Name: l.Name})
			i = len(out) - 1
		}
		out[i].Values = append(out[i].Values, l.Values...)
	}
	return out
}

// parseFilter reads the string form of a filter.
func parseFilter(t testing.TB, s string) *Filter {
	t.Helper()
	p, err := ldap.CompileFilter(s)
	if err != nil {
		t.Fatalf("filter %s: %v", s, err)
	}
	return convertFilter(p)
}

func convertFilter(p *ber.Packet) *Filter {
	f := &Filter{Kind: FilterKind(p.Tag)}
	switch f.Kind {
	case And, Or, Not:
		for _, c := range p.Children {
			f.Subs = append(f.Subs, convertFilter(c))
		}
	case Present:
		f.Attr = p.Data.String()
	case Substrings:
		f.Attr = p.Children[0].Value.(string)
		for _, c := range p.Children[1].Children {
			switch c.Tag {
			case ldap.FilterSubstringsInitial:
				f.Initial = c.Data.Bytes()
			case ldap.FilterSubstringsAny:
				f.Any = append(f.Any, c.Data.Bytes())
			default:
				f.Final = c.Data.Bytes()
			}
		}
	case ExtensibleMatch:
		for _, c := range p.Children {
			switch c.Tag {
			case ldap.MatchingRuleAssertionMatchingRule:
				f.Rule = c.Data.String()
			case ldap.MatchingRuleAssertionType:
				f.Attr = c.Data.String()
			case ldap.MatchingRuleAssertionMatchValue:
				f.Value = c.Data.Bytes()
			default:
				f.DNAttrs = true
			}
		}
	default:
		f.Attr, f.Value = p.Children[0].Value.(string), p.Children[1].Data.Bytes()
	}
	return f
}

// find runs a search and returns the entries and the code it ended with.
func find(t testing.TB, tree *Tree, who Subject, req SearchRequest) ([]*Entry, int) {
	t.Helper()
	var out []*Entry
	for e, err := range tree.Search(t.Context(), who, req) {
		if err != nil {
			return out, codeOf(err)
		}
		out = append(out, e)
	}
	return out, 0
}

// ldif writes entries as ldapsearch does, names and lines sorted.
func ldif(entries []*Entry) []string {
	var out []string
	for _, e := range entries {
		var lines []string
		for _, a := range e.Attributes {
			if a.Values == nil {
				lines = append(lines, a.Name+":")
			}
			for _, v := range a.Values {
				lines = append(lines, ldifLine(a.Name, string(v)))
			}
		}
		slices.Sort(lines)
		out = append(out, strings.Join(append([]string{ldifLine("dn", e.DN)}, lines...), "\n"))
	}
	slices.Sort(out)
	return out
}

func ldifLine(name, value string) string {
	unsafe := value != "" && (strings.IndexByte(" :<", value[0]) >= 0 || value[len(value)-1] == ' ')
	for i := range len(value) {
		unsafe = unsafe || value[i] < ' ' || value[i] > '~'
	}
	if unsafe || strings.HasSuffix(name, ";binary") || name == "userPassword" {
		return name + ":: " + base64.StdEncoding.EncodeToString([]byte(value))
	}
	return strings.TrimRight(name+": "+value, " ")
}
