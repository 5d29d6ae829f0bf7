// Package auth checks proofs: a password by binding as the account, a certificate by its chain, its revocation list and
// its mapping. Whether the account may log in at all, and where from, is judged by package protocols/login.
//
// Start reading at [Authenticator.Certificate].
package auth

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/lookup"
)

// maxChain bounds how many certificates of a peer are looked at.
const maxChain = 8

// Options of [New].
type Options struct {
	Now func() time.Time // nil = time.Now
	Log *slog.Logger     // nil = discarded
}

// An Authenticator checks passwords and certificates. Any number of goroutines may use it.
type Authenticator struct {
	client   *client.Client
	resolver *lookup.Resolver
	now      func() time.Time
	log      *slog.Logger
}

// New returns an authenticator that binds through c and looks things up through r.
func New(c *client.Client, r *lookup.Resolver, opts Options) *Authenticator {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Authenticator{client: c, resolver: r, now: opts.Now, log: opts.Log}
}

// Password checks a password by a bind as the account. ErrWrong: it does not fit. ErrRefused: the directory's own policy
// says no (locked, expired, must be changed). ErrUnavailable: nobody can tell.
func (a *Authenticator) Password(ctx context.Context, acct directory.Account, password string) error {
	return a.client.Bind(ctx, acct.DN, password)
}

// Authorities returns the certificates of the authorities, to be named to clients in a TLS handshake.
func (a *Authenticator) Authorities(ctx context.Context) (*x509.CertPool, error) {
	list, err := a.resolver.Authorities(ctx)
	if err != nil {
		return nil, err
	}
	return pool(list), nil
}

func pool(list []lookup.Authority) *x509.CertPool {
	p := x509.NewCertPool()
	for _, authority := range list {
		for _, cert := range authority.Certificates {
			p.AddCert(cert)
		}
	}
	return p
}

// Certificate finds the account that a client certificate proves. chain is what the peer sent, the leaf first; the TLS
// handshake has shown that it has the key, and nothing else.
//
// The leaf must lead to an authority of the directory (never of the system), be valid now, be meant for clients, and not be
// revoked as that authority wants it checked; then it must map to exactly one account by a kind that the authority is
// trusted for. ErrWrong: it proves nothing, or maps to nobody. ErrRefused: it would prove something, but is expired, not yet
// valid or revoked, or maps to more than one account. ErrUnavailable: nobody can tell.
func (a *Authenticator) Certificate(ctx context.Context, chain []*x509.Certificate) (directory.Account, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return directory.Account{}, fmt.Errorf("%w: %d certificates", directory.ErrWrong, len(chain))
	}
	leaf := chain[0]
	list, err := a.resolver.Authorities(ctx)
	if err != nil {
		return directory.Account{}, err
	}
	path, err := a.verify(list, leaf, chain[1:])
	if err != nil {
		return directory.Account{}, fmt.Errorf("certificate %v: %w", leaf.SerialNumber, err)
	}
	authority, err := owner(list, path[len(path)-1])
	if err != nil {
		return directory.Account{}, fmt.Errorf("certificate %v: %w", leaf.SerialNumber, err)
	}
	if err := a.revoked(list, authority, path); err != nil {
		return directory.Account{}, fmt.Errorf("certificate %v of %s: %w", leaf.SerialNumber, authority.Name, err)
	}
	acct, err := a.resolver.ByCertificate(ctx, lookup.KeysOf(leaf), authority.Trust)
	switch {
	case errors.Is(err, directory.ErrNotFound):
		err = fmt.Errorf("%w: %v", directory.ErrWrong, err)
	case errors.Is(err, directory.ErrAmbiguous):
		err = fmt.Errorf("%w: %w", directory.ErrRefused, err)
	}
	return acct, err
}

