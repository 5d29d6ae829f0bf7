package message

import (
	"bytes"
	"strings"
)

// A parser builds the tree. The scanner under it moves only forward.
type parser struct {
	scanner
	limits Limits
	parts  int

	bounds []bound        // of the multiparts we are inside of, the outermost first
	open   map[string]int // boundary -> 1 + index in bounds
}

// A bound is the boundary of one multipart.
type bound struct {
	text   string
	shadow int // what open held for text before
}

// A delimiter is the boundary line that ended something, already read past. Level 0 is the end of the text.
type delimiter struct {
	level int  // 1 + index of the multipart it belongs to
	last  bool // the closing one
	end   Pos  // where the text before it ends: the line break belongs to the delimiter (RFC 2046 section 5.1.1)
}

const (
	maxBoundary = 1000 // octets we compare; RFC 2046 section 5.1.1 allows 70
	maxDelim    = 2 + maxBoundary + 2 + 96
)

// The kinds of entity that a multipart implies for parts without Content-Type (RFC 2046 sections 5.1 and 5.1.5).
var (
	typePlain  = [2]string{"text", "plain"}
	typeDigest = [2]string{"message", "rfc822"}
)

// entity reads one header and body, up to a delimiter of any multipart around it.
func (p *parser) entity(part *Part, implied [2]string, depth int) delimiter {
	p.parts++
	part.Start = p.at
	raw, fits, d := p.header()
	part.Body = p.at
	part.facts(raw, implied)
	if d != nil { // the header ran into a delimiter: no body
		part.Body, part.End = d.end, d.end
		part.leaf()
		return *d
	}
	deeper := fits && depth < p.limits.Depth
	switch {
	case !fits:
		part.opaque()
		return p.rest(part)
	case part.Type == "multipart":
		return p.multipart(part, depth, deeper)
	case part.holdsMessage() && deeper && part.plainEncoding() && p.parts < p.limits.Parts:
		part.Message = new(Part)
		d := p.entity(part.Message, typePlain, depth+1)
		part.End = d.end
		return d
	}
	part.leaf()
	return p.rest(part)
}

// rest reads the body of a part that has no parts of its own.
func (p *parser) rest(part *Part) delimiter {
	d := p.skip()
	part.End = d.end
	return d
}

// multipart reads the parts between the boundary lines. The preamble and the epilogue are nobody's.
func (p *parser) multipart(part *Part, depth int, deeper bool) delimiter {
	boundary := strings.TrimRight(part.Param("boundary"), " \t")
	if boundary == "" || len(boundary) > maxBoundary {
		part.leaf()
		return p.rest(part)
	}
	if !deeper || !part.plainEncoding() || p.parts >= p.limits.Parts {
		part.opaque()
		return p.rest(part)
	}
	implied := typePlain
	if part.Subtype == "digest" {
		implied = typeDigest
	}
	level := p.push(boundary)
	d := p.skip()
	for d.level == level && !d.last {
		if p.parts >= p.limits.Parts {
			d = p.skip()
			continue
		}
		child := new(Part)
		part.Parts = append(part.Parts, child)
		d = p.entity(child, implied, depth+1)
	}
	p.pop()
	if d.level == level {
		d = p.skip()
	}
	part.End = d.end
	if len(part.Parts) == 0 {
		part.Parts = []*Part{emptyPart(part.End)}
	}
	return d
}

// emptyPart stands in for the parts of a multipart that has none, because RFC 9051 has no words for such a thing.
func emptyPart(at Pos) *Part {
	return &Part{Start: at, Body: at, End: at, Type: typePlain[0], Subtype: typePlain[1], Params: asciiText(), Encoding: "7bit"}
}

// leaf settles a part that is not taken apart though its type may say that it could be. A multipart without boundary
// is shown as text (RFC 2045 section 5.2).
func (p *Part) leaf() {
	switch {
	case p.holdsMessage():
		p.opaque()
	case p.Type == "multipart" && p.Param("boundary") != "":
		p.Parts = []*Part{emptyPart(p.End)}
	case p.Type == "multipart":
		p.Type, p.Subtype = typePlain[0], typePlain[1]
	}
}

// opaque makes a part of which we know no more than its octets.
func (p *Part) opaque() { p.Type, p.Subtype = "application", "octet-stream" }

func (p *Part) holdsMessage() bool {
	return p.Type == "message" && (p.Subtype == "rfc822" || p.Subtype == "global")
}

// plainEncoding reports whether the content can be read without decoding, as composite types must be (RFC 2045 section
// 6.4).
func (p *Part) plainEncoding() bool {
	return p.Encoding != "base64" && p.Encoding != "quoted-printable"
}

func (p *parser) push(boundary string) int {
	p.bounds = append(p.bounds, bound{boundary, p.open[boundary]})
	p.open[boundary] = len(p.bounds)
	return len(p.bounds)
}

func (p *parser) pop() {
	last := p.bounds[len(p.bounds)-1]
	p.bounds = p.bounds[:len(p.bounds)-1]
	if last.shadow == 0 {
		delete(p.open, last.text)
	} else {
		p.open[last.text] = last.shadow
	}
}

