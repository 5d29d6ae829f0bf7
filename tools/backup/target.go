package backup

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dirpost/dirpost/storage/maildir"
)

// partSuffix is on the name of a backup until it is whole.
const partSuffix = ".part"

// create begins a backup at dest.
func create(dest string, w io.Writer) (target, error) {
	if dest == "-" {
		out := bufio.NewWriterSize(w, copyBytes)
		return &tarTarget{tar: tar.NewWriter(out), out: out}, nil
	}
	if _, err := os.Lstat(dest); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, fs.ErrExist)
	}
	part := dest + partSuffix
	if !strings.HasSuffix(dest, ".tar") {
		if err := os.Mkdir(part, 0o700); err != nil {
			return nil, err
		}
		return &folderTarget{part, dest}, nil
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	out := bufio.NewWriterSize(f, copyBytes)
	return &tarTarget{tar: tar.NewWriter(out), out: out, file: f, dest: dest}, nil
}

const copyBytes = 256 << 10

// A tarTarget writes a tar file.
type tarTarget struct {
	tar  *tar.Writer
	out  *bufio.Writer
	file *os.File // nil for standard output
	dest string
}

func (t *tarTarget) add(e Entry) error {
	h := &tar.Header{Name: e.Name, ModTime: e.ModTime, Format: tar.FormatPAX, Mode: 0o600, Typeflag: tar.TypeReg, Size: e.Size}
	switch {
	case e.Folder:
		h.Name, h.Typeflag, h.Mode, h.Size = e.Name+"/", tar.TypeDir, 0o700, 0
	case e.Link != "":
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, e.Link, 0
	}
	if err := t.tar.WriteHeader(h); err != nil {
		return err
	}
	if h.Size == 0 {
		return nil
	}
	return exactly(t.tar, e)
}

// exactly copies as much as was promised.
func exactly(w io.Writer, e Entry) error {
	n, err := io.CopyN(w, e.Body, e.Size)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w: %d octets of %d", e.Name, io.ErrUnexpectedEOF, n, e.Size)
	}
	return err
}

func (t *tarTarget) link(Entry, *os.File) bool { return false }

func (t *tarTarget) finish() error {
	if err := errors.Join(t.tar.Close(), t.out.Flush()); err != nil || t.file == nil {
		return err
	}
	if err := errors.Join(t.file.Sync(), t.file.Close()); err != nil {
		return err
	}
	return publish(t.file.Name(), t.dest)
}

func (t *tarTarget) abandon() {
	if t.file != nil {
		t.file.Close()
		os.Remove(t.file.Name())
	}
}

// publish gives a whole backup its name.
func publish(part, dest string) error {
	if err := os.Rename(part, dest); err != nil {
		return err
	}
	return maildir.SyncDir(filepath.Dir(dest))
}

// A folderTarget writes a folder.
type folderTarget struct{ part, dest string }

func (t *folderTarget) path(name string) string {
	return filepath.Join(t.part, filepath.FromSlash(name))
}

func (t *folderTarget) add(e Entry) error {
	path := t.path(e.Name)
	if e.Folder {
		return os.MkdirAll(path, 0o700)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if e.Link != "" && os.Link(t.path(e.Link), path) == nil {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(exactly(f, e), f.Close()); err != nil {
		return err
	}
	return os.Chtimes(path, e.ModTime, e.ModTime)
}

// link makes the file itself part of the backup, where both are on one file system: a message never changes.
func (t *folderTarget) link(e Entry, f *os.File) bool {
	path := t.path(e.Name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false
	}
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW) == nil
}

func (t *folderTarget) finish() error {
	if err := syncAll(t.part); err != nil {
		return err
	}
	return publish(t.part, t.dest)
}

func (t *folderTarget) abandon() { os.RemoveAll(t.part) }
