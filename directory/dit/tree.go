package dit

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/dirpost/dirpost/schema"
)

// Options of [Open]. The zero value of each field means its default.
type Options struct {
	Suffixes    []string         // naming contexts; an entry outside them cannot be added
	Log         *slog.Logger     // nil = discarded
	Now         func() time.Time // of time stamps; nil = time.Now
	ServiceUIDs []int            // local users who are administrators by [Tree.Peer], as root is
	Locals      []Local          // local accounts that are entries by [Tree.Peer]

	HashLimit     int // passwords hashed at once; 0 = one for each processor
	MaxEntryBytes int // stored size of one entry; 0 = 16 MiB, for revocation lists
	MaxChanges    int // that are remembered for consumers who come back; 0 = 10,000

	MaxEntries          int           // that one search returns; 0 = 500,000
	MaxTime             time.Duration // that one search works; 0 = 1 minute
	MaxAnonymousEntries int           // 0 = 100
	MaxAnonymousTime    time.Duration // 0 = 5 seconds
}

func (o Options) withDefaults() Options {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Now == nil {
		o.Now = time.Now
	}
	o.HashLimit = cmp.Or(o.HashLimit, runtime.GOMAXPROCS(0))
	o.MaxEntryBytes = cmp.Or(o.MaxEntryBytes, 16<<20)
	o.MaxChanges = cmp.Or(o.MaxChanges, 10_000)
	o.MaxEntries = cmp.Or(o.MaxEntries, 500_000)
	o.MaxTime = cmp.Or(o.MaxTime, time.Minute)
	o.MaxAnonymousEntries = cmp.Or(o.MaxAnonymousEntries, 100)
	o.MaxAnonymousTime = cmp.Or(o.MaxAnonymousTime, 5*time.Second)
	return o
}

// A Tree is an open directory. All methods may be called concurrently: changes are made one after the other, and
// searches go on meanwhile.
type Tree struct {
	opts     Options
	catalog  *catalog
	suffixes []dn
	rules    []rule
	db       *bbolt.DB
	hashing  chan struct{} // a place for each hash that may be computed now
	decoy    string        // a stored password that nobody has, checked for names that do not exist

	flush  sync.Mutex // held while a batch is written; taken before write
	logged int        // lines in the log of changes; guarded by flush

	write  sync.Mutex // held by a change from its last checks until it is published
	batch  *batch     // that gathers; guarded by write
	number uint32     // of the newest entry; guarded by write
	last   time.Time  // of the newest change number; guarded by write
	feed   *feed

	mu      sync.RWMutex // guards what follows; never held while the file is read or written
	index   *index
	unsaved map[uint32]unsaved
}

// Open opens the directory in the bbolt file at path, makes it when it is missing, and reads the indexes into memory. It
// fails with [ErrInUse] while another process has the file open, and with [ErrDamaged] when the content cannot be read.
// Close must be called.
func Open(path string, opts Options) (*Tree, error) {
	opts = opts.withDefaults()
	t := &Tree{
		opts:    opts,
		catalog: loadCatalog(),
		rules:   accessRules,
		hashing: make(chan struct{}, opts.HashLimit),
		unsaved: map[uint32]unsaved{},
	}
	for _, s := range opts.Suffixes {
		d, err := t.catalog.parseDN(s)
		if err != nil || len(d.rdns) == 0 {
			return nil, fmt.Errorf("directory: naming context %q is not a name", clip(s))
		}
		t.suffixes = append(t.suffixes, d)
	}
	var err error
	if t.decoy, err = newDecoy(); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	if t.db, err = openFile(path); err != nil {
		return nil, fmt.Errorf("directory: open %s: %w", path, err)
	}
	if t.index, err = t.load(); err != nil {
		t.db.Close()
		return nil, fmt.Errorf("directory: open %s: %w", path, err)
	}
	if err = t.openLog(); err != nil {
		t.db.Close()
		return nil, fmt.Errorf("directory: open %s: %w", path, err)
	}
	t.feed = newFeed(t.last)
	return t, nil
}

// Close ends consumers, waits for reads and changes that are under way and closes the file. Whatever is asked
// afterwards fails with result 52.
func (t *Tree) Close() error {
	t.feed.close()
	t.flush.Lock()
	defer t.flush.Unlock()
	t.save()
	if err := t.closeLog(); err != nil && !errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		t.opts.Log.Error("directory file could not be marked as closed", "err", err)
	}
	if err := t.db.Close(); err != nil {
		return fmt.Errorf("directory: close: %w", err)
	}
	return nil
}

