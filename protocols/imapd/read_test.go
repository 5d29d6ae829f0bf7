package imapd

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// TestLargeMessage reads a message that is too large to be kept, as clients do: piece by piece, and whole.
func TestLargeMessage(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	attachment := strings.Repeat(strings.Repeat("QUJD", 19)+"\n", 3*maxBuffer/77)
	mail := "Subject: large\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nsmall\n--b\nContent-Type: application/x\nContent-Transfer-Encoding: base64\n\n" + attachment + "--b--\n"
	uid := s.deliver(t, "alice", "INBOX", mail, 0)
	c := s.dial(t, "alice", nil)
	_, err := c.Select("INBOX", nil).Wait()
	must(t, err)

	fetch := func(section *imap.FetchItemBodySection) []byte {
		t.Helper()
		got, err := c.Fetch(imap.UIDSetNum(imap.UID(uid)), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
		must(t, err)
		if len(got) != 1 || len(got[0].BodySection) != 1 {
			t.Fatalf("%d messages for %+v", len(got), section)
		}
		return got[0].BodySection[0].Bytes
	}
	if got := fetch(&imap.FetchItemBodySection{Peek: true}); string(got) != toWire(mail) {
		t.Errorf("whole message: %d octets differ from the %d that were delivered", len(got), len(toWire(mail)))
	}
	want := toWire(strings.TrimSuffix(attachment, "\n"))
	var pieces bytes.Buffer
	for off := int64(0); ; off += 100_000 {
		piece := fetch(&imap.FetchItemBodySection{Part: []int{2}, Peek: true, Partial: &imap.SectionPartial{Offset: off, Size: 100_000}})
		pieces.Write(piece)
		if len(piece) < 100_000 {
			break
		}
	}
	if pieces.String() != want {
		t.Errorf("%d octets in pieces differ from the %d of the part", pieces.Len(), len(want))
	}
	got, err := c.Fetch(imap.UIDSetNum(imap.UID(uid)), &imap.FetchOptions{BinarySectionSize: []*imap.FetchItemBinarySectionSize{{Part: []int{2}}}}).Collect()
	must(t, err)
	if size, want := got[0].BinarySectionSize[0].Size, uint32(strings.Count(attachment, "QUJD")*3); size != want {
		t.Errorf("BINARY.SIZE %d, want %d", size, want)
	}
}

// TestForeignFiles: what other programs put into the Maildir is served as it is, whatever its name says of its size.
func TestForeignFiles(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	dir := filepath.Join(s.homes, "m-2", "Maildir")
	s.home(t, "alice") // makes it
	const text = "Subject: foreign\n\nbody\n"
	for name, content := range map[string]string{
		"1700000001.a.host,S=3,W=4":  text,
		"1700000002.b.host":          toWire(text),
		"1700000003.c.host,S=99:2,S": text,
	} {
		sub := "new"
		if strings.Contains(name, ":2,") {
			sub = "cur"
		}
		must(t, os.WriteFile(filepath.Join(dir, sub, name), []byte(content), 0o600))
	}
	w := s.connect(t, nil)
	w.login("alice")
	if got := w.do("SELECT INBOX"); !hasLine(got, "* 3 EXISTS") {
		t.Fatalf("SELECT: %q", got)
	}
	for n := 1; n <= 3; n++ {
		got := w.do(fmt.Sprintf("FETCH %d BODY.PEEK[]", n))
		want := []string{fmt.Sprintf("* %d FETCH (BODY[] {%d}", n, len(toWire(text))), "Subject: foreign", "", "body", ")"}
		if strings.Join(got[:len(got)-1], "\n") != strings.Join(want, "\n") {
			t.Errorf("message %d: %q, want %q", n, got, want)
		}
	}
}

// TestPipelined: a client that sends many commands at once gets all answers, in order.
func TestPipelined(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	s.deliver(t, "alice", "INBOX", "A: b\n\nc\n", 0)
	w := s.connect(t, s.clientTLS(nil))
	var commands strings.Builder
	fmt.Fprintf(&commands, "a0 LOGIN alice \"%s\"\na1 SELECT INBOX\n", password)
	for i := 2; i < 200; i++ {
		fmt.Fprintf(&commands, "a%d FETCH 1 UID\n", i)
	}
	w.line()
	w.send(commands.String())
	for i := range 200 {
		got := w.until("a")
		if last := got[len(got)-1]; !strings.HasPrefix(last, fmt.Sprintf("a%d OK", i)) {
			t.Fatalf("answer %d: %q", i, got)
		}
	}
}
