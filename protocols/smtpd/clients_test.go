package smtpd

import (
	"crypto/tls"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols/listen"
)

// A trickle sends octet by octet.
type trickle struct{ net.Conn }

func (c trickle) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// TestOctetByOctet: how the octets of a client come does not matter, above TLS and below it.
func TestOctetByOctet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, way := range dataWays {
		for _, below := range []bool{false, true} {
			rcpt := "user" + string(rune('a'+i))
			if below {
				rcpt += "2"
			}
			w.addUser(rcpt, directory.Quota{})
			_, addr := w.serve(way.kind, Options{})
			k := talkTo(t, addr)
			if below {
				k.conn = trickle{k.conn}
			}
			if way.kind == "submissions" {
				k = k.secure(w.dial)
			}
			if !below {
				k.conn = trickle{k.conn}
			}
			k.want("220")
			hello, from := "EHLO client.test", "ann@example.net"
			if way.kind == "lmtp" {
				hello = "LHLO client.test"
			}
			k.do(hello, "250")
			if strings.HasPrefix(way.kind, "submission") {
				from = "alice@example.org"
				k.do("AUTH PLAIN AGFsaWNlAGNvcnJlY3QgaG9yc2U=", "235")
			}
			k.mail(from, rcpt+"@example.org")
			k.do("From: alice@example.org\r\nSubject: slow\r\n\r\n..dot\r\n.", "250")
			k.do("MAIL FROM:<"+from+">", "250")
			k.do("RCPT TO:<"+rcpt+"@example.org>", "250")
			k.raw("BDAT 48 LAST\r\n" + torso)
			k.want("250")
			k.do("QUIT", "221")
			if got := w.inbox(rcpt); len(got) != 2 || !strings.HasSuffix(got[0], "Subject: slow\n\n.dot\n") {
				t.Errorf("%s: got %q", way.name, got)
			}
		}
	}
}

// TestSlowCommand: octets that come one by one keep nobody's place for ever. A message has more time the longer it is.
func TestSlowCommand(t *testing.T) {
	t.Parallel()
	const turn = time.Second
	w := newWorld(t)
	_, addr := w.serve("mx", Options{Turn: turn})
	for _, secure := range []bool{false, true} {
		k := dial(t, addr)
		k.do("EHLO client.test", "250")
		if secure {
			k.do("STARTTLS", "220")
			k = k.secure(w.dial)
			k.do("EHLO client.test", "250")
		}
		k.mail("ann@example.net", "bob@example.org")
		for begun := time.Now(); time.Since(begun) < 2*turn; time.Sleep(turn / 10) {
			k.raw("Slow: " + strings.Repeat("x", 120) + "\r\n")
		}
		k.do(".", "250")
		heard := make(chan string)
		go func() {
			rest, _ := io.ReadAll(k.in)
			heard <- string(rest)
		}()
		for done := false; !done; {
			select {
			case got := <-heard:
				if !strings.HasSuffix(got, "421 4.4.2 Idle timeout, bye bye\r\n") {
					t.Errorf("secure %v: heard %q", secure, got)
				}
				done = true
			case <-time.After(turn / 10):
				io.WriteString(k.conn, "X")
			}
		}
	}
}

// TestTrickle: a message of which hardly anything comes, but never nothing, is cut like one of which nothing comes.
func TestTrickle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, begins := range []string{"DATA\r\n", "BDAT 100000 LAST\r\n"} {
		_, addr := w.serve("mx", Options{Turn: time.Second})
		k := dial(t, addr)
		k.do("EHLO client.test", "250")
		k.do("MAIL FROM:<ann@example.net>", "250")
		k.do("RCPT TO:<bob@example.org>", "250")
		k.raw(begins)
		heard := make(chan string)
		go func() {
			rest, _ := io.ReadAll(k.in)
			heard <- string(rest)
		}()
		begun, got := time.Now(), ""
		for got == "" && time.Since(begun) < 20*time.Second {
			select {
			case got = <-heard:
			case <-time.After(50 * time.Millisecond):
				io.WriteString(k.conn, "x")
			}
		}
		if !strings.Contains(got, "451 ") || !strings.Contains(got, "421 ") && begins[0] == 'D' {
			t.Errorf("%q: heard %q after %s", begins, got, time.Since(begun))
		}
	}
	if got := w.inbox("bob"); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

// TestSilent: who says nothing is sent away, at whatever point.
func TestSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	opts := Options{Idle: 200 * time.Millisecond}
	tests := []struct{ name, kind, says, want string }{
		{"from the beginning", "mx", "", "421 4.4.2"},
		{"after a greeting", "mx", "EHLO client.test\r\n", "421 4.4.2"},
		{"within a command", "mx", "EHLO client.te", "421 4.4.2"},
		{"before a handshake", "submissions", "", ""},
		{"within a handshake", "submissions", "\x16\x03\x01", ""},
		{"after STARTTLS", "mx", "EHLO client.test\r\nSTARTTLS\r\n", "550 5.0.0 Handshake error\r\n421 4.4.2"},
		{"within a login", "submission", "EHLO client.test\r\nAUTH LOGIN\r\n", "421 4.4.2"},
		{"within a chunk", "lmtp", "LHLO client.test\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nBDAT 10 LAST\r\nx", "451 4.4.2"},
		{"between chunks", "mx", "EHLO client.test\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nBDAT 1\r\nx", "421 4.4.0"},
		{"within a message", "lmtp", "LHLO client.test\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nx", "451 4.3.0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, addr := w.serve(tt.kind, opts)
			k := talkTo(t, addr)
			k.raw(tt.says)
			all, err := io.ReadAll(k.in)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(all); tt.want == "" && got != "" || !strings.Contains("\n"+got, "\n"+tt.want) {
				t.Errorf("heard %q, want %q", got, tt.want)
			}
			if strings.Contains(string(all), "\n554") {
				t.Errorf("heard %q, which is for good", all)
			}
		})
	}
	if got := w.inbox("bob"); len(got) != 0 {
		t.Errorf("filed %q", got)
	}
}

