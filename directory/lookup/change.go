package lookup

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/schema"
)

// A Change is what became of an entry, as far as it matters to those who are logged in.
type Change struct {
	Entry    string            // entryUUID
	Old, Now directory.Account // Now is zero when the entry is gone or no account any more
	Password bool              // another one was set
	Grants   bool              // it may have let somebody send, and may not now

	old, now *ldap.Entry
}

// Entries returns the entries of accounts as the directory has them now, for [ChangeOf], by their names. One that is not
// returned is gone, or no account any more.
func (r *Resolver) Entries(ctx context.Context, logins []string) (map[string]*ldap.Entry, error) {
	all := map[string]*ldap.Entry{}
	for batch := range slices.Chunk(logins, namesPerSearch) {
		filters := make([]string, len(batch))
		for i, login := range batch {
			filters[i] = client.Equal(schema.AttrUid, login)
		}
		found, err := r.client.Search(ctx, r.opts.Base, ldap.ScopeWholeSubtree,
			client.And(client.Equal(schema.AttrObjectClass, schema.ClassDpMailAccount), client.Or(filters...)), view.Attributes...)
		if errors.Is(err, directory.ErrNotFound) {
			err = fmt.Errorf("%w: base %q is not there", directory.ErrUnavailable, r.opts.Base)
		}
		if err != nil {
			return nil, err
		}
		for _, e := range found {
			all[e.DN] = e
		}
	}
	return all, nil
}

// ChangeOf compares an entry with what it was; now is nil when it is gone.
func ChangeOf(old, now *ldap.Entry) Change {
	c := Change{Entry: strings.ToLower(value(old, schema.AttrEntryUUID)), old: old, now: now}
	if isClass(old, schema.ClassDpMailAccount) {
		c.Old = accountOf(old)
	}
	if now == nil {
		c.now = &ldap.Entry{}
	} else if isClass(now, schema.ClassDpMailAccount) {
		c.Now = accountOf(now)
	}
	c.Password = passwordChanged(old, c.now)
	for _, attr := range []string{schema.AttrDpSendGrant, schema.AttrMember} {
		c.Grants = c.Grants || len(old.GetEqualFoldAttributeValues(attr)) > 0
	}
	return c
}

// Matters reports whether the change may take something from who is logged in as the account. Another address or quota does
// not, nor what servers keep in the entry for themselves: the times of wrong passwords, which the next right one takes away.
func (c Change) Matters() bool {
	old, now := c.Old, c.Now
	for _, a := range []*directory.Account{&old, &now} {
		a.Name, a.Mail, a.Addresses, a.SendAddresses, a.Quota = "", directory.Address{}, nil, nil, directory.Quota{}
	}
	if c.Password || c.Silences() || !reflect.DeepEqual(old, now) {
		return true
	}
	for _, kind := range Kinds {
		if !slices.Equal(c.old.GetEqualFoldAttributeValues(kind.Attr), c.now.GetEqualFoldAttributeValues(kind.Attr)) {
			return true
		}
	}
	return false
}

// passwordChanged reports whether a password was set, which is seen by its time, and that has no parts of a second: so any
// change in the same second may have been one more.
func passwordChanged(old, now *ldap.Entry) bool {
	at := value(now, schema.AttrPwdChangedTime)
	if value(old, schema.AttrPwdChangedTime) != at {
		return true
	}
	csn := value(now, schema.AttrEntryCSN)
	return at != "" && csn != value(old, schema.AttrEntryCSN) && strings.HasPrefix(csn, strings.TrimSuffix(at, "Z"))
}

// Unmaps reports whether the entry had a mapping that fits a certificate, of any kind, and does not have it now.
func (c Change) Unmaps(k CertKeys) bool {
	for _, kind := range Kinds {
		for _, v := range k.Of(kind.Kind) {
			if holds(c.old, kind.Attr, v) && !holds(c.now, kind.Attr, v) {
				return true
			}
		}
	}
	return false
}

// Silences reports whether the account could send as an address of its own that it cannot now.
func (c Change) Silences() bool {
	return slices.ContainsFunc(c.Old.SendAddresses, func(a directory.Address) bool { return !owns(c.Now, a) })
}
