package ldapwire

import (
	"github.com/dirpost/dirpost/directory/dit"
	"github.com/go-ldap/ldap/v3"
)

// filter takes one node of a Filter (RFC 4511 section 4.5.1.7), which lies at this depth. It is nil only with a fault.
func (r *reader) filter(depth int) *dit.Filter {
	r.d.nodes++
	r.d.bound(r.d.nodes, r.d.limits.FilterNodes, "nodes in a filter")
	r.d.bound(depth, r.d.limits.FilterDepth, "levels in a filter")
	tag, in := r.next()
	if r.d.err != nil {
		return nil
	}
	f := &dit.Filter{Kind: dit.FilterKind(tag & 0x1f)}
	switch tag {
	case context | constructed | byte(dit.And), context | constructed | byte(dit.Or):
		// No nodes at all is the absolute true or false of RFC 4526.
		for in.more() {
			f.Subs = append(f.Subs, in.filter(depth+1))
		}
	case context | constructed | byte(dit.Not):
		f.Subs = []*dit.Filter{in.filter(depth + 1)}
		in.end()
	case context | constructed | byte(dit.EqualityMatch), context | constructed | byte(dit.GreaterOrEqual),
		context | constructed | byte(dit.LessOrEqual), context | constructed | byte(dit.ApproxMatch):
		f.Attr, f.Value = in.text(), in.octets(tagOctetString)
		in.end()
	case context | constructed | byte(dit.Substrings):
		in.substrings(f)
	case context | byte(dit.Present):
		f.Attr = string(in.buf)
	case context | constructed | byte(dit.ExtensibleMatch):
		in.extensible(f)
	default:
		r.d.refuse(ldap.LDAPResultProtocolError, "kind of filter is unknown")
	}
	return f
}

// substrings takes a SubstringFilter: an initial part may only come first, a final one only last.
func (r *reader) substrings(f *dit.Filter) {
	f.Attr = r.text()
	list := r.sequence()
	for parts := 0; list.more(); parts++ {
		tag, part := list.next()
		r.d.values++
		r.d.bound(r.d.values, r.d.limits.Values, "values")
		switch {
		case tag == context && parts == 0:
			f.Initial = part.buf
		case tag == context|1:
			f.Any = append(f.Any, part.buf)
		case tag == context|2 && !list.more():
			f.Final = part.buf
		default:
			r.d.refuse(ldap.LDAPResultProtocolError, "substrings are out of order")
		}
		if len(part.buf) == 0 {
			r.d.refuse(ldap.LDAPResultProtocolError, "substring is empty")
		}
	}
	if f.Initial == nil && f.Any == nil && f.Final == nil {
		r.d.refuse(ldap.LDAPResultProtocolError, "substrings are missing")
	}
	r.end()
}

// extensible takes a MatchingRuleAssertion: rule and attribute, of which at least one must be there, value and dnAttributes.
func (r *reader) extensible(f *dit.Filter) {
	if r.at(context | 1) {
		f.Rule = string(r.octets(context | 1))
	}
	if r.at(context | 2) {
		f.Attr = string(r.octets(context | 2))
	}
	f.Value = r.octets(context | 3)
	if r.at(context | 4) {
		f.DNAttrs = r.boolean(context | 4)
	}
	if f.Rule == "" && f.Attr == "" {
		r.d.refuse(ldap.LDAPResultProtocolError, "neither a rule nor an attribute")
	}
	r.end()
}
