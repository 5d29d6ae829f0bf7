package imapd

import (
	"context"
	"errors"
	"syscall"

	"github.com/emersion/go-imap/v2"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols/login"
	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/message"
)

// Faults of commands that no other package has a word for.
var (
	errReadOnly   = errors.New("mailbox is open for reading only")
	errGone       = errors.New("some of the messages are gone")
	errSpecialUse = errors.New("no such special use")
	errBinary     = errors.New("binary content")
	errComplex    = errors.New("search is too complex")
	errBadFlag    = errors.New("bad flag")
)

// reply turns an error into what the client hears: the one place where that is decided, and where it is logged. An
// *imap.Error passes as it is. Codes are those of RFC 9051 section 7.1 and RFC 7889.
func (s *session) reply(err error) error {
	var done *imap.Error
	if err == nil || errors.As(err, &done) {
		return err
	}
	answer := answerTo(err)
	s.log.DebugContext(s.ctx, "command refused", "login", s.id.Login, "err", err, "code", string(answer.Code))
	if answer.Code == imap.ResponseCodeServerBug {
		s.log.WarnContext(s.ctx, "command failed", "login", s.id.Login, "err", err)
	}
	return answer
}

func answerTo(err error) *imap.Error {
	if a := loginAnswer(err); a != nil {
		return a
	}
	for _, a := range answers {
		if errors.Is(err, a.err) {
			return no(a.code, a.text)
		}
	}
	return no(imap.ResponseCodeServerBug, "internal error")
}

// loginAnswer has the three answers of the login door. Refusal sounds like wrong credentials.
func loginAnswer(err error) *imap.Error {
	switch {
	case errors.Is(err, login.ErrMalformed):
		return &imap.Error{Type: imap.StatusResponseTypeBad, Text: "malformed authentication data"}
	case errors.Is(err, login.ErrMechanism):
		return no("", "no such mechanism")
	case errors.Is(err, login.ErrPrivacy):
		return no(imap.ResponseCodePrivacyRequired, "not without TLS")
	case errors.Is(err, directory.ErrUnavailable):
		return no(imap.ResponseCodeUnavailable, "cannot tell now, try again later")
	case errors.Is(err, directory.ErrWrong), errors.Is(err, directory.ErrRefused), errors.Is(err, errFailures):
		return no(imap.ResponseCodeAuthenticationFailed, "authentication failed")
	}
	return nil
}

// answers has the rest. The texts are for people; the codes are for programs.
var answers = []struct {
	err  error
	code imap.ResponseCode
	text string
}{
	{storage.ErrOverQuota, imap.ResponseCodeOverQuota, "the mailbox is full"},
	{storage.ErrNoMailbox, imap.ResponseCodeNonExistent, "no such mailbox"},
	{storage.ErrExists, imap.ResponseCodeAlreadyExists, "there is such a mailbox already"},
	{storage.ErrBadName, imap.ResponseCodeCannot, "a mailbox cannot have this name"},
	{storage.ErrNotPermitted, imap.ResponseCodeCannot, "this cannot be done to this mailbox"},
	{storage.ErrNoMessage, "EXPUNGEISSUED", "the message is gone"}, // RFC 5530 section 3
	{storage.ErrTooLarge, imap.ResponseCodeTooBig, "the message is too large"},
	{storage.ErrKeywords, imap.ResponseCodeLimit, "the mailbox has no room for another keyword"},
	{storage.ErrBusy, imap.ResponseCodeInUse, "the mailbox is in use by another server"},
	{storage.ErrClosed, imap.ResponseCodeUnavailable, "the server is shutting down"},
	{errReadOnly, imap.ResponseCodeCannot, "the mailbox is open for reading only"},
	{errGone, "EXPUNGEISSUED", "some of the messages are gone"},
	{errSpecialUse, "USEATTR", "a mailbox cannot have this use"}, // RFC 6154 section 3
	{errBinary, imap.ResponseCodeUnknownCTE, "binary content cannot be stored"},
	{errComplex, imap.ResponseCodeLimit, "the search is too complex"},
	{message.ErrEncoding, imap.ResponseCodeUnknownCTE, "the part has an unknown encoding"},
	{message.ErrNoSection, imap.ResponseCodeCannot, "there is no such part"},
	{errBadFlag, imap.ResponseCodeCannot, "there is no such flag"},
	{syscall.ENOSPC, imap.ResponseCodeUnavailable, "no space left, try again later"},
	{syscall.EDQUOT, imap.ResponseCodeUnavailable, "no space left, try again later"},
	{context.Canceled, imap.ResponseCodeUnavailable, "interrupted"},
	{context.DeadlineExceeded, imap.ResponseCodeUnavailable, "took too long"},
}

func no(code imap.ResponseCode, text string) *imap.Error {
	return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: text}
}

// tryCreate is the answer when a message has no mailbox to go to: the client may make it (RFC 9051 section 7.1).
func tryCreate(err error) error {
	if errors.Is(err, storage.ErrNoMailbox) {
		return no(imap.ResponseCodeTryCreate, "no such mailbox")
	}
	return err
}
