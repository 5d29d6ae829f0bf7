package mailbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// A Folder is a name in the tree of a home.
type Folder struct {
	Name       string // UTF-8, levels divided by "/"
	SpecialUse string // as in RFC 6154, with the backslash; empty for none
	Subscribed bool
	NoSelect   bool // a level above other folders, or a subscription, that is no folder itself
	Children   bool // there are folders below it
}

// Folders lists the folders of the home by name, INBOX first. Levels above a folder that are no folders, and names that
// are only subscribed, are listed as NoSelect.
func (h *Home) Folders(ctx context.Context) ([]Folder, error) {
	live, err := h.store.home(ctx, h.id)
	if err != nil {
		return nil, fmt.Errorf("folders: %w", err)
	}
	defer h.store.release(live)
	names, err := live.folderNames()
	if err != nil {
		return nil, fmt.Errorf("folders: %w", err)
	}
	subscribed, err := live.subscriptions()
	if err != nil {
		return nil, fmt.Errorf("folders: %w", err)
	}
	byName := map[string]*Folder{}
	for _, name := range names {
		use, err := live.specialUse(name)
		if errors.Is(err, storage.ErrNoMailbox) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("folders: %w", err)
		}
		byName[name] = &Folder{Name: name, SpecialUse: use}
	}
	for _, name := range subscribed {
		if byName[name] == nil {
			byName[name] = &Folder{Name: name, NoSelect: true}
		}
		byName[name].Subscribed = true
	}
	return tree(byName), nil
}

