package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/protocols/certs"
)

// configure changes the configuration file.
func (s *site) configure(change func(*config.Config)) {
	s.t.Helper()
	cfg, err := config.Load(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	change(&cfg)
	if err := writeConfig(cfg, s.config); err != nil {
		s.t.Fatal(err)
	}
}

// watched gives the server a control socket and a port for those who watch it.
func (s *site) watched() {
	s.t.Helper()
	s.configure(func(c *config.Config) {
		c.Listen.Control, c.Listen.Status = s.path("control"), []string{"127.0.0.1:0"}
	})
}

// fails runs a command that must fail, and returns what it said.
func (s *site) fails(args ...string) string {
	s.t.Helper()
	out, err := s.program(args...).CombinedOutput()
	if err == nil {
		s.t.Errorf("dirpost %s did not fail:\n%s", strings.Join(args, " "), out)
	}
	return string(out)
}

// lines returns what the server logged with this message.
func (l *logTail) lines(message string) []map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []map[string]any
	for line := range bytes.Lines(l.text.Bytes()) {
		var fields map[string]any
		if json.Unmarshal(line, &fields) == nil && fields["msg"] == message {
			found = append(found, fields)
		}
	}
	return found
}

// await waits until the server has logged n lines with this message and returns them.
func (s *site) await(message string, n int) []map[string]any {
	s.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		found := s.log.lines(message)
		if len(found) >= n {
			return found
		}
		if time.Now().After(end) {
			s.t.Fatalf("%d lines of %q in the log, want %d:\n%s", len(found), message, n, s.log)
		}
	}
}

// A dialogue is a connection to a server that talks in lines.
type dialogue struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func talk(t *testing.T, addr string) *dialogue {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &dialogue{t, conn, bufio.NewReader(conn)}
}

func (d *dialogue) say(line string) {
	d.t.Helper()
	if _, err := io.WriteString(d.conn, line+"\r\n"); err != nil {
		d.t.Fatal(err)
	}
}

// hear reads until a line begins with want, and returns it.
func (d *dialogue) hear(want string) string {
	d.t.Helper()
	var heard []string
	for {
		line, err := d.in.ReadString('\n')
		if strings.HasPrefix(line, want) {
			return strings.TrimSpace(line)
		}
		heard = append(heard, line)
		if err != nil {
			d.t.Fatalf("waited for %q, heard %q, %v", want, heard, err)
		}
	}
}

// TestStop stops the server as systemd does while clients are idle and one is in the middle of a message.
func TestStop(t *testing.T) {
	t.Parallel()
	s := embeddedSite(t)
	s.addPeople()
	s.start()
	smtp := talk(t, s.addr["mx"])
	smtp.hear("220 ")
	imap := talk(t, s.addr["imap"])
	imap.say("a LOGIN alice " + alicePassword)
	imap.hear("a OK")
	imap.say("b SELECT INBOX")
	imap.hear("b OK")
	imap.say("c IDLE")
	imap.hear("+ ")
	lmtp := talk(t, s.addr["lmtp"])
	for _, step := range [][2]string{{"", "220 "}, {"LHLO test", "250 "}, {"MAIL FROM:<a@b.example>", "250 "}, {"RCPT TO:<alice@example.org>", "250 "}, {"DATA", "354 "}} {
		if step[0] != "" {
			lmtp.say(step[0])
		}
		lmtp.hear(step[1])
	}
	lmtp.say("From: a@b.example\r\nSubject: half-way\r\n\r\nthe first half")

	s.signal(syscall.SIGTERM)
	smtp.hear("421 ")
	imap.hear("* BYE")
	lmtp.say("and the second\r\n.")
	lmtp.hear("250 ")
	if err := s.wait(); err != nil {
		t.Errorf("the server ended with %v:\n%s", err, s.log)
	}
	s.find(t, "alice", "half-way")
}

