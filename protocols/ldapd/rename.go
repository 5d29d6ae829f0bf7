package ldapd

import (
	"context"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols/ldapwire"
	"github.com/go-ldap/ldap/v3"
)

// rename gives an entry another name or place (RFC 4511 section 4.9).
func (s *session) rename(ctx context.Context, op *operation, req *ldapwire.ModifyDNRequest, ext extensions) error {
	if req.Move && req.NewSuperior == "" {
		return &dit.Error{Code: ldap.LDAPResultUnwillingToPerform, Text: "the root has no entries of its own"}
	}
	return s.server.tree.Rename(ctx, op.who, req.DN, req.NewRDN, req.DeleteOld, req.NewSuperior, &ext.Extra)
}
