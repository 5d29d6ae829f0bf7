package directory_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/directory"
)

var addressTests = []struct {
	name string
	in   string
	want directory.Address
	err  error
}{
	{"plain", "joe@example.org", directory.Address{Local: "joe", Domain: "example.org"}, nil},
	{"local keeps case, RFC 5321 2.4", "Joe@EXAMPLE.Org", directory.Address{Local: "Joe", Domain: "example.org"}, nil},
	{"dots between atoms", "joe.q.public@example.org", directory.Address{Local: "joe.q.public", Domain: "example.org"}, nil},
	{"all of atext, RFC 5322 3.2.3", "a!#$%&'*+-/=?^_`{|}~0@example.org", directory.Address{Local: "a!#$%&'*+-/=?^_`{|}~0", Domain: "example.org"}, nil},
	{"one label", "root@localhost", directory.Address{Local: "root", Domain: "localhost"}, nil},
	{"dot of the root", "joe@example.org.", directory.Address{Local: "joe", Domain: "example.org"}, nil},
	{"international domain becomes A-labels", "joe@Bücher.example", directory.Address{Local: "joe", Domain: "xn--bcher-kva.example"}, nil},
	{"wide letters of a domain are folded", "joe@ｅxample.org", directory.Address{Local: "joe", Domain: "example.org"}, nil},
	{"64 octets, RFC 5321 4.5.3.1.1", strings.Repeat("j", 64) + "@example.org", directory.Address{Local: strings.Repeat("j", 64), Domain: "example.org"}, nil},

	{"empty", "", directory.Address{}, directory.ErrNoDomain},
	{"no domain", "joe", directory.Address{}, directory.ErrNoDomain},
	{"nothing behind the @", "joe@", directory.Address{}, directory.ErrNoDomain},
	{"65 octets, RFC 5321 4.5.3.1.1", strings.Repeat("j", 65) + "@example.org", directory.Address{}, directory.ErrTooLong},
	{"domain of 256 octets", "joe@" + strings.Repeat("a.", 128), directory.Address{}, directory.ErrTooLong},
	{"label of 64 octets", "joe@" + strings.Repeat("a", 64) + ".example", directory.Address{}, directory.ErrBadAddress},
	{"nothing before the @", "@example.org", directory.Address{}, directory.ErrBadAddress},
	{"two @", "joe@evil.example@example.org", directory.Address{}, directory.ErrBadAddress},
	{"quoted", `"joe q"@example.org`, directory.Address{}, directory.ErrBadAddress},
	{"dot in front", ".joe@example.org", directory.Address{}, directory.ErrBadAddress},
	{"dot at the end", "joe.@example.org", directory.Address{}, directory.ErrBadAddress},
	{"two dots", "joe..q@example.org", directory.Address{}, directory.ErrBadAddress},
	{"blank", "joe q@example.org", directory.Address{}, directory.ErrBadAddress},
	{"blank in front", " joe@example.org", directory.Address{}, directory.ErrBadAddress},
	{"line break", "joe\r\nRCPT TO:<x>@example.org", directory.Address{}, directory.ErrBadAddress},
	{"NUL", "joe\x00@example.org", directory.Address{}, directory.ErrBadAddress},
	{"angle brackets", "<joe@example.org>", directory.Address{}, directory.ErrBadAddress},
	{"source route", "@a.example:joe@example.org", directory.Address{}, directory.ErrBadAddress},
	{"letters above ASCII", "jörg@example.org", directory.Address{}, directory.ErrBadAddress},
	{"not UTF-8", "j\xff@example.org", directory.Address{}, directory.ErrBadAddress},
	{"address literal", "joe@[192.0.2.1]", directory.Address{}, directory.ErrBadAddress},
	{"empty label", "joe@example..org", directory.Address{}, directory.ErrBadAddress},
	{"domain of a dot", "joe@.", directory.Address{}, directory.ErrBadAddress},
	{"blank in the domain", "joe@exam ple.org", directory.Address{}, directory.ErrBadAddress},
	{"slash in the domain", "joe@../../etc", directory.Address{}, directory.ErrBadAddress},
	{"line break in the domain", "joe@example.org\r\n", directory.Address{}, directory.ErrBadAddress},
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range addressTests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := directory.ParseAddress(tt.in)
			if got != tt.want || !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Errorf("ParseAddress(%q) = %+v, %v; want %+v, %v", tt.in, got, err, tt.want, tt.err)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("ParseAddress of %d octets: error of %d octets", len(tt.in), len(err.Error()))
			}
		})
	}
}

// What is accepted is safe to write on a line and in a file name, within the limits, and reads back as itself.
func FuzzAddress(f *testing.F) {
	for _, tt := range addressTests {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		a, err := directory.ParseAddress(in)
		if err != nil {
			return
		}
		if len(a.Local) > directory.MaxLocal || len(a.Domain) > directory.MaxDomain || a.Local == "" || a.Domain == "" {
			t.Errorf("ParseAddress(%q) = %+v is out of bounds", in, a)
		}
		if s := a.String(); strings.Count(s, "@") != 1 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '<' || r == '>' }) {
			t.Errorf("ParseAddress(%q) = %q", in, s)
		}
		if strings.ContainsAny(a.Domain, "/\\") || a.Domain != strings.ToLower(a.Domain) {
			t.Errorf("ParseAddress(%q) has the domain %q", in, a.Domain)
		}
		if again, err := directory.ParseAddress(a.String()); again != a || err != nil {
			t.Errorf("ParseAddress(%q) = %+v, %v; want %+v", a.String(), again, err, a)
		}
	})
}

func TestBase(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, local, want string
		detail            bool
	}{
		{"none", "joe", "joe", false},
		{"detail", "joe+x", "joe", true},
		{"detail with a plus", "joe+x+y", "joe", true},
		{"empty detail", "joe+", "joe", true},
		{"a plus in front is part of the name", "+joe", "+joe", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, detail := directory.Address{Local: tt.local, Domain: "example.org"}.Base()
			if got.Local != tt.want || detail != tt.detail || got.Domain != "example.org" {
				t.Errorf("Base() = %v, %v; want %s, %v", got, detail, tt.want, tt.detail)
			}
		})
	}
}
