package dit

import (
	"slices"
	"strings"

	"github.com/dirpost/dirpost/schema"
)

// The operational attributes that are computed when they are asked for. [Tree.computed] has their values.
var computedNames = []string{schema.AttrEntryDN, schema.AttrSubschemaSubentry, schema.AttrHasSubordinates, schema.AttrMemberOf}

// groupClass is the class, in normal form, whose members have memberOf.
const groupClass = "groupofnames"

// A view is an entry as one operation sees it.
type view struct {
	*record
	place
	tree *Tree
	open bool // the root DSE or cn=Subschema: everybody reads all of it, and nothing is computed
}

func (v *view) may(j *judge, attr string, want rights) bool {
	return v.open || j.may(v, attr, want)
}

// says reports whether the entry has the value, whatever way it is written.
func (v *view) says(attr, value string) bool {
	d := v.tree.catalog.plain[attr]
	form, ok := d.typ.equality.norm(v.tree.catalog, value)
	return ok && v.tree.catalog.hasValue(v.record, d, form)
}

// each calls f for every attribute that d covers, stored ones first, until it returns true, and reports whether it did.
// The zero d covers all.
func (v *view) each(d description, f func(attribute) bool) bool {
	for _, a := range v.attrs {
		if (d.typ == nil || d.covers(a.description)) && f(a) {
			return true
		}
	}
	if v.open {
		return false
	}
	for _, name := range computedNames {
		c := v.tree.catalog.plain[name]
		if d.typ != nil && !d.covers(c) {
			continue
		}
		if values := v.tree.computed(v, name); len(values) > 0 && f(attribute{c, values}) {
			return true
		}
	}
	return false
}

// computed returns the values of an attribute that is not stored.
func (t *Tree) computed(v *view, name string) [][]byte {
	switch name {
	case schema.AttrEntryDN:
		return [][]byte{[]byte(v.text)}
	case schema.AttrSubschemaSubentry:
		return [][]byte{[]byte(subschemaName)}
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if name == schema.AttrHasSubordinates {
		if len(t.index.children[v.id]) > 0 {
			return [][]byte{[]byte("TRUE")}
		}
		return [][]byte{[]byte("FALSE")}
	}
	var out [][]byte
	for _, group := range t.groupsOf(v.norm) {
		if p, ok := t.index.place(group); ok {
			out = append(out, []byte(p.text))
		}
	}
	return out
}

// groupsOf returns the groups that have the name, in normal form, as a member. The caller holds mu.
func (t *Tree) groupsOf(norm string) []uint32 {
	member, class := t.catalog.typ(schema.AttrMember), t.catalog.typ(schema.AttrObjectClass)
	groups := slices.Clone(t.index.entries(t.index.hash(member, norm)))
	key := t.index.hash(class, groupClass)
	return slices.DeleteFunc(groups, func(id uint32) bool { return !t.index.has(key, id) })
}

// A selection is the attributes a search asks for (RFC 4511 section 4.5.1.8, RFC 3673, RFC 4529).
type selection struct {
	user, operational bool
	descs             []description
}

// selectAttrs reads the list; names that nobody knows are ignored, as the RFC demands, and with them "1.1".
func (c *catalog) selectAttrs(list []string) selection {
	s := selection{user: len(list) == 0}
	for _, name := range list {
		switch {
		case name == "*":
			s.user = true
		case name == "+":
			s.operational = true
		case strings.HasPrefix(name, "@"):
			if cl := c.class(name[1:]); cl != nil {
				s.descs = append(s.descs, c.classAttrs(cl)...)
			}
		default:
			if d, err := c.describe(name); err == nil {
				s.descs = append(s.descs, d)
			}
		}
	}
	return s
}

func (c *catalog) classAttrs(cl *class) []description {
	var out []description
	for _, sup := range cl.sups {
		for _, name := range slices.Concat(sup.Must, sup.May) {
			out = append(out, c.plain[name])
		}
	}
	return out
}

func (s selection) has(d description) bool {
	if d.typ.Operational() && s.operational || !d.typ.Operational() && s.user {
		return true
	}
	return slices.ContainsFunc(s.descs, func(want description) bool { return want.covers(d) })
}

// answer is the entry as the subject may see it.
func (v *view) answer(j *judge, s selection, typesOnly bool) *Entry {
	e := &Entry{DN: v.text}
	give := func(a attribute) {
		if s.has(a.description) && v.may(j, a.typ.key, read) {
			out := Attribute{Name: a.text}
			if !typesOnly {
				out.Values = a.values
			}
			e.Attributes = append(e.Attributes, out)
		}
	}
	for _, a := range v.attrs {
		give(a)
	}
	for _, name := range computedNames {
		d := v.tree.catalog.plain[name]
		if v.open || !s.has(d) {
			continue
		}
		if values := v.tree.computed(v, name); len(values) > 0 {
			give(attribute{d, values})
		}
	}
	return e
}
