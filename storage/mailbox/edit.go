package mailbox

import (
	"fmt"
	"slices"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/index"
)

// An edit makes a new view from an old one, copying the parts it touches. It is for one goroutine.
type edit struct {
	next  View   // under construction: positions of its parts are not valid
	own   []bool // which parts of next were copied by this edit and may be written to
	log   []change
	nolog bool // there is no index to be told
	dirty bool // something changed
}

// A change is one step of an edit, for the index.
type change struct {
	row    index.Row // as it became; of what is gone, UID and ModSeq (that of the expunge)
	isGone bool
}

// edit starts from v.
func (v *View) edit() *edit {
	e := &edit{next: *v}
	e.next.parts = slices.Clone(v.parts)
	e.own = make([]bool, len(v.parts))
	return e
}

// changed reports whether the edit has done anything.
func (e *edit) changed() bool { return e.dirty }

// note logs a change for the index.
func (e *edit) note(c change) {
	e.dirty = true
	if !e.nolog {
		e.log = append(e.log, c)
	}
}

// row returns the row of uid, or nil. It is not to be written to, and valid until the next change.
func (e *edit) row(uid storage.UID) *index.Row {
	p, i, ok := findRow(e.next.parts, uid)
	if !ok {
		return nil
	}
	return &(*e.next.parts[p].rows)[i]
}

// put replaces the row with row's UID or, when there is none, appends row: its UID must then be above all others.
func (e *edit) put(row index.Row) {
	e.note(change{row: row})
	e.next.totals[row.Sub].Add(&row, 1)
	p, i, ok := findRow(e.next.parts, row.UID)
	if !ok {
		e.append(row)
		return
	}
	rows := e.ownPart(p)
	e.next.totals[rows[i].Sub].Add(&rows[i], -1)
	rows[i] = row
}

// remove takes out the row of uid, which is there.
func (e *edit) remove(uid storage.UID, modseq storage.ModSeq) {
	p, i, ok := findRow(e.next.parts, uid)
	if !ok {
		panic(fmt.Sprintf("mailbox: remove of UID %d, which is not there", uid))
	}
	e.note(change{row: index.Row{UID: uid, ModSeq: modseq}, isGone: true})
	rows := e.ownPart(p)
	e.next.totals[rows[i].Sub].Add(&rows[i], -1)
	rows = slices.Delete(rows, i, i+1)
	e.next.parts[p].rows = &rows
}

// append adds a row at the end. It writes behind the rows that older views have, where none of them looks.
func (e *edit) append(row index.Row) {
	last := len(e.next.parts) - 1
	if last >= 0 {
		rows := *e.next.parts[last].rows
		if n := len(rows); n > 0 && rows[n-1].UID >= row.UID {
			panic(fmt.Sprintf("mailbox: UID %d after %d", row.UID, rows[n-1].UID))
		}
		if len(rows) < partRows {
			rows = append(rows, row)
			e.next.parts[last].rows = &rows
			return
		}
	}
	e.next.parts = append(e.next.parts, part{first: row.UID, rows: &[]index.Row{row}})
	e.own = append(e.own, true)
}

// ownPart returns the rows of a part for writing.
func (e *edit) ownPart(p int) []index.Row {
	if !e.own[p] {
		rows := slices.Clone(*e.next.parts[p].rows)
		e.next.parts[p].rows = &rows
		e.own[p] = true
	}
	return *e.next.parts[p].rows
}

// view is the mailbox with all changes so far. The edit may go on: it will not change the view.
func (e *edit) view() *View {
	e.next.parts = slices.DeleteFunc(e.next.parts, func(p part) bool { return len(*p.rows) == 0 })
	e.next.length = 0
	for i := range e.next.parts {
		e.next.parts[i].start = e.next.length
		e.next.length += len(*e.next.parts[i].rows)
	}
	e.own = make([]bool, len(e.next.parts))
	v := e.next
	v.parts = slices.Clone(v.parts)
	return &v
}
