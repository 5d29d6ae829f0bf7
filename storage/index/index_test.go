package index

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

const validity = 0x6923a1f0

// row is a message of the tests.
func row(uid storage.UID, modseq storage.ModSeq, flags storage.Flags) Row {
	base := fmt.Sprintf("1700000000.M1P2Q%d.node1,S=10,W=12,I=%x.%d", uid, validity, uid)
	return Row{
		UID: uid, ModSeq: modseq, Flags: flags, Keywords: uint32(uid), Size: 10, WireSize: 12, Date: -5, Sub: maildir.Cur,
		File: maildir.Info{Flags: flags}.File(base), BaseLen: uint8(len(base)),
	}
}

var summary = Summary{
	UIDNext: 9, HighestModSeq: 20,
	Stamps: [2]maildir.Stamp{{Inode: 1, Mtime: 2, Ctime: 3}, {Inode: 4, Mtime: -5, Ctime: 6}},
	Totals: [2]Totals{{Messages: 1, Unseen: 2, Deleted: 3, Size: 4, WireSize: 5}, {Messages: 6, Unseen: 7, Deleted: 8, Size: 9, WireSize: 10}},
}

// histories are what may be written to an index, and what it then holds. They are the seeds of the fuzzer too.
var histories = []struct {
	name  string
	write func(f *File)
	want  Contents
}{
	{"nothing", func(*File) {}, Contents{}},
	{"messages", func(f *File) { put(f, row(1, 2, 0), row(3, 4, storage.Seen)) },
		Contents{Rows: []Row{row(1, 2, 0), row(3, 4, storage.Seen)}, UIDNext: 4, HighestModSeq: 4, Records: 2}},
	{"a message changed", func(f *File) { put(f, row(1, 2, 0), row(3, 4, 0), row(1, 5, storage.Seen)) },
		Contents{Rows: []Row{row(1, 5, storage.Seen), row(3, 4, 0)}, UIDNext: 4, HighestModSeq: 5, Records: 3}},
	{"the last expunged", func(f *File) { put(f, row(1, 2, 0), row(3, 4, 0)); f.Expunge(3, 6) },
		Contents{Rows: []Row{row(1, 2, 0)}, UIDNext: 4, HighestModSeq: 6, Records: 3}},
	{"more after an expunge", func(f *File) { put(f, row(1, 2, 0)); f.Expunge(1, 3); put(f, row(2, 4, 0), row(2, 5, storage.Draft)) },
		Contents{Rows: []Row{row(2, 5, storage.Draft)}, UIDNext: 3, HighestModSeq: 5, Records: 4}},
}

func put(f *File, rows ...Row) {
	for i := range rows {
		f.Put(&rows[i])
	}
}

func create(t testing.TB, path string, write func(*File), s *Summary) {
	t.Helper()
	f, err := Create(path, validity, func(func(*Row) bool) {})
	if err != nil {
		t.Fatal(err)
	}
	write(f)
	if err := f.Close(s); err != nil {
		t.Fatal(err)
	}
}

func equal(a, b Contents) bool {
	sameEnd := (a.Closed == nil) == (b.Closed == nil) && (a.Closed == nil || *a.Closed == *b.Closed)
	return slices.Equal(a.Rows, b.Rows) && a.UIDNext == b.UIDNext && a.HighestModSeq == b.HighestModSeq && a.Records == b.Records && sameEnd
}

func TestOpen(t *testing.T) {
	t.Parallel()
	for _, tt := range histories {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "index")
			create(t, path, tt.write, nil)
			f, got, err := Open(path, validity)
			if err != nil || !equal(got, tt.want) {
				t.Fatalf("got %+v, %v; want %+v", got, err, tt.want)
			}
			if _, err := ReadSummary(path, validity); !errors.Is(err, ErrDamaged) {
				t.Errorf("ReadSummary of an open one: %v; want %v", err, ErrDamaged)
			}
			if err := f.Close(&summary); err != nil {
				t.Fatal(err)
			}
			want := tt.want
			want.Closed, want.UIDNext, want.HighestModSeq, want.Records = &summary, 9, 20, want.Records+1
			f, got, err = Open(path, validity)
			if err != nil || !equal(got, want) {
				t.Errorf("closed: got %+v, %v; want %+v", got, err, want)
			}
			if s, err := ReadSummary(path, validity); err != nil || *s != summary {
				t.Errorf("ReadSummary = %+v, %v; want %+v", s, err, summary)
			}
			next := row(30, 30, 0)
			f.Put(&next)
			if err := f.Close(nil); err != nil {
				t.Fatal(err)
			}
			if _, got, err = Open(path, validity); err != nil || got.Closed != nil || got.UIDNext != 31 {
				t.Errorf("after more: %+v, %v; want no summary, UIDNext 31", got, err)
			}
		})
	}
}