// verify returns the shortest chain from the leaf to an authority. The nearest authority is the one whose rules count.
func (a *Authenticator) verify(list []lookup.Authority, leaf *x509.Certificate, others []*x509.Certificate) ([]*x509.Certificate, error) {
	// A certificate without this use is refused although RFC 5280 section 4.2.1.12 lets it pass for any use: a field that
	// is missing opens nothing.
	if leaf.IsCA || !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return nil, fmt.Errorf("%w: it is not for clients", directory.ErrWrong)
	}
	opts := x509.VerifyOptions{
		Roots: pool(list), Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, cert := range others {
		opts.Intermediates.AddCert(cert)
	}
	now := a.now()
	opts.CurrentTime = now
	paths, err := leaf.Verify(opts)
	if err == nil {
		return slices.MinFunc(paths, func(p, q []*x509.Certificate) int { return len(p) - len(q) }), nil
	}
	// Go looks at the dates first. Out of date is worth another word than foreign, so see what it was worth in its time.
	if opts.CurrentTime = within(now, leaf); !opts.CurrentTime.Equal(now) {
		if _, then := leaf.Verify(opts); then == nil {
			return nil, fmt.Errorf("%w: %v", directory.ErrRefused, err)
		}
	}
	return nil, fmt.Errorf("%w: %v", directory.ErrWrong, err)
}

// within returns the moment nearest to now at which the certificate is valid.
func within(now time.Time, cert *x509.Certificate) time.Time {
	switch {
	case now.Before(cert.NotBefore):
		return cert.NotBefore
	case now.After(cert.NotAfter):
		return cert.NotAfter
	}
	return now
}

// owner returns the authority whose certificate ends a verified chain. Two with the same certificate may have other rules
// each, and which of them count is not ours to guess.
func owner(list []lookup.Authority, root *x509.Certificate) (lookup.Authority, error) {
	var found []lookup.Authority
	for _, authority := range list {
		if slices.ContainsFunc(authority.Certificates, root.Equal) {
			found = append(found, authority)
		}
	}
	if len(found) != 1 {
		return lookup.Authority{}, fmt.Errorf("%w: %d authorities have the certificate of its issuer", directory.ErrRefused, len(found))
	}
	return found[0], nil
}

// revoked looks every certificate of the chain up in the list of its issuer, as the authority wants it. For the hard ways
// an issuer without a current list refuses all its certificates.
func (a *Authenticator) revoked(list []lookup.Authority, authority lookup.Authority, path []*x509.Certificate) error {
	if authority.Revocation == lookup.NoRevocation {
		return nil
	}
	hard := authority.Revocation != lookup.CRLSoft && authority.Revocation != lookup.OCSPSoft
	for i, cert := range path[:len(path)-1] {
		current := false
		for _, crl := range listsOf(list, path[i+1]) {
			if crl.Lists(cert.SerialNumber) {
				return fmt.Errorf("%w: it is revoked", directory.ErrRefused)
			}
			now := a.now()
			current = current || !now.Before(crl.ThisUpdate) && now.Before(crl.NextUpdate)
		}
		if hard && !current {
			return fmt.Errorf("%w: no current revocation list of its issuer", directory.ErrRefused)
		}
	}
	if authority.Revocation == lookup.OCSPHard {
		return fmt.Errorf("%w: its authority wants OCSP, which is not there", directory.ErrRefused)
	}
	return nil
}

// listsOf returns the revocation lists that an issuer signed. An issuer is a name with a key: it may have several
// certificates, of its own and cross-signed by others, and its list counts for what any of them leads to.
func listsOf(list []lookup.Authority, issuer *x509.Certificate) []*lookup.CRL {
	var crls []*lookup.CRL
	for _, authority := range list {
		for _, crl := range authority.CRLs {
			if bytes.Equal(crl.Issuer.RawSubject, issuer.RawSubject) && bytes.Equal(crl.Issuer.RawSubjectPublicKeyInfo, issuer.RawSubjectPublicKeyInfo) {
				crls = append(crls, crl)
			}
		}
	}
	return crls
}
