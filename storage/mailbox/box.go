package mailbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/index"
	"github.com/dirpost/dirpost/storage/maildir"
)

// A box is a folder in memory, one for all who use it. Its operations are carried out by one goroutine, in batches:
//
//  1. each operation of the batch does its work on the files: links, renames, removals;
//  2. the directories touched are synced, once for the batch;
//  3. the index is told, the new view is published, watchers are woken;
//  4. the operations are answered.
//
// A box is light until a session opens it: it gives out UIDs and takes deliveries without reading the folder. Load gives
// it a view and an index, unload takes them away.
type box struct {
	home *home
	view atomic.Pointer[View] // nil while light

	moving sync.Mutex // held over a whole MOVE out of this box; taken by no actor

	mu      sync.Mutex // guards what follows
	name    string
	dir     maildir.Dir // written by the actor only, which reads it without mu
	cache   string      // path of the folder of the index; likewise
	refs    int         // mailboxes open
	used    time.Time   // when refs became 0
	queue   []*op
	working bool // the actor is running
	watches map[*Watch]chan<- struct{}
	noted   []noted // what the notifier told
	missed  bool    // more happened than noted holds: the directories must be read
	looking bool    // a look is queued
	taking  bool    // a look has taken what was noted and is not yet done with it
	watched bool    // the notifier tells of the folder; written by the actor only
	count   count   // of a light box

	use      string // special use
	useKnown bool

	actor actor
}

// actor is the state that only operations touch.
type actor struct {
	gone        bool // the folder was deleted
	marks       marks
	haveMarks   bool
	keywords    []string
	haveKeyword bool
	loaded      bool
	index       *index.File // nil while light, and when it cannot be written
	records     int         // in the index
	indexFault  bool        // the index could not be written: not tried again until the next load
	watchIDs    [2]maildir.WatchID
	scanned     [2]maildir.Stamp // by an unwatched box: when the directories were last read; zero if not settled then
	unsynced    [2]bool          // a sync of the directory failed, or a crash may have come before it
}

// noted is a change told by the notifier.
type noted struct {
	sub maildir.Sub
	maildir.Change
}

// count is what a light box holds, as far as it is known.
type count struct {
	known  bool
	totals [2]index.Totals
	stamps [2]maildir.Stamp // of the directories when they were counted; zero if not settled
}

// An op is one operation on a box.
type op struct {
	run   func(*tx) error
	then  func() // if not nil, called by the actor after the commit of run's work, if there was no error
	alone bool   // not together with others
	err   error
	done  chan struct{}
}

// do has run carried out and waits for the result, however long ctx lasts: a message must not be half accepted.
func (b *box) do(ctx context.Context, run func(*tx) error) error {
	return b.wait(ctx, &op{run: run})
}

func (b *box) wait(ctx context.Context, o *op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o.done = make(chan struct{})
	b.mu.Lock()
	b.enqueue(o)
	b.mu.Unlock()
	<-o.done
	return o.err
}

// enqueue hands o to the actor. The caller holds mu.
func (b *box) enqueue(o *op) {
	b.queue = append(b.queue, o)
	if !b.working {
		b.working = true
		b.home.store.actors.Go(b.work)
	}
}

// work is the actor. It ends when nothing is left to do.
func (b *box) work() {
	for {
		batch := b.nextBatch()
		if batch == nil {
			return
		}
		b.commit(batch)
		for _, o := range batch {
			if o.err == nil && o.then != nil {
				o.then()
			}
			close(o.done)
		}
		b.tidyIndex()
	}
}

// nextBatch takes from the queue what can be carried out together. With nil the actor has ended.
func (b *box) nextBatch() []*op {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for n < len(b.queue) && !b.queue[n].alone {
		n++
	}
	if n == 0 && len(b.queue) > 0 {
		n = 1
	}
	if n == 0 {
		b.working = false
		b.queue = nil
		return nil
	}
	batch := b.queue[:n:n]
	b.queue = b.queue[n:]
	return batch
}

