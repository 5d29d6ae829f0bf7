package login

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
)

// ErrBraked says that there were too many wrong passwords, and that the directory was not asked about this one. It is a case
// of directory.ErrUnavailable, so that clients come back and do not ask their users for another password.
var ErrBraked error = braked{}

type braked struct{}

// Error says why.
func (braked) Error() string { return "too many wrong passwords lately" }

// Is makes it a case of directory.ErrUnavailable.
func (braked) Is(target error) bool { return target == directory.ErrUnavailable }

const (
	brakeTime  = 5 * time.Minute // that wrong passwords count: no shorter than the directory counts them for its own lock
	repeatTime = time.Minute     // that a wrong one is known to be wrong, where changes are not heard of at once
	knownTime  = 24 * time.Hour  // that it is remembered where an account logged in from, and with what, at least
	brakeSize  = 50_000          // addresses, and accounts
)

// A brake keeps those who guess passwords from the directory, and the directory's own lock from those who do not guess. It
// counts different wrong passwords by network and by account: a device that tries an old password again and again counts
// once, and the directory is not asked about it each time. Of those for an account the last one is kept for networks from
// where it logged in, so that strangers cannot lock its owner out, and what was right once is no guess.
type brake struct {
	perPeer, perAccount int // different wrong passwords in brakeTime; 0 = any number
	secret              [32]byte

	mu    sync.Mutex // guards what follows
	wrong recent[[]guess]
	known recent[struct{}]
}

// A guess is a password that was wrong, as far as it takes to know it again.
type guess struct {
	tag [16]byte
	at  time.Time
	old bool // it was right once: a device that has not heard of the new one, and nobody who guesses
}

func newBrake(perPeer, perAccount int) *brake {
	b := &brake{perPeer: perPeer, perAccount: perAccount, wrong: recent[[]guess]{span: brakeTime}, known: recent[struct{}]{span: knownTime}}
	rand.Read(b.secret[:]) // never fails
	return b
}

// tagOf is what a login name and a password are known by. It cannot be turned back.
func (b *brake) tagOf(c Credentials) (tag [16]byte) {
	h := hmac.New(sha256.New, b.secret[:])
	fmt.Fprintf(h, "%d:%s%s", len(c.Login), c.Login, c.Password)
	copy(tag[:], h.Sum(nil))
	return tag
}

// networkOf is what an address counts by; empty for programs on this machine, among which is webmail for everybody.
func networkOf(peer protocols.Peer) string {
	if peer.OnThisMachine() {
		return ""
	}
	addr := peer.Addr.Addr().Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	network, err := addr.Prefix(bits)
	if err != nil {
		return netip.Addr{}.String()
	}
	return network.String()
}

// peer refuses an address that has guessed too often.
func (b *brake) peer(network string, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if network != "" && b.full("peer "+network, b.perPeer, now) {
		return fmt.Errorf("%w from %s", ErrBraked, network)
	}
	return nil
}

// account judges a password for an account before the directory is asked: whether it is known to be wrong, for as long as
// memory says, or whether too many were.
func (b *brake) account(entry, network string, tag [16]byte, memory time.Duration, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	guesses, _ := b.wrong.get("account "+entry, now)
	for _, g := range guesses {
		if g.tag == tag && now.Sub(g.at) < memory {
			return fmt.Errorf("%w: the same password as %s ago", directory.ErrWrong, now.Sub(g.at).Round(time.Second))
		}
	}
	most := b.perAccount
	if _, own := b.known.get(entry+" "+network, now); !own && most > 1 {
		most--
	}
	if b.full("account "+entry, most, now) {
		return fmt.Errorf("%w for this account", ErrBraked)
	}
	return nil
}

// full reports whether as many wrong passwords are counted as there may be. The caller holds mu.
func (b *brake) full(key string, most int, now time.Time) bool {
	guesses, _ := b.wrong.get(key, now)
	count := 0
	for _, g := range guesses {
		if !g.old && now.Sub(g.at) < brakeTime {
			count++
		}
	}
	return most > 0 && count >= most
}

// failed counts a wrong password; entry is empty if there is no such account.
func (b *brake) failed(entry, network string, tag [16]byte, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, old := b.known.get(string(tag[:]), now)
	if network != "" {
		b.add("peer "+network, b.perPeer, guess{tag, now, old}, now)
	}
	if entry != "" {
		b.add("account "+entry, b.perAccount, guess{tag, now, old}, now)
	}
}

// add notes a guess. Of more than can matter the oldest are dropped.
func (b *brake) add(key string, most int, latest guess, now time.Time) {
	before, _ := b.wrong.get(key, now)
	guesses := make([]guess, 0, len(before)+1)
	for _, g := range before {
		if g.tag != latest.tag && now.Sub(g.at) < brakeTime {
			guesses = append(guesses, g)
		}
	}
	guesses = append(guesses, latest)
	b.wrong.put(key, guesses[max(0, len(guesses)-2*max(most, 1)):], now)
}

// succeeded notes a password that was right, and where it came from.
func (b *brake) succeeded(entry, network string, tag [16]byte, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known.put(entry+" "+network, struct{}{}, now)
	b.known.put(string(tag[:]), struct{}{}, now)
}

// forget drops what was wrong for an account: its password is another one now.
func (b *brake) forget(entry string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrong.drop("account " + entry)
}

// A recent is a map that forgets: what was put into it stays for at least span, and not much longer than twice that, unless
// there is too much.
type recent[V any] struct {
	span        time.Duration
	since       time.Time
	now, before map[string]V
}

func (r *recent[V]) get(key string, t time.Time) (V, bool) {
	r.turn(t)
	if v, ok := r.now[key]; ok {
		return v, true
	}
	v, ok := r.before[key]
	return v, ok
}

func (r *recent[V]) put(key string, v V, t time.Time) {
	r.turn(t)
	if r.now == nil {
		r.now = map[string]V{}
	}
	r.now[key] = v
}

func (r *recent[V]) turn(t time.Time) {
	switch {
	case t.Sub(r.since) >= 2*r.span:
		r.before, r.now, r.since = nil, nil, t
	case t.Sub(r.since) >= r.span, len(r.now) >= brakeSize:
		r.before, r.now, r.since = r.now, nil, t
	}
}

func (r *recent[V]) drop(key string) {
	delete(r.now, key)
	delete(r.before, key)
}
