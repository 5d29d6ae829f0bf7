package dit

import (
	"math"

	"go.etcd.io/bbolt"
)

// An edit is one entry before and after a change; nil before it was added or after it was deleted.
type edit struct{ old, new *record }

// A batch is the changes that become durable together: while one is written, the next gathers, so that writers who come
// together share one sync of the file. A change is in memory, for searches and for the checks of the next, as soon as it
// is in a batch; who made it is told, and consumers are, when it is durable.
type batch struct {
	edits  []edit
	raw    [][]byte // of the new entries
	events []event
	fresh  bool // entries with others below have new names: see upheaval

	done bool // guarded by [Tree.flush], with err
	err  error
}

// An unsaved entry is one that is not yet in the file as it is in memory.
type unsaved struct {
	raw   []byte // nil = deleted
	batch *batch
}

// update makes a plan and carries it out, with nobody else changing anything in between, and returns when it is durable.
// It calls then when the change is in memory.
func (t *Tree) update(plan func() ([]edit, error), then ...func([]edit)) error {
	t.write.Lock()
	edits, err := plan()
	if err != nil || len(edits) == 0 {
		t.write.Unlock()
		return err
	}
	b, err := t.apply(edits)
	for _, f := range then {
		if err == nil {
			f(edits)
		}
	}
	t.write.Unlock()
	if err != nil {
		return err
	}
	return t.settle(b)
}

// commit carries out edits, all or none.
func (t *Tree) commit(edits []edit) error {
	return t.update(func() ([]edit, error) { return edits, nil })
}

// apply makes the edits visible and puts them in the batch that gathers. The caller holds write.
func (t *Tree) apply(edits []edit) (*batch, error) {
	nodes, raw, err := t.encode(edits)
	if err != nil {
		return nil, err
	}
	b := t.batch
	if b == nil {
		b = &batch{}
		t.batch = b
	}
	events := t.happen(edits)
	b.fresh = b.fresh || t.upheaval(edits, nodes)
	before := t.viewsOf(edits, func(e edit) *record { return e.old })
	t.publish(edits, nodes, raw, b)
	after := t.viewsOf(edits, func(e edit) *record { return e.new })
	for i := range events {
		events[i].old, events[i].new, events[i].size = before[i], after[i], eventSize(edits[i])
	}
	b.edits, b.raw, b.events = append(b.edits, edits...), append(b.raw, raw...), append(b.events, events...)
	return b, nil
}

// encode numbers new entries and makes what the index and the file hold of them.
func (t *Tree) encode(edits []edit) (nodes []node, raw [][]byte, err error) {
	nodes, raw = make([]node, len(edits)), make([][]byte, len(edits))
	number := t.number
	for i, e := range edits {
		if e.new == nil {
			continue
		}
		if e.old == nil {
			if number == math.MaxUint32 {
				return nil, nil, refuse(codeAdminLimit, "no entry numbers left")
			}
			number++
			e.new.id = number
		}
		if nodes[i], err = t.node(e.new); err != nil {
			return nil, nil, t.fault(err)
		}
		if raw[i] = e.new.encode(); len(raw[i]) > t.opts.MaxEntryBytes {
			return nil, nil, refuse(codeAdminLimit, "entry too large")
		}
	}
	t.number = number
	return nodes, raw, nil
}

// settle returns when the batch is durable: the first who waits writes for all.
func (t *Tree) settle(b *batch) error {
	t.flush.Lock()
	defer t.flush.Unlock()
	if !b.done {
		t.save()
	}
	return b.err
}

// save writes the batch that gathers. The caller holds flush, and not write.
func (t *Tree) save() {
	t.write.Lock()
	b := t.batch
	t.batch = nil
	t.write.Unlock()
	if b == nil {
		return
	}
	logged := t.logged
	err := guard(func() error {
		return t.db.Update(func(tx *bbolt.Tx) error {
			if err := b.store(tx.Bucket(entriesBucket)); err != nil {
				return err
			}
			if b.fresh {
				return t.forget(tx, b.events[len(b.events)-1].csn)
			}
			return t.log(tx, b.edits, b.events)
		})
	})
	if err != nil {
		t.logged = logged
		t.undo(b, err)
		return
	}
	b.done = true
	t.mu.Lock()
	for _, e := range b.edits {
		id := e.id()
		if t.unsaved[id].batch == b {
			delete(t.unsaved, id)
		}
	}
	t.mu.Unlock()
	if b.fresh {
		t.feed.restart(b.events[len(b.events)-1].csn)
	} else {
		t.feed.publish(b.events)
	}
}

func (e edit) id() uint32 {
	if e.new != nil {
		return e.new.id
	}
	return e.old.id
}

// store writes the entries. What a later edit of the batch changes again is written once.
func (b *batch) store(bucket *bbolt.Bucket) error {
	last := make(map[uint32]int, len(b.edits))
	for i, e := range b.edits {
		last[e.id()] = i
	}
	bucket.FillPercent = 0.9 // numbers only grow, and entries change little in size
	highest := bucket.Sequence()
	for i, e := range b.edits {
		id := e.id()
		highest = max(highest, uint64(id))
		if last[id] != i {
			continue
		}
		if e.new == nil {
			if err := bucket.Delete(entryKey(id)); err != nil {
				return err
			}
			continue
		}
		if err := bucket.Put(entryKey(id), b.raw[i]); err != nil {
			return err
		}
	}
	return bucket.SetSequence(highest)
}

// undo ends a batch that could not be written, and the one that has gathered on top of it: whether the disk has the
// change or not, memory has to agree with what the file says from now on.
func (t *Tree) undo(b *batch, err error) {
	refusal := t.fault(err)
	t.write.Lock()
	defer t.write.Unlock()
	for _, failed := range []*batch{b, t.batch} {
		if failed != nil {
			failed.done, failed.err = true, refusal
		}
	}
	t.batch = nil
	if refusal.Code == codeUnavailable {
		return
	}
	t.reload()
	t.feed.restart(t.feed.csn)
}

// reload makes the index anew.
func (t *Tree) reload() {
	x, err := t.load()
	if err != nil {
		t.opts.Log.Error("directory index could not be made anew", "err", err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.index = x
	clear(t.unsaved)
}

// publish brings the index up to the edits. Readers that come between see the old names with the new content.
func (t *Tree) publish(edits []edit, nodes []node, raw [][]byte, b *batch) {
	type change struct{ gone, came []uint64 }
	changes := make([]change, len(edits))
	for i, e := range edits {
		changes[i].gone, changes[i].came = t.index.diff(t.catalog, e.old, e.new)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, e := range edits {
		t.unsaved[e.id()] = unsaved{raw[i], b}
		if e.old != nil {
			for _, key := range changes[i].gone {
				t.index.dropValue(key, e.old.id)
			}
		}
		if e.new != nil {
			for _, key := range changes[i].came {
				t.index.addValue(key, e.new.id)
			}
		}
		switch {
		case e.new == nil:
			t.index.dropName(e.old.id)
		case e.old == nil:
			t.index.addName(e.new.id, nodes[i])
		case t.index.nodes[e.new.id] != nodes[i]:
			t.index.dropName(e.old.id)
			t.index.addName(e.new.id, nodes[i])
		}
	}
}
