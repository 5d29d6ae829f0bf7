package mailbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

func TestOpenRefusals(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	if _, err := Open(l.opts); !errors.Is(err, storage.ErrBusy) {
		t.Errorf("a second server: %v; want %v", err, storage.ErrBusy)
	}
	for _, opts := range []Options{{}, {Homes: l.opts.Homes + "2"}, {Cache: l.opts.Cache}} {
		if s, err := Open(opts); err == nil {
			s.Close()
			t.Errorf("Open(%+v) went well", opts)
		}
	}
	l.must(l.store.Close())
	l.must(l.store.Close()) // again does nothing
	l.open()
}

// What a crash leaves in staging is gone after the next start; in tmp it goes when it is old enough that nobody can be
// writing it.
func TestSweep(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.home("ann")
	staging := filepath.Join(l.opts.Homes, stagingDir)
	l.must(l.store.Close())
	l.must(os.MkdirAll(filepath.Join(staging, "7", "cur"), 0o700))
	l.must(os.WriteFile(filepath.Join(staging, "8"), nil, 0o600))
	tmp := l.dir("ann", "INBOX").Tmp()
	for name, age := range map[string]time.Duration{"old": 37 * time.Hour, "new": 35 * time.Hour} {
		path := filepath.Join(tmp, name)
		l.must(os.WriteFile(path, nil, 0o600))
		then := time.Now().Add(-age)
		l.must(os.Chtimes(path, then, then))
	}
	l.open()
	l.mailbox("ann", "INBOX")
	for path, want := range map[string]int{staging: 0, tmp: 1} {
		entries, err := os.ReadDir(path)
		if len(entries) != want || err != nil {
			t.Errorf("%s holds %v, %v; want %d", path, entries, err, want)
		}
	}
}

// Mailboxes and homes that nobody uses leave the memory, and come back as they were.
func TestJanitor(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.opts.Idle = 2 * time.Millisecond
	l.reopen()
	busy(l, "ann", "INBOX")
	used := l.mailbox("bob", "INBOX")
	want := brief(l.mailbox("ann", "Sent").View())
	unused := func() bool {
		l.store.mu.Lock()
		defer l.store.mu.Unlock()
		return l.store.homes["carol"] == nil
	}
	l.append("carol", "INBOX", "x", AppendOptions{})
	deadline := time.Now().Add(10 * time.Second)
	for !unused() {
		if time.Now().After(deadline) {
			t.Fatal("the home is still in memory after 10 s")
		}
		time.Sleep(time.Millisecond) // nothing tells of the end of idling
	}
	if used.box.view.Load() == nil {
		t.Error("a mailbox was closed that is in use")
	}
	if got := l.append("carol", "INBOX", "y", AppendOptions{}); got != 2 {
		t.Errorf("UID after coming back = %d; want 2: no number is skipped", got)
	}
	if got := brief(l.mailbox("ann", "Sent").View()); got != want {
		t.Errorf("Sent = %q; want %q", got, want)
	}
}

// Of mailboxes that nobody uses those longest unused leave the memory first, until what is left is within Kept.
func TestKept(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.opts.Kept = 3*mailboxCost - 1 // two empty ones
	l.reopen()
	for i := range 5 {
		l.mailbox(fmt.Sprint("home", i), "INBOX").Close()
	}
	l.store.janitor.closeBoxes(time.Hour)
	var kept []string
	for i := range 5 {
		h := l.store.homes[fmt.Sprint("home", i)]
		if h.boxes[""].view.Load() != nil {
			kept = append(kept, h.id)
		}
	}
	if got, want := strings.Join(kept, " "), "home3 home4"; got != want {
		t.Errorf("kept %q; want %q", got, want)
	}
}

