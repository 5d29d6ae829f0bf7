// Package queue gives a message to everybody it is for, at once or later. It decides what one reply says for several
// recipients, keeps what could not be filed now, tries again, and tells somebody when it gives up.
//
// A reply speaks for a set of recipients: in SMTP for all of a transaction, in LMTP for one. Of the mailboxes they stand for
//
//   - all fail for good: that failure is the reply, nobody has the message;
//   - none takes it now: a temporary failure is the reply, and the client comes again;
//   - some take it: 250. Those who fail for now are kept here, durably, and before the first copy is filed as far as that is
//     known by then; so when it cannot be kept, nobody has it and the client comes again. Those who fail for good are
//     reported.
//
// So a full member of a group never refuses the group, nor does a full recipient his neighbour: it is tried again for
// days. Only a mailbox that fails while others are being filed, and cannot be kept then, makes those others get a second
// copy, because the reply must be "later".
//
// A report goes to the sender where we know who that is, which is in submission; a stranger's address may be forged
// (neither SPF nor DKIM is judged yet), so his failures go to the postmaster of the recipient's domain. Reports have the
// null sender, and nothing is ever reported about them but in the log.
//
// Only mailboxes of this server are delivered to. Start reading at [Queue.Deliver]; work.go tries again, report.go writes
// reports.
package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/protocols/delivery"
	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
	"github.com/dirpost/dirpost/storage/spool"
)

// ErrNotQueued: there is no message of this id. It is an fs.ErrNotExist.
var ErrNotQueued = fmt.Errorf("no such message in the queue: %w", fs.ErrNotExist)

// Options of a [Queue]. The zero value works.
type Options struct {
	Hostname string           // our name in reports; empty = "localhost"
	Expiry   time.Duration    // from its arrival until a message is given up; 0 = 5 days (RFC 5321 section 4.5.4.1)
	First    time.Duration    // until the second attempt; each wait is twice the one before; 0 = 1 minute
	Most     time.Duration    // longest wait; 0 = 1 hour
	Now      func() time.Time // nil = time.Now
	Log      *slog.Logger     // nil = discard
}

