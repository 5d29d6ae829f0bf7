package message

import "strings"

// An AddressKind tells what an [Address] stands for.
type AddressKind int

// The kinds. A group is its start, its members and its end (RFC 9051 section 7.5.2).
const (
	Mailbox AddressKind = iota
	GroupStart
	GroupEnd
)

// An Address is one address of a header. Encoded words (RFC 2047) are left as they are.
type Address struct {
	Kind AddressKind
	Name string // display name, or the comment of an old-style address; the name of a group at its start
	User string // before the @, without quotes; may be empty in bad mail
	Host string // after the @; may be empty in bad mail
}

// ParseAddresses reads an address list (RFC 5322 sections 3.4 and 4.4) from an unfolded value. It takes what it can
// from bad ones and passes over what is no address.
func ParseAddresses(value string) []Address {
	p := addressParser{text: value}
	for p.i < len(p.text) {
		p.step()
	}
	p.end()
	if p.group {
		p.list = append(p.list, Address{Kind: GroupEnd})
	}
	return p.list
}

// An addressParser goes through a list once. Of the address in hand it keeps the words both as a phrase and as a local
// part, until a special tells which they are.
type addressParser struct {
	text  string
	i     int
	list  []Address
	group bool // inside a group

	phrase  strings.Builder // words with blanks between them
	user    strings.Builder // the same without blanks
	host    strings.Builder
	at      bool // an @ was seen: words go to host
	angle   bool // inside < >
	name    string
	comment string
	gap     bool // blanks since the last word
	any     bool // something that makes an address was seen
}

func (p *addressParser) step() {
	switch c := p.text[p.i]; c {
	case ' ', '\t', '\r', '\n':
		p.gap = true
		p.i++
	case '(':
		p.comment = p.readComment()
	case '"':
		p.word(p.readQuoted())
	case '<':
		p.openAngle()
		p.i++
	case '>':
		p.angle = false
		p.i++
	case '@':
		p.seeAt()
		p.i++
	case ',':
		if p.angle && p.at && p.user.Len() == 0 {
			p.host.Reset() // "<@a,@b:joe@c>": a source route, dropped
		} else {
			p.end()
		}
		p.i++
	case ':':
		p.colon()
		p.i++
	case ';':
		p.end()
		if p.group {
			p.list = append(p.list, Address{Kind: GroupEnd})
			p.group = false
		}
		p.i++
	default:
		p.word(p.readAtom())
	}
}

// word adds a word to the address in hand.
func (p *addressParser) word(s string) {
	p.any = true
	switch {
	case p.at:
		p.host.WriteString(s)
	case p.angle:
		p.user.WriteString(s)
	default:
		if p.gap && p.phrase.Len() > 0 {
			p.phrase.WriteByte(' ')
		}
		p.phrase.WriteString(s)
		p.user.WriteString(s)
	}
	p.gap = false
}

// seeAt begins the host. Of several @ the last one counts.
func (p *addressParser) seeAt() {
	p.any = true
	if p.at && (p.user.Len() > 0 || p.host.Len() > 0) {
		p.user.WriteByte('@')
		p.user.WriteString(p.host.String())
		p.host.Reset()
	}
	p.at = true
}

// openAngle turns what came before into the display name, also where that is an address itself.
func (p *addressParser) openAngle() {
	if p.angle {
		return
	}
	p.name = p.phrase.String()
	if p.at {
		p.name = p.user.String() + "@" + p.host.String()
	}
	p.user.Reset()
	p.host.Reset()
	p.at, p.angle, p.any = false, true, true
}

// colon ends a source route or the name of a group.
func (p *addressParser) colon() {
	switch {
	case p.angle:
		p.user.Reset()
		p.host.Reset()
		p.at = false
	case p.group || p.at || p.phrase.Len() == 0:
		// no place for a group
	default:
		p.list = append(p.list, Address{Kind: GroupStart, Name: p.phrase.String()})
		p.group = true
		p.reset()
	}
}

// end finishes the address in hand, if there is one.
func (p *addressParser) end() {
	a := Address{Name: p.name, User: p.user.String(), Host: p.host.String()}
	if p.any && (a.User != "" || a.Host != "" || a.Name != "") {
		if a.Name == "" {
			a.Name = p.comment
		}
		p.list = append(p.list, a)
	}
	p.reset()
}

func (p *addressParser) reset() {
	p.phrase.Reset()
	p.user.Reset()
	p.host.Reset()
	p.name, p.comment = "", ""
	p.at, p.angle, p.gap, p.any = false, false, false, false
}

// readAtom reads up to the next special or blank. An encoded word is one atom, though careless programs leave commas
// in it.
func (p *addressParser) readAtom() string {
	start := p.i
	if n := encodedWordLen(p.text[p.i:]); n > 0 {
		p.i += n
		return p.text[start:p.i]
	}
	if p.text[p.i] == '[' { // a domain literal
		if n := strings.IndexAny(p.text[p.i:min(len(p.text), p.i+maxLiteral)], "] \t"); n > 0 && p.text[p.i+n] == ']' {
			p.i += n + 1
			return p.text[start:p.i]
		}
	}
	for p.i++; p.i < len(p.text); p.i++ {
		if strings.IndexByte(" \t\r\n(\"<>@,:;", p.text[p.i]) >= 0 {
			break
		}
	}
	return p.text[start:p.i]
}

const (
	maxLiteral     = 256 // of a domain literal; RFC 5321 section 4.5.3.1.2
	maxEncodedWord = 256 // RFC 2047 section 2 allows 75
)

// encodedWordLen is the length of the encoded word that the text begins with, 0 if it does not begin with one.
func encodedWordLen(text string) int {
	if !strings.HasPrefix(text, "=?") {
		return 0
	}
	text = text[:min(len(text), maxEncodedWord)]
	marks := 0
	for i := 2; i < len(text); i++ {
		switch c := text[i]; {
		case c <= ' ':
			return 0
		case c == '?' && marks < 2:
			marks++
		case c == '?' && i+1 < len(text) && text[i+1] == '=':
			return i + 2
		}
	}
	return 0
}

func (p *addressParser) readQuoted() string {
	l := lexer{p.text, p.i}
	s := l.quoted()
	p.i = l.i
	return s
}

// readComment returns the text of a comment without the outer parentheses.
func (p *addressParser) readComment() string {
	l := lexer{p.text, p.i}
	var out strings.Builder
	depth := 0
	for ; l.i < len(l.text); l.i++ {
		c := l.text[l.i]
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		case '\\':
			if l.i++; l.i < len(l.text) {
				out.WriteByte(l.text[l.i])
			}
			continue
		}
		if depth == 0 {
			l.i++
			break
		}
		if c != '(' || depth > 1 {
			out.WriteByte(c)
		}
	}
	p.i = min(l.i, len(p.text))
	return strings.TrimSpace(out.String())
}
