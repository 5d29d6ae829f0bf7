package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/protocols/certs"
)

// patience bounds every wait of the integration tests; nothing waits that long when all is well.
const patience = 60 * time.Second

// A site is an installation of dirpost in a folder of its own, run as a process of its own.
type site struct {
	t      *testing.T
	dir    string
	config string
	as     []string // flags that make the CLI an administrator of a directory of one's own
	ca     *certs.KeyPair
	addr   map[string]string // by name of the service
	proc   *exec.Cmd
	log    *logTail
}

// newSite initialises dirpost with the embedded directory, or with the LDAP server that the extra flags of init name.
func newSite(t *testing.T, as []string, initFlags ...string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), as: as, log: &logTail{}}
	s.config = filepath.Join(s.dir, "dirpost.toml")
	s.makeCertificates()
	args := append([]string{"init", "--domain", "example.org", "--data", s.path("data"), "--cache", s.path("cache")}, initFlags...)
	args = append(args, "--password-file", s.secret("admin", "administrator-1"))
	s.dirpost(args...)
	cfg, err := config.Load(s.config)
	if err != nil {
		t.Fatal(err)
	}
	any := []string{"127.0.0.1:0"}
	cfg.Listen = config.Listen{MX: any, LMTP: append([]string{"unix:" + s.path("lmtp")}, any...), Submission: any, Submissions: any, IMAP: any, IMAPS: any}
	if cfg.Directory.Embedded {
		cfg.Listen.LDAP, cfg.Listen.LDAPS, cfg.Listen.LDAPI = any, any, s.path("ldapi")
	}
	cfg.Log = config.Log{Level: "debug", Format: "json"}
	if err := writeConfig(cfg, s.config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// secret writes a password file and returns its path.
func (s *site) secret(name, password string) string {
	return s.file(name+".pw", password+"\n")
}

func (s *site) file(name, content string) string {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return s.path(name)
}

// makeCertificates makes a CA, and the server certificate where init looks for one.
func (s *site) makeCertificates() {
	s.t.Helper()
	var err error
	if s.ca, err = certs.SelfSigned(certs.Request{Subject: pkix.Name{CommonName: "Test CA"}, CA: true}); err != nil {
		s.t.Fatal(err)
	}
	server, err := s.ca.Issue(certs.Request{
		Subject: pkix.Name{CommonName: "localhost"}, Server: true, DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.MkdirAll(s.path("tls"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	for _, p := range []struct {
		pair      *certs.KeyPair
		cert, key string
	}{{s.ca, "ca.pem", "ca.key"}, {server, "tls/server.pem", "tls/server.key"}} {
		if err := p.pair.Write(s.path(p.cert), s.path(p.key)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// client issues a client certificate in NAME.pem and NAME.key, and both in NAME.both.
func (s *site) client(name string, r certs.Request) *certs.KeyPair {
	s.t.Helper()
	r.Client, r.Subject.CommonName = true, name
	pair, err := s.ca.Issue(r)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := pair.Write(s.path(name+".pem"), s.path(name+".key")); err != nil {
		s.t.Fatal(err)
	}
	cert, key, err := pair.PEM()
	if err != nil {
		s.t.Fatal(err)
	}
	s.file(name+".both", string(cert)+string(key))
	return pair
}

// program is the test binary as dirpost.
func (s *site) program(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append([]string{"--config", s.config}, args...)...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// dirpost runs a command of the administrator and returns what it printed; it must succeed.
func (s *site) dirpost(args ...string) string {
	s.t.Helper()
	out, err := s.program(append(s.as, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("dirpost %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// start runs the server, under the given wrapper if any, and waits until it listens everywhere.
func (s *site) start(wrapper ...string) {
	s.t.Helper()
	cmd := s.program("serve")
	if len(wrapper) > 0 {
		path, err := exec.LookPath(wrapper[0])
		if err != nil {
			s.t.Fatal(err)
		}
		cmd.Path, cmd.Args = path, append(wrapper, cmd.Args...)
	}
	s.launch(cmd)
}

// launch runs the server by cmd and waits until it listens everywhere.
func (s *site) launch(cmd *exec.Cmd) {
	s.t.Helper()
	s.proc = cmd
	stderr, err := s.proc.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.proc.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.addr = map[string]string{}
	cfg, err := config.Load(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	want := 0
	for _, service := range services(cfg) {
		want += len(service.addresses)
	}
	lines := make(chan map[string]any, 64)
	go s.log.read(stderr, lines)
	timeout := time.After(patience)
	for n := 0; n < want; {
		select {
		case line, ok := <-lines:
			if !ok {
				s.t.Fatalf("the server ended:\n%s", s.log)
			}
			if line["msg"] == "listening" {
				n++
				if addr := line["addr"].(string); !strings.HasPrefix(addr, "/") {
					s.addr[line["service"].(string)] = addr
				}
			}
		case <-timeout:
			s.t.Fatalf("the server does not listen everywhere:\n%s", s.log)
		}
	}
	go func() { // whoever reads no longer must not stop the log
		for range lines {
		}
	}()
}

// stop ends the server as systemd would and demands that it ends well.
func (s *site) stop() {
	if s.proc == nil {
		return
	}
	s.signal(syscall.SIGTERM)
	err := s.wait()
	if err != nil {
		s.t.Errorf("the server ended with %v:\n%s", err, s.log)
	}
	if s.t.Failed() {
		s.t.Logf("log of the server:\n%s", s.log)
	}
}

// kill ends the server as a crash would.
func (s *site) kill() {
	s.signal(syscall.SIGKILL)
	_ = s.wait()
}

func (s *site) signal(sig syscall.Signal) {
	if err := s.proc.Process.Signal(sig); err != nil {
		s.t.Errorf("signal: %v", err)
	}
}

func (s *site) wait() error {
	ended := make(chan error, 1)
	proc := s.proc
	s.proc = nil
	go func() { ended <- proc.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		_ = proc.Process.Kill()
		return fmt.Errorf("still running after %v: %w", patience, <-ended)
	}
}

// port returns the port of a service.
func (s *site) port(service string) string {
	s.t.Helper()
	_, port, err := net.SplitHostPort(s.addr[service])
	if err != nil {
		s.t.Fatalf("%s: %v", service, err)
	}
	return port
}

// tool runs a program of others and returns its output; it must succeed.
func (s *site) tool(name string, args ...string) string {
	s.t.Helper()
	out, err := s.try(name, args...)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func (s *site) try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+s.path("ca.pem"), "HOME="+s.dir)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// A logTail keeps what a server logged.
type logTail struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logTail) read(r io.Reader, lines chan<- map[string]any) {
	defer close(lines)
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		l.mu.Lock()
		l.text.Write(append(scan.Bytes(), '\n'))
		l.mu.Unlock()
		var line map[string]any
		if json.Unmarshal(scan.Bytes(), &line) == nil {
			lines <- line
		}
	}
}

// String is the end of the log.
func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text.String()
	if len(text) > 20000 {
		text = "...\n" + text[len(text)-20000:]
	}
	return text
}

// message is a small message with a subject of its own.
func message(from, to, subject string) string {
	return fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: Wed, 25 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%s@test>\r\n\r\nhello\r\n",
		from, to, subject, rand.Text())
}
