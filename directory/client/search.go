package client

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
)

// Search returns all entries that match, read page by page. The base that is missing is ErrNotFound. A referral and a search
// cut by a limit of the server are ErrUnavailable: a part is not the answer. Of an attribute that comes in ranges the rest is
// asked for.
func (c *Client) Search(ctx context.Context, base string, scope int, filter string, attrs ...string) ([]*ldap.Entry, error) {
	var entries []*ldap.Entry
	begin := func() { entries = nil } // the call may be repeated on another connection
	err := c.pages(ctx, true, begin, base, scope, filter, attrs, func(e *ldap.Entry) error {
		if len(entries) >= c.opts.MaxEntries {
			return partial(ldap.LDAPResultSizeLimitExceeded, "more than %d entries", c.opts.MaxEntries)
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, readError("search", err)
	}
	return entries, nil
}

// Each hands all entries that match to take, page by page, so that they need not be in memory together. It is Search in
// all else, but for a connection that is lost on the way: that is an error, as what was taken cannot be taken back. An
// error of take ends it and is returned.
func (c *Client) Each(ctx context.Context, base string, scope int, filter string, attrs []string, take func(*ldap.Entry) error) error {
	var refused error
	err := c.pages(ctx, false, func() {}, base, scope, filter, attrs, func(e *ldap.Entry) error {
		refused = take(e)
		return refused
	})
	if refused != nil {
		return refused
	}
	return readError("search", err)
}

// pages runs a search page by page. begin is called before the first one, again if retry is set and the connection turns out
// to be dead.
func (c *Client) pages(ctx context.Context, retry bool, begin func(), base string, scope int, filter string, attrs []string, take func(*ldap.Entry) error) error {
	req, err := c.Request(base, scope, filter, attrs)
	if err != nil || req == nil {
		return err
	}
	var refused error
	err = c.searches.run(ctx, "search", retry, func(l *ldap.Conn) error {
		begin()
		paging := ldap.NewControlPaging(pageSize)
		req.Controls = append([]ldap.Control{paging}, c.opts.Profile.Controls()...)
		for {
			result, err := l.Search(req)
			if err == nil {
				err = c.whole(l, result)
			}
			if err != nil {
				return err
			}
			for _, e := range result.Entries {
				if refused = take(c.opts.Profile.Entry(e)); refused != nil {
					return nil // the connection is in order
				}
			}
			next, ok := ldap.FindControl(result.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
			if !ok && len(result.Entries) == 0 {
				return c.based(l, req)
			}
			if !ok || len(next.Cookie) == 0 {
				return nil
			}
			paging.SetCookie(next.Cookie)
		}
	})
	if refused != nil {
		return refused
	}
	return err
}

// based returns an error if the base of a search is not there. 389-ds finds nothing below such a base without an error when
// it is asked for pages, and is known by sending no control then; nobody must be taken for unknown for that.
func (c *Client) based(l *ldap.Conn, req *ldap.SearchRequest) error {
	_, err := l.Search(ldap.NewSearchRequest(req.BaseDN, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, c.seconds(), false, "(objectClass=*)",
		[]string{"1.1"}, c.opts.Profile.Controls()))
	return err
}

// One returns the entry that matches. None, or a missing base, is ErrNotFound; more than one is ErrAmbiguous.
func (c *Client) One(ctx context.Context, base string, scope int, filter string, attrs ...string) (*ldap.Entry, error) {
	req, err := c.Request(base, scope, filter, attrs)
	if err != nil {
		return nil, readError("search", err)
	}
	if req == nil {
		return nil, fmt.Errorf("search %s: %w", filter, directory.ErrNotFound)
	}
	req.SizeLimit = 2
	req.EnforceSizeLimit = true
	var entries []*ldap.Entry
	err = c.searches.run(ctx, "search", true, func(l *ldap.Conn) error {
		result, err := l.Search(req)
		if result != nil && len(result.Entries) >= req.SizeLimit {
			entries, err = result.Entries, nil // the third may have exceeded the limit: two are enough to know
			return nil
		}
		if err == nil {
			entries, err = result.Entries, c.whole(l, result)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, readError("search", err)
	case len(entries) == 0:
		return nil, fmt.Errorf("search %s: %w", filter, directory.ErrNotFound)
	case len(entries) > 1:
		return nil, fmt.Errorf("search %s: %w: %s and %s", filter, directory.ErrAmbiguous, entries[0].DN, entries[1].DN)
	}
	return c.opts.Profile.Entry(entries[0]), nil
}

// Request makes a search in the words of the server; nil if there it can match nothing. It is for connections of one's own;
// [Client.Entry] reads what is found.
func (c *Client) Request(base string, scope int, filter string, attrs []string, controls ...ldap.Control) (*ldap.SearchRequest, error) {
	text, err := c.opts.Profile.Filter(filter)
	if err != nil || text == "" {
		return nil, err
	}
	controls = append(controls, c.opts.Profile.Controls()...)
	return ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, c.seconds(), false, text, c.opts.Profile.Attributes(attrs), controls), nil
}

// Entry returns an entry that a server sent, in our words. An attribute that came in part is an error.
func (c *Client) Entry(e *ldap.Entry) (*ldap.Entry, error) {
	for _, a := range e.Attributes {
		if _, _, ranged := rangeOf(a.Name); ranged {
			return nil, partial(ldap.LDAPResultSizeLimitExceeded, "attribute %s of %s came in part", a.Name, e.DN)
		}
	}
	return c.opts.Profile.Entry(e), nil
}

// seconds is the time that a server has for an answer: it gives up when we have.
func (c *Client) seconds() int { return int(c.opts.Timeout/time.Second) + 1 }

// whole makes a result the answer to the question: a referral to another server is none, and of an attribute of which the
// server sent some of the values only ("member;range=0-1499" of Active Directory) the others are fetched.
func (c *Client) whole(l *ldap.Conn, r *ldap.SearchResult) error {
	if len(r.Referrals) > 0 {
		return partial(ldap.LDAPResultReferral, "the server refers to another one")
	}
	for _, e := range r.Entries {
		if err := c.complete(l, e); err != nil {
			return err
		}
	}
	return nil
}

// complete fetches the values of an entry that come in ranges, and puts them under the plain name of their attribute.
func (c *Client) complete(l *ldap.Conn, e *ldap.Entry) error {
	for i, a := range e.Attributes {
		name, last, ranged := rangeOf(a.Name)
		if !ranged {
			continue
		}
		values := a.Values
		for last >= 0 {
			more, next, err := c.rest(l, e.DN, name, last+1)
			if err != nil {
				return err
			}
			if values = append(values, more...); len(values) > c.opts.MaxEntries {
				return partial(ldap.LDAPResultSizeLimitExceeded, "attribute %s of %s has more than %d values", name, e.DN, c.opts.MaxEntries)
			}
			last = next
		}
		e.Attributes[i] = ldap.NewEntryAttribute(name, values)
	}
	// The plain name of such an attribute comes too, without a value.
	e.Attributes = slices.DeleteFunc(e.Attributes, func(a *ldap.EntryAttribute) bool { return len(a.Values) == 0 })
	return nil
}

// rest asks for the values of an attribute from a number on, and returns the number of the last one that came, -1 if there
// are no more.
func (c *Client) rest(l *ldap.Conn, dn, name string, from int) (values []string, last int, err error) {
	req := ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, c.seconds(), false, "(objectClass=*)",
		[]string{fmt.Sprintf("%s;range=%d-*", name, from)}, c.opts.Profile.Controls())
	result, err := l.Search(req)
	if err != nil && answered(err) { // not the answer to the question: a missing entry here is no missing base
		err = partial(ldap.LDAPResultOther, "the values of %s of %s from number %d on: %v", name, dn, from, err)
	}
	if err != nil {
		return nil, 0, err
	}
	for _, e := range result.Entries {
		for _, a := range e.Attributes {
			base, last, ranged := rangeOf(a.Name)
			if ranged && strings.EqualFold(base, name) && len(a.Values) > 0 && (last < 0 || last >= from) {
				return a.Values, last, nil
			}
		}
	}
	return nil, 0, partial(ldap.LDAPResultSizeLimitExceeded, "the values of %s of %s from number %d on did not come", name, dn, from)
}

// rangeOf reads the option of an attribute that came in part (MS-ADTS section 3.1.1.3.1.3.3): NAME;range=FIRST-LAST, with *
// for the last when there are no more.
func rangeOf(attr string) (name string, last int, ranged bool) {
	name, option, ok := strings.Cut(attr, ";")
	const mark = "range="
	if !ok || len(option) < len(mark) || !strings.EqualFold(option[:len(mark)], mark) {
		return attr, 0, false
	}
	_, end, _ := strings.Cut(option, "-")
	last, err := strconv.Atoi(end)
	if err != nil || last < 0 {
		return name, -1, true // "*"; whatever else it is, nothing follows
	}
	return name, last, true
}

// partial is the error of an answer that is a part, with the code the server should have given: the connection is in order.
func partial(code uint16, format string, args ...any) error {
	return ldap.NewError(code, fmt.Errorf(format, args...))
}
