package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newDir(t *testing.T) Dir {
	t.Helper()
	d := Dir(filepath.Join(t.TempDir(), "Maildir"))
	must(t, d.Make())
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestMake(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	must(t, os.Remove(d.Sub(New)))
	if d.Exists() {
		t.Error("a Maildir without new exists")
	}
	must(t, d.Make())
	must(t, d.Make())
	if !d.Exists() {
		t.Error("it does not exist")
	}
	for _, path := range []string{string(d), d.Tmp(), d.Sub(New), d.Sub(Cur)} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v; want mode 0700", path, info, err)
		}
	}
	write(t, d.File("file"), "")
	if err := Dir(d.File("file")).Make(); err == nil {
		t.Error("a file became a Maildir")
	}
}

func TestScan(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	var want []string
	for i := range 3000 { // more than one block of directory entries
		name := fmt.Sprintf("%d.%s", i, strings.Repeat("x", i%200))
		write(t, d.Path(Cur, name), "")
		want = append(want, name)
	}
	write(t, d.Path(Cur, ".hidden"), "")
	must(t, os.Mkdir(d.Path(Cur, "folder"), 0o700))
	must(t, os.Symlink("nowhere", d.Path(Cur, "link")))
	must(t, unix.Mkfifo(d.Path(Cur, "pipe"), 0o600))
	got, err := d.Scan(Cur)
	must(t, err)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %d names; want %d: %q", len(got), len(want), got[max(0, len(got)-3):])
	}
	must(t, os.RemoveAll(d.Sub(New)))
	if _, err := d.Scan(New); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v; want %v", err, fs.ErrNotExist)
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	write(t, d.Path(Cur, "a"), "12345")
	must(t, os.Chtimes(d.Path(Cur, "a"), time.Time{}, time.Unix(1234, 567)))
	must(t, os.Symlink("a", d.Path(Cur, "link")))
	r, err := d.Reader(Cur)
	must(t, err)
	defer r.Close()
	if got, err := r.Facts("a"); got != (Facts{5, 1234}) || err != nil {
		t.Errorf("Facts = %+v, %v; want 5, 1234", got, err)
	}
	for _, name := range []string{"nothing", "link"} {
		if _, err := r.Facts(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v; want %v", name, err, fs.ErrNotExist)
		}
	}
	must(t, unix.Mkfifo(d.Path(Cur, "pipe"), 0o600))
	must(t, os.Mkdir(d.Path(Cur, "folder"), 0o700))
	for _, name := range []string{"link", "pipe", "folder"} {
		if f, err := d.OpenFile(Cur, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a %s was opened: %v, %v", name, f, err)
		}
	}
}

func TestStamp(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	before, err := d.ReadStamp(Cur)
	must(t, err)
	if now := time.Unix(0, before.Mtime); before.Settled(now.Add(settleTime-1)) || !before.Settled(now.Add(settleTime+time.Hour)) {
		t.Error("a stamp settles before its time, or never")
	}
	if (Stamp{}).Settled(time.Now()) {
		t.Error("the zero stamp is settled")
	}
	time.Sleep(20 * time.Millisecond) // into another tick of the file system's clock
	write(t, d.Path(Cur, "a"), "")
	changed, err := d.ReadStamp(Cur)
	must(t, err)
	if changed == before {
		t.Error("a new file does not show")
	}
	// Who sets back the time of modification, as restoring a backup does, does not get through.
	must(t, os.Chtimes(d.Sub(Cur), time.Time{}, time.Unix(0, before.Mtime)))
	if back, err := d.ReadStamp(Cur); back == before || err != nil {
		t.Errorf("setting back the time hides the change: %v", err)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	for name, age := range map[string]time.Duration{"old": 2 * time.Hour, "young": 0} {
		path := filepath.Join(d.Tmp(), name)
		write(t, path, "")
		then := time.Now().Add(-age)
		must(t, os.Chtimes(path, then, then))
	}
	must(t, d.Sweep(time.Hour))
	entries, err := os.ReadDir(d.Tmp())
	if len(entries) != 1 || entries[0].Name() != "young" || err != nil {
		t.Errorf("left are %v, %v; want young", entries, err)
	}
	must(t, os.RemoveAll(d.Tmp()))
	must(t, d.Sweep(time.Hour))
}

func TestWriteFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, text := range []string{"a long text", "short", ""} {
		must(t, WriteFile(path, []byte(text)))
		if data, err := os.ReadFile(path); string(data) != text || err != nil {
			t.Errorf("read %q, %v; want %q", data, err, text)
		}
	}
	must(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	if err := WriteFile(filepath.Join(dir, "folder"), nil); err == nil {
		t.Error("a folder was replaced")
	}
	if err := WriteFile(filepath.Join(dir, "none", "file"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v; want %v", err, fs.ErrNotExist)
	}
	entries, err := os.ReadDir(dir)
	if len(entries) != 2 || err != nil {
		t.Errorf("left are %v, %v; want file and folder", entries, err)
	}
}

func TestLink(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	src := filepath.Join(t.TempDir(), "src")
	write(t, src, "hello")
	must(t, d.Link(src, New, "a"))
	if has, same := d.Same(New, "a", New, "a"); !has || !same {
		t.Errorf("Same = %v, %v", has, same)
	}
	first, err := os.Stat(src)
	must(t, err)
	second, err := os.Stat(d.Path(New, "a"))
	must(t, err)
	if !os.SameFile(first, second) {
		t.Error("it is a copy")
	}
	if err := d.Link(src, New, "a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name that is taken: %v; want %v", err, fs.ErrExist)
	}
	if err := d.Link(src+"x", New, "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no source: %v; want %v", err, fs.ErrNotExist)
	}
}

