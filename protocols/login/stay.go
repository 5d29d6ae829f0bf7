package login

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/protocols"
)

// A Stay is an open session of somebody who has logged in. When the directory takes away what let him in, the session is
// told to end.
type Stay struct {
	door    *Door
	id      directory.Identity
	peer    protocols.Peer
	service directory.Service
	shown   bool            // a certificate had a part in the proof
	keys    lookup.CertKeys // of that
	proof   proof
	end     func(why error)

	mu   sync.Mutex                 // guards used
	used map[directory.Address]bool // what he has sent as and is not his own
}

// stays are the open sessions by entry, those of them that sent as somebody else, and when entries changed.
type stays struct {
	mu      sync.Mutex // guards what follows
	open    map[string]map[*Stay]bool
	senders map[*Stay]bool
	changed [2]map[string]time.Time // since, and in the time before that
	since   time.Time
}

// keepChanges is how long a change counts for logins that were under way, at least.
const keepChanges = time.Minute

func newStays() stays {
	return stays{open: map[string]map[*Stay]bool{}, senders: map[*Stay]bool{}, changed: [2]map[string]time.Time{{}, {}}}
}

// note takes down that an entry changed. The caller holds mu.
func (s *stays) note(entry string, now time.Time) {
	if now.Sub(s.since) > keepChanges {
		s.changed[0], s.changed[1], s.since = map[string]time.Time{}, s.changed[0], now
	}
	s.changed[0][entry] = now
}

// changedSince reports whether an entry changed at a time or after it. The caller holds mu.
func (s *stays) changedSince(entry string, since time.Time) bool {
	for _, changed := range s.changed {
		if at, ok := changed[entry]; ok && !at.Before(since) {
			return true
		}
	}
	return false
}

// Enter takes down that a session began with an identity; end is called once at most, when it is to end, from another
// goroutine, and must not wait. The caller owes Leave. An entry that changed while the login was under way has another one
// come of it: the session ends at once.
func (d *Door) Enter(peer protocols.Peer, service directory.Service, id directory.Identity, end func(why error)) *Stay {
	s := &Stay{door: d, id: id, peer: peer, service: service, used: map[directory.Address]bool{}}
	var once sync.Once
	s.end = func(why error) {
		once.Do(func() {
			d.opts.Log.Info("session ended", "conn", peer.ID, "peer", peer.String(), "service", service, "login", id.Login, "why", why)
			if d.opts.Ended != nil {
				d.opts.Ended(service)
			}
			end(why)
		})
	}
	if id.Method != directory.ByPassword && peer.TLS != nil && len(peer.TLS.PeerCertificates) > 0 {
		s.shown, s.keys = true, lookup.KeysOf(peer.TLS.PeerCertificates[0])
	}
	d.stays.mu.Lock()
	defer d.stays.mu.Unlock()
	if d.stays.open[id.Entry] == nil {
		d.stays.open[id.Entry] = map[*Stay]bool{}
	}
	d.stays.open[id.Entry][s] = true
	if d.stays.changedSince(id.Entry, id.Since) {
		go s.end(fmt.Errorf("%w: the entry changed during the login", errGone))
	}
	return s
}

// Leave takes down that the session is over. A nil Stay has nothing to leave.
func (s *Stay) Leave() {
	if s == nil {
		return
	}
	d := &s.door.stays
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open[s.id.Entry], s)
	delete(d.senders, s)
	if len(d.open[s.id.Entry]) == 0 {
		delete(d.open, s.id.Entry)
	}
}

// Used takes down that the session sends as an address. When that is another's, it ends when it may no longer.
func (s *Stay) Used(a directory.Address) {
	own := func(b directory.Address) bool { return a.Key() == b.Key() }
	if s == nil || slices.ContainsFunc(s.id.SendAddresses, own) {
		return
	}
	s.mu.Lock()
	s.used[a] = true
	s.mu.Unlock()
	d := &s.door.stays
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[s.id.Entry][s] {
		d.senders[s] = true
	}
}

// errGone: what let somebody in is not there any more.
var errGone = errors.New("no longer let in")

// Changed ends the sessions that a change of the directory concerns. It is to be called after the change counts for
// questions to the directory, and asks the view of it at most.
func (d *Door) Changed(ctx context.Context, c lookup.Change) {
	if c.Password {
		d.brake.forget(c.Entry)
	}
	for s, why := range d.concerned(ctx, c) {
		s.end(why)
	}
}

// concerned returns the sessions that are to end, and why.
func (d *Door) concerned(ctx context.Context, c lookup.Change) map[*Stay]error {
	d.stays.mu.Lock()
	var own, others []*Stay
	if c.Matters() {
		d.stays.note(c.Entry, d.opts.Now())
	}
	for s := range d.stays.open[c.Entry] {
		own = append(own, s)
	}
	if c.Grants {
		for s := range d.stays.senders {
			others = append(others, s)
		}
	}
	d.stays.mu.Unlock()

	end := map[*Stay]error{}
	for _, s := range own {
		if err := s.judge(c); err != nil {
			end[s] = err
		}
	}
	for _, s := range others {
		if err := s.rejudge(ctx); err != nil {
			end[s] = err
		}
	}
	return end
}

// judge says whether the account may still be in here as it came: the rules of a login, for what it is now.
func (s *Stay) judge(c lookup.Change) error {
	now := c.Now
	switch {
	case now.DN == "":
		return fmt.Errorf("%w: %s is gone", errGone, s.id.DN)
	case now.ID != s.id.ID || now.DN != s.id.DN:
		return fmt.Errorf("%w: %s is another one now", errGone, s.id.DN)
	case s.id.Method != directory.ByCertificate && c.Password:
		return fmt.Errorf("%w: %s has another password", errGone, s.id.Login)
	case s.id.Method != directory.ByPassword && c.Unmaps(s.keys):
		return fmt.Errorf("%w: the certificate is not one of %s now", errGone, s.id.Login)
	case !met(now.AuthPolicy, s.id.Method):
		return fmt.Errorf("%w: policy of %s is %q, the proof was by %s", errGone, s.id.Login, now.AuthPolicy, s.id.Method)
	case s.service == directory.Submission && c.Silences():
		return fmt.Errorf("%w: %s lost an address to send as", errGone, s.id.Login)
	}
	return permit(now, s.peer, s.service)
}

// met reports whether a policy would take what a session was proven by.
func met(policy directory.AuthPolicy, by directory.Method) bool {
	switch policy {
	case directory.PasswordOnly:
		return by != directory.ByCertificate
	case directory.CertificateOnly:
		return by != directory.ByPassword
	case directory.Both:
		return by == directory.ByBoth
	}
	return true
}

// rejudge says whether the session may still send as what it has sent as.
func (s *Stay) rejudge(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := range s.used {
		may, err := s.door.accounts.StillMaySend(ctx, s.id.Account, a)
		if err == nil && !may {
			return fmt.Errorf("%w: %s may not send as %s now", errGone, s.id.Login, a)
		}
	}
	return nil
}
