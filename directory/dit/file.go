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

// stateBucket holds what there is one of.
var stateBucket = []byte("state")

func openFile(path string) (db *bbolt.DB, err error) {
	err = guard(func() error {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: openWait, FreelistType: bbolt.FreelistMapType})
		if err != nil {
			return err
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			for _, name := range [][]byte{entriesBucket, changesBucket, stateBucket} {
				if _, err := tx.CreateBucketIfNotExists(name); err != nil {
					return err
				}
			}
			return nil
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
	fresh := t.unsavedOf(entries) // before the file: what is not in it any more is saved by then
	err := guard(func() error {
		return t.db.View(func(tx *bbolt.Tx) error {
			b, size := tx.Bucket(entriesBucket), 0
			for _, e := range entries {
				if maxBytes > 0 && size > maxBytes {
					break
				}
				if u, ok := fresh[e.id]; ok {
					raw = append(raw, u.raw)
				} else {
					raw = append(raw, bytes.Clone(b.Get(entryKey(e.id))))
				}
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

// unsavedOf returns those of the entries that the file does not have as they are; nil for none.
func (t *Tree) unsavedOf(entries []placed) (fresh map[uint32]unsaved) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if len(t.unsaved) == 0 {
		return nil
	}
	for _, e := range entries {
		if u, ok := t.unsaved[e.id]; ok {
			if fresh == nil {
				fresh = map[uint32]unsaved{}
			}
			fresh[e.id] = u
		}
	}
	return fresh
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
