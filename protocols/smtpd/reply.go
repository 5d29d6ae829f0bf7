package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/emersion/go-smtp"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/protocols/delivery"
	"github.com/dirpost/dirpost/protocols/delivery/trace"
	"github.com/dirpost/dirpost/protocols/login"
	"github.com/dirpost/dirpost/storage"
)

// answers says what a peer hears of an error: the first row that fits. Whatever is in no row is not known to be a "no"
// and is a temporary failure.
var answers = []struct {
	err   error
	reply protocols.Reply
}{
	// Who cannot tell comes first: an error may wrap both a no and the reason why it is not certain.
	{directory.ErrUnavailable, protocols.Reply{Code: 451, Enhanced: "4.3.0", Text: "temporary failure, try again later"}},

	{directory.ErrNoSuchAddress, protocols.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such address"}},
	{directory.ErrNotLocal, protocols.Reply{Code: 550, Enhanced: "5.7.1", Text: "relaying denied"}},
	{directory.ErrRestricted, protocols.Reply{Code: 550, Enhanced: "5.7.2", Text: "you may not write to this address"}},
	{directory.ErrSuspended, protocols.Reply{Code: 550, Enhanced: "5.2.1", Text: "address is suspended"}},
	// A limit of ours may be mended, and the mail should not be lost over it (RFC 3463 section 3.3).
	{directory.ErrTooMany, protocols.Reply{Code: 452, Enhanced: "4.2.4", Text: "address stands for too many others"}},
	{directory.ErrNoDomain, protocols.Reply{Code: 553, Enhanced: "5.1.3", Text: "address has no domain"}},
	{directory.ErrTooLong, protocols.Reply{Code: 553, Enhanced: "5.1.3", Text: "address is too long"}},
	{directory.ErrBadAddress, protocols.Reply{Code: 553, Enhanced: "5.1.3", Text: "address is not usable here"}},
	{delivery.ErrOutbound, protocols.Reply{Code: 451, Enhanced: "4.4.0", Text: "outbound mail is not set up yet"}},

	{storage.ErrOverQuota, protocols.Reply{Code: 452, Enhanced: "4.2.2", Text: "mailbox full"}},
	{storage.ErrTooLarge, protocols.Reply{Code: 552, Enhanced: "5.3.4", Text: "message too large"}},
	{syscall.ENOSPC, protocols.Reply{Code: 452, Enhanced: "4.3.1", Text: "out of space, try again later"}},
	{syscall.EDQUOT, protocols.Reply{Code: 452, Enhanced: "4.3.1", Text: "out of space, try again later"}},

	{trace.ErrLineEnds, protocols.Reply{Code: 550, Enhanced: "5.5.2", Text: "lines must end with CRLF, and there is no NUL in a message"}},
	{smtp.ErrTooLongLine, protocols.Reply{Code: 550, Enhanced: "5.6.0", Text: "message has a line that is too long"}},
	{trace.ErrHeaderLarge, protocols.Reply{Code: 552, Enhanced: "5.3.4", Text: "message header too large"}},
	{trace.ErrLoop, protocols.Reply{Code: 554, Enhanced: "5.4.6", Text: "too many hops, this message goes in circles"}},

	// RFC 4954 section 6. ErrRefused has the words of ErrWrong: the log tells them apart, the peer cannot.
	{login.ErrMechanism, protocols.Reply{Code: 504, Enhanced: "5.5.4", Text: "no such mechanism"}},
	{login.ErrPrivacy, protocols.Reply{Code: 538, Enhanced: "5.7.11", Text: "encryption is required, use STARTTLS"}},
	{login.ErrMalformed, protocols.Reply{Code: 501, Enhanced: "5.5.2", Text: "malformed authentication data"}},
	{directory.ErrWrong, replyWrong},
	{directory.ErrRefused, replyWrong},
}

// Answers that no error stands for.
var (
	replyWrong     = protocols.Reply{Code: 535, Enhanced: "5.7.8", Text: "authentication failed"}
	replyNoTell    = protocols.Reply{Code: 454, Enhanced: "4.7.0", Text: "cannot check this now, try again later"}
	replyNoAuth    = protocols.Reply{Code: 502, Enhanced: "5.5.1", Text: "no authentication here"}
	replyFirstAuth = protocols.Reply{Code: 530, Enhanced: "5.7.0", Text: "authentication required"}
	replyASCII     = protocols.Reply{Code: 553, Enhanced: "5.6.7", Text: "address must be ASCII"}
	replyNoSender  = protocols.Reply{Code: 553, Enhanced: "5.1.7", Text: "sender address is not usable"}
	replyLater     = protocols.Reply{Code: 451, Enhanced: "4.3.0", Text: "temporary failure, try again later"}
	replyAborted   = protocols.Reply{Code: 421, Enhanced: "4.5.0", Text: "message was abandoned"}
	replyEarly     = protocols.Reply{Code: 554, Enhanced: "5.5.1", Text: "you speak before the greeting"}
	replyStopped   = protocols.Reply{Code: 451, Enhanced: "4.4.2", Text: "message stopped coming, try again later"}
	replyDismissed = protocols.Reply{Code: 421, Enhanced: "4.7.0", Text: "what let you in has changed, log in again"}
	replyClosing   = protocols.Reply{Code: 421, Enhanced: "4.3.2", Text: "shutting down, try again later"}
	replyEnough    = protocols.Reply{Code: 421, Enhanced: "4.7.0", Text: "too many errors, closing"}
	replyMany      = protocols.Reply{Code: 421, Enhanced: "4.7.0", Text: "too many messages in one session, come again"}
)

// reply makes of an error what the peer hears. It hears nothing that is not in this file, in a [protocols.Reply], in
// what an administrator wrote for his peers or in go-smtp: texts of other errors are for the log.
func reply(err error) protocols.Reply {
	var own protocols.Reply
	var library *smtp.SMTPError
	var refusal directory.Refusal
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &refusal):
		return protocols.Reply{Code: refusal.Code, Enhanced: refusal.Enhanced, Text: refusal.Text}
	case errors.As(err, &library):
		return protocols.Reply{Code: library.Code, Enhanced: dotted(library.EnhancedCode), Text: library.Message}
	}
	for _, row := range answers {
		if errors.Is(err, row.err) {
			return row.reply
		}
	}
	return replyLater
}

