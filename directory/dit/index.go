package dit

import (
	"bytes"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/dirpost/dirpost/schema"
)

// indexed are the attributes that equality finds without reading every entry. A subtype or an option makes no
// difference: all descriptions of the type are in.
var indexed = keySet(
	schema.AttrObjectClass, schema.AttrEntryUUID, schema.AttrUid, schema.AttrCn, schema.AttrSn, schema.AttrGivenName,
	schema.AttrMail, schema.AttrMailLocalAddress, schema.AttrDpSendAddress, schema.AttrDpSendGrant,
	schema.AttrAssociatedDomain, schema.AttrMember, schema.AttrRoleOccupant, schema.AttrOwner,
	schema.AttrDpFallbackRecipient, schema.AttrDpAdminScope, schema.AttrDpAdminRight, schema.AttrDpMailboxId,
	schema.AttrDpCertSHA256, schema.AttrDpCertSPKI, schema.AttrDpCertIssuerSerial, schema.AttrDpCertSubject,
	schema.AttrDpCertEmail, schema.AttrDpPublicListing,
)

// A node is what memory keeps of an entry: where it is. The rest is read from the file.
type node struct {
	parent uint32
	text   string // RDN as shown
	norm   string
}

type childKey struct {
	parent uint32
	norm   string
}

// An index is the tree of names and the equality indexes. Values are kept as 64-bit hashes under a secret seed: what is
// found is a candidate that the entry itself confirms. The caller synchronises.
type index struct {
	nodes    map[uint32]node
	byName   map[childKey]uint32
	children map[uint32][]uint32 // ascending; no key for leaves
	seed     maphash.Seed
	one      map[uint64]uint32   // the only entry with a value; 0 = see many
	many     map[uint64][]uint32 // ascending
}

func newIndex() *index {
	return &index{
		nodes:    map[uint32]node{},
		byName:   map[childKey]uint32{},
		children: map[uint32][]uint32{},
		seed:     maphash.MakeSeed(),
		one:      map[uint64]uint32{},
		many:     map[uint64][]uint32{},
	}
}

// hash is the key of a value in normal form.
func (x *index) hash(t *attrType, norm string) uint64 {
	var h maphash.Hash
	h.SetSeed(x.seed)
	h.WriteString(t.key)
	h.WriteByte(0)
	h.WriteString(norm)
	return h.Sum64()
}

// entries returns the numbers of entries that may have the value, ascending; not to be kept or changed.
func (x *index) entries(key uint64) []uint32 {
	id, ok := x.one[key]
	switch {
	case !ok:
		return nil
	case id == 0:
		return x.many[key]
	}
	return []uint32{id}
}

func (x *index) has(key uint64, id uint32) bool {
	_, ok := slices.BinarySearch(x.entries(key), id)
	return ok
}

func (x *index) addValue(key uint64, id uint32) {
	only, ok := x.one[key]
	switch {
	case !ok:
		x.one[key] = id
		return
	case only == id:
		return
	case only != 0:
		x.one[key] = 0
		x.many[key] = []uint32{only}
	}
	x.many[key] = insertID(x.many[key], id)
}

func (x *index) dropValue(key uint64, id uint32) {
	if only, ok := x.one[key]; !ok || only != 0 {
		if only == id {
			delete(x.one, key)
		}
		return
	}
	left := removeID(x.many[key], id)
	x.many[key] = left
	if len(left) == 0 {
		delete(x.many, key)
		delete(x.one, key)
	}
}

func insertID(ids []uint32, id uint32) []uint32 {
	at, ok := slices.BinarySearch(ids, id)
	if ok {
		return ids
	}
	return slices.Insert(ids, at, id)
}

func removeID(ids []uint32, id uint32) []uint32 {
	at, ok := slices.BinarySearch(ids, id)
	if !ok {
		return ids
	}
	return slices.Delete(ids, at, at+1)
}

// addName puts an entry, new or moved, in its place.
func (x *index) addName(id uint32, n node) {
	x.nodes[id] = n
	x.byName[childKey{n.parent, n.norm}] = id
	x.children[n.parent] = insertID(x.children[n.parent], id)
}

