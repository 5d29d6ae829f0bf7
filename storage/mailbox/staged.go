package mailbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// A Staged is a message on its way in: one file, on the file system of the homes, in no mailbox yet. It is written by
// one goroutine and sealed; then [Home.Append] may link it into any number of homes, which all share the file. Whatever
// happens, Discard it in the end.
type Staged struct {
	store *Store
	path  string
	out   *os.File // nil once sealed
	buf   []byte   // not yet written
	err   error    // sticky fault of Write

	size, bare int64 // octets so far, and how many of them are LF without CR before
	heldCR     bool  // the last octet written was a CR, not in buf until the next one is known
	last       byte

	mu     sync.Mutex // guards what follows
	date   time.Time
	linked bool
}

// stagedBuffer is what a Staged collects before it writes.
const stagedBuffer = 64 << 10

// Stage opens an empty Staged.
func (s *Store) Stage() (*Staged, error) {
	path, err := s.stagingPath()
	if err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	st := &Staged{store: s, path: path, date: s.opts.Now()}
	if st.out, err = os.OpenFile(st.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	return st, nil
}

// stagingPath is a new path in the staging folder.
func (s *Store) stagingPath() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", storage.ErrClosed
	}
	s.staged++
	return filepath.Join(s.opts.Homes, stagingDir, strconv.FormatUint(s.staged, 10)), nil
}

// Write adds p to the message, with LF where it has CRLF. storage.ErrTooLarge is wrapped once the message would be
// larger on the wire than Limits.MessageBytes; nothing can be sealed then.
func (st *Staged) Write(p []byte) (int, error) {
	if st.err != nil {
		return 0, st.err
	}
	if st.out == nil {
		return 0, fmt.Errorf("stage: write after seal: %w", fs.ErrClosed)
	}
	n := len(p)
	if st.WireSize()+2*int64(n)+1 > st.store.opts.Limits.MessageBytes && st.tooLarge(p) {
		st.err = fmt.Errorf("stage: %w: more than %d octets", storage.ErrTooLarge, st.store.opts.Limits.MessageBytes)
		return 0, st.err
	}
	for len(p) > 0 {
		line, rest, found := bytes.Cut(p, []byte("\r"))
		if st.heldCR && (len(line) == 0 || line[0] != '\n') {
			st.put([]byte{'\r'})
		}
		st.heldCR = false
		st.put(line)
		st.heldCR = found
		p = rest
		if len(st.buf) >= stagedBuffer {
			st.flush()
		}
	}
	return n, st.err
}

// tooLarge counts what the message would be on the wire with p. It is asked only where p might matter: no octet of p is
// more than two on the wire.
func (st *Staged) tooLarge(p []byte) bool {
	wire, last := st.WireSize(), st.last
	if st.heldCR {
		wire, last = wire+1, '\r'
	}
	for _, c := range p {
		wire++
		if c == '\n' && last != '\r' {
			wire++
		}
		last = c
	}
	return wire > st.store.opts.Limits.MessageBytes
}

// put takes octets as they will be in the file.
func (st *Staged) put(p []byte) {
	for i := 0; i < len(p); i++ {
		lf := bytes.IndexByte(p[i:], '\n')
		if lf < 0 {
			break
		}
		i += lf
		if (i == 0 && st.last != '\r') || (i > 0 && p[i-1] != '\r') {
			st.bare++
		}
	}
	if len(p) > 0 {
		st.last = p[len(p)-1]
	}
	st.size += int64(len(p))
	st.buf = append(st.buf, p...)
}

func (st *Staged) flush() {
	if _, err := st.out.Write(st.buf); err != nil && st.err == nil {
		st.err = fmt.Errorf("stage: %w", err)
	}
	st.buf = st.buf[:0]
}

// SetDate sets the INTERNALDATE; without it that is the time of Stage. It is for before Seal: a date given to Append only
// costs another fsync.
func (st *Staged) SetDate(date time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.date = date
}