// From another file system a message is copied, with its date, and nothing is left in tmp.
func TestLinkAcrossFileSystems(t *testing.T) {
	d := newDir(t)
	other := t.TempDir()
	if err := unix.Mount("tmpfs", other, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mounting another file system needs root: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(other, 0) })
	src := filepath.Join(other, "src")
	write(t, src, "hello")
	date := time.Unix(1234567890, 0)
	must(t, os.Chtimes(src, date, date))
	must(t, d.Link(src, Cur, "a:2,S"))
	data, err := os.ReadFile(d.Path(Cur, "a:2,S"))
	if string(data) != "hello" || err != nil {
		t.Errorf("read %q, %v; want hello", data, err)
	}
	info, err := os.Stat(d.Path(Cur, "a:2,S"))
	if err != nil || !info.ModTime().Equal(date) || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want the date %v and mode 0600", info, err, date)
	}
	if err := d.Link(src, Cur, "a:2,S"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name that is taken: %v; want %v", err, fs.ErrExist)
	}
	if entries, err := os.ReadDir(d.Tmp()); len(entries) > 0 || err != nil {
		t.Errorf("tmp holds %v, %v; want nothing", entries, err)
	}
}

// A file that has as many names as the file system allows is copied. Few file systems allow less than this test tries.
func TestLinkTooMany(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	src := filepath.Join(t.TempDir(), "src")
	write(t, src, "hello")
	links := t.TempDir()
	for i := 0; ; i++ {
		err := os.Link(src, filepath.Join(links, strconv.Itoa(i)))
		if errors.Is(err, unix.EMLINK) {
			break
		}
		must(t, err)
		if i == 70_000 {
			t.Log("this file system allows more links, so there is no limit to meet")
			return
		}
	}
	must(t, d.Link(src, New, "a"))
	first, err := os.Stat(src)
	must(t, err)
	second, err := os.Stat(d.Path(New, "a"))
	must(t, err)
	if text, err := os.ReadFile(d.Path(New, "a")); os.SameFile(first, second) || string(text) != "hello" {
		t.Errorf("the same file: %v; read %q, %v", os.SameFile(first, second), text, err)
	}
}

func TestRename(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	write(t, d.Path(New, "a"), "a")
	write(t, d.Path(Cur, "b:2,"), "b")
	if err := d.Rename(New, "a", Cur, "b:2,"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("onto another message: %v; want %v", err, fs.ErrExist)
	}
	must(t, d.Rename(New, "a", Cur, "a:2,S"))
	if err := d.Rename(New, "a", Cur, "a:2,S"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is gone: %v; want %v", err, fs.ErrNotExist)
	}
	if !d.Has(Cur, "a:2,S") || !d.Has(Cur, "b:2,") || d.Has(New, "a") {
		t.Error("files are not where they should be")
	}
	must(t, d.Remove(Cur, "b:2,"))
	if err := d.Remove(Cur, "b:2,"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v; want %v", err, fs.ErrNotExist)
	}
}

