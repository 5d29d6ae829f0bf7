package dit

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/google/uuid"

	"github.com/dirpost/dirpost/schema"
)

// changesBucket is the log of what happened to which entry, for consumers that come back with a cookie: the change
// number in eight octets, so that the order of keys is the order of changes, and the entry's number and identity. It is
// written with the change itself and keeps the newest [Options.MaxChanges].
var changesBucket = []byte("changes")

// A UUID is an entry's entryUUID, which stays its own whatever it is named.
type UUID = uuid.UUID

// A logged change is one line of the log.
type loggedChange struct {
	id   uint32 // of the entry; 0 = none, a line that only marks where the log begins
	uuid UUID
}

func changeKey(csn time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(csn.UnixMicro()))
}

func changeTime(key []byte) time.Time {
	return time.UnixMicro(int64(binary.BigEndian.Uint64(key))).UTC()
}

func (c loggedChange) encode() []byte {
	return append(binary.BigEndian.AppendUint32(nil, c.id), c.uuid[:]...)
}

func decodeChange(b []byte) (c loggedChange, ok bool) {
	if len(b) != 4+len(c.uuid) {
		return c, false
	}
	c.id = binary.BigEndian.Uint32(b)
	copy(c.uuid[:], b[4:])
	return c, true
}

// formatCSN is a change number as entries and cookies have it.
func formatCSN(csn time.Time) string {
	if csn.IsZero() {
		return ""
	}
	return csn.Format(csnTime) + csnServer
}

// uuidOf is the identity of a stored entry.
func (t *Tree) uuidOf(r *record) (id UUID) {
	if a := r.find(t.catalog.plain[schema.AttrEntryUUID]); a != nil && len(a.values) == 1 {
		if parsed, err := uuid.ParseBytes(a.values[0]); err == nil {
			return parsed
		}
	}
	return id
}

// happen numbers the edits, which are in order, and names their entries. The caller holds write.
func (t *Tree) happen(edits []edit) []event {
	events := make([]event, len(edits))
	for i, e := range edits {
		r := e.new
		if r == nil {
			r = e.old
		}
		events[i] = event{csn: t.nextCSN(), uuid: t.uuidOf(r)}
	}
	return events
}

// log writes what happened behind the rest and drops what is too old. The caller holds flush.
func (t *Tree) log(tx *bbolt.Tx, edits []edit, events []event) error {
	b := tx.Bucket(changesBucket)
	b.FillPercent = 1 // keys only grow
	for i, e := range edits {
		line := loggedChange{id: e.id(), uuid: events[i].uuid}
		if err := b.Put(changeKey(events[i].csn), line.encode()); err != nil {
			return err
		}
	}
	n := t.logged + len(edits)
	c := b.Cursor()
	for key, _ := c.First(); key != nil && n > t.opts.MaxChanges; key, _ = c.First() {
		if err := c.Delete(); err != nil {
			return err
		}
		n--
	}
	t.logged = n
	return nil
}

// forget empties the log but for a mark: who comes with an older cookie begins anew. The caller holds flush.
func (t *Tree) forget(tx *bbolt.Tx, csn time.Time) error {
	if err := tx.DeleteBucket(changesBucket); err != nil {
		return err
	}
	b, err := tx.CreateBucket(changesBucket)
	if err != nil {
		return err
	}
	t.logged = 1
	return b.Put(changeKey(csn), loggedChange{}.encode())
}

// openKey marks, with an empty value, a file that is open, or whose process was killed.
var openKey = []byte("open")

// openLog counts the log. It begins a new one in a file that has entries and none, and in one that was not closed: what a
// consumer saw last may not have become durable, so all begin anew.
func (t *Tree) openLog() error {
	return guard(func() error {
		return t.db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(changesBucket)
			key, _ := b.Cursor().Last()
			if key != nil && len(key) != 8 {
				return fmt.Errorf("%w: log of changes", ErrDamaged)
			}
			if key != nil && changeTime(key).After(t.last) {
				t.last = changeTime(key)
			}
			t.number = uint32(tx.Bucket(entriesBucket).Sequence())
			t.logged = b.Stats().KeyN
			state := tx.Bucket(stateBucket)
			killed := state.Get(openKey) != nil
			if err := state.Put(openKey, []byte{}); err != nil || t.last.IsZero() || key != nil && !killed {
				return err
			}
			return t.forget(tx, t.nextCSN())
		})
	})
}

// closeLog notes that all that anybody saw is durable.
func (t *Tree) closeLog() error {
	return guard(func() error {
		return t.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(stateBucket).Delete(openKey) })
	})
}

// since returns the changes after one that the log still has, the newest of each entry only and in the order of
// these. It returns false when the log does not have it, because it is too old or was made by another file.
func (t *Tree) since(csn time.Time) (changes []loggedChange, ok bool, err error) {
	err = guard(func() error {
		return t.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(changesBucket).Cursor()
			start := changeKey(csn)
			key, _ := c.Seek(start)
			if ok = string(key) == string(start); !ok {
				return nil
			}
			at := map[UUID]int{}
			for key, v := c.Next(); key != nil; key, v = c.Next() {
				line, good := decodeChange(v)
				if !good {
					return fmt.Errorf("%w: log of changes", ErrDamaged)
				}
				if old, seen := at[line.uuid]; seen {
					changes[old].id = 0
				}
				at[line.uuid] = len(changes)
				changes = append(changes, line)
			}
			return nil
		})
	})
	if err != nil {
		return nil, false, t.fault(err)
	}
	latest := changes[:0]
	for _, c := range changes {
		if c.id != 0 {
			latest = append(latest, c)
		}
	}
	return latest, ok, nil
}
