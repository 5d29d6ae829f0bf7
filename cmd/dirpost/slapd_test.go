package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestSlapdConfiguration: slapadd takes what is printed as it is, and the password is in it for both, hashed.
func TestSlapdConfiguration(t *testing.T) {
	t.Parallel()
	s := &site{t: t, dir: t.TempDir()}
	for _, dir := range []string{"conf", "database"} {
		if err := os.Mkdir(s.path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	command := []string{"directory", "slapd", "--base", "dc=example,dc=org", "--database", s.path("database"), "--run", s.dir,
		"--password-file", s.secret("root", "root-password")}
	text := s.dirpost(command...)
	if got := strings.Count(text, "\nolcRootPW: {SSHA}"); got != 2 || strings.Contains(text, "root-password") || strings.Contains(text, "olcTLSC") {
		t.Errorf("%d hashed passwords, want 2, no clear one and no TLS, in\n%s", got, text)
	}
	cmd := exec.Command("/usr/sbin/slapadd", "-n0", "-F", s.path("conf"))
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("slapadd: %v\n%s", err, out)
	}
	if out := s.tool("/usr/sbin/slapcat", "-n0", "-F", s.path("conf")); !strings.Contains(out, "olcSuffix: dc=example,dc=org\n") {
		t.Errorf("slapd has\n%s", out)
	}
	if out := s.fails(append(command, "--cert", "/cert")...); !strings.Contains(out, "unusable value") {
		t.Errorf("a certificate without its key: %q", out)
	}
}
