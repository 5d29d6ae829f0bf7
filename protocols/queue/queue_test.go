package queue

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/storage"
)

// TestOneReply is the table of the package comment: what is said, who has the message, who is to get it.
func TestOneReply(t *testing.T) {
	t.Parallel()
	full, broken := storage.ErrOverQuota, syscall.ENOTDIR
	tests := []struct {
		name   string
		order  order
		broken string // whose home is
		want   []error
		filed  string
		queued string // mailboxes by login
	}{
		{"one takes it", order{rcpts: "alice"}, "", []error{nil}, "alice 1, bob 0", ""},
		{"all take it", order{rcpts: "alice bob"}, "", []error{nil, nil}, "alice 1, bob 1", ""},
		{"each mailbox once", order{rcpts: "alice team bob"}, "", []error{nil, nil, nil}, "alice 1, bob 1", ""},
		{"one fails for now", order{rcpts: "bob"}, "bob", []error{broken}, "alice 0, bob 0", ""},
		{"one is full", order{rcpts: "full"}, "", []error{full}, "alice 0, bob 0", ""},
		{"all fail for now", order{rcpts: "bob full"}, "bob", []error{broken, broken}, "alice 0, bob 0", ""},
		{"some fail for now", order{rcpts: "alice bob"}, "bob", []error{nil, nil}, "alice 1, bob 0", "bob"},
		{"the failing one first", order{rcpts: "bob alice"}, "bob", []error{nil, nil}, "alice 1, bob 0", "bob"},
		{"some are full", order{rcpts: "full alice"}, "", []error{nil, nil}, "alice 1, bob 0", "full"},
		{"a full member does not refuse a group", order{rcpts: "crowd"}, "", []error{nil}, "alice 1, bob 0", "full"},
		{"a member fails for now", order{rcpts: "team"}, "bob", []error{nil}, "alice 1, bob 0", "bob"},

		{"LMTP: each its own", order{rcpts: "alice bob", lmtp: true}, "bob", []error{nil, broken}, "alice 1, bob 0", ""},
		{"LMTP: a group is one", order{rcpts: "team bob", lmtp: true}, "bob", []error{nil, nil}, "alice 1, bob 0", "bob"},
		{"LMTP: one whose mailbox another's group has", order{rcpts: "bob team", lmtp: true}, "bob", []error{nil, nil}, "alice 1, bob 0", "bob"},
		{"LMTP: who shares a mailbox shares its fate", order{rcpts: "full full", lmtp: true}, "", []error{full, full}, "alice 0, bob 0", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tt.broken != "" {
				w.breakHome(tt.broken)
			}
			got := w.deliver(tt.order)
			for i, want := range tt.want {
				if !errors.Is(got[i], want) || want == nil && got[i] != nil {
					t.Errorf("recipient %d: got %v, want %v", i, got[i], want)
				}
			}
			if filed := w.counts("alice", "bob"); filed != tt.filed {
				t.Errorf("filed %s, want %s", filed, tt.filed)
			}
			var queued []string
			for _, item := range w.queue.Items() {
				for _, rest := range item.Rest {
					for _, login := range []string{"alice", "bob", "carol", "full"} {
						if filepath.Base(w.home(login)) == rest.Mailbox {
							queued = append(queued, login)
						}
					}
				}
			}
			if got := strings.Join(queued, " "); got != tt.queued {
				t.Errorf("queued %q, want %q", got, tt.queued)
			}
			for _, left := range []string{"*.message", "*.item"} {
				if files, err := filepath.Glob(filepath.Join(w.dir, "spool", left)); err != nil || len(files) != len(w.queue.Items()) {
					t.Errorf("the spool has %q, %v for %d messages", files, err, len(w.queue.Items()))
				}
			}
		})
	}
}

// TestNotKept: when the rest cannot be kept, nobody has the message and the client comes again.
func TestNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.breakHome("bob")
	spool := filepath.Join(w.dir, "spool")
	w.must(os.Remove(spool))
	for i, err := range w.deliver(order{rcpts: "alice bob"}) {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("recipient %d: %v; want that there is no spool", i, err)
		}
	}
	if got, want := w.counts("alice", "bob"), "alice 0, bob 0"; got != want {
		t.Errorf("filed %s, want %s", got, want)
	}
}

// TestRetry: what is kept is tried again, less and less often, until it can be filed.
func TestRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.breakHome("bob")
	w.deliver(order{rcpts: "team"})
	var next time.Time
	for attempts := range 8 {
		w.await("attempts", func() bool { return w.queue.Items()[0].Attempts == attempts })
		wait := w.queue.Items()[0].Next.Sub(w.clock())
		if longest := min(time.Minute<<attempts, time.Hour); wait > longest || wait < longest*7/10 {
			t.Errorf("after %d attempts the next comes in %v, want about %v", attempts, wait, longest)
		}
		next = w.queue.Items()[0].Next
		w.pass(next.Sub(w.clock()))
	}
	w.await("the last of these", func() bool { return w.queue.Items()[0].Attempts == 8 })
	w.mendHome("bob")
	w.must(w.queue.Retry(w.queue.Items()[0].ID))
	w.await("delivery", func() bool { return len(w.queue.Items()) == 0 })
	if got, want := w.counts("alice", "bob", "carol"), "alice 1, bob 1, carol 1"; got != want {
		t.Errorf("filed %s, want %s", got, want)
	}
	if files, err := os.ReadDir(filepath.Join(w.dir, "spool")); err != nil || len(files) > 0 {
		t.Errorf("the spool has %v, %v; want nothing", files, err)
	}
	if err := w.queue.Retry("mailx"); !errors.Is(err, ErrNotQueued) {
		t.Errorf("retry of none: %v, want %v", err, ErrNotQueued)
	}
}

