package client

import (
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Equal returns the filter (attr=value). It is the one place where a value enters a filter: whatever the value holds, the
// filter stays one equality match of attr (RFC 4515 section 3). attr is a name from package schema.
func Equal(attr, value string) string { return "(" + attr + "=" + ldap.EscapeFilter(value) + ")" }

// And returns the filter that all of the given ones must match.
func And(filters ...string) string { return "(&" + strings.Join(filters, "") + ")" }

// Or returns the filter that one of the given ones must match.
func Or(filters ...string) string { return "(|" + strings.Join(filters, "") + ")" }
