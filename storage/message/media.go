package message

import "strings"

// maxParams bounds the parameters of one field and the tags of Content-Language; more are ignored.
const maxParams = 100

// facts reads the fields of a part's header that tell what it is. A part without a usable Content-Type is of the
// implied one.
func (p *Part) facts(raw Header, implied [2]string) {
	var typed, disposed bool
	for f := range raw.Fields() {
		if f.name < len("Content-ID") || f.Raw[0] != 'C' && f.Raw[0] != 'c' {
			continue
		}
		switch {
		case f.Is("Content-Type") && !typed:
			p.Type, p.Subtype, p.Params, typed = parseType(f.Value())
		case f.Is("Content-Transfer-Encoding") && p.Encoding == "":
			in := lexer{text: f.Value()}
			p.Encoding = strings.ToLower(in.token())
		case f.Is("Content-Disposition") && !disposed:
			p.Disposition, p.DispParams = parseDisposition(f.Value())
			disposed = true
		case f.Is("Content-ID") && p.ID == "":
			p.ID = f.Value()
		case f.Is("Content-Description") && p.Description == "":
			p.Description = f.Value()
		case f.Is("Content-MD5") && p.MD5 == "":
			p.MD5 = f.Value()
		case f.Is("Content-Location") && p.Location == "":
			p.Location = strings.Join(strings.Fields(f.Value()), "") // RFC 2557 section 4.4.2
		case f.Is("Content-Language") && p.Language == nil:
			p.Language = parseLanguages(f.Value())
		}
	}
	if p.Encoding == "" {
		p.Encoding = "7bit"
	}
	if !typed {
		p.Type, p.Subtype = implied[0], implied[1]
		if implied == typePlain {
			p.Params = asciiText()
		}
	}
}

// asciiText is what RFC 2045 section 5.2 says of a text that says nothing.
func asciiText() []Param { return []Param{{"charset", "us-ascii"}} }

// parseType reads a Content-Type. It is not ok when there are not two names with a slash between.
func parseType(value string) (major, minor string, params []Param, ok bool) {
	in := lexer{text: value}
	major = strings.ToLower(in.token())
	if major == "" || !in.eat('/') {
		return "", "", nil, false
	}
	minor = strings.ToLower(in.token())
	if minor == "" {
		return "", "", nil, false
	}
	return major, minor, in.params(), true
}

// parseDisposition reads a Content-Disposition (RFC 2183).
func parseDisposition(value string) (string, []Param) {
	in := lexer{text: value}
	kind := strings.ToLower(in.token())
	if kind == "" {
		return "", nil
	}
	return kind, in.params()
}

func parseLanguages(value string) []string {
	var tags []string
	in := lexer{text: value}
	for len(tags) < maxParams {
		if tag := in.token(); tag != "" {
			tags = append(tags, tag)
		}
		if !in.seek(',') {
			break
		}
	}
	return tags
}

// A lexer cuts the tokens of RFC 2045 section 5.1 from an unfolded value, in one pass.
type lexer struct {
	text string
	i    int
}

// space moves past blanks and comments, which nest (RFC 5322 section 3.2.2).
func (l *lexer) space() {
	depth := 0
	for ; l.i < len(l.text); l.i++ {
		switch c := l.text[l.i]; {
		case c == '(':
			depth++
		case depth == 0:
			if c != ' ' && c != '\t' {
				return
			}
		case c == ')':
			depth--
		case c == '\\':
			l.i++
		}
	}
	l.i = min(l.i, len(l.text))
}

// token returns the next token, empty when something else comes next.
func (l *lexer) token() string {
	l.space()
	start := l.i
	for l.i < len(l.text) && isToken(l.text[l.i]) {
		l.i++
	}
	return l.text[start:l.i]
}

func isToken(c byte) bool {
	return c > ' ' && c < 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0
}

// eat moves past c if it comes next.
func (l *lexer) eat(c byte) bool {
	l.space()
	if l.i < len(l.text) && l.text[l.i] == c {
		l.i++
		return true
	}
	return false
}

// seek moves behind the next c.
func (l *lexer) seek(c byte) bool {
	i := strings.IndexByte(l.text[l.i:], c)
	if i < 0 {
		l.i = len(l.text)
		return false
	}
	l.i += i + 1
	return true
}

// params reads *(";" name "=" value). What does not fit is left out; of a name that comes twice the first counts.
func (l *lexer) params() []Param {
	var list []Param
	for len(list) < maxParams && l.seek(';') {
		name := strings.ToLower(l.token())
		if name == "" || !l.eat('=') {
			continue
		}
		value := l.value()
		if !has(list, name) {
			list = append(list, Param{name, value})
		}
	}
	return list
}

func has(list []Param, name string) bool {
	for _, v := range list {
		if v.Name == name {
			return true
		}
	}
	return false
}

// value reads a token or a quoted string. Many programs forget the quotes: then all up to the next semicolon counts.
func (l *lexer) value() string {
	l.space()
	if l.i < len(l.text) && l.text[l.i] == '"' {
		return l.quoted()
	}
	start := l.i
	end := strings.IndexByte(l.text[start:], ';')
	if end < 0 {
		end = len(l.text) - start
	}
	raw := l.text[start : start+end]
	word := l.token()
	if l.space(); l.i < start+end {
		word = strings.TrimRight(raw, " \t") // no token
	}
	l.i = max(l.i, start+end) // further on where a comment holds the semicolon
	return word
}

// quoted reads a quoted string; one that is not closed reaches to the end.
func (l *lexer) quoted() string {
	var out strings.Builder
	for l.i++; l.i < len(l.text); l.i++ {
		switch c := l.text[l.i]; c {
		case '"':
			l.i++
			return out.String()
		case '\\':
			if l.i++; l.i < len(l.text) {
				out.WriteByte(l.text[l.i])
			}
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}
