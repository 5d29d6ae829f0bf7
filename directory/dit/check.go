package dit

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dirpost/dirpost/schema"
)

// checkValues tests what a client wants to write under one description: syntax, length, and that no value comes twice.
// It rewrites names and identifiers to the form in which they are stored.
func (c *catalog) checkValues(d description, values [][]byte) error {
	t := d.typ
	if t.syntax.binary != d.binary() {
		return refuse(codeUndefinedType, "%s: requires ;binary transfer", d.text)
	}
	seen := map[string]bool{}
	for i, v := range values {
		if t.syntax.valid != nil && !t.syntax.valid(c, string(v)) || classValued(t) && c.class(string(v)) == nil {
			return refuse(codeBadSyntax, "%s: value #%d invalid per syntax", d.text, i)
		}
		if t.MaxLen > 0 && length(t, v) > t.MaxLen {
			return refuse(codeConstraint, "%s: value #%d is longer than %d", d.text, i, t.MaxLen)
		}
		values[i] = c.pretty(t, v)
		form := string(v)
		if t.equality != nil {
			form, _ = t.equality.norm(c, form)
		}
		if seen[form] {
			return refuse(codeExists, "%s: value #%d provided more than once", d.text, i)
		}
		seen[form] = true
	}
	return nil
}

// length counts what the bound of a syntax bounds: characters of text, octets of everything else.
func length(t *attrType, v []byte) int {
	if t.syntax.oid == syntaxText {
		return utf8.RuneCount(v)
	}
	return len(v)
}

// pretty is the stored form of a value: names of entries and classes are spelled one way.
func (c *catalog) pretty(t *attrType, v []byte) []byte {
	switch {
	case t.syntax.oid == syntaxDN:
		if d, err := c.parseDN(string(v)); err == nil {
			return []byte(d.text)
		}
	case classValued(t):
		return []byte(c.class(string(v)).Name())
	}
	return v
}

// check tests a whole entry against the schema (RFC 4512 section 2): single values, one chain of structural classes, the
// values of its RDN, what must be there and what may. The structural class stays what it was before, nil for a new
// entry.
func (c *catalog) check(before, r *record) error {
	for _, a := range r.attrs {
		if a.typ.Single && len(a.values) > 1 {
			return refuse(codeConstraint, "attribute '%s' cannot have multiple values", a.text)
		}
	}
	classes, structural, err := c.entryClasses(r)
	if err != nil {
		return err
	}
	if before != nil {
		if _, was, err := c.entryClasses(before); err == nil && was != structural {
			return refuse(codeClassMods, "structural object class modification from '%s' to '%s' not allowed", was.Name(), structural.Name())
		}
	}
	if err := c.checkRDN(r); err != nil {
		return err
	}
	for _, cl := range classes {
		for _, name := range cl.Must {
			if !r.hasType(c.typ(name)) {
				return refuse(codeClass, "object class '%s' requires attribute '%s'", cl.Name(), name)
			}
		}
	}
	may := allowed(classes)
	for _, a := range r.attrs {
		if !a.typ.Operational() && may != nil && !may[a.typ.key] {
			return refuse(codeClass, "attribute '%s' not allowed", a.text)
		}
	}
	return nil
}

// entryClasses returns the classes of an entry with all their superclasses, and the structural one.
func (c *catalog) entryClasses(r *record) (map[string]*class, *class, error) {
	a := r.find(c.plain[schema.AttrObjectClass])
	if a == nil {
		return nil, nil, refuse(codeClass, "no objectClass attribute")
	}
	all := map[string]*class{}
	var structural *class
	for _, v := range a.values {
		cl := c.class(string(v))
		for key, sup := range cl.sups {
			all[key] = sup
		}
		switch {
		case cl.Kind != schema.Structural:
		case structural == nil || cl.isA(structural):
			structural = cl
		case !structural.isA(cl):
			return nil, nil, refuse(codeClass, "invalid structural object class chain (%s/%s)", structural.Name(), cl.Name())
		}
	}
	if structural == nil {
		return nil, nil, refuse(codeClass, "no structural object class provided")
	}
	return all, structural, nil
}

// allowed returns the keys of the user attributes that the classes have; nil = all.
func allowed(classes map[string]*class) map[string]bool {
	may := map[string]bool{}
	for _, cl := range classes {
		if cl.key == "extensibleobject" {
			return nil
		}
		for _, name := range slices.Concat(cl.Must, cl.May) {
			may[strings.ToLower(name)] = true
		}
	}
	return may
}

func (r *record) hasType(t *attrType) bool {
	return slices.ContainsFunc(r.attrs, func(a attribute) bool { return a.typ == t })
}

// checkRDN tests that the entry has the values of its RDN.
func (c *catalog) checkRDN(r *record) error {
	d, err := c.parseDN(r.rdn)
	if err != nil {
		return err
	}
	for _, a := range d.rdns[0].avas {
		if !r.hasType(a.typ) {
			return refuse(codeNaming, "naming attribute '%s' is not present in entry", a.typ.Name())
		}
		if !c.hasValue(r, c.plain[a.typ.Name()], a.norm) {
			return refuse(codeNaming, "value of naming attribute '%s' is not present in entry", a.typ.Name())
		}
	}
	return nil
}

// hasValue reports whether the record has the value, in normal form, under exactly this description.
func (c *catalog) hasValue(r *record, d description, form string) bool {
	a := r.find(d)
	return a != nil && slices.ContainsFunc(a.values, func(v []byte) bool {
		f, ok := d.typ.equality.norm(c, string(v))
		return ok && f == form
	})
}

// nameable tests that the attributes of an RDN can name an entry at all.
func nameable(r rdn) error {
	for _, a := range r.avas {
		switch {
		case a.typ.Operational():
			return refuse(codeNaming, "naming attribute '%s' is operational", a.typ.Name())
		case a.typ.equality == nil || a.typ.syntax.binary:
			return refuse(codeNaming, "naming attribute '%s' has no equality matching rule", a.typ.Name())
		}
	}
	return nil
}
