package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// What other programs may do to a Maildir, and what is to be seen of it. Each row is tried on a mailbox that is open and
// watched, one that is open and not watched, and one that is closed meanwhile, whose index is there or lost.
func TestForeignPrograms(t *testing.T) {
	t.Parallel()
	// The mailbox has UID 1 in new, UID 2 in cur with \Seen; UID 3 was expunged.
	tests := []struct {
		name string
		do   func(l *lab, dir maildir.Dir, one, two string)
		want string // UIDs and flags
	}{
		{"nothing", func(*lab, maildir.Dir, string, string) {}, "1() 2(S)"},
		{"delivers to new", func(l *lab, _ maildir.Dir, _, _ string) {
			l.drop("ann", "INBOX", maildir.New, "1700000000.x.host", "hello\n")
		}, "1() 2(S) 4()"},
		{"delivers to cur with flags", func(l *lab, _ maildir.Dir, _, _ string) {
			l.drop("ann", "INBOX", maildir.Cur, "1700000000.x.host,S=6,W=7:2,FRS", "hello\n")
		}, "1() 2(S) 4(FRS)"},
		{"delivers with a UID of its own", func(l *lab, _ maildir.Dir, _, _ string) {
			l.drop("ann", "INBOX", maildir.New, "1700000000.x.host,U=77", "hello\n")
		}, "1() 2(S) 4()"},
		{"delivers with the UID of another folder", func(l *lab, _ maildir.Dir, _, _ string) {
			l.drop("ann", "INBOX", maildir.Cur, "1700000000.x.host,I=1.2:2,", "hello\n")
		}, "1() 2(S) 4()"},
		{"delivers under a very long name", func(l *lab, _ maildir.Dir, _, _ string) {
			l.drop("ann", "INBOX", maildir.Cur, "1700000000."+strings.Repeat("x", 230)+":2,F", "hello\n")
		}, "1() 2(S) 4(F)"},
		{"delivers under a name without a unique part", func(l *lab, _ maildir.Dir, _, _ string) {
			l.drop("ann", "INBOX", maildir.Cur, ":2,F", "hello\n")
		}, "1() 2(S) 4(F)"},
		{"leaves an empty file", func(l *lab, _ maildir.Dir, _, _ string) {
			l.drop("ann", "INBOX", maildir.New, "1700000000.empty.host", "")
		}, "1() 2(S) 4()"},
		{"leaves a huge file", func(l *lab, dir maildir.Dir, _, _ string) {
			temp := filepath.Join(dir.Tmp(), "huge")
			l.must(os.WriteFile(temp, nil, 0o600))
			l.must(os.Truncate(temp, 100<<20)) // takes no room
			l.must(os.Rename(temp, dir.Path(maildir.New, "1700000000.huge.host")))
		}, "1() 2(S) 4()"},
		{"leaves a hidden file", func(l *lab, dir maildir.Dir, _, _ string) {
			l.must(os.WriteFile(dir.Path(maildir.New, ".hidden"), []byte("x"), 0o600))
		}, "1() 2(S)"},
		{"leaves a folder and a symbolic link", func(l *lab, dir maildir.Dir, _, two string) {
			l.must(os.Mkdir(dir.Path(maildir.Cur, "folder"), 0o700))
			l.must(os.Symlink(dir.Path(maildir.Cur, two), dir.Path(maildir.Cur, "link:2,")))
		}, "1() 2(S)"},
		{"takes a message from new", func(l *lab, dir maildir.Dir, one, _ string) {
			l.must(os.Rename(dir.Path(maildir.New, one), dir.Path(maildir.Cur, one+":2,")))
		}, "1() 2(S)"},
		{"flags a message in new", func(l *lab, dir maildir.Dir, one, _ string) {
			l.must(os.Rename(dir.Path(maildir.New, one), dir.Path(maildir.Cur, one+":2,RS")))
		}, "1(RS) 2(S)"},
		{"clears the flags", func(l *lab, dir maildir.Dir, _, two string) {
			l.must(os.Rename(dir.Path(maildir.Cur, two), dir.Path(maildir.Cur, strings.TrimSuffix(two, "S"))))
		}, "1() 2()"},
		{"adds a field to the name", func(l *lab, dir maildir.Dir, one, _ string) {
			l.must(os.Rename(dir.Path(maildir.New, one), dir.Path(maildir.New, one+",U=5")))
		}, "1() 2(S)"},
		{"drops our field from the name", func(l *lab, dir maildir.Dir, _, two string) {
			unique, _, _ := strings.Cut(two, ",")
			l.must(os.Rename(dir.Path(maildir.Cur, two), dir.Path(maildir.Cur, unique+":2,S")))
		}, "1() 4(S)"},
		{"deletes a message", func(l *lab, dir maildir.Dir, one, _ string) {
			l.must(os.Remove(dir.Path(maildir.New, one)))
		}, "2(S)"},
		{"deletes all", func(l *lab, dir maildir.Dir, one, two string) {
			l.must(os.Remove(dir.Path(maildir.New, one)))
			l.must(os.Remove(dir.Path(maildir.Cur, two)))
		}, ""},
		{"copies a message beside itself", func(l *lab, dir maildir.Dir, _, two string) {
			unique, rest, _ := strings.Cut(two, ",")
			l.drop("ann", "INBOX", maildir.Cur, unique+"copy,"+strings.Replace(rest, ":2,S", ":2,T", 1), "two\n")
		}, "1() 2(S) 4(T)"},
		{"copies a message from new to cur under the same name", func(l *lab, dir maildir.Dir, one, _ string) {
			l.drop("ann", "INBOX", maildir.Cur, one+":2,", "one\n")
		}, "1() 2(S) 4()"},
		{"leaves a name that the next numbered message would get", func(l *lab, _ maildir.Dir, _, two string) {
			_, id, _ := strings.Cut(two, ",S=4,W=5,I=")
			validity, _, _ := strings.Cut(id, ".")
			l.drop("ann", "INBOX", maildir.Cur, "0.x,S=4,W=5,I="+validity+".4:2,", "aaa\n")
			l.drop("ann", "INBOX", maildir.Cur, "0.x,I="+validity+".900:2,", "bbb\n")
		}, "1() 2(S) 4() 5()"},
		{"brings back what was expunged", func(l *lab, _ maildir.Dir, _, two string) {
			l.drop("ann", "INBOX", maildir.Cur, strings.Replace(two, ".2:2,", ".3:2,", 1), "two\n")
		}, "1() 2(S) 4(S)"},
		{"claims a UID that was never given out", func(l *lab, _ maildir.Dir, _, two string) {
			l.drop("ann", "INBOX", maildir.Cur, strings.Replace(two, ".2:2,", ".400:2,", 1), "two\n")
		}, "1() 2(S) 4(S)"},
	}
	for _, tt := range tests {
		for _, how := range []string{"watched", "unwatched", "closed", "index lost"} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				if how == "unwatched" { // as where the system has no watches to give
					l.must(l.store.notifier.Close())
					l.store.notifier = nil
				}
				for i, o := range []AppendOptions{{}, {Flags: storage.Seen}, {}} {
					l.append("ann", "INBOX", []string{"one\r\n", "two\r\n", "three\r\n"}[i], o)
				}
				m := l.mailbox("ann", "INBOX")
				l.must(m.Expunge(t.Context(), []storage.UID{3}))
				closed := how == "closed" || how == "index lost"
				if closed {
					m.Close()
					l.must(l.store.Close())
				}
				dir := l.dir("ann", "INBOX")
				tt.do(l, dir, l.files("ann", "INBOX", maildir.New)[0], l.files("ann", "INBOX", maildir.Cur)[0])
				if how == "index lost" {
					l.must(os.RemoveAll(l.opts.Cache))
				}
				if closed {
					l.open()
					m = l.mailbox("ann", "INBOX")
				}
				l.must(m.Refresh(t.Context()))
				want := tt.want
				if how == "index lost" && tt.name == "brings back what was expunged" {
					want = "1() 2(S) 3(S)" // nobody is left who knows
				}
				if got := brief(m.View()); got != want {
					t.Errorf("got %q; want %q", got, want)
				}
				l.consistent(m)
				// What was seen stays, with the same UIDs, whoever looks next.
				again := show(m.View())
				m.Close()
				l.reopen()
				if got := show(l.mailbox("ann", "INBOX").View()); got != again {
					t.Errorf("after another start got\n%swant\n%s", got, again)
				}
			})
		}
	}
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func brief(v *View) string {
	var list []string
	for _, m := range v.All() {
		list = append(list, fmt.Sprintf("%d%s", m.UID, flagNames(m.Flags)))
	}
	return strings.Join(list, " ")
}

