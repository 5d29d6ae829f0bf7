package message

import (
	"strings"
	"testing"
	"testing/iotest"
)

const german = "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\nFrom: J\xf6rg <j@example.org>\nContent-Type: multipart/mixed; boundary=b\n\npreamble\n" +
	"--b\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n" +
	"Viele Gr=FC=DFe aus M=\n=FCnchen\n" +
	"--b\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\nPHA+w4RSR0VSPC9wPg==\n" +
	"--b\nContent-Type: application/octet-stream; name=secret.bin\n\nhidden\n" +
	"--b\nContent-Type: message/rfc822\n\nSubject: =?utf-8?B?w6RwZmVs?=\n\nbirnen\n--b--\n"

func TestSearch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		needle       string
		body, header bool
	}{
		{"decoded and joined over a soft line break", "grüße aus MÜNCHEN", true, false},
		{"base64, case of letters above ASCII", "ärger", true, false},
		{"subject of an attached message", "ÄPFEL", true, false},
		{"its text", "Birne", true, false},
		{"header is not body", "joerg", false, false},
		{"raw Latin-1 in the header", "jörg", false, true},
		{"encoded word in the header", "SUBJECT: GRÜ", false, true},
		{"attachment of another type", "hidden", false, false},
		{"preamble is nobody's", "preamble", false, false},
		{"nowhere", "xyzzy", false, false},
		{"empty is everywhere", "", true, true},
	}
	in := Bytes(german)
	m, err := Parse(in, int64(len(in)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := m.HeaderOf(in, m.Root)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := NewNeedle(tt.needle)
			body, err := m.BodyHas(in, n)
			if body != tt.body || err != nil {
				t.Errorf("BodyHas(%q) = %v, %v; want %v", tt.needle, body, err, tt.body)
			}
			if header := h.Holds(n); header != tt.header {
				t.Errorf("Holds(%q) = %v, want %v", tt.needle, header, tt.header)
			}
		})
	}
}

func TestHeaderHas(t *testing.T) {
	t.Parallel()
	h := Header("To: a@example.org\nto: b@example.org\nX-Empty:\n\n")
	tests := []struct {
		name, field, needle string
		want                bool
	}{
		{"second field of the name", "TO", "B@", true},
		{"other field", "Cc", "b@", false},
		{"empty needle: the field is there", "x-empty", "", true},
		{"empty needle: the field is not there", "Cc", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := h.Has(tt.field, NewNeedle(tt.needle)); got != tt.want {
				t.Errorf("Has(%q, %q) = %v, want %v", tt.field, tt.needle, got, tt.want)
			}
		})
	}
}

// TestNeedleAcrossReads looks for a needle that no single read holds.
func TestNeedleAcrossReads(t *testing.T) {
	t.Parallel()
	for _, needle := range []string{"needle", "nädel€"} {
		text := strings.Repeat("hay €", 20_000) + strings.ToUpper(needle) + "hay"
		found, err := NewNeedle(needle).In(iotest.OneByteReader(strings.NewReader(text)))
		if !found || err != nil {
			t.Errorf("%q byte by byte: %v, %v", needle, found, err)
		}
		found, err = NewNeedle(needle).In(strings.NewReader(text))
		if !found || err != nil {
			t.Errorf("%q: %v, %v", needle, found, err)
		}
	}
	if found, err := NewNeedle("haystack").In(strings.NewReader(strings.Repeat("hay stack", 20_000))); found || err != nil {
		t.Errorf("found what is not there: %v, %v", found, err)
	}
}
