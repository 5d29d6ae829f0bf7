package dit

import (
	"math"
	"slices"

	"github.com/dirpost/dirpost/schema"
)

// maxMemberLookups bounds how many groups one filter makes the planner read.
const maxMemberLookups = 8

// estimate returns how many entries the indexes leave for the filter, or false when they do not tell. The caller holds
// mu.
func (t *Tree) estimate(f *cond) (n int, narrow bool) {
	switch f.kind {
	case And:
		n = math.MaxInt
		for _, s := range f.subs {
			if sub, ok := t.estimate(s); ok && sub < n {
				n, narrow = sub, true
			}
		}
		return n, narrow
	case Or:
		for _, s := range f.subs {
			sub, ok := t.estimate(s)
			if !ok {
				return 0, false
			}
			n += sub
		}
		return n, true
	}
	lists, narrow := t.postings(f)
	for _, l := range lists {
		n += len(l)
	}
	return n, narrow
}

// gather appends the entries that estimate has counted, in any order and perhaps twice. The caller holds mu.
func (t *Tree) gather(f *cond, out []uint32) []uint32 {
	switch f.kind {
	case And:
		best, least := f, math.MaxInt
		for _, s := range f.subs {
			if n, ok := t.estimate(s); ok && n < least {
				best, least = s, n
			}
		}
		return t.gather(best, out)
	case Or:
		for _, s := range f.subs {
			out = t.gather(s, out)
		}
		return out
	}
	lists, _ := t.postings(f)
	return append(out, slices.Concat(lists...)...)
}

// postings returns what the indexes hold for one leaf; the lists are not to be changed.
func (t *Tree) postings(f *cond) (lists [][]uint32, narrow bool) {
	switch {
	case f.kind == Not:
		return nil, false
	case f.undefined:
		return nil, true
	case f.kind != EqualityMatch && f.kind != ApproxMatch:
		return nil, false
	case f.members != nil:
		return [][]uint32{f.members}, true
	}
	typ := f.desc.typ
	switch {
	case typ.Name() == schema.AttrEntryDN:
		if d, err := t.catalog.parseDN(f.value); err == nil {
			if id, _ := t.lookup(d); id != 0 {
				lists = [][]uint32{{id}}
			}
		}
		return lists, true
	case !slices.Contains(typ.indexes, typ):
		return nil, false
	case f.classes != nil:
		for class := range f.classes {
			lists = append(lists, t.index.entries(t.index.hash(typ, class)))
		}
		return lists, true
	}
	return [][]uint32{t.index.entries(t.index.hash(typ, f.value))}, true
}

// resolveMembers finds the members of the groups that a filter names in memberOf, which is not stored in the members. It
// reads no group for those who may not: for them little is to be searched anyway.
func (t *Tree) resolveMembers(j *judge, f *cond) {
	left := maxMemberLookups
	t.resolve(j, f, &left)
}

func (t *Tree) resolve(j *judge, f *cond, left *int) {
	for _, s := range f.subs {
		t.resolve(j, s, left)
	}
	leaf := !f.undefined && (f.kind == EqualityMatch || f.kind == ApproxMatch)
	if !leaf || f.desc.typ.Name() != schema.AttrMemberOf || *left == 0 {
		return
	}
	*left--
	d, err := t.catalog.parseDN(f.value)
	if err != nil {
		return
	}
	group, _ := t.find(d)
	member := t.catalog.plain[schema.AttrMember]
	v, err := t.view(group)
	if err != nil || v == nil || !v.may(j, member.typ.key, search) {
		return
	}
	f.members = []uint32{}
	v.each(member, func(a attribute) bool {
		for _, name := range a.values {
			if d, err := t.catalog.parseDN(string(name)); err == nil {
				if id, _ := t.find(d); id != 0 {
					f.members = append(f.members, id)
				}
			}
		}
		return false
	})
}
