package certname

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

// spellings are other names of types than those that Text writes, in lower case. Microsoft's and NSS's programs write E and S.
var spellings = func() map[string]string {
	m := map[string]string{
		"e": "emailAddress", "email": "emailAddress", "s": "ST", "surname": "SN", "givenname": "GN", "g": "GN", "t": "title",
		"commonname": "CN", "countryname": "C", "localityname": "L", "stateorprovincename": "ST", "organizationname": "O",
		"organizationalunitname": "OU", "domaincomponent": "DC", "userid": "UID", "streetaddress": "street",
	}
	for _, name := range nameTypes {
		m[strings.ToLower(name)] = name
	}
	return m
}()

// Parse reads the text of a name as other programs write it, and returns it as Text does: once in the order of its parts, and
// once in the other one. Some write the part first that is nearest to the root, and nothing in the text says so. A type that
// Text has no name for is an error: how its value was encoded is not in the text.
func Parse(text string) (straight, reversed string, err error) {
	dn, err := ldap.ParseDN(text)
	if err != nil {
		return "", "", fmt.Errorf("distinguished name %q: %w", text, err)
	}
	if len(dn.RDNs) == 0 {
		return "", "", fmt.Errorf("distinguished name: it is empty")
	}
	var names []string
	for _, rdn := range dn.RDNs {
		name, err := relative(rdn, false)
		if err != nil {
			return "", "", fmt.Errorf("distinguished name %q: %w", text, err)
		}
		names = append(names, name)
	}
	straight = strings.Join(names, ",")
	for i, rdn := range dn.RDNs {
		names[i], _ = relative(rdn, true)
	}
	slices.Reverse(names)
	return straight, strings.Join(names, ","), nil
}

// relative writes the parts of one relative name, from the last if so wanted.
func relative(rdn *ldap.RelativeDN, backward bool) (string, error) {
	var parts []string
	for _, a := range rdn.Attributes {
		name := spellings[strings.ToLower(strings.TrimSpace(a.Type))]
		switch {
		case name == "":
			return "", fmt.Errorf("type %q is not known", a.Type)
		case !isText(a.Value):
			return "", fmt.Errorf("value of %s is no text", name)
		}
		parts = append(parts, name+"="+escape(a.Value))
	}
	if backward {
		slices.Reverse(parts)
	}
	return strings.Join(parts, "+"), nil
}

// isText reports whether a value can stand in a name that somebody is found by.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
