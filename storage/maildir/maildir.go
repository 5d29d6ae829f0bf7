// Package maildir knows Maildirs as files: what a name says, how a folder is called on disk, how a file comes to stay
// after a power cut, and what a directory holds now. It keeps no state between calls.
//
// A Maildir is three directories. A message is written somewhere else on the same file system, made durable, and then
// linked into new or cur, so that nobody ever sees half of it. Its name is unique and carries what is known about it:
//
//	1700000000.M1P2Q3.node1,S=1234,W=1260,I=6923a1f0.57:2,FS
//
// S is the size of the file, W the size with CRLF line ends, I the UIDVALIDITY (hexadecimal) and UID under which the
// message was numbered. What follows ":2," are flags: capital letters for the system flags, a to z for the keywords of
// the folder. Folders below INBOX follow Maildir++: "Lists/go" is the directory ".Lists.go" of the INBOX.
//
// Start reading at [ParseName] and [Dir].
package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A Sub is one of the two directories of a Maildir that hold messages.
type Sub uint8

// The directories that hold messages. Files move from New to Cur when they first get flags.
const (
	New Sub = iota
	Cur
)

// Subs are the directories in the order in which they must be read: a message that moves meanwhile is seen in the
// second.
var Subs = [2]Sub{New, Cur}

// String is the name of the directory.
func (s Sub) String() string {
	if s == New {
		return "new"
	}
	return "cur"
}

// A Dir is the path of one Maildir folder.
type Dir string

// Sub is the path of one of its directories.
func (d Dir) Sub(s Sub) string { return filepath.Join(string(d), s.String()) }

// Path is the path of a file in one of its directories.
func (d Dir) Path(s Sub, file string) string { return filepath.Join(string(d), s.String(), file) }

// Tmp is the path of the directory for files under way.
func (d Dir) Tmp() string { return filepath.Join(string(d), "tmp") }

// File is the path of a file beside tmp, new and cur.
func (d Dir) File(name string) string { return filepath.Join(string(d), name) }

// Exists reports whether d has the directories that make it a Maildir.
func (d Dir) Exists() bool {
	for _, sub := range Subs {
		info, err := os.Stat(d.Sub(sub))
		if err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// Make creates d, and of tmp, new and cur what is missing, durably but for the entry of d in its parent.
func (d Dir) Make() error {
	made := false
	for _, path := range []string{string(d), d.Tmp(), d.Sub(New), d.Sub(Cur)} {
		err := os.Mkdir(path, 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make maildir: %w", err)
		}
		made = made || err == nil
	}
	if !made {
		return nil
	}
	return SyncDir(string(d))
}

// Sweep removes what has been in tmp for longer than age: no delivery takes that long.
func (d Dir) Sweep(age time.Duration) error {
	entries, err := os.ReadDir(d.Tmp())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() || time.Since(info.ModTime()) < age {
			continue
		}
		if err := os.Remove(filepath.Join(d.Tmp(), entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return nil
}

// settleTime is how old a modification time must be before it is believed. Two changes within one tick of the clock of
// the file system leave the same time behind; the coarsest clocks in use tick every two seconds.
const settleTime = 2 * time.Second

// A Stamp tells states of a directory apart. Every change of its entries changes its stamp, save those made within one
// tick of the file system's clock: see Settled. Its fields are what stat says, times in nanoseconds.
type Stamp struct {
	Inode        uint64
	Mtime, Ctime int64
}

// ReadStamp returns the stamp of the directory now.
func (d Dir) ReadStamp(s Sub) (Stamp, error) {
	var st unix.Stat_t
	if err := unix.Stat(d.Sub(s), &st); err != nil {
		return Stamp{}, &fs.PathError{Op: "stat", Path: d.Sub(s), Err: err}
	}
	return Stamp{Inode: st.Ino, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano()}, nil
}

// Settled reports whether a change later than at would be sure to have changed s: only then may s be kept as the mark of
// what the directory held at that moment.
func (s Stamp) Settled(at time.Time) bool {
	return s.Inode != 0 && at.UnixNano()-max(s.Mtime, s.Ctime) >= int64(settleTime)
}
