package directory_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync/atomic"
	"testing"
	"time"
)

// An authority signs client certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

var serials atomic.Int64

func nextSerial() *big.Int { return big.NewInt(0x1000 + serials.Add(1)) }

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	a.cert = sign(t, authorityTemplate(name), nil, a.key, a.key)
	return a
}

// below returns an authority that a signed.
func (a *authority) below(t testing.TB, name string) *authority {
	t.Helper()
	b := &authority{key: newKey(t)}
	b.cert = sign(t, authorityTemplate(name), a.cert, b.key, a.key)
	return b
}

func authorityTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: nextSerial(), Subject: pkix.Name{Organization: []string{"Example Association"}, CommonName: name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

// leafOptions says how a certificate differs from one that is valid now and for clients.
type leafOptions struct {
	name          string
	emails        []string
	key           crypto.Signer // nil = a new one
	before, after time.Duration // from now; zero = -1 h and 24 h
	uses          []x509.ExtKeyUsage
	noUse         bool
	ca            bool
}

func (a *authority) leaf(t testing.TB, o leafOptions) *x509.Certificate {
	t.Helper()
	if o.key == nil {
		o.key = newKey(t)
	}
	if o.before == 0 {
		o.before = -time.Hour
	}
	if o.after == 0 {
		o.after = 24 * time.Hour
	}
	if o.uses == nil && !o.noUse {
		o.uses = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageEmailProtection} // as CAcert's have
	}
	return sign(t, &x509.Certificate{
		SerialNumber: nextSerial(), Subject: pkix.Name{CommonName: o.name}, EmailAddresses: o.emails,
		NotBefore: time.Now().Add(o.before), NotAfter: time.Now().Add(o.after),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: o.uses, IsCA: o.ca, BasicConstraintsValid: o.ca,
	}, a.cert, o.key, a.key)
}

func sign(t testing.TB, template, issuer *x509.Certificate, key, by crypto.Signer) *x509.Certificate {
	t.Helper()
	if issuer == nil {
		issuer = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// crl returns a list of the given certificates that is current.
func (a *authority) crl(t testing.TB, revoked []*x509.Certificate) []byte {
	t.Helper()
	return a.crlUntil(t, time.Now().Add(time.Hour), revoked)
}

func (a *authority) crlUntil(t testing.TB, until time.Time, revoked []*x509.Certificate) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: nextSerial(), ThisUpdate: until.Add(-24 * time.Hour), NextUpdate: until}
	for _, cert := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: list.ThisUpdate, ReasonCode: 1})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
