package ldapwire

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory/dit"
	ber "github.com/go-asn1-ber/asn1-ber"
)

func TestAppendResult(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"success", AppendResult(nil, 1, tagDeleteResponse, Result{}), "300c 020101 6b07 0a0100 0400 0400"},
		{"after other octets", AppendResult([]byte{0xee}, 1, tagDeleteResponse, Result{}), "ee 300c 020101 6b07 0a0100 0400 0400"},
		{"numbers keep their sign", AppendResult(nil, 128, tagDeleteResponse, Result{Code: 255}), "300e 02020080 6b08 0a0200ff 0400 0400"},
		{"greatest number", AppendResult(nil, maxInt, tagDeleteResponse, Result{}), "300f 02047fffffff 6b07 0a0100 0400 0400"},
		{"matched and text", AppendResult(nil, 1, tagDeleteResponse, Result{32, "o", "no"}), "300f 020101 6b0a 0a0120 04016f 04026e6f"},
		{"controls", AppendResult(nil, 1, tagDeleteResponse, Result{}, Control{OID: "1.2", Critical: true, Value: []byte("v")}),
			"301b 020101 6b07 0a0100 0400 0400 a00d 300b 0403312e32 0101ff 040176"},
		{"extended", AppendExtended(nil, 0, Result{Code: 2}, "1.2", []byte{}), "3013 020100 780e 0a0102 0400 0400 8a03312e32 8b00"},
		{"extended without either", AppendExtended(nil, 1, Result{}, "", nil), "300c 020101 7807 0a0100 0400 0400"},
		{"the policy has nothing to say", EncodeNotice(dit.Notice{}), "3000"},
		{"the password expires in 300 seconds", EncodeNotice(dit.Notice{Expires: 5 * time.Minute}), "3006 a004 8002012c"},
		{"the last grace login", EncodeNotice(dit.Notice{Expired: true}), "3005 a003 810100"},
		{"must change", EncodeNotice(dit.Notice{Error: dit.ChangeAfterReset}), "3003 810102"},
		{"page", EncodePage(0, []byte("ab")), "3007 020100 04026162"},
		{"generated password", EncodePasswordModify([]byte("ab")), "3004 80026162"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if want := octetsOf(t, tt.want); !bytes.Equal(tt.got, want) {
				t.Errorf("got %x, want %x", tt.got, want)
			}
		})
	}
}

// Lengths at the borders of their forms, each checked by another implementation of BER.
func TestAppendEntry(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 100, 127, 128, 255, 256, 65535, 65536, 1 << 24} {
		value := bytes.Repeat([]byte("x"), size)
		e := &dit.Entry{DN: "cn=x", Attributes: []dit.Attribute{
			{Name: "jpegPhoto", Values: [][]byte{value, []byte("second")}}, {Name: "typesOnly"},
		}}
		packet, err := ber.ReadPacket(bytes.NewReader(AppendEntry(nil, 7, e)))
		if err != nil {
			t.Fatalf("%d octets: %v", size, err)
		}
		entry := packet.Children[1]
		photo, typesOnly := entry.Children[1].Children[0], entry.Children[1].Children[1]
		got := []any{packet.Children[0].Value, entry.Children[0].Value, photo.Children[0].Value, photo.Children[1].Children[1].Value,
			typesOnly.Children[0].Value, len(typesOnly.Children[1].Children)}
		want := []any{int64(7), "cn=x", "jpegPhoto", "second", "typesOnly", 0}
		if !reflect.DeepEqual(got, want) || !bytes.Equal(photo.Children[1].Children[0].ByteValue, value) {
			t.Errorf("%d octets: got %v, want %v", size, got, want)
		}
	}
}

func TestDecodePage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   string
		want PageRequest
		ok   bool
	}{
		{"first", "3005 020164 0400", PageRequest{100, []byte{}}, true},
		{"next", "3007 020164 04026162", PageRequest{100, []byte("ab")}, true},
		{"absent", "", PageRequest{}, false},
		{"negative size", "3005 0201ff 0400", PageRequest{}, false},
		{"cut", "3005 020164", PageRequest{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodePage(octetsOf(t, tt.in))
			if (err == nil) != tt.ok || (tt.ok && !reflect.DeepEqual(got, tt.want)) {
				t.Errorf("DecodePage = %+v, %v; want %+v, ok %v", got, err, tt.want, tt.ok)
			}
		})
	}
}

func TestDecodePasswordModify(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   []byte
		want PasswordModify
		ok   bool
	}{
		{"absent value", nil, PasswordModify{}, true},
		{"empty sequence", octetsOf(t, "3000"), PasswordModify{}, true},
		{"all three", octetsOf(t, "3009 800161 810162 820163"), PasswordModify{"a", []byte("b"), []byte("c")}, true},
		{"empty new one is not an absent one", octetsOf(t, "3002 8200"), PasswordModify{New: []byte{}}, true},
		{"empty value", []byte{}, PasswordModify{}, false},
		{"cut", octetsOf(t, "3003 8002"), PasswordModify{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodePasswordModify(tt.in)
			if (err == nil) != tt.ok || (tt.ok && !reflect.DeepEqual(got, tt.want)) {
				t.Errorf("DecodePasswordModify = %+v, %v; want %+v, ok %v", got, err, tt.want, tt.ok)
			}
		})
	}
}

func TestDecodeBoolean(t *testing.T) {
	t.Parallel()
	if v, err := DecodeBoolean([]byte{1, 1, 0xff}); !v || err != nil {
		t.Errorf("DecodeBoolean(TRUE) = %v, %v", v, err)
	}
	if v, err := DecodeBoolean([]byte{1, 1, 0}); v || err != nil {
		t.Errorf("DecodeBoolean(FALSE) = %v, %v", v, err)
	}
	if _, err := DecodeBoolean(nil); err == nil {
		t.Error("DecodeBoolean of nothing: no error")
	}
}

// A SyntaxError is for a log line: it names the place.
func TestSyntaxErrorText(t *testing.T) {
	t.Parallel()
	_, err := Decode([]byte{0x30, 2, 2, 0}, Limits{})
	if err == nil || !strings.Contains(err.Error(), "octet 4") {
		t.Errorf("Decode: %v, want the offset 4 in it", err)
	}
}
