package client

import (
	"context"

	"github.com/go-ldap/ldap/v3"
)

// Each hands all entries that match to take, page by page, so that they need not be in memory together. It is Search in
// all else, but for a connection that is lost on the way: that is an error, as what was taken cannot be taken back. An
// error of take ends it and is returned.
func (c *Client) Each(ctx context.Context, base string, scope int, filter string, attrs []string, take func(*ldap.Entry) error) error {
	var refused error
	err := c.searches.run(ctx, "search", false, func(l *ldap.Conn) error {
		paging := ldap.NewControlPaging(pageSize)
		req := c.search(base, scope, filter, attrs)
		req.Controls = []ldap.Control{paging}
		for {
			result, err := l.Search(req)
			if err == nil {
				err = whole(result)
			}
			if err != nil {
				return err
			}
			for _, e := range result.Entries {
				if refused = take(e); refused != nil {
					return nil
				}
			}
			next, ok := ldap.FindControl(result.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
			if !ok || len(next.Cookie) == 0 {
				return nil
			}
			paging.SetCookie(next.Cookie)
		}
	})
	if err != nil {
		return readError("search", err)
	}
	return refused
}
