package imapd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUnreadable: a message whose file cannot be read any more, for whatever reason, harms neither the session nor the others.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(file string) error{
		"a pipe in its place":   func(file string) error { os.Remove(file); return unix.Mkfifo(file, 0o600) },
		"a folder in its place": func(file string) error { os.Remove(file); return os.Mkdir(file, 0o700) },
		"a link to nowhere":     func(file string) error { os.Remove(file); return os.Symlink("nowhere", file) },
		"cut to nothing":        func(file string) error { return os.Truncate(file, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, Options{})
			s.deliver(t, "alice", "INBOX", "Subject: one\n\none\n", 0)
			s.deliver(t, "alice", "INBOX", "Subject: two\n\ntwo\n", 0)
			w := s.connect(t, nil)
			w.login("alice")
			w.do("SELECT INBOX")
			files, err := filepath.Glob(filepath.Join(s.homes, "*", "Maildir", "new", "*"))
			if err != nil || len(files) != 2 {
				t.Fatalf("%q, %v", files, err)
			}
			if text, _ := os.ReadFile(files[0]); !strings.Contains(string(text), "one") {
				files[0] = files[1]
			}
			if err := spoil(files[0]); err != nil {
				t.Fatal(err)
			}
			first := strings.Join(w.do("FETCH 1 (BODY.PEEK[])"), "\n")
			if want := map[bool]string{true: "x OK", false: "x NO [EXPUNGEISSUED]"}[name == "cut to nothing"]; !strings.Contains(first, want) {
				t.Errorf("the message itself: %q, want %q", first, want)
			}
			if got := strings.Join(w.do("FETCH 2 (BODY.PEEK[TEXT])"), "\n"); !strings.Contains(got, "two") || !strings.Contains(got, "x OK") {
				t.Errorf("the other message: %q", got)
			}
			if got := w.do("SEARCH TEXT two"); !strings.HasPrefix(got[0], "* SEARCH 2") {
				t.Errorf("SEARCH: %q", got)
			}
		})
	}
}
