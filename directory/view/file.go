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

// Limits of what is read from a file.
const (
	maxHead   = 1 << 20
	maxRecord = 16 << 20
)

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

// read reads what write wrote. All else, and what another version wrote, is an error that wraps errFile.
func read(r io.Reader) (*state, time.Time, error) {
	s, seen, err := readState(r)
	if err != nil && !errors.Is(err, errFile) {
		err = fmt.Errorf("%w: %w", errFile, err)
	}
	return s, seen, err
}

func readState(r io.Reader) (*state, time.Time, error) {
	in := &summed{in: bufio.NewReaderSize(r, 1<<16)}
	start := make([]byte, len(magic))
	if _, err := io.ReadFull(in, start); err != nil || string(start) != magic {
		return nil, time.Time{}, fmt.Errorf("%w: it does not begin as one", errFile)
	}
	h, err := in.head()
	if err != nil {
		return nil, time.Time{}, err
	}
	s, m := &state{origin: h.Origin, cookie: h.Cookie, loaded: true}, new(maker)
	for range h.Entries {
		rec, err := in.record()
		if err != nil {
			return nil, time.Time{}, err
		}
		if _, err := rec.entry(); err != nil {
			return nil, time.Time{}, err
		}
		s.Snapshot = s.with(rec, m)
	}
	want := in.sum
	var sum [4]byte
	if _, err := io.ReadFull(in, sum[:]); err != nil {
		return nil, time.Time{}, err
	}
	if binary.BigEndian.Uint32(sum[:]) != want {
		return nil, time.Time{}, fmt.Errorf("%w: its sum is another", errFile)
	}
	return s, h.Seen, nil
}

// A summed reader keeps the sum of what was read.
type summed struct {
	in  *bufio.Reader
	sum uint32
}

func (r *summed) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	r.sum = crc32.Update(r.sum, castagnoli, p[:n])
	return n, err
}

// ReadByte makes it an io.ByteReader.
func (r *summed) ReadByte() (byte, error) {
	c, err := r.in.ReadByte()
	if err == nil {
		r.sum = crc32.Update(r.sum, castagnoli, []byte{c})
	}
	return c, err
}

func (r *summed) head() (h head, err error) {
	var line []byte
	for len(line) < maxHead {
		c, err := r.ReadByte()
		if err != nil {
			return h, err
		}
		if c != '\n' {
			line = append(line, c)
			continue
		}
		if err := json.Unmarshal(line, &h); err != nil {
			return h, err
		}
		if strings.Join(h.Attributes, " ") != strings.Join(Attributes, " ") || strings.Join(h.Words, " ") != strings.Join(words, " ") {
			return h, fmt.Errorf("%w: another version wrote it", errFile)
		}
		return h, nil
	}
	return h, fmt.Errorf("%w: its head has no end", errFile)
}

func (r *summed) record() (*record, error) {
	rec := &record{}
	if _, err := io.ReadFull(r, rec.id[:]); err != nil {
		return nil, err
	}
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if n > maxRecord {
		return nil, fmt.Errorf("%w: a record of %d octets", errFile, n)
	}
	var b strings.Builder
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return nil, err
	}
	rec.packed = strings.Clone(b.String())
	return rec, nil
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
		s, seen, err = read(f)
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
