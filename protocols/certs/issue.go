package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Life of a certificate that names no end.
const (
	leafLife = 398 * 24 * time.Hour // the longest that browsers and Apple's mail program take
	rootLife = 10 * 365 * 24 * time.Hour
)

// A KeyPair is a certificate and its private key. Keys are ECDSA on P-256: every TLS client of the last ten years takes
// them, they are made in a millisecond, and a handshake costs a tenth of what RSA of equal strength does.
type KeyPair struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// A Request says what a new certificate is for.
type Request struct {
	Subject pkix.Name
	CA      bool // may issue certificates and CRLs; the other uses are ignored
	Server  bool // EKU serverAuth
	Client  bool // EKU clientAuth

	DNS    []string // subject alternative names
	IPs    []net.IP
	Emails []string

	NotBefore time.Time // zero = an hour ago: clocks differ
	NotAfter  time.Time // zero = 398 days after NotBefore, for a CA 10 years
	Serial    *big.Int  // nil = random, 127 bits
}

// SelfSigned makes a certificate that vouches for itself: the root of a CA, or a server's until it gets a real one.
func SelfSigned(r Request) (*KeyPair, error) { return issue(r, nil) }

// Issue makes a certificate signed by k, which must be a CA.
func (k *KeyPair) Issue(r Request) (*KeyPair, error) {
	if !k.Cert.IsCA {
		return nil, fmt.Errorf("certs: %s is no authority", k.Cert.Subject)
	}
	return issue(r, k)
}

// CRL returns the DER form of a revocation list made by k, a CA, at the time of at; after next it is stale. Its number
// grows with at.
func (k *KeyPair) CRL(at, next time.Time, revoked ...*x509.Certificate) ([]byte, error) {
	list := &x509.RevocationList{Number: big.NewInt(at.UnixMilli()), ThisUpdate: at, NextUpdate: next}
	for _, cert := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: at})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, k.Cert, k.Key)
	if err != nil {
		return nil, fmt.Errorf("certs: revocation list of %s: %w", k.Cert.Subject, err)
	}
	return der, nil
}

// issue makes a certificate signed by ca, or by itself when ca is nil.
func issue(r Request, ca *KeyPair) (*KeyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	cert := template(r)
	parent, signer := cert, key
	if ca != nil {
		parent, signer = ca.Cert, ca.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("certs: certificate of %s: %w", r.Subject, err)
	}
	cert, err = x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certs: certificate of %s: %w", r.Subject, err)
	}
	return &KeyPair{Cert: cert, Key: key}, nil
}

// template turns r into what crypto/x509 wants.
func template(r Request) *x509.Certificate {
	t := &x509.Certificate{
		SerialNumber:          r.Serial, // nil: CreateCertificate makes one
		Subject:               r.Subject,
		NotBefore:             r.NotBefore,
		NotAfter:              r.NotAfter,
		BasicConstraintsValid: true,
		IsCA:                  r.CA,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		DNSNames:              r.DNS,
		IPAddresses:           r.IPs,
		EmailAddresses:        r.Emails,
	}
	life := leafLife
	if r.CA {
		life = rootLife
		t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	if r.Server && !r.CA {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if r.Client && !r.CA {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	if t.NotBefore.IsZero() {
		t.NotBefore = time.Now().Add(-time.Hour)
	}
	if t.NotAfter.IsZero() {
		t.NotAfter = t.NotBefore.Add(life)
	}
	return t
}

// TLS is k as crypto/tls takes it.
func (k *KeyPair) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{k.Cert.Raw}, PrivateKey: k.Key, Leaf: k.Cert}
}

// PEM returns the certificate and the private key (PKCS #8).
func (k *KeyPair) PEM() (cert, key []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("certs: %w", err)
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.Cert.Raw})
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return cert, key, nil
}

// Write makes two PEM files, the certificate for all to read (0644), the key for its owner (0600). They appear whole or
// not at all, the key first, and replace what was there.
func (k *KeyPair) Write(certFile, keyFile string) error {
	cert, key, err := k.PEM()
	if err != nil {
		return err
	}
	if err := replace(keyFile, key, 0o600); err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	if err := replace(certFile, cert, 0o644); err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	return nil
}

// replace writes a file under another name, makes it durable and moves it into place.
func replace(name string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return nil
}

// Read reads what Write wrote. A key of another kind than ours is an error.
func Read(certFile, keyFile string) (*KeyPair, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("certs: %s with %s: %w", certFile, keyFile, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("certs: %s is no ECDSA key", keyFile)
	}
	return &KeyPair{Cert: pair.Leaf, Key: key}, nil
}
