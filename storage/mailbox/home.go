package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// A Home is the mail of one account. It is a handle with nothing to close, and may be kept as long as the Store.
type Home struct {
	store *Store
	id    string
}

// maxID bounds the id of a home.
const maxID = 128

// Home returns the home of this id, which must be letters, digits and . _ - @, not start with a dot and not be longer than
// 128 octets: else storage.ErrBadName. It makes what is missing of the Maildir; a new one, or one that another server has
// left, gets the folders Archive, Drafts, Junk, Sent and Trash with their special use.
func (s *Store) Home(id string) (*Home, error) {
	if !validID(id) {
		return nil, fmt.Errorf("home: %w: id %q", storage.ErrBadName, id)
	}
	h, err := s.home(context.Background(), id)
	if err != nil {
		return nil, err
	}
	s.release(h)
	return &Home{s, id}, nil
}

func validID(id string) bool {
	for i := range len(id) {
		c := id[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-', c == '@':
		default:
			return false
		}
	}
	return id != "" && id[0] != '.' && len(id) <= maxID
}

// A home is what is in memory of a Home, while it is in use and for a while longer.
type home struct {
	store *Store
	id    string
	ready chan struct{} // closed when prepare has ended
	err   error         // of prepare

	users   int           // guarded by store.mu: calls under way and open mailboxes
	used    time.Time     // guarded by store.mu: when users became 0
	leaving chan struct{} // guarded by store.mu: not nil while it is thrown out, closed after that

	tree                     sync.Mutex // guards what follows
	treeChanges, treeDurable uint64     // of the names of folders: how many, and how many of them are durable

	admin   sync.Mutex // creation, removal and renaming of folders take turns, as do subscriptions
	counter sync.Mutex // of UIDVALIDITY

	warning     sync.Mutex // guards what its owner was told of the quota, see warn.go
	warned      int
	warnedKnown bool

	mu       sync.Mutex      // guards what follows
	boxes    map[string]*box // by directory
	counted  bool            // every folder has been counted
	reserved storage.Quota   // by appends under way
}

// home returns the home with this id for one call, which must release it. It waits for the disk when the home is not in
// memory.
func (s *Store) home(ctx context.Context, id string) (*home, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		h, first, err := s.hold(id)
		if err != nil {
			return nil, err
		}
		if h.leaving != nil {
			<-h.leaving
			continue
		}
		if first {
			h.err = h.prepare()
			close(h.ready)
		}
		<-h.ready
		if h.err == nil {
			return h, nil
		}
		s.mu.Lock()
		if s.homes[id] == h {
			delete(s.homes, id) // the next call tries again
		}
		s.mu.Unlock()
		s.release(h)
		return nil, fmt.Errorf("home %s: %w", id, h.err)
	}
}

// hold counts a user of a home in, unless it is leaving, and reports whether it is the first.
func (s *Store) hold(id string) (h *home, first bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, storage.ErrClosed
	}
	h = s.homes[id]
	if h == nil {
		h = &home{store: s, id: id, ready: make(chan struct{}), boxes: map[string]*box{}}
		s.homes[id] = h
		first = true
	}
	if h.leaving == nil {
		h.users++
		s.calls.Add(1)
	}
	return h, first, nil
}

// release ends a call.
func (s *Store) release(h *home) {
	s.mu.Lock()
	h.users--
	h.used = time.Now()
	s.mu.Unlock()
	s.calls.Done()
}

// inbox is the Maildir of the home.
func (h *home) inbox() maildir.Dir {
	return maildir.Dir(filepath.Join(h.store.opts.Homes, h.id, "Maildir"))
}

// changeTree notes that names of folders are about to change.
func (h *home) changeTree() {
	h.tree.Lock()
	defer h.tree.Unlock()
	h.treeChanges++
}

// syncTree makes the names of the folders durable. Until it succeeds nothing in any of them is told to be: see tx.sync.
func (h *home) syncTree() error {
	h.tree.Lock()
	now := h.treeChanges
	h.tree.Unlock()
	if err := maildir.SyncDir(string(h.inbox())); err != nil {
		return err
	}
	h.tree.Lock()
	defer h.tree.Unlock()
	h.treeDurable = max(h.treeDurable, now)
	return nil
}

