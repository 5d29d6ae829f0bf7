package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The way back to Dovecot: its lists of UIDs, written while the server is stopped.
func TestHandover(t *testing.T) {
	t.Parallel()
	s := embeddedSite(t)
	s.addPeople()
	s.start()
	if out, err := s.deliver(t, "one"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out := s.fails("handover"); !strings.Contains(out, "stop the server first") {
		t.Errorf("while the server runs it says %q", out)
	}
	s.stop()
	if out := s.dirpost("handover"); !strings.HasPrefix(out, "lists of UIDs are in ") {
		t.Errorf("it says %q", out)
	}
	lists, err := filepath.Glob(filepath.Join(s.path("data"), "homes", "*", "Maildir", "dovecot-uidlist"))
	if err != nil || len(lists) != 1 {
		t.Fatalf("lists of an INBOX: %q, %v; want one", lists, err)
	}
	text, err := os.ReadFile(lists[0])
	if err != nil || !strings.HasPrefix(string(text), "3 V") || !strings.Contains(string(text), "\n1 :") {
		t.Errorf("the list is %q, %v", text, err)
	}
}
