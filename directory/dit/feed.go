package dit

import (
	"sync"
	"time"
)

// What a feed keeps for all consumers together: who lags behind it is sent away to come back with his cookie.
const (
	maxEvents     = 4096
	maxEventBytes = 32 << 20
)

// An event is one entry before and after a change that is durable; nil before it was added or after it was deleted.
type event struct {
	csn      time.Time
	uuid     UUID
	old, new *view
	size     int
}

// A feed hands changes to consumers. It never waits for one, and it keeps events only while there are consumers.
type feed struct {
	mu        sync.Mutex // guards what follows
	consumers int
	events    []event // the newest, in order; the last has number next-1
	next      uint64
	bytes     int
	csn       time.Time     // of the newest change, also when nobody listens
	more      chan struct{} // closed, and replaced, when there is something new
	closed    bool
}

func newFeed(csn time.Time) *feed { return &feed{csn: csn, more: make(chan struct{})} }

// join returns where the consumer stands and the change number it stands at; it must leave.
func (f *feed) join() (at uint64, csn time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.consumers++
	return f.next, f.csn
}

func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.consumers--; f.consumers == 0 {
		f.events, f.bytes = nil, 0
	}
}

// publish appends events that searches already see.
func (f *feed) publish(events []event) {
	if len(events) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.csn = events[len(events)-1].csn
	f.next += uint64(len(events))
	if f.consumers == 0 {
		return
	}
	f.events = append(f.events, events...)
	for _, e := range events {
		f.bytes += e.size
	}
	drop := 0
	for ; len(f.events)-drop > maxEvents || f.bytes > maxEventBytes; drop++ {
		f.bytes -= f.events[drop].size
	}
	if drop > 0 {
		f.events = append([]event(nil), f.events[drop:]...)
	}
	f.wake()
}

// restart sends every consumer away.
func (f *feed) restart(csn time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.csn, f.events, f.bytes = csn, nil, 0
	f.next++ // an event that nobody gets
	f.wake()
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.wake()
}

// wake tells all who wait. The caller holds mu.
func (f *feed) wake() {
	close(f.more)
	f.more = make(chan struct{})
}

// after returns up to a batch of the events from number at on. Without any, more is closed when it is worth asking
// again. An error sends the consumer away.
func (f *feed) after(at uint64) (events []event, more <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	behind := f.next - at
	switch {
	case f.closed:
		return nil, nil, refuse(codeUnavailable, "directory is closed")
	case behind > uint64(len(f.events)):
		return nil, nil, refuse(codeSyncRefresh, "changes came faster than they were taken, or all names have changed")
	}
	events = f.events[uint64(len(f.events))-behind:]
	return events[:min(len(events), maxBatch)], f.more, nil
}

// upheaval reports whether an entry gets another name that has entries below it: all their names change, and consumers
// have to begin anew.
func (t *Tree) upheaval(edits []edit, nodes []node) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i, e := range edits {
		if e.old != nil && e.new != nil && t.index.nodes[e.new.id] != nodes[i] && len(t.index.children[e.new.id]) > 0 {
			return true
		}
	}
	return false
}

// viewsOf returns the entries of one side of the edits where they are now.
func (t *Tree) viewsOf(edits []edit, side func(edit) *record) []*view {
	out := make([]*view, len(edits))
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i, e := range edits {
		if r := side(e); r != nil {
			if p, ok := t.index.place(r.id); ok {
				out[i] = &view{record: r, place: p, tree: t}
			}
		}
	}
	return out
}

// eventSize is about what an event takes in memory.
func eventSize(e edit) int {
	size := 0
	for _, r := range []*record{e.old, e.new} {
		if r == nil {
			continue
		}
		for _, a := range r.attrs {
			for _, v := range a.values {
				size += len(v) + 24
			}
		}
	}
	return size
}
