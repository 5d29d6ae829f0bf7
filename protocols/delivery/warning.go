package delivery

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols/delivery/trace"
	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// warn puts a letter into a mailbox that has just grown over a mark of its quota. It never fails a delivery: that the owner
// is not warned is in the log.
func (d *Deliverer) warn(ctx context.Context, home *mailbox.Home, rcpt directory.Address, box directory.Mailbox) {
	mark, err := home.Crossed(ctx, storage.Quota(box.Quota), d.marks)
	if err == nil && mark > 0 {
		err = d.fileWarning(ctx, home, rcpt, box, mark)
	}
	if err != nil {
		d.log.WarnContext(ctx, "no warning of the quota", "login", box.Login, "err", err)
	}
}

// fileWarning files the letter, whatever the quota.
func (d *Deliverer) fileWarning(ctx context.Context, home *mailbox.Home, rcpt directory.Address, box directory.Mailbox, mark int) error {
	msg, err := trace.Read(strings.NewReader(d.warning(rcpt, box, mark)), trace.Limits{})
	if err != nil {
		return err
	}
	letter, err := d.Stage(msg, "Return-Path: <>\r\n")
	if err != nil {
		return err
	}
	defer letter.Discard()
	if _, err := home.Append(ctx, "INBOX", letter, mailbox.AppendOptions{}); err != nil {
		return err
	}
	d.log.InfoContext(ctx, "warned of the quota", "login", box.Login, "percent", mark)
	return nil
}

// warning is the letter.
func (d *Deliverer) warning(rcpt directory.Address, box directory.Mailbox, mark int) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("From: Mail System <postmaster@%s>", rcpt.Domain)
	line("To: %s:;", box.Login)
	line("Subject: Your mailbox is %d%% full", mark)
	line("Date: %s", trace.Date(d.now()))
	line("Message-ID: <%s@%s>", strings.ToLower(rand.Text()), rcpt.Domain)
	line("Auto-Submitted: auto-generated")
	line("MIME-Version: 1.0")
	line("Content-Type: text/plain; charset=us-ascii")
	line("")
	line("The mailbox of %s has grown to %d%% of what it may hold:", box.Login, mark)
	if box.Quota.Bytes > 0 {
		line("%d MB of mail in all folders.", (box.Quota.Bytes+999_999)/1_000_000)
	}
	if box.Quota.Messages > 0 {
		line("%d messages in all folders.", box.Quota.Messages)
	}
	line("")
	line("When it is full, new mail cannot be filed: senders are told to try again,")
	line("and get it back after some days. Please delete what you do not need, and")
	line("empty the folder Trash; what is there counts, too.")
	return b.String()
}
