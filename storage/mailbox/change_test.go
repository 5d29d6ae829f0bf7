package mailbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

func TestFlag(t *testing.T) {
	t.Parallel()
	// UID 1 has no flags, UID 2 \Seen and the keyword work, UID 3 letters that mean nothing to us and an unnamed keyword.
	tests := []struct {
		name     string
		op       storage.FlagOp
		flags    storage.Flags
		keywords []string
		want     string
	}{
		{"add", storage.AddFlags, storage.Flagged, nil, "1(F) 2(FS)a 3(F)zX"},
		{"add what is there", storage.AddFlags, storage.Seen, []string{"WORK"}, "1(S)a 2(S)a 3(S)azX"},
		{"remove", storage.RemoveFlags, storage.Seen | storage.Draft, nil, "1() 2()a 3()zX"},
		{"remove a keyword", storage.RemoveFlags, 0, []string{"Work"}, "1() 2(S) 3()zX"},
		{"remove a keyword that nothing has", storage.RemoveFlags, 0, []string{"other"}, "1() 2(S)a 3()zX"},
		{"set", storage.SetFlags, storage.Answered, []string{"new"}, "1(R)b 2(R)b 3(R)bzX"},
		{"set nothing", storage.SetFlags, 0, nil, "1() 2() 3()zX"},
		{"every flag", storage.SetFlags, storage.Draft | storage.Flagged | storage.Passed | storage.Answered | storage.Seen | storage.Trashed, nil,
			"1(DFPRST) 2(DFPRST) 3(DFPRST)zX"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.append("ann", "INBOX", "one", AppendOptions{})
			l.append("ann", "INBOX", "two", AppendOptions{Flags: storage.Seen, Keywords: []string{"work"}})
			l.drop("ann", "INBOX", maildir.Cur, "1.x.host:2,zX", "three")
			m := l.mailbox("ann", "INBOX")
			before := m.View()
			if _, err := m.Flag(t.Context(), []storage.UID{1, 2, 3, 99}, tt.op, tt.flags, tt.keywords, 0); err != nil {
				t.Fatal(err)
			}
			after := m.View()
			var got []string
			for i, msg := range after.All() {
				_, info, _ := strings.Cut(after.row(i).File, ":2,")
				capitals, rest := info[:len(info)-len(strings.TrimLeft(info, "DFPRST"))], strings.TrimLeft(info, "DFPRST")
				got = append(got, fmt.Sprintf("%d(%s)%s", msg.UID, capitals, rest))
				was := before.At(i)
				same := was.Flags == msg.Flags && was.Keywords == msg.Keywords
				if same != (was.ModSeq == msg.ModSeq) || msg.ModSeq > after.HighestModSeq {
					t.Errorf("UID %d: flags %v %b to %v %b, modseq %d to %d of %d", msg.UID, was.Flags, was.Keywords, msg.Flags, msg.Keywords,
						was.ModSeq, msg.ModSeq, after.HighestModSeq)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %q; want %q", strings.Join(got, " "), tt.want)
			}
			l.consistent(m)
		})
	}
}

func TestFlagUnchangedSince(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for range 3 {
		l.append("ann", "INBOX", "x", AppendOptions{})
	}
	m := l.mailbox("ann", "INBOX")
	since := m.View().HighestModSeq
	if _, err := m.Flag(t.Context(), []storage.UID{2}, storage.AddFlags, storage.Seen, nil, 0); err != nil {
		t.Fatal(err)
	}
	modified, err := m.Flag(t.Context(), []storage.UID{1, 2, 3}, storage.AddFlags, storage.Flagged, nil, since)
	if !slices.Equal(modified, []storage.UID{2}) || err != nil {
		t.Errorf("modified = %v, %v; want [2]", modified, err)
	}
	if got, want := brief(m.View()), "1(F) 2(S) 3(F)"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}

// Of sessions that change the same message under the same condition, one succeeds.
func TestFlagUnchangedSinceConcurrently(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.append("ann", "INBOX", "x", AppendOptions{})
	m := l.mailbox("ann", "INBOX")
	since := m.View().HighestModSeq
	var group sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 8 {
		group.Go(func() {
			modified, err := m.Flag(t.Context(), []storage.UID{1}, storage.AddFlags, 0, []string{fmt.Sprint("k", i)}, since)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(modified) == 0 {
				won++
			}
		})
	}
	group.Wait()
	if won != 1 {
		t.Errorf("%d changed the message; want 1", won)
	}
}

