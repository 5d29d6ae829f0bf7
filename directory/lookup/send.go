package lookup

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/schema"
)

// MaySend reports whether an account may use an address as sender: one of its own send addresses, also as it is spelled
// in an alias domain, or an address of an entry whose dpSendGrant names the account or a group it is in. Addresses that an
// entry merely receives are not enough, and a detail (+tag) is another address.
func (r *Resolver) MaySend(ctx context.Context, acct directory.Account, from directory.Address) (bool, error) {
	if owns(acct, from) {
		return true, nil
	}
	return ask(ctx, r, mail, func(q question) (bool, error) { return q.maySend(ctx, acct, from) })
}

// StillMaySend is MaySend for somebody who already did: no answer from before counts.
func (r *Resolver) StillMaySend(ctx context.Context, acct directory.Account, from directory.Address) (bool, error) {
	if r.Blind() && !owns(acct, from) {
		return r.live().maySend(ctx, acct, from)
	}
	return r.MaySend(ctx, acct, from)
}

func (q question) maySend(ctx context.Context, acct directory.Account, from directory.Address) (bool, error) {
	from, err := q.unalias(ctx, from)
	if errors.Is(err, directory.ErrNotLocal) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("send as %s: %w", from, err)
	}
	if owns(acct, from) {
		return true, nil
	}
	grants, err := q.grants(ctx, from)
	if err != nil {
		return false, fmt.Errorf("send as %s: %w", from, err)
	}
	granted, err := q.inAny(ctx, acct.DN, grants)
	if err != nil {
		return false, fmt.Errorf("send as %s: %w", from, err)
	}
	return granted, nil
}

func owns(acct directory.Account, a directory.Address) bool {
	return slices.ContainsFunc(acct.SendAddresses, func(own directory.Address) bool { return own.Key() == a.Key() })
}

// unalias replaces a domain that shares the local parts of another by that one. ErrNotLocal: none of ours.
func (q question) unalias(ctx context.Context, a directory.Address) (directory.Address, error) {
	for range maxAliasHops {
		d, err := q.domain(ctx, a.Domain)
		if err != nil || d.aliasOf == "" {
			return a, err
		}
		a.Domain = d.aliasOf
	}
	return a, fmt.Errorf("%w: %s: alias domains go in a circle", directory.ErrTooMany, a.Domain)
}

// grants returns who may send as an address: the dpSendGrant values of the entries that send as it and receive it too. An
// entry that only claims the address, or is out of service, grants nothing, and who has a term in it only within that.
func (q question) grants(ctx context.Context, a directory.Address) (map[string]bool, error) {
	entries, err := q.find(ctx, view.Query{Any: []view.Term{{Attr: schema.AttrMail, Value: a.Key()}, {Attr: schema.AttrDpSendAddress, Value: a.Key()}}})
	if err != nil {
		return nil, err
	}
	grants := map[string]bool{}
	for _, e := range entries {
		sends := holds(e, schema.AttrMail, a.Key()) || holds(e, schema.AttrDpSendAddress, a.Key())
		if s := statusOf(e); !sends || !holds(e, schema.AttrMailLocalAddress, a.Key()) || s == directory.Suspended || s == directory.Deleted {
			continue
		}
		for _, dn := range e.GetEqualFoldAttributeValues(schema.AttrDpSendGrant) {
			if inTerm(e, dn, q.opts.Now()) {
				grants[nameKey(dn)] = true
			}
		}
	}
	return grants, nil
}

// inAny reports whether names has the entry, or a group that the entry is in, directly or through other groups.
func (q question) inAny(ctx context.Context, dn string, names map[string]bool) (bool, error) {
	if len(names) == 0 {
		return false, nil
	}
	seen := map[string]bool{nameKey(dn): true}
	for level, depth := []string{dn}, 0; len(level) > 0 && depth < q.opts.MaxDepth; depth++ {
		if slices.ContainsFunc(level, func(dn string) bool { return names[nameKey(dn)] }) {
			return true, nil
		}
		groups, err := q.groupsOf(ctx, level)
		if err != nil {
			return false, err
		}
		level = nil
		for _, g := range groups {
			if key := nameKey(g.DN); !seen[key] {
				seen[key] = true
				level = append(level, g.DN)
			}
		}
		if len(seen) > q.opts.MaxRecipients {
			return false, fmt.Errorf("%w: %s is in more than %d groups", directory.ErrTooMany, dn, q.opts.MaxRecipients)
		}
	}
	return false, nil
}

// groupsOf returns the groups that have one of the entries as a member.
func (q question) groupsOf(ctx context.Context, dns []string) ([]*ldap.Entry, error) {
	var groups []*ldap.Entry
	for batch := range slices.Chunk(dns, namesPerSearch) {
		found, err := q.find(ctx, view.Query{Class: schema.ClassGroupOfNames, Any: terms(schema.AttrMember, batch)})
		if err != nil {
			return nil, err
		}
		groups = append(groups, found...)
	}
	return groups, nil
}
