package feed

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory/view"
)

// refreshRequired is the result of a server that cannot go on from a cookie (RFC 4533 section 2.6).
const refreshRequired = 4096

// errEnded: the server ended a search that does not end.
var errEnded = errors.New("the server ended it")

// sync is content synchronization (RFC 4533): first what changed since the cookie, or everything, then changes as they
// happen. Nothing of the first part counts before all of it is there.
func (f *Feed) sync(ctx context.Context, cancel context.CancelFunc, l *ldap.Conn, o view.Origin) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel()
	beside.Go(func() { f.beat(ctx, cancel, l) })
	// To a synchronization below a base that it does not have 389-ds gives no answer at all.
	if _, err := l.Search(ldap.NewSearchRequest(f.opts.Base, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 10, false, "(objectClass=*)", []string{"1.1"}, nil)); err != nil {
		return fmt.Errorf("base %q: %w", f.opts.Base, err)
	}

	s := &syncing{feed: f, origin: o, edit: f.view.Edit(), cookie: f.view.Cookie(o), refreshing: true}
	s.fresh = len(s.cookie) == 0
	s.edit.Refresh()
	req, err := f.request(filter)
	if err != nil {
		return err
	}
	response := l.Syncrepl(ctx, req, 64, ldap.SyncRequestModeRefreshAndPersist, s.cookie, false)
	for response.Next() {
		if response.Referral() != "" {
			return errors.New("the server refers to another one")
		}
		if err := s.take(response); err != nil {
			return err
		}
	}
	err = response.Err()
	if ldap.IsErrorWithCode(err, refreshRequired) {
		f.view.Forget()
	}
	if err == nil {
		err = errEnded
	}
	return err
}

// A syncing is one run of a synchronization.
type syncing struct {
	feed       *Feed
	origin     view.Origin
	edit       *view.Edit
	cookie     []byte
	fresh      bool // it began without a cookie: what is not named is not there
	refreshing bool
}

// take takes one message.
func (s *syncing) take(r ldap.Response) error {
	done := false
	for _, c := range r.Controls() {
		switch c := c.(type) {
		case *ldap.ControlSyncState:
			if err := s.entry(r.Entry(), c); err != nil {
				return err
			}
			s.note(c.Cookie)
		case *ldap.ControlSyncInfo:
			done = s.info(c)
		case *ldap.ControlSyncDone:
			s.note(c.Cookie)
		}
	}
	if done && s.refreshing {
		if s.fresh {
			s.edit.RemoveOthers()
		}
		if s.edit.Len() == 0 {
			return errEmpty
		}
		s.refreshing = false
		s.edit.Commit(s.origin, s.cookie)
		s.feed.up(s.origin)
		s.edit = s.feed.view.Edit()
		return nil
	}
	if !s.refreshing {
		s.edit.Commit(s.origin, s.cookie)
	}
	return nil
}

// note keeps a cookie. An empty one says nothing: the one before stays good.
func (s *syncing) note(cookie []byte) {
	if len(cookie) > 0 {
		s.cookie = cookie
	}
}

// entry takes what a message says of one entry.
func (s *syncing) entry(e *ldap.Entry, c *ldap.ControlSyncState) error {
	id := view.ID(c.EntryUUID)
	switch c.State {
	case ldap.SyncStatePresent:
		s.edit.Keep(id)
	case ldap.SyncStateAdd, ldap.SyncStateModify:
		if e == nil {
			return errors.New("a change without an entry")
		}
		ours, err := s.feed.client.Entry(e)
		if err != nil {
			return err
		}
		s.edit.Put(id, ours)
	case ldap.SyncStateDelete:
		s.edit.Remove(id)
	default:
		return fmt.Errorf("unknown state %d", c.State)
	}
	return nil
}

// info takes a message about many entries or none, and reports whether the first part is over.
func (s *syncing) info(c *ldap.ControlSyncInfo) (done bool) {
	switch {
	case c.NewCookie != nil:
		s.note(c.NewCookie.Cookie)
	case c.RefreshDelete != nil: // deletions were named one by one
		s.note(c.RefreshDelete.Cookie)
		return c.RefreshDelete.RefreshDone
	case c.RefreshPresent != nil: // what was not named is gone
		s.note(c.RefreshPresent.Cookie)
		if s.refreshing {
			s.edit.RemoveOthers()
			s.fresh = false
		}
		return c.RefreshPresent.RefreshDone
	case c.SyncIdSet != nil:
		s.note(c.SyncIdSet.Cookie)
		for _, id := range c.SyncIdSet.SyncUUIDs {
			if c.SyncIdSet.RefreshDeletes {
				s.edit.Remove(view.ID(id))
			} else {
				s.edit.Keep(view.ID(id))
			}
		}
	}
	return false
}
