package ldapwire

import (
	"encoding/binary"
	"math/bits"

	"github.com/dirpost/dirpost/directory/dit"
)

// NoticeOfDisconnection is the name of the one unsolicited notification (RFC 4511 section 4.4.1).
const NoticeOfDisconnection = "1.3.6.1.4.1.1466.20036"

// A Result is what every response ends with (RFC 4511 section 4.1.9): a code, the last entry found on the way, and text
// for people.
type Result struct {
	Code    int
	Matched string
	Text    string
}

// AppendResult appends to b the response with this tag ([Request] knows it) and nothing in it but r.
func AppendResult(b []byte, id int32, tag byte, r Result, controls ...Control) []byte {
	w := builder{b}
	message := w.open(tagSequence)
	w.integer(tagInteger, int64(id))
	op := w.open(tag)
	w.result(r)
	w.close(op)
	w.controls(controls)
	w.close(message)
	return w.b
}

// AppendExtended appends the response to an extended operation (RFC 4511 section 4.12). An empty oid and a nil value
// are left out.
func AppendExtended(b []byte, id int32, r Result, oid string, value []byte, controls ...Control) []byte {
	w := builder{b}
	message := w.open(tagSequence)
	w.integer(tagInteger, int64(id))
	op := w.open(tagExtendedResponse)
	w.result(r)
	if oid != "" {
		octets(&w, context|10, oid)
	}
	if value != nil {
		octets(&w, context|11, value)
	}
	w.close(op)
	w.controls(controls)
	w.close(message)
	return w.b
}

// AppendEntry appends a SearchResultEntry (RFC 4511 section 4.5.2).
func AppendEntry(b []byte, id int32, e *dit.Entry, controls ...Control) []byte {
	w := builder{b}
	message := w.open(tagSequence)
	w.integer(tagInteger, int64(id))
	w.entry(e)
	w.controls(controls)
	w.close(message)
	return w.b
}

// entry appends the entry itself.
func (w *builder) entry(e *dit.Entry) {
	op := w.open(tagSearchEntry)
	octets(w, tagOctetString, e.DN)
	list := w.open(tagSequence)
	for _, a := range e.Attributes {
		w.attribute(a)
	}
	w.close(list)
	w.close(op)
}

// A builder appends elements to b.
type builder struct{ b []byte }

// open begins an element and returns the place that close wants. One octet is kept for the length; close makes room
// where that is not enough.
func (w *builder) open(tag byte) int {
	w.b = append(w.b, tag, 0)
	return len(w.b)
}

// close writes the length of the element whose content begins at start.
func (w *builder) close(start int) {
	n := len(w.b) - start
	if n < 0x80 {
		w.b[start-1] = byte(n)
		return
	}
	size := (bits.Len(uint(n)) + 7) / 8
	w.b = append(w.b, make([]byte, size)...)
	copy(w.b[start+size:], w.b[start:start+n])
	w.b[start-1] = 0x80 | byte(size)
	var long [8]byte
	binary.BigEndian.PutUint64(long[:], uint64(n))
	copy(w.b[start:start+size], long[len(long)-size:])
}

// result appends the components of LDAPResult.
func (w *builder) result(r Result) {
	w.integer(tagEnumerated, int64(r.Code))
	octets(w, tagOctetString, r.Matched)
	octets(w, tagOctetString, r.Text)
}

// attribute appends a PartialAttribute.
func (w *builder) attribute(a dit.Attribute) {
	one := w.open(tagSequence)
	octets(w, tagOctetString, a.Name)
	set := w.open(tagSet)
	for _, v := range a.Values {
		octets(w, tagOctetString, v)
	}
	w.close(set)
	w.close(one)
}

// controls appends Controls, if there are any.
func (w *builder) controls(controls []Control) {
	if len(controls) == 0 {
		return
	}
	list := w.open(context | constructed)
	for _, c := range controls {
		one := w.open(tagSequence)
		octets(w, tagOctetString, c.OID)
		if c.Critical {
			w.b = append(w.b, tagBoolean, 1, 0xff)
		}
		if c.Value != nil {
			octets(w, tagOctetString, c.Value)
		}
		w.close(one)
	}
	w.close(list)
}

// integer appends n, which is not negative, in as few octets as hold it and its sign.
func (w *builder) integer(tag byte, n int64) {
	size := bits.Len64(uint64(n))/8 + 1
	var long [8]byte
	binary.BigEndian.PutUint64(long[:], uint64(n))
	octets(w, tag, long[len(long)-size:])
}

// octets appends an octet string.
func octets[T string | []byte](w *builder, tag byte, s T) {
	place := w.open(tag)
	w.b = append(w.b, s...)
	w.close(place)
}
