package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// A Piece is a run of octets of a message, as they go out: with CRLF line ends.
type Piece struct {
	message  *Message // where places between from and to are looked up; nil when there are none
	from, to Pos
	data     []byte // the octets themselves, if they are not a range of the file
}

// Whole is the piece of a file of the given length that is all of it. It costs one pass to count the line ends, none
// of the parsing that [Message.Piece] needs.
func Whole(src io.ReaderAt, size int64) (Piece, error) {
	s := newScanner(src, size)
	for s.err == nil {
		text := s.window(1)
		if len(text) == 0 {
			break
		}
		s.advance(len(text))
	}
	return Piece{message: &Message{marks: s.marks}, to: s.at}, s.err
}

// Octets is a piece that consists of these.
func Octets(data []byte) Piece { return Piece{data: data, to: Pos{Wire: int64(len(data))}} }

// Size is the number of octets on the wire.
func (p Piece) Size() int64 { return p.to.Wire - p.from.Wire }

// Range returns how many octets there are from offset on, at most n: the length of a partial fetch (RFC 9051 section
// 6.4.5).
func (p Piece) Range(offset, n int64) int64 {
	return max(0, min(n, p.Size()-offset))
}

// CopyTo writes the piece, or the n octets from offset on, to dst. The source must not have changed: if it is shorter
// than it was, the error is [io.ErrUnexpectedEOF] and less than [Piece.Range] was written.
func (p Piece) CopyTo(dst io.Writer, src io.ReaderAt, offset, n int64) error {
	n = p.Range(offset, n)
	if n == 0 {
		return nil
	}
	if p.data != nil {
		_, err := dst.Write(p.data[offset : offset+n])
		return err
	}
	start := mark{raw: p.from.Raw, wire: p.from.Wire}
	if p.message != nil {
		start = p.message.before(p.from.Wire+offset, start)
	}
	w := cutter{dst: dst, skip: p.from.Wire + offset - start.wire, left: n}
	err := copyWire(&w, wireReader{src: src, off: start.raw, end: p.to.Raw, cr: start.cr})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err == nil && w.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Reader returns the piece as a stream.
func (p Piece) Reader(src io.ReaderAt) io.Reader {
	if p.data != nil {
		return bytes.NewReader(p.data)
	}
	return &wireReader{src: src, off: p.from.Raw, end: p.to.Raw}
}

// copyChunk is how much is read from a file at once.
const copyChunk = 64 << 10

// errEnough ends a copy whose writer has all it wants.
var errEnough = errors.New("enough")

// A cutter passes on left octets after the first skip.
type cutter struct {
	dst        io.Writer
	skip, left int64
}

func (c *cutter) Write(b []byte) (int, error) {
	n := len(b)
	if int64(len(b)) <= c.skip {
		c.skip -= int64(len(b))
		return n, nil
	}
	b = b[c.skip:]
	c.skip = 0
	b = b[:min(int64(len(b)), c.left)]
	if _, err := c.dst.Write(b); err != nil {
		return 0, err
	}
	if c.left -= int64(len(b)); c.left == 0 {
		return n, errEnough
	}
	return n, nil
}

// copyWire writes all that r reads.
func copyWire(dst io.Writer, r wireReader) error {
	for {
		text, err := r.next()
		if len(text) > 0 {
			if _, err := dst.Write(text); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// A wireReader reads a range of a file with CRLF line ends.
type wireReader struct {
	src      io.ReaderAt
	off, end int64
	cr       bool   // the last octet was CR
	raw      []byte // a chunk of the file
	out      []byte // the same with CRLF
	ready    []byte // of out, not yet read
}

// next returns the next run of octets, valid until the next call, and io.EOF at the end.
func (r *wireReader) next() ([]byte, error) {
	n := min(copyChunk, r.end-r.off)
	if n <= 0 {
		return nil, io.EOF
	}
	chunk, err := r.chunk(int(n))
	if len(chunk) == 0 {
		return nil, err
	}
	r.off += int64(len(chunk))
	cr := r.cr
	r.cr = chunk[len(chunk)-1] == '\r'
	_, bare := lineEnds(chunk, cr)
	if bare == 0 {
		return chunk, err
	}
	if need := len(chunk) + int(bare); cap(r.out) < need {
		r.out = make([]byte, 0, need)
	}
	r.out = appendWire(r.out[:0], chunk, cr)
	return r.out, err
}

func (r *wireReader) chunk(n int) ([]byte, error) {
	if b, ok := r.src.(Bytes); ok && r.off+int64(n) <= int64(len(b)) {
		return b[r.off : r.off+int64(n)], nil
	}
	if r.raw == nil {
		r.raw = make([]byte, n)
	}
	got, err := r.src.ReadAt(r.raw[:n], r.off)
	if got == n {
		return r.raw[:n], nil
	}
	if err == nil || err == io.EOF {
		err = fmt.Errorf("message: %w", io.ErrUnexpectedEOF)
	}
	return r.raw[:got], err
}

// Read implements [io.Reader].
func (r *wireReader) Read(b []byte) (int, error) {
	if len(r.ready) == 0 {
		text, err := r.next()
		if len(text) == 0 {
			return 0, err
		}
		r.ready = text
	}
	n := copy(b, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

// appendWire appends text to dst with CRLF for every line end. cr says that the octet before text is a CR.
func appendWire(dst, text []byte, cr bool) []byte {
	for len(text) > 0 {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			return append(dst, text...)
		}
		if i > 0 && text[i-1] == '\r' || i == 0 && cr {
			dst = append(dst, text[:i+1]...)
		} else {
			dst = append(dst, text[:i]...)
			dst = append(dst, '\r', '\n')
		}
		text = text[i+1:]
		cr = false
	}
	return dst
}
