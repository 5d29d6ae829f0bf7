package imapd

import (
	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// Store is STORE (RFC 9051 section 6.4.6).
func (s *session) Store(w *imapserver.FetchWriter, set imap.NumSet, change *imap.StoreFlags, _ *imap.StoreOptions) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if err := s.box.writable(); err != nil {
		return s.reply(err)
	}
	flags, err := parseFlags(change.Flags)
	if err != nil {
		return s.reply(err)
	}
	picked, err := s.pick(set)
	if err != nil {
		return s.reply(err)
	}
	op := opOf(change.Op)
	if err := s.box.flag(s, picked, op, flags); err != nil {
		return s.reply(err)
	}
	if change.Silent {
		return nil
	}
	_, byUID := set.(imap.UIDSet)
	now := s.box.mailbox.View()
	table := keywordsOf(now)
	for _, p := range picked {
		m, ok := find(now, p.uid)
		if !ok {
			continue
		}
		out := w.CreateMessage(p.seq)
		if byUID {
			out.WriteUID(imap.UID(p.uid))
		}
		out.WriteFlags(table.flags(m.Flags, m.Keywords))
		if err := out.Close(); err != nil {
			return err
		}
		s.box.client.tell(p.uid, marks{m.Flags, m.Keywords})
	}
	return nil
}

func opOf(op imap.StoreFlagsOp) storage.FlagOp {
	switch op {
	case imap.StoreFlagsAdd:
		return storage.AddFlags
	case imap.StoreFlagsDel:
		return storage.RemoveFlags
	}
	return storage.SetFlags
}

// flag changes flags and notes what the client now believes them to be, so that it is told only what others did.
func (b *selected) flag(s *session, picked choice, op storage.FlagOp, f flagSet) error {
	if len(picked) == 0 {
		return nil
	}
	if op == storage.RemoveFlags && f.bits&storage.Passed != 0 && keywordsOf(b.mailbox.View()).forwarded != 0 {
		f.keywords = append(f.keywords, string(imap.FlagForwarded))
	}
	if _, err := b.mailbox.Flag(s.ctx, picked.uids(), op, f.bits, f.keywords, 0); err != nil {
		return err
	}
	table := keywordsOf(b.mailbox.View())
	keywords := table.bits(f.keywords)
	for _, p := range picked {
		m, ok := find(b.client.view, p.uid)
		if !ok {
			continue
		}
		known := b.client.known(m)
		switch op {
		case storage.SetFlags:
			known = marks{f.bits, known.keywords&^table.named | keywords}
		case storage.AddFlags:
			known.bits |= f.bits
			known.keywords |= keywords
		case storage.RemoveFlags:
			known.bits &^= f.bits
			known.keywords &^= keywords
		}
		b.client.tell(p.uid, known)
	}
	return nil
}

// find returns the message with a UID.
func find(v *mailbox.View, uid storage.UID) (storage.Message, bool) {
	i, ok := v.Find(uid)
	if !ok {
		return storage.Message{}, false
	}
	return v.At(i), true
}
