package ldapd

import (
	"context"

	"github.com/dirpost/dirpost/protocols/ldapwire"
	"github.com/go-ldap/ldap/v3"
)

// compare answers with one of two codes, or with an error (RFC 4511 section 4.10).
func (s *session) compare(ctx context.Context, op *operation, req *ldapwire.CompareRequest, ext extensions) {
	same, err := s.server.tree.Compare(ctx, op.who, req.DN, req.Attr, req.Value, &ext.Extra)
	r := s.result(op, err)
	switch {
	case err != nil:
	case same:
		r.Code = ldap.LDAPResultCompareTrue
	default:
		r.Code = ldap.LDAPResultCompareFalse
	}
	s.answer(op, r, ext.objection(err)...)
}