// TestReload changes certificates and configuration under a running server.
func TestReload(t *testing.T) {
	t.Parallel()
	s := embeddedSite(t)
	s.watched()
	s.addPeople()
	s.start()
	open := talk(t, s.addr["imap"])
	open.say("a LOGIN alice " + alicePassword)
	open.hear("a OK")
	shown := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", s.addr["imaps"], &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}

	s.renew("second")
	if got := shown(); got != "localhost" {
		t.Errorf("before the reload the certificate is of %q", got)
	}
	s.configure(func(c *config.Config) { c.Log.Level = "info" })
	if got, want := s.dirpost("reload"), "reloaded\n"; got != want {
		t.Errorf("reload says %q, want %q", got, want)
	}
	if got := shown(); got != "second" {
		t.Errorf("after the reload the certificate is of %q", got)
	}
	reloads := s.await("reloaded", 1)
	if got := fmt.Sprint(reloads[0]["changed"]); got != "[log.level]" {
		t.Errorf("changed: %s, want log.level", got)
	}

	t.Run("the signal", func(t *testing.T) {
		s.renew("third")
		s.signal(syscall.SIGHUP)
		s.await("reloaded", 2)
		if got := shown(); got != "third" {
			t.Errorf("the certificate is of %q", got)
		}
	})
	t.Run("what needs a restart is named", func(t *testing.T) {
		s.configure(func(c *config.Config) {
			c.Limits.Recipients, c.Listen.MX = 200, []string{"127.0.0.1:0", "127.0.0.1:0"}
		})
		for range 2 { // it stays so until the restart
			if got, want := s.dirpost("reload"), "reloaded; what needs a restart: listen.mx limits.recipients\n"; got != want {
				t.Errorf("reload says %q, want %q", got, want)
			}
		}
		s.await("changes need a restart", 2)
	})
	t.Run("an error leaves all as it was", func(t *testing.T) {
		const failure = "reload failed, all stays as it was"
		good, err := os.ReadFile(s.config)
		if err != nil {
			t.Fatal(err)
		}
		s.renew("fourth")
		s.file("dirpost.toml", "lisen = 1\n"+string(good))
		s.signal(syscall.SIGHUP)
		if failed := s.await(failure, 1); !strings.Contains(fmt.Sprint(failed[0]["err"]), `unknown key "lisen"`) {
			t.Errorf("the log says %v", failed[0])
		}
		s.file("dirpost.toml", strings.Replace(string(good), `"info"`, `"debug"`, 1))
		s.file("tls/server.key", "no key")
		if out := s.fails("reload"); !strings.Contains(out, "server.key") {
			t.Errorf("reload says %q", out)
		}
		s.await(failure, 2)
		if got := shown(); got != "third" {
			t.Errorf("the certificate is of %q", got)
		}
	})
	open.say("b NOOP")
	open.hear("b OK")
}

// renew puts another server certificate in place.
func (s *site) renew(name string) {
	s.t.Helper()
	pair, err := s.ca.Issue(certs.Request{Subject: pkix.Name{CommonName: name}, Server: true, DNS: []string{"localhost"}})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := pair.Write(s.path("tls/server.pem"), s.path("tls/server.key")); err != nil {
		s.t.Fatal(err)
	}
}

