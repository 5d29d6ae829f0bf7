// Package protocols is the dictionary of conversations: who is at the other end, what an envelope says, and what is
// answered. The packages below it are the servers (names that end in d), the doors they share (listen, certs, login) and
// the path a message takes (inbound or submit, then delivery).
//
// The walk of a message: smtpd → inbound.Accept (or submit.Accept) → lookup → delivery → storage/mailbox.
// The walk of a login: smtpd or imapd → login.Authenticate → auth → lookup → client.
package protocols

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"time"

	"github.com/dirpost/dirpost/directory"
)

// A Peer is the other end of one connection.
type Peer struct {
	ID    string               // names the connection in every log line
	Addr  netip.AddrPort       // zero for unix sockets
	Local netip.AddrPort       // our end
	Unix  bool                 // connected by unix socket
	TLS   *tls.ConnectionState // nil in the clear

	// Forwarded says that a forwarder has connected, for a client whose Addr and Local are as he told. How the client came
	// to him, and whether that was private, nobody knows: such a peer is never local.
	Forwarded bool
}

// Private reports whether what is sent cannot be overheard: TLS, a unix socket, or loopback. Only then are plaintext
// passwords taken.
func (p Peer) Private() bool { return p.TLS != nil || p.OnThisMachine() }

// OnThisMachine reports whether the other end is a program on this machine, which has not been sent by another.
func (p Peer) OnThisMachine() bool {
	return !p.Forwarded && (p.Unix || p.Addr.Addr().Unmap().IsLoopback())
}

// String is the form for logs and trace headers.
func (p Peer) String() string {
	if p.Unix {
		return "unix"
	}
	return p.Addr.Addr().Unmap().String()
}

// An Envelope is an SMTP transaction before its data (RFC 5321 section 2.3.1). A zero From is the null reverse-path.
type Envelope struct {
	ID       string // names the message in logs and in Received
	Peer     Peer
	Helo     string
	Protocol string // "ESMTP", "ESMTPS", "ESMTPSA", "LMTP" ... (RFC 3848)
	From     directory.Address
	Rcpts    []Recipient
	Login    string // uid of the authenticated submitter, else empty
	Received time.Time

	PerRecipient bool // the peer takes an answer for each recipient (LMTP), not one for all
}

// A Recipient is one accepted RCPT and where it goes.
type Recipient struct {
	Address directory.Address
	Route   directory.Route
}

// A Reply is an SMTP reply with its enhanced status code (RFC 5321 section 4.2, RFC 3463). It is an error so that it can
// be returned where the answer to a peer is decided.
type Reply struct {
	Code     int
	Enhanced string // "5.1.1"; empty where none is due
	Text     string // for the peer: no internals
}

// Error is the line as it goes out.
func (r Reply) Error() string { return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text) }

// Temporary reports whether the client should try again (RFC 5321 section 4.2.1).
func (r Reply) Temporary() bool { return r.Code/100 == 4 }
