package smtpd

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// The tests of this file are numbered like the gaps of go-smtp that they show closed, or that they pin where they are
// its parser's. TestGap10 is in reply_test.go.

// TestGap01: a BDAT that is abandoned by RSET ends the connection, if its message had begun to arrive; go-smtp would
// give the answer for the first message to the second, and store that beside. So no answer but a good one is ever heard,
// and there are as many as there are messages.
func TestGap01(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, addr := w.serve("mx", Options{})
	answers := 0
	for _, first := range []string{
		"BDAT 20\r\nSubject: first\r\n\r\nxx",
		"BDAT 20\r\nSubject: first\nxxxxx", // refused before its end
		"BDAT 0\r\n",
	} {
		for range 50 {
			k := dial(t, addr)
			k.do("EHLO client.test", "250")
			k.raw("MAIL FROM:<ann@example.net>\r\nRCPT TO:<bob@example.org>\r\n" + first + "RSET\r\n" +
				"MAIL FROM:<ann@example.net>\r\nRCPT TO:<bob@example.org>\r\nBDAT 21 LAST\r\nSubject: second\r\n\r\nxxQUIT\r\n")
			k.want("250") // MAIL
			k.want("250") // RCPT
			k.want("250") // BDAT
			for {
				reply, err := k.reply()
				if err != nil {
					break
				}
				if !strings.HasPrefix(reply, "2") {
					t.Fatalf("got %q, the answer for another message", reply)
				}
				if strings.Contains(reply, "accepted as") {
					answers++
				}
			}
		}
	}
	messages := w.inbox("bob")
	for _, message := range messages {
		if strings.Contains(message, "first") {
			t.Error("the abandoned message was delivered")
		}
	}
	if len(messages) != answers {
		t.Errorf("got %d answers for %d messages", answers, len(messages))
	}
}

// TestAbandonedBDAT: the other ways to leave a BDAT alone.
func TestAbandonedBDAT(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, addr := w.serve("mx", Options{})
	for _, ending := range []string{"EHLO again.test\r\n", "STARTTLS\r\n", "QUIT\r\n", ""} {
		k := dial(t, addr)
		k.do("EHLO client.test", "250")
		k.do("MAIL FROM:<ann@example.net>", "250")
		k.do("RCPT TO:<bob@example.org>", "250")
		k.raw("BDAT 10\r\nSubject: x")
		k.want("250")
		k.raw(ending)
		if err := k.conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		for {
			if reply, err := k.reply(); err != nil {
				break
			} else if strings.HasPrefix(reply, "550 5.0.0") && !strings.Contains(reply, "Handshake") || strings.HasPrefix(reply, "554") {
				t.Errorf("after %q: got %q", ending, reply)
			}
		}
	}
	if got := len(w.inbox("bob")); got != 0 {
		t.Errorf("got %d messages, want none", got)
	}
}

// TestGap02: a chunk may come in one write with its command, and have no line end in 100,000 octets.
func TestGap02(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, addr := w.serve("mx", Options{})
	k := dial(t, addr)
	k.do("EHLO client.test", "250")
	k.do("MAIL FROM:<ann@example.net>", "250")
	k.do("RCPT TO:<bob@example.org>", "250")
	k.raw("BDAT 14\r\nSubject: x\r\n\r\n")
	k.want("250")
	body := strings.Repeat("x", 100_000)
	k.raw(fmt.Sprintf("BDAT %d\r\n%s", len(body), body))
	k.want("250")
	k.do("BDAT 0 LAST", "250 2.0.0 accepted")
	if got := w.inbox("bob"); len(got) != 1 || !strings.HasSuffix(got[0], "Subject: x\n\n"+body) {
		t.Errorf("got %d messages", len(got))
	}
}

