package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// pki is a server's store, and a CA that clients are sent to.
func pki(t *testing.T) (*Store, *KeyPair) {
	t.Helper()
	store, err := Open([]Pair{makePair(t, t.TempDir(), "server", "mail.example.org")})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := SelfSigned(Request{Subject: pkix.Name{CommonName: "Root"}, CA: true})
	if err != nil {
		t.Fatal(err)
	}
	return store, ca
}

// clientWith returns a client that shows cert whatever the server hints at.
func clientWith(cert *tls.Certificate) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return cert, nil
		},
	}
}

// TestAnyCertificate: no certificate that Go can parse breaks a handshake, and all are there to be judged after it.
func TestAnyCertificate(t *testing.T) {
	t.Parallel()
	store, ca := pki(t)
	foreign, err := SelfSigned(Request{Subject: pkix.Name{CommonName: "Foreign"}, CA: true})
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-48 * time.Hour)
	tests := []struct {
		name string
		ca   *KeyPair
		r    Request
	}{
		{"ours", ca, Request{Client: true}},
		{"expired", ca, Request{Client: true, NotBefore: past, NotAfter: past.Add(time.Hour)}},
		{"not yet valid", ca, Request{Client: true, NotBefore: time.Now().Add(time.Hour)}},
		{"foreign", foreign, Request{Client: true}},
		{"for servers", ca, Request{Server: true}},
		{"an authority itself", ca, Request{CA: true}},
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, tt := range tests {
			t.Run(tt.name+" "+tls.VersionName(version), func(t *testing.T) {
				t.Parallel()
				key, err := tt.ca.Issue(tt.r)
				if err != nil {
					t.Fatal(err)
				}
				cert := key.TLS()
				client := clientWith(&cert)
				client.MaxVersion = version
				state, _, err := shake(t, store.Server(poolOf(ca)), client)
				if err != nil {
					t.Fatal(err)
				}
				if len(state.PeerCertificates) != 1 || !state.PeerCertificates[0].Equal(key.Cert) || state.VerifiedChains != nil {
					t.Errorf("%d certificates, verified %v", len(state.PeerCertificates), state.VerifiedChains)
				}
			})
		}
	}
}

// TestUnreadableCertificate pins what our claim does not cover: a certificate that Go cannot take breaks the handshake,
// and the error says that it was the certificate.
func TestUnreadableCertificate(t *testing.T) {
	t.Parallel()
	store, ca := pki(t)
	key, err := ca.Issue(Request{Client: true, Serial: big.NewInt(0x4711)})
	if err != nil {
		t.Fatal(err)
	}
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := x509.CreateCertificate(rand.Reader, template(Request{Client: true}), ca.Cert, weak.Public(), ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	negative := bytes.Replace(key.Cert.Raw, []byte{2, 2, 0x47, 0x11}, []byte{2, 2, 0xc7, 0x11}, 1)
	tests := []struct {
		name string
		cert tls.Certificate
		want string
	}{
		{"negative serial", tls.Certificate{Certificate: [][]byte{negative}, PrivateKey: key.Key}, "serial"},
		{"trailing data", tls.Certificate{Certificate: [][]byte{append(bytes.Clone(key.Cert.Raw), 0)}, PrivateKey: key.Key}, "certificate"},
		{"a curve TLS dropped", tls.Certificate{Certificate: [][]byte{small}, PrivateKey: weak}, "certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := shake(t, store.Server(poolOf(ca)), clientWith(&tt.cert))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("handshake: %v, want an error about the %s", err, tt.want)
			}
		})
	}
}

func poolOf(authorities ...*KeyPair) func() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, ca := range authorities {
		pool.AddCert(ca.Cert)
	}
	return func() *x509.CertPool { return pool.Clone() }
}

// asked returns the hints that a client sees, and whether it is asked for a certificate at all.
func asked(t *testing.T, server *tls.Config) (hints int, asked bool) {
	t.Helper()
	client := &tls.Config{InsecureSkipVerify: true}
	client.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		hints, asked = len(info.AcceptableCAs), true
		return new(tls.Certificate), nil
	}
	if _, _, err := shake(t, server, client); err != nil {
		t.Fatal(err)
	}
	return hints, asked
}

// TestHints: which authorities are named in the handshake.
func TestHints(t *testing.T) {
	t.Parallel()
	store, ca := pki(t)
	var many []*KeyPair
	for i := range 200 {
		one := *ca
		cert := *ca.Cert
		cert.Raw = fmt.Appendf(nil, "authority %d", i) // tells pool members apart
		cert.RawSubject = bytes.Repeat([]byte{'x'}, 100)
		one.Cert = &cert
		many = append(many, &one)
	}
	tests := []struct {
		name  string
		from  func() *x509.CertPool
		asked bool
		hints int
	}{
		{"nobody is asked", nil, false, 0},
		{"one authority", poolOf(ca), true, 1},
		{"none known: any", func() *x509.CertPool { return nil }, true, 0},
		{"too many for a handshake: any", poolOf(many...), true, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			hints, asked := asked(t, store.Server(tt.from))
			if hints != tt.hints || asked != tt.asked {
				t.Errorf("asked %v with %d hints, want %v with %d", asked, hints, tt.asked, tt.hints)
			}
		})
	}
}

// TestHintsCost: the directory is asked once for many handshakes, and those do not wait for its answer.
func TestHintsCost(t *testing.T) {
	t.Parallel()
	store, ca := pki(t)
	var calls atomic.Int32
	answer, waiting := make(chan struct{}), make(chan struct{}, 1)
	config := store.Server(func() *x509.CertPool {
		calls.Add(1)
		waiting <- struct{}{}
		<-answer
		return poolOf(ca)()
	})
	var first sync.WaitGroup
	first.Go(func() {
		if hints, _ := asked(t, config); hints != 1 {
			t.Errorf("%d hints for the one who asked, want 1", hints)
		}
	})
	<-waiting
	if hints, asked := asked(t, config); hints != 0 || !asked {
		t.Errorf("while the question is out: asked %v with %d hints, want no hint", asked, hints)
	}
	close(answer)
	first.Wait()
	if hints, _ := asked(t, config); hints != 1 {
		t.Errorf("%d hints after the answer, want 1", hints)
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("the directory was asked %d times, want once", n)
	}
}

// TestResumption: a resumed session shows the certificate of the first one, so that it can be judged again.
func TestResumption(t *testing.T) {
	t.Parallel()
	store, ca := pki(t)
	key, err := ca.Issue(Request{Client: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			cert := key.TLS()
			server, client := store.Server(poolOf(ca)), clientWith(&cert)
			client.ServerName = "mail.example.org"
			client.MaxVersion = version
			client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for _, resumed := range []bool{false, true} {
				state, _, err := shake(t, server, client)
				if err != nil {
					t.Fatal(err)
				}
				if state.DidResume != resumed || len(state.PeerCertificates) != 1 {
					t.Errorf("resumed %v with %d certificates, want %v with 1", state.DidResume, len(state.PeerCertificates), resumed)
				}
			}
		})
	}
}
