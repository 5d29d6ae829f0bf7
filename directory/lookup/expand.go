package lookup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/schema"
)

// namesPerSearch is how many entries one search asks for by name.
const namesPerSearch = 100

// A stepFunc takes down a decision about an entry, empty where none is involved.
type stepFunc func(dn, format string, args ...any)

// An expansion follows one address through roles, groups and forwards to mailboxes and outside addresses, level by level.
// What was seen once is not followed again, so circles end. A member that cannot receive is left out and does not stop the
// others; only the address itself can be refused.
type expansion struct {
	q       question
	route   directory.Route
	seen    map[string]bool // entries by name, outside addresses, mailboxes by id
	foreign map[string]bool // domains known not to be ours
	dns     []string        // the next level
	addrs   []directory.Address
}

func (q question) newExpansion(a directory.Address) *expansion {
	return &expansion{q: q, route: directory.Route{Address: a}, seen: map[string]bool{}, foreign: map[string]bool{}}
}

func (x *expansion) step(dn, format string, args ...any) {
	x.route.Steps = append(x.route.Steps, directory.Step{Entry: dn, Text: fmt.Sprintf(format, args...)})
}

// follow expands what the address leads to. ErrNoSuchAddress: to nobody.
func (x *expansion) follow(ctx context.Context, t target) error {
	x.dns = t.dns
	switch {
	case t.transport != "":
		x.route.Transport = t.transport
		return nil
	case t.entry != nil:
		if err := x.first(ctx, t.entry); err != nil || x.route.Transport != "" {
			return err
		}
	}
	for depth := 0; len(x.dns)+len(x.addrs) > 0; depth++ {
		if depth >= x.q.opts.MaxDepth {
			return fmt.Errorf("%w: %s leads through more than %d levels", directory.ErrTooMany, t.address, depth)
		}
		if err := x.level(ctx); err != nil {
			return err
		}
	}
	if len(x.route.Mailboxes)+len(x.route.Remote) == 0 {
		return fmt.Errorf("%w: %s leads to nobody", directory.ErrNoSuchAddress, t.address)
	}
	return nil
}

// first takes the entry that has the address itself: here a state is an answer, and a transport is the route.
func (x *expansion) first(ctx context.Context, e *ldap.Entry) error {
	switch statusOf(e) {
	case directory.Suspended:
		x.step(e.DN, "which is suspended")
		return fmt.Errorf("%w: %s", directory.ErrSuspended, e.DN)
	case directory.Deleted:
		x.step(e.DN, "which is deleted")
		return fmt.Errorf("%w: %s is deleted", directory.ErrNoSuchAddress, e.DN)
	}
	hop := x.q.elsewhere(e)
	if hop == "" {
		return x.visit(ctx, e)
	}
	if refused(hop) {
		x.step(e.DN, "which refuses its mail")
		return refusal(hop)
	}
	x.step(e.DN, "handed on to %s", hop)
	x.route.Transport = hop
	if to := addresses(e, schema.AttrMailRoutingAddress); len(to) > 0 {
		x.step(e.DN, "as mail for %s", to[0])
		x.route.Remote = to[:1]
	}
	return nil
}

