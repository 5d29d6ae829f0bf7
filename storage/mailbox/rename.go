package mailbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// Rename gives a folder and those below it another name; sessions that have them open go on. Renaming INBOX moves its
// messages to a new folder instead and leaves it empty (RFC 9051 section 6.3.6). A crash may leave some of the folders
// below under the old name. storage.ErrExists, ErrNoMailbox, ErrBadName or ErrNotPermitted may be wrapped.
func (h *Home) Rename(ctx context.Context, from, to string) error {
	live, err := h.store.home(ctx, h.id)
	if err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	defer h.store.release(live)
	if from, err = maildir.CleanFolder(from); err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	if to, err = maildir.CleanFolder(to); err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	if from == maildir.Inbox {
		err = h.renameInbox(ctx, to)
	} else {
		err = live.rename(ctx, from, to)
	}
	if err != nil {
		return fmt.Errorf("rename %s: %w", from, err)
	}
	return nil
}

// renameInbox moves all messages of INBOX to a new folder.
func (h *Home) renameInbox(ctx context.Context, to string) error {
	if err := h.Create(ctx, to, ""); err != nil {
		return err
	}
	inbox, err := h.Open(ctx, maildir.Inbox)
	if err != nil {
		return err
	}
	defer inbox.Close()
	var all []storage.UID
	for _, m := range inbox.View().All() {
		all = append(all, m.UID)
	}
	_, err = inbox.Move(ctx, all, h, to, storage.Quota{})
	return err
}

// A renaming is what becomes of one directory.
type renaming struct{ from, to string }

func (h *home) rename(ctx context.Context, from, to string) error {
	if strings.HasPrefix(to, from+"/") {
		return fmt.Errorf("%w: %s is below it", storage.ErrNotPermitted, to)
	}
	if err := checkNewName(to); err != nil {
		return err
	}
	h.admin.Lock()
	defer h.admin.Unlock()
	plan, err := h.planRename(from, to)
	if err != nil {
		return err
	}
	h.changeTree()
	for _, r := range plan {
		if err := h.renameOne(ctx, r); err != nil {
			return errors.Join(err, h.syncTree())
		}
	}
	return h.syncTree()
}

// planRename lists the folders to rename, after checking that each can be.
func (h *home) planRename(from, to string) ([]renaming, error) {
	if _, err := h.vacant(to); err != nil {
		return nil, err
	}
	names, err := h.folderNames()
	if err != nil {
		return nil, err
	}
	var plan []renaming
	for _, name := range names {
		if name != from && !strings.HasPrefix(name, from+"/") {
			continue
		}
		next := to + strings.TrimPrefix(name, from)
		if _, err := h.vacant(next); err != nil {
			return nil, err
		}
		plan = append(plan, renaming{name, next})
	}
	if plan == nil {
		return nil, storage.ErrNoMailbox
	}
	return plan, nil
}

// renameOne renames a folder, its index and its box.
func (h *home) renameOne(ctx context.Context, r renaming) error {
	oldDir, err := maildir.FolderDir(r.from, 0)
	if err != nil {
		return err
	}
	newDir, err := maildir.FolderDir(r.to, 0)
	if err != nil {
		return err
	}
	b, err := h.box(r.from)
	if err != nil {
		return err
	}
	if err := h.banish(ctx, newDir); err != nil {
		return err
	}
	// Under both names before the directory has the new one, so that nobody makes a second box for it.
	h.mu.Lock()
	h.boxes[newDir] = b
	h.mu.Unlock()
	err = b.wait(ctx, &op{alone: true, run: func(*tx) error {
		path := maildir.Dir(h.inbox().File(newDir))
		if err := os.Rename(string(b.dir), string(path)); err != nil {
			return noMailbox(err)
		}
		cache := h.cacheDir(newDir)
		if err := errors.Join(os.RemoveAll(cache), os.Rename(b.cache, cache)); err != nil {
			b.dropIndex() // a new one will be written
		}
		b.mu.Lock()
		b.name, b.dir, b.cache = r.to, path, cache
		b.mu.Unlock()
		return nil
	}})
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		delete(h.boxes, newDir)
		return err
	}
	delete(h.boxes, oldDir)
	return nil
}
