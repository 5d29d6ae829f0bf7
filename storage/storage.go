// Package storage is the dictionary of mail at rest: UIDs, modification sequences, flags, messages, limits and the
// errors of the store. It opens no file.
//
// maildir knows files and names, index the cached facts of a mailbox, message the structure of an RFC 5322 text, and
// mailbox composes them into homes that sessions use.
//
// Start reading at [Message].
package storage

import (
	"errors"
	"time"
)

// Errors of the store, wrapped by every package below it.
var (
	ErrOverQuota    = errors.New("over quota")
	ErrNoMailbox    = errors.New("no such mailbox")
	ErrExists       = errors.New("mailbox exists")
	ErrBadName      = errors.New("bad mailbox name")
	ErrNoMessage    = errors.New("no such message")       // expunged or never there
	ErrTooLarge     = errors.New("message too large")     // over Limits.MessageBytes
	ErrKeywords     = errors.New("too many keywords")     // beyond 26 in one mailbox
	ErrBusy         = errors.New("home is in use")        // another server holds the lock of this home
	ErrNotPermitted = errors.New("operation not allowed") // INBOX cannot be deleted, and the like
	ErrClosed       = errors.New("store is closed")
)

// A UID numbers a message in its mailbox for ever, with its UIDVALIDITY (RFC 9051 section 2.3.1.1). 0 is none.
type UID uint32

// A ModSeq orders the changes of a mailbox (RFC 7162 section 3.1.1). 0 is none.
type ModSeq uint64

// Flags is the set of system flags of a message, as bits. Keywords are kept beside it.
type Flags uint8

// The system flags that a Maildir name can carry, with the letter each has there.
const (
	Draft    Flags = 1 << iota // D
	Flagged                    // F
	Passed                     // P: shown to IMAP clients as the keyword $Forwarded
	Answered                   // R
	Seen                       // S
	Trashed                    // T: \Deleted
)

// A Message is what a mailbox knows of one message without opening it. Values are immutable.
type Message struct {
	UID      UID
	ModSeq   ModSeq
	Flags    Flags
	Keywords uint32    // bit i is the letter 'a'+i of the mailbox's keyword table
	Size     int64     // octets of the file
	WireSize int64     // RFC822.SIZE: octets with every line ended by CRLF
	Date     time.Time // INTERNALDATE, whole seconds
	Name     string    // base name of the file without its flags; its directory and flags may change
}

// A FlagOp says what a STORE does with the given flags.
type FlagOp int

// The operations of STORE (RFC 9051 section 6.4.6).
const (
	SetFlags FlagOp = iota
	AddFlags
	RemoveFlags
)

// Limits bound what the store accepts; zero fields take the defaults of package mailbox.
type Limits struct {
	MessageBytes int64 // one message
	Folders      int   // of one home
	NameBytes    int   // of one folder name on disk, at most 255
}

// A Quota is an amount of mail: what a home may hold (0 is no limit) or what it holds.
type Quota struct {
	Bytes    int64 // octets of message files
	Messages int64
}
