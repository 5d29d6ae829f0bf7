package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/index"
	"github.com/dirpost/dirpost/storage/maildir"
)

// AppendOptions are what a message is filed with.
type AppendOptions struct {
	Flags    storage.Flags
	Keywords []string
	Date     time.Time     // INTERNALDATE; zero is the date of the Staged
	Quota    storage.Quota // what the home may hold with the message in it
}

// Appended tells where a message went.
type Appended struct {
	UIDValidity uint32
	UID         storage.UID
}

// Append files the message of a sealed Staged. When it returns without error the message is durable, everybody who
// watches the folder is awake, and the Staged may be appended elsewhere or discarded. Messages without flags go to new,
// where they stay until they get flags. storage.ErrOverQuota, ErrNoMailbox or ErrKeywords may be wrapped; after any error
// the message is not in the folder.
func (h *Home) Append(ctx context.Context, folder string, st *Staged, o AppendOptions) (Appended, error) {
	live, err := h.store.home(ctx, h.id)
	if err != nil {
		return Appended{}, fmt.Errorf("append: %w", err)
	}
	defer h.store.release(live)
	done, err := live.append(ctx, folder, st, o)
	if err != nil {
		return Appended{}, fmt.Errorf("append to %s of %s: %w", folder, h.id, err)
	}
	return done, nil
}

// Holds reports whether INBOX has the very file of the sealed st: a delivery that a crash let nobody know of. Where it had
// to be copied nothing can be told.
func (h *Home) Holds(ctx context.Context, st *Staged) (bool, error) {
	live, err := h.store.home(ctx, h.id)
	if err != nil {
		return false, fmt.Errorf("holds: %w", err)
	}
	defer h.store.release(live)
	ours, err := os.Lstat(st.path)
	if err != nil {
		return false, fmt.Errorf("holds: %w", err)
	}
	for _, sub := range maildir.Subs {
		files, err := live.inbox().Scan(sub)
		if err != nil {
			return false, fmt.Errorf("holds: %w", err)
		}
		for _, file := range files {
			info, err := os.Lstat(live.inbox().Path(sub, file))
			if err == nil && os.SameFile(info, ours) {
				return true, nil
			}
		}
	}
	return false, nil
}

func (h *home) append(ctx context.Context, folder string, st *Staged, o AppendOptions) (Appended, error) {
	b, err := h.box(folder)
	if err != nil {
		return Appended{}, err
	}
	src, date, done, err := st.dated(o.Date)
	if err != nil {
		return Appended{}, err
	}
	defer done()
	room, err := h.reserve(ctx, o.Quota, storage.Quota{Bytes: st.Size(), Messages: 1})
	if err != nil {
		return Appended{}, err
	}
	defer room.release()
	var result Appended
	err = b.do(ctx, func(tx *tx) error {
		keywords, err := tx.keywordBits(o.Keywords, true)
		if err != nil {
			return err
		}
		row := index.Row{
			Size: st.Size(), WireSize: st.WireSize(), Date: date.Unix(), Flags: o.Flags, Keywords: keywords,
		}
		if err := tx.file(src, &row, ""); err != nil {
			return err
		}
		tx.filled = append(tx.filled, room)
		result = Appended{tx.actor.marks.validity, row.UID}
		return nil
	})
	return result, err
}

// file links src as a new message: it completes row, which has the facts and flags, with a UID and a name. Other letters
// of the old name of a copy are kept.
func (tx *tx) file(src string, row *index.Row, other string) error {
	a, b := tx.actor, tx.box
	if tx.edit != nil {
		seq, err := tx.modseq()
		if err != nil {
			return err
		}
		row.ModSeq = seq
	}
	if err := a.marks.reserveUIDs(b.dir, 1, b.home.store.boot); err != nil {
		return err
	}
	s := b.home.store
	row.UID = a.marks.takeUID() // skipped, if the link fails
	base := s.names.Base(s.opts.Now(), row.Size, row.WireSize, a.marks.validity, row.UID)
	row.File, row.BaseLen, row.Sub = base, uint8(len(base)), maildir.New
	if info := (maildir.Info{Flags: row.Flags, Keywords: row.Keywords, Other: other}); info != (maildir.Info{}) {
		row.File, row.Sub = info.File(base), maildir.Cur
	}
	if err := tx.link(src, row.Sub, row.File); err != nil {
		if errors.Is(err, fs.ErrNotExist) && !b.dir.Exists() {
			return storage.ErrNoMailbox
		}
		return err
	}
	if tx.edit != nil {
		tx.edit.put(*row)
	} else {
		tx.light[row.Sub].Add(row, 1)
	}
	return nil
}

// keywordBits are the letters of keywords, which are compared without regard to case (RFC 9051 section 2.3.2). add gives
// letters to new ones, durably; else they are passed over. storage.ErrKeywords is wrapped when the letters do not suffice.
func (tx *tx) keywordBits(keywords []string, add bool) (uint32, error) {
	if len(keywords) == 0 {
		return 0, nil
	}
	if err := tx.readKeywords(); err != nil {
		return 0, err
	}
	table := slices.Clone(tx.actor.keywords)
	var bits uint32
	for _, keyword := range keywords {
		if !maildir.ValidKeyword(keyword) {
			return 0, fmt.Errorf("%q is not a keyword", keyword)
		}
		at := slices.IndexFunc(table, func(k string) bool { return strings.EqualFold(k, keyword) })
		if at < 0 && !add {
			continue
		}
		if at < 0 {
			at = slices.Index(table, "") // a letter without a keyword
		}
		if at < 0 {
			at = len(table)
			table = append(table, "")
		}
		if at >= maildir.MaxKeywords {
			return 0, fmt.Errorf("%w: no letter is left for %s", storage.ErrKeywords, keyword)
		}
		if table[at] == "" {
			table[at] = keyword
		}
		bits |= 1 << at
	}
	if slices.Equal(table, tx.actor.keywords) {
		return bits, nil
	}
	if err := tx.box.dir.WriteKeywords(table); err != nil {
		return 0, err
	}
	tx.actor.keywords = table
	if tx.edit != nil {
		tx.edit.dirty = true
	}
	return bits, nil
}

func (tx *tx) readKeywords() error {
	if tx.actor.haveKeyword {
		return nil
	}
	table, err := tx.box.dir.Keywords()
	if err != nil {
		return err
	}
	tx.actor.keywords, tx.actor.haveKeyword = table, true
	return nil
}

// keywordsFull reports whether no letter is left.
func keywordsFull(table []string) bool {
	return len(table) >= maildir.MaxKeywords && !slices.Contains(table, "")
}
