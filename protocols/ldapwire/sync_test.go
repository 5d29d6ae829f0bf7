package ldapwire

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

var syncRequests = []struct {
	name string
	in   string
	want SyncRequest
	bad  bool
}{
	{"once, from the start", "\x30\x03\x0a\x01\x01", SyncRequest{}, false},
	{"for ever, with a cookie", "\x30\x08\x0a\x01\x03\x04\x03abc", SyncRequest{Persist: true, Cookie: []byte("abc")}, false},
	{"the hint is dropped", "\x30\x06\x0a\x01\x01\x01\x01\xff", SyncRequest{}, false},
	{"mode 2 is reserved", "\x30\x03\x0a\x01\x02", SyncRequest{}, true},
	{"no value", "", SyncRequest{}, true},
	{"a cut cookie", "\x30\x06\x0a\x01\x03\x04\x03a", SyncRequest{}, true},
}

func TestDecodeSyncRequest(t *testing.T) {
	t.Parallel()
	for _, tt := range syncRequests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeSyncRequest([]byte(tt.in))
			if (err != nil) != tt.bad || err == nil && !cmp.Equal(got, tt.want) {
				t.Errorf("DecodeSyncRequest(%q) = %+v, %v; want %+v", tt.in, got, err, tt.want)
			}
		})
	}
}

func FuzzDecodeSyncRequest(f *testing.F) {
	for _, tt := range syncRequests {
		f.Add([]byte(tt.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if r, err := DecodeSyncRequest(in); err == nil && len(r.Cookie) > len(in) {
			t.Errorf("cookie of %d octets from %d", len(r.Cookie), len(in))
		}
	})
}
