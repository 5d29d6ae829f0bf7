package dit

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// maxDeletedSet is how many deleted entries one message names.
const maxDeletedSet = 256

// A SyncRequest is a search whose answer is kept up to date (RFC 4533).
type SyncRequest struct {
	SearchRequest
	Cookie  string // of an earlier answer; empty or unknown = from the start
	Persist bool   // go on with what changes later (refreshAndPersist)
}

// A SyncState says what has become of an entry, with its number on the wire (RFC 4533 section 2.3).
type SyncState int

// The states that are sent. Entries that have not changed are not named, or sent again.
const (
	SyncAdd    SyncState = 1
	SyncModify SyncState = 2
	SyncDelete SyncState = 3
)

// A SyncMessage is one step of an answer: an entry, a set of entries that are gone, or a cookie.
type SyncMessage struct {
	State  SyncState
	Entry  *Entry // of a deleted one the name only; nil = none
	UUID   UUID   // of Entry
	Gone   []UUID // entries that are not, or no longer, among those asked for
	Cookie string // up to where this and what came before it brings the consumer; empty = not told

	Done bool // the content of the search is complete; what follows are changes
	Kept bool // with Done: what was not named is as it was; else it is gone
}

// Sync yields the entries that a search finds, or with the cookie of an earlier answer what has changed since, then a
// message with Done, and with Persist whatever changes until ctx ends. An entry that stops matching, or that the subject
// may no longer read, is deleted for him; one that is renamed is modified. Access is judged anew for each change.
//
// The caller may take its time: a consumer that lags too far behind hears *[Error] 4096 and can come back with its
// cookie. The change number of a cookie must be in the log; otherwise all entries are sent again, and those not named
// until Done are gone.
func (t *Tree) Sync(ctx context.Context, who Subject, req SyncRequest) iter.Seq2[*SyncMessage, error] {
	return func(yield func(*SyncMessage, error) bool) {
		s := &syncing{subject: who, req: req, give: func(m *SyncMessage) bool { return yield(m, nil) }}
		s.searching = searching{tree: t, judge: t.judge(who), req: req.SearchRequest, yield: s.present}
		if err := s.run(ctx); err != nil {
			yield(nil, err)
		}
	}
}

// A syncing is one synchronization under way.
type syncing struct {
	searching
	subject Subject
	req     SyncRequest
	base    string // normal form
	give    func(*SyncMessage) bool
	ended   bool // the caller wants no more
}

func (s *syncing) run(ctx context.Context) error {
	root, err := s.prepare()
	if err != nil {
		return err
	}
	if root.open {
		return refuse(codeCriticalExtension, "this entry is not kept in the directory")
	}
	s.base = root.norm
	at, csn := s.tree.feed.join()
	defer s.tree.feed.leave()
	if err := s.refresh(ctx, root, csn); err != nil || s.ended || !s.req.Persist {
		return err
	}
	return s.persist(ctx, at)
}

// refresh brings the consumer up to csn, or a little beyond: what comes later is told again.
func (s *syncing) refresh(ctx context.Context, root *view, csn time.Time) error {
	rid, since := parseCookie(s.req.Cookie)
	changes, known, err := s.tree.since(since)
	if err != nil {
		return err
	}
	done := &SyncMessage{Done: true, Kept: known || s.req.Cookie == ""}
	if known {
		err = s.resume(ctx, changes)
	} else {
		err = s.scan(ctx, s.candidates(root.id))
	}
	if err != nil || s.ended {
		return err
	}
	if !known || !since.Equal(csn) { // else there is nothing new, and the consumer keeps its cookie
		done.Cookie = cookie(rid, csn)
	}
	s.send(done)
	return nil
}

// present sends an entry that the refresh has found.
func (s *syncing) present(v *view, e *Entry) bool {
	return s.send(&SyncMessage{State: SyncAdd, Entry: e, UUID: s.tree.uuidOf(v.record)})
}

