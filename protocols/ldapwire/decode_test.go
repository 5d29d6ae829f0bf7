package ldapwire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory/dit"
	ber "github.com/go-asn1-ber/asn1-ber"
)

var person = dit.Filter{Kind: dit.Present, Attr: "objectClass"}

// requests holds a message of every kind and shape. They are the rows of TestDecode and the seeds of FuzzMessage.
var requests = []struct {
	name string
	m    Message
}{
	{"anonymous bind", Message{ID: 1, Request: &BindRequest{Version: 3, Password: []byte{}}}},
	{"simple bind", Message{ID: 2, Request: &BindRequest{Version: 3, Name: "cn=x", Password: []byte("secret")}}},
	{"bind of version 2", Message{ID: 2, Request: &BindRequest{Version: 2, Name: "cn=x", Password: []byte("secret")}}},
	{"external without credentials", Message{ID: 3, Request: &BindRequest{Version: 3, Mechanism: "EXTERNAL"}}},
	{"external with empty ones", Message{ID: 3, Request: &BindRequest{Version: 3, Mechanism: "EXTERNAL", Credentials: []byte{}}}},
	{"unbind", Message{ID: 4, Request: &UnbindRequest{}}},
	{"search", Message{ID: 5, Request: &SearchRequest{dit.SearchRequest{
		Base: "dc=example,dc=org", Scope: dit.WholeSubtree, SizeLimit: 7, TimeLimit: 9 * time.Second, TypesOnly: true,
		Filter: &person, Attributes: []string{"cn", "+"},
	}}}},
	{"modify", Message{ID: 6, Request: &ModifyRequest{"cn=x", []dit.Change{
		{Op: dit.AddValues, Attribute: dit.Attribute{Name: "mail", Values: [][]byte{[]byte("a@b"), []byte("c@d")}}},
		{Op: dit.DeleteValues, Attribute: dit.Attribute{Name: "sn"}},
		{Op: dit.IncrementValues, Attribute: dit.Attribute{Name: "dpQuotaBytes", Values: [][]byte{[]byte("1")}}},
	}}}},
	{"add", Message{ID: 7, Request: &AddRequest{dit.Entry{DN: "cn=x", Attributes: []dit.Attribute{
		{Name: "cn", Values: [][]byte{[]byte("x")}}, {Name: "jpegPhoto", Values: [][]byte{make([]byte, 300)}},
	}}}}},
	{"delete", Message{ID: 8, Request: &DeleteRequest{"cn=x"}}},
	{"rename", Message{ID: 9, Request: &ModifyDNRequest{DN: "cn=x", NewRDN: "cn=y", DeleteOld: true}}},
	{"move", Message{ID: 10, Request: &ModifyDNRequest{DN: "cn=x", NewRDN: "cn=x", Move: true, NewSuperior: "ou=b"}}},
	{"move to the root", Message{ID: 10, Request: &ModifyDNRequest{DN: "cn=x", NewRDN: "cn=x", Move: true}}},
	{"compare", Message{ID: 11, Request: &CompareRequest{"cn=x", "sn", []byte{0, 1, 2}}}},
	{"abandon", Message{ID: 12, Request: &AbandonRequest{maxInt}}},
	{"extended without value", Message{ID: maxInt, Request: &ExtendedRequest{OID: "1.3.6.1.4.1.4203.1.11.3"}}},
	{"extended with value", Message{ID: 128, Request: &ExtendedRequest{"1.2.3", []byte{}}}},
	{"controls", Message{ID: 14, Request: &DeleteRequest{"cn=x"}, Controls: []Control{
		{OID: "1.2.3"}, {OID: "1.2.4", Critical: true}, {OID: "1.2.5", Value: []byte{}}, {OID: "1.2.6", Critical: true, Value: []byte("v")},
	}}},
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, tt := range requests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Decode(encode(tt.m), Limits{})
			if err != nil || !reflect.DeepEqual(got, tt.m) {
				t.Errorf("Decode = %+v, %v; want %+v", got, err, tt.m)
			}
		})
	}
}