func TestKeywords(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	uid := l.append("ann", "INBOX", "x", AppendOptions{})
	m := l.mailbox("ann", "INBOX")
	flag := func(keywords ...string) error {
		_, err := m.Flag(t.Context(), []storage.UID{uid}, storage.AddFlags, 0, keywords, 0)
		return err
	}
	for i := range maildir.MaxKeywords {
		if m.View().KeywordsFull {
			t.Fatalf("full with %d keywords", i)
		}
		l.must(flag(fmt.Sprint("k", i)))
	}
	if !m.View().KeywordsFull {
		t.Error("not full with 26 keywords")
	}
	if err := flag("k3", "one-more"); !errors.Is(err, storage.ErrKeywords) {
		t.Errorf("a 27th keyword: %v; want %v", err, storage.ErrKeywords)
	}
	for _, bad := range []string{"", "a b", "a\nb", `\Seen`, "a(", "ä"} {
		if err := flag(bad); err == nil {
			t.Errorf("keyword %q was taken", bad)
		}
	}
	data, err := os.ReadFile(l.dir("ann", "INBOX").File("dovecot-keywords"))
	if want := "0 k0\n1 k1\n"; !strings.HasPrefix(string(data), want) || err != nil {
		t.Errorf("dovecot-keywords = %q, %v; want it to start with %q", data, err, want)
	}
	want := show(m.View())
	l.reopen()
	if got := show(l.mailbox("ann", "INBOX").View()); got != want {
		t.Errorf("after a restart got\n%swant\n%s", got, want)
	}
}

func TestExpunge(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for i := range 4 {
		l.append("ann", "INBOX", "x", AppendOptions{Flags: []storage.Flags{0, storage.Trashed}[i%2]})
	}
	m := l.mailbox("ann", "INBOX")
	old := m.View()
	l.must(m.Expunge(t.Context(), []storage.UID{3, 2, 2, 77}))
	v := m.View()
	if got, want := brief(v), "1() 4(T)"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
	gone, changed := v.Since(old)
	if !slices.Equal(gone, []storage.UID{2, 3}) || changed != nil || v.HighestModSeq <= old.HighestModSeq {
		t.Errorf("Since = %v, %v, modseq %d after %d; want [2 3], none, more", gone, changed, v.HighestModSeq, old.HighestModSeq)
	}
	if got, want := brief(old), "1() 2(T) 3() 4(T)"; got != want {
		t.Errorf("the older view became %q; want %q", got, want)
	}
	if _, _, err := m.Message(t.Context(), 2); !errors.Is(err, storage.ErrNoMessage) {
		t.Errorf("Message: %v; want %v", err, storage.ErrNoMessage)
	}
	l.consistent(m)
}

