package dit

import (
	"context"
	"math/big"
	"slices"

	"github.com/dirpost/dirpost/schema"
)

// Limits of one change, and of the entry that it makes.
const (
	maxChanges    = 1000 // modifications, or attributes of a new entry
	maxAttributes = 1000 // descriptions in an entry
	maxPasswords  = 5    // values of userPassword: hashing them, and a wrong bind, costs each
)

// A change is a [Change] made ready: its attribute resolved, its values tested and our own copy.
type change struct {
	op     ChangeOp
	desc   description
	values [][]byte
	hashed bool // values are passwords that we have hashed ourselves
	plain  bool // values are passwords in clear, whatever they look like
	proved bool // the old password came along and was right
}

// Modify applies the changes to an entry in their order, all or none.
func (t *Tree) Modify(ctx context.Context, who Subject, name string, changes []Change, extra ...*Extra) error {
	j := t.judge(who)
	d, err := t.target(j, name, "modify")
	if err != nil {
		return err
	}
	list, err := t.prepare(changes)
	if err != nil {
		return err
	}
	if j.restricted && slices.ContainsFunc(list, func(c change) bool { return !c.touchesPassword() && !c.desc.typ.Operational() }) {
		return errMustChange
	}
	if err := t.prove(ctx, j, d, list); err != nil {
		return err
	}
	x := t.extend(j, d, extra)
	return t.change(ctx, j, list, x.around(func() ([]edit, error) { return t.planModify(j, d, list) }), x.read)
}

// target parses the name of an entry that is to be changed.
func (t *Tree) target(j *judge, name, verb string) (dn, error) {
	d, err := t.catalog.parseDN(name)
	if err != nil {
		return dn{}, err
	}
	if t.special(d, nil) != nil {
		return dn{}, refuse(codeUnwilling, "%s of this entry is not supported", verb)
	}
	if _, ok := t.context(d); !ok {
		return dn{}, refuse(codeUnwilling, "no global superior knowledge")
	}
	if !j.named {
		return dn{}, refuse(codeStrongerAuth, "modifications require authentication")
	}
	return d, nil
}

// change makes the plan and commits it, with nobody else changing anything in between, and calls then before anybody else
// can. Clear passwords in list are hashed first, outside of the lock and only if the plan would succeed: hashing costs more than all the rest.
func (t *Tree) change(ctx context.Context, j *judge, list []change, plan func() ([]edit, error), then ...func([]edit)) error {
	if slices.ContainsFunc(list, func(c change) bool { return len(c.values) > 0 && c.clear(0) }) {
		if _, err := plan(); err != nil {
			return err
		}
		if err := t.hashAll(ctx, list); err != nil {
			return err
		}
	}
	return t.update(func() ([]edit, error) {
		edits, err := plan()
		for _, e := range edits {
			if e.new != nil && !e.new.restored {
				t.stamp(e.new, j)
			}
		}
		return edits, err
	}, then...)
}

// clear reports whether value n is a password that is not hashed.
func (c change) clear(n int) bool {
	return c.desc.typ.Name() == schema.AttrUserPassword && !c.hashed && (c.op == AddValues || c.op == ReplaceValues) &&
		(c.plain || !hasScheme(string(c.values[n])))
}

// hashAll hashes the clear passwords. Other stored forms stay: the plan has found that the subject may store them.
func (t *Tree) hashAll(ctx context.Context, list []change) error {
	for i := range list {
		for n, v := range list[i].values {
			if !list[i].clear(n) {
				continue
			}
			hash, err := t.hash(ctx, v)
			if err != nil {
				return err
			}
			list[i].values[n] = hash
		}
		list[i].hashed = true
	}
	return nil
}

