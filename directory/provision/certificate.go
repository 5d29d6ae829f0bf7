package provision

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/schema"
	"github.com/dirpost/dirpost/schema/slapd"
)

// A Mapping lets certificates log in as an account.
type Mapping struct {
	Kind  string // one of lookup.Kinds
	Value string
}

// AddCertificate lets a certificate log in as an account, found again by its fingerprint (an empty kind) or another of
// lookup.Kinds. The authority of the certificate must be trusted for that kind. The certificate is not published by this.
func (p *Provisioner) AddCertificate(ctx context.Context, login string, cert *x509.Certificate, kind string) error {
	if kind == "" {
		kind = lookup.KindSHA256
	}
	attr := attributeOf(kind)
	if attr == "" {
		return fmt.Errorf("certificate of %s: %w: unknown kind %q", login, directory.ErrRefused, kind)
	}
	values := lookup.KeysOf(cert).Of(kind)
	if len(values) == 0 {
		return fmt.Errorf("certificate of %s: %w: it has no %s to be found by", login, directory.ErrRefused, kind)
	}
	acct, err := p.User(ctx, login)
	if err != nil {
		return err
	}
	for _, v := range values {
		if holder, err := p.holder(ctx, client.Equal(attr, v)); err != nil || holder != "" {
			return fmt.Errorf("certificate of %s: %w", login, taken(err, kind+" "+v, holder))
		}
	}
	e, err := p.client.One(ctx, acct.DN, ldap.ScopeBaseObject, anything, schema.AttrObjectClass)
	if err != nil {
		return err
	}
	req := ldap.NewModifyRequest(acct.DN, nil)
	if !slices.ContainsFunc(e.GetEqualFoldAttributeValues(schema.AttrObjectClass), func(c string) bool { return strings.EqualFold(c, schema.ClassDpCertMapping) }) {
		req.Add(schema.AttrObjectClass, []string{schema.ClassDpCertMapping})
	}
	req.Add(attr, values)
	return p.client.Modify(ctx, req)
}

func attributeOf(kind string) string {
	for _, k := range lookup.Kinds {
		if k.Kind == kind {
			return k.Attr
		}
	}
	return ""
}

// Certificates lists the mappings of an account.
func (p *Provisioner) Certificates(ctx context.Context, login string) ([]Mapping, error) {
	acct, err := p.User(ctx, login)
	if err != nil {
		return nil, err
	}
	var attrs []string
	for _, kind := range lookup.Kinds {
		attrs = append(attrs, kind.Attr)
	}
	e, err := p.client.One(ctx, acct.DN, ldap.ScopeBaseObject, anything, attrs...)
	if err != nil {
		return nil, err
	}
	var list []Mapping
	for _, kind := range lookup.Kinds {
		for _, v := range e.GetEqualFoldAttributeValues(kind.Attr) {
			list = append(list, Mapping{kind.Kind, v})
		}
	}
	return list, nil
}

// RemoveCertificate takes a mapping from an account. It is named by its value as Certificates shows it; a fingerprint may
// be written with colons and in capitals, as OpenSSL does.
func (p *Provisioner) RemoveCertificate(ctx context.Context, login, fingerprint string) error {
	plain := strings.ReplaceAll(fingerprint, ":", "")
	_, err := p.unmap(ctx, login, fingerprint, func(m Mapping) bool {
		return strings.EqualFold(m.Value, fingerprint) || strings.EqualFold(m.Value, plain)
	})
	return err
}

// Unmap stops a certificate from logging an account in: it takes every mapping, of whatever kind, that fits it, and
// returns them. Other certificates that one of them fitted too (the same key, the same address) go with it.
func (p *Provisioner) Unmap(ctx context.Context, login string, cert *x509.Certificate) ([]Mapping, error) {
	keys := lookup.KeysOf(cert)
	return p.unmap(ctx, login, keys.SHA256, func(m Mapping) bool {
		return slices.ContainsFunc(keys.Of(m.Kind), func(v string) bool { return strings.EqualFold(v, m.Value) })
	})
}

// unmap takes the mappings that fit from an account, all in one change. ErrNotFound if none does.
func (p *Provisioner) unmap(ctx context.Context, login, what string, fits func(Mapping) bool) ([]Mapping, error) {
	acct, err := p.User(ctx, login)
	if err != nil {
		return nil, err
	}
	list, err := p.Certificates(ctx, login)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(m Mapping) bool { return !fits(m) })
	if len(list) == 0 {
		return nil, fmt.Errorf("certificate %s of %s: %w", what, login, directory.ErrNotFound)
	}
	req := ldap.NewModifyRequest(acct.DN, nil)
	for _, m := range list {
		req.Delete(attributeOf(m.Kind), []string{m.Value})
	}
	return list, p.client.Modify(ctx, req)
}

