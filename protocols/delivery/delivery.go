// Package delivery files a message in the mailboxes of its recipients. It is the one way into a mailbox for everything
// that arrives by SMTP, submission or LMTP.
//
// A message has been staged and sealed before: it is on disk once, and every mailbox gets a link to it. A recipient may
// stand for several mailboxes (a role, a group), and a mailbox for several recipients: each mailbox gets one copy of a
// transaction.
//
// Who of several recipients is told what, and what becomes of those who cannot have it now, is decided above, in package
// queue.
//
// Start reading at [Deliverer.File]. Package trace, below this one, reads and writes headers.
package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/protocols/delivery/trace"
	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// ErrOutbound: the address, or part of what it stands for, is not on this server. There is no queue to send it from.
var ErrOutbound = errors.New("outbound mail is not set up yet")

// Options of a [Deliverer]. The zero value works.
type Options struct {
	Log *slog.Logger     // nil = discard
	Now func() time.Time // nil = time.Now

	// Warnings are the percentages of a quota at which its owner gets a letter, in rising order; nil = none.
	Warnings []int

	// Observe, when not nil, is told of each attempt to file a message in a mailbox: how large it was, how long it took,
	// and the error.
	Observe func(bytes int64, took time.Duration, err error)
}

// A Deliverer files messages in one store. Its methods may be called concurrently.
type Deliverer struct {
	store   *mailbox.Store
	log     *slog.Logger
	now     func() time.Time
	marks   []int
	observe func(bytes int64, took time.Duration, err error)
}

// New returns a Deliverer into store.
func New(store *mailbox.Store, opts Options) *Deliverer {
	d := &Deliverer{store: store, log: opts.Log, now: opts.Now, marks: opts.Warnings, observe: opts.Observe}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.now == nil {
		d.now = time.Now
	}
	if d.observe == nil {
		d.observe = func(int64, time.Duration, error) {}
	}
	return d
}

// Check says at RCPT whether a message of size octets (0 = not known) could be filed along route: ErrOutbound,
// storage.ErrOverQuota, or an error that says nothing but "not now". A full member does not refuse a group, a group of
// full members is full.
func (d *Deliverer) Check(ctx context.Context, route directory.Route, size int64) error {
	if len(route.Remote) > 0 || route.Transport != "" {
		return fmt.Errorf("%s: %w", route.Address, ErrOutbound)
	}
	if len(route.Mailboxes) == 0 {
		return fmt.Errorf("%s leads to no mailbox: %w", route.Address, directory.ErrNoSuchAddress)
	}
	var err error
	for _, box := range route.Mailboxes {
		err = d.Room(ctx, box, size)
		if err == nil || len(route.Mailboxes) > 1 && !errors.Is(err, storage.ErrOverQuota) {
			return nil // somebody takes it, or may be able to by then
		}
	}
	return err
}

// Room says whether a mailbox has room for size octets (0 = not known): storage.ErrOverQuota, or an error that says nothing but
// "not now".
func (d *Deliverer) Room(ctx context.Context, box directory.Mailbox, size int64) error {
	home, err := d.store.Home(box.ID)
	if err != nil {
		return fmt.Errorf("mailbox %s: %w", box.ID, err)
	}
	if err := home.CheckQuota(ctx, storage.Quota(box.Quota), max(size, 1)); err != nil {
		return fmt.Errorf("mailbox %s: %w", box.ID, err)
	}
	return nil
}

// Stage writes the message to the one file that all mailboxes will link to, with top (see [trace.Stamp]) before its
// header. The file is durable when Stage returns; the caller discards it in the end.
func (d *Deliverer) Stage(msg *trace.Message, top string) (*mailbox.Staged, error) {
	staged, err := d.store.Stage()
	if err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	staged.SetDate(d.now())
	err = msg.Copy(staged, top)
	if err == nil {
		err = staged.Seal()
	}
	if err != nil {
		staged.Discard()
		return nil, fmt.Errorf("stage: %w", err)
	}
	return staged, nil
}

// File puts the sealed message into the INBOX of one mailbox of a recipient of env. When it returns nil the message is durable
// there.
func (d *Deliverer) File(ctx context.Context, env protocols.Envelope, rcpt directory.Address, box directory.Mailbox, staged *mailbox.Staged) (err error) {
	begun := time.Now()
	defer func() { d.observe(staged.Size(), time.Since(begun), err) }()
	home, err := d.store.Home(box.ID)
	if err != nil {
		return fmt.Errorf("deliver to %s: %w", box.Login, err)
	}
	filed, err := home.Append(ctx, "INBOX", staged, mailbox.AppendOptions{Quota: storage.Quota(box.Quota)})
	if err != nil {
		return fmt.Errorf("deliver to %s: %w", box.Login, err)
	}
	d.log.InfoContext(ctx, "delivered", "conn", env.Peer.ID, "mail", env.ID, "rcpt", rcpt.String(), "login", box.Login,
		"from", env.From.String(), "uid", filed.UID, "bytes", staged.Size(), "took", time.Since(begun))
	d.warn(ctx, home, rcpt, box)
	return nil
}