func TestKeywords(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file string
		want       []string
	}{
		{"plain", "0 $Junk\n1 work\n", []string{"$Junk", "work"}},
		{"a gap, in disorder", "3 d\n0 a\n", []string{"a", "", "", "d"}},
		{"no last line end", "0 a", []string{"a"}},
		{"the 26th is the last", "25 z\n26 no\n", append(make([]string, 25), "z")},
		{"what is no line", "x y\n-1 a\n0\n\n1 a b\n2 c\n", []string{"", "", "c"}},
		{"nothing", "", nil},
	}
	for _, tt := range tests {
		d := newDir(t)
		write(t, d.File("dovecot-keywords"), tt.file)
		got, err := d.Keywords()
		if !slices.Equal(got, tt.want) || err != nil {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
		must(t, d.WriteKeywords(got))
		if again, err := d.Keywords(); !slices.Equal(again, got) || err != nil {
			t.Errorf("%s: written and read %q, %v; want %q", tt.name, again, err, got)
		}
	}
	d := newDir(t)
	if got, err := d.Keywords(); got != nil || err != nil {
		t.Errorf("no file: %q, %v; want none", got, err)
	}
	write(t, d.File("dovecot-keywords"), strings.Repeat("0 a\n", 20_000))
	if _, err := d.Keywords(); err == nil {
		t.Error("a file of 80 KB was read")
	}
}

func TestWireSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]int64{
		"":                        {0, 0},
		"a\n":                     {2, 3},
		"a\r\nb\n":                {5, 6},
		"\n\n":                    {2, 4},
		"a\r":                     {2, 2},
		strings.Repeat("\n", 1e5): {1e5, 2e5},
	} {
		size, wire, err := WireSize(strings.NewReader(text))
		if size != want[0] || wire != want[1] || err != nil {
			t.Errorf("%.10q: %d, %d, %v; want %v", text, size, wire, err, want)
		}
	}
}

func TestNotifier(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	n, err := NewNotifier()
	must(t, err)
	var told []string
	id, err := n.Watch(d, New, func(c Change) { told = append(told, fmt.Sprintf("%s gone=%v", c.File, c.Gone)) })
	must(t, err)
	write(t, d.Path(New, "a"), "")
	write(t, d.Path(New, ".hidden"), "")
	must(t, os.Mkdir(d.Path(New, "folder"), 0o700))
	must(t, d.Rename(New, "a", New, "b"))
	must(t, d.Rename(New, "b", Cur, "b:2,"))
	n.Drain()
	if got, want := strings.Join(told, "; "), "a gone=false; a gone=true; b gone=false; b gone=true"; got != want {
		t.Errorf("told %q; want %q", got, want)
	}
	n.Forget(id)
	n.Forget(id)
	write(t, d.Path(New, "c"), "")
	n.Drain()
	if len(told) != 4 {
		t.Errorf("told %q after Forget", told[4:])
	}
	if _, err := n.Watch(Dir(d.File("nowhere")), New, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v; want %v", err, fs.ErrNotExist)
	}
	must(t, n.Close())
	n.Drain()
	n.Forget(id)
	if _, err := n.Watch(d, New, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Watch after Close: %v; want %v", err, os.ErrClosed)
	}
}

// A change is told without being asked for.
func TestNotifierTells(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	n, err := NewNotifier()
	must(t, err)
	defer n.Close()
	told := make(chan Change, 10)
	_, err = n.Watch(d, Cur, func(c Change) { told <- c })
	must(t, err)
	write(t, d.Path(Cur, "a"), "")
	select {
	case got := <-told:
		if got != (Change{File: "a"}) {
			t.Errorf("told %+v; want a", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing was told within 10 s")
	}
}

// When the kernel loses changes, everybody is told that it did.
func TestNotifierOverflow(t *testing.T) {
	t.Parallel()
	n, err := NewNotifier()
	must(t, err)
	defer n.Close()
	lost := 0
	n.mu.Lock()
	n.sinks[7] = func(c Change) {
		if c.Overflow {
			lost++
		}
	}
	event := make([]byte, unix.SizeofInotifyEvent)
	event[5] = unix.IN_Q_OVERFLOW >> 8
	n.tell(event)
	n.tell(append(event[:12:12], 255, 0, 0, 0)) // cut short: passed over
	n.mu.Unlock()
	if lost != 1 {
		t.Errorf("told %d times; want 1", lost)
	}
}