// AddAuthority trusts an authority of client certificates for the given kinds of mappings (none = sha256 only). crl may be
// nil; an empty revocation is crl-hard with a list and none without.
func (p *Provisioner) AddAuthority(ctx context.Context, name string, ca *x509.Certificate, crl []byte, trust []string, revocation string) error {
	if len(trust) == 0 {
		trust = []string{lookup.KindSHA256}
	}
	for _, kind := range trust {
		if attributeOf(kind) == "" {
			return fmt.Errorf("authority %s: %w: unknown kind %q", name, directory.ErrRefused, kind)
		}
	}
	switch {
	case revocation != "":
	case crl != nil:
		revocation = lookup.CRLHard
	default:
		revocation = lookup.NoRevocation
	}
	if !slices.Contains([]string{lookup.CRLHard, lookup.CRLSoft, lookup.OCSPHard, lookup.OCSPSoft, lookup.NoRevocation}, revocation) {
		return fmt.Errorf("authority %s: %w: unknown way %q to check revocation", name, directory.ErrRefused, revocation)
	}
	if name == "" || !ca.IsCA {
		return fmt.Errorf("authority %q: %w: it needs a name, and a certificate that may sign others", name, directory.ErrRefused)
	}
	if err := p.unknownAuthority(ctx, ca); err != nil {
		return fmt.Errorf("authority %s: %w", name, err)
	}
	req := entry(p.authorityDN(name),
		schema.AttrObjectClass, schema.ClassApplicationProcess,
		schema.AttrObjectClass, schema.ClassPkiCA,
		schema.AttrObjectClass, schema.ClassDpCertAuthority,
		schema.AttrCn, name,
		schema.AttrCACertificate+";binary", string(ca.Raw),
		schema.AttrDpRevocationCheck, revocation,
	)
	req.Attribute(schema.AttrDpCertTrust, trust)
	if crl != nil {
		der, err := listOf(crl, []*x509.Certificate{ca})
		if err != nil {
			return fmt.Errorf("authority %s: %w", name, err)
		}
		req.Attribute(schema.AttrCertificateRevocationList+";binary", []string{string(der)})
	}
	return p.client.Add(ctx, req)
}

// unknownAuthority refuses a certificate that another entry has: with two, the rules of the laxer one could count.
func (p *Provisioner) unknownAuthority(ctx context.Context, ca *x509.Certificate) error {
	attr := schema.AttrCACertificate + ";binary"
	entries, err := p.client.Search(ctx, slapd.Authorities+","+p.base, ldap.ScopeSingleLevel, anything, attr)
	if err != nil {
		return err
	}
	for _, e := range entries {
		for _, der := range e.GetEqualFoldRawAttributeValues(attr) {
			if bytes.Equal(der, ca.Raw) {
				return fmt.Errorf("%w: %s has this certificate", directory.ErrExists, e.DN)
			}
		}
	}
	return nil
}

// RemoveAuthority takes an authority away: none of its certificates logs anybody in any more. The mappings of accounts stay.
func (p *Provisioner) RemoveAuthority(ctx context.Context, name string) error {
	if err := p.client.Delete(ctx, p.authorityDN(name)); err != nil {
		return fmt.Errorf("authority %s: %w", name, err)
	}
	return nil
}

func (p *Provisioner) authorityDN(name string) string {
	return schema.AttrCn + "=" + ldap.EscapeDN(name) + "," + slapd.Authorities + "," + p.base
}

// SetCRL replaces the revocation list of an authority, which must have signed it.
func (p *Provisioner) SetCRL(ctx context.Context, name string, crl []byte) error {
	dn, attr := p.authorityDN(name), schema.AttrCACertificate+";binary"
	e, err := p.client.One(ctx, dn, ldap.ScopeBaseObject, anything, attr)
	if err != nil {
		return fmt.Errorf("authority %s: %w", name, err)
	}
	var issuers []*x509.Certificate
	for _, der := range e.GetEqualFoldRawAttributeValues(attr) {
		if cert, err := x509.ParseCertificate(der); err == nil {
			issuers = append(issuers, cert)
		}
	}
	der, err := listOf(crl, issuers)
	if err != nil {
		return fmt.Errorf("authority %s: %w", name, err)
	}
	req := ldap.NewModifyRequest(dn, nil)
	req.Replace(schema.AttrCertificateRevocationList+";binary", []string{string(der)})
	return p.client.Modify(ctx, req)
}

// listOf reads a revocation list, PEM or DER, and returns it as DER.
func listOf(crl []byte, issuers []*x509.Certificate) ([]byte, error) {
	if block, _ := pem.Decode(crl); block != nil {
		crl = block.Bytes
	}
	if _, err := lookup.ParseCRL(crl, issuers); err != nil {
		return nil, fmt.Errorf("%w: %w", directory.ErrRefused, err)
	}
	return crl, nil
}
