package imapd

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"github.com/dirpost/dirpost/storage"
)

// Fetch is FETCH (RFC 9051 section 6.4.5).
func (s *session) Fetch(w *imapserver.FetchWriter, set imap.NumSet, options *imap.FetchOptions) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	picked, err := s.pick(set)
	if err != nil {
		return s.reply(err)
	}
	if badSection(options) {
		return &imap.Error{Type: imap.StatusResponseTypeBad, Text: "MIME needs a part number"}
	}
	seen := s.markSeen(picked, options)
	now := s.box.mailbox.View()
	f := fetcher{session: s, w: w, options: options, needs: needsOf(options), table: keywordsOf(now), cache: &s.cache}
	f.stale = now != s.box.client.view || len(s.box.client.told) > 0
	var failed error
	for _, p := range picked {
		m, ok := find(now, p.uid)
		if !ok {
			failed = errGone
			continue
		}
		err := f.fetch(p, m, seen[p.uid])
		switch {
		case errors.Is(err, storage.ErrNoMessage):
			failed = errGone
		case errors.Is(err, errBroken):
			s.logBroken(err)
			return err
		case err != nil:
			failed = err
		}
	}
	if _, byUID := set.(imap.UIDSet); byUID && errors.Is(failed, errGone) {
		failed = nil // a UID without a message is no fault (RFC 9051 section 6.4.9)
	}
	return s.reply(failed)
}

// errBroken means that an answer was begun and could not be ended: the connection is of no use any more.
var errBroken = errors.New("response cut short")

// logBroken tells a file that changed while it was read from a client that went away.
func (s *session) logBroken(err error) {
	level := slog.LevelDebug
	if errors.Is(err, io.ErrUnexpectedEOF) {
		level = slog.LevelWarn
	}
	s.log.Log(s.ctx, level, "fetch", "login", s.id.Login, "err", err)
}

// badSection reports whether a section asks for the MIME header of no part, which the grammar of RFC 9051 has not.
func badSection(options *imap.FetchOptions) bool {
	for _, b := range options.BodySection {
		if b.Specifier == imap.PartSpecifierMIME && len(b.Part) == 0 {
			return true
		}
	}
	return false
}

// markSeen sets \Seen where BODY[] without PEEK does, and returns the messages whose flags that has changed: they are
// told with the answer.
func (s *session) markSeen(picked choice, options *imap.FetchOptions) map[storage.UID]bool {
	if s.box.readOnly || !setsSeen(options) {
		return nil
	}
	now := s.box.mailbox.View()
	var fresh choice
	marked := map[storage.UID]bool{}
	for _, p := range picked {
		if m, ok := find(now, p.uid); ok && m.Flags&storage.Seen == 0 {
			fresh = append(fresh, p)
			marked[p.uid] = true
		}
	}
	if err := s.box.flag(s, fresh, storage.AddFlags, flagSet{bits: storage.Seen}); err != nil {
		s.log.WarnContext(s.ctx, "mark seen", "login", s.id.Login, "err", err) // reading is possible nevertheless
		return nil
	}
	return marked
}

func setsSeen(options *imap.FetchOptions) bool {
	for _, b := range options.BodySection {
		if !b.Peek {
			return true
		}
	}
	for _, b := range options.BinarySection {
		if !b.Peek {
			return true
		}
	}
	return false
}

// A fetcher answers one FETCH.
type fetcher struct {
	session *session
	w       *imapserver.FetchWriter
	options *imap.FetchOptions
	needs   needs
	table   keywordTable
	stale   bool    // the client may believe other flags than it is now told
	buffer  []byte  // for messages that are read whole
	cache   *parsed // of the session; nil where several read at a time
}

// fetch answers for one message. All that can fail comes before the first octet of the answer.
func (f *fetcher) fetch(p chosen, m storage.Message, seen bool) error {
	t, err := f.open(p.uid)
	if err != nil {
		return err
	}
	defer t.close()
	bodies, err := f.bodies(t)
	if err != nil {
		return err
	}
	envelope, structure, err := f.summary(t)
	if err != nil {
		return err
	}
	out := f.w.CreateMessage(p.seq)
	o := f.options
	if o.UID {
		out.WriteUID(imap.UID(p.uid))
	}
	if o.Flags || seen {
		out.WriteFlags(f.table.flags(m.Flags, m.Keywords))
		if f.stale {
			f.session.box.client.tell(p.uid, marks{m.Flags, m.Keywords})
		}
	}
	if o.InternalDate {
		out.WriteInternalDate(m.Date.UTC())
	}
	if o.RFC822Size {
		out.WriteRFC822Size(m.WireSize)
	}
	if o.Envelope {
		out.WriteEnvelope(envelope)
	}
	if o.BodyStructure != nil {
		out.WriteBodyStructure(structure)
	}
	for _, write := range bodies {
		if err := write(out); err != nil {
			// What follows would be taken for the rest of a literal.
			f.session.wire.cut()
			out.Close()
			return fmt.Errorf("%w: message %d: %w", errBroken, p.uid, err)
		}
	}
	return out.Close()
}
