package smtpd

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestRandomSessions: whatever a client says, in whatever pieces, and however it leaves: there are as many messages as
// there are answers that take one over, all of them whole, the server ends when it is told to, and no refusal of the library's own is for good.
func TestRandomSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	filed := 0
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		way := dataWays[rnd.IntN(len(dataWays))]
		server, addr := w.serve(way.kind, Options{Idle: time.Second})
		k := talkTo(t, addr)
		tcp := tcpOf(k)
		if way.kind == "submissions" {
			k = k.secure(w.dial)
		}
		k.want("220")
		hello := "EHLO client.test"
		if way.kind == "lmtp" {
			hello = "LHLO client.test"
		}
		if way.secure && way.kind != "submissions" {
			k.do(hello, "250")
			k.do("STARTTLS", "220")
			k = k.secure(w.dial)
		}
		text := hello + "\r\n"
		if strings.HasPrefix(way.kind, "submission") {
			text += "AUTH PLAIN AGFsaWNlAGNvcnJlY3QgaG9yc2U=\r\n"
		}
		for range 1 + rnd.IntN(8) {
			text += randomStep(rnd, hello)
		}
		if rnd.IntN(3) == 0 {
			text = text[:rnd.IntN(len(text))]
		}
		said := make(chan bool)
		go func() {
			defer close(said)
			for n := 0; len(text) > 0; text = text[n:] {
				n = min(len(text), 1+rnd.IntN(3000))
				if _, err := io.WriteString(k.conn, text[:n]); err != nil {
					return
				}
			}
			leave(rnd.IntN(4), k, tcp.CloseWrite)
		}()
		var heard []string
		answers := 0
		for reply, err := k.reply(); err == nil; reply, err = k.reply() {
			heard = append(heard, reply)
			answers += strings.Count(reply, "accepted as")
		}
		k.conn.Close()
		<-said
		w.must(server.Shutdown(t.Context()))
		got := w.inbox("bob")[filed:]
		if len(got) != answers {
			t.Fatalf("seed %d, %s: %d answers, but %d messages; heard %.2000q", seed, way.name, answers, len(got), heard)
		}
		for _, message := range got {
			if !strings.HasSuffix(message, "\nthe end\n") {
				t.Errorf("seed %d, %s: half a message: %.2000q", seed, way.name, message)
			}
		}
		filed += answers
		if strings.Contains(strings.Join(heard, "\n"), "554 5.0.0") {
			t.Errorf("seed %d, %s: heard %.2000q", seed, way.name, heard)
		}
	}
	if filed < 30 {
		t.Errorf("only %d messages were filed", filed)
	}
}

// leave ends what a client says: with QUIT, with a closure alert, with the end of the TCP stream, or with both.
func leave(how int, k *talker, closeWrite func() error) {
	if secure, ok := k.conn.(*tls.Conn); ok && how%2 == 1 {
		secure.CloseWrite()
	}
	if how < 2 {
		closeWrite()
	} else if how == 2 {
		io.WriteString(k.conn, "QUIT\r\n")
	}
}

// randomStep is a command, or a whole transaction in one of its forms.
func randomStep(rnd *rand.Rand, hello string) string {
	body := "From: alice@example.org\r\nSubject: x\r\n\r\n"
	switch rnd.IntN(5) {
	case 0:
		body += strings.Repeat("x", rnd.IntN(9000)) + "\r\n"
	case 1:
		body += "bare\nline\r\n"
	default:
		body += strings.Repeat("line\r\n", rnd.IntN(2000))
	}
	body += "the end\r\n"
	cut := rnd.IntN(len(body))
	begin := "MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\n"
	first := fmt.Sprintf("BDAT %d\r\n%s", cut, body[:cut])
	switch rnd.IntN(12) {
	case 0:
		return hello + "\r\n"
	case 1:
		return "RSET\r\nNOOP\r\n"
	case 2:
		return "RCPT TO:<nobody@example.org>\r\n"
	case 3:
		return begin + first + "RSET\r\n"
	case 4:
		return begin + first + "NOOP\r\n" + begin
	case 5, 6:
		return begin + first + fmt.Sprintf("BDAT %d LAST\r\n%s", len(body)-cut, body[cut:])
	case 7:
		return begin + fmt.Sprintf("BDAT %d\r\n%sBDAT 0 LAST\r\n", len(body), body)
	case 8, 9:
		return begin + fmt.Sprintf("BDAT %d LAST\r\n%s", len(body), body)
	default:
		return begin + "DATA\r\n" + body + ".\r\n"
	}
}
