// Package survey looks at a directory server as the platform sees it, and tells what it lacks and what does not work for
// that: attributes and object classes by the server's own names, controls and extended operations, rights of the service.
//
// Start reading at [Server] and [Entries]; uses.go says what each thing is for.
package survey

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/profile"
	"github.com/dirpost/dirpost/schema"
)

// A Level says how bad a finding is.
type Level string

// The levels.
const (
	OK    Level = "ok"    // as it should be
	Lacks Level = "lacks" // something does not work, and the rest does
	Fault Level = "fault" // mail or logins do not work
)

// A Finding is one thing that was looked at.
type Finding struct {
	Level Level  `json:"level"`
	Text  string `json:"text"`
}

// Options say what is to be found. Base is required.
type Options struct {
	Base    string           // the suffix all entries are below
	Profile *profile.Profile // what the server calls things; nil = as our schema does
	Domains []string         // that are ours although no entry says so
}

// A survey collects findings.
type survey struct {
	client   *client.Client
	opts     Options
	findings []Finding
}

func (s *survey) note(level Level, format string, args ...any) {
	s.findings = append(s.findings, Finding{level, fmt.Sprintf(format, args...)})
}

// Controls and extended operations, by number.
const (
	pagedResults   = ldap.ControlTypePaging
	syncRequest    = ldap.ControlTypeSyncRequest
	persistent     = "2.16.840.1.113730.3.4.3"
	passwordPolicy = ldap.ControlTypeBeheraPasswordPolicy
	passwordModify = "1.3.6.1.4.1.4203.1.11.1"
)

// Server looks at what the server says of itself: its root DSE and its schema. It costs two searches. An error says that it
// could not be asked.
func Server(ctx context.Context, c *client.Client, opts Options) ([]Finding, error) {
	s := &survey{client: c, opts: opts}
	root, err := c.One(ctx, "", ldap.ScopeBaseObject, anything, schema.AttrNamingContexts, schema.AttrSupportedControl,
		schema.AttrSupportedExtension, schema.AttrSubschemaSubentry, schema.AttrVendorName, schema.AttrVendorVersion)
	if err != nil {
		return nil, fmt.Errorf("root DSE: %w", err)
	}
	s.root(root)
	if err := s.schema(ctx, root.GetEqualFoldAttributeValue(schema.AttrSubschemaSubentry)); err != nil {
		return nil, err
	}
	return s.findings, nil
}

var anything = "(" + schema.AttrObjectClass + "=*)"

// root looks at the root DSE.
func (s *survey) root(root *ldap.Entry) {
	values := root.GetEqualFoldAttributeValues
	vendor := strings.TrimSpace(strings.Join(values(schema.AttrVendorName), " ") + " " + strings.Join(values(schema.AttrVendorVersion), " "))
	if vendor == "" {
		vendor = "a server that does not say what it is"
	}
	s.note(OK, "%s, profile %s", vendor, s.opts.Profile.Name())
	if contexts := values(schema.AttrNamingContexts); !slices.ContainsFunc(contexts, s.holdsBase) {
		s.note(Fault, "the server does not hold %s, but %s: see directory.base", s.opts.Base, strings.Join(contexts, " and "))
	}
	controls, extensions := values(schema.AttrSupportedControl), values(schema.AttrSupportedExtension)
	switch {
	case slices.Contains(controls, syncRequest):
		s.note(OK, "changes are learned as they happen, by content synchronization")
	case slices.Contains(controls, persistent):
		s.note(OK, "changes are learned as they happen, by persistent search")
	default:
		s.note(Lacks, "no content synchronization and no persistent search: changes are asked for every 15 seconds, and deletions found within 10 minutes")
	}
	if !slices.Contains(controls, pagedResults) {
		s.note(Fault, "no control for paged results (%s): lists of many entries are cut", pagedResults)
	}
	if !slices.Contains(controls, passwordPolicy) {
		s.note(Lacks, "no control for password policies (%s): the log does not tell a locked account or an expired password from a wrong one", passwordPolicy)
	}
	if !s.opts.Profile.ReadOnly() && !slices.Contains(extensions, passwordModify) {
		s.note(Lacks, "no Password Modify (%s): passwords are not set with dirpost", passwordModify)
	}
}

// holdsBase reports whether the base is within a naming context.
func (s *survey) holdsBase(name string) bool {
	context, err := ldap.ParseDN(name)
	if err != nil {
		return false
	}
	base, err := ldap.ParseDN(s.opts.Base)
	return err == nil && (context.EqualFold(base) || context.AncestorOfFold(base))
}

// names finds the names in a description of an attribute or a class (RFC 4512 section 4.1).
var names = regexp.MustCompile(`\bNAME\s+(?:'([^']+)'|\(([^)]*)\))`)

// schema looks for what the platform uses in the schema that the server publishes.
func (s *survey) schema(ctx context.Context, dn string) error {
	e, err := s.client.One(ctx, dn, ldap.ScopeBaseObject, anything, schema.AttrAttributeTypes, schema.AttrObjectClasses)
	if errors.Is(err, directory.ErrNotFound) {
		s.note(Lacks, "the schema of the server may not be read, so what it lacks is not known")
		return nil
	}
	if err != nil {
		return fmt.Errorf("schema of the server: %w", err)
	}
	known := map[string]bool{}
	for _, attr := range []string{schema.AttrAttributeTypes, schema.AttrObjectClasses} {
		for _, text := range e.GetEqualFoldAttributeValues(attr) {
			for _, name := range namesIn(text) {
				known[attr+" "+strings.ToLower(name)] = true
			}
		}
	}
	if len(known) == 0 {
		s.note(Lacks, "the schema of the server may not be read, so what it lacks is not known")
		return nil
	}
	missing := s.missing("attribute", attributes, s.opts.Profile.Sources, func(name string) bool { return known[schema.AttrAttributeTypes+" "+strings.ToLower(name)] })
	missing += s.missing("object class", classes, s.opts.Profile.Classes, func(name string) bool { return known[schema.AttrObjectClasses+" "+strings.ToLower(name)] })
	if missing == 0 {
		s.note(OK, "its schema has everything that is used")
	}
	return nil
}

func namesIn(description string) []string {
	m := names.FindStringSubmatch(description)
	switch {
	case m == nil:
		return nil
	case m[1] != "":
		return []string{m[1]}
	}
	var list []string
	for _, word := range strings.Fields(m[2]) {
		list = append(list, strings.Trim(word, "'"))
	}
	return list
}

// missing notes what of uses the server does not know, and returns how much that is.
func (s *survey) missing(kind string, uses []use, theirs func(string) []string, known func(string) bool) int {
	count := 0
	for _, u := range uses {
		names := theirs(u.name)
		switch {
		case slices.ContainsFunc(names, known), s.opts.Profile.Default(u.name):
			continue
		case len(names) == 0:
			s.note(u.level, "%s %s: profile %s has none: %s", kind, u.name, s.opts.Profile.Name(), u.consequence)
		case len(names) == 1 && names[0] == u.name:
			s.note(u.level, "%s %s is not in the server's schema: %s", kind, u.name, u.consequence)
		default:
			s.note(u.level, "%s %s is not in the server's schema (it stands for %s): %s", kind, strings.Join(names, ", "), u.name, u.consequence)
		}
		count++
	}
	return count
}
