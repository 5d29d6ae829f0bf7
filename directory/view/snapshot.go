// Package view holds what the platform knows of the directory: a snapshot of every entry that mail, logins and certificates
// are about, with indexes, which never changes. A change makes the next snapshot and costs what it changes.
//
// Package feed brings the changes; package lookup asks a snapshot the questions that it would ask the directory otherwise,
// in the same form, a [Query]. An entry takes less than a kilobyte.
//
// Start reading at [Snapshot.Find].
package view

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/schema"
)

// A Query asks for the entries of an object class that hold one of some values. An empty class is any; no terms are all
// entries of the class.
type Query struct {
	Class string
	Any   []Term
}

// A Term is a value of an attribute. Names of entries are looked for under entryDN.
type Term struct{ Attr, Value string }

// isName has the attributes that are looked for by value, and whether the value is the name of an entry.
var isName = map[string]bool{
	schema.AttrEntryDN: true, schema.AttrMember: true, schema.AttrDpSendGrant: true,
	schema.AttrUid: false, schema.AttrMail: false, schema.AttrMailLocalAddress: false, schema.AttrDpSendAddress: false,
	schema.AttrAssociatedDomain: false, schema.AttrDpAdminRight: false,
	schema.AttrDpCertSHA256: false, schema.AttrDpCertSPKI: false, schema.AttrDpCertIssuerSerial: false,
	schema.AttrDpCertSubject: false, schema.AttrDpCertEmail: false,
}

// Name is a form of the name of an entry in which two spellings of it are equal.
func Name(dn string) string {
	if plain(dn) {
		return strings.ToLower(dn)
	}
	parsed, err := ldap.ParseDN(dn)
	if err != nil {
		return strings.ToLower(dn)
	}
	return strings.ToLower(parsed.String())
}

// plain reports whether a name has one spelling only but for the case of its letters, as nearly all have.
func plain(dn string) bool {
	before := byte(',')
	for i := range len(dn) {
		c := dn[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_', c == '@':
		case c == ' ' || c == '=' || c == ',':
			if before == ' ' || before == '=' || before == ',' { // blanks at an end do not count, and an empty part is another matter
				return false
			}
		default:
			return false
		}
		before = c
	}
	return before != ' ' && before != ',' && before != '='
}

// A Snapshot is the directory at one moment. The zero value is an empty one.
type Snapshot struct {
	ids, keys *node
	count     int
}

// seed keeps who chooses values from choosing where they lie.
var seed = maphash.MakeSeed()

// New returns a snapshot of some entries, which must have an entryUUID.
func New(entries ...*ldap.Entry) (Snapshot, error) {
	var s Snapshot
	for _, e := range entries {
		id, err := ParseID(e.GetEqualFoldAttributeValue(schema.AttrEntryUUID))
		if err != nil {
			return s, fmt.Errorf("entry %s: %w", e.DN, err)
		}
		s = s.with(pack(id, e), nil)
	}
	return s, nil
}

// Len is the number of entries.
func (s Snapshot) Len() int { return s.count }

// Find returns the entries that q asks for, each once, in no order. Only what has an index can be asked for.
func (s Snapshot) Find(_ context.Context, q Query) ([]*ldap.Entry, error) {
	var found []*record
	for _, t := range q.Any {
		names, ok := isName[t.Attr]
		if !ok {
			return nil, fmt.Errorf("view: attribute %s has no index", t.Attr)
		}
		s.keys.each(keyOf(t.Attr, t.Value, names), func(rec *record) bool {
			if !slices.Contains(found, rec) {
				found = append(found, rec)
			}
			return true
		})
	}
	if len(q.Any) == 0 {
		s.ids.all(func(rec *record) bool {
			found = append(found, rec)
			return true
		})
	}
	entries := make([]*ldap.Entry, 0, len(found))
	for _, rec := range found {
		e, err := rec.entry()
		if err != nil {
			return nil, fmt.Errorf("view: %w", err)
		}
		if q.matches(e) {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// matches looks at the entry itself: two keys may have the same hash.
func (q Query) matches(e *ldap.Entry) bool {
	if q.Class != "" && !slices.ContainsFunc(e.GetEqualFoldAttributeValues(schema.AttrObjectClass), func(c string) bool { return strings.EqualFold(c, q.Class) }) {
		return false
	}
	return len(q.Any) == 0 || slices.ContainsFunc(q.Any, func(t Term) bool {
		if t.Attr == schema.AttrEntryDN {
			return Name(e.DN) == Name(t.Value)
		}
		return slices.ContainsFunc(e.GetEqualFoldAttributeValues(t.Attr), func(v string) bool {
			return strings.EqualFold(v, t.Value) || isName[t.Attr] && Name(v) == Name(t.Value)
		})
	})
}

func keyOf(attr, value string, name bool) uint64 {
	if name {
		value = Name(value)
	} else {
		value = strings.ToLower(value)
	}
	return maphash.String(seed, attr+"\x00"+value)
}

func keyOfID(id ID) uint64 { return maphash.Bytes(seed, id[:]) }

// record returns the record of an entry, or nil.
func (s Snapshot) record(id ID) *record {
	var found *record
	s.ids.each(keyOfID(id), func(rec *record) bool {
		if rec.id == id {
			found = rec
		}
		return found == nil
	})
	return found
}

// with returns a snapshot that has rec, in place of the one of the same entry. What m made is changed in place.
func (s Snapshot) with(rec *record, m *maker) Snapshot {
	s = s.without(rec.id, m)
	keys, _ := rec.keys() // a damaged record, which only a bug makes, has none
	for _, key := range keys {
		s.keys = s.keys.put(key, rec, 0, m)
	}
	s.ids = s.ids.put(keyOfID(rec.id), rec, 0, m)
	s.count++
	return s
}

// without returns a snapshot that does not have the entry.
func (s Snapshot) without(id ID, m *maker) Snapshot {
	old := s.record(id)
	if old == nil {
		return s
	}
	keys, _ := old.keys()
	for _, key := range keys {
		s.keys = s.keys.drop(key, old, 0, m)
	}
	s.ids = s.ids.drop(keyOfID(id), old, 0, m)
	s.count--
	return s
}

// keys are the hashes that a record is found by, each once.
func (r *record) keys() ([]uint64, error) {
	e, err := r.entry()
	if err != nil {
		return nil, err
	}
	list := []uint64{keyOf(schema.AttrEntryDN, e.DN, true)}
	for _, a := range e.Attributes {
		if name, ok := isName[a.Name]; ok {
			for _, v := range a.Values {
				list = append(list, keyOf(a.Name, v, name))
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}
