package smtpd

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync/atomic"
)

// A wire lies between the gate and TLS. Once hung up it has nothing more to read, so that go-smtp ends the connection
// as if the client had, after what it has to say is said.
type wire struct {
	net.Conn
	hung  atomic.Bool
	ended atomic.Bool // a read has found the end

	dry     atomic.Bool // reads find nothing; see whole
	records records     // for the one who reads
}

// NetConn is the connection below, for package listen.
func (w *wire) NetConn() net.Conn { return w.Conn }

// Read takes from the connection below until the wire is hung up.
func (w *wire) Read(p []byte) (int, error) {
	if w.hung.Load() {
		return 0, io.EOF
	}
	if w.dry.Load() {
		return 0, os.ErrDeadlineExceeded // to TLS, an error that does not last
	}
	n, err := w.Conn.Read(w.records.within(p))
	w.records.pass(p[:n])
	if err != nil {
		w.ended.Store(true)
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