// load makes the index of what the file holds, and notes its newest change number. Parents may come behind their
// children, after a rename.
func (t *Tree) load() (*index, error) {
	x := newIndex()
	csn := t.catalog.plain[schema.AttrEntryCSN]
	err := t.forEach(func(r *record) error {
		n, err := t.node(r)
		if err != nil {
			return err
		}
		x.addName(r.id, n)
		for _, key := range x.keys(t.catalog, r) {
			x.addValue(key, r.id)
		}
		if a := r.find(csn); a != nil {
			if when := parseCSN(a.values[0]); when.After(t.last) {
				t.last = when
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for id := range x.nodes {
		if _, ok := x.place(id); !ok {
			return nil, fmt.Errorf("%w: entry %d hangs in the air", ErrDamaged, id)
		}
	}
	return x, nil
}

// node makes what the index keeps of a record.
func (t *Tree) node(r *record) (node, error) {
	d, err := t.catalog.parseDN(r.rdn)
	if err != nil {
		return node{}, fmt.Errorf("%w: entry %d: %w", ErrDamaged, r.id, err)
	}
	if r.parent == 0 && !slices.ContainsFunc(t.suffixes, func(s dn) bool { return s.norm == d.norm }) {
		return node{}, fmt.Errorf("the file holds %q, which is not a naming context", clip(r.rdn))
	}
	n := node{parent: r.parent, text: d.text, norm: d.norm}
	if n.norm == n.text {
		n.norm = n.text // one string in memory, not two
	}
	return n, nil
}

// context returns the naming context that holds the name, and whether there is one.
func (t *Tree) context(d dn) (suffix dn, ok bool) {
	for _, s := range t.suffixes {
		if below(d.norm, s.norm) && len(s.rdns) > len(suffix.rdns) {
			suffix, ok = s, true
		}
	}
	return suffix, ok
}

// find returns the number of the entry with the name, or 0, and that of the deepest entry on the way to it.
func (t *Tree) find(d dn) (id, deepest uint32) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.lookup(d)
}

// lookup is find for a caller that holds mu.
func (t *Tree) lookup(d dn) (id, deepest uint32) {
	suffix, ok := t.context(d)
	if !ok {
		return 0, 0
	}
	id = t.index.byName[childKey{0, suffix.norm}]
	for i := len(d.rdns) - len(suffix.rdns) - 1; i >= 0 && id != 0; i-- {
		deepest = id
		id = t.index.byName[childKey{id, d.rdns[i].norm}]
	}
	if id != 0 {
		deepest = id
	}
	return id, deepest
}

// entry returns the entry with the name, or the refusal 32 that the subject may hear.
func (t *Tree) entry(j *judge, d dn) (*view, error) {
	id, deepest := t.find(d)
	if id == 0 {
		return nil, t.noObject(j, deepest)
	}
	v, err := t.view(id)
	if err == nil && v == nil { // deleted meanwhile
		err = t.noObject(j, 0)
	}
	return v, err
}

// view reads one entry; nil when it is gone.
func (t *Tree) view(id uint32) (*view, error) {
	views, err := t.views([]uint32{id})
	if err != nil || len(views) == 0 {
		return nil, err
	}
	return views[0], nil
}

// views reads entries in one short transaction. Those that are gone are left out.
func (t *Tree) views(ids []uint32) ([]*view, error) {
	views, _, err := t.readPlaced(t.places(ids), 0)
	return views, err
}

// A placed entry is one that has not been read yet.
type placed struct {
	id uint32
	place
}

// places finds where entries are. Those that are gone are left out.
func (t *Tree) places(ids []uint32) []placed {
	t.mu.RLock()
	defer t.mu.RUnlock()
	found := make([]placed, 0, len(ids))
	for _, id := range ids {
		if p, ok := t.index.place(id); ok {
			found = append(found, placed{id, p})
		}
	}
	return found
}

// readPlaced reads entries until maxBytes (0 = no bound) are read, and returns how many of them it is done with.
func (t *Tree) readPlaced(entries []placed, maxBytes int) (views []*view, done int, err error) {
	raw, err := t.read(entries, maxBytes)
	if err != nil {
		return nil, 0, err
	}
	views = make([]*view, 0, len(raw))
	for i, b := range raw {
		if b == nil {
			continue
		}
		r, err := decodeRecord(t.catalog, entries[i].id, b)
		if err != nil {
			return nil, 0, t.fault(fmt.Errorf("entry %d: %w", entries[i].id, err))
		}
		views = append(views, &view{record: r, place: entries[i].place, tree: t})
	}
	return views, len(raw), nil
}

// noObject is refusal 32, with the name of the nearest entry above if the subject may know of it.
func (t *Tree) noObject(j *judge, nearest uint32) error {
	e := refuse(codeNoObject, "no such object")
	if nearest == 0 {
		return e
	}
	v, err := t.view(nearest)
	if err == nil && v != nil && v.may(j, theEntry, disclose) {
		e.Matched = v.text
	}
	return e
}

// denied is the refusal of something on the entry: who may not know of it hears that there is none.
func (t *Tree) denied(j *judge, v *view) error {
	if v.may(j, theEntry, disclose) {
		return refuse(codeAccess, "insufficient access rights")
	}
	t.mu.RLock()
	parent := t.index.nodes[v.id].parent
	t.mu.RUnlock()
	return t.noObject(j, parent)
}

// flagged reports whether the index has TRUE for an attribute of the entry.
func (t *Tree) flagged(id uint32, attr string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.index.has(t.index.hash(t.catalog.typ(attr), "TRUE"), id)
}

// holds reports whether a group in the naming context has the name as a member and gives the right. The index says
// where to look, the group itself decides.
func (t *Tree) holds(name, right, base string) bool {
	rights := t.catalog.plain[schema.AttrDpAdminRight]
	form, _ := rights.typ.equality.norm(t.catalog, right)
	t.mu.RLock()
	groups := t.groupsOf(name)
	key := t.index.hash(rights.typ, form)
	groups = slices.DeleteFunc(groups, func(id uint32) bool { return !t.index.has(key, id) })
	t.mu.RUnlock()
	views, err := t.views(groups)
	if err != nil {
		return false
	}
	member := t.catalog.plain[schema.AttrMember]
	return slices.ContainsFunc(views, func(v *view) bool {
		return v.base == base && t.catalog.hasValue(v.record, member, name) && t.catalog.hasValue(v.record, rights, form)
	})
}
