// Package backup copies what of an installation cannot be rebuilt, while the server runs, and puts it back.
//
// A backup is a folder or a tar file with the same content:
//
//	manifest.json        which version made it, when
//	dirpost.toml         the configuration, as it is
//	files/KEY            the files that it names: certificates, keys, the password of the service entry
//	directory/           the embedded directory, as of one moment
//	keys/                what else the server keeps secret
//	spool/               messages that are accepted and not yet with everybody
//	homes/ID/            mail, flags and UIDs in the names of files, and the small files beside them
//	summary.json         how much of all that there is; what has none is not whole
//
// Mail goes on arriving, moving and leaving meanwhile. Every message that was there when the backup began and is not
// deleted before its end is in it, possibly twice when it was moved; what came later may be in it. homes.go tells how.
//
// Indexes are not in it, for they come back by themselves, nor is what was only half arrived.
//
// Start reading at [Write] and [Open].
package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Format is the version of the layout that this package writes and reads.
const Format = 1

// Names in a backup.
const (
	manifestName  = "manifest.json"
	configName    = "dirpost.toml"
	summaryName   = "summary.json"
	directoryName = "directory/directory.db"
	filesFolder   = "files"
	keysFolder    = "keys"
	spoolFolder   = "spool"
	homesFolder   = "homes"
)

// A Manifest says what a backup is of.
type Manifest struct {
	Format   int       `json:"format"`
	Version  string    `json:"version"` // of the program that made it
	Hostname string    `json:"hostname"`
	Created  time.Time `json:"created"`
}

// A Summary says how much is in a backup.
type Summary struct {
	Homes     int      `json:"homes"`
	Messages  int      `json:"messages"`
	Files     int      `json:"files"`               // all others
	Bytes     int64    `json:"bytes"`               // of messages and files
	Unsettled []string `json:"unsettled,omitempty"` // homes in which so much moved that a message may be missing
	Skipped   []string `json:"skipped,omitempty"`   // what is neither a file nor a folder, and not in it
}

// add counts a file.
func (s *Summary) add(e Entry) {
	if isMessage(e.Name) {
		s.Messages++
	} else {
		s.Files++
	}
}

// isMessage tells a message by its place.
func isMessage(name string) bool {
	dir := path.Base(path.Dir(name))
	return strings.HasPrefix(name, homesFolder+"/") && (dir == "new" || dir == "cur")
}

// A Source is what there is to copy.
type Source struct {
	Manifest Manifest
	Config   []byte            // text of dirpost.toml
	Files    map[string]string // paths of files that the configuration names, by its keys
	Data     string            // the folder with keys and homes

	// Directory opens a copy of the embedded directory and tells its size; nil = it is not embedded.
	Directory func(context.Context) (io.ReadCloser, int64, error)
}

// Write makes a backup at dest: a tar file if that ends in ".tar", standard output w if it is "-", else a folder. Nothing
// may be there yet. What fails leaves nothing there.
func Write(ctx context.Context, dest string, w io.Writer, src Source) (Summary, error) {
	t, err := create(dest, w)
	if err != nil {
		return Summary{}, fmt.Errorf("backup to %s: %w", dest, err)
	}
	wr := &writer{target: t, linked: map[inode]string{}}
	err = wr.all(ctx, src)
	if err == nil {
		err = t.finish()
	}
	if err != nil {
		t.abandon()
		return wr.summary, fmt.Errorf("backup to %s: %w", dest, err)
	}
	return wr.summary, nil
}

// An Entry is a file, a folder, or another name for an earlier file.
type Entry struct {
	Name    string // with slashes
	Folder  bool
	Link    string // the earlier file, or empty
	Size    int64
	ModTime time.Time
	Body    io.Reader // of a file, when reading a backup
}

// A target is where a backup is written.
type target interface {
	add(e Entry) error
	// link adds the file f under another name, without copying, and reports whether that could be done.
	link(e Entry, f *os.File) bool
	finish() error
	abandon()
}

// A writer puts everything into a target, in the order of the package comment.
type writer struct {
	target  target
	summary Summary
	linked  map[inode]string // names of files that have several
}

