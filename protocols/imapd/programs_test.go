package imapd

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/protocols/certs"
	"github.com/dirpost/dirpost/storage"
)

// packages tells where the programs of these tests come from.
var packages = map[string]string{"curl": "curl", "openssl": "openssl", "mbsync": "isync"}

// run runs a program to its end and returns what it wrote. With an input that is not empty the program reads it.
func run(t testing.TB, input, program string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%v: apt-get install %s", err, packages[program])
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

// files writes the server's certificate and a client's as files for programs.
func (s *site) files(t testing.TB, key *certs.KeyPair) (ca, cert, private string) {
	t.Helper()
	dir := t.TempDir()
	ca, cert, private = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")
	must(t, s.server.Write(ca, filepath.Join(dir, "server.key")))
	must(t, key.Write(cert, private))
	return ca, cert, private
}

// TestCurl reads and writes mail with curl: by password, by certificate, over STARTTLS and implicit TLS.
func TestCurl(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	const mail = "Subject: by curl\n\nhello\n"
	s.deliver(t, "alice", "INBOX", mail, 0)
	ca, cert, key := s.files(t, s.certificate(t))
	imaps, imap := "imaps://"+s.secure.Addr().String(), "imap://"+s.plain.Addr().String()
	external := []string{"--cert", cert, "--key", key, "--login-options", "AUTH=EXTERNAL"}
	tests := []struct {
		name string
		args []string
		want string // in what curl writes
		fail bool
	}{
		{"password, implicit TLS", []string{"-u", "alice:" + password, imaps + "/INBOX;UID=1"}, toWire(mail), false},
		{"password, STARTTLS", []string{"--ssl-reqd", "-u", "alice:" + password, imap + "/INBOX;UID=1"}, toWire(mail), false},
		{"a section", []string{"-u", "alice:" + password, imaps + "/INBOX;UID=1;SECTION=TEXT"}, "hello\r\n", false},
		{"certificate", append(external, "-u", "alice:", imaps+"/INBOX;UID=1"), toWire(mail), false},
		{"certificate, STARTTLS", append(external, "--ssl-reqd", "-u", "alice:", imap+"/INBOX;UID=1"), toWire(mail), false},
		{"certificate of another", append(external, "-u", "bob:", imaps+"/INBOX;UID=1"), "", true},
		{"wrong password", []string{"-u", "alice:wrong", imaps + "/INBOX;UID=1"}, "", true},
		{"list", []string{"-u", "alice:" + password, imaps + "/"}, `* LIST (\HasNoChildren \Sent) "/" "Sent"`, false},
		{"search", []string{"-u", "alice:" + password, imaps + "/INBOX?SUBJECT%20curl"}, "* SEARCH 1", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := run(t, "", "curl", append([]string{"-sS", "--cacert", ca}, tt.args...)...)
			if (err != nil) != tt.fail || !strings.Contains(out, tt.want) {
				t.Errorf("curl wrote %q, %v; want %q in it, failure %v", out, err, tt.want, tt.fail)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "mail")
	must(t, os.WriteFile(file, []byte(toWire("Subject: sent\n\nby APPEND\n")), 0o600))
	if out, err := run(t, "", "curl", "-sS", "--cacert", ca, "-u", "alice:"+password, "-T", file, imaps+"/Sent"); err != nil {
		t.Fatalf("upload: %v: %s", err, out)
	}
	if out, err := run(t, "", "curl", "-sS", "--cacert", ca, "-u", "alice:"+password, imaps+"/Sent;UID=1;SECTION=TEXT"); out != "by APPEND\r\n" || err != nil {
		t.Errorf("what was uploaded: %q, %v", out, err)
	}
}

// toWire gives a text the line ends it has on the wire.
func toWire(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// TestOpenSSL holds a conversation by openssl s_client, with a certificate and STARTTLS.
func TestOpenSSL(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	ca, cert, key := s.files(t, s.certificate(t))
	script := "a AUTHENTICATE EXTERNAL =\r\nb STATUS INBOX (MESSAGES)\r\nc LOGOUT\r\n"
	common := []string{"-quiet", "-no_ign_eof", "-verify_return_error", "-CAfile", ca, "-cert", cert, "-key", key, "-connect"}
	for name, args := range map[string][]string{
		"implicit TLS": append([]string{"s_client"}, append(common, s.secure.Addr().String())...),
		"STARTTLS":     append([]string{"s_client", "-starttls", "imap"}, append(common, s.plain.Addr().String())...),
	} {
		out, err := s.converse(t, script, args)
		for _, want := range []string{"a OK [CAPABILITY", "* STATUS INBOX (MESSAGES 0)", "* BYE", "c OK"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q lacks %q, %v", name, out, want, err)
			}
		}
	}
}

// converse runs openssl with an input that stays open until the server has said its last word.
func (s *site) converse(t *testing.T, script string, args []string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatalf("%v: apt-get install %s", err, packages["openssl"])
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	in, err := cmd.StdinPipe()
	must(t, err)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	_, err = io.WriteString(in, script)
	must(t, err)
	defer in.Close()
	err = cmd.Wait()
	return out.String(), err
}

// TestMbsync synchronises a home with a local Maildir, both ways, and again: the second run moves nothing.
func TestMbsync(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	for i := range 5 {
		s.deliver(t, "alice", "INBOX", fmt.Sprintf("Subject: far %d\nMessage-ID: <far%d@x>\n\ntext %d\n", i, i, i), 0)
	}
	s.deliver(t, "alice", "Sent", "Subject: sent\n\nx\n", storage.Seen|storage.Flagged)
	dir := t.TempDir()
	ca, _, _ := s.files(t, s.certificate(t))
	config := filepath.Join(dir, "mbsyncrc")
	local := filepath.Join(dir, "mail")
	for _, sub := range []string{"cur", "new", "tmp"} {
		must(t, os.MkdirAll(filepath.Join(local, "INBOX", sub), 0o700))
	}
	must(t, os.WriteFile(config, []byte(mbsyncConfig(s.secure.Addr().String(), ca, local)), 0o600))
	sync := func() {
		t.Helper()
		if out, err := run(t, "", "mbsync", "-c", config, "-a"); err != nil {
			t.Fatalf("mbsync: %v\n%s", err, out)
		}
	}

	sync()
	if got := messages(t, filepath.Join(local, "INBOX")); len(got) != 5 {
		t.Fatalf("after the first run %d messages are here: %q", len(got), got)
	}
	if got := messages(t, filepath.Join(local, "Sent")); len(got) != 1 || !strings.HasSuffix(got[0], "FS") {
		t.Errorf("Sent here: %q, want one that is flagged and seen", got)
	}

	// One new here, one seen here, one deleted there.
	first := messages(t, filepath.Join(local, "INBOX"))[0]
	must(t, os.WriteFile(filepath.Join(local, "INBOX", "new", "1700000000.1_1.here"), []byte("Subject: here\n\nnew here\n"), 0o600))
	base, _, _ := strings.Cut(first, ":2,")
	must(t, os.Rename(find1(t, local, first), filepath.Join(local, "INBOX", "cur", base+":2,S")))
	w := s.connect(t, nil)
	w.login("alice")
	w.do("SELECT INBOX")
	w.do(`UID STORE 5 +FLAGS.SILENT (\Deleted)`)
	w.do("EXPUNGE")
	sync()
	if got := messages(t, filepath.Join(local, "INBOX")); len(got) != 5 {
		t.Errorf("after the second run %d messages are here: %q", len(got), got)
	}
	w.do("NOOP")
	if got := w.do("UID SEARCH SUBJECT here"); got[0] != "* SEARCH 6" {
		t.Errorf("the new one there: %q", got)
	}
	if got := w.do("SEARCH SEEN"); got[0] != "* SEARCH 1" {
		t.Errorf("the seen one there: %q", got)
	}
	before := messages(t, filepath.Join(local, "INBOX"))
	sync()
	if after := messages(t, filepath.Join(local, "INBOX")); !slices.Equal(before, after) {
		t.Errorf("a run with nothing to do changed %q to %q", before, after)
	}
	if got := w.do("NOOP"); len(got) != 1 {
		t.Errorf("and told the server %q", got)
	}
}

func mbsyncConfig(addr, ca, local string) string {
	host, port, _ := strings.Cut(addr, ":")
	return "IMAPStore far\nHost " + host + "\nPort " + port + "\nUser alice\nPass " + strconv.Quote(password) +
		"\nSSLType IMAPS\nSystemCertificates no\nCertificateFile " + ca +
		"\n\nMaildirStore here\nPath " + local + "/\nInbox " + local + "/INBOX\nSubFolders Verbatim\n\n" +
		"Channel all\nFar :far:\nNear :here:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n"
}

// messages lists the files of a Maildir, sorted.
func messages(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		must(t, err)
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names
}

// find1 is the path of a file in the local INBOX.
func find1(t *testing.T, local, name string) string {
	t.Helper()
	for _, sub := range []string{"new", "cur"} {
		path := filepath.Join(local, "INBOX", sub, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatalf("no file %s", name)
	return ""
}
