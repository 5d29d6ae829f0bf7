package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

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
	for _, pick := range []func(context.Context, []storage.UID) (selection, error){m.pick, m.pin} {
		var s selection
		if s, err = pick(ctx, uids); err != nil {
			return Copied{}, err
		}
		var room *reservation
		if room, err = live.reserve(ctx, q, s.size()); err != nil {
			s.release()
			return Copied{}, err
		}
		var done Copied
		done, err = to.copyFrom(ctx, m.box, s, room)
		room.release()
		s.release()
		if !errors.Is(err, errSourceGone) {
			return done, err
		}
	}
	return Copied{}, err
}

// A selection are messages to be copied, with the names of their keywords.
type selection struct {
	rows     []index.Row
	keywords []string
	pins     []string // paths of the files, in the order of rows; empty = where the rows say
}

func (s selection) size() (size storage.Quota) {
	for i := range s.rows {
		size.Bytes += s.rows[i].Size
		size.Messages++
	}
	return size
}

// release takes the pins away.
func (s selection) release() {
	for _, pin := range s.pins {
		os.Remove(pin)
	}
}

// pick selects the messages of uids as the view has them.
func (m *Mailbox) pick(_ context.Context, uids []storage.UID) (selection, error) {
	view := m.View()
	s := selection{rows: make([]index.Row, 0, len(uids)), keywords: view.Keywords}
	for _, uid := range uids {
		if i, ok := view.Find(uid); ok {
			s.rows = append(s.rows, *view.row(i))
		}
	}
	return s, nil
}

// pin selects messages that do not keep still: whoever changes their flags changes the names of their files. Each gets
// another name in the staging folder first, by the actor of this box, whom no session overtakes.
func (m *Mailbox) pin(ctx context.Context, uids []storage.UID) (s selection, err error) {
	b := m.box
	err = b.do(ctx, func(tx *tx) error {
		if err := tx.scanAll(); err != nil {
			return err
		}
		s.keywords = slices.Clone(tx.actor.keywords)
		for _, uid := range uids {
			row := tx.edit.row(uid)
			if row == nil {
				continue
			}
			pin, err := b.home.store.stagingPath()
			if err != nil {
				return err
			}
			err = os.Link(b.dir.Path(row.Sub, row.File), pin)
			if errors.Is(err, fs.ErrNotExist) {
				return errSourceGone // another program is as quick
			}
			if err != nil {
				return err
			}
			s.rows, s.pins = append(s.rows, *row), append(s.pins, pin)
		}
		return nil
	})
	if err != nil {
		s.release()
	}
	return s, err
}

// errSourceGone: somebody renamed or removed a file since the view was made.
var errSourceGone = errors.New("message is not where it was")

// copyFrom links messages of another box.
func (b *box) copyFrom(ctx context.Context, from *box, s selection, room *reservation) (Copied, error) {
	var done Copied
	err := b.do(ctx, func(tx *tx) error {
		if err := tx.actor.marks.reserveUIDs(b.dir, len(s.rows), b.home.store.boot); err != nil {
			return err
		}
		mark := tx.mark()
		done = Copied{UIDValidity: tx.actor.marks.validity}
		for i, row := range s.rows {
			uid, err := tx.copyRow(from, row, s, i)
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

// copyRow links the message row of another box, number n of the selection.
func (tx *tx) copyRow(from *box, row index.Row, s selection, n int) (storage.UID, error) {
	var keywords []string
	for i, name := range s.keywords {
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
	if s.pins != nil {
		src = s.pins[n]
	}
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
