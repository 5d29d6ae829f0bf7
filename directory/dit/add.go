package dit

import (
	"context"
	"slices"
)

// Add adds an entry. Values of its RDN that the attributes lack are added to them.
func (t *Tree) Add(ctx context.Context, who Subject, e Entry, extra ...*Extra) error {
	j := t.judge(who)
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
	var given []change
	if x.Relax {
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
			err = t.restore(edits[0].new, j, given)
		}
		return edits, err
	}), x.read)
}

func (t *Tree) planAdd(j *judge, d dn, list []change) ([]edit, error) {
	r, p, err := t.newPlace(j, d)
	if err != nil {
		return nil, err
	}
	for i, c := range list {
		if slices.ContainsFunc(list[:i], func(b change) bool { return b.desc.text == c.desc.text }) {
			return nil, refuse(codeExists, "attribute '%s' provided more than once", c.desc.text)
		}
		if !j.may(p, c.desc.typ.key, add) {
			return nil, refuse(codeAccess, "insufficient access rights")
		}
		if err := c.mayStore(j, p); err != nil {
			return nil, err
		}
		r.put(attribute{c.desc, c.values})
	}
	if id, _ := t.find(d); id != 0 {
		return nil, refuse(codeEntryExists, "entry already exists")
	}
	if err := t.addRDN(j, p, r, d.rdns[0]); err != nil {
		return nil, err
	}
	_, structural, err := t.catalog.entryClasses(r)
	if err != nil {
		return nil, err
	}
	t.stampNew(r, structural, j)
	t.stampPassword(r, list)
	if err := t.judgeEntry(nil, r, list); err != nil {
		return nil, err
	}
	return []edit{{nil, r}}, nil
}

// newPlace tests that the subject may add an entry there, and returns the empty record and its place.
func (t *Tree) newPlace(j *judge, d dn) (*record, place, error) {
	suffix, _ := t.context(d)
	p := place{text: d.text, norm: d.norm, base: suffix.norm}
	r := &record{rdn: d.text}
	if len(d.rdns) > len(suffix.rdns) {
		up, err := t.entry(j, d.parent())
		if err != nil {
			return nil, p, err
		}
		if !up.may(j, theChildren, add) {
			return nil, p, t.denied(j, up)
		}
		p.text = d.rdns[0].text + "," + up.text
		p.above, r.parent, r.rdn = up.norm, up.id, d.rdns[0].text
	}
	if !j.may(p, theEntry, add) {
		return nil, p, refuse(codeAccess, "insufficient access rights")
	}
	return r, p, nil
}

// addRDN adds the values of an RDN that the entry at p does not have.
func (t *Tree) addRDN(j *judge, p place, r *record, name rdn) error {
	if err := nameable(name); err != nil {
		return err
	}
	for _, a := range name.avas {
		if !j.may(p, a.typ.key, add) {
			return refuse(codeAccess, "insufficient access rights")
		}
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
