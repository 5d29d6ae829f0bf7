package certs

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shake does one handshake on loopback and returns what each side thinks of the other. After it one octet goes from
// server to client, so that a TLS 1.3 client learns whether its certificate was taken.
func shake(t *testing.T, server, client *tls.Config) (atServer, atClient tls.ConnectionState, err error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type result struct {
		state tls.ConnectionState
		err   error
	}
	served := make(chan result, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			served <- result{err: err}
			return
		}
		defer raw.Close()
		c := tls.Server(raw, server)
		raw.SetDeadline(time.Now().Add(20 * time.Second))
		if err = c.Handshake(); err == nil {
			_, err = c.Write([]byte("!"))
		}
		served <- result{c.ConnectionState(), err}
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(20 * time.Second))
	c := tls.Client(raw, client)
	_, err = c.Read(make([]byte, 1))
	r := <-served
	return r.state, c.ConnectionState(), errors.Join(r.err, err)
}

// makePair writes a certificate for names and returns its files.
func makePair(t *testing.T, dir, file string, names ...string) Pair {
	t.Helper()
	p := Pair{filepath.Join(dir, file+".pem"), filepath.Join(dir, file+".key")}
	key, err := SelfSigned(Request{Server: true, DNS: names})
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Write(p.Cert, p.Key); err != nil {
		t.Fatal(err)
	}
	return p
}

// makeRSA does the same with an RSA key, which some old clients need.
func makeRSA(t *testing.T, dir, file string, names ...string) Pair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert := template(Request{Server: true, DNS: names, Serial: big.NewInt(1)})
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})...)
	p := Pair{filepath.Join(dir, file), filepath.Join(dir, file)} // both in one file
	if err := os.WriteFile(p.Cert, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestChoose: the client's name decides, then its algorithms, then the order.
func TestChoose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := Open([]Pair{
		makePair(t, dir, "first", "mail.example.org"),
		makePair(t, dir, "second", "imap.example.org", "*.example.com"),
		makeRSA(t, dir, "rsa", "mail.example.org"),
	})
	if err != nil {
		t.Fatal(err)
	}
	rsaOnly := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	tests := []struct {
		name, ask string
		suites    []uint16 // nil = any
		want      string   // first DNS name
		algorithm x509.PublicKeyAlgorithm
	}{
		{"no name: the first", "", nil, "mail.example.org", x509.ECDSA},
		{"a name of the first", "mail.example.org", nil, "mail.example.org", x509.ECDSA},
		{"a name of the second", "imap.example.org", nil, "imap.example.org", x509.ECDSA},
		{"case does not matter", "IMAP.example.ORG", nil, "imap.example.org", x509.ECDSA},
		{"a wildcard", "x.example.com", nil, "imap.example.org", x509.ECDSA},
		{"a wildcard is one label", "x.y.example.com", nil, "mail.example.org", x509.ECDSA},
		{"a name nobody has: the first", "example.net", nil, "mail.example.org", x509.ECDSA},
		{"a client that knows RSA only", "mail.example.org", rsaOnly, "mail.example.org", x509.RSA},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client := &tls.Config{ServerName: tt.ask, InsecureSkipVerify: true, CipherSuites: tt.suites}
			if tt.suites != nil {
				client.MaxVersion = tls.VersionTLS12
			}
			_, state, err := shake(t, store.Server(nil), client)
			if err != nil {
				t.Fatal(err)
			}
			got := state.PeerCertificates[0]
			if got.DNSNames[0] != tt.want || got.PublicKeyAlgorithm != tt.algorithm {
				t.Errorf("got %v of %v, want %v of %v", got.PublicKeyAlgorithm, got.DNSNames, tt.algorithm, tt.want)
			}
		})
	}
}

// TestReload: new files are used from the next handshake on; bad ones change nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pair := makePair(t, dir, "server", "old.example.org")
	store, err := Open([]Pair{pair})
	if err != nil {
		t.Fatal(err)
	}
	config := store.Server(nil)
	names := func() string {
		t.Helper()
		_, state, err := shake(t, config, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0].DNSNames[0]
	}

	makePair(t, dir, "server", "new.example.org")
	if got := names(); got != "old.example.org" {
		t.Errorf("before Reload: %s", got)
	}
	if err := store.Reload([]Pair{pair}); err != nil {
		t.Fatal(err)
	}
	if got := names(); got != "new.example.org" {
		t.Errorf("after Reload: %s", got)
	}
	makePair(t, dir, "other", "other.example.org")
	if err := os.Rename(filepath.Join(dir, "other.key"), pair.Key); err != nil {
		t.Fatal(err)
	}
	if err := store.Reload([]Pair{pair}); err == nil || !strings.Contains(err.Error(), pair.Key) {
		t.Errorf("Reload with another's key: %v, want an error that names the file", err)
	}
	if got := names(); got != "new.example.org" {
		t.Errorf("after a failed Reload: %s", got)
	}
	other := makePair(t, dir, "third", "third.example.org")
	if err := store.Reload([]Pair{other}); err != nil {
		t.Fatal(err)
	}
	if got, file := names(), store.Expiry()[0].File; got != "third.example.org" || file != other.Cert {
		t.Errorf("after Reload with another pair: %s from %s", got, file)
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	if _, err := Open(nil); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("Open of nothing: %v, want ErrNoCertificate", err)
	}
	if _, err := Open([]Pair{{"/none.pem", "/none.key"}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open of missing files: %v", err)
	}
}

