//go:build power

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/index"
)

// ledgerOfNumbers is what has been given out in each folder, by its path below the homes. None of it may come again.
type ledgerOfNumbers map[string]*givenOut

type givenOut struct {
	validity uint32
	uids     map[uint64]string // the message that has or had it: its name without sizes and flags
	top      uint64            // the highest UID
	modseq   storage.ModSeq    // the highest
}

var numbered = regexp.MustCompile(`^([^,:]+),.*I=([0-9a-f]+)\.([0-9]+)`)

// note looks at the disk and adds what was given out. A UID that another message had is an error.
func (l ledgerOfNumbers) note(s *powerSite) error {
	var errs []error
	err := filepath.WalkDir(s.homes(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != marksName {
			return ignoreGone(err)
		}
		dir := filepath.Dir(path)
		folder, err := filepath.Rel(s.homes(), dir)
		if err != nil {
			return err
		}
		marks, err := readNumbers(path)
		if err != nil {
			return ignoreGone(err)
		}
		g := l[folder]
		if g == nil {
			g = &givenOut{validity: marks.validity, uids: map[uint64]string{}}
			l[folder] = g
		}
		if marks.validity != g.validity {
			errs = append(errs, fmt.Errorf("UIDVALIDITY of %s is %x, was %x", folder, marks.validity, g.validity))
			return nil
		}
		errs = append(errs, g.noteUIDs(dir))
		modseq, err := s.highestModSeq(folder, marks.validity)
		g.modseq = max(g.modseq, modseq)
		return err
	})
	return errors.Join(append(errs, err)...)
}

// marksName is the file with the reserved numbers of a folder.
const marksName = "dirpost-folder"

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (g *givenOut) noteUIDs(dir string) error {
	var errs []error
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			return ignoreGone(err)
		}
		for _, e := range entries {
			m := numbered.FindStringSubmatch(e.Name())
			if m == nil || m[2] != strconv.FormatUint(uint64(g.validity), 16) {
				errs = append(errs, fmt.Errorf("%s in %s has no UID of %x", e.Name(), dir, g.validity))
				continue
			}
			uid, err := strconv.ParseUint(m[3], 10, 32)
			if err != nil {
				return err
			}
			if known := g.uids[uid]; known != "" && known != m[1] {
				errs = append(errs, fmt.Errorf("UID %d of %s is on %s and was on %s", uid, dir, m[1], known))
			}
			g.uids[uid] = m[1]
			g.top = max(g.top, uid)
		}
	}
	return errors.Join(errs...)
}

// numbersOnDisk are those that a folder starts from after a crash.
type numbersOnDisk struct {
	validity    uint32
	uid, modseq uint64
}

func readNumbers(path string) (n numbersOnDisk, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return n, err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		var validity uint64
		switch key {
		case "uidvalidity":
			validity, err = strconv.ParseUint(value, 16, 32)
			n.validity = uint32(validity)
		case "uid":
			n.uid, err = strconv.ParseUint(value, 10, 32)
		case "modseq":
			n.modseq, err = strconv.ParseUint(value, 10, 63)
		}
		if err != nil {
			return n, fmt.Errorf("%s: %w", path, err)
		}
	}
	return n, nil
}

// highestModSeq is that of the index of a folder: IMAP does not show it yet. 0 if there is no index.
func (s *powerSite) highestModSeq(folder string, validity uint32) (storage.ModSeq, error) {
	id, below, _ := strings.Cut(folder, "/Maildir")
	below = strings.TrimPrefix(below, "/")
	if below == "" {
		below = "INBOX"
	}
	text, err := os.ReadFile(filepath.Join(s.disk.dir, "cache", id, below, "index"))
	if err != nil {
		return 0, ignoreGone(err)
	}
	copied := s.file("index-copy", string(text))
	file, contents, err := index.Open(copied, validity)
	if errors.Is(err, index.ErrDamaged) { // its end is being written
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return contents.HighestModSeq, file.Close(nil)
}

// demandReserved looks at a disk that was found after a cut, before a server touches it: what was given out is below what
// each folder goes on from.
func (l ledgerOfNumbers) demandReserved(s *powerSite) error {
	var errs []error
	for folder, g := range l {
		if _, err := os.Stat(filepath.Join(s.homes(), folder)); errors.Is(err, fs.ErrNotExist) {
			continue // deleted or renamed; whoever misses messages in it will say so
		}
		n, err := readNumbers(filepath.Join(s.homes(), folder, marksName))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if n.validity != g.validity || n.uid <= g.top || n.modseq < uint64(g.modseq) {
			errs = append(errs, fmt.Errorf("%s goes on from %+v, given out was UID %d, modseq %d of %x", folder, n, g.top, g.modseq, g.validity))
		}
	}
	return errors.Join(errs...)
}

// demandNew files and flags a message in a folder of alice: its UID and modseq are above all that were.
func (l ledgerOfNumbers) demandNew(s *powerSite, folder, token string) error {
	c, err := s.imapSession("alice", folder)
	if err != nil {
		return err
	}
	defer c.Close()
	uid, err := appendTo(c, folder, token)
	if err != nil {
		return err
	}
	if err := addFlags(c, uid, imap.FlagFlagged); err != nil {
		return err
	}
	path := filepath.Join(s.alice, "Maildir")
	if folder != "INBOX" {
		path = filepath.Join(path, "."+folder)
	}
	g := l[path]
	if g == nil {
		return nil
	}
	if uint64(uid) <= g.top {
		return fmt.Errorf("%s gives out UID %d, had given out %d", folder, uid, g.top)
	}
	modseq, err := s.highestModSeq(path, g.validity)
	if err == nil && modseq <= g.modseq {
		err = fmt.Errorf("%s gives out modseq %d, had given out %d", folder, modseq, g.modseq)
	}
	return err
}
