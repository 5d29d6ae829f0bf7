package dit

import (
	"context"
	"errors"
	"strings"
)

// Rename gives an entry another RDN, another place (newSuperior, "" = where it is), or both. What is below moves along,
// and names that other entries refer to follow. With deleteOld the values of the old RDN leave the entry.
func (t *Tree) Rename(ctx context.Context, who Subject, name, newRDN string, deleteOld bool, newSuperior string, extra ...*Extra) error {
	j := t.judge(who)
	if j.restricted {
		return errMustChange
	}
	d, err := t.target(j, name, "renaming")
	if err != nil {
		return err
	}
	to, err := t.catalog.parseDN(newRDN)
	if err != nil || len(to.rdns) != 1 {
		return refuse(codeBadDN, "invalid new RDN")
	}
	m := &move{tree: t, judge: j, from: d, rdn: to.rdns[0], deleteOld: deleteOld, above: d.parent()}
	if newSuperior != "" {
		if m.above, err = t.catalog.parseDN(newSuperior); err != nil {
			return err
		}
	}
	from, _ := t.context(d)
	if to, _ := t.context(m.above); len(d.rdns) == len(from.rdns) || to.norm != from.norm {
		return refuse(codeMultipleServer, "cannot rename between naming contexts")
	}
	x := t.extend(j, d, extra)
	return t.change(ctx, j, nil, x.around(m.plan), x.read)
}

// A move is one rename.
type move struct {
	tree      *Tree
	judge     *judge
	from      dn
	rdn       rdn
	deleteOld bool
	above     dn
}

func (m *move) plan() ([]edit, error) {
	t := m.tree
	v, err := t.entry(m.judge, m.from)
	if err != nil {
		return nil, err
	}
	up, err := m.access(v)
	if err != nil {
		return nil, err
	}
	if below(up.norm, v.norm) {
		return nil, refuse(codeUnwilling, "cannot place an entry below itself")
	}
	after := v.record.clone()
	after.parent, after.rdn = up.id, m.rdn.text
	added, err := m.rewrite(v, after)
	if err != nil {
		return nil, err
	}
	if err := t.judgeEntry(v.record, after, added); err != nil {
		return nil, err
	}
	to := joinDN(append([]rdn{m.rdn}, m.above.rdns...))
	if id, _ := t.find(to); id != 0 && id != v.id {
		return nil, refuse(codeEntryExists, "entry already exists")
	}
	return m.follow(v, after, m.rdn.text+","+up.text)
}

// access tests the rights on the entry and on both places, and returns the new place above it.
func (m *move) access(v *view) (*view, error) {
	t := m.tree
	if !v.may(m.judge, theEntry, add|remove) {
		return nil, t.denied(m.judge, v)
	}
	old, err := t.view(v.record.parent)
	if err != nil {
		return nil, err
	}
	if old == nil || !old.may(m.judge, theChildren, remove) {
		return nil, t.denied(m.judge, v)
	}
	up, err := t.entry(m.judge, m.above)
	if err != nil {
		var missing *Error
		if errors.As(err, &missing) {
			missing.Matched = "" // it would speak of the entry (RFC 4511 section 4.1.9), which is there
		}
		return nil, err
	}
	if !up.may(m.judge, theChildren, add) {
		return nil, t.denied(m.judge, up)
	}
	return up, nil
}

// rewrite puts the values of the new RDN into the entry, and takes those of the old one out if it is asked to. It
// returns what it has added, for the tests that all new values pass.
func (m *move) rewrite(v *view, after *record) ([]change, error) {
	t := m.tree
	if err := nameable(m.rdn); err != nil {
		return nil, err
	}
	if m.deleteOld {
		for _, a := range m.from.rdns[0].avas {
			d := t.catalog.plain[a.typ.Name()]
			if !v.may(m.judge, a.typ.key, remove) {
				return nil, t.denied(m.judge, v)
			}
			if t.catalog.hasValue(after, d, a.norm) {
				old := change{op: DeleteValues, desc: d, values: [][]byte{[]byte(a.value)}}
				if err := t.catalog.apply(after, old); err != nil {
					return nil, err
				}
			}
		}
	}
	var added []change
	for _, a := range m.rdn.avas {
		d := t.catalog.plain[a.typ.Name()]
		if !v.may(m.judge, a.typ.key, add) {
			return nil, t.denied(m.judge, v)
		}
		if t.catalog.hasValue(after, d, a.norm) {
			continue
		}
		c := change{op: AddValues, desc: d, values: [][]byte{[]byte(a.value)}}
		if err := t.catalog.apply(after, c); err != nil {
			return nil, err
		}
		added = append(added, c)
	}
	return added, nil
}

// follow adds to the edit of the entry those of the entries that refer to it or to one below it.
func (m *move) follow(v *view, after *record, text string) ([]edit, error) {
	t := m.tree
	t.mu.RLock()
	moved := t.index.walk(v.id, nil)
	tooLong := false
	for _, id := range moved {
		p, _ := t.index.place(id)
		name := strings.TrimSuffix(p.text, v.text) + text
		tooLong = tooLong || len(name) > maxDN || strings.Count(name, ",") >= maxRDNs
	}
	t.mu.RUnlock()
	if tooLong {
		return nil, refuse(codeAdminLimit, "a name below the entry would be too long")
	}
	refs := &references{tree: t, from: m.from, to: text, changed: map[uint32]*edit{v.id: {v.record, after}}}
	return refs.edits(moved)
}
