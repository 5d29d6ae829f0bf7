package mailbox

import (
	"context"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// A Watch tells that the view of a mailbox has changed. C gets a pulse after each change; pulses that nobody took merge
// into one.
type Watch struct {
	C <-chan struct{}

	box *box
}

// Watch starts watching.
func (m *Mailbox) Watch() *Watch {
	c := make(chan struct{}, 1)
	w := &Watch{C: c, box: m.box}
	m.box.mu.Lock()
	defer m.box.mu.Unlock()
	if m.box.watches == nil {
		m.box.watches = map[*Watch]chan<- struct{}{}
	}
	m.box.watches[w] = c
	return w
}

// Close ends the watch. It may be called again. C is not closed.
func (w *Watch) Close() {
	w.box.mu.Lock()
	defer w.box.mu.Unlock()
	delete(w.box.watches, w)
}

// maxNoted is how many changes are remembered one by one; beyond it the directories are read.
const maxNoted = 10_000

// note takes what the notifier tells and has the actor look at it.
func (b *box) note(sub maildir.Sub, c maildir.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.Overflow || len(b.noted) >= maxNoted {
		b.missed, b.noted = true, nil
	} else if !b.missed {
		b.noted = append(b.noted, noted{sub, c})
	}
	b.startLook()
}

// startLook queues a look, unless one is queued. The caller holds mu.
func (b *box) startLook() {
	if b.looking {
		return
	}
	b.looking = true
	b.enqueue(&op{run: (*tx).look, done: make(chan struct{})})
}

// Refresh takes in what other programs have done in the folder until now. Where the system watches the folder they are
// taken in without it, and it costs next to nothing.
func (m *Mailbox) Refresh(ctx context.Context) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	return m.box.refresh(ctx)
}

func (b *box) refresh(ctx context.Context) error {
	if n := b.home.store.notifier; n != nil {
		n.Drain()
	}
	b.mu.Lock()
	quiet := len(b.noted) == 0 && !b.taking && !b.missed && b.watched
	b.mu.Unlock()
	if quiet {
		return nil
	}
	return b.do(ctx, (*tx).look)
}

// look takes in what the notifier told or, where nothing is told or something was missed, what the directories hold.
func (tx *tx) look() error {
	b := tx.box
	b.mu.Lock()
	told, missed := b.noted, b.missed
	b.noted, b.missed, b.looking, b.taking = nil, false, false, true
	b.mu.Unlock()
	if tx.edit == nil {
		return nil // closed meanwhile
	}
	err := tx.lookAt(told, missed)
	if err != nil {
		b.mu.Lock()
		b.missed = true // by the next one
		b.mu.Unlock()
	}
	return err
}

func (tx *tx) lookAt(told []noted, missed bool) error {
	if missed {
		return tx.scanAll()
	}
	if tx.box.watched {
		return tx.reconcile(told)
	}
	for _, sub := range maildir.Subs {
		stamp, err := tx.box.dir.ReadStamp(sub)
		if err != nil {
			return noMailbox(err)
		}
		if stamp != tx.actor.scanned[sub] {
			return tx.scanAll()
		}
	}
	return nil
}

// reconcile takes in single changes. First all names that came, then those that went: most that went came again under
// another name.
func (tx *tx) reconcile(told []noted) error {
	var came []sighting
	for _, n := range told {
		if !n.Gone {
			came = append(came, sighting{sub: n.sub, Name: maildir.ParseName(n.File), file: n.File})
		}
	}
	if err := tx.take(came, storage.UID(0)); err != nil {
		return err
	}
	for _, n := range told {
		if !n.Gone {
			continue
		}
		name := maildir.ParseName(n.File)
		row := tx.edit.row(name.UID)
		if row == nil || name.UIDValidity != tx.actor.marks.validity || row.Sub != n.sub || row.File != n.File {
			continue // it has another name now, or is gone for us too
		}
		if !tx.box.dir.Has(n.sub, n.File) {
			return tx.scanAll()
		}
	}
	return nil
}