func TestCopyAndMove(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		move       bool
		toID, to   string
		open       bool // the other folder is open too
		uids       []storage.UID
		from, dest string // what is then in the two folders; the same one if dest is INBOX of ann
		copied     string
	}{
		{"copy", false, "ann", "Sent", false, []storage.UID{1, 2}, "1() 2(FS)a 3(T)", "1(D)a 2() 3(FS)b", "[1 2] [2 3]"},
		{"copy to an open folder", false, "ann", "Sent", true, []storage.UID{1, 2}, "1() 2(FS)a 3(T)", "1(D)a 2() 3(FS)b", "[1 2] [2 3]"},
		{"copy what is partly gone", false, "ann", "Sent", true, []storage.UID{2, 9}, "1() 2(FS)a 3(T)", "1(D)a 2(FS)b", "[2] [2]"},
		{"copy nothing", false, "ann", "Sent", false, nil, "1() 2(FS)a 3(T)", "1(D)a", "[] []"},
		{"copy to the same folder", false, "ann", "INBOX", true, []storage.UID{2}, "1() 2(FS)a 3(T) 4(FS)a", "", "[2] [4]"},
		{"copy to another home", false, "bob", "INBOX", false, []storage.UID{3}, "1() 2(FS)a 3(T)", "1(T)", "[3] [1]"},
		{"move", true, "ann", "Sent", true, []storage.UID{1, 3}, "2(FS)a", "1(D)a 2() 3(T)", "[1 3] [2 3]"},
		{"move to a closed folder", true, "ann", "Sent", false, []storage.UID{2}, "1() 3(T)", "1(D)a 2(FS)b", "[2] [2]"},
		{"move to the same folder", true, "ann", "INBOX", true, []storage.UID{1}, "2(FS)a 3(T) 4()", "", "[1] [4]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			date := time.Unix(1_000_000_000, 0)
			l.append("ann", "INBOX", "one", AppendOptions{Date: date})
			l.append("ann", "INBOX", "two", AppendOptions{Date: date, Flags: storage.Seen | storage.Flagged, Keywords: []string{"work"}})
			l.append("ann", "INBOX", "three", AppendOptions{Date: date, Flags: storage.Trashed})
			l.append("ann", "Sent", "first", AppendOptions{Flags: storage.Draft, Keywords: []string{"other"}})
			m, dest := l.mailbox("ann", "INBOX"), l.home(tt.toID)
			var other *Mailbox
			if tt.open {
				other = l.mailbox(tt.toID, tt.to)
			}
			f := m.Copy
			if tt.move {
				f = m.Move
			}
			done, err := f(t.Context(), tt.uids, dest, tt.to, storage.Quota{})
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(done.From, done.To); got != tt.copied {
				t.Errorf("copied %s; want %s", got, tt.copied)
			}
			if other == nil {
				other = l.mailbox(tt.toID, tt.to)
			}
			if done.UIDValidity != other.UIDValidity() {
				t.Errorf("UIDVALIDITY = %d; want %d", done.UIDValidity, other.UIDValidity())
			}
			if got := letters(m.View()); got != tt.from {
				t.Errorf("INBOX = %q; want %q", got, tt.from)
			}
			if got := letters(other.View()); tt.dest != "" && got != tt.dest {
				t.Errorf("%s = %q; want %q", tt.to, got, tt.dest)
			}
			for _, uid := range done.To {
				i, _ := other.View().Find(uid)
				if got := other.View().At(i).Date; !got.Equal(date) {
					t.Errorf("date of the copy = %v; want %v", got, date)
				}
			}
			l.consistent(m)
			l.consistent(other)
		})
	}
}

// letters is brief with the letters of the keywords.
func letters(v *View) string {
	var list []string
	for _, m := range v.All() {
		_, keywords, _ := strings.Cut(maildir.Info{Keywords: m.Keywords}.File(""), "2,")
		list = append(list, fmt.Sprintf("%d%s%s", m.UID, flagNames(m.Flags), keywords))
	}
	return strings.Join(list, " ")
}

// A copy that cannot be made whole is not made at all.
func TestCopyAllOrNothing(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{true, false} {
		t.Run(fmt.Sprintf("open=%v", open), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			for i := range 3 {
				l.append("ann", "INBOX", "x", AppendOptions{Keywords: []string{fmt.Sprint("last", i)}})
			}
			sent := l.mailbox("ann", "Sent")
			uid := l.append("ann", "Sent", "x", AppendOptions{})
			for i := range maildir.MaxKeywords - 2 { // room for two of the three
				_, err := sent.Flag(t.Context(), []storage.UID{uid}, storage.AddFlags, 0, []string{fmt.Sprint("k", i)}, 0)
				l.must(err)
			}
			want := brief(sent.View())
			if !open {
				sent.Close()
				sent.box.close(false)
			}
			m := l.mailbox("ann", "INBOX")
			if _, err := m.Copy(t.Context(), []storage.UID{1, 2, 3}, l.home("ann"), "Sent", storage.Quota{}); !errors.Is(err, storage.ErrKeywords) {
				t.Fatalf("Copy: %v; want %v", err, storage.ErrKeywords)
			}
			sent = l.mailbox("ann", "Sent")
			if got := brief(sent.View()); got != want {
				t.Errorf("Sent = %q; want %q", got, want)
			}
			l.consistent(sent)
			if got, want := l.append("ann", "Sent", "y", AppendOptions{}), storage.UID(4); got != want {
				t.Errorf("the next UID = %d; want %d: UIDs once given out are burnt", got, want)
			}
		})
	}
}

func TestQuota(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := l.home("ann")
	l.append("ann", "INBOX", "12345", AppendOptions{})
	l.append("ann", "Sent", "12345", AppendOptions{Flags: storage.Seen})
	tests := []struct {
		name  string
		limit storage.Quota
		size  int64
		err   error
	}{
		{"none", storage.Quota{}, 1 << 40, nil},
		{"octets fit exactly", storage.Quota{Bytes: 15}, 5, nil},
		{"one octet too many", storage.Quota{Bytes: 15}, 6, storage.ErrOverQuota},
		{"messages fit exactly", storage.Quota{Messages: 3}, 5, nil},
		{"one message too many", storage.Quota{Messages: 2}, 5, storage.ErrOverQuota},
		{"both, one exceeded", storage.Quota{Bytes: 100, Messages: 2}, 5, storage.ErrOverQuota},
	}
	for _, tt := range tests {
		if err := h.CheckQuota(t.Context(), tt.limit, tt.size); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.err)
		}
	}
}