// Seal makes the file and its date durable. It must be called once, after the last Write and before the first Append.
func (st *Staged) Seal() error {
	if st.out == nil {
		return fmt.Errorf("seal: %w", fs.ErrClosed)
	}
	if st.heldCR {
		st.put([]byte{'\r'})
		st.heldCR = false
	}
	st.flush()
	st.mu.Lock()
	date := st.date
	st.mu.Unlock()
	err := st.err
	if err == nil {
		err = maildir.SetDate(st.out, date)
	}
	if err == nil {
		err = st.out.Sync()
	}
	err = errors.Join(err, st.out.Close())
	st.out, st.buf = nil, nil
	if err != nil {
		st.err = fmt.Errorf("seal: %w", err)
		return st.err
	}
	return nil
}

// LinkTo gives the sealed file another path, on any file system, as [maildir.LinkFile] does.
func (st *Staged) LinkTo(path string) error {
	if st.out != nil || st.err != nil {
		return errors.Join(errNotSealed, st.err)
	}
	return maildir.LinkFile(st.path, path)
}

// Restage returns a message that LinkTo has put at path, as if it had just been sealed.
func (s *Store) Restage(path string) (*Staged, error) {
	next, err := s.stagingPath()
	if err != nil {
		return nil, fmt.Errorf("restage: %w", err)
	}
	st := &Staged{store: s, path: next}
	if err := st.restage(path); err != nil {
		os.Remove(next)
		return nil, fmt.Errorf("restage: %w", err)
	}
	return st, nil
}

func (st *Staged) restage(path string) error {
	if err := maildir.LinkFile(path, st.path); err != nil {
		return err
	}
	f, err := os.Open(st.path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size, wire, err := maildir.WireSize(f)
	st.size, st.bare, st.date = size, wire-size, info.ModTime()
	return err
}

// Size is the number of octets in the file.
func (st *Staged) Size() int64 { return st.size }

// WireSize is the number of octets when every line ends in CRLF.
func (st *Staged) WireSize() int64 { return st.size + st.bare }

// Open opens the sealed file for reading.
func (st *Staged) Open() (*os.File, error) {
	if st.out != nil || st.err != nil {
		return nil, fmt.Errorf("open staged message: %w", errors.Join(errNotSealed, st.err))
	}
	return os.Open(st.path)
}

// Discard removes the staged file. Messages that Append made of it stay. It may be called at any time, also again.
func (st *Staged) Discard() {
	if st.out != nil {
		st.out.Close()
		st.out = nil
	}
	if st.err == nil {
		st.err = errDiscarded
	}
	st.buf = nil
	if err := os.Remove(st.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		st.store.log.Warn("staged message stays until the next start", "err", err)
	}
}

var (
	errNotSealed = errors.New("message is not sealed")
	errDiscarded = errors.New("message was discarded")
)

// dated returns a sealed file with the message and this INTERNALDATE, and what to call when it has been linked or not.
// The file is that of st unless mailboxes already have it with another date.
func (st *Staged) dated(want time.Time) (path string, date time.Time, done func(), err error) {
	if st.out != nil || st.err != nil {
		return "", date, nil, errors.Join(errNotSealed, st.err)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	nothing := func() {}
	if want.IsZero() || want.Unix() == st.date.Unix() {
		st.linked = true
		return st.path, st.date, nothing, nil
	}
	if !st.linked {
		if err := redate(st.path, want); err != nil {
			return "", date, nil, err
		}
		st.date, st.linked = want, true
		return st.path, want, nothing, nil
	}
	other, err := st.store.stagingPath()
	if err != nil {
		return "", date, nil, err
	}
	if err := maildir.Copy(st.path, other, want); err != nil {
		return "", date, nil, err
	}
	return other, want, func() { os.Remove(other) }, nil
}

// redate changes the date of a sealed file durably.
func redate(path string, date time.Time) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := maildir.SetDate(f, date); err != nil {
		return err
	}
	return f.Sync()
}
