package dit

import (
	"slices"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/dirpost/dirpost/schema"
)

// neverGiven are the attributes that follow from the rest of the tree: given ones are dropped.
var neverGiven = append([]string{schema.AttrStructuralObjectClass}, computedNames...)

// given takes the attributes out that only the server writes, as an export of another directory has them.
func (t *Tree) given(j *judge, attrs []Attribute) (others []Attribute, given []change, err error) {
	if !j.root {
		return nil, nil, refuse(codeAccess, "only the local administrator may relax the rules")
	}
	for _, a := range attrs {
		d, err := t.catalog.describe(a.Name)
		switch {
		case err != nil:
			return nil, nil, err
		case slices.Contains(neverGiven, d.typ.Name()):
		case !d.typ.NoUserMod:
			others = append(others, a)
		default:
			c := change{op: ReplaceValues, desc: d, values: slices.Clone(a.Values)}
			if err := t.catalog.checkGiven(d, c.values); err != nil {
				return nil, nil, err
			}
			if d.typ.Single && len(c.values) > 1 {
				return nil, nil, refuse(codeConstraint, "attribute '%s' cannot have multiple values", d.text)
			}
			given = append(given, c)
		}
	}
	return others, given, nil
}

// checkGiven tests values as checkValues does. Who wrote an entry may have a name that is none here: that of a local user,
// or of another server's administrator.
func (c *catalog) checkGiven(d description, values [][]byte) error {
	if name := d.typ.Name(); name != schema.AttrCreatorsName && name != schema.AttrModifiersName {
		return c.checkValues(d, values)
	}
	for i, v := range values {
		if len(v) == 0 || len(v) > maxDN || !utf8.Valid(v) {
			return refuse(codeBadSyntax, "%s: value #%d invalid per syntax", d.text, i)
		}
	}
	return nil
}

// restore gives a new entry what was given, and the rest as usual, in the order in which it came. The caller holds write, or only tries.
func (t *Tree) restore(r *record, j *judge, came []Attribute, given []change) error {
	t.stamp(r, j)
	for _, c := range given {
		if c.desc.typ.Name() == schema.AttrEntryUUID {
			if err := t.freeUUID(c.values[0]); err != nil {
				return err
			}
		}
		if err := t.catalog.apply(r, c); err != nil {
			return err
		}
	}
	order := map[string]int{}
	for i, a := range came {
		if d, err := t.catalog.describe(a.Name); err == nil {
			order[d.text] = i - len(came) // what did not come is 0, behind all
		}
	}
	slices.SortStableFunc(r.attrs, func(a, b attribute) int { return order[a.text] - order[b.text] })
	return nil
}

// freeUUID tests that no entry has the identity.
func (t *Tree) freeUUID(value []byte) error {
	id, err := uuid.ParseBytes(value)
	if err != nil || len(value) != len(id.String()) {
		return refuse(codeBadSyntax, "entryUUID: no UUID")
	}
	typ := t.catalog.typ(schema.AttrEntryUUID)
	form, _ := typ.equality.norm(t.catalog, string(value))
	t.mu.RLock()
	defer t.mu.RUnlock()
	if len(t.index.entries(t.index.hash(typ, form))) > 0 {
		return refuse(codeConstraint, "entryUUID: another entry has it")
	}
	return nil
}
