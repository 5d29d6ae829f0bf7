package dit

// An Extra is what controls ask of one operation besides itself. It belongs to that operation.
type Extra struct {
	Assert *Filter  // what the entry must be like, else result 122 and nothing happens (RFC 4528)
	Before *Reading // the entry as it was (RFC 4527), of an operation that has one
	After  *Reading // the entry as it has become

	// Relax lets the local administrator add an entry with the values that the server would write itself, as an import
	// has them; others may not.
	Relax bool
}

// A Reading is an entry that is read together with a change, as nobody else could change it in between.
type Reading struct {
	Attributes []string // as in [SearchRequest]
	Entry      *Entry   // the answer; nil when the subject may not read the entry
}

// An extended operation looks at its entry before and after the change.
type extended struct {
	Extra
	tree  *Tree
	judge *judge
	name  dn
	id    uint32 // 0 = is added
}

// extend prepares an operation on the entry with the name.
func (t *Tree) extend(j *judge, d dn, extra []*Extra) *extended {
	x := &extended{tree: t, judge: j, name: d}
	for _, e := range extra {
		if e != nil {
			x.Extra = *e
		}
	}
	return x
}

// around puts the tests before the plan, or behind it for an entry that is added.
func (x *extended) around(plan func() ([]edit, error)) func() ([]edit, error) {
	if x.Assert == nil && x.Before == nil && x.After == nil {
		return plan
	}
	return func() ([]edit, error) {
		v, err := x.tree.entry(x.judge, x.name)
		if err != nil {
			return nil, err
		}
		if err := x.holds(v); err != nil {
			return nil, err
		}
		edits, err := plan()
		if err == nil {
			x.id = v.id
			x.Before.read(v, x.judge)
		}
		return edits, err
	}
}

// aroundAdd is around for an entry that is not there yet.
func (x *extended) aroundAdd(plan func() ([]edit, error)) func() ([]edit, error) {
	if x.Assert == nil {
		return plan
	}
	return func() ([]edit, error) {
		edits, err := plan()
		if err != nil {
			return nil, err
		}
		suffix, _ := x.tree.context(x.name)
		p := place{text: x.name.text, norm: x.name.norm, above: x.name.parent().norm, base: suffix.norm}
		return edits, x.holds(&view{record: edits[0].new, place: p, tree: x.tree})
	}
}

// holds tests the assertion.
func (x *extended) holds(v *view) error {
	if x.Assert == nil {
		return nil
	}
	f, err := x.tree.catalog.compile(x.Assert)
	if err != nil {
		return err
	}
	if f.eval(v, x.judge) != isTrue {
		return refuse(codeAssertionFailed, "the entry is not what was asserted")
	}
	return nil
}

// read is called when the change is in memory, by who still holds write.
func (x *extended) read(edits []edit) {
	if x.After == nil {
		return
	}
	after := x.tree.viewsOf(edits, func(e edit) *record { return e.new })
	for i, e := range edits {
		if after[i] != nil && (e.id() == x.id || x.id == 0 && e.old == nil) {
			x.After.read(after[i], x.judge)
		}
	}
}

func (r *Reading) read(v *view, j *judge) {
	if r != nil && v.may(j, theEntry, read) {
		r.Entry = v.answer(j, v.tree.catalog.selectAttrs(r.Attributes), false)
	}
}