// consistent checks the view against the files: each message can be read and is as large as it is said to be, and no file
// is left over.
func (l *lab) consistent(m *Mailbox) {
	l.t.Helper()
	v := m.View()
	var known []string
	for i, msg := range v.All() {
		f, _, err := m.Message(l.t.Context(), msg.UID)
		if err != nil {
			l.t.Errorf("UID %d: %v", msg.UID, err)
			continue
		}
		size, wire, err := maildir.WireSize(f)
		f.Close()
		if size != msg.Size || wire != msg.WireSize || err != nil {
			l.t.Errorf("UID %d has %d, %d octets, %v; want %d, %d", msg.UID, size, wire, err, msg.Size, msg.WireSize)
		}
		known = append(known, v.row(i).File)
	}
	var files []string
	for _, sub := range maildir.Subs {
		found, err := m.box.dir.Scan(sub)
		if err != nil {
			l.t.Fatal(err)
		}
		files = append(files, found...)
	}
	slices.Sort(known)
	slices.Sort(files)
	if !slices.Equal(known, files) {
		l.t.Errorf("files\n%s\nwant\n%s", strings.Join(files, "\n"), strings.Join(known, "\n"))
	}
}

// An open mailbox notices what others do without being asked.
func TestForeignDeliveryPulses(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	m := l.mailbox("ann", "INBOX")
	w := m.Watch()
	defer w.Close()
	l.drop("ann", "INBOX", maildir.New, "1700000000.x.host", "hello\n")
	await(t, m, w, "a delivery", func(v *View) bool { return v.Len() == 1 })
	file := l.files("ann", "INBOX", maildir.New)[0]
	dir := l.dir("ann", "INBOX")
	l.must(os.Rename(dir.Path(maildir.New, file), dir.Path(maildir.Cur, file+":2,S")))
	await(t, m, w, "a flag", func(v *View) bool { return v.At(0).Flags == storage.Seen })
	l.must(os.Remove(dir.Path(maildir.Cur, file+":2,S")))
	await(t, m, w, "a removal", func(v *View) bool { return v.Len() == 0 })
}