// TestGap03: lines of a message may be longer than RFC 5321 has them, up to a limit; commands too (RFC 4954 section 4).
func TestGap03(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, addr := w.serve("mx", Options{})
	k := dial(t, addr)
	k.do("EHLO client.test", "250")
	for _, n := range []int{2500, 500_000} {
		line := strings.Repeat("x", n)
		k.mail("ann@example.net", "bob@example.org")
		k.do("Subject: x\r\n\r\n"+line+"\r\n.", "250 2.0.0 accepted")
		if got := w.inbox("bob"); !strings.HasSuffix(got[len(got)-1], "\n"+line+"\n") {
			t.Errorf("a line of %d octets did not arrive", n)
		}
	}
	k.mail("ann@example.net", "bob@example.org")
	k.raw("Subject: x\r\n\r\n" + strings.Repeat("x", maxLine+10_000) + "\r\n.\r\n")
	k.want("550 5.6.0") // for good: it would be no shorter when it came again
	k.want("500 5.4.0")
	_, addr = w.serve("submission", Options{})
	k = dial(t, addr)
	k.do("EHLO client.test", "250")
	k.do("AUTH PLAIN "+strings.Repeat("A", 12288), "501 5.5.2")
}

// TestGap04: a message that comes slowly but steadily arrives, however long it takes; one that stops coming is cut, and
// nothing that comes later is taken for commands.
func TestGap04(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const idle = time.Second
	_, addr := w.serve("mx", Options{Idle: idle})
	for _, secure := range []bool{false, true} {
		k := dial(t, addr)
		k.do("EHLO client.test", "250")
		if secure {
			k.do("STARTTLS", "220")
			k = k.secure(w.dial)
			k.do("EHLO client.test", "250")
		}
		k.mail("ann@example.net", "bob@example.org")
		begun := time.Now()
		for time.Since(begun) < 2*idle {
			k.raw("Slow: x\r\n")
			time.Sleep(idle / 8)
		}
		k.do(".", "250 2.0.0 accepted")

		k.mail("ann@example.net", "bob@example.org")
		k.raw("Subject: x\r\n")
		k.want("451") // the message
		k.want("421") // the session
		k.raw("\r\n.\r\nMAIL FROM:<ann@example.net>\r\n")
		k.closed()
	}
	if got := len(w.inbox("bob")); got != 2 {
		t.Errorf("got %d messages, want 2", got)
	}
}

// TestGap05: extensions whose parameters go-smtp reads with the wrong command are not offered, and refused.
func TestGap05(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, addr := w.serve("mx", Options{})
	k := dial(t, addr)
	offer := k.do("EHLO client.test", "250")
	if strings.Contains(offer, "DELIVERBY") || strings.Contains(offer, "MT-PRIORITY") {
		t.Errorf("got %q", offer)
	}
	k.do("MAIL FROM:<ann@example.net> BY=120;R", "500 5.5.4")
	k.do("MAIL FROM:<ann@example.net> MT-PRIORITY=3", "500 5.5.4")
	k.do("MAIL FROM:<ann@example.net>", "250")
	k.do("RCPT TO:<bob@example.org> BY=120;R", "504 5.5.4")
	k.do("RCPT TO:<bob@example.org> MT-PRIORITY=3", "504 5.5.4")
}

// TestGap06: what was quoted reaches nobody as if it had not been.
func TestGap06(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, addr := w.serve("mx", Options{})
	k := dial(t, addr)
	k.do("EHLO client.test", "250")
	for _, local := range []string{`"a@b"`, `"q> NOTIFY=NEVER"`, `"a b"`, `"a\"b"`, `"bob@example.org> "`} {
		k.do("MAIL FROM:<"+local+"@example.org>", "553 5.1.7")
		k.do("MAIL FROM:<ann@example.net>", "250")
		k.do("RCPT TO:<"+local+"@example.org>", "553 5.1.3")
		k.do("RSET", "250")
	}
	k.do("MAIL FROM:<ann@example.net>", "250")
	k.do(`RCPT TO:<"bob"@example.org>`, "250") // quotes that were not needed (RFC 5321 section 4.1.2)
}

