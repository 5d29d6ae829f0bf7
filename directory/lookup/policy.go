package lookup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/schema"
)

// The values of dpSenderPolicy: from whom an address takes mail. Another value than these takes none.
const (
	fromAnyone        = "anyone"
	fromAuthenticated = "authenticated"
	fromMembers       = "members" // and owners
	fromOwners        = "owners"
)

// mayPost judges the sender of mail for an entry with dpSenderPolicy. Only the entry that has the address is asked, not
// those it names. Who is logged in counts as himself, whatever he writes in the envelope; of strangers an outside member's
// address is taken at its word, and one that is ours never, for its holder would have logged in.
func (x *expansion) mayPost(ctx context.Context, e *ldap.Entry, from Sender) error {
	policy := strings.ToLower(value(e, schema.AttrDpSenderPolicy))
	var may bool
	var err error
	switch policy {
	case "", fromAnyone:
		return nil
	case fromAuthenticated:
		may = from.Entry != ""
	case fromMembers:
		may, err = x.isAmong(ctx, e, from, schema.AttrOwner, schema.AttrMember, schema.AttrRoleOccupant)
	case fromOwners:
		may, err = x.isAmong(ctx, e, from, schema.AttrOwner)
	}
	if err != nil {
		return err
	}
	if !may {
		x.step(e.DN, "takes mail from %s only, not from %s", policy, from.name())
		return fmt.Errorf("%w: %s takes it from %s, not from %s", directory.ErrRestricted, e.DN, policy, from.name())
	}
	x.step(e.DN, "takes mail from %s, and so from %s", policy, from.name())
	return nil
}

func (s Sender) name() string {
	switch {
	case s.Entry != "":
		return s.Entry
	case s.Address.IsZero():
		return "<>"
	}
	return "the stranger " + s.Address.String()
}

// isAmong reports whether the sender is named by one of the attributes of the entry, himself or through groups, or, where
// members may write, by its outside members.
func (x *expansion) isAmong(ctx context.Context, e *ldap.Entry, from Sender, attrs ...string) (bool, error) {
	if from.Entry == "" {
		if from.Address.IsZero() || !slices.Contains(attrs, schema.AttrMember) || !holds(e, schema.AttrRfc822MailMember, from.Address.Key()) {
			return false, nil
		}
		_, err := x.q.domain(ctx, from.Address.Domain)
		if errors.Is(err, directory.ErrNotLocal) {
			return true, nil
		}
		return false, err
	}
	names := map[string]bool{}
	for _, attr := range attrs {
		for _, dn := range e.GetEqualFoldAttributeValues(attr) {
			if attr != schema.AttrRoleOccupant || inTerm(e, dn, x.q.opts.Now()) {
				names[nameKey(dn)] = true
			}
		}
	}
	return x.q.inAny(ctx, from.Entry, names)
}

// inOffice returns the occupants of a role whose term has begun and is not over. Who has no term is in for good.
func (x *expansion) inOffice(e *ldap.Entry) []string {
	var in []string
	for _, dn := range e.GetEqualFoldAttributeValues(schema.AttrRoleOccupant) {
		if inTerm(e, dn, x.q.opts.Now()) {
			in = append(in, dn)
			continue
		}
		x.step(dn, "left out: not in its term")
	}
	return in
}

// inTerm reports whether now is within a term (dpTerm: FROM UNTIL DN) that the entry has for dn, or whether it has none.
// A term that is not understood is over.
func inTerm(e *ldap.Entry, dn string, now time.Time) bool {
	bound := false
	for _, v := range e.GetEqualFoldAttributeValues(schema.AttrDpTerm) {
		from, rest, _ := strings.Cut(strings.TrimSpace(v), " ")
		until, who, ok := strings.Cut(strings.TrimSpace(rest), " ")
		if !ok || nameKey(strings.TrimSpace(who)) != nameKey(dn) {
			continue
		}
		bound = true
		if begun(from, now, true) && begun(until, now, false) {
			return true
		}
	}
	return !bound
}

// begun reports whether a moment is past, or not past, as wanted. A hyphen is always what is wanted; what is no time never is.
func begun(moment string, now time.Time, past bool) bool {
	if moment == "-" {
		return true
	}
	for _, layout := range []string{"20060102150405Z0700", "200601021504Z0700", "2006010215Z0700"} { // GeneralizedTime, RFC 4517 section 3.3.13
		if t, err := time.Parse(layout, moment); err == nil {
			return past == !now.Before(t)
		}
	}
	return false
}
