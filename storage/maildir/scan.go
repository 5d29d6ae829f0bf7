package maildir

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Facts of one file as stat tells them.
type Facts struct {
	Size int64
	Date int64 // modification time, Unix seconds
}

// Scan returns the names of the files in one directory, in no order. Like every Maildir program it passes over names
// that start with a dot. It reads the directory once: a file renamed meanwhile may be missing or listed twice.
func (d Dir) Scan(s Sub) ([]string, error) {
	f, err := os.Open(d.Sub(s))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var files []string
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.ReadDirent(int(f.Fd()), buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "readdir", Path: f.Name(), Err: err}
		}
		if n <= 0 {
			return files, nil
		}
		files = d.appendFiles(files, s, buf[:n])
	}
}

// Where the fields of linux_dirent64 are (getdents64(2)).
const (
	direntLength = 16
	direntType   = 18
	direntName   = 19
)

// appendFiles takes the regular files from a block of directory entries. All names of a block share one string.
func (d Dir) appendFiles(files []string, s Sub, block []byte) []string {
	text := string(block)
	for at := 0; at+direntName < len(block); {
		next := at + int(binary.NativeEndian.Uint16(block[at+direntLength:]))
		if next <= at+direntName || next > len(block) {
			break
		}
		name := text[at+direntName : next]
		if end := strings.IndexByte(name, 0); end >= 0 {
			name = name[:end]
		}
		if name[:1] != "." && d.regular(s, name, block[at+direntType]) {
			files = append(files, name)
		}
		at = next
	}
	return files
}

// regular reports whether an entry is a regular file, by its type if the file system tells it.
func (d Dir) regular(s Sub, name string, kind byte) bool {
	if kind != unix.DT_UNKNOWN {
		return kind == unix.DT_REG
	}
	info, err := os.Lstat(d.Path(s, name))
	return err == nil && info.Mode().IsRegular()
}

// A Reader asks for the facts of many files of one directory.
type Reader struct{ dir *os.File }

// Reader opens one directory; Close it.
func (d Dir) Reader(s Sub) (Reader, error) {
	f, err := os.Open(d.Sub(s))
	return Reader{f}, err
}

// Close ends the reading.
func (r Reader) Close() { r.dir.Close() }

// Facts returns those of one file. fs.ErrNotExist is wrapped if it is gone, or no regular file.
func (r Reader) Facts(file string) (Facts, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(r.dir.Fd()), file, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = unix.ENOENT
	}
	if err != nil {
		return Facts{}, &fs.PathError{Op: "stat", Path: file, Err: err}
	}
	return Facts{Size: st.Size, Date: st.Mtim.Sec}, nil
}

// Has reports whether the directory has a file of this name now.
func (d Dir) Has(s Sub, file string) bool {
	_, err := os.Lstat(d.Path(s, file))
	return err == nil
}

// Same reports whether the first of two files is there, and whether no other file is under the second name: it is another
// name of the same file, or not there.
func (d Dir) Same(s Sub, file string, s2 Sub, file2 string) (has, same bool) {
	first, err := os.Lstat(d.Path(s, file))
	if err != nil {
		return false, false
	}
	second, err := os.Lstat(d.Path(s2, file2))
	return true, err != nil || os.SameFile(first, second)
}

// OpenFile opens a message for reading. What is no file is not there: a symbolic link is not followed, and a pipe would
// wait for a writer.
func (d Dir) OpenFile(s Sub, file string) (*os.File, error) {
	path := d.Path(s, file)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		err = &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
