package message

import (
	"bytes"
	"errors"
	"io"
)

// A scanner walks through a message once, counting both kinds of octets. It holds a window of the text: buf[lo:hi] is
// what comes next.
type scanner struct {
	src    io.ReaderAt
	size   int64
	chunk  int64 // how much is read at once
	buf    []byte
	lo, hi int
	read   int64 // octets taken from src
	at     Pos   // of buf[lo]
	cr     bool  // the octet before at is CR
	marks  []mark
	err    error
}

func newScanner(src io.ReaderAt, size int64) scanner {
	s := scanner{src: src, size: size, chunk: blockSize}
	if b, ok := src.(Bytes); ok && int64(len(b)) >= size {
		s.buf, s.hi, s.read = b[:size], int(size), size
	}
	return s
}

// Bytes is a message in memory, a source that the functions of this package look at without copying.
type Bytes []byte

// ReadAt implements [io.ReaderAt].
func (b Bytes) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// window returns what comes next: at least n octets, fewer only before the end of the text.
func (s *scanner) window(n int) []byte {
	if s.hi-s.lo < n {
		s.fill(n)
	}
	return s.buf[s.lo:s.hi]
}

// ended reports whether the window reaches the end of the text.
func (s *scanner) ended() bool { return s.read == s.size }

func (s *scanner) fill(n int) {
	if s.ended() || s.err != nil {
		return
	}
	if len(s.buf) < n || s.buf == nil {
		want := max(n, int(min(s.chunk, s.size)))
		grown := make([]byte, want)
		s.hi = copy(grown, s.buf[s.lo:s.hi])
		s.buf, s.lo = grown, 0
	} else if len(s.buf)-s.lo < n || s.lo >= len(s.buf)/2 {
		s.hi = copy(s.buf, s.buf[s.lo:s.hi])
		s.lo = 0
	}
	want := int(min(int64(len(s.buf)-s.hi), s.size-s.read))
	got, err := s.src.ReadAt(s.buf[s.hi:s.hi+want], s.read)
	s.hi += got
	s.read += int64(got)
	if got < want {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // the file is shorter than it was said to be
		}
		s.err, s.size = err, s.read
	}
}

// advance moves past the next n octets of the window.
func (s *scanner) advance(n int) {
	for n > 0 {
		step := int64(n)
		next := (s.at.Raw/blockSize + 1) * blockSize
		if next-s.at.Raw < step {
			step = next - s.at.Raw
		}
		s.count(s.buf[s.lo : s.lo+int(step)])
		s.lo += int(step)
		n -= int(step)
		if s.at.Raw == next {
			s.marks = append(s.marks, mark{s.at.Raw, s.at.Wire, s.cr})
		}
	}
}

func (s *scanner) count(text []byte) {
	n, bare := lineEnds(text, s.cr)
	s.at.Raw += int64(len(text))
	s.at.Wire += int64(len(text)) + bare
	s.at.Line += n
	s.cr = text[len(text)-1] == '\r'
}

// lineEnds counts the line ends of a text, and those that lack their CR. cr says that the octet before the text is a
// CR.
func lineEnds(text []byte, cr bool) (all, bare int64) {
	all = int64(bytes.Count(text, lf))
	if all == 0 {
		return 0, 0
	}
	bare = all
	if cr && text[0] == '\n' {
		bare--
	}
	if bytes.IndexByte(text, '\r') >= 0 {
		bare -= int64(bytes.Count(text, crlf))
	}
	return all, bare
}

var (
	lf   = []byte("\n")
	crlf = []byte("\r\n")
)
