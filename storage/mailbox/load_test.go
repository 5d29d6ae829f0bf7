package mailbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// busy makes a mailbox with a history: flags, keywords, dates, gaps in the UIDs, messages in new and in cur.
func busy(l *lab, id, folder string) {
	l.t.Helper()
	date := time.Unix(1_100_000_000, 0)
	for i := range 10 {
		o := AppendOptions{Date: date.Add(time.Duration(i) * time.Hour)}
		if i%3 == 1 {
			o.Flags, o.Keywords = storage.Seen, []string{"work"}
		}
		l.append(id, folder, fmt.Sprintf("message %d\r\n", i), o)
	}
	m := l.mailbox(id, folder)
	ctx := l.t.Context()
	if _, err := m.Flag(ctx, []storage.UID{1, 2, 9}, storage.AddFlags, storage.Flagged, []string{"Home"}, 0); err != nil {
		l.t.Fatal(err)
	}
	if _, err := m.Flag(ctx, []storage.UID{2}, storage.RemoveFlags, storage.Seen, []string{"WORK"}, 0); err != nil {
		l.t.Fatal(err)
	}
	if err := m.Expunge(ctx, []storage.UID{4, 10}); err != nil {
		l.t.Fatal(err)
	}
	m.Close()
}

// What FETCH 1:* (UID FLAGS INTERNALDATE) shows survives whatever happens to the cache.
func TestLostCacheChangesNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		harm func(t *testing.T, index string)
	}{
		{"nothing happened", func(*testing.T, string) {}},
		{"the cache was deleted", func(t *testing.T, index string) {
			if err := os.RemoveAll(filepath.Dir(filepath.Dir(filepath.Dir(index)))); err != nil {
				t.Fatal(err)
			}
		}},
		{"the index was cut short", func(t *testing.T, index string) {
			info, err := os.Stat(index)
			if err == nil {
				err = os.Truncate(index, info.Size()-7)
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
		{"the index lost its last records", func(t *testing.T, index string) {
			if err := os.Truncate(index, 20); err != nil {
				t.Fatal(err)
			}
		}},
		{"an octet of the index is wrong", func(t *testing.T, index string) {
			data, err := os.ReadFile(index)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)/2] ^= 0x40
			if err := os.WriteFile(index, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"a block of the index is zero", func(t *testing.T, index string) {
			data, err := os.ReadFile(index)
			if err != nil {
				t.Fatal(err)
			}
			clear(data[len(data)-200:])
			if err := os.WriteFile(index, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"the index is a folder", func(t *testing.T, index string) {
			if err := os.Remove(index); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(index, "x"), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			busy(l, "ann", "INBOX")
			m := l.mailbox("ann", "INBOX")
			want, seen := show(m.View()), m.View().HighestModSeq
			m.Close()
			if err := l.store.Close(); err != nil {
				t.Fatal(err)
			}
			tt.harm(t, filepath.Join(l.opts.Cache, "ann", "INBOX", indexFile))
			l.open()
			m = l.mailbox("ann", "INBOX")
			if got := show(m.View()); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			if got := m.View().HighestModSeq; got < seen {
				t.Errorf("HIGHESTMODSEQ = %d; want %d or more", got, seen)
			}
			if got := l.append("ann", "INBOX", "more", AppendOptions{}); got != 11 {
				t.Errorf("UID of the next message = %d; want 11: what was expunged is not given out again", got)
			}
		})
	}
}

// After a loss of the index every message must have a modseq that no client has seen, for its flags may be others than
// the client knows.
func TestModSeqAfterLostIndex(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	busy(l, "ann", "INBOX")
	seen := l.mailbox("ann", "INBOX").View().HighestModSeq
	if err := l.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(l.opts.Cache); err != nil {
		t.Fatal(err)
	}
	l.open()
	for _, m := range l.mailbox("ann", "INBOX").View().All() {
		if m.ModSeq <= seen {
			t.Errorf("modseq of UID %d = %d; want more than %d", m.UID, m.ModSeq, seen)
		}
	}
}

// An index from an earlier moment, as a power cut leaves one, is known by the high-water mark. The same after a kill of
// the process is complete.
func TestModSeqAfterUncleanStop(t *testing.T) {
	t.Parallel()
	for _, powerCut := range []bool{true, false} {
		t.Run(fmt.Sprintf("power cut=%v", powerCut), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			busy(l, "ann", "INBOX")
			l.reopen()
			m := l.mailbox("ann", "INBOX")
			index := filepath.Join(l.opts.Cache, "ann", "INBOX", indexFile)
			earlier, err := os.ReadFile(index)
			if err != nil {
				t.Fatal(err)
			}
			// Seen by a client, and then as before: only the modseq tells.
			for _, op := range []storage.FlagOp{storage.AddFlags, storage.RemoveFlags} {
				if _, err := m.Flag(t.Context(), []storage.UID{5}, op, storage.Answered, nil, 0); err != nil {
					t.Fatal(err)
				}
			}
			before := m.View()
			dead := l.kill()
			if powerCut {
				if err := os.WriteFile(index, earlier, 0o600); err != nil {
					t.Fatal(err)
				}
				l.reboot("ann", "INBOX")
			}
			l.open()
			after := l.mailbox("ann", "INBOX").View()
			if got, want := show(after), show(before); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			for i, msg := range after.All() {
				if powerCut && msg.ModSeq <= before.HighestModSeq {
					t.Errorf("modseq of UID %d = %d; want more than %d", msg.UID, msg.ModSeq, before.HighestModSeq)
				}
				if was := before.At(i).ModSeq; !powerCut && msg.ModSeq != was {
					t.Errorf("modseq of UID %d = %d; want %d", msg.UID, msg.ModSeq, was)
				}
			}
			if after.HighestModSeq < before.HighestModSeq {
				t.Errorf("HIGHESTMODSEQ = %d; want %d or more", after.HighestModSeq, before.HighestModSeq)
			}
			dead.Close()
		})
	}
}

// kill leaves the store as a killed process would: nothing is written any more, and the lock is free. Close the result
// when the test is over.
func (l *lab) kill() *Store {
	l.t.Helper()
	dead := l.store
	if err := dead.lock.Close(); err != nil {
		l.t.Fatal(err)
	}
	dead.mu.Lock()
	dead.homes = map[string]*home{} // Close finds nothing to write
	dead.mu.Unlock()
	return dead
}

// reboot makes the marks of a folder look as if another kernel had run.
func (l *lab) reboot(id, folder string) {
	l.t.Helper()
	path := l.dir(id, folder).File(marksFile)
	data, err := os.ReadFile(path)
	if err != nil {
		l.t.Fatal(err)
	}
	other := bytes.Replace(data, []byte("boot "), []byte("boot another-"), 1)
	if bytes.Equal(other, data) {
		l.t.Fatalf("no boot in %q", data)
	}
	if err := os.WriteFile(path, other, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// After a clean stop nothing is skipped; after a kill UIDs are, and none comes twice.
func TestUIDsAfterStop(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.append("ann", "INBOX", "1", AppendOptions{})
	l.reopen()
	if got := l.append("ann", "INBOX", "2", AppendOptions{}); got != 2 {
		t.Errorf("UID after a clean stop = %d; want 2", got)
	}
	m := l.mailbox("ann", "INBOX")
	if err := m.Expunge(t.Context(), []storage.UID{2}); err != nil {
		t.Fatal(err)
	}
	defer l.kill().Close()
	l.open()
	if got := l.append("ann", "INBOX", "3", AppendOptions{}); got <= 2 {
		t.Errorf("UID after a kill = %d; want more than 2, which is expunged", got)
	}
}

// Numbers from a backup beside an index and messages that are newer: what they do not know of is numbered anew.
func TestMarksFromBackup(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.append("ann", "INBOX", "1", AppendOptions{})
	l.must(l.store.Close())
	marks := l.dir("ann", "INBOX").File(marksFile)
	backup, err := os.ReadFile(marks)
	l.must(err)
	l.open()
	l.append("ann", "INBOX", "2", AppendOptions{})
	l.mailbox("ann", "INBOX").Close()
	l.must(l.store.Close())
	l.must(os.WriteFile(marks, backup, 0o600))
	l.open()
	m := l.mailbox("ann", "INBOX")
	if got := l.append("ann", "INBOX", "3", AppendOptions{}); got != 3 || brief(m.View()) != "1() 2() 3()" {
		t.Errorf("UID %d, messages %q; want 3, 1() 2() 3()", got, brief(m.View()))
	}
	l.consistent(m)
}

// A folder whose directories have not changed is opened, and asked for its status, without reading them.
func TestOpenUnchangedReadsNoDirectory(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	busy(l, "ann", "INBOX")
	m := l.mailbox("ann", "INBOX")
	want := show(m.View())
	m.Close()
	time.Sleep(2100 * time.Millisecond) // until the times of the directories are believed
	l.reopen()
	reads := countReads(t, l.dir("ann", "INBOX"))
	status, err := l.home("ann").Status(t.Context(), "INBOX")
	if status.Messages != 8 || err != nil {
		t.Errorf("Status = %+v, %v; want 8 messages", status, err)
	}
	m = l.mailbox("ann", "INBOX")
	if got := show(m.View()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if n := reads(); n != 0 {
		t.Errorf("the directories were read %d times", n)
	}
	l.files("ann", "INBOX", maildir.Cur)
	if n := reads(); n == 0 {
		t.Error("reading a directory was not noticed: the test proves nothing")
	}
}

// countReads has the kernel tell of each reading of the directories.
func countReads(t *testing.T, dir maildir.Dir) func() int {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	for _, path := range []string{dir.Sub(maildir.New), dir.Sub(maildir.Cur), dir.Tmp()} {
		if _, err := unix.InotifyAddWatch(fd, path, unix.IN_ACCESS); err != nil {
			t.Fatal(err)
		}
	}
	return func() int {
		buf := make([]byte, 4096)
		n, err := unix.Read(fd, buf)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
		return max(n, 0) / unix.SizeofInotifyEvent
	}
}
