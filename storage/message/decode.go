package message

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/transform"
)

// ErrEncoding means that a Content-Transfer-Encoding is not one of RFC 2045 section 6.
var ErrEncoding = errors.New("unknown content transfer encoding")

// Decoded returns the content of a part without its transfer encoding. What is not encoded has CRLF line ends. Garbage
// in an encoded text is passed over.
func (m *Message) Decoded(src io.ReaderAt, p *Part) (io.Reader, error) {
	text := m.Content(p).Reader(src)
	switch p.Encoding {
	case "7bit", "8bit", "binary":
		return text, nil
	case "base64":
		return &unbase64{src: text}, nil
	case "quoted-printable":
		return &unquoter{src: bufio.NewReaderSize(text, 8*maxQuotedLine)}, nil
	}
	return nil, fmt.Errorf("%w: %.40q", ErrEncoding, p.Encoding)
}

// An unbase64 decodes what is in the alphabet of base64, up to the first padding, and passes over all else.
type unbase64 struct {
	src   io.Reader
	in    []byte
	chars []byte // of the alphabet, not yet decoded
	out   []byte
	ready []byte // of out, not yet read
	ended bool
}

func (u *unbase64) Read(b []byte) (int, error) {
	for len(u.ready) == 0 {
		if u.ended {
			return 0, io.EOF
		}
		if err := u.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, u.ready)
	u.ready = u.ready[n:]
	return n, nil
}

func (u *unbase64) fill() error {
	if u.in == nil {
		u.in = make([]byte, 8192)
	}
	n, err := u.src.Read(u.in)
	if err == io.EOF {
		u.ended, err = true, nil
	}
	for _, c := range u.in[:n] {
		if isBase64(c) {
			u.chars = append(u.chars, c)
		} else if c == '=' {
			u.ended = true
			break
		}
	}
	whole := len(u.chars) &^ 3
	if rest := len(u.chars) - whole; u.ended && rest > 1 { // one character alone says nothing
		whole += rest
	}
	u.out = slices.Grow(u.out[:0], whole)[:whole]
	got, _ := base64.RawStdEncoding.Decode(u.out, u.chars[:whole]) // nothing but the alphabet is in there
	u.ready = u.out[:got]
	u.chars = append(u.chars[:0], u.chars[whole:]...)
	return err
}

func isBase64(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/'
}

// maxQuotedLine is how much of a quoted-printable line is looked at at once; RFC 2045 section 6.7 allows 76 octets.
const maxQuotedLine = 4096

// An unquoter decodes quoted-printable. An = that is no code stays as it is (RFC 2045 section 6.7).
type unquoter struct {
	src   *bufio.Reader
	line  []byte
	ready []byte // of line, decoded and not yet read
}

func (u *unquoter) Read(b []byte) (int, error) {
	for len(u.ready) == 0 {
		text, err := u.src.Peek(maxQuotedLine)
		if len(text) == 0 {
			return 0, err
		}
		line := nextLine(text)
		if line == nil {
			line = text
		}
		if len(line) == maxQuotedLine { // cut before a code that may not be whole
			if i := bytes.LastIndexByte(line, '='); i >= len(line)-2 {
				line = line[:i]
			}
		}
		u.line = append(u.line[:0], line...)
		u.ready = unquote(u.line)
		u.src.Discard(len(line))
	}
	n := copy(b, u.ready)
	u.ready = u.ready[n:]
	return n, nil
}

// unquote decodes a line in place.
func unquote(line []byte) []byte {
	body := strings.TrimRight(string(line), "\r\n")
	end := line[len(body):]
	if len(end) > 0 {
		body = strings.TrimRight(body, " \t") // added on the way, RFC 2045 section 6.7 rule 3
	}
	out := line[:0]
	for i := 0; i < len(body); i++ {
		if body[i] == '=' && i+1 == len(body) && len(end) > 0 {
			return out // soft line break
		}
		if body[i] == '=' && i+2 < len(body) {
			if hi, lo := unhex(body[i+1]), unhex(body[i+2]); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, body[i])
	}
	return append(out, end...)
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// charset returns the encoding of a charset name; one that nobody knows is read as Windows-1252, which every octet is
// valid in. UTF-8 and US-ASCII, which need no decoding, are nil.
func charset(name string) encoding.Encoding {
	name = strings.ToLower(strings.TrimSpace(name))
	switch name {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return nil
	}
	enc, err := htmlindex.Get(name)
	if err != nil {
		enc, _ = htmlindex.Get("windows-1252")
	}
	return enc
}

// Readable returns the content of a text part as UTF-8.
func (m *Message) Readable(src io.ReaderAt, p *Part) (io.Reader, error) {
	r, err := m.Decoded(src, p)
	if err != nil {
		return nil, err
	}
	if enc := charset(p.Param("charset")); enc != nil {
		return transform.NewReader(r, enc.NewDecoder()), nil
	}
	return r, nil
}

// UTF8 is a header value as it was probably meant: octets that are not UTF-8, which should not be there, are read as
// Windows-1252.
func UTF8(value string) string {
	if utf8.ValidString(value) {
		return value
	}
	text, err := charset("windows-1252").NewDecoder().String(value)
	if err != nil {
		return strings.ToValidUTF8(value, "?")
	}
	return text
}

// DecodeWords replaces the encoded words of a header value (RFC 2047) by what they stand for. The result is UTF-8.
func DecodeWords(value string) string {
	value = UTF8(value)
	if !strings.Contains(value, "=?") {
		return value
	}
	d := mime.WordDecoder{CharsetReader: func(name string, r io.Reader) (io.Reader, error) {
		if enc := charset(name); enc != nil {
			return transform.NewReader(r, enc.NewDecoder()), nil
		}
		return r, nil
	}}
	out, err := d.DecodeHeader(value)
	if err != nil {
		return value
	}
	return out
}