// The usage is what is in the files, whoever put it there and whether folders are open or not.
func TestUsage(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := l.home("ann")
	check := func(when string, bytes, messages int64) {
		t.Helper()
		got, err := h.Usage(t.Context())
		if want := (storage.Quota{Bytes: bytes, Messages: messages}); got != want || err != nil {
			t.Errorf("%s: %+v, %v; want %+v", when, got, err, want)
		}
	}
	check("empty", 0, 0)
	l.append("ann", "INBOX", "12345", AppendOptions{})
	l.append("ann", "INBOX", "1234", AppendOptions{Flags: storage.Seen})
	check("two messages, folder closed", 9, 2)
	m := l.mailbox("ann", "INBOX")
	check("folder open", 9, 2)
	if _, err := m.Copy(t.Context(), []storage.UID{1}, h, "Sent", storage.Quota{}); err != nil {
		t.Fatal(err)
	}
	check("one copied", 14, 3)
	l.must(m.Expunge(t.Context(), []storage.UID{2}))
	check("one expunged", 10, 2)
	l.drop("ann", "Sent", maildir.New, "1.x.host", "123")
	l.drop("ann", "INBOX", maildir.New, "1.x.host,S=3", "123")
	check("two by others", 16, 4)
	m.Close()
	l.reopen()
	h = l.home("ann")
	check("after a restart", 16, 4)
	l.must(h.Delete(t.Context(), "Sent"))
	check("a folder deleted", 8, 2)
	l.must(h.Create(t.Context(), "x", ""))
	l.append("ann", "x", "1", AppendOptions{})
	check("a folder created", 9, 3)
	l.must(h.Rename(t.Context(), "x", "y"))
	check("a folder renamed", 9, 3)
	l.must(os.RemoveAll(l.dir("ann", "INBOX").File("new")))
	l.must(os.Mkdir(l.dir("ann", "INBOX").File("new"), 0o700))
	l.reopen()
	h = l.home("ann")
	check("new emptied", 1, 1)
}

