package ldapd

import (
	"context"
	"crypto/rand"
	"iter"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols/ldapwire"
	"github.com/go-ldap/ldap/v3"
)

// A page is a search between two pages (RFC 2696): it stands still before the entry that comes next.
type page struct {
	who     dit.Subject
	request dit.SearchRequest
	cancel  context.CancelFunc
	next    func() (*dit.Entry, error, bool)
	halt    func()
	used    time.Time

	entry *dit.Entry
	err   error
	more  bool // there is an entry or an error
}

// step moves before the next entry.
func (p *page) step() { p.entry, p.err, p.more = p.next() }

// stop ends the search.
func (p *page) stop() {
	p.cancel()
	p.halt()
}

// fits reports whether req asks for the same entries as the search did, in the same form.
func (p *page) fits(req dit.SearchRequest) bool {
	return p.request.Base == req.Base && p.request.Scope == req.Scope && p.request.TypesOnly == req.TypesOnly &&
		reflect.DeepEqual(p.request.Filter, req.Filter) && slices.Equal(p.request.Attributes, req.Attributes)
}

// pages holds the open ones of one connection by their cookies.
type pages struct {
	max  int
	idle time.Duration

	mu   sync.Mutex // guards open
	open map[string]*page
}

func newPages(max int, idle time.Duration) *pages {
	return &pages{max: max, idle: idle, open: map[string]*page{}}
}

// take returns the page with this cookie, which is good for this one time.
func (p *pages) take(cookie string) *page {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := p.open[cookie]
	delete(p.open, cookie)
	return found
}

// put keeps a page and returns its cookie.
func (p *pages) put(one *page) (cookie string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.open) >= p.max {
		return "", &dit.Error{Code: ldap.LDAPResultAdminLimitExceeded, Text: "too many paged searches are open"}
	}
	cookie = rand.Text() // 130 bits
	one.used = time.Now()
	p.open[cookie] = one
	return cookie, nil
}

// sweep ends pages that nobody has asked for in a while.
func (p *pages) sweep(now time.Time) {
	p.end(func(one *page) bool { return now.Sub(one.used) > p.idle })
}

// clear ends all pages.
func (p *pages) clear() {
	p.end(func(*page) bool { return true })
}

func (p *pages) end(which func(*page) bool) {
	var ended []*page
	p.mu.Lock()
	for cookie, one := range p.open {
		if which(one) {
			ended = append(ended, one)
			delete(p.open, cookie)
		}
	}
	p.mu.Unlock()
	for _, one := range ended {
		one.stop()
	}
}

// searchPage sends one page of a search and a cookie for the next; none after the last.
func (s *session) searchPage(ctx context.Context, op *operation, req dit.SearchRequest, ask ldapwire.PageRequest) {
	one, err := s.page(op.who, req, ask)
	if err != nil {
		s.answer(op, s.result(op, err))
		return
	}
	defer context.AfterFunc(ctx, one.cancel)()
	kept := false
	defer func() {
		if !kept {
			one.stop()
		}
	}()
	var buffer []byte
	for n := 0; one.more && one.err == nil && n < ask.Size; n++ {
		buffer = ldapwire.AppendEntry(buffer[:0], op.ID, one.entry)
		if s.write(buffer, false) != nil {
			return
		}
		one.step()
	}
	var cookie string
	// Size 0 gives the search up (RFC 2696 section 3).
	if err = one.err; err == nil && one.more && ask.Size > 0 && ctx.Err() == nil {
		cookie, err = s.pages.put(one)
		kept = err == nil
	}
	control := ldapwire.Control{OID: pagedResults, Value: ldapwire.EncodePage(0, []byte(cookie))}
	s.answer(op, s.result(op, err), control)
}

// page begins a search or goes on with one.
func (s *session) page(who dit.Subject, req dit.SearchRequest, ask ldapwire.PageRequest) (*page, error) {
	if len(ask.Cookie) == 0 {
		ctx, cancel := context.WithCancel(s.ctx)
		next, stop := iter.Pull2(s.server.tree.Search(ctx, who, req))
		one := &page{who: who, request: req, next: next, cancel: cancel, halt: stop}
		one.step()
		return one, nil
	}
	one := s.pages.take(string(ask.Cookie))
	if one == nil {
		return nil, &dit.Error{Code: ldap.LDAPResultUnwillingToPerform, Text: "cookie is unknown or has been used"}
	}
	if one.who != who || !one.fits(req) {
		one.stop()
		return nil, &dit.Error{Code: ldap.LDAPResultUnwillingToPerform, Text: "cookie belongs to another search"}
	}
	return one, nil
}
