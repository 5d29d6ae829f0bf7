package dit

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
)

// ErrDamaged is wrapped by errors about a file that does not hold what was written.
var ErrDamaged = errors.New("directory file is damaged")

// recordVersion is the first octet of an encoded entry.
const recordVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An attribute is one attribute of a stored entry.
type attribute struct {
	description
	values [][]byte
}

// A record is a stored entry. It holds its own RDN and its parent's number, so that a subtree moves with one write.
type record struct {
	id, parent uint32 // parent 0 = the entry of a naming context, whose rdn is the whole name
	rdn        string
	attrs      []attribute

	restored bool // from an export: with the server's own attributes, and members that may come later; not stored
}

// find returns the attribute with exactly this description, or nil.
func (r *record) find(d description) *attribute {
	for i := range r.attrs {
		if r.attrs[i].text == d.text {
			return &r.attrs[i]
		}
	}
	return nil
}

// clone copies the record so far that values can be added and removed without touching r.
func (r *record) clone() *record {
	c := *r
	c.attrs = slices.Clone(r.attrs)
	for i := range c.attrs {
		c.attrs[i].values = slices.Clone(c.attrs[i].values)
	}
	return &c
}

// encode returns the stored form: version, parent, RDN, attributes, each text behind its length, and a CRC-32C.
func (r *record) encode() []byte {
	b := []byte{recordVersion}
	b = binary.AppendUvarint(b, uint64(r.parent))
	b = appendText(b, r.rdn)
	b = binary.AppendUvarint(b, uint64(len(r.attrs)))
	for _, a := range r.attrs {
		b = appendText(b, a.text)
		b = binary.AppendUvarint(b, uint64(len(a.values)))
		for _, v := range a.values {
			b = appendText(b, v)
		}
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeRecord reads the stored form of entry id. The record refers to b, which must not change afterwards.
func decodeRecord(c *catalog, id uint32, b []byte) (*record, error) {
	if len(b) < 5 || b[0] != recordVersion {
		return nil, ErrDamaged
	}
	body, sum := b[:len(b)-4], b[len(b)-4:]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(sum) {
		return nil, ErrDamaged
	}
	return decodeBody(c, id, body[1:])
}

func decodeBody(c *catalog, id uint32, b []byte) (*record, error) {
	d := decoder{b: b}
	r := &record{id: id, parent: d.number(), rdn: string(d.octets())}
	r.attrs = make([]attribute, 0, d.count())
	for range cap(r.attrs) {
		desc, err := c.describe(string(d.octets()))
		if err != nil {
			d.bad = true
			break
		}
		a := attribute{desc, make([][]byte, 0, d.count())}
		for range cap(a.values) {
			a.values = append(a.values, d.octets())
		}
		r.attrs = append(r.attrs, a)
	}
	if d.bad || len(d.b) != 0 {
		return nil, ErrDamaged
	}
	return r, nil
}

// A decoder takes fields from the front of b; once a field does not fit it is bad and yields nothing more.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) number() uint32 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 || n > 1<<32-1 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[size:]
	return uint32(n)
}

// count is a number of things that take an octet each at least, so a lie about it allocates nothing.
func (d *decoder) count() int {
	n := d.number()
	if uint64(n) > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) octets() []byte {
	n := d.count()
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}