// An inode is a file whatever it is called. The number of a file that is gone may be that of another soon, so its size and
// time belong to it.
type inode struct {
	dev, ino uint64
	size     int64
	modTime  int64
}

func (w *writer) all(ctx context.Context, src Source) error {
	manifest, err := json.MarshalIndent(src.Manifest, "", "  ")
	if err != nil {
		return err
	}
	if err := w.text(manifestName, manifest); err != nil {
		return err
	}
	if err := w.text(configName, src.Config); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(src.Files)) {
		if err := w.named(key, src.Files[key]); err != nil {
			return err
		}
	}
	if src.Directory != nil {
		if err := w.directory(ctx, src); err != nil {
			return err
		}
	}
	if err := w.keys(src.Data); err != nil {
		return err
	}
	if err := w.spool(src.Data); err != nil {
		return err
	}
	if err := w.homes(ctx, filepath.Join(src.Data, homesFolder)); err != nil {
		return err
	}
	summary, err := json.MarshalIndent(w.summary, "", "  ")
	if err != nil {
		return err
	}
	return w.target.add(Entry{Name: summaryName, Size: int64(len(summary)), ModTime: time.Now(), Body: bytes.NewReader(summary)})
}

// text adds a file that is made here.
func (w *writer) text(name string, text []byte) error {
	return w.file(Entry{Name: name, Size: int64(len(text)), ModTime: time.Now(), Body: bytes.NewReader(text)})
}

// file adds and counts a file.
func (w *writer) file(e Entry) error {
	w.summary.add(e)
	w.summary.Bytes += e.Size
	return w.target.add(e)
}

// named adds a file that the configuration names. A key that is missing is an error: without it the backup is not whole.
func (w *writer) named(key, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return w.file(Entry{Name: path.Join(filesFolder, key), Size: info.Size(), ModTime: info.ModTime(), Body: f})
}

func (w *writer) directory(ctx context.Context, src Source) error {
	r, size, err := src.Directory(ctx)
	if err != nil {
		return fmt.Errorf("the embedded directory: %w", err)
	}
	defer r.Close()
	return w.file(Entry{Name: directoryName, Size: size, ModTime: time.Now(), Body: r})
}

// keys adds the folder of keys, which may be missing.
func (w *writer) keys(data string) error {
	root, err := os.OpenRoot(data)
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), keysFolder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := w.fileOf(root, path.Join(keysFolder, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// fileOf adds a file below root.
func (w *writer) fileOf(root *os.Root, name string) error {
	f, info, err := openFile(root, name)
	if err != nil {
		return err
	}
	if f == nil {
		w.summary.Skipped = append(w.summary.Skipped, name)
		return nil
	}
	err = w.file(Entry{Name: name, Size: info.Size(), ModTime: info.ModTime(), Body: f})
	return errors.Join(err, f.Close())
}

// spool adds the queue: of each message that is in it, the message and then the item. What is delivered meanwhile goes away
// under our hands; its mailbox is copied later, and has it. A server that is restored may deliver again what it had delivered
// between the two.
func (w *writer) spool(data string) error {
	root, err := os.OpenRoot(data)
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), spoolFolder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".item")
		if !ok {
			continue
		}
		for _, name := range []string{id + ".message", id + ".item"} {
			if err := w.fileOf(root, path.Join(spoolFolder, name)); errors.Is(err, fs.ErrNotExist) {
				break
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// openFile opens a regular file below root, and returns none for anything else. It follows no link and waits for nobody,
// for who can write to the folder must not choose what is read, or make us wait.
func openFile(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		info, lstat := root.Lstat(name)
		if lstat == nil && !info.Mode().IsRegular() {
			return nil, nil, nil
		}
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		return f, info, nil
	}
	f.Close()
	return nil, nil, err
}

// identity tells which file it is, and whether it has other names.
func identity(info fs.FileInfo) (id inode, several bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}, false
	}
	return inode{uint64(st.Dev), st.Ino, info.Size(), info.ModTime().UnixNano()}, st.Nlink > 1
}

// syncAll makes everything on the file system of path durable.
func syncAll(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}
