package smtpd

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/dirpost/dirpost/protocols/listen"
)

// A wire lies between the gate and TLS. Once hung up it has nothing more to read, so that go-smtp ends the connection
// as if the client had, after what it has to say is said.
type wire struct {
	net.Conn
	hung  atomic.Bool
	ended atomic.Bool // a read has found the end

	pause time.Duration // before the first write, which is the greeting; who speaks meanwhile hears early instead
	early string

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

// Write sends p, and the greeting after a pause.
func (w *wire) Write(p []byte) (int, error) {
	pause := w.pause
	w.pause = 0
	if pause <= 0 || listen.PeerOf(w).OnThisMachine() || !listen.Early(w, pause) {
		return w.Conn.Write(p)
	}
	w.hangUp()
	if _, err := io.WriteString(w.Conn, w.early); err != nil {
		return 0, err
	}
	return len(p), nil
}

// wires makes a wire of every connection.
type wires struct {
	net.Listener
	pause time.Duration
	early string
}

// Accept waits for the next connection.
func (l wires) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &wire{Conn: c, pause: l.pause, early: l.early}, nil
}