// Where the system watches nothing, mailboxes that somebody waits for are polled.
func TestForeignDeliveryIsPolled(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.opts.Idle = 4 * time.Millisecond
	l.reopen()
	l.must(l.store.notifier.Close()) // mailboxes cannot be watched any more
	m := l.mailbox("ann", "INBOX")
	w := m.Watch()
	defer w.Close()
	l.drop("ann", "INBOX", maildir.New, "1700000000.x.host", "hello\n")
	await(t, m, w, "a delivery", func(v *View) bool { return v.Len() == 1 })
}

// A link made beside the old name, as a move by link and unlink does for a moment, is not a second message.
func TestSecondNameOfOneFile(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.append("ann", "INBOX", "one", AppendOptions{})
	m := l.mailbox("ann", "INBOX")
	file, dir := l.files("ann", "INBOX", maildir.New)[0], l.dir("ann", "INBOX")
	l.must(os.Link(dir.Path(maildir.New, file), dir.Path(maildir.Cur, file+":2,S")))
	l.must(m.Refresh(t.Context()))
	if got, want := brief(m.View()), "1()"; got != want {
		t.Errorf("with two names: %q; want %q", got, want)
	}
	l.must(os.Remove(dir.Path(maildir.New, file)))
	l.must(m.Refresh(t.Context()))
	if got, want := brief(m.View()), "1(S)"; got != want {
		t.Errorf("with the second name: %q; want %q", got, want)
	}
}

