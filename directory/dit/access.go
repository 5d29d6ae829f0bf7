package dit

import (
	"slices"
	"strings"

	"github.com/dirpost/dirpost/schema"
)

// rights are what a subject may do with an attribute of an entry, or with the entry as a whole.
type rights uint8

// The single rights. Unlike the levels of other servers none includes another: tables name levels for what they mean.
const (
	disclose rights = 1 << iota // learn that the entry is there
	auth                        // bind with the value
	compare
	search // use in a filter
	read
	add
	remove
	manage // of a password: set it for another, who then has to change it, whatever the policy says of the new one

	provable = disclose | auth
	readable = provable | compare | search | read
	settable = add | remove // write without reading
	writable = readable | settable
)

// What rules name besides attributes: the entry itself, and its list of children.
const (
	theEntry    = "entry"
	theChildren = "children"
)

// A rule says who may do what with some attributes of some entries. The first rule that covers entry and attribute
// decides, and in it the first grant that covers the subject; without a grant nothing is allowed.
type rule struct {
	name  string
	where []region   // none = every entry
	only  *condition // on the entry as it is stored; nil = none
	attrs []string   // none = all, with theEntry and theChildren
	by    []grant
}

// A region is a part of a naming context. Its name is relative to that, "" = the entry of the context.
type region struct {
	scope Scope
	name  string
}

func (r region) has(p place) bool {
	name := within(r.name, p.base)
	switch r.scope {
	case BaseObject:
		return p.norm == name
	case SingleLevel:
		return p.above == name
	}
	return below(p.norm, name)
}

// A condition is on the content of an entry.
type condition struct {
	holds func(v *view) bool
	flag  string // the indexed attribute without whose TRUE it does not hold; "" = the index does not tell
}

type grant struct {
	who who
	may rights
}

// who is a set of subjects. Names in it are relative to the naming context of the entry in question, so that nobody has
// a right in another context by a name that he made in his own.
type who struct {
	kind  whoKind
	value string
}

type whoKind int

const (
	anyoneWho whoKind = iota
	anonymousWho
	selfWho  // the entry is the subject's own
	entryWho // the entry of this name
	rightWho // members of a group that has this dpAdminRight
)

// A rule covers an attribute of an entry when place, content and attribute fit.
func (r *rule) covers(p place, attr string) bool {
	if len(r.attrs) > 0 && !slices.ContainsFunc(r.attrs, func(a string) bool { return strings.EqualFold(a, attr) }) {
		return false
	}
	return len(r.where) == 0 || slices.ContainsFunc(r.where, func(part region) bool { return part.has(p) })
}

// within is the name relative to a naming context.
func within(name, base string) string {
	if name == "" {
		return base
	}
	return name + "," + base
}

// A judge applies the rules to one subject, for one operation: rights that hang on groups are looked up once.
type judge struct {
	tree       *Tree
	root       bool
	name       string
	named      bool            // not anonymous; a name outside the schema's attributes has no rights
	restricted bool            // has to change the password, and may do nothing else
	dn         dn              // empty when anonymous or outside
	rights     map[string]bool // held rights by name and naming context

	restores bool // adds an entry from an export
}

func (t *Tree) judge(s Subject) *judge {
	j := &judge{tree: t, root: s.Admin, name: s.DN, named: s.DN != "" || s.Admin, rights: map[string]bool{}}
	if d, err := t.catalog.parseDN(s.DN); err == nil && len(d.rdns) > 0 {
		j.dn = d
	}
	j.restricted = s.MustChange && t.isReset(j.dn)
	return j
}

// isReset reports whether the entry still has a password that somebody else gave.
func (t *Tree) isReset(d dn) bool {
	id, _ := t.find(d)
	v, err := t.view(id)
	return err != nil || v == nil || v.says(schema.AttrPwdReset, "TRUE")
}

// errMustChange is the answer to everything that somebody asks who has to change his password first.
var errMustChange = forbid(codeAccess, ChangeAfterReset, "the password must be changed before anything else is done")

// may reports whether the subject has all the rights wanted on an attribute, by its key, of an entry.
func (j *judge) may(v *view, attr string, want rights) bool {
	if j.root {
		return true
	}
	if j.restricted && (attr != passwordKey || j.dn.norm != v.norm) {
		return false
	}
	for i := range j.tree.rules {
		if r := &j.tree.rules[i]; r.covers(v.place, attr) && (r.only == nil || r.only.holds(v)) {
			return j.granted(r, v.place)&want == want
		}
	}
	return false
}

// could reports whether may can be true of the entry itself, whose content has not been read: most of what a search is not
// to see need not be read for that.
func (j *judge) could(p placed, want rights) bool {
	if j.root {
		return true
	}
	for i := range j.tree.rules {
		r := &j.tree.rules[i]
		if !r.covers(p.place, theEntry) || r.only != nil && r.only.flag != "" && !j.tree.flagged(p.id, r.only.flag) {
			continue
		}
		if j.granted(r, p.place)&want == want {
			return true
		}
		if r.only == nil {
			return false
		}
	}
	return false
}

// granted returns what a rule gives the subject.
func (j *judge) granted(r *rule, p place) rights {
	for _, g := range r.by {
		if j.is(g.who, p) {
			return g.may
		}
	}
	return 0
}

func (j *judge) is(w who, p place) bool {
	switch {
	case w.kind == anyoneWho:
		return true
	case w.kind == anonymousWho:
		return !j.named
	case j.dn.norm == "":
		return false
	}
	switch w.kind {
	case selfWho:
		return j.dn.norm == p.norm
	case entryWho:
		return j.dn.norm == within(w.value, p.base)
	}
	return j.holds(w.value, p.base)
}

// active reports whether the subject's account still is: one that is disabled loses its rights in open sessions too.
func (j *judge) active() bool {
	id, _ := j.tree.find(j.dn)
	v, err := j.tree.view(id)
	return err == nil && v != nil && v.active()
}

// holds reports whether the subject is a member of a group in the naming context that gives the right.
func (j *judge) holds(right, base string) bool {
	key := right + "\x00" + base
	held, ok := j.rights[key]
	if !ok {
		held = j.active() && j.tree.holds(j.dn.norm, right, base)
		j.rights[key] = held
	}
	return held
}
