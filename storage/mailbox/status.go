package mailbox

import (
	"context"
	"fmt"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/index"
	"github.com/dirpost/dirpost/storage/maildir"
)

// A Status is what STATUS tells of a folder (RFC 9051 section 6.3.11).
type Status struct {
	Messages, Unseen, Deleted uint32
	UIDNext                   storage.UID
	UIDValidity               uint32
	Size                      int64 // sum of the WireSizes
	HighestModSeq             storage.ModSeq
}

// Status tells of a folder. If it has not changed since its index was written, only the end of that is read.
func (h *Home) Status(ctx context.Context, name string) (Status, error) {
	live, err := h.store.home(ctx, h.id)
	if err != nil {
		return Status{}, fmt.Errorf("status: %w", err)
	}
	defer h.store.release(live)
	b, err := live.box(name)
	if err != nil {
		return Status{}, fmt.Errorf("status: %w", err)
	}
	status, err := b.status(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("status of %s: %w", name, err)
	}
	return status, nil
}

func (b *box) status(ctx context.Context) (Status, error) {
	b.hold() // a view that is there stays
	defer b.release()
	if b.view.Load() == nil {
		status, ok, err := b.lightStatus(ctx)
		if ok || err != nil {
			return status, err
		}
	}
	if err := b.refreshOrLoad(ctx); err != nil {
		return Status{}, err
	}
	v := b.view.Load()
	return newStatus(v.totals, v.UIDValidity, v.UIDNext, v.HighestModSeq), nil
}

// lightStatus tells what can be told without loading, if it can.
func (b *box) lightStatus(ctx context.Context) (status Status, ok bool, err error) {
	err = b.do(ctx, func(tx *tx) error {
		if tx.edit != nil {
			return nil // somebody was quicker
		}
		c, all, err := tx.counted()
		if err != nil || !all {
			return err
		}
		m := &tx.actor.marks
		status, ok = newStatus(c.totals, m.validity, m.nextUID, m.modseq), true
		return nil
	})
	return status, ok, err
}

func newStatus(totals [2]index.Totals, validity uint32, next storage.UID, modseq storage.ModSeq) Status {
	sum := totals[maildir.New]
	sum.Sum(totals[maildir.Cur])
	return Status{
		Messages: sum.Messages, Unseen: sum.Unseen, Deleted: sum.Deleted,
		UIDNext: next, UIDValidity: validity, Size: sum.WireSize, HighestModSeq: modseq,
	}
}
