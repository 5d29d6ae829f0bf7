package client

import (
	"context"

	"github.com/go-ldap/ldap/v3"
)

// Dedicated calls op with a connection of its own, bound as the service: for searches that do not end. It is in no pool,
// leads to the named server, and is cut when op returns, ctx ends or the client closes. Only connecting has the time of a
// call. Errors of connecting wrap directory.ErrUnavailable, those of op are its own.
func (c *Client) Dedicated(ctx context.Context, op func(l *ldap.Conn, server string) error) error {
	dialling, cancel := context.WithTimeoutCause(ctx, c.opts.Timeout, errTimeout)
	stop := context.AfterFunc(c.ctx, cancel)
	conn, err := c.dial(dialling, c.serviceBind)
	stop()
	cancel()
	if err != nil {
		return readError("connect", err)
	}
	defer conn.cut()
	defer context.AfterFunc(ctx, conn.cut)()
	defer context.AfterFunc(c.ctx, conn.cut)()
	return op(conn.ldap, conn.server.name)
}

// Identity is the name that the client searches as.
func (c *Client) Identity() string {
	if c.opts.External {
		return "EXTERNAL"
	}
	return c.opts.BindDN
}

// Names is the version of the profile by which entries are read.
func (c *Client) Names() string { return c.opts.Profile.Version() }
