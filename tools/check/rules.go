package main

import (
	"fmt"
	"go/ast"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Limits in lines.
const (
	maxFile = 600
	maxFunc = 60 // a screen; not for tests, whose tables are long
)

// rules are all there are.
var rules = []func(*house) []violation{
	floors,
	servers,
	support,
	documented,
	uniqueNames,
	sayingNames,
	shortFiles,
	shortFunctions,
	noInit,
}

// height is how high a floor lies: a package imports lower floors and its own, never a higher one.
var height = map[string]int{"cmd": 4, "tools": 3, "protocols": 2, "directory": 1, "storage": 1, "schema": 0}

// serverNames are the packages that only cmd puts together.
var serverNames = []string{"smtpd", "imapd", "pop3d", "sieved", "ldapd", "webd", "controld"}

// emptyNames say nothing about what a package is for.
var emptyNames = []string{"util", "utils", "common", "helper", "helpers", "base", "manager", "misc"}

func floorOf(dir string) string { floor, _, _ := strings.Cut(dir, "/"); return floor }

// isSupport reports whether a folder holds code for tests only: its name ends in test.
func isSupport(dir string) bool { return strings.HasSuffix(path.Base(dir), "test") }

// floors: imports run one way, cmd → tools → protocols → {directory, storage} → schema, and every package is on a floor.
// Tests, and packages for tests, may look wherever they like.
func floors(h *house) []violation {
	var found []violation
	for _, p := range h.pkgs {
		from, known := height[p.floor()]
		if !known {
			f := p.files[0]
			found = append(found, h.at(f, f.ast.Package,
				"folder %s is on no floor of the house, move it below cmd, tools, protocols, directory, storage or schema", p.dir))
			continue
		}
		for f, spec := range h.imports(p) {
			dir := h.local(spec)
			to, known := height[floorOf(dir)]
			switch {
			case f.test || p.support() || !known || to < from || floorOf(dir) == p.floor():
			case to == from:
				found = append(found, h.at(f, spec.Pos(),
					"%s imports %s, but directory and storage do not know each other: let protocols bring the two together", p.dir, dir))
			default:
				found = append(found, h.at(f, spec.Pos(),
					"%s imports %s, which lies on a higher floor: take what is needed as a parameter or an interface", p.dir, dir))
			}
		}
	}
	return found
}

// servers: the servers are put together in cmd and known nowhere else.
func servers(h *house) []violation {
	var found []violation
	for _, p := range h.pkgs {
		for f, spec := range h.imports(p) {
			dir := h.local(spec)
			if f.test || p.support() || p.floor() == "cmd" || within(dir, p.dir) {
				continue
			}
			if slices.ContainsFunc(strings.Split(dir, "/"), func(e string) bool { return slices.Contains(serverNames, e) }) {
				found = append(found, h.at(f, spec.Pos(),
					"%s imports the server %s, which only cmd may: move what both need into a package of its own", p.dir, dir))
			}
		}
	}
	return found
}

// support: packages for tests are imported by tests.
func support(h *house) []violation {
	var found []violation
	for _, p := range h.pkgs {
		for f, spec := range h.imports(p) {
			if dir := h.local(spec); dir != "" && isSupport(dir) && !f.test && !p.support() {
				found = append(found, h.at(f, spec.Pos(),
					"%s imports %s, which is for tests: import it in a _test.go file", p.dir, dir))
			}
		}
	}
	return found
}

// documented: every package has a doc comment, which begins with its name.
func documented(h *house) []violation {
	var found []violation
	for _, p := range h.pkgs {
		var first *file
		documented := false
		for _, f := range p.files {
			if f.test {
				continue
			}
			if first == nil {
				first = f
			}
			if f.ast.Doc == nil {
				continue
			}
			documented = true
			if start := "Package " + p.name + " "; p.name != "main" && !strings.HasPrefix(f.ast.Doc.Text(), start) {
				found = append(found, h.at(f, f.ast.Doc.Pos(), "the doc comment does not begin with %q, let it", start+"..."))
			}
		}
		if first != nil && !documented {
			found = append(found, h.at(first, first.ast.Package,
				"package %s has no doc comment, say what it is for and where to start reading", p.name))
		}
	}
	return found
}

// uniqueNames: no two packages share the name they are called by, so that an import needs no renaming.
func uniqueNames(h *house) []violation {
	var found []violation
	holder := map[string]string{}
	for _, p := range h.pkgs {
		name := p.base()
		if p.name != "" && p.name != "main" {
			name = p.name
		}
		other, taken := holder[name]
		if !taken {
			holder[name] = p.dir
			continue
		}
		f := p.files[0]
		found = append(found, h.at(f, f.ast.Package, "package %s has the name of %s, give it one that says its role", p.dir, other))
	}
	return found
}

// sayingNames: a package is called by what it is for, in its folder and in its package clause alike.
func sayingNames(h *house) []violation {
	var found []violation
	for _, p := range h.pkgs {
		f := p.files[0]
		if slices.Contains(emptyNames, p.base()) || strings.HasSuffix(p.base(), "util") || strings.HasSuffix(p.base(), "utils") {
			found = append(found, h.at(f, f.ast.Package, "%q says nothing, name the package by its role", p.base()))
		}
		if p.name != "" && p.name != "main" && p.name != p.base() && p.dir != "." {
			found = append(found, h.at(f, f.ast.Package, "package %s lies in folder %s, give both one name", p.name, p.dir))
		}
	}
	return found
}

// shortFiles: a file can be read in one go.
func shortFiles(h *house) []violation {
	var found []violation
	for _, p := range h.pkgs {
		for _, f := range p.files {
			if f.lines > maxFile {
				found = append(found, violation{f.name, maxFile + 1,
					fmt.Sprintf("the file has %d lines, split it (at most %d)", f.lines, maxFile)})
			}
		}
	}
	return found
}

// shortFunctions: a function fits a screen.
func shortFunctions(h *house) []violation {
	var found []violation
	for f, fn := range h.functions() {
		lines := h.fset.Position(fn.End()).Line - h.fset.Position(fn.Pos()).Line + 1
		if !f.test && lines > maxFunc {
			found = append(found, h.at(f, fn.Pos(), "func %s has %d lines, split it (at most %d)", fn.Name.Name, lines, maxFunc))
		}
	}
	return found
}

// noInit: nothing happens by being imported.
func noInit(h *house) []violation {
	var found []violation
	for f, fn := range h.functions() {
		if fn.Recv == nil && fn.Name.Name == "init" {
			found = append(found, h.at(f, fn.Pos(), "func init runs by import, do its work in a constructor"))
		}
	}
	return found
}

// imports yields each import of a package with its file.
func (h *house) imports(p *pkg) iter.Seq2[*file, *ast.ImportSpec] {
	return func(yield func(*file, *ast.ImportSpec) bool) {
		for _, f := range p.files {
			for _, spec := range f.ast.Imports {
				if !yield(f, spec) {
					return
				}
			}
		}
	}
}

// functions yields each function and method with its file.
func (h *house) functions() iter.Seq2[*file, *ast.FuncDecl] {
	return func(yield func(*file, *ast.FuncDecl) bool) {
		for _, p := range h.pkgs {
			for _, f := range p.files {
				for _, decl := range f.ast.Decls {
					if fn, ok := decl.(*ast.FuncDecl); ok && !yield(f, fn) {
						return
					}
				}
			}
		}
	}
}

// local returns the folder of an import of this module, and "" for any other.
func (h *house) local(spec *ast.ImportSpec) string {
	name, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return ""
	}
	dir, ok := strings.CutPrefix(name, h.module+"/")
	if !ok {
		return ""
	}
	return dir
}

// within reports whether one of two folders is the other or lies in it.
func within(a, b string) bool {
	return strings.HasPrefix(a+"/", b+"/") || strings.HasPrefix(b+"/", a+"/")
}
