package message

import (
	"errors"
	"fmt"
	"io"
)

// ErrNoSection means that the message has no such part or section.
var ErrNoSection = errors.New("no such section")

// A Kind says which side of a part a [Section] asks for.
type Kind int

// The kinds, as in BODY[...] (RFC 9051 section 6.4.5.1).
const (
	All  Kind = iota // BODY[]: everything; BODY[1]: the body of part 1
	Head             // HEADER: of the message, or of the message in a message/rfc822 part
	MIME             // MIME: the header of the part itself
	Text             // TEXT: the body of the message, or of the message in a message/rfc822 part
)

// A Section names a piece of a message.
type Section struct {
	Path   []int // part numbers from 1; empty is the message
	Kind   Kind
	Fields []string // with Head: only these fields, in the order of the message, and the empty line
	Except bool     // with Head: all fields but these
}

// Find returns the part that a path of part numbers leads to, nil when there is none. The numbers count the children
// of a multipart; a body that is not divided is its own part 1. The empty path leads to the message.
func (m *Message) Find(path []int) *Part {
	p := m.Root
	for i, n := range path {
		holder := p // what the number counts in: the root, or the message inside p
		if i > 0 && p.Message != nil {
			holder = p.Message
		}
		switch {
		case holder.Parts != nil:
			if n < 1 || n > len(holder.Parts) {
				return nil
			}
			p = holder.Parts[n-1]
		case n == 1 && (i == 0 || holder != p):
			p = holder
		default:
			return nil
		}
	}
	return p
}

// Piece finds a section. The error is [ErrNoSection], or one of reading src.
func (m *Message) Piece(src io.ReaderAt, s Section) (Piece, error) {
	p := m.Find(s.Path)
	if p == nil || s.Kind == MIME && len(s.Path) == 0 {
		return Piece{}, fmt.Errorf("%w: part %v", ErrNoSection, s.Path)
	}
	if len(s.Path) > 0 && (s.Kind == Head || s.Kind == Text) {
		if p = p.Message; p == nil {
			return Piece{}, fmt.Errorf("%w: part %v holds no message", ErrNoSection, s.Path)
		}
	}
	switch s.Kind {
	case Head:
		if s.Fields != nil {
			h, err := m.HeaderOf(src, p)
			return Octets(h.Select(s.Fields, s.Except)), err
		}
		return m.span(p.Start, p.Body), nil
	case MIME:
		return m.span(p.Start, p.Body), nil
	case All:
		if len(s.Path) == 0 {
			return m.span(p.Start, p.End), nil
		}
	}
	return m.span(p.Body, p.End), nil
}

// Content is the body of a part as it lies there.
func (m *Message) Content(p *Part) Piece { return m.span(p.Body, p.End) }

func (m *Message) span(from, to Pos) Piece { return Piece{message: m, from: from, to: to} }
