package ldapd

import (
	"context"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols/ldapwire"
	"github.com/dirpost/dirpost/schema"
)

// search sends the entries as they are found, then the result (RFC 4511 section 4.5).
func (s *session) search(ctx context.Context, op *operation, req dit.SearchRequest, ext extensions) {
	if req.Base == "" {
		req.RootDSE = s.rootDSE()
	}
	req.Assert = ext.Assert
	if ext.subentries {
		// RFC 3672 section 3: with TRUE subentries are seen and nothing else.
		only := &dit.Filter{Kind: dit.EqualityMatch, Attr: schema.AttrObjectClass, Value: []byte("subentry")}
		req.Filter = &dit.Filter{Kind: dit.And, Subs: []*dit.Filter{only, req.Filter}}
	}
	switch {
	case ext.page != nil:
		s.searchPage(ctx, op, req, *ext.page)
		return
	case ext.sync != nil:
		s.sync(ctx, op, req, *ext.sync)
		return
	}
	var buffer []byte
	for entry, err := range s.server.tree.Search(ctx, op.who, req) {
		if err != nil {
			s.answer(op, s.result(op, err))
			return
		}
		buffer = ldapwire.AppendEntry(buffer[:0], op.ID, entry)
		if s.write(buffer, false) != nil {
			return
		}
	}
	s.answer(op, ldapwire.Result{})
}
