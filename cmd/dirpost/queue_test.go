package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// TestQueue: who could not get a message gets it later, also when the server is killed meanwhile; the administrator sees it
// wait, and has it in his backup.
func TestQueue(t *testing.T) {
	t.Parallel()
	s := embeddedSite(t)
	s.watched()
	s.addPeople()
	s.start()
	c, err := smtp.Dial(s.addr["mx"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	to := []error{c.Mail("ann@example.net", nil), c.Rcpt("alice@example.org", nil), c.Rcpt("bob@example.org", nil)}
	if err := errors.Join(to...); err != nil {
		t.Fatal(err)
	}
	bob := s.home("bob")
	if err := errors.Join(os.RemoveAll(bob), os.WriteFile(bob, nil, 0o600)); err != nil { // now nothing can be filed there
		t.Fatal(err)
	}
	data, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(data, message("ann@example.net", "alice@example.org", "for two"))
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
	s.find(t, "alice", "for two")
	id := s.queued(t, 1)[0].ID
	if out := s.dirpost("queue", "show", id); !strings.Contains(out, "bob@example.org") {
		t.Errorf("queue show says %s", out)
	}
	if out := s.dirpost("status"); !strings.Contains(out, "1 message, since") {
		t.Errorf("status says %s", out)
	}
	s.dirpost("backup", s.path("copy"))
	for _, name := range []string{".item", ".message"} {
		if _, err := os.Stat(s.path("copy/spool/" + id + name)); err != nil {
			t.Errorf("backup: %v", err)
		}
	}

	s.kill()
	if err := os.Remove(bob); err != nil {
		t.Fatal(err)
	}
	s.start()
	if got := s.queued(t, 1)[0].ID; got != id {
		t.Errorf("after the kill %s is queued, want %s", got, id)
	}
	s.dirpost("queue", "retry", id)
	s.queued(t, 0)
	s.find(t, "bob", "for two")
	if got := s.count(t, "bob", "INBOX"); got != 1 {
		t.Errorf("bob has %d messages, want 1", got)
	}
	if out := s.fails("queue", "show", id); !strings.Contains(out, "not in the queue") {
		t.Errorf("queue show of one that is gone: %s", out)
	}
	s.fails("queue", "drop", id)
	if files, err := os.ReadDir(s.path("data/spool")); err != nil && !errors.Is(err, fs.ErrNotExist) || len(files) > 0 {
		t.Errorf("the spool has %v, %v; want nothing", files, err)
	}
}

// queued lists the queue, which must come to have n messages.
func (s *site) queued(t *testing.T, n int) []queueView {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		var list []queueView
		if err := json.Unmarshal([]byte(s.dirpost("queue", "list", "--json")), &list); err != nil {
			t.Fatal(err)
		}
		if len(list) == n {
			return list
		}
		if time.Since(begun) > patience {
			t.Fatalf("%d messages are queued, want %d: %+v", len(list), n, list)
		}
	}
}
