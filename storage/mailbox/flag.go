package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/index"
	"github.com/dirpost/dirpost/storage/maildir"
)

// Flag sets, adds or removes flags and keywords of messages, as STORE does (RFC 9051 section 6.4.6). The new flags are
// durable when it returns. UIDs that are not there are passed over. A message whose ModSeq is above unchangedSince is left
// alone and returned in modified (RFC 7162 section 3.1.3); 0 is no condition, so that a client's UNCHANGEDSINCE 0, which
// no message fulfils, must be answered without asking. After an error some messages may have changed; the view tells.
func (m *Mailbox) Flag(ctx context.Context, uids []storage.UID, op storage.FlagOp, f storage.Flags, keywords []string,
	unchangedSince storage.ModSeq) (modified []storage.UID, err error) {
	if err := m.enter(ctx); err != nil {
		return nil, fmt.Errorf("flag: %w", err)
	}
	defer m.leave()
	err = m.box.do(ctx, func(tx *tx) error {
		tx.rely()
		bits, err := tx.keywordBits(keywords, op != storage.RemoveFlags)
		if err != nil {
			return err
		}
		flagging := flagging{op, f, bits, tx.namedKeywords()}
		for _, uid := range uids {
			row := tx.edit.row(uid)
			switch {
			case row == nil:
			case unchangedSince > 0 && row.ModSeq > unchangedSince:
				modified = append(modified, uid)
			default:
				if err := tx.flag(*row, flagging); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("flag: %w", err)
	}
	return modified, nil
}

// A flagging is what Flag does to each message.
type flagging struct {
	op       storage.FlagOp
	flags    storage.Flags
	keywords uint32
	named    uint32 // letters that stand for a keyword: no client can set or clear the others
}

// apply returns the flags that become of these.
func (g flagging) apply(flags storage.Flags, keywords uint32) (storage.Flags, uint32) {
	switch g.op {
	case storage.AddFlags:
		return flags | g.flags, keywords | g.keywords
	case storage.RemoveFlags:
		return flags &^ g.flags, keywords &^ g.keywords
	default:
		return g.flags, keywords&^g.named | g.keywords
	}
}

// namedKeywords are the letters that stand for a keyword.
func (tx *tx) namedKeywords() uint32 {
	var bits uint32
	for i, keyword := range tx.actor.keywords {
		if keyword != "" {
			bits |= 1 << i
		}
	}
	return bits
}

// flag changes the flags of one message by renaming its file to cur.
func (tx *tx) flag(row index.Row, g flagging) error {
	for tries := 2; ; tries-- {
		flags, keywords := g.apply(row.Flags, row.Keywords)
		if flags == row.Flags && keywords == row.Keywords {
			return nil
		}
		seq, err := tx.modseq()
		if err != nil {
			return err
		}
		next := row
		next.Flags, next.Keywords, next.ModSeq, next.Sub = flags, keywords, seq, maildir.Cur
		info := maildir.Info{Flags: flags, Keywords: keywords, Other: maildir.ParseName(row.File).Other}
		next.File = info.File(row.Base())
		err = tx.rename(row.Sub, row.File, maildir.Cur, next.File)
		if err == nil {
			tx.edit.put(next)
			return nil
		}
		if tries == 0 || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Another program was quicker.
		if err := tx.scanAll(); err != nil {
			return err
		}
		now := tx.edit.row(row.UID)
		if now == nil {
			return nil
		}
		row = *now
	}
}

// Expunge removes messages for good. UIDs that are not there are passed over. When it returns the removal is durable:
// were it not, a power cut could bring back messages under UIDs that clients have been told are gone, which no client
// expects; and the fsync is shared by all that the command removes, and by other commands of the moment.
func (m *Mailbox) Expunge(ctx context.Context, uids []storage.UID) error {
	if err := m.enter(ctx); err != nil {
		return fmt.Errorf("expunge: %w", err)
	}
	defer m.leave()
	if err := m.expunge(ctx, uids); err != nil {
		return fmt.Errorf("expunge: %w", err)
	}
	return nil
}

func (m *Mailbox) expunge(ctx context.Context, uids []storage.UID) error {
	return m.box.do(ctx, func(tx *tx) error {
		tx.rely()
		for _, uid := range uids {
			if row := tx.edit.row(uid); row != nil {
				if err := tx.unlink(*row); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// unlink removes one message. If its file has another name by now, it is removed under that.
func (tx *tx) unlink(row index.Row) error {
	seq, err := tx.modseq()
	if err != nil {
		return err
	}
	err = tx.remove(row.Sub, row.File)
	if errors.Is(err, fs.ErrNotExist) {
		if err := tx.scanAll(); err != nil {
			return err
		}
		now := tx.edit.row(row.UID)
		if now == nil {
			return nil
		}
		err = tx.remove(now.Sub, now.File)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tx.edit.remove(row.UID, seq)
	return nil
}
