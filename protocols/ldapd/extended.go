package ldapd

import (
	"bufio"
	"context"
	"crypto/tls"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols/ldapwire"
	"github.com/dirpost/dirpost/protocols/listen"
	"github.com/go-ldap/ldap/v3"
)

// Names of the extended operations.
const (
	startTLS       = "1.3.6.1.4.1.1466.20037"  // RFC 4511 section 4.14
	passwordModify = "1.3.6.1.4.1.4203.1.11.1" // RFC 3062
	whoAmI         = "1.3.6.1.4.1.4203.1.11.3" // RFC 4532
)

// extended carries out one of the operations that have a name instead of a tag (RFC 4511 section 4.12).
func (s *session) extended(ctx context.Context, op *operation, req *ldapwire.ExtendedRequest, ext extensions) {
	var value []byte
	var err error
	switch req.OID {
	case startTLS:
		s.startTLS(ctx, op)
		return
	case passwordModify:
		value, err = s.passwordModify(ctx, op.who, req)
	case whoAmI:
		if req.Value != nil {
			err = &dit.Error{Code: ldap.LDAPResultProtocolError, Text: "the operation has no value"}
			break
		}
		value = []byte(s.server.tree.WhoAmI(op.who))
	default:
		err = &dit.Error{Code: ldap.LDAPResultProtocolError, Text: "extended operation is unknown"}
	}
	r := s.result(op, err)
	s.end(op, r, ldapwire.AppendExtended(nil, op.ID, r, "", value, ext.objection(err)...))
}

// passwordModify changes a password; without a new one the directory makes one, which is the value of the response.
func (s *session) passwordModify(ctx context.Context, who dit.Subject, req *ldapwire.ExtendedRequest) ([]byte, error) {
	ask, err := ldapwire.DecodePasswordModify(req.Value)
	if err != nil {
		return nil, &dit.Error{Code: ldap.LDAPResultProtocolError, Text: "value of password modify: " + err.Error()}
	}
	generated, err := s.server.tree.SetPassword(ctx, who, ask.Identity, ask.Old, ask.New)
	if err != nil || generated == nil {
		return nil, err
	}
	return ldapwire.EncodePasswordModify(generated), nil
}

// isStartTLS reports whether req must run alone because what follows it is TLS.
func isStartTLS(req ldapwire.Request) bool {
	extended, ok := req.(*ldapwire.ExtendedRequest)
	return ok && extended.OID == startTLS
}

// startTLS goes on under TLS. It runs alone: start has seen to that.
func (s *session) startTLS(ctx context.Context, op *operation) {
	refuse := func(code int, text string) {
		s.answer(op, ldapwire.Result{Code: code, Text: text})
	}
	if s.peer.TLS != nil {
		refuse(ldap.LDAPResultOperationsError, "TLS is active already")
		return
	}
	if s.server.opts.TLS == nil {
		refuse(ldap.LDAPResultProtocolError, "TLS is not offered")
		return
	}
	if s.in.Buffered() > 0 {
		// Somebody on the way may have put these octets in, for us to take them for the client's after the handshake.
		s.log.Warn("octets follow StartTLS")
		s.hangUp()
		return
	}
	r := ldapwire.Result{}
	s.end(op, r, ldapwire.AppendExtended(nil, op.ID, r, startTLS, nil))
	listen.Limit(s.raw, s.server.opts.HandshakeTimeout, s.server.opts.HandshakeTimeout)
	defer s.limitIdle()
	secure := tls.Server(s.raw, s.server.opts.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		s.log.Debug("tls handshake", "err", err)
		s.hangUp()
		return
	}
	s.conn, s.in, s.out = secure, bufio.NewReader(secure), newOutput(secure)
	s.peer = listen.PeerOf(secure)
}
