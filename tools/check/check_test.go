package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestHouse holds the rules against this module.
func TestHouse(t *testing.T) {
	t.Parallel()
	violations, err := check("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range violations {
		t.Error(v)
	}
}

// TestRules holds them against the small trees in testdata, each with the violations it has.
func TestRules(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no trees in testdata: %v", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got, want := checkTree(t, archive.Files)
			if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// TestLengths: the limits are exact, and functions of tests may be long.
func TestLengths(t *testing.T) {
	t.Parallel()
	const doc = "// Package storage stores.\npackage storage\n"
	long := func(lines int) string { return "func f() {\n" + strings.Repeat("\n", lines-2) + "}\n" }
	tests := []struct {
		name, file, text, want string
	}{
		{"60 lines are a screen", "storage/a.go", doc + long(60), ""},
		{"61 are not", "storage/a.go", doc + long(61),
			"storage/a.go:3: func f has 61 lines, split it (at most 60)\n"},
		{"tables of tests are long", "storage/a_test.go", "package storage\n" + long(300), ""},
		{"600 lines are a file", "storage/a.go", doc + strings.Repeat("\n", 598), ""},
		{"601 are two", "storage/a.go", doc + strings.Repeat("\n", 599),
			"storage/a.go:601: the file has 601 lines, split it (at most 600)\n"},
		{"of tests too", "storage/a_test.go", "package storage\n" + strings.Repeat("\n", 600),
			"storage/a_test.go:601: the file has 601 lines, split it (at most 600)\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, _ := checkTree(t, []txtar.File{
				{Name: "go.mod", Data: []byte("module example.org/house\n")},
				{Name: tt.file, Data: []byte(tt.text)},
			})
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestNoModule: outside of a module there is nothing to check, and that is an error.
func TestNoModule(t *testing.T) {
	t.Parallel()
	if _, err := check(t.TempDir()); err == nil {
		t.Error("check of a folder without go.mod: no error")
	}
}

// checkTree writes the files into a folder, checks it and returns what was found and what the file "want" says.
func checkTree(t *testing.T, files []txtar.File) (got, want string) {
	t.Helper()
	root := t.TempDir()
	for _, f := range files {
		if f.Name == "want" {
			want = string(f.Data)
			continue
		}
		name := filepath.Join(root, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	violations, err := check(root)
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, v := range violations {
		fmt.Fprintln(&lines, v)
	}
	return lines.String(), want
}
