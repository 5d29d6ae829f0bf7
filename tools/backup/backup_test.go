package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// write makes a file and the folders above it.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sample is an installation with two homes that share a message.
func sample(t testing.TB) Source {
	t.Helper()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	for name, text := range map[string]string{
		"server.key":                                     "secret",
		"data/keys/frontend":                             "password",
		"data/homes/.lock":                               "",
		"data/homes/.staging/1":                          "half arrived",
		"data/homes/m-1/Maildir/dirpost-folder":          "numbers",
		"data/homes/m-1/Maildir/cur/1.a,S=3:2,S":         "one",
		"data/homes/m-1/Maildir/new/2.a,S=3":             "two",
		"data/homes/m-1/Maildir/tmp/3":                   "half copied",
		"data/homes/m-1/Maildir/.Sent/new/.keep":         "no message",
		"data/homes/m-1/sieve/main.sieve":                "keep;",
		"data/homes/m-1/Maildir/dirpost-deleted-1/cur/9": "going",
		"data/homes/m-2/Maildir/subscriptions":           "INBOX",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	for _, name := range []string{"m-1/Maildir/.Sent/cur", "m-1/Maildir/.Sent/tmp", "m-2/Maildir/new", "m-2/Maildir/cur", "m-2/Maildir/tmp"} {
		if err := os.MkdirAll(filepath.Join(data, "homes", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	shared := filepath.Join(data, "homes/m-1/Maildir/new/2.a,S=3")
	date := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	if err := errors.Join(os.Chtimes(shared, date, date), os.Link(shared, filepath.Join(data, "homes/m-2/Maildir/new/2.a,S=3"))); err != nil {
		t.Fatal(err)
	}
	return Source{
		Manifest: Manifest{Format: Format, Version: "test", Created: date},
		Config:   []byte("hostname = 'x'\n"),
		Files:    map[string]string{"tls.0.key": filepath.Join(dir, "server.key")},
		Data:     data,
		Directory: func(context.Context) (io.ReadCloser, int64, error) {
			return io.NopCloser(strings.NewReader("entries")), 7, nil
		},
	}
}

// restore puts a backup back and returns what it then finds, by name.
func restore(t testing.TB, from string, r io.Reader) (map[string]string, string, error) {
	t.Helper()
	a, err := Open(from, r)
	if err != nil {
		return nil, "", err
	}
	defer a.Close()
	to := t.TempDir()
	data := filepath.Join(to, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = a.Extract(Destination{Data: data, File: func(key string) (string, fs.FileMode) {
		return filepath.Join(to, "etc", key), 0o600
	}})
	return tree(t, to), data, err
}

// tree reads a folder: files with what is in them, folders with "/".
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		if d.IsDir() {
			found[name] = "/"
			return nil
		}
		text, err := os.ReadFile(path)
		found[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var restored = map[string]string{
	"data": "/", "data/directory": "/", "data/directory/directory.db": "entries", "data/keys": "/", "data/keys/frontend": "password",
	"data/homes": "/", "data/homes/m-1": "/", "data/homes/m-1/Maildir": "/", "data/homes/m-1/Maildir/dirpost-folder": "numbers",
	"data/homes/m-1/Maildir/cur": "/", "data/homes/m-1/Maildir/cur/1.a,S=3:2,S": "one",
	"data/homes/m-1/Maildir/new": "/", "data/homes/m-1/Maildir/new/2.a,S=3": "two", "data/homes/m-1/Maildir/tmp": "/",
	"data/homes/m-1/Maildir/.Sent": "/", "data/homes/m-1/Maildir/.Sent/new": "/", "data/homes/m-1/Maildir/.Sent/cur": "/",
	"data/homes/m-1/Maildir/.Sent/tmp": "/", "data/homes/m-1/sieve": "/", "data/homes/m-1/sieve/main.sieve": "keep;",
	"data/homes/m-2": "/", "data/homes/m-2/Maildir": "/", "data/homes/m-2/Maildir/new": "/", "data/homes/m-2/Maildir/new/2.a,S=3": "two",
	"data/homes/m-2/Maildir/cur": "/", "data/homes/m-2/Maildir/tmp": "/", "data/homes/m-2/Maildir/subscriptions": "INBOX",
	"etc": "/", "etc/tls.0.key": "secret",
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"folder", "file.tar", "-"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dest := kind
			if kind != "-" {
				dest = filepath.Join(t.TempDir(), kind)
			}
			var stream bytes.Buffer
			summary, err := Write(t.Context(), dest, &stream, sample(t))
			if err != nil {
				t.Fatal(err)
			}
			want := Summary{Homes: 2, Messages: 3, Files: 8, Bytes: summary.Bytes}
			if diff := cmp.Diff(want, summary); diff != "" {
				t.Error(diff)
			}
			got, data, err := restore(t, dest, &stream)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(restored, got); diff != "" {
				t.Error(diff)
			}
			one, err := os.Stat(filepath.Join(data, "homes/m-1/Maildir/new/2.a,S=3"))
			if err != nil {
				t.Fatal(err)
			}
			two, err := os.Stat(filepath.Join(data, "homes/m-2/Maildir/new/2.a,S=3"))
			if err != nil || !os.SameFile(one, two) {
				t.Errorf("a message in two homes is two files (%v)", err)
			}
			if got, want := one.ModTime().UTC(), time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC); !got.Equal(want) {
				t.Errorf("its date is %v, want %v", got, want)
			}
		})
	}
}

// TestFolderSharesMessages: on one file system a message is not copied.
func TestFolderSharesMessages(t *testing.T) {
	t.Parallel()
	src := sample(t)
	dest := filepath.Join(filepath.Dir(src.Data), "backup")
	if _, err := Write(t.Context(), dest, nil, src); err != nil {
		t.Fatal(err)
	}
	const name = "homes/m-1/Maildir/cur/1.a,S=3:2,S"
	a, err := os.Stat(filepath.Join(src.Data, name))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(filepath.Join(dest, name))
	if err != nil || !os.SameFile(a, b) {
		t.Errorf("the message was copied (%v)", err)
	}
}

// TestRefusals: what cannot be a whole backup leaves nothing that looks like one.
func TestRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		dest   string
		before func(t *testing.T, dir string, src *Source)
		want   string
	}{
		{"something is there", "there.tar", func(t *testing.T, dir string, _ *Source) { write(t, filepath.Join(dir, "there.tar"), "x") }, "exists"},
		{"a key is missing", "new.tar", func(_ *testing.T, dir string, src *Source) { src.Files["tls.1.key"] = filepath.Join(dir, "none") }, "tls.1.key"},
		{"a key is missing, into a folder", "new", func(_ *testing.T, dir string, src *Source) { src.Files["tls.1.key"] = filepath.Join(dir, "none") }, "tls.1.key"},
		{"the directory is cut short", "new.tar", func(_ *testing.T, _ string, src *Source) {
			src.Directory = func(context.Context) (io.ReadCloser, int64, error) {
				return io.NopCloser(strings.NewReader("ent")), 7, nil
			}
		}, "3 octets of 7"},
		{"the directory does not answer", "new", func(_ *testing.T, _ string, src *Source) {
			src.Directory = func(context.Context) (io.ReadCloser, int64, error) { return nil, 0, errors.New("not now") }
		}, "not now"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, src := t.TempDir(), sample(t)
			tt.before(t, dir, &src)
			before := tree(t, dir)
			_, err := Write(t.Context(), filepath.Join(dir, tt.dest), nil, src)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Errorf("it left something: %s", diff)
			}
		})
	}
}

