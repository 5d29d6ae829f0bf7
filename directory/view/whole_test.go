package view

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// A trie that is made at once is the one that comes of putting one record after another.
func TestGrow(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	var list []keyed
	var put *node
	for range 2000 {
		hash := random.Uint64N(500)
		if hash%3 == 0 {
			hash <<= 55 // the same places down to the last levels
		}
		rec := &record{}
		list = append(list, keyed{ordered(hash), hash, rec})
		put = put.put(hash, rec, 0, nil)
	}
	slices.SortStableFunc(list, func(a, b keyed) int {
		if a.order < b.order {
			return -1
		}
		return 1
	})
	grown := grow(list, 0)
	for _, k := range list {
		var a, b int
		grown.each(k.hash, func(*record) bool { a++; return true })
		put.each(k.hash, func(*record) bool { b++; return true })
		if a != b || a == 0 {
			t.Fatalf("hash %x has %d records, want %d", k.hash, a, b)
		}
	}
	if got, want := shape(grown), shape(put); !reflect.DeepEqual(got, want) {
		t.Error("the tries have other shapes")
	}
	for _, k := range list {
		grown = grown.drop(k.hash, k.rec, 0, nil)
	}
	if grown != nil {
		t.Error("something is left when all are dropped")
	}
	if grow(nil, 0) != nil {
		t.Error("a trie of nothing")
	}
}

// shape is a trie without its records.
func shape(n *node) any {
	if n == nil {
		return nil
	}
	list := []any{n.present}
	for i := range n.slots {
		list = append(list, n.slots[i].hash, n.slots[i].rec != nil, shape(n.slots[i].sub))
	}
	return list
}

func TestWholeRefuses(t *testing.T) {
	t.Parallel()
	rec := pack(ID{1}, ldap.NewEntry("uid=a", nil))
	if _, err := whole([]record{*rec, *pack(ID{2}, ldap.NewEntry("uid=b", nil)), *rec}); !errors.Is(err, errTwice) {
		t.Errorf("an entry that is there twice: %v, want %v", err, errTwice)
	}
	if _, err := whole([]record{{packed: "\x05abc"}}); !errors.Is(err, errPacked) {
		t.Errorf("a damaged record: %v, want %v", err, errPacked)
	}
}
