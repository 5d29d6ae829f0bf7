package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-smtp"
	"golang.org/x/sys/unix"
)

// TestKill kills the server while many deliver. After a restart every message that was acknowledged is there exactly
// once, every UID of the mailbox is another, and what was half done is swept away.
func TestKill(t *testing.T) {
	t.Parallel()
	s := embeddedSite(t)
	s.addPeople()
	for round := range 3 {
		s.start()
		acknowledged := s.deliverUntilKilled(t, fmt.Sprintf("round%d", round), 150)
		s.start()
		s.demandOnce(t, acknowledged)
		if err := lmtp(s.addr["lmtp"], "alice@example.org", message("a@b.example", "alice@example.org", fmt.Sprintf("after%d", round))); err != nil {
			t.Errorf("after the restart: %v", err)
		}
		s.find(t, "alice", fmt.Sprintf("after%d", round))
		left, err := os.ReadDir(filepath.Join(s.path("data"), "homes", ".staging"))
		if err != nil || len(left) != 0 {
			t.Errorf("left over in staging: %v, %v", left, err)
		}
		s.stop()
	}
}

// deliverUntilKilled delivers on eight connections until enough are acknowledged, kills the server, and returns the
// subjects of all that were.
func (s *site) deliverUntilKilled(t *testing.T, prefix string, enough int32) []string {
	t.Helper()
	var count atomic.Int32
	var mu sync.Mutex
	var acknowledged []string
	reached := make(chan struct{})
	var senders sync.WaitGroup
	for worker := range 8 {
		senders.Go(func() {
			conn, err := net.Dial("tcp", s.addr["lmtp"])
			if err != nil {
				return
			}
			c := smtp.NewClientLMTP(conn)
			defer c.Close()
			for i := 0; ; i++ {
				subject := fmt.Sprintf("%s-%d-%d", prefix, worker, i)
				if err := lmtpOn(c, "alice@example.org", message("a@b.example", "alice@example.org", subject)); err != nil {
					return // killed
				}
				mu.Lock()
				acknowledged = append(acknowledged, subject)
				mu.Unlock()
				if count.Add(1) == enough {
					close(reached)
				}
			}
		})
	}
	<-reached
	s.kill()
	senders.Wait()
	return acknowledged
}

var uidField = regexp.MustCompile(`,I=[0-9a-f]+\.([0-9]+)`)

// demandOnce looks for every acknowledged message in the files, after the server has looked at them too.
func (s *site) demandOnce(t *testing.T, subjects []string) {
	t.Helper()
	total := s.count(t, "alice", "INBOX") // opens the mailbox
	seen, uids := map[string]int{}, map[string]string{}
	inbox := filepath.Join(s.home("alice"), "Maildir")
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(inbox, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			text, err := os.ReadFile(filepath.Join(inbox, sub, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			subject := regexp.MustCompile(`(?m)^Subject: (.*)$`).FindSubmatch(text)
			uid := uidField.FindStringSubmatch(e.Name())
			if subject == nil || uid == nil {
				t.Fatalf("%s is half a message or has no UID:\n%s", e.Name(), text)
			}
			if other := uids[uid[1]]; other != "" {
				t.Errorf("UID %s is on %s and on %s", uid[1], other, e.Name())
			}
			uids[uid[1]] = e.Name()
			seen[string(subject[1])]++
		}
	}
	if total != len(uids) {
		t.Errorf("the server shows %d messages, there are %d files", total, len(uids))
	}
	for _, subject := range subjects {
		if seen[subject] != 1 {
			t.Errorf("%s was acknowledged and is there %d times", subject, seen[subject])
		}
	}
}

// TestFullDisk fills a small file system. The client is told to come again, what does not fit is nowhere to be seen, and
// once there is room mail flows on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		const why = "not root: a small tmpfs cannot be mounted, so a full disk cannot be had"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Log(why)
		return
	}
	s := embeddedSite(t)
	s.addPeople()
	homes := filepath.Join(s.path("data"), "homes")
	if err := os.MkdirAll(homes, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", homes, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() {
		s.stop()
		if err := unix.Unmount(homes, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	s.start()
	send := func(subject string) error {
		return lmtp(s.addr["lmtp"], "alice@example.org", message("a@b.example", "alice@example.org", subject)+string(filling(64<<10)))
	}
	if err := send("fits"); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(homes, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	err = send("no-room")
	if code := replyCode(err); code/100 != 4 {
		t.Errorf("on a full disk the answer is %v, want a 4xx", err)
	}
	if got := s.count(t, "alice", "INBOX"); got != 1 {
		t.Errorf("%d messages are visible, want the one that fitted", got)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := send("room-again"); err != nil {
		t.Errorf("with room again: %v", err)
	}
	s.find(t, "alice", "fits")
	s.find(t, "alice", "room-again")
	if got := s.count(t, "alice", "INBOX"); got != 2 {
		t.Errorf("%d messages, want 2", got)
	}
}

// filling is n octets of short lines.
func filling(n int) []byte {
	b := make([]byte, 0, n)
	for len(b) < n {
		b = append(b, "all work and no play makes a long message\r\n"...)
	}
	return b
}

// replyCode is the SMTP code of an error, of the first recipient in LMTP; 0 = none.
func replyCode(err error) int {
	switch e := err.(type) {
	case *smtp.SMTPError:
		return e.Code
	case smtp.LMTPDataError:
		for _, r := range e {
			return r.Code
		}
	}
	return 0
}
