// Package lookup answers the questions of the platform from the directory: where does mail for this address go, who is
// this login or this certificate, may he send as that address, which authorities are trusted.
//
// It asks the view of the directory, as long as a feed keeps that as the directory is, and else the directory itself, anew
// each time; only domain entries and authorities are then kept for a few seconds. "Nobody" and "cannot tell" are different errors: a directory that is down, or that hides its own base from us,
// never makes an address unknown.
//
// Start reading at [Resolver.Route]; ask.go says whom a question is put to, account.go has people, expand.go roles and
// groups, certificate.go certificates.
package lookup

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/schema"
)

// Options of [New]. Base is required.
type Options struct {
	Base string // the suffix all entries are below
	Node string // name of this machine in mailHost: an entry with another one is delivered elsewhere

	// Domains are ours although no entry says so: for directories that have no entries of domains.
	Domains []string

	// View, when not nil, answers instead of the directory as long as it is fresh enough.
	View *view.View

	MaxRecipients int           // of one address after expansion; 0 = 10,000
	MaxDepth      int           // levels of roles, groups and forwards in each other; 0 = 10
	TTL           time.Duration // how long domains and authorities are kept; 0 = 10 s

	Now func() time.Time // nil = time.Now
	Log *slog.Logger     // nil = discarded
}

// A Resolver looks things up. Any number of goroutines may use it.
type Resolver struct {
	client      *client.Client
	opts        Options
	log         *slog.Logger
	domains     *cache[*domain]     // by name
	authorities *cache[[]Authority] // one value, under the empty key
	answers     *cache[[]*ldap.Entry]
}

// New returns a resolver that asks c.
func New(c *client.Client, opts Options) *Resolver {
	if opts.MaxRecipients <= 0 {
		opts.MaxRecipients = 10_000
	}
	if opts.MaxDepth <= 0 {
		opts.MaxDepth = 10
	}
	if opts.TTL <= 0 {
		opts.TTL = 10 * time.Second
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	r := &Resolver{
		client: c, opts: opts, log: opts.Log,
		domains:     newCache[*domain](opts.TTL, opts.Now),
		authorities: newCache[[]Authority](opts.TTL, opts.Now),
		answers:     newCache[[]*ldap.Entry](keepFound, opts.Now),
	}
	r.answers.keep, r.answers.most = howLong, maxKept
	return r
}

func isClass(e *ldap.Entry, class string) bool {
	return holds(e, schema.AttrObjectClass, class)
}

// holds reports whether a value of attr equals value but for case. Servers match more loosely (they squeeze blanks and fold
// compatibility characters), so what a search found for a name from outside is compared once more.
func holds(e *ldap.Entry, attr, value string) bool {
	return value != "" && slices.ContainsFunc(e.GetEqualFoldAttributeValues(attr), func(v string) bool { return strings.EqualFold(v, value) })
}

func value(e *ldap.Entry, attr string) string { return e.GetEqualFoldAttributeValue(attr) }

func nameKey(dn string) string { return view.Name(dn) }