// TestGap07 pins what is go-smtp's parser's, and closes what is not: addresses beyond ASCII.
func TestGap07(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, addr := w.serve("mx", Options{})
	k := dial(t, addr)
	k.do("EHLO client.test", "250")
	k.do("MAIL FROM:<ann@example.net> SIZE=4294967296", "501 5.5.4") // 552 5.3.4 by RFC 1870 section 6.1
	k.do("MAIL FROM:<ann@example.net> COLOUR=red", "500 5.5.4")      // 555 5.5.4 by RFC 5321 section 4.1.1.11
	k.do("MAIL FROM:<jö@example.net>", "553 5.6.7")
	k.do("MAIL FROM:<ann@exämple.net>", "553 5.6.7")
	k.do("MAIL FROM:<ann@example.net>", "250")
	k.do("RCPT TO:<postmaster>", "501 5.5.2") // must be taken by RFC 5321 section 4.5.1
	k.do("RCPT TO:<böb@example.org>", "553 5.6.7")
	k.do("RCPT TO:<bob@exämple.org>", "553 5.6.7")
}

// TestGap08: a message may be exactly as large as the limit, and not an octet more, whatever command brings it.
func TestGap08(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const limit = 1000
	_, addr := w.serve("mx", Options{MaxBytes: limit})
	message := func(n int) string { return "Subject: x\r\n\r\n" + strings.Repeat("x", n-16) + "\r\n" }
	k := dial(t, addr)
	k.do("EHLO client.test", "250")
	for n, want := range map[int]string{limit: "250 2.0.0", limit + 1: "552 5.3.4", limit + 2: "552 5.3.4", 10 * limit: "552 5.3.4"} {
		k.mail("ann@example.net", "bob@example.org")
		k.do(message(n)+".", want)
		k.do("MAIL FROM:<ann@example.net>", "250")
		k.do("RCPT TO:<bob@example.org>", "250")
		k.raw(fmt.Sprintf("BDAT %d LAST\r\n%s", n, message(n)))
		k.want(want)
		if n == limit {
			k.do(fmt.Sprintf("MAIL FROM:<ann@example.net> SIZE=%d", n), "250")
			k.do("RSET", "250")
		} else {
			k.do(fmt.Sprintf("MAIL FROM:<ann@example.net> SIZE=%d", n), "552 5.3.4")
		}
	}
	if got := len(w.inbox("bob")); got != 2 {
		t.Errorf("got %d messages, want 2", got)
	}
}

