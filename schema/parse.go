package schema

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrSyntax is wrapped by every error of [Schema.Parse]; the text names the line and the rule.
var ErrSyntax = errors.New("schema syntax")

// Usage tells user attributes from operational ones (RFC 4512 section 2.5.1).
type Usage int

// The four usages of RFC 4512; the zero value is a user attribute.
const (
	UserApplications Usage = iota
	DirectoryOperation
	DistributedOperation
	DSAOperation
)

// An AttributeType is one attribute type description (RFC 4512 section 4.1.2). Equality, Ordering, Substr and Syntax
// are already inherited from the supertype once the file is parsed.
type AttributeType struct {
	OID       string
	Names     []string
	Desc      string
	Sup       string
	Equality  string
	Ordering  string
	Substr    string
	Syntax    string // numeric OID without the length bound
	MaxLen    int    // the bound in braces, 0 = none
	Single    bool
	NoUserMod bool
	Usage     Usage
}

// Name returns the first name, the one entries are shown with.
func (a *AttributeType) Name() string { return a.Names[0] }

// Operational reports whether searches return the attribute only when it is asked for by name or "+".
func (a *AttributeType) Operational() bool { return a.Usage != UserApplications }

// A Kind is the kind of an object class (RFC 4512 section 2.4).
type Kind int

// The kinds of RFC 4512; a class that names none is structural.
const (
	Structural Kind = iota
	Auxiliary
	Abstract
)

// An ObjectClass is one object class description (RFC 4512 section 4.1.1). Must and May hold its own attributes only,
// by first name; [Schema.Attributes] adds those of the superclasses.
type ObjectClass struct {
	OID   string
	Names []string
	Desc  string
	Sup   []string
	Kind  Kind
	Must  []string
	May   []string
}

// Name returns the first name.
func (c *ObjectClass) Name() string { return c.Names[0] }

// A Schema is a set of definitions in which every name used is defined. It is not changed after it was read, so any
// number of goroutines may use it.
type Schema struct {
	AttributeTypes []*AttributeType // in the order of the files
	ObjectClasses  []*ObjectClass

	attrs   map[string]*AttributeType // by lower-case name and by OID
	classes map[string]*ObjectClass
	macros  map[string]string
}

// New returns an empty schema, to be filled by [Schema.Parse].
func New() *Schema {
	return &Schema{
		attrs:   map[string]*AttributeType{},
		classes: map[string]*ObjectClass{},
		macros:  map[string]string{},
	}
}

// Attribute finds an attribute type by any of its names, in any case, or by OID. Options behind a ";" are not allowed
// here. It returns nil for an unknown one.
func (s *Schema) Attribute(name string) *AttributeType { return s.attrs[strings.ToLower(name)] }

// Class finds an object class by name, in any case, or by OID, or returns nil.
func (s *Schema) Class(name string) *ObjectClass { return s.classes[strings.ToLower(name)] }

// Parse adds the definitions of text, in the form of OpenLDAP's .schema files: objectidentifier, attributetype and
// objectclass statements, continued on lines that begin with white space. Names it refers to must be defined before.
func (s *Schema) Parse(text string) error {
	for _, st := range statements(text) {
		if err := s.statement(st); err != nil {
			return fmt.Errorf("%w: line %d: %w", ErrSyntax, st.line, err)
		}
	}
	return nil
}

// A statement is one logical line: its keyword, the tokens behind it, and where it began.
type statement struct {
	line    int
	keyword string
	tokens  []string
}

func statements(text string) []statement {
	var out []statement
	var open strings.Builder
	begin := 0
	flush := func() {
		if toks := tokens(open.String()); len(toks) > 0 {
			out = append(out, statement{begin, strings.ToLower(toks[0]), toks[1:]})
		}
		open.Reset()
	}
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "#"):
		case line != "" && (line[0] == ' ' || line[0] == '\t'):
			open.WriteString(" " + line)
		default:
			flush()
			begin = i + 1
			open.WriteString(line)
		}
	}
	flush()
	return out
}