// TestUnderSystemd plays systemd: it opens sockets, hears the states and sees to the watchdog.
func TestUnderSystemd(t *testing.T) {
	t.Parallel()
	s := embeddedSite(t)
	s.addPeople()
	states := s.hearStates()
	mx, imap, stray := socket(t), socket(t), socket(t)
	s.configure(func(c *config.Config) {
		c.Listen.MX, c.Listen.IMAP = []string{":25"}, []string{imap.Addr().String()}
	})
	cmd := s.program("serve")
	cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, cmd.Args...)
	cmd.Path = "/bin/sh"
	for _, l := range []*net.TCPListener{mx, imap, stray} {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.Env = append(cmd.Env, "LISTEN_FDS=3", "LISTEN_FDNAMES=mx:dirpost.socket:dirpost.socket", "NOTIFY_SOCKET="+s.path("notify"), "WATCHDOG_USEC=300000")
	s.launch(cmd)

	expect := func(want string) {
		t.Helper()
		for timeout := time.After(patience); ; {
			select {
			case state := <-states:
				if strings.HasPrefix(state, want) {
					return
				}
			case <-timeout:
				t.Fatalf("systemd does not hear %s:\n%s", want, s.log)
			}
		}
	}
	expect("READY=1\nSTATUS=listening at ")
	expect("WATCHDOG=1")
	expect("WATCHDOG=1")
	s.signal(syscall.SIGHUP)
	expect("RELOADING=1\nMONOTONIC_USEC=")
	expect("READY=1\nSTATUS=reloaded")
	s.configure(func(c *config.Config) { c.TLS[0].Cert = s.path("none") })
	s.signal(syscall.SIGHUP)
	expect("READY=1\nSTATUS=reload failed")
	if got := s.addr["mx"]; got != mx.Addr().String() {
		t.Errorf("the MX listens at %s, want the socket of its name, %s", got, mx.Addr())
	}
	if got := s.addr["imap"]; got != imap.Addr().String() {
		t.Errorf("IMAP listens at %s, want the socket of its address, %s", got, imap.Addr())
	}
	if unused := s.log.lines("a socket that systemd opened is of no service"); len(unused) != 1 || unused[0]["addr"] != stray.Addr().String() {
		t.Errorf("sockets of no service: %v, want %s", unused, stray.Addr())
	}
	if out, err := s.deliver(t, "by-activation"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if got := s.count(t, "alice", "INBOX"); got != 1 {
		t.Errorf("%d messages, want 1", got)
	}
	s.stop()
	expect("STOPPING=1")
	for _, fault := range s.log.lines("the embedded directory does not answer") { // on a slow machine it may be late before
		if strings.Contains(fmt.Sprint(fault["err"]), "terminated") {
			t.Errorf("a stop is told as a fault of the directory: %v", fault)
		}
	}
}

// hearStates opens the socket that systemd hears states at.
func (s *site) hearStates() <-chan string {
	s.t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path("notify"), Net: "unixgram"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	states := make(chan string, 1000)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := l.Read(buf)
			if err != nil {
				return
			}
			states <- string(buf[:n])
		}
	}()
	return states
}

func socket(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// TestLogTellsOneStory: what happened to a message can be followed by the id of its connection and its own, which the
// client was told too.
func TestLogTellsOneStory(t *testing.T) {
	t.Parallel()
	s := embeddedSite(t)
	s.addPeople()
	s.start()
	out, err := s.swaks(t, "submission", "-tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", alicePassword,
		"--from", "alice@example.org", "--to", "bob@example.org,alice@example.org")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	delivered := s.await("delivered", 2)
	ends := s.await("session", 1)
	logins := s.log.lines("login")
	if len(logins) != 1 {
		t.Fatalf("%d lines of logins, want 1", len(logins))
	}
	conn, id := ends[0]["conn"], delivered[0]["mail"]
	if conn == nil || id == nil {
		t.Fatalf("ids are missing: %v and %v", ends[0], delivered[0])
	}
	if fault, ok := ends[0]["err"]; ok {
		t.Errorf("a session without a fault ends with err=%v", fault)
	}
	for _, line := range append(delivered, logins[0]) {
		if line["conn"] != conn {
			t.Errorf("conn %v, want %v in %v", line["conn"], conn, line)
		}
	}
	if delivered[1]["mail"] != id || !strings.Contains(out, "250 2.0.0 accepted as "+id.(string)) {
		t.Errorf("the client was not told %v:\n%s", id, out)
	}
	text, err := exec.Command("grep", "-rlF", "id "+id.(string), filepath.Join(s.path("data"), "homes")).CombinedOutput()
	if err != nil {
		t.Errorf("no message has the id in its Received field: %v %s", err, text)
	}
}
