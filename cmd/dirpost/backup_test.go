package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-smtp"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
)

// TestBackupCycle makes a backup while mail arrives and is moved about, loses everything, and restores it: every message
// that was acknowledged before the backup began can be read over IMAP, by the same people with the same credentials.
func TestBackupCycle(t *testing.T) {
	t.Parallel()
	s := embeddedSite(t)
	s.watched()
	s.addPeople()
	s.start()
	early := s.earlyMail(t)
	validity := s.arrange(t)

	stop := s.keepBusy(t)
	tar := s.path("backup.tar")
	if out := s.dirpost("backup", tar); !strings.Contains(out, "messages in 2 homes") {
		t.Errorf("backup says %q", out)
	}
	stop()
	s.dirpost("user", "add", "late", "--mail", "late@example.org", "--password-file", s.secret("late", alicePassword))
	s.stop()
	folder := s.path("data/backup") // of the stopped server, on the same file system
	s.dirpost("backup", folder)
	if err := os.Rename(folder, s.path("folder")); err != nil {
		t.Fatal(err)
	}

	for _, from := range []string{tar, s.path("folder")} {
		t.Run(filepath.Base(from), func(t *testing.T) {
			s.t = t
			s.lose()
			if out := s.dirpost("restore", from); !strings.Contains(out, "restored ") {
				t.Errorf("restore says %q", out)
			}
			s.start()
			s.demandEarly(t, early, validity)
			s.demandLogins(t)
			for path, mode := range map[string]os.FileMode{"tls/server.key": 0o600, "tls/server.pem": 0o644, "data": 0o700, "data/keys/frontend": 0o600} {
				if info, err := os.Stat(s.path(path)); err != nil || info.Mode().Perm() != mode {
					t.Errorf("%s: %v, %v; want mode %o", path, info.Mode(), err, mode)
				}
			}
			s.stop()
		})
	}
	s.t = t
}

// earlyMail has messages acknowledged for alice, and one for bob, and returns the subjects of hers.
func (s *site) earlyMail(t *testing.T) []string {
	t.Helper()
	var subjects []string
	for i := range 60 {
		subject := fmt.Sprintf("early-%d", i)
		if err := lmtp(s.addr["lmtp"], "alice@example.org", message("a@b.example", "alice@example.org", subject)); err != nil {
			t.Fatal(err)
		}
		subjects = append(subjects, subject)
	}
	if err := lmtp(s.addr["lmtp"], "bob@example.org", message("a@b.example", "bob@example.org", "for-bob")); err != nil {
		t.Fatal(err)
	}
	return subjects
}

