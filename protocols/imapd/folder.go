package imapd

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// Namespace is NAMESPACE (RFC 9051 section 6.3.10): everything is one's own.
func (s *session) Namespace() (*imap.NamespaceData, error) {
	return &imap.NamespaceData{Personal: []imap.NamespaceDescriptor{{Delim: delimiter}}}, nil
}

// specialUses are those a mailbox can have (RFC 6154 section 2, RFC 8457). \All and \Flagged are for virtual mailboxes.
var specialUses = []imap.MailboxAttr{
	imap.MailboxAttrArchive, imap.MailboxAttrDrafts, imap.MailboxAttrImportant, imap.MailboxAttrJunk,
	imap.MailboxAttrSent, imap.MailboxAttrTrash,
}

// Create is CREATE (RFC 9051 section 6.3.4, RFC 6154 section 3).
func (s *session) Create(name string, options *imap.CreateOptions) error {
	use := ""
	switch len(options.SpecialUse) {
	case 0:
	case 1:
		use = string(options.SpecialUse[0])
	default:
		return s.reply(errSpecialUse)
	}
	if use != "" && !slices.Contains(specialUses, imap.MailboxAttr(use)) {
		return s.reply(errSpecialUse)
	}
	// A name that ends in a delimiter says that there will be others below it, which is so anyway.
	name = strings.TrimSuffix(name, string(delimiter))
	return s.reply(s.home.Create(s.ctx, name, use))
}

// Delete is DELETE (RFC 9051 section 6.3.5).
func (s *session) Delete(name string) error { return s.reply(s.home.Delete(s.ctx, name)) }

// Rename is RENAME (RFC 9051 section 6.3.6).
func (s *session) Rename(from, to string, _ *imap.RenameOptions) error {
	return s.reply(s.home.Rename(s.ctx, from, to))
}

// Subscribe is SUBSCRIBE (RFC 9051 section 6.3.7).
func (s *session) Subscribe(name string) error { return s.reply(s.home.Subscribe(s.ctx, name, true)) }

// Unsubscribe is UNSUBSCRIBE (RFC 9051 section 6.3.8).
func (s *session) Unsubscribe(name string) error {
	return s.reply(s.home.Subscribe(s.ctx, name, false))
}

// Status is STATUS (RFC 9051 section 6.3.11). The engine takes what it was asked for and looks at nothing else.
func (s *session) Status(name string, options *imap.StatusOptions) (*imap.StatusData, error) {
	st, err := s.home.Status(s.ctx, name)
	if err != nil {
		return nil, s.reply(err)
	}
	recent, limit := uint32(0), s.AppendLimit()
	data := &imap.StatusData{
		Mailbox:     name,
		NumMessages: &st.Messages,
		NumRecent:   &recent, // nothing is recent: see RFC 9051 appendix E, 24
		UIDNext:     imap.UID(st.UIDNext),
		UIDValidity: st.UIDValidity,
		NumUnseen:   &st.Unseen,
		NumDeleted:  &st.Deleted,
		Size:        &st.Size,
		AppendLimit: &limit,
	}
	if options.DeletedStorage {
		deleted, err := s.deletedStorage(name)
		if err != nil {
			return nil, s.reply(err)
		}
		data.DeletedStorage = &deleted
	}
	return data, nil
}

// deletedStorage is what an expunge of the mailbox would free.
func (s *session) deletedStorage(name string) (int64, error) {
	m, err := s.home.Open(s.ctx, name)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	return sizeOf(m.View(), storage.Trashed), nil
}

func sizeOf(v *mailbox.View, flag storage.Flags) int64 {
	var sum int64
	for _, m := range v.All() {
		if m.Flags&flag != 0 {
			sum += m.Size
		}
	}
	return sum
}
