package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/schema"
	"github.com/dirpost/dirpost/schema/slapd"
)

// maxUID bounds the login names that are made here.
const maxUID = 64

// NewUser is a person to be added. Login and Mail are required.
type NewUser struct {
	Login    string // uid: letters, digits, dot, hyphen, underscore
	Name     string // cn; empty = Login
	Mail     directory.Address
	Password string              // empty = none: the person logs in by certificate only
	Services []directory.Service // nil = submission and imap
	Quota    directory.Quota     // zero fields take the quota of the domain
}

// AddUser adds a person with a working mailbox and returns the name of the entry. The domain of the address must be ours;
// an address or login that is taken is ErrExists. When the password cannot be set the entry is taken back.
func (p *Provisioner) AddUser(ctx context.Context, u NewUser) (dn string, err error) {
	if err := CheckLogin(u.Login); err != nil {
		return "", fmt.Errorf("add user: %w", err)
	}
	if err := p.assignable(ctx, u.Mail); err != nil {
		return "", fmt.Errorf("add user %s: %w", u.Login, err)
	}
	if holder, err := p.holder(ctx, client.Equal(schema.AttrUid, u.Login)); err != nil || holder != "" {
		return "", fmt.Errorf("add user %s: %w", u.Login, taken(err, u.Login, holder))
	}
	if u.Services == nil {
		u.Services = []directory.Service{directory.Submission, directory.IMAP}
	}
	dn = p.personDN(u.Login)
	req := p.person(dn, u.Login, u.Name, u.Services)
	req.Attribute(schema.AttrMail, []string{u.Mail.String()})
	req.Attribute(schema.AttrMailLocalAddress, []string{u.Mail.String()})
	for attr, n := range map[string]int64{schema.AttrDpQuotaBytes: u.Quota.Bytes, schema.AttrDpQuotaMessages: u.Quota.Messages} {
		if n > 0 {
			req.Attribute(attr, []string{strconv.FormatInt(n, 10)})
		}
	}
	if err := p.addPerson(ctx, req, u.Password); err != nil {
		return "", fmt.Errorf("add user %s: %w", u.Login, err)
	}
	return dn, nil
}

func (p *Provisioner) personDN(login string) string {
	return schema.AttrUid + "=" + ldap.EscapeDN(login) + "," + slapd.People + "," + p.base
}

// person is the request for an active account without addresses.
func (p *Provisioner) person(dn, login, name string, services []directory.Service) *ldap.AddRequest {
	name = strings.TrimSpace(name)
	if name == "" {
		name = login
	}
	words := strings.Fields(name)
	req := entry(dn,
		schema.AttrObjectClass, schema.ClassInetOrgPerson,
		schema.AttrObjectClass, schema.ClassInetLocalMailRecipient,
		schema.AttrObjectClass, schema.ClassDpMailAccount,
		schema.AttrUid, login,
		schema.AttrCn, name,
		schema.AttrSn, words[len(words)-1],
		schema.AttrDpAccountStatus, string(directory.Active),
		schema.AttrDpMailboxId, p.newID(),
	)
	var names []string
	for _, s := range services {
		names = append(names, string(s))
	}
	if len(names) > 0 {
		req.Attribute(schema.AttrDpMailService, names)
	}
	return req
}

// addPerson adds the entry and sets its password; without the password the entry does not stay.
func (p *Provisioner) addPerson(ctx context.Context, req *ldap.AddRequest, password string) error {
	if err := p.client.Add(ctx, req); err != nil || password == "" {
		return err
	}
	err := p.setPassword(ctx, req.DN, password)
	if err == nil {
		return nil
	}
	if undo := p.client.Delete(context.WithoutCancel(ctx), req.DN); undo != nil {
		return fmt.Errorf("%w (and the entry stays: %v)", err, undo)
	}
	return err
}

// CheckLogin says what is wrong with the login name of a new account, as ErrRefused.
func CheckLogin(login string) error {
	ok := login != "" && len(login) <= maxUID && login[0] != '.' && login[0] != '-'
	for _, c := range login {
		ok = ok && ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("._-", c))
	}
	if !ok {
		return fmt.Errorf("%w: login %q: letters, digits, dot, hyphen and underscore only, at most %d", directory.ErrRefused, login, maxUID)
	}
	return nil
}

// Users lists all accounts, deleted ones too.
func (p *Provisioner) Users(ctx context.Context) ([]directory.Account, error) {
	list, err := p.resolver.Accounts(ctx)
	slices.SortFunc(list, func(a, b directory.Account) int { return strings.Compare(a.Login, b.Login) })
	return list, err
}

// User finds an account by login or address.
func (p *Provisioner) User(ctx context.Context, login string) (directory.Account, error) {
	return p.resolver.Account(ctx, login)
}

// SetPassword sets the password of an account; the old one need not be known.
func (p *Provisioner) SetPassword(ctx context.Context, login, password string) error {
	acct, err := p.User(ctx, login)
	if err != nil {
		return err
	}
	return p.setPassword(ctx, acct.DN, password)
}

