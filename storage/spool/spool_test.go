package spool

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample is an item with all its fields.
func sample(id string) Item {
	return Item{
		ID: id, From: "ann@example.net", Login: "alice", Received: time.Unix(1_700_000_000, 5).UTC(), Attempts: 2, Next: time.Unix(1_700_000_600, 0).UTC(),
		Rest: []Rest{{"bob@example.org", "m-bob", "disk on fire"}, {"list@example.org", "m-carol", ""}},
	}
}

// writer makes a message of the text.
func writer(text string) func(string) error {
	return func(path string) error { return os.WriteFile(path, []byte(text), 0o600) }
}

func open(t *testing.T, folder string) (*Spool, []Item) {
	t.Helper()
	s, items, err := Open(folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, items
}

func TestSpool(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "a", "spool")
	s, items := open(t, folder)
	if len(items) != 0 {
		t.Fatalf("a new spool has %v", items)
	}
	one, two := sample("one"), sample("two")
	for _, item := range []Item{one, two} {
		if err := s.Put(item, writer("message "+item.ID)); err != nil {
			t.Fatal(err)
		}
	}
	one.Rest, one.Attempts = one.Rest[:1], 3
	if err := s.Update(one); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("two"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("two"); err != nil {
		t.Errorf("again: %v", err)
	}
	s, items = open(t, folder)
	if diff := cmp.Diff([]Item{one}, items); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if text, err := os.ReadFile(s.Message("one")); err != nil || string(text) != "message one" {
		t.Errorf("the message is %q, %v", text, err)
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 2 {
		t.Errorf("the folder has %v, %v; want the item and its message", entries, err)
	}
}

func TestPutRefuses(t *testing.T) {
	t.Parallel()
	fault := errors.New("no link")
	tests := []struct {
		name string
		item func(*Item)
		link func(string) error
		want error
	}{
		{"an id that is a path", func(i *Item) { i.ID = "../x" }, writer(""), nil},
		{"no id", func(i *Item) { i.ID = "" }, writer(""), nil},
		{"nobody", func(i *Item) { i.Rest = nil }, writer(""), nil},
		{"a mailbox without a name", func(i *Item) { i.Rest[0].Mailbox = "" }, writer(""), nil},
		{"no message", func(*Item) {}, func(string) error { return fault }, fault},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			s, _ := open(t, folder)
			item := sample("one")
			tt.item(&item)
			if err := s.Put(item, tt.link); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if entries, err := os.ReadDir(folder); err != nil || len(entries) != 0 {
				t.Errorf("there is %v, %v", entries, err)
			}
		})
	}
}

// TestCrash: what a crash leaves between any two steps is either nothing or all of an item.
func TestCrash(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		leave func(t *testing.T, s *Spool)
		items int
		files string
	}{
		{"before the item", func(t *testing.T, s *Spool) { writer("x")(s.Message("one")) }, 0, ""},
		{"within the item", func(t *testing.T, s *Spool) {
			writer("x")(s.Message("one"))
			writer("dirpost-it")(s.path("one", itemSuffix) + ".next")
		}, 0, ""},
		{"within an update", func(t *testing.T, s *Spool) {
			if err := s.Put(sample("one"), writer("x")); err != nil {
				t.Fatal(err)
			}
			writer("dirpost-it")(s.path("one", itemSuffix) + ".next")
		}, 1, "one.item one.message"},
		{"within a removal", func(t *testing.T, s *Spool) {
			if err := s.Put(sample("one"), writer("x")); err != nil {
				t.Fatal(err)
			}
			os.Remove(s.path("one", itemSuffix))
		}, 0, ""},
		{"a damaged item is kept", func(t *testing.T, s *Spool) {
			if err := s.Put(sample("one"), writer("x")); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(s.path("one", itemSuffix))
			if err != nil {
				t.Fatal(err)
			}
			text[len(text)/2] ^= 1
			writer(string(text))(s.path("one", itemSuffix))
		}, 0, "one.damaged one.message"},
		{"an item under another name is kept", func(t *testing.T, s *Spool) {
			if err := s.Put(sample("one"), writer("x")); err != nil {
				t.Fatal(err)
			}
			os.Rename(s.path("one", itemSuffix), s.path("two", itemSuffix))
			os.Rename(s.Message("one"), s.Message("two"))
		}, 0, "two.damaged two.message"},
		{"an item without its message is kept", func(t *testing.T, s *Spool) {
			if err := s.Put(sample("one"), writer("x")); err != nil {
				t.Fatal(err)
			}
			os.Remove(s.Message("one"))
		}, 0, "one.damaged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			s, _ := open(t, folder)
			tt.leave(t, s)
			for range 2 { // what was set aside stays at the next start too
				_, items := open(t, folder)
				entries, err := fs.Glob(os.DirFS(folder), "*")
				if err != nil || len(items) != tt.items || strings.Join(entries, " ") != tt.files {
					t.Errorf("found %d items, files %q, %v; want %d, %q", len(items), entries, err, tt.items, tt.files)
				}
			}
		})
	}
}

// FuzzItem: what is read is whole, and is written as it was read.
func FuzzItem(f *testing.F) {
	f.Add(sample("one").encode())
	f.Add([]byte("dirpost-item 1 00000000\n{}\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, in []byte) {
		item, err := readItem(bytes.NewReader(in))
		if err != nil {
			return
		}
		again, err := readItem(bytes.NewReader(item.encode()))
		if err != nil || !cmp.Equal(item, again) {
			t.Errorf("%q: read %v, again %v, %v", in, item, again, err)
		}
	})
}
