// Package provision creates and changes entries for the command line: domains, users, aliases, roles, certificates. It
// asks the directory by LDAP like anybody, bound as an administrator, whose rights the directory judges.
//
// The object classes are those that the schema describes: a person is inetOrgPerson with our auxiliary classes, a role
// organizationalRole, a domain domainRelatedObject. Every entry with a mailbox gets a dpMailboxId that never changes.
// Passwords are set by Password Modify (RFC 3062), so that the server hashes them.
//
// Errors wrap the sentinels of package directory: ErrExists names who holds the address or certificate already, ErrNotFound
// what is missing, ErrRefused why it is not allowed.
//
// Start reading at [Provisioner.Init]; user.go, role.go, domain.go and certificate.go hold a method for each command.
package provision

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
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

// Options of [New]. Base is required.
type Options struct {
	Base  string        // the suffix all entries are below
	NewID func() string // makes mailbox ids; nil = "m-" and 16 random hex digits
}

// A Provisioner changes one directory. Any number of goroutines may use it.
type Provisioner struct {
	client   *client.Client
	resolver *lookup.Resolver
	base     string
	newID    func() string
}

// New returns a provisioner that changes entries through c, which is bound as an administrator.
func New(c *client.Client, opts Options) *Provisioner {
	if opts.NewID == nil {
		opts.NewID = func() string { return "m-" + random(8) }
	}
	return &Provisioner{client: c, resolver: lookup.New(c, lookup.Options{Base: opts.Base}), base: opts.Base, newID: opts.NewID}
}

// random returns n random bytes in hex.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// NewAdmin is the first administrator.
type NewAdmin struct{ Login, Name, Password string }

// The entries that Init makes besides the tree.
const (
	frontendRDN = "cn=frontend," + slapd.Services
	adminsRDN   = "cn=mail-admins," + slapd.Groups
)

// FrontendDN is the service identity of dirpost below a suffix.
func FrontendDN(base string) string { return frontendRDN + "," + base }

// Init makes an empty directory usable: the base tree and password policies, the service identity of dirpost, and the
// group of administrators with its first member, who also gets the mail nobody else must miss (postmaster). The entry of
// the suffix may exist already. A server that has no password policies (see HasPolicies) gets none. It is idempotent: what is there stays as it is, but for the password of the service, which
// becomes frontendPassword; an empty one means that dirpost binds by EXTERNAL and leaves the service a password that nobody knows.
func (p *Provisioner) Init(ctx context.Context, org, frontendPassword string, admin NewAdmin) error {
	if err := CheckLogin(admin.Login); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	tree, err := slapd.Tree(p.base, org)
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	policies, err := p.HasPolicies(ctx)
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	for _, e := range tree {
		if !policies && e.Is(schema.ClassPwdPolicy) {
			continue
		}
		if err := p.ensure(ctx, request(e)); err != nil {
			return fmt.Errorf("init: %w", err)
		}
	}
	if err := p.initFrontend(ctx, frontendPassword, policies); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if err := p.initAdmins(ctx, admin); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	return nil
}

// HasPolicies reports whether the server knows password policies; OpenLDAP does with its overlay ppolicy only.
func (p *Provisioner) HasPolicies(ctx context.Context) (bool, error) {
	root, err := p.client.One(ctx, "", ldap.ScopeBaseObject, anything, schema.AttrSubschemaSubentry)
	if err != nil {
		return false, fmt.Errorf("root DSE: %w", err)
	}
	subschema, err := p.client.One(ctx, root.GetEqualFoldAttributeValue(schema.AttrSubschemaSubentry), ldap.ScopeBaseObject, anything, schema.AttrObjectClasses)
	if err != nil {
		return false, fmt.Errorf("schema of the server: %w", err)
	}
	return slices.ContainsFunc(subschema.GetEqualFoldAttributeValues(schema.AttrObjectClasses), func(class string) bool {
		return strings.Contains(class, "'"+schema.ClassPwdPolicy+"'")
	}), nil
}

