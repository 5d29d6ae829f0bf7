package dit

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// gather starts writers while none can save, and lets them go when all are in one batch.
func gather(t *testing.T, tree *Tree, writers []func() error) []error {
	t.Helper()
	tree.flush.Lock()
	errs := make([]error, len(writers))
	var group sync.WaitGroup
	for i, write := range writers {
		group.Go(func() { errs[i] = write() })
	}
	for waiting := 0; waiting < len(writers); {
		time.Sleep(time.Millisecond) // nothing tells that a writer has come so far
		tree.write.Lock()
		if tree.batch != nil {
			waiting = len(tree.batch.edits)
		}
		tree.write.Unlock()
	}
	tree.flush.Unlock()
	group.Wait()
	return errs
}

func savedTimes(t *testing.T, tree *Tree) (n int) {
	t.Helper()
	if err := tree.db.View(func(tx *bbolt.Tx) error { n = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// Writers who come together share one transaction, each sees what those before him did, and the answers tell them apart.
func TestWritersShareASync(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "directory")
	tree := peopleAt(t, path, Options{})
	before := savedTimes(t, tree)
	var writers []func() error
	for i := range 10 {
		name := fmt.Sprintf("uid=u%d,%s", i, people)
		writers = append(writers, func() error {
			uid := fmt.Sprintf("u%d", i)
			return tree.Add(t.Context(), root, entryOf(name, "objectClass", "inetOrgPerson", "uid", uid, "cn", uid, "sn", uid))
		})
	}
	for _, err := range gather(t, tree, writers) {
		if err != nil {
			t.Error(err)
		}
	}
	if got := savedTimes(t, tree) - before; got != 1 {
		t.Errorf("%d transactions, want 1", got)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	tree = openAt(t, path, Options{})
	if got := searchCount(people, SingleLevel, "(objectClass=inetOrgPerson)")(t, tree, root); got != 10 {
		t.Errorf("%d entries after a restart, want 10", got)
	}
}

// Within a batch the second change of an entry builds on the first, and a deleted one is gone.
func TestChangesOfOneBatchFollowEachOther(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "directory")
	tree := peopleAt(t, path, Options{})
	enter(t, tree, "ann")
	ann := "uid=ann," + people
	tree.flush.Lock()
	var group sync.WaitGroup
	wait := func(n int) {
		for have := 0; have < n; {
			time.Sleep(time.Millisecond) // nothing tells that a writer has come so far
			tree.write.Lock()
			if tree.batch != nil {
				have = len(tree.batch.edits)
			}
			tree.write.Unlock()
		}
	}
	for i, do := range []func() error{
		func() error { return tree.Rename(t.Context(), root, ann, "uid=anna", true, "") },
		func() error {
			return tree.Modify(t.Context(), root, "uid=anna,"+people, []Change{{ReplaceValues, Attribute{"cn", texts("Anna")}}})
		},
		func() error {
			return tree.Add(t.Context(), root, entryOf("uid=ben,"+people, "objectClass", "inetOrgPerson", "uid", "ben", "cn", "b", "sn", "b"))
		},
		func() error { return tree.Delete(t.Context(), root, "uid=ben,"+people) },
	} {
		group.Go(func() {
			if err := do(); err != nil {
				t.Errorf("step %d: %v", i, err)
			}
		})
		wait(i + 1)
	}
	tree.flush.Unlock()
	group.Wait()
	for range 2 {
		if got := searchCount(people, SingleLevel, "(&(uid=anna)(cn=Anna))")(t, tree, root); got != 1 {
			t.Errorf("%d entries, want 1", got)
		}
		if got := searchCode("uid=ben,"+people, BaseObject)(t, tree, root); got != codeNoObject {
			t.Errorf("code %d, want %d", got, codeNoObject)
		}
		if len(tree.unsaved) != 0 {
			t.Errorf("%d entries are still unsaved", len(tree.unsaved))
		}
		tree.Close()
		tree = openAt(t, path, Options{})
	}
}

// When a batch cannot be written, all who are in it hear so, and nothing of it stays.
func TestAFailedBatchFailsForAll(t *testing.T) {
	t.Parallel()
	tree := peopleAt(t, filepath.Join(t.TempDir(), "directory"), Options{})
	enter(t, tree, "ann")
	tree.db.MaxSize = 1
	big := strings.Repeat("x", 1<<20)
	errs := gather(t, tree, []func() error{
		func() error {
			return tree.Modify(t.Context(), root, "uid=ann,"+people, []Change{{ReplaceValues, Attribute{"jpegPhoto", texts(big)}}})
		},
		func() error {
			return tree.Add(t.Context(), root, entryOf("uid=ben,"+people, "objectClass", "inetOrgPerson", "uid", "ben", "cn", "b", "sn", "b"))
		},
	})
	for i, err := range errs {
		if codeOf(err) != codeOther {
			t.Errorf("writer %d: %v, want result %d", i, err, codeOther)
		}
	}
	tree.db.MaxSize = 0
	if got := searchCount(people, SingleLevel, "(|(uid=ben)(jpegPhoto=*))")(t, tree, root); got != 0 {
		t.Errorf("%d entries have changed, want 0", got)
	}
	enter(t, tree, "ben")
}

// victimFile is where TestVictim keeps its directory, when it runs as the process that is killed.
const victimFile = "DIRPOST_TEST_VICTIM"

// TestVictim writes for ever and says what is durable. By itself it does nothing; TestKilled runs it.
func TestVictim(t *testing.T) {
	path := os.Getenv(victimFile)
	if path == "" {
		return
	}
	tree := openAt(t, path, Options{})
	var group sync.WaitGroup
	var mu sync.Mutex // guards standard output
	for w := range 4 {
		group.Go(func() {
			for i := 0; ; i++ {
				uid := fmt.Sprintf("w%d-%d-%d", os.Getpid(), w, i)
				e := entryOf("uid="+uid+","+people, "objectClass", "inetOrgPerson", "objectClass", "inetLocalMailRecipient",
					"uid", uid, "cn", uid, "sn", uid, "mailLocalAddress", uid+"@example.org")
				err := tree.Add(t.Context(), root, e)
				if err == nil && i%3 == 1 {
					err = tree.Rename(t.Context(), root, e.DN, "uid="+uid+"-r", true, "")
					uid += "-r"
				}
				if err == nil && i%3 == 2 {
					err = tree.Delete(t.Context(), root, e.DN)
					uid = "-" + uid
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				fmt.Println("durable", uid)
				mu.Unlock()
			}
		})
	}
	group.Wait()
}

// A process that is killed at any instant leaves a file that opens, in which all is that was durable, and every index
// finds what the entries say.
func TestKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "directory")
	tree := peopleAt(t, path, Options{})
	durable := map[string]bool{}
	for round := range 5 {
		if err := tree.Close(); err != nil {
			t.Fatal(err)
		}
		runVictim(t, path, 1+rand.IntN(150), durable)
		tree = openAt(t, path, Options{})
		consistent(t, tree)
		for uid := range durable {
			name, gone := strings.CutPrefix(uid, "-")
			if got := searchCode("uid="+name+","+people, BaseObject)(t, tree, root); gone == (got == 0) {
				t.Fatalf("round %d: %s has code %d", round, uid, got)
			}
		}
	}
	if len(durable) == 0 {
		t.Error("nothing was written")
	}
}

// runVictim kills the process after so many durable changes and notes which.
func runVictim(t *testing.T, path string, lines int, durable map[string]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestVictim$", "-test.timeout", "1m")
	cmd.Env = append(os.Environ(), victimFile+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for n := 0; in.Scan(); n++ {
		if uid, ok := strings.CutPrefix(in.Text(), "durable "); ok {
			durable[uid] = true
		} else {
			t.Errorf("the victim says %q", in.Text())
		}
		if n == lines {
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
}

// consistent tests the indexes against the entries, and the entries against each other.
func consistent(t testing.TB, tree *Tree) {
	t.Helper()
	n := 0
	err := tree.forEach(func(r *record) error {
		n++
		if r.parent != 0 && tree.index.nodes[r.parent].text == "" {
			return fmt.Errorf("entry %d has no parent", r.id)
		}
		for _, key := range tree.index.keys(tree.catalog, r) {
			if !tree.index.has(key, r.id) {
				return fmt.Errorf("entry %d is not found by a value", r.id)
			}
		}
		return tree.catalog.check(nil, r)
	})
	if err != nil {
		t.Error(err)
	}
	if got := len(tree.index.nodes); got != n || uint64(tree.number) < uint64(n) {
		t.Errorf("%d names for %d entries, of which the newest is %d", got, n, tree.number)
	}
}
