package listen

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
)

// introTime is how long a forwarder may take to say whose connection it passes on.
const introTime = 5 * time.Second

// introBytes bounds what it says: the 107 octets of version 1, or version 2 with room for additions.
const introBytes = 4096

// An intro is what a forwarder says at the start of a connection it passes on: the PROXY protocol, version 1 or 2. It is
// read by whoever first needs the connection, so that a slow forwarder keeps nobody waiting but itself.
type intro struct {
	in     *bufio.Reader
	remote net.Addr // the client
	local  net.Addr // what it connected to
}

// newIntro reads the intro from r. Without addresses it is the forwarder's own connection, by which it asks whether we live.
func newIntro(r io.Reader) (intro, error) {
	said := intro{in: bufio.NewReaderSize(r, introBytes)}
	header, err := proxyproto.Read(said.in)
	switch {
	case err != nil:
		return said, fmt.Errorf("forwarder has not said whose connection it is: %w", err)
	case header.Command.IsLocal() || header.TransportProtocol.IsUnspec():
		return said, nil
	}
	source, from := header.SourceAddr.(*net.TCPAddr)
	dest, to := header.DestinationAddr.(*net.TCPAddr)
	if !from || !to {
		return said, errors.New("forwarder passes on what is no TCP connection")
	}
	said.remote, said.local = source, dest
	return said, nil
}

// forwards reports whether addr is one of the forwarders.
func (g *Gate) forwards(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && slices.ContainsFunc(g.opts.Forwarders, func(p netip.Prefix) bool {
		return p.Contains(tcp.AddrPort().Addr().Unmap().WithZone(""))
	})
}

// introduce reads the intro of a forwarded connection, once. After an error the connection is closed.
func (c *conn) introduce() error {
	if !c.forwarded {
		return nil
	}
	c.intro.Do(func() {
		c.introErr = c.readIntro()
		if c.introErr != nil {
			c.gate.opts.Log.Info("connection refused", "conn", c.id, "peer", c.Conn.RemoteAddr().String(), "err", c.introErr)
			c.Close()
		}
	})
	return c.introErr
}

func (c *conn) readIntro() error {
	if err := c.Conn.SetReadDeadline(time.Now().Add(introTime)); err != nil {
		return err
	}
	said, err := newIntro(c.Conn)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.said = said
	c.mu.Unlock()
	if said.remote == nil {
		return nil
	}
	if c.gate.recount(c, network(said.remote)) {
		return nil
	}
	c.Conn.SetWriteDeadline(time.Now().Add(time.Second))
	io.WriteString(c.Conn, c.gate.opts.Refusal)
	return errTooManyOfPeer
}

var errTooManyOfPeer = errors.New("too many connections from this address")

// recount counts c as one from the network of, instead of from its forwarder, unless that has enough.
func (g *Gate) recount(c *conn, of netip.Prefix) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opts.MaxConnsOfPeer > 0 && g.ofPeer[of] >= g.opts.MaxConnsOfPeer {
		return false
	}
	if !g.conns[c] {
		return false // cut meanwhile
	}
	c.of = of
	g.ofPeer[of]++
	return true
}

// RemoteAddr is the address of the client, also behind a forwarder once that has told it.
func (c *conn) RemoteAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said.remote != nil {
		return c.said.remote
	}
	return c.Conn.RemoteAddr()
}

// LocalAddr is the address that the client has connected to.
func (c *conn) LocalAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said.local != nil {
		return c.said.local
	}
	return c.Conn.LocalAddr()
}
