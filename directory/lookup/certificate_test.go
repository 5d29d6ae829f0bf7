package lookup

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"
)

// commonName encodes the name that has this part only; an empty one is an empty name.
func commonName(t *testing.T, cn string) []byte {
	t.Helper()
	der, err := asn1.Marshal(pkix.Name{CommonName: cn}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	return der
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
		subject, issuer           string
		issuerSerial, wantSubject string
	}{
		{"serial in whole octets, as OpenSSL prints it", 0xa, "a", "ca", "0a$CN=ca", "CN=a$CN=ca"},
		{"serial with the high bit set", 0x8001, "a", "ca", "8001$CN=ca", "CN=a$CN=ca"},
		{"no subject is not the subject of everybody without one", 1, "", "ca", "01$CN=ca", ""},
		{"no issuer", 1, "a", "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			template := &x509.Certificate{
				SerialNumber: big.NewInt(tt.serial), RawSubject: commonName(t, tt.subject), EmailAddresses: []string{"A@Example.org", "no address"},
				NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
			}
			issuer := &x509.Certificate{RawSubject: commonName(t, tt.issuer)}
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