func (x *index) dropName(id uint32) {
	n := x.nodes[id]
	delete(x.nodes, id)
	delete(x.byName, childKey{n.parent, n.norm})
	left := removeID(x.children[n.parent], id)
	x.children[n.parent] = left
	if len(left) == 0 {
		delete(x.children, n.parent)
	}
}

// A place is where an entry is, in normal form and as shown.
type place struct {
	text  string
	norm  string
	above string // normal form of the name one level up
	base  string // normal form of the naming context
}

// place composes the name of an entry. The second result is false when the entry is gone, or when its name has more
// levels than any that was added, as in a file whose entries hang in a circle.
func (x *index) place(id uint32) (place, bool) {
	var p place
	for level := 0; level <= maxRDNs; level++ {
		n, ok := x.nodes[id]
		switch {
		case !ok:
			return place{}, false
		case level == 0:
			p.text, p.norm = n.text, n.norm
		default:
			p.text, p.norm = p.text+","+n.text, p.norm+","+n.norm
		}
		if level == 1 {
			p.above = n.norm
		} else if level > 1 {
			p.above += "," + n.norm
		}
		if n.parent == 0 {
			p.base = n.norm
			return p, true
		}
		id = n.parent
	}
	return place{}, false
}

// under reports whether entry id is base or below it.
func (x *index) under(id, base uint32) bool {
	for id != 0 {
		if id == base {
			return true
		}
		id = x.nodes[id].parent
	}
	return false
}

// walk appends the entry and all below it.
func (x *index) walk(id uint32, out []uint32) []uint32 {
	out = append(out, id)
	for _, child := range x.children[id] {
		out = x.walk(child, out)
	}
	return out
}

func keySet(names ...string) map[string]bool {
	set := map[string]bool{}
	for _, n := range names {
		set[strings.ToLower(n)] = true
	}
	return set
}

// keys returns the hashes of all indexed values of a record; the same one may come twice.
func (x *index) keys(c *catalog, r *record) []uint64 {
	var keys []uint64
	for _, a := range r.attrs {
		keys = x.appendKeys(keys, c, a.typ, a.values)
	}
	return keys
}

func (x *index) appendKeys(keys []uint64, c *catalog, t *attrType, values [][]byte) []uint64 {
	for _, under := range t.indexes {
		for _, v := range values {
			if form, ok := t.equality.norm(c, string(v)); ok {
				keys = append(keys, x.hash(under, form))
			}
		}
	}
	return keys
}

// diff returns the hashes that only the record before has, and those of values that are new in after.
func (x *index) diff(c *catalog, before, after *record) (gone, came []uint64) {
	gone, came = x.changed(c, before, after), x.changed(c, after, before)
	stays := map[uint64]bool{}
	for _, key := range came {
		stays[key] = true // written differently, or under another option
	}
	return slices.DeleteFunc(gone, func(key uint64) bool { return stays[key] }), came
}

// changed returns the hashes of r's values that other has not in the same words, so that a change in a group of
// thousands normalises few. Where an attribute occurs with options, equal values may stand in several places: then all
// count.
func (x *index) changed(c *catalog, r, other *record) []uint64 {
	if r == nil {
		return nil
	}
	if other == nil {
		return x.keys(c, r)
	}
	var keys []uint64
	for _, a := range r.attrs {
		values := a.values
		if b := other.find(a.description); b != nil && r.only(a.typ) && other.only(a.typ) {
			values = notIn(values, b.values)
		}
		keys = x.appendKeys(keys, c, a.typ, values)
	}
	return keys
}

// only reports whether the type, its subtypes and its supertypes occur in one description at most.
func (r *record) only(t *attrType) bool {
	n := 0
	for _, a := range r.attrs {
		if a.typ.isA(t) || t.isA(a.typ) {
			n++
		}
	}
	return n <= 1
}

// notIn returns the values that list has not, octet by octet.
func notIn(values, list [][]byte) [][]byte {
	if len(values) == len(list) && slices.EqualFunc(values, list, bytes.Equal) {
		return nil
	}
	have := map[string]bool{}
	for _, v := range list {
		have[string(v)] = true
	}
	return slices.DeleteFunc(slices.Clone(values), func(v []byte) bool { return have[string(v)] })
}
