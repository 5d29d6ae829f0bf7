package queue

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/protocols/delivery/trace"
	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// A failure is a recipient who will not get a message.
type failure struct {
	rcpt directory.Address
	err  error
}

// An origin is where a message came from.
type origin struct {
	id, from, login string
	received        time.Time
}

// reportLost tells whom it concerns that a message is given up. Whatever comes of it, it is in the log.
func (q *Queue) reportLost(ctx context.Context, from origin, lost []failure, staged *mailbox.Staged) {
	readers := map[directory.Address][]failure{}
	for _, f := range lost {
		q.log.WarnContext(ctx, "message is given up", "mail", from.id, "from", from.from, "rcpt", f.rcpt.String(), "err", f.err)
		to := directory.Address{Local: "postmaster", Domain: f.rcpt.Domain}
		if sender, err := directory.ParseAddress(from.from); err == nil && from.login != "" {
			to = sender
		}
		readers[to] = append(readers[to], f)
	}
	for to, failures := range readers {
		if err := q.report(ctx, to, from, failures, staged); err != nil {
			q.log.ErrorContext(ctx, "report cannot be filed", "mail", from.id, "rcpt", to.String(), "err", err)
		}
	}
}

// report files a report in the mailboxes of an address.
func (q *Queue) report(ctx context.Context, to directory.Address, from origin, failures []failure, staged *mailbox.Staged) error {
	route, err := q.resolver.Route(ctx, to, nil)
	if err != nil {
		return err
	}
	header, err := headerOf(staged)
	if err != nil {
		return err
	}
	now := q.opts.Now()
	env := protocols.Envelope{ID: strings.ToLower(rand.Text()[:16]), Received: now, Rcpts: []protocols.Recipient{{Address: to, Route: route}}}
	text := dsn(q.opts.Hostname, to, from, failures, header, env.ID, now)
	msg, err := trace.Read(strings.NewReader(text), trace.Limits{})
	if err != nil {
		return err
	}
	letter, err := q.deliverer.Stage(msg, "Return-Path: <>\r\n")
	if err != nil {
		return err
	}
	defer letter.Discard()
	err = directory.ErrNoSuchAddress
	for _, box := range route.Mailboxes {
		if filed := q.deliverer.File(ctx, env, to, box, letter); err != nil {
			err = filed // one who has it is enough
		}
	}
	return err
}

// maxQuotedHeader bounds what a report shows of a message.
const maxQuotedHeader = 32 << 10

// headerOf returns the header of a message as a report shows it: printable ASCII in lines that end in CRLF.
func headerOf(staged *mailbox.Staged) (string, error) {
	f, err := staged.Open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	var out strings.Builder
	lines := bufio.NewScanner(io.LimitReader(f, maxQuotedHeader))
	for lines.Scan() {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line == "" {
			break
		}
		out.WriteString(strings.Map(printable, line) + "\r\n")
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return "", err
	}
	return out.String(), nil
}

func printable(r rune) rune {
	if r == '\t' || ' ' <= r && r <= '~' {
		return r
	}
	return '?'
}

// dsn writes a delivery status notification (RFC 3464), with the header of the message (RFC 6522).
func dsn(host string, to directory.Address, from origin, failures []failure, header, id string, now time.Time) string {
	var b strings.Builder
	boundary := "=_" + rand.Text()
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("From: Mail Delivery System <MAILER-DAEMON@%s>", host)
	line("To: <%s>", to)
	line("Subject: Undelivered mail")
	line("Date: %s", trace.Date(now))
	line("Message-ID: <%s@%s>", id, host)
	line("Auto-Submitted: auto-replied")
	line("MIME-Version: 1.0")
	line("Content-Type: multipart/report; report-type=delivery-status; boundary=\"%s\"", boundary)
	line("")
	line("--%s", boundary)
	line("Content-Type: text/plain; charset=us-ascii")
	line("")
	line("This is the mail system at %s.", host)
	line("")
	line("A message that arrived here on %s could not be delivered to", trace.Date(from.received))
	line("one or more of its recipients, and is not tried again:")
	for _, f := range failures {
		line("")
		line("<%s>: %s", f.rcpt, reason(f.err).text)
	}
	line("")
	line("--%s", boundary)
	line("Content-Type: message/delivery-status")
	line("")
	line("Reporting-MTA: dns; %s", host)
	line("Arrival-Date: %s", trace.Date(from.received))
	for _, f := range failures {
		r := reason(f.err)
		line("")
		line("Final-Recipient: rfc822; %s", f.rcpt)
		line("Action: failed")
		line("Status: %s", r.status)
		line("Diagnostic-Code: x-dirpost; %s", r.text)
	}
	line("")
	line("--%s", boundary)
	line("Content-Type: text/rfc822-headers; charset=us-ascii")
	line("")
	b.WriteString(header)
	line("")
	line("--%s--", boundary)
	return b.String()
}

// A why is what a report says of an error, which may have internals in it.
type why struct{ status, text string }

func reason(err error) why {
	full := errors.Is(err, storage.ErrOverQuota)
	switch {
	case errors.Is(err, storage.ErrTooLarge):
		return why{"5.3.4", "the message is too large for the mailbox"}
	case errors.Is(err, directory.ErrSuspended):
		return why{"5.2.1", "the address is suspended"}
	case gone(err):
		return why{"5.1.1", "there is no such address any more"}
	case errors.Is(err, errExpired) && full:
		return why{"5.2.2", "the mailbox was full for too long"}
	case errors.Is(err, errExpired):
		return why{"5.4.7", "the mailbox could not be written for too long"}
	}
	return why{"5.0.0", "delivery failed"}
}