// tokens splits a statement into words, parentheses and quoted strings; a quoted string keeps its opening quote, so that
// DESC 'NAME' is not mistaken for the keyword NAME.
func tokens(s string) []string {
	var out []string
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\r':
			i++
		case c == '(' || c == ')' || c == '$':
			out = append(out, string(c))
			i++
		case c == '\'':
			end := strings.IndexByte(s[i+1:], '\'')
			if end < 0 {
				return append(out, s[i:])
			}
			out = append(out, s[i:i+1+end])
			i += end + 2
		default:
			end := strings.IndexAny(s[i:], " \t\r()'$")
			if end < 0 {
				end = len(s) - i
			}
			out = append(out, s[i:i+end])
			i += end
		}
	}
	return out
}

func (s *Schema) statement(st statement) error {
	switch st.keyword {
	case "objectidentifier":
		if len(st.tokens) != 2 {
			return errors.New("objectidentifier wants a name and a number")
		}
		oid, err := s.oid(st.tokens[1])
		s.macros[strings.ToLower(st.tokens[0])] = oid
		return err
	case "attributetype", "attributetypes":
		return s.attributeType(st.tokens)
	case "objectclass", "objectclasses":
		return s.objectClass(st.tokens)
	}
	return fmt.Errorf("unknown statement %q", st.keyword)
}

// oid replaces a macro, or a macro and a number behind a colon, by the number it stands for.
func (s *Schema) oid(word string) (string, error) {
	if word != "" && word[0] >= '0' && word[0] <= '9' {
		return word, nil
	}
	name, rest, more := strings.Cut(word, ":")
	base, ok := s.macros[strings.ToLower(name)]
	switch {
	case !ok:
		return "", fmt.Errorf("unknown object identifier %q", word)
	case more:
		return base + "." + rest, nil
	}
	return base, nil
}

// A reader takes the tokens of one description in order.
type reader struct {
	tokens []string
	err    error
}

func (r *reader) next() string {
	if len(r.tokens) == 0 {
		if r.err == nil {
			r.err = errors.New("definition ends early")
		}
		return ""
	}
	t := r.tokens[0]
	r.tokens = r.tokens[1:]
	return t
}

// list reads one word or a parenthesised list of words, with or without "$" between them.
func (r *reader) list() []string {
	first := r.next()
	if first != "(" {
		return []string{strings.TrimPrefix(first, "'")}
	}
	var out []string
	for r.err == nil {
		switch t := r.next(); t {
		case ")":
			return out
		case "$":
		default:
			out = append(out, strings.TrimPrefix(t, "'"))
		}
	}
	return out
}

func (r *reader) text() string { return strings.TrimPrefix(r.next(), "'") }

// description reads the tokens of "( OID field ... )" and hands the first word of each field to read, which takes the rest
// of the field. It returns the number.
func (s *Schema) description(toks []string, read func(word string, r *reader) error) (oid string, err error) {
	r := &reader{tokens: toks}
	if r.next() != "(" {
		return "", errors.New("a definition begins with a parenthesis")
	}
	if oid, err = s.oid(r.next()); err != nil {
		return "", err
	}
	for r.err == nil {
		word := r.next()
		if word == ")" {
			break
		}
		if err := read(word, r); err != nil {
			return "", err
		}
	}
	return oid, r.err
}

func (s *Schema) attributeType(toks []string) (err error) {
	a := &AttributeType{}
	if a.OID, err = s.description(toks, a.field); err != nil {
		return err
	}
	return s.addAttribute(a)
}

