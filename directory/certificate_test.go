package directory_test

import (
	"crypto/x509"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/auth"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/directory/provision"
)

func TestCertificate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		ctx := t.Context()
		user(t, p, "alice")
		user(t, p, "bob")
		all := []string{lookup.KindSHA256, lookup.KindSPKI, lookup.KindIssuerSerial, lookup.KindSubject, lookup.KindEmail}
		ca, plain, foreign := newAuthority(t, "CA"), newAuthority(t, "Fingerprints only"), newAuthority(t, "Foreign")
		stale, soft, none, missing := newAuthority(t, "Stale"), newAuthority(t, "Soft"), newAuthority(t, "None"), newAuthority(t, "Missing")
		untrusted, ocsp := newAuthority(t, "Untrusted"), newAuthority(t, "OCSP")
		middle := none.below(t, "Middle")
		softMiddle := ca.below(t, "Middle without a list")
		twice := newAuthority(t, "Twice")
		crossed := &authority{key: twice.key, cert: sign(t, authorityTemplate("Twice"), none.cert, twice.key, none.key)}

		// give maps a certificate to an account.
		give := func(login string, cert *x509.Certificate, kind string) *x509.Certificate {
			t.Helper()
			if err := p.AddCertificate(ctx, login, cert, kind); err != nil {
				t.Fatal(err)
			}
			return cert
		}
		trust := func(name string, a *authority, crl []byte, kinds []string, revocation string) {
			t.Helper()
			if err := p.AddAuthority(ctx, name, a.cert, crl, kinds, revocation); err != nil {
				t.Fatal(err)
			}
		}
		key := newKey(t)
		give("alice", ca.leaf(t, leafOptions{key: key}), lookup.KindSPKI)
		give("alice", ca.leaf(t, leafOptions{emails: []string{"alice@example.org"}}), lookup.KindEmail)
		give("bob", ca.leaf(t, leafOptions{emails: []string{"bob@example.org"}}), lookup.KindEmail)
		give("alice", ca.leaf(t, leafOptions{name: "Alice Adler, Chair"}), lookup.KindSubject)
		revoked := give("alice", ca.leaf(t, leafOptions{}), "")
		revokedStale := give("alice", soft.leaf(t, leafOptions{}), "")
		trust("ca", ca, ca.crl(t, []*x509.Certificate{revoked}), all, lookup.CRLHard)
		trust("plain", plain, plain.crl(t, nil), []string{lookup.KindSHA256}, "")
		trust("stale", stale, stale.crlUntil(t, time.Now().Add(-time.Hour), nil), all, lookup.CRLHard)
		trust("soft", soft, soft.crlUntil(t, time.Now().Add(-time.Hour), []*x509.Certificate{revokedStale}), all, lookup.CRLSoft)
		revokedTwice := give("alice", twice.leaf(t, leafOptions{}), "")
		trust("crossed", crossed, nil, all, lookup.CRLSoft)
		trust("twice", twice, twice.crl(t, []*x509.Certificate{revokedTwice}), all, lookup.CRLHard)
		trust("none", none, nil, all, lookup.NoRevocation)
		trust("missing", missing, nil, all, lookup.CRLHard)
		trust("untrusted", untrusted, nil, all, lookup.NoRevocation)
		s.set(t, s.connect(t, s.admin), "cn=untrusted,ou=authorities,"+base, "dpCertTrust")
		trust("ocsp", ocsp, ocsp.crl(t, nil), all, lookup.OCSPHard)

		good := give("alice", ca.leaf(t, leafOptions{}), "")
		tests := []struct {
			name  string
			chain []*x509.Certificate
			login string
			err   error
		}{
			{"fingerprint", []*x509.Certificate{good}, "alice", nil},
			{"fingerprint, with its authority beside it", []*x509.Certificate{good, ca.cert}, "alice", nil},
			{"renewed with the same key", []*x509.Certificate{ca.leaf(t, leafOptions{key: key})}, "alice", nil},
			{"issuer and serial", []*x509.Certificate{give("alice", ca.leaf(t, leafOptions{}), lookup.KindIssuerSerial)}, "alice", nil},
			{"subject", []*x509.Certificate{ca.leaf(t, leafOptions{name: "Alice Adler, Chair"})}, "alice", nil},
			{"e-mail", []*x509.Certificate{ca.leaf(t, leafOptions{emails: []string{"Bob@Example.org"}})}, "bob", nil},
			{"e-mail addresses of two accounts", []*x509.Certificate{ca.leaf(t, leafOptions{emails: []string{"bob@example.org", "alice@example.org"}})}, "", directory.ErrRefused},
			{"e-mail that is received but not mapped", []*x509.Certificate{ca.leaf(t, leafOptions{emails: []string{"root@example.org"}})}, "", directory.ErrWrong},
			{"kind that the authority is not trusted for", []*x509.Certificate{plain.leaf(t, leafOptions{key: key})}, "", directory.ErrWrong},
			{"same subject from another authority", []*x509.Certificate{none.leaf(t, leafOptions{name: "Alice Adler, Chair"})}, "", directory.ErrWrong},
			{"authority trusted for nothing", []*x509.Certificate{give("alice", untrusted.leaf(t, leafOptions{}), "")}, "", directory.ErrWrong},
			{"valid and mapped to nobody", []*x509.Certificate{ca.leaf(t, leafOptions{name: "Nobody"})}, "", directory.ErrWrong},
			{"mapped, but from a foreign authority", []*x509.Certificate{give("alice", foreign.leaf(t, leafOptions{}), ""), foreign.cert}, "", directory.ErrWrong},
			{"revoked", []*x509.Certificate{revoked}, "", directory.ErrRefused},
			{"expired", []*x509.Certificate{give("alice", ca.leaf(t, leafOptions{before: -2 * time.Hour, after: -time.Hour}), "")}, "", directory.ErrRefused},
			{"not yet valid", []*x509.Certificate{give("alice", ca.leaf(t, leafOptions{before: time.Hour}), "")}, "", directory.ErrRefused},
			{"expired and foreign", []*x509.Certificate{foreign.leaf(t, leafOptions{before: -2 * time.Hour, after: -time.Hour})}, "", directory.ErrWrong},
			{"for servers", []*x509.Certificate{give("alice", ca.leaf(t, leafOptions{uses: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}), "")}, "", directory.ErrWrong},
			{"for nothing in particular", []*x509.Certificate{give("alice", ca.leaf(t, leafOptions{noUse: true}), "")}, "", directory.ErrWrong},
			{"for anything", []*x509.Certificate{give("alice", ca.leaf(t, leafOptions{uses: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}), "")}, "", directory.ErrWrong},
			{"that signs others", []*x509.Certificate{give("alice", ca.leaf(t, leafOptions{ca: true}), "")}, "", directory.ErrWrong},
			{"list out of date, hard", []*x509.Certificate{give("alice", stale.leaf(t, leafOptions{}), "")}, "", directory.ErrRefused},
			{"list missing, hard", []*x509.Certificate{give("alice", missing.leaf(t, leafOptions{}), "")}, "", directory.ErrRefused},
			{"list out of date, soft", []*x509.Certificate{give("bob", soft.leaf(t, leafOptions{}), "")}, "bob", nil},
			{"on a list out of date, soft", []*x509.Certificate{revokedStale}, "", directory.ErrRefused},
			{"no list wanted", []*x509.Certificate{give("bob", none.leaf(t, leafOptions{}), "")}, "bob", nil},
			{"OCSP, which is not there, hard", []*x509.Certificate{give("bob", ocsp.leaf(t, leafOptions{}), "")}, "", directory.ErrRefused},
			{"through an intermediate that comes along", []*x509.Certificate{give("bob", middle.leaf(t, leafOptions{}), ""), middle.cert}, "bob", nil},
			{"through an intermediate that does not", []*x509.Certificate{give("bob", middle.leaf(t, leafOptions{}), "")}, "", directory.ErrWrong},
			{"through an intermediate without a list, hard", []*x509.Certificate{give("bob", softMiddle.leaf(t, leafOptions{}), ""), softMiddle.cert}, "", directory.ErrRefused},
			{"revoked, its issuer cross-signed", []*x509.Certificate{revokedTwice}, "", directory.ErrRefused},
			{"revoked, with the cross-signed issuer beside it", []*x509.Certificate{revokedTwice, crossed.cert}, "", directory.ErrRefused},
			{"not revoked, its issuer cross-signed", []*x509.Certificate{give("alice", twice.leaf(t, leafOptions{}), "")}, "alice", nil},
			{"none", nil, "", directory.ErrWrong},
			{"too many", slices.Repeat([]*x509.Certificate{good}, 9), "", directory.ErrWrong},
		}
		c := s.frontend(t)
		a := auth.New(c, lookup.New(c, lookup.Options{Base: base}), auth.Options{})
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				got, err := a.Certificate(ctx, tt.chain)
				if got.Login != tt.login || !errors.Is(err, tt.err) || tt.err == nil && err != nil {
					t.Errorf("Certificate() = %q, %v; want %q, %v", got.Login, err, tt.login, tt.err)
				}
			})
		}
		pool, err := a.Authorities(ctx)
		if err != nil || pool.Equal(x509.NewCertPool()) {
			t.Errorf("Authorities() = %v, %v; want those of the directory", pool, err)
		}
		certificateOutage(t, s, a, good, foreign.leaf(t, leafOptions{}))
	})
}

