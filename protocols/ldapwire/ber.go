package ldapwire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Universal and context tags as LDAP uses them.
const (
	tagBoolean     = 0x01
	tagInteger     = 0x02
	tagOctetString = 0x04
	tagEnumerated  = 0x0a
	tagSequence    = 0x30
	tagSet         = 0x31

	context     = 0x80 // primitive [0], to which the number is added
	constructed = 0x20
)

// ErrTooLarge is returned by ReadFrame for a message whose announced length is above the limit.
var ErrTooLarge = errors.New("message too large")

// A SyntaxError says where octets break the encoding rules of RFC 4511 section 5.1, and which rule.
type SyntaxError struct {
	Offset int
	Rule   string
}

// Error names the offset and the rule.
func (e *SyntaxError) Error() string { return fmt.Sprintf("octet %d: %s", e.Offset, e.Rule) }

// frameStep is how much memory is taken at once for octets that are announced and have not arrived.
const frameStep = 64 << 10

// ReadFrame reads one message with its header. The announced length is compared with max before anything of the
// content is read. The error is that of r, ErrTooLarge or a [SyntaxError]; io.EOF only before the first octet.
func ReadFrame(r *bufio.Reader, max int) ([]byte, error) {
	tag, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	if tag != tagSequence {
		return nil, &SyntaxError{0, "a message is a sequence"}
	}
	head := []byte{tag}
	for {
		b, err := r.ReadByte()
		if err != nil {
			return nil, unexpected(err)
		}
		head = append(head, b)
		if need := lengthOctets(head[1]); need < 0 {
			return nil, &SyntaxError{1, "length is indefinite or has over 4 octets"}
		} else if len(head) == 2+need {
			break
		}
	}
	n := length(head[1:])
	if n > int64(max-len(head)) {
		return nil, fmt.Errorf("%w: %d octets, limit %d", ErrTooLarge, n, max)
	}
	frame := bytes.NewBuffer(make([]byte, 0, len(head)+int(min(n, frameStep))))
	frame.Write(head)
	_, err = io.CopyN(frame, r, n)
	return frame.Bytes(), unexpected(err)
}

// unexpected tells an end inside a message from one between two.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// lengthOctets is how many octets follow the first of a length, -1 for what LDAP does not know.
func lengthOctets(first byte) int {
	switch n := int(first) - 0x80; {
	case n < 0:
		return 0
	case n == 0 || n > 4:
		return -1
	default:
		return n
	}
}

// length is the value of the length in b, of which lengthOctets has told the size.
func length(b []byte) int64 {
	if b[0] < 0x80 {
		return int64(b[0])
	}
	var n int64
	for _, o := range b[1:] {
		n = n<<8 | int64(o)
	}
	return n
}

// A reader walks over the elements in buf. The first fault, which is kept in the decoder, ends it: from then on there
// is nothing more to read and values are zero, so that callers need not look after every element.
type reader struct {
	buf []byte
	off int // offset of buf in the message
	d   *decoder
}

// more reports whether an element follows.
func (r *reader) more() bool { return len(r.buf) > 0 && r.d.err == nil }

// at reports whether the next element has this tag.
func (r *reader) at(tag byte) bool { return r.more() && r.buf[0] == tag }

// syntax records a fault of the encoding at the reader's place.
func (r *reader) syntax(rule string) {
	if r.d.err == nil {
		r.d.err = &SyntaxError{r.off, rule}
	}
}

// next takes the next element, whatever it is.
func (r *reader) next() (tag byte, content reader) {
	empty := reader{d: r.d}
	if !r.more() {
		r.syntax("an element is missing")
		return 0, empty
	}
	tag = r.buf[0]
	if tag&0x1f == 0x1f {
		r.syntax("tag has more than one octet")
		return 0, empty
	}
	if len(r.buf) < 2 {
		r.syntax("length is missing")
		return 0, empty
	}
	more := lengthOctets(r.buf[1])
	if more < 0 || len(r.buf) < 2+more {
		r.syntax("length is cut, indefinite or has over 4 octets")
		return 0, empty
	}
	head := 2 + more
	n := length(r.buf[1:head])
	if n > int64(len(r.buf)-head) {
		r.syntax("element is longer than what holds it")
		return 0, empty
	}
	end := head + int(n)
	content = reader{r.buf[head:end:end], r.off + head, r.d}
	r.buf, r.off = r.buf[end:], r.off+end
	return tag, content
}

// element takes the next element, which must have this tag.
func (r *reader) element(tag byte, rule string) reader {
	if r.more() && r.buf[0] != tag {
		r.syntax(rule)
	}
	_, content := r.next()
	return content
}

// end passes over the rest, which a later version of the protocol may have added (RFC 4511 section 4).
func (r *reader) end() {
	for r.more() {
		r.next()
	}
}

// sequence takes a SEQUENCE.
func (r *reader) sequence() reader { return r.element(tagSequence, "a sequence is expected") }

// octets takes an octet string; it is never nil without a fault.
func (r *reader) octets(tag byte) []byte {
	return r.element(tag, "a string is expected").buf
}

// text takes an octet string as text.
func (r *reader) text() string { return string(r.octets(tagOctetString)) }

// boolean takes a BOOLEAN with this tag. Anything but zero is taken for true.
func (r *reader) boolean(tag byte) bool {
	v := r.element(tag, "a boolean is expected")
	if r.d.err == nil && len(v.buf) != 1 {
		v.syntax("a boolean has one octet")
	}
	return r.d.err == nil && v.buf[0] != 0
}

// integer takes an INTEGER or ENUMERATED between 0 and max.
func (r *reader) integer(tag byte, max int64) int64 {
	v := r.element(tag, "an integer is expected")
	n := v.number()
	if r.d.err == nil && (n < 0 || n > max) {
		v.syntax(fmt.Sprintf("integer is not in 0 to %d", max))
		return 0
	}
	return n
}

// number reads the whole content as a two's complement number.
func (r *reader) number() int64 {
	if r.d.err != nil {
		return 0
	}
	if len(r.buf) == 0 || len(r.buf) > 8 {
		r.syntax("an integer has 1 to 8 octets")
		return 0
	}
	n := int64(int8(r.buf[0]))
	for _, o := range r.buf[1:] {
		n = n<<8 | int64(o)
	}
	return n
}
