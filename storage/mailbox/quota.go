package mailbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/index"
	"github.com/dirpost/dirpost/storage/maildir"
)

// Usage is what the home holds: the files of all its folders, also those of other programs.
func (h *Home) Usage(ctx context.Context) (storage.Quota, error) {
	live, err := h.store.home(ctx, h.id)
	if err != nil {
		return storage.Quota{}, fmt.Errorf("usage: %w", err)
	}
	defer h.store.release(live)
	if err := live.countAll(ctx, true); err != nil {
		return storage.Quota{}, fmt.Errorf("usage: %w", err)
	}
	live.mu.Lock()
	defer live.mu.Unlock()
	return live.held(), nil
}

// CheckQuota is storage.ErrOverQuota, wrapped, if a message of size octets would make the home larger than limit.
func (h *Home) CheckQuota(ctx context.Context, limit storage.Quota, size int64) error {
	live, err := h.store.home(ctx, h.id)
	if err != nil {
		return fmt.Errorf("quota: %w", err)
	}
	defer h.store.release(live)
	r, err := live.reserve(ctx, limit, storage.Quota{Bytes: size, Messages: 1})
	if err != nil {
		return fmt.Errorf("quota: %w", err)
	}
	r.release()
	return nil
}

// A reservation is room for messages on their way in, so that several at a time cannot exceed a quota together.
type reservation struct {
	home *home
	room storage.Quota // guarded by home.mu; zero once released
}

// release gives the room back, unless the batch that filed the messages has.
func (r *reservation) release() {
	r.home.mu.Lock()
	defer r.home.mu.Unlock()
	r.settle()
}

// settle gives the room back. The caller holds home.mu.
func (r *reservation) settle() {
	r.home.reserved.Bytes -= r.room.Bytes
	r.home.reserved.Messages -= r.room.Messages
	r.room = storage.Quota{}
}

// reserve makes room for what is to be added under limit. Before it refuses, it looks whether other programs have made
// room.
func (h *home) reserve(ctx context.Context, limit, add storage.Quota) (*reservation, error) {
	r := &reservation{home: h}
	if limit.Bytes <= 0 && limit.Messages <= 0 {
		return r, nil
	}
	var used storage.Quota
	for _, again := range []bool{false, true} {
		if err := h.countAll(ctx, again); err != nil {
			return nil, err
		}
		h.mu.Lock()
		used = h.held()
		bytes, messages := used.Bytes+h.reserved.Bytes+add.Bytes, used.Messages+h.reserved.Messages+add.Messages
		fits := (limit.Bytes <= 0 || bytes <= limit.Bytes) && (limit.Messages <= 0 || messages <= limit.Messages)
		if fits {
			r.room = add
			h.reserved.Bytes += add.Bytes
			h.reserved.Messages += add.Messages
		}
		h.mu.Unlock()
		if fits {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%w: %d of %d octets, %d of %d messages used", storage.ErrOverQuota, used.Bytes, limit.Bytes,
		used.Messages, limit.Messages)
}

// held sums up the boxes. The caller holds mu.
func (h *home) held() storage.Quota {
	var sum storage.Quota
	for _, b := range h.boxes {
		for _, t := range b.totals() {
			sum.Bytes += t.Size
			sum.Messages += int64(t.Messages)
		}
	}
	return sum
}

// totals are those of the view, or what a light box knows.
func (b *box) totals() [2]index.Totals {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := b.view.Load(); v != nil {
		return v.totals
	}
	return b.count.totals
}

// countAll sees to it that the totals of every box are known or, with again, that they are right now.
func (h *home) countAll(ctx context.Context, again bool) error {
	h.mu.Lock()
	counted := h.counted
	h.mu.Unlock()
	if again || !counted {
		names, err := h.folderNames()
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, err := h.box(name); err != nil {
				return err
			}
		}
	}
	if n := h.store.notifier; again && n != nil {
		n.Drain()
	}
	for _, b := range h.known() {
		b.mu.Lock()
		known := b.count.known || b.view.Load() != nil
		b.mu.Unlock()
		if known && !again {
			continue
		}
		if err := b.do(ctx, (*tx).recount); err != nil && !errors.Is(err, storage.ErrNoMailbox) {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counted = true
	return nil
}

// recount brings the totals up to date.
func (tx *tx) recount() error {
	if tx.edit != nil {
		return tx.look()
	}
	c, _, err := tx.counted()
	if err != nil {
		return err
	}
	b := tx.box
	for _, sub := range maildir.Subs {
		if c.stamps[sub] != (maildir.Stamp{}) {
			continue
		}
		if err := tx.countFiles(&c, sub); err != nil {
			return err
		}
	}
	for sub := range tx.light {
		tx.light[sub] = index.Totals{} // they are among the files
	}
	c.known = true
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count = c
	return nil
}

// counted is what is known of the directories of a light box as they are now: in memory or at the end of the index. The
// stamp of a directory of which nothing is known is zero. All reports whether both are known.
func (tx *tx) counted() (c count, all bool, err error) {
	b := tx.box
	b.mu.Lock()
	memory := b.count
	b.mu.Unlock()
	summary, err := index.ReadSummary(b.indexPath(), tx.actor.marks.validity)
	if err != nil {
		summary = &index.Summary{}
	}
	all = true
	for _, sub := range maildir.Subs {
		stamp, err := b.dir.ReadStamp(sub)
		if err != nil {
			return count{}, false, noMailbox(err)
		}
		switch stamp {
		case memory.stamps[sub]:
			c.stamps[sub], c.totals[sub] = stamp, memory.totals[sub]
		case summary.Stamps[sub]:
			c.stamps[sub], c.totals[sub] = stamp, summary.Totals[sub]
		default:
			all = false
		}
	}
	return c, all, nil
}

// countFiles counts the files of a directory by their names; only those whose name does not tell the size are asked.
func (tx *tx) countFiles(c *count, sub maildir.Sub) error {
	dir := tx.box.dir
	now := time.Now()
	stamp, err := dir.ReadStamp(sub)
	if err != nil {
		return noMailbox(err)
	}
	files, err := dir.Scan(sub)
	if err != nil {
		return noMailbox(err)
	}
	reader, err := dir.Reader(sub)
	if err != nil {
		return noMailbox(err)
	}
	defer reader.Close()
	c.totals[sub] = index.Totals{}
	for _, file := range files {
		name := maildir.ParseName(file)
		size := name.Size
		if size < 0 {
			facts, err := reader.Facts(file)
			if err != nil {
				continue // gone
			}
			size = facts.Size
		}
		row := index.Row{Size: size, WireSize: max(name.WireSize, size), Flags: name.Flags}
		c.totals[sub].Add(&row, 1)
	}
	if stamp.Settled(now) {
		c.stamps[sub] = stamp
	}
	return nil
}
