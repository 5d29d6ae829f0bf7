package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/schema"
	"github.com/dirpost/dirpost/schema/slapd"
)

// A Domain is one of our mail domains.
type Domain struct {
	DN        string
	Name      string
	Status    directory.Status
	Transport string // empty = local
	AliasOf   string // the domain whose addresses it shares, or empty
}

var domainAttributes = []string{schema.AttrAssociatedDomain, schema.AttrDpAccountStatus, schema.AttrDpTransport, schema.AttrDpAliasDomainOf}

var isDomain = client.Equal(schema.AttrObjectClass, schema.ClassDpMailDomain)

// AddDomain adds a domain that is delivered here. Its postmaster and abuse addresses (RFC 2142) go to the administrators
// until somebody gets them.
func (p *Provisioner) AddDomain(ctx context.Context, domain string) error {
	name, err := directory.ParseDomain(domain)
	if err != nil {
		return fmt.Errorf("add domain: %w", err)
	}
	label, _, _ := strings.Cut(name, ".")
	req := entry(schema.AttrAssociatedDomain+"="+ldap.EscapeDN(name)+","+slapd.Domains+","+p.base,
		schema.AttrObjectClass, schema.ClassDomain,
		schema.AttrObjectClass, schema.ClassDomainRelatedObject,
		schema.AttrObjectClass, schema.ClassDpMailDomain,
		schema.AttrDc, label,
		schema.AttrAssociatedDomain, name,
		schema.AttrDpAccountStatus, string(directory.Active),
		schema.AttrDpTransport, "local",
		schema.AttrDpRequiredLocalPart, "postmaster",
		schema.AttrDpRequiredLocalPart, "abuse",
	)
	admins := adminsRDN + "," + p.base
	switch _, err := p.client.One(ctx, admins, ldap.ScopeBaseObject, anything, "1.1"); {
	case err == nil:
		req.Attribute(schema.AttrDpFallbackRecipient, []string{admins})
	case !errors.Is(err, directory.ErrNotFound):
		return fmt.Errorf("add domain %s: %w", name, err)
	}
	return p.client.Add(ctx, req)
}

// Domains lists the domains by name.
func (p *Provisioner) Domains(ctx context.Context) ([]Domain, error) {
	entries, err := p.client.Search(ctx, p.base, ldap.ScopeWholeSubtree, isDomain, domainAttributes...)
	if err != nil {
		return nil, err
	}
	var list []Domain
	for _, e := range entries {
		list = append(list, newDomain(e))
	}
	slices.SortFunc(list, func(a, b Domain) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func (p *Provisioner) domain(ctx context.Context, name string) (Domain, error) {
	e, err := p.client.One(ctx, p.base, ldap.ScopeWholeSubtree, client.And(isDomain, client.Equal(schema.AttrAssociatedDomain, name)), domainAttributes...)
	if err != nil {
		return Domain{}, err
	}
	return newDomain(e), nil
}

func newDomain(e *ldap.Entry) Domain {
	d := Domain{
		DN:        e.DN,
		Name:      e.GetEqualFoldAttributeValue(schema.AttrAssociatedDomain),
		Status:    directory.Status(strings.ToLower(e.GetEqualFoldAttributeValue(schema.AttrDpAccountStatus))),
		Transport: e.GetEqualFoldAttributeValue(schema.AttrDpTransport),
		AliasOf:   e.GetEqualFoldAttributeValue(schema.AttrDpAliasDomainOf),
	}
	if d.Status == "" {
		d.Status = directory.Active
	}
	if strings.EqualFold(d.Transport, "local") {
		d.Transport = ""
	}
	return d
}
