package lookup

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/certname"
	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/schema"
)

// The kinds of certificate mappings: values of dpCertTrust, each with an attribute of the account.
const (
	KindSHA256       = "sha256"       // the certificate itself
	KindSPKI         = "spki"         // its key: a renewed certificate with the same key still counts
	KindIssuerSerial = "issuerserial" // its number at its authority
	KindSubject      = "subject"      // the name its authority gave
	KindEmail        = "email"        // the address its authority confirmed
)

// Kinds lists all kinds with their attributes, the most exact first.
var Kinds = []struct{ Kind, Attr string }{
	{KindSHA256, schema.AttrDpCertSHA256},
	{KindSPKI, schema.AttrDpCertSPKI},
	{KindIssuerSerial, schema.AttrDpCertIssuerSerial},
	{KindSubject, schema.AttrDpCertSubject},
	{KindEmail, schema.AttrDpCertEmail},
}

// CertKeys is what a certificate can be found by. An empty field is never searched for.
type CertKeys struct {
	SHA256       string   // of the DER certificate, in lower-case hex
	SPKI         string   // SHA-256 of its SubjectPublicKeyInfo
	IssuerSerial string   // serial in hex, "$", issuer
	Subject      string   // subject, "$", issuer
	Emails       []string // subjectAltName rfc822Name
}

// KeysOf reads the keys of a certificate. A name that is empty, or that is not understood, leaves its keys empty.
func KeysOf(cert *x509.Certificate) CertKeys {
	fingerprint, spki := sha256.Sum256(cert.Raw), sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	k := CertKeys{SHA256: hex.EncodeToString(fingerprint[:]), SPKI: hex.EncodeToString(spki[:])}
	for _, mail := range cert.EmailAddresses {
		if a, err := directory.ParseAddress(mail); err == nil {
			k.Emails = append(k.Emails, a.Key())
		}
	}
	issuer, err := certname.Text(cert.RawIssuer)
	if err != nil || issuer == "" {
		return k
	}
	if cert.SerialNumber != nil && cert.SerialNumber.Sign() > 0 {
		k.IssuerSerial = hex.EncodeToString(cert.SerialNumber.Bytes()) + "$" + issuer
	}
	if subject, err := certname.Text(cert.RawSubject); err == nil && subject != "" {
		k.Subject = subject + "$" + issuer
	}
	return k
}

// Of returns the values of one kind.
func (k CertKeys) Of(kind string) []string {
	var v string
	switch strings.ToLower(kind) {
	case KindSHA256:
		v = k.SHA256
	case KindSPKI:
		v = k.SPKI
	case KindIssuerSerial:
		v = k.IssuerSerial
	case KindSubject:
		v = k.Subject
	case KindEmail:
		return k.Emails
	}
	if v == "" {
		return nil
	}
	return []string{v}
}

// ByCertificate finds the account that a certificate maps to, by the given kinds only. Nobody is ErrNotFound, more than
// one is ErrAmbiguous. The caller has verified the certificate and got the kinds from its authority.
func (r *Resolver) ByCertificate(ctx context.Context, k CertKeys, kinds []string) (directory.Account, error) {
	var terms []view.Term
	for _, kind := range Kinds {
		if !slices.ContainsFunc(kinds, func(allowed string) bool { return strings.EqualFold(allowed, kind.Kind) }) {
			continue
		}
		for _, v := range k.Of(kind.Kind) {
			terms = append(terms, view.Term{Attr: kind.Attr, Value: v})
		}
	}
	if len(terms) == 0 {
		return directory.Account{}, fmt.Errorf("certificate %s: %w: it has nothing to be found by", k.SHA256, directory.ErrNotFound)
	}
	return ask(ctx, r, identity, func(q question) (directory.Account, error) {
		entries, err := q.find(ctx, view.Query{Class: schema.ClassDpMailAccount, Any: terms})
		if err != nil {
			return directory.Account{}, fmt.Errorf("certificate %s: %w", k.SHA256, err)
		}
		entries = slices.DeleteFunc(entries, func(e *ldap.Entry) bool {
			return !slices.ContainsFunc(terms, func(t view.Term) bool { return holds(e, t.Attr, t.Value) })
		})
		acct, err := q.only(ctx, entries)
		if err != nil {
			return directory.Account{}, fmt.Errorf("certificate %s: %w", k.SHA256, err)
		}
		return acct, nil
	})
}
