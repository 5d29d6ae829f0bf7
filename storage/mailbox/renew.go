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

// Renew gives every folder of every home a new UIDVALIDITY. It is for homes that come from a backup: after that was made,
// UIDs may have been given out that the folders know nothing of, and clients must not take what gets them now for what they
// have seen. The clients read each folder anew. Messages are numbered again, oldest first, when their folder is opened.
//
// Homes that have been used since Open are storage.ErrBusy.
func (s *Store) Renew(ctx context.Context) error {
	entries, err := os.ReadDir(s.opts.Homes)
	if err != nil {
		return fmt.Errorf("renew: %w", err)
	}
	for _, entry := range entries {
		if !entry.IsDir() || !validID(entry.Name()) {
			continue
		}
		if err := s.renewHome(ctx, entry.Name()); err != nil {
			return fmt.Errorf("renew: %w", err)
		}
	}
	return nil
}

func (s *Store) renewHome(ctx context.Context, id string) error {
	h, err := s.home(ctx, id)
	if err != nil {
		return err
	}
	defer s.release(h)
	if len(h.known()) > 0 {
		return fmt.Errorf("%w: home %s", storage.ErrBusy, id)
	}
	names, err := h.folderNames()
	if err != nil {
		return err
	}
	for _, name := range names {
		dir, err := maildir.FolderDir(name, s.opts.Limits.NameBytes)
		if err != nil {
			return err
		}
		if err := h.renewFolder(maildir.Dir(h.inbox().File(dir))); err != nil {
			return fmt.Errorf("home %s: folder %s: %w", id, name, err)
		}
	}
	return nil
}

// renewFolder begins the numbers of a folder anew. One that has none yet gets them when it is opened.
func (h *home) renewFolder(dir maildir.Dir) error {
	m, err := readMarks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	validity, err := h.nextValidity()
	if err != nil {
		return err
	}
	fresh := newMarks(validity, m.use)
	return fresh.write(dir)
}
