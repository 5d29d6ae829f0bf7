package ldif

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var tests = []struct {
	name string
	in   string
	want string // as show writes records, or the error
}{
	{"nothing", "", ""},
	{"an entry", "dn: o=x\no: x\n", "1 o=x|o=x"},
	{"with the version, comments and blank lines", "# c\n\nversion: 1\n# c\n c\n\n\ndn: o=x\n# c\no: x\n\n\ndn: o=y\no: y", "8 o=x|o=x;13 o=y|o=y"},
	{"the version and no blank line", "version: 1\ndn: o=x\no: x\n", "2 o=x|o=x"},
	{"CR LF", "dn: o=x\r\no: x\r\n\r\ndn: o=y\r\no: y\r\n", "1 o=x|o=x;4 o=y|o=y"},
	{"folded lines", "dn: o=\n x\ndescription: a \n  b\n\x20\n c\n", "1 o=x|description=a  bc"},
	{"base64", "dn:: bz1k\no:: w6kK\n", "1 o=d|o=é\n"},
	{"an empty value", "dn: o=x\no:\no: \ndescription::\n", "1 o=x|o=,|description="},
	{"no blank after the colon", "dn:o=x\no:x\n", "1 o=x|o=x"},
	{"values apart", "dn: o=x\no: x\nl: y\nO: z\n", "1 o=x|o=x,z|l=y"},
	{"options and OIDs", "dn: o=x\nuserCertificate;binary:: AA==\n2.5.4.10;lang-de: x\n", "1 o=x|userCertificate;binary=\x00|2.5.4.10;lang-de=x"},
	{"a colon in the value", "dn: o=x\no: a:b<c\n", "1 o=x|o=a:b<c"},

	{"another version", "version: 2\n", "line 1: the version of LDIF is 1"},
	{"the version later", "dn: o=x\no: x\n\nversion: 1\n", "line 4: a record begins with dn:"},
	{"no name", "o: x\n", "line 1: a record begins with dn:"},
	{"no attributes", "dn: o=x\n\n", "line 1: an entry has attributes"},
	{"no colon", "dn: o=x\no\n", "line 2: no colon"},
	{"a bad description", "dn: o=x\n-o: x\n", "line 2: no attribute description before the colon"},
	{"a blank before the colon", "dn: o=x\no : x\n", "line 2: no attribute description before the colon"},
	{"bad base64", "dn: o=x\no:: x\n", "line 2: the value is no base64"},
	{"a value by URL", "dn: o=x\no:< file:///etc/passwd\n", "line 2: a value by URL is not read"},
	{"letters that are not ASCII", "dn: o=x\no: é\n", "line 2: the value must be in base64: it begins with < or :, or has an octet that is not ASCII"},
	{"a name that is not UTF-8", "dn:: bz3/\no: x\n", "line 1: the name is not UTF-8"},
	{"a change", "dn: o=x\nchangetype: delete\n", "line 2: changetype: this is a change; ldapmodify makes changes"},
	{"two entries without a blank line", "dn: o=x\no: x\ndn: o=y\n", "line 3: dn: without a blank line before it"},
	{"a line that goes on with nothing", " dn: o=x\n", "line 1: a line goes on that has not begun"},
	{"a line that goes on after a blank one", "dn: o=x\no: x\n\n y\n", "line 4: a line goes on that has not begun"},
	{"too large", "dn: o=x\no: " + strings.Repeat("x", 500) + "\n", "line 2: the record is too large"},
	{"too large, in folds", "dn: o=x\no: x" + strings.Repeat("\n xxxxxxxxxx", 50) + "\n", "line 43: the record is too large"},
	{"too many values", "dn: o=x" + strings.Repeat("\no: x", 21) + "\n", "line 22: too many values in one record"},
}

var small = Limits{RecordBytes: 500, Values: 20}

// show reads all records, one line for each; or the error.
func show(in string, limits Limits) string {
	r := NewReader(strings.NewReader(in), limits)
	var out []string
	for {
		rec, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return strings.Join(out, ";")
		case err != nil:
			return err.Error()
		}
		text := fmt.Sprintf("%d %s", rec.Line, rec.DN)
		for _, a := range rec.Attributes {
			text += "|" + a.Name + "=" + string(bytes.Join(a.Values, []byte(",")))
		}
		out = append(out, text)
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, show(tt.in, small)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is written is what was meant, in lines that a terminal shows.
func TestWriter(t *testing.T) {
	t.Parallel()
	rec := &Record{DN: "o=é,dc=x", Attributes: []Attribute{
		{"o", [][]byte{[]byte("é"), []byte(""), []byte(" x"), []byte("x "), []byte(":x"), []byte("a\nb"), []byte("\xff\x00")}},
		{"description", [][]byte{bytes.Repeat([]byte("abc"), 100)}},
	}}
	var b bytes.Buffer
	w := NewWriter(&b)
	for range 2 {
		if err := w.Write(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > width+1 {
			t.Errorf("a line of %d octets", len(line)-1)
		}
	}
	r := NewReader(&b, Limits{})
	for range 2 {
		got, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		got.Line = 0
		if diff := cmp.Diff(rec, got); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want %v", err, io.EOF)
	}
}

// FuzzLDIF: no input makes the reader fail otherwise than by an error, and what it read it reads again when it is written.
func FuzzLDIF(f *testing.F) {
	for _, tt := range tests {
		f.Add([]byte(tt.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(bytes.NewReader(in), small)
		for {
			rec, err := r.Next()
			var syntax *SyntaxError
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.As(err, &syntax) {
					t.Fatalf("%T: %v", err, err)
				}
				return
			}
			var b bytes.Buffer
			w := NewWriter(&b)
			if err := errors.Join(w.Write(rec), w.Flush()); err != nil {
				t.Fatal(err)
			}
			again, err := NewReader(&b, Limits{}).Next()
			if err != nil {
				t.Fatalf("%q: %v", b.String(), err)
			}
			again.Line = rec.Line
			if diff := cmp.Diff(rec, again); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
