// Package ds389 holds the reference configuration of 389 Directory Server for dirpost, as changes for ldapmodify: plugins,
// indexes, password policy, limits and access rules. What the rules allow is what those of package slapd do, as far as that
// server can say it; reference.ldif has the reason beside each.
//
// Start reading at [Reference].
package ds389

import (
	_ "embed"
	"strings"
)

//go:embed reference.ldif
var reference string

// ContentSync switches content synchronization (RFC 4533) on. The server has to be restarted then.
//
//go:embed contentsync.ldif
var ContentSync string

// suffix and backend are what the file is written for.
const (
	suffix  = "dc=example,dc=org"
	backend = "cn=userRoot,"
)

// Reference returns the changes for a server whose naming context is base, kept in the named backend. They are made by the
// directory manager, and the server has to be restarted then. The schema and the entry of base have to be there.
func Reference(base, named string) string {
	return strings.NewReplacer(suffix, base, backend, "cn="+named+",").Replace(reference)
}
