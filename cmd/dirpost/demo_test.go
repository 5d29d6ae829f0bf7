package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/demo"
)

// demoPorts picks a base whose ports are below those the kernel hands out.
func demoPorts() int { return 10000 + rand.IntN(20000) }

func runDemoCheck(t *testing.T, dir string, base int) (code int, out string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(context.Background(), []string{"dirpost", "demo", "--check", "--dir", dir, "--port-base", fmt.Sprint(base)}, eof{}, &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}

// TestDemo runs the demonstration twice in one folder: all rows pass, and the second run uses what the first one made.
func TestDemo(t *testing.T) {
	t.Parallel()
	dir, base := filepath.Join(t.TempDir(), "demo"), demoPorts()
	var before demo.Facts
	var caBefore [32]byte
	for i := range 2 {
		code, out := runDemoCheck(t, dir, base)
		if code != exitDone || strings.Contains(out, "FAIL  ") || strings.Count(out, "PASS") < 15 {
			t.Fatalf("run %d ended with %d:\n%s", i, code, out)
		}
		facts, err := demo.ReadFacts(filepath.Join(dir, "demo.json"))
		if err != nil {
			t.Fatal(err)
		}
		ca, err := os.ReadFile(facts.CA)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			before, caBefore = facts, sha256.Sum256(ca)
			continue
		}
		if facts.Users[0].Password != before.Users[0].Password || facts.Admin != before.Admin || sha256.Sum256(ca) != caBefore {
			t.Error("the second run made new passwords or a new CA")
		}
	}
}

func TestDemoRefusesAFolderThatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := runDemoCheck(t, dir, demoPorts())
	if code != exitFailed || !strings.Contains(out, "not empty") {
		t.Errorf("exit status %d, want %d; said %q", code, exitFailed, out)
	}
}

func TestDemoSaysThatAPortIsTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	code, out := runDemoCheck(t, filepath.Join(t.TempDir(), "demo"), taken-525)
	if code != exitUsage || !strings.Contains(out, "--port-base") {
		t.Errorf("exit status %d, want %d; said %q", code, exitUsage, out)
	}
}

// TestDemoFacts pins the form of demo.json, which programs read.
func TestDemoFacts(t *testing.T) {
	t.Parallel()
	d := &demoSet{dir: "/demo", cfg: demoConfig("/demo", 2000)}
	text, err := json.Marshal(d.newFacts())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"pid", "base", "domain", "config", "ca", "admin", "listen", "users", "role", "alias"} {
		if got[key] == nil {
			t.Errorf("no %q in %s", key, text)
		}
	}
	want := map[string]string{
		"mx": "127.0.0.1:2525", "lmtp": "127.0.0.1:2424", "submission": "127.0.0.1:2587", "submissions": "127.0.0.1:2465",
		"imap": "127.0.0.1:2143", "imaps": "127.0.0.1:2993", "ldap": "127.0.0.1:2389", "ldapi": "/demo/run/ldapi",
	}
	for service, addr := range want {
		if got["listen"].(map[string]any)[service] != addr {
			t.Errorf("listen.%s = %v, want %s", service, got["listen"].(map[string]any)[service], addr)
		}
	}
	user := got["users"].([]any)[0].(map[string]any)
	for _, key := range []string{"login", "mail", "dn", "password", "cert", "key"} {
		if user[key] == "" || user[key] == nil {
			t.Errorf("users[0].%s is missing", key)
		}
	}
}
