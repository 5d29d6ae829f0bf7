package view

import (
	"cmp"
	"errors"
	"runtime"
	"slices"
	"sync"
)

// A keyed is a record under one of its hashes.
type keyed struct {
	order uint64 // the hash with its groups of bits in the order in which the trie looks at them
	hash  uint64
	rec   *record
}

// ordered turns a hash around, five bits at a time: neighbours in this order are neighbours in the trie.
func ordered(hash uint64) (order uint64) {
	const whole = 64 / fanBits
	for depth := range uint(whole) {
		order = order<<fanBits | hash>>(depth*fanBits)&(1<<fanBits-1)
	}
	const left = 64 - whole*fanBits
	return order<<left | hash>>(whole*fanBits)
}

var errTwice = errors.New("an entry is there twice")

// whole makes the snapshot of records, of which it keeps the slice: both tries at once, each node as large as it must be,
// which takes a fraction of the time and room of putting one after another.
func whole(records []record) (Snapshot, error) {
	ids := make([]keyed, len(records))
	lists := make([][]keyed, len(records))
	bad := make([]error, len(records))
	share := len(records)/runtime.GOMAXPROCS(0) + 1
	var group sync.WaitGroup
	for start := 0; start < len(records); start += share {
		group.Go(func() {
			for i := start; i < min(start+share, len(records)); i++ {
				rec := &records[i]
				id := keyOfID(rec.id)
				ids[i] = keyed{ordered(id), id, rec}
				keys, err := rec.keys()
				bad[i] = err
				for _, key := range keys {
					lists[i] = append(lists[i], keyed{ordered(key), key, rec})
				}
			}
		})
	}
	group.Wait()
	if err := errors.Join(bad...); err != nil {
		return Snapshot{}, err
	}
	keys := slices.Concat(lists...)
	for _, list := range [][]keyed{ids, keys} {
		slices.SortFunc(list, func(a, b keyed) int { return cmp.Compare(a.order, b.order) })
	}
	for i := 1; i < len(ids); i++ {
		if ids[i].hash == ids[i-1].hash && ids[i].rec.id == ids[i-1].rec.id {
			return Snapshot{}, errTwice
		}
	}
	return Snapshot{ids: grow(ids, 0), keys: grow(keys, 0), count: len(records)}, nil
}

// grow makes the node of a list in order, whose hashes are equal as far as the trie has looked.
func grow(list []keyed, depth uint) *node {
	if len(list) == 0 {
		return nil
	}
	n := &node{}
	places := 0
	for i := range list {
		if i == 0 || place(list[i].hash, depth) != place(list[i-1].hash, depth) {
			places++
		}
	}
	n.slots = make([]slot, 0, places)
	for start, i := 0, 1; i <= len(list); i++ {
		bit := place(list[start].hash, depth)
		if i < len(list) && place(list[i].hash, depth) == bit {
			continue
		}
		n.present |= bit
		n.slots = append(n.slots, below(list[start:i], depth))
		start = i
	}
	return n
}

// below makes the slot of records that share a place.
func below(list []keyed, depth uint) slot {
	if first, last := list[0], list[len(list)-1]; first.hash != last.hash {
		return slot{sub: grow(list, depth+1)}
	}
	holders := make([]*record, len(list))
	for i := range list {
		holders[i] = list[i].rec
	}
	return leaf(list[0].hash, holders)
}
