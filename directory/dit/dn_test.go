package dit

import (
	"strings"
	"testing"
)

var dnTests = []struct{ name, in, text, norm string }{
	{"empty", "", "", ""},
	{"as written", "uid=Alice,ou=people,dc=example,dc=org", "uid=Alice,ou=people,dc=example,dc=org", "uid=alice,ou=people,dc=example,dc=org"},
	{"spaces around separators", " UID = Alice , OU=people; dc=Example ", "uid=Alice,ou=people,dc=Example", "uid=alice,ou=people,dc=example"},
	{"other names and OIDs of types", "userid=a,2.5.4.11=b,domainComponent=c", "uid=a,ou=b,dc=c", "uid=a,ou=b,dc=c"},
	{"values in one RDN are sorted by type", "ou=Z+cn=b,dc=x", "cn=b+ou=Z,dc=x", "cn=b+ou=z,dc=x"},
	{"escapes, RFC 4514 section 2.4", `cn=a\,b\2Bc\\d\=e,dc=x`, `cn=a\2Cb\2Bc\5Cd\3De,dc=x`, `cn=a\2Cb\2Bc\5Cd\3De,dc=x`},
	{"escaped spaces at the ends", `cn=\ a\ ,dc=x`, `cn=\20a\20,dc=x`, "cn=a,dc=x"},
	{"number sign at the front", `cn=\#1,dc=x`, `cn=\231,dc=x`, `cn=\231,dc=x`},
	{"inner spaces count once", "cn=a   b,dc=x", "cn=a   b,dc=x", "cn=a b,dc=x"},
	{"UTF-8 stays and folds", "cn=ÄRGER Straße,dc=x", "cn=ÄRGER Straße,dc=x", "cn=ärger strasse,dc=x"},
	{"UTF-8 by octets", `cn=\C3\A4,dc=x`, "cn=ä,dc=x", "cn=ä,dc=x"},
	{"equals sign in the value", "cn=a=b,dc=x", `cn=a\3Db,dc=x`, `cn=a\3Db,dc=x`},
	{"numbers compare exactly", "dpQuotaBytes=5,dc=x", "dpQuotaBytes=5,dc=x", "dpquotabytes=5,dc=x"},
}

func TestParseDN(t *testing.T) {
	t.Parallel()
	for _, tt := range dnTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, err := loadCatalog().parseDN(tt.in)
			if err != nil || d.text != tt.text || d.norm != tt.norm {
				t.Errorf("parseDN(%q) = %q, %q, %v; want %q, %q", tt.in, d.text, d.norm, err, tt.text, tt.norm)
			}
		})
	}
}

func TestParseDNRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in string }{
		{"no value", "cn"},
		{"empty value", "cn=,dc=x"},
		{"a value of spaces", `cn=\20,dc=x`},
		{"unknown type", "nosuch=x"},
		{"a type with an option", "cn;lang-de=x"},
		{"separator at the end", "cn=x,"},
		{"empty RDN", "cn=x,,dc=y"},
		{"a type twice in one RDN", "cn=a+cn=b"},
		{"BER", "cn=#040161"},
		{"quotes", `cn="a"`},
		{"half an escape", `cn=a\4`},
		{"bad escape", `cn=a\zz`},
		{"escape at the end", `cn=a\`},
		{"not UTF-8", `cn=\FF`},
		{"a name in the name", "seeAlso=" + strings.Repeat("seeAlso=", 60) + "cn=x"},
		{"value without the syntax of its type", "c=abc"},
		{"65 levels", strings.Repeat("dc=x,", 64) + "dc=x"},
		{"17 values in one RDN", strings.Repeat("cn=x+", 16) + "ou=x"},
		{"8193 octets", "cn=" + strings.Repeat("x", 8190)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if d, err := loadCatalog().parseDN(tt.in); codeOf(err) != codeBadDN {
				t.Errorf("parseDN(%q) = %q, %v; want code %d", tt.in, d.text, err, codeBadDN)
			}
		})
	}
}

func TestBelow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, base string
		want       bool
	}{
		{"dc=x", "dc=x", true},
		{"ou=a,dc=x", "dc=x", true},
		{"ou=a,dc=x", "", true},
		{"dc=xx", "dc=x", false},
		{"ou=adc=x", "dc=x", false},
		{"dc=x", "ou=a,dc=x", false},
	}
	for _, tt := range tests {
		if got := below(tt.name, tt.base); got != tt.want {
			t.Errorf("below(%q, %q) = %v, want %v", tt.name, tt.base, got, tt.want)
		}
	}
}

// FuzzParseDN: no panic; what is accepted reads back as the same name, from its text and from its normal form.
func FuzzParseDN(f *testing.F) {
	for _, tt := range dnTests {
		f.Add(tt.in)
	}
	c := loadCatalog()
	f.Fuzz(func(t *testing.T, in string) {
		d, err := c.parseDN(in)
		if err != nil {
			return
		}
		again, err := c.parseDN(d.text)
		if len(d.text) <= maxDN && (err != nil || again.text != d.text || again.norm != d.norm) {
			t.Errorf("%q: text %q reads back as %q, %q, %v", in, d.text, again.text, again.norm, err)
		}
		again, err = c.parseDN(d.norm)
		if len(d.norm) <= maxDN && (err != nil || again.norm != d.norm) {
			t.Errorf("%q: normal form %q reads back as %q, %v", in, d.norm, again.norm, err)
		}
	})
}
