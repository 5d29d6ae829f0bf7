package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"
)

// ErrDamaged says that a file is no item, or not the one that was written.
var ErrDamaged = errors.New("item is damaged")

// maxItem bounds the file of an item.
const maxItem = 4 << 20

// An Item is who is still to get a message, and what was tried.
type Item struct {
	ID       string    `json:"id"`    // of the message: lower-case letters and digits
	From     string    `json:"from"`  // envelope sender; empty = the null one
	Login    string    `json:"login"` // of who submitted it; empty = it came from outside
	Received time.Time `json:"received"`
	Attempts int       `json:"attempts"` // since it is in the spool
	Next     time.Time `json:"next"`     // when to try again
	Rest     []Rest    `json:"rest"`     // never empty
}

// A Rest is a mailbox that has not got the message.
type Rest struct {
	Address string `json:"address"` // the recipient it belongs to
	Mailbox string `json:"mailbox"` // its id
	Err     string `json:"err"`     // of the last attempt
}

// head starts the file; the checksum of all that follows the line stands behind it.
const head = "dirpost-item 1 "

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode is the file of an item: a line with a checksum, and JSON.
func (i Item) encode() []byte {
	text, err := json.Marshal(i)
	if err != nil {
		panic(fmt.Sprintf("spool: %v", err)) // no field can fail
	}
	text = append(text, '\n')
	return append(fmt.Appendf(nil, "%s%08x\n", head, crc32.Checksum(text, castagnoli)), text...)
}

// readItem reads what encode has written. ErrDamaged is wrapped if it is anything else.
func readItem(r io.Reader) (Item, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxItem+1))
	if err != nil {
		return Item{}, err
	}
	if len(text) > maxItem {
		return Item{}, fmt.Errorf("%w: it has more than %d octets", ErrDamaged, maxItem)
	}
	line, rest, found := bytes.Cut(text, []byte("\n"))
	if want := fmt.Sprintf("%s%08x", head, crc32.Checksum(rest, castagnoli)); !found || string(line) != want {
		return Item{}, fmt.Errorf("%w: checksum", ErrDamaged)
	}
	var item Item
	d := json.NewDecoder(bytes.NewReader(rest))
	d.DisallowUnknownFields()
	if err := d.Decode(&item); err != nil {
		return Item{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := item.check(); err != nil {
		return Item{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return item, nil
}

// check says what is wrong with an item.
func (i Item) check() error {
	plain := i.ID != "" && len(i.ID) <= 64
	for _, c := range i.ID {
		plain = plain && ('a' <= c && c <= 'z' || '0' <= c && c <= '9')
	}
	switch {
	case !plain:
		return fmt.Errorf("%q is no id", i.ID)
	case len(i.Rest) == 0:
		return errors.New("it is for nobody")
	case slices.ContainsFunc(i.Rest, func(r Rest) bool { return r.Address == "" || r.Mailbox == "" }):
		return errors.New("a mailbox has no name")
	}
	return nil
}
