package trace

import (
	"crypto/tls"
	"net/mail"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
)

var (
	joe  = directory.Address{Local: "joe", Domain: "example.org"}
	bob  = directory.Address{Local: "bob", Domain: "example.org"}
	noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.FixedZone("", 3600))
)

func peer(addr string) protocols.Peer { return protocols.Peer{Addr: netip.MustParseAddrPort(addr)} }

func secure(p protocols.Peer) protocols.Peer {
	p.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
	return p
}

func TestStamp(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		env  protocols.Envelope
		want string
	}{
		{
			"one recipient is named",
			protocols.Envelope{ID: "i", Peer: peer("192.0.2.1:99"), Helo: "client.example", Protocol: "ESMTP", From: joe, Rcpts: []protocols.Recipient{{Address: bob}}},
			"Return-Path: <joe@example.org>\nReceived: from client.example ([192.0.2.1])\n\tby mx.example.org with ESMTP\n\tid i\n\tfor <bob@example.org>; Wed, 25 Nov 2026 12:00:00 +0100\n",
		},
		{
			"of several none is named, TLS is",
			protocols.Envelope{ID: "i", Peer: secure(peer("[2001:db8::1]:99")), Helo: "[IPv6:2001:db8::1]", Protocol: "ESMTPSA", From: joe, Rcpts: []protocols.Recipient{{Address: bob}, {Address: joe}}},
			"Return-Path: <joe@example.org>\nReceived: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])\n\tby mx.example.org with ESMTPSA\n\t(TLS 1.3, TLS_AES_128_GCM_SHA256)\n\tid i; Wed, 25 Nov 2026 12:00:00 +0100\n",
		},
		{
			"null sender over a unix socket",
			protocols.Envelope{ID: "i", Peer: protocols.Peer{Unix: true}, Helo: "mta", Protocol: "LMTP", Rcpts: []protocols.Recipient{{Address: bob}}},
			"Return-Path: <>\nReceived: from mta (unix socket)\n\tby mx.example.org with LMTP\n\tid i\n\tfor <bob@example.org>; Wed, 25 Nov 2026 12:00:00 +0100\n",
		},
		{
			"IPv4 in IPv6 is IPv4, a name with a comment is no name",
			protocols.Envelope{ID: "i", Peer: peer("[::ffff:192.0.2.1]:99"), Helo: "evil(by", Protocol: "ESMTP", Rcpts: []protocols.Recipient{{Address: bob}}},
			"Return-Path: <>\nReceived: from unknown ([192.0.2.1])\n\tby mx.example.org with ESMTP\n\tid i\n\tfor <bob@example.org>; Wed, 25 Nov 2026 12:00:00 +0100\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.env.Received = noon
			if got := Stamp(tt.env, "mx.example.org"); got != crlf(tt.want) {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// FuzzTrace: whatever a client calls itself, the stamp is two fields that every reader reads as the same two.
func FuzzTrace(f *testing.F) {
	for _, helo := range []string{"client.example", "[192.0.2.1]", "", "a b", "x\r\nX-Evil: 1", "(", "\x00", strings.Repeat("a", 300)} {
		f.Add(helo)
	}
	f.Fuzz(func(t *testing.T, helo string) {
		env := protocols.Envelope{ID: "i", Peer: secure(peer("192.0.2.1:99")), Helo: helo, Protocol: "ESMTPS", From: joe, Rcpts: []protocols.Recipient{{Address: bob}}, Received: noon}
		got, err := pass(strings.NewReader("Subject: x\r\n\r\n"), Limits{}, Stamp(env, "mx.example.org"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := mail.ReadMessage(strings.NewReader(got))
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Header) != 3 || len(m.Header["Received"]) != 1 || !strings.HasSuffix(m.Header.Get("Received"), "for <bob@example.org>; Wed, 25 Nov 2026 12:00:00 +0100") {
			t.Errorf("got header %v", m.Header)
		}
	})
}