// level expands the entries and addresses that the level before named.
func (x *expansion) level(ctx context.Context) error {
	dns, addrs := x.dns, x.addrs
	x.dns, x.addrs = nil, nil
	for batch := range slices.Chunk(dns, namesPerSearch) {
		if err := x.members(ctx, batch); err != nil {
			return err
		}
	}
	for _, a := range addrs {
		if err := x.address(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// members looks entries up by name and visits them in the order of the names.
func (x *expansion) members(ctx context.Context, dns []string) error {
	entries, err := x.q.find(ctx, view.Query{Any: terms(schema.AttrEntryDN, dns)})
	if err != nil {
		return err
	}
	found := map[string]*ldap.Entry{}
	for _, e := range entries {
		found[nameKey(e.DN)] = e
	}
	for _, dn := range dns {
		e := found[nameKey(dn)]
		if e == nil {
			x.step(dn, "left out: there is no such entry")
			continue
		}
		if err := x.member(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// member visits an entry that a role, group or forward names.
func (x *expansion) member(ctx context.Context, e *ldap.Entry) error {
	if s := statusOf(e); s == directory.Suspended || s == directory.Deleted {
		x.step(e.DN, "left out: %s", s)
		return nil
	}
	hop := x.q.elsewhere(e)
	if hop == "" {
		return x.visit(ctx, e)
	}
	if refused(hop) {
		x.step(e.DN, "left out: it refuses its mail")
		return nil
	}
	for _, attr := range []string{schema.AttrMailRoutingAddress, schema.AttrMail, schema.AttrMailLocalAddress} {
		if to := addresses(e, attr); len(to) > 0 {
			x.step(e.DN, "handed on to %s as mail for %s", hop, to[0])
			return x.outside(to[0])
		}
	}
	x.step(e.DN, "left out: it is handed on to %s and has no address", hop)
	return nil
}

// visit adds what an entry receives for, and queues whom it names.
func (x *expansion) visit(ctx context.Context, e *ldap.Entry) error {
	if key := "entry " + nameKey(e.DN); x.seen[key] {
		x.step(e.DN, "seen before")
		return nil
	} else {
		x.seen[key] = true
	}
	if to := addresses(e, schema.AttrMailRoutingAddress); len(to) > 0 && !holds(e, schema.AttrMailLocalAddress, to[0].Key()) {
		x.step(e.DN, "rewritten to %s", to[0])
		return x.queue(nil, to[:1])
	}
	forwards := addresses(e, schema.AttrDpForward)
	for _, a := range forwards {
		x.step(e.DN, "forwards to %s", a)
	}
	keep := len(forwards) == 0 || !strings.EqualFold(value(e, schema.AttrDpForwardKeep), "FALSE")
	if !keep {
		x.step(e.DN, "keeps no copy")
		return x.queue(nil, forwards)
	}
	switch {
	case isClass(e, schema.ClassDpMailAccount):
		return errors.Join(x.file(ctx, e), x.queue(nil, forwards))
	case isClass(e, schema.ClassOrganizationalRole):
		return x.group(e, "role", "occupant", x.inOffice(e), forwards)
	case isClass(e, schema.ClassGroupOfNames):
		return x.group(e, "group", "member", e.GetEqualFoldAttributeValues(schema.AttrMember), forwards)
	case isClass(e, schema.ClassDpSharedFolder) && value(e, schema.AttrDpMailboxId) != "":
		return errors.Join(x.file(ctx, e), x.queue(nil, forwards))
	}
	x.step(e.DN, "it is no account, role or group, and has no transport")
	return x.queue(nil, slices.Concat(forwards, addresses(e, schema.AttrRfc822MailMember)))
}

// group queues whom a role or group names.
func (x *expansion) group(e *ldap.Entry, kind, one string, dns []string, forwards []directory.Address) error {
	outside := addresses(e, schema.AttrRfc822MailMember)
	text := kind + " with " + count(len(dns), one)
	if len(outside) > 0 {
		text += " and " + count(len(outside), "outside member")
	}
	x.step(e.DN, "%s", text)
	return x.queue(dns, slices.Concat(outside, forwards))
}

// count is a number with its noun: 1 member, 2 members.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// queue names what the next level visits. Names and addresses count as recipients already, so that a large tree is not
// walked before it is found too large.
func (x *expansion) queue(dns []string, addrs []directory.Address) error {
	x.dns = append(x.dns, dns...)
	x.addrs = append(x.addrs, addrs...)
	return x.bounded()
}

func (x *expansion) bounded() error {
	if n := len(x.dns) + len(x.addrs) + len(x.route.Mailboxes) + len(x.route.Remote); n > x.q.opts.MaxRecipients {
		return fmt.Errorf("%w: more than %d recipients", directory.ErrTooMany, x.q.opts.MaxRecipients)
	}
	return nil
}

// file adds the mailbox of an account or a folder, once.
func (x *expansion) file(ctx context.Context, e *ldap.Entry) error {
	acct, err := x.q.account(ctx, e)
	if err != nil {
		return err
	}
	if acct.ID == "" {
		x.step(e.DN, "left out: it has no mailbox")
		return nil
	}
	if key := "mailbox " + acct.ID; x.seen[key] {
		return nil
	} else {
		x.seen[key] = true
	}
	if acct.Login == "" {
		acct.Login = acct.Name
	}
	x.step(e.DN, "filed in mailbox %s of %s", acct.ID, acct.Login)
	x.route.Mailboxes = append(x.route.Mailboxes, directory.Mailbox{ID: acct.ID, Login: acct.Login, Quota: acct.Quota})
	return x.bounded()
}

// address resolves an address that an entry names: outside ones are recipients, ours lead on.
func (x *expansion) address(ctx context.Context, a directory.Address) error {
	if x.foreign[a.Domain] {
		return x.outside(a)
	}
	hit, err := x.q.target(ctx, a, x.step)
	switch {
	case errors.Is(err, directory.ErrNotLocal):
		x.foreign[a.Domain] = true
		return x.outside(a)
	case nobody(err):
		x.step("", "left out: %v", err)
		return nil
	case err != nil:
		return err
	case hit.transport != "":
		return x.outside(hit.address)
	case hit.entry == nil:
		return x.queue(hit.dns, nil)
	}
	return x.member(ctx, hit.entry)
}

// outside adds an address that needs outbound mail, once.
func (x *expansion) outside(a directory.Address) error {
	if key := "address " + a.Key(); x.seen[key] {
		return nil
	} else {
		x.seen[key] = true
	}
	x.step("", "%s is outside", a)
	x.route.Remote = append(x.route.Remote, a)
	return x.bounded()
}