// refuse logs an error, once, and returns it in the only form go-smtp passes on as it is. A fault of ours is a warning,
// a no is what the session is for; but whoever collects more than most of them in count is sent away. A negative most
// is no limit.
func (s *session) refuse(ctx context.Context, what string, err error, count *int, most int) error {
	r := reply(err)
	log := s.log.DebugContext
	if (r == replyLater || r == replyNoTell || r.Enhanced == "4.3.1") && !goneAway(err) {
		log = s.log.WarnContext
	}
	log(ctx, "refused", "what", what, "reply", r.Code, "err", err)

	s.mu.Lock()
	s.tally.last = err
	if !r.Temporary() {
		*count++
	}
	over := most >= 0 && *count > most
	s.mu.Unlock()
	if over && r.Code != replyEnough.Code {
		s.end(replyEnough)
		r = replyEnough
	}
	return toLibrary(r)
}

// goneAway reports whether an error is the client's leaving in the middle of a message.
func goneAway(err error) bool {
	var broken *net.OpError
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, smtp.ErrDataReset) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &broken)
}

// toLibrary returns r as go-smtp has it. Its text is one line whatever it is made of.
func toLibrary(r protocols.Reply) *smtp.SMTPError {
	e := &smtp.SMTPError{Code: r.Code, EnhancedCode: smtp.NoEnhancedCode}
	var class, subject, detail int
	if n, _ := fmt.Sscanf(r.Enhanced, "%d.%d.%d", &class, &subject, &detail); n == 3 {
		e.EnhancedCode = smtp.EnhancedCode{class, subject, detail}
	}
	e.Message = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, r.Text)
	return e
}

func dotted(code smtp.EnhancedCode) string {
	if code == smtp.NoEnhancedCode || code == smtp.EnhancedCodeNotSet {
		return ""
	}
	parts := make([]string, len(code))
	for i, n := range code {
		parts[i] = strconv.Itoa(n)
	}
	return strings.Join(parts, ".")
}
