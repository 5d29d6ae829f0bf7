package smtpd

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// run runs a program of a Debian package to its end and returns what it wrote.
func run(t *testing.T, pkg, program string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%v: apt-get install %s", err, pkg)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestCurl submits with curl: by password and by certificate, over STARTTLS and implicit TLS.
func TestCurl(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "alice.pem"), filepath.Join(dir, "alice.key")
	w.must(w.ca.Write(ca, filepath.Join(dir, "ca.key")))
	w.must(w.alice.Write(cert, key))
	message := filepath.Join(dir, "message")
	w.must(os.WriteFile(message, []byte("From: Alice <alice@example.org>\r\nSubject: by curl\r\n\r\nhello\r\n"), 0o600))
	_, submission := w.serve("submission", Options{})
	_, submissions := w.serve("submissions", Options{})
	_, port, _ := strings.Cut(submission, ":")
	_, securePort, _ := strings.Cut(submissions, ":")
	tests := []struct {
		name string
		args []string
		ok   bool
	}{
		{"STARTTLS and password", []string{"--ssl-reqd", "--url", "smtp://localhost:" + port, "--user", "alice:" + password}, true},
		{"TLS and password", []string{"--url", "smtps://localhost:" + securePort, "--user", "alice@example.org:" + password}, true},
		{"LOGIN", []string{"--url", "smtps://localhost:" + securePort, "--user", "alice:" + password, "--login-options", "AUTH=LOGIN"}, true},
		{"certificate", []string{"--url", "smtps://localhost:" + securePort, "--user", "alice:", "--cert", cert, "--key", key, "--login-options", "AUTH=EXTERNAL"}, true},
		{"certificate over STARTTLS", []string{"--ssl-reqd", "--url", "smtp://localhost:" + port, "--user", "alice:", "--cert", cert, "--key", key, "--login-options", "AUTH=EXTERNAL"}, true},
		{"wrong password", []string{"--url", "smtps://localhost:" + securePort, "--user", "alice:wrong"}, false},
		{"no certificate", []string{"--url", "smtps://localhost:" + securePort, "--user", "alice:", "--login-options", "AUTH=EXTERNAL"}, false},
		{"no login", []string{"--url", "smtps://localhost:" + securePort}, false},
	}
	sent := 0
	for _, tt := range tests {
		args := append([]string{
			"--silent", "--show-error", "--cacert", ca, "--mail-from", "alice@example.org", "--mail-rcpt", "bob@example.org",
			"--upload-file", message,
		}, tt.args...)
		out, err := run(t, "curl", "curl", args...)
		if (err == nil) != tt.ok {
			t.Errorf("%s: got %v: %s", tt.name, err, out)
		}
		if tt.ok {
			sent++
		}
	}
	if got := len(w.inbox("bob")); got != sent {
		t.Errorf("got %d messages, want %d", got, sent)
	}
}

// TestSwaks speaks all three protocols with swaks, whose exit codes tell at which command it was refused.
func TestSwaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, mx := w.serve("mx", Options{})
	_, lmtp := w.serve("lmtp", Options{})
	_, submission := w.serve("submission", Options{})
	forwarded := w.serveForwarded("mx", Options{})
	header := []string{"--server", forwarded, "--proxy-source", "192.0.2.7", "--proxy-source-port", "4711",
		"--proxy-dest", "192.0.2.25", "--proxy-dest-port", "25", "--from", "ann@example.net", "--to", "bob@example.org"}
	login := []string{"--server", submission, "--tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", password}
	tests := []struct {
		name string
		args []string
		want string // in what swaks wrote
		ok   bool
	}{
		{"in by the MX", []string{"--server", mx, "--from", "ann@example.net", "--to", "bob@example.org"}, "250 2.0.0 accepted as", true},
		{"in by the MX with TLS", []string{"--server", mx, "--tls", "--from", "ann@example.net", "--to", "bob@example.org"}, "250 2.0.0 accepted as", true},
		{"through a forwarder", append(slices.Clip(header), "--proxy-version", "1", "--proxy-family", "TCP4"), "250 2.0.0 accepted as", true},
		{"in its other version", append(slices.Clip(header), "--proxy-version", "2", "--proxy-family", "AF_INET"), "250 2.0.0 accepted as", true},
		{"with what is no address", []string{"--server", forwarded, "--proxy", "TCP4 192.0.2.700 192.0.2.25 4711 25", "--to", "bob@example.org"}, "", false},
		{"by LMTP", []string{"--server", lmtp, "--protocol", "LMTP", "--from", "ann@example.net", "--to", "bob@example.org"}, "250 2.0.0 <bob@example.org> accepted as", true},
		{"submitted", append(login, "--from", "alice@example.org", "--to", "bob@example.org"), "250 2.0.0 accepted as", true},
		{"relaying", []string{"--server", mx, "--from", "ann@example.net", "--to", "bob@example.com"}, "550 5.7.1 relaying denied", false},
		{"unknown", []string{"--server", mx, "--from", "ann@example.net", "--to", "nobody@example.org"}, "550 5.1.1", false},
		{"forged envelope", append(login, "--from", "bob@example.org", "--to", "alice@example.org"), "553 5.7.1", false},
		{"forged header", append(login, "--from", "alice@example.org", "--to", "bob@example.org", "--h-From", "bob@example.org"), "550 5.7.1", false},
	}
	sent := 0
	for _, tt := range tests {
		out, err := run(t, "swaks", "swaks", append([]string{"--helo", "client.test"}, tt.args...)...)
		if (err == nil) != tt.ok || !strings.Contains(out, tt.want) {
			t.Errorf("%s: got %v, want %q: %s", tt.name, err, tt.want, out)
		}
		if tt.ok {
			sent++
		}
	}
	got := w.inbox("bob")
	if len(got) != sent {
		t.Errorf("got %d messages, want %d", len(got), sent)
	}
	if n := strings.Count(strings.Join(got, ""), "\nReceived: from client.test ([192.0.2.7])"); n != 2 {
		t.Errorf("%d messages are of the client that a forwarder named, want 2", n)
	}
}