// On a full disk every operation fails, nothing is half there, and when room is made it goes on.
func TestFullDisk(t *testing.T) {
	l := newLab(t)
	dir := filepath.Join(t.TempDir(), "small")
	l.must(os.Mkdir(dir, 0o700))
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k,mode=0700"); err != nil {
		t.Fatalf("mounting a small file system needs root: %v", err)
	}
	l.must(l.store.Close())
	l.opts.Homes, l.opts.Cache = filepath.Join(dir, "homes"), filepath.Join(dir, "cache")
	l.open()
	t.Cleanup(func() {
		l.store.Close()
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	m := l.mailbox("ann", "INBOX")
	st := l.stage(strings.Repeat("x", 10_000))
	for range 3 {
		if _, err := l.home("ann").Append(t.Context(), "INBOX", st, AppendOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	before := show(m.View())
	ballast := filepath.Join(dir, "ballast")
	fillDisk(t, ballast)

	if _, err := tryAppend(l, 8192); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("append: %v; want %v", err, unix.ENOSPC)
	}
	m.box.actor.marks.uidEnd = m.box.actor.marks.nextUID // so that UIDs must be reserved
	if _, err := l.home("ann").Append(t.Context(), "INBOX", st, AppendOptions{}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("append that has to reserve UIDs: %v; want %v", err, unix.ENOSPC)
	}
	if err := l.home("ann").Create(t.Context(), "x", ""); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("create: %v; want %v", err, unix.ENOSPC)
	}
	if _, err := m.Flag(t.Context(), []storage.UID{1}, storage.AddFlags, 0, []string{"new"}, 0); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a new keyword: %v; want %v", err, unix.ENOSPC)
	}
	if got := show(m.View()); got != before {
		t.Errorf("got\n%swant\n%s", got, before)
	}
	l.consistent(m)

	l.must(os.Remove(ballast))
	if _, err := tryAppend(l, 8192); err != nil {
		t.Errorf("append when there is room again: %v", err)
	}
	if _, err := m.Flag(t.Context(), []storage.UID{1}, storage.AddFlags, storage.Seen, []string{"new"}, 0); err != nil {
		t.Errorf("flag when there is room again: %v", err)
	}
	l.consistent(m)
	after := show(m.View())
	l.reopen()
	if got := show(l.mailbox("ann", "INBOX").View()); got != after {
		t.Errorf("after a restart got\n%swant\n%s", got, after)
	}
	for _, sub := range []string{stagingDir, "ann/Maildir/tmp"} {
		entries, err := os.ReadDir(filepath.Join(l.opts.Homes, sub))
		if len(entries) > 0 || err != nil {
			t.Errorf("%s holds %v, %v; want nothing", sub, entries, err)
		}
	}
}

// fillDisk writes until nothing more fits.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

func tryAppend(l *lab, size int) (Appended, error) {
	st, err := l.store.Stage()
	if err != nil {
		return Appended{}, err
	}
	defer st.Discard()
	if _, err := st.Write(make([]byte, size)); err != nil {
		return Appended{}, err
	}
	if err := st.Seal(); err != nil {
		return Appended{}, err
	}
	return l.home("ann").Append(l.t.Context(), "INBOX", st, AppendOptions{})
}

// When a directory cannot be synced, the message is not there and the sender knows.
func TestFailingSync(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.append("ann", "INBOX", "one", AppendOptions{})
	m := l.mailbox("ann", "INBOX")
	b := m.box
	err := b.do(t.Context(), func(tx *tx) error {
		row := *tx.edit.row(1)
		if err := tx.file(tx.box.dir.Path(maildir.New, row.File), &row, ""); err != nil {
			return err
		}
		tx.box.dir += "/nowhere" // what sync opens fails
		return nil
	})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v; want an error of the sync", err)
	}
	l.must(b.do(t.Context(), func(tx *tx) error {
		tx.box.dir = l.dir("ann", "INBOX")
		return nil
	}))
	l.must(m.Refresh(t.Context()))
	if got, want := brief(m.View()), "1()"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
	l.consistent(m)
	if got := l.append("ann", "INBOX", "two", AppendOptions{}); got != 3 {
		t.Errorf("the next UID = %d; want 3: that of the failure is burnt", got)
	}
}

// TestUnsyncedTree: a folder whose name is not durable yet, because the sync failed behind its creation or another program
// made it, is made so before a message in it is said to be there.
func TestUnsyncedTree(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.append("ann", "INBOX", "one", AppendOptions{})
	live, err := l.store.home(t.Context(), "ann")
	l.must(err)
	defer l.store.release(live)
	if live.treeIsUnsynced() {
		t.Error("after an append the names of folders are not durable")
	}
	live.changeTree() // as CREATE does, whose sync then fails
	if !live.treeIsUnsynced() {
		t.Error("a change is not noted")
	}
	l.append("ann", "INBOX", "two", AppendOptions{})
	if live.treeIsUnsynced() {
		t.Error("a message was acknowledged in a folder whose name is not durable")
	}
	l.must(l.home("ann").Create(t.Context(), "x", ""))
	l.must(l.home("ann").Rename(t.Context(), "x", "y"))
	l.must(l.home("ann").Delete(t.Context(), "y"))
	if live.treeIsUnsynced() {
		t.Error("after CREATE, RENAME and DELETE the names of folders are not durable")
	}
}
