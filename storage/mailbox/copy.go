package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/index"
	"github.com/dirpost/dirpost/storage/maildir"
)

// Copied tells what became of copied messages: From[i] is To[i] in the other folder.
type Copied struct {
	UIDValidity uint32 // of the other folder
	From, To    []storage.UID
}

// Copy links messages into a folder of this home or another, with their flags, keywords and dates: all, or none when it
// returns an error. UIDs that are not there are passed over. q bounds what the other home may hold. The copies are
// durable when it returns.
func (m *Mailbox) Copy(ctx context.Context, uids []storage.UID, dest *Home, name string, q storage.Quota) (Copied, error) {
	if err := m.enter(ctx); err != nil {
		return Copied{}, fmt.Errorf("copy: %w", err)
	}
	defer m.leave()
	done, err := m.copyTo(ctx, uids, dest, name, q)
	if err != nil {
		return Copied{}, fmt.Errorf("copy to %s: %w", name, err)
	}
	return done, nil
}

// Move copies messages and removes them here. The copies are durable before the first is removed, so that after a power
// cut a message is in both folders rather than in none. q does not count within one home. After an error the messages may
// be in both folders.
func (m *Mailbox) Move(ctx context.Context, uids []storage.UID, dest *Home, name string, q storage.Quota) (Copied, error) {
	if err := m.enter(ctx); err != nil {
		return Copied{}, fmt.Errorf("move: %w", err)
	}
	defer m.leave()
	m.box.moving.Lock() // of two who move a message, the second must find it gone
	defer m.box.moving.Unlock()
	if dest.id == m.box.home.id {
		q = storage.Quota{}
	}
	done, err := m.copyTo(ctx, uids, dest, name, q)
	if err != nil {
		return Copied{}, fmt.Errorf("move to %s: %w", name, err)
	}
	if err := m.expunge(context.WithoutCancel(ctx), done.From); err != nil {
		return done, fmt.Errorf("move to %s: %w", name, err)
	}
	return done, nil
}

func (m *Mailbox) copyTo(ctx context.Context, uids []storage.UID, dest *Home, name string, q storage.Quota) (Copied, error) {
	live, err := dest.store.home(ctx, dest.id)
	if err != nil {
		return Copied{}, err
	}
	defer dest.store.release(live)
	to, err := live.box(name)
	if err != nil {
		return Copied{}, err
	}
	looks := []func() error{
		func() error { return nil },
		func() error { return m.box.refresh(ctx) },
		func() error { return m.box.do(ctx, (*tx).scanAll) },
	}
	for _, look := range looks {
		if err = look(); err != nil {
			return Copied{}, err
		}
		rows, size := m.pick(uids)
		var room *reservation
		if room, err = live.reserve(ctx, q, size); err != nil {
			return Copied{}, err
		}
		var done Copied
		done, err = to.copyFrom(ctx, m.box, rows, m.View().Keywords, room)
		room.release()
		if !errors.Is(err, errSourceGone) {
			return done, err
		}
	}
	return Copied{}, err
}

// pick returns the rows of uids, and what they amount to.
func (m *Mailbox) pick(uids []storage.UID) ([]index.Row, storage.Quota) {
	view := m.View()
	rows := make([]index.Row, 0, len(uids))
	var size storage.Quota
	for _, uid := range uids {
		if i, ok := view.Find(uid); ok {
			row := view.row(i)
			rows = append(rows, *row)
			size.Bytes += row.Size
			size.Messages++
		}
	}
	return rows, size
}

// errSourceGone: another program renamed or removed a file since the view was made.
var errSourceGone = errors.New("message is not where it was")

// copyFrom links messages of another box, whose keywords have these names.
func (b *box) copyFrom(ctx context.Context, from *box, rows []index.Row, names []string, room *reservation) (Copied, error) {
	var done Copied
	err := b.do(ctx, func(tx *tx) error {
		if err := tx.actor.marks.reserveUIDs(b.dir, len(rows), b.home.store.boot); err != nil {
			return err
		}
		mark := tx.mark()
		done = Copied{UIDValidity: tx.actor.marks.validity}
		for _, row := range rows {
			uid, err := tx.copyRow(from, row, names)
			if err != nil {
				tx.rollback(mark)
				return err
			}
			done.From = append(done.From, row.UID)
			done.To = append(done.To, uid)
		}
		tx.filled = append(tx.filled, room)
		return nil
	})
	if err != nil {
		return Copied{}, err
	}
	return done, nil
}

func (tx *tx) copyRow(from *box, row index.Row, names []string) (storage.UID, error) {
	var keywords []string
	for i, name := range names {
		if name != "" && row.Keywords&(1<<i) != 0 {
			keywords = append(keywords, name)
		}
	}
	bits, err := tx.keywordBits(keywords, true)
	if err != nil {
		return 0, err
	}
	dir := from.dir // of this very box: we are its actor
	if from != tx.box {
		_, dir = from.place()
	}
	src := dir.Path(row.Sub, row.File)
	copied := row
	copied.Keywords = bits
	err = tx.file(src, &copied, maildir.ParseName(row.File).Other)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, errSourceGone
	}
	return copied.UID, err
}

// A mark is a state of a batch that an operation can go back to.
type mark struct {
	undo  int
	edit  *View
	log   int
	dirty bool
	light [2]index.Totals
}

func (tx *tx) mark() mark {
	m := mark{undo: len(tx.undo), light: tx.light}
	if tx.edit != nil {
		m.edit, m.log, m.dirty = tx.edit.view(), len(tx.edit.log), tx.edit.dirty
	}
	return m
}

// rollback takes back what the operation in hand has added since mark.
func (tx *tx) rollback(m mark) {
	for _, undo := range tx.undo[m.undo:] {
		undo()
	}
	tx.undo = tx.undo[:m.undo]
	tx.light = m.light
	if tx.edit != nil {
		again := m.edit.edit()
		again.log, again.nolog, again.dirty = tx.edit.log[:m.log], tx.edit.nolog, m.dirty
		tx.edit = again
	}
}