func (t *Tree) prepare(changes []Change) ([]change, error) {
	if len(changes) > maxChanges {
		return nil, refuse(codeAdminLimit, "more than %d changes", maxChanges)
	}
	list := make([]change, 0, len(changes))
	for _, c := range changes {
		d, err := t.catalog.describe(c.Attribute.Name)
		if err != nil {
			return nil, err
		}
		p := change{op: c.Op, desc: d, values: slices.Clone(c.Attribute.Values)}
		if d.typ.NoUserMod {
			return nil, refuse(codeConstraint, "%s: no user modification allowed", d.text)
		}
		switch {
		case p.op < AddValues || p.op > IncrementValues:
			return nil, refuse(codeProtocol, "unknown kind of modification")
		case p.op == AddValues && len(p.values) == 0:
			return nil, refuse(codeProtocol, "modify/add: %s: no values", d.text)
		case p.op == IncrementValues && len(p.values) != 1:
			return nil, refuse(codeProtocol, "modify/increment: %s: wants one value", d.text)
		case p.op == IncrementValues && d.typ.syntax.oid != syntaxInteger:
			return nil, refuse(codeConstraint, "%s: attribute syntax inappropriate for increment", d.text)
		}
		if err := t.catalog.checkValues(d, p.values); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// planModify works out the entry as it will be: access first, then the schema, then the rest of the directory.
func (t *Tree) planModify(j *judge, d dn, list []change) ([]edit, error) {
	v, err := t.entry(j, d)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if !v.may(j, c.desc.typ.key, c.needs()) {
			return nil, t.denied(j, v)
		}
		if err := c.mayStore(j, v.place); err != nil {
			return nil, err
		}
	}
	after := v.record.clone()
	for _, c := range list {
		if err := t.catalog.apply(after, c); err != nil {
			return nil, err
		}
	}
	if err := t.stampPassword(j, v, after, list); err != nil {
		return nil, err
	}
	if err := t.judgeEntry(v.record, after, list); err != nil {
		return nil, err
	}
	return []edit{{v.record, after}}, nil
}

func (c change) needs() rights {
	switch {
	case c.op == AddValues:
		return add
	case c.op == DeleteValues || c.op == ReplaceValues && len(c.values) == 0:
		return remove
	}
	return add | remove
}

// mayStore lets only administrators choose the stored form of a password: a user could take one that costs the server
// hours, or that everybody can guess.
func (c change) mayStore(j *judge, p place) error {
	if c.desc.typ.Name() != schema.AttrUserPassword || c.op != AddValues && c.op != ReplaceValues {
		return nil
	}
	for _, v := range c.values {
		if c.plain && !c.hashed || !hasScheme(string(v)) {
			if len(v) == 0 || len(v) > MaxPassword {
				return refuse(codeConstraint, "userPassword: length not between 1 and %d", MaxPassword)
			}
			continue
		}
		if !c.hashed && !j.root && !j.is(admins, p) {
			return refuse(codeConstraint, "userPassword: the password must be sent in clear, to be hashed here")
		}
		if _, err := parseStored(string(v)); err != nil {
			return refuse(codeConstraint, "userPassword: %s", err)
		}
	}
	return nil
}

// judgeEntry tests the entry after a change, nil before it was added, against schema, constraints and other entries.
func (t *Tree) judgeEntry(before, after *record, list []change) error {
	passwords := 0
	for _, a := range after.attrs {
		if a.typ.Name() == schema.AttrUserPassword {
			passwords += len(a.values)
		}
	}
	if len(after.attrs) > maxAttributes || passwords > maxPasswords {
		return refuse(codeAdminLimit, "too many attributes or passwords in one entry")
	}
	if err := t.catalog.check(before, after); err != nil {
		return err
	}
	for _, c := range list {
		if c.op == DeleteValues || c.op == IncrementValues {
			continue
		}
		if err := constrain(c.desc, c.values); err != nil {
			return err
		}
	}
	if err := t.checkMembers(before, after); err != nil {
		return err
	}
	return t.checkUnique(before, after)
}

// apply makes one change to a record that is the caller's own.
func (c *catalog) apply(r *record, ch change) error {
	at := slices.IndexFunc(r.attrs, func(a attribute) bool { return a.text == ch.desc.text })
	switch {
	case ch.op == ReplaceValues && at < 0:
		r.put(attribute{ch.desc, ch.values})
	case ch.op == ReplaceValues:
		r.attrs = slices.Delete(r.attrs, at, at+1)
		r.put(attribute{ch.desc, ch.values}) // behind all others, where slapd puts it
	case ch.op == AddValues && at < 0:
		r.put(attribute{ch.desc, ch.values})
	case ch.op == AddValues:
		return c.addValues(&r.attrs[at], ch.values)
	case at < 0:
		return refuse(codeNoAttribute, "%s: no such attribute", ch.desc.text)
	case ch.op == IncrementValues:
		return increment(&r.attrs[at], ch.values[0])
	case len(ch.values) == 0:
		r.attrs = slices.Delete(r.attrs, at, at+1)
	default:
		if err := c.deleteValues(&r.attrs[at], ch.values); err != nil {
			return err
		}
		r.tidy()
	}
	return nil
}

// put appends an attribute with values of its own, unless it has none.
func (r *record) put(a attribute) {
	a.values = slices.Clone(a.values)
	r.attrs = append(r.attrs, a)
	r.tidy()
}

// tidy drops attributes without values: there is no such thing.
func (r *record) tidy() {
	r.attrs = slices.DeleteFunc(r.attrs, func(a attribute) bool { return len(a.values) == 0 })
}

func (c *catalog) addValues(a *attribute, values [][]byte) error {
	if a.typ.equality == nil {
		return refuse(codeBadMatching, "modify/add: %s: no equality matching rule", a.text)
	}
	have := c.forms(a)
	for i, v := range values {
		form, _ := a.typ.equality.norm(c, string(v))
		if have[form] {
			return refuse(codeExists, "modify/add: %s: value #%d already exists", a.text, i)
		}
	}
	a.values = append(a.values, values...)
	return nil
}

func (c *catalog) deleteValues(a *attribute, values [][]byte) error {
	if a.typ.equality == nil {
		return refuse(codeBadMatching, "modify/delete: %s: no equality matching rule", a.text)
	}
	have, gone := c.forms(a), map[string]bool{}
	for _, v := range values {
		form, _ := a.typ.equality.norm(c, string(v))
		if !have[form] {
			return refuse(codeNoAttribute, "modify/delete: %s: no such value", a.text)
		}
		gone[form] = true
	}
	a.values = slices.DeleteFunc(a.values, func(v []byte) bool {
		form, _ := a.typ.equality.norm(c, string(v))
		return gone[form]
	})
	return nil
}

// forms returns the normal forms of the values.
func (c *catalog) forms(a *attribute) map[string]bool {
	have := make(map[string]bool, len(a.values))
	for _, v := range a.values {
		form, _ := a.typ.equality.norm(c, string(v))
		have[form] = true
	}
	return have
}

// increment adds a number to every value (RFC 4525).
func increment(a *attribute, by []byte) error {
	n, _ := new(big.Int).SetString(string(by), 10)
	for i, v := range a.values {
		old, ok := new(big.Int).SetString(string(v), 10)
		if !ok {
			return refuse(codeConstraint, "%s: value #%d is no number", a.text, i)
		}
		sum := old.Add(old, n).String()
		if !integer(sum) {
			return refuse(codeConstraint, "%s: number too large", a.text)
		}
		a.values[i] = []byte(sum)
	}
	return nil
}