func (o Options) withDefaults() Options {
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	if o.Expiry == 0 {
		o.Expiry = 5 * 24 * time.Hour
	}
	if o.First == 0 {
		o.First = time.Minute
	}
	if o.Most == 0 {
		o.Most = time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// A Queue is one spool and who works on it. Its methods may be called concurrently.
type Queue struct {
	spool     *spool.Spool
	store     *mailbox.Store
	resolver  *lookup.Resolver
	deliverer *delivery.Deliverer
	opts      Options
	log       *slog.Logger

	cancel context.CancelFunc // of the work
	done   chan struct{}      // closed when the work has ended
	wake   chan struct{}      // something may be due earlier than was thought

	mu    sync.Mutex // guards items
	items map[string]*queued
}

// A queued is an item in memory. Who is at work on it has it alone.
type queued struct {
	spool.Item
	busy bool
	old  bool // from before the start: a crash may have come between filing a copy and noting it
}

// Open returns a queue of what lies in folder, and begins to work on it. The caller ends it with Close.
func Open(folder string, store *mailbox.Store, resolver *lookup.Resolver, deliverer *delivery.Deliverer, opts Options) (*Queue, error) {
	opts = opts.withDefaults()
	s, found, err := spool.Open(folder, opts.Log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	q := &Queue{
		spool: s, store: store, resolver: resolver, deliverer: deliverer, opts: opts, log: opts.Log,
		cancel: cancel, done: make(chan struct{}), wake: make(chan struct{}, 1), items: map[string]*queued{},
	}
	for _, item := range found {
		q.items[item.ID] = &queued{Item: item, old: true}
	}
	go q.work(ctx)
	return q, nil
}

// Close ends the work after the attempt in hand. What is queued stays so.
func (q *Queue) Close() error {
	q.cancel()
	<-q.done
	return nil
}

// A parcel is one mailbox's copy of a message.
type parcel struct {
	sets []int // whose replies speak for it
	rcpt directory.Address
	box  directory.Mailbox

	err   error // why it is not filed
	filed bool
	kept  bool // it is in the queue
}

// Deliver gives the sealed message to every mailbox of env's recipients and returns one result for each recipient, in
// their order; see the package comment. Where it is nil, the message is durable for all that the recipient stands for.
func (q *Queue) Deliver(ctx context.Context, env protocols.Envelope, staged *mailbox.Staged) []error {
	parcels := parcelsOf(env)
	var item *queued
	if len(parcels) > 1 {
		var err error
		if item, err = q.prepare(ctx, env, parcels, staged); err != nil {
			return slices.Repeat([]error{err}, len(env.Rcpts))
		}
	}
	for _, p := range parcels {
		if p.err == nil {
			p.err = q.deliverer.File(ctx, env, p.rcpt, p.box, staged)
			p.filed = p.err == nil
		}
	}
	if len(parcels) > 1 {
		q.settle(ctx, env, parcels, staged, item)
	}
	return results(env, parcels)
}

// setOf is the reply that speaks for recipient number i.
func setOf(env protocols.Envelope, i int) int {
	if env.PerRecipient {
		return i
	}
	return 0
}

// parcelsOf lists the mailboxes of env's recipients, each once.
func parcelsOf(env protocols.Envelope) []*parcel {
	var parcels []*parcel
	seen := map[string]*parcel{}
	for i, rcpt := range env.Rcpts {
		for _, box := range rcpt.Route.Mailboxes {
			p := seen[box.ID]
			if p == nil {
				p = &parcel{rcpt: rcpt.Address, box: box}
				seen[box.ID] = p
				parcels = append(parcels, p)
			}
			p.sets = append(p.sets, setOf(env, i))
		}
	}
	return parcels
}

// prepare finds out who cannot take the message now, and keeps it for those of them who have company. The item, if one is
// made, is the caller's.
func (q *Queue) prepare(ctx context.Context, env protocols.Envelope, parcels []*parcel, staged *mailbox.Staged) (*queued, error) {
	for _, p := range parcels {
		p.err = q.deliverer.Room(ctx, p.box, staged.Size())
	}
	rest := restOf(parcels, func(p *parcel) bool { return p.err == nil })
	if len(rest) == 0 {
		return nil, nil
	}
	return q.keep(env, rest, staged)
}

// settle brings the item, if there is one, to what came of the attempt, and reports what failed for good.
func (q *Queue) settle(ctx context.Context, env protocols.Envelope, parcels []*parcel, staged *mailbox.Staged, item *queued) {
	filed := func(p *parcel) bool { return p.filed }
	company := companyOf(parcels, filed)
	var lost []failure
	for _, p := range parcels {
		if p.err != nil && company(p) && lasting(p.err) {
			lost = append(lost, failure{p.rcpt, p.err})
		}
	}
	q.reportLost(ctx, origin{env.ID, env.From.String(), env.Login, env.Received}, lost, staged)
	rest := restOf(parcels, filed)
	if err := q.settleItem(env, rest, staged, item); err != nil {
		q.log.ErrorContext(ctx, "queue cannot be written", "mail", env.ID, "err", err)
		return
	}
	for _, p := range parcels {
		p.kept = slices.ContainsFunc(rest, func(r spool.Rest) bool { return r.Mailbox == p.box.ID })
	}
}

// settleItem makes the item of a message, if there is to be one, say this rest.
func (q *Queue) settleItem(env protocols.Envelope, rest []spool.Rest, staged *mailbox.Staged, item *queued) error {
	if item == nil && len(rest) == 0 {
		return nil
	}
	if item == nil {
		made, err := q.keep(env, rest, staged)
		if err == nil {
			q.giveBack(made)
		}
		return err
	}
	defer q.giveBack(item)
	next := item.Item
	next.Rest = rest
	return q.replace(item, next)
}

// companyOf tells of a parcel whether in one of its sets there is one that fits.
func companyOf(parcels []*parcel, fits func(*parcel) bool) func(*parcel) bool {
	company := map[int]bool{}
	for _, p := range parcels {
		for _, set := range p.sets {
			company[set] = company[set] || fits(p)
		}
	}
	return func(p *parcel) bool {
		return slices.ContainsFunc(p.sets, func(set int) bool { return company[set] })
	}
}

// restOf lists who is to be tried again: those who failed for now in a set where somebody else fits.
func restOf(parcels []*parcel, fits func(*parcel) bool) []spool.Rest {
	company := companyOf(parcels, fits)
	var rest []spool.Rest
	for _, p := range parcels {
		if p.err != nil && company(p) && !lasting(p.err) {
			rest = append(rest, spool.Rest{Address: p.rcpt.String(), Mailbox: p.box.ID, Err: p.err.Error()})
		}
	}
	return rest
}

// results are the answers for the recipients: yes if somebody has the message and everybody who can have it will; else the
// failure that is worth another try, if there is one.
func results(env protocols.Envelope, parcels []*parcel) []error {
	safe, failed, open := map[int]bool{}, map[int]error{}, map[int]bool{}
	for _, p := range parcels {
		for _, set := range p.sets {
			switch {
			case p.filed || p.kept:
				safe[set] = true
			case failed[set] == nil || lasting(failed[set]):
				failed[set] = p.err
			}
			open[set] = open[set] || p.err != nil && !p.kept && !lasting(p.err)
		}
	}
	out := make([]error, len(env.Rcpts))
	for i := range out {
		if set := setOf(env, i); !safe[set] || open[set] {
			out[i] = failed[set]
		}
	}
	return out
}

// lasting reports whether trying again is no use. Whatever is not known to be so is tried again.
func lasting(err error) bool { return errors.Is(err, storage.ErrTooLarge) }

// keep makes an item of the rest, durably, and takes it.
func (q *Queue) keep(env protocols.Envelope, rest []spool.Rest, staged *mailbox.Staged) (*queued, error) {
	item := &queued{busy: true, Item: spool.Item{
		ID: env.ID, From: env.From.String(), Login: env.Login, Received: env.Received,
		Next: q.opts.Now().Add(q.opts.First), Rest: rest,
	}}
	if err := q.spool.Put(item.Item, staged.LinkTo); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	q.mu.Lock()
	q.items[item.ID] = item
	q.mu.Unlock()
	return item, nil
}

// take returns the item of id, for the caller alone until giveBack; nil if there is none, or another has it.
func (q *Queue) take(id string) *queued {
	q.mu.Lock()
	defer q.mu.Unlock()
	item := q.items[id]
	if item == nil || item.busy {
		return nil
	}
	item.busy = true
	return item
}

func (q *Queue) giveBack(item *queued) {
	q.mu.Lock()
	item.busy = false
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// replace makes next of a taken item, durably; without a rest it goes.
func (q *Queue) replace(item *queued, next spool.Item) error {
	var err error
	if len(next.Rest) == 0 {
		err = q.spool.Remove(next.ID)
	} else {
		err = q.spool.Update(next)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case err != nil:
		return fmt.Errorf("queue: %w", err)
	case len(next.Rest) == 0:
		delete(q.items, next.ID)
	default:
		item.Item = next
	}
	return nil
}

// Items lists what is queued, the oldest first.
func (q *Queue) Items() []spool.Item {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := make([]spool.Item, 0, len(q.items))
	for item := range maps.Values(q.items) {
		list = append(list, item.Item)
	}
	slices.SortFunc(list, func(a, b spool.Item) int {
		if c := a.Received.Compare(b.Received); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}
