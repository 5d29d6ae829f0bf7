package smtpd

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// FuzzRecords: however TLS asks and however octets come, no read goes beyond the end of a record, and the size of the
// last one is known. What does not begin with TLS may begin with it at any read, and loses nothing meanwhile.
func FuzzRecords(f *testing.F) {
	record := func(kind byte, size int) []byte {
		head := binary.BigEndian.AppendUint16([]byte{kind, 3, 3}, uint16(size))
		return append(head, make([]byte, size)...)
	}
	f.Add(bytes.Join([][]byte{record(22, 300), record(20, 1), record(23, 16384), record(21, 19), record(23, 0)}, nil), []byte{5, 200, 1, 0, 77})
	f.Add([]byte("EHLO client.test\r\n"), []byte{3})
	f.Add([]byte{22}, []byte{})
	f.Fuzz(func(t *testing.T, stream, asks []byte) {
		var r records
		edge, size, secure := 0, 0, len(stream) > 0 && stream[0] == recordHandshake // edge: where the next record begins
		for at, i := 0, 0; at < len(stream); i++ {
			ask := 1 + i%9
			if len(asks) > 0 {
				ask = 1 + int(asks[i%len(asks)])*64
			}
			p := r.within(make([]byte, ask))
			if len(p) == 0 || len(p) > ask {
				t.Fatalf("asked for %d octets it may read %d", ask, len(p))
			}
			n := copy(p, stream[at:])
			if secure && at > 0 && at < edge && at+n > edge {
				t.Fatalf("a read from %d to %d goes beyond %d", at, at+n, edge)
			}
			r.pass(p[:n])
			at += n
			for secure && edge+recordHead <= at { // a read before the first record is known may pass several
				size = recordHead + int(binary.BigEndian.Uint16(stream[edge+3:]))
				if edge+size > at {
					break
				}
				edge += size
			}
			if secure && (at == edge) != (r.size > 0 && r.left == 0 && r.have == 0) {
				t.Fatalf("at %d, the record ends at %d: %+v", at, edge, r)
			}
		}
	})
}
