package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/protocols/certs"
	"github.com/dirpost/dirpost/schema/slapdtest"
)

const (
	alicePassword = "wonderland-7"
	bobPassword   = "builder-is-here"
)

// TestCycle is the whole of it, with programs that others wrote: accounts by the CLI, mail in by MX, submission and
// LMTP, mail read by IMAP, the same over the embedded directory and over slapd with the reference configuration.
func TestCycle(t *testing.T) {
	t.Parallel()
	for name, newSite := range map[string]func(*testing.T) *site{"embedded": embeddedSite, "slapd": slapdSite} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.addPeople()
			s.start()
			t.Run("submission", s.testSubmission)
			t.Run("mx", s.testMX)
			t.Run("lmtp", s.testLMTP)
			t.Run("imap", s.testIMAP)
			t.Run("mbsync", s.testMbsync)
			t.Run("directory", s.testDirectoryTools)
		})
	}
}

func embeddedSite(t *testing.T) *site { return newSite(t, nil) }

func slapdSite(t *testing.T) *site {
	s, _ := slapdSiteWith(t)
	return s
}

func slapdSiteWith(t *testing.T) (*site, *slapdtest.Server) {
	t.Helper()
	slapd := slapdtest.Start(t, slapdtest.Options{})
	dir := t.TempDir()
	for name, text := range map[string]string{"root": slapd.RootPassword, "frontend": "frontend-secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	as := []string{"--as", slapd.RootDN, "--as-password-file", filepath.Join(dir, "root")}
	return newSite(t, as, "--ldap-uri", slapd.URI, "--base", slapd.Base, "--bind-password-file", filepath.Join(dir, "frontend")), slapd
}

// addPeople is what the README's tour does: users, an alias, a role, certificates.
func (s *site) addPeople() {
	s.t.Helper()
	s.dirpost("user", "add", "alice", "--mail", "alice@example.org", "--name", "Alice Adler", "--password-file", s.secret("alice", alicePassword))
	s.dirpost("user", "add", "bob", "--mail", "bob@example.org", "--password-file", s.secret("bob", bobPassword))
	s.dirpost("alias", "add", "wonderland@example.org", "alice")
	s.dirpost("role", "add", "press@example.org", "--occupant", "alice")
	s.client("alice", certs.Request{Emails: []string{"alice@example.org"}})
	s.client("unmapped", certs.Request{})
	s.dirpost("cert", "add", "alice", s.path("alice.pem"))
	s.dirpost("authority", "add", "test", s.path("ca.pem"), "--trust", "sha256")
}

func (s *site) swaks(t *testing.T, service string, args ...string) (string, error) {
	t.Helper()
	host, port := "127.0.0.1", s.port(service)
	base := []string{"--server", host, "--port", port, "--helo", "client.test", "--timeout", "30", "--tls-ca-path", s.path("ca.pem")}
	return s.try("swaks", append(base, args...)...)
}

func (s *site) testSubmission(t *testing.T) {
	tests := []struct {
		name    string
		service string
		args    []string
		want    string // in swaks' transcript
		refused bool
	}{
		{"password over STARTTLS", "submission", []string{"-tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", alicePassword, "--from", "alice@example.org", "--to", "bob@example.org", "--header", "Subject: sub-plain"}, "250 2.0.0", false},
		{"mechanism LOGIN, by address", "submission", []string{"-tls", "--auth", "LOGIN", "--auth-user", "alice@example.org", "--auth-password", alicePassword, "--from", "alice@example.org", "--to", "bob@example.org", "--header", "Subject: sub-login"}, "250 2.0.0", false},
		{"over implicit TLS", "submissions", []string{"--tls-on-connect", "--auth", "PLAIN", "--auth-user", "bob", "--auth-password", bobPassword, "--from", "bob@example.org", "--to", "alice@example.org", "--header", "Subject: sub-tls"}, "250 2.0.0", false},
		{"as the role", "submission", []string{"-tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", alicePassword, "--from", "press@example.org", "--to", "bob@example.org", "--header", "Subject: sub-role"}, "250 2.0.0", false},
		{"a wrong password", "submission", []string{"-tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "x" + alicePassword, "--from", "alice@example.org", "--to", "bob@example.org"}, "535 5.7.8", true},
		{"a login name full of filter", "submission", []string{"-tls", "--auth", "PLAIN", "--auth-user", "*)(uid=*", "--auth-password", alicePassword, "--from", "alice@example.org", "--to", "bob@example.org"}, "535 5.7.8", true},
		{"no login", "submission", []string{"-tls", "--from", "alice@example.org", "--to", "bob@example.org"}, "5.7.", true},
		{"a foreign sender", "submission", []string{"-tls", "--auth", "PLAIN", "--auth-user", "bob", "--auth-password", bobPassword, "--from", "alice@example.org", "--to", "bob@example.org"}, "5.7.1", true},
		{"the alias as sender", "submission", []string{"-tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", alicePassword, "--from", "wonderland@example.org", "--to", "bob@example.org"}, "5.7.1", true},
		{"a forged From", "submission", []string{"-tls", "--auth", "PLAIN", "--auth-user", "bob", "--auth-password", bobPassword, "--from", "bob@example.org", "--h-From", "alice@example.org", "--to", "alice@example.org"}, "550 5.7.1", true},
		{"the role by one who does not hold it", "submission", []string{"-tls", "--auth", "PLAIN", "--auth-user", "bob", "--auth-password", bobPassword, "--from", "press@example.org", "--to", "alice@example.org"}, "5.7.1", true},
		{"outside, for now", "submission", []string{"-tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", alicePassword, "--from", "alice@example.org", "--to", "x@elsewhere.example"}, "451 4.4.0 outbound mail is not set up yet", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := s.swaks(t, tt.service, tt.args...)
			if (err != nil) != tt.refused || !strings.Contains(out, tt.want) {
				t.Errorf("refused = %v (%v), want %v with %q in\n%s", err != nil, err, tt.refused, tt.want, out)
			}
		})
	}
	t.Run("client certificate", s.testExternalSubmission)
}

// testExternalSubmission speaks EXTERNAL through curl, which sends the user name as the authzid.
func (s *site) testExternalSubmission(t *testing.T) {
	mail := s.file("external.eml", message("alice@example.org", "bob@example.org", "sub-external"))
	out, err := s.try("curl", "-sS", "-v", "--url", "smtps://localhost:"+s.port("submissions"), "--cacert", s.path("ca.pem"),
		"--cert", s.path("alice.pem"), "--key", s.path("alice.key"), "--login-options", "AUTH=EXTERNAL", "--user", "alice:",
		"--mail-from", "alice@example.org", "--mail-rcpt", "bob@example.org", "-T", mail)
	if err != nil || !strings.Contains(out, "AUTH EXTERNAL") {
		t.Errorf("EXTERNAL by curl: %v\n%s", err, out)
	}
	out, err = s.try("curl", "-sS", "-v", "--url", "smtps://localhost:"+s.port("submissions"), "--cacert", s.path("ca.pem"),
		"--cert", s.path("unmapped.pem"), "--key", s.path("unmapped.key"), "--user", "bob:"+bobPassword,
		"--mail-from", "bob@example.org", "--mail-rcpt", "bob@example.org", "-T", s.file("unmapped.eml", message("bob@example.org", "bob@example.org", "sub-unmapped")))
	if err != nil || strings.Contains(out, "EXTERNAL") {
		t.Errorf("a certificate of nobody must leave the password way open, EXTERNAL not offered: %v\n%s", err, out)
	}
}

func (s *site) testMX(t *testing.T) {
	tests := []struct {
		name, to, want string
		refused        bool
	}{
		{"a user", "alice@example.org", "250 2.0.0", false},
		{"in any case, with a detail", "ALICE+News@Example.ORG", "250 2.0.0", false},
		{"her alias", "wonderland@example.org", "250 2.0.0", false},
		{"the role", "press@example.org", "250 2.0.0", false},
		{"nobody", "nobody@example.org", "550 5.1.1", true},
		{"relaying", "x@elsewhere.example", "550 5.7.1", true},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := s.swaks(t, "mx", "-tls", "--from", "stranger@elsewhere.example", "--to", tt.to, "--header", fmt.Sprintf("Subject: mx-%d", i))
			if (err != nil) != tt.refused || !strings.Contains(out, tt.want) {
				t.Errorf("refused = %v, want %v with %q in\n%s", err != nil, tt.refused, tt.want, out)
			}
		})
	}
	t.Run("nobody logs in here", func(t *testing.T) {
		out, _ := s.swaks(t, "mx", "-tls", "--quit-after", "EHLO")
		if strings.Contains(out, "AUTH") {
			t.Errorf("the MX offers AUTH:\n%s", out)
		}
	})
}

