package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/storage/mailbox"
	"github.com/dirpost/dirpost/storage/spool"
)

// errExpired is why a message is given up that could not be filed for too long.
var errExpired = errors.New("delivery time expired")

// work tries what is due, one message after another, until ctx ends.
func (q *Queue) work(ctx context.Context) {
	defer close(q.done)
	for {
		item, wait := q.due()
		if item != nil {
			q.attempt(ctx, item)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
		case <-time.After(wait):
		}
	}
}

// look is the longest time between two looks at the clock: it may be set meanwhile.
const look = time.Minute

// due takes an item whose time has come, or tells how long to wait.
func (q *Queue) due() (*queued, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	wait := look
	now := q.opts.Now()
	for _, item := range q.items {
		left := item.Next.Sub(now)
		switch {
		case item.busy:
		case left <= 0:
			item.busy = true
			return item, 0
		default:
			wait = min(wait, left)
		}
	}
	return nil, wait
}

// attempt tries to file a taken message for everybody who has not got it.
func (q *Queue) attempt(ctx context.Context, item *queued) {
	defer q.giveBack(item)
	next := item.Item
	next.Attempts++
	next.Next = q.opts.Now().Add(q.pause(next.Attempts))
	staged, err := q.store.Restage(q.spool.Message(item.ID))
	if err != nil {
		q.log.Error("queued message cannot be read", "mail", item.ID, "err", err)
		q.note(item, next)
		return
	}
	defer staged.Discard()
	var lost []failure
	next.Rest = nil
	expired := q.opts.Now().Sub(item.Received) >= q.opts.Expiry
	for _, rest := range item.Rest {
		if ctx.Err() != nil {
			next.Rest = append(next.Rest, rest)
			continue
		}
		err := q.try(ctx, item, rest, staged)
		switch {
		case err == nil:
		case gone(err) || lasting(err):
			lost = append(lost, failure{addressOf(rest), err})
		case expired:
			lost = append(lost, failure{addressOf(rest), fmt.Errorf("%w: %w", errExpired, err)})
		default:
			rest.Err = err.Error()
			next.Rest = append(next.Rest, rest)
			q.log.Info("kept in the queue", "mail", item.ID, "rcpt", rest.Address, "attempts", next.Attempts, "next", next.Next, "err", err)
		}
	}
	q.reportLost(ctx, origin{item.ID, item.From, item.Login, item.Received}, lost, staged)
	q.note(item, next)
}

// note is replace where nobody is there to be told of a failure. The next start will try again what is done already; that
// each mailbox has its copy it will see.
func (q *Queue) note(item *queued, next spool.Item) {
	if err := q.replace(item, next); err != nil {
		q.log.Error("queue cannot be written", "mail", item.ID, "err", err)
		q.mu.Lock()
		item.old, item.Next = true, next.Next
		q.mu.Unlock()
	}
}

// pause is how long to wait after so many attempts: longer each time, and not for all messages the same.
func (q *Queue) pause(attempts int) time.Duration {
	wait := q.opts.Most
	if attempts < 20 {
		wait = min(wait, q.opts.First<<attempts)
	}
	return wait - time.Duration(rand.Int64N(int64(wait)/5+1))
}

// try files the message for one mailbox, as its address leads there now.
func (q *Queue) try(ctx context.Context, item *queued, rest spool.Rest, staged *mailbox.Staged) error {
	addr, err := directory.ParseAddress(rest.Address)
	if err != nil {
		return err
	}
	route, err := q.resolver.Route(ctx, addr, nil)
	if err != nil {
		return err
	}
	for _, box := range route.Mailboxes {
		if box.ID != rest.Mailbox {
			continue
		}
		if item.old {
			if has, err := q.holds(ctx, box, staged); err != nil || has {
				return err
			}
		}
		from, _ := directory.ParseAddress(item.From) // the null one is none
		env := protocols.Envelope{ID: item.ID, From: from, Login: item.Login, Received: item.Received}
		return q.deliverer.File(ctx, env, addr, box, staged)
	}
	q.log.Info("no longer a recipient", "mail", item.ID, "rcpt", rest.Address, "mailbox", rest.Mailbox)
	return nil
}

func (q *Queue) holds(ctx context.Context, box directory.Mailbox, staged *mailbox.Staged) (bool, error) {
	home, err := q.store.Home(box.ID)
	if err != nil {
		return false, err
	}
	return home.Holds(ctx, staged)
}

// gone reports whether an address leads nowhere any more.
func gone(err error) bool {
	if errors.Is(err, directory.ErrUnavailable) {
		return false
	}
	var refusal directory.Refusal
	if errors.As(err, &refusal) {
		return refusal.Code >= 500
	}
	return errors.Is(err, directory.ErrNoSuchAddress) || errors.Is(err, directory.ErrNotLocal) || errors.Is(err, directory.ErrSuspended)
}

func addressOf(rest spool.Rest) directory.Address {
	addr, _ := directory.ParseAddress(rest.Address) // it was one when it was queued
	return addr
}

// Retry makes a message due now. ErrNotQueued if there is none of this id.
func (q *Queue) Retry(id string) error {
	q.mu.Lock()
	item := q.items[id]
	if item != nil {
		item.Next = q.opts.Now()
	}
	q.mu.Unlock()
	if item == nil {
		return fmt.Errorf("%s: %w", id, ErrNotQueued)
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// Drop takes a message out, and reports nothing to anybody. ErrNotQueued if there is none of this id, or it is just being
// tried.
func (q *Queue) Drop(id string) error {
	item := q.take(id)
	if item == nil {
		return fmt.Errorf("%s: %w", id, ErrNotQueued)
	}
	defer q.giveBack(item)
	next := item.Item
	next.Rest = nil
	if err := q.replace(item, next); err != nil {
		return err
	}
	q.log.Info("taken out of the queue", "mail", id, "from", item.From)
	return nil
}