// A quota is not exceeded by many at a time, and is used to the last message.
func TestQuotaConcurrently(t *testing.T) {
	t.Parallel()
	const limit, senders = 20, 30
	for _, open := range []bool{true, false} {
		t.Run(fmt.Sprintf("open=%v", open), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			h, st := l.home("ann"), l.stage("x")
			if open {
				l.mailbox("ann", "INBOX")
			}
			var group sync.WaitGroup
			var mu sync.Mutex
			stored := 0
			for i := range senders {
				group.Go(func() {
					folder := []string{"INBOX", "Sent"}[i%2]
					_, err := h.Append(t.Context(), folder, st, AppendOptions{Quota: storage.Quota{Messages: limit}})
					if err != nil && !errors.Is(err, storage.ErrOverQuota) {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						stored++
					}
				})
			}
			group.Wait()
			if stored != limit {
				t.Errorf("stored %d; want %d", stored, limit)
			}
			m := l.mailbox("ann", "INBOX")
			l.must(m.Expunge(t.Context(), uids(m.View())[:1]))
			if _, err := h.Append(t.Context(), "INBOX", st, AppendOptions{Quota: storage.Quota{Messages: limit}}); err != nil {
				t.Errorf("after an expunge: %v", err)
			}
			// Others have made room, which nobody has told us.
			sent := l.dir("ann", "Sent")
			l.must(os.Remove(sent.Path(maildir.New, l.files("ann", "Sent", maildir.New)[0])))
			if _, err := h.Append(t.Context(), "INBOX", st, AppendOptions{Quota: storage.Quota{Messages: limit}}); err != nil {
				t.Errorf("after a removal by another program: %v", err)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := l.home("ann")
	l.append("ann", "INBOX", "1\r\n", AppendOptions{})
	l.append("ann", "INBOX", "12\r\n", AppendOptions{Flags: storage.Seen | storage.Trashed})
	l.append("ann", "INBOX", "123\r\n", AppendOptions{Flags: storage.Trashed})
	check := func(when string, want Status) {
		t.Helper()
		got, err := h.Status(t.Context(), "INBOX")
		want.UIDValidity, want.HighestModSeq = got.UIDValidity, got.HighestModSeq
		if got != want || got.UIDValidity == 0 || got.HighestModSeq == 0 || err != nil {
			t.Errorf("%s: %+v, %v; want %+v", when, got, err, want)
		}
	}
	want := Status{Messages: 3, Unseen: 2, Deleted: 2, UIDNext: 4, Size: 12}
	check("never opened", want)
	l.reopen()
	h = l.home("ann")
	check("after a restart", want)
	m := l.mailbox("ann", "INBOX")
	l.must(m.Expunge(t.Context(), []storage.UID{3}))
	want = Status{Messages: 2, Unseen: 1, Deleted: 1, UIDNext: 4, Size: 7}
	check("open", want)
	l.drop("ann", "INBOX", maildir.New, "1.x.host", "x\n")
	want = Status{Messages: 3, Unseen: 2, Deleted: 1, UIDNext: 5, Size: 10}
	check("a stranger's delivery", want)
	m.Close()
	m.box.close(false)
	l.append("ann", "INBOX", "x", AppendOptions{})
	want = Status{Messages: 4, Unseen: 3, Deleted: 1, UIDNext: 6, Size: 11}
	check("our delivery while closed", want)
	if _, err := h.Status(t.Context(), "x"); !errors.Is(err, storage.ErrNoMailbox) {
		t.Errorf("no such folder: %v; want %v", err, storage.ErrNoMailbox)
	}
}

// Sessions, deliveries, copies and renames of folders at the same time; for the race detector, and in the end all adds up.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.opts.Idle, l.opts.Kept = 5*time.Millisecond, 1 // mailboxes are closed all the time
	l.reopen()
	h, st := l.home("ann"), l.stage("hello\r\n")
	l.must(h.Create(t.Context(), "x", ""))
	var group sync.WaitGroup
	repeat := func(f func(i int) error) {
		group.Go(func() {
			for i := range 40 {
				if err := f(i); err != nil && !errors.Is(err, storage.ErrNoMailbox) {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		repeat(func(int) error {
			_, err := h.Append(t.Context(), "INBOX", st, AppendOptions{Quota: storage.Quota{Messages: 1000}})
			return err
		})
		repeat(func(i int) error { return oneSession(t, h, i) })
	}
	repeat(func(int) error { return errors.Join(h.Rename(t.Context(), "x", "y"), h.Rename(t.Context(), "y", "x")) })
	repeat(func(int) error { _, err := h.Folders(t.Context()); return err })
	repeat(func(int) error { _, err := h.Status(t.Context(), "INBOX"); return err })
	repeat(func(int) error { _, err := h.Usage(t.Context()); return err })
	group.Wait()
	used := storage.Quota{}
	for _, folder := range []string{"INBOX", "x", "Trash"} {
		m := l.mailbox("ann", folder)
		l.consistent(m)
		used.Messages += int64(m.View().Len())
		used.Bytes += 6 * int64(m.View().Len())
	}
	if got, err := h.Usage(t.Context()); got != used || err != nil {
		t.Errorf("usage = %+v, %v; want %+v", got, err, used)
	}
}

func oneSession(t *testing.T, h *Home, i int) error {
	m, err := h.Open(t.Context(), "INBOX")
	if err != nil {
		return err
	}
	defer m.Close()
	w := m.Watch()
	defer w.Close()
	all := uids(m.View())
	if len(all) == 0 {
		return nil
	}
	uid := all[i%len(all)]
	if _, err := m.Flag(t.Context(), []storage.UID{uid}, storage.AddFlags, storage.Seen, []string{fmt.Sprint("k", i%5)}, 0); err != nil {
		return err
	}
	f, _, err := m.Message(t.Context(), uid)
	if err == nil {
		_, err = io.Copy(io.Discard, f)
		f.Close()
	}
	if err != nil && !errors.Is(err, storage.ErrNoMessage) {
		return err
	}
	if _, err := m.Copy(t.Context(), []storage.UID{uid}, h, "Trash", storage.Quota{}); err != nil {
		return err
	}
	if _, err = m.Move(t.Context(), []storage.UID{uid}, h, []string{"x", "INBOX"}[i%2], storage.Quota{}); err != nil {
		return err
	}
	return m.Refresh(t.Context())
}
