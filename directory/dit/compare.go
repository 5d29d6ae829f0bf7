package dit

import (
	"context"
	"slices"
)

// Compare reports whether the entry has the value. It refuses what cannot be compared: an attribute that is not there
// (16), unknown (17) or without an equality rule (18), and a value that has not the syntax (21).
func (t *Tree) Compare(_ context.Context, who Subject, name, attr string, value []byte, extra ...*Extra) (bool, error) {
	j := t.judge(who)
	if j.restricted {
		return false, errMustChange
	}
	d, err := t.catalog.parseDN(name)
	if err != nil {
		return false, err
	}
	v := t.special(d, nil)
	if v == nil {
		if v, err = t.entry(j, d); err != nil {
			return false, err
		}
	}
	if err := t.extend(j, d, extra).holds(v); err != nil {
		return false, err
	}
	desc, err := t.catalog.describe(attr)
	if err != nil {
		return false, err
	}
	if !v.may(j, desc.typ.key, compare) {
		return false, t.denied(j, v)
	}
	f := &cond{kind: EqualityMatch, desc: desc, rule: desc.typ.equality}
	if f.rule == nil {
		return false, refuse(codeBadMatching, "inappropriate matching request")
	}
	if !t.catalog.assertion(f, value) {
		return false, refuse(codeBadSyntax, "value does not conform to assertion syntax")
	}
	present := false
	equal := v.each(desc, func(a attribute) bool {
		if !v.may(j, a.typ.key, compare) {
			return false
		}
		present = true
		return slices.ContainsFunc(a.values, func(b []byte) bool { return f.matches(t.catalog, string(b)) })
	})
	if !present {
		return false, refuse(codeNoAttribute, "%s: no such attribute", desc.text)
	}
	return equal, nil
}
