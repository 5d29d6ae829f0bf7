package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/index"
	"github.com/dirpost/dirpost/storage/maildir"
)

// tmpAge is how old a file in tmp must be to count as left behind: the 36 hours of the Maildir specification.
const tmpAge = 36 * time.Hour

// indexFile is the name of the index in the cache folder of a mailbox.
const indexFile = "index"

func (b *box) indexPath() string { return filepath.Join(b.cache, indexFile) }

// load gives the box its view, in the operation in hand. What the index says of a directory is taken when the directory
// has not changed since; else it is compared with what is there.
func (tx *tx) load() error {
	a, b := tx.actor, tx.box
	if a.loaded || tx.fresh {
		return nil
	}
	table, err := b.dir.Keywords()
	if err != nil {
		return err
	}
	a.keywords, a.haveKeyword = table, true
	b.watch() // before looking, so that no change falls between
	var stamps [2]maildir.Stamp
	for _, sub := range maildir.Subs {
		if stamps[sub], err = b.dir.ReadStamp(sub); err != nil {
			b.forget()
			return noMailbox(err)
		}
	}
	found := tx.readIndex()
	stale := [2]bool{true, true}
	if found.Closed != nil {
		for _, sub := range maildir.Subs {
			stale[sub] = found.Closed.Stamps[sub] != stamps[sub]
		}
	} else {
		a.unsynced = [2]bool{true, true}
	}
	if stale[maildir.New] || stale[maildir.Cur] {
		if err := b.dir.Sweep(tmpAge); err != nil {
			b.home.store.log.Warn("leftovers stay", "home", b.home.id, "folder", b.name, "err", err)
		}
	}
	if err = tx.resume(found); err == nil {
		tx.edit, tx.fresh, a.loaded = newView(found.Rows).edit(), true, true
		tx.edit.nolog = a.index == nil
		err = tx.scan(stale, max(found.UIDNext, 1))
	}
	if err != nil {
		tx.edit, tx.fresh = nil, false
		b.forget()
		return err
	}
	return nil
}

// readIndex opens the index; an empty one is returned if there is none to use.
func (tx *tx) readIndex() index.Contents {
	a, b := tx.actor, tx.box
	file, found, err := index.Open(b.indexPath(), a.marks.validity)
	if err == nil && found.UIDNext > a.marks.nextUID {
		err = fmt.Errorf("%w: UID %d was never given out", index.ErrDamaged, found.UIDNext-1) // the folder comes from a backup
		file.Close(nil)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			b.home.store.log.Warn("index is rebuilt", "home", b.home.id, "folder", b.name, "err", err)
		}
		os.Remove(b.indexPath())
		return index.Contents{}
	}
	a.index, a.records = file, found.Records
	return found
}

// resume goes on from the modseqs of the index. If clients may have seen some that it does not know, because it was lost
// or because the power was, then what they know of any message may be out of date: all get a new modseq.
func (tx *tx) resume(found index.Contents) error {
	a, b := tx.actor, tx.box
	exact := a.marks.boot == "" && found.HighestModSeq == a.marks.modseq
	if a.index != nil && (exact || a.marks.boot == b.home.store.boot) {
		return nil
	}
	b.dropIndex()
	if len(found.Rows) == 0 {
		return nil // the rows that the scan finds get a new one anyway
	}
	seq, err := tx.modseq()
	if err != nil {
		return err
	}
	for i := range found.Rows {
		found.Rows[i].ModSeq = seq
	}
	return nil
}

