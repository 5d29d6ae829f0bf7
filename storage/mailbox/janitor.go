package mailbox

import (
	"slices"
	"sync"
	"time"
)

// A janitor closes mailboxes that nobody has used for a while, and the longest unused ones when there are too many. It
// also throws homes out of memory. It is one goroutine of the Store.
type janitor struct {
	store *Store
	quit  chan struct{}
	done  sync.WaitGroup
}

// homeIdle is how many times longer than a mailbox an unused home stays in memory: it is small, and costs fsyncs to have
// again.
const homeIdle = 30

func startJanitor(s *Store) *janitor {
	j := &janitor{store: s, quit: make(chan struct{})}
	j.done.Go(j.run)
	return j
}

// stop ends the goroutine after what it is doing.
func (j *janitor) stop() {
	close(j.quit)
	j.done.Wait()
}

// run looks round several times while a mailbox may stay unused.
func (j *janitor) run() {
	ticker := time.NewTicker(max(j.store.opts.Idle/4, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-j.quit:
			return
		case <-ticker.C:
			j.closeBoxes(j.store.opts.Idle)
			j.closeHomes(homeIdle * j.store.opts.Idle)
		}
	}
}

// closeBoxes closes the mailboxes that have not been used for idle, and more if more than Kept are unused.
func (j *janitor) closeBoxes(idle time.Duration) {
	type unused struct {
		box  *box
		used time.Time
	}
	var all []unused
	s := j.store
	s.mu.Lock()
	for _, h := range s.homes {
		for _, b := range h.known() {
			if used, ok := b.unused(); ok {
				all = append(all, unused{b, used})
			}
		}
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b unused) int { return a.used.Compare(b.used) })
	for i, u := range all {
		if len(all)-i <= s.opts.Kept && time.Since(u.used) < idle {
			return
		}
		u.box.close(false)
	}
}

// unused reports whether the box is loaded though no mailbox is open, and since when.
func (b *box) unused() (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used, b.refs == 0 && b.view.Load() != nil
}

// closeHomes throws out the homes that have not been used for idle.
func (j *janitor) closeHomes(idle time.Duration) {
	s := j.store
	var out []*home
	s.mu.Lock()
	for _, h := range s.homes {
		if h.users == 0 && time.Since(h.used) >= idle {
			h.leaving = make(chan struct{})
			out = append(out, h)
		}
	}
	s.mu.Unlock()
	for _, h := range out {
		for _, b := range h.known() {
			b.close(false)
		}
		s.mu.Lock()
		delete(s.homes, h.id)
		s.mu.Unlock()
		close(h.leaving)
	}
}
