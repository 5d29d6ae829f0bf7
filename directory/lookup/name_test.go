package lookup

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

func TestNameText(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range nameTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			der := encodeName(t, tt.in)
			got, err := nameText(der)
			if err != nil || got != tt.want {
				t.Errorf("nameText() = %s, %v; want %s", got, err, tt.want)
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

func TestNameTextRefuses(t *testing.T) {
	t.Parallel()
	good := encodeName(t, []relativeNameSET{rdn(av(oidCN, 12, "Alice"))})
	for name, in := range map[string][]byte{
		"nothing":          nil,
		"no sequence":      {0x0c, 0x01, 'a'},
		"cut off":          good[:len(good)-1],
		"something behind": append(good[:len(good):len(good)], 0),
	} {
		if got, err := nameText(in); err == nil {
			t.Errorf("%s: nameText() = %q, want an error", name, got)
		}
	}
}

// Any encoding gives an error or a text that is safe to search for: UTF-8 without control characters.
func FuzzNameText(f *testing.F) {
	for _, tt := range nameTests {
		f.Add(encodeName(f, tt.in))
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		text, err := nameText(der)
		if err != nil {
			return
		}
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("nameText(%x) = %q", der, text)
		}
	})
}

func TestKeysOf(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name                      string
		serial                    int64
		subject, issuer           []relativeNameSET
		issuerSerial, wantSubject string
	}{
		{"serial in whole octets, as OpenSSL prints it", 0xa, []relativeNameSET{rdn(av(oidCN, 12, "a"))}, []relativeNameSET{rdn(av(oidCN, 12, "ca"))}, "0a$CN=ca", "CN=a$CN=ca"},
		{"serial with the high bit set", 0x8001, []relativeNameSET{rdn(av(oidCN, 12, "a"))}, []relativeNameSET{rdn(av(oidCN, 12, "ca"))}, "8001$CN=ca", "CN=a$CN=ca"},
		{"no subject is not the subject of everybody without one", 1, nil, []relativeNameSET{rdn(av(oidCN, 12, "ca"))}, "01$CN=ca", ""},
		{"no issuer", 1, []relativeNameSET{rdn(av(oidCN, 12, "a"))}, nil, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			template := &x509.Certificate{
				SerialNumber: big.NewInt(tt.serial), RawSubject: encodeName(t, tt.subject), EmailAddresses: []string{"A@Example.org", "no address"},
				NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
			}
			issuer := &x509.Certificate{RawSubject: encodeName(t, tt.issuer)}
			der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			got := KeysOf(cert)
			if got.IssuerSerial != tt.issuerSerial || got.Subject != tt.wantSubject {
				t.Errorf("KeysOf() = %q, %q; want %q, %q", got.IssuerSerial, got.Subject, tt.issuerSerial, tt.wantSubject)
			}
			if len(got.SHA256) != 64 || len(got.SPKI) != 64 || got.SHA256 == got.SPKI {
				t.Errorf("KeysOf() = %+v", got)
			}
			if len(got.Emails) != 1 || got.Emails[0] != "a@example.org" {
				t.Errorf("e-mail addresses %q, want the one that is an address, in lower case", got.Emails)
			}
		})
	}
}
