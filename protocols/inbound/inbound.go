// Package inbound takes the mail that other systems bring: from strangers by the MX, from an MTA beside us by LMTP.
//
// A transaction asks two questions here. At RCPT, [Acceptor.Recipient]: may this address be mailed, and is there room?
// At DATA, [Acceptor.Accept], which is the page to read: the list of what happens to a message.
package inbound

import (
	"context"
	"fmt"
	"io"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/protocols/delivery"
	"github.com/dirpost/dirpost/protocols/delivery/trace"
	"github.com/dirpost/dirpost/protocols/queue"
)

// Options of an [Acceptor]. The zero value works.
type Options struct {
	Hostname string       // our name in trace fields; empty = "localhost"
	Limits   trace.Limits // of headers
}

// An Acceptor accepts messages for our recipients. Its methods may be called concurrently.
type Acceptor struct {
	resolver  *lookup.Resolver
	deliverer *delivery.Deliverer
	queue     *queue.Queue
	opts      Options
}

// New returns an Acceptor that asks resolver where addresses lead and deliverer whether there is room, and
// delivers through q.
func New(resolver *lookup.Resolver, deliverer *delivery.Deliverer, q *queue.Queue, opts Options) *Acceptor {
	if opts.Hostname == "" {
		opts.Hostname = "localhost"
	}
	return &Acceptor{resolver, deliverer, q, opts}
}

// Sender takes any sender: who he is, only the message can tell.
func (a *Acceptor) Sender(context.Context, directory.Address) error { return nil }

// Recipient says where mail for addr goes, or why it is not taken from the envelope sender: an error of
// [lookup.Resolver.Route], ErrNotLocal among them, or of [delivery.Deliverer.Check]. size is what the client declared, 0 for
// nothing.
func (a *Acceptor) Recipient(ctx context.Context, from, addr directory.Address, size int64) (directory.Route, error) {
	route, err := a.resolver.Route(ctx, addr, &lookup.Sender{Address: from})
	if err != nil {
		return directory.Route{}, fmt.Errorf("recipient %s: %w", addr, err)
	}
	return route, a.deliverer.Check(ctx, route, size)
}

// Accept takes the message body for the recipients of env. Either the whole message is refused, with an error that
// wraps one of trace's, storage.ErrOverQuota, or that of reading or writing it, and nobody has it; or there is one
// result for each recipient as [queue.Queue.Deliver] gives them. When a result is nil the message is durable.
func (a *Acceptor) Accept(ctx context.Context, env protocols.Envelope, body io.Reader) ([]error, error) {
	// The header is read whole, within its limits. A message that goes in circles ends here.
	msg, err := trace.Read(body, a.opts.Limits)
	if err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}

	// What only we may say is not taken from others (RFC 8601 section 5).
	msg.Drop(trace.Forged(a.opts.Hostname))

	// Our trace fields on top, then the body as it comes, never held in memory: into one file for all recipients, durable
	// before anybody sees it. Bare line ends refuse the message here.
	staged, err := a.deliverer.Stage(msg, trace.Stamp(env, a.opts.Hostname))
	if err != nil {
		return nil, err
	}
	defer staged.Discard()

	// A link into each mailbox, durable when it returns; what cannot be filed now is kept, durable too. The caller says 250.
	return a.queue.Deliver(ctx, env, staged), nil
}
