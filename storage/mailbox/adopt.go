package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// adopt takes over the numbers that Dovecot gave to the messages of a folder that has none of ours, so that clients need not
// read it anew: each file gets the UID in its name that the list has for it, and the marks go on from there. Messages that
// are not in the list are numbered like those of any other program. Nothing counts before the marks are written, so what a
// crash leaves is adopted again. Without a list, or with one that cannot be read, the marks have no UIDVALIDITY.
func (b *box) adopt() (marks, error) {
	log := b.home.store.log
	list, err := b.dir.UIDList()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return marks{}, nil
	case errors.Is(err, maildir.ErrUIDList):
		log.Warn("list of UIDs cannot be taken over: clients read the mailbox anew", "home", b.home.id, "folder", b.name, "err", err)
		return marks{}, nil
	case err != nil:
		return marks{}, err
	}
	taken := map[storage.UID]bool{}
	for _, sub := range maildir.Subs {
		if err := b.adoptFiles(sub, list, taken); err != nil {
			return marks{}, err
		}
	}
	if err := b.home.raiseValidity(list.Validity); err != nil {
		return marks{}, err
	}
	log.Info("UIDs of Dovecot are taken over", "home", b.home.id, "folder", b.name, "messages", len(taken))
	m := newMarks(list.Validity, "")
	m.nextUID, m.uidEnd = list.Next, list.Next
	return m, nil
}

// adoptFiles writes the UIDs into the names of the files of one directory, durably.
func (b *box) adoptFiles(sub maildir.Sub, list maildir.UIDList, taken map[storage.UID]bool) error {
	files, err := b.dir.Scan(sub)
	if err != nil {
		return err
	}
	for _, file := range files {
		name := maildir.ParseName(file)
		uid := list.UIDs[name.Base]
		if name.UIDValidity == list.Validity && uid == 0 {
			uid = name.UID // a crash interrupted us
		}
		if uid == 0 || taken[uid] {
			continue
		}
		if err := b.adoptFile(sub, name, file, list.Validity, uid); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return fmt.Errorf("take over %s: %w", file, err)
		}
		taken[uid] = true
	}
	return maildir.SyncDir(b.dir.Sub(sub))
}

func (b *box) adoptFile(sub maildir.Sub, name maildir.Name, file string, validity uint32, uid storage.UID) error {
	size, wire, err := b.sizes(sub, name, file)
	if err != nil {
		return err
	}
	base, ok := name.Number(size, wire, validity, uid)
	if !ok {
		s := b.home.store
		base = s.names.Base(s.opts.Now(), size, wire, validity, uid)
	}
	to := base
	if sub == maildir.Cur || len(file) > len(name.Base) {
		to = name.Info.File(base)
	}
	if to == file {
		return nil
	}
	return b.dir.Rename(sub, file, sub, to)
}

// sizes of a file, from its name if that tells them rightly.
func (b *box) sizes(sub maildir.Sub, name maildir.Name, file string) (size, wire int64, err error) {
	info, err := os.Stat(b.dir.Path(sub, file))
	if err != nil {
		return 0, 0, err
	}
	if name.Size == info.Size() && name.WireSize >= name.Size {
		return name.Size, name.WireSize, nil
	}
	f, err := b.dir.OpenFile(sub, file)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	return maildir.WireSize(f)
}

// raiseValidity sees to it that the home gives out a UIDVALIDITY no more that a folder came with.
func (h *home) raiseValidity(to uint32) error {
	h.counter.Lock()
	defer h.counter.Unlock()
	last, err := h.lastValidity()
	if err != nil || last >= uint64(to) {
		return err
	}
	return h.writeValidity(uint64(to))
}

// HandOver writes the lists by which Dovecot knows the UIDs of every folder of every home, for who goes back to it. What
// else it needs is there in its own form already: names, flags, keywords and subscriptions.
func (s *Store) HandOver(ctx context.Context) (folders int, err error) {
	entries, err := os.ReadDir(s.opts.Homes)
	if err != nil {
		return 0, fmt.Errorf("hand over: %w", err)
	}
	for _, entry := range entries {
		if !entry.IsDir() || !validID(entry.Name()) {
			continue
		}
		h, err := s.Home(entry.Name())
		if err != nil {
			return folders, fmt.Errorf("hand over: %w", err)
		}
		list, err := h.Folders(ctx)
		if err != nil {
			return folders, fmt.Errorf("hand over: %w", err)
		}
		for _, f := range list {
			if f.NoSelect {
				continue
			}
			if err := h.handOver(ctx, f.Name); err != nil {
				return folders, fmt.Errorf("hand over: home %s: folder %s: %w", entry.Name(), f.Name, err)
			}
			folders++
		}
	}
	return folders, nil
}

func (h *Home) handOver(ctx context.Context, folder string) error {
	m, err := h.Open(ctx, folder)
	if err != nil {
		return err
	}
	defer m.Close()
	_, dir := m.box.place()
	view := m.View()
	messages := make([]storage.Message, 0, view.Len())
	for _, msg := range view.All() {
		messages = append(messages, msg)
	}
	return dir.WriteUIDList(view.UIDValidity, view.UIDNext, messages)
}
