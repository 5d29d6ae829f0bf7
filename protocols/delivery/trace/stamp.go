package trace

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/dirpost/dirpost/protocols"
)

// Stamp returns the fields that go on top of the message of env: Return-Path, because we make the final delivery, and
// Received. The recipient is named only when it is the only one: nobody learns from a trace who else got a copy
// (RFC 5321 section 7.2). host is our name.
func Stamp(env protocols.Envelope, host string) string {
	var b strings.Builder
	b.WriteString("Return-Path: <")
	if !env.From.IsZero() {
		b.WriteString(env.From.String())
	}
	fmt.Fprintf(&b, ">\r\nReceived: from %s\r\n\tby %s with %s", client(env), host, env.Protocol)
	if env.Peer.TLS != nil {
		fmt.Fprintf(&b, "\r\n\t(%s, %s)", tls.VersionName(env.Peer.TLS.Version), tls.CipherSuiteName(env.Peer.TLS.CipherSuite))
	}
	fmt.Fprintf(&b, "\r\n\tid %s", env.ID)
	if len(env.Rcpts) == 1 {
		fmt.Fprintf(&b, "\r\n\tfor <%s>", env.Rcpts[0].Address)
	}
	fmt.Fprintf(&b, "; %s\r\n", Date(env.Received))
	return b.String()
}

// Date is t in the form of RFC 5322 section 3.3.
func Date(t time.Time) string { return t.Format(time.RFC1123Z) }

// client names the peer as it called itself and, in parentheses, as we know it (RFC 5321 section 4.4, Extended-Domain).
func client(env protocols.Envelope) string {
	helo := heloName(env.Helo)
	if env.Peer.Unix {
		return helo + " (unix socket)"
	}
	return fmt.Sprintf("%s (%s)", helo, literal(env.Peer.Addr.Addr().Unmap()))
}

// literal is an address literal (RFC 5321 section 4.1.3).
func literal(ip netip.Addr) string {
	if ip.Is6() {
		return "[IPv6:" + ip.WithZone("").String() + "]"
	}
	return "[" + ip.String() + "]"
}

// heloName returns what the client called itself, or "unknown" where that has octets no host name or address literal
// has: the text is the client's, the header is ours.
func heloName(helo string) string {
	if helo == "" || len(helo) > 255 {
		return "unknown"
	}
	for _, c := range []byte(helo) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-._:[]", c) >= 0:
		default:
			return "unknown"
		}
	}
	return helo
}
