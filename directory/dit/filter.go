package dit

import (
	"slices"
	"strings"

	"github.com/dirpost/dirpost/schema"
)

// Limits of filters. The protocol server has narrower ones; these keep the recursion here bounded by itself.
const (
	maxFilterDepth = 100
	maxFilterNodes = 4096
)

// A truth is the value of a filter, RFC 4511 section 4.5.1.7.
type truth int

const (
	isFalse truth = iota
	isUndefined
	isTrue
)

// A cond is a filter made ready: attribute types resolved, assertions normalised.
type cond struct {
	kind      FilterKind
	subs      []*cond
	undefined bool // a leaf that no entry can satisfy or fail: unknown type, rule or bad assertion

	desc    description // zero type: ExtensibleMatch without one
	rule    *matchingRule
	value   string
	classes map[string]bool // objectClass: the class asserted and its subclasses
	initial string          // substrings; "" = none
	any     []string
	final   string
	dnAttrs bool
	members []uint32 // memberOf: what the planner found; nil = not looked up
}

// compile makes a filter ready; nil is (objectClass=*).
func (c *catalog) compile(f *Filter) (*cond, error) {
	if f == nil {
		f = &Filter{Kind: Present, Attr: schema.AttrObjectClass}
	}
	nodes := 0
	return c.compileNode(f, 0, &nodes)
}

func (c *catalog) compileNode(f *Filter, depth int, nodes *int) (*cond, error) {
	if *nodes++; depth > maxFilterDepth || *nodes > maxFilterNodes {
		return nil, refuse(codeAdminLimit, "filter too large")
	}
	out := &cond{kind: f.Kind}
	switch f.Kind {
	case And, Or, Not:
		if f.Kind == Not && len(f.Subs) != 1 {
			return nil, refuse(codeProtocol, "a negation has one filter")
		}
		for _, s := range f.Subs {
			sub, err := c.compileNode(s, depth+1, nodes)
			if err != nil {
				return nil, err
			}
			out.subs = append(out.subs, sub)
		}
		return out, nil
	case EqualityMatch, Substrings, GreaterOrEqual, LessOrEqual, Present, ApproxMatch, ExtensibleMatch:
		out.undefined = !c.compileLeaf(f, out)
		return out, nil
	}
	return nil, refuse(codeProtocol, "unknown kind of filter")
}

// compileLeaf fills in one leaf and reports whether it has a meaning.
func (c *catalog) compileLeaf(f *Filter, out *cond) bool {
	if f.Attr != "" {
		d, err := c.describe(f.Attr)
		if err != nil {
			return false
		}
		out.desc = d
	}
	t := out.desc.typ
	if f.Kind == ExtensibleMatch {
		return c.compileExtensible(f, out)
	}
	if t == nil {
		return false
	}
	switch f.Kind {
	case Present:
		return true
	case Substrings:
		return out.compilePieces(t.substr, f)
	case GreaterOrEqual, LessOrEqual:
		out.rule = t.ordering
	default: // approximate matching is equality, as RFC 4511 section 4.5.1.7.6 allows
		out.rule = t.equality
	}
	return c.assertion(out, f.Value)
}

func (c *catalog) compileExtensible(f *Filter, out *cond) bool {
	t := out.desc.typ
	out.dnAttrs = f.DNAttrs
	switch {
	case f.Rule != "":
		out.rule = ruleByName(f.Rule)
		if out.rule == nil || out.rule.piece != nil || out.rule.order != nil {
			return false
		}
		if t != nil && (t.equality == nil || t.equality.family != out.rule.family) {
			return false
		}
	case t != nil:
		out.rule = t.equality
	}
	return c.assertion(out, f.Value)
}

func (c *catalog) assertion(out *cond, value []byte) (ok bool) {
	if out.rule == nil {
		return false
	}
	if out.value, ok = out.rule.norm(c, string(value)); !ok {
		return false
	}
	if t := out.desc.typ; t != nil && classValued(t) {
		asserted := c.class(out.value)
		if asserted == nil {
			return false
		}
		out.classes = map[string]bool{}
		for _, cl := range c.classes {
			if cl.isA(asserted) {
				out.classes[cl.key] = true
			}
		}
	}
	return true
}

// classValued reports whether values of the type name classes, so that an entry matches by its superclasses too.
func classValued(t *attrType) bool {
	return t.Name() == schema.AttrObjectClass || t.Name() == schema.AttrStructuralObjectClass
}

func (out *cond) compilePieces(rule *matchingRule, f *Filter) bool {
	if rule == nil || f.Initial == nil && f.Any == nil && f.Final == nil {
		return false
	}
	out.rule = rule
	out.initial = strings.TrimLeft(rule.piece(string(f.Initial)), " ")
	out.final = strings.TrimRight(rule.piece(string(f.Final)), " ")
	for _, a := range f.Any {
		out.any = append(out.any, rule.piece(string(a)))
	}
	return true
}

// eval tests an entry for a subject: what he may not search in is Undefined, whatever its values are.
func (f *cond) eval(v *view, j *judge) truth {
	switch f.kind {
	case And:
		least := isTrue
		for _, s := range f.subs {
			if least = min(least, s.eval(v, j)); least == isFalse {
				break
			}
		}
		return least
	case Or:
		most := isFalse
		for _, s := range f.subs {
			if most = max(most, s.eval(v, j)); most == isTrue {
				break
			}
		}
		return most
	case Not:
		return isTrue - f.subs[0].eval(v, j)
	}
	if f.undefined {
		return isUndefined
	}
	return f.leaf(v, j)
}

func (f *cond) leaf(v *view, j *judge) truth {
	hidden := f.desc.typ != nil && !v.may(j, f.desc.typ.key, search)
	found := v.each(f.desc, func(a attribute) bool {
		if f.desc.typ == nil && (a.typ.equality == nil || a.typ.equality.family != f.rule.family) {
			return false
		}
		if !v.may(j, a.typ.key, search) {
			hidden = true
			return false
		}
		return f.kind == Present || slices.ContainsFunc(a.values, func(b []byte) bool { return f.matches(v.tree.catalog, string(b)) })
	})
	switch {
	case found || f.dnAttrs && f.inName(v):
		return isTrue
	case hidden:
		return isUndefined
	}
	return isFalse
}

func (f *cond) matches(c *catalog, value string) bool {
	form, ok := f.rule.norm(c, value)
	if !ok {
		return false
	}
	switch f.kind {
	case GreaterOrEqual:
		return f.rule.order(form, f.value) >= 0
	case LessOrEqual:
		return f.rule.order(form, f.value) <= 0
	case Substrings:
		return f.inPieces(form)
	}
	if f.classes != nil {
		return f.classes[form]
	}
	return form == f.value
}

func (f *cond) inPieces(form string) bool {
	rest, ok := strings.CutPrefix(form, f.initial)
	if !ok {
		return false
	}
	for _, a := range f.any {
		_, after, found := strings.Cut(rest, a)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, f.final)
}

// inName tests the values in the entry's name: who sees the entry sees them.
func (f *cond) inName(v *view) bool {
	d, err := v.tree.catalog.parseDN(v.text)
	if err != nil {
		return false
	}
	for _, r := range d.rdns {
		for _, a := range r.avas {
			if t := f.desc.typ; t == nil && (a.typ.equality == nil || a.typ.equality.family != f.rule.family) || t != nil && !a.typ.isA(t) {
				continue
			}
			if f.matches(v.tree.catalog, a.value) {
				return true
			}
		}
	}
	return false
}
