package ldapd

import (
	"context"
	"errors"
	"runtime/debug"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols/ldapwire"
	"github.com/go-ldap/ldap/v3"
)

// perform carries out one operation and answers it, or with refused just that. It must be the last that happens to op.
func (s *session) perform(ctx context.Context, op *operation, refused *dit.Error) {
	defer s.inflight.leave(op)
	defer op.cancel()
	defer s.recover(op)

	if _, isBind := op.Request.(*ldapwire.BindRequest); isBind {
		// Until a bind succeeds the client is nobody (RFC 4511 section 4.2.1).
		s.who = dit.Subject{}
		s.pages.clear()
	}
	op.who = s.who
	ext, err := s.extensions(op.Message)
	if err == nil && ext.proxied {
		op.who, err = s.server.tree.Authorize(s.who, ext.authzID)
	}
	if refused != nil {
		err = refused
	}
	if err != nil {
		s.answer(op, s.result(op, err))
		return
	}
	switch req := op.Request.(type) {
	case *ldapwire.BindRequest:
		notice, err := s.bind(ctx, req)
		s.answer(op, s.result(op, err), ext.notice(notice, req)...)
	case *ldapwire.SearchRequest:
		s.search(ctx, op, req.SearchRequest, ext)
	case *ldapwire.CompareRequest:
		s.compare(ctx, op, req, ext)
	case *ldapwire.ExtendedRequest:
		s.extended(ctx, op, req, ext)
	default:
		s.change(ctx, op, ext)
	}
}

// change carries out an operation that changes an entry.
func (s *session) change(ctx context.Context, op *operation, ext extensions) {
	var err error
	switch req := op.Request.(type) {
	case *ldapwire.AddRequest:
		err = s.server.tree.Add(ctx, op.who, req.Entry, &ext.Extra)
	case *ldapwire.ModifyRequest:
		err = s.server.tree.Modify(ctx, op.who, req.DN, req.Changes, &ext.Extra)
	case *ldapwire.DeleteRequest:
		err = s.server.tree.Delete(ctx, op.who, req.DN, &ext.Extra)
	case *ldapwire.ModifyDNRequest:
		err = s.rename(ctx, op, req, ext)
	}
	if err != nil {
		s.answer(op, s.result(op, err), ext.objection(err)...)
		return
	}
	s.answer(op, ldapwire.Result{}, ext.readings()...)
}

// recover answers for an operation that panicked, which is a bug of ours: the server lives on, the session does not.
func (s *session) recover(op *operation) {
	v := recover()
	if v == nil {
		return
	}
	s.log.Error("operation panicked", "op", name(op.Request), "err", v, "stack", string(debug.Stack()))
	s.answer(op, ldapwire.Result{Code: ldap.LDAPResultOther, Text: "internal error"})
	s.hangUp()
}

// answer ends op with r, unless it was abandoned.
func (s *session) answer(op *operation, r ldapwire.Result, controls ...ldapwire.Control) {
	s.end(op, r, ldapwire.AppendResult(nil, op.ID, op.Request.ResponseTag(), r, controls...))
}

// end ends op with a response that is made already and carries r.
func (s *session) end(op *operation, r ldapwire.Result, response []byte) {
	if !s.inflight.answer(op) {
		return
	}
	s.log.Debug("ldap operation", "request", op.ID, "op", name(op.Request), "code", r.Code, "err", r.Text)
	s.write(response, true)
}

// result turns an error into what the client is told: the one place where that happens.
func (s *session) result(op *operation, err error) ldapwire.Result {
	var refused *dit.Error
	switch {
	case err == nil:
		return ldapwire.Result{}
	case errors.As(err, &refused):
		return ldapwire.Result{Code: refused.Code, Matched: refused.Matched, Text: refused.Text}
	case errors.Is(err, context.DeadlineExceeded):
		return ldapwire.Result{Code: ldap.LDAPResultTimeLimitExceeded}
	case errors.Is(err, context.Canceled):
		return ldapwire.Result{Code: ldap.LDAPResultUnavailable, Text: "the session is ending"}
	}
	s.log.Error("operation failed", "op", name(op.Request), "err", err)
	return ldapwire.Result{Code: ldap.LDAPResultOther, Text: "internal error"}
}

// name is what logs call an operation.
func name(req ldapwire.Request) string {
	switch req := req.(type) {
	case *ldapwire.BindRequest:
		return "bind"
	case *ldapwire.SearchRequest:
		return "search"
	case *ldapwire.CompareRequest:
		return "compare"
	case *ldapwire.AddRequest:
		return "add"
	case *ldapwire.ModifyRequest:
		return "modify"
	case *ldapwire.DeleteRequest:
		return "delete"
	case *ldapwire.ModifyDNRequest:
		return "rename"
	case *ldapwire.ExtendedRequest:
		return "extended " + req.OID
	}
	return "unknown"
}
