package ldif

import (
	"bufio"
	"encoding/base64"
	"io"
)

// width is where lines are folded.
const width = 76

// A Writer writes records. Flush must be called after the last. It leaves the line with the version out, which says nothing
// and which slapadd takes for an entry.
type Writer struct{ out *bufio.Writer }

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{out: bufio.NewWriterSize(w, 64<<10)} }

// Write writes one entry.
func (w *Writer) Write(r *Record) error {
	w.line("dn", []byte(r.DN))
	for _, a := range r.Attributes {
		for _, v := range a.Values {
			w.line(a.Name, v)
		}
	}
	w.out.WriteByte('\n')
	_, err := w.out.Write(nil) // tells whether an earlier write failed
	return err
}

// line writes one value, in base64 where it must be, and where a blank at its end would be lost by editors.
func (w *Writer) line(name string, value []byte) {
	text := append([]byte(name), ": "...)
	switch {
	case len(value) == 0:
		text = text[:len(text)-1]
	case Safe(value) && value[len(value)-1] != ' ':
		text = append(text, value...)
	default:
		text = append(text[:len(text)-1], ": "...)
		text = base64.StdEncoding.AppendEncode(text, value)
	}
	for room := width; len(text) > room; room = width - 1 {
		w.out.Write(text[:room])
		w.out.WriteString("\n ")
		text = text[room:]
	}
	w.out.Write(text)
	w.out.WriteByte('\n')
}

// Flush writes what is still in memory.
func (w *Writer) Flush() error { return w.out.Flush() }
