// Package trace reads the header of a message on its way through and writes the fields a mail system puts on top of it:
// Return-Path and Received (RFC 5321 section 4.4). It removes what only we may say, and it is the place where octets that
// mean different things to different programs (bare CR, bare LF, NUL) end a transaction.
//
// The header is held in memory within a limit and the body streams, so a message costs the same however large it is:
//
//	m, err := trace.Read(body, trace.Limits{})
//	m.Drop(trace.Forged(host))
//	err = m.Copy(file, trace.Stamp(env, host))
//
// Start reading at [Read]; stamp.go writes, authres.go knows whose Authentication-Results a field is.
package trace

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Faults of a message, each of which refuses it.
var (
	ErrLineEnds    = errors.New("bare CR, bare LF or NUL in the message")
	ErrHeaderLarge = errors.New("message header is too large")
	ErrLoop        = errors.New("message has passed too many hosts")
)

// Limits bound what [Read] holds in memory. Zero fields take the defaults named beside them.
type Limits struct {
	HeaderBytes int // 256 KiB
	Fields      int // 2,000
	Hops        int // 50 Received fields are a loop (RFC 5321 section 6.3 suggests 100; long real paths have fifteen)
}

func (l Limits) withDefaults() Limits {
	if l.HeaderBytes == 0 {
		l.HeaderBytes = 256 << 10
	}
	if l.Fields == 0 {
		l.Fields = 2000
	}
	if l.Hops == 0 {
		l.Hops = 50
	}
	return l
}

// A Field is one header field as it was written.
type Field struct {
	Name string // without the white space that RFC 5322 section 4.5 allows before the colon
	raw  []byte // all of it: name, colon, folded lines, CRLF
}

// Is reports whether the field has this name, in any case.
func (f Field) Is(name string) bool { return strings.EqualFold(f.Name, name) }

// Value is what stands behind the colon, unfolded (RFC 5322 section 2.2.3) and without white space around it.
func (f Field) Value() string {
	_, v, _ := bytes.Cut(f.raw, []byte(":"))
	return strings.TrimSpace(strings.ReplaceAll(string(v), "\r\n", ""))
}

// A Message is a message in transit: the header has been read, the body has not.
type Message struct {
	Fields []Field

	// Malformed tells that the header ended at a line that is no field. That line begins the body: Copy puts the
	// missing empty line before it, so that every later reader sees the header that we saw and judged.
	Malformed bool

	body io.Reader
}

// Read reads the header of the message r, whose lines end with CRLF. It returns an error that wraps ErrLineEnds,
// ErrHeaderLarge or ErrLoop, or the one r ended with. The body is checked for ErrLineEnds while Copy reads it.
func Read(r io.Reader, limits Limits) (*Message, error) {
	limits = limits.withDefaults()
	in := bufio.NewReaderSize(&guard{r: r}, 16<<10)
	m := &Message{body: in}
	for left := limits.HeaderBytes; ; {
		line, err := readLine(in, left)
		if err != nil {
			return nil, err
		}
		left -= len(line)
		if len(line) == 0 || string(line) == "\r\n" {
			return m, m.checkHops(limits.Hops)
		}
		if !m.add(line) {
			m.Malformed = true
			m.body = io.MultiReader(bytes.NewReader(line), in)
			return m, m.checkHops(limits.Hops)
		}
		if len(m.Fields) > limits.Fields {
			return nil, fmt.Errorf("%w: more than %d fields", ErrHeaderLarge, limits.Fields)
		}
	}
}

// readLine returns the next line with its CRLF, the rest when the message ends without one, or nothing at its end.
func readLine(in *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return nil, ErrHeaderLarge
		}
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return line, nil
		default:
			return line, err
		}
	}
}

// add takes a line of the header and reports whether it was one.
func (m *Message) add(line []byte) bool {
	if !bytes.HasSuffix(line, []byte("\r\n")) {
		line = append(line, "\r\n"...) // the message ended here, in its header
	}
	if last := len(m.Fields) - 1; last >= 0 && (line[0] == ' ' || line[0] == '\t') {
		m.Fields[last].raw = append(m.Fields[last].raw, line...)
		return true
	}
	name, ok := fieldName(line)
	if ok {
		m.Fields = append(m.Fields, Field{Name: name, raw: line})
	}
	return ok
}

// fieldName returns the name of the field that line begins: printable ASCII without a colon (RFC 5322 section 2.2).
func fieldName(line []byte) (string, bool) {
	name, _, found := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	for _, c := range name {
		if c <= ' ' || c > '~' {
			return "", false
		}
	}
	return string(name), found && len(name) > 0
}

func (m *Message) checkHops(most int) error {
	if n := len(m.Values("Received")); n >= most {
		return fmt.Errorf("%w: %d Received fields", ErrLoop, n)
	}
	return nil
}

// Values returns the values of all fields of this name, in their order.
func (m *Message) Values(name string) []string {
	var out []string
	for _, f := range m.Fields {
		if f.Is(name) {
			out = append(out, f.Value())
		}
	}
	return out
}

// Drop removes the fields that fits chooses.
func (m *Message) Drop(fits func(Field) bool) { m.Fields = slices.DeleteFunc(m.Fields, fits) }

// Copy writes the message to w: the fields in top, which are whole lines with CRLF, then what is left of the header, an
// empty line, and the body to its end. It is called once.
func (m *Message) Copy(w io.Writer, top string) error {
	out := bufio.NewWriterSize(w, 32<<10)
	out.WriteString(top)
	for _, f := range m.Fields {
		out.Write(f.raw)
	}
	out.WriteString("\r\n")
	if _, err := io.Copy(out, m.body); err != nil {
		return err
	}
	return out.Flush()
}

// A guard passes on a message and refuses what is no clean line end. A program that took a bare LF for one would see
// another message, or a second one, where we see a body (RFC 5321 section 2.3.8).
type guard struct {
	r   io.Reader
	cr  bool  // the last octet was a CR
	err error // sticky: buffers above forget an error that came with octets, and read on
}

func (g *guard) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	var n int
	n, g.err = g.r.Read(p)
	for i, c := range p[:n] {
		if g.cr != (c == '\n') || c == 0 {
			g.err = ErrLineEnds
			return i, g.err
		}
		g.cr = c == '\r'
	}
	if g.cr && g.err == io.EOF {
		g.err = ErrLineEnds
	}
	return n, g.err
}
