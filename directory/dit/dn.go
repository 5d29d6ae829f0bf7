package dit

import (
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of distinguished names.
const (
	maxDN   = 8192 // octets
	maxRDNs = 64
	maxAVAs = 16 // in one RDN
)

// An ava is one attribute and value of an RDN.
type ava struct {
	typ   *attrType
	value string
	norm  string // normal form of the value
}

// An rdn is one level of a name. The texts use only the hexadecimal escapes of RFC 4514, so that "," and "+" stand for
// themselves nowhere else, and avas are sorted by type.
type rdn struct {
	avas []ava
	text string // as the client wrote it, with the first name of each type
	norm string
}

// A dn is a parsed name, the entry's own RDN first. Names are equal when their norm is.
type dn struct {
	rdns []rdn
	text string
	norm string
}

// parent is the name one level up; that of a single RDN is the empty name.
func (d dn) parent() dn { return joinDN(d.rdns[1:]) }

func joinDN(rdns []rdn) dn {
	var text, norm strings.Builder
	for i, r := range rdns {
		if i > 0 {
			text.WriteByte(',')
			norm.WriteByte(',')
		}
		text.WriteString(r.text)
		norm.WriteString(r.norm)
	}
	return dn{rdns, text.String(), norm.String()}
}

// below reports whether the normal form name is the normal form base or lies under it.
func below(name, base string) bool {
	return name == base || base == "" || strings.HasSuffix(name, base) && name[len(name)-len(base)-1] == ','
}

// parseDN reads the string form of RFC 4514, and spaces around separators and ";" between RDNs as in RFC 2253. Types
// must be known, values must have the syntax of their type, a type occurs once in an RDN.
func (c *catalog) parseDN(s string) (dn, error) {
	if len(s) > maxDN {
		return dn{}, refuse(codeBadDN, "name too long")
	}
	if strings.Trim(s, " ") == "" {
		return dn{}, nil
	}
	var rdns []rdn
	for more := true; more; {
		if len(rdns) == maxRDNs {
			return dn{}, refuse(codeBadDN, "name too deep")
		}
		var r rdn
		var err error
		if r, s, more, err = c.parseRDN(s); err != nil {
			return dn{}, err
		}
		rdns = append(rdns, r)
	}
	return joinDN(rdns), nil
}

// parseRDN reads one level and reports whether another follows.
func (c *catalog) parseRDN(s string) (r rdn, rest string, more bool, err error) {
	for {
		a, sep, rest, err := c.parseAVA(s)
		if err != nil {
			return rdn{}, "", false, err
		}
		if len(r.avas) == maxAVAs || slices.ContainsFunc(r.avas, func(b ava) bool { return b.typ == a.typ }) {
			return rdn{}, "", false, refuse(codeBadDN, "invalid DN: too many values in one RDN")
		}
		r.avas = append(r.avas, a)
		if s = rest; sep != '+' {
			return r.finish(), rest, sep != 0, nil
		}
	}
}

func (r rdn) finish() rdn {
	slices.SortFunc(r.avas, func(a, b ava) int { return strings.Compare(a.typ.key, b.typ.key) })
	for i, a := range r.avas {
		if i > 0 {
			r.text += "+"
			r.norm += "+"
		}
		r.text += a.typ.Name() + "=" + escapeValue(a.value)
		r.norm += a.typ.key + "=" + escapeValue(a.norm)
	}
	return r
}

// parseAVA reads "type=value" and the separator behind it, 0 at the end.
func (c *catalog) parseAVA(s string) (a ava, sep byte, rest string, err error) {
	name, s, found := strings.Cut(s, "=")
	a.typ = c.typ(strings.Trim(name, " "))
	if !found || a.typ == nil {
		return ava{}, 0, "", refuse(codeBadDN, "invalid DN: no known attribute type at %q", clip(name))
	}
	if a.typ.syntax.oid == syntaxDN { // names in names in names: the work would double with each
		return ava{}, 0, "", refuse(codeBadDN, "invalid DN: %s names no entry", a.typ.Name())
	}
	if a.value, sep, rest, err = parseValue(s); err != nil {
		return ava{}, 0, "", err
	}
	valid, norm := true, a.value
	if a.typ.syntax.valid != nil {
		valid = a.typ.syntax.valid(c, a.value)
	}
	if valid && a.typ.equality != nil {
		norm, valid = a.typ.equality.norm(c, a.value)
	}
	if a.norm = norm; !valid || norm == "" {
		return ava{}, 0, "", refuse(codeBadDN, "invalid DN: bad value of %s", a.typ.Name())
	}
	return a, sep, rest, nil
}

// parseValue reads an attribute value in the string form; "#" with a BER encoding is refused, since no attribute that
// names entries needs it.
func parseValue(s string) (value string, sep byte, rest string, err error) {
	s = strings.TrimLeft(s, " ")
	if strings.HasPrefix(s, "#") {
		return "", 0, "", refuse(codeBadDN, "invalid DN: encoded value")
	}
	out, keep := []byte{}, 0 // keep: so much of out is safe from the trimming of spaces
	i := 0
	for ; i < len(s); i++ {
		switch c := s[i]; c {
		case ',', ';', '+':
			sep, rest = c, s[i+1:]
		case '"', '<', '>', 0:
			return "", 0, "", refuse(codeBadDN, "invalid DN: unescaped %q", string(c))
		case '\\':
			b, n := unescape(s[i+1:])
			if n == 0 {
				return "", 0, "", refuse(codeBadDN, "invalid DN: bad escape")
			}
			out = append(out, b)
			keep = len(out)
			i += n
			continue
		default:
			out = append(out, c)
			continue
		}
		break
	}
	for len(out) > keep && out[len(out)-1] == ' ' {
		out = out[:len(out)-1]
	}
	return string(out), sep, rest, nil
}

// unescape reads what follows a backslash, and how many octets that was; none is an error.
func unescape(s string) (byte, int) {
	if s != "" && strings.IndexByte(` "#+,;<=>\`, s[0]) >= 0 {
		return s[0], 1
	}
	if len(s) < 2 {
		return 0, 0
	}
	b, err := hex.DecodeString(s[:2])
	if err != nil {
		return 0, 0
	}
	return b[0], 2
}

// escapeValue writes a value so that parseValue reads it back.
func escapeValue(v string) string {
	var b strings.Builder
	octets := !utf8.ValidString(v)
	for i := range len(v) {
		c := v[i]
		edge := c == ' ' && (i == 0 || i == len(v)-1) || c == '#' && i == 0
		if edge || c < ' ' || c == 0x7f || strings.IndexByte(`"+,;<=>\`, c) >= 0 || c >= utf8.RuneSelf && octets {
			b.WriteByte('\\')
			b.WriteString(strings.ToUpper(hex.EncodeToString([]byte{c})))
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
