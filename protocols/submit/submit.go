// Package submit takes the mail of our own people (RFC 6409). It differs from what strangers bring in two ways: the
// sender is known, and must not claim to be somebody else, neither in the envelope nor in the header; and what his program
// forgot, Date and Message-ID, is added (RFC 6409 section 8).
//
// Start reading at [Submission.Accept], the list of what happens to a message; sender.go judges the header.
package submit

import (
	"context"
	"errors"
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
	Hostname string       // our name in trace fields and message ids; empty = "localhost"
	Limits   trace.Limits // of headers
}

// An Acceptor accepts the messages of everybody who has logged in. Its methods may be called concurrently.
type Acceptor struct {
	resolver  *lookup.Resolver
	deliverer *delivery.Deliverer
	queue     *queue.Queue
	opts      Options
}

// New returns an Acceptor that asks resolver where addresses lead and who may use them, asks deliverer
// whether there is room, and delivers through q.
func New(resolver *lookup.Resolver, deliverer *delivery.Deliverer, q *queue.Queue, opts Options) *Acceptor {
	if opts.Hostname == "" {
		opts.Hostname = "localhost"
	}
	return &Acceptor{resolver, deliverer, q, opts}
}

// For returns what one person may do after his login. used is told of each address he sends as.
func (a *Acceptor) For(id directory.Identity, used func(directory.Address)) *Submission {
	return &Submission{a, id, used}
}

// A Submission is the desk at which one identity hands in messages.
type Submission struct {
	*Acceptor
	who  directory.Identity
	used func(directory.Address)
}

// Sender judges the envelope sender: an own send address, or one that a role or grant allows. The null sender is taken,
// because disposition notifications must have it (RFC 8098 section 3); who speaks is then judged by the header alone.
// A refusal is a [protocols.Reply]; any other error means that nobody can tell now.
func (s *Submission) Sender(ctx context.Context, from directory.Address) error {
	if from.IsZero() {
		return nil
	}
	ok, err := s.resolver.MaySend(ctx, s.who.Account, from)
	if err != nil {
		return fmt.Errorf("sender %s: %w", from, err)
	}
	if !ok {
		return protocols.Reply{Code: 553, Enhanced: "5.7.1", Text: fmt.Sprintf("you may not send as %s", from)}
	}
	s.used(from)
	return nil
}

// Recipient says where mail for addr goes, or why it is not taken from this person: an error of [lookup.Resolver.Route] or
// [delivery.Deliverer.Check]. Other domains are delivery.ErrOutbound. size is what the client declared, 0 for nothing.
func (s *Submission) Recipient(ctx context.Context, from, addr directory.Address, size int64) (directory.Route, error) {
	route, err := s.resolver.Route(ctx, addr, &lookup.Sender{Address: from, Entry: s.who.DN})
	if errors.Is(err, directory.ErrNotLocal) {
		return directory.Route{}, fmt.Errorf("recipient %s: %w", addr, delivery.ErrOutbound)
	}
	if err != nil {
		return directory.Route{}, fmt.Errorf("recipient %s: %w", addr, err)
	}
	return route, s.deliverer.Check(ctx, route, size)
}

// Accept takes the message body for the recipients of env. Either the whole message is refused, with a
// [protocols.Reply] or an error that wraps one of trace's, storage.ErrOverQuota, or that of reading or writing it, and
// nobody has it; or there is one result for each recipient as [queue.Queue.Deliver] gives them. When a result is
// nil the message is durable. The copy for the sender's own Sent folder is the business of his program.
func (s *Submission) Accept(ctx context.Context, env protocols.Envelope, body io.Reader) ([]error, error) {
	// The header is read whole, within its limits. A message that goes in circles ends here.
	msg, err := trace.Read(body, s.opts.Limits)
	if err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}

	// Who the message says it is from must be who hands it in, or whom he may speak for.
	if err := s.checkHeader(ctx, msg); err != nil {
		return nil, err
	}

	// What only we may say is not taken from others, what is nobody's business is left out, what the program forgot is added.
	msg.Drop(trace.Forged(s.opts.Hostname))
	msg.Drop(private)
	top := trace.Stamp(env, s.opts.Hostname) + s.missing(env, msg)

	// Our fields on top, then the body as it comes, never held in memory: into one file for all recipients, durable before
	// anybody sees it. Bare line ends refuse the message here.
	staged, err := s.deliverer.Stage(msg, top)
	if err != nil {
		return nil, err
	}
	defer staged.Discard()

	// A link into each mailbox, durable when it returns; what cannot be filed now is kept, durable too. The caller says 250.
	return s.queue.Deliver(ctx, env, staged), nil
}

// private fits the fields that no recipient may see: blind copies go by the envelope (RFC 5322 section 3.6.3), but some
// programs leave their list in.
func private(f trace.Field) bool { return f.Is("Bcc") || f.Is("Resent-Bcc") }

// missing is what RFC 6409 section 8 lets us add: the date and an id.
func (s *Submission) missing(env protocols.Envelope, msg *trace.Message) string {
	var add string
	if len(msg.Values("Date")) == 0 {
		add += "Date: " + trace.Date(env.Received) + "\r\n"
	}
	if len(msg.Values("Message-ID")) == 0 {
		add += fmt.Sprintf("Message-ID: <%s@%s>\r\n", env.ID, s.opts.Hostname)
	}
	return add
}
