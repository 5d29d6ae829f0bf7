package mailbox

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// marks are the numbers of a folder that must never come twice. They stand in a durable file that is always ahead: UIDs
// and modseqs are reserved in blocks before the first one is used, so that a crash skips numbers and repeats none.
//
//	dirpost-folder 1
//	uidvalidity 6923a1f0
//	uid 513
//	modseq 4097
//	boot 0c6bb5b0-...
//	special-use \Sent
type marks struct {
	validity uint32
	use      string // special use (RFC 6154), or empty

	nextUID storage.UID // the next to give out
	uidEnd  storage.UID // durable: this one and those above were never given out

	modseq    storage.ModSeq // the highest given out
	modseqEnd storage.ModSeq // durable: none above this was given out

	// boot is that of the kernel under which modseqs up to modseqEnd may have been given out, empty if modseqEnd is
	// exact: then, and while the same kernel runs, an index holds all that clients have seen.
	boot string
}

const (
	marksFile   = "dirpost-folder"
	marksMagic  = "dirpost-folder 1"
	uidBlock    = 512
	modseqBlock = 4096
	marksBytes  = 4096 // limit
)

// newMarks are those of a folder that has just been made.
func newMarks(validity uint32, use string) marks {
	return marks{validity: validity, use: use, nextUID: 1, uidEnd: 1, modseq: 1, modseqEnd: 1}
}

// readMarks reads the file of a folder. fs.ErrNotExist is wrapped if there is none.
func readMarks(dir maildir.Dir) (marks, error) {
	data, err := os.ReadFile(dir.File(marksFile))
	if err != nil {
		return marks{}, err
	}
	m, err := parseMarks(data)
	if err != nil {
		return marks{}, fmt.Errorf("read %s: %w", marksFile, err)
	}
	return m, nil
}

var errMarks = errors.New("malformed")

func parseMarks(data []byte) (marks, error) {
	if len(data) > marksBytes {
		return marks{}, fmt.Errorf("%w: %d octets", errMarks, len(data))
	}
	first, rest, _ := strings.Cut(string(data), "\n")
	if first != marksMagic {
		return marks{}, fmt.Errorf("%w: line 1 is not %q", errMarks, marksMagic)
	}
	var validity, uid, modseq uint64
	var m marks
	n := 1
	for line := range strings.Lines(rest) {
		n++
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var err error
		switch key {
		case "uidvalidity":
			validity, err = strconv.ParseUint(value, 16, 32)
		case "uid":
			uid, err = strconv.ParseUint(value, 10, 32)
		case "modseq":
			modseq, err = strconv.ParseUint(value, 10, 63)
		case "boot":
			m.boot = value
		case "special-use":
			m.use = value
		}
		if err != nil {
			return marks{}, fmt.Errorf("%w: line %d: %w", errMarks, n, err)
		}
	}
	if validity == 0 || uid == 0 || modseq == 0 {
		return marks{}, fmt.Errorf("%w: a number is missing", errMarks)
	}
	m.validity = uint32(validity)
	m.nextUID, m.uidEnd = storage.UID(uid), storage.UID(uid)
	m.modseq, m.modseqEnd = storage.ModSeq(modseq), storage.ModSeq(modseq)
	return m, nil
}

// write makes the durable part of m durable.
func (m *marks) write(dir maildir.Dir) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nuidvalidity %x\nuid %d\nmodseq %d\n", marksMagic, m.validity, m.uidEnd, m.modseqEnd)
	if m.boot != "" {
		fmt.Fprintf(&b, "boot %s\n", m.boot)
	}
	if m.use != "" {
		fmt.Fprintf(&b, "special-use %s\n", m.use)
	}
	return maildir.WriteFile(dir.File(marksFile), []byte(b.String()))
}

// errExhausted is the end of a folder: its messages have to be moved to another.
var errExhausted = errors.New("no UIDs are left in this mailbox")

// reserveUIDs sees to it that the next n UIDs may be given out. When it writes it reserves modseqs too: whoever opens the
// folder next will need them, and must be able to when the disk is full.
func (m *marks) reserveUIDs(dir maildir.Dir, n int, boot string) error {
	if int64(m.nextUID)+int64(n) <= int64(m.uidEnd) {
		return nil
	}
	end := int64(m.nextUID) + int64(n) + uidBlock
	if end > math.MaxUint32 {
		return errExhausted
	}
	ahead := *m
	ahead.uidEnd = storage.UID(end)
	ahead.reserveModSeqs(boot)
	if err := ahead.write(dir); err != nil {
		return err
	}
	*m = ahead
	return nil
}

// takeUID gives out a UID that was reserved.
func (m *marks) takeUID() storage.UID {
	uid := m.nextUID
	m.nextUID++
	return uid
}

// takeModSeq gives out a modseq, reserving when necessary.
func (m *marks) takeModSeq(dir maildir.Dir, boot string) (storage.ModSeq, error) {
	if m.modseq >= m.modseqEnd || m.boot != boot {
		ahead := *m
		ahead.reserveModSeqs(boot)
		if err := ahead.write(dir); err != nil {
			return 0, err
		}
		*m = ahead
	}
	m.modseq++
	return m.modseq, nil
}

// reserveModSeqs sets a block of modseqs aside, from what the caller then writes.
func (m *marks) reserveModSeqs(boot string) {
	m.modseqEnd = max(m.modseqEnd, m.modseq) + modseqBlock
	m.boot = boot
}

// settle gives back what was reserved and not used. exact says that the index has all that clients saw, so that the
// modseq may stand as it is.
func (m *marks) settle(dir maildir.Dir, exact bool) error {
	settled := *m
	settled.uidEnd = m.nextUID
	if exact {
		settled.modseqEnd, settled.boot = m.modseq, ""
	}
	if settled == *m {
		return nil
	}
	if err := settled.write(dir); err != nil {
		return err
	}
	*m = settled
	return nil
}

// specialUses are the folders that a new home gets, with their special use (RFC 6154).
var specialUses = map[string]string{
	"Archive": `\Archive`,
	"Drafts":  `\Drafts`,
	"Junk":    `\Junk`,
	"Sent":    `\Sent`,
	"Trash":   `\Trash`,
}

// nextValidity gives out a UIDVALIDITY from the durable counter of the home. It is the time unless the counter is ahead of
// it, so that even a home that was deleted with its counter does not repeat one.
func (h *home) nextValidity() (uint32, error) {
	h.counter.Lock()
	defer h.counter.Unlock()
	last, err := h.lastValidity()
	if err != nil {
		return 0, err
	}
	next := max(last+1, uint64(max(h.store.opts.Now().Unix(), 1)))
	if next > math.MaxUint32 {
		return 0, errors.New("uidvalidity: the counter is exhausted")
	}
	return uint32(next), h.writeValidity(next)
}

// lastValidity reads the counter. The caller holds it.
func (h *home) lastValidity() (uint64, error) {
	data, err := os.ReadFile(h.inbox().File(validityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("uidvalidity: %w", err)
	}
	last, err := strconv.ParseUint(strings.TrimSpace(string(data)), 16, 32)
	if err != nil {
		h.store.log.Error("counter of UIDVALIDITY is unreadable: going on from the time", "home", h.id, "err", err)
	}
	return last, nil
}

func (h *home) writeValidity(n uint64) error {
	if err := maildir.WriteFile(h.inbox().File(validityFile), fmt.Appendf(nil, "%x\n", n)); err != nil {
		return fmt.Errorf("uidvalidity: %w", err)
	}
	return nil
}

const validityFile = "dirpost-uidvalidity"
