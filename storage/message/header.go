package message

import (
	"bytes"
	"io"
	"iter"
	"strings"
)

// A Field is one field of a header. Raw is the whole of it with folding and line end.
type Field struct {
	Raw  []byte
	name int // length of the name
	body int // where the value begins in Raw
}

// Name is the field's name as it was written.
func (f Field) Name() string { return string(f.Raw[:f.name]) }

// Is reports whether the field has the given name, in any case.
func (f Field) Is(name string) bool {
	return f.name == len(name) && strings.EqualFold(string(f.Raw[:f.name]), name)
}

// Value is the field's value with line ends removed (RFC 5322 section 2.2.3) and space around it trimmed. Nothing is
// decoded.
func (f Field) Value() string {
	text := bytes.TrimSpace(f.Raw[f.body:])
	if bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') < 0 {
		return string(text)
	}
	out := make([]byte, 0, len(text))
	for _, c := range text {
		if c != '\r' && c != '\n' {
			out = append(out, c)
		}
	}
	return string(out)
}

// A Header is the raw text of a header, with or without the empty line that ends it.
type Header []byte

// Fields yields the fields from top to bottom. Lines that belong to none (no colon, a bad name, a first line that is
// folded) are passed over.
func (h Header) Fields() iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for rest := []byte(h); len(rest) > 0; {
			n := fieldLen(rest)
			raw := rest[:n]
			rest = rest[n:]
			f, ok := parseField(raw)
			if ok && !yield(f) {
				return
			}
		}
	}
}

// fieldLen is the length of the first line of a header and of the folded lines that continue it.
func fieldLen(text []byte) int {
	n := 0
	for {
		i := bytes.IndexByte(text[n:], '\n')
		if i < 0 {
			return len(text)
		}
		n += i + 1
		if n == len(text) || text[n] != ' ' && text[n] != '\t' {
			return n
		}
	}
}

// parseField finds the name: printable ASCII up to a colon, with space before the colon allowed (RFC 5322 section 4.5).
func parseField(raw []byte) (Field, bool) {
	for i, c := range raw {
		switch {
		case c == ':':
			name := len(bytes.TrimRight(raw[:i], " \t"))
			return Field{raw, name, i + 1}, name > 0
		case c == ' ' || c == '\t':
			if i == 0 {
				return Field{}, false
			}
		case c < '!' || c > '~':
			return Field{}, false
		case i > 0 && (raw[i-1] == ' ' || raw[i-1] == '\t'):
			return Field{}, false
		}
	}
	return Field{}, false
}

// Get returns the value of the first field of that name, empty when there is none.
func (h Header) Get(name string) string {
	for f := range h.Fields() {
		if f.Is(name) {
			return f.Value()
		}
	}
	return ""
}

// ReadHeader reads the header of the message in the first size octets of src and nothing behind it. Of a header longer
// than limits allow it is the beginning.
func ReadHeader(src io.ReaderAt, size int64, limits Limits) (Header, error) {
	limits = limits.withDefaults()
	p := parser{scanner: newScanner(src, size), limits: limits}
	p.scanner.chunk = headerChunk
	raw, fits, _ := p.header()
	if p.err != nil {
		return nil, p.err
	}
	if fits {
		return Header(raw[:p.at.Raw]), nil
	}
	return readAt(src, 0, int64(limits.HeaderBytes))
}

// headerChunk is what ReadHeader reads at once: nearly all headers are shorter.
const headerChunk = 16 << 10

// HeaderOf reads the header of a part, up to the limit that the message was parsed with.
func (m *Message) HeaderOf(src io.ReaderAt, p *Part) (Header, error) {
	return readAt(src, p.Start.Raw, min(p.Body.Raw-p.Start.Raw, int64(m.limits.HeaderBytes)))
}

func readAt(src io.ReaderAt, off, n int64) (Header, error) {
	if b, ok := src.(Bytes); ok && off+n <= int64(len(b)) {
		return Header(b[off : off+n]), nil
	}
	raw := make([]byte, n)
	if got, err := src.ReadAt(raw, off); got < len(raw) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return raw, nil
}

// Wire is the header as it goes out.
func (h Header) Wire() []byte { return appendWire(nil, h, false) }

// Select is the answer to HEADER.FIELDS: the fields of the given names in the order of the message, as they go out, and
// the empty line if the header has one. With except it is HEADER.FIELDS.NOT: all fields but these.
func (h Header) Select(names []string, except bool) []byte {
	want := make(map[string]bool, len(names))
	for _, name := range names {
		want[strings.ToLower(name)] = true
	}
	var out []byte
	for f := range h.Fields() {
		if want[string(bytes.ToLower(f.Raw[:f.name]))] != except {
			out = append(out, f.Raw...)
		}
	}
	if h.endsBlank() {
		if len(out) > 0 && out[len(out)-1] != '\n' {
			out = append(out, '\n')
		}
		out = append(out, '\n')
	}
	return appendWire(nil, out, false)
}

// endsBlank reports whether the header has the empty line at its end.
func (h Header) endsBlank() bool {
	h, ok := bytes.CutSuffix(h, lf)
	if !ok {
		return false
	}
	h, _ = bytes.CutSuffix(h, []byte("\r"))
	return len(h) == 0 || h[len(h)-1] == '\n'
}