// watch asks for the changes of the folder.
func (b *box) watch() {
	n := b.home.store.notifier
	if n == nil {
		return
	}
	for _, sub := range maildir.Subs {
		id, err := n.Watch(b.dir, sub, func(c maildir.Change) { b.note(sub, c) })
		if err != nil {
			b.home.store.log.Warn("mailbox is not watched: mail from other programs shows when a session asks",
				"home", b.home.id, "folder", b.name, "err", err)
			if sub == maildir.Cur {
				n.Forget(b.actor.watchIDs[maildir.New])
			}
			return
		}
		b.actor.watchIDs[sub] = id
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watched = true
}

// forget makes the box light again, as if it had never been loaded.
func (b *box) forget() {
	a := &b.actor
	if b.watched {
		for _, id := range a.watchIDs {
			b.home.store.notifier.Forget(id)
		}
	}
	if a.index != nil {
		a.index.Close(nil)
	}
	a.loaded, a.index, a.records, a.indexFault = false, nil, 0, false
	a.scanned = [2]maildir.Stamp{}
	a.keywords, a.haveKeyword = nil, false
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noted, b.missed, b.watched = nil, false, false
}

// close makes the box light, unless a session has it open, and gives back the numbers it has reserved. For good means
// that the store is closing: then the sessions are left with the view they have.
func (b *box) close(forGood bool) {
	var stamps [2]maildir.Stamp
	o := &op{alone: true}
	o.run = func(tx *tx) error {
		if !tx.actor.loaded {
			return nil
		}
		tx.rely() // whoever opens the box next takes it for synced
		stamps = b.lastStamps()
		if err := tx.look(); err != nil {
			b.home.store.log.Warn("mailbox is read again when it is next opened", "home", b.home.id, "folder", b.name, "err", err)
			stamps = [2]maildir.Stamp{}
		}
		return nil
	}
	o.then = func() {
		b.mu.Lock()
		view, held := b.view.Load(), b.refs > 0
		if b.missed {
			stamps = [2]maildir.Stamp{}
		}
		if view != nil && !held {
			b.count = count{known: true, totals: view.totals, stamps: stamps}
			b.view.Store(nil) // who comes now will load it
		}
		b.mu.Unlock()
		if !held || forGood {
			b.unload(view, stamps)
		}
	}
	err := b.wait(context.Background(), o)
	if err != nil && !errors.Is(err, storage.ErrNoMailbox) {
		b.home.store.log.Warn("mailbox is not closed well", "home", b.home.id, "folder", b.name, "err", err)
	}
}

// lastStamps are the stamps of the directories that will be known to have changed since when the box is opened again. They
// are read before the last look: what changes after that look changes them.
func (b *box) lastStamps() [2]maildir.Stamp {
	var stamps [2]maildir.Stamp
	now := time.Now()
	for _, sub := range maildir.Subs {
		stamp, err := b.dir.ReadStamp(sub)
		known := b.watched || stamp == b.actor.scanned[sub]
		if err == nil && known && stamp.Settled(now) {
			stamps[sub] = stamp
		}
	}
	if b.watched {
		b.home.store.notifier.Drain()
	}
	return stamps
}

// unload ends the index with a summary of the last view, if there is one, and makes the box light.
func (b *box) unload(last *View, stamps [2]maildir.Stamp) {
	a := &b.actor
	exact := a.loaded
	if a.index != nil {
		summary := &index.Summary{UIDNext: a.marks.nextUID, HighestModSeq: a.marks.modseq, Stamps: stamps, Totals: last.totals}
		err := a.index.Close(summary)
		a.index = nil
		if err != nil {
			b.indexFailed(err)
		}
	}
	if a.loaded {
		b.forget()
	}
	if err := a.marks.settle(b.dir, exact); err != nil {
		b.home.store.log.Warn("reserved numbers are skipped", "home", b.home.id, "folder", b.name, "err", err)
	}
}

// record tells the index what changed. That it cannot be told is no fault of the operation: the index is dropped.
func (b *box) record(log []change) {
	a := &b.actor
	if a.index == nil {
		return
	}
	for i := range log {
		if log[i].isGone {
			a.index.Expunge(log[i].row.UID, log[i].row.ModSeq)
		} else {
			a.index.Put(&log[i].row)
		}
	}
	a.records += len(log)
	if err := a.index.Flush(); err != nil {
		b.indexFailed(err)
	}
}

// tidyIndex writes an index where there is none, or where most of it is of the past. It is called when nobody waits.
func (b *box) tidyIndex() {
	a := &b.actor
	if !a.loaded || a.indexFault {
		return
	}
	v := b.view.Load()
	if a.index != nil && a.records <= 2*v.Len()+spareRecords {
		return
	}
	if a.index != nil {
		a.index.Close(nil)
		a.index = nil
	}
	err := os.MkdirAll(b.cache, 0o700)
	if err == nil {
		a.index, err = index.Create(b.indexPath(), a.marks.validity, v.all())
	}
	if err != nil {
		b.indexFailed(err)
		return
	}
	a.records = v.Len()
}

// spareRecords is how much of the past a small index may hold.
const spareRecords = 1000

// indexFailed drops an index that could not be written.
func (b *box) indexFailed(err error) {
	b.home.store.log.Warn("mailbox goes on without an index", "home", b.home.id, "folder", b.name, "err", err)
	b.actor.indexFault = true
	b.dropIndex()
}

// dropIndex removes the index, so that none is found that lacks what comes.
func (b *box) dropIndex() {
	if b.actor.index != nil {
		b.actor.index.Close(nil)
		b.actor.index = nil
	}
	os.Remove(b.indexPath())
}

// noMailbox says of a folder whose directories are gone what it is.
func noMailbox(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return storage.ErrNoMailbox
	}
	return err
}
