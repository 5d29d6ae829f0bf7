package dit

import (
	"context"
	"slices"
)

// Add adds an entry. Values of its RDN that the attributes lack are added to them.
func (t *Tree) Add(ctx context.Context, who Subject, e Entry, extra ...*Extra) error {
	j := t.judge(who)
	if j.restricted {
		return errMustChange
	}
	d, err := t.catalog.parseDN(e.DN)
	if err != nil {
		return err
	}
	if t.special(d, nil) != nil {
		return refuse(codeEntryExists, "entry already exists")
	}
	if d, err = t.target(j, e.DN, "add"); err != nil {
		return err
	}
	x := t.extend(j, d, extra)
	came := e.Attributes
	var given []change
	if j.restores = x.Relax; x.Relax {
		if e.Attributes, given, err = t.given(j, e.Attributes); err != nil {
			return err
		}
	}
	changes := make([]Change, 0, len(e.Attributes))
	for _, a := range e.Attributes {
		changes = append(changes, Change{AddValues, a})
	}
	list, err := t.prepare(changes)
	if err != nil {
		return err
	}
	return t.change(ctx, j, list, x.aroundAdd(func() ([]edit, error) {
		edits, err := t.planAdd(j, d, list)
		if err == nil && x.Relax {
			err = t.restore(edits[0].new, j, came, given)
		}
		return edits, err
	}), x.read)
}

func (t *Tree) planAdd(j *judge, d dn, list []change) ([]edit, error) {
	v, err := t.newView(j, d)
	if err != nil {
		return nil, err
	}
	for i, c := range list {
		if slices.ContainsFunc(list[:i], func(b change) bool { return b.desc.text == c.desc.text }) {
			return nil, refuse(codeExists, "attribute '%s' provided more than once", c.desc.text)
		}
		v.record.put(attribute{c.desc, c.values})
	}
	if err := mayAdd(j, v, d.rdns[0], list); err != nil {
		return nil, err
	}
	if id, _ := t.find(d); id != 0 {
		return nil, refuse(codeEntryExists, "entry already exists")
	}
	if err := t.addRDN(v.record, d.rdns[0]); err != nil {
		return nil, err
	}
	_, structural, err := t.catalog.entryClasses(v.record)
	if err != nil {
		return nil, err
	}
	t.stampNew(v.record, structural, j)
	if err := t.judgeFirst(j, v, list); err != nil {
		return nil, err
	}
	if err := t.stampPassword(j, nil, v.record, list); err != nil {
		return nil, err
	}
	if err := t.judgeEntry(nil, v.record, list); err != nil {
		return nil, err
	}
	return []edit{{nil, v.record}}, nil
}

// newView tests that the subject may add an entry below the one above, and returns an empty entry in its place.
func (t *Tree) newView(j *judge, d dn) (*view, error) {
	suffix, _ := t.context(d)
	v := &view{record: &record{rdn: d.text, restored: j.restores}, place: place{text: d.text, norm: d.norm, base: suffix.norm}, tree: t}
	if len(d.rdns) > len(suffix.rdns) {
		up, err := t.entry(j, d.parent())
		if err != nil {
			return nil, err
		}
		if !up.may(j, theChildren, add) {
			return nil, t.denied(j, up)
		}
		v.place.text = d.rdns[0].text + "," + up.text
		v.above, v.record.parent, v.record.rdn = up.norm, up.id, d.rdns[0].text
	}
	return v, nil
}

// mayAdd tests the rights on a new entry with the content that it would have: on itself, on each attribute, and on those
// of its RDN.
func mayAdd(j *judge, v *view, name rdn, list []change) error {
	allowed := v.may(j, theEntry, add)
	for _, a := range name.avas {
		allowed = allowed && v.may(j, a.typ.key, add)
	}
	for _, c := range list {
		allowed = allowed && v.may(j, c.desc.typ.key, add)
	}
	if !allowed {
		return refuse(codeAccess, "insufficient access rights")
	}
	for _, c := range list {
		if err := c.mayStore(j, v.place); err != nil {
			return err
		}
	}
	return nil
}

// addRDN adds the values of an RDN that the entry does not have.
func (t *Tree) addRDN(r *record, name rdn) error {
	if err := nameable(name); err != nil {
		return err
	}
	for _, a := range name.avas {
		d := t.catalog.plain[a.typ.Name()]
		at := r.find(d)
		switch {
		case at == nil:
			r.put(attribute{d, [][]byte{[]byte(a.value)}})
		case t.catalog.hasValue(r, d, a.norm):
		case a.typ.Single:
			return refuse(codeNaming, "value of single-valued naming attribute '%s' conflicts with value present in entry", a.typ.Name())
		default:
			at.values = append(at.values, []byte(a.value))
		}
	}
	return nil
}

// judgeFirst tests the password that a new entry comes with.
func (t *Tree) judgeFirst(j *judge, v *view, list []change) error {
	set, err := newPassword(list)
	if err != nil || set == nil || set.hashed || v.may(j, passwordKey, manage) {
		return err
	}
	p, err := t.policyOf(v)
	if err != nil {
		return err
	}
	return p.judge(set)
}