// Operations on messages that another program has just renamed or removed find them, or pass over them, even when the
// kernel has told nothing yet.
func TestOperationsBehindForeignBacks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		op   func(m *Mailbox, h *Home) error
		want string
	}{
		{"Flag", func(m *Mailbox, _ *Home) error {
			_, err := m.Flag(context.Background(), []storage.UID{1, 2}, storage.AddFlags, storage.Answered, nil, 0)
			return err
		}, "1(FR) 3()"},
		{"Expunge", func(m *Mailbox, _ *Home) error {
			return m.Expunge(context.Background(), []storage.UID{1, 2})
		}, "3()"},
		{"Copy", func(m *Mailbox, h *Home) error {
			done, err := m.Copy(context.Background(), []storage.UID{1, 2}, h, "Sent", storage.Quota{})
			if err == nil && len(done.To) != 1 {
				err = fmt.Errorf("copied %v", done.From)
			}
			return err
		}, "1(F) 3()"},
		{"Move", func(m *Mailbox, h *Home) error {
			_, err := m.Move(context.Background(), []storage.UID{1, 2}, h, "Sent", storage.Quota{})
			return err
		}, "3()"},
		{"Message", func(m *Mailbox, _ *Home) error {
			f, _, err := m.Message(context.Background(), 1)
			if err != nil {
				return err
			}
			defer f.Close()
			if data, err := io.ReadAll(f); string(data) != "one" || err != nil {
				return fmt.Errorf("read %q, %v", data, err)
			}
			if _, _, err = m.Message(context.Background(), 2); !errors.Is(err, storage.ErrNoMessage) {
				return fmt.Errorf("message 2: %v; want %v", err, storage.ErrNoMessage)
			}
			return nil
		}, "1(F) 3()"},
	}
	for _, tt := range tests {
		for _, watched := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/watched=%v", tt.name, watched), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				for _, text := range []string{"one", "two", "three"} {
					l.append("ann", "INBOX", text, AppendOptions{})
				}
				m := l.mailbox("ann", "INBOX")
				if !watched {
					l.must(m.box.do(t.Context(), func(tx *tx) error {
						for _, id := range tx.actor.watchIDs {
							l.store.notifier.Forget(id)
						}
						return nil
					}))
				}
				files, dir := l.files("ann", "INBOX", maildir.New), l.dir("ann", "INBOX")
				l.must(os.Rename(dir.Path(maildir.New, files[0]), dir.Path(maildir.Cur, files[0]+":2,F")))
				l.must(os.Remove(dir.Path(maildir.New, files[1])))
				l.must(tt.op(m, l.home("ann")))
				l.must(m.box.do(t.Context(), (*tx).scanAll))
				if got := brief(m.View()); got != tt.want {
					t.Errorf("got %q; want %q", got, tt.want)
				}
				l.consistent(m)
			})
		}
	}
}

// Many deliveries and renames by others while sessions work: in the end the view is what the files are.
func TestForeignStorm(t *testing.T) {
	t.Parallel()
	const n = 300
	l := newLab(t)
	m := l.mailbox("ann", "INBOX")
	done := make(chan error, 1)
	dir := l.dir("ann", "INBOX")
	go func() { done <- storm(dir, n) }()
	for range 50 {
		l.append("ann", "INBOX", "ours", AppendOptions{})
		if _, err := m.Flag(t.Context(), uids(m.View()), storage.AddFlags, storage.Answered, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	l.must(<-done)
	w := m.Watch()
	defer w.Close()
	l.must(m.Refresh(t.Context()))
	await(t, m, w, "the storm is over", func(v *View) bool { return v.Len() == n+50 })
	l.consistent(m)
	all := uids(m.View())
	if !slices.IsSorted(all) || len(slices.Compact(all)) != n+50 {
		t.Errorf("UIDs %v are not in order", all)
	}
}

// storm delivers n messages and flags what it finds, as a mail reader on the same Maildir would.
func storm(dir maildir.Dir, n int) error {
	for i := range n {
		name := fmt.Sprintf("%d.x%d.host", time.Now().Unix(), i)
		if err := os.WriteFile(dir.Tmp()+"/"+name, []byte("hello\n"), 0o600); err != nil {
			return err
		}
		if err := os.Rename(dir.Tmp()+"/"+name, dir.Path(maildir.New, name)); err != nil {
			return err
		}
		files, err := dir.Scan(maildir.New)
		if err != nil {
			return err
		}
		for _, file := range files {
			// Whoever comes second finds the name gone.
			if err := os.Rename(dir.Path(maildir.New, file), dir.Path(maildir.Cur, file+":2,S")); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
