package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A violation is one line of output.
type violation struct {
	file string // with slashes, from the root of the module
	line int
	text string
}

func (v violation) String() string { return fmt.Sprintf("%s:%d: %s", v.file, v.line, v.text) }

// sorted orders violations by place.
func sorted(list []violation) []violation {
	slices.SortFunc(list, func(a, b violation) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line), cmp.Compare(a.text, b.text))
	})
	return list
}

// A house is the Go code of one module.
type house struct {
	module string
	fset   *token.FileSet
	pkgs   []*pkg // by folder
}

// A pkg is a folder with Go files.
type pkg struct {
	dir   string // with slashes, from the root of the module; "." for the root
	name  string // as in the package clause of the files that are no tests
	files []*file
}

// base is the last element of the folder.
func (p *pkg) base() string { return path.Base(p.dir) }

// floor is the first element of the folder.
func (p *pkg) floor() string { return floorOf(p.dir) }

// support reports whether the package exists for tests only, such as slapdtest.
func (p *pkg) support() bool { return isSupport(p.dir) }

// A file is one Go file.
type file struct {
	name  string // with slashes, from the root of the module
	test  bool
	lines int
	ast   *ast.File
}

// at makes a violation in f at pos.
func (h *house) at(f *file, pos token.Pos, format string, args ...any) violation {
	return violation{f.name, h.fset.Position(pos).Line, fmt.Sprintf(format, args...)}
}

// readHouse parses all Go files of the module around folder. Folders that the go command ignores, and modules within the
// module, are left out.
func readHouse(folder string) (*house, error) {
	root, module, err := findModule(folder)
	if err != nil {
		return nil, err
	}
	h := &house{module: module, fset: token.NewFileSet()}
	byDir := map[string]*pkg{}
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != root && ignored(name) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || ignoredName(entry.Name()) {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		return h.add(byDir, name, filepath.ToSlash(rel))
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(h.pkgs, func(a, b *pkg) int { return cmp.Compare(a.dir, b.dir) })
	return h, nil
}

// add parses one file into its package.
func (h *house) add(byDir map[string]*pkg, name, rel string) error {
	source, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	tree, err := parser.ParseFile(h.fset, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir := path.Dir(rel)
	p := byDir[dir]
	if p == nil {
		p = &pkg{dir: dir}
		byDir[dir] = p
		h.pkgs = append(h.pkgs, p)
	}
	f := &file{name: rel, test: strings.HasSuffix(rel, "_test.go"), lines: bytes.Count(source, []byte("\n")), ast: tree}
	if !f.test {
		p.name = tree.Name.Name
	}
	p.files = append(p.files, f)
	return nil
}

// ignored reports whether the go command does not look into a folder.
func ignored(dir string) bool {
	base := filepath.Base(dir)
	if ignoredName(base) || base == "testdata" || base == "vendor" {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func ignoredName(base string) bool {
	return strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")
}

// findModule walks up from folder to go.mod and returns its folder and the module's path.
func findModule(folder string) (root, module string, err error) {
	root, err = filepath.Abs(folder)
	if err != nil {
		return "", "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(root, "go.mod"))
		if err == nil {
			module, err := modulePath(text)
			return root, module, err
		}
		up := filepath.Dir(root)
		if !errors.Is(err, fs.ErrNotExist) || up == root {
			return "", "", fmt.Errorf("no go.mod at or above %s: %w", folder, err)
		}
		root = up
	}
}

// modulePath reads the module line of a go.mod.
func modulePath(text []byte) (string, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) == 2 && words[0] == "module" {
			return strings.Trim(words[1], `"`), nil
		}
	}
	return "", errors.New("go.mod has no module line")
}
