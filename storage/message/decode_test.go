package message

import (
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"mime/quotedprintable"
	"strings"
	"testing"
)

var decodeTests = []struct {
	name     string
	encoding string
	in, want string
	err      error
}{
	{"7bit has CRLF", "7bit", "a\nb\n", "a\r\nb\r\n", nil},
	{"missing encoding is 7bit", "", "a\n", "a\r\n", nil},
	{"base64", "base64", "aGVs\nbG8=\n", "hello", nil},
	{"base64 without padding", "base64", "aGVsbG8", "hello", nil},
	{"base64 with garbage in it", "base64", "aG\x00V s-bG!8=", "hello", nil},
	{"base64 ends at the padding", "base64", "aGVsbG8=aGVs", "hello", nil},
	{"base64, one character too many", "base64", "aGVsb", "hel", nil},
	{"quoted-printable", "quoted-printable", "a=3Db=\nc=20\nd \n", "a=bc \r\nd\r\n", nil},
	{"quoted-printable in small letters", "quoted-printable", "=c3=bc", "\xc3\xbc", nil},
	{"an = that is no code stays", "quoted-printable", "a=b =zz =", "a=b =zz =", nil},
	{"soft line break with blanks behind it", "quoted-printable", "a= \t\nb", "ab", nil},
	{"unknown", "x-uuencode", "x", "", ErrEncoding},
}

func TestDecoded(t *testing.T) {
	t.Parallel()
	for _, tt := range decodeTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := Bytes("Content-Transfer-Encoding: " + tt.encoding + "\n\n" + tt.in)
			m, err := Parse(in, int64(len(in)), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := m.Decoded(in, m.Root)
			if !errors.Is(err, tt.err) {
				t.Fatalf("err = %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if got, err := io.ReadAll(r); string(got) != tt.want || err != nil {
				t.Errorf("%q decoded is %q, %v; want %q", tt.in, got, err, tt.want)
			}
		})
	}
}

// TestDecodedLong decodes what the standard library encoded, with chunks ending everywhere.
func TestDecodedLong(t *testing.T) {
	t.Parallel()
	data := make([]byte, 100_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range data {
		data[i] = byte(r.IntN(256))
	}
	var quoted strings.Builder
	w := quotedprintable.NewWriter(&quoted)
	w.Binary = true
	w.Write(data)
	w.Close()
	var oneLine strings.Builder
	for _, c := range data {
		oneLine.WriteString("=" + strings.ToUpper(string("0123456789abcdef"[c>>4])) + string("0123456789abcdef"[c&15]))
	}
	for name, text := range map[string]string{
		"base64\n\n":           base64.StdEncoding.EncodeToString(data),
		"quoted-printable\n\n": quoted.String(),
		"Quoted-Printable\n\n": "x" + oneLine.String(), // lines longer than are looked at at once
	} {
		in := Bytes("Content-Transfer-Encoding: " + name + text)
		m, err := Parse(in, int64(len(in)), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		d, err := m.Decoded(in, m.Root)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(d)
		if strings.TrimPrefix(string(got), "x") != string(data) && string(got) != string(data) || err != nil {
			t.Errorf("%q: decoded text of %d octets differs, err %v", name, len(got), err)
		}
	}
}

func TestDecodeWords(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"nothing to do", "plain", "plain"},
		{"quoted", "=?utf-8?Q?gr=C3=BC=C3=9Fe?=", "grüße"},
		{"two words, the blank between them goes", "=?utf-8?B?Z3I=?= =?utf-8?Q?=C3=BC?= x", "grü x"},
		{"another charset", "=?iso-8859-15?Q?=A4?= =?koi8-r?Q?=C1?=", "€а"},
		{"unknown charset", "=?x-none?Q?=E9?=", "é"},
		{"raw Latin-1", "caf\xe9", "café"},
		{"raw UTF-8", "café", "café"},
		{"broken word stays", "=?utf-8?Q?x", "=?utf-8?Q?x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := DecodeWords(tt.in); got != tt.want {
				t.Errorf("DecodeWords(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, tt := range decodeTests {
		f.Add(tt.encoding, tt.in)
	}
	f.Fuzz(func(t *testing.T, encoding, body string) {
		in := Bytes("Content-Transfer-Encoding: " + encoding + "\n\n" + body)
		m, err := Parse(in, int64(len(in)), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.Readable(in, m.Root)
		if err != nil {
			return
		}
		got, err := io.ReadAll(r)
		if err != nil || len(got) > 3*2*len(in) {
			t.Fatalf("%d octets of %d, %v", len(got), len(in), err)
		}
		DecodeWords(body)
	})
}
