package smtpd

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/protocols/delivery"
	"github.com/dirpost/dirpost/protocols/delivery/trace"
	"github.com/dirpost/dirpost/protocols/login"
	"github.com/dirpost/dirpost/storage"
)

var errDisk = &fs.PathError{Op: "write", Path: "/secret/path", Err: syscall.EIO}

var replies = []struct {
	name string
	err  error
	want string // code and enhanced code
}{
	{"nobody there", directory.ErrNoSuchAddress, "550 5.1.1"},
	{"relaying", directory.ErrNotLocal, "550 5.7.1"},
	{"suspended", directory.ErrSuspended, "550 5.2.1"},
	{"a list that takes mail from others", directory.ErrRestricted, "550 5.7.2"},
	{"an entry that refuses its mail", directory.Refusal{Code: 551, Enhanced: "5.1.6", Text: "moved"}, "551 5.1.6"},
	{"expansion limit", directory.ErrTooMany, "452 4.2.4"},
	{"directory down", directory.ErrUnavailable, "451 4.3.0"},
	{"two entries where one should be is our fault", directory.ErrAmbiguous, "451 4.3.0"},
	{"bad address", directory.ErrBadAddress, "553 5.1.3"},
	{"long address", directory.ErrTooLong, "553 5.1.3"},
	{"address without domain", directory.ErrNoDomain, "553 5.1.3"},
	{"outbound", delivery.ErrOutbound, "451 4.4.0"},
	{"mailbox full", storage.ErrOverQuota, "452 4.2.2"},
	{"too large", storage.ErrTooLarge, "552 5.3.4"},
	{"too large, says the library", smtp.ErrDataTooLarge, "552 5.3.4"},
	{"disk full", &fs.PathError{Op: "write", Path: "/secret/path", Err: syscall.ENOSPC}, "452 4.3.1"},
	{"disk quota", syscall.EDQUOT, "452 4.3.1"},
	{"broken disk", errDisk, "451 4.3.0"},
	{"store closed", storage.ErrClosed, "451 4.3.0"},
	{"line ends", trace.ErrLineEnds, "550 5.5.2"},
	{"a line beyond all", smtp.ErrTooLongLine, "550 5.6.0"},
	{"large header", trace.ErrHeaderLarge, "552 5.3.4"},
	{"loop", trace.ErrLoop, "554 5.4.6"},
	{"wrong password", directory.ErrWrong, "535 5.7.8"},
	{"locked account", directory.ErrRefused, "535 5.7.8"},
	{"unknown mechanism", login.ErrMechanism, "504 5.5.4"},
	{"no TLS", login.ErrPrivacy, "538 5.7.11"},
	{"malformed response", login.ErrMalformed, "501 5.5.2"},
	{"no that may be wrong", fmt.Errorf("%w: %w", directory.ErrUnavailable, directory.ErrNoSuchAddress), "451 4.3.0"},
	{"own reply", protocols.Reply{Code: 553, Enhanced: "5.7.1", Text: "you may not"}, "553 5.7.1"},
}

// TestGap10: every error, however deep it is wrapped, is one of our replies, and no peer reads what is for the log.
func TestGap10(t *testing.T) {
	t.Parallel()
	for _, tt := range replies {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := toLibrary(reply(fmt.Errorf("append to /secret/path: %w", tt.err)))
			line := fmt.Sprintf("%d %d.%d.%d", got.Code, got.EnhancedCode[0], got.EnhancedCode[1], got.EnhancedCode[2])
			if line != tt.want {
				t.Errorf("got %s, want %s", line, tt.want)
			}
			if got.Message == "" || strings.Contains(got.Message, "secret") {
				t.Errorf("got text %q", got.Message)
			}
		})
	}
}

func TestReplyIsOneLineOfASCII(t *testing.T) {
	t.Parallel()
	got := toLibrary(protocols.Reply{Code: 550, Enhanced: "5.7.1", Text: "a\r\n250 b\x00ü"}).Message
	if want := "a??250 b??"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := toLibrary(protocols.Reply{Code: 354}).EnhancedCode; got != smtp.NoEnhancedCode {
		t.Errorf("got %v, want none", got)
	}
}
