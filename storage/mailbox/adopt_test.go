package mailbox

import (
	"os"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/storage/maildir"
)

// left is a Maildir as Dovecot leaves it: three messages that the list knows, one that nobody has seen yet, and one that the
// list has and that is gone.
func (l *lab) left(id string) maildir.Dir {
	l.t.Helper()
	inbox := l.dir(id, "INBOX")
	l.must(os.MkdirAll(string(inbox), 0o700))
	l.must(inbox.Make())
	l.drop(id, "INBOX", maildir.Cur, "30.c.host,S=3,W=4:2,FS", "hi\n")
	l.drop(id, "INBOX", maildir.Cur, "10.a.host,S=3,W=4:2,Sa", "hi\n")
	l.drop(id, "INBOX", maildir.New, "20.b.host", "hi\n")
	l.drop(id, "INBOX", maildir.New, "40.d.host", "hi\n")
	l.must(os.WriteFile(inbox.File("dovecot-keywords"), []byte("0 $Label1\n"), 0o600))
	l.must(os.WriteFile(inbox.File("dovecot-uidlist"), []byte("3 V1234567890 N99 G00\n"+
		"7 :30.c.host,S=3,W=4\n41 W4 :10.a.host,S=3,W=4\n50 :gone\n60 :20.b.host\n"), 0o600))
	return inbox
}

// Clients of a mailbox that Dovecot had need not read it anew: UIDVALIDITY, UIDs, flags and keywords are as they were.
func TestAdoptUIDs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	inbox := l.left("ann")
	want := "7(FS) 41(S) 60() 99()"
	check := func(when string) {
		t.Helper()
		m := l.mailbox("ann", "INBOX")
		if got := brief(m.View()); got != want || m.UIDValidity() != 1234567890 {
			t.Errorf("%s: %s under %d, want %s under 1234567890", when, got, m.UIDValidity(), want)
		}
		if at, ok := m.View().Find(41); !ok || m.View().At(at).Keywords != 1 {
			t.Errorf("%s: the keyword is lost", when)
		}
		m.Close()
	}
	check("at first")
	if uid := l.append("ann", "INBOX", "new\n", AppendOptions{}); uid != 100 {
		t.Errorf("the next message gets UID %d, want 100", uid)
	}
	want += " 100()"
	l.reopen()
	check("opened again")
	l.must(l.store.Close())
	l.must(os.RemoveAll(l.opts.Cache))
	l.open()
	check("without an index")
	if _, err := os.Stat(inbox.File("dovecot-uidlist")); err == nil {
		t.Error("the list lies there to be taken over again")
	}
	m := l.mailbox("ann", "Sent")
	if m.UIDValidity() <= 1234567890 {
		t.Errorf("another folder has UIDVALIDITY %d", m.UIDValidity())
	}
}

// A crash in the middle leaves files of which some have their UIDs, and no marks: it is done again, to the same end.
func TestAdoptTwice(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	inbox := l.left("ann")
	l.must(os.Rename(inbox.Path(maildir.Cur, "10.a.host,S=3,W=4:2,Sa"), inbox.Path(maildir.Cur, "10.a.host,S=3,W=4,I=499602d2.41:2,Sa")))
	if got, want := brief(l.mailbox("ann", "INBOX").View()), "7(FS) 41(S) 60() 99()"; got != want {
		t.Errorf("INBOX = %s, want %s", got, want)
	}
}

// A list that is none costs a reading of the mailbox and nothing else.
func TestAdoptDamaged(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	inbox := l.left("ann")
	l.must(os.WriteFile(inbox.File("dovecot-uidlist"), []byte("3 V1234567890 N99\n7 :a\nnonsense\n"), 0o600))
	m := l.mailbox("ann", "INBOX")
	if m.View().Len() != 4 || m.UIDValidity() == 1234567890 {
		t.Errorf("%s under %d", brief(m.View()), m.UIDValidity())
	}
}

// A UIDVALIDITY from the future is given out to no other folder.
func TestAdoptRaisesTheCounter(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	inbox := l.left("ann")
	l.must(os.WriteFile(inbox.File("dovecot-uidlist"), []byte("3 V4000000000 N99\n"), 0o600))
	if got := l.mailbox("ann", "INBOX").UIDValidity(); got != 4000000000 {
		t.Fatalf("UIDVALIDITY %d", got)
	}
	l.must(l.home("ann").Create(t.Context(), "Later", ""))
	if got := l.mailbox("ann", "Later").UIDValidity(); got <= 4000000000 {
		t.Errorf("a folder made later has UIDVALIDITY %d", got)
	}
}

// Who goes back to Dovecot finds his UIDs in its lists.
func TestHandOver(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	inbox := l.left("ann")
	l.mailbox("ann", "INBOX")
	l.append("ann", "Sent", "sent\n", AppendOptions{})
	l.must(maildir.Dir(inbox.File(".Lists.go")).Make()) // Lists is no folder
	folders, err := l.store.HandOver(t.Context())
	if err != nil || folders != 7 {
		t.Fatalf("HandOver() = %d, %v; want 7 folders", folders, err)
	}
	list, err := inbox.UIDList()
	if err != nil || list.Validity != 1234567890 || list.Next != 100 || len(list.UIDs) != 4 {
		t.Errorf("list of INBOX: %+v, %v", list, err)
	}
	for base, uid := range list.UIDs {
		if file, err := os.ReadDir(inbox.Sub(maildir.Cur)); uid == 7 && (err != nil || !strings.HasPrefix(base, "30.c.host") || len(file) == 0) {
			t.Errorf("UID 7 is %s, %v", base, err)
		}
	}
}
