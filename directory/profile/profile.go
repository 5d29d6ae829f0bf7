// Package profile says what a directory server calls the things that the rest of the tree calls by the names of our schema.
//
// A profile maps each of our attributes to one or more attributes of the server, with a way to read and write their values
// where they differ, and each of our object classes to conditions on an entry. The client translates what it asks and what
// it is told, so nothing behind it knows of other names. A server with our own schema needs no translation at all.
//
// Start reading at [New]; table.go has the profiles, codec.go the ways to write values, filter.go and entry.go translate.
package profile

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/schema"
)

// A Profile is what one kind of server calls things. It never changes. A nil Profile translates nothing.
type Profile struct {
	name     string
	version  string
	readOnly bool
	controls []ldap.Control
	attrs    map[string]attribute           // by our name in lower case; one that is not here has the same name
	fed      map[string]bool                // the server's attributes, in lower case, that ours are read from
	classes  map[string]class               // likewise
	defaults map[string]map[string][]string // by our class and attribute, as the schema spells them
}

// An attribute is where the values of one of ours are.
type attribute struct {
	name    string   // ours
	sources []source // the best first; none: the server has no such thing
}

// A source is an attribute of the server.
type source struct {
	name  string
	codec codec
}

// A class is how an entry of one of ours is known. It has alternatives.
type class struct {
	name  string // ours
	forms []form
}

// A form is one way to be of a class.
type form struct {
	class string   // the server's
	not   []string // classes it must not have
	has   []string // attributes that it must have
}

// Changes are what a configuration says of a server besides the profile. Keys are names of our schema.
type Changes struct {
	// Attributes are attributes of the server: "NAME" or "NAME CODEC", several with commas between them; "-" says that there
	// is none. The codecs are: PREFIX: (a word that ends with a colon, which values begin with), guid, uuid, lock, disabled, qmail,
	// forwardonly, time, x509-subject and x509-serial.
	Attributes map[string]string

	// Classes are conditions for an entry to be of a class: "CLASS", also with !CLASS for one that it must not have and with
	// ATTR=* for an attribute that it must have; alternatives with commas between them; "-" says that there are none.
	Classes map[string]string

	// Defaults are values that an account has of an attribute (an authority, if it is one of authorities) where its entry
	// has none.
	Defaults map[string][]string
}

// Names lists the profiles there are.
func Names() []string { return slices.Sorted(maps.Keys(tables)) }

// New returns the profile of that name with changes. Errors name what is wrong with the changes.
func New(name string, changes Changes) (*Profile, error) {
	t, ok := tables[name]
	if !ok {
		return nil, fmt.Errorf("no profile %q: there are %s", name, strings.Join(Names(), ", "))
	}
	p := &Profile{
		name: name, readOnly: t.readOnly,
		attrs: map[string]attribute{}, fed: map[string]bool{}, classes: map[string]class{}, defaults: map[string]map[string][]string{},
	}
	for _, oid := range t.controls {
		p.controls = append(p.controls, ldap.NewControlString(oid, true, ""))
	}
	for _, c := range []Changes{t.Changes, changes} {
		if err := p.change(c); err != nil {
			return nil, err
		}
	}
	for _, a := range p.attrs {
		for _, s := range a.sources {
			p.fed[strings.ToLower(s.name)] = true
		}
	}
	p.version = name
	if !p.Same() {
		p.version += fmt.Sprintf("-%x", sha256.Sum256(fmt.Append(nil, t.Changes, changes)))[:17] // fmt sorts maps
	}
	return p, nil
}

// change takes over what c says.
func (p *Profile) change(c Changes) error {
	for name, text := range c.Attributes {
		known := schema.Load().Attribute(name)
		if known == nil {
			return fmt.Errorf("attribute %q: the schema has none of that name", name)
		}
		sources, err := parseSources(text)
		if err != nil {
			return fmt.Errorf("attribute %s = %q: %w", name, text, err)
		}
		p.attrs[strings.ToLower(name)] = attribute{known.Name(), sources}
	}
	for name, text := range c.Classes {
		known := schema.Load().Class(name)
		if known == nil {
			return fmt.Errorf("class %q: the schema has none of that name", name)
		}
		forms, err := parseForms(text)
		if err != nil {
			return fmt.Errorf("class %s = %q: %w", name, text, err)
		}
		p.classes[strings.ToLower(name)] = class{known.Name(), forms}
	}
	for name, values := range c.Defaults {
		known := schema.Load().Attribute(name)
		if known == nil {
			return fmt.Errorf("default of %q: the schema has no attribute of that name", name)
		}
		of := classOf(known.Name())
		if p.defaults[of] == nil {
			p.defaults[of] = map[string][]string{}
		}
		p.defaults[of][known.Name()] = values
	}
	return nil
}

