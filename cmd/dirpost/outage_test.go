package main

import (
	"net"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-smtp"
)

// TestDirectoryOutage stops slapd under a running server. Mail for those who are known is taken; everybody else is told to
// come again, nobody that a password is wrong or an address unknown; who is in stays in; and when slapd is back all goes on
// without a restart.
func TestDirectoryOutage(t *testing.T) {
	t.Parallel()
	s, slapd := slapdSiteWith(t)
	s.addPeople()
	s.start()
	if out, err := s.deliver(t, "before"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	open, err := imapclient.DialInsecure(s.addr["imap"], nil)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := open.Login("alice", alicePassword).Wait(); err != nil {
		t.Fatal(err)
	}

	slapd.Stop(t)
	if out, err := s.deliver(t, "during"); err != nil {
		t.Errorf("mail for a known address without a directory: %v\n%s", err, out)
	}
	out, err := s.swaks(t, "mx", "--from", "stranger@elsewhere.example", "--to", "nobody@example.org")
	if err == nil || !strings.Contains(out, "<** 451 4.3.0") {
		t.Errorf("RCPT of an unknown address without a directory: %v, want 451 4.3.0 in\n%s", err, out)
	}
	out, err = s.swaks(t, "submission", "-tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", alicePassword, "--quit-after", "AUTH")
	if err == nil || !strings.Contains(out, "454 4.7.0") {
		t.Errorf("AUTH without a directory: %v, want 454 4.7.0 in\n%s", err, out)
	}
	out, err = s.try("curl", "-sSv", "--cacert", s.path("ca.pem"), "--user", "alice:"+alicePassword, "imaps://localhost:"+s.port("imaps"), "-X", "NOOP")
	if err == nil || !strings.Contains(out, "[UNAVAILABLE]") {
		t.Errorf("LOGIN without a directory: %v, want [UNAVAILABLE] in\n%s", err, out)
	}
	box, err := open.Select("INBOX", nil).Wait()
	if err != nil || box.NumMessages != 2 {
		t.Errorf("an open session sees %+v, %v; want two messages", box, err)
	}

	slapd.Start(t)
	if out, err := s.deliver(t, "after"); err != nil {
		t.Errorf("after the outage: %v\n%s", err, out)
	}
	s.find(t, "alice", "before")
	s.find(t, "alice", "during")
	s.find(t, "alice", "after")
	if got := s.count(t, "alice", "INBOX"); got != 3 {
		t.Errorf("%d messages, want the three that were accepted", got)
	}
}

// TestStartWithoutDirectory starts while slapd is away: the server runs and says so to its clients.
func TestStartWithoutDirectory(t *testing.T) {
	t.Parallel()
	s, slapd := slapdSiteWith(t)
	s.addPeople()
	slapd.Stop(t)
	s.start()
	if out, err := s.deliver(t, "early"); err == nil || !strings.Contains(out, "451 4.3.0") {
		t.Errorf("%v, want 451 4.3.0 in\n%s", err, out)
	}
	slapd.Start(t)
	if out, err := s.deliver(t, "late"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// deliver sends alice a message as a stranger.
func (s *site) deliver(t *testing.T, subject string) (string, error) {
	t.Helper()
	return s.swaks(t, "mx", "--from", "stranger@elsewhere.example", "--to", "alice@example.org", "--header", "Subject: "+subject)
}

// lmtp delivers one message to one recipient over an own connection, and returns what the server answered to the data.
func lmtp(addr, to, text string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	c := smtp.NewClientLMTP(conn)
	defer c.Close()
	return lmtpOn(c, to, text)
}

// lmtpOn is one transaction of an open session, for a list.
func lmtpOn(c *smtp.Client, to, text string) error {
	return transaction(c, "list@elsewhere.example", to, text)
}

// transaction sends one message in an open session.
func transaction(c *smtp.Client, from, to, text string) error {
	if err := c.Mail(from, nil); err != nil {
		return err
	}
	if err := c.Rcpt(to, nil); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(text)); err != nil {
		return err
	}
	return w.Close()
}
