package imapd

import (
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// A clientView is what a client knows of its mailbox: the messages it was told of, whose numbers are their places here,
// and their flags.
type clientView struct {
	view  *mailbox.View
	table keywordTable // of view
	told  map[storage.UID]marks
}

// marks are flags that the client knows of, other than those in the view.
type marks struct {
	bits     storage.Flags
	keywords uint32
}

func (c *clientView) start(v *mailbox.View) {
	c.view, c.table = v, keywordsOf(v)
	c.told = nil
}

// known is what the client believes a message's flags to be.
func (c *clientView) known(m storage.Message) marks {
	if told, ok := c.told[m.UID]; ok {
		return told
	}
	return marks{m.Flags, m.Keywords}
}

// tell notes that the client knows these flags.
func (c *clientView) tell(uid storage.UID, m marks) {
	if c.told == nil {
		c.told = map[storage.UID]marks{}
	}
	c.told[uid] = m
}

// Poll tells the client what has changed. The engine calls it at the end of each command. While a command uses message
// numbers no message may go (RFC 9051 section 7.5.1): then, if one has, all waits for the next occasion.
func (s *session) Poll(w *imapserver.UpdateWriter, allowExpunge bool) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.box == nil {
		return nil
	}
	if err := s.box.mailbox.Refresh(s.ctx); err != nil {
		s.log.DebugContext(s.ctx, "refresh", "login", s.id.Login, "err", err) // the command itself went well
	}
	return s.box.update(w, allowExpunge)
}

// Idle is IDLE (RFC 9051 section 6.3.13): changes are told as they happen, until stop.
func (s *session) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	if !s.beginIdle() {
		return nil
	}
	defer s.idling.Done()
	for {
		changed, err := s.tell(w, stop)
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stop:
			return nil
		}
	}
}

// beginIdle counts an Idle in, unless the session is over.
func (s *session) beginIdle() bool {
	s.turn.Lock()
	defer s.turn.Unlock()
	if !s.over {
		s.idling.Add(1)
	}
	return !s.over
}

// tell writes what has changed and returns what to wait for. Once stop is closed it is the turn of the next command,
// and nothing is touched.
func (s *session) tell(w *imapserver.UpdateWriter, stop <-chan struct{}) (changed <-chan struct{}, err error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	select {
	case <-stop:
		return nil, nil
	default:
	}
	if s.box == nil {
		return nil, nil
	}
	return s.box.watch.C, s.box.update(w, true)
}

// update writes the difference between what the client knows and what is.
func (b *selected) update(w *imapserver.UpdateWriter, allowExpunge bool) error {
	c := &b.client
	now := b.mailbox.View()
	if now == c.view {
		return nil
	}
	gone, changed := now.Since(c.view)
	if len(gone) > 0 && !allowExpunge {
		return nil
	}
	table := keywordsOf(now)
	if err := c.writeChanges(w, now, table, gone, changed); err != nil {
		return err
	}
	c.view, c.table, c.told = now, table, nil
	return nil
}

func (c *clientView) writeChanges(
	w *imapserver.UpdateWriter, now *mailbox.View, table keywordTable, gone, changed []storage.UID,
) error {
	// From the last to the first, so that no number is changed by the one before.
	for _, uid := range slices.Backward(gone) {
		if i, ok := c.view.Find(uid); ok {
			if err := w.WriteExpunge(uint32(i + 1)); err != nil {
				return err
			}
		}
	}
	if now.Len() > c.view.Len()-len(gone) {
		if err := w.WriteNumMessages(uint32(now.Len())); err != nil {
			return err
		}
	}
	if !slices.Equal(table.all(), c.table.all()) {
		if err := w.WriteMailboxFlags(table.all()); err != nil {
			return err
		}
	}
	for _, uid := range changed {
		i, ok := now.Find(uid)
		if !ok {
			continue
		}
		m := now.At(i)
		old, _ := c.view.Find(uid)
		if c.known(c.view.At(old)) == (marks{m.Flags, m.Keywords}) {
			continue
		}
		if err := w.WriteMessageFlags(uint32(i+1), imap.UID(uid), table.flags(m.Flags, m.Keywords)); err != nil {
			return err
		}
	}
	return nil
}
