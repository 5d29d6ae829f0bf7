package view

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/schema"
)

// Options of [Open]. The zero value works.
type Options struct {
	File string           // where the snapshot is kept between runs; empty = nowhere
	Now  func() time.Time // nil = time.Now
	Log  *slog.Logger     // nil = discarded

	// Changed, when not nil, is told of each entry that was changed or removed, after the change counts; now is nil for one
	// that is gone. It is called by the goroutine that commits and must not wait.
	Changed func(old, now *ldap.Entry)
}

// An Origin says where a snapshot comes from. A cookie is good for exactly this server, name, base and filter (RFC 4533
// leaves it to the server, and 389-ds binds it to all four).
type Origin struct {
	Means  string `json:"means"` // syncrepl, psearch or poll
	Server string `json:"server"`
	As     string `json:"as"` // the name that the feed is bound as
	Base   string `json:"base"`
	Filter string `json:"filter"`
	Names  string `json:"names"` // version of the profile by which entries were read
}

// Prompt reports whether changes arrive as they happen.
func (o Origin) Prompt() bool { return o.Means == Syncrepl || o.Means == PSearch }

// The means by which a feed learns of changes, the best first.
const (
	Syncrepl = "syncrepl" // RFC 4533
	PSearch  = "psearch"  // persistent search, draft-ietf-ldapext-psearch
	Poll     = "poll"     // searching for what is new
	TTL      = "ttl"      // not at all: answers are kept for a short time
)

// A Moment is the view at one moment.
type Moment struct {
	Snapshot
	Origin  Origin
	Age     time.Duration // since it was known to be what the directory says
	Current bool          // a feed keeps it so now; else it is from the file, or the feed is down
}

// A View is the newest snapshot. Any number of goroutines may read it; one, the feed, changes it. A nil View has none.
type View struct {
	opts Options

	state atomic.Pointer[state]
	seen  atomic.Int64 // when the state was known to be right, in nanoseconds of Unix time
	fed   atomic.Bool  // a feed keeps it so
	none  atomic.Bool  // there is no feed that could

	saving sync.Mutex // held while the file is written
}

// A state never changes.
type state struct {
	Snapshot
	origin Origin
	cookie []byte
	loaded bool
}

// Open returns a view, with the snapshot that the file holds if it is sound.
func Open(opts Options) *View {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	v := &View{opts: opts}
	v.load()
	return v
}

// Moment returns the newest snapshot; false while there is none.
func (v *View) Moment() (Moment, bool) {
	if v == nil {
		return Moment{}, false
	}
	s := v.state.Load()
	if s == nil {
		return Moment{}, false
	}
	return Moment{s.Snapshot, s.origin, max(0, v.opts.Now().Sub(time.Unix(0, v.seen.Load()))), v.fed.Load()}, true
}

// Confirm notes that the snapshot is what the directory says now.
func (v *View) Confirm() {
	v.seen.Store(v.opts.Now().UnixNano())
	v.fed.Store(true)
}

// Abandon notes that there will be no changes to learn of: the server has no means. A view from before is dropped.
func (v *View) Abandon() {
	v.fed.Store(false)
	v.state.Store(nil)
	v.none.Store(true)
}

// Abandoned reports whether the directory is to be asked, always, and its answers to be kept for a while.
func (v *View) Abandoned() bool { return v != nil && v.none.Load() }

// Doubt notes that changes arrive no more.
func (v *View) Doubt() { v.fed.Store(false) }

// Cookie returns where a synchronization from o can go on; nil for the beginning.
func (v *View) Cookie(o Origin) []byte {
	if s := v.state.Load(); s != nil && s.origin == o {
		return s.cookie
	}
	return nil
}

// Forget drops the cookie, from which the server cannot go on; the snapshot stays.
func (v *View) Forget() {
	if s := v.state.Load(); s != nil {
		v.state.Store(&state{Snapshot: s.Snapshot, origin: s.origin, loaded: s.loaded})
	}
}

// An Edit makes the next snapshot. It is used by one goroutine.
type Edit struct {
	view    *View
	next    Snapshot
	whole   bool // the first one: there is nobody to be told of a change
	changes []change
	kept    map[ID]bool // named since Refresh; nil = all are
	maker   *maker      // of what nobody else has seen
}

type change struct{ old, now *record }

// Edit begins with the newest snapshot.
func (v *View) Edit() *Edit {
	e := &Edit{view: v, maker: new(maker)}
	if s := v.state.Load(); s != nil {
		e.next = s.Snapshot
	} else {
		e.whole = true
	}
	return e
}

// Len is how many entries the next snapshot has.
func (e *Edit) Len() int { return e.next.Len() }

// Refresh begins to note which entries are named.
func (e *Edit) Refresh() { e.kept = map[ID]bool{} }

// Keep names an entry that has not changed.
func (e *Edit) Keep(id ID) {
	if e.kept != nil {
		e.kept[id] = true
	}
}

// Put adds an entry, or gives it other values or another name.
func (e *Edit) Put(id ID, entry *ldap.Entry) {
	e.Keep(id)
	old, now := e.next.record(id), pack(id, entry)
	if old != nil && old.packed == now.packed {
		return
	}
	e.next = e.next.with(now, e.maker)
	if old != nil && !e.whole {
		e.changes = append(e.changes, change{old, now})
	}
}

// Remove takes an entry out; one that is not there is no fault.
func (e *Edit) Remove(id ID) {
	if old := e.next.record(id); old != nil {
		e.next = e.next.without(id, e.maker)
		e.changes = append(e.changes, change{old, nil})
	}
}

// RemoveName is Remove for an entry of which only the name is known.
func (e *Edit) RemoveName(dn string) {
	var gone []ID
	e.next.keys.each(keyOf(schema.AttrEntryDN, dn, true), func(rec *record) bool {
		if Name(rec.dn()) == Name(dn) {
			gone = append(gone, rec.id)
		}
		return true
	})
	for _, id := range gone {
		e.Remove(id)
	}
}

// RemoveOthers takes out what was not named since Refresh.
func (e *Edit) RemoveOthers() {
	if e.kept == nil {
		return
	}
	var gone []ID
	e.next.ids.all(func(rec *record) bool {
		if !e.kept[rec.id] {
			gone = append(gone, rec.id)
		}
		return true
	})
	for _, id := range gone {
		e.Remove(id)
	}
	e.kept = nil
}

// Commit makes the snapshot the newest one, as the directory is now, and tells of the changes. The edit can go on from
// there. A nil cookie keeps the one before.
func (e *Edit) Commit(o Origin, cookie []byte) {
	v := e.view
	if cookie == nil {
		cookie = v.Cookie(o)
	}
	v.state.Store(&state{Snapshot: e.next, origin: o, cookie: cookie})
	v.Confirm()
	changes := e.changes
	e.changes, e.whole, e.maker = nil, false, new(maker)
	if v.opts.Changed == nil {
		return
	}
	for _, c := range changes {
		old, err := c.old.entry()
		if err != nil {
			continue // it was found by no question either
		}
		var now *ldap.Entry
		if c.now != nil {
			now, _ = c.now.entry()
		}
		v.opts.Changed(old, now)
	}
}
