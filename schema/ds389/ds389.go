// Package ds389 holds the reference configuration of 389 Directory Server for dirpost, as changes for ldapmodify: plugins,
// indexes, password policy, limits and access rules. What the rules allow is what those of package slapd do, as far as that
// server can say it; reference.ldif has the reason beside each.
//
// Start reading at [Reference].
package ds389

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// ErrValue is wrapped when a value cannot stand in the configuration.
var ErrValue = errors.New("unusable value")

//go:embed reference.ldif
var reference string

// ContentSync switches content synchronization (RFC 4533) on. The server has to be restarted then.
//
//go:embed contentsync.ldif
var ContentSync string

// What the file is written for.
const (
	suffix  = "dc=example,dc=org"
	backend = "cn=userRoot,"
)

var (
	// usableSuffix has nothing in it that would end a line, a quoted string or a part of an access rule.
	usableSuffix = regexp.MustCompile(`^[A-Za-z]+=[\w .-]*\w(,[A-Za-z]+=[\w .-]*\w)*$`)
	usableName   = regexp.MustCompile(`^[\w.-]+$`)
)

// Reference returns the changes for a server whose naming context is base, kept in the named backend. They are made by the
// directory manager, and the server has to be restarted then. The schema and the entry of base have to be there. A value that
// cannot stand in them is an error that wraps ErrValue.
func Reference(base, named string) (string, error) {
	if !usableSuffix.MatchString(base) {
		return "", fmt.Errorf("%w: suffix %q", ErrValue, base)
	}
	if !usableName.MatchString(named) {
		return "", fmt.Errorf("%w: backend %q", ErrValue, named)
	}
	return strings.NewReplacer(suffix, base, backend, "cn="+named+",").Replace(reference), nil
}
