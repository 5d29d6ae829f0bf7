package dit

import (
	"slices"
	"strings"
	"sync"

	"github.com/dirpost/dirpost/schema"
)

// Limits of names that a client sends.
const (
	maxDescription = 512 // octets of an attribute description
	maxOptions     = 8
)

// An attrType is an attribute type with what the server does with its values.
type attrType struct {
	*schema.AttributeType
	key      string          // first name in lower case: normal forms, indexes and rules know the type by it
	sups     map[string]bool // keys of the type itself and of its supertypes
	equality *matchingRule   // nil = values cannot be compared
	ordering *matchingRule
	substr   *matchingRule
	syntax   *syntax
	indexes  []*attrType // the indexed ones of the type and its supertypes
}

// isA reports whether t is super or one of its subtypes, as cn is a name.
func (t *attrType) isA(super *attrType) bool { return t.sups[super.key] }

// A class is an object class with its superclasses, itself among them, by lower-case first name.
type class struct {
	*schema.ObjectClass
	key  string
	sups map[string]*class
}

func (c *class) isA(super *class) bool { return c.sups[super.key] != nil }

// A catalog is the schema in the form that this package works with. It is never changed.
type catalog struct {
	schema  *schema.Schema
	types   map[string]*attrType // by lower-case name and OID
	classes map[string]*class
	plain   map[string]description // descriptions without options by their stored text, to decode entries fast
}

// loadCatalog prepares the schema once: it is compiled in and the same for every tree.
var loadCatalog = sync.OnceValue(func() *catalog {
	c := &catalog{
		schema:  schema.Load(),
		types:   map[string]*attrType{},
		classes: map[string]*class{},
		plain:   map[string]description{},
	}
	for _, a := range c.schema.AttributeTypes {
		c.addType(a)
	}
	for _, o := range c.schema.ObjectClasses {
		c.addClass(o)
	}
	return c
})

func (c *catalog) addType(a *schema.AttributeType) {
	t := &attrType{
		AttributeType: a,
		key:           strings.ToLower(a.Name()),
		sups:          map[string]bool{},
		equality:      ruleByName(a.Equality),
		ordering:      ruleByName(a.Ordering),
		substr:        ruleByName(a.Substr),
		syntax:        syntaxByOID(a.Syntax),
	}
	t.sups[t.key] = true
	if a.Sup != "" {
		for key := range c.types[strings.ToLower(a.Sup)].sups {
			t.sups[key] = true
		}
	}
	for _, name := range append([]string{a.OID}, a.Names...) {
		c.types[strings.ToLower(name)] = t
	}
	for key := range t.sups {
		if indexed[key] && t.equality != nil {
			t.indexes = append(t.indexes, c.types[key])
		}
	}
	c.plain[a.Name()] = description{typ: t, text: a.Name()}
}

func (c *catalog) addClass(o *schema.ObjectClass) {
	cl := &class{ObjectClass: o, key: strings.ToLower(o.Name()), sups: map[string]*class{}}
	cl.sups[cl.key] = cl
	for _, sup := range o.Sup {
		for key, s := range c.classes[strings.ToLower(sup)].sups {
			cl.sups[key] = s
		}
	}
	for _, name := range append([]string{o.OID}, o.Names...) {
		c.classes[strings.ToLower(name)] = cl
	}
}

func (c *catalog) typ(name string) *attrType { return c.types[strings.ToLower(name)] }

func (c *catalog) class(name string) *class { return c.classes[strings.ToLower(name)] }

// A description is an attribute type with options, RFC 4512 section 2.5.
type description struct {
	typ     *attrType
	options []string // lower case, sorted
	text    string   // as stored and shown: first name of the type, then the options
}

// describe resolves an attribute description. Known options are "binary" (RFC 4522, for certificates and revocation
// lists, where it is required on writing) and language tags (RFC 3866).
func (c *catalog) describe(text string) (description, error) {
	if d, ok := c.plain[text]; ok {
		return d, nil
	}
	if len(text) > maxDescription {
		return description{}, refuse(codeUndefinedType, "attribute description too long")
	}
	name, rest, more := strings.Cut(text, ";")
	t := c.typ(name)
	if t == nil {
		return description{}, refuse(codeUndefinedType, "%s: attribute type undefined", clip(name))
	}
	if !more {
		return c.plain[t.Name()], nil
	}
	options := strings.Split(strings.ToLower(rest), ";")
	if len(options) > maxOptions {
		return description{}, refuse(codeUndefinedType, "%s: too many options", t.Name())
	}
	for _, o := range options {
		if o != "binary" && !language(o) {
			return description{}, refuse(codeUndefinedType, "%s: unrecognized option %q", t.Name(), clip(o))
		}
		if o == "binary" && !t.syntax.binary {
			return description{}, refuse(codeUndefinedType, "%s: option \"binary\" not supported with type", t.Name())
		}
	}
	slices.Sort(options)
	options = slices.Compact(options)
	return description{typ: t, options: options, text: t.Name() + ";" + strings.Join(options, ";")}, nil
}

func (d description) binary() bool { return slices.Contains(d.options, "binary") }

// covers reports whether asking for d finds the attribute a: the type or a subtype, and at least the options of d.
func (d description) covers(a description) bool {
	if !a.typ.isA(d.typ) {
		return false
	}
	for _, o := range d.options {
		if !slices.Contains(a.options, o) {
			return false
		}
	}
	return true
}

func language(option string) bool {
	tag, ok := strings.CutPrefix(option, "lang-")
	if !ok || tag == "" {
		return false
	}
	for i := range len(tag) {
		if c := tag[i]; c != '-' && !letter(c) && !digit(c) {
			return false
		}
	}
	return true
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func digit(c byte) bool { return '0' <= c && c <= '9' }