// octetsOf reads hexadecimal digits with spaces between.
func octetsOf(t testing.TB, digits string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// octetRows are messages as octets: forms that our own encoder does not make, and faults. A row with neither an offset
// nor a code decodes.
var octetRows = []struct {
	name   string
	in     string
	offset int // of the SyntaxError; -1 for the first octet
	code   int // of the dit.Error
}{
	{"delete of nothing", "30 05 020101 4a 00", 0, 0},
	{"long lengths with leading zeros, as Windows sends them", "30 84 00000009 02 82 0001 01 4a 81 00", 0, 0},
	{"number with leading zeros", "30 08 0204 00000001 4a 00", 0, 0},
	{"component of a later version after the controls", "30 09 020101 4a00 a000 8500", 0, 0},
	{"component of a later version in a request", "30 15 020101 6e 10 0400 3004 0400 0400 a1 06 0404 00000000", 0, 0},
	{"true that is not ff", "30 0e 020101 6c 09 0400 0402 613d 010101", 0, 0},

	{"nothing", "", -1, 0},
	{"no sequence", "31 05 020101 4a00", -1, 0},
	{"cut before the length", "30", -1, 0},
	{"longer than the frame", "30 06 020101 4a00", -1, 0},
	{"octets behind", "30 05 020101 4a00 00", 7, 0},
	{"indefinite length", "30 80 020101 4a00 0000", -1, 0},
	{"length of five octets", "30 85 0000000005 020101 4a00", -1, 0},
	{"length of 4 GiB inside", "30 09 020101 4a84 ffffffff", 5, 0},
	{"tag of two octets", "30 07 020101 5f2a 0100", 5, 0},
	{"number missing", "30 02 4a00", 2, 0},
	{"number empty", "30 04 0200 4a00", 4, 0},
	{"number negative", "30 05 0201ff 4a00", 4, 0},
	{"number above 2^31-1", "30 08 0204 80000000 4a00", 4, 0},
	{"number of nine octets", "30 0d 0209 000000000000000001 4a00", 4, 0},
	{"operation missing", "30 03 020101", 5, 0},
	{"operation is a response", "30 0c 020101 61 07 0a0100 0400 0400", 7, 0},
	{"string longer than its operation", "30 09 020101 6e 04 0405 6162", 7, 0},
	{"boolean of two octets", "30 0d 020101 6c 08 0400 0400 0102 0000", 13, 0},
	{"control is no sequence", "30 0a 020101 4a00 a003 020101", 9, 0},

	{"authentication choice of Kerberos 4", "30 0c 020101 60 07 020103 0400 8100", 0, 7},
	{"mechanism is empty", "30 0e 020101 60 09 020103 0400 a302 0400", 0, 7},
	{"scope 3", "30 15 020101 63 10 0400 0a0103 0a0100 020100 020100 0101", 0, 2},
	{"change 4", "30 14 020101 66 0f 0400 300b 3009 0a0104 3004 0400 3100", 0, 2},
	{"add without a value", "30 0f 020101 68 0a 0400 3006 3004 0400 3100", 0, 2},
}

func TestDecodeOctets(t *testing.T) {
	t.Parallel()
	for _, tt := range octetRows {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Decode(octetsOf(t, tt.in), Limits{})
			var syntax *SyntaxError
			var refused *dit.Error
			switch {
			case errors.As(err, &refused):
				if refused.Code != tt.code || m.ID != 1 || m.Request == nil {
					t.Errorf("Decode = %+v, %v; want message 1 and code %d", m, err, tt.code)
				}
			case errors.As(err, &syntax):
				if tt.code != 0 || max(tt.offset, 0) != syntax.Offset {
					t.Errorf("Decode = %v; want offset %d, code %d", err, tt.offset, tt.code)
				}
			case err != nil:
				t.Errorf("Decode = %v, an error of neither kind", err)
			case tt.offset != 0 || tt.code != 0:
				t.Errorf("Decode = %+v; want offset %d, code %d", m, tt.offset, tt.code)
			}
		})
	}
}

// FuzzMessage: no octets make Decode panic; what it takes is the same after encoding and reading again, and asn1-ber,
// which every Go client uses, reads the answer to it.
func FuzzMessage(f *testing.F) {
	for _, row := range requests {
		f.Add(encode(row.m))
	}
	for _, row := range octetRows {
		f.Add(octetsOf(f, row.in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := Decode(data, Limits{})
		if err != nil {
			return
		}
		second, err := Decode(encode(first), Limits{})
		if err != nil || !reflect.DeepEqual(first, second) {
			t.Errorf("%x reads as %+v, and after encoding as %+v, %v", data, first, second, err)
		}
		answer := AppendResult(nil, first.ID, tagAddResponse, Result{Code: 0, Matched: string(data)}, first.Controls...)
		packet, err := ber.ReadPacket(bytes.NewReader(answer))
		if err != nil || packet.Children[0].Value != int64(first.ID) {
			t.Errorf("answer %x: %v", answer, err)
		}
	})
}
