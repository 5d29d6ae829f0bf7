package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/profile"
	"github.com/dirpost/dirpost/protocols/certs"
)

// TestEndings changes the directory under open sessions: those that would not be let in any more hear the last word of
// their protocol, without having said anything, and all others stay. The log of the test has the table of how long it took.
func TestEndings(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		s := embeddedSite(t)
		s.testEndings(t, client.Options{URIs: []string{"ldapi://" + s.path("ldapi")}, External: true})
	})
	t.Run("slapd", func(t *testing.T) {
		t.Parallel()
		s, slapd := slapdSiteWith(t)
		s.testEndings(t, client.Options{URIs: []string{slapd.URI}, BindDN: slapd.RootDN, Password: slapd.RootPassword})
	})
}

func (s *site) testEndings(t *testing.T, admin client.Options) {
	s.addPeople()
	s.client("spare", certs.Request{})
	s.dirpost("cert", "add", "alice", s.path("spare.pem"))
	s.start()
	c, err := client.New(admin)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const (
		people = ",ou=people,dc=example,dc=org"
		alice  = "uid=alice" + people
		press  = "cn=press,ou=roles,dc=example,dc=org"
	)
	set := func(dn, attr string, values ...string) {
		t.Helper()
		req := ldap.NewModifyRequest(dn, nil)
		req.Replace(attr, values)
		if err := c.Modify(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	values := func(attr string) []string {
		t.Helper()
		e, err := c.One(t.Context(), alice, ldap.ScopeBaseObject, "(objectClass=*)", attr)
		if err != nil {
			t.Fatal(err)
		}
		return e.GetAttributeValues(attr)
	}
	mappings, password := values("dpCertSHA256"), alicePassword
	const (
		imap, idle, smtp, role     = "imap", "imap in IDLE", "submission", "submission as a role"
		imapExternal, smtpExternal = "imap by certificate", "submission by certificate"
	)
	all := []string{imap, idle, smtp, role, imapExternal, smtpExternal}
	causes := []struct {
		name     string
		ends     []string // the sessions of alice that end
		do, undo func()
	}{
		{name: "suspended", ends: all, do: func() { set(alice, "dpAccountStatus", "suspended") }, undo: func() { set(alice, "dpAccountStatus", "active") }},
		{name: "nologin", ends: all, do: func() { set(alice, "dpAccountStatus", "nologin") }, undo: func() { set(alice, "dpAccountStatus", "active") }},
		{name: "no IMAP", ends: []string{imap, idle, imapExternal}, do: func() { set(alice, "dpMailService", "submission") }, undo: func() { set(alice, "dpMailService", "imap", "submission") }},
		{name: "no submission", ends: []string{smtp, role, smtpExternal}, do: func() { set(alice, "dpMailService", "imap") }, undo: func() { set(alice, "dpMailService", "imap", "submission") }},
		{name: "one certificate removed", ends: []string{imapExternal, smtpExternal}, do: func() { set(alice, "dpCertSHA256", mappings[1]) }, undo: func() { set(alice, "dpCertSHA256", mappings...) }},
		{name: "certificates only", ends: []string{imap, idle, smtp, role}, do: func() { set(alice, "dpAuthPolicy", "certificate") }, undo: func() { set(alice, "dpAuthPolicy") }},
		{name: "from another network only", ends: all, do: func() { set(alice, "dpAllowedNetwork", "192.0.2.0/24") }, undo: func() { set(alice, "dpAllowedNetwork") }},
		{name: "role revoked", ends: []string{role}, do: func() { set(press, "dpSendGrant") }, undo: func() { set(press, "dpSendGrant", alice) }},
		{name: "role deleted", ends: []string{role}, do: func() {
			if err := c.Delete(t.Context(), press); err != nil {
				t.Fatal(err)
			}
		}, undo: func() { s.dirpost("role", "add", "press@example.org", "--occupant", "alice") }},
		{name: "a name that is nobody's right", ends: nil, do: func() { set(alice, "cn", "Alice Other") }, undo: func() {}},
		{name: "another password", ends: []string{imap, idle, smtp, role}, do: func() {
			own := admin // an administrator's reset would let her in no more before she has set one herself
			own.BindDN, own.Password, own.External = alice, password, false
			self, err := client.New(own)
			if err != nil {
				t.Fatal(err)
			}
			defer self.Close()
			if _, err := self.SetPassword(t.Context(), alice, password, "another-pass-1"); err != nil {
				t.Fatal(err)
			}
			password = "another-pass-1"
		}, undo: func() {}},
		{name: "deleted", ends: all, do: func() {
			if err := c.Delete(t.Context(), alice); err != nil {
				t.Fatal(err)
			}
		}, undo: func() {}},
	}
	if admin.Profile.Name() == profile.DS389 { // whose own tools lock accounts too
		locked := causes[0]
		locked.name = "locked"
		locked.do, locked.undo = func() { set(alice, "nsAccountLock", "TRUE") }, func() { set(alice, "nsAccountLock") }
		causes = slices.Insert(causes, 1, locked)
	}
	t.Logf("%-30s %-26s ms", "cause", "session")
	// A password is dated by the second, and another change in the same one may be one more.
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	for _, cause := range causes {
		bob := s.imapSession(t, "bob", bobPassword)
		sessions := map[string]*dialogue{
			imap: s.imapSession(t, "alice", password), idle: s.imapSession(t, "alice", password),
			smtp: s.submission(t, password), role: s.submission(t, password), imapExternal: s.imapExternal(t), smtpExternal: s.submissionExternal(t),
		}
		sessions[idle].say("i IDLE")
		sessions[idle].hear("+")
		sessions[role].say("MAIL FROM:<press@example.org>")
		sessions[role].hear("250")
		begun := time.Now()
		cause.do()
		for _, name := range cause.ends {
			last := "* BYE [UNAVAILABLE]"
			if strings.HasPrefix(name, smtp) {
				last = "421"
			}
			sessions[name].hear(last)
			t.Logf("%-30s %-26s %.1f", cause.name, name, float64(time.Since(begun).Microseconds())/1000)
		}
		for name, d := range sessions {
			switch {
			case slices.Contains(cause.ends, name):
			case name == idle:
				d.say("DONE")
				d.hear("i OK")
			case strings.HasPrefix(name, smtp):
				d.say("NOOP")
				d.hear("250")
			default:
				d.say("n NOOP")
				d.hear("n OK")
			}
			d.conn.Close()
		}
		bob.say("n NOOP")
		bob.hear("n OK")
		bob.conn.Close()
		cause.undo()
		if cause.name != "deleted" {
			s.settle(t, password)
		}
	}
}

// TestRevocation: a certificate that its authority revokes does not hold its sessions open, though nobody touched the person's
// entry.
func TestRevocation(t *testing.T) {
	t.Parallel()
	s := embeddedSite(t)
	s.addPeople()
	list := func(revoked ...*x509.Certificate) string {
		der, err := s.ca.CRL(time.Now().Add(-time.Minute), time.Now().Add(time.Hour), revoked...)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path("ca.crl"), der, 0o600); err != nil {
			t.Fatal(err)
		}
		return s.path("ca.crl")
	}
	s.dirpost("authority", "remove", "test")
	s.dirpost("authority", "add", "test", s.path("ca.pem"), "--trust", "sha256", "--crl", list())
	s.start()
	external, byPassword := s.imapExternal(t), s.imapSession(t, "alice", alicePassword)
	text, err := os.ReadFile(s.path("alice.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	s.dirpost("authority", "crl", "test", list(cert))
	begun := time.Now()
	external.hear("* BYE [UNAVAILABLE]")
	t.Logf("after %s", time.Since(begun).Round(time.Millisecond))
	byPassword.say("n NOOP")
	byPassword.hear("n OK")
}

// settle waits until alice may log in everywhere, and send as the role, again: as the server sees it a change may come a
// moment later.
func (s *site) settle(t *testing.T, password string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		d := talk(t, s.addr["submission"])
		ready := d.ask("EHLO x", "250 ") && d.ask("AUTH PLAIN "+plain("alice", password), "235") && d.ask("MAIL FROM:<press@example.org>", "250")
		d.conn.Close()
		d = talk(t, s.addr["imap"])
		d.say("a LOGIN alice " + password)
		ready = ready && strings.HasPrefix(d.answer("a "), "a OK")
		d.conn.Close()
		if ready {
			return
		}
	}
	t.Fatal("alice cannot send as the role again")
}

// ask says a line and reports whether the answer is the one wanted.
func (d *dialogue) ask(line, want string) bool {
	d.say(line)
	for {
		answer, err := d.in.ReadString('\n')
		if err != nil {
			return false
		}
		if len(answer) > 3 && answer[3] == ' ' && !strings.HasPrefix(answer, "220") {
			return strings.HasPrefix(answer, want)
		}
	}
}

// answer reads the next line that begins with a tag.
func (d *dialogue) answer(tag string) string {
	for {
		line, err := d.in.ReadString('\n')
		if err != nil || strings.HasPrefix(line, tag) {
			return line
		}
	}
}

func plain(login, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + login + "\x00" + password))
}

