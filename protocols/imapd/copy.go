package imapd

import (
	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// Copy is COPY (RFC 9051 section 6.4.7).
func (s *session) Copy(set imap.NumSet, dest string) (*imap.CopyData, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	picked, err := s.pick(set)
	if err != nil {
		return nil, s.reply(err)
	}
	if len(picked) == 0 {
		return nil, s.reply(s.exists(dest))
	}
	copied, err := s.box.mailbox.Copy(s.ctx, picked.uids(), s.home, dest, s.quota())
	if err != nil {
		return nil, s.reply(tryCreate(err))
	}
	return copyData(copied), nil
}

// Move is MOVE (RFC 9051 section 6.4.8). That the messages are gone is told by the update at the end of the command.
func (s *session) Move(w *imapserver.MoveWriter, set imap.NumSet, dest string) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if err := s.box.writable(); err != nil {
		return s.reply(err)
	}
	picked, err := s.pick(set)
	if err != nil {
		return s.reply(err)
	}
	// Also when nothing is left to move: an earlier try may have been told that the disk failed behind it.
	moved, err := s.box.mailbox.Move(s.ctx, picked.uids(), s.home, dest, s.quota())
	if err != nil {
		return s.reply(tryCreate(err))
	}
	if data := copyData(moved); data != nil {
		return w.WriteCopyData(data)
	}
	return nil
}

// exists is an error unless the mailbox is there.
func (s *session) exists(name string) error {
	_, err := s.home.Status(s.ctx, name)
	return tryCreate(err)
}

// copyData is COPYUID, nil when nothing was copied.
func copyData(c mailbox.Copied) *imap.CopyData {
	if len(c.From) == 0 {
		return nil
	}
	return &imap.CopyData{UIDValidity: c.UIDValidity, SourceUIDs: uidSet(c.From), DestUIDs: uidSet(c.To)}
}

// Expunge is EXPUNGE, UID EXPUNGE and CLOSE (RFC 9051 sections 6.4.1, 6.4.3 and 6.4.9). What is gone is told by the
// update at the end of the command, and in CLOSE not at all.
func (s *session) Expunge(w *imapserver.ExpungeWriter, uids *imap.UIDSet) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if err := s.box.writable(); err != nil {
		if *w == (imapserver.ExpungeWriter{}) { // CLOSE after EXAMINE removes nothing
			return nil
		}
		return s.reply(err)
	}
	now := s.box.mailbox.View()
	var among map[storage.UID]bool
	if uids != nil {
		picked, err := s.pick(*uids)
		if err != nil {
			return s.reply(err)
		}
		among = make(map[storage.UID]bool, len(picked))
		for _, p := range picked {
			among[p.uid] = true
		}
	}
	var doomed []storage.UID
	for _, m := range now.All() {
		if m.Flags&storage.Trashed != 0 && (uids == nil || among[m.UID]) {
			doomed = append(doomed, m.UID)
		}
	}
	return s.reply(s.box.mailbox.Expunge(s.ctx, doomed))
}
