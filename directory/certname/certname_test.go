package certname

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// The types that the rows use.
var (
	oidCN    = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidC     = asn1.ObjectIdentifier{2, 5, 4, 6}
	oidO     = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidOU    = asn1.ObjectIdentifier{2, 5, 4, 11}
	oidMail  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
	oidDC    = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
	oidUID   = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
	oidOther = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}
)

func av(oid asn1.ObjectIdentifier, tag int, value string) attributeValue {
	return attributeValue{oid, asn1.RawValue{Tag: tag, Bytes: []byte(value)}}
}

func rdn(parts ...attributeValue) relativeNameSET { return parts }

var nameTests = []struct {
	name    string
	in      []relativeNameSET
	want    string
	openssl bool // OpenSSL prints the same, but for case
}{
	{"empty", nil, "", false},
	{"one part", []relativeNameSET{rdn(av(oidCN, 12, "Alice"))}, "CN=Alice", true},
	{"the last comes first", []relativeNameSET{rdn(av(oidC, 19, "AT")), rdn(av(oidO, 12, "Example")), rdn(av(oidCN, 12, "Alice"))}, "CN=Alice,O=Example,C=AT", true},
	{"CAcert's root, with emailAddress", []relativeNameSET{
		rdn(av(oidO, 19, "Root CA")), rdn(av(oidOU, 19, "http://www.cacert.org")),
		rdn(av(oidCN, 19, "CA Cert Signing Authority")), rdn(av(oidMail, 22, "support@cacert.org")),
	}, "emailAddress=support@cacert.org,CN=CA Cert Signing Authority,OU=http://www.cacert.org,O=Root CA", true},
	{"CAcert's class 3", []relativeNameSET{rdn(av(oidO, 19, "CAcert Inc.")), rdn(av(oidOU, 19, "http://www.CAcert.org")), rdn(av(oidCN, 19, "CAcert Class 3 Root"))},
		"CN=CAcert Class 3 Root,OU=http://www.CAcert.org,O=CAcert Inc.", true},
	{"Active Directory's, with domain components", []relativeNameSET{rdn(av(oidDC, 22, "org")), rdn(av(oidDC, 22, "example")), rdn(av(oidCN, 12, "example-CA"))},
		"CN=example-CA,DC=example,DC=org", true},
	{"FreeIPA's", []relativeNameSET{rdn(av(oidO, 12, "EXAMPLE.ORG")), rdn(av(oidCN, 12, "Certificate Authority"))}, "CN=Certificate Authority,O=EXAMPLE.ORG", true},
	{"several values in one part", []relativeNameSET{rdn(av(oidO, 12, "Example")), rdn(av(oidCN, 12, "Alice"), av(oidUID, 12, "alice"))}, "UID=alice+CN=Alice,O=Example", true},
	{"special characters", []relativeNameSET{rdn(av(oidCN, 12, `Adler, Alice + "A" <x>; \y=z`))}, `CN=Adler\, Alice \+ \"A\" \<x\>\; \\y=z`, true},
	{"blanks and number sign at the ends", []relativeNameSET{rdn(av(oidCN, 12, " a ")), rdn(av(oidO, 12, "#1"))}, `O=\#1,CN=\ a\ `, true},
	{"one blank", []relativeNameSET{rdn(av(oidCN, 12, " "))}, `CN=\ `, true},
	{"control characters", []relativeNameSET{rdn(av(oidCN, 12, "a\nb\x00c"))}, `CN=a\0Ab\00c`, true},
	{"beyond ASCII", []relativeNameSET{rdn(av(oidCN, 12, "Jörg Žižek"))}, "CN=Jörg Žižek", true},
	{"the same as BMPString", []relativeNameSET{rdn(av(oidCN, 30, "\x00J\x00\xf6\x00r\x00g"))}, "CN=Jörg", true},
	{"the same as T61String", []relativeNameSET{rdn(av(oidCN, 20, "J\xf6rg"))}, "CN=Jörg", true},
	{"the same as UniversalString", []relativeNameSET{rdn(av(oidCN, 28, "\x00\x00\x00J\x00\x00\x00\xf6\x00\x00\x00r\x00\x00\x00g"))}, "CN=Jörg", true},
	{"unknown type by number", []relativeNameSET{rdn(av(oidOther, 12, "foo"))}, "1.3.6.1.4.1.99999.1=#0c03666f6f", true},
	{"UTF8String that is none", []relativeNameSET{rdn(av(oidCN, 12, "\xff"))}, "CN=#0c01ff", false},
	{"half a BMPString", []relativeNameSET{rdn(av(oidCN, 30, "a"))}, "CN=#1e0161", false},
	{"no string at all", []relativeNameSET{rdn(av(oidCN, 2, "\x07"))}, "CN=#020107", false},
}

