package lookup

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/schema"
)

// The ways to check revocation (dpRevocationCheck). Hard ones refuse when the list is missing or out of date.
const (
	CRLHard      = "crl-hard"
	CRLSoft      = "crl-soft"
	OCSPHard     = "ocsp-hard" // not done yet: refuses
	OCSPSoft     = "ocsp-soft" // not done yet: as crl-soft
	NoRevocation = "none"
)

// An Authority is an entry whose certificates may sign client certificates. Values are shared and must not be changed.
type Authority struct {
	DN           string
	Name         string // cn
	Certificates []*x509.Certificate
	CRLs         []*CRL
	Trust        []string // kinds of mappings that its certificates are honoured for
	Revocation   string   // CRLHard when the entry says nothing

	version string    // entryCSN
	seen    time.Time // when it first had that version
	read    time.Time
}

// settled reports whether the entry was read late enough to be what its version says for good. Where the version is a time
// in whole seconds, another change in the same second does not show in it.
func (a *Authority) settled() bool {
	_, err := time.Parse("20060102150405Z", a.version)
	return a.version != "" && (err != nil || a.read.Sub(a.seen) > 2*time.Second)
}

// Edition tells a list of authorities from one that says something else.
func Edition(list []Authority) string {
	var b strings.Builder
	for _, a := range list {
		fmt.Fprintf(&b, "%q %q", a.DN, a.version)
		if !a.settled() {
			fmt.Fprintf(&b, " %d", a.read.UnixNano())
		}
	}
	return b.String()
}

// A CRL is a revocation list that one of the authority's certificates signed.
type CRL struct {
	*x509.RevocationList
	Issuer  *x509.Certificate
	serials map[string]bool
}

// Lists reports whether the list has a serial number.
func (c *CRL) Lists(serial *big.Int) bool { return c.serials[string(serial.Bytes())] }

// Authorities returns the authorities of client certificates. They may be some seconds old, and while the directory does
// not answer they are as old as that: they only verify, and an account is then still to be found.
func (r *Resolver) Authorities(ctx context.Context) ([]Authority, error) {
	list, err := r.authorities.get(ctx, "", r.readAuthorities)
	if err == nil || !errors.Is(err, directory.ErrUnavailable) {
		return list, err
	}
	if old, ok := r.authorities.last(""); ok {
		r.log.DebugContext(ctx, "using the authorities read before", "err", err)
		return old, nil
	}
	return nil, err
}

var isAuthority = client.Equal(schema.AttrObjectClass, schema.ClassDpCertAuthority)

// binary names the transfer encoding that certificates and lists must be asked for with (RFC 4522, RFC 4523).
func binary(attr string) string { return attr + ";binary" }

// readAuthorities reads what changed: a revocation list may have megabytes, so an entry whose entryCSN is the one we know
// is not fetched again.
func (r *Resolver) readAuthorities(ctx context.Context) ([]Authority, error) {
	entries, err := r.client.Search(ctx, r.opts.Base, ldap.ScopeWholeSubtree, isAuthority, schema.AttrEntryCSN)
	if errors.Is(err, directory.ErrNotFound) {
		err = fmt.Errorf("%w: base %q is not there", directory.ErrUnavailable, r.opts.Base)
	}
	if err != nil {
		return nil, fmt.Errorf("authorities: %w", err)
	}
	known := map[string]Authority{}
	old, _ := r.authorities.last("")
	for _, a := range old {
		known[a.DN] = a
	}
	list := []Authority{}
	for _, e := range entries {
		a, ok := known[e.DN]
		if !ok || !a.settled() || a.version != value(e, schema.AttrEntryCSN) {
			before := a
			if a, err = r.readAuthority(ctx, e.DN); errors.Is(err, directory.ErrNotFound) {
				continue // it went meanwhile
			}
			if err != nil {
				return nil, err
			}
			if a.version == before.version {
				a.seen = before.seen
			}
		}
		list = append(list, a)
	}
	return list, nil
}

// readAuthority reads one entry. A certificate or list that cannot be used is logged and left out: it must not take the
// other authorities along. (Without a usable list, CRLHard refuses.)
func (r *Resolver) readAuthority(ctx context.Context, dn string) (Authority, error) {
	began := time.Now() // the time that passes for the server too, so not that of Options.Now
	e, err := r.client.One(ctx, dn, ldap.ScopeBaseObject, isAuthority,
		schema.AttrCn, schema.AttrEntryCSN, schema.AttrDpCertTrust, schema.AttrDpRevocationCheck,
		binary(schema.AttrCACertificate), binary(schema.AttrCertificateRevocationList))
	if err != nil {
		return Authority{}, fmt.Errorf("authority %s: %w", dn, err)
	}
	a := Authority{
		DN: e.DN, Name: value(e, schema.AttrCn), version: value(e, schema.AttrEntryCSN), seen: began, read: began,
		Revocation: strings.ToLower(value(e, schema.AttrDpRevocationCheck)),
	}
	if a.Revocation == "" {
		a.Revocation = CRLHard
	}
	for _, kind := range e.GetEqualFoldAttributeValues(schema.AttrDpCertTrust) {
		a.Trust = append(a.Trust, strings.ToLower(kind))
	}
	for _, der := range e.GetEqualFoldRawAttributeValues(binary(schema.AttrCACertificate)) {
		cert, err := x509.ParseCertificate(der)
		if err == nil && !cert.IsCA {
			err = errors.New("it is not the certificate of an authority")
		}
		if err != nil {
			r.log.WarnContext(ctx, "certificate of an authority is not usable", "entry", dn, "err", err)
			continue
		}
		a.Certificates = append(a.Certificates, cert)
	}
	for _, der := range e.GetEqualFoldRawAttributeValues(binary(schema.AttrCertificateRevocationList)) {
		crl, err := ParseCRL(der, a.Certificates)
		if err != nil {
			r.log.WarnContext(ctx, "revocation list is not usable", "entry", dn, "err", err)
			continue
		}
		a.CRLs = append(a.CRLs, crl)
	}
	return a, nil
}

// ParseCRL reads a DER revocation list and checks that one of the issuers signed it. Lists that tell a part only (by their
// critical extensions: delta lists, lists for some reasons or certificates) are refused, as RFC 5280 section 5.2 wants.
func ParseCRL(der []byte, issuers []*x509.Certificate) (*CRL, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("revocation list: %w", err)
	}
	for _, ext := range list.Extensions {
		if ext.Critical {
			return nil, fmt.Errorf("revocation list: critical extension %v is not understood", ext.Id)
		}
	}
	crl := &CRL{RevocationList: list, serials: make(map[string]bool, len(list.RevokedCertificateEntries))}
	err = errors.New("it has none")
	for _, issuer := range issuers {
		if err = list.CheckSignatureFrom(issuer); err == nil {
			crl.Issuer = issuer
			break
		}
	}
	if crl.Issuer == nil {
		return nil, fmt.Errorf("revocation list: no certificate of the authority signed it: %v", err)
	}
	for _, entry := range list.RevokedCertificateEntries {
		for _, ext := range entry.Extensions {
			if ext.Critical && !ext.Id.Equal(reasonCode) {
				return nil, fmt.Errorf("revocation list: critical extension %v is not understood", ext.Id)
			}
		}
		crl.serials[string(entry.SerialNumber.Bytes())] = true
	}
	return crl, nil
}

// reasonCode is the extension of an entry that says why; any reason is a reason.
var reasonCode = asn1.ObjectIdentifier{2, 5, 29, 21}
