package ldif

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// A Reader reads records one after the other.
type Reader struct {
	in     *bufio.Reader
	limits Limits
	number int // of the line that was read last

	left  int // octets that the record may still take
	begun bool
	err   error // the first, which stays
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader, limits Limits) *Reader {
	limits.RecordBytes = cmp.Or(limits.RecordBytes, 32<<20)
	limits.Values = cmp.Or(limits.Values, 200_000)
	return &Reader{in: bufio.NewReaderSize(r, 64<<10), limits: limits}
}

// Next returns the next entry; io.EOF after the last. A fault of the file is a [SyntaxError]; after the first error there
// is nothing more.
func (r *Reader) Next() (*Record, error) {
	if r.err != nil {
		return nil, r.err
	}
	rec, err := r.record()
	if err != nil {
		r.err = err
		return nil, err
	}
	return rec, nil
}

func (r *Reader) wrong(line int, rule string) error { return &SyntaxError{line, rule} }

// record reads one entry, and before the first the version.
func (r *Reader) record() (*Record, error) {
	r.left = r.limits.RecordBytes
	line, at, err := r.first()
	if err != nil {
		return nil, err
	}
	name, value, err := r.split(line, at)
	if err != nil {
		return nil, err
	}
	if !r.begun && strings.EqualFold(name, "version") {
		r.begun = true
		if string(value) != "1" {
			return nil, r.wrong(at, "the version of LDIF is 1")
		}
		if line, at, err = r.first(); err != nil {
			return nil, err
		}
		if name, value, err = r.split(line, at); err != nil {
			return nil, err
		}
	}
	r.begun = true
	if !strings.EqualFold(name, "dn") {
		return nil, r.wrong(at, "a record begins with dn:")
	}
	if !utf8.Valid(value) {
		return nil, r.wrong(at, "the name is not UTF-8")
	}
	rec := &Record{Line: at, DN: string(value)}
	return rec, r.attributes(rec)
}

// first returns the first line of a record, behind blank lines.
func (r *Reader) first() ([]byte, int, error) {
	for {
		line, at, err := r.line()
		if err != nil || len(line) > 0 {
			return line, at, err
		}
	}
}

// attributes reads the lines behind the name, up to a blank one or the end.
func (r *Reader) attributes(rec *Record) error {
	at := map[string]int{}
	values := 0
	for {
		line, number, err := r.line()
		if errors.Is(err, io.EOF) || err == nil && len(line) == 0 {
			break
		}
		if err != nil {
			return err
		}
		name, value, err := r.split(line, number)
		if err != nil {
			return err
		}
		key := strings.ToLower(name)
		switch key {
		case "changetype", "control":
			return r.wrong(number, key+": this is a change; ldapmodify makes changes")
		case "dn":
			return r.wrong(number, "dn: without a blank line before it")
		}
		if values++; values > r.limits.Values {
			return r.wrong(number, "too many values in one record")
		}
		i, ok := at[key]
		if !ok {
			i = len(rec.Attributes)
			at[key] = i
			rec.Attributes = append(rec.Attributes, Attribute{Name: name})
		}
		rec.Attributes[i].Values = append(rec.Attributes[i].Values, value)
	}
	if len(rec.Attributes) == 0 {
		return r.wrong(rec.Line, "an entry has attributes")
	}
	return nil
}

// split takes a line apart: a name, and a value after a colon, in clear or after another colon in base64.
func (r *Reader) split(line []byte, at int) (name string, value []byte, err error) {
	before, after, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return "", nil, r.wrong(at, "no colon")
	}
	name = string(before)
	if !description(name) {
		return "", nil, r.wrong(at, "no attribute description before the colon")
	}
	switch {
	case bytes.HasPrefix(after, []byte("<")):
		return "", nil, r.wrong(at, "a value by URL is not read")
	case bytes.HasPrefix(after, []byte(":")):
		text := bytes.TrimLeft(after[1:], " ")
		value = make([]byte, base64.StdEncoding.DecodedLen(len(text)))
		n, err := base64.StdEncoding.Strict().Decode(value, text)
		if err != nil {
			return "", nil, r.wrong(at, "the value is no base64")
		}
		return name, value[:n:n], nil
	}
	value = bytes.TrimLeft(after, " ")
	if !Safe(value) {
		return "", nil, r.wrong(at, "the value must be in base64: it begins with < or :, or has an octet that is not ASCII")
	}
	return name, append([]byte{}, value...), nil
}

// description reports whether the text is an attribute description: type and options.
func description(text string) bool {
	for i := range len(text) {
		c := text[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && (c == '-' || c == ';' || c == '.'):
		default:
			return false
		}
	}
	return text != ""
}

// Safe reports whether a value can stand in clear: RFC 2849's SAFE-STRING. A blank at the end is allowed there.
func Safe(value []byte) bool {
	for i, c := range value {
		if c == 0 || c == '\n' || c == '\r' || c >= 0x80 || i == 0 && (c == ' ' || c == ':' || c == '<') {
			return false
		}
	}
	return true
}

// line returns a logical line, unfolded and without its end, and the number of its first. Comments are passed over. It is
// empty for a blank line; io.EOF after the last.
func (r *Reader) line() ([]byte, int, error) {
	for {
		line, at, err := r.logical()
		if err != nil || len(line) == 0 || line[0] != '#' {
			return line, at, err
		}
	}
}

// logical joins a line with those that go on with it, which begin with a blank.
func (r *Reader) logical() ([]byte, int, error) {
	line, err := r.physical(nil)
	if err != nil {
		return nil, 0, err
	}
	at := r.number
	if len(line) > 0 && line[0] == ' ' {
		return nil, 0, r.wrong(at, "a line goes on that has not begun")
	}
	for len(line) > 0 {
		next, err := r.in.Peek(1)
		if err != nil || next[0] != ' ' {
			break // a fault shows when the next line is read
		}
		r.in.ReadByte()
		r.left--
		if line, err = r.physical(line); err != nil {
			return nil, 0, err
		}
	}
	return line, at, nil
}

// physical appends one line of the file to line.
func (r *Reader) physical(line []byte) ([]byte, error) {
	start := len(line)
	for {
		part, err := r.in.ReadSlice('\n')
		line = append(line, part...)
		if r.left -= len(part); r.left < 0 {
			return nil, r.wrong(r.number+1, "the record is too large")
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) == start:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		}
		r.number++
		line = bytes.TrimSuffix(line, []byte("\n"))
		if len(line) > start {
			line = bytes.TrimSuffix(line, []byte("\r"))
		}
		return line, nil
	}
}
