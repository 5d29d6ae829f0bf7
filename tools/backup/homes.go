package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/dirpost/dirpost/storage/maildir"
)

// A home is looked at again and again until one look finds nothing that happened since the look before. That is needed
// because a message may be renamed while its folder is read, which then does not show it, or may be moved from a folder that
// has not been read yet to one that has.
const (
	maxLooks = 10
	// tick is more than a tick of the clock by which file systems take times: what changed within one may show in none.
	tick = 20 * time.Millisecond
)

// deletedPrefix begins the names of folders that are being deleted.
const deletedPrefix = "dirpost-deleted-"

// homes adds all homes.
func (w *writer) homes(ctx context.Context, folder string) error {
	root, err := os.OpenRoot(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !e.IsDir() { // the lock, and what is half arrived
			continue
		}
		h := &home{writer: w, root: root, id: e.Name(), folders: map[string]*folderState{}, files: map[string]inode{}}
		if err := h.copy(ctx); err != nil {
			return fmt.Errorf("home %s: %w", h.id, err)
		}
		w.summary.Homes++
	}
	return nil
}

// A home is one on its way into a backup.
type home struct {
	*writer
	root    *os.Root
	id      string
	folders map[string]*folderState // by path below root
	files   map[string]inode        // small files by path, as they were copied
	changed bool                    // since the look before
	fresh   bool                    // a directory has changed so lately that another change may hide behind it
}

// A folderState is what is known of a Maildir folder.
type folderState struct {
	stamps [2]time.Time    // change times of new and cur before they were read; zero = to be read again
	copied map[string]bool // base names
}

func (h *home) copy(ctx context.Context) error {
	for range maxLooks {
		h.changed, h.fresh = false, false
		if err := h.look(ctx, h.id); err != nil {
			return err
		}
		if !h.changed {
			return nil
		}
		if h.fresh {
			time.Sleep(tick)
		}
	}
	h.summary.Unsettled = append(h.summary.Unsettled, h.id)
	return nil
}

// look copies what is new in a folder and those below it: messages first, then small files, so that what the names of
// messages refer to is no older than they are.
func (h *home) look(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := fs.ReadDir(h.root.FS(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		h.changed = true
		return nil
	}
	if err != nil {
		return err
	}
	state, err := h.folder(dir)
	if err != nil {
		return err
	}
	mail := isMaildir(entries)
	if mail {
		for _, sub := range maildir.Subs {
			if err := h.messages(state, path.Join(dir, sub.String()), sub); err != nil {
				return err
			}
		}
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch {
		case mail && (e.Name() == "new" || e.Name() == "cur"), strings.HasPrefix(e.Name(), deletedPrefix):
		case mail && e.Name() == "tmp":
			_, err = h.folder(name) // what is in it has not arrived
		case e.IsDir():
			err = h.look(ctx, name)
		default:
			err = h.small(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// folder adds a folder, once.
func (h *home) folder(dir string) (*folderState, error) {
	state, known := h.folders[dir]
	if known {
		return state, nil
	}
	h.changed = true
	state = &folderState{copied: map[string]bool{}}
	h.folders[dir] = state
	return state, h.target.add(Entry{Name: path.Join(homesFolder, dir), Folder: true, ModTime: time.Now()})
}

func isMaildir(entries []fs.DirEntry) bool {
	n := 0
	for _, e := range entries {
		if e.IsDir() && (e.Name() == "new" || e.Name() == "cur") {
			n++
		}
	}
	return n == 2
}

// messages copies what is new in a directory of a Maildir folder.
func (h *home) messages(state *folderState, dir string, sub maildir.Sub) error {
	stamp, err := h.stamp(dir)
	if err == nil && !stamp.IsZero() && stamp.Equal(state.stamps[sub]) {
		return nil
	}
	h.changed = true
	state.stamps[sub] = stamp
	entries, err := fs.ReadDir(h.root.FS(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := h.folder(dir); err != nil {
		return err
	}
	for _, e := range entries {
		base := maildir.ParseName(e.Name()).Base
		if state.copied[base] || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		done, err := h.message(path.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		state.copied[base] = done
	}
	return nil
}

// stamp is the time of the last change of a directory, zero if another may hide behind it.
func (h *home) stamp(dir string) (time.Time, error) {
	info, err := h.root.Stat(dir)
	if err != nil {
		return time.Time{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return time.Time{}, nil
	}
	changed := time.Unix(st.Ctim.Unix())
	if time.Since(changed).Abs() < tick {
		h.fresh = true
		return time.Time{}, nil
	}
	return changed, nil
}

// message copies one, and reports whether it was there.
func (h *home) message(name string) (bool, error) {
	f, info, err := openFile(h.root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // renamed, moved or deleted: the next look tells
	}
	if err != nil {
		return false, err
	}
	if f == nil {
		h.summary.Skipped = append(h.summary.Skipped, path.Join(homesFolder, name))
		return true, nil
	}
	defer f.Close()
	e := Entry{Name: path.Join(homesFolder, name), Size: info.Size(), ModTime: info.ModTime(), Body: f}
	if h.target.link(e, f) {
		h.summary.add(e)
		h.summary.Bytes += e.Size
		return true, nil
	}
	if id, several := identity(info); several {
		if e.Link = h.linked[id]; e.Link == "" {
			h.linked[id] = e.Name
		}
	}
	return true, h.file(e)
}

// small copies a file beside the messages, unless it is the one that was copied already.
func (h *home) small(name string) error {
	f, info, err := openFile(h.root, name)
	if errors.Is(err, fs.ErrNotExist) {
		h.changed = true
		return nil
	}
	if err != nil {
		return err
	}
	if f == nil {
		if _, known := h.files[name]; !known {
			h.files[name] = inode{}
			h.summary.Skipped = append(h.summary.Skipped, path.Join(homesFolder, name))
		}
		return nil
	}
	defer f.Close()
	is, _ := identity(info)
	was, known := h.files[name]
	if known && was == is {
		return nil
	}
	h.changed = true
	h.files[name] = is
	add := h.file
	if known {
		add = h.target.add // it is counted already
	}
	return add(Entry{Name: path.Join(homesFolder, name), Size: info.Size(), ModTime: info.ModTime(), Body: f})
}
