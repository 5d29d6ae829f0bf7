package login

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory/auth"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/protocols/certs"
	"github.com/dirpost/dirpost/protocols/listen"
	"github.com/dirpost/dirpost/schema/slapd"
	"github.com/dirpost/dirpost/schema/slapdtest"
)

const (
	base     = "dc=example,dc=org"
	password = "correct horse"
)

// A site is a door before a real slapd with people in it, and the authority that signs for them.
type site struct {
	door   *Door
	slapd  *slapdtest.Server
	client *client.Client
	log    *bytes.Buffer // of the door; read it only when nobody logs in
	tls    *tls.Config   // of the server
	ahead  atomic.Int64  // how many nanoseconds the door's clock is ahead
}

// now is the time by the door's clock.
func (s *site) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// newSite starts a slapd with the entries that entries returns for the site's authority, which has revoked the
// certificates of revoked.
func newSite(t *testing.T, ca *certs.KeyPair, revoked []*x509.Certificate, entries string) *site {
	t.Helper()
	s := &site{slapd: slapdtest.Start(t, slapdtest.Options{}), log: new(bytes.Buffer)}
	tree, err := slapd.Tree(base, "Example Association")
	if err != nil {
		t.Fatal(err)
	}
	crl, err := ca.CRL(time.Now().Add(-time.Minute), time.Now().Add(time.Hour), revoked...)
	if err != nil {
		t.Fatal(err)
	}
	s.slapd.Load(t, slapd.LDIF(tree)+authorityEntry(ca, crl)+entries)

	c, err := client.New(client.Options{URIs: []string{s.slapd.LDAPI}, External: true, Retry: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s.client = c
	r := lookup.New(c, lookup.Options{Base: base, Now: s.now})
	s.door = New(r, auth.New(c, r, auth.Options{Now: s.now}), Options{
		Now: s.now, FailureTime: time.Millisecond,
		Log: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	s.tls = serverConfig(t, ca)
	return s
}

// newAuthority makes the root of a CA.
func newAuthority(t *testing.T, name string) *certs.KeyPair {
	t.Helper()
	ca, err := certs.SelfSigned(certs.Request{Subject: pkix.Name{CommonName: name}, CA: true})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// issue makes a client certificate.
func issue(t *testing.T, ca *certs.KeyPair, r certs.Request) *certs.KeyPair {
	t.Helper()
	r.Client = !r.Server
	key, err := ca.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// serverConfig is what our listeners use, with ca as the hint.
func serverConfig(t *testing.T, ca *certs.KeyPair) *tls.Config {
	t.Helper()
	dir := t.TempDir()
	pair := certs.Pair{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	key, err := certs.SelfSigned(certs.Request{Server: true, DNS: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Write(pair.Cert, pair.Key); err != nil {
		t.Fatal(err)
	}
	store, err := certs.Open([]certs.Pair{pair})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	return store.Server(func() *x509.CertPool { return pool })
}

// connect does a real handshake on loopback, with a client certificate or without, and returns the server's view. A
// handshake that fails fails the test: no certificate may break one.
func (s *site) connect(t *testing.T, key *certs.KeyPair) protocols.Peer {
	t.Helper()
	client := &tls.Config{ServerName: "localhost", InsecureSkipVerify: true}
	if key != nil {
		cert := key.TLS()
		client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	return s.connectAs(t, client)
}

func (s *site) connectAs(t *testing.T, client *tls.Config) protocols.Peer {
	t.Helper()
	l, err := listen.Listen(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	gate := listen.NewGate(listen.Options{})
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		gate.Shutdown(ctx)
	})
	read := make(chan error, 1)
	go func() {
		c, err := tls.Dial("tcp", l.Addr().String(), client)
		if err == nil {
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		read <- err
	}()
	c, err := tls.NewListener(gate.Guard(l), s.tls).Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.(*tls.Conn).HandshakeContext(t.Context())
	if err == nil {
		_, err = c.Write([]byte("!"))
	}
	if err := errors.Join(err, <-read); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return listen.PeerOf(c)
}

// authorityEntry is an authority that is trusted for every kind of mapping and must have a fresh CRL.
func authorityEntry(ca *certs.KeyPair, crl []byte) string {
	return ldif("cn=test,ou=authorities,"+base,
		"objectClass: applicationProcess", "objectClass: pkiCA", "objectClass: dpCertAuthority", "cn: test",
		"cACertificate;binary:: "+base64.StdEncoding.EncodeToString(ca.Cert.Raw),
		"certificateRevocationList;binary:: "+base64.StdEncoding.EncodeToString(crl),
		"dpCertTrust: sha256", "dpCertTrust: spki", "dpCertTrust: email", "dpRevocationCheck: crl-hard")
}

// person is an account with our password that may use IMAP and submission; more has further attributes, or others in
// place of these.
func person(uid string, more ...string) string {
	lines := []string{
		"objectClass: inetOrgPerson", "objectClass: inetLocalMailRecipient", "objectClass: dpMailAccount", "objectClass: dpCertMapping",
		"uid: " + uid, "cn: " + uid, "sn: " + uid, "userPassword: " + password, "dpMailboxId: m-" + uid,
	}
	defaults := map[string][]string{
		"mail": {uid + "@example.org"}, "mailLocalAddress": {uid + "@example.org"},
		"dpAccountStatus": {"active"}, "dpMailService": {"imap", "submission"},
	}
	for _, line := range more {
		name, _, _ := strings.Cut(line, ":")
		delete(defaults, name)
	}
	for name, values := range defaults {
		for _, value := range values {
			lines = append(lines, name+": "+value)
		}
	}
	return ldif("uid="+uid+",ou=people,"+base, append(lines, more...)...)
}

// mapped is the attribute that lets a certificate in.
func mapped(key *certs.KeyPair) string {
	return "dpCertSHA256: " + lookup.KeysOf(key.Cert).SHA256
}

func ldif(dn string, lines ...string) string {
	return fmt.Sprintf("dn: %s\n%s\n\n", dn, strings.Join(lines, "\n"))
}

// tcpPeer is somebody on TLS without a certificate, or in the clear.
func tcpPeer(t *testing.T, addr string, secure bool) protocols.Peer {
	t.Helper()
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p := protocols.Peer{ID: "test", Addr: tcp.AddrPort()}
	if secure {
		p.TLS = &tls.ConnectionState{HandshakeComplete: true}
	}
	return p
}
