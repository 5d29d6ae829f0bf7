package mailbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

func TestHomeIDs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, id string
		err      error
	}{
		{"plain", "ann", nil},
		{"every character", "m-0_A.z@example.org", nil},
		{"128 octets", strings.Repeat("x", 128), nil},
		{"129 octets", strings.Repeat("x", 129), storage.ErrBadName},
		{"empty", "", storage.ErrBadName},
		{"hidden", ".staging", storage.ErrBadName},
		{"parent", "..", storage.ErrBadName},
		{"slash", "a/b", storage.ErrBadName},
		{"zero octet", "a\x00", storage.ErrBadName},
		{"not ASCII", "ä", storage.ErrBadName},
	}
	l := newLab(t)
	for _, tt := range tests {
		if _, err := l.store.Home(tt.id); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.err)
		}
	}
}

// list is LIST "" "*" with everything that belongs to it.
func list(t *testing.T, h *Home) string {
	t.Helper()
	folders, err := h.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range folders {
		line := f.Name + f.SpecialUse
		for _, mark := range []struct {
			on   bool
			text string
		}{{f.Subscribed, " sub"}, {f.NoSelect, " noselect"}, {f.Children, " children"}} {
			if mark.on {
				line += mark.text
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

const freshList = "INBOX\nArchive\\Archive\nDrafts\\Drafts\nJunk\\Junk\nSent\\Sent\nTrash\\Trash"

func TestNewHome(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	if got := list(t, l.home("ann")); got != freshList {
		t.Errorf("got\n%s\nwant\n%s", got, freshList)
	}
	err := filepath.WalkDir(l.opts.Homes, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s has mode %v; want %v", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A Maildir that another server has left gets the folders it lacks, once; what its owner deletes later stays deleted.
func TestAdoptedHome(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	inbox := l.dir("ann", "INBOX")
	l.must(os.MkdirAll(string(inbox), 0o700))
	l.must(inbox.Make())
	l.must(maildir.Dir(inbox.File(".Sent")).Make())
	l.drop("ann", "INBOX", maildir.Cur, "1.x.host,S=3,W=4:2,S", "hi\n")
	h := l.home("ann")
	if got := list(t, h); got != freshList {
		t.Errorf("got\n%s\nwant\n%s", got, freshList)
	}
	if got, want := brief(l.mailbox("ann", "INBOX").View()), "1(S)"; got != want {
		t.Errorf("INBOX = %q; want %q", got, want)
	}
	l.must(h.Delete(t.Context(), "Archive"))
	l.reopen()
	if got, want := list(t, l.home("ann")), strings.Replace(freshList, "\nArchive\\Archive", "", 1); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFolderOperations(t *testing.T) {
	t.Parallel()
	create := func(name, use string) func(*testing.T, *Home) error {
		return func(t *testing.T, h *Home) error { return h.Create(t.Context(), name, use) }
	}
	remove := func(name string) func(*testing.T, *Home) error {
		return func(t *testing.T, h *Home) error { return h.Delete(t.Context(), name) }
	}
	rename := func(from, to string) func(*testing.T, *Home) error {
		return func(t *testing.T, h *Home) error { return h.Rename(t.Context(), from, to) }
	}
	subscribe := func(name string, on bool) func(*testing.T, *Home) error {
		return func(t *testing.T, h *Home) error { return h.Subscribe(t.Context(), name, on) }
	}
	// The home has a, a/b, a/b/c and ab beside the folders of a new one.
	const start = "a children\na/b children\na/b/c\nab"
	tests := []struct {
		name string
		do   func(*testing.T, *Home) error
		err  error
		want string
	}{
		{"create", create("x", ""), nil, start + "\nx"},
		{"create below nothing", create("x/y", ""), nil, start + "\nx noselect children\nx/y"},
		{"create below INBOX, in any case", create("inBox/y", ""), nil, "INBOX children\nINBOX/y\n" + start},
		{"create with a special use", create("x", `\All`), nil, start + "\nx\\All"},
		{"create with letters beyond ASCII, a dot and an ampersand", create("ä.b&c", ""), nil, start + "\nä.b&c"},
		{"create what is there", create("a", ""), storage.ErrExists, start},
		{"create INBOX", create("inbox", ""), storage.ErrExists, start},
		{"create with an empty level", create("x//y", ""), storage.ErrBadName, start},
		{"create with a wildcard", create("x*", ""), storage.ErrBadName, start},
		{"create with a level of dots", create("x/../y", ""), storage.ErrBadName, start},
		{"create a dot", create("./y", ""), storage.ErrBadName, start},
		{"create three dots", create("x/...", ""), nil, start + "\nx noselect children\nx/..."},
		{"rename to a level of dots", rename("a", "x/.."), storage.ErrBadName, start},
		{"create with a control character", create("x\ny", ""), storage.ErrBadName, start},
		{"create with invalid UTF-8", create("x\xff", ""), storage.ErrBadName, start},
		{"create with a bad special use", create("x", "\\Sent\nuid 7"), storage.ErrBadName, start},
		{"create 256 octets on disk", create(strings.Repeat("x", 255), ""), storage.ErrBadName, start},
		{"create too long in modified UTF-7 only", create(strings.Repeat("ä", 100), ""), storage.ErrBadName, start},
		{"delete a leaf", remove("a/b/c"), nil, "a children\na/b\nab"},
		{"delete a level", remove("a/b"), nil, "a children\na/b noselect children\na/b/c\nab"},
		{"delete what is not there", remove("x"), storage.ErrNoMailbox, start},
		{"delete INBOX", remove("INBOX"), storage.ErrNotPermitted, start},
		{"rename a tree", rename("a", "x/y"), nil, "ab\nx noselect children\nx/y children\nx/y/b children\nx/y/b/c"},
		{"rename a leaf", rename("a/b/c", "c"), nil, "a children\na/b\nab\nc"},
		{"rename onto another", rename("a", "ab"), storage.ErrExists, start},
		{"rename below itself", rename("a", "a/x"), storage.ErrNotPermitted, start},
		{"rename onto INBOX", rename("a", "INBOX"), storage.ErrExists, start},
		{"rename what is not there", rename("x", "y"), storage.ErrNoMailbox, start},
		{"rename to a name that a child makes too long", rename("a", strings.Repeat("x", 253)), storage.ErrBadName, start},
		{"rename with a special use", rename("Sent", "x"), nil, start + "\nx\\Sent"},
		{"subscribe", subscribe("a/b", true), nil, "a children\na/b sub children\na/b/c\nab"},
		{"subscribe INBOX in small letters", subscribe("inbox", true), nil, "INBOX sub\n" + start},
		{"subscribe what is not there", subscribe("x", true), nil, start + "\nx sub noselect"},
		{"subscribe a bad name", subscribe("x//y", true), storage.ErrBadName, start},
		{"unsubscribe what was not", subscribe("a", false), nil, start},
		{"unsubscribe", func(t *testing.T, h *Home) error {
			return errors.Join(h.Subscribe(t.Context(), "a", true), h.Subscribe(t.Context(), "ab", true), h.Subscribe(t.Context(), "a", false))
		}, nil, strings.Replace(start, "ab", "ab sub", 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			h := l.home("ann")
			for _, name := range []string{"a", "a/b", "a/b/c", "ab"} {
				l.must(h.Create(t.Context(), name, ""))
			}
			if err := tt.do(t, h); !errors.Is(err, tt.err) {
				t.Errorf("got %v; want %v", err, tt.err)
			}
			for range 2 {
				got := strings.Split(list(t, l.home("ann")), "\n")
				got = slices.DeleteFunc(got, func(line string) bool { return strings.Contains("\n"+freshList+"\n", "\n"+line+"\n") })
				if strings.Join(got, "\n") != tt.want {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
				}
				l.reopen() // and once more from the disk
			}
			entries, err := os.ReadDir(filepath.Join(l.opts.Homes, stagingDir))
			if len(entries) > 0 || err != nil {
				t.Errorf("staging holds %v, %v; want nothing", entries, err)
			}
		})
	}
}

func TestFolderLimit(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.opts.Limits.Folders = 7
	l.reopen()
	h := l.home("ann") // has 6
	l.must(h.Create(t.Context(), "x", ""))
	if err := h.Create(t.Context(), "y", ""); !errors.Is(err, storage.ErrNotPermitted) {
		t.Errorf("an eighth folder: %v; want %v", err, storage.ErrNotPermitted)
	}
}

// A folder that is deleted and made anew within a second has another UIDVALIDITY, as has one that comes under the name of
// another.
func TestUIDValidity(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := l.home("ann")
	seen := map[uint32]string{}
	check := func(what string) {
		t.Helper()
		m, err := h.Open(t.Context(), "x")
		l.must(err)
		defer m.Close()
		v := m.UIDValidity()
		if v == 0 || seen[v] != "" {
			t.Errorf("UIDVALIDITY of x when %s = %d; it had that when %s", what, v, seen[v])
		}
		seen[v] = what
	}
	for i := range 3 {
		l.must(h.Create(t.Context(), "x", ""))
		check(fmt.Sprint("made ", i))
		l.append("ann", "x", "hi", AppendOptions{})
		l.must(h.Delete(t.Context(), "x"))
	}
	l.must(h.Create(t.Context(), "y", ""))
	l.must(h.Rename(t.Context(), "y", "x"))
	check("renamed")
	l.must(h.Delete(t.Context(), "x"))
	l.reopen()
	h = l.home("ann")
	l.must(h.Create(t.Context(), "x", ""))
	check("made after a restart")
}

// Renaming keeps UIDs and UIDVALIDITY, and sessions that have the folder open go on.
func TestRenameOpenFolder(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := l.home("ann")
	l.must(h.Create(t.Context(), "x", ""))
	l.append("ann", "x", "one", AppendOptions{Flags: storage.Seen})
	m := l.mailbox("ann", "x")
	want := show(m.View())
	l.must(h.Rename(t.Context(), "x", "y"))
	if got := m.Name(); got != "y" {
		t.Errorf("name = %q; want y", got)
	}
	if got := show(l.mailbox("ann", "y").View()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	w := m.Watch()
	defer w.Close()
	l.append("ann", "y", "two", AppendOptions{})
	l.drop("ann", "y", maildir.New, "1.x.host", "three")
	await(t, m, w, "ours and a stranger's", func(v *View) bool { return v.Len() == 3 })
	if _, err := m.Flag(t.Context(), []storage.UID{1, 2, 3}, storage.SetFlags, storage.Draft, nil, 0); err != nil {
		t.Error(err)
	}
	l.consistent(m)
	if _, err := h.Open(t.Context(), "x"); !errors.Is(err, storage.ErrNoMailbox) {
		t.Errorf("open of the old name: %v; want %v", err, storage.ErrNoMailbox)
	}
	last := show(m.View())
	l.reopen()
	if got := show(l.mailbox("ann", "y").View()); got != last {
		t.Errorf("after a restart got\n%swant\n%s", got, last)
	}
}

func TestRenameInbox(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.append("ann", "INBOX", "one", AppendOptions{Flags: storage.Seen, Keywords: []string{"x"}})
	l.append("ann", "INBOX", "two", AppendOptions{})
	l.must(l.home("ann").Rename(t.Context(), "inbox", "old"))
	if got := brief(l.mailbox("ann", "INBOX").View()); got != "" {
		t.Errorf("INBOX = %q; want nothing", got)
	}
	if got, want := brief(l.mailbox("ann", "old").View()), "1(S) 2()"; got != want {
		t.Errorf("old = %q; want %q", got, want)
	}
}

// Whoever has a deleted folder open keeps the view and is told at the next operation.
func TestDeleteOpenFolder(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := l.home("ann")
	l.must(h.Create(t.Context(), "x", ""))
	uid := l.append("ann", "x", "one", AppendOptions{})
	m := l.mailbox("ann", "x")
	w := m.Watch()
	defer w.Close()
	l.must(h.Delete(t.Context(), "x"))
	select {
	case <-w.C:
	default:
		t.Error("the watcher was not woken")
	}
	if got := m.View().Len(); got != 1 {
		t.Errorf("the view has %d messages; want 1", got)
	}
	for name, err := range map[string]error{
		"Refresh": m.Refresh(t.Context()),
		"Expunge": m.Expunge(t.Context(), []storage.UID{uid}),
	} {
		if !errors.Is(err, storage.ErrNoMailbox) {
			t.Errorf("%s: %v; want %v", name, err, storage.ErrNoMailbox)
		}
	}
	if _, err := os.Stat(filepath.Join(l.opts.Cache, "ann", ".x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the index is still there: %v", err)
	}
	l.must(h.Create(t.Context(), "x", ""))
	if got := l.mailbox("ann", "x").View().Len(); got != 0 {
		t.Errorf("the new folder has %d messages; want 0", got)
	}
}

// A folder that another program removed and that is made anew, or whose name another folder gets, is a new folder; who has
// the old one open is told.
func TestForeignRemovalOfOpenFolder(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"made anew", "another renamed"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			h := l.home("ann")
			l.must(h.Create(t.Context(), "x", ""))
			l.must(h.Create(t.Context(), "y", ""))
			l.append("ann", "x", "one", AppendOptions{})
			m := l.mailbox("ann", "x")
			l.must(os.RemoveAll(string(l.dir("ann", "x"))))
			if how == "made anew" {
				l.must(h.Create(t.Context(), "x", ""))
			} else {
				l.must(h.Rename(t.Context(), "y", "x"))
			}
			if err := m.Refresh(t.Context()); !errors.Is(err, storage.ErrNoMailbox) {
				t.Errorf("Refresh of the old one: %v; want %v", err, storage.ErrNoMailbox)
			}
			l.append("ann", "x", "two", AppendOptions{})
			fresh := l.mailbox("ann", "x")
			if fresh.UIDValidity() == m.UIDValidity() || brief(fresh.View()) != "1()" {
				t.Errorf("UIDVALIDITY %d after %d, messages %q; want another, 1()", fresh.UIDValidity(), m.UIDValidity(), brief(fresh.View()))
			}
			l.consistent(fresh)
		})
	}
}

// A folder whose removal a crash interrupted is removed when the home is next used, and shown to nobody.
func TestInterruptedDelete(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.home("ann")
	grave := l.dir("ann", "INBOX").File(deletedPrefix + "7")
	l.must(l.store.Close())
	l.must(maildir.Dir(grave).Make())
	l.must(os.WriteFile(grave+"/cur/x", nil, 0o600))
	l.open()
	if got := list(t, l.home("ann")); got != freshList {
		t.Errorf("got\n%s\nwant\n%s", got, freshList)
	}
	if _, err := os.Stat(grave); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// Folders made by others show when they have a name that we would have given them.
func TestForeignFolders(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, dir, want string }{
		{"plain", ".Lists.go", "Lists noselect children\nLists/go"},
		{"modified UTF-7", ".Entw&APw-rfe", "Entwürfe"},
		{"not canonical", ".&AGE-", ""},
		{"raw UTF-8", ".ü", ""},
		{"an empty level", ".a..b", ""},
		{"a second INBOX", ".inbox", ""},
		{"no dot", "folder", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			h := l.home("ann")
			l.must(maildir.Dir(l.dir("ann", "INBOX").File(tt.dir)).Make())
			l.must(os.Mkdir(l.dir("ann", "INBOX").File(".empty"), 0o700)) // no folder: it lacks new and cur
			var got []string
			for line := range strings.SplitSeq(list(t, h), "\n") {
				if !strings.Contains("\n"+freshList+"\n", "\n"+line+"\n") {
					got = append(got, line)
				}
			}
			if strings.Join(got, "\n") != tt.want {
				t.Errorf("got %q; want %q", got, tt.want)
			}
		})
	}
}
