package slapdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Files are a certificate of localhost and 127.0.0.1, and the authority that it is from, in PEM.
type Files struct {
	CA                *x509.CertPool
	CAFile, Cert, Key string

	dir       string
	authority *x509.Certificate
	key       *ecdsa.PrivateKey
}

// Certify makes an authority and a server's certificate from it, in a folder.
func Certify(t testing.TB, dir string) Files {
	t.Helper()
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "slapdtest authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caKey := newKey(t)
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	serverKey := newKey(t)
	serverDER, err := x509.CreateCertificate(rand.Reader, server, ca, serverKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(caDER)
	if err != nil {
		t.Fatal(err)
	}
	f := Files{CA: x509.NewCertPool(), dir: dir, authority: parsed, key: caKey}
	f.CA.AddCert(parsed)
	f.CAFile = writePEM(t, dir, "ca.pem", "CERTIFICATE", caDER)
	f.Cert = writePEM(t, dir, "server.pem", "CERTIFICATE", serverDER)
	f.Key = writePEM(t, dir, "server.key", "PRIVATE KEY", keyDER)
	return f
}

// CADER is the authority's certificate.
func (f *Files) CADER() []byte { return f.authority.Raw }

// Client makes a certificate of the authority for a person, with the e-mail address in the subject, as slapd maps it, and as
// an alternative name, and returns the PEM files.
func (f *Files) Client(t testing.TB, name, email string) (cert, key string) {
	t.Helper()
	id := asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte(email)}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject: pkix.Name{CommonName: name, ExtraNames: []pkix.AttributeTypeAndValue{
			{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: id},
		}},
		EmailAddresses: []string{email}, NotBefore: f.authority.NotBefore, NotAfter: f.authority.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	own := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, leaf, f.authority, own.Public(), f.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, f.dir, email+".pem", "CERTIFICATE", der), writePEM(t, f.dir, email+".key", "PRIVATE KEY", keyDER)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t testing.TB, dir, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
