package lookup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/schema"
)

// maxAliasHops bounds how many domains may share each other's local parts in a row.
const maxAliasHops = 4

// Route tells where mail for an address goes. For a person in one of our domains that takes one search.
//
// The most exact entry wins: the address itself, then the address without its detail (+tag), then the fallback recipient
// for a local part that must stay deliverable, then the catch-all of the domain (@domain), and last the domain's own
// transport. Errors: ErrNotLocal, ErrNoSuchAddress, ErrSuspended, ErrTooMany (expansion limits), ErrAmbiguous (two entries
// hold the address: a fault of the data) and ErrUnavailable. The route beside an error has the steps that led to it.
func (r *Resolver) Route(ctx context.Context, a directory.Address) (directory.Route, error) {
	x := r.newExpansion(a)
	hit, err := r.find(ctx, a, x.step)
	if err != nil {
		return x.failed(err)
	}
	err = x.follow(ctx, hit)
	if nobody(err) && len(hit.fallback) > 0 {
		x.step("", "%v, but %s must stay deliverable", err, hit.address)
		err = x.follow(ctx, target{address: hit.address, domain: hit.domain, dns: hit.fallback})
	}
	if err != nil {
		return x.failed(err)
	}
	return x.route, nil
}

// failed is the answer when the address leads nowhere.
func (x *expansion) failed(err error) (directory.Route, error) {
	return directory.Route{Address: x.route.Address, Steps: x.route.Steps}, fmt.Errorf("route to %s: %w", x.route.Address, err)
}

func nobody(err error) bool {
	return errors.Is(err, directory.ErrNoSuchAddress) || errors.Is(err, directory.ErrSuspended)
}

// A target is what an address of ours leads to first: one entry, or DNs, or the transport of its domain.
type target struct {
	address   directory.Address // after alias domains
	domain    *domain
	entry     *ldap.Entry
	dns       []string // fallback recipients, in place of an entry
	transport string   // of the domain, in place of an entry
	fallback  []string // for an entry that turns out to lead nowhere
}

// find looks an address up, following alias domains. step is told each decision.
func (r *Resolver) find(ctx context.Context, a directory.Address, step stepFunc) (target, error) {
	for range maxAliasHops {
		if d, ok := r.domains.fresh(a.Domain); ok && d.aliasOf != "" {
			step(d.dn, "%s shares the addresses of %s", a.Domain, d.aliasOf)
			a.Domain = d.aliasOf
			continue
		}
		entries, err := r.search(ctx, addressFilter(a))
		if err != nil {
			return target{}, err
		}
		d, err := oneDomain(entries, a.Domain)
		if err != nil {
			r.domains.drop(a.Domain)
			step("", "%v", err)
			return target{}, err
		}
		r.domains.put(a.Domain, d)
		if d.status == directory.Suspended {
			step(d.dn, "the domain is suspended")
			return target{}, fmt.Errorf("%w: domain %s", directory.ErrSuspended, d.name)
		}
		if d.aliasOf == "" {
			return choose(entries, a, d, step)
		}
	}
	return target{}, fmt.Errorf("%w: %s: alias domains go in a circle", directory.ErrTooMany, a.Domain)
}

// addressFilter asks for everything that can decide about an address at once: the entry that has it, the one that has it
// without its detail, the catch-all, and the domain.
func addressFilter(a directory.Address) string {
	parts := []string{client.Equal(schema.AttrMailLocalAddress, a.Key())}
	if plain, detail := a.Base(); detail {
		parts = append(parts, client.Equal(schema.AttrMailLocalAddress, plain.Key()))
	}
	parts = append(parts, client.Equal(schema.AttrMailLocalAddress, "@"+a.Domain), domainFilter(a.Domain))
	return client.Or(parts...)
}

// choose takes the most exact of the entries found.
func choose(entries []*ldap.Entry, a directory.Address, d *domain, step stepFunc) (target, error) {
	t := target{address: a, domain: d}
	plain, detail := a.Base()
	if d.requires(plain.Local) {
		t.fallback = d.fallback
	}
	own, err := holder(entries, a.Key())
	if err != nil || own != nil {
		step(dnOf(own), "%s is an address of this entry", a)
		t.entry = own
		return t, err
	}
	if detail {
		own, err = holder(entries, plain.Key())
		if err != nil || own != nil {
			step(dnOf(own), "%s is not known by itself; %s is an address of this entry", a, plain)
			t.entry = own
			return t, err
		}
	}
	if len(t.fallback) > 0 {
		step(d.dn, "nobody has %s, which must stay deliverable", a)
		t.dns = t.fallback
		return t, nil
	}
	all, err := holder(entries, "@"+a.Domain)
	switch {
	case err != nil || all != nil:
		step(dnOf(all), "nobody has %s; this entry gets the rest of %s", a, a.Domain)
		t.entry = all
		return t, err
	case d.transport != "":
		step(d.dn, "nobody has %s here; the domain is handed on to %s", a, d.transport)
		t.transport = d.transport
		return t, nil
	}
	step(d.dn, "the domain is ours, and nobody has %s", a)
	return t, fmt.Errorf("%w: %s", directory.ErrNoSuchAddress, a)
}

// holder returns the entry that receives an address, or nil.
func holder(entries []*ldap.Entry, key string) (*ldap.Entry, error) {
	var found *ldap.Entry
	for _, e := range entries {
		if !holds(e, schema.AttrMailLocalAddress, key) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%w: %s is an address of %s and of %s", directory.ErrAmbiguous, key, found.DN, e.DN)
		}
		found = e
	}
	return found, nil
}

func dnOf(e *ldap.Entry) string {
	if e == nil {
		return ""
	}
	return e.DN
}

// elsewhere returns the next hop of an entry whose mail is not filed here, or nothing.
func (r *Resolver) elsewhere(e *ldap.Entry) string {
	if t := transportOf(e); t != "" {
		return t
	}
	if host := value(e, schema.AttrMailHost); host != "" && !strings.EqualFold(host, r.opts.Node) {
		return "smtp:" + host + ":25"
	}
	return ""
}