func TestOpenRefusals(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index")
	if _, _, err := Open(path, validity); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v; want %v", err, fs.ErrNotExist)
	}
	create(t, path, func(f *File) { put(f, row(1, 2, 0)) }, nil)
	if _, _, err := Open(path, validity+1); !errors.Is(err, ErrDamaged) {
		t.Errorf("another UIDVALIDITY: %v; want %v", err, ErrDamaged)
	}
	wrong := map[string]func(*File){
		"UIDs out of order":         func(f *File) { put(f, row(2, 2, 0), row(1, 3, 0)) },
		"UID 0":                     func(f *File) { put(f, row(0, 2, 0)) },
		"expunge of nothing":        func(f *File) { f.Expunge(1, 1) },
		"expunged twice":            func(f *File) { put(f, row(1, 1, 0)); f.Expunge(1, 1); f.Expunge(1, 2) },
		"a change of what is gone":  func(f *File) { put(f, row(1, 1, 0), row(2, 1, 0)); f.Expunge(1, 1); put(f, row(1, 2, 0)) },
		"an unknown kind of record": func(f *File) { f.buf = closeFrame(openFrame(f.buf, 77), len(f.buf), f.salt) },
		"a summary of another size": func(f *File) { f.buf = closeFrame(append(openFrame(f.buf, kindSummary), 1), len(f.buf), f.salt) },
	}
	for name, write := range wrong {
		create(t, path, write, nil)
		if _, _, err := Open(path, validity); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v; want %v", name, err, ErrDamaged)
		}
	}
}

// Any damage is found, wherever it is: a flipped bit, a cut that is not between records, zeros, a block of an older file.
func TestDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, older := filepath.Join(dir, "index"), filepath.Join(dir, "older")
	write := func(f *File) {
		for uid := range storage.UID(50) {
			put(f, row(uid+1, 1, 0))
		}
	}
	create(t, path, write, &summary)
	create(t, older, write, &summary)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(older)
	if err != nil {
		t.Fatal(err)
	}
	ends := map[int]bool{headerBytes: true}
	for rest := data[headerBytes:]; len(rest) > 0; ends[len(data)-len(rest)] = true {
		if _, _, rest, err = nextRecord(rest, le.Uint32(data[len(magic)+4:])); err != nil {
			t.Fatal(err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		hurt, what := slices.Clone(data), ""
		at := random.IntN(len(data))
		switch random.IntN(4) {
		case 0:
			what = "a flipped bit"
			hurt[at] ^= 1 << random.IntN(8)
		case 1:
			if what = "a cut"; ends[at] {
				continue
			}
			hurt = hurt[:at]
		case 2:
			what = "zeros"
			clear(hurt[at:min(at+64, len(hurt))])
		case 3:
			what = "an older block"
			at = max(at, headerBytes)
			copy(hurt[at:min(at+512, len(hurt))], old[at:])
		}
		if slices.Equal(hurt, data) {
			continue
		}
		if _, _, err := parse(hurt, validity); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s at %d of %d: %v; want %v", what, at, len(data), err, ErrDamaged)
		}
	}
}

// A file that cannot be written is given up, and its creation leaves nothing behind.
func TestWriteErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "index")
	create(t, path, func(f *File) { put(f, row(1, 1, 0)) }, nil)
	f, _, err := Open(path, validity)
	if err != nil {
		t.Fatal(err)
	}
	f.file.Close()
	next := row(2, 2, 0)
	for range 2 {
		f.Put(&next)
		if err := f.Flush(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Flush: %v; want %v", err, fs.ErrClosed)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "taken", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(filepath.Join(dir, "taken"), validity, func(func(*Row) bool) {}); err == nil {
		t.Error("Create replaced a folder")
	}
	if _, err := os.Stat(filepath.Join(dir, "taken.next")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Create left its file: %v", err)
	}
}

// No file makes the reader fail otherwise than with ErrDamaged, and what it accepts is in order and can be written again.
func FuzzIndex(f *testing.F) {
	for _, tt := range histories {
		path := filepath.Join(f.TempDir(), "index")
		create(f, path, tt.write, &summary)
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[headerBytes:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		// The checksums are put right, so that the fuzzer gets beyond them.
		data, salt := appendHeader(nil, validity)
		for len(body) >= frameHead {
			n := min(int(le.Uint16(body)), len(body)-frameHead)
			start := len(data)
			data = append(openFrame(data, body[2]), body[frameHead:frameHead+n]...)
			data = closeFrame(data, start, salt)
			body = body[min(len(body), frameHead+n+4):]
		}
		_, got, err := parse(data, validity)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v; want %v", err, ErrDamaged)
			}
			return
		}
		path := filepath.Join(t.TempDir(), "index")
		create(t, path, func(f *File) { put(f, got.Rows...) }, nil)
		_, again, err := Open(path, validity)
		if err != nil || !slices.Equal(again.Rows, got.Rows) {
			t.Errorf("%+v became %+v, %v", got.Rows, again.Rows, err)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "index")
	create(b, path, func(f *File) {
		for uid := range storage.UID(100_000) {
			put(f, row(uid+1, storage.ModSeq(uid), storage.Seen))
		}
		for uid := range storage.UID(20_000) {
			put(f, row(5*uid+1, storage.ModSeq(200_000+uid), 0))
		}
	}, &summary)
	for b.Loop() {
		f, got, err := Open(path, validity)
		if err != nil || len(got.Rows) != 100_000 {
			b.Fatal(len(got.Rows), err)
		}
		f.Close(nil)
	}
}