// While the directory is down nobody can tell whose a certificate is, but what is foreign stays foreign.
func certificateOutage(t *testing.T, s *server, a *auth.Authenticator, good, foreign *x509.Certificate) {
	t.Helper()
	s.stop()
	for name, tt := range map[string]struct {
		cert *x509.Certificate
		err  error
	}{"good": {good, directory.ErrUnavailable}, "foreign": {foreign, directory.ErrWrong}} {
		if _, err := a.Certificate(t.Context(), []*x509.Certificate{tt.cert}); !errors.Is(err, tt.err) {
			t.Errorf("%s certificate during an outage: error = %v, want %v", name, err, tt.err)
		}
	}
	s.start()
	if got, err := a.Certificate(t.Context(), []*x509.Certificate{good}); err != nil || got.Login != "alice" {
		t.Errorf("good certificate after an outage = %q, %v; want alice", got.Login, err)
	}
}

// What is taken away counts at once for mappings, and after the short life of the cache for authorities.
func TestCertificateChanges(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		ctx := t.Context()
		user(t, p, "alice")
		ca := newAuthority(t, "CA")
		cert := ca.leaf(t, leafOptions{})
		if err := p.AddAuthority(ctx, "ca", ca.cert, ca.crl(t, nil), nil, ""); err != nil {
			t.Fatal(err)
		}
		if err := p.AddCertificate(ctx, "alice", cert, ""); err != nil {
			t.Fatal(err)
		}
		if err := p.AddCertificate(ctx, "root", cert, ""); !errors.Is(err, directory.ErrExists) {
			t.Errorf("AddCertificate of another's: error = %v, want %v", err, directory.ErrExists)
		}
		if err := p.AddCertificate(ctx, "alice", cert, "md5"); !errors.Is(err, directory.ErrRefused) {
			t.Errorf("AddCertificate of an unknown kind: error = %v, want %v", err, directory.ErrRefused)
		}
		if err := p.AddCertificate(ctx, "alice", cert, lookup.KindEmail); !errors.Is(err, directory.ErrRefused) {
			t.Errorf("AddCertificate by an e-mail it lacks: error = %v, want %v", err, directory.ErrRefused)
		}
		now := time.Now()
		c := s.frontend(t)
		a := auth.New(c, lookup.New(c, lookup.Options{Base: base, Now: func() time.Time { return now }}), auth.Options{})
		check := func(when string, want error) {
			t.Helper()
			if _, err := a.Certificate(ctx, []*x509.Certificate{cert}); !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%s: error = %v, want %v", when, err, want)
			}
		}
		check("at first", nil)
		if err := p.SetCRL(ctx, "ca", ca.crl(t, []*x509.Certificate{cert})); err != nil {
			t.Fatal(err)
		}
		now = now.Add(11 * time.Second)
		check("revoked", directory.ErrRefused)
		if err := p.SetCRL(ctx, "ca", ca.crl(t, nil)); err != nil {
			t.Fatal(err)
		}
		now = now.Add(11 * time.Second)
		check("no longer revoked", nil)

		mappings, err := p.Certificates(ctx, "alice")
		if err != nil || len(mappings) != 1 || mappings[0].Kind != lookup.KindSHA256 {
			t.Fatalf("Certificates() = %v, %v", mappings, err)
		}
		if err := p.RemoveCertificate(ctx, "alice", "00"); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("RemoveCertificate of none: error = %v, want %v", err, directory.ErrNotFound)
		}
		if err := p.RemoveCertificate(ctx, "alice", colons(mappings[0].Value)); err != nil {
			t.Errorf("RemoveCertificate: %v", err)
		}
		check("mapping removed", directory.ErrWrong)
	})
}

// colons writes a fingerprint as OpenSSL does: AB:CD.
func colons(hex string) string {
	var out []byte
	for i := range len(hex) {
		if i > 0 && i%2 == 0 {
			out = append(out, ':')
		}
		c := hex[i]
		if c >= 'a' {
			c -= 'a' - 'A'
		}
		out = append(out, c)
	}
	return string(out)
}
