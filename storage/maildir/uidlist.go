package maildir

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/dirpost/dirpost/storage"
)

// A UIDList is what dovecot-uidlist says of a folder: the numbers that Dovecot gave to its messages.
type UIDList struct {
	Validity uint32
	Next     storage.UID            // the next UID to give out; above all of them
	UIDs     map[string]storage.UID // by the base name of the file
}

// Names of the list, and of one that was taken over.
const (
	uidListFile = "dovecot-uidlist"
	takenFile   = "dovecot-uidlist.taken"
)

// Bounds of a list.
const (
	maxListLine = 8 << 10
	maxListed   = 1 << 24
)

// ErrUIDList says that a file is no list of UIDs.
var ErrUIDList = errors.New("malformed list of UIDs")

// UIDList reads the list that Dovecot has left. fs.ErrNotExist is wrapped if there is none.
func (d Dir) UIDList() (UIDList, error) {
	f, err := os.Open(d.File(uidListFile))
	if err != nil {
		return UIDList{}, err
	}
	defer f.Close()
	return parseUIDList(f)
}

// parseUIDList reads versions 1 and 3 of the format. A line is a UID and the name of a file; version 3 has words between them,
// and a colon before the name.
func parseUIDList(r io.Reader) (UIDList, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, maxListLine), maxListLine)
	if !lines.Scan() {
		return UIDList{}, errors.Join(ErrUIDList, lines.Err())
	}
	list, version, err := parseListHead(lines.Text())
	if err != nil {
		return UIDList{}, err
	}
	for n := 2; lines.Scan(); n++ {
		number, rest, _ := strings.Cut(lines.Text(), " ")
		file := rest
		if version == 3 {
			_, file, _ = strings.Cut(" "+rest, " :")
		}
		base, _, _ := strings.Cut(file, ":")
		uid, err := strconv.ParseUint(number, 10, 32)
		if err != nil || uid == 0 || uid == math.MaxUint32 || base == "" || strings.Contains(base, "/") || n > maxListed {
			return UIDList{}, fmt.Errorf("%w: line %d", ErrUIDList, n)
		}
		if _, twice := list.UIDs[base]; !twice {
			list.UIDs[base] = storage.UID(uid)
		}
		list.Next = max(list.Next, storage.UID(uid)+1)
	}
	if err := lines.Err(); err != nil {
		return UIDList{}, fmt.Errorf("%w: %w", ErrUIDList, err)
	}
	return list, nil
}

// parseListHead reads the first line: "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1", or "1 1275660208 25022".
func parseListHead(line string) (list UIDList, version int, err error) {
	words := strings.Fields(line)
	var validity, next string
	switch {
	case len(words) >= 3 && words[0] == "1":
		version, validity, next = 1, words[1], words[2]
	case len(words) > 1 && words[0] == "3":
		version = 3
		for _, word := range words[1:] {
			switch word[0] {
			case 'V':
				validity = word[1:]
			case 'N':
				next = word[1:]
			}
		}
	}
	v, errV := strconv.ParseUint(validity, 10, 32)
	n, errN := strconv.ParseUint(next, 10, 32)
	if errV != nil || errN != nil || v == 0 || n == 0 {
		return list, 0, fmt.Errorf("%w: line 1", ErrUIDList)
	}
	return UIDList{Validity: uint32(v), Next: storage.UID(n), UIDs: map[string]storage.UID{}}, version, nil
}

// ListTaken puts the list aside, so that it is not taken over twice.
func (d Dir) ListTaken() error {
	if err := os.Rename(d.File(uidListFile), d.File(takenFile)); err != nil {
		return err
	}
	return SyncDir(string(d))
}

// WriteUIDList writes the list for Dovecot, durably: each name in the order of UIDs.
func (d Dir) WriteUIDList(validity uint32, next storage.UID, messages []storage.Message) error {
	var b strings.Builder
	fmt.Fprintf(&b, "3 V%d N%d\n", validity, next)
	for _, m := range messages {
		fmt.Fprintf(&b, "%d :%s\n", m.UID, m.Name)
	}
	return WriteFile(d.File(uidListFile), []byte(b.String()))
}
