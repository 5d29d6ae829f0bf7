package smtpd

import (
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

var dataWays = []chunkWay{
	{"MX", "mx", false, 0},
	{"MX with TLS", "mx", true, tls.VersionTLS13},
	{"LMTP", "lmtp", false, 0},
	{"submission", "submission", false, 0},
	{"submissions", "submissions", true, 0},
}

// TestSmuggling: none of the nine sequences that some systems take for the end of a message ends one here, so what
// follows is no second message. Seven refuse the message, lest the next system sees in it what we did not. Two the
// library takes out by itself: a dot and a bare CR at the beginning of a line.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	tests := []struct {
		end  string
		want string // the answer to the one message
		have string // what stands where the sequence was, if it was taken
	}{
		{"\n.\n", "550 5.5.2", ""},
		{"\n.\r\n", "550 5.5.2", ""},
		{"\r.\r", "550 5.5.2", ""},
		{"\r.\r\n", "550 5.5.2", ""},
		{"\r\n.\n", "550 5.5.2", ""},
		{"\r\n.\r", "250 2.0.0", "one\nMAIL FROM:"},
		{"\r\n\x00.\r\n", "550 5.5.2", ""},
		{"\r\n.\r\r\n", "250 2.0.0", "one\n\nMAIL FROM:"},
		{"\r\r\n.\r\n", "550 5.5.2", ""},
	}
	w := newWorld(t)
	for i, way := range dataWays {
		for j, tt := range tests {
			t.Run(fmt.Sprintf("%s, %q", way.name, tt.end), func(t *testing.T) {
				rcpt := fmt.Sprintf("user%d.%d", i, j)
				k, _ := messageTalk(w, way, rcpt, Options{})
				k.t = t
				k.do("DATA", "354")
				k.raw("From: alice@example.org\r\nSubject: x\r\n\r\none" + tt.end +
					"MAIL FROM:<alice@example.org>\r\nRCPT TO:<" + rcpt + "@example.org>\r\nDATA\r\n" +
					"From: ceo@example.org\r\nSubject: smuggled\r\n\r\ntwo\r\n.\r\nQUIT\r\n")
				k.want(tt.want)
				k.want("221") // and nothing between
				got := w.inbox(rcpt)
				if tt.have == "" && len(got) > 0 || tt.have != "" && (len(got) != 1 || !strings.Contains(got[0], tt.have)) {
					t.Errorf("got %q in the mailbox", got)
				}
			})
		}
	}
}

// TestUnendedData: CR CR LF before the dot is no line end, so the message does not end there, and the client waits for an
// answer. He gets it soon, and it is for good: one that says "later" would bring the same message again for days. The
// form that the library hides is pinned: it is answered when the client has been idle for too long, and with "later".
func TestUnendedData(t *testing.T) {
	t.Parallel()
	soon, idle := Options{Linger: 200 * time.Millisecond}, Options{Idle: time.Second}
	tests := []struct {
		name, message, want string
		opts                Options // those with a short idle time for the MX alone
	}{
		{"CR CR LF before the dot", "Subject: x\r\n\r\none\r\r\n.\r\n", "550 5.5.2", soon},
		{"CR CR LF in the header", "Subject: x\r\r\n\r\r\n.\r\n", "550 5.5.2", soon},
		{"LF dot LF", "Subject: x\n\none\n.\n", "550 5.5.2", soon},
		{"in a second part", "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 98)+"\r\n", 200) + "one\r\r\n.\r\n", "550 5.5.2", soon},
		{"silence long after a bare LF", "Subject: x\r\n\r\nbare\nlines\r\n" + strings.Repeat(strings.Repeat("x", 98)+"\r\n", 200), "550 5.5.2", soon},
		{"a shorter idle time holds", "Subject: x\r\n\r\none\r\r\n.\r\n", "550 5.5.2", idle},
		{"dot, CR CR LF before the dot", "Subject: x\r\n\r\none\r\n.\r\r\n.\r\n", "451", idle},
		{"silence in a clean message", "Subject: x\r\n\r\none\r\n", "451", idle},
	}
	w := newWorld(t)
	for i, way := range dataWays {
		for j, tt := range tests {
			if i > 0 && tt.opts.Idle > 0 {
				continue
			}
			t.Run(way.name+", "+tt.name, func(t *testing.T) {
				rcpt := fmt.Sprintf("user%d.%d", i, j)
				k, _ := messageTalk(w, way, rcpt, tt.opts)
				k.t = t
				k.do("DATA", "354")
				k.raw("From: alice@example.org\r\n" + tt.message)
				k.want(tt.want)
				k.want("421 4.4.2")
				k.closed()
				if got := w.inbox(rcpt); len(got) != 0 {
					t.Errorf("filed %q", got)
				}
			})
		}
	}
}

// TestLingerEnds: a message that is refused for its line ends and does end leaves the session as it was.
func TestLingerEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const linger = 200 * time.Millisecond
	k, _ := messageTalk(w, dataWays[0], "carol", Options{Linger: linger})
	k.do("DATA", "354")
	k.raw("Subject: x\r\n\r\none\ntwo\r\n.\r\n")
	k.want("550 5.5.2")
	time.Sleep(2 * linger)
	k.mail("ann@example.net", "carol@example.org")
	io.WriteString(k.conn, "Subject: x\r\n")
	time.Sleep(2 * linger)
	k.do(".", "250")
}
