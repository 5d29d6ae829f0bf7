package smtpd

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols/listen"
)

// smugglings are what some program takes for the end of a message, and what becomes of a message that has it inside.
var smugglings = []struct {
	name, end string
	refused   bool // else the library takes the dot and the bare CR out, and the rest stays text
}{
	{"LF dot LF", "\n.\n", true},
	{"LF dot CRLF", "\n.\r\n", true},
	{"CR dot CR", "\r.\r", true},
	{"CR dot CRLF", "\r.\r\n", true},
	{"CRLF dot LF", "\r\n.\n", true},
	{"CRLF dot CR", "\r\n.\r", false},
	{"CRLF NUL dot CRLF", "\r\n\x00.\r\n", true},
	{"CRLF dot CR CRLF", "\r\n.\r\r\n", false},
	{"CR CRLF dot CRLF", "\r\r\n.\r\n", true},
}

// TestSmuggling: there is one end of a message, so what stands behind another is never a second message.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, kind := range []string{"mx", "lmtp", "submission"} {
		for j, tt := range smugglings {
			t.Run(kind+", "+tt.name, func(t *testing.T) {
				rcpt := fmt.Sprintf("smuggled%d.%d", i, j)
				w.addUser(rcpt, directory.Quota{})
				_, addr := w.serve(kind, Options{})
				k := dial(t, addr)
				from := greet(k, kind)
				k.mail(from, rcpt+"@example.org")
				k.raw("From: " + from + "\r\n\r\none" + tt.end + "MAIL FROM:<" + from + ">\r\nRCPT TO:<" + rcpt + "@example.org>\r\nDATA\r\n" +
					"From: " + from + "\r\n\r\nsecond\r\n.\r\n")
				want := "250 2.0.0 accepted"
				if tt.refused {
					want = "550 5.5.2"
				}
				if kind == "lmtp" {
					code, text, _ := strings.Cut(want, " ")
					status, _, _ := strings.Cut(text, " ")
					want = code + " " + status + " <" + rcpt + "@example.org>"
				}
				k.want(want)
				k.do("NOOP", "250 2.0.0")
				got := w.inbox(rcpt)
				if tt.refused && len(got) != 0 || !tt.refused && (len(got) != 1 || !strings.Contains(got[0], "second")) {
					t.Errorf("filed %q", got)
				}
			})
		}
	}
}

// greet says hello and, on submission, logs in. It returns a sender that may be used.
func greet(k *talker, kind string) string {
	if kind == "lmtp" {
		k.do("LHLO client.test", "250")
		return "ann@example.net"
	}
	k.do("EHLO client.test", "250")
	if kind == "mx" {
		return "ann@example.net"
	}
	k.do("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00alice\x00"+password)), "235")
	return "alice@example.org"
}

// TestForwarder: behind a forwarder the client it names is the peer, in the trace field too, and never near enough for a
// password in the clear.
func TestForwarder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	addr := w.serveForwarded("mx", Options{})
	k := talkTo(t, addr)
	k.raw("PROXY TCP4 192.0.2.7 192.0.2.25 4711 25\r\n")
	k.want("220")
	k.mail(greet(k, "mx"), "bob@example.org")
	k.raw("Subject: x\r\n\r\nx\r\n")
	k.do(".", "250")
	if got := w.inbox("bob"); len(got) != 1 || !strings.Contains(got[0], "[192.0.2.7]") || strings.Contains(got[0], "127.0.0.1") {
		t.Errorf("filed %q; want the client's address in Received", got)
	}

	addr = w.serveForwarded("submission", Options{})
	k = talkTo(t, addr)
	k.raw("PROXY TCP4 127.0.0.1 127.0.0.1 4711 587\r\n")
	k.want("220")
	if got := k.do("EHLO client.test", "250"); strings.Contains(got, "AUTH") {
		t.Errorf("in the clear behind a forwarder: %q; want no AUTH", got)
	}
	k.do("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00alice\x00"+password)), "538 5.7.11")
	k.do("STARTTLS", "220")
	k = k.secure(w.dial)
	greet(k, "submission")

	k = talkTo(t, addr)
	k.raw("EHLO client.test\r\n") // no header: nobody speaks for it
	k.closed()
}

// TestWaitingClients: who is silent is sent away, who is slow is served.
func TestWaitingClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const idle = 500 * time.Millisecond
	for _, kind := range []string{"mx", "lmtp", "submission"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			_, addr := w.serve(kind, Options{Idle: idle})
			silent := dial(t, addr)
			silent.want("421 4.4.2")
			silent.closed()

			slow := dial(t, addr)
			for _, c := range "NOOP\r\n" {
				slow.raw(string(c))
				time.Sleep(idle / 4)
			}
			slow.want("250")
		})
	}
}

// TestEarlyTalker: a client that does not wait for the greeting is served as one that pipelines, in order and nothing lost;
// with GreetPause it is told that it is no mail server, before it can leave anything.
func TestEarlyTalker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	early := "EHLO client.test\r\nMAIL FROM:<ann@example.net>\r\n"
	_, addr := w.serve("mx", Options{})
	k := talkTo(t, addr)
	k.raw(early)
	k.want("220")
	k.want("250")
	k.want("250 2.0.0")

	_, addr = w.serve("mx", Options{GreetPause: time.Hour})
	greet(dial(t, addr), "mx") // who is on this machine does not wait

	addr = w.serveForwarded("mx", Options{GreetPause: 300 * time.Millisecond})
	const header = "PROXY TCP4 192.0.2.7 192.0.2.25 4711 25\r\n"
	k = talkTo(t, addr)
	k.raw(header + early)
	k.want("554 5.5.1")
	k.closed()

	k = talkTo(t, addr) // waits
	k.raw(header)
	k.want("220")
	greet(k, "mx")
}

// serveForwarded is serve for a place behind a forwarder on loopback.
func (w *world) serveForwarded(kind string, opts Options) (addr string) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	forwarders := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	w.serveOn(listen.Forwarded(l, forwarders, slog.New(slog.DiscardHandler)), kind, opts)
	return l.Addr().String()
}
