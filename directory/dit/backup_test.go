package dit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// TestBackup copies the directory while entries are added. The copy opens, and holds all that was there when it began.
func TestBackup(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	before, _ := find(t, tree, root, SearchRequest{Base: base, Scope: ldap.ScopeWholeSubtree})

	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			err := tree.Add(t.Context(), root, Entry{DN: fmt.Sprintf("ou=unit%d,%s", i, base), Attributes: []Attribute{
				{Name: "objectClass", Values: [][]byte{[]byte("organizationalUnit")}},
			}})
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	var copied bytes.Buffer
	var announced int64
	err := tree.Backup(func(size int64) (io.Writer, error) {
		announced = size
		return &copied, nil
	})
	close(stop)
	writer.Wait()
	if err != nil || announced != int64(copied.Len()) {
		t.Fatalf("%d octets of %d, %v", copied.Len(), announced, err)
	}

	path := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(path, copied.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	after, _ := find(t, openAt(t, path, Options{}), root, SearchRequest{Base: base, Scope: ldap.ScopeWholeSubtree})
	there := ldif(after)
	for _, line := range ldif(before) {
		if !slices.Contains(there, line) {
			t.Errorf("the copy has not %q", line)
		}
	}
}

// TestBackupStops when it cannot begin, or cannot go on.
func TestBackupStops(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	want := errors.New("no room")
	for name, begin := range map[string]func(int64) (io.Writer, error){
		"begin": func(int64) (io.Writer, error) { return nil, want },
		"write": func(int64) (io.Writer, error) {
			r, w := io.Pipe()
			r.CloseWithError(want)
			return w, nil
		},
	} {
		if err := tree.Backup(begin); err == nil || !strings.Contains(err.Error(), want.Error()) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}
