package dit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// ErrInUse says that another process has the directory file open: the server, usually, which then answers in its place.
var ErrInUse = errors.New("directory file is in use by another process")

// openWait is how long [Open] waits for another process to let go of the file.
const openWait = time.Second

// entriesBucket holds every entry: its number, in four octets so that the order of keys is the order of creation, and
// the encoded record.
var entriesBucket = []byte("entries")

func openFile(path string) (db *bbolt.DB, err error) {
	err = guard(func() error {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: openWait, FreelistType: bbolt.FreelistMapType})
		if err != nil {
			return err
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucketIfNotExists(entriesBucket)
			if err == nil {
				_, err = tx.CreateBucketIfNotExists(changesBucket)
			}
			return err
		})
		if err != nil {
			return err
		}
		return syncFolder(filepath.Dir(path))
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrInUse
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil && db != nil {
		db.Close()
	}
	return db, err
}

// syncFolder makes the name of a new file durable; bbolt takes care of its content only.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// guard runs f and turns a panic into an error: bbolt has no checksums on its pages and panics on what it finds in a
// damaged one, or faults on a file that was cut short.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return f()
}

func entryKey(id uint32) []byte { return binary.BigEndian.AppendUint32(nil, id) }

// forEach decodes every entry of the file, in the order of numbers.
func (t *Tree) forEach(f func(*record) error) error {
	return guard(func() error {
		return t.db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(entriesBucket).ForEach(func(k, v []byte) error {
				if len(k) != 4 {
					return ErrDamaged
				}
				id := binary.BigEndian.Uint32(k)
				r, err := decodeRecord(t.catalog, id, bytes.Clone(v))
				if err != nil {
					return fmt.Errorf("entry %d: %w", id, err)
				}
				return f(r)
			})
		})
	})
}

// read returns the encoded entries, nil for one that is gone, until maxBytes (0 = no bound) are read.
func (t *Tree) read(entries []placed, maxBytes int) ([][]byte, error) {
	raw := make([][]byte, 0, len(entries))
	err := guard(func() error {
		return t.db.View(func(tx *bbolt.Tx) error {
			b, size := tx.Bucket(entriesBucket), 0
			for _, e := range entries {
				if maxBytes > 0 && size > maxBytes {
					break
				}
				raw = append(raw, bytes.Clone(b.Get(entryKey(e.id))))
				size += len(raw[len(raw)-1])
			}
			return nil
		})
	})
	if err != nil {
		return nil, t.fault(err)
	}
	return raw, nil
}

// fault logs what the file said and returns what the client hears.
func (t *Tree) fault(err error) *Error {
	var refusal *Error
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return refuse(codeUnavailable, "directory is closed")
	}
	t.opts.Log.Error("directory file failed", "err", err)
	return refuse(codeOther, "directory file failed")
}

// An edit is one entry before and after a change; nil before it was added or after it was deleted.
type edit struct{ old, new *record }

// commit makes the edits durable, all or none, and then visible. The caller holds write.
func (t *Tree) commit(edits []edit) error {
	nodes := make([]node, len(edits))
	for i, e := range edits {
		if e.new == nil {
			continue
		}
		var err error
		if nodes[i], err = t.node(e.new); err != nil {
			return t.fault(err)
		}
	}
	events, logged := t.happen(edits), t.logged
	upheaval := t.upheaval(edits, nodes)
	err := guard(func() error {
		return t.db.Update(func(tx *bbolt.Tx) error {
			if err := t.store(tx.Bucket(entriesBucket), edits); err != nil {
				return err
			}
			if upheaval {
				return t.forget(tx)
			}
			return t.log(tx, edits, events)
		})
	})
	if err != nil {
		t.logged = logged
		refusal := t.fault(err)
		if refusal.Code == codeOther {
			t.reload()
			t.feed.restart(t.last)
		}
		return refusal
	}
	before := t.viewsOf(edits, func(e edit) *record { return e.old })
	t.publish(edits, nodes)
	if upheaval {
		t.feed.restart(t.last)
		return nil
	}
	after := t.viewsOf(edits, func(e edit) *record { return e.new })
	for i := range events {
		events[i].old, events[i].new = before[i], after[i]
		events[i].size = eventSize(edits[i])
	}
	t.feed.publish(events)
	return nil
}

// upheaval reports whether an entry gets another name that has entries below it: all their names change, and consumers
// have to begin anew.
func (t *Tree) upheaval(edits []edit, nodes []node) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i, e := range edits {
		if e.old != nil && e.new != nil && t.index.nodes[e.new.id] != nodes[i] && len(t.index.children[e.new.id]) > 0 {
			return true
		}
	}
	return false
}

// viewsOf returns the entries of one side of the edits where they are now.
func (t *Tree) viewsOf(edits []edit, side func(edit) *record) []*view {
	out := make([]*view, len(edits))
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i, e := range edits {
		if r := side(e); r != nil {
			if p, ok := t.index.place(r.id); ok {
				out[i] = &view{record: r, place: p, tree: t}
			}
		}
	}
	return out
}

// eventSize is about what an event takes in memory.
func eventSize(e edit) int {
	size := 0
	for _, r := range []*record{e.old, e.new} {
		if r == nil {
			continue
		}
		for _, a := range r.attrs {
			for _, v := range a.values {
				size += len(v) + 24
			}
		}
	}
	return size
}

// reload makes the index anew after a commit that failed: whether the disk has the change or not, memory has to agree
// with what the file says from now on.
func (t *Tree) reload() {
	x, err := t.load()
	if err != nil {
		t.opts.Log.Error("directory index could not be made anew", "err", err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.index = x
}

func (t *Tree) store(b *bbolt.Bucket, edits []edit) error {
	for _, e := range edits {
		if e.new == nil {
			if err := b.Delete(entryKey(e.old.id)); err != nil {
				return err
			}
			continue
		}
		if e.old == nil {
			n, err := b.NextSequence()
			if err != nil {
				return err
			}
			if n > 1<<32-1 {
				return refuse(codeAdminLimit, "no entry numbers left")
			}
			e.new.id = uint32(n)
		}
		raw := e.new.encode()
		if len(raw) > t.opts.MaxEntryBytes {
			return refuse(codeAdminLimit, "entry too large")
		}
		if err := b.Put(entryKey(e.new.id), raw); err != nil {
			return err
		}
	}
	return nil
}

// publish brings the index up to the file. Readers that come between see the old names with the new content.
func (t *Tree) publish(edits []edit, nodes []node) {
	type change struct{ gone, came []uint64 }
	changes := make([]change, len(edits))
	for i, e := range edits {
		changes[i].gone, changes[i].came = t.index.diff(t.catalog, e.old, e.new)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, e := range edits {
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
