package dit

import (
	"maps"
	"slices"
)

// references collects the entries that change because names in them do: referential integrity.
type references struct {
	tree    *Tree
	from    dn     // the entry that is moved, or deleted
	to      string // its new name, "" = none
	changed map[uint32]*edit
}

// edits returns the changes of all entries, in the order of their numbers. gone are the entries that lose their names:
// the one moved or deleted, and all below it.
func (r *references) edits(gone []uint32) ([]edit, error) {
	t := r.tree
	found := map[uint32]bool{}
	t.mu.RLock()
	for _, id := range gone {
		p, _ := t.index.place(id)
		for _, name := range refintAttrs {
			for _, ref := range t.index.entries(t.index.hash(t.catalog.typ(name), p.norm)) {
				found[ref] = true
			}
		}
	}
	t.mu.RUnlock()
	for id := range found {
		if err := r.rewrite(id); err != nil {
			return nil, err
		}
	}
	out := make([]edit, 0, len(r.changed))
	for _, id := range slices.Sorted(maps.Keys(r.changed)) {
		out = append(out, *r.changed[id])
	}
	return out, nil
}

// rewrite changes the names in one entry. An attribute that would be left without a value gets the name of nobody, as a
// group must have a member.
func (r *references) rewrite(id uint32) error {
	t := r.tree
	e := r.changed[id]
	if e == nil {
		v, err := t.view(id)
		if err != nil || v == nil {
			return err
		}
		e = &edit{v.record, v.record.clone()}
		r.changed[id] = e
	}
	if e.new == nil {
		return nil // deleted, and referred to itself
	}
	for i := range e.new.attrs {
		a := &e.new.attrs[i]
		if !slices.Contains(refintAttrs, a.typ.Name()) {
			continue
		}
		values, seen := make([][]byte, 0, len(a.values)), map[string]bool{}
		for _, v := range a.values {
			v = r.follow(v)
			form, _ := a.typ.equality.norm(t.catalog, string(v))
			if v != nil && !seen[form] { // a name that had no entry may be that of this one now
				seen[form] = true
				values = append(values, v)
			}
		}
		if suffix, _ := t.context(r.from); len(values) == 0 {
			values = texts(within(nobody, suffix.text))
		}
		a.values = values
	}
	return nil
}

// follow returns what becomes of a name, nil for nothing. The levels below the entry moved stay as they were written.
func (r *references) follow(name []byte) []byte {
	d, err := r.tree.catalog.parseDN(string(name))
	if err != nil || !below(d.norm, r.from.norm) {
		return name
	}
	if r.to == "" {
		return nil
	}
	to := r.to
	if deeper := d.rdns[:len(d.rdns)-len(r.from.rdns)]; len(deeper) > 0 {
		to = joinDN(deeper).text + "," + to
	}
	return []byte(to)
}