// imapOf logs alice in.
func (s *site) imapOf(t *testing.T) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(s.addr["imap"], nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login("alice", alicePassword).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

// arrange gives alice a folder with some of her messages in it, one with a flag and a keyword, and returns the UIDVALIDITY
// of her INBOX.
func (s *site) arrange(t *testing.T) uint32 {
	t.Helper()
	c := s.imapOf(t)
	if err := c.Create("Work/2026", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Subscribe("Work/2026").Wait(); err != nil {
		t.Fatal(err)
	}
	box, err := c.Select("INBOX", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged, "$Important"}}
	if err := c.Store(imap.UIDSetNum(1), store, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Move(imap.UIDSet{{Start: 1, Stop: 10}}, "Work/2026").Wait(); err != nil {
		t.Fatal(err)
	}
	return box.UIDValidity
}

// keepBusy has mail for both people arrive, and moves alice's to and fro, until stop is called.
func (s *site) keepBusy(t *testing.T) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var workers sync.WaitGroup
	c := s.imapOf(t)
	deliver := func(worker int) {
		conn, err := net.Dial("tcp", s.addr["lmtp"])
		if err != nil {
			t.Error(err)
			return
		}
		client := smtp.NewClientLMTP(conn)
		defer client.Close()
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			to := []string{"alice@example.org", "bob@example.org"}[i%2]
			if err := lmtpOn(client, to, message("a@b.example", to, fmt.Sprintf("meanwhile-%d-%d", worker, i))); err != nil {
				t.Error(err)
				return
			}
		}
	}
	for worker := range 2 {
		workers.Go(func() { deliver(worker) })
	}
	workers.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			folders := []string{"INBOX", "Work/2026"}
			if _, err := c.Select(folders[i%2], nil).Wait(); err != nil {
				t.Error(err)
				return
			}
			if _, err := c.Move(imap.SeqSet{{Start: 1, Stop: 5}}, folders[1-i%2]).Wait(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	return func() {
		close(done)
		workers.Wait()
	}
}

// lose removes all that a backup has.
func (s *site) lose() {
	s.t.Helper()
	for _, name := range []string{"dirpost.toml", "data", "cache", "tls"} {
		if err := os.RemoveAll(s.path(name)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// demandEarly looks for all early messages in alice's folders.
func (s *site) demandEarly(t *testing.T, early []string, validity uint32) {
	t.Helper()
	c := s.imapOf(t)
	found := map[string]int{}
	flagged := ""
	for _, folder := range []string{"INBOX", "Work/2026"} {
		box, err := c.Select(folder, nil).Wait()
		if err != nil {
			t.Fatal(err)
		}
		if folder == "INBOX" && box.UIDValidity <= validity {
			t.Errorf("UIDVALIDITY is %d, was %d: clients would mix up what they know with what is there", box.UIDValidity, validity)
		}
		if box.NumMessages == 0 {
			continue
		}
		messages, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{Envelope: true, Flags: true}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			found[m.Envelope.Subject]++
			if slices.Contains(m.Flags, imap.FlagFlagged) && slices.Contains(m.Flags, imap.Flag("$Important")) {
				flagged = m.Envelope.Subject
			}
		}
	}
	for _, subject := range early {
		if found[subject] == 0 {
			t.Errorf("%s was acknowledged before the backup and is not there", subject)
		}
	}
	if flagged != early[0] {
		t.Errorf("%q has the flag and the keyword, want %s", flagged, early[0])
	}
	list, err := c.List("", "*", &imap.ListOptions{SelectSubscribed: true}).Collect()
	if err != nil || !slices.ContainsFunc(list, func(l *imap.ListData) bool { return l.Mailbox == "Work/2026" }) {
		t.Errorf("subscriptions: %v, %v; want Work/2026", list, err)
	}
}

// demandLogins: the directory is the one of the backup.
func (s *site) demandLogins(t *testing.T) {
	t.Helper()
	if got := s.count(t, "bob", "INBOX"); got == 0 {
		t.Error("bob has no mail")
	}
	out, err := s.try("curl", "-sS", "--cacert", s.path("ca.pem"), "--cert", s.path("alice.pem"), "--key", s.path("alice.key"),
		"--login-options", "AUTH=EXTERNAL", "--user", "alice:", "imaps://localhost:"+s.port("imaps"), "-X", "STATUS INBOX (MESSAGES)")
	if err != nil {
		t.Errorf("alice by certificate: %v\n%s", err, out)
	}
	if out, err := s.deliver(t, "after-the-restore"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	s.find(t, "alice", "after-the-restore")
	if out := s.dirpost("address", "show", "wonderland@example.org"); !strings.Contains(out, "mailbox of alice") {
		t.Errorf("the alias leads to\n%s", out)
	}
}

// TestRestoreRefuses what would overwrite something.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	s := embeddedSite(t)
	tar := s.path("b.tar")
	s.dirpost("backup", tar)
	if out := s.fails("restore", tar); !strings.Contains(out, "already") && !strings.Contains(out, s.config) {
		t.Errorf("over a configuration: %q", out)
	}
	if err := os.Remove(s.config); err != nil {
		t.Fatal(err)
	}
	if out := s.fails("restore", tar); !strings.Contains(out, s.path("data")+" is not empty") {
		t.Errorf("over data: %q", out)
	}
	whole, err := os.ReadFile(tar)
	if err != nil {
		t.Fatal(err)
	}
	s.file("half.tar", string(whole[:len(whole)/2]))
	if out := s.fails("restore", s.path("half.tar"), "--data", s.path("other"), "--cache", s.path("other-cache")); !strings.Contains(out, "not a whole backup") || !strings.Contains(out, "remove it") {
		t.Errorf("half a backup: %q", out)
	}
	if _, err := os.Stat(s.config); err == nil {
		t.Error("half a backup has made a configuration")
	}
	if err := os.RemoveAll(s.path("other")); err != nil {
		t.Fatal(err)
	}
	s.dirpost("restore", tar, "--data", s.path("other"), "--cache", s.path("other-cache"))
	if out := s.dirpost("domain", "list"); !strings.Contains(out, "example.org") {
		t.Errorf("after a restore elsewhere: %q", out)
	}
}

// TestBackupWithSlapd: with an LDAP server of one's own the accounts stay where they are, and the password of the service
// entry is in the backup.
func TestBackupWithSlapd(t *testing.T) {
	t.Parallel()
	s := slapdSite(t)
	s.addPeople()
	s.start()
	if out, err := s.deliver(t, "before"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cfg, err := config.Load(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.dirpost("backup", s.path("b.tar"))
	s.stop()
	s.lose()
	if err := os.Remove(cfg.Directory.PasswordFile); err != nil {
		t.Fatal(err)
	}
	s.dirpost("restore", s.path("b.tar"))
	s.start()
	s.find(t, "alice", "before")
	if got := s.count(t, "alice", "INBOX"); got != 1 {
		t.Errorf("%d messages, want 1", got)
	}
	if info, err := os.Stat(cfg.Directory.PasswordFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the password of the service: %v, %v; want mode 600", info, err)
	}
}
