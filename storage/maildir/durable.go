package maildir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// SyncDir makes the entries of a directory durable: what was linked, renamed or removed there stays so after a power
// cut.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// MakeDir makes a directory, and those above it that are missing, durably.
func MakeDir(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	above := filepath.Dir(path)
	if above != path {
		if err := MakeDir(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(above)
}

// WriteFile replaces a small file as a whole and durably: after a crash it holds either what it held or data. Writers of
// one path must take turns.
func WriteFile(path string, data []byte) error {
	temp := path + ".next"
	err := writeSynced(temp, data)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return SyncDir(filepath.Dir(path))
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// Link gives the durable file src the name file in one of d's directories, where it must not exist yet (fs.ErrExist).
// Where no hard link can be made, because src is on another file system, has too many links or another owner, it makes a
// durable copy. The entry itself is durable only after SyncDir of the directory.
func (d Dir) Link(src string, s Sub, file string) error {
	err := os.Link(src, d.Path(s, file))
	if !needsCopy(err) {
		return err
	}
	temp := filepath.Join(d.Tmp(), file)
	if err := Copy(src, temp, time.Time{}); err != nil {
		return err
	}
	defer os.Remove(temp)
	return os.Link(temp, d.Path(s, file))
}

// needsCopy reports whether a link failed because there cannot be one.
func needsCopy(err error) bool {
	return errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EPERM)
}

// LinkFile gives the durable file src another path, dst; where no hard link can be made that is a durable copy. The entry
// itself is durable only after SyncDir. After a crash dst may be a part of a copy.
func LinkFile(src, dst string) error {
	err := os.Link(src, dst)
	if needsCopy(err) {
		return Copy(src, dst, time.Time{})
	}
	return err
}

// Rename gives a message another name, which must not be taken (fs.ErrExist): where two programs had the same idea, none
// may overwrite the other's message. It is durable after SyncDir of both directories.
func (d Dir) Rename(from Sub, file string, to Sub, newFile string) error {
	src, dst := d.Path(from, file), d.Path(to, newFile)
	err := unix.Renameat2(unix.AT_FDCWD, src, unix.AT_FDCWD, dst, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system that cannot promise it
		err = unix.Rename(src, dst)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: src, New: dst, Err: err}
	}
	return nil
}

// Remove unlinks a message. It is durable after SyncDir.
func (d Dir) Remove(s Sub, file string) error {
	if err := unix.Unlink(d.Path(s, file)); err != nil {
		return &os.PathError{Op: "unlink", Path: d.Path(s, file), Err: err}
	}
	return nil
}

// Copy makes a durable copy of src at the new path dst with this modification time, or that of src if it is zero. The
// entry of dst is not made durable.
func Copy(src, dst string, date time.Time) (err error) {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	if date.IsZero() {
		info, err := in.Stat()
		if err != nil {
			return err
		}
		date = info.ModTime()
	}
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = SetDate(out, date)
	}
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		os.Remove(dst)
	}
	return err
}

// SetDate sets the modification time of an open file, in whole seconds, which is the INTERNALDATE of the message in it.
// It is durable after the file's Sync.
func SetDate(f *os.File, date time.Time) error {
	tv := unix.Timeval{Sec: date.Unix()}
	if err := unix.Futimes(int(f.Fd()), []unix.Timeval{tv, tv}); err != nil {
		return &os.PathError{Op: "futimes", Path: f.Name(), Err: err}
	}
	return nil
}
