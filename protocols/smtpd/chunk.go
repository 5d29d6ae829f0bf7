package smtpd

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
)

// A whole reads the message of a BDAT (RFC 3030). go-smtp takes a connection that ends within the last chunk for the end
// of the message, and says so with the same io.EOF. A message that ends while the connection has ended too is therefore
// no message: go-smtp reads no further than the chunk, and would not have found the end had the chunk been whole.
type whole struct {
	io.Reader
	wire *wire
	conn net.Conn // above the wire, perhaps with TLS between
}

// Read turns the end of a message that was cut off into an error.
func (r whole) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF && r.cut() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// cut reports whether the connection has ended. It is asked when go-smtp waits for the fate of the message, and reads
// nothing. In the clear the wire has seen the end. Over TLS the end may be a closure alert (RFC 8446 section 6.1), which
// only TLS can read, and remembers: a read with nothing new to be had from the wire tells.
func (r whole) cut() bool {
	secure, ok := r.conn.(*tls.Conn)
	if !ok || r.wire.ended.Load() {
		return r.wire.ended.Load()
	}
	if !r.wire.records.mayBeAlert() {
		return false
	}
	r.wire.dry.Store(true)
	defer r.wire.dry.Store(false)
	n, err := secure.Read(make([]byte, 1))
	if n > 0 {
		r.wire.hangUp() // an octet of the next command is lost, so there can be none
	}
	return errors.Is(err, io.EOF)
}

// records follow the TLS records (RFC 8446 section 5.1) that pass a wire, and keep each read of it within one of them. So
// TLS never holds a record that it has not opened, and what it has read last is the record known here.
type records struct {
	head [recordHead]byte
	have int // octets of head
	left int // octets of the record that are still to come
	size int // of the record read last
}

const (
	recordHead      = 5
	recordHandshake = 22 // its type, the first octet of a connection with TLS and of no command

	// alertSize is more than any record with an alert has, with padding as anybody might add it, and less than go-smtp
	// asks TLS for: of a record this small nothing stays behind in TLS.
	alertSize = 4096
)

// within is the part of p that a read may fill. It changes nothing where no TLS is spoken.
func (r *records) within(p []byte) []byte {
	switch {
	case r.left > 0:
		return p[:min(len(p), r.left)]
	case r.have > 0 || r.size > 0:
		return p[:min(len(p), recordHead-r.have)]
	}
	return p
}

// pass takes note of what was read. The first record, a handshake message, may be found at the start of any read.
func (r *records) pass(p []byte) {
	if r.have == 0 && r.left == 0 && r.size == 0 && (len(p) == 0 || p[0] != recordHandshake) {
		return
	}
	for len(p) > 0 {
		if r.left == 0 {
			n := copy(r.head[r.have:], p)
			r.have, p = r.have+n, p[n:]
			if r.have == recordHead {
				r.left = int(binary.BigEndian.Uint16(r.head[3:]))
				r.have, r.size = 0, recordHead+r.left
			}
			continue
		}
		n := min(len(p), r.left)
		r.left, p = r.left-n, p[n:]
	}
}

// mayBeAlert reports whether the record read last can be an alert.
func (r *records) mayBeAlert() bool { return r.left == 0 && r.have == 0 && r.size <= alertSize }
