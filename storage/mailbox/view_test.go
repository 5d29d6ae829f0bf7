package mailbox

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/index"
	"github.com/dirpost/dirpost/storage/maildir"
)

// A model is a mailbox as a plain slice.
type model []index.Row

func (m model) clone() model { return slices.Clone(m) }

// Random edits of a view do what they do to a slice, and leave every older view as it was.
func TestEditAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			var rows model
			for range random.IntN(3 * partRows) {
				rows = append(rows, randomRow(random, rows.next()))
			}
			view := newView(rows.clone())
			type past struct {
				view *View
				rows model
			}
			history := []past{{view, rows.clone()}}
			for step := range 60 {
				edit := view.edit()
				for range 1 + random.IntN(40) {
					rows = randomEdit(random, edit, rows, storage.ModSeq(step+2))
					if random.IntN(10) == 0 {
						edit.view() // taking a view does not disturb
					}
				}
				if random.IntN(5) == 0 { // given up: as if it had not been
					rows = history[len(history)-1].rows.clone()
					continue
				}
				view = edit.view()
				history = append(history, past{view, rows.clone()})
			}
			for i, p := range history {
				checkView(t, p.view, p.rows)
				j := random.IntN(i + 1)
				checkSince(t, p.view, history[j].view, p.rows, history[j].rows)
			}
		})
	}
}

func (m model) next() storage.UID {
	if len(m) == 0 {
		return 1
	}
	return m[len(m)-1].UID + 1
}

func randomRow(random *rand.Rand, uid storage.UID) index.Row {
	return index.Row{
		UID: uid + storage.UID(random.IntN(3)), ModSeq: 1, Flags: storage.Flags(random.IntN(64)), Sub: maildir.Sub(random.IntN(2)),
		Size: int64(random.IntN(100)), WireSize: int64(random.IntN(200)), File: "x", BaseLen: 1,
	}
}

func randomEdit(random *rand.Rand, edit *edit, rows model, seq storage.ModSeq) model {
	i := random.IntN(len(rows) + 1)
	switch kind := random.IntN(4); {
	case kind == 0 || i == len(rows):
		row := randomRow(random, rows.next())
		edit.put(row)
		return append(rows, row)
	case kind == 1:
		edit.remove(rows[i].UID, seq)
		return slices.Delete(rows, i, i+1)
	default:
		row := randomRow(random, 0)
		row.UID, row.ModSeq = rows[i].UID, seq
		edit.put(row)
		rows[i] = row
		return rows
	}
}

func checkView(t *testing.T, v *View, rows model) {
	t.Helper()
	if v.Len() != len(rows) {
		t.Fatalf("Len = %d; want %d", v.Len(), len(rows))
	}
	var totals [2]index.Totals
	for i := range rows {
		totals[rows[i].Sub].Add(&rows[i], 1)
		if got, want := v.At(i), message(&rows[i]); got != want {
			t.Fatalf("At(%d) = %+v; want %+v", i, got, want)
		}
		if at, ok := v.Find(rows[i].UID); at != i || !ok {
			t.Fatalf("Find(%d) = %d, %v; want %d", rows[i].UID, at, ok, i)
		}
	}
	if v.totals != totals {
		t.Errorf("totals = %+v; want %+v", v.totals, totals)
	}
	n := 0
	for i, msg := range v.All() {
		if i != n || msg.UID != rows[i].UID {
			t.Fatalf("All yields %d, UID %d; want %d, UID %d", i, msg.UID, n, rows[n].UID)
		}
		n++
	}
	for uid := range rows.next() + 2 {
		want, ok := slices.BinarySearchFunc(rows, uid, func(r index.Row, uid storage.UID) int { return int(r.UID) - int(uid) })
		if got, found := v.Find(uid); got != want || found != ok {
			t.Fatalf("Find(%d) = %d, %v; want %d, %v", uid, got, found, want, ok)
		}
	}
}

func checkSince(t *testing.T, now, old *View, rows, oldRows model) {
	t.Helper()
	var gone, changed []storage.UID
	for _, before := range oldRows {
		i := slices.IndexFunc(rows, func(r index.Row) bool { return r.UID == before.UID })
		switch {
		case i < 0:
			gone = append(gone, before.UID)
		case rows[i].ModSeq != before.ModSeq:
			changed = append(changed, before.UID)
		}
	}
	gotGone, gotChanged := now.Since(old)
	if !slices.Equal(gotGone, gone) || !slices.Equal(gotChanged, changed) {
		t.Errorf("Since = %v, %v; want %v, %v", gotGone, gotChanged, gone, changed)
	}
}
