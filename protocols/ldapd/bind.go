package ldapd

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols/ldapwire"
	"github.com/go-ldap/ldap/v3"
)

// external is the one SASL mechanism (RFC 4422 appendix A): who connects over a unix socket is who the kernel says, and who
// has shown a certificate in TLS is whom the directory maps it to.
const external = "EXTERNAL"

// bind says who the client is from now on (RFC 4511 section 4.2).
func (s *session) bind(ctx context.Context, req *ldapwire.BindRequest) (dit.Notice, error) {
	who, notice, err := s.authenticate(ctx, req)
	if err != nil {
		s.brakeFor(ctx, err)
		return notice, err
	}
	s.who = who
	return notice, nil
}

func (s *session) authenticate(ctx context.Context, req *ldapwire.BindRequest) (who dit.Subject, notice dit.Notice, err error) {
	switch {
	case req.Version != 3:
		return who, notice, &dit.Error{Code: ldap.LDAPResultProtocolError, Text: "version 3 is spoken here"}
	case req.Mechanism != "":
		who, err = s.sasl(ctx, req)
		return who, notice, err
	case len(req.Password) > 0 && !s.peer.Private():
		return who, notice, &dit.Error{Code: ldap.LDAPResultConfidentialityRequired, Text: "no passwords in the clear: use StartTLS"}
	}
	return s.server.tree.Bind(ctx, req.Name, req.Password)
}

// external reports whether something outside of LDAP tells who the client is.
func (s *session) external() bool {
	_, local := s.raw.RemoteAddr().(localAddr)
	return local || s.server.opts.Certificate != nil && s.peer.TLS != nil && len(s.peer.TLS.PeerCertificates) > 0
}

// proven is who the client is by that.
func (s *session) proven(ctx context.Context) (dit.Subject, error) {
	if local, ok := s.raw.RemoteAddr().(localAddr); ok {
		return s.server.tree.Peer(local.uid, local.gid), nil
	}
	name, err := s.server.opts.Certificate(ctx, s.peer.TLS.PeerCertificates)
	switch {
	case errors.Is(err, directory.ErrUnavailable):
		return dit.Subject{}, &dit.Error{Code: ldap.LDAPResultUnavailable, Text: "nobody can tell now what the certificate proves"}
	case err != nil:
		s.log.Debug("certificate proves nobody", "err", err)
		return dit.Subject{}, &dit.Error{Code: ldap.LDAPResultInvalidCredentials, Text: "invalid credentials"}
	}
	return s.server.tree.Certified(name)
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

// sasl is EXTERNAL. Who asks for another identity must have the right to it.
func (s *session) sasl(ctx context.Context, req *ldapwire.BindRequest) (dit.Subject, error) {
	if !s.external() || !strings.EqualFold(req.Mechanism, external) {
		return dit.Subject{}, &dit.Error{Code: ldap.LDAPResultAuthMethodNotSupported, Text: "mechanism is not offered here"}
	}
	who, err := s.proven(ctx)
	if err != nil {
		return dit.Subject{}, err
	}
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
