package ldapd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Attributes and values come back in the order in which they were stored, as slapd's do: tools that take "the first value"
// find the same one on both.
func TestStoredOrderSameAsSlapd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const entry = `dn: uid=order,ou=people,dc=example,dc=org
sn: Last
telephoneNumber: +43 1 3
telephoneNumber: +43 1 1
cn: Z
cn: A
uid: order
mailLocalAddress: z@example.org
mailLocalAddress: a@example.org
objectClass: inetLocalMailRecipient
objectClass: inetOrgPerson
description: b
`
	const changes = `dn: uid=order,ou=people,dc=example,dc=org
changetype: modify
add: telephoneNumber
telephoneNumber: +43 1 2
-
delete: description
-
add: title
title: T
-
replace: sn
sn: New
-
delete: telephoneNumber
telephoneNumber: +43 1 3
-
add: description
description: again
-
replace: mailLocalAddress
mailLocalAddress: m@example.org
mailLocalAddress: a@example.org
`
	for name, text := range map[string]string{"entry.ldif": entry, "changes.ldif": changes} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var outputs []string
	for _, s := range []*side{slapdSide(t, dir), ownSide(t, dir)} {
		var all []string
		for _, command := range [][]string{
			{"ldapadd", "-f", "entry.ldif"},
			{"ldapsearch", "-b", "uid=order,ou=people," + base, "-s", "base"},
			{"ldapmodify", "-f", "changes.ldif"},
			{"ldapsearch", "-b", "uid=order,ou=people," + base, "-s", "base"},
			{"ldapsearch", "-b", "uid=order,ou=people," + base, "-s", "base", "(objectClass=*)", "title", "cn", "sn"},
		} {
			code, output, diagnostic := s.run(t, "admin", command[0], command[1:])
			if code != 0 {
				t.Fatalf("%s: %q: %d: %s", s.name, command, code, diagnostic)
			}
			all = append(all, output)
		}
		outputs = append(outputs, strings.Join(all, "\n"))
	}
	if diff := cmp.Diff(strings.Split(outputs[0], "\n"), strings.Split(outputs[1], "\n")); diff != "" {
		t.Errorf("slapd (-), ldapd (+):\n%s", diff)
	}
}
