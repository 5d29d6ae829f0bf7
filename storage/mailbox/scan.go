package mailbox

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/index"
	"github.com/dirpost/dirpost/storage/maildir"
)

// A sighting is a message file seen in a directory.
type sighting struct {
	maildir.Name
	sub  maildir.Sub
	file string
}

// scanAll compares both directories with the view.
func (tx *tx) scanAll() error { return tx.scan([2]bool{true, true}, 0) }

// scan reads directories and brings the view to what they hold. Files whose names carry a UID from known on, below the
// next one, are believed to be numbered by us although the view lacks them; 0 believes none.
func (tx *tx) scan(which [2]bool, known storage.UID) error {
	b := tx.box
	before := tx.edit.view()
	seen := make([]bool, before.Len())
	var others []sighting
	for _, sub := range maildir.Subs {
		if !which[sub] {
			continue
		}
		now := time.Now()
		stamp, err := b.dir.ReadStamp(sub)
		if err != nil {
			return noMailbox(err)
		}
		files, err := b.dir.Scan(sub)
		if err != nil {
			return noMailbox(err)
		}
		if tx.actor.scanned[sub] = stamp; !stamp.Settled(now) {
			tx.actor.scanned[sub] = maildir.Stamp{}
		}
		others = tx.compare(before, seen, others, sub, files)
	}
	if err := tx.take(others, known); err != nil {
		return err
	}
	var missing []storage.UID
	for i, found := range seen {
		if row := before.row(i); !found && which[row.Sub] && *tx.edit.row(row.UID) == *row {
			missing = append(missing, row.UID)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return tx.miss(missing)
}

// compare marks the rows whose files are where they are known to be, and adds all other files to others.
func (tx *tx) compare(before *View, seen []bool, others []sighting, sub maildir.Sub, files []string) []sighting {
	if before.Len() == 0 {
		others = slices.Grow(others, len(files))
	}
	for _, file := range files {
		name := maildir.ParseName(file)
		if name.UIDValidity == tx.actor.marks.validity {
			i, ok := before.Find(name.UID)
			if ok && before.row(i).Sub == sub && before.row(i).File == file {
				seen[i] = true
				continue
			}
		}
		others = append(others, sighting{name, sub, file})
	}
	return others
}

// take brings files into the view that it does not have under these names: renamed ones, ones that a light box filed or
// a crash left between filing and showing, and those of other programs, which get a UID.
func (tx *tx) take(files []sighting, known storage.UID) error {
	var ours, strangers []sighting
	for _, f := range files {
		row := tx.edit.row(f.UID)
		switch {
		case f.UIDValidity != tx.actor.marks.validity:
			strangers = append(strangers, f)
		case row != nil && row.Sub == f.sub && row.File == f.file:
		case row != nil:
			stranger, err := tx.renamed(*row, f)
			if err != nil {
				return err
			}
			if stranger {
				strangers = append(strangers, f)
			}
		case known > 0 && f.UID >= known && f.UID < tx.actor.marks.nextUID:
			ours = append(ours, f)
		default:
			strangers = append(strangers, f)
		}
	}
	again, err := tx.takeOurs(ours)
	if err != nil {
		return err
	}
	return tx.takeStrangers(append(strangers, again...))
}

// renamed takes another name for the message of row. It reports whether f is another message: a second file while that
// of row is still there. Two names of one file are one message, under the name that is known.
func (tx *tx) renamed(row index.Row, f sighting) (bool, error) {
	here, same := tx.box.dir.Same(row.Sub, row.File, f.sub, f.file)
	if here || !tx.box.dir.Has(f.sub, f.file) {
		return here && !same, nil
	}
	next := row
	next.Sub, next.File, next.BaseLen = f.sub, f.file, uint8(len(f.Base))
	next.Flags, next.Keywords = f.Flags, f.Keywords
	if next.Flags != row.Flags || next.Keywords != row.Keywords {
		seq, err := tx.modseq()
		if err != nil {
			return false, err
		}
		next.ModSeq = seq
	}
	tx.edit.put(next)
	return false, nil
}

// takeOurs adds files under the UIDs in their names, in UID order. It returns those that turn out to be a second file
// with the same UID.
func (tx *tx) takeOurs(files []sighting) (again []sighting, err error) {
	rows, err := tx.rowsOf(files)
	if err != nil {
		return nil, err
	}
	for _, i := range inOrder(files) {
		f, row := files[i], rows[i]
		if row.File == "" {
			continue
		}
		if known := tx.edit.row(f.UID); known != nil {
			second, err := tx.renamed(*known, f)
			if err != nil {
				return nil, err
			}
			if second {
				again = append(again, f)
			}
			continue
		}
		tx.edit.put(row)
	}
	return again, nil
}

// inOrder returns the positions of files in UID order; files with the same UID in the order of their names.
func inOrder(files []sighting) []int {
	order := make([]int, len(files))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := &files[i], &files[j]
		if a.UID != b.UID {
			return cmp.Compare(a.UID, b.UID)
		}
		return cmp.Or(cmp.Compare(a.sub, b.sub), cmp.Compare(a.file, b.file))
	})
	return order
}

