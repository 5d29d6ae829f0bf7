package dit

import "context"

// Delete removes an entry that has no entries below it, and its name wherever other entries refer to it.
func (t *Tree) Delete(ctx context.Context, who Subject, name string, extra ...*Extra) error {
	j := t.judge(who)
	if j.restricted {
		return errMustChange
	}
	d, err := t.target(j, name, "deletion")
	if err != nil {
		return err
	}
	x := t.extend(j, d, extra)
	return t.change(ctx, j, nil, x.around(func() ([]edit, error) { return t.planDelete(j, d) }))
}

func (t *Tree) planDelete(j *judge, d dn) ([]edit, error) {
	v, err := t.entry(j, d)
	if err != nil {
		return nil, err
	}
	if !v.may(j, theEntry, remove) {
		return nil, t.denied(j, v)
	}
	if v.record.parent != 0 {
		up, err := t.view(v.record.parent)
		if err != nil {
			return nil, err
		}
		if up == nil || !up.may(j, theChildren, remove) {
			return nil, t.denied(j, v)
		}
	}
	t.mu.RLock()
	leaf := len(t.index.children[v.id]) == 0
	t.mu.RUnlock()
	if !leaf {
		return nil, refuse(codeNotLeaf, "subordinate objects must be deleted first")
	}
	refs := &references{tree: t, from: d, changed: map[uint32]*edit{v.id: {old: v.record}}}
	return refs.edits([]uint32{v.id})
}
