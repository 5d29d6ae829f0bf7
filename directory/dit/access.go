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

	readable = disclose | auth | compare | search | read
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
	where []string // names relative to the naming context, "" = its own entry; none = every entry
	attrs []string // none = all, with theEntry and theChildren
	by    []grant
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
	anonymousWho whoKind = iota
	selfWho              // the entry is the subject's own, who is a person
	userWho              // has an entry in the naming context
	entryWho             // the entry of this name
	rightWho             // members of a group that has this dpAdminRight
)

var (
	anonymous = who{kind: anonymousWho}
	self      = who{kind: selfWho}
	users     = who{kind: userWho}
	frontend  = who{entryWho, "cn=frontend,ou=services"}
	admins    = who{rightWho, "full"}
)

// accessRules are the rights of everybody but the local administrator, who has all. The root DSE and cn=Subschema are
// outside: everybody reads them.
var accessRules = []rule{
	{
		name:  "a password is set by its holder and by administrators, and read by nobody",
		attrs: []string{schema.AttrUserPassword},
		by:    []grant{{self, settable | auth}, {admins, settable}, {anonymous, auth}},
	},
	{
		name:  "old passwords are passwords",
		attrs: []string{schema.AttrPwdHistory},
	},
	{
		name:  "the frontend verifies app passwords, administrators take them away",
		attrs: []string{schema.AttrDpAppPassword},
		by:    []grant{{frontend, readable}, {admins, remove}},
	},
	{
		name:  "who may act as whom is decided by the local administrator",
		attrs: []string{schema.AttrAuthzTo, schema.AttrAuthzFrom},
	},
	{
		name:  "users may search below the containers, which shows them their own entry",
		where: []string{"", "ou=people"},
		attrs: []string{theEntry},
		by:    []grant{{frontend, readable}, {admins, writable}, {users, disclose | search}},
	},
	{
		name: "the own entry is readable, the frontend reads all, administrators write all",
		by:   []grant{{admins, writable}, {self, readable}, {frontend, readable}},
	},
}

func (r *rule) covers(p place, attr string) bool {
	if len(r.attrs) > 0 && !slices.ContainsFunc(r.attrs, func(a string) bool { return strings.EqualFold(a, attr) }) {
		return false
	}
	return len(r.where) == 0 || slices.ContainsFunc(r.where, func(name string) bool { return p.norm == within(name, p.base) })
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
	tree   *Tree
	root   bool
	name   string
	named  bool            // not anonymous; a name outside the schema's attributes has no rights
	dn     dn              // empty when anonymous or outside
	rights map[string]bool // held rights by name and naming context
}

func (t *Tree) judge(s Subject) *judge {
	j := &judge{tree: t, root: s.Admin, name: s.DN, named: s.DN != "" || s.Admin, rights: map[string]bool{}}
	if d, err := t.catalog.parseDN(s.DN); err == nil && len(d.rdns) > 0 {
		j.dn = d
	}
	return j
}

// may reports whether the subject has all the rights wanted on an attribute, by its key, of the entry at p.
func (j *judge) may(p place, attr string, want rights) bool {
	if j.root {
		return true
	}
	for i := range j.tree.rules {
		r := &j.tree.rules[i]
		if !r.covers(p, attr) {
			continue
		}
		for _, g := range r.by {
			if j.is(g.who, p) {
				return g.may&want == want
			}
		}
		return false
	}
	return false
}

func (j *judge) is(w who, p place) bool {
	if w.kind == anonymousWho || j.dn.norm == "" {
		return w.kind == anonymousWho && !j.named
	}
	switch w.kind {
	case selfWho:
		return j.dn.norm == p.norm && below(p.norm, within("ou=people", p.base))
	case userWho:
		return below(j.dn.norm, p.base)
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