// askers is how many goroutines ask for the facts of many files.
const askers = 4

// rowsOf makes the rows of files, with the UIDs in their names. A row is empty if its file is gone, or cannot be read: one
// bad file must not close the mailbox.
func (tx *tx) rowsOf(files []sighting) ([]index.Row, error) {
	if len(files) == 0 {
		return nil, nil
	}
	seq, err := tx.modseq()
	if err != nil {
		return nil, err
	}
	readers, err := tx.readers(files)
	if err != nil {
		return nil, err
	}
	defer readers.close()
	rows := make([]index.Row, len(files))
	var group sync.WaitGroup
	share := len(files)/askers + 1
	for start := 0; start < len(files); start += share {
		group.Go(func() {
			for i := start; i < min(start+share, len(files)); i++ {
				row, err := tx.rowOf(readers, &files[i])
				switch {
				case err == nil:
					row.ModSeq = seq
					rows[i] = row
				case !errors.Is(err, fs.ErrNotExist):
					b := tx.box
					b.home.store.log.Warn("message cannot be read", "home", b.home.id, "folder", b.name, "err", err)
				}
			}
		})
	}
	group.Wait()
	return rows, nil
}

// rowOf makes the row of a file, reading it only if its name does not tell its sizes.
func (tx *tx) rowOf(readers readers, f *sighting) (index.Row, error) {
	facts, err := readers[f.sub].Facts(f.file)
	if err != nil {
		return index.Row{}, err
	}
	row := index.Row{
		UID: f.UID, Flags: f.Flags, Keywords: f.Keywords, Date: facts.Date,
		Sub: f.sub, File: f.file, BaseLen: uint8(len(f.Base)), Size: facts.Size, WireSize: f.WireSize,
	}
	if f.Size != facts.Size || f.WireSize < facts.Size {
		row.Size, row.WireSize, err = tx.measureFile(f)
	}
	return row, err
}

func (tx *tx) measureFile(f *sighting) (size, wire int64, err error) {
	file, err := tx.box.dir.OpenFile(f.sub, f.file)
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	return maildir.WireSize(file)
}

