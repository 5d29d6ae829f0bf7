package provision

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/schema"
	"github.com/dirpost/dirpost/schema/slapd"
)

// NewRole is an address that people hold for a time.
type NewRole struct {
	Address   directory.Address
	Occupants []string // logins: who receives its mail and sends as it
}

// AddRole adds a role and returns the name of its entry. It is named after the local part of its address, or after the
// whole address when a role of another domain has that name.
func (p *Provisioner) AddRole(ctx context.Context, role NewRole) (dn string, err error) {
	if err := p.assignable(ctx, role.Address); err != nil {
		return "", fmt.Errorf("add role %s: %w", role.Address, err)
	}
	var occupants []string
	for _, login := range role.Occupants {
		acct, err := p.User(ctx, login)
		if err != nil {
			return "", fmt.Errorf("add role %s: %w", role.Address, err)
		}
		occupants = append(occupants, acct.DN)
	}
	for _, name := range []string{role.Address.Local, role.Address.String()} {
		dn = schema.AttrCn + "=" + ldap.EscapeDN(name) + "," + slapd.Roles + "," + p.base
		req := entry(dn,
			schema.AttrObjectClass, schema.ClassOrganizationalRole,
			schema.AttrObjectClass, schema.ClassInetLocalMailRecipient,
			schema.AttrObjectClass, schema.ClassDpMailRecipient,
			schema.AttrCn, name,
			schema.AttrMail, role.Address.String(),
			schema.AttrMailLocalAddress, role.Address.String(),
		)
		if len(occupants) > 0 {
			req.Attribute(schema.AttrRoleOccupant, occupants)
			req.Attribute(schema.AttrDpSendGrant, occupants)
		}
		if err = p.client.Add(ctx, req); !errors.Is(err, directory.ErrExists) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	return dn, nil
}

// Grant lets a person send as the role. A grant on a person's address is a delegation.
func (p *Provisioner) Grant(ctx context.Context, role directory.Address, login string) error {
	return p.change(ctx, p.add, role, schema.AttrDpSendGrant, login)
}

// Revoke takes back what Grant gave.
func (p *Provisioner) Revoke(ctx context.Context, role directory.Address, login string) error {
	return p.change(ctx, p.remove, role, schema.AttrDpSendGrant, login)
}

// Occupy lets a person receive the mail of the role.
func (p *Provisioner) Occupy(ctx context.Context, role directory.Address, login string) error {
	return p.change(ctx, p.add, role, schema.AttrRoleOccupant, login)
}

// Vacate takes back what Occupy gave.
func (p *Provisioner) Vacate(ctx context.Context, role directory.Address, login string) error {
	return p.change(ctx, p.remove, role, schema.AttrRoleOccupant, login)
}

// change names a person in an attribute of the entry that has an address, or no longer.
func (p *Provisioner) change(ctx context.Context, how func(ctx context.Context, dn, attr, value string) error, role directory.Address, attr, login string) error {
	e, err := p.client.One(ctx, p.base, ldap.ScopeWholeSubtree, client.Equal(schema.AttrMailLocalAddress, role.Key()), "1.1")
	if err != nil {
		return fmt.Errorf("role %s: %w", role, err)
	}
	acct, err := p.User(ctx, login)
	if err != nil {
		return fmt.Errorf("role %s: %w", role, err)
	}
	held := map[string]string{schema.AttrRoleOccupant: "receiving it", schema.AttrDpSendGrant: "sending as it"}[attr]
	switch err := how(ctx, e.DN, attr, acct.DN); {
	case errors.Is(err, directory.ErrNotFound):
		return fmt.Errorf("role %s: %w: %s is not among those %s", role, directory.ErrNotFound, login, held)
	case errors.Is(err, directory.ErrExists):
		return fmt.Errorf("role %s: %w: %s is among those %s", role, directory.ErrExists, login, held)
	default:
		return err
	}
}
