// Package feed keeps a view of the directory as the directory is, by the best means that the server has: content
// synchronization (RFC 4533), persistent search, or asking again and again. A server that has none of them, or where that is
// wanted, gives nothing: the questions go to the directory then.
//
// A feed has a connection of its own. When it breaks, the view stays and grows old, and the feed connects anew after a
// pause that is not the same for all.
//
// Start reading at [Start]; sync.go, search.go and poll.go are the means.
package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/schema"
)

// Options of [Start]. Base is required.
type Options struct {
	Base  string       // the suffix all entries are below
	Means string       // one of the means in package view; empty = the best that the server has
	Log   *slog.Logger // nil = discarded

	Beat  time.Duration // how often a quiet connection is asked whether it lives; 0 = 15 s
	Every time.Duration // between polls; 0 = 15 s
	List  time.Duration // between full lists when polling, which find what was deleted; 0 = 10 minutes
	Save  time.Duration // between writings of the view's file; 0 = 5 minutes
	Retry time.Duration // first pause before connecting anew, doubled up to 30 s; 0 = 100 ms
}

// maxRetry bounds the pause before connecting anew.
const maxRetry = 30 * time.Second

// filter is what the platform's entries have in common: their classes, and nothing that changes while they are ours.
var filter = func() string {
	var parts []string
	for _, class := range []string{
		schema.ClassDpMailAccount, schema.ClassDpMailRecipient, schema.ClassInetLocalMailRecipient, schema.ClassDpMailDomain,
		schema.ClassGroupOfNames, schema.ClassOrganizationalRole, schema.ClassDpAdminRole,
	} {
		parts = append(parts, client.Equal(schema.AttrObjectClass, class))
	}
	return client.Or(parts...)
}()

// A Status tells how a feed is.
type Status struct {
	Means string // empty while not known
	Up    bool   // the view is kept as the directory is
	Err   string // why not
}

// A Feed runs until it is closed.
type Feed struct {
	client *client.Client
	view   *view.View
	opts   Options
	log    *slog.Logger
	status atomic.Pointer[Status]

	cancel context.CancelFunc
	work   sync.WaitGroup
}

// Start begins to feed v from what c leads to.
func Start(c *client.Client, v *view.View, opts Options) *Feed {
	for _, d := range []struct {
		option *time.Duration
		value  time.Duration
	}{{&opts.Beat, 15 * time.Second}, {&opts.Every, 15 * time.Second}, {&opts.List, 10 * time.Minute}, {&opts.Save, 5 * time.Minute}, {&opts.Retry, 100 * time.Millisecond}} {
		if *d.option <= 0 {
			*d.option = d.value
		}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	f := &Feed{client: c, view: v, opts: opts, log: opts.Log}
	f.status.Store(&Status{Means: opts.Means})
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(context.Background())
	f.work.Go(func() { f.run(ctx) })
	f.work.Go(func() { f.save(ctx) })
	return f
}

// Close ends the feed and keeps the view in its file.
func (f *Feed) Close() error {
	f.cancel()
	f.work.Wait()
	return f.view.Save()
}

// Status tells how the feed is now.
func (f *Feed) Status() Status { return *f.status.Load() }

// run feeds, and after a failure feeds again.
func (f *Feed) run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; failures++ {
		began := f.Status()
		err := f.feed(ctx)
		if ctx.Err() != nil {
			return
		}
		f.view.Doubt()
		last := f.Status()
		if last.Up {
			failures = 0
		}
		if last.Up || began.Err == "" {
			f.log.WarnContext(ctx, "the directory tells of changes no more", "means", last.Means, "err", err)
		}
		f.status.Store(&Status{Means: last.Means, Err: err.Error()})
		pause := min(f.opts.Retry<<min(failures, 10), maxRetry)
		select {
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		case <-ctx.Done():
		}
	}
}

