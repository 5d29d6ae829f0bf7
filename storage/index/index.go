// Package index keeps what a mailbox knows of its messages in one file, so that it need not ask the Maildir. It is a
// cache: whoever loses it, or finds it damaged ([ErrDamaged]), reads the Maildir again.
//
// The file is a header and then records, only ever appended: a message as it is now, a message expunged, and, when the
// mailbox is closed, a summary. Each carries a CRC-32C that starts from a number of the file's own, so that neither a
// torn write, nor zeros, nor a block of an older file passes for a record. Rows that later records replaced are dropped
// by writing the file anew ([Create]).
//
// Records are not synced one by one. After a crash of the process the file is complete; after a power cut it may be one
// from an earlier moment, which the owner has to notice (package mailbox does, by the high-water mark of the modseqs).
//
// Start reading at [Row] and [Open].
package index

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// ErrDamaged says that a file is no index, not one of this UIDVALIDITY, or not whole.
var ErrDamaged = errors.New("index is damaged")

// A Row is one message.
type Row struct {
	ModSeq   storage.ModSeq
	Size     int64 // octets of the file
	WireSize int64
	Date     int64  // INTERNALDATE, Unix seconds
	File     string // the file's name in Sub, with its flags
	UID      storage.UID
	Keywords uint32
	Flags    storage.Flags
	Sub      maildir.Sub
	BaseLen  uint8 // octets of File before the flags
}

// Base is the file's name without its flags.
func (r *Row) Base() string { return r.File[:r.BaseLen] }

// Totals sum up the messages of one directory.
type Totals struct {
	Messages, Unseen, Deleted uint32
	Size, WireSize            int64
}

// Add counts row in, or out if sign is -1.
func (t *Totals) Add(row *Row, sign int) {
	n := uint32(sign) // adding the two's complement of 1 subtracts 1
	t.Messages += n
	if row.Flags&storage.Seen == 0 {
		t.Unseen += n
	}
	if row.Flags&storage.Trashed != 0 {
		t.Deleted += n
	}
	t.Size += int64(sign) * row.Size
	t.WireSize += int64(sign) * row.WireSize
}

// Sum adds other totals.
func (t *Totals) Sum(o Totals) {
	t.Messages += o.Messages
	t.Unseen += o.Unseen
	t.Deleted += o.Deleted
	t.Size += o.Size
	t.WireSize += o.WireSize
}

// A Summary is the mailbox at the moment it was closed. A zero stamp says that the directory must be read again.
type Summary struct {
	UIDNext       storage.UID
	HighestModSeq storage.ModSeq
	Stamps        [2]maildir.Stamp // by maildir.Sub
	Totals        [2]Totals        // by maildir.Sub
}

// Contents are what Open found.
type Contents struct {
	Rows          []Row // in UID order
	UIDNext       storage.UID
	HighestModSeq storage.ModSeq
	Closed        *Summary // nil if the file does not end in one
	Records       int      // how many were read to arrive at Rows
}

// A File is an index open for appending. It is for one goroutine at a time.
type File struct {
	file *os.File
	salt uint32
	buf  []byte // records not yet flushed
	err  error  // sticky: after a failed write the file has a hole
}

// Open reads the file at path. ErrDamaged is wrapped if it cannot be used, fs.ErrNotExist if there is none.
func Open(path string, validity uint32) (*File, Contents, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, Contents{}, err
	}
	salt, contents, err := parse(data, validity)
	if err != nil {
		return nil, Contents{}, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, Contents{}, err
	}
	return &File{file: f, salt: salt}, contents, nil
}

// Create writes a new file with rows, which must be in UID order, in the place of what is at path.
func Create(path string, validity uint32, rows iter.Seq[*Row]) (*File, error) {
	temp := path + ".next"
	file, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	f := &File{file: file}
	f.buf, f.salt = appendHeader(f.buf, validity)
	for row := range rows {
		f.Put(row)
		if len(f.buf) >= flushBytes {
			f.Flush()
		}
	}
	err = f.Flush()
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		file.Close()
		os.Remove(temp)
		return nil, err
	}
	return f, nil
}

const flushBytes = 1 << 20

// Put records a message as it is now: a new one, whose UID must be above all others, or a changed one.
func (f *File) Put(row *Row) { f.buf = appendMessage(f.buf, f.salt, row) }

// Expunge records that a message is gone.
func (f *File) Expunge(uid storage.UID, modseq storage.ModSeq) {
	f.buf = appendExpunge(f.buf, f.salt, uid, modseq)
}

// Flush writes what was recorded. After an error the file is of no more use and should be removed.
func (f *File) Flush() error {
	if f.err == nil && len(f.buf) > 0 {
		_, f.err = f.file.Write(f.buf)
	}
	f.buf = f.buf[:0]
	if cap(f.buf) > 2*flushBytes {
		f.buf = nil
	}
	return f.err
}

