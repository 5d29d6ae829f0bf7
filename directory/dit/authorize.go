package dit

import (
	"slices"
	"strings"

	"github.com/dirpost/dirpost/schema"
)

// Authorize returns the subject that who becomes by asking to act as authzID (RFC 4370, RFC 4513 section 5.2.1.8): "dn:" and
// a name, or nothing for anonymous. The local administrator may act as anybody, everybody as himself, and who has authzTo as those
// whom its values name; all others hear result 123. The access rules then judge the person, not the one who acts for him.
func (t *Tree) Authorize(who Subject, authzID string) (Subject, error) {
	if who.DN == "" && !who.Admin {
		return Subject{}, refuse(codeProxyDenied, "the anonymous act for nobody")
	}
	if authzID == "" {
		return Subject{}, nil
	}
	name, ok := cutFold(authzID, "dn:")
	if !ok {
		return Subject{}, refuse(codeProxyDenied, "an identity is dn: and a name")
	}
	d, err := t.catalog.parseDN(name)
	if err != nil {
		return Subject{}, refuse(codeProxyDenied, "the identity is no name")
	}
	own, err := t.catalog.parseDN(who.DN)
	switch {
	case who.Admin:
	case err == nil && own.norm == d.norm:
		return who, nil
	case err != nil || !t.mayActAs(own, d):
		return Subject{}, refuse(codeProxyDenied, "not authorized to assume the identity")
	}
	id, _ := t.find(d)
	if p := t.places([]uint32{id}); len(p) == 1 {
		return Subject{DN: p[0].text}, nil // as the entry is written
	}
	return Subject{DN: d.text}, nil
}

// mayActAs reports whether the entry with the first name has an authzTo for the second, and still is active.
func (t *Tree) mayActAs(own, other dn) bool {
	id, _ := t.find(own)
	v, err := t.view(id)
	if err != nil || v == nil || !v.active() {
		return false
	}
	a := v.find(t.catalog.plain[schema.AttrAuthzTo])
	return a != nil && slices.ContainsFunc(a.values, func(value []byte) bool { return t.names(string(value), other) })
}

// names reports whether a value of authzTo, "dn.onelevel:" and a name for example, means the name d. Forms that are not
// known mean nobody.
func (t *Tree) names(value string, d dn) bool {
	style, name, ok := strings.Cut(value, ":")
	base, err := t.catalog.parseDN(strings.TrimSpace(name))
	if !ok || err != nil || len(base.rdns) == 0 {
		return false
	}
	inside := d.norm != base.norm && below(d.norm, base.norm)
	switch strings.ToLower(style) {
	case "dn", "dn.exact", "dn.base":
		return d.norm == base.norm
	case "dn.onelevel", "dn.one":
		return inside && len(d.rdns) == len(base.rdns)+1
	case "dn.children":
		return inside
	case "dn.subtree", "dn.sub":
		return inside || d.norm == base.norm
	}
	return false
}

func cutFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// Certified returns the subject of an entry whose holder has proved himself elsewhere, as by a certificate. It is refused
// like a bind: 49 without an entry, 53 when the account is not active.
func (t *Tree) Certified(name string) (Subject, error) {
	d, err := t.catalog.parseDN(name)
	if err != nil {
		return Subject{}, err
	}
	id, _ := t.find(d)
	v, err := t.view(id)
	switch {
	case err != nil:
		return Subject{}, err
	case v == nil:
		return Subject{}, refuse(codeCredentials, "invalid credentials")
	case !v.active():
		return Subject{}, refuse(codeUnwilling, "the account may not log in")
	}
	return Subject{DN: v.text}, nil
}
