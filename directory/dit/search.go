package dit

import (
	"context"
	"iter"
	"slices"
	"time"
)

// A search reads so many candidates in one transaction of the file at first, and at most.
const (
	firstBatch    = 16
	maxBatch      = 256
	maxBatchBytes = 1 << 20
)

// Search yields the entries below req.Base that match, parents before children when all of a subtree is asked for. An
// error ends the sequence: *[Error] 4 after as many entries as the size limit allows, 3 when the time is over (time
// that the caller spends with an entry does not count), 32 when there is no base that the subject may search.
//
// No lock and no transaction is held while the caller works, so it may take its time, change the tree, and stop early.
// Changes made meanwhile may or may not be seen; every entry is seen as it was at one moment.
func (t *Tree) Search(ctx context.Context, who Subject, req SearchRequest) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		s := &searching{tree: t, judge: t.judge(who), req: req}
		s.yield = func(_ *view, e *Entry) bool { return yield(e, nil) }
		if err := s.run(ctx); err != nil {
			yield(nil, err)
		}
	}
}

// A searching is one search under way.
type searching struct {
	tree   *Tree
	judge  *judge
	req    SearchRequest
	filter *cond
	attrs  selection
	size   int           // entries that may still be sent
	left   time.Duration // working time
	yield  func(*view, *Entry) bool
}

func (s *searching) run(ctx context.Context) error {
	root, err := s.prepare()
	if err != nil {
		return err
	}
	if root.open {
		_, err := s.offer(root)
		return err
	}
	return s.scan(ctx, s.candidates(root.id))
}

// prepare reads the request and returns the entry that it starts from.
func (s *searching) prepare() (root *view, err error) {
	base, err := s.tree.catalog.parseDN(s.req.Base)
	if err != nil {
		return nil, err
	}
	if s.filter, err = s.tree.catalog.compile(s.req.Filter); err != nil {
		return nil, err
	}
	s.attrs = s.tree.catalog.selectAttrs(s.req.Attributes)
	s.limit()
	if v := s.tree.special(base, s.req.RootDSE); v != nil {
		if s.req.Scope != BaseObject {
			return nil, refuse(codeNoObject, "no such object")
		}
		return v, nil
	}
	if s.judge.restricted {
		return nil, errMustChange
	}
	if root, err = s.tree.entry(s.judge, base); err != nil {
		return nil, err
	}
	if !root.may(s.judge, theEntry, search) {
		return nil, s.tree.denied(s.judge, root)
	}
	return root, s.tree.extend(s.judge, base, []*Extra{{Assert: s.req.Assert}}).holds(root)
}

// limit applies the smaller of what the client asks for and what the server allows; the local administrator has no
// limit but his own.
func (s *searching) limit() {
	o := s.tree.opts
	size, left := o.MaxEntries, o.MaxTime
	if !s.judge.named {
		size, left = o.MaxAnonymousEntries, o.MaxAnonymousTime
	}
	s.size, s.left = s.req.SizeLimit, s.req.TimeLimit
	if s.size <= 0 || s.size > size && !s.judge.root {
		s.size = size
	}
	if s.left <= 0 || s.left > left && !s.judge.root {
		s.left = left
	}
}

// candidates lists the entries in scope that the index cannot exclude.
func (s *searching) candidates(base uint32) []uint32 {
	s.tree.resolveMembers(s.judge, s.filter)
	x := s.tree.index
	s.tree.mu.RLock()
	defer s.tree.mu.RUnlock()
	if s.req.Scope == BaseObject {
		return []uint32{base}
	}
	_, narrow := s.tree.estimate(s.filter)
	switch {
	case !narrow && s.req.Scope == SingleLevel:
		return slices.Clone(x.children[base])
	case !narrow:
		return x.walk(base, nil)
	}
	found := s.tree.gather(s.filter, nil)
	slices.Sort(found)
	return slices.DeleteFunc(slices.Compact(found), func(id uint32) bool {
		if s.req.Scope == SingleLevel {
			return x.nodes[id].parent != base
		}
		return !x.under(id, base)
	})
}

// scan reads the candidates in batches and offers each.
func (s *searching) scan(ctx context.Context, ids []uint32) error {
	began := time.Now()
	batch := firstBatch
	for len(ids) > 0 {
		if err := s.pause(ctx, began); err != nil {
			return err
		}
		n := min(batch, len(ids))
		seen := slices.DeleteFunc(s.tree.places(ids[:n]), func(p placed) bool { return !s.judge.could(p, read) })
		ids, batch = ids[n:], min(2*batch, maxBatch)
		for len(seen) > 0 {
			views, done, err := s.tree.readPlaced(seen, maxBatchBytes)
			if err != nil {
				return err
			}
			seen = seen[done:]
			for _, v := range views {
				if err := s.pause(ctx, began); err != nil {
					return err
				}
				if more, err := s.offer(v); err != nil || !more {
					return err
				}
			}
		}
	}
	return nil
}

// pause ends a search that nobody waits for any more, or that has worked long enough.
func (s *searching) pause(ctx context.Context, began time.Time) error {
	switch {
	case ctx.Err() != nil:
		return refuse(codeUnavailable, "search abandoned")
	case time.Since(began) > s.left:
		return refuse(codeTimeLimit, "time limit exceeded")
	}
	return nil
}

// offer yields the entry if it matches. It returns false when the caller wants no more.
func (s *searching) offer(v *view) (more bool, err error) {
	if !v.may(s.judge, theEntry, read) || s.filter.eval(v, s.judge) != isTrue {
		return true, nil
	}
	if s.size == 0 {
		return false, refuse(codeSizeLimit, "size limit exceeded")
	}
	s.size--
	answer := v.answer(s.judge, s.attrs, s.req.TypesOnly)
	handed := time.Now()
	more = s.yield(v, answer)
	s.left += time.Since(handed)
	return more, nil
}
