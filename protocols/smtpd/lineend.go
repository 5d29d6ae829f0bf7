package smtpd

import (
	"bytes"
	"io"

	"github.com/dirpost/dirpost/protocols/listen"
)

// An unfinished is the text of a DATA as it comes. It knows what go-smtp keeps to itself: the library waits for a whole
// buffer before it gives any of it away, and so the client may wait for an answer, having ended its message in a way that
// is no end (LF dot LF, or CR CR LF dot CR LF), while nobody has seen the line end for which it is refused.
type unfinished struct {
	io.Reader
	last byte   // read before
	part []byte // being filled, from its beginning; zeros behind what has come
}

// Read lets faulty see p while it is filled.
func (u *unfinished) Read(p []byte) (int, error) {
	clear(p)
	u.part = p
	n, err := u.Reader.Read(p)
	u.part = nil
	if n > 0 {
		u.last = p[n-1]
	}
	return n, err
}

// faulty reports whether there is a bare CR or LF in what has come since the last Read.
func (u *unfinished) faulty() bool {
	last := u.last
	for _, c := range bytes.TrimRight(u.part, "\x00") {
		if (last == '\r') != (c == '\n') {
			return true
		}
		last = c
	}
	return false
}

// watch makes the waits for more of a message short once it is known to be refused for its line ends, until the function
// that it returns is called.
func (w *wire) watch(u *unfinished) (end func()) {
	w.data = u
	return func() { w.data = nil }
}

// hurry is called before a read that may have to wait. Its result is called after it.
func (w *wire) hurry() (relax func()) {
	if w.data == nil || !w.data.faulty() {
		return func() {}
	}
	return listen.Hurry(w.Conn, w.server.opts.Linger)
}
