package imapd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// systemFlags are the flags that every mailbox has, in the order they are shown in. The last one is a keyword to
// clients and a letter of its own to Maildir.
var systemFlags = []struct {
	name imap.Flag
	bit  storage.Flags
}{
	{imap.FlagAnswered, storage.Answered},
	{imap.FlagFlagged, storage.Flagged},
	{imap.FlagDeleted, storage.Trashed},
	{imap.FlagSeen, storage.Seen},
	{imap.FlagDraft, storage.Draft},
	{imap.FlagForwarded, storage.Passed},
}

// maxKeyword bounds the name of a keyword.
const maxKeyword = 100

// A flagSet is what STORE and APPEND name.
type flagSet struct {
	bits     storage.Flags
	keywords []string
}

// parseFlags reads the flags of a command. \Recent, which no client can set, is passed over.
func parseFlags(names []imap.Flag) (flagSet, error) {
	var f flagSet
	for _, name := range names {
		bit := systemBit(name)
		switch {
		case bit != 0:
			f.bits |= bit
		case strings.EqualFold(string(name), `\Recent`):
		case !isKeyword(string(name)):
			return f, fmt.Errorf("%w: %.40q", errBadFlag, name)
		case !slices.ContainsFunc(f.keywords, func(k string) bool { return strings.EqualFold(k, string(name)) }):
			f.keywords = append(f.keywords, string(name))
		}
	}
	return f, nil
}

func systemBit(name imap.Flag) storage.Flags {
	for _, f := range systemFlags {
		if strings.EqualFold(string(f.name), string(name)) {
			return f.bit
		}
	}
	return 0
}

// isKeyword reports whether a name is a flag-keyword of RFC 9051 section 9: an atom in ASCII.
func isKeyword(name string) bool {
	if name == "" || len(name) > maxKeyword {
		return false
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return false
		}
	}
	return true
}

// A keywordTable has the names of a view's keywords as flags.
type keywordTable struct {
	names     []imap.Flag // by bit; empty where there is nothing to show
	forwarded uint32      // bits of keywords by which other servers keep $Forwarded
	named     uint32      // bits that a keyword has; clients cannot set or clear the others
}

func keywordsOf(v *mailbox.View) keywordTable {
	t := keywordTable{names: make([]imap.Flag, len(v.Keywords))}
	for i, name := range v.Keywords {
		if name != "" {
			t.named |= 1 << i
		}
		switch {
		case strings.EqualFold(name, string(imap.FlagForwarded)):
			t.forwarded |= 1 << i
		case isKeyword(name):
			t.names[i] = imap.Flag(name)
		}
	}
	return t
}

// system is the system flags of a message, in whatever form they are kept.
func (t keywordTable) system(bits storage.Flags, keywords uint32) storage.Flags {
	if keywords&t.forwarded != 0 {
		bits |= storage.Passed
	}
	return bits
}

// flags is the flags of a message as a client sees them.
func (t keywordTable) flags(bits storage.Flags, keywords uint32) []imap.Flag {
	out := make([]imap.Flag, 0, 4)
	bits = t.system(bits, keywords)
	for _, f := range systemFlags {
		if bits&f.bit != 0 {
			out = append(out, f.name)
		}
	}
	for i, name := range t.names {
		if keywords&(1<<i) != 0 && name != "" {
			out = append(out, name)
		}
	}
	return out
}

// bits returns the bits of the given keywords, those that the table has.
func (t keywordTable) bits(names []string) uint32 {
	var out uint32
	for _, name := range names {
		for i, have := range t.names {
			if have != "" && strings.EqualFold(string(have), name) {
				out |= 1 << i
			}
		}
		if strings.EqualFold(name, string(imap.FlagForwarded)) {
			out |= t.forwarded
		}
	}
	return out
}

// all is what FLAGS lists.
func (t keywordTable) all() []imap.Flag { return t.flags(^storage.Flags(0), ^uint32(0)) }
