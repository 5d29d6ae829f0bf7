package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-smtp"

	"github.com/dirpost/dirpost/protocols/certs"
)

// A counter is an SMTP backend that counts octets of bodies.
type counter struct {
	gate *Gate
	c    *smtp.Conn
	body chan string
}

func (s counter) Mail(string, *smtp.MailOptions) error { return nil }
func (s counter) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (s counter) Reset()                               {}
func (s counter) Logout() error                        { return nil }

func (s counter) Data(r io.Reader) error {
	defer Hold(s.c.Conn())()
	body, err := io.ReadAll(r)
	s.body <- string(body)
	return err
}

// serveSMTP starts go-smtp above a gate, with settings of its own that would cut a slow body.
func serveSMTP(t *testing.T, opts Options) (gate *Gate, addr string, body chan string) {
	t.Helper()
	key, err := certs.SelfSigned(certs.Request{Server: true, DNS: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	gate, l := open(t, opts)
	body = make(chan string, 1)
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return counter{gate, c, body}, nil
	}))
	server.Domain = "localhost"
	server.ReadTimeout = short
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{key.TLS()}}
	server.ErrorLog = log.New(io.Discard, "", 0)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-served })
	return gate, l.Addr().String(), body
}

// talk does one command.
func talk(t *testing.T, c *textproto.Conn, command string, want int) {
	t.Helper()
	if err := c.PrintfLine("%s", command); err != nil {
		t.Fatal(err)
	}
	if _, text, err := c.ReadResponse(want); err != nil {
		t.Fatalf("%s: %v, %q, want %d", command, err, text, want)
	}
}

// startTLS opens a connection and brings it to the state after STARTTLS and EHLO.
func startTLS(t *testing.T, addr string) *textproto.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	raw.SetDeadline(time.Now().Add(long))
	t.Cleanup(func() { raw.Close() })
	c := textproto.NewConn(raw)
	if _, _, err := c.ReadResponse(220); err != nil {
		t.Fatal(err)
	}
	talk(t, c, "EHLO client.test", 250)
	talk(t, c, "STARTTLS", 220)
	c = textproto.NewConn(tls.Client(raw, &tls.Config{InsecureSkipVerify: true}))
	talk(t, c, "EHLO client.test", 250)
	return c
}

// TestSMTPShutdown: an idle client is told 421 at once, one in the middle of a body is let finish (RFC 5321 section
// 3.8), and a body slower than the library's time-out arrives whole.
func TestSMTPShutdown(t *testing.T) {
	t.Parallel()
	gate, addr, body := serveSMTP(t, Options{})
	idle, busy := startTLS(t, addr), startTLS(t, addr)
	talk(t, busy, "MAIL FROM:<a@example.org>", 250)
	talk(t, busy, "RCPT TO:<b@example.org>", 250)
	talk(t, busy, "DATA", 354)
	busy.PrintfLine("one")
	time.Sleep(2 * short) // longer than the library's ReadTimeout

	down := make(chan error, 1)
	go func() { down <- gate.Shutdown(context.Background()) }()
	if _, _, err := idle.ReadResponse(421); err != nil {
		t.Errorf("the idle client: %v, want 421", err)
	}
	busy.PrintfLine("two")
	busy.PrintfLine(".")
	if _, _, err := busy.ReadResponse(250); err != nil {
		t.Errorf("the busy client: %v, want 250", err)
	}
	if got := <-body; got != "one\r\ntwo\r\n" {
		t.Errorf("body %q", got)
	}
	if _, _, err := busy.ReadResponse(421); err != nil {
		t.Errorf("the busy client after its message: %v, want 421", err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// TestSMTPIdleBody: when a body stops, the connection is over; what comes later is not taken for commands.
func TestSMTPIdleBody(t *testing.T) {
	t.Parallel()
	_, addr, body := serveSMTP(t, Options{Idle: 3 * short})
	c := startTLS(t, addr)
	talk(t, c, "MAIL FROM:<a@example.org>", 250)
	talk(t, c, "RCPT TO:<b@example.org>", 250)
	talk(t, c, "DATA", 354)
	c.PrintfLine("one")
	<-body // Data has returned: idle
	c.PrintfLine("NOOP")
	c.PrintfLine("NOOP")
	rest, _ := io.ReadAll(c.R)
	if answers := string(rest); strings.Contains(answers, "250") || strings.Contains(answers, "\n500") {
		t.Errorf("the rest of the body was executed: %q", answers)
	}
}

// TestIMAPShutdown: a gate gives go-imap's server the orderly end it lacks: sessions are closed when Shutdown returns.
func TestIMAPShutdown(t *testing.T) {
	t.Parallel()
	gate, l := open(t, Options{})
	memory := imapmemserver.New()
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return memory.NewSession(), nil, nil
		},
		Logger: log.New(io.Discard, "", 0),
	})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	c := dial(t, l, "127.0.0.1")
	lines := bufio.NewReader(c)
	if got, err := lines.ReadString('\n'); !strings.HasPrefix(got, "* OK") {
		t.Fatalf("greeting %q, %v", got, err)
	}
	if err := gate.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := lines.ReadString('\n'); err != io.EOF {
		t.Errorf("the client reads %v, want the end", err)
	}
}
