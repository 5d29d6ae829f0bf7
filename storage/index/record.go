package index

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// The file starts with magic, UIDVALIDITY (4 octets), salt (4) and the CRC of these (4). A record is the length of its
// payload (2), its kind (1), the payload, and the CRC of all before it (4). Numbers are little-endian.
const (
	magic       = "dirpost\x01"
	headerBytes = 8 + 12
	frameHead   = 3
	frameBytes  = frameHead + 4
)

// Kinds of records. None is 0, so that zeros are no record.
const (
	kindMessage = 1 + iota
	kindExpunge
	kindSummary
)

// Sizes of payloads; that of a message is followed by the file name.
const (
	messageBytes       = 4 + 8 + 1 + 1 + 4 + 8 + 8 + 8 + 1
	expungeBytes       = 4 + 8
	totalsBytes        = 3*4 + 2*8
	stampBytes         = 3 * 8
	summaryBytes       = 4 + 8 + 2*(stampBytes+totalsBytes)
	summaryRecordBytes = summaryBytes + frameBytes
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// appendHeader starts a file with a salt of its own.
func appendHeader(b []byte, validity uint32) ([]byte, uint32) {
	var salt [4]byte
	_, _ = rand.Read(salt[:]) // never fails
	b = append(b, magic...)
	b = le.AppendUint32(b, validity)
	b = append(b, salt[:]...)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli)), le.Uint32(salt[:])
}

// readHeader checks the head of a file and returns its salt.
func readHeader(data []byte, validity uint32) (uint32, error) {
	if len(data) < headerBytes || string(data[:len(magic)]) != magic {
		return 0, fmt.Errorf("%w: no header", ErrDamaged)
	}
	n := headerBytes - 4
	if le.Uint32(data[n:]) != crc32.Checksum(data[:n], castagnoli) {
		return 0, fmt.Errorf("%w: checksum of the header", ErrDamaged)
	}
	if got := le.Uint32(data[len(magic):]); got != validity {
		return 0, fmt.Errorf("%w: UIDVALIDITY %d, not %d", ErrDamaged, got, validity)
	}
	return le.Uint32(data[len(magic)+4:]), nil
}

// nextRecord takes one record off data.
func nextRecord(data []byte, salt uint32) (kind byte, payload, rest []byte, err error) {
	if len(data) < frameBytes {
		return 0, nil, nil, fmt.Errorf("%w: cut short", ErrDamaged)
	}
	end := frameHead + int(le.Uint16(data))
	if len(data) < end+4 {
		return 0, nil, nil, fmt.Errorf("%w: cut short", ErrDamaged)
	}
	if le.Uint32(data[end:]) != crc32.Update(salt, castagnoli, data[:end]) {
		return 0, nil, nil, fmt.Errorf("%w: checksum", ErrDamaged)
	}
	return data[2], data[frameHead:end], data[end+4:], nil
}

// openFrame starts a record, closeFrame ends the one that starts at start.
func openFrame(b []byte, kind byte) []byte { return append(b, 0, 0, kind) }

func closeFrame(b []byte, start int, salt uint32) []byte {
	le.PutUint16(b[start:], uint16(len(b)-start-frameHead))
	return le.AppendUint32(b, crc32.Update(salt, castagnoli, b[start:]))
}

func appendMessage(b []byte, salt uint32, row *Row) []byte {
	start := len(b)
	b = openFrame(b, kindMessage)
	b = le.AppendUint32(b, uint32(row.UID))
	b = le.AppendUint64(b, uint64(row.ModSeq))
	b = append(b, byte(row.Flags), byte(row.Sub))
	b = le.AppendUint32(b, row.Keywords)
	b = le.AppendUint64(b, uint64(row.Size))
	b = le.AppendUint64(b, uint64(row.WireSize))
	b = le.AppendUint64(b, uint64(row.Date))
	b = append(b, row.BaseLen)
	b = append(b, row.File...)
	return closeFrame(b, start, salt)
}

// readMessage returns the row and its file name. The row's File has only the right length: the parser keeps all names
// together and fills it in.
func readMessage(p []byte) (Row, []byte, bool) {
	name := p[messageBytes:]
	row := Row{
		UID:      storage.UID(le.Uint32(p)),
		ModSeq:   storage.ModSeq(le.Uint64(p[4:])),
		Flags:    storage.Flags(p[12]),
		Sub:      maildir.Sub(p[13]),
		Keywords: le.Uint32(p[14:]),
		Size:     int64(le.Uint64(p[18:])),
		WireSize: int64(le.Uint64(p[26:])),
		Date:     int64(le.Uint64(p[34:])),
		BaseLen:  p[42],
	}
	if row.UID == 0 || row.Sub > maildir.Cur || len(name) > maxName || int(row.BaseLen) > len(name) || row.BaseLen == 0 {
		return Row{}, nil, false
	}
	row.File = nameLength[:len(name)]
	return row, name, true
}

// maxName is the longest file name.
const maxName = 255

// nameLength lends its length to rows whose name is not there yet.
var nameLength = string(make([]byte, maxName))

func appendExpunge(b []byte, salt uint32, uid storage.UID, modseq storage.ModSeq) []byte {
	start := len(b)
	b = openFrame(b, kindExpunge)
	b = le.AppendUint32(b, uint32(uid))
	b = le.AppendUint64(b, uint64(modseq))
	return closeFrame(b, start, salt)
}

func readExpunge(p []byte) (storage.UID, storage.ModSeq) {
	return storage.UID(le.Uint32(p)), storage.ModSeq(le.Uint64(p[4:]))
}

func appendSummary(b []byte, salt uint32, s *Summary) []byte {
	start := len(b)
	b = openFrame(b, kindSummary)
	b = le.AppendUint32(b, uint32(s.UIDNext))
	b = le.AppendUint64(b, uint64(s.HighestModSeq))
	for _, sub := range maildir.Subs {
		stamp, totals := s.Stamps[sub], s.Totals[sub]
		b = le.AppendUint64(b, stamp.Inode)
		b = le.AppendUint64(b, uint64(stamp.Mtime))
		b = le.AppendUint64(b, uint64(stamp.Ctime))
		b = le.AppendUint32(b, totals.Messages)
		b = le.AppendUint32(b, totals.Unseen)
		b = le.AppendUint32(b, totals.Deleted)
		b = le.AppendUint64(b, uint64(totals.Size))
		b = le.AppendUint64(b, uint64(totals.WireSize))
	}
	return closeFrame(b, start, salt)
}

func readSummary(p []byte) *Summary {
	s := &Summary{UIDNext: storage.UID(le.Uint32(p)), HighestModSeq: storage.ModSeq(le.Uint64(p[4:]))}
	p = p[12:]
	for _, sub := range maildir.Subs {
		s.Stamps[sub] = maildir.Stamp{Inode: le.Uint64(p), Mtime: int64(le.Uint64(p[8:])), Ctime: int64(le.Uint64(p[16:]))}
		p = p[stampBytes:]
		s.Totals[sub] = Totals{
			Messages: le.Uint32(p),
			Unseen:   le.Uint32(p[4:]),
			Deleted:  le.Uint32(p[8:]),
			Size:     int64(le.Uint64(p[12:])),
			WireSize: int64(le.Uint64(p[20:])),
		}
		p = p[totalsBytes:]
	}
	return s
}