// TestStrangeFiles: who can write to a home cannot make the backup read what he may not, or wait for ever.
func TestStrangeFiles(t *testing.T) {
	t.Parallel()
	src := sample(t)
	secret := filepath.Join(t.TempDir(), "shadow")
	write(t, secret, "root's")
	maildir := filepath.Join(src.Data, "homes/m-1/Maildir")
	for _, err := range []error{
		os.Symlink(secret, filepath.Join(maildir, "cur/5.a")),
		os.Symlink(secret, filepath.Join(maildir, "dovecot-keywords")),
		os.Symlink(filepath.Dir(secret), filepath.Join(src.Data, "homes/m-1/link")),
		os.Symlink(secret, filepath.Join(src.Data, "keys/other")),
		syscall.Mkfifo(filepath.Join(maildir, "new/6.a"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	dest := filepath.Join(t.TempDir(), "b.tar")
	summary, err := Write(t.Context(), dest, nil, src)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"homes/m-1/Maildir/cur/5.a", "homes/m-1/Maildir/dovecot-keywords", "homes/m-1/Maildir/new/6.a", "homes/m-1/link", "keys/other"}
	if diff := cmp.Diff(want, summary.Skipped, cmp.Transformer("sorted", sorted)); diff != "" {
		t.Error(diff)
	}
	got, _, err := restore(t, dest, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(restored, got); diff != "" {
		t.Error(diff)
	}
}

func sorted(list []string) map[string]bool {
	set := map[string]bool{}
	for _, s := range list {
		set[s] = true
	}
	return set
}

// TestCutShort: wherever a tar file ends too early, it is not taken for whole.
func TestCutShort(t *testing.T) {
	t.Parallel()
	dest := filepath.Join(t.TempDir(), "b.tar")
	if _, err := Write(t.Context(), dest, nil, sample(t)); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(dest)
	if err != nil {
		t.Fatal(err)
	}
	end := bytes.LastIndex(whole, []byte(summaryName))
	for cut := 0; cut < end; cut += 512 {
		if _, _, err := restore(t, "-", bytes.NewReader(whole[:cut])); !errors.Is(err, ErrNotBackup) {
			t.Errorf("the first %d octets of %d: %v, want ErrNotBackup", cut, len(whole), err)
		}
	}
}

// TestHostileArchive: a tar file of somebody else writes nowhere but where it should.
func TestHostileArchive(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		headers []tar.Header
	}{
		{"up", []tar.Header{{Name: "homes/../../x", Typeflag: tar.TypeReg}}},
		{"from the root", []tar.Header{{Name: "/etc/x", Typeflag: tar.TypeReg}}},
		{"no part of a backup", []tar.Header{{Name: "spool/x", Typeflag: tar.TypeReg}}},
		{"a symbolic link", []tar.Header{{Name: "homes/x", Typeflag: tar.TypeSymlink, Linkname: "/etc"}}},
		{"a device", []tar.Header{{Name: "homes/x", Typeflag: tar.TypeChar}}},
		{"another name for a file outside", []tar.Header{{Name: "homes/x", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}}},
		{"another name for nothing", []tar.Header{{Name: "homes/x", Typeflag: tar.TypeLink, Linkname: "homes/y"}}},
		{"a file where a folder is", []tar.Header{{Name: "homes/x/y", Typeflag: tar.TypeReg}, {Name: "homes/x", Typeflag: tar.TypeReg}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, _, err := restore(t, "-", bytes.NewReader(archiveOf(t, tt.headers...)))
			if err == nil {
				t.Errorf("it was taken: %v", got)
			}
		})
	}
}

// archiveOf is a tar file with a head and the given entries, all of them empty.
func archiveOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h tar.Header, text string) {
		h.Size, h.Mode = int64(len(text)), 0o600
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	put(tar.Header{Name: manifestName, Typeflag: tar.TypeReg}, `{"format":1}`)
	put(tar.Header{Name: configName, Typeflag: tar.TypeReg}, "x")
	for _, h := range headers {
		put(h, "")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func FuzzExtract(f *testing.F) {
	if _, err := os.Stat("/dev/shm"); err == nil {
		f.Setenv("TMPDIR", "/dev/shm") // a disk would have to sync each time
	}
	var b bytes.Buffer
	if _, err := Write(f.Context(), "-", &b, sample(f)); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(archiveOf(f, tar.Header{Name: "homes/../../x", Typeflag: tar.TypeReg}))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, _, err := restore(t, "-", bytes.NewReader(text))
		for name := range got {
			if name != "data" && name != "etc" && !strings.HasPrefix(name, "data/") && !strings.HasPrefix(name, "etc/") {
				t.Errorf("%s was written (%v)", name, err)
			}
		}
	})
}

// TestWhileMailMoves makes backups of a home in which mail arrives, is moved to and fro between folders, and is flagged.
// Every message that was there at the beginning is in each.
func TestWhileMailMoves(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	store, err := mailbox.Open(mailbox.Options{Homes: filepath.Join(data, "homes"), Cache: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	mail := &traffic{t: t, store: store, stop: make(chan struct{})}
	for i := range 300 {
		mail.append(t.Context(), fmt.Sprintf("first-%d", i))
	}
	for _, work := range []func(){mail.deliver, mail.shuffle, mail.flag} {
		mail.workers.Go(work)
	}
	defer mail.workers.Wait()
	defer close(mail.stop)
	for round := range 4 {
		before := mail.moved.Load()
		dest := filepath.Join(t.TempDir(), []string{"b.tar", "b"}[round%2])
		src := Source{Manifest: Manifest{Format: Format}, Data: data}
		summary, err := Write(t.Context(), dest, nil, src)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := restore(t, dest, nil)
		if err != nil {
			t.Fatal(err)
		}
		subjects := map[string]bool{}
		for _, text := range got {
			subjects[text] = true
		}
		for i := range 300 {
			if name := fmt.Sprintf("first-%d", i); !subjects["Subject: "+name+"\n\n"] {
				t.Errorf("round %d: %s is not in it", round, name)
			}
		}
		t.Logf("round %d: %d messages, %d moves meanwhile, unsettled: %v", round, summary.Messages, mail.moved.Load()-before, summary.Unsettled)
	}
}

// traffic is what goes on in the INBOX of a home, and between it and another folder.
type traffic struct {
	t       *testing.T
	store   *mailbox.Store
	stop    chan struct{}
	workers sync.WaitGroup
	moved   atomic.Int64
}

func (m *traffic) home() *mailbox.Home {
	h, err := m.store.Home("m-1")
	if err != nil {
		m.t.Error(err)
	}
	return h
}

func (m *traffic) append(ctx context.Context, subject string) {
	st, err := m.store.Stage()
	if err != nil {
		m.t.Error(err)
		return
	}
	defer st.Discard()
	_, err = st.Write([]byte("Subject: " + subject + "\r\n\r\n"))
	if err := errors.Join(err, st.Seal()); err != nil {
		m.t.Error(err)
		return
	}
	if _, err := m.home().Append(ctx, "INBOX", st, mailbox.AppendOptions{}); err != nil {
		m.t.Error(err)
	}
}

// loop works until it is stopped.
func (m *traffic) loop(work func(i int)) {
	for i := 0; ; i++ {
		select {
		case <-m.stop:
			return
		default:
			work(i)
		}
	}
}

func (m *traffic) deliver() {
	m.loop(func(i int) { m.append(context.Background(), fmt.Sprintf("later-%d", i)) })
}

func (m *traffic) shuffle() {
	m.loop(func(i int) {
		folders := []string{"INBOX", "Archive"}
		from, to := folders[i%2], folders[1-i%2]
		box, err := m.home().Open(context.Background(), from)
		if err != nil {
			m.t.Error(err)
			return
		}
		defer box.Close()
		var uids []storage.UID
		for _, message := range box.View().All() {
			if len(uids) < 20 {
				uids = append(uids, message.UID)
			}
		}
		// That it may fail because the messages are being flagged is not what is tested here.
		if done, err := box.Move(context.Background(), uids, m.home(), to, storage.Quota{}); err == nil {
			m.moved.Add(int64(len(done.To)))
		}
	})
}

func (m *traffic) flag() {
	m.loop(func(i int) {
		box, err := m.home().Open(context.Background(), "INBOX")
		if err != nil {
			m.t.Error(err)
			return
		}
		defer box.Close()
		var uids []storage.UID
		for _, message := range box.View().All() {
			uids = append(uids, message.UID)
		}
		ops := []storage.FlagOp{storage.AddFlags, storage.RemoveFlags}
		if _, err := box.Flag(context.Background(), uids, ops[i%2], storage.Flagged, nil, 0); err != nil {
			m.t.Error(err)
		}
	})
}
