package ldapd

import (
	"context"
	"errors"
	"sync"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols/ldapwire"
)

// errSameID: a number may not be used again before its operation is answered (RFC 4511 section 4.1.1.1).
var errSameID = errors.New("message number is in use")

// An operation is one request at work.
type operation struct {
	ldapwire.Message
	who    dit.Subject // whose rights count
	size   int         // of its message
	stays  bool        // goes on until somebody ends it
	cancel context.CancelFunc
}

// An inflight holds the operations at work on one connection and bounds them by number and by size: what is above waits
// in enter, with it the session that reads, and at last the client.
type inflight struct {
	max int

	mu    sync.Mutex // guards what follows
	left  sync.Cond
	live  map[int32]*operation // those that are to be answered, by their number
	count int                  // those whose goroutines run, answered or not
	bytes int
}

func newInflight(max int) *inflight {
	f := &inflight{max: max, live: map[int32]*operation{}}
	f.left.L = &f.mu
	return f
}

// enter waits for room and notes op as live. One operation always has room, more only within budget bytes.
func (f *inflight) enter(op *operation, budget int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.count >= f.max || (f.count > 0 && f.bytes+op.size > budget) {
		f.left.Wait()
	}
	if f.live[op.ID] != nil {
		return errSameID
	}
	f.live[op.ID] = op
	f.count++
	f.bytes += op.size
	return nil
}

// answer reports whether op is still to be answered, and makes its number free: the client may use it again as soon as
// it has the answer.
func (f *inflight) answer(op *operation) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live[op.ID] != op {
		return false
	}
	delete(f.live, op.ID)
	return true
}

// abandon cancels the operation with this number, which then is not answered (RFC 4511 section 4.11).
func (f *inflight) abandon(id int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if op := f.live[id]; op != nil {
		delete(f.live, id)
		op.cancel()
	}
}

// leave makes room again. Nothing of op runs any more.
func (f *inflight) leave(op *operation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live[op.ID] == op {
		delete(f.live, op.ID)
	}
	f.count--
	f.bytes -= op.size
	f.left.Broadcast()
}

// quiet reports whether the client waits for no answer.
func (f *inflight) quiet() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.live) == 0
}

// waiting reports whether an operation is at work that ends only when it is ended.
func (f *inflight) waiting() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, op := range f.live {
		if op.stays {
			return true
		}
	}
	return false
}

// wait ends what would go on for ever and returns when nothing is at work.
func (f *inflight) wait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, op := range f.live {
		if op.stays {
			op.cancel()
		}
	}
	for f.count > 0 {
		f.left.Wait()
	}
}