// TestGap09: who collects failures is sent away, and what he has sent already is not obeyed.
func TestGap09(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	opts := Options{MaxAuthFailures: 3, MaxRefusedRcpts: 2, MaxErrors: 2, MaxMessages: 2, MaxRcpts: 2, MaxConnsOfPeer: 2}
	_, submission := w.serve("submission", opts)
	_, mx := w.serve("mx", opts)

	t.Run("wrong passwords", func(t *testing.T) {
		k := dial(t, submission)
		k.do("EHLO client.test", "250")
		k.do("AUTH PLAIN AGFsaWNlAHdyb25n", "535 5.7.8")
		k.do("AUTH PLAIN AGFsaWNlAHdyb25n", "535 5.7.8")
		k.raw("AUTH PLAIN AGFsaWNlAHdyb25n\r\nAUTH PLAIN AGFsaWNlAGNvcnJlY3QgaG9yc2U=\r\n")
		k.want("421 4.7.0")
		k.want("421 4.7.0") // the right one comes too late
		k.closed()
	})
	t.Run("recipients", func(t *testing.T) {
		k := dial(t, mx)
		k.do("EHLO client.test", "250")
		k.do("MAIL FROM:<ann@example.net>", "250")
		k.do("RCPT TO:<bob@example.org>", "250")
		k.do("RCPT TO:<a@example.org>", "550 5.1.1")
		k.do("RCPT TO:<b@example.org>", "550 5.1.1")
		k.do("RCPT TO:<c@example.org>", "421 4.7.0")
		k.closed()
	})
	t.Run("other errors", func(t *testing.T) {
		k := dial(t, mx)
		k.do("EHLO client.test", "250")
		k.do(`MAIL FROM:<"a b"@example.net>`, "553")
		k.do(`MAIL FROM:<"a b"@example.net>`, "553")
		k.do(`MAIL FROM:<"a b"@example.net>`, "421 4.7.0")
		k.closed()
	})
	t.Run("messages", func(t *testing.T) {
		k := dial(t, mx)
		k.do("EHLO client.test", "250")
		for range 2 {
			k.mail("ann@example.net", "bob@example.org")
			k.do(".", "250")
		}
		k.do("MAIL FROM:<ann@example.net>", "421 4.7.0")
		k.closed()
	})
	t.Run("recipients of one message", func(t *testing.T) {
		k := dial(t, mx)
		k.do("EHLO client.test", "250 LIMITS RCPTMAX=2")
		k.do("MAIL FROM:<ann@example.net>", "250")
		k.do("RCPT TO:<bob@example.org>", "250")
		k.do("RCPT TO:<bob@example.org>", "250")
		k.do("RCPT TO:<alice@example.org>", "452 4.5.3")
	})
	t.Run("connections", func(t *testing.T) {
		_, addr := w.serve("mx", opts)
		dial(t, addr)
		dial(t, addr)
		k := talkTo(t, addr)
		k.want("421 4.7.0")
		k.closed()
	})
}

// TestGap11: a shutdown says 421 to who is idle and lets a message that is on its way arrive.
func TestGap11(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, addr := w.serve("mx", Options{})
	idle, busy := dial(t, addr), dial(t, addr)
	busy.do("EHLO client.test", "250")
	busy.mail("ann@example.net", "bob@example.org")
	busy.raw("Subject: x\r\n")
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	idle.want("421")
	idle.closed()
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("a server that shuts down takes a connection")
	}
	busy.do("\r\n.", "250 2.0.0 accepted")
	busy.want("421")
	busy.closed()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := len(w.inbox("bob")); got != 1 {
		t.Errorf("got %d messages, want 1", got)
	}
}

// TestImpatientShutdown: a shutdown whose time is up cuts off a client that does not go on.
func TestImpatientShutdown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, addr := w.serve("mx", Options{})
	k := dial(t, addr)
	k.do("EHLO client.test", "250")
	k.mail("ann@example.net", "bob@example.org")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	k.closed()
}

// TestGap12: the wrappers of a connection lie under TLS, so that the library sees that it is there.
func TestGap12(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, mx := w.serve("mx", Options{})
	_, submissions := w.serve("submissions", Options{})
	k := dial(t, mx)
	if offer := k.do("EHLO client.test", "250"); !strings.Contains(offer, "STARTTLS") {
		t.Errorf("got %q", offer)
	}
	k.raw("STARTTLS\r\nMAIL FROM:<injected@example.net>\r\n")
	k.want("220")
	k = k.secure(w.dial)
	k.do("RCPT TO:<bob@example.org>", "502 5.5.1") // nothing was taken over from before
	if offer := k.do("EHLO client.test", "250"); strings.Contains(offer, "STARTTLS") || strings.Contains(offer, "AUTH") {
		t.Errorf("got %q", offer)
	}
	k.mail("ann@example.net", "bob@example.org")
	k.do(".", "250")
	if got := w.inbox("bob"); !strings.Contains(got[0], "with ESMTPS\n\t(TLS 1.3, ") {
		t.Errorf("got %q", got)
	}

	config := w.dial.Clone()
	config.Certificates = append(config.Certificates, w.cert)
	k = talkTo(t, submissions).secure(config)
	k.want("220")
	if offer := k.do("EHLO client.test", "250"); strings.Contains(offer, "STARTTLS") || !strings.Contains(offer, "AUTH EXTERNAL PLAIN LOGIN") {
		t.Errorf("got %q", offer)
	}
	k.do("AUTH EXTERNAL =", "235")
	k.do("MAIL FROM:<alice@example.org>", "250")
}