// TestExpiry: an expired certificate is taken, and one can see that it is.
func TestExpiry(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pair := Pair{filepath.Join(dir, "c"), filepath.Join(dir, "k")}
	ended := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	key, err := SelfSigned(Request{Server: true, DNS: []string{"a.example.org"}, NotBefore: ended.Add(-time.Hour), NotAfter: ended})
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Write(pair.Cert, pair.Key); err != nil {
		t.Fatal(err)
	}
	store, err := Open([]Pair{pair})
	if err != nil {
		t.Fatal(err)
	}
	got := store.Expiry()
	if len(got) != 1 || !got[0].NotAfter.Equal(ended) || got[0].File != pair.Cert || got[0].Names[0] != "a.example.org" {
		t.Errorf("Expiry: %+v", got)
	}
}

// TestIssue: what is made is what was asked for.
func TestIssue(t *testing.T) {
	t.Parallel()
	ca, err := SelfSigned(Request{Subject: pkix.Name{CommonName: "Root"}, CA: true})
	if err != nil {
		t.Fatal(err)
	}
	middle, err := ca.Issue(Request{Subject: pkix.Name{CommonName: "Class 3"}, CA: true})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := middle.Issue(Request{Subject: pkix.Name{CommonName: "alice"}, Client: true, Emails: []string{"alice@example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	roots, middles := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(ca.Cert)
	middles.AddCert(middle.Cert)
	client := x509.VerifyOptions{Roots: roots, Intermediates: middles, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := leaf.Cert.Verify(client); err != nil {
		t.Errorf("as a client: %v", err)
	}
	server := client
	server.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if _, err := leaf.Cert.Verify(server); err == nil {
		t.Error("a client certificate is good for servers")
	}
	if got := leaf.Cert.EmailAddresses; len(got) != 1 || got[0] != "alice@example.org" {
		t.Errorf("e-mail addresses %q", got)
	}
	if life := leaf.Cert.NotAfter.Sub(leaf.Cert.NotBefore); life != leafLife {
		t.Errorf("life %v, want %v", life, leafLife)
	}
	if _, err := leaf.Issue(Request{}); err == nil {
		t.Error("a leaf issued a certificate")
	}
}

func TestCRL(t *testing.T) {
	t.Parallel()
	ca, err := SelfSigned(Request{Subject: pkix.Name{CommonName: "Root"}, CA: true})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := ca.Issue(Request{Client: true, Serial: big.NewInt(0xbad)})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	der, err := ca.CRL(at, at.Add(time.Hour), lost.Cert)
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(ca.Cert); err != nil {
		t.Error(err)
	}
	if n := len(list.RevokedCertificateEntries); n != 1 || list.RevokedCertificateEntries[0].SerialNumber.Int64() != 0xbad {
		t.Errorf("revoked %v", list.RevokedCertificateEntries)
	}
	if !list.NextUpdate.Equal(at.Add(time.Hour)) {
		t.Errorf("next update %v", list.NextUpdate)
	}
	later, err := ca.CRL(at.Add(time.Second), at.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if next, err := x509.ParseRevocationList(later); err != nil || next.Number.Cmp(list.Number) <= 0 {
		t.Errorf("the number of a later list does not grow: %v", err)
	}
	if _, err := lost.CRL(at, at.Add(time.Hour)); err == nil {
		t.Error("a leaf made a revocation list")
	}
}

// TestWrite: files have their modes, replace what was there, and read back.
func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c"), filepath.Join(dir, "k")
	if err := os.WriteFile(key, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	made, err := SelfSigned(Request{CA: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Write(cert, key); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{cert: 0o644, key: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("%d files, %v, want 2", len(entries), err)
	}
	read, err := Read(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	if !read.Cert.Equal(made.Cert) || !read.Key.Equal(made.Key) {
		t.Error("what was read is not what was written")
	}
	rsa := makeRSA(t, dir, "rsa", "x.example.org")
	if _, err := Read(rsa.Cert, rsa.Key); err == nil {
		t.Error("Read took an RSA key")
	}
	if err := made.Write(filepath.Join(dir, "no", "c"), key); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Write into a missing folder: %v", err)
	}
}
