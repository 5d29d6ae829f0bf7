// Package spool keeps messages that are accepted and not yet with everybody they are for. Each has two files: the message
// as it was staged, a link and no copy, and the item, which says who is still to get it and is replaced as a whole.
//
// A message is in the spool when its item is: the item comes last, and goes first. Whatever else lies there was left by
// a crash in between and is swept at the start, for nobody was told that it had been accepted. An item that cannot be read is
// never thrown away: it is set aside, with its message, for a person.
//
// One process has a spool at a time. Its methods may be called concurrently; changes of one item must take turns.
//
// Start reading at [Item] and [Open]; item.go is the form on disk.
package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/dirpost/dirpost/storage/maildir"
)

// Names of the files of an item.
const (
	itemSuffix    = ".item"
	messageSuffix = ".message"
	damagedSuffix = ".damaged"
)

// A Spool is one folder.
type Spool struct {
	folder string
	log    *slog.Logger
}

// Open returns the spool in folder, made if need be, and what is in it. log may be nil.
func Open(folder string, log *slog.Logger) (*Spool, []Item, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Spool{folder, log}
	if err := maildir.MakeDir(folder); err != nil {
		return nil, nil, fmt.Errorf("spool: %w", err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, nil, fmt.Errorf("spool: %w", err)
	}
	var items []Item
	kept := map[string]bool{} // ids whose message stays
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), itemSuffix)
		if damaged, aside := strings.CutSuffix(e.Name(), damagedSuffix); aside {
			kept[damaged] = true
		}
		if !ok {
			continue
		}
		kept[id] = true
		item, err := s.read(id)
		if err != nil {
			s.setAside(id, err)
			continue
		}
		items = append(items, item)
	}
	for _, e := range entries {
		id, message := strings.CutSuffix(e.Name(), messageSuffix)
		if message && !kept[id] || strings.HasSuffix(e.Name(), ".next") {
			s.log.Info("leftover is swept", "file", e.Name())
			if err := os.Remove(filepath.Join(folder, e.Name())); err != nil {
				return nil, nil, fmt.Errorf("spool: %w", err)
			}
		}
	}
	return s, items, nil
}

// read reads one item and looks whether its message is there.
func (s *Spool) read(id string) (Item, error) {
	f, err := os.Open(s.path(id, itemSuffix))
	if err != nil {
		return Item{}, err
	}
	defer f.Close()
	item, err := readItem(f)
	if err != nil {
		return Item{}, err
	}
	if item.ID != id {
		return Item{}, fmt.Errorf("%w: it says it is %q", ErrDamaged, item.ID)
	}
	if _, err := os.Lstat(s.Message(id)); err != nil {
		return Item{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return item, nil
}

func (s *Spool) setAside(id string, why error) {
	s.log.Error("queued message cannot be read and is set aside", "mail", id, "file", s.path(id, damagedSuffix), "err", why)
	if err := os.Rename(s.path(id, itemSuffix), s.path(id, damagedSuffix)); err != nil {
		s.log.Error("it stays where it is", "mail", id, "err", err)
	}
}

func (s *Spool) path(id, suffix string) string { return filepath.Join(s.folder, id+suffix) }

// Message is the path of the message of an item.
func (s *Spool) Message(id string) string { return s.path(id, messageSuffix) }

// Put takes a message in. link gives the durable message another name, that of its argument. When Put returns nil both are
// durable; after an error there is nothing. fs.ErrExist if there is an item of this id.
func (s *Spool) Put(item Item, link func(path string) error) error {
	if err := item.check(); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := link(s.Message(item.ID)); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	err := s.write(item) // its sync of the folder is the link's too
	if err != nil {
		_ = s.Remove(item.ID)
	}
	return err
}

// Update replaces what is known of a message. When it returns nil that is durable.
func (s *Spool) Update(item Item) error {
	if err := item.check(); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return s.write(item)
}

func (s *Spool) write(item Item) error {
	if err := maildir.WriteFile(s.path(item.ID, itemSuffix), item.encode()); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// Remove takes a message out. When it returns nil it does not come back. One that is not there is no error.
func (s *Spool) Remove(id string) error {
	err := os.Remove(s.path(id, itemSuffix))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = maildir.SyncDir(s.folder)
	}
	if err == nil {
		err = os.Remove(s.Message(id))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}
