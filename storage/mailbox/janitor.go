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
			j.poll()
			j.closeBoxes(j.store.opts.Idle)
			j.closeHomes(homeIdle * j.store.opts.Idle)
		}
	}
}

// mailboxCost is what a mailbox costs besides its messages, counted in messages: a descriptor, two watches.
const mailboxCost = 1000

// closeBoxes closes the mailboxes that have not been used for idle, and of the others those longest unused until the rest
// is no more than Kept.
func (j *janitor) closeBoxes(idle time.Duration) {
	type unused struct {
		box  *box
		used time.Time
		cost int
	}
	var all []unused
	s := j.store
	s.mu.Lock()
	for _, h := range s.homes {
		for _, b := range h.known() {
			if used, messages, ok := b.unused(); ok {
				all = append(all, unused{b, used, messages + mailboxCost})
			}
		}
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b unused) int { return b.used.Compare(a.used) })
	kept := 0
	for _, u := range all {
		if j.stopped() {
			return
		}
		if kept += u.cost; kept > s.opts.Kept || time.Since(u.used) >= idle {
			u.box.close(false)
		}
	}
}

// unused reports whether the box is loaded though no mailbox is open, since when, and how many messages it has.
func (b *box) unused() (since time.Time, messages int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.view.Load()
	if b.refs > 0 || v == nil {
		return time.Time{}, 0, false
	}
	return b.used, v.Len(), true
}

// closeHomes throws out the homes that have not been used for idle.
func (j *janitor) closeHomes(idle time.Duration) {
	s := j.store
	var out []*home
	s.mu.Lock()
	for _, h := range s.homes {
		if h.users == 0 && time.Since(h.used) >= idle {
			out = append(out, h)
		}
	}
	s.mu.Unlock()
	for _, h := range out {
		if j.stopped() {
			return
		}
		j.closeHome(h)
	}
}

// closeHome throws out a home unless it is in use again. Who wants it meanwhile waits.
func (j *janitor) closeHome(h *home) {
	s := j.store
	s.mu.Lock()
	if h.users > 0 {
		s.mu.Unlock()
		return
	}
	h.leaving = make(chan struct{})
	s.mu.Unlock()
	for _, b := range h.known() {
		b.close(false)
	}
	s.mu.Lock()
	delete(s.homes, h.id)
	s.mu.Unlock()
	close(h.leaving)
}

// stopped reports whether the store is closing.
func (j *janitor) stopped() bool {
	select {
	case <-j.quit:
		return true
	default:
		return false
	}
}

// poll has the mailboxes looked at that sessions wait for and the system does not watch.
func (j *janitor) poll() {
	s := j.store
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.homes {
		for _, b := range h.known() {
			b.mu.Lock()
			if len(b.watches) > 0 && !b.watched {
				b.startLook()
			}
			b.mu.Unlock()
		}
	}
}
