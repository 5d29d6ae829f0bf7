package view

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// magic begins a file; the number is that of its form.
const magic = "dirpost directory view 1\n"

// maxHead bounds the line before the records.
const maxHead = 1 << 20

// errFile: the file is not, or no longer, what was written.
var errFile = errors.New("file is damaged")

// A head tells about the records that follow. Attributes and words are part of their form.
type head struct {
	Origin     Origin    `json:"origin"`
	Cookie     []byte    `json:"cookie"`
	Seen       time.Time `json:"seen"`
	Entries    int       `json:"entries"`
	Attributes []string  `json:"attributes"`
	Words      []string  `json:"words"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// write writes a state: the magic, the head as a line of JSON, for each entry its ID and its packed form with its length
// before it, and a CRC-32C of all that.
func (s *state) write(w io.Writer, seen time.Time) error {
	sum := crc32.New(castagnoli)
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
	line, err := json.Marshal(head{s.origin, s.cookie, seen, s.count, Attributes, words})
	if err != nil {
		return err
	}
	out.WriteString(magic)
	out.Write(line)
	out.WriteByte('\n')
	s.ids.all(func(rec *record) bool {
		out.Write(rec.id[:])
		out.Write(binary.AppendUvarint(nil, uint64(len(rec.packed))))
		out.WriteString(rec.packed)
		return true
	})
	if err := out.Flush(); err != nil { // bufio keeps the first error of all
		return err
	}
	return binary.Write(w, binary.BigEndian, sum.Sum32())
}

// read reads what write wrote, size octets. All else, and what another version wrote, is an error that wraps errFile.
func read(r io.Reader, size int64) (*state, time.Time, error) {
	s, seen, err := readState(r, size)
	if err != nil && !errors.Is(err, errFile) {
		err = fmt.Errorf("%w: %w", errFile, err)
	}
	return s, seen, err
}

// readState reads the file as one string, of which all records are parts.
func readState(r io.Reader, size int64) (*state, time.Time, error) {
	const sumBytes = 4
	var text strings.Builder
	sum := crc32.New(castagnoli)
	var want [sumBytes]byte
	if size < int64(len(magic)+sumBytes) {
		return nil, time.Time{}, fmt.Errorf("%w: it is too short", errFile)
	}
	text.Grow(int(size - sumBytes))
	if _, err := io.CopyN(io.MultiWriter(&text, sum), r, size-sumBytes); err != nil {
		return nil, time.Time{}, err
	}
	if _, err := io.ReadFull(r, want[:]); err != nil {
		return nil, time.Time{}, err
	}
	if binary.BigEndian.Uint32(want[:]) != sum.Sum32() {
		return nil, time.Time{}, fmt.Errorf("%w: its sum is another", errFile)
	}
	h, rest, err := readHead(text.String())
	if err != nil {
		return nil, time.Time{}, err
	}
	records, err := readRecords(rest, h.Entries)
	if err != nil {
		return nil, time.Time{}, err
	}
	s := &state{origin: h.Origin, cookie: h.Cookie, loaded: true}
	if s.Snapshot, err = whole(records); err != nil {
		return nil, time.Time{}, fmt.Errorf("%w: %w", errFile, err)
	}
	return s, h.Seen, nil
}

func readHead(text string) (h head, rest string, err error) {
	rest, ok := strings.CutPrefix(text, magic)
	line, rest, ended := strings.Cut(rest, "\n")
	if !ok || !ended || len(line) > maxHead {
		return h, "", fmt.Errorf("%w: it does not begin as one", errFile)
	}
	if err := json.Unmarshal([]byte(line), &h); err != nil {
		return h, "", err
	}
	if strings.Join(h.Attributes, " ") != strings.Join(Attributes, " ") || strings.Join(h.Words, " ") != strings.Join(words, " ") {
		return h, "", fmt.Errorf("%w: another version wrote it", errFile)
	}
	return h, rest, nil
}

// readRecords reads exactly n records.
func readRecords(text string, n int) ([]record, error) {
	u := unpacker{rest: text}
	if n < 0 || n > len(text) {
		return nil, fmt.Errorf("%w: %d entries", errFile, n)
	}
	records := make([]record, n)
	for i := range records {
		copy(records[i].id[:], u.text(uint64(len(ID{}))))
		records[i].packed = u.text(u.number())
		if u.bad {
			return nil, fmt.Errorf("%w: it ends within entry %d", errFile, i)
		}
	}
	if u.rest != "" {
		return nil, fmt.Errorf("%w: %d octets behind the last entry", errFile, len(u.rest))
	}
	return records, nil
}

// load takes over what the file has. A file that cannot be used costs a full load by the feed, and nothing else.
func (v *View) load() {
	if v.opts.File == "" {
		return
	}
	f, err := os.Open(v.opts.File)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var s *state
	var seen time.Time
	if err == nil {
		s, seen, err = readFile(f)
		f.Close()
	}
	if err != nil {
		v.opts.Log.Warn("the kept view of the directory is dropped", "file", v.opts.File, "err", err)
		return
	}
	v.seen.Store(min(seen.UnixNano(), v.opts.Now().UnixNano()))
	v.state.Store(s)
	v.opts.Log.Info("the view of the directory is as it was kept", "entries", s.count, "age", v.opts.Now().Sub(seen).Round(time.Second), "source", s.origin.Means)
}

func readFile(f *os.File) (*state, time.Time, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	return read(f, info.Size())
}

// Save writes the snapshot to the file, unless it came from there. The old file stays whole until the new one is.
func (v *View) Save() error {
	s := v.state.Load()
	if v.opts.File == "" || s == nil || s.loaded {
		return nil
	}
	v.saving.Lock()
	defer v.saving.Unlock()
	if err := v.replace(s); err != nil {
		return fmt.Errorf("keep the view of the directory: %w", err)
	}
	return nil
}

func (v *View) replace(s *state) error {
	dir := filepath.Dir(v.opts.File)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(v.opts.File)+".*")
	if err != nil {
		return err
	}
	err = s.write(f, time.Unix(0, v.seen.Load()))
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), v.opts.File)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
