package dit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEverythingIsThereAfterAReopen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "directory")
	if err := os.WriteFile(path, sampleFile(t), 0o600); err != nil {
		t.Fatal(err)
	}
	all := func() string {
		tree, err := Open(path, Options{Suffixes: []string{base}})
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		entries, code := find(t, tree, root, SearchRequest{Base: base, Scope: WholeSubtree, Attributes: []string{"*", "+"}})
		if code != 0 {
			t.Fatalf("code %d", code)
		}
		return strings.Join(ldif(entries), "\n")
	}
	before := all()
	tree, err := Open(path, Options{Suffixes: []string{base}})
	if err != nil {
		t.Fatal(err)
	}
	steps := []int{
		modify(alice, ReplaceValues, "description", "changed")(t, tree, root),
		addEntry("cn=new,"+people, "objectClass", "device", "cn", "new")(t, tree, root),
		codeOf(tree.Delete(t.Context(), root, "uid=gina,"+people)),
		codeOf(tree.Rename(t.Context(), root, people, "ou=persons", true, "")),
	}
	for i, code := range steps {
		if code != 0 {
			t.Fatalf("step %d: code %d", i, code)
		}
	}
	entries, _ := find(t, tree, root, SearchRequest{Base: base, Scope: WholeSubtree, Attributes: []string{"*", "+"}})
	want := strings.Join(ldif(entries), "\n")
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	if got := all(); got != want || got == before {
		t.Errorf("after the reopen:\n%s\nwant:\n%s", got, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	garbage := []byte(strings.Repeat("garbage ", 4096))
	broken := sampleFile(t)
	broken = append([]byte(nil), broken...)
	for i := 0; i+8 < len(broken); i++ {
		if string(broken[i:i+8]) == "example." {
			broken[i] = 'X' // inside entries, where only their checksum can tell
		}
	}
	tests := []struct {
		name     string
		file     []byte
		suffixes []string
		want     error
		text     string
	}{
		{"a file that is none of ours", garbage, []string{base}, ErrDamaged, "damaged"},
		{"a file cut short", sampleFile(t)[:len(sampleFile(t))/2], []string{base}, ErrDamaged, "damaged"},
		{"an entry that was altered", broken, []string{base}, ErrDamaged, "damaged"},
		{"entries of another naming context", sampleFile(t), []string{"dc=net"}, nil, "not a naming context"},
		{"a naming context that is no name", nil, []string{"nonsense"}, nil, "not a name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "directory")
			if tt.file != nil {
				if err := os.WriteFile(path, tt.file, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			tree, err := Open(path, Options{Suffixes: tt.suffixes})
			if err == nil {
				tree.Close()
				t.Fatal("opened")
			}
			if tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
}

func TestOpenSaysWhoHasTheFile(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	if _, err := Open(tree.db.Path(), Options{Suffixes: []string{base}}); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
}

func TestAClosedTreeIsUnavailable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "directory")
	if err := os.WriteFile(path, sampleFile(t), 0o600); err != nil {
		t.Fatal(err)
	}
	tree, err := Open(path, Options{Suffixes: []string{base}})
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	if got := searchCode(base, WholeSubtree)(t, tree, root); got != codeUnavailable {
		t.Errorf("search: code %d, want %d", got, codeUnavailable)
	}
	if got := modify(alice, ReplaceValues, "description", "x")(t, tree, root); got != codeUnavailable {
		t.Errorf("modify: code %d, want %d", got, codeUnavailable)
	}
	if err := tree.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

// After a failed commit memory is made anew from the file: it must be what it was.
func TestReloadChangesNoAnswer(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	query := SearchRequest{Base: base, Scope: WholeSubtree, Filter: parseFilter(t, "(|(uid=alice)(objectClass=groupOfNames))"), Attributes: []string{"*", "+"}}
	before, _ := find(t, tree, root, query)
	tree.reload()
	after, code := find(t, tree, root, query)
	if code != 0 || len(after) == 0 || strings.Join(ldif(after), "\n") != strings.Join(ldif(before), "\n") {
		t.Errorf("code %d, %d entries, before %d", code, len(after), len(before))
	}
}

// A commit that fails, here since the file may not grow, changes nothing, and the next one succeeds.
func TestAFailedCommitChangesNothing(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	tree.db.MaxSize = 1
	big := strings.Repeat("x", 1<<20)
	if got := modify(alice, ReplaceValues, "jpegPhoto", big)(t, tree, root); got != codeOther {
		t.Fatalf("code %d, want %d", got, codeOther)
	}
	if got := readValues(alice, "jpegPhoto")(t, tree, root); got != 0 {
		t.Errorf("%d values, want 0", got)
	}
	tree.db.MaxSize = 0
	if got := modify(alice, ReplaceValues, "jpegPhoto", big)(t, tree, root); got != 0 {
		t.Errorf("afterwards: code %d, want 0", got)
	}
}

func TestGuardTurnsPanicsIntoErrors(t *testing.T) {
	t.Parallel()
	err := guard(func() error { panic("page 7 is already freed") })
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "page 7") {
		t.Errorf("got %v, want ErrDamaged with the words of the panic", err)
	}
}

// Change numbers rise whatever the clock does, also over a restart.
func TestChangeNumbersRise(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "directory")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	last := ""
	for range 2 {
		tree, err := Open(path, Options{Suffixes: []string{base}, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		if last == "" {
			if code := addEntry(base, "objectClass", "domain", "dc", "example")(t, tree, root); code != 0 {
				t.Fatalf("code %d", code)
			}
		}
		for range 3 {
			if code := modify(base, ReplaceValues, "description", "x")(t, tree, root); code != 0 {
				t.Fatalf("code %d", code)
			}
			entries, _ := find(t, tree, root, SearchRequest{Base: base, Attributes: []string{"entryCSN"}})
			csn := string(entries[0].Attributes[0].Values[0])
			if csn <= last || !strings.HasSuffix(csn, "Z#000000#000#000000") {
				t.Errorf("%s follows %s", csn, last)
			}
			last = csn
			now = now.Add(-time.Minute)
		}
		if err := tree.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
