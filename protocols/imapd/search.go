package imapd

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"github.com/dirpost/dirpost/storage"
)

// Search is SEARCH (RFC 9051 section 6.4.4), over the messages that the client knows.
func (s *session) Search(
	kind imapserver.NumKind, criteria *imap.SearchCriteria, options *imap.SearchOptions,
) (*imap.SearchData, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	if options.ReturnSave {
		s.keep(nil, options) // what a failed search leaves (RFC 9051 section 6.4.4.1)
	}
	key, err := s.compile(criteria, 0)
	if err != nil {
		return nil, s.reply(err)
	}
	found, err := s.matching(key)
	if err != nil {
		return nil, s.reply(err)
	}
	if options.ReturnSave {
		s.keep(found, options)
	}
	return searchData(kind, found), nil
}

// matching returns the messages that a key fits. The cheap keys have been asked first; what is left to be read is
// shared among as many goroutines as there are processors.
func (s *session) matching(key key) (choice, error) {
	candidates := s.candidates()
	fits := make([]bool, len(candidates))
	if !key.reads() {
		for i := range candidates {
			fits[i], _ = key.fits(&candidates[i])
		}
	} else if err := s.readAll(key, candidates, fits); err != nil {
		return nil, err
	}
	var found choice
	for i, yes := range fits {
		if yes {
			found = append(found, chosen{candidates[i].seq, candidates[i].UID})
		}
	}
	return found, nil
}

// candidates lists the messages the client knows, with their flags of now. Those that are gone fit nothing.
func (s *session) candidates() []candidate {
	known, now := s.box.client.view, s.box.mailbox.View()
	out := make([]candidate, 0, known.Len())
	for i, m := range known.All() {
		if known != now {
			fresh, ok := find(now, m.UID)
			if !ok {
				continue
			}
			m = fresh
		}
		out = append(out, candidate{Message: m, seq: uint32(i + 1)})
	}
	return out
}

// readAll asks the key of every candidate, several at a time.
func (s *session) readAll(key key, candidates []candidate, fits []bool) error {
	var (
		next    atomic.Int64
		workers sync.WaitGroup
		mu      sync.Mutex // guards failed
		failed  error
	)
	for range min(runtime.GOMAXPROCS(0), len(candidates)) {
		workers.Go(func() {
			f := fetcher{session: s, needs: needHeader} // more when a key wants it
			for s.ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(candidates) {
					return
				}
				yes, err := f.ask(key, &candidates[i])
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
				fits[i] = yes
			}
		})
	}
	workers.Wait()
	return errors.Join(failed, s.ctx.Err())
}

// ask asks the key of one message. A message that is gone meanwhile fits nothing.
func (f *fetcher) ask(key key, c *candidate) (bool, error) {
	c.reader = f
	defer c.close()
	yes, err := key.fits(c)
	if errors.Is(err, storage.ErrNoMessage) {
		return false, nil
	}
	return yes, err
}

// searchData is the answer. The engine writes as much of it as was asked for.
func searchData(kind imapserver.NumKind, found choice) *imap.SearchData {
	data := &imap.SearchData{Count: uint32(len(found))}
	numbers := make([]uint32, len(found))
	for i, m := range found {
		numbers[i] = m.seq
		if kind == imapserver.NumKindUID {
			numbers[i] = uint32(m.uid)
		}
	}
	data.All = imap.NumSet(seqSet(numbers))
	if kind == imapserver.NumKindUID {
		data.All = uidSet(found.uids())
	}
	if len(numbers) > 0 {
		data.Min, data.Max = numbers[0], numbers[len(numbers)-1]
	}
	return data
}

// keep saves a result for "$". Of MIN and MAX alone it is these messages (RFC 9051 section 6.4.4.1).
func (s *session) keep(found choice, options *imap.SearchOptions) {
	s.saved = nil
	if len(found) == 0 {
		return
	}
	if options.ReturnAll || options.ReturnCount || !options.ReturnMin && !options.ReturnMax {
		s.saved = found.uids()
		return
	}
	if options.ReturnMin {
		s.saved = append(s.saved, found[0].uid)
	}
	if last := found[len(found)-1].uid; options.ReturnMax && (len(s.saved) == 0 || s.saved[0] != last) {
		s.saved = append(s.saved, last)
	}
}

// inSaved reports whether a message is in the saved result.
func inSaved(saved []storage.UID) map[storage.UID]bool {
	in := make(map[storage.UID]bool, len(saved))
	for _, uid := range saved {
		in[uid] = true
	}
	return in
}
