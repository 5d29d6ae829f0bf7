package imapd

import (
	"github.com/emersion/go-imap/v2"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// A selected is the mailbox a session works in.
type selected struct {
	mailbox  *mailbox.Mailbox
	watch    *mailbox.Watch
	readOnly bool
	client   clientView
}

// Select is SELECT and EXAMINE (RFC 9051 sections 6.3.2 and 6.3.3).
func (s *session) Select(name string, options *imap.SelectOptions) (*imap.SelectData, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.deselect()
	m, err := s.home.Open(s.ctx, name)
	if err != nil {
		return nil, s.reply(err)
	}
	box := &selected{mailbox: m, watch: m.Watch(), readOnly: options.ReadOnly}
	if err := m.Refresh(s.ctx); err != nil {
		box.close()
		return nil, s.reply(err)
	}
	box.client.start(m.View())
	s.box = box
	return s.selectData(name, box), nil
}

func (s *session) selectData(name string, box *selected) *imap.SelectData {
	view, table := box.client.view, box.client.table
	data := &imap.SelectData{
		Flags:             table.all(),
		NumMessages:       uint32(view.Len()),
		FirstUnseenSeqNum: firstUnseen(view),
		UIDNext:           imap.UID(view.UIDNext),
		UIDValidity:       view.UIDValidity,
	}
	if !box.readOnly {
		data.PermanentFlags = table.all()
		if !view.KeywordsFull {
			data.PermanentFlags = append(data.PermanentFlags, imap.FlagWildcard)
		}
	}
	if s.engine.EnabledCaps().Has(imap.CapIMAP4rev2) {
		data.List = &imap.ListData{Mailbox: name, Delim: delimiter}
	}
	return data
}

// firstUnseen is the number of the first message without \Seen, 0 if there is none. Only IMAP4rev1 has it.
func firstUnseen(v *mailbox.View) uint32 {
	if v.Unseen() == 0 {
		return 0
	}
	for i, m := range v.All() {
		if m.Flags&storage.Seen == 0 {
			return uint32(i + 1)
		}
	}
	return 0
}

// Unselect is UNSELECT, and the end of CLOSE.
func (s *session) Unselect() error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.deselect()
	return nil
}

func (s *session) deselect() {
	if s.box != nil {
		s.box.close()
		s.box = nil
	}
	s.saved = nil
	s.cache = parsed{}
}

func (b *selected) close() {
	b.watch.Close()
	b.mailbox.Close()
}

// writable is an error for a mailbox that is open by EXAMINE.
func (b *selected) writable() error {
	if b.readOnly {
		return errReadOnly
	}
	return nil
}
