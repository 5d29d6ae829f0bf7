package profile

import (
	"fmt"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/schema"
)

// Filter translates a filter with our names. An empty result matches nothing: the server has nothing that it asks for.
// Filters have and, or, not, equality, presence and greater-or-equal; others are an error.
func (p *Profile) Filter(text string) (string, error) {
	if p.Same() {
		return text, nil
	}
	packet, err := ldap.CompileFilter(text)
	if err != nil {
		return "", fmt.Errorf("filter %s: %w", text, err)
	}
	out, err := p.filter(packet)
	if err != nil {
		return "", fmt.Errorf("filter %s: %w", text, err)
	}
	return out, nil
}

func (p *Profile) filter(f *ber.Packet) (string, error) {
	switch f.Tag {
	case ldap.FilterAnd, ldap.FilterOr:
		return p.list(f)
	case ldap.FilterNot:
		// What asks for something the server lacks is undefined, and so is its opposite (RFC 4511 section 4.5.1.7).
		inner, err := p.filter(f.Children[0])
		if err != nil || inner == "" {
			return "", err
		}
		return "(!" + inner + ")", nil
	case ldap.FilterEqualityMatch:
		return p.equality(f.Children[0].Data.String(), f.Children[1].Data.String()), nil
	case ldap.FilterGreaterOrEqual:
		return p.atLeast(f.Children[0].Data.String(), f.Children[1].Data.String()), nil
	case ldap.FilterPresent:
		return p.present(f.Data.String()), nil
	}
	return "", fmt.Errorf("kind %d is not translated", f.Tag)
}

// list translates the parts of and and or. In an or what matches nothing is left out; in an and nothing is left then.
func (p *Profile) list(f *ber.Packet) (string, error) {
	var parts []string
	for _, child := range f.Children {
		part, err := p.filter(child)
		if err != nil || part == "" && f.Tag == ldap.FilterAnd {
			return "", err
		}
		if part != "" {
			parts = append(parts, part)
		}
	}
	if f.Tag == ldap.FilterAnd {
		return all(parts), nil
	}
	return anyOf(parts), nil
}

func (p *Profile) equality(attr, value string) string {
	if strings.EqualFold(attr, schema.AttrObjectClass) {
		return p.ofClass(value)
	}
	a, ok := p.attribute(attr)
	if !ok {
		return equal(attr, value)
	}
	var parts []string
	for _, s := range a.sources {
		for _, v := range s.codec.written(value) {
			parts = append(parts, equal(s.name, v))
		}
	}
	return anyOf(parts)
}

// written returns what the server may have for one of our values.
func (c codec) written(value string) []string {
	switch {
	case c.encode != nil:
		return c.encode(value)
	case c.decode != nil:
		return nil
	}
	return []string{value}
}

func (p *Profile) atLeast(attr, value string) string {
	sources := []source{{name: attr}}
	if a, ok := p.attribute(attr); ok {
		sources = a.sources
	}
	var parts []string
	for _, s := range sources {
		for _, v := range s.codec.written(value) {
			parts = append(parts, "("+s.name+">="+ldap.EscapeFilter(v)+")")
		}
	}
	return anyOf(parts)
}

func (p *Profile) present(attr string) string {
	var parts []string
	for _, name := range p.Sources(attr) {
		parts = append(parts, "("+name+"=*)")
	}
	return anyOf(parts)
}

func (p *Profile) ofClass(name string) string {
	c, ok := p.class(name)
	if !ok {
		return equal(schema.AttrObjectClass, name)
	}
	var forms []string
	for _, f := range c.forms {
		parts := []string{equal(schema.AttrObjectClass, f.class)}
		for _, not := range f.not {
			parts = append(parts, "(!"+equal(schema.AttrObjectClass, not)+")")
		}
		for _, attr := range f.has {
			parts = append(parts, "("+attr+"=*)")
		}
		forms = append(forms, all(parts))
	}
	return anyOf(forms)
}

func all(parts []string) string   { return joined("&", parts) }
func anyOf(parts []string) string { return joined("|", parts) }

func joined(op string, parts []string) string {
	switch len(parts) {
	case 0:
		return ""
	case 1:
		return parts[0]
	}
	return "(" + op + strings.Join(parts, "") + ")"
}