func encodeName(t testing.TB, name []relativeNameSET) []byte {
	t.Helper()
	der, err := asn1.Marshal(name)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestText(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range nameTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			der := encodeName(t, tt.in)
			got, err := Text(der)
			if err != nil || got != tt.want {
				t.Errorf("Text() = %s, %v; want %s", got, err, tt.want)
			}
			if !tt.openssl {
				return
			}
			template := &x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: der, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
			cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := openssl(t, cert), tt.want; !strings.EqualFold(got, want) {
				t.Errorf("OpenSSL says %s, want %s", got, want)
			}
		})
	}
}

// openssl prints the subject of a certificate as an administrator would.
func openssl(t *testing.T, der []byte) string {
	t.Helper()
	cmd := exec.Command("openssl", "x509", "-noout", "-subject", "-nameopt", "RFC2253,-esc_msb")
	cmd.Stdin = strings.NewReader(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl: %v (apt-get install openssl)", err)
	}
	return strings.TrimPrefix(strings.TrimSuffix(string(out), "\n"), "subject=")
}

func TestTextRefuses(t *testing.T) {
	t.Parallel()
	good := encodeName(t, []relativeNameSET{rdn(av(oidCN, 12, "Alice"))})
	for name, in := range map[string][]byte{
		"nothing":          nil,
		"no sequence":      {0x0c, 0x01, 'a'},
		"cut off":          good[:len(good)-1],
		"something behind": append(good[:len(good):len(good)], 0),
	} {
		if got, err := Text(in); err == nil {
			t.Errorf("%s: Text() = %q, want an error", name, got)
		}
	}
}

// Any encoding gives an error or a text that is safe to search for: UTF-8 without control characters.
func FuzzText(f *testing.F) {
	for _, tt := range nameTests {
		f.Add(encodeName(f, tt.in))
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		text, err := Text(der)
		if err != nil {
			return
		}
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("Text(%x) = %q", der, text)
		}
	})
}

// What directories write of a name, in both orders and with their own names of types, is read as the text of the encoding.
func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, straight, reversed string }{
		{"CN=Alice,O=Example", "CN=Alice,O=Example", "O=Example,CN=Alice"},
		{"DC=org, DC=example, CN=Example CA", "DC=org,DC=example,CN=Example CA", "CN=Example CA,DC=example,DC=org"},
		{"E=ca@example.org,CN=CA,S=Utrecht", "emailAddress=ca@example.org,CN=CA,ST=Utrecht", "ST=Utrecht,CN=CA,emailAddress=ca@example.org"},
		{`cn=Smith\, Alice+ou=Board,o=\#1`, `CN=Smith\, Alice+OU=Board,O=\#1`, `O=\#1,OU=Board+CN=Smith\, Alice`},
	} {
		straight, reversed, err := Parse(tt.in)
		if err != nil || straight != tt.straight || reversed != tt.reversed {
			t.Errorf("Parse(%q) = %q, %q, %v; want %q, %q", tt.in, straight, reversed, err, tt.straight, tt.reversed)
		}
	}
	for _, in := range []string{"", "CN", "CN=a,,O=b", "1.2.3.4=#0c0161,O=b", "favouriteDrink=tea", "CN=a\x00b"} {
		if straight, _, err := Parse(in); err == nil {
			t.Errorf("Parse(%q) = %q, want an error", in, straight)
		}
	}
}

// What Text wrote Parse reads as itself.
func FuzzParse(f *testing.F) {
	for _, tt := range nameTests {
		f.Add(tt.want)
	}
	f.Fuzz(func(t *testing.T, text string) {
		straight, reversed, err := Parse(text)
		if err != nil {
			return
		}
		if again, _, err := Parse(straight); err != nil || again != straight {
			t.Errorf("Parse(%q) = %q, which is read as %q, %v", text, straight, again, err)
		}
		if _, again, err := Parse(reversed); err != nil || again != straight {
			t.Errorf("Parse(%q) = %q, reversed %q, and that reversed %q, %v", text, straight, reversed, again, err)
		}
	})
}