// TestRestart: what is kept survives a stop, and a copy that a crash let nobody know of is not made twice.
func TestRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.breakHome("bob")
	w.deliver(order{rcpts: "alice bob"})
	item := w.queue.Items()[0]
	w.stop()
	w.mendHome("bob")

	// A crash between filing and noting: bob has the file, and the item still names him.
	inbox := filepath.Join(w.home("bob"), "Maildir")
	for _, sub := range []string{"new", "cur", "tmp"} {
		w.must(os.MkdirAll(filepath.Join(inbox, sub), 0o700))
	}
	w.must(os.Link(filepath.Join(w.dir, "spool", item.ID+".message"), filepath.Join(inbox, "new", "1.a.b")))

	w.start()
	w.pass(time.Hour)
	w.await("the end", func() bool { return len(w.queue.Items()) == 0 })
	if got, want := w.counts("alice", "bob"), "alice 1, bob 1"; got != want {
		t.Errorf("filed %s, want %s", got, want)
	}
}

// TestOutage: while the directory is down nothing is given up, however long that takes short of the expiry.
func TestOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.breakHome("bob")
	w.deliver(order{rcpts: "alice bob"})
	w.mendHome("bob")
	w.outage(true)
	w.pass(time.Hour)
	w.await("an attempt", func() bool { return w.queue.Items()[0].Attempts == 1 })
	if got := w.queue.Items()[0].Rest; len(got) != 1 || !strings.Contains(got[0].Err, directory.ErrUnavailable.Error()) {
		t.Errorf("the rest is %v, want bob, and why", got)
	}
	w.outage(false)
	w.pass(time.Hour)
	w.await("the end", func() bool { return len(w.queue.Items()) == 0 })
	if got, want := w.counts("alice", "bob"), "alice 1, bob 1"; got != want {
		t.Errorf("filed %s, want %s", got, want)
	}
}

// TestReports: who hears that a message is given up, and what.
func TestReports(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		order   order
		expire  bool
		between func(w *world)
		reader  string
		says    []string
	}{
		{"a stranger's, to the postmaster", order{rcpts: "alice full"}, true, nil, "admin",
			[]string{"Return-Path: <>", "To: <postmaster@example.org>", "Final-Recipient: rfc822; full@example.org", "Status: 5.2.2", "Subject: hello\n"}},
		{"our own, to the sender", order{rcpts: "alice full", login: "bob"}, true, nil, "bob",
			[]string{"To: <bob@example.org>", "Auto-Submitted: auto-replied", "multipart/report; report-type=delivery-status", "Action: failed"}},
		{"a recipient who went meanwhile", order{rcpts: "alice full", login: "bob"}, false,
			func(w *world) { w.must(w.people.DeleteUser(w.t.Context(), "full")) }, "bob", []string{"Status: 5.1.1"}},
		{"a recipient who was suspended", order{rcpts: "alice full", login: "bob"}, false,
			func(w *world) { w.must(w.people.SetStatus(w.t.Context(), "full", directory.Suspended)) }, "bob", []string{"Status: 5.2.1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deliver(tt.order)
			if tt.between != nil {
				tt.between(w)
			}
			wait := time.Hour
			if tt.expire {
				wait = 5 * 24 * time.Hour
			}
			w.pass(wait)
			w.await("the end", func() bool { return len(w.queue.Items()) == 0 })
			got := w.inbox(tt.reader)
			if len(got) != 1 {
				t.Fatalf("%s has %q, want one report", tt.reader, got)
			}
			for _, want := range tt.says {
				if !strings.Contains(got[0], want) {
					t.Errorf("the report is %s; want %q in it", got[0], want)
				}
			}
			if !strings.Contains(w.log.String(), "message is given up") {
				t.Errorf("the log does not say it: %s", w.log.String())
			}
		})
	}
}

// TestLeftGroup: who is no longer in a group is not a recipient any more, and nobody is told.
func TestLeftGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.breakHome("bob")
	w.deliver(order{rcpts: "team"})
	w.mendHome("bob")
	w.must(w.people.Vacate(t.Context(), address("team@example.org"), "bob"))
	w.pass(time.Hour)
	w.await("the end", func() bool { return len(w.queue.Items()) == 0 })
	if got, want := w.counts("alice", "bob", "admin"), "alice 1, bob 0, admin 0"; got != want {
		t.Errorf("filed %s, want %s", got, want)
	}
}

// TestDrop: an administrator takes a message out.
func TestDrop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.breakHome("bob")
	w.deliver(order{rcpts: "alice bob"})
	id := w.queue.Items()[0].ID
	w.must(w.queue.Drop(id))
	if err := w.queue.Drop(id); !errors.Is(err, ErrNotQueued) {
		t.Errorf("again: %v, want %v", err, ErrNotQueued)
	}
	if files, err := os.ReadDir(filepath.Join(w.dir, "spool")); err != nil || len(files) > 0 {
		t.Errorf("the spool has %v, %v; want nothing", files, err)
	}
}

// BenchmarkDeliver: one mailbox, three that all take it (the queue is not written), and one that does not.
func BenchmarkDeliver(b *testing.B) {
	for _, rcpts := range []string{"alice", "alice bob carol", "alice bob full"} {
		b.Run(rcpts, func(b *testing.B) {
			w := newWorld(b)
			for b.Loop() {
				w.deliver(order{rcpts: rcpts})
				for _, item := range w.queue.Items() {
					w.must(w.queue.Drop(item.ID))
				}
			}
		})
	}
}