// classOf is the class whose entries have a default of an attribute.
func classOf(attr string) string {
	switch attr {
	case schema.AttrDpCertTrust, schema.AttrDpRevocationCheck:
		return schema.ClassDpCertAuthority
	}
	return schema.ClassDpMailAccount
}

const none = "-"

func parseSources(text string) ([]source, error) {
	if strings.TrimSpace(text) == none {
		return nil, nil
	}
	var list []source
	for part := range strings.SplitSeq(text, ",") {
		words := strings.Fields(part)
		if len(words) == 0 || len(words) > 2 || !isName(words[0]) {
			return nil, fmt.Errorf("write the name of an attribute, and perhaps how its values are written, or %s for none", none)
		}
		s := source{name: words[0]}
		if len(words) == 2 {
			var err error
			if s.codec, err = codecOf(words[1]); err != nil {
				return nil, err
			}
		}
		list = append(list, s)
	}
	return list, nil
}

func parseForms(text string) ([]form, error) {
	if strings.TrimSpace(text) == none {
		return nil, nil
	}
	var list []form
	for part := range strings.SplitSeq(text, ",") {
		var f form
		for _, word := range strings.Fields(part) {
			not, isNot := strings.CutPrefix(word, "!")
			has, isHas := strings.CutSuffix(word, "=*")
			switch {
			case isNot && isName(not):
				f.not = append(f.not, not)
			case isHas && isName(has):
				f.has = append(f.has, has)
			case f.class == "" && isName(word):
				f.class = word
			default:
				return nil, fmt.Errorf("%q is neither a class, nor !CLASS, nor ATTRIBUTE=*", word)
			}
		}
		if f.class == "" {
			return nil, fmt.Errorf("it names no class of the server; write %s if there is none", none)
		}
		list = append(list, f)
	}
	return list, nil
}

// isName reports whether s is the name of an attribute or class (RFC 4512 section 1.4, descr).
func isName(s string) bool {
	return s != "" && len(s) <= 128 && s[0] > '9' && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-'
	})
}

// Name is the name of the profile.
func (p *Profile) Name() string {
	if p == nil {
		return OpenLDAP
	}
	return p.name
}

// Version is another one whenever entries are read in another way: what was kept of them is then out of date.
func (p *Profile) Version() string {
	if p == nil {
		return OpenLDAP
	}
	return p.version
}

// ReadOnly reports whether entries are made and changed with the server's own tools only.
func (p *Profile) ReadOnly() bool { return p != nil && p.readOnly }

// Controls go with each search.
func (p *Profile) Controls() []ldap.Control {
	if p == nil {
		return nil
	}
	return p.controls
}

// Same reports whether nothing needs translation.
func (p *Profile) Same() bool {
	return p == nil || len(p.attrs) == 0 && len(p.classes) == 0 && len(p.defaults) == 0
}

// Sources names the attributes of the server that hold one of ours; none if the server has no such thing.
func (p *Profile) Sources(attr string) []string {
	a, ok := p.attribute(attr)
	if !ok {
		return []string{attr}
	}
	var names []string
	for _, s := range a.sources {
		names = append(names, s.name)
	}
	return names
}

// Classes names the classes of the server whose entries are of one of ours; none if there are none.
func (p *Profile) Classes(name string) []string {
	c, ok := p.class(name)
	if !ok {
		return []string{name}
	}
	var names []string
	for _, f := range c.forms {
		names = append(names, f.class)
	}
	return names
}

func (p *Profile) attribute(name string) (attribute, bool) {
	if p == nil {
		return attribute{}, false
	}
	a, ok := p.attrs[strings.ToLower(name)]
	return a, ok
}

func (p *Profile) class(name string) (class, bool) {
	if p == nil {
		return class{}, false
	}
	c, ok := p.classes[strings.ToLower(name)]
	return c, ok
}

// Default reports whether entries have a value of an attribute where they say nothing.
func (p *Profile) Default(attr string) bool {
	return p != nil && p.hasDefault(attr)
}
