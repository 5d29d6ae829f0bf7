package message

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// A Needle is a string to look for without regard to case.
type Needle struct {
	folded []byte
	ascii  bool
}

// NewNeedle makes a needle of a UTF-8 string.
func NewNeedle(s string) Needle {
	folded := strings.ToLower(s)
	ascii := true
	for i := range len(folded) {
		ascii = ascii && folded[i] < utf8.RuneSelf
	}
	return Needle{[]byte(folded), ascii}
}

// InString reports whether the needle is in s.
func (n Needle) InString(s string) bool {
	return bytes.Contains([]byte(strings.ToLower(s)), n.folded)
}

// In reports whether the needle is in the UTF-8 text that r reads.
func (n Needle) In(r io.Reader) (bool, error) {
	if len(n.folded) == 0 {
		return true, nil
	}
	var (
		in     = make([]byte, 32<<10)
		kept   = 0 // octets at the start of in: the beginning of a rune
		window []byte
	)
	for {
		got, err := r.Read(in[kept:])
		text := in[:kept+got]
		whole := len(text)
		if !n.ascii && err == nil {
			whole -= partialRune(text)
		}
		window = n.fold(window, text[:whole])
		if bytes.Contains(window, n.folded) {
			return true, nil
		}
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if tail := len(n.folded) - 1; len(window) > tail {
			window = append(window[:0], window[len(window)-tail:]...)
		}
		kept = copy(in, text[whole:])
	}
}

// fold appends text in lower case to dst. For a needle in ASCII only the letters of ASCII matter.
func (n Needle) fold(dst, text []byte) []byte {
	if !n.ascii {
		return append(dst, bytes.ToLower(text)...)
	}
	at := len(dst)
	dst = append(dst, text...)
	for i, c := range dst[at:] {
		if c >= 'A' && c <= 'Z' {
			dst[at+i] = c + ('a' - 'A')
		}
	}
	return dst
}

// partialRune is how many octets at the end of text are the beginning of a rune.
func partialRune(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if utf8.RuneStart(text[len(text)-n]) {
			if !utf8.FullRune(text[len(text)-n:]) {
				return n
			}
			break
		}
	}
	return 0
}

// Has reports whether a field of that name holds the needle, encoded words decoded. An empty needle is in every field.
func (h Header) Has(name string, n Needle) bool {
	for f := range h.Fields() {
		if f.Is(name) && n.InString(DecodeWords(f.Value())) {
			return true
		}
	}
	return false
}

// Holds reports whether the needle is anywhere in the header.
func (h Header) Holds(n Needle) bool {
	for f := range h.Fields() {
		if n.InString(f.Name() + ": " + DecodeWords(f.Value())) {
			return true
		}
	}
	return false
}

// BodyHas reports whether the needle is in the body: in its text parts, decoded, or in a message that is attached.
func (m *Message) BodyHas(src io.ReaderAt, n Needle) (bool, error) {
	return m.partHas(src, m.Root, n)
}

func (m *Message) partHas(src io.ReaderAt, p *Part, n Needle) (bool, error) {
	for _, child := range p.Parts {
		if found, err := m.partHas(src, child, n); found || err != nil {
			return found, err
		}
	}
	switch {
	case p.Parts != nil:
		return false, nil
	case p.Message != nil:
		h, err := m.HeaderOf(src, p.Message)
		if err != nil {
			return false, err
		}
		if h.Holds(n) {
			return true, nil
		}
		return m.partHas(src, p.Message, n)
	case p.Type != "text" && p.Type != "message":
		return false, nil
	}
	text, err := m.Readable(src, p)
	if errors.Is(err, ErrEncoding) {
		text, err = m.Content(p).Reader(src), nil
	}
	if err != nil {
		return false, err
	}
	return n.In(text)
}
