package mailbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

func TestAppend(t *testing.T) {
	t.Parallel()
	date := time.Unix(1_000_000_000, 0)
	tests := []struct {
		name string
		text string
		o    AppendOptions
		sub  maildir.Sub
		info string // what follows the base name
		file string // what the file holds
		wire int64
	}{
		{"no flags go to new, without a suffix", "a\r\nb\r\n", AppendOptions{Date: date}, maildir.New, "", "a\nb\n", 6},
		{"flags go to cur, in the order of the alphabet", "a\r\n", AppendOptions{Date: date, Flags: storage.Seen | storage.Draft}, maildir.Cur, ":2,DS", "a\n", 3},
		{"a keyword is a letter", "a\r\n", AppendOptions{Date: date, Keywords: []string{"$Junk"}}, maildir.Cur, ":2,a", "a\n", 3},
		{"a bare LF counts as a line end", "a\nb", AppendOptions{Date: date}, maildir.New, "", "a\nb", 4},
		{"a CR alone stays", "a\rb\r", AppendOptions{Date: date}, maildir.New, "", "a\rb\r", 4},
		{"a CR before CRLF is the line end on disk", "a\r\r\nb", AppendOptions{Date: date}, maildir.New, "", "a\r\nb", 4},
		{"nothing at all", "", AppendOptions{Date: date}, maildir.New, "", "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			uid := l.append("ann", "INBOX", tt.text, tt.o)
			m := l.mailbox("ann", "INBOX")
			f, msg, err := m.Message(t.Context(), uid)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			data, err := io.ReadAll(f)
			if string(data) != tt.file || err != nil {
				t.Errorf("file = %q, %v; want %q", data, err, tt.file)
			}
			if msg.Size != int64(len(tt.file)) || msg.WireSize != tt.wire || !msg.Date.Equal(date) || msg.UID != 1 {
				t.Errorf("message = %+v; want size %d, wire size %d, date %v, UID 1", msg, len(tt.file), tt.wire, date)
			}
			files := l.files("ann", "INBOX", tt.sub)
			if len(files) != 1 || files[0] != msg.Name+tt.info {
				t.Errorf("files in %v = %q; want %q", tt.sub, files, msg.Name+tt.info)
			}
			want := fmt.Sprintf(",S=%d,W=%d,I=%x.1", len(tt.file), tt.wire, m.UIDValidity())
			if !strings.HasSuffix(msg.Name, want) {
				t.Errorf("name = %q; want it to end in %q", msg.Name, want)
			}
			info, err := f.Stat()
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode = %v, %v; want 0600", info.Mode(), err)
			}
		})
	}
}

// A line end may be cut anywhere between two writes.
func TestStagedWriteInPieces(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	const text = "a\r\nb\r\r\nc\rd\n\r\n\r"
	whole := l.stage(text)
	for size := 1; size < len(text); size++ {
		st, err := l.store.Stage()
		if err != nil {
			t.Fatal(err)
		}
		for piece := range slices.Chunk([]byte(text), size) {
			if n, err := st.Write(piece); n != len(piece) || err != nil {
				t.Fatalf("Write = %d, %v; want %d", n, err, len(piece))
			}
		}
		if err := st.Seal(); err != nil {
			t.Fatal(err)
		}
		got, want := readStaged(t, st), readStaged(t, whole)
		if got != want || st.Size() != int64(len(want)) || st.WireSize() != whole.WireSize() {
			t.Errorf("pieces of %d: %q, %d, %d; want %q, %d, %d", size, got, st.Size(), st.WireSize(), want, len(want), whole.WireSize())
		}
		st.Discard()
	}
}

