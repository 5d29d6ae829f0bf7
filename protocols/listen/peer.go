package listen

import (
	"crypto/rand"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"

	"github.com/dirpost/dirpost/protocols"
)

// PeerOf tells who is at the other end of c. Ask again after STARTTLS: the ID stays the same for a connection that came
// through a [Gate] (any other gets a fresh one each time), TLS is new. Of a TLS connection the handshake must be over,
// else no certificate is seen.
func PeerOf(c net.Conn) protocols.Peer {
	p := protocols.Peer{Addr: addrPort(c.RemoteAddr()), Local: addrPort(c.LocalAddr())}
	_, p.Unix = c.LocalAddr().(*net.UnixAddr)
	if guarded := find(c); guarded != nil {
		p.ID = guarded.id
		_, p.Forwarded = guarded.Conn.(*forwarded)
	} else {
		p.ID = freshID()
	}
	if secure, ok := c.(*tls.Conn); ok {
		state := secure.ConnectionState()
		p.TLS = &state
	}
	return p
}

// freshID returns 60 random bits: enough to find one connection in the logs of years.
func freshID() string { return strings.ToLower(rand.Text()[:12]) }

// addrPort returns a TCP address with IPv4 in its short form, and zero for any other.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
