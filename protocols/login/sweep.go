package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/lookup"
)

// A proof is when a session's certificate was judged last. Its fields belong to who sweeps.
type proof struct {
	edition string    // of the authorities then
	until   time.Time // to be judged again
}

// rejudgeTime is after how long a certificate is judged again although nothing that is known of has changed: an intermediate
// one ends some day, and so does a revocation list.
const rejudgeTime = time.Hour

// lookTime is how often the entries of those who are in are read where nothing tells of changes at once.
const lookTime = 15 * time.Second

// Sweep ends the sessions that time, or a change of an authority, has taken the ground from: the certificate is out of date or
// on a new revocation list, the authority is gone or trusted for less, the term of a role is over. What changes in the entries
// of people ends sessions at once ([Door.Changed]), and here where nothing tells of it. It is to be called every few seconds.
func (d *Door) Sweep(ctx context.Context) {
	d.sweeping.Lock()
	defer d.sweeping.Unlock()
	blind := d.accounts.Blind()
	if now := d.opts.Now(); blind && now.Sub(d.looked) >= lookTime {
		d.look(ctx)
		d.looked = now
	}
	shown, senders := d.stays.proven()
	for _, s := range senders {
		if err := s.rejudge(ctx); err != nil {
			s.end(err)
		}
	}
	if len(shown) == 0 {
		return
	}
	list, err := d.accounts.Authorities(ctx)
	if err != nil {
		return // nobody can tell
	}
	edition := lookup.Edition(list)
	for _, s := range shown {
		now := d.opts.Now()
		if s.proof.edition == edition && now.Before(s.proof.until) && !blind {
			continue
		}
		switch err := s.prove(ctx); {
		case errors.Is(err, directory.ErrUnavailable): // so next time again
		case err != nil:
			s.end(err)
		default:
			s.proof = proof{edition, now.Add(rejudgeTime)}
			if end := s.peer.TLS.PeerCertificates[0].NotAfter; end.Before(s.proof.until) {
				s.proof.until = end
			}
		}
	}
}

// look compares the entries of those who are in with what they were at the last look.
func (d *Door) look(ctx context.Context) {
	in := d.stays.byName()
	logins := map[string]bool{}
	for _, stays := range in {
		logins[stays[0].id.Login] = true
	}
	now, err := d.accounts.Entries(ctx, slices.Collect(maps.Keys(logins)))
	if err != nil {
		return // nobody can tell
	}
	before := d.seen
	d.seen = now
	for dn, stays := range in {
		old := before[dn]
		if old == nil {
			old = cmp.Or(now[dn], ldap.NewEntry(dn, nil))
		}
		change := lookup.ChangeOf(old, now[dn])
		for _, s := range stays {
			if err := s.judge(change); err != nil {
				s.end(err)
			}
		}
	}
}

// byName returns the sessions by the names of their accounts' entries.
func (s *stays) byName() map[string][]*Stay {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][]*Stay{}
	for _, of := range s.open {
		for stay := range of {
			all[stay.id.DN] = append(all[stay.id.DN], stay)
		}
	}
	return all
}

// proven returns the sessions that a certificate has a part in, and those that sent as somebody else.
func (s *stays) proven() (shown, senders []*Stay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range s.open {
		for stay := range of {
			if stay.shown {
				shown = append(shown, stay)
			}
		}
	}
	for stay := range s.senders {
		senders = append(senders, stay)
	}
	return shown, senders
}

// prove says whether the certificate still proves whom it has proven.
func (s *Stay) prove(ctx context.Context) error {
	acct, err := s.door.prover.Certificate(ctx, s.peer.TLS.PeerCertificates)
	switch {
	case errors.Is(err, directory.ErrUnavailable):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", errGone, err)
	case acct.Entry != s.id.Entry:
		return fmt.Errorf("%w: the certificate is another's now", errGone)
	}
	return nil
}