func readStaged(t *testing.T, st *Staged) string {
	t.Helper()
	f, err := st.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestStagedLimit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		pieces []string
		err    error
	}{
		{"exactly the limit", []string{"12345678\r\n"}, nil},
		{"one more", []string{"123456789\r\n"}, storage.ErrTooLarge},
		{"line ends count as two", []string{"\n\n\n\n\n"}, nil},
		{"bare line ends beyond the limit", []string{"\n\n\n\n\n\n"}, storage.ErrTooLarge},
		{"in pieces, a line end cut in two", []string{"12345678\r", "\n"}, nil},
		{"in pieces, one more", []string{"12345678\r", "\n", "x"}, storage.ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.opts.Limits.MessageBytes = 10
			l.reopen()
			st, err := l.store.Stage()
			if err != nil {
				t.Fatal(err)
			}
			defer st.Discard()
			for _, piece := range tt.pieces {
				if _, err = st.Write([]byte(piece)); err != nil {
					break
				}
			}
			if !errors.Is(err, tt.err) {
				t.Errorf("Write: %v; want %v", err, tt.err)
			}
			if err := st.Seal(); !errors.Is(err, tt.err) {
				t.Errorf("Seal: %v; want %v", err, tt.err)
			}
		})
	}
}

func TestAppendRefusals(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := l.home("ann")
	open, err := l.store.Stage()
	if err != nil {
		t.Fatal(err)
	}
	defer open.Discard()
	discarded := l.stage("x")
	discarded.Discard()
	many := make([]string, maildir.MaxKeywords+1)
	for i := range many {
		many[i] = fmt.Sprintf("k%d", i)
	}
	tests := []struct {
		name   string
		folder string
		st     *Staged
		o      AppendOptions
		err    error
	}{
		{"no such folder", "nowhere", l.stage("x"), AppendOptions{}, storage.ErrNoMailbox},
		{"bad folder name", "a//b", l.stage("x"), AppendOptions{}, storage.ErrBadName},
		{"not sealed", "INBOX", open, AppendOptions{}, errNotSealed},
		{"discarded", "INBOX", discarded, AppendOptions{}, errDiscarded},
		{"27 keywords", "INBOX", l.stage("x"), AppendOptions{Keywords: many}, storage.ErrKeywords},
		{"too many messages", "INBOX", l.stage("x"), AppendOptions{Quota: storage.Quota{Messages: 1}}, storage.ErrOverQuota},
		{"too many octets", "INBOX", l.stage("12345"), AppendOptions{Quota: storage.Quota{Bytes: 5}}, storage.ErrOverQuota},
	}
	l.append("ann", "Sent", "x", AppendOptions{}) // counts too
	for _, tt := range tests {
		if _, err := h.Append(t.Context(), tt.folder, tt.st, tt.o); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.err)
		}
	}
	if got := l.mailbox("ann", "INBOX").View().Len(); got != 0 {
		t.Errorf("INBOX has %d messages; want 0", got)
	}
}

// When Append returns, whoever watches the folder has a pulse waiting, and the message is in the view.
func TestAppendWakesWatchers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	m := l.mailbox("ann", "INBOX")
	first, second := m.Watch(), m.Watch()
	defer first.Close()
	second.Close()
	second.Close()
	for i := range 3 {
		l.append("ann", "INBOX", "x", AppendOptions{})
		select {
		case <-first.C:
		default:
			t.Errorf("no pulse for message %d", i+1)
		}
		if got := m.View().Len(); got != i+1 {
			t.Errorf("the view has %d messages; want %d", got, i+1)
		}
	}
	select {
	case <-second.C:
		t.Error("a watch that is closed had a pulse")
	default:
	}
}

