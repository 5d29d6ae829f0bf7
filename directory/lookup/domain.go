package lookup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/schema"
)

// A domain is the entry of one of our domains.
type domain struct {
	dn        string
	name      string
	status    directory.Status
	transport string   // empty = local
	aliasOf   string   // the domain whose local parts it shares
	required  []string // local parts that must stay deliverable, in lower case
	fallback  []string // DNs that get them
	quota     directory.Quota
}

// Local reports whether a domain is ours: mail for it is accepted here, to be filed or handed on.
func (r *Resolver) Local(ctx context.Context, name string) (bool, error) {
	name, err := directory.ParseDomain(name)
	if err != nil {
		return false, nil
	}
	_, err = ask(ctx, r, mail, func(q question) (*domain, error) { return q.domain(ctx, name) })
	switch {
	case errors.Is(err, directory.ErrNotLocal):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, nil
}

// domain returns the entry of a domain, or ErrNotLocal. What the directory itself was asked may be some seconds old; that a
// domain is not ours is never kept, so a new one counts at once.
func (q question) domain(ctx context.Context, name string) (*domain, error) {
	return q.domains.get(ctx, name, func(ctx context.Context) (*domain, error) {
		entries, err := q.find(ctx, view.Query{Class: schema.ClassDpMailDomain, Any: []view.Term{{Attr: schema.AttrAssociatedDomain, Value: name}}})
		if err != nil {
			return nil, fmt.Errorf("domain %s: %w", name, err)
		}
		return q.oneDomain(entries, name)
	})
}

// oneDomain finds the entry of the domain among entries.
func (q question) oneDomain(entries []*ldap.Entry, name string) (*domain, error) {
	var found *domain
	for _, e := range entries {
		if !isClass(e, schema.ClassDpMailDomain) || !holds(e, schema.AttrAssociatedDomain, name) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("domain %s: %w: %s and %s", name, directory.ErrAmbiguous, found.dn, e.DN)
		}
		found = newDomain(e, name)
	}
	if found == nil && slices.Contains(q.opts.Domains, name) {
		return &domain{name: name, status: directory.Active}, nil
	}
	if found == nil || found.status == directory.Deleted {
		return nil, fmt.Errorf("%w: %s", directory.ErrNotLocal, name)
	}
	return found, nil
}

func newDomain(e *ldap.Entry, name string) *domain {
	d := &domain{
		dn: e.DN, name: name,
		status:    statusOf(e),
		transport: transportOf(e),
		fallback:  e.GetEqualFoldAttributeValues(schema.AttrDpFallbackRecipient),
		quota:     directory.Quota{Bytes: number(e, schema.AttrDpQuotaBytes), Messages: number(e, schema.AttrDpQuotaMessages)},
	}
	if alias, err := directory.ParseDomain(value(e, schema.AttrDpAliasDomainOf)); err == nil {
		d.aliasOf = alias
	}
	for _, part := range e.GetEqualFoldAttributeValues(schema.AttrDpRequiredLocalPart) {
		d.required = append(d.required, strings.ToLower(part))
	}
	return d
}

// requires reports whether mail for the local part must be taken: postmaster in any domain (RFC 5321 section 4.5.1), and
// what the entry lists (RFC 2142).
func (d *domain) requires(local string) bool {
	local = strings.ToLower(local)
	return local == "postmaster" || slices.Contains(d.required, local)
}

// number reads an integer of a quota; 0 when there is none.
func number(e *ldap.Entry, attr string) int64 {
	n, err := strconv.ParseInt(value(e, attr), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