// TestGap13 pins the texts that are the library's.
func TestGap13(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, addr := w.serve("mx", Options{})
	k := talkTo(t, addr)
	k.want("220 mx.example.org ESMTP Service Ready")
	k.do("EHLO client.test", "250")
	k.do("MAIL FROM:<ann@example.net>", "250 2.0.0 Roger, accepting mail from <ann@example.net>")
	k.do("RCPT TO:<bob@example.org>", "250 2.0.0 I'll make sure <bob@example.org> gets this")
	k.do("DATA", "354 Go ahead. End your data with <CR><LF>.<CR><LF>")
	k.do(".", "250 2.0.0 accepted as ") // this one is ours
}

// TestGap14: over a unix socket, in chunks: one answer for each recipient that was accepted and none for the others.
func TestGap14(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "lmtp")
	l, err := net.Listen("unix", path)
	w.must(err)
	w.serveOn(l, "lmtp", Options{})
	k := dial(t, path)
	k.do("LHLO client.test", "250")
	for _, data := range []string{"DATA\r\nSubject: x\r\n\r\n.\r\n", "BDAT 10\r\nSubject: xBDAT 4 LAST\r\n\r\n\r\n"} {
		k.do("MAIL FROM:<ann@example.net>", "250")
		k.do("RCPT TO:<nobody@example.org>", "550 5.1.1")
		k.do("RCPT TO:<bob@example.org>", "250")
		k.do("RCPT TO:<ann@example.net>", "550 5.7.1")
		k.do("RCPT TO:<bob@example.org>", "250")
		k.do("RCPT TO:<alice@example.org>", "250")
		k.raw(data)
		if strings.HasPrefix(data, "DATA") {
			k.want("354")
		} else {
			k.want("250")
		}
		for _, rcpt := range []string{"bob", "bob", "alice"} {
			k.want("250 2.0.0 <" + rcpt + "@example.org> accepted as ")
		}
		k.do("NOOP", "250")
	}
	if alice, bob := len(w.inbox("alice")), len(w.inbox("bob")); alice != 2 || bob != 2 {
		t.Errorf("got %d and %d messages, want 2 and 2", alice, bob)
	}
	if got := w.inbox("bob")[0]; !strings.Contains(got, "Received: from client.test (unix socket)\n\tby mx.example.org with LMTP\n") {
		t.Errorf("got %q", got)
	}
}

// TestShutdownLeavesNothing: no goroutine of a server or of the library outlives it. It does not run beside others, whose
// goroutines it would see.
func TestShutdownLeavesNothing(t *testing.T) {
	w := newWorld(t)
	s, addr := w.serve("mx", Options{})
	for _, way := range []string{"", "BDAT 0\r\nRSET\r\n", "BDAT 0\r\n", "BDAT 5\r\nx: y\n", "BDAT 0\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nBDAT 0 LAST\r\n"} {
		for range 20 {
			k := dial(t, addr)
			k.do("EHLO client.test", "250")
			k.raw("MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n" + way)
			k.want("250")
			k.want("250")
			k.conn.Close()
		}
	}
	w.must(s.Shutdown(t.Context()))
	stacks := make([]byte, 1<<20)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		running := strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n")
		left := slices.DeleteFunc(running, func(s string) bool {
			return !strings.Contains(s, "go-smtp.") || strings.Contains(s, "TestShutdownLeavesNothing")
		})
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left, the first is %s", len(left), left[0])
		}
	}
}
