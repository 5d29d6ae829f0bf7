package maildir

import (
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/storage"
)

// names are file names and what they say; the seeds of the fuzzer too.
var names = []struct {
	what, file string
	want       Name
	again      string // the name with the same flags in cur
}{
	{"ours in cur", "1700000000.M1P2Q3.node1,S=1234,W=1260,I=6923a1f0.57:2,FS",
		Name{"1700000000.M1P2Q3.node1,S=1234,W=1260,I=6923a1f0.57", 1234, 1260, 0x6923a1f0, 57, Info{storage.Flagged | storage.Seen, 0, ""}},
		"1700000000.M1P2Q3.node1,S=1234,W=1260,I=6923a1f0.57:2,FS"},
	{"ours in new", "1.a.b,S=1,W=2,I=f.4294967295",
		Name{"1.a.b,S=1,W=2,I=f.4294967295", 1, 2, 15, 4294967295, Info{}}, "1.a.b,S=1,W=2,I=f.4294967295:2,"},
	{"plain", "1.a.b", Name{"1.a.b", -1, -1, 0, 0, Info{}}, "1.a.b:2,"},
	{"keywords", "1.a.b:2,Sza", Name{"1.a.b", -1, -1, 0, 0, Info{storage.Seen, 1 | 1<<25, ""}}, "1.a.b:2,Saz"},
	{"every flag in disorder", "1.a.b:2,TSRPFD",
		Name{"1.a.b", -1, -1, 0, 0, Info{storage.Draft | storage.Flagged | storage.Passed | storage.Answered | storage.Seen | storage.Trashed, 0, ""}},
		"1.a.b:2,DFPRST"},
	{"letters that mean nothing are kept", "1.a.b:2,XSX,Y", Name{"1.a.b", -1, -1, 0, 0, Info{storage.Seen, 0, "X,Y"}}, "1.a.b:2,SX,Y"},
	{"octets beyond ASCII are kept", "1.a.b:2,\xb9S", Name{"1.a.b", -1, -1, 0, 0, Info{storage.Seen, 0, "\xb9"}}, "1.a.b:2,S\xb9"},
	{"other kinds of info are not flags", "1.a.b:1,S", Name{"1.a.b", -1, -1, 0, 0, Info{}}, "1.a.b:2,"},
	{"a field of others", "1.a.b,U=5,S=7:2,", Name{"1.a.b,U=5,S=7", 7, -1, 0, 0, Info{}}, "1.a.b,U=5,S=7:2,"},
	{"the first field counts", "1.a.b,S=7,S=8", Name{"1.a.b,S=7,S=8", 7, -1, 0, 0, Info{}}, "1.a.b,S=7,S=8:2,"},
	{"sizes that are none", "1.a.b,S=-7,W=x,S=", Name{"1.a.b,S=-7,W=x,S=", -1, -1, 0, 0, Info{}}, "1.a.b,S=-7,W=x,S=:2,"},
	{"UID 0", "1.a.b,I=f.0", Name{"1.a.b,I=f.0", -1, -1, 0, 0, Info{}}, "1.a.b,I=f.0:2,"},
	{"UIDVALIDITY 0", "1.a.b,I=0.5", Name{"1.a.b,I=0.5", -1, -1, 0, 0, Info{}}, "1.a.b,I=0.5:2,"},
	{"UID with leading zero", "1.a.b,I=f.05", Name{"1.a.b,I=f.05", -1, -1, 0, 0, Info{}}, "1.a.b,I=f.05:2,"},
	{"UIDVALIDITY in capitals", "1.a.b,I=F.5", Name{"1.a.b,I=F.5", -1, -1, 0, 0, Info{}}, "1.a.b,I=F.5:2,"},
	{"UID beyond 32 bits", "1.a.b,I=f.4294967296", Name{"1.a.b,I=f.4294967296", -1, -1, 0, 0, Info{}}, "1.a.b,I=f.4294967296:2,"},
	{"no UID", "1.a.b,I=f", Name{"1.a.b,I=f", -1, -1, 0, 0, Info{}}, "1.a.b,I=f:2,"},
	{"nothing", "", Name{"", -1, -1, 0, 0, Info{}}, ":2,"},
	{"only flags", ":2,S", Name{"", -1, -1, 0, 0, Info{storage.Seen, 0, ""}}, ":2,S"},
}

