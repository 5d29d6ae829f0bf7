package imapd

import (
	"iter"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// A choice is messages that a command names, in ascending order.
type choice []chosen

type chosen struct {
	seq uint32 // as the client counts
	uid storage.UID
}

func (c choice) uids() []storage.UID {
	out := make([]storage.UID, len(c))
	for i, m := range c {
		out[i] = m.uid
	}
	return out
}

// pick finds the messages of a set among those the client knows. Numbers that are no message are passed over, as RFC
// 9051 section 6.4.9 wants it of UIDs; a message number beyond the last is a fault of the client.
func (s *session) pick(set imap.NumSet) (choice, error) {
	view := s.box.client.view
	if imap.IsSearchRes(set) {
		var out choice
		for _, uid := range s.saved {
			if i, ok := view.Find(uid); ok {
				out = append(out, chosen{uint32(i + 1), uid})
			}
		}
		return out, nil
	}
	places, ok := placesOf(set, view)
	if !ok {
		return nil, &imap.Error{Type: imap.StatusResponseTypeBad, Text: "no such message number"}
	}
	return choose(view, places), nil
}

// choose lists the messages at some places. Going through all of a view is cheaper than looking up many places.
func choose(view *mailbox.View, runs []places) choice {
	total := 0
	for _, p := range runs {
		total += p.to - p.from
	}
	out := make(choice, 0, total)
	if total < view.Len()/8 {
		for _, p := range runs {
			for i := p.from; i < p.to; i++ {
				out = append(out, chosen{uint32(i + 1), view.At(i).UID})
			}
		}
		return out
	}
	for i, m := range view.All() {
		for len(runs) > 0 && i >= runs[0].to {
			runs = runs[1:]
		}
		if len(runs) == 0 {
			break
		}
		if i >= runs[0].from {
			out = append(out, chosen{uint32(i + 1), m.UID})
		}
	}
	return out
}

// places is a run of places in a view.
type places struct{ from, to int }

// placesOf resolves a set in a view: ascending runs that do not overlap. It is not ok when a message number is too
// high; with "*" none is, though RFC 9051 section 6.4 says that it is in an empty mailbox.
func placesOf(set imap.NumSet, view *mailbox.View) (out []places, ok bool) {
	ok = true
	last := uint32(view.Len())
	switch set := set.(type) {
	case imap.SeqSet:
		for _, r := range set {
			from, to := resolve(r.Start, r.Stop, last)
			if to > last && r.Start != 0 && r.Stop != 0 {
				ok = false
			}
			if last > 0 && from <= last {
				out = append(out, places{int(from) - 1, int(min(to, last))})
			}
		}
	case imap.UIDSet:
		highest := uint32(0)
		if last > 0 {
			highest = uint32(view.At(view.Len() - 1).UID)
		}
		for _, r := range set {
			from, to := resolve(uint32(r.Start), uint32(r.Stop), highest)
			i, _ := view.Find(storage.UID(from))
			j, found := view.Find(storage.UID(to))
			if found {
				j++
			}
			if i < j {
				out = append(out, places{i, j})
			}
		}
	}
	return merge(out), ok
}

// resolve puts the highest number in the place of "*", which is 0 here, and the ends in order.
func resolve(start, stop, highest uint32) (from, to uint32) {
	if start == 0 {
		start = highest
	}
	if stop == 0 {
		stop = highest
	}
	return min(start, stop), max(start, stop)
}

// merge sorts runs and joins those that touch: "*" may lie inside of another range.
func merge(in []places) []places {
	slices.SortFunc(in, func(a, b places) int { return a.from - b.from })
	out := in[:0]
	for _, p := range in {
		if n := len(out); n > 0 && p.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, p.to)
		} else {
			out = append(out, p)
		}
	}
	return out
}

// uidSet is a set of UIDs that are given in ascending order.
func uidSet(uids []storage.UID) imap.UIDSet {
	set := imap.UIDSet{}
	for from, to := range runs(uids) {
		set = append(set, imap.UIDRange{Start: imap.UID(from), Stop: imap.UID(to)})
	}
	return set
}

// seqSet is a set of message numbers that are given in ascending order.
func seqSet(numbers []uint32) imap.SeqSet {
	set := imap.SeqSet{}
	for from, to := range runs(numbers) {
		set = append(set, imap.SeqRange{Start: from, Stop: to})
	}
	return set
}

// runs yields the first and the last of the numbers that follow one another.
func runs[N ~uint32](numbers []N) iter.Seq2[N, N] {
	return func(yield func(N, N) bool) {
		for i := 0; i < len(numbers); {
			j := i + 1
			for j < len(numbers) && numbers[j] == numbers[j-1]+1 {
				j++
			}
			if !yield(numbers[i], numbers[j-1]) {
				return
			}
			i = j
		}
	}
}