// commit carries out a batch.
func (b *box) commit(batch []*op) {
	tx := &tx{box: b, actor: &b.actor}
	if b.actor.loaded {
		tx.edit = b.view.Load().edit()
		tx.edit.nolog = b.actor.index == nil
	}
	for _, o := range batch {
		tx.seq = 0
		o.err = tx.run(o)
	}
	if err := tx.sync(); err == nil {
		tx.publish()
	} else {
		tx.abandon()
		for _, o := range batch {
			o.err = cmp.Or(o.err, err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taking = false
}

// pulse wakes the watchers.
func (b *box) pulse() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.watches {
		select {
		case c <- struct{}{}:
		default: // it has a pulse to take already
		}
	}
}

// place is where the folder is now.
func (b *box) place() (name string, dir maildir.Dir) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.name, b.dir
}

// A tx is the work of one batch.
type tx struct {
	box    *box
	actor  *actor
	edit   *edit // of the view; nil while the box is light
	fresh  bool  // the box was loaded in this batch: the view must be published
	light  [2]index.Totals
	dirty  [2]bool // which directories were changed
	undo   []func()
	filled []*reservation // of what was added
	seq    storage.ModSeq // of the operation in hand; 0 until it takes one
}

// run carries out one operation.
func (tx *tx) run(o *op) error {
	if tx.actor.gone {
		return storage.ErrNoMailbox
	}
	if err := tx.readMarks(); err != nil {
		return err
	}
	return o.run(tx)
}

// readMarks reads the durable numbers of the folder once, and makes them where there are none.
func (tx *tx) readMarks() error {
	a, b := tx.actor, tx.box
	if a.haveMarks {
		return nil
	}
	if !b.dir.Exists() {
		return storage.ErrNoMailbox
	}
	m, err := readMarks(b.dir)
	first := err != nil
	switch {
	case errors.Is(err, errMarks):
		b.home.store.log.Error("numbers of the mailbox are lost: it gets a new UIDVALIDITY", "home", b.home.id, "folder", b.name, "err", err)
		m = marks{}
	case errors.Is(err, fs.ErrNotExist):
		if m, err = b.adopt(); err != nil {
			return err
		}
		m.use = specialUses[b.name]
	case err != nil:
		return err
	}
	if first {
		if m, err = b.beginMarks(m); err != nil {
			return err
		}
	}
	a.marks, a.haveMarks = m, true
	return nil
}

// beginMarks makes the first numbers of a folder durable, from those that were adopted if there are any.
func (b *box) beginMarks(m marks) (marks, error) {
	adopted := m.validity != 0
	if !adopted {
		validity, err := b.home.nextValidity()
		if err != nil {
			return m, err
		}
		m = newMarks(validity, m.use)
	}
	if m.uidEnd < math.MaxUint32-uidBlock {
		m.uidEnd += uidBlock // it is about to be used
	}
	m.reserveModSeqs(b.home.store.boot)
	if err := m.write(b.dir); err != nil || !adopted {
		return m, err
	}
	if err := b.dir.ListTaken(); err != nil {
		b.home.store.log.Warn("list of UIDs stays", "home", b.home.id, "folder", b.name, "err", err)
	}
	return m, nil
}

// modseq is that of the operation in hand. It must be asked for before anything is changed.
func (tx *tx) modseq() (storage.ModSeq, error) {
	if tx.seq == 0 {
		seq, err := tx.actor.marks.takeModSeq(tx.box.dir, tx.box.home.store.boot)
		if err != nil {
			return 0, fmt.Errorf("modseq: %w", err)
		}
		tx.seq = seq
	}
	return tx.seq, nil
}

// link files a durable file under a name; a failing commit takes it away again.
func (tx *tx) link(src string, sub maildir.Sub, file string) error {
	dir := tx.box.dir
	if err := dir.Link(src, sub, file); err != nil {
		return err
	}
	tx.dirty[sub] = true
	tx.undo = append(tx.undo, func() { dir.Remove(sub, file) })
	return nil
}

// rename gives a message file another name.
func (tx *tx) rename(from maildir.Sub, file string, to maildir.Sub, newFile string) error {
	if err := tx.box.dir.Rename(from, file, to, newFile); err != nil {
		return err
	}
	tx.dirty[from], tx.dirty[to] = true, true
	return nil
}

// remove unlinks a message file.
func (tx *tx) remove(sub maildir.Sub, file string) error {
	if err := tx.box.dir.Remove(sub, file); err != nil {
		return err
	}
	tx.dirty[sub] = true
	return nil
}

// sync makes durable what the batch did, and the folder itself, which somebody may just have made. The directory that files come into goes first: should the power fail between
// the two, a file has two names rather than none.
func (tx *tx) sync() error {
	if h := tx.box.home; tx.dirty != [2]bool{} && h.treeIsUnsynced() {
		if err := h.syncTree(); err != nil {
			return err
		}
	}
	for _, sub := range [2]maildir.Sub{maildir.Cur, maildir.New} {
		if !tx.dirty[sub] {
			continue
		}
		if err := maildir.SyncDir(tx.box.dir.Sub(sub)); err != nil {
			for i, dirty := range tx.dirty {
				tx.actor.unsynced[i] = tx.actor.unsynced[i] || dirty
			}
			return err
		}
		tx.actor.unsynced[sub] = false
	}
	return nil
}

// rely is for an operation that may find that there is nothing left to do: what it finds was perhaps never synced, and
// has to be before anybody is told that it is done.
func (tx *tx) rely() {
	for sub, unsynced := range tx.actor.unsynced {
		tx.dirty[sub] = tx.dirty[sub] || unsynced
	}
}

// abandon is for a batch that could not be made durable: what it added is taken away, and the directories, of which
// nobody knows now what they will hold, are read again.
func (tx *tx) abandon() {
	for _, undo := range tx.undo {
		undo()
	}
	b := tx.box
	if tx.fresh {
		b.forget()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.missed = true
	b.count = count{}
	b.startLook()
}

// publish shows the batch to the readers.
func (tx *tx) publish() {
	b := tx.box
	if tx.edit == nil {
		tx.show(func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			for sub := range tx.light {
				b.count.totals[sub].Sum(tx.light[sub])
			}
		})
		return
	}
	if !tx.fresh && !tx.edit.changed() {
		return
	}
	v := tx.edit.view()
	v.UIDValidity = tx.actor.marks.validity
	v.UIDNext = tx.actor.marks.nextUID
	v.HighestModSeq = tx.actor.marks.modseq
	v.Keywords = tx.actor.keywords
	v.KeywordsFull = keywordsFull(tx.actor.keywords)
	b.record(tx.edit.log)
	tx.show(func() { b.view.Store(v) })
	b.pulse()
}

// show has f make the messages of the batch count, and takes back the room reserved for them at the same moment.
func (tx *tx) show(f func()) {
	h := tx.box.home
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	for _, room := range tx.filled {
		room.settle()
	}
}
