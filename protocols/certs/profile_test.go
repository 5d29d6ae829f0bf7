package certs

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// intermediate is what Mozilla's recommendation of that name has for TLS 1.2, but for what Go does not know (DHE).
var intermediate = []string{
	"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
	"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
	"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}

// TestProfile offers each version and each cipher suite that Go knows, alone, to a server with a certificate of either
// kind: what the profile lists is taken, and nothing else.
func TestProfile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := Open([]Pair{makePair(t, dir, "ecdsa", "mail.example.org"), makeRSA(t, dir, "rsa", "mail.example.org")})
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			state, _, err := shake(t, store.Server(nil), &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
			if (err == nil) != (version >= tls.VersionTLS12) || err == nil && state.Version != version {
				t.Errorf("got %s, %v", tls.VersionName(state.Version), err)
			}
		})
	}
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if !slices.Contains(suite.SupportedVersions, tls.VersionTLS12) {
			continue
		}
		t.Run(suite.Name, func(t *testing.T) {
			t.Parallel()
			client := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}}
			_, _, err := shake(t, store.Server(nil), client)
			if want := slices.Contains(intermediate, suite.Name); (err == nil) != want {
				t.Errorf("got %v, want taken %v", err, want)
			}
		})
	}
}

// TestReloadKeepsSessions: sessions that are open go on over a reload, and over one that fails.
func TestReloadKeepsSessions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := Open([]Pair{makePair(t, dir, "old", "old.example.org")})
	if err != nil {
		t.Fatal(err)
	}
	next := makePair(t, dir, "next", "new.example.org")
	config := store.Server(nil)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		before := echoing(t, config, version)
		before.hear(t, "before the reload\n")
		if err := store.Reload([]Pair{next}); err != nil {
			t.Fatal(err)
		}
		before.hear(t, "after it\n")
		if err := store.Reload([]Pair{{Cert: "none", Key: "none"}}); err == nil {
			t.Fatal("files that are not there were read")
		}
		before.hear(t, "after one that failed\n")
		after := echoing(t, config, version)
		after.hear(t, "a new one\n")
		if got := after.ConnectionState().PeerCertificates[0].DNSNames[0]; got != "new.example.org" {
			t.Errorf("after the reload the certificate is of %s", got)
		}
		if err := store.Reload([]Pair{{Cert: dir + "/old.pem", Key: dir + "/old.key"}}); err != nil {
			t.Fatal(err)
		}
		before.hear(t, "and back again\n")
		after.hear(t, "and back again\n")
	}
}

// An echo is a client of a server that says what it hears.
type echo struct {
	*tls.Conn
	in *bufio.Reader
}

func echoing(t *testing.T, config *tls.Config, version uint16) echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan net.Conn, 1)
	go func() {
		raw, err := l.Accept()
		if err == nil {
			c := tls.Server(raw, config)
			served <- c
			io.Copy(c, c)
		}
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close(); (<-served).Close() })
	return echo{c, bufio.NewReader(c)}
}

// hear wants the server to answer.
func (e echo) hear(t *testing.T, line string) {
	t.Helper()
	io.WriteString(e, line)
	if got, err := e.in.ReadString('\n'); got != line {
		t.Errorf("heard %q, %v, want %q", got, err, line)
	}
}