// Close writes what is pending and, if s is not nil, the summary.
func (f *File) Close(s *Summary) error {
	if s != nil {
		f.buf = appendSummary(f.buf, f.salt, s)
	}
	return errors.Join(f.Flush(), f.file.Close())
}

// ReadSummary returns the summary at the end of the file without reading the rest. ErrDamaged is wrapped if there is
// none.
func ReadSummary(path string, validity uint32) (*Summary, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var head [headerBytes]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	salt, err := readHeader(head[:], validity)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	at := info.Size() - summaryRecordBytes
	if at < headerBytes {
		return nil, fmt.Errorf("%w: no summary", ErrDamaged)
	}
	var tail [summaryRecordBytes]byte
	if _, err := f.ReadAt(tail[:], at); err != nil {
		return nil, fmt.Errorf("%w: summary: %w", ErrDamaged, err)
	}
	kind, payload, _, err := nextRecord(tail[:], salt)
	if err != nil || kind != kindSummary || len(payload) != summaryBytes {
		return nil, fmt.Errorf("%w: no summary", ErrDamaged)
	}
	return readSummary(payload), nil
}

// parse reads a whole file.
func parse(data []byte, validity uint32) (uint32, Contents, error) {
	salt, err := readHeader(data, validity)
	if err != nil {
		return 0, Contents{}, err
	}
	p := parser{rows: make([]Row, 0, len(data)/typicalRecord), starts: make([]int, 0, len(data)/typicalRecord)}
	p.names.Grow(len(data) * 2 / 3)
	rest := data[headerBytes:]
	for len(rest) > 0 {
		kind, payload, after, err := nextRecord(rest, salt)
		if err == nil {
			err = p.record(kind, payload)
		}
		if err != nil {
			return 0, Contents{}, fmt.Errorf("%w: at octet %d", err, len(data)-len(rest))
		}
		rest = after
	}
	return salt, p.contents(), nil
}

// typicalRecord is a guess at the octets of a message record.
const typicalRecord = 100

// A parser applies records in their order.
type parser struct {
	rows   []Row           // in UID order, also those expunged
	gone   []bool          // which rows are expunged; nil until one is
	names  strings.Builder // all file names
	starts []int           // where the name of a row starts in names
	found  Contents
}

// record applies one record.
func (p *parser) record(kind byte, payload []byte) error {
	p.found.Records++
	p.found.Closed = nil
	switch {
	case kind == kindMessage && len(payload) > messageBytes:
		return p.message(payload)
	case kind == kindExpunge && len(payload) == expungeBytes:
		uid, modseq := readExpunge(payload)
		i, ok := p.find(uid)
		if !ok {
			return fmt.Errorf("%w: expunge of unknown UID %d", ErrDamaged, uid)
		}
		if p.gone == nil {
			p.gone = make([]bool, len(p.rows), cap(p.rows))
		}
		p.gone[i] = true
		p.found.HighestModSeq = max(p.found.HighestModSeq, modseq)
	case kind == kindSummary && len(payload) == summaryBytes:
		s := readSummary(payload)
		p.found.Closed = s
		p.found.UIDNext = max(p.found.UIDNext, s.UIDNext)
		p.found.HighestModSeq = max(p.found.HighestModSeq, s.HighestModSeq)
	default:
		return fmt.Errorf("%w: unknown record", ErrDamaged)
	}
	return nil
}

func (p *parser) message(payload []byte) error {
	row, name, ok := readMessage(payload)
	if !ok {
		return fmt.Errorf("%w: message record", ErrDamaged)
	}
	i, known := p.find(row.UID)
	switch {
	case known:
		p.rows[i], p.starts[i] = row, p.names.Len()
	case i == len(p.rows):
		p.rows, p.starts = append(p.rows, row), append(p.starts, p.names.Len())
		if p.gone != nil {
			p.gone = append(p.gone, false)
		}
	default:
		return fmt.Errorf("%w: UID %d out of order", ErrDamaged, row.UID)
	}
	p.names.Write(name)
	p.found.UIDNext = max(p.found.UIDNext, row.UID+1)
	p.found.HighestModSeq = max(p.found.HighestModSeq, row.ModSeq)
	return nil
}

// find returns the place of a living UID, or where it would be and false.
func (p *parser) find(uid storage.UID) (int, bool) {
	if n := len(p.rows); n == 0 || p.rows[n-1].UID < uid {
		return n, false
	}
	i, ok := slices.BinarySearchFunc(p.rows, uid, func(r Row, uid storage.UID) int { return cmp.Compare(r.UID, uid) })
	return i, ok && (p.gone == nil || !p.gone[i])
}

// contents gives the rows their names, all in one string, and leaves out what is gone.
func (p *parser) contents() Contents {
	all := p.names.String()
	rows := p.rows[:0]
	for i, row := range p.rows {
		if p.gone != nil && p.gone[i] {
			continue
		}
		row.File = all[p.starts[i] : p.starts[i]+len(row.File)]
		rows = append(rows, row)
	}
	p.found.Rows = rows
	return p.found
}
