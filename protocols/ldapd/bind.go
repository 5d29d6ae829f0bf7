package ldapd

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols/ldapwire"
	"github.com/go-ldap/ldap/v3"
)

// external is the one SASL mechanism: who connects over a unix socket is who the kernel says (RFC 4422 appendix A).
const external = "EXTERNAL"

// bind says who the client is from now on (RFC 4511 section 4.2).
func (s *session) bind(ctx context.Context, req *ldapwire.BindRequest) error {
	who, err := s.authenticate(ctx, req)
	if err != nil {
		s.brakeFor(ctx, err)
		return err
	}
	s.who = who
	return nil
}

func (s *session) authenticate(ctx context.Context, req *ldapwire.BindRequest) (dit.Subject, error) {
	switch {
	case req.Version != 3:
		return dit.Subject{}, &dit.Error{Code: ldap.LDAPResultProtocolError, Text: "version 3 is spoken here"}
	case req.Mechanism != "":
		return s.sasl(req)
	case len(req.Password) > 0 && !s.peer.Private():
		return dit.Subject{}, &dit.Error{Code: ldap.LDAPResultConfidentialityRequired, Text: "no passwords in the clear: use StartTLS"}
	}
	return s.server.tree.Bind(ctx, req.Name, req.Password)
}

// actAs is who the client becomes by asking for another identity in a bind, as with the control for one operation.
func (s *session) actAs(who dit.Subject, authzID string) (dit.Subject, error) {
	as, err := s.server.tree.Authorize(who, authzID)
	var refused *dit.Error
	if errors.As(err, &refused) && refused.Code == ldap.LDAPResultAuthorizationDenied {
		return as, &dit.Error{Code: ldap.LDAPResultInsufficientAccessRights, Text: refused.Text}
	}
	return as, err
}

// sasl is EXTERNAL by the credentials of a unix socket. Who asks for another identity must have the right to it.
func (s *session) sasl(req *ldapwire.BindRequest) (dit.Subject, error) {
	local, ok := s.raw.RemoteAddr().(localAddr)
	if !ok || !strings.EqualFold(req.Mechanism, external) {
		return dit.Subject{}, &dit.Error{Code: ldap.LDAPResultAuthMethodNotSupported, Text: "mechanism is not offered here"}
	}
	who := s.server.tree.Peer(local.uid, local.gid)
	as := string(req.Credentials)
	if as == "" || strings.EqualFold(as, "dn:"+who.DN) {
		return who, nil
	}
	return s.actAs(who, as)
}

// brakeFor waits before a wrong password is answered, the longer the more there were from this address.
func (s *session) brakeFor(ctx context.Context, err error) {
	var refused *dit.Error
	if !errors.As(err, &refused) || refused.Code != ldap.LDAPResultInvalidCredentials || s.peer.Unix {
		return
	}
	addr := s.peer.Addr.Addr()
	for _, p := range s.server.opts.Unbraked {
		if p.Contains(addr) {
			return
		}
	}
	select {
	case <-time.After(s.server.brake.failed(addr)):
	case <-ctx.Done():
	}
}
