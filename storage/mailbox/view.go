package mailbox

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/index"
	"github.com/dirpost/dirpost/storage/maildir"
)

// A View is a mailbox at one moment. It never changes, so that a session can go through it without a lock while others
// change the mailbox. It is not a slice, so that one changed flag does not copy 100,000 messages: views share what they
// have in common.
type View struct {
	UIDValidity   uint32
	UIDNext       storage.UID
	HighestModSeq storage.ModSeq
	Keywords      []string // Keywords[i] is the name of bit i; bits that have none, or "", are to be passed over
	KeywordsFull  bool     // no letter is left for a new keyword

	parts  []part
	length int
	totals [2]index.Totals // by maildir.Sub
}

// partRows is how many rows a part has at most: what a changed flag copies.
const partRows = 256

// A part is a run of rows. Its rows are never written to once a view has it, but more may be appended behind them.
type part struct {
	start int         // position of the first row; valid in views only
	first storage.UID // not above that of the first row
	rows  *[]index.Row
}

// newView makes a view of rows, which it keeps. They are in UID order.
func newView(rows []index.Row) *View {
	v := &View{length: len(rows)}
	for i := range rows {
		v.totals[rows[i].Sub].Add(&rows[i], 1)
	}
	for start := 0; start < len(rows); start += partRows {
		end := min(start+partRows, len(rows))
		run := rows[start:end:end]
		v.parts = append(v.parts, part{start, run[0].UID, &run})
	}
	return v
}

// Len is the number of messages.
func (v *View) Len() int { return v.length }

// At returns the message at position i, whose sequence number is i+1.
func (v *View) At(i int) storage.Message { return message(v.row(i)) }

// Find returns the position of uid. If it is not there, it returns the position of the next message above it, which may
// be Len, and false.
func (v *View) Find(uid storage.UID) (int, bool) {
	p, i, ok := findRow(v.parts, uid)
	if p == len(v.parts) {
		return v.length, false
	}
	return v.parts[p].start + i, ok
}

// All yields the positions and messages in UID order.
func (v *View) All() iter.Seq2[int, storage.Message] {
	return func(yield func(int, storage.Message) bool) {
		i := 0
		for row := range v.all() {
			if !yield(i, message(row)) {
				return
			}
			i++
		}
	}
}

// Unseen counts the messages without \Seen.
func (v *View) Unseen() int { return int(v.totals[maildir.New].Unseen + v.totals[maildir.Cur].Unseen) }

// Deleted counts the messages with \Deleted.
func (v *View) Deleted() int {
	return int(v.totals[maildir.New].Deleted + v.totals[maildir.Cur].Deleted)
}

// Since tells what became of the messages of an older view of the same mailbox: the UIDs that are gone, and those whose
// ModSeq is another. New are the messages from old.UIDNext on. Where little changed it costs little.
func (v *View) Since(old *View) (gone, changed []storage.UID) {
	was, is := cursor{parts: old.parts}, cursor{parts: v.parts}
	for {
		before := was.row()
		if before == nil {
			return gone, changed
		}
		after := is.row()
		switch {
		case after != nil && was.at == 0 && is.at == 0 && was.parts[0].rows == is.parts[0].rows:
			was.parts, is.parts = was.parts[1:], is.parts[1:]
		case after == nil || before.UID < after.UID:
			gone = append(gone, before.UID)
			was.at++
		case before.UID > after.UID:
			is.at++
		default:
			if before.ModSeq != after.ModSeq {
				changed = append(changed, before.UID)
			}
			was.at++
			is.at++
		}
	}
}

// A cursor walks over rows.
type cursor struct {
	parts []part // the first is the one it is in
	at    int    // in that part
}

// row is the row under the cursor; nil at the end.
func (c *cursor) row() *index.Row {
	for len(c.parts) > 0 {
		if rows := *c.parts[0].rows; c.at < len(rows) {
			return &rows[c.at]
		}
		c.parts, c.at = c.parts[1:], 0
	}
	return nil
}

// row is the row at position i; not to be written to.
func (v *View) row(i int) *index.Row {
	p, exact := slices.BinarySearchFunc(v.parts, i, func(p part, i int) int { return p.start - i })
	if !exact {
		p--
	}
	return &(*v.parts[p].rows)[i-v.parts[p].start]
}

// all yields the rows; not to be written to.
func (v *View) all() iter.Seq[*index.Row] {
	return func(yield func(*index.Row) bool) {
		for _, p := range v.parts {
			for i := range *p.rows {
				if !yield(&(*p.rows)[i]) {
					return
				}
			}
		}
	}
}

// findRow returns the part and place of uid, or of the next row above it and false; len(parts) if there is none.
func findRow(parts []part, uid storage.UID) (int, int, bool) {
	p, exact := slices.BinarySearchFunc(parts, uid, func(p part, uid storage.UID) int { return cmp.Compare(p.first, uid) })
	if !exact {
		p--
	}
	if p < 0 {
		return 0, 0, false
	}
	rows := *parts[p].rows
	i, ok := slices.BinarySearchFunc(rows, uid, func(r index.Row, uid storage.UID) int { return cmp.Compare(r.UID, uid) })
	if i == len(rows) {
		return p + 1, 0, false
	}
	return p, i, ok
}

// message is a row as the other packages see it.
func message(r *index.Row) storage.Message {
	return storage.Message{
		UID:      r.UID,
		ModSeq:   r.ModSeq,
		Flags:    r.Flags,
		Keywords: r.Keywords,
		Size:     r.Size,
		WireSize: r.WireSize,
		Date:     time.Unix(r.Date, 0),
		Name:     r.Base(),
	}
}
