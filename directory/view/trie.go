package view

import "math/bits"

// A node is part of a hash trie: a map from hashes to records that is never changed. Putting and removing give a new root
// that shares all but the path to the change, so that a snapshot stays what it is while later ones are made, and a change
// costs what it changes. A hash may have several records.
//
// Nodes that an unfinished edit made itself nobody else has seen: those it changes in place, which makes loading cheap.
type node struct {
	present uint32 // which of the 32 places are taken; slots has those, in their order
	slots   []slot
	maker   *maker
}

// A maker is who may change a node in place, until the node is given away. A nil one never is.
type maker struct{ _ byte } // not empty: two of them must differ

// A slot has a record, or what lies below it.
type slot struct {
	hash uint64
	rec  *record // nil: look below
	sub  *node   // with a record: the slots of further records that have this hash, in no order
}

// holders are the records of a slot that has some.
func (s *slot) holders() []*record {
	list := []*record{s.rec}
	if s.sub != nil {
		for i := range s.sub.slots {
			list = append(list, s.sub.slots[i].rec)
		}
	}
	return list
}

// leaf is a slot with records.
func leaf(hash uint64, holders []*record) slot {
	s := slot{hash: hash, rec: holders[0]}
	if len(holders) > 1 {
		s.sub = &node{slots: make([]slot, len(holders)-1)}
		for i, rec := range holders[1:] {
			s.sub.slots[i] = slot{hash: hash, rec: rec}
		}
	}
	return s
}

const fanBits = 5

func place(hash uint64, depth uint) (bit uint32) {
	return 1 << (hash >> (depth * fanBits) & (1<<fanBits - 1))
}

func (n *node) index(bit uint32) int { return bits.OnesCount32(n.present & (bit - 1)) }

// each calls f with every record under a hash until f returns false.
func (n *node) each(hash uint64, f func(*record) bool) {
	for depth := uint(0); n != nil; depth++ {
		bit := place(hash, depth)
		if n.present&bit == 0 {
			return
		}
		s := &n.slots[n.index(bit)]
		if s.rec == nil {
			n = s.sub
			continue
		}
		if s.hash != hash || !f(s.rec) || s.sub == nil {
			return
		}
		for i := range s.sub.slots {
			if !f(s.sub.slots[i].rec) {
				return
			}
		}
		return
	}
}

// all calls f with every record until f returns false.
func (n *node) all(f func(*record) bool) bool {
	if n == nil {
		return true
	}
	for i := range n.slots {
		s := &n.slots[i]
		if s.rec != nil && !f(s.rec) || !s.sub.all(f) {
			return false
		}
	}
	return true
}

// put returns a trie that has rec under hash too.
func (n *node) put(hash uint64, rec *record, depth uint, m *maker) *node {
	if n == nil {
		return &node{place(hash, depth), []slot{{hash: hash, rec: rec}}, m}
	}
	bit := place(hash, depth)
	i := n.index(bit)
	if n.present&bit == 0 {
		slots := make([]slot, len(n.slots)+1)
		copy(slots, n.slots[:i])
		slots[i] = slot{hash: hash, rec: rec}
		copy(slots[i+1:], n.slots[i:])
		return n.become(n.present|bit, slots, m)
	}
	s := n.slots[i]
	switch {
	case s.rec == nil:
		s.sub = s.sub.put(hash, rec, depth+1, m)
	case s.hash == hash:
		s = leaf(hash, append(s.holders(), rec))
	default:
		below := &node{place(s.hash, depth+1), []slot{s}, m}
		s = slot{sub: below.put(hash, rec, depth+1, m)}
	}
	return n.with(i, s, m)
}

// drop returns a trie without rec under hash: nil when nothing is left, n itself when it was not there.
func (n *node) drop(hash uint64, rec *record, depth uint, m *maker) *node {
	if n == nil {
		return nil
	}
	bit := place(hash, depth)
	if n.present&bit == 0 {
		return n
	}
	i := n.index(bit)
	s := n.slots[i]
	if s.rec == nil {
		sub := s.sub.drop(hash, rec, depth+1, m)
		switch {
		case sub == nil:
			return n.without(i, bit, m)
		case len(sub.slots) == 1 && sub.slots[0].rec != nil:
			return n.with(i, sub.slots[0], m) // one that is alone needs no path of its own
		case sub == s.sub:
			return n
		}
		return n.with(i, slot{sub: sub}, m)
	}
	if s.hash != hash {
		return n
	}
	holders := s.holders()
	kept := make([]*record, 0, len(holders))
	for _, h := range holders {
		if h != rec {
			kept = append(kept, h)
		}
	}
	switch len(kept) {
	case len(holders):
		return n
	case 0:
		return n.without(i, bit, m)
	}
	return n.with(i, leaf(hash, kept), m)
}

// become gives a node other slots: itself if m made it, else another one.
func (n *node) become(present uint32, slots []slot, m *maker) *node {
	if m != nil && n.maker == m {
		n.present, n.slots = present, slots
		return n
	}
	return &node{present, slots, m}
}

// with returns n with another slot i.
func (n *node) with(i int, s slot, m *maker) *node {
	if m != nil && n.maker == m {
		n.slots[i] = s
		return n
	}
	slots := make([]slot, len(n.slots))
	copy(slots, n.slots)
	slots[i] = s
	return &node{n.present, slots, m}
}

func (n *node) without(i int, bit uint32, m *maker) *node {
	if len(n.slots) == 1 {
		return nil
	}
	slots := make([]slot, 0, len(n.slots)-1)
	slots = append(append(slots, n.slots[:i]...), n.slots[i+1:]...)
	return n.become(n.present&^bit, slots, m)
}