func TestParseName(t *testing.T) {
	t.Parallel()
	for _, tt := range names {
		got := ParseName(tt.file)
		if got != tt.want {
			t.Errorf("%s: ParseName(%q) = %+v; want %+v", tt.what, tt.file, got, tt.want)
		}
		if again := got.File(got.Base); again != tt.again {
			t.Errorf("%s: File = %q; want %q", tt.what, again, tt.again)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file string
		want       string
		fits       bool
	}{
		{"adds the facts", "1.a.b:2,S", "1.a.b,S=7,W=9,I=f.5", true},
		{"replaces them", "1.a.b,I=1.1,W=1,S=1", "1.a.b,S=7,W=9,I=f.5", true},
		{"keeps the fields of others", "1.a.b,U=5,S=1,X", "1.a.b,S=7,W=9,I=f.5,U=5,X", true},
		{"drops empty fields", "1.a.b,,U=5,", "1.a.b,S=7,W=9,I=f.5,U=5", true},
		{"leaves room for flags", strings.Repeat("x", 215-16), strings.Repeat("x", 215-16) + ",S=7,W=9,I=f.5", true},
		{"does not fit", strings.Repeat("x", 202), strings.Repeat("x", 202) + ",S=7,W=9,I=f.5", false},
	}
	for _, tt := range tests {
		got, fits := ParseName(tt.file).Number(7, 9, 15, 5)
		if got != tt.want || fits != tt.fits {
			t.Errorf("%s: got %q, %v; want %q, %v", tt.name, got, fits, tt.want, tt.fits)
		}
	}
}

func TestNamer(t *testing.T) {
	t.Parallel()
	now := time.Unix(1700000000, 1234567)
	tests := []struct{ name, node, want string }{
		{"plain", "mail-1.example.org", "mail-1.example.org"},
		{"what ends or divides a name", "a/b:c,d", `a\057b\072c\054d`},
		{"beyond ASCII", "ä b", `\303\244\040b`},
		{"none", "", "localhost"},
		{"long", strings.Repeat("x", 100), strings.Repeat("x", 64)},
	}
	for _, tt := range tests {
		n := NewNamer(tt.node, 42)
		if got, want := n.Base(now, 1, 2, 15, 5), "1700000000.M1234P42Q1."+tt.want+",S=1,W=2,I=f.5"; got != want {
			t.Errorf("%s: %q; want %q", tt.name, got, want)
		}
		if a, b := n.Base(now, 1, 2, 15, 5), n.Base(now, 1, 2, 15, 5); a == b {
			t.Errorf("%s: %q came twice", tt.name, a)
		}
	}
}

// Any file name can be read; flags that are written are read the same; and a file that is numbered has the number.
func FuzzName(f *testing.F) {
	for _, tt := range names {
		f.Add(tt.file)
	}
	f.Fuzz(func(t *testing.T, file string) {
		name := ParseName(file)
		if !strings.HasPrefix(file, name.Base) {
			t.Errorf("base %q of %q", name.Base, file)
		}
		if again := ParseName(name.File(name.Base)); again != name {
			t.Errorf("%+v became %+v", name, again)
		}
		base, fits := name.Number(7, 9, 15, 5)
		numbered := ParseName(name.File(base))
		want := Name{base, 7, 9, 15, 5, name.Info}
		if numbered != want {
			t.Errorf("numbered %+v; want %+v", numbered, want)
		}
		if fits && len(name.Other) < 8 && len(name.File(base)) > 255 {
			t.Errorf("%q has %d octets", name.File(base), len(name.File(base)))
		}
	})
}
