package message

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

var addressTests = []struct {
	name string
	in   string
	want []Address
}{
	{"empty", "", nil},
	{"bare", "joe@example.org", []Address{{User: "joe", Host: "example.org"}}},
	{"name and angle", "Joe Q. Public <joe@example.org>", []Address{{Name: "Joe Q. Public", User: "joe", Host: "example.org"}}},
	{"quoted name", `"Public, \"Joe\"" <joe@example.org>`, []Address{{Name: `Public, "Joe"`, User: "joe", Host: "example.org"}}},
	{"quoted name and words", `"Joe Q" Public  Jr. <joe@example.org>`, []Address{{Name: `Joe Q Public Jr.`, User: "joe", Host: "example.org"}}},
	{"encoded word is left raw", "=?utf-8?Q?J=C3=B6?= <j@example.org>", []Address{{Name: "=?utf-8?Q?J=C3=B6?=", User: "j", Host: "example.org"}}},
	{"comma in an encoded word", "=?utf-8?Q?Public,_Joe?= <j@example.org>", []Address{{Name: "=?utf-8?Q?Public,_Joe?=", User: "j", Host: "example.org"}}},
	{"two encoded words", "=?utf-8?Q?a?= =?utf-8?Q?b?= <j@example.org>", []Address{{Name: "=?utf-8?Q?a?= =?utf-8?Q?b?=", User: "j", Host: "example.org"}}},
	{"comment as name", "joe@example.org (Joe (the) Public)", []Address{{Name: "Joe (the) Public", User: "joe", Host: "example.org"}}},
	{"name before comment", "Joe <joe@example.org> (work)", []Address{{Name: "Joe", User: "joe", Host: "example.org"}}},
	{"comments anywhere", "(a) joe(b)@(c)example.org", []Address{{Name: "c", User: "joe", Host: "example.org"}}},
	{"quoted local part loses its quotes", `"joe public"@example.org`, []Address{{User: "joe public", Host: "example.org"}}},
	{"@ in a quoted local part", `"a@b"@example.org`, []Address{{User: "a@b", Host: "example.org"}}},
	{"blanks around dots and @", "joe . public @ example . org", []Address{{User: "joe.public", Host: "example.org"}}},
	{"domain literal", "joe@[192.0.2.1], b@[IPv6:2001:db8::1]", []Address{{User: "joe", Host: "[192.0.2.1]"}, {User: "b", Host: "[IPv6:2001:db8::1]"}}},
	{"list", "a@x.example, b@y.example ,, c@z.example,", []Address{{User: "a", Host: "x.example"}, {User: "b", Host: "y.example"}, {User: "c", Host: "z.example"}}},
	{"group", "Friends: a@x.example, B <b@y.example>; c@z.example", []Address{{Kind: GroupStart, Name: "Friends"}, {User: "a", Host: "x.example"},
		{Name: "B", User: "b", Host: "y.example"}, {Kind: GroupEnd}, {User: "c", Host: "z.example"}}},
	{"empty group", "undisclosed-recipients:;", []Address{{Kind: GroupStart, Name: "undisclosed-recipients"}, {Kind: GroupEnd}}},
	{"group not closed", `"A B": a@x.example`, []Address{{Kind: GroupStart, Name: "A B"}, {User: "a", Host: "x.example"}, {Kind: GroupEnd}}},
	{"source route is dropped, RFC 5322 4.4", "Joe <@a.example,@b.example:joe@c.example>", []Address{{Name: "Joe", User: "joe", Host: "c.example"}}},
	{"no domain", "postmaster", []Address{{User: "postmaster"}}},
	{"no domain in angle", "Joe <joe>", []Address{{Name: "Joe", User: "joe"}}},
	{"empty angle", "Joe <>", []Address{{Name: "Joe"}}},
	{"null", "<>", nil},
	{"address as name", "joe@example.org <joe@example.org>", []Address{{Name: "joe@example.org", User: "joe", Host: "example.org"}}},
	{"angle not closed", "Joe <joe@x.example, b@y.example", []Address{{Name: "Joe", User: "joe", Host: "x.example"}, {User: "b", Host: "y.example"}}},
	{"semicolon between addresses", "a@x.example; b@y.example", []Address{{User: "a", Host: "x.example"}, {User: "b", Host: "y.example"}}},
	{"last @ counts", "a@b@example.org", []Address{{User: "a@b", Host: "example.org"}}},
	{"quote not closed", `"Joe <joe@example.org>`, []Address{{User: "Joe <joe@example.org>"}}},
	{"eight-bit name", "J\xc3\xb6 <j@example.org>", []Address{{Name: "J\xc3\xb6", User: "j", Host: "example.org"}}},
}

