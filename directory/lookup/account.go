package lookup

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/schema"
)

// maxLogin bounds a login name, in octets: an address with the longest local part and domain.
const maxLogin = directory.MaxLocal + 1 + directory.MaxDomain

// Account finds the account that a login name means: its uid, its mail address, or an address it sends as and also
// receives. Case does not matter. Nobody is ErrNotFound; more than one is ErrAmbiguous, and then none of them logs in by
// that name. The state of the account is in it, for package login to judge.
func (r *Resolver) Account(ctx context.Context, login string) (directory.Account, error) {
	if !plausible(login) {
		return directory.Account{}, fmt.Errorf("%w: unusable login name", directory.ErrNotFound)
	}
	address := login
	if a, err := directory.ParseAddress(login); err == nil {
		address = a.Key()
	}
	return ask(ctx, r, identity, func(q question) (directory.Account, error) {
		acct, err := q.login(ctx, login, address)
		if err != nil {
			return acct, fmt.Errorf("login %q: %w", login, err)
		}
		return acct, nil
	})
}

// login finds the account of a login name, which is also given as the address it may be.
func (q question) login(ctx context.Context, login, address string) (directory.Account, error) {
	entries, err := q.find(ctx, view.Query{Class: schema.ClassDpMailAccount, Any: []view.Term{
		{Attr: schema.AttrUid, Value: login}, {Attr: schema.AttrMail, Value: address}, {Attr: schema.AttrDpSendAddress, Value: address},
	}})
	if err != nil {
		return directory.Account{}, err
	}
	// An address that somebody else's entry merely sends as must neither take the login nor block it.
	entries = slices.DeleteFunc(entries, func(e *ldap.Entry) bool {
		return !holds(e, schema.AttrUid, login) && !holds(e, schema.AttrMail, address) &&
			!(holds(e, schema.AttrDpSendAddress, address) && holds(e, schema.AttrMailLocalAddress, address))
	})
	return q.only(ctx, entries)
}

// plausible reports whether a login name can be one. The directory never sees what cannot.
func plausible(login string) bool {
	return login != "" && len(login) <= maxLogin && utf8.ValidString(login) &&
		!strings.ContainsFunc(login, func(c rune) bool { return c < ' ' || c == 0x7f })
}

// AccountByDN reads the account of an entry. An entry that is no account, or none at all, is ErrNotFound.
func (r *Resolver) AccountByDN(ctx context.Context, dn string) (directory.Account, error) {
	isAccount := client.Equal(schema.AttrObjectClass, schema.ClassDpMailAccount)
	e, err := r.client.One(ctx, dn, ldap.ScopeBaseObject, isAccount, view.Attributes...)
	if err != nil {
		return directory.Account{}, fmt.Errorf("account %s: %w", dn, err)
	}
	return r.live().account(ctx, e)
}

// Accounts lists all accounts, deleted ones too.
func (r *Resolver) Accounts(ctx context.Context) ([]directory.Account, error) {
	q := r.live()
	entries, err := q.find(ctx, view.Query{Class: schema.ClassDpMailAccount})
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	list := make([]directory.Account, 0, len(entries))
	for _, e := range entries {
		acct, err := q.account(ctx, e)
		if err != nil {
			return nil, err
		}
		list = append(list, acct)
	}
	return list, nil
}

// only returns the account of the one entry in the list.
func (q question) only(ctx context.Context, entries []*ldap.Entry) (directory.Account, error) {
	switch len(entries) {
	case 0:
		return directory.Account{}, directory.ErrNotFound
	case 1:
		return q.account(ctx, entries[0])
	}
	return directory.Account{}, fmt.Errorf("%w: %s and %s", directory.ErrAmbiguous, entries[0].DN, entries[1].DN)
}

// account reads an entry with the class dpMailAccount, and what its domain adds to it.
func (q question) account(ctx context.Context, e *ldap.Entry) (directory.Account, error) {
	acct := accountOf(e)
	return acct, q.inheritQuota(ctx, e, &acct)
}