// SetStatus sets the state of an account.
func (p *Provisioner) SetStatus(ctx context.Context, login string, s directory.Status) error {
	if !slices.Contains([]directory.Status{directory.Active, directory.NoLogin, directory.Suspended, directory.Deleted}, s) {
		return fmt.Errorf("%w: unknown state %q", directory.ErrRefused, s)
	}
	acct, err := p.User(ctx, login)
	if err != nil {
		return err
	}
	if acct.Status == directory.Deleted && s != directory.Deleted {
		return fmt.Errorf("%w: %s was deleted, with its services and password", directory.ErrRefused, login)
	}
	req := ldap.NewModifyRequest(acct.DN, nil)
	req.Replace(schema.AttrDpAccountStatus, []string{string(s)})
	return p.client.Modify(ctx, req)
}

// DeleteUser takes an account out of service: its state becomes deleted, and services, passwords and certificate
// mappings go, so that nobody can log in, by LDAP neither. The entry, its addresses (which nobody else can get meanwhile)
// and the mailbox stay until they are purged.
func (p *Provisioner) DeleteUser(ctx context.Context, login string) error {
	acct, err := p.User(ctx, login)
	if err != nil {
		return err
	}
	req := ldap.NewModifyRequest(acct.DN, nil)
	req.Replace(schema.AttrDpAccountStatus, []string{string(directory.Deleted)})
	gone := []string{schema.AttrDpMailService, schema.AttrUserPassword, schema.AttrDpAppPassword}
	for _, kind := range lookup.Kinds {
		gone = append(gone, kind.Attr)
	}
	for _, attr := range gone {
		req.Replace(attr, nil) // unlike a delete, no error where there is none
	}
	return p.client.Modify(ctx, req)
}

// AddAlias lets an account receive mail for another address. It may not send as it: that is dpSendAddress.
func (p *Provisioner) AddAlias(ctx context.Context, login string, addr directory.Address) error {
	acct, err := p.User(ctx, login)
	if err != nil {
		return err
	}
	if err := p.assignable(ctx, addr); err != nil {
		return fmt.Errorf("add alias of %s: %w", login, err)
	}
	return p.add(ctx, acct.DN, schema.AttrMailLocalAddress, addr.String())
}

// RemoveAlias takes an address from an account, and the right to send as it. The mail address itself stays.
func (p *Provisioner) RemoveAlias(ctx context.Context, login string, addr directory.Address) error {
	acct, err := p.User(ctx, login)
	if err != nil {
		return err
	}
	if acct.Mail.Key() == addr.Key() {
		return fmt.Errorf("remove alias of %s: %w: %s is the mail address of the account", login, directory.ErrRefused, addr)
	}
	if !slices.ContainsFunc(acct.Addresses, func(a directory.Address) bool { return a.Key() == addr.Key() }) {
		return fmt.Errorf("remove alias of %s: %w: %s is not among the addresses", login, directory.ErrNotFound, addr)
	}
	req := ldap.NewModifyRequest(acct.DN, nil)
	req.Delete(schema.AttrMailLocalAddress, []string{addr.String()})
	if slices.ContainsFunc(acct.SendAddresses, func(a directory.Address) bool { return a.Key() == addr.Key() }) {
		req.Delete(schema.AttrDpSendAddress, []string{addr.String()})
	}
	return p.client.Modify(ctx, req)
}

// assignable reports whether an entry can be given an address: its domain is ours and has addresses of its own, and nobody
// has the address, neither to receive nor to send.
func (p *Provisioner) assignable(ctx context.Context, addr directory.Address) error {
	if addr.IsZero() {
		return fmt.Errorf("%w: there is none", directory.ErrBadAddress)
	}
	d, err := p.domain(ctx, addr.Domain)
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return fmt.Errorf("%w: %s: add the domain first", directory.ErrNotLocal, addr.Domain)
	case err != nil:
		return err
	case d.AliasOf != "":
		return fmt.Errorf("%w: %s has the addresses of %s, none of its own", directory.ErrRefused, addr.Domain, d.AliasOf)
	}
	key := addr.Key()
	holder, err := p.holder(ctx, client.Or(client.Equal(schema.AttrMailLocalAddress, key), client.Equal(schema.AttrMail, key), client.Equal(schema.AttrDpSendAddress, key)))
	if err != nil || holder != "" {
		return taken(err, addr.String(), holder)
	}
	return nil
}

// holder returns the name of an entry that matches, or "".
func (p *Provisioner) holder(ctx context.Context, filter string) (string, error) {
	entries, err := p.client.Search(ctx, p.base, ldap.ScopeWholeSubtree, filter, "1.1")
	if err != nil || len(entries) == 0 {
		return "", err
	}
	return entries[0].DN, nil
}

func taken(err error, what, holder string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s belongs to %s", directory.ErrExists, what, holder)
}
