package mailbox

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// A lab is a store in a temporary folder that can be closed and opened again.
type lab struct {
	t     testing.TB
	opts  Options
	store *Store
}

func newLab(t testing.TB) *lab {
	t.Helper()
	dir := t.TempDir()
	l := &lab{t: t, opts: Options{Homes: filepath.Join(dir, "homes"), Cache: filepath.Join(dir, "cache"), Node: "node1", Idle: time.Hour}}
	l.open()
	t.Cleanup(func() { l.store.Close() })
	return l
}

func (l *lab) open() {
	l.t.Helper()
	store, err := Open(l.opts)
	if err != nil {
		l.t.Fatal(err)
	}
	l.store = store
}

func (l *lab) reopen() {
	l.t.Helper()
	if err := l.store.Close(); err != nil {
		l.t.Fatal(err)
	}
	l.open()
}

func (l *lab) home(id string) *Home {
	l.t.Helper()
	h, err := l.store.Home(id)
	if err != nil {
		l.t.Fatal(err)
	}
	return h
}

func (l *lab) mailbox(id, folder string) *Mailbox {
	l.t.Helper()
	m, err := l.home(id).Open(l.t.Context(), folder)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(m.Close)
	return m
}

func (l *lab) dir(id, folder string) maildir.Dir {
	l.t.Helper()
	sub, err := maildir.FolderDir(folder, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	return maildir.Dir(filepath.Join(l.opts.Homes, id, "Maildir", sub))
}

func (l *lab) stage(text string) *Staged {
	l.t.Helper()
	st, err := l.store.Stage()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(st.Discard)
	if _, err := st.Write([]byte(text)); err != nil {
		l.t.Fatal(err)
	}
	if err := st.Seal(); err != nil {
		l.t.Fatal(err)
	}
	return st
}

func (l *lab) append(id, folder, text string, o AppendOptions) storage.UID {
	l.t.Helper()
	st := l.stage(text)
	done, err := l.home(id).Append(l.t.Context(), folder, st, o)
	if err != nil {
		l.t.Fatal(err)
	}
	st.Discard()
	return done.UID
}

// drop files a message as another program would.
func (l *lab) drop(id, folder string, sub maildir.Sub, file, text string) {
	l.t.Helper()
	dir := l.dir(id, folder)
	temp := filepath.Join(dir.Tmp(), file)
	if err := os.WriteFile(temp, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Rename(temp, dir.Path(sub, file)); err != nil {
		l.t.Fatal(err)
	}
}

// files lists a directory in UID order.
func (l *lab) files(id, folder string, sub maildir.Sub) []string {
	l.t.Helper()
	files, err := l.dir(id, folder).Scan(sub)
	if err != nil {
		l.t.Fatal(err)
	}
	slices.SortFunc(files, func(a, b string) int {
		return cmp.Or(cmp.Compare(maildir.ParseName(a).UID, maildir.ParseName(b).UID), strings.Compare(a, b))
	})
	return files
}

// show is what FETCH 1:* (UID FLAGS INTERNALDATE) would show.
func show(v *View) string {
	var b strings.Builder
	fmt.Fprintf(&b, "UIDVALIDITY %d\n", v.UIDValidity)
	for i, m := range v.All() {
		fmt.Fprintf(&b, "%d UID %d FLAGS %s", i+1, m.UID, flagNames(m.Flags))
		for k, name := range v.Keywords {
			if m.Keywords&(1<<k) != 0 {
				fmt.Fprintf(&b, " %s", name)
			}
		}
		fmt.Fprintf(&b, " SIZE %d/%d DATE %d\n", m.Size, m.WireSize, m.Date.Unix())
	}
	return b.String()
}

func flagNames(f storage.Flags) string {
	_, info, _ := strings.Cut(maildir.Info{Flags: f}.File(""), "2,")
	return "(" + info + ")"
}

// uids lists the UIDs of a view.
func uids(v *View) []storage.UID {
	var list []storage.UID
	for _, m := range v.All() {
		list = append(list, m.UID)
	}
	return list
}

// await waits until the view fulfils cond, woken by the watch.
func await(t testing.TB, m *Mailbox, w *Watch, what string, cond func(*View) bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !cond(m.View()) {
		select {
		case <-w.C:
		case <-deadline:
			t.Fatalf("%s: not within 10 s; the view is\n%s", what, show(m.View()))
		}
	}
}
