package smtpd

import (
	"testing"
	"time"
)

// CR CR LF before the dot is no line end, so the message does not end there, and the client waits for an answer. When its
// time is up the answer is for good: one that says "later" would bring the same message again for days.
func TestUnendedData(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, message, want string }{
		{"CR CR LF before the dot", "Subject: x\r\n\r\none\r\r\n.\r\n", "550 5.5.2"},
		{"CR CR LF in the header", "Subject: x\r\r\n\r\r\n.\r\n", "550 5.5.2"},
		{"silence in a clean message", "Subject: x\r\n\r\none\r\n", "451"},
	}
	w := newWorld(t)
	_, addr := w.serve("mx", Options{Idle: 300 * time.Millisecond})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := dial(t, addr)
			k.do("EHLO client.test", "250")
			k.mail("ann@example.net", "bob@example.org")
			k.raw(tt.message)
			k.want(tt.want)
			k.want("421 4.4.2")
			k.closed()
		})
	}
	if got := w.inbox("bob"); len(got) != 0 {
		t.Errorf("filed %q", got)
	}
}
