package ldapwire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/go-ldap/ldap/v3"
)

// filterRows are filters as text, which go-ldap's client encodes, and what they must be read as.
var filterRows = []struct {
	text string
	want *dit.Filter
}{
	{"(cn=x)", &dit.Filter{Kind: dit.EqualityMatch, Attr: "cn", Value: []byte("x")}},
	{"(cn=)", &dit.Filter{Kind: dit.EqualityMatch, Attr: "cn", Value: []byte{}}},
	{"(cn>=x)", &dit.Filter{Kind: dit.GreaterOrEqual, Attr: "cn", Value: []byte("x")}},
	{"(cn<=x)", &dit.Filter{Kind: dit.LessOrEqual, Attr: "cn", Value: []byte("x")}},
	{"(cn~=x)", &dit.Filter{Kind: dit.ApproxMatch, Attr: "cn", Value: []byte("x")}},
	{"(objectClass=*)", &person},
	{"(userCertificate;binary=*)", &dit.Filter{Kind: dit.Present, Attr: "userCertificate;binary"}},
	{"(cn=a*)", &dit.Filter{Kind: dit.Substrings, Attr: "cn", Initial: []byte("a")}},
	{"(cn=*b)", &dit.Filter{Kind: dit.Substrings, Attr: "cn", Final: []byte("b")}},
	{"(cn=a*b*c*d)", &dit.Filter{Kind: dit.Substrings, Attr: "cn", Initial: []byte("a"),
		Any: [][]byte{[]byte("b"), []byte("c")}, Final: []byte("d")}},
	{"(cn:caseExactMatch:=x)", &dit.Filter{Kind: dit.ExtensibleMatch, Attr: "cn", Rule: "caseExactMatch", Value: []byte("x")}},
	{"(ou:dn:=x)", &dit.Filter{Kind: dit.ExtensibleMatch, Attr: "ou", DNAttrs: true, Value: []byte("x")}},
	{"(:dn:2.5.13.2:=x)", &dit.Filter{Kind: dit.ExtensibleMatch, Rule: "2.5.13.2", DNAttrs: true, Value: []byte("x")}},
	{"(!(objectClass=*))", &dit.Filter{Kind: dit.Not, Subs: []*dit.Filter{&person}}},
	{"(&(objectClass=*)(|(objectClass=*)(objectClass=*)))", &dit.Filter{Kind: dit.And, Subs: []*dit.Filter{
		&person, {Kind: dit.Or, Subs: []*dit.Filter{&person, &person}}}}},
}

func TestFilterFromClient(t *testing.T) {
	t.Parallel()
	for _, tt := range filterRows {
		t.Run(tt.text, func(t *testing.T) {
			d := &decoder{limits: Limits{}.withDefaults()}
			in := reader{buf: compile(t, tt.text), d: d}
			got := in.filter(1)
			if d.err != nil || in.more() || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("filter = %+v, %v; want %+v", got, d.err, tt.want)
			}
		})
	}
}

// compile is a filter as go-ldap's client writes it.
func compile(t testing.TB, text string) []byte {
	packet, err := ldap.CompileFilter(text)
	if err != nil {
		t.Fatal(err)
	}
	return packet.Bytes()
}

