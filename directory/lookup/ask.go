package lookup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/schema"
)

// A source finds entries: the directory itself, or a snapshot of it.
type source interface {
	Find(context.Context, view.Query) ([]*ldap.Entry, error)
}

// A live source asks the directory.
type live struct {
	client *client.Client
	base   string
}

// Find searches below the base. A base that is missing, or hidden from the service, is an outage: it says nothing about
// what was asked for.
func (l live) Find(ctx context.Context, q view.Query) ([]*ldap.Entry, error) {
	entries, err := l.client.Search(ctx, l.base, ldap.ScopeWholeSubtree, filter(q), view.Attributes...)
	if errors.Is(err, directory.ErrNotFound) {
		return nil, fmt.Errorf("%w: base %q is not there: %v", directory.ErrUnavailable, l.base, err)
	}
	return entries, err
}

// A kept source asks the directory, and keeps the answers for a while: where nothing is learned of changes it at least
// does not ask for each recipient again.
type kept struct {
	live
	answers *cache[[]*ldap.Entry]
}

// How long, and how many, answers are kept.
const (
	keepFound   = 60 * time.Second
	keepMissing = 30 * time.Second
	maxKept     = 20_000
)

// Find returns the answer that is kept, or a new one. The entries are shared.
func (k kept) Find(ctx context.Context, q view.Query) ([]*ldap.Entry, error) {
	return k.answers.get(ctx, filter(q), func(ctx context.Context) ([]*ldap.Entry, error) { return k.live.Find(ctx, q) })
}

// howLong says how long an answer is kept: one that has nobody, or nothing but the domain, not so long.
func howLong(entries []*ldap.Entry) time.Duration {
	for _, e := range entries {
		if !isClass(e, schema.ClassDpMailDomain) {
			return keepFound
		}
	}
	return keepMissing
}

// filter writes a query as LDAP does.
func filter(q view.Query) string {
	var parts []string
	for _, t := range q.Any {
		parts = append(parts, client.Equal(t.Attr, t.Value))
	}
	switch {
	case q.Class == "":
		return client.Or(parts...)
	case len(parts) == 0:
		return client.Equal(schema.AttrObjectClass, q.Class)
	}
	return client.And(client.Equal(schema.AttrObjectClass, q.Class), client.Or(parts...))
}

// A question is one to one source, from its first to its last search: a snapshot that it began with it ends with.
type question struct {
	source  source
	opts    *Options
	domains *cache[*domain]
}

func (r *Resolver) live() question {
	return question{live{r.client, r.opts.Base}, &r.opts, r.domains}
}

func (q question) find(ctx context.Context, query view.Query) ([]*ldap.Entry, error) {
	return q.source.Find(ctx, query)
}

// terms asks for any of the values of an attribute.
func terms(attr string, values []string) []view.Term {
	list := make([]view.Term, len(values))
	for i, v := range values {
		list[i] = view.Term{Attr: attr, Value: v}
	}
	return list
}

// What a question is for says how old the answer may be.
type purpose int

const (
	mail     purpose = iota // where does mail go, who may send
	identity                // whose login or certificate is this
)

// How old a snapshot may be. Up to fresh it answers what it knows; after that the directory is asked, and only while that is
// away, and only about mail, the snapshot answers up to stale. That something is not there only a current one may say.
const (
	fresh = 5 * time.Minute
	stale = 24 * time.Hour
)

// ask puts a question to the view, or to the directory where the view does not count.
func ask[T any](ctx context.Context, r *Resolver, p purpose, do func(question) (T, error)) (T, error) {
	if p == mail && r.opts.View.Abandoned() {
		return do(question{kept{live{r.client, r.opts.Base}, r.answers}, &r.opts, r.domains})
	}
	now, ok := r.opts.View.Moment()
	old := question{source: now, opts: &r.opts}
	if ok && now.Age <= fresh && (now.Current || p == mail) {
		v, err := do(old)
		if now.Current && now.Origin.Prompt() || !missing(err) {
			return v, err
		}
	}
	v, err := do(r.live())
	if ok && p == mail && now.Age <= stale && errors.Is(err, directory.ErrUnavailable) {
		r.log.WarnContext(ctx, "the directory is away, the view of it answers",
			"age", now.Age.Round(time.Second), "source", now.Origin.Means, "err", err)
		if v, known := do(old); !missing(known) {
			return v, known
		}
	}
	return v, err
}

// Prompt reports whether changes of the directory are known as they happen.
func (r *Resolver) Prompt() bool {
	now, ok := r.opts.View.Moment()
	return ok && now.Current && now.Origin.Prompt()
}

// Blind reports whether changes of the directory may not be known as they happen.
func (r *Resolver) Blind() bool { return r.opts.View != nil && !r.Prompt() }

// missing reports whether a source does not have what was asked for: one that learns of changes late may only not have it
// yet.
func missing(err error) bool {
	return errors.Is(err, directory.ErrNoSuchAddress) || errors.Is(err, directory.ErrNotLocal) || errors.Is(err, directory.ErrNotFound)
}
