// Package message finds its way in the text of a message as it lies in a file: where the header ends, where each part
// begins and how long it is. It keeps offsets, not copies, so that a server answers "give me part 2.1" with a range of
// the file.
//
// RFC 5322 says that a message is a header, an empty line and a body. MIME (RFC 2045, 2046) makes the body a tree:
// multipart types divide it by boundary lines, message/rfc822 holds a whole message again. IMAP clients ask for pieces
// of that tree by number (RFC 9051 section 6.4.5), and for its shape (BODYSTRUCTURE) and summary (ENVELOPE) without
// reading it.
//
// Files have LF or CRLF line ends, also mixed; on the wire every line ends in CRLF. Each position is therefore kept in
// both counts ([Pos]), and what leaves through a [Piece] has CRLF.
//
// Mail is seldom well-formed. A line of a header without a colon, an mbox "From " line, a first line that is folded
// and a missing closing boundary are read past; a multipart without parts has one empty part; beyond the [Limits] a
// part is not looked into. Everything takes time in proportion to the message.
//
// Start reading at [Parse], then [Message.Piece].
package message

import (
	"io"
	"sort"
)

// A Pos is a place in a message, between two octets.
type Pos struct {
	Raw  int64 // octets of the file before it
	Wire int64 // octets before it when every line ends in CRLF
	Line int64 // line ends before it
}

// A Part is one entity of a message (RFC 2045 section 2.4): the message itself, a part of a multipart, or the message
// inside a message/rfc822 part. The header lies from Start to Body, with the empty line that ends it, and the body
// from Body to End.
type Part struct {
	Start, Body, End Pos

	Type, Subtype string  // lower case; "text", "plain" when the field is missing or unreadable
	Params        []Param // of Content-Type
	ID            string  // Content-ID, Content-Description, Content-Location as they stand, unfolded; empty when missing
	Description   string
	Location      string
	MD5           string
	Encoding      string // Content-Transfer-Encoding in lower case; "7bit" when missing
	Disposition   string // lower case; empty when missing
	DispParams    []Param
	Language      []string

	Parts   []*Part // of a multipart, never empty there; else nil
	Message *Part   // of a message/rfc822 or message/global part whose content is readable as it stands
}

// A Param is a parameter of Content-Type or Content-Disposition: the name in lower case, the value without quotes.
// Names and values of RFC 2231 ("filename*0*") stay as they are; clients join and decode them. No name appears twice
// in a list.
type Param struct{ Name, Value string }

// Size is the length of the body on the wire.
func (p *Part) Size() int64 { return p.End.Wire - p.Body.Wire }

// Lines is how many line ends the body has.
func (p *Part) Lines() int64 { return p.End.Line - p.Body.Line }

// Param returns the value of a Content-Type parameter, empty when it is missing. The name is in lower case.
func (p *Part) Param(name string) string { return param(p.Params, name) }

func param(list []Param, name string) string {
	for _, v := range list {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

// Limits bound what [Parse] looks into; zero fields mean the defaults. What lies beyond is part of the entity around
// it and served with it, but not taken apart.
type Limits struct {
	Depth       int // multiparts and messages inside one another: 100
	Parts       int // entities of the whole message: 10,000
	HeaderBytes int // of one header: 1 MiB
}

// Defaults of [Limits].
const (
	DefaultDepth       = 100
	DefaultParts       = 10_000
	DefaultHeaderBytes = 1 << 20
)

func (l Limits) withDefaults() Limits {
	if l.Depth <= 0 {
		l.Depth = DefaultDepth
	}
	if l.Parts <= 0 {
		l.Parts = DefaultParts
	}
	if l.HeaderBytes <= 0 {
		l.HeaderBytes = DefaultHeaderBytes
	}
	return l
}

// A Message is the shape of one message. It does not hold the text: methods that need it take the source again, which
// must be what was parsed. A Message does not change, so that several goroutines may use it.
type Message struct {
	Root   *Part
	limits Limits
	marks  []mark
}

// A mark is a place to start reading from. There is one every blockSize octets, so that a piece from the middle of a
// large part is found without counting from the part's start.
type mark struct {
	raw, wire int64
	cr        bool // the octet before it is CR
}

const blockSize = 64 << 10

// Parse takes the first size octets of src apart. Malformed mail is no error; the only errors are those of reading.
func Parse(src io.ReaderAt, size int64, limits Limits) (*Message, error) {
	return parse(newScanner(src, size), limits.withDefaults())
}

func parse(s scanner, limits Limits) (*Message, error) {
	p := parser{scanner: s, limits: limits, open: make(map[string]int)}
	root := new(Part)
	p.entity(root, typePlain, 0)
	if p.err != nil {
		return nil, p.err
	}
	return &Message{Root: root, limits: limits, marks: p.marks}, nil
}

// WireSize is the length of the message on the wire: RFC822.SIZE.
func (m *Message) WireSize() int64 { return m.Root.End.Wire }

// before returns the last mark at or before the wire position, or start if that is later.
func (m *Message) before(wire int64, start mark) mark {
	i := sort.Search(len(m.marks), func(i int) bool { return m.marks[i].wire > wire })
	if i == 0 || m.marks[i-1].raw <= start.raw {
		return start
	}
	return m.marks[i-1]
}
