package ldapd

import (
	"context"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols/ldapwire"
	"github.com/go-ldap/ldap/v3"
)

// sync sends the entries of a search, or what has changed since a cookie, and with persistence goes on with every change
// until the client abandons it (RFC 4533). Nobody waits for a slow client: the directory sends it away when it lags too far behind, and
// output cuts it off when it takes nothing.
func (s *session) sync(ctx context.Context, op *operation, req dit.SearchRequest, ask ldapwire.SyncRequest) {
	if ask.Persist {
		select {
		case s.server.consumers <- struct{}{}:
			defer func() { <-s.server.consumers }()
		default:
			s.answer(op, ldapwire.Result{Code: ldap.LDAPResultBusy, Text: "too many clients wait for changes"})
			return
		}
	}
	var buffer []byte
	var end []ldapwire.Control
	all := dit.SyncRequest{SearchRequest: req, Cookie: string(ask.Cookie), Persist: ask.Persist}
	for m, err := range s.server.tree.Sync(ctx, op.who, all) {
		switch {
		case err != nil:
			s.answer(op, s.result(op, err))
			return
		case m.Done && !ask.Persist:
			end = append(end, ldapwire.SyncDone(m))
			continue
		}
		buffer = ldapwire.AppendSync(buffer[:0], op.ID, m)
		if s.write(buffer, m.Cookie != "" || m.Done) != nil { // all but the entries of a refresh are news, and go out at once
			return
		}
	}
	s.answer(op, ldapwire.Result{}, end...)
}

// stays reports whether the operation goes on until somebody ends it. What cannot be read is refused later.
func stays(m ldapwire.Message) bool {
	if !isSearch(m.Request) {
		return false
	}
	for _, c := range m.Controls {
		if c.OID == syncRequest {
			ask, err := ldapwire.DecodeSyncRequest(c.Value)
			return err == nil && ask.Persist
		}
	}
	return false
}