// tree adds the missing levels and sorts.
func tree(byName map[string]*Folder) []Folder {
	var below []string
	for name, f := range byName {
		if !f.NoSelect {
			below = append(below, name)
		}
	}
	for _, name := range below {
		for at := strings.LastIndexByte(name, '/'); at >= 0; at = strings.LastIndexByte(name[:at], '/') {
			level := name[:at]
			if byName[level] == nil {
				byName[level] = &Folder{Name: level, NoSelect: true}
			}
			byName[level].Children = true
		}
	}
	list := make([]Folder, 0, len(byName))
	for _, f := range byName {
		list = append(list, *f)
	}
	slices.SortFunc(list, func(a, b Folder) int {
		switch {
		case a.Name == maildir.Inbox:
			return -1
		case b.Name == maildir.Inbox:
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

// folderNames are the folders on disk, INBOX first.
func (h *home) folderNames() ([]string, error) {
	entries, err := os.ReadDir(string(h.inbox()))
	if err != nil {
		return nil, err
	}
	names := []string{maildir.Inbox}
	for _, entry := range entries {
		dir := entry.Name()
		if !entry.IsDir() || dir[0] != '.' || !maildir.Dir(h.inbox().File(dir)).Exists() {
			continue
		}
		name, err := maildir.FolderName(dir)
		if err != nil || len(dir) > h.store.opts.Limits.NameBytes {
			h.store.log.Debug("folder has a name that cannot be shown", "home", h.id, "dir", dir, "err", err)
			continue
		}
		names = append(names, name)
	}
	return names, nil
}

// specialUse is that of a folder. Once read it is kept in memory.
func (h *home) specialUse(name string) (string, error) {
	b, err := h.box(name)
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.useKnown {
		m, err := readMarks(b.dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			m.use = specialUses[b.name]
		case err != nil && !errors.Is(err, errMarks):
			return "", err
		}
		b.use, b.useKnown = m.use, true
	}
	return b.use, nil
}

// Create makes a folder. specialUse is one of RFC 6154, with its backslash, or empty. storage.ErrExists if there is one.
func (h *Home) Create(ctx context.Context, name, specialUse string) error {
	live, err := h.store.home(ctx, h.id)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	defer h.store.release(live)
	if err := live.create(ctx, name, specialUse); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	return nil
}

// checkNewName refuses what names nothing good although it could be stored. Folders that have such names from elsewhere can
// still be read, renamed and deleted.
func checkNewName(name string) error {
	if strings.ContainsAny(name, "*%") {
		return fmt.Errorf("%w: %q has a wildcard", storage.ErrBadName, name)
	}
	for level := range strings.SplitSeq(name, "/") {
		if level == "." || level == ".." { // programs that keep folders as files stumble over them
			return fmt.Errorf("%w: %q has a level that is only dots", storage.ErrBadName, name)
		}
	}
	return nil
}

// maxUse bounds a special use.
const maxUse = 32

func (h *home) create(ctx context.Context, name, use string) error {
	if len(use) > maxUse || use != "" && (use[0] != '\\' || !maildir.ValidKeyword(use[1:])) {
		return fmt.Errorf("%w: special use %q", storage.ErrBadName, use)
	}
	if err := checkNewName(name); err != nil {
		return err
	}
	h.admin.Lock()
	defer h.admin.Unlock()
	dir, err := h.vacant(name)
	if err != nil {
		return err
	}
	names, err := h.folderNames()
	if err != nil {
		return err
	}
	if limit := h.store.opts.Limits.Folders; len(names) >= limit {
		return fmt.Errorf("%w: there are %d folders already", storage.ErrNotPermitted, limit)
	}
	if err := h.banish(ctx, dir); err != nil {
		return err
	}
	validity, err := h.nextValidity()
	if err != nil {
		return err
	}
	path, err := h.store.stagingPath()
	if err != nil {
		return err
	}
	defer os.RemoveAll(path)
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	if err := makeFolder(maildir.Dir(path), dir); err != nil {
		return err
	}
	aside := maildir.Dir(filepath.Join(path, dir))
	m := newMarks(validity, use)
	if err := m.write(aside); err != nil {
		return err
	}
	h.changeTree()
	if err := os.Rename(string(aside), h.inbox().File(dir)); err != nil {
		return err
	}
	return h.syncTree()
}

// banish ends the box of a folder that another program has removed, so that it does not take a new one for its own.
func (h *home) banish(ctx context.Context, dir string) error {
	h.mu.Lock()
	b := h.boxes[dir]
	h.mu.Unlock()
	if b == nil {
		return nil
	}
	err := b.wait(ctx, &op{alone: true, run: func(*tx) error {
		b.bury()
		return nil
	}})
	if err != nil && !errors.Is(err, storage.ErrNoMailbox) {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.boxes, dir)
	return nil
}

// vacant is the directory for a new folder.
func (h *home) vacant(name string) (string, error) {
	dir, err := maildir.FolderDir(name, h.store.opts.Limits.NameBytes)
	if err != nil {
		return "", err
	}
	_, err = os.Lstat(h.inbox().File(dir))
	if dir == "" || err == nil {
		return "", fmt.Errorf("%w: %s", storage.ErrExists, name)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return dir, nil
}

// Delete removes a folder with its messages; folders below it stay. Sessions that have it open get storage.ErrNoMailbox
// from then on. INBOX cannot be deleted (storage.ErrNotPermitted).
func (h *Home) Delete(ctx context.Context, name string) error {
	live, err := h.store.home(ctx, h.id)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	defer h.store.release(live)
	if err := live.delete(ctx, name); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

func (h *home) delete(ctx context.Context, name string) error {
	dir, err := maildir.FolderDir(name, h.store.opts.Limits.NameBytes)
	if err != nil {
		return err
	}
	if dir == "" {
		return storage.ErrNotPermitted
	}
	h.admin.Lock()
	defer h.admin.Unlock()
	b, err := h.box(name)
	if err != nil {
		return err
	}
	// Out of the tree with one rename; what a crash leaves of it is removed when the home is next prepared.
	unique, err := h.store.stagingPath()
	if err != nil {
		return err
	}
	grave := h.inbox().File(deletedPrefix + filepath.Base(unique))
	err = b.wait(ctx, &op{alone: true, run: func(tx *tx) error {
		h.changeTree()
		if err := os.Rename(string(b.dir), grave); err != nil {
			return noMailbox(err)
		}
		b.bury()
		return nil
	}})
	h.mu.Lock()
	if h.boxes[dir] == b && (err == nil || errors.Is(err, storage.ErrNoMailbox)) {
		delete(h.boxes, dir)
	}
	h.mu.Unlock()
	if err != nil {
		return err
	}
	if err := h.syncTree(); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(grave), os.RemoveAll(b.cache))
}

// bury ends a box whose folder is gone.
func (b *box) bury() {
	b.dropIndex()
	b.forget()
	b.actor.gone = true
	b.mu.Lock()
	b.count = count{known: true}
	b.mu.Unlock()
	b.pulse() // the sessions find out when they next ask
}

// subscriptionsFile is that of Dovecot: a line for each name, as on disk without the leading dot.
const subscriptionsFile = "subscriptions"

// maxSubscriptions bounds the file.
const maxSubscriptions = 1 << 20

// subscriptions reads the names.
func (h *home) subscriptions() ([]string, error) {
	data, err := os.ReadFile(h.inbox().File(subscriptionsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(data) > maxSubscriptions {
		return nil, fmt.Errorf("%s has %d octets, %d are allowed", subscriptionsFile, len(data), maxSubscriptions)
	}
	var names []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		name, err := maildir.Inbox, error(nil)
		if line != maildir.Inbox {
			name, err = maildir.FolderName("." + line)
		}
		if err == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

// Subscribe adds name to the subscriptions or takes it out. A folder of that name need not exist (RFC 9051 section 6.3.7).
func (h *Home) Subscribe(ctx context.Context, name string, on bool) error {
	live, err := h.store.home(ctx, h.id)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	defer h.store.release(live)
	if name, err = maildir.CleanFolder(name); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if _, err := maildir.FolderDir(name, h.store.opts.Limits.NameBytes); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	live.admin.Lock()
	defer live.admin.Unlock()
	names, err := live.subscriptions()
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if slices.Contains(names, name) == on { // whether durably, nobody knows: a crash or an error may have come before the sync
		if err := maildir.SyncDir(string(live.inbox())); err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
		return nil
	}
	if on {
		names = append(names, name)
	} else {
		names = slices.DeleteFunc(names, func(n string) bool { return n == name })
	}
	if err := live.writeSubscriptions(names); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}

func (h *home) writeSubscriptions(names []string) error {
	var b bytes.Buffer
	for _, name := range names {
		dir, err := maildir.FolderDir(name, 0)
		if err != nil {
			return err
		}
		if dir == "" {
			dir = "." + maildir.Inbox
		}
		b.WriteString(dir[1:] + "\n")
	}
	if b.Len() > maxSubscriptions {
		return fmt.Errorf("%w: too many subscriptions", storage.ErrNotPermitted)
	}
	return maildir.WriteFile(h.inbox().File(subscriptionsFile), b.Bytes())
}