func TestFilterLimits(t *testing.T) {
	t.Parallel()
	leaf := compile(t, "(cn=x)")
	nested := func(n int) []byte {
		return compile(t, strings.Repeat("(!", n-1)+"(cn=x)"+strings.Repeat(")", n-1))
	}
	set := func(n int) []byte {
		w := builder{}
		place := w.open(context | constructed)
		w.b = append(w.b, bytes.Repeat(leaf, n)...)
		w.close(place)
		return w.b
	}
	tests := []struct {
		name string
		in   []byte
		code int
	}{
		{"absolute true, RFC 4526", []byte{0xa0, 0}, 0},
		{"absolute false, RFC 4526", []byte{0xa1, 0}, 0},
		{"32 levels", nested(32), 0},
		{"33 levels", nested(33), ldap.LDAPResultAdminLimitExceeded},
		{"4,000 levels", nested(4000), ldap.LDAPResultAdminLimitExceeded},
		{"256 nodes", set(255), 0},
		{"257 nodes", set(256), ldap.LDAPResultAdminLimitExceeded},
		{"kind 10", []byte{0xaa, 0}, ldap.LDAPResultProtocolError},
		{"present as constructed", []byte{0xa7, 0}, ldap.LDAPResultProtocolError},
		{"substrings without any", []byte{0xa4, 4, 4, 0, 0x30, 0}, ldap.LDAPResultProtocolError},
		{"substring empty", []byte{0xa4, 6, 4, 0, 0x30, 2, 0x80, 0}, ldap.LDAPResultProtocolError},
		{"two initial", []byte{0xa4, 10, 4, 0, 0x30, 6, 0x80, 1, 'a', 0x80, 1, 'b'}, ldap.LDAPResultProtocolError},
		{"final before any", []byte{0xa4, 10, 4, 0, 0x30, 6, 0x82, 1, 'a', 0x81, 1, 'b'}, ldap.LDAPResultProtocolError},
		{"neither rule nor attribute", []byte{0xa9, 3, 0x83, 1, 'x'}, ldap.LDAPResultProtocolError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := &decoder{limits: Limits{}.withDefaults()}
			in := reader{buf: tt.in, d: d}
			in.filter(1)
			got := 0
			var refused *dit.Error
			if errors.As(d.err, &refused) {
				got = refused.Code
			}
			if got != tt.code || (d.err == nil) != (tt.code == 0) {
				t.Errorf("filter: %v; want code %d", d.err, tt.code)
			}
		})
	}
}

func TestMessageLimits(t *testing.T) {
	t.Parallel()
	values := func(n int) []dit.Attribute {
		return []dit.Attribute{{Name: "member", Values: make([][]byte, n)}}
	}
	limits := Limits{Attributes: 3, Values: 4, Controls: 2}
	tests := []struct {
		name string
		m    Message
		ok   bool
	}{
		{"attributes at the limit", Message{Request: &AddRequest{dit.Entry{Attributes: append(append(values(1), values(1)...), values(1)...)}}}, true},
		{"an attribute too many", Message{Request: &AddRequest{dit.Entry{Attributes: append(append(values(1), values(1)...), append(values(1), values(1)...)...)}}}, false},
		{"values at the limit", Message{Request: &AddRequest{dit.Entry{Attributes: values(4)}}}, true},
		{"a value too many", Message{Request: &AddRequest{dit.Entry{Attributes: append(values(2), values(3)...)}}}, false},
		{"a change too many", Message{Request: &ModifyRequest{Changes: make([]dit.Change, 4)}}, false},
		{"an attribute too many asked for", Message{Request: &SearchRequest{dit.SearchRequest{Filter: &person, Attributes: make([]string, 4)}}}, false},
		{"controls at the limit", Message{Request: &DeleteRequest{}, Controls: make([]Control, 2)}, true},
		{"a control too many", Message{Request: &DeleteRequest{}, Controls: make([]Control, 3)}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Decode(encode(tt.m), limits)
			var refused *dit.Error
			limited := errors.As(err, &refused) && refused.Code == ldap.LDAPResultAdminLimitExceeded
			if limited == tt.ok || (err != nil && !limited) {
				t.Errorf("Decode: %v; want ok %v", err, tt.ok)
			}
		})
	}
}

// FuzzFilter: no octets make the reader panic, and what it takes is the same after encoding and reading again.
func FuzzFilter(f *testing.F) {
	for _, row := range filterRows {
		f.Add(compile(f, row.text))
	}
	f.Add([]byte{0xa0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		d := &decoder{limits: Limits{}.withDefaults()}
		in := reader{buf: data, d: d}
		first := in.filter(1)
		if d.err != nil {
			return
		}
		w := builder{}
		w.filter(first)
		d = &decoder{limits: d.limits}
		in = reader{buf: w.b, d: d}
		if second := in.filter(1); d.err != nil || !reflect.DeepEqual(first, second) {
			t.Errorf("%x reads as %+v, and after encoding as %+v, %v", data, first, second, d.err)
		}
	})
}
