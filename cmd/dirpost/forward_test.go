package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
)

// from connects from one of the addresses of loopback, and says header at once.
func from(t *testing.T, host, addr, header string) *dialogue {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, header); err != nil {
		t.Fatal(err)
	}
	return &dialogue{t, conn, bufio.NewReader(conn)}
}

// TestForwarders puts a forwarder at 127.0.0.2 before every listener that has a port.
func TestForwarders(t *testing.T) {
	t.Parallel()
	s := embeddedSite(t)
	s.addPeople()
	s.watched()
	s.configure(func(c *config.Config) {
		c.Listen.Forwarders = []string{"127.0.0.2"}
		c.Listen.Forwarded = []string{"mx", "submission", "submissions", "lmtp", "imap", "imaps", "ldap", "status"}
	})
	s.start()
	const forwarder, other = "127.0.0.2", "127.0.0.1"
	const header = "PROXY TCP4 192.0.2.1 198.51.100.1 34567 25\r\n"

	for _, service := range []string{"mx", "submission", "submissions", "lmtp", "imap", "imaps", "ldap", "status"} {
		for _, d := range []*dialogue{from(t, forwarder, s.addr[service], "QUIT\r\nQUIT\r\nQUIT\r\n"), from(t, other, s.addr[service], header)} {
			rest, err := io.ReadAll(d.in)
			if answer := strings.TrimLeft(string(rest), "*"); errors.Is(err, net.ErrClosed) || strings.Count(answer, "\n") > 1 || strings.HasPrefix(answer, "HTTP/1.1 2") {
				t.Errorf("%s: heard %q, %v; want no more than a greeting", service, rest, err)
			}
		}
	}

	t.Run("mail has the address of who sent it", func(t *testing.T) {
		d := from(t, forwarder, s.addr["mx"], header)
		d.hear("220 ")
		for _, step := range [][2]string{
			{"HELO client.test", "250 "}, {"MAIL FROM:<a@b.example>", "250 "}, {"RCPT TO:<alice@example.org>", "250 "},
			{"DATA", "354 "}, {"Subject: forwarded\r\n\r\n.", "250 "},
		} {
			d.say(step[0])
			d.hear(step[1])
		}
		text, err := os.ReadFile(s.find(t, "alice", "forwarded"))
		if err != nil || !strings.Contains(string(text), "from client.test ([192.0.2.1])") {
			t.Errorf("got %q, %v", text, err)
		}
	})
	t.Run("nobody is local through a forwarder", func(t *testing.T) {
		for _, header := range []string{header, "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", "PROXY UNKNOWN\r\n"} {
			d := from(t, forwarder, s.addr["imap"], header)
			d.hear("* OK")
			d.say("a LOGIN alice " + alicePassword)
			d.hear("a NO")
			d = from(t, forwarder, s.addr["submission"], header)
			d.hear("220 ")
			d.say("HELO client.test")
			d.hear("250 ")
			d.say("AUTH PLAIN AGFsaWNlAHg=")
			d.hear("538 5.7.11")
		}
		d := from(t, other, s.addr["imap"], "")
		d.hear("* OK")
		d.say("a LOGIN alice " + alicePassword)
		d.hear("a OK")
	})
}
