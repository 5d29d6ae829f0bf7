package lookup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/schema"
)

// maxAliasHops bounds how many domains may share each other's local parts in a row.
const maxAliasHops = 4

// A Sender is who hands mail in, for lists that do not take it from everybody.
type Sender struct {
	Address directory.Address // of the envelope; zero = the null reverse-path
	Entry   string            // DN of who is logged in; empty = a stranger
}

// Route tells where mail for an address goes, and by which steps. For a person in one of our domains that takes one search
// of the directory, or none.
//
// The most exact entry wins: the address itself, then the address without its detail (+tag), then the fallback recipient
// for a local part that must stay deliverable, then the catch-all of the domain (@domain), and last the domain's own
// transport. Mail for postmaster that nobody else gets goes to the administrators. Whether from may write to a list is
// judged, unless it is nil.
//
// Errors: ErrNotLocal, ErrNoSuchAddress, ErrSuspended, ErrRestricted, a [directory.Refusal] that an entry wants given,
// ErrTooMany (expansion limits), ErrAmbiguous (two entries hold the address: a fault of the data) and ErrUnavailable. The
// route beside an error has the steps that led to it.
func (r *Resolver) Route(ctx context.Context, a directory.Address, from *Sender) (directory.Route, error) {
	return ask(ctx, r, mail, func(q question) (directory.Route, error) { return q.route(ctx, a, from) })
}

// route resolves an address. It depends on nothing but the source, the time (for terms) and the options.
func (q question) route(ctx context.Context, a directory.Address, from *Sender) (directory.Route, error) {
	x := q.newExpansion(a)
	hit, err := q.target(ctx, a, x.step)
	if err != nil {
		return x.failed(err)
	}
	if from != nil && hit.entry != nil {
		if err := x.mayPost(ctx, hit.entry, *from); err != nil {
			return x.failed(err)
		}
	}
	err = x.follow(ctx, hit)
	if nobody(err) && len(hit.fallback) > 0 {
		x.step("", "%v, but %s must stay deliverable", err, hit.address)
		err = x.follow(ctx, target{address: hit.address, domain: hit.domain, dns: hit.fallback})
	}
	if nobody(err) && isPostmaster(a.Local) {
		err = x.administrators(ctx, hit, err)
	}
	if err != nil {
		return x.failed(err)
	}
	return x.route, nil
}

// administrators takes the mail for postmaster that nobody else gets: it must be deliverable in each of our domains (RFC
// 5321 section 4.5.1). why is the error if there are none.
func (x *expansion) administrators(ctx context.Context, hit target, why error) error {
	groups, err := x.q.find(ctx, view.Query{Class: schema.ClassDpAdminRole, Any: []view.Term{{Attr: schema.AttrDpAdminRight, Value: "full"}}})
	if err != nil {
		return err
	}
	var dns []string
	for _, g := range groups {
		dns = append(dns, g.DN)
	}
	if len(dns) == 0 {
		return why
	}
	x.step("", "%v, but there is a postmaster in each domain: the administrators", why)
	return x.follow(ctx, target{address: hit.address, domain: hit.domain, dns: dns})
}

func isPostmaster(local string) bool {
	a, _ := directory.Address{Local: local}.Base()
	return strings.EqualFold(a.Local, "postmaster")
}

// failed is the answer when the address leads nowhere.
func (x *expansion) failed(err error) (directory.Route, error) {
	return directory.Route{Address: x.route.Address, Steps: x.route.Steps}, fmt.Errorf("route to %s: %w", x.route.Address, err)
}

// nobody reports whether an error says that there is nobody to get the mail, for now or ever.
func nobody(err error) bool {
	var refusal directory.Refusal
	return errors.Is(err, directory.ErrNoSuchAddress) || errors.Is(err, directory.ErrSuspended) || errors.As(err, &refusal)
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

// target looks an address up, following alias domains. step is told each decision.
func (q question) target(ctx context.Context, a directory.Address, step stepFunc) (target, error) {
	for range maxAliasHops {
		if d, ok := q.domains.fresh(a.Domain); ok && d.aliasOf != "" {
			step(d.dn, "%s shares the addresses of %s", a.Domain, d.aliasOf)
			a.Domain = d.aliasOf
			continue
		}
		entries, err := q.find(ctx, addressQuery(a))
		if err != nil {
			return target{}, err
		}
		d, err := q.oneDomain(entries, a.Domain)
		if err != nil {
			q.domains.drop(a.Domain)
			step("", "%v", err)
			return target{}, err
		}
		q.domains.put(a.Domain, d)
		if d.status == directory.Suspended {
			step(d.dn, "the domain is suspended")
			return target{}, fmt.Errorf("%w: domain %s", directory.ErrSuspended, d.name)
		}
		if d.aliasOf == "" {
			return choose(entries, a, d, step)
		}
		step(d.dn, "%s shares the addresses of %s", a.Domain, d.aliasOf)
		a.Domain = d.aliasOf
	}
	return target{}, fmt.Errorf("%w: %s: alias domains go in a circle", directory.ErrTooMany, a.Domain)
}

// addressQuery asks for everything that can decide about an address at once: the entry that has it, the one that has it
// without its detail, the catch-all, and the domain.
func addressQuery(a directory.Address) view.Query {
	keys := []string{a.Key()}
	if plain, detail := a.Base(); detail {
		keys = append(keys, plain.Key())
	}
	keys = append(keys, "@"+a.Domain)
	return view.Query{Any: append(terms(schema.AttrMailLocalAddress, keys), view.Term{Attr: schema.AttrAssociatedDomain, Value: a.Domain})}
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
	case refused(d.transport):
		step(d.dn, "nobody has %s here, and the domain refuses the rest", a)
		return t, refusal(d.transport)
	case d.transport != "":
		step(d.dn, "nobody has %s here; the domain is handed on to %s", a, d.transport)
		t.transport = d.transport
		return t, nil
	}
	step(d.dn, "the domain is ours, and nobody has %s", a)
	if isPostmaster(a.Local) {
		return t, nil // leads to nobody, and then to the administrators
	}
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
