package delivery

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/protocols/delivery/trace"
	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// The mailboxes of these tests. The home of broken is a file, so that nothing can be filed there now.
var (
	ann    = directory.Mailbox{ID: "m-ann", Login: "ann"}
	full   = directory.Mailbox{ID: "m-full", Login: "full", Quota: directory.Quota{Bytes: 1}}
	broken = directory.Mailbox{ID: "m-broken", Login: "broken"}
)

// rcpt is a recipient that stands for these mailboxes.
func rcpt(boxes ...directory.Mailbox) protocols.Recipient {
	addr := directory.Address{Local: "rcpt", Domain: "example.org"}
	return protocols.Recipient{Address: addr, Route: directory.Route{Address: addr, Mailboxes: boxes}}
}

func newStore(t *testing.T) (store *mailbox.Store, homes string) {
	t.Helper()
	homes = filepath.Join(t.TempDir(), "homes")
	store, err := mailbox.Open(mailbox.Options{Homes: homes, Cache: filepath.Join(t.TempDir(), "cache"), Node: "node"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := os.WriteFile(filepath.Join(homes, broken.ID), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return store, homes
}

// message is a small message at the door.
func message(t *testing.T) *trace.Message {
	t.Helper()
	msg, err := trace.Read(strings.NewReader("Subject: x\r\n\r\nbody\r\n"), trace.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// TestFile: the message is in the mailbox, or the error says why not, and both are in the log or not.
func TestFile(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		box   directory.Mailbox
		want  error
		files int
	}{
		{"room", ann, nil, 1},
		{"full", full, storage.ErrOverQuota, 0},
		{"broken", broken, syscall.ENOTDIR, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store, homes := newStore(t)
			var log strings.Builder
			d := New(store, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			staged, err := d.Stage(message(t), "Top: 1\r\n")
			if err != nil {
				t.Fatal(err)
			}
			defer staged.Discard()
			if err := d.File(t.Context(), protocols.Envelope{ID: "i"}, rcpt().Address, tt.box, staged); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			files, err := filepath.Glob(filepath.Join(homes, tt.box.ID, "Maildir", "new", "*"))
			if err != nil || len(files) != tt.files {
				t.Fatalf("files %q, %v; want %d", files, err, tt.files)
			}
			for _, file := range files {
				if text, err := os.ReadFile(file); err != nil || string(text) != "Top: 1\nSubject: x\n\nbody\n" {
					t.Errorf("filed %q, %v", text, err)
				}
			}
			if said := strings.Contains(log.String(), "level=INFO msg=delivered"); said != (tt.want == nil) {
				t.Errorf("log %q", log.String())
			}
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	small := directory.Mailbox{ID: "m-small", Login: "small", Quota: directory.Quota{Bytes: 100}}
	elsewhere := directory.Address{Local: "joe", Domain: "example.net"}
	tests := []struct {
		name  string
		route directory.Route
		size  int64
		want  error
	}{
		{"room", directory.Route{Mailboxes: []directory.Mailbox{small}}, 100, nil},
		{"no room", directory.Route{Mailboxes: []directory.Mailbox{small}}, 101, storage.ErrOverQuota},
		{"size not known", directory.Route{Mailboxes: []directory.Mailbox{small}}, 0, nil},
		{"a group has room", directory.Route{Mailboxes: []directory.Mailbox{small, ann}}, 101, nil},
		{"nobody", directory.Route{}, 0, directory.ErrNoSuchAddress},
		{"outside", directory.Route{Remote: []directory.Address{elsewhere}}, 0, ErrOutbound},
		{"partly outside", directory.Route{Mailboxes: []directory.Mailbox{ann}, Remote: []directory.Address{elsewhere}}, 0, ErrOutbound},
		{"by another way", directory.Route{Mailboxes: []directory.Mailbox{ann}, Transport: "smtp:[host]"}, 0, ErrOutbound},
		{"a home that cannot be looked at", directory.Route{Mailboxes: []directory.Mailbox{{ID: broken.ID, Quota: small.Quota}}}, 0, syscall.ENOTDIR},
	}
	store, _ := newStore(t)
	d := New(store, Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := d.Check(t.Context(), tt.route, tt.size); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// TestCheckOfFullMailbox: a mailbox that is just full is so for a message whose size nobody has declared, too.
func TestCheckOfFullMailbox(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	d := New(store, Options{})
	staged, err := d.Stage(message(t), "")
	if err != nil {
		t.Fatal(err)
	}
	defer staged.Discard()
	box := directory.Mailbox{ID: "m-ann", Login: "ann", Quota: directory.Quota{Bytes: staged.Size()}}
	for _, want := range []error{nil, storage.ErrOverQuota} {
		if err := d.Check(t.Context(), rcpt(box).Route, 0); !errors.Is(err, want) {
			t.Errorf("check: got %v, want %v", err, want)
		}
		if got := d.File(t.Context(), protocols.Envelope{}, rcpt().Address, box, staged); !errors.Is(got, want) {
			t.Errorf("file: got %v, want %v", got, want)
		}
	}
}

// TestStageLeavesNothing: a message that is refused while it is staged leaves no file.
func TestStageLeavesNothing(t *testing.T) {
	t.Parallel()
	store, homes := newStore(t)
	msg, err := trace.Read(strings.NewReader("Subject: x\r\n\r\nbare\nline feed\r\n"), trace.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(store, Options{}).Stage(msg, ""); !errors.Is(err, trace.ErrLineEnds) {
		t.Errorf("got %v, want %v", err, trace.ErrLineEnds)
	}
	left, err := filepath.Glob(filepath.Join(homes, ".staging", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("got %v, %v; want nothing", left, err)
	}
}

// TestInternalDate: a message is dated by its arrival, whatever its header says.
func TestInternalDate(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	d := New(store, Options{Now: func() time.Time { return now }})
	staged, err := d.Stage(message(t), "")
	if err != nil {
		t.Fatal(err)
	}
	defer staged.Discard()
	if err := d.File(t.Context(), protocols.Envelope{}, rcpt().Address, ann, staged); err != nil {
		t.Fatal(err)
	}
	home, err := store.Home(ann.ID)
	if err != nil {
		t.Fatal(err)
	}
	inbox, err := home.Open(context.Background(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer inbox.Close()
	if view := inbox.View(); view.Len() != 1 || !view.At(0).Date.Equal(now) || view.At(0).Flags != 0 {
		t.Errorf("got %d messages, first %+v; want one of %v without flags", view.Len(), view.At(0), now)
	}
}

// TestWarning: who grows over a mark gets a letter, once, whatever the quota says of the letter.
func TestWarning(t *testing.T) {
	t.Parallel()
	store, homes := newStore(t)
	d := New(store, Options{Warnings: []int{80, 95}})
	staged, err := d.Stage(message(t), "")
	if err != nil {
		t.Fatal(err)
	}
	defer staged.Discard()
	box := directory.Mailbox{ID: "m-ann", Login: "ann", Quota: directory.Quota{Bytes: staged.Size() + 1}}
	if err := d.File(t.Context(), protocols.Envelope{}, rcpt().Address, box, staged); err != nil {
		t.Fatal(err)
	}
	box.Quota.Bytes *= 1000
	box.Quota.Messages = 100
	if err := d.File(t.Context(), protocols.Envelope{}, rcpt().Address, box, staged); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(homes, "m-ann", "Maildir", "new", "*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("files %q, %v; want two messages and one letter", files, err)
	}
	letters := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "Subject: Your mailbox is 80% full") && strings.Contains(string(text), "Auto-Submitted: auto-generated") {
			letters++
		}
	}
	if letters != 1 {
		t.Errorf("%d letters, want 1", letters)
	}
}
