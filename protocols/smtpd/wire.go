package smtpd

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
)

// A wire lies between the gate and TLS. Once hung up it has nothing more to read, so that go-smtp ends the connection
// as if the client had, after what it has to say is said.
type wire struct {
	net.Conn
	hung  atomic.Bool
	ended atomic.Bool // a read has found the end
}

// NetConn is the connection below, for package listen.
func (w *wire) NetConn() net.Conn { return w.Conn }

// Read takes from the connection below until the wire is hung up.
func (w *wire) Read(p []byte) (int, error) {
	if w.hung.Load() {
		return 0, io.EOF
	}
	n, err := w.Conn.Read(p)
	if err != nil {
		w.ended.Store(true)
	}
	return n, err
}

// whole reads the message of a BDAT. go-smtp takes a connection that ends within a chunk for the end of the message; it
// reads on only while octets of the chunk are missing, so an end that the wire has seen means that they never came.
type whole struct {
	io.Reader
	wire *wire
}

// Read turns the end of a message that was cut off into an error.
func (r whole) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF && r.wire.ended.Load() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (w *wire) hangUp() { w.hung.Store(true) }

// cut ends the connection at once, whatever is still to be said.
func (w *wire) cut() {
	w.hangUp()
	w.Close()
}

// wireBelow finds the wire of a connection that came through wires.
func wireBelow(c net.Conn) *wire {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	return c.(*wire)
}

// wires makes a wire of every connection.
type wires struct{ net.Listener }

// Accept waits for the next connection.
func (l wires) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &wire{Conn: c}, nil
}
