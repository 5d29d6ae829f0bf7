package slapd

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/dirpost/dirpost/schema"
)

// An Attribute is a name and its values, in the order they are written.
type Attribute struct {
	Name   string
	Values []string
}

// An Entry is one entry to be added.
type Entry struct {
	DN         string
	Attributes []Attribute
}

// The containers below the suffix, and the password policies in the last of them.
const (
	People      = "ou=people"
	Groups      = "ou=groups"
	Roles       = "ou=roles"
	Routes      = "ou=routes"
	Domains     = "ou=domains"
	Services    = "ou=services"
	Authorities = "ou=authorities"
	Folders     = "ou=folders"
	Policies    = "ou=policies"

	DefaultPolicy = "cn=default," + Policies
	ServicePolicy = "cn=services," + Policies

	// Nobody stands in a group for a last member who was deleted: groupOfNames wants one. It cannot bind.
	Nobody = "cn=nobody," + Services
)

// Tree returns the base tree for any LDAP server, parents before children: the suffix itself, named after the
// organisation, the containers, the stand-in for deleted members, and two password policies. The default policy locks an account for five minutes after five
// wrong passwords; the one of the services never does, else anybody who can reach LDAP could stop the mail system.
func Tree(suffix, organization string) ([]Entry, error) {
	suffix, err := normal(suffix)
	if err != nil {
		return nil, err
	}
	top, err := root(suffix, organization)
	if err != nil {
		return nil, err
	}
	tree := []Entry{top}
	for _, rdn := range []string{People, Groups, Roles, Routes, Domains, Services, Authorities, Folders, Policies} {
		tree = append(tree, Entry{rdn + "," + suffix, []Attribute{
			{schema.AttrObjectClass, []string{schema.ClassOrganizationalUnit}},
			{schema.AttrOu, []string{strings.TrimPrefix(rdn, "ou=")}},
		}})
	}
	tree = append(tree, Entry{Nobody + "," + suffix, []Attribute{
		{schema.AttrObjectClass, []string{schema.ClassApplicationProcess}},
		{schema.AttrCn, []string{"nobody"}},
		{schema.AttrDescription, []string{"takes the place of the last member of a group when that entry is deleted"}},
	}})
	return append(tree, policies(suffix)...), nil
}

// root is the entry of the suffix itself, whose class follows from its first attribute.
func root(suffix, organization string) (Entry, error) {
	if organization == "" {
		return Entry{}, fmt.Errorf("%w: the organisation has no name", ErrValue)
	}
	rdn, _, _ := strings.Cut(suffix, ",")
	attr, value, _ := strings.Cut(rdn, "=")
	switch attr {
	case "dc":
		return Entry{suffix, []Attribute{
			{schema.AttrObjectClass, []string{schema.ClassDcObject, schema.ClassOrganization}},
			{schema.AttrDc, []string{value}},
			{schema.AttrO, []string{organization}},
		}}, nil
	case "o":
		return Entry{suffix, []Attribute{
			{schema.AttrObjectClass, []string{schema.ClassOrganization}},
			{schema.AttrO, []string{value}},
			{schema.AttrDescription, []string{organization}},
		}}, nil
	case "ou":
		return Entry{suffix, []Attribute{
			{schema.AttrObjectClass, []string{schema.ClassOrganizationalUnit}},
			{schema.AttrOu, []string{value}},
			{schema.AttrDescription, []string{organization}},
		}}, nil
	}
	return Entry{}, fmt.Errorf("%w: suffix %q begins with neither dc, o nor ou", ErrValue, suffix)
}

// Is reports whether the entry has the object class.
func (e Entry) Is(class string) bool {
	return slices.ContainsFunc(e.Attributes, func(a Attribute) bool {
		return a.Name == schema.AttrObjectClass && slices.Contains(a.Values, class)
	})
}

func policies(suffix string) []Entry {
	classes := Attribute{schema.AttrObjectClass, []string{schema.ClassApplicationProcess, schema.ClassPwdPolicy}}
	password := Attribute{schema.AttrPwdAttribute, []string{schema.AttrUserPassword}}
	one := func(name, value string) Attribute { return Attribute{name, []string{value}} }
	return []Entry{
		{DefaultPolicy + "," + suffix, []Attribute{
			classes, one(schema.AttrCn, "default"), password,
			one(schema.AttrPwdMinLength, "8"),
			one(schema.AttrPwdCheckQuality, "1"),
			one(schema.AttrPwdInHistory, "3"),
			one(schema.AttrPwdLockout, "TRUE"),
			one(schema.AttrPwdMaxFailure, "5"),
			one(schema.AttrPwdLockoutDuration, "300"),
			one(schema.AttrPwdFailureCountInterval, "300"),
			one(schema.AttrPwdMustChange, "TRUE"),
			one(schema.AttrPwdAllowUserChange, "TRUE"),
			one(schema.AttrPwdSafeModify, "FALSE"),
		}},
		{ServicePolicy + "," + suffix, []Attribute{
			classes, one(schema.AttrCn, "services"), password,
			one(schema.AttrDescription, "programs are not locked out, else one bad client stops the mail system"),
			one(schema.AttrPwdLockout, "FALSE"),
		}},
	}
}

// LDIF returns the entries as content records (RFC 2849), for slapadd and ldapadd.
func LDIF(entries []Entry) string {
	var b strings.Builder
	for _, e := range entries {
		line(&b, "dn", e.DN)
		for _, a := range e.Attributes {
			for _, v := range a.Values {
				line(&b, a.Name, v)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func line(b *strings.Builder, name, value string) {
	if value != "" && (check(value) != nil || strings.HasSuffix(value, " ")) {
		fmt.Fprintf(b, "%s:: %s\n", name, base64.StdEncoding.EncodeToString([]byte(value)))
		return
	}
	fmt.Fprintf(b, "%s: %s\n", name, value)
}