// TestEarlyTalker: who speaks before the greeting gets none, unless he is on this machine.
func TestEarlyTalker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	opts := Options{GreetPause: 300 * time.Millisecond}
	far := w.serveForwarded("mx", opts)
	_, near := w.serve("mx", opts)
	const header = "PROXY TCP4 192.0.2.1 198.51.100.1 34567 25\r\n"
	tests := []struct {
		name, addr, before, want string
	}{
		{"waits", far, header, "220 "},
		{"speaks at once", far, header + "EHLO client.test\r\n", "554 5.5.1"},
		{"begins a handshake", far, header + "\x16\x03\x01", "554 5.5.1"},
		{"speaks at once on this machine", near, "NOOP\r\n", "220 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := talkTo(t, tt.addr)
			k.raw(tt.before)
			k.want(tt.want)
			if tt.want != "220 " {
				k.closed()
				return
			}
			if tt.addr == near {
				k.want("250") // to what was said too early
			}
			k.raw("EHLO client.test\r\nMAIL FROM:<ann@example.net>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n")
			for _, want := range []string{"250", "250", "250", "354"} {
				k.want(want)
			}
			k.do(".", "250")
		})
	}
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

// TestCommands: a session of which nothing comes ends, whatever its commands are; one that brings messages goes on.
func TestCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const most = 30
	_, mx := w.serve("mx", Options{MaxAnswers: most})
	_, submission := w.serve("submission", Options{MaxAnswers: most})
	_, lmtp := w.serve("lmtp", Options{})
	start := func(addr string, config *tls.Config) *talker {
		k := dial(t, addr)
		k.do("EHLO client.test", "250")
		if config != nil {
			k.do("STARTTLS", "220")
			k = k.secure(config)
			k.do("EHLO client.test", "250")
		}
		return k
	}
	until := func(k *talker, command string) (answers int) {
		for {
			k.raw(command + "\r\n")
			reply, err := k.reply()
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(reply, "421 4.4.0") {
				k.closed()
				return answers
			}
			if answers++; answers > most {
				t.Fatalf("%s: %d answers", command, answers)
			}
		}
	}
	for _, config := range []*tls.Config{nil, w.dial} {
		for _, command := range []string{"NOOP", "RSET", "VRFY bob", "HELO client.test", "AUTH PLAIN !", "BDAT x", "MAIL FROM:<ann@example.net>"} {
			if n := until(start(mx, config), command); n < 5 {
				t.Errorf("%s: %d answers", command, n)
			}
		}
		k := start(mx, config)
		for range most {
			k.mail("ann@example.net", "bob@example.org")
			k.do(".", "250")
		}
		until(k, "NOOP")
		k = start(submission, config)
		for range most / 3 {
			k.do("NOOP", "250")
		}
		k.do("AUTH PLAIN AGFsaWNlAGNvcnJlY3QgaG9yc2U=", "235")
		for range most - 1 {
			k.do("NOOP", "250")
		}
	}
	k := dial(t, lmtp)
	for range 1100 {
		k.do("NOOP", "250")
	}
	k = dial(t, mx)
	for range 3 {
		k.do("WHAT", "500 5.5.2")
	}
	k.do("WHAT", "500 5.5.2") // the library counts these itself
	k.want("500 5.5.1")
	k.closed()
}

// TestLongCommands: only so many clients may send commands that are long, for those are kept in memory until they end.
// Messages do not count, nor do clients who are answered.
func TestLongCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, mx := w.serve("mx", Options{})
	long := strings.Repeat("x", longCommand+1)
	var all []*talker
	for range maxLong {
		k := dial(t, mx)
		k.raw(long)
		all = append(all, k)
	}
	for deadline := time.Now().Add(10 * time.Second); len(server.long) < maxLong; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d long commands, want %d", len(server.long), maxLong)
		}
	}

	// The library takes what has come of it for a command, before it sees the error.
	refused := func(k *talker) {
		t.Helper()
		k.raw(long)
		reply, err := k.reply()
		for err == nil && strings.HasPrefix(reply, "501 ") {
			reply, err = k.reply()
		}
		if !strings.HasPrefix(reply, "421 ") {
			t.Errorf("got %q, %v; want 421", reply, err)
		}
	}
	refused(dial(t, mx))

	secure := dial(t, mx)
	secure.do("EHLO client.test", "250")
	secure.do("STARTTLS", "220")
	secure = secure.secure(w.dial)
	secure.do("EHLO client.test", "250")
	for range 3 {
		secure.mail("ann@example.net", "bob@example.org")
		secure.do("Subject: "+long+"\r\n\r\n"+long+"\r\n.", "250")
		secure.do("MAIL FROM:<ann@example.net>", "250")
		secure.do("RCPT TO:<bob@example.org>", "250")
		secure.raw("BDAT 40000 LAST\r\n" + torso + strings.Repeat("x", 40000-len(torso)))
		secure.want("250")
		secure.raw(strings.Repeat("NOOP\r\n", 300)) // read and answered one by one
		for range 300 {
			secure.want("250")
		}
	}
	refused(secure)

	all[0].do("", "50")       // an answer frees its place
	all[1].conn.Close()       // and so does the end
	all[2].raw(long + "\r\n") // more of the same is no more
	all[2].want("50")
	for range 3 {
		k := dial(t, mx)
		for deadline := time.Now().Add(10 * time.Second); len(server.long) == maxLong && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		k.do(long, "50")
	}
}