// accountOf reads what an entry itself says. What is missing or not understood never opens anything: an unknown
// state is Suspended, an unknown policy asks for everything, an unknown network contains no address.
func accountOf(e *ldap.Entry) directory.Account {
	acct := directory.Account{
		DN:         e.DN,
		Entry:      strings.ToLower(value(e, schema.AttrEntryUUID)),
		ID:         mailboxID(e),
		Login:      value(e, schema.AttrUid),
		Name:       value(e, schema.AttrCn),
		Addresses:  addresses(e, schema.AttrMailLocalAddress),
		Status:     directory.Suspended,
		AuthPolicy: policyOf(e),
		Networks:   networks(e),
		Quota:      directory.Quota{Bytes: number(e, schema.AttrDpQuotaBytes), Messages: number(e, schema.AttrDpQuotaMessages)},
		MailHost:   value(e, schema.AttrMailHost),
	}
	if value(e, schema.AttrDpAccountStatus) != "" {
		acct.Status = statusOf(e)
	}
	if mail, err := directory.ParseAddress(value(e, schema.AttrMail)); err == nil {
		acct.Mail = mail
	}
	for _, a := range slices.Concat(addresses(e, schema.AttrMail), addresses(e, schema.AttrDpSendAddress)) {
		if holds(e, schema.AttrMailLocalAddress, a.Key()) {
			acct.SendAddresses = append(acct.SendAddresses, a)
		}
	}
	for _, s := range e.GetEqualFoldAttributeValues(schema.AttrDpMailService) {
		acct.Services = append(acct.Services, directory.Service(strings.ToLower(s)))
	}
	return acct
}

// inheritQuota fills in the quota of the domain where the account has none of its own.
func (q question) inheritQuota(ctx context.Context, e *ldap.Entry, acct *directory.Account) error {
	bytes, messages := value(e, schema.AttrDpQuotaBytes) == "", value(e, schema.AttrDpQuotaMessages) == ""
	if acct.Mail.IsZero() || !bytes && !messages {
		return nil
	}
	d, err := q.domain(ctx, acct.Mail.Domain)
	if errors.Is(err, directory.ErrNotLocal) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("quota of %s: %w", e.DN, err)
	}
	if bytes {
		acct.Quota.Bytes = d.quota.Bytes
	}
	if messages {
		acct.Quota.Messages = d.quota.Messages
	}
	return nil
}

// mailboxID names the mailbox for ever. An entry that was made without dpMailboxId has its entryUUID, which is lost when
// the directory is loaded anew from plain LDIF.
func mailboxID(e *ldap.Entry) string {
	if id := value(e, schema.AttrDpMailboxId); id != "" {
		return id
	}
	return strings.ToLower(value(e, schema.AttrEntryUUID))
}

// addresses reads the values of an attribute that are addresses; "@domain", the catch-all, is none.
func addresses(e *ldap.Entry, attr string) []directory.Address {
	var list []directory.Address
	for _, v := range e.GetEqualFoldAttributeValues(attr) {
		if a, err := directory.ParseAddress(v); err == nil {
			list = append(list, a)
		}
	}
	return list
}

// statusOf reads dpAccountStatus; absent means active, as it does on roles, groups and domains.
func statusOf(e *ldap.Entry) directory.Status {
	switch s := directory.Status(strings.ToLower(value(e, schema.AttrDpAccountStatus))); s {
	case "":
		return directory.Active
	case directory.Active, directory.NoLogin, directory.Deleted:
		return s
	}
	return directory.Suspended
}

func policyOf(e *ldap.Entry) directory.AuthPolicy {
	switch p := directory.AuthPolicy(strings.ToLower(value(e, schema.AttrDpAuthPolicy))); p {
	case "":
		return directory.Either
	case directory.PasswordOnly, directory.CertificateOnly, directory.Either:
		return p
	}
	return directory.Both
}

// networks reads dpAllowedNetwork. A value that is neither address nor block becomes the zero prefix, which contains
// nothing: a slip of the pen must not make the list empty and so allow everything.
func networks(e *ldap.Entry) []netip.Prefix {
	var list []netip.Prefix
	for _, v := range e.GetEqualFoldAttributeValues(schema.AttrDpAllowedNetwork) {
		var block netip.Prefix
		if addr, err := netip.ParseAddr(v); err == nil {
			addr = addr.Unmap()
			block = netip.PrefixFrom(addr, addr.BitLen())
		} else if p, err := netip.ParsePrefix(v); err == nil {
			block = p.Masked()
		}
		list = append(list, block)
	}
	return list
}