func TestParseAddresses(t *testing.T) {
	t.Parallel()
	for _, tt := range addressTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := ParseAddresses(tt.in); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("ParseAddresses(%q)\n got %+v\nwant %+v", tt.in, got, tt.want)
			}
		})
	}
}

func FuzzParseAddresses(f *testing.F) {
	for _, tt := range addressTests {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		open := false
		for _, a := range ParseAddresses(in) {
			switch a.Kind {
			case GroupStart:
				if open {
					t.Fatalf("group in a group in %q", in)
				}
				open = true
			case GroupEnd:
				if !open {
					t.Fatalf("end without start in %q", in)
				}
				open = false
			}
		}
		if open {
			t.Fatalf("group without end in %q", in)
		}
	})
}

func TestEnvelope(t *testing.T) {
	t.Parallel()
	in := "Received: x\nDate: Thu, 1 Jan 2026 10:00:00 +0100\nSubject: =?utf-8?Q?gr=C3=BC=C3=9Fe?=\n und mehr\nSubject: second\n" +
		"From: A <a@example.org>\nTo: b@example.org\nTo: c@example.org\nCc: \n" +
		"In-Reply-To: <1@example.org>\n <2@example.org>\nMessage-ID: <3@example.org>\n"
	got := Header(in).Envelope()
	from := []Address{{Name: "A", User: "a", Host: "example.org"}}
	want := Envelope{
		Date: "Thu, 1 Jan 2026 10:00:00 +0100", Subject: "=?utf-8?Q?gr=C3=BC=C3=9Fe?= und mehr",
		From: from, Sender: from, ReplyTo: from,
		To:        []Address{{User: "b", Host: "example.org"}, {User: "c", Host: "example.org"}},
		InReplyTo: "<1@example.org> <2@example.org>", MessageID: "<3@example.org>",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Envelope\n got %+v\nwant %+v", got, want)
	}
}

func TestParseDate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		want     string // RFC 3339, empty when it is no date
	}{
		{"RFC 5322", "Thu, 01 Jan 2026 10:00:00 +0100", "2026-01-01T10:00:00+01:00"},
		{"one digit, no weekday", "1 Jan 2026 10:00:00 +0100", "2026-01-01T10:00:00+01:00"},
		{"no seconds", "1 Jan 2026 10:00 +0100", "2026-01-01T10:00:00+01:00"},
		{"comment", "Thu, 1 Jan 2026 10:00:00 +0100 (CET)", "2026-01-01T10:00:00+01:00"},
		{"zone name of RFC 822", "Thu, 1 Jan 2026 10:00:00 EST", "2026-01-01T10:00:00-05:00"},
		{"GMT", "Thu, 1 Jan 2026 10:00:00 GMT", "2026-01-01T10:00:00Z"},
		{"unknown zone counts as UTC", "Thu, 1 Jan 2026 10:00:00 CEST", "2026-01-01T10:00:00Z"},
		{"no zone counts as UTC", "Thu, 1 Jan 2026 10:00:00", "2026-01-01T10:00:00Z"},
		{"two-digit year", "Thu, 1 Jan 26 10:00:00 +0000", "2026-01-01T10:00:00Z"},
		{"many blanks", "  Thu,  1  Jan   2026  10:00:00   +0000  ", "2026-01-01T10:00:00Z"},
		{"empty", "", ""},
		{"no date", "yesterday", ""},
		{"comment only", "(never)", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, ok := ParseDate(tt.in)
			if ok != (tt.want != "") || ok && got.Format(time.RFC3339) != tt.want {
				t.Errorf("ParseDate(%q) = %v, %v; want %q", tt.in, got, ok, tt.want)
			}
		})
	}
}

func FuzzParseDate(f *testing.F) {
	f.Add("Thu, 01 Jan 2026 10:00:00 +0100 (CET)")
	f.Add("1 Jan 26 10:00 EST")
	f.Fuzz(func(t *testing.T, in string) {
		if got, ok := ParseDate(in); !ok && !got.IsZero() || ok && (got.Year() < 1 || got.Year() > 9999) {
			t.Errorf("ParseDate(%q) = %v, %v", in, got, ok)
		}
	})
}

// TestLinear wants hostile headers of the largest size to be read in time that is far from quadratic.
func TestLinear(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"<@", "(", "\"", "a@", "=?", "[", "a:", "a;b=c(;", ",", "a=b (", "<a,", "=?a?q?", "\\"} {
		value := strings.Repeat(unit, DefaultHeaderBytes/len(unit))
		start := time.Now()
		ParseAddresses(value)
		parseType("a/b;" + value)
		parseType("a/b;a=b(" + value)
		parseLanguages(value)
		ParseDate(value)
		DecodeWords(value)
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("a header of %q takes %v", unit, d)
		}
	}
}