// One Staged appended to several homes is one file, also when a home has it twice.
func TestAppendSharesTheFile(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	st := l.stage("hello\r\n")
	for _, id := range []string{"ann", "bob", "bob"} {
		if _, err := l.home(id).Append(t.Context(), "INBOX", st, AppendOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	st.Discard()
	var first os.FileInfo
	for _, path := range []string{
		l.dir("ann", "INBOX").Path(maildir.New, l.files("ann", "INBOX", maildir.New)[0]),
		l.dir("bob", "INBOX").Path(maildir.New, l.files("bob", "INBOX", maildir.New)[0]),
		l.dir("bob", "INBOX").Path(maildir.New, l.files("bob", "INBOX", maildir.New)[1]),
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = info
		}
		if !os.SameFile(first, info) {
			t.Errorf("%s is another file", path)
		}
	}
}

// A file that mailboxes have already keeps its date: another date is another file.
func TestAppendWithAnotherDate(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	st := l.stage("hello\r\n")
	dates := []time.Time{time.Unix(1000, 0), time.Unix(2000, 0), time.Unix(2000, 0)}
	for _, date := range dates {
		if _, err := l.home("ann").Append(t.Context(), "INBOX", st, AppendOptions{Date: date}); err != nil {
			t.Fatal(err)
		}
	}
	m := l.mailbox("ann", "INBOX")
	for i, date := range dates {
		if got := m.View().At(i).Date; !got.Equal(date) {
			t.Errorf("date of message %d = %v; want %v", i+1, got, date)
		}
	}
	entries, err := os.ReadDir(l.opts.Homes + "/" + stagingDir)
	if len(entries) != 1 || err != nil {
		t.Errorf("staging holds %d files, %v; want the staged one", len(entries), err)
	}
}

func TestSetDateBeforeSeal(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	st, err := l.store.Stage()
	if err != nil {
		t.Fatal(err)
	}
	defer st.Discard()
	date := time.Unix(1_234_567_890, 999)
	st.SetDate(date)
	if err := st.Seal(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.home("ann").Append(t.Context(), "INBOX", st, AppendOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := l.mailbox("ann", "INBOX").View().At(0).Date; got.Unix() != date.Unix() {
		t.Errorf("date = %v; want %v", got, date)
	}
}

// Appends at the same time, to a mailbox that is open and to one that is not, get distinct UIDs, and the watcher of the
// open one never sees a UID below one it saw before.
func TestAppendConcurrently(t *testing.T) {
	t.Parallel()
	const senders, each = 8, 25
	for _, watched := range []bool{true, false} {
		t.Run(fmt.Sprintf("watched=%v", watched), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			h := l.home("ann")
			stop, watcher := make(chan struct{}), sync.WaitGroup{}
			if watched {
				m := l.mailbox("ann", "INBOX")
				watcher.Go(func() { watchOrder(t, m, stop) })
			}
			var senderGroup sync.WaitGroup
			var mu sync.Mutex
			got := map[storage.UID]bool{}
			for range senders {
				senderGroup.Go(func() {
					for range each {
						st := l.stage("x")
						done, err := h.Append(t.Context(), "INBOX", st, AppendOptions{Quota: storage.Quota{Messages: senders * each}})
						if err != nil {
							t.Error(err)
							return
						}
						st.Discard()
						mu.Lock()
						if got[done.UID] {
							t.Errorf("UID %d came twice", done.UID)
						}
						got[done.UID] = true
						mu.Unlock()
					}
				})
			}
			senderGroup.Wait()
			close(stop)
			watcher.Wait()
			if n := l.mailbox("ann", "INBOX").View().Len(); n != senders*each {
				t.Errorf("INBOX has %d messages; want %d", n, senders*each)
			}
		})
	}
}

func watchOrder(t *testing.T, m *Mailbox, stop chan struct{}) {
	w := m.Watch()
	defer w.Close()
	old := m.View()
	for {
		select {
		case <-w.C:
		case <-stop:
			return
		}
		now := m.View()
		if gone, _ := now.Since(old); len(gone) > 0 {
			t.Errorf("gone: %v", gone)
		}
		if i, _ := now.Find(old.UIDNext); i != old.Len() {
			t.Errorf("%d messages below UIDNEXT %d; want %d", i, old.UIDNext, old.Len())
		}
		old = now
	}
}

func TestStageAfterClose(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h, st := l.home("ann"), l.stage("x")
	if err := l.store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.store.Stage(); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Stage: %v; want %v", err, storage.ErrClosed)
	}
	if _, err := h.Append(t.Context(), "INBOX", st, AppendOptions{}); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Append: %v; want %v", err, storage.ErrClosed)
	}
	st.Discard()
	if _, err := os.Stat(st.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the staged file is still there: %v", err)
	}
}