func (p *Provisioner) initFrontend(ctx context.Context, password string, policies bool) error {
	dn := FrontendDN(p.base)
	req := entry(dn,
		schema.AttrObjectClass, schema.ClassApplicationProcess,
		schema.AttrObjectClass, schema.ClassSimpleSecurityObject,
		schema.AttrCn, "frontend",
		schema.AttrUserPassword, random(32), // the class wants one; nobody knows it
	)
	if policies {
		req.Attribute(schema.AttrPwdPolicySubentry, []string{slapd.ServicePolicy + "," + p.base})
	}
	err := p.ensure(ctx, req)
	if err != nil || password == "" {
		return err
	}
	return p.setPassword(ctx, dn, password)
}

func (p *Provisioner) initAdmins(ctx context.Context, admin NewAdmin) error {
	dn := p.personDN(admin.Login)
	user := p.person(dn, admin.Login, admin.Name, []directory.Service{directory.Admin, directory.IMAP})
	user.Attribute(schema.AttrDpProtected, []string{"TRUE"})
	if err := p.addPerson(ctx, user, admin.Password); err != nil && !errors.Is(err, directory.ErrExists) {
		return err
	}
	return p.ensure(ctx, entry(adminsRDN+","+p.base,
		schema.AttrObjectClass, schema.ClassGroupOfNames,
		schema.AttrObjectClass, schema.ClassDpAdminRole,
		schema.AttrCn, "mail-admins",
		schema.AttrDpAdminRight, "full",
		schema.AttrDpProtected, "TRUE",
		schema.AttrMember, dn,
	))
}

// ensure adds an entry unless it is there.
func (p *Provisioner) ensure(ctx context.Context, req *ldap.AddRequest) error {
	if err := p.client.Add(ctx, req); err != nil && !errors.Is(err, directory.ErrExists) {
		return err
	}
	return nil
}

func request(e slapd.Entry) *ldap.AddRequest {
	req := ldap.NewAddRequest(e.DN, nil)
	for _, a := range e.Attributes {
		req.Attribute(a.Name, a.Values)
	}
	return req
}

// entry builds an add request from pairs of names and values; equal names in a row are values of one attribute.
func entry(dn string, pairs ...string) *ldap.AddRequest {
	req := ldap.NewAddRequest(dn, nil)
	for i := 0; i < len(pairs); i += 2 {
		name, value := pairs[i], pairs[i+1]
		if n := len(req.Attributes); n > 0 && req.Attributes[n-1].Type == name {
			req.Attributes[n-1].Vals = append(req.Attributes[n-1].Vals, value)
			continue
		}
		req.Attribute(name, []string{value})
	}
	return req
}

// setPassword gives an entry a password that can be used at once. A directory may demand that a password set by another
// is changed first (slapd does when the root DN sets it), but there is no place yet where a mail user could do that.
func (p *Provisioner) setPassword(ctx context.Context, dn, password string) error {
	if password == "" {
		return fmt.Errorf("password of %s: %w: it is empty", dn, directory.ErrRefused)
	}
	if _, err := p.client.SetPassword(ctx, dn, "", password); err != nil {
		return err
	}
	e, err := p.client.One(ctx, dn, ldap.ScopeBaseObject, anything, schema.AttrPwdReset)
	if err != nil {
		return fmt.Errorf("password of %s: %w", dn, err)
	}
	if e.GetEqualFoldAttributeValue(schema.AttrPwdReset) != "TRUE" {
		return nil
	}
	req := ldap.NewModifyRequest(dn, nil)
	req.Replace(schema.AttrPwdReset, nil)
	return p.client.Modify(ctx, req)
}

var anything = "(" + schema.AttrObjectClass + "=*)"

// add adds a value to an attribute of an entry.
func (p *Provisioner) add(ctx context.Context, dn, attr, value string) error {
	req := ldap.NewModifyRequest(dn, nil)
	req.Add(attr, []string{value})
	return p.client.Modify(ctx, req)
}

// remove takes a value from an attribute of an entry.
func (p *Provisioner) remove(ctx context.Context, dn, attr, value string) error {
	req := ldap.NewModifyRequest(dn, nil)
	req.Delete(attr, []string{value})
	return p.client.Modify(ctx, req)
}