// takeStrangers numbers files that other programs left, oldest first, by renaming them.
func (tx *tx) takeStrangers(files []sighting) error {
	if len(files) == 0 {
		return nil
	}
	rows, err := tx.rowsOf(files)
	if err != nil {
		return err
	}
	type stranger struct {
		sighting
		row index.Row
	}
	var found []stranger
	for i, row := range rows {
		if row.File != "" {
			found = append(found, stranger{files[i], row})
		}
	}
	slices.SortFunc(found, func(a, b stranger) int {
		return cmp.Or(cmp.Compare(a.row.Date, b.row.Date), cmp.Compare(a.file, b.file))
	})
	if err := tx.actor.marks.reserveUIDs(tx.box.dir, len(found), tx.box.home.store.boot); err != nil {
		return err
	}
	for _, f := range found {
		if err := tx.number(f.sighting, f.row); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// number gives a file the next UID, under a new name if its own with the UID in it is too long or taken.
func (tx *tx) number(f sighting, row index.Row) error {
	m, s := &tx.actor.marks, tx.box.home.store
	row.UID = m.takeUID()
	base, ok := f.Number(row.Size, row.WireSize, m.validity, row.UID)
	for {
		if !ok {
			base = s.names.Base(s.opts.Now(), row.Size, row.WireSize, m.validity, row.UID)
		}
		row.File, row.BaseLen = base, uint8(len(base))
		if f.sub == maildir.Cur || len(f.file) > len(f.Base) {
			row.File = f.Info.File(base)
		}
		if row.File == f.file {
			tx.dirty[f.sub] = true // whether the name is durable nobody knows
			break
		}
		err := tx.rename(f.sub, f.file, f.sub, row.File)
		if err == nil {
			break
		}
		if !ok || !errors.Is(err, fs.ErrExist) {
			return err
		}
		ok = false
	}
	tx.edit.put(row)
	return nil
}

// tick is more than a tick of the clock by which file systems take modification times.
const tick = 20 * time.Millisecond

// miss decides about messages whose files a scan did not find. Reading a directory can miss a file that is renamed
// meanwhile, so only a second reading during which the directories did not change makes them expunged.
func (tx *tx) miss(uids []storage.UID) error {
	missing := make(map[storage.UID]bool, len(uids))
	for _, uid := range uids {
		missing[uid] = true
	}
	for range 3 {
		files, stable, err := tx.readStable()
		if err != nil {
			return err
		}
		var moved []sighting
		for _, f := range files {
			if f.UIDValidity == tx.actor.marks.validity && missing[f.UID] {
				moved = append(moved, f)
				delete(missing, f.UID)
			}
		}
		if err := tx.take(moved, 0); err != nil {
			return err
		}
		if len(missing) == 0 {
			return nil
		}
		if stable {
			return tx.expunge(missing)
		}
	}
	b := tx.box
	b.mu.Lock()
	defer b.mu.Unlock()
	b.missed = true // too much going on: the next look will see
	return nil
}

// readStable reads both directories and reports whether they stayed the same meanwhile.
func (tx *tx) readStable() (files []sighting, stable bool, err error) {
	dir := tx.box.dir
	var before [2]maildir.Stamp
	for _, sub := range maildir.Subs {
		if before[sub], err = dir.ReadStamp(sub); err != nil {
			return nil, false, noMailbox(err)
		}
		// A change in the tick of an earlier one would not show.
		if age := time.Since(time.Unix(0, before[sub].Ctime)); age >= 0 && age < tick {
			time.Sleep(tick - age)
		}
	}
	for _, sub := range maildir.Subs {
		names, err := dir.Scan(sub)
		if err != nil {
			return nil, false, noMailbox(err)
		}
		for _, file := range names {
			files = append(files, sighting{maildir.ParseName(file), sub, file})
		}
	}
	stable = true
	for _, sub := range maildir.Subs {
		after, err := dir.ReadStamp(sub)
		if err != nil {
			return nil, false, noMailbox(err)
		}
		stable = stable && after == before[sub]
	}
	return files, stable, nil
}

// expunge takes messages out of the view whose files are gone.
func (tx *tx) expunge(uids map[storage.UID]bool) error {
	seq, err := tx.modseq()
	if err != nil {
		return err
	}
	for uid := range uids {
		tx.edit.remove(uid, seq)
	}
	return nil
}

// readers are the open directories of files to be asked about.
type readers [2]maildir.Reader

func (tx *tx) readers(files []sighting) (readers, error) {
	var r readers
	for _, sub := range maildir.Subs {
		if !slices.ContainsFunc(files, func(f sighting) bool { return f.sub == sub }) {
			continue
		}
		var err error
		if r[sub], err = tx.box.dir.Reader(sub); err != nil {
			r.close()
			return readers{}, noMailbox(err)
		}
	}
	return r, nil
}

func (r readers) close() {
	for _, reader := range r {
		reader.Close()
	}
}
