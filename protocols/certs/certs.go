// Package certs holds the certificates of our own servers, and makes certificates where an administrator has none yet.
//
// A [Store] keeps the server certificates and answers a handshake with the one that fits the name the client asked for
// (SNI). [Store.Reload] reads the files again, after a renewal; when that fails the old ones stay in use.
// [Store.Server] is the one place where TLS settings are decided.
//
// A client certificate is asked for and never judged here: the handshake accepts any, and package login decides after
// it what the certificate proves. So an unknown, expired or revoked one breaks no connection; it just proves nothing.
//
// issue.go is a small certificate authority: for `dirpost init`, for the demo, and for the tests of all packages.
//
// Start reading at [Open] and [Store.Server].
package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// ErrNoCertificate is returned by Open when it is given no pair.
var ErrNoCertificate = errors.New("no server certificate")

// A Pair names the files of one certificate: Cert is PEM, the leaf first and then its intermediates; Key is its private
// key in PEM. Both may be the same file.
type Pair struct{ Cert, Key string }

// A Store is a set of server certificates that can be replaced while it is in use. All methods may be called
// concurrently.
type Store struct {
	loaded atomic.Pointer[loaded] // replaced as a whole
}

// loaded is what was read: certs is in the order of pairs.
type loaded struct {
	pairs []Pair
	certs []tls.Certificate
}

// Open reads the certificates. The first one serves clients that ask for no name or for one that nobody has. Expired
// certificates are taken, so that a server can start and say so; see [Store.Expiry].
func Open(pairs []Pair) (*Store, error) {
	s := new(Store)
	if err := s.Reload(pairs); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload reads the files again, or others, and uses them from now on. Connections that are open keep what they have. On
// an error nothing changes.
func (s *Store) Reload(pairs []Pair) error {
	if len(pairs) == 0 {
		return fmt.Errorf("certs: %w", ErrNoCertificate)
	}
	next := &loaded{pairs: slices.Clone(pairs)}
	for _, pair := range pairs {
		cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			return fmt.Errorf("certs: %s with %s: %w", pair.Cert, pair.Key, err)
		}
		next.certs = append(next.certs, cert)
	}
	s.loaded.Store(next)
	return nil
}

// An Expiry tells until when a certificate is good.
type Expiry struct {
	File     string
	Names    []string // DNS names
	NotAfter time.Time
}

// Expiry lists the certificates in use, in the order they were given.
func (s *Store) Expiry() []Expiry {
	var list []Expiry
	now := s.loaded.Load()
	for i, cert := range now.certs {
		list = append(list, Expiry{File: now.pairs[i].Cert, Names: cert.Leaf.DNSNames, NotAfter: cert.Leaf.NotAfter})
	}
	return list
}

// choose returns the first certificate that fits the client's name, versions and algorithms, else the first one: a
// client that does not check names should be able to talk to us.
func (s *Store) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	certs := s.loaded.Load().certs
	for i := range certs {
		if hello.SupportsCertificate(&certs[i]) == nil {
			return &certs[i], nil
		}
	}
	return &certs[0], nil
}