func (a *AttributeType) field(word string, r *reader) error {
	switch word {
	case "NAME":
		a.Names = r.list()
	case "DESC":
		a.Desc = r.text()
	case "SUP":
		a.Sup = r.text()
	case "EQUALITY":
		a.Equality = r.text()
	case "ORDERING":
		a.Ordering = r.text()
	case "SUBSTR":
		a.Substr = r.text()
	case "SYNTAX":
		syntax, bound, bounded := strings.Cut(r.text(), "{")
		a.Syntax = syntax
		if bounded {
			n, err := strconv.Atoi(strings.TrimSuffix(bound, "}"))
			if err != nil {
				return errors.New("bad length bound")
			}
			a.MaxLen = n
		}
	case "SINGLE-VALUE":
		a.Single = true
	case "NO-USER-MODIFICATION":
		a.NoUserMod = true
	case "COLLECTIVE", "OBSOLETE":
	case "USAGE":
		usages := map[string]Usage{"directoryOperation": DirectoryOperation, "distributedOperation": DistributedOperation, "dSAOperation": DSAOperation}
		a.Usage = usages[r.text()]
	default:
		if !strings.HasPrefix(word, "X-") {
			return fmt.Errorf("unknown word %q", word)
		}
		r.list()
	}
	return nil
}

func (s *Schema) addAttribute(a *AttributeType) error {
	if len(a.Names) == 0 {
		return fmt.Errorf("attribute type %s has no name", a.OID)
	}
	if a.Sup != "" {
		sup := s.Attribute(a.Sup)
		if sup == nil {
			return fmt.Errorf("unknown supertype %q of %s", a.Sup, a.Name())
		}
		a.inherit(sup)
	}
	for _, key := range append([]string{a.OID}, a.Names...) {
		if old := s.Attribute(key); old != nil {
			return fmt.Errorf("attribute type %q is defined twice (%s and %s)", key, old.OID, a.OID)
		}
		s.attrs[strings.ToLower(key)] = a
	}
	s.AttributeTypes = append(s.AttributeTypes, a)
	return nil
}

func (a *AttributeType) inherit(sup *AttributeType) {
	for _, f := range []struct {
		own *string
		sup string
	}{{&a.Equality, sup.Equality}, {&a.Ordering, sup.Ordering}, {&a.Substr, sup.Substr}, {&a.Syntax, sup.Syntax}} {
		if *f.own == "" {
			*f.own = f.sup
		}
	}
}

func (s *Schema) objectClass(toks []string) (err error) {
	c := &ObjectClass{}
	if c.OID, err = s.description(toks, c.field); err != nil {
		return err
	}
	return s.addClass(c)
}

func (c *ObjectClass) field(word string, r *reader) error {
	switch word {
	case "NAME":
		c.Names = r.list()
	case "DESC":
		c.Desc = r.text()
	case "SUP":
		c.Sup = r.list()
	case "ABSTRACT":
		c.Kind = Abstract
	case "STRUCTURAL":
		c.Kind = Structural
	case "AUXILIARY":
		c.Kind = Auxiliary
	case "MUST":
		c.Must = r.list()
	case "MAY":
		c.May = r.list()
	case "OBSOLETE":
	default:
		if !strings.HasPrefix(word, "X-") {
			return fmt.Errorf("unknown word %q", word)
		}
		r.list()
	}
	return nil
}

func (s *Schema) addClass(c *ObjectClass) error {
	if len(c.Names) == 0 {
		return fmt.Errorf("object class %s has no name", c.OID)
	}
	for _, sup := range c.Sup {
		if s.Class(sup) == nil {
			return fmt.Errorf("unknown superclass %q of %s", sup, c.Name())
		}
	}
	for _, list := range [][]string{c.Must, c.May} {
		for i, name := range list {
			a := s.Attribute(name)
			if a == nil {
				return fmt.Errorf("class %s uses unknown attribute %q", c.Name(), name)
			}
			list[i] = a.Name()
		}
	}
	for _, key := range append([]string{c.OID}, c.Names...) {
		if old := s.Class(key); old != nil {
			return fmt.Errorf("object class %q is defined twice (%s and %s)", key, old.OID, c.OID)
		}
		s.classes[strings.ToLower(key)] = c
	}
	s.ObjectClasses = append(s.ObjectClasses, c)
	return nil
}