// feed learns of changes until it cannot any more.
func (f *Feed) feed(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return f.client.Dedicated(ctx, func(l *ldap.Conn, server string) error {
		means, err := f.choose(l)
		if err != nil {
			return err
		}
		asked, err := f.request(filter)
		if err != nil {
			return err
		}
		o := view.Origin{Means: means, Server: server, As: f.client.Identity(), Base: f.opts.Base, Filter: asked.Filter, Names: f.client.Names()}
		switch means {
		case view.Syncrepl:
			return f.sync(ctx, cancel, l, o)
		case view.PSearch:
			return f.search(ctx, cancel, l, o)
		case view.Poll:
			if err := f.poll(ctx, o); !errors.Is(err, errNoID) {
				return err
			}
			o.Means = view.TTL
		}
		f.view.Abandon()
		f.up(o)
		<-ctx.Done()
		return ctx.Err()
	})
}

// The controls that a server with better means has.
const (
	syncControl    = ldap.ControlTypeSyncRequest
	psearchControl = "2.16.840.1.113730.3.4.3"
)

// choose returns the best means that the server says it has.
func (f *Feed) choose(l *ldap.Conn) (string, error) {
	if f.opts.Means != "" {
		return f.opts.Means, nil
	}
	result, err := l.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 10, false,
		"(objectClass=*)", []string{schema.AttrSupportedControl}, nil))
	if err != nil {
		return "", fmt.Errorf("what the server can do: %w", err)
	}
	if len(result.Entries) == 0 {
		return view.Poll, nil
	}
	controls := result.Entries[0].GetEqualFoldAttributeValues(schema.AttrSupportedControl)
	switch {
	case slices.Contains(controls, syncControl):
		return view.Syncrepl, nil
	case slices.Contains(controls, psearchControl):
		return view.PSearch, nil
	}
	return view.Poll, nil
}

// up notes that the view is as the directory is.
func (f *Feed) up(o view.Origin) {
	if s := f.Status(); s.Up && s.Means == o.Means {
		return
	}
	f.status.Store(&Status{Means: o.Means, Up: true})
	m, _ := f.view.Moment()
	f.log.Info("the directory tells of changes", "means", o.Means, "server", o.Server, "entries", m.Len())
}

// beat asks now and then whether a connection lives on which nothing may come for hours, and ends the feed if not. A
// connection that lives has brought every change.
func (f *Feed) beat(ctx context.Context, cancel context.CancelFunc, l *ldap.Conn) {
	tick := time.NewTicker(f.opts.Beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		late := time.AfterFunc(f.opts.Beat, cancel)
		_, err := l.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 10, false, "(objectClass=*)", []string{"1.1"}, nil))
		if !late.Stop() || err != nil {
			cancel()
			return
		}
		if f.Status().Up {
			f.view.Confirm()
		}
	}
}

// save keeps the view in its file from time to time.
func (f *Feed) save(ctx context.Context) {
	tick := time.NewTicker(f.opts.Save)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := f.view.Save(); err != nil {
			f.log.WarnContext(ctx, "the view of the directory is not kept", "err", err)
		}
	}
}

// request is the search for what of the view's entries fits a filter too. It takes as long as it takes.
func (f *Feed) request(filter string, controls ...ldap.Control) (*ldap.SearchRequest, error) {
	req, err := f.client.Request(f.opts.Base, ldap.ScopeWholeSubtree, filter, view.Attributes, controls...)
	if err == nil && req == nil {
		err = errEmpty
	}
	if err != nil {
		return nil, err
	}
	req.TimeLimit = 0
	return req, nil
}

// errEmpty: a directory without a single entry of ours is one that hides them from us, and no reason to know nobody.
var errEmpty = errors.New("the server shows no entries of the platform")

// id returns the entryUUID of an entry.
func id(e *ldap.Entry) (view.ID, error) {
	id, err := view.ParseID(e.GetEqualFoldAttributeValue(schema.AttrEntryUUID))
	if err != nil {
		return id, fmt.Errorf("%w: %s: %w", errNoID, e.DN, err)
	}
	return id, nil
}

// errNoID: the server does not say what entries are, only how they are named.
var errNoID = errors.New("entry has no entryUUID")
