package dit

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// follow collects what a synchronization tells, one line for each message.
func follow(t testing.TB, ctx context.Context, tree *Tree, req SyncRequest, cookie *string, take func(line string) bool) error {
	t.Helper()
	for m, err := range tree.Sync(ctx, root, req) {
		if err != nil {
			return err
		}
		if m.Cookie != "" {
			*cookie = m.Cookie
		}
		line := "cookie"
		switch {
		case m.Entry != nil:
			name, _, _ := strings.Cut(m.Entry.DN, ",")
			line = fmt.Sprintf("%d %s", m.State, name)
		case m.Gone != nil:
			line = fmt.Sprintf("gone %d", len(m.Gone))
		case m.Done:
			line = fmt.Sprintf("done %t", m.Kept)
		}
		if !take(line) {
			return nil
		}
	}
	return nil
}

// once is a refresh without persistence.
func once(t testing.TB, tree *Tree, cookie *string) string {
	t.Helper()
	var lines []string
	req := SyncRequest{SearchRequest: SearchRequest{Base: people, Scope: SingleLevel}, Cookie: *cookie}
	if err := follow(t, t.Context(), tree, req, cookie, func(line string) bool { lines = append(lines, line); return true }); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, ", ")
}

func enter(t testing.TB, tree *Tree, uid string) {
	t.Helper()
	if err := tree.Add(t.Context(), root, entryOf("uid="+uid+","+people, "objectClass", "inetOrgPerson", "uid", uid, "cn", uid, "sn", uid)); err != nil {
		t.Fatal(err)
	}
}

// peopleAt is a directory with nobody in it.
func peopleAt(t testing.TB, path string, opts Options) *Tree {
	t.Helper()
	tree := openAt(t, path, opts)
	for _, e := range []Entry{
		entryOf(base, "objectClass", "domain", "dc", "example"),
		entryOf(people, "objectClass", "organizationalUnit", "ou", "people"),
	} {
		if err := tree.Add(t.Context(), root, e); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// A cookie is good as long as the log has its change, also over a restart.
func TestSyncLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "directory")
	tree := peopleAt(t, path, Options{MaxChanges: 4})
	enter(t, tree, "ann")
	var cookie string
	step := func(what, want string) {
		t.Helper()
		if got := once(t, tree, &cookie); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	step("from the start", "1 uid=ann, done true")
	step("nothing new", "done true")
	enter(t, tree, "ben")
	enter(t, tree, "cid")
	if err := tree.Delete(t.Context(), root, "uid=ann,"+people); err != nil {
		t.Fatal(err)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	tree = openAt(t, path, Options{MaxChanges: 4})
	step("three changes and a restart", "gone 1, 1 uid=ben, 1 uid=cid, done true")
	for _, uid := range []string{"dan", "eve", "fay", "gus"} {
		enter(t, tree, uid)
	}
	step("more changes than the log holds", "1 uid=ben, 1 uid=cid, 1 uid=dan, 1 uid=eve, 1 uid=fay, 1 uid=gus, done false")
	cookie = strings.Replace(cookie, "Z#", "1Z#", 1)
	step("of another server", "1 uid=ben, 1 uid=cid, 1 uid=dan, 1 uid=eve, 1 uid=fay, 1 uid=gus, done false")
	if err := tree.Rename(t.Context(), root, people, "ou=folk", true, ""); err != nil {
		t.Fatal(err)
	}
	if err := tree.Rename(t.Context(), root, "ou=folk,"+base, "ou=people", true, ""); err != nil {
		t.Fatal(err)
	}
	step("all names have changed", "1 uid=ben, 1 uid=cid, 1 uid=dan, 1 uid=eve, 1 uid=fay, 1 uid=gus, done false")
}

// A consumer that does not take what it is told holds nobody up, takes no memory beyond a bound, and is sent away.
func TestSyncSlowConsumer(t *testing.T) {
	t.Parallel()
	tree := peopleAt(t, filepath.Join(t.TempDir(), "directory"), Options{})
	enter(t, tree, "ann")
	var cookie string
	req := SyncRequest{SearchRequest: SearchRequest{Base: people, Scope: SingleLevel}, Persist: true}
	err := follow(t, t.Context(), tree, req, &cookie, func(line string) bool {
		if line != "done true" {
			return true
		}
		v, err := tree.view(3)
		if err != nil {
			t.Fatal(err)
		}
		for range maxEvents/500 + 1 {
			edits := make([]edit, 500)
			for i := range edits {
				edits[i] = edit{v.record, v.record}
			}
			if err := tree.commit(edits); err != nil {
				t.Error(err)
			}
		}
		tree.feed.mu.Lock()
		defer tree.feed.mu.Unlock()
		if n := len(tree.feed.events); n > maxEvents {
			t.Errorf("%d events are kept, want at most %d", n, maxEvents)
		}
		return true
	})
	if codeOf(err) != codeSyncRefresh {
		t.Errorf("got %v, want result %d", err, codeSyncRefresh)
	}
	if got, want := once(t, tree, &cookie), "1 uid=ann, done true"; got != want {
		t.Errorf("who comes back gets %q, want %q", got, want)
	}
	tree.feed.mu.Lock()
	defer tree.feed.mu.Unlock()
	if tree.feed.events != nil {
		t.Errorf("%d events are kept for nobody", len(tree.feed.events))
	}
}

// Closing the directory ends its consumers.
func TestSyncClose(t *testing.T) {
	t.Parallel()
	tree := peopleAt(t, filepath.Join(t.TempDir(), "directory"), Options{})
	var cookie string
	req := SyncRequest{SearchRequest: SearchRequest{Base: people}, Persist: true}
	err := follow(t, t.Context(), tree, req, &cookie, func(string) bool { go tree.Close(); return true })
	if codeOf(err) != codeUnavailable {
		t.Errorf("got %v, want result %d", err, codeUnavailable)
	}
}