func (h *home) treeIsUnsynced() bool {
	h.tree.Lock()
	defer h.tree.Unlock()
	return h.treeDurable != h.treeChanges
}

// deletedPrefix starts the names of folders that are deleted but not yet removed.
const deletedPrefix = "dirpost-deleted-"

// prepare makes the Maildir, or completes it, and removes the rest of folders whose removal a crash interrupted.
func (h *home) prepare() error {
	inbox := h.inbox()
	entries, err := os.ReadDir(string(inbox))
	if errors.Is(err, fs.ErrNotExist) {
		return h.build()
	}
	if err != nil {
		return err
	}
	counted := false
	for _, entry := range entries {
		counted = counted || entry.Name() == validityFile
		if strings.HasPrefix(entry.Name(), deletedPrefix) {
			if err := os.RemoveAll(inbox.File(entry.Name())); err != nil {
				return err
			}
		}
	}
	if err := inbox.Make(); err != nil {
		return err
	}
	if counted { // ours already: what its owner deleted stays deleted
		return nil
	}
	return makeFolders(inbox)
}

// build makes a new Maildir aside and moves it into place whole, so that a crash leaves none that is half made.
func (h *home) build() error {
	path, err := h.store.stagingPath()
	if err != nil {
		return err
	}
	aside := maildir.Dir(path)
	err = aside.Make()
	if err == nil {
		err = makeFolders(aside)
	}
	inbox := string(h.inbox())
	if err == nil {
		err = os.MkdirAll(filepath.Dir(inbox), 0o700)
	}
	if err == nil {
		err = os.Rename(path, inbox)
	}
	if err != nil {
		os.RemoveAll(path)
		return err
	}
	if err := maildir.SyncDir(filepath.Dir(inbox)); err != nil {
		return err
	}
	return maildir.SyncDir(h.store.opts.Homes)
}

// makeFolders makes the special-use folders in a Maildir.
func makeFolders(inbox maildir.Dir) error {
	for name := range specialUses {
		if err := makeFolder(inbox, "."+name); err != nil {
			return err
		}
	}
	return maildir.SyncDir(string(inbox))
}

// makeFolder makes a folder of a Maildir, durably but for its own entry. The empty file maildirfolder is what Maildir++
// marks it by.
func makeFolder(inbox maildir.Dir, dir string) error {
	folder := maildir.Dir(inbox.File(dir))
	if err := os.Mkdir(string(folder), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.OpenFile(folder.File("maildirfolder"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return folder.Make()
}

// box returns the box of a folder. It is storage.ErrNoMailbox if there is no such folder.
func (h *home) box(name string) (*box, error) {
	name, err := maildir.CleanFolder(name)
	if err != nil {
		return nil, err
	}
	dir, err := maildir.FolderDir(name, h.store.opts.Limits.NameBytes)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	b := h.boxes[dir]
	h.mu.Unlock()
	if b != nil {
		return b, nil
	}
	path := maildir.Dir(h.inbox().File(dir))
	if !path.Exists() {
		return nil, fmt.Errorf("%w: %s", storage.ErrNoMailbox, name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if b := h.boxes[dir]; b != nil {
		return b, nil
	}
	h.changeTree() // whoever made the folder may not have synced it
	b = &box{home: h, name: name, dir: path, cache: h.cacheDir(dir)}
	h.boxes[dir] = b
	return b, nil
}

// cacheDir is where the index of a folder lies.
func (h *home) cacheDir(dir string) string {
	if dir == "" {
		dir = maildir.Inbox // no other folder can be called so: their directories start with a dot
	}
	return filepath.Join(h.store.opts.Cache, h.id, dir)
}

// known returns the boxes in memory.
func (h *home) known() []*box {
	h.mu.Lock()
	defer h.mu.Unlock()
	boxes := make([]*box, 0, len(h.boxes))
	for _, b := range h.boxes {
		boxes = append(boxes, b)
	}
	return slices.Clip(boxes)
}
