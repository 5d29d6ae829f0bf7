package schema_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/schema"
)

var (
	// ownName is a word that looks like a name of ours.
	ownName = regexp.MustCompile(`\bdp[A-Z][A-Za-z0-9]*`)
	// filterName is the attribute of a match in a filter.
	filterName = regexp.MustCompile(`\(([A-Za-z][A-Za-z0-9-]*)[~<>]?=`)
)

// A name that the schema lacks is found by no server: searches for it match nothing and say nothing. So whatever the code
// names must be in the schema.
func TestNamesExist(t *testing.T) {
	t.Parallel()
	known := schema.Load()
	files, names := 0, 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "..":
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files++
		for _, n := range namesIn(t, path) {
			names++
			if known.Attribute(n.name) == nil && known.Class(n.name) == nil {
				t.Errorf("%s: the schema has no %q", n.where, n.name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 || names < 50 {
		t.Errorf("%d names in %d files: this test looks in the wrong place", names, files)
	}
}

type namedAt struct {
	where token.Position
	name  string
}

// namesIn returns the names that stand in the string literals of a file.
func namesIn(t *testing.T, path string) []namedAt {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []namedAt
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		text, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range literalNames(text) {
			found = append(found, namedAt{set.Position(lit.Pos()), name})
		}
		return true
	})
	return found
}

func literalNames(text string) []string {
	names := ownName.FindAllString(text, -1)
	if strings.HasPrefix(text, "(") {
		for _, m := range filterName.FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
	}
	return names
}

func TestLiteralNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text, want string
	}{
		{"attribute", "dpMailboxId", "dpMailboxId"},
		{"in a sentence", "set dpMailService and dpQuota", "dpMailService dpQuota"},
		{"filter", "(&(objectClass=dpMailAccount)(uidd=x)(n>=1))", "dpMailAccount objectClass uidd n"},
		{"no filter", "f(x=1)", ""},
		{"other words", "udpX dp dpx DPX", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(literalNames(tt.text), " "); got != tt.want {
				t.Errorf("literalNames(%q) = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}