func (s *site) imapSession(t *testing.T, login, password string) *dialogue {
	t.Helper()
	d := talk(t, s.addr["imap"])
	d.say("a LOGIN " + login + " " + password)
	d.hear("a OK")
	d.say("b SELECT INBOX")
	d.hear("b OK")
	return d
}

func (s *site) submission(t *testing.T, password string) *dialogue {
	t.Helper()
	d := talk(t, s.addr["submission"])
	d.say("EHLO x")
	d.say("AUTH PLAIN " + plain("alice", password))
	d.hear("235")
	return d
}

// external is a connection with the certificate of alice.
func (s *site) external(t *testing.T, service string) *dialogue {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(s.path("alice.pem"), s.path("alice.key"))
	if err != nil {
		t.Fatal(err)
	}
	d := talk(t, s.addr[service])
	secure := tls.Client(d.conn, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}})
	return &dialogue{t, secure, bufio.NewReader(secure)}
}

func (s *site) imapExternal(t *testing.T) *dialogue {
	t.Helper()
	d := s.external(t, "imaps")
	d.hear("* OK")
	d.say("a AUTHENTICATE EXTERNAL")
	d.hear("+")
	d.say("")
	d.hear("a OK")
	return d
}

func (s *site) submissionExternal(t *testing.T) *dialogue {
	t.Helper()
	d := s.external(t, "submissions")
	d.say("EHLO x")
	d.say("AUTH EXTERNAL =")
	d.hear("235")
	return d
}