func (s *site) testLMTP(t *testing.T) {
	out, err := s.try("swaks", "--protocol", "LMTP", "--socket", s.path("lmtp"), "--from", "list@elsewhere.example",
		"--to", "alice@example.org,bob@example.org", "--header", "Subject: lmtp-two")
	if err != nil || strings.Count(out, "<-  250 2.0.0") < 2 {
		t.Fatalf("two recipients by LMTP: %v\n%s", err, out)
	}
	one, two := s.find(t, "alice", "lmtp-two"), s.find(t, "bob", "lmtp-two")
	a, err := os.Stat(one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(two)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(a, b) {
		t.Errorf("%s and %s are two files; one was to be linked", one, two)
	}
}

// find returns the one file of a user's mailboxes whose subject is given.
func (s *site) find(t *testing.T, login, subject string) string {
	t.Helper()
	var found []string
	home := s.home(login)
	err := filepath.WalkDir(home, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(path)) != "new" && filepath.Base(filepath.Dir(path)) != "cur" {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), "Subject: "+subject+"\n") {
			found = append(found, path)
		}
		return err
	})
	if err != nil || len(found) != 1 {
		t.Fatalf("%d files with subject %s below %s (%v), want one", len(found), subject, home, err)
	}
	return found[0]
}

// home returns the folder of a user's mail.
func (s *site) home(login string) string {
	s.t.Helper()
	out := s.dirpost("user", "show", login)
	for line := range strings.Lines(out) {
		if id, ok := strings.CutPrefix(line, "mailbox "); ok {
			return filepath.Join(s.path("data"), "homes", strings.TrimSpace(id))
		}
	}
	s.t.Fatalf("no mailbox in\n%s", out)
	return ""
}

