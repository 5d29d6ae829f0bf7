package smtpd

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"

	"github.com/dirpost/dirpost/protocols/listen"
)

// A wire lies between the gate and TLS. Once hung up it has nothing more to read, so that go-smtp ends the connection
// as if the client had, after what it has to say is said.
type wire struct {
	net.Conn
	server  *Server
	burden  burden
	greeted bool         // for the one who writes
	answers atomic.Int64 // lines said since something came of one
	hung    atomic.Bool
	ended   atomic.Bool // a read has found the end
	chunked atomic.Bool // a message comes in chunks

	dry     atomic.Bool // reads find nothing; see whole
	records records     // for the one who reads
	data    *unfinished // for him too; nil while no DATA runs
}

// NetConn is the connection below, for package listen.
func (w *wire) NetConn() net.Conn { return w.Conn }

// Read takes from the connection below until the wire is hung up.
func (w *wire) Read(p []byte) (int, error) {
	switch {
	case w.hung.Load():
		return 0, io.EOF
	case w.dry.Load():
		return 0, os.ErrDeadlineExceeded // to TLS, an error that does not last
	case w.tired():
		return 0, w.fault(errTired) // go-smtp says 421
	}
	if err := w.burden.add(0); err != nil {
		return 0, w.fault(err)
	}
	defer w.hurry()()
	n, err := w.Conn.Read(w.records.within(p))
	w.records.pass(p[:n])
	if err == nil && w.data == nil && !w.chunked.Load() {
		err = w.burden.add(n)
	}
	if err != nil {
		w.ended.Store(true)
		err = w.fault(err)
	}
	return n, err
}

// fault is what go-smtp gets of an error. Of one within a chunk it tells the client, with a code that means for good, but
// for errors that are answers.
func (w *wire) fault(err error) error {
	if w.chunked.Load() && err != io.EOF {
		return toLibrary(replyStopped)
	}
	return err
}

// errTired ends a session that leads nowhere.
var errTired = errors.New("too many commands of which nothing came")

// tired reports whether enough has been said. Commands cannot be counted, for go-smtp answers some by itself, and what
// comes over TLS cannot be read here; but no answer passes unseen.
func (w *wire) tired() bool {
	most := w.server.opts.MaxAnswers
	return most >= 0 && w.answers.Load() > int64(most)
}

// Write gives the client what is said to him: a line each, or a part of a TLS handshake. Who does not wait for the
// greeting gets none (RFC 5321 section 3.1); he is a program that does not listen.
func (w *wire) Write(p []byte) (int, error) {
	if !w.greeted {
		w.greeted = true
		if w.early() {
			w.hangUp()
			_, err := io.WriteString(w.Conn, replyEarly.Error()+"\r\n")
			return len(p), err
		}
	}
	w.answers.Add(1)
	w.burden.drop()
	return w.Conn.Write(p)
}

// early waits for the client to speak too early, unless he is on this machine.
func (w *wire) early() bool {
	pause, peer := w.server.opts.GreetPause, listen.PeerOf(w.Conn)
	if pause <= 0 || peer.OnThisMachine() || !listen.Early(w.Conn, pause) {
		return false
	}
	w.server.log.Info("connection refused", "conn", peer.ID, "peer", peer.String(), "err", "speaks before the greeting")
	return true
}

func (w *wire) hangUp() { w.hung.Store(true) }

// Close ends the connection.
func (w *wire) Close() error {
	w.burden.drop()
	return w.Conn.Close()
}

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
type wires struct {
	net.Listener
	server *Server
}

// Accept waits for the next connection.
func (l wires) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &wire{Conn: c, server: l.server, burden: burden{places: l.server.long}}, nil
}