// header reads up to and with the empty line, and returns the lines before it. They are valid until the scanner moves.
// When fits is false the header is longer than the limit and raw is empty. A delimiter that comes before an empty line
// ends the header too.
func (p *parser) header() (raw []byte, fits bool, d *delimiter) {
	n, want := 0, 4096
	for p.err == nil {
		text := p.window(want)
		for {
			line := nextLine(text[n:])
			if line == nil && !p.ended() {
				break // not here yet
			}
			if line == nil {
				line = text[n:] // the last one, without line end
			}
			level, last := p.delimits(line)
			if level > 0 || isBlank(line) {
				if raw = text[:n]; n > p.limits.HeaderBytes {
					raw = nil
				}
				p.advance(n)
				return raw, n <= p.limits.HeaderBytes, p.endHeader(line, level, last)
			}
			n += len(line)
		}
		if len(text) > p.limits.HeaderBytes+maxDelim {
			p.advance(n)
			return nil, false, p.longHeader()
		}
		want = len(text) * 2
	}
	return nil, true, nil
}

// endHeader moves past the line that ends a header: an empty one, or a delimiter.
func (p *parser) endHeader(line []byte, level int, last bool) *delimiter {
	if level > 0 {
		return p.passed(line, level, last, p.at)
	}
	p.advance(len(line))
	return nil
}

// longHeader reads past the rest of a header that is over the limit. It starts at the start of a line.
func (p *parser) longHeader() *delimiter {
	for fresh := true; p.err == nil; {
		text := p.window(maxDelim)
		line := nextLine(text)
		if line == nil {
			line = text
		}
		level, last := p.delimits(line)
		if len(line) == 0 || fresh && (level > 0 || isBlank(line)) {
			return p.endHeader(line, level, last)
		}
		p.advance(len(line))
		fresh = bytes.HasSuffix(line, lf)
	}
	return nil
}

// nextLine returns the first line of a text with its line end, nil when it has no line end.
func nextLine(text []byte) []byte {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return text[:i+1]
	}
	return nil
}

// isBlank reports whether a line is empty; so is the line after the last one.
func isBlank(line []byte) bool {
	return len(line) == 0 || line[0] == '\n' || len(line) == 2 && line[0] == '\r' && line[1] == '\n'
}

// skip reads up to and with the next delimiter of any multipart we are in.
func (p *parser) skip() delimiter {
	// A body that begins with a delimiter has no line break of its own to give to it.
	if line := p.line(); len(line) > 0 {
		if level, last := p.delimits(line); level > 0 {
			return *p.passed(line, level, last, p.at)
		}
	}
	for p.err == nil {
		text := p.window(maxDelim)
		if len(p.bounds) == 0 {
			p.advance(len(text))
			if p.ended() && p.lo == p.hi {
				break
			}
			continue
		}
		i := bytes.Index(text, dashes)
		if i < 0 && !p.ended() {
			p.advance(len(text) - len("\r\n-")) // may be the beginning of a delimiter
			continue
		}
		if i < 0 {
			p.advance(len(text))
			break
		}
		eol := i
		if i > 0 && text[i-1] == '\r' {
			eol--
		}
		p.advance(eol)
		end, width := p.at, i+1-eol
		p.window(width + maxDelim)
		p.advance(width)
		line := p.line()
		if level, last := p.delimits(line); level > 0 {
			return *p.passed(line, level, last, end)
		}
		// The next delimiter may follow at once: leave the line end that belongs to it.
		p.advance(len(dashes) - 1)
	}
	return delimiter{end: p.at}
}

var dashes = []byte("\n--")

// passed moves past a delimiter line. The line end behind the closing one is left: it may belong to the delimiter of an
// outer multipart.
func (p *parser) passed(line []byte, level int, last bool, end Pos) *delimiter {
	if last {
		line = bytes.TrimRight(line, "\r\n")
	}
	p.advance(len(line))
	return &delimiter{level, last, end}
}

// line returns the line that comes next with its line end, or nothing when it is too long to be a delimiter.
func (p *parser) line() []byte {
	text := p.window(maxDelim)
	if len(text) > maxDelim {
		text = text[:maxDelim]
	}
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return text[:i+1]
	}
	if len(text) < maxDelim {
		return text
	}
	return nil
}

// delimits tells which of the open multiparts the line is a delimiter of, 0 for none (RFC 2046 section 5.1.1).
func (p *parser) delimits(line []byte) (level int, last bool) {
	if len(p.bounds) == 0 || len(line) < 3 || line[0] != '-' || line[1] != '-' || len(line) > maxDelim {
		return 0, false
	}
	text := bytes.TrimRight(line[2:], " \t\r\n")
	if level := p.open[string(text)]; level > 0 {
		return level, false
	}
	if inner, ok := bytes.CutSuffix(text, dashes[1:]); ok {
		return p.open[string(inner)], true
	}
	return 0, false
}