func (s *site) testIMAP(t *testing.T) {
	curl := func(args ...string) (string, error) {
		return s.try("curl", append([]string{"-sS", "--cacert", s.path("ca.pem")}, args...)...)
	}
	imaps := "imaps://localhost:" + s.port("imaps")
	for _, subject := range []string{"sub-plain", "sub-login", "sub-role", "sub-external", "lmtp-two"} {
		out, err := curl("--user", "bob:"+bobPassword, imaps+"/INBOX", "-X", "UID SEARCH HEADER Subject "+subject)
		if err != nil || len(strings.Fields(out)) != 3 {
			t.Errorf("bob has %q for %s (%v), want one UID", out, subject, err)
		}
	}
	t.Run("STARTTLS", func(t *testing.T) {
		out, err := curl("--ssl-reqd", "--user", "alice:"+alicePassword, "imap://localhost:"+s.port("imap")+"/INBOX;UID=1")
		if err != nil || !strings.Contains(out, "Received: from client.test") || !strings.Contains(out, "\r\n\r\n") {
			t.Errorf("the first message of alice: %v\n%s", err, out)
		}
	})
	t.Run("EXTERNAL", func(t *testing.T) {
		out, err := curl("-v", "--cert", s.path("alice.pem"), "--key", s.path("alice.key"), "--login-options", "AUTH=EXTERNAL", "--user", "alice:", imaps+"/INBOX", "-X", "STATUS INBOX (MESSAGES)")
		if err != nil || !strings.Contains(out, "AUTHENTICATE EXTERNAL") || !strings.Contains(out, "* STATUS INBOX (MESSAGES ") {
			t.Errorf("EXTERNAL by curl: %v\n%s", err, out)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		out, err := curl("-v", "--user", "alice:wrong", imaps+"/INBOX")
		if err == nil || !strings.Contains(out, "[AUTHENTICATIONFAILED]") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("EXTERNAL is not offered to nobody", func(t *testing.T) {
		out, err := curl("-v", "--cert", s.path("unmapped.pem"), "--key", s.path("unmapped.key"), "--user", "bob:"+bobPassword, imaps+"/INBOX", "-X", "NOOP")
		if err != nil || strings.Contains(out, "AUTH=EXTERNAL") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// testMbsync keeps a Maildir and the server alike in both directions, twice: a second run must find nothing to do.
func (s *site) testMbsync(t *testing.T) {
	local := s.path("mbsync")
	if err := os.MkdirAll(local, 0o700); err != nil {
		t.Fatal(err)
	}
	rc := s.file("mbsyncrc", fmt.Sprintf(`IMAPAccount a
Host localhost
Port %s
User alice
Pass %s
SSLType IMAPS
CertificateFile %s
AuthMechs LOGIN

IMAPStore remote
Account a

MaildirStore local
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel all
Far :remote:
Near :local:
Patterns * !mbsync
Create Both
Expunge Both
SyncState *
`, s.port("imaps"), alicePassword, s.path("ca.pem"), local, local))
	sync := func() string { return s.tool("mbsync", "-c", rc, "-V", "-a") }
	sync()
	remote := s.count(t, "alice", "INBOX")
	if got := files(t, filepath.Join(local, "INBOX")); got != remote || got == 0 {
		t.Fatalf("%d messages came down, the server has %d", got, remote)
	}

	// Up: a new message and a flag, made by a program that knows Maildirs only.
	text := message("alice@example.org", "alice@example.org", "mbsync-up")
	if err := os.WriteFile(filepath.Join(local, "INBOX", "cur", "1700000000.R1.local:2,F"), []byte(strings.ReplaceAll(text, "\r\n", "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	sync()
	if got := s.count(t, "alice", "INBOX"); got != remote+1 {
		t.Errorf("after a message went up the server has %d, want %d", got, remote+1)
	}
	out, err := s.try("curl", "-sS", "--cacert", s.path("ca.pem"), "--user", "alice:"+alicePassword, "imaps://localhost:"+s.port("imaps")+"/INBOX", "-X", "UID SEARCH FLAGGED HEADER Subject mbsync-up")
	if err != nil || len(strings.Fields(out)) != 3 {
		t.Errorf("the flag did not go up with it: %v %q", err, out)
	}
	again := sync()
	if got := s.count(t, "alice", "INBOX"); got != remote+1 {
		t.Errorf("another run made it %d, want %d\n%s", got, remote+1, again)
	}

	// Down: what is removed here is removed there.
	entries, err := filepath.Glob(filepath.Join(local, "INBOX", "cur", "*"))
	if err != nil || len(entries) == 0 {
		t.Fatal(entries, err)
	}
	if err := os.Remove(entries[0]); err != nil {
		t.Fatal(err)
	}
	sync()
	if got := s.count(t, "alice", "INBOX"); got != remote {
		t.Errorf("after one was removed the server has %d, want %d", got, remote)
	}
}

// count asks the server how many messages a folder has.
func (s *site) count(t *testing.T, login, folder string) int {
	t.Helper()
	password := map[string]string{"alice": alicePassword, "bob": bobPassword}[login]
	out := s.tool("curl", "-sS", "--cacert", s.path("ca.pem"), "--user", login+":"+password, "imaps://localhost:"+s.port("imaps"), "-X", "STATUS "+folder+" (MESSAGES)")
	var n int
	if _, err := fmt.Sscanf(strings.TrimSpace(out), "* STATUS "+folder+" (MESSAGES %d)", &n); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return n
}

// files counts the messages of a Maildir folder.
func files(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		n += len(entries)
	}
	return n
}

// testDirectoryTools looks at the embedded directory with OpenLDAP's programs, as the people in it.
func (s *site) testDirectoryTools(t *testing.T) {
	if s.addr["ldap"] == "" {
		t.Log("the directory is slapd itself")
		return
	}
	uri := "ldap://127.0.0.1:" + s.port("ldap") // libldap takes "localhost" for the name of the machine
	alice := "uid=alice,ou=people,dc=example,dc=org"
	own := []string{"-ZZ", "-x", "-H", uri, "-D", alice, "-w", alicePassword}

	out := s.tool("ldapsearch", append(own, "-LLL", "-b", "dc=example,dc=org", "(objectClass=dpMailAccount)", "mail", "userPassword")...)
	if strings.Count(out, "dn: ") != 1 || !strings.Contains(out, "mail: alice@example.org") || strings.Contains(out, "userPassword") {
		t.Errorf("alice sees\n%s", out)
	}
	if out := s.tool("ldapwhoami", own...); strings.TrimSpace(out) != "dn:"+alice {
		t.Errorf("whoami = %q", out)
	}
	out, err := s.try("ldapsearch", "-ZZ", "-x", "-H", uri, "-LLL", "-b", "dc=example,dc=org", "(uid=alice)")
	if strings.Contains(out, "dn: ") {
		t.Errorf("anonymous sees (%v)\n%s", err, out)
	}
	for _, way := range [][]string{{"-ZZ", "-H", uri}, {"-H", "ldaps://127.0.0.1:" + s.port("ldaps")}} {
		for name, want := range map[string]string{"alice": "dn:" + alice + "\n", "unmapped": "Invalid credentials (49)"} {
			shown := []string{"LDAPTLS_CERT=" + s.path(name+".pem"), "LDAPTLS_KEY=" + s.path(name+".key"), "ldapwhoami", "-Q", "-Y", "EXTERNAL"}
			if out, _ := s.try("env", append(shown, way...)...); !strings.Contains(out, want) {
				t.Errorf("who shows the certificate of %s by %s is %q, want %q", name, way, out, want)
			}
		}
	}
	admin := s.tool("ldapsearch", "-Y", "EXTERNAL", "-H", "ldapi://"+strings.ReplaceAll(s.path("ldapi"), "/", "%2F"), "-Q", "-LLL", "-b", "dc=example,dc=org", "(uid=*)", "uid")
	if !strings.Contains(admin, "uid: bob") {
		t.Errorf("the local administrator sees\n%s", admin)
	}
}