func (s *syncing) send(m *SyncMessage) bool {
	s.ended = s.ended || !s.give(m)
	return !s.ended
}

// resume sends what has become of the entries that have changed: first who is gone, then who is there.
func (s *syncing) resume(ctx context.Context, changes []loggedChange) error {
	var there []uint32
	var gone []UUID
	for batch := range slices.Chunk(changes, maxBatch) {
		if ctx.Err() != nil {
			return refuse(codeUnavailable, "search abandoned")
		}
		ids := make([]uint32, len(batch))
		for i, c := range batch {
			ids[i] = c.id
		}
		views, err := s.tree.views(ids)
		if err != nil {
			return err
		}
		found := map[uint32]bool{}
		for _, v := range views {
			found[v.id] = s.matches(v)
		}
		for _, c := range batch {
			if found[c.id] {
				there = append(there, c.id)
			} else {
				gone = append(gone, c.uuid)
			}
		}
	}
	for set := range slices.Chunk(gone, maxDeletedSet) {
		if !s.send(&SyncMessage{Gone: set}) {
			return nil
		}
	}
	return s.scan(ctx, slices.DeleteFunc(there, func(id uint32) bool {
		p := s.tree.places([]uint32{id})
		return len(p) == 0 || !s.inScope(p[0].place)
	}))
}

// inScope reports whether an entry in that place is one of those that the request is about.
func (s *syncing) inScope(p place) bool {
	switch s.req.Scope {
	case BaseObject:
		return p.norm == s.base
	case SingleLevel:
		return p.above == s.base
	}
	return below(p.norm, s.base)
}

func (s *syncing) matches(v *view) bool {
	return s.inScope(v.place) && v.may(s.judge, theEntry, read) && s.filter.eval(v, s.judge) == isTrue
}

// persist sends what changes from event number at on.
func (s *syncing) persist(ctx context.Context, at uint64) error {
	rid, _ := parseCookie(s.req.Cookie)
	for {
		events, more, err := s.tree.feed.after(at)
		if err != nil {
			return err
		}
		s.judge = s.tree.judge(s.subject)
		silent := false
		for _, e := range events {
			m := s.change(e)
			if silent = m == nil; silent {
				continue
			}
			m.Cookie = cookie(rid, e.csn)
			if !s.send(m) {
				return nil
			}
		}
		at += uint64(len(events))
		if silent && !s.send(&SyncMessage{Cookie: cookie(rid, events[len(events)-1].csn)}) {
			return nil
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return refuse(codeUnavailable, "search abandoned")
		}
	}
}

// change is what an event means to the consumer, nil for nothing.
func (s *syncing) change(e event) *SyncMessage {
	was, is := e.old != nil && s.matches(e.old), e.new != nil && s.matches(e.new)
	m := &SyncMessage{UUID: e.uuid}
	switch {
	case !was && !is:
		return nil
	case !is:
		m.State, m.Entry = SyncDelete, &Entry{DN: e.old.text}
		return m
	case was:
		m.State = SyncModify
	default:
		m.State = SyncAdd
	}
	m.Entry = e.new.answer(s.judge, s.attrs, s.req.TypesOnly)
	return m
}

// cookie names a change for a consumer that calls itself rid, in the form that slapd's own consumer reads.
func cookie(rid string, csn time.Time) string {
	if csn.IsZero() {
		return ""
	}
	return fmt.Sprintf("rid=%s,csn=%s", rid, formatCSN(csn))
}

// parseCookie reads a cookie. One that cannot be read is like one that is too old.
func parseCookie(text string) (rid string, csn time.Time) {
	rid = "000"
	for field := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(field, "=")
		switch {
		case name == "rid" && len(value) == 3 && strings.Trim(value, "0123456789") == "":
			rid = value
		case name == "csn":
			csn = parseCSN([]byte(value))
		}
	}
	return rid, csn
}
