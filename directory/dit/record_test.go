package dit

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

func testRecords(t testing.TB) []*record {
	t.Helper()
	c := loadCatalog()
	attr := func(name string, values ...string) attribute {
		d, err := c.describe(name)
		if err != nil {
			t.Fatal(err)
		}
		return attribute{d, texts(values...)}
	}
	return []*record{
		{id: 1, rdn: "dc=example,dc=org", attrs: []attribute{attr("objectClass", "domain"), attr("dc", "example")}},
		{id: 7, parent: 1, rdn: "uid=alice", attrs: []attribute{
			attr("uid", "alice"), attr("cn", "Alice", "Ålice"), attr("userCertificate;binary", "\x30\x00\xff"),
			attr("description;lang-de", ""), attr("description", "x"),
		}},
		{id: 9, parent: 1<<32 - 1, rdn: "cn=x", attrs: []attribute{}},
	}
}

func TestRecordsDecodeToThemselves(t *testing.T) {
	t.Parallel()
	for _, r := range testRecords(t) {
		got, err := decodeRecord(loadCatalog(), r.id, r.encode())
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s: decoded %+v, %v; want %+v", r.rdn, got, err, r)
		}
	}
}

func TestDamagedRecordsAreNoticed(t *testing.T) {
	t.Parallel()
	for _, r := range testRecords(t) {
		whole := r.encode()
		for i := range whole {
			for _, damaged := range [][]byte{whole[:i], append(bytes.Clone(whole[:i]), append([]byte{whole[i] ^ 0x41}, whole[i+1:]...)...)} {
				if _, err := decodeRecord(loadCatalog(), r.id, damaged); !errors.Is(err, ErrDamaged) {
					t.Fatalf("%s: damage at %d of %d: %v, want ErrDamaged", r.rdn, i, len(whole), err)
				}
			}
		}
	}
}

// FuzzEntryDecode feeds what follows the version and precedes the checksum: no panic, no allocation beyond the input, and
// what decodes is encoded so that it decodes to the same.
func FuzzEntryDecode(f *testing.F) {
	for _, r := range testRecords(f) {
		b := r.encode()
		f.Add(b[1 : len(b)-4])
	}
	c := loadCatalog()
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeBody(c, 1, b)
		if err != nil {
			return
		}
		again, err := decodeRecord(c, 1, r.encode())
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%x decodes to %+v, and that to %+v, %v", b, r, again, err)
		}
	})
}
