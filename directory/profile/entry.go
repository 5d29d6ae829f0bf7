package profile

import (
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/schema"
)

// Attributes translates a list of attributes to be asked for. What tells the class of an entry is among them if the class is,
// or an attribute that entries of a class have by default.
func (p *Profile) Attributes(names []string) []string {
	if p.Same() || len(names) == 0 {
		return names // none means all
	}
	var list []string
	add := func(name string) {
		if !slices.ContainsFunc(list, func(have string) bool { return strings.EqualFold(have, name) }) {
			list = append(list, name)
		}
	}
	for _, name := range names {
		base, option, _ := strings.Cut(name, ";")
		if strings.EqualFold(base, schema.AttrObjectClass) || p.hasDefault(base) {
			add(schema.AttrObjectClass)
			p.addConditions(add)
		}
		a, ok := p.attribute(base)
		if !ok {
			add(name)
			continue
		}
		for _, s := range a.sources {
			add(withOption(s.name, option))
		}
	}
	if len(list) == 0 {
		return []string{"1.1"} // an empty list would ask for everything
	}
	return list
}

func (p *Profile) hasDefault(attr string) bool {
	for _, defaults := range p.defaults {
		for name := range defaults {
			if strings.EqualFold(name, attr) {
				return true
			}
		}
	}
	return false
}

// addConditions adds the attributes that entries of a class must have.
func (p *Profile) addConditions(add func(string)) {
	for _, c := range p.classes {
		for _, f := range c.forms {
			for _, attr := range f.has {
				add(attr)
			}
		}
	}
}

func withOption(name, option string) string {
	if option == "" {
		return name
	}
	return name + ";" + option
}

// Entry translates an entry of the server to our names.
func (p *Profile) Entry(e *ldap.Entry) *ldap.Entry {
	if p.Same() {
		return e
	}
	theirs := map[string]*ldap.EntryAttribute{}
	out := &ldap.Entry{DN: e.DN}
	for _, a := range e.Attributes {
		theirs[strings.ToLower(a.Name)] = a
		base, _, _ := strings.Cut(strings.ToLower(a.Name), ";")
		if _, mapped := p.attrs[base]; !mapped && (base == "objectclass" || !p.fed[base] || schema.Load().Attribute(base) != nil) {
			out.Attributes = append(out.Attributes, a)
		}
	}
	for _, ours := range p.attrs {
		for _, option := range []string{"", "binary"} {
			if values := ours.read(theirs, option); len(values) > 0 {
				out.Attributes = append(out.Attributes, ldap.NewEntryAttribute(withOption(ours.name, option), values))
			}
		}
	}
	p.classify(out, theirs)
	slices.SortFunc(out.Attributes, func(a, b *ldap.EntryAttribute) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// read collects the values of one of our attributes.
func (a attribute) read(theirs map[string]*ldap.EntryAttribute, option string) []string {
	var values []string
	for _, s := range a.sources {
		from := theirs[strings.ToLower(withOption(s.name, option))]
		if from == nil {
			continue
		}
		for _, v := range from.Values {
			decoded := []string{v}
			if s.codec.decode != nil {
				decoded = s.codec.decode(v)
			}
			for _, v := range decoded {
				if v != "" && !slices.ContainsFunc(values, func(have string) bool { return strings.EqualFold(have, v) }) {
					values = append(values, v)
				}
			}
		}
	}
	if a.name == schema.AttrDpAccountStatus {
		return strictest(values)
	}
	return values
}

// strictest keeps the state that allows least, where several attributes tell of it.
func strictest(states []string) []string {
	if len(states) < 2 {
		return states
	}
	for _, state := range []string{deleted, suspended, noLogin} {
		if slices.ContainsFunc(states, func(s string) bool { return strings.EqualFold(s, state) }) {
			return []string{state}
		}
	}
	return states[:1]
}

// classify adds our classes to those of the entry, and what they have by default.
func (p *Profile) classify(e *ldap.Entry, theirs map[string]*ldap.EntryAttribute) {
	own := theirs["objectclass"]
	if own == nil {
		return
	}
	classes := slices.DeleteFunc(slices.Clone(own.Values), func(name string) bool { _, mapped := p.class(name); return mapped })
	for _, c := range p.classes {
		if slices.ContainsFunc(c.forms, func(f form) bool { return f.fits(own.Values, theirs) }) {
			classes = append(classes, c.name)
		}
	}
	e.Attributes = slices.DeleteFunc(e.Attributes, func(a *ldap.EntryAttribute) bool { return a == own })
	e.Attributes = append(e.Attributes, ldap.NewEntryAttribute(schema.AttrObjectClass, classes))
	for class, defaults := range p.defaults {
		if !contains(classes, class) {
			continue
		}
		for attr, values := range defaults {
			if len(e.GetEqualFoldAttributeValues(attr)) == 0 {
				e.Attributes = append(e.Attributes, ldap.NewEntryAttribute(attr, values))
			}
		}
	}
}

func (f form) fits(classes []string, theirs map[string]*ldap.EntryAttribute) bool {
	return contains(classes, f.class) &&
		!slices.ContainsFunc(f.not, func(c string) bool { return contains(classes, c) }) &&
		!slices.ContainsFunc(f.has, func(attr string) bool { return theirs[strings.ToLower(attr)] == nil })
}

func contains(list []string, name string) bool {
	return slices.ContainsFunc(list, func(have string) bool { return strings.EqualFold(have, name) })
}

// Add translates a request to add an entry. What the server has no place for is left out.
func (p *Profile) Add(req *ldap.AddRequest) *ldap.AddRequest {
	if p.Same() {
		return req
	}
	out := ldap.NewAddRequest(req.DN, req.Controls)
	for _, a := range req.Attributes {
		if name, values := p.write(a.Type, a.Vals); name != "" {
			out.Attribute(name, values)
		}
	}
	return out
}

// Modify translates a request to change an entry.
func (p *Profile) Modify(req *ldap.ModifyRequest) *ldap.ModifyRequest {
	if p.Same() {
		return req
	}
	out := ldap.NewModifyRequest(req.DN, req.Controls)
	for _, c := range req.Changes {
		if name, values := p.write(c.Modification.Type, c.Modification.Vals); name != "" {
			out.Changes = append(out.Changes, ldap.Change{Operation: c.Operation, Modification: ldap.PartialAttribute{Type: name, Vals: values}})
		}
	}
	return out
}

// write translates values to be written: to the source that has them as they are, for the others are read only. No values,
// which take the attribute away, mean the same everywhere.
func (p *Profile) write(name string, values []string) (string, []string) {
	base, option, _ := strings.Cut(name, ";")
	if strings.EqualFold(base, schema.AttrObjectClass) {
		var classes []string
		for _, v := range values {
			classes = append(classes, p.Classes(v)...)
		}
		return name, classes
	}
	a, ok := p.attribute(base)
	if !ok {
		return name, values
	}
	for _, s := range a.sources {
		if s.codec.decode == nil {
			return withOption(s.name, option), values
		}
	}
	if len(values) == 0 && len(a.sources) > 0 {
		return withOption(a.sources[0].name, option), nil
	}
	return "", nil
}
