package mailbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/dirpost/dirpost/storage"
)

// TestRenew: a copy of a home, put back after the home went on, must not repeat a UID under the same UIDVALIDITY. Messages,
// flags, keywords and special use are as in the copy.
func TestRenew(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	l.append("h", "INBOX", "Subject: b\n\n", AppendOptions{Date: day(2), Flags: storage.Flagged, Keywords: []string{"$Work"}})
	l.append("h", "INBOX", "Subject: a\n\n", AppendOptions{Date: day(1)})
	l.append("h", "Sent", "Subject: s\n\n", AppendOptions{Date: day(3)})
	validity := l.validities("h", "INBOX", "Sent")
	if err := l.store.Renew(t.Context()); !errors.Is(err, storage.ErrBusy) {
		t.Errorf("Renew of homes in use: %v, want ErrBusy", err)
	}
	if err := l.store.Close(); err != nil {
		t.Fatal(err)
	}
	saved := t.TempDir()
	copyTree(t, l.opts.Homes, saved)
	l.open()
	l.append("h", "INBOX", "Subject: lost\n\n", AppendOptions{})
	if err := l.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(l.opts.Homes); err != nil {
		t.Fatal(err)
	}
	copyTree(t, saved, l.opts.Homes)
	l.open()
	if err := l.store.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	box := l.mailbox("h", "INBOX")
	for name, is := range l.validities("h", "INBOX", "Sent") {
		if was := validity[name]; is <= was {
			t.Errorf("UIDVALIDITY of %s is %d, was %d", name, is, was)
		}
	}
	view := box.View()
	got := ""
	for _, m := range view.All() {
		got += fmt.Sprintf("%d %s %v; ", m.UID, m.Date.UTC().Format("02"), m.Flags)
	}
	if want := fmt.Sprintf("1 01 %v; 2 02 %v; ", storage.Flags(0), storage.Flagged); got != want {
		t.Errorf("messages %q, want %q: numbered again, oldest first", got, want)
	}
	if len(view.Keywords) != 1 || view.Keywords[0] != "$Work" {
		t.Errorf("keywords %q, want $Work", view.Keywords)
	}
	folders, err := l.home("h").Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if f.Name == "Sent" && f.SpecialUse != `\Sent` {
			t.Errorf("special use of Sent is %q", f.SpecialUse)
		}
	}
}

// validities returns the UIDVALIDITY of folders by name.
func (l *lab) validities(id string, folders ...string) map[string]uint32 {
	l.t.Helper()
	found := map[string]uint32{}
	for _, name := range folders {
		status, err := l.home(id).Status(l.t.Context(), name)
		if err != nil {
			l.t.Fatal(err)
		}
		found[name] = status.UIDValidity
	}
	return found
}

// copyTree copies a folder with all times.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-aT", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
}
