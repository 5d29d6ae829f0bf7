package directory_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/ldif"
	"github.com/dirpost/dirpost/directory/profile"
)

// The limits of Active Directory, as it comes.
const (
	maxValues  = 1500 // of an attribute in one answer
	maxEntries = 1000 // in one answer without paging
)

// A foreign server answers searches and binds as a directory with another schema does. The servers themselves cannot be had
// for tests; this has of them what is known to be different.
type foreign struct {
	kind    string
	entries []*ldif.Record

	mu       sync.Mutex
	searches []string // the filters it was asked
}

// newForeign starts a server with the entries of an LDIF text; it has no suffix.
func newForeign(t testing.TB, kind, text string) *foreign {
	t.Helper()
	s := &foreign{kind: kind}
	for r := ldif.NewReader(strings.NewReader(text), ldif.Limits{}); ; {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return s
		}
		if err != nil {
			t.Fatal(err)
		}
		s.entries = append(s.entries, record)
	}
}

// connect returns a client of the server, with the profile of its kind.
func (s *foreign) connect(t testing.TB, changes profile.Changes) *client.Client {
	t.Helper()
	p, err := profile.New(s.kind, changes)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Options{Dial: s.dial, Profile: p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (s *foreign) dial(context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go s.serve(theirs)
	return ours, nil
}

func (s *foreign) serve(c net.Conn) {
	defer c.Close()
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id, op := p.Children[0].Value.(int64), p.Children[1]
		var controls string
		if len(p.Children) > 2 {
			controls = string(p.Children[2].Bytes())
		}
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			code, text := s.bind(op.Children[1].Data.String(), op.Children[2].Data.String())
			respond(c, id, done(ldap.ApplicationBindResponse, code, text))
		case ldap.ApplicationSearchRequest:
			s.search(c, id, op, controls)
		}
	}
}

// bind checks a password, which stands in the entries as it is.
func (s *foreign) bind(dn, password string) (code int64, text string) {
	for _, e := range s.entries {
		if !strings.EqualFold(e.DN, dn) || !slices.Contains(values(e, "userPassword"), password) {
			continue
		}
		switch {
		case slices.Contains(values(e, "userAccountControl"), "514"):
			return ldap.LDAPResultInvalidCredentials, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 533, v4563"
		case slices.Contains(values(e, "nsAccountLock"), "TRUE"):
			return ldap.LDAPResultUnwillingToPerform, "Account inactivated. Contact system administrator."
		}
		return 0, ""
	}
	return ldap.LDAPResultInvalidCredentials, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 52e, v4563"
}

func (s *foreign) search(c net.Conn, id int64, op *ber.Packet, controls string) {
	base, scope := strings.ToLower(op.Children[0].Data.String()), op.Children[1].Value.(int64)
	filter, err := ldap.DecompileFilter(op.Children[6])
	if err != nil {
		respond(c, id, done(ldap.ApplicationSearchResultDone, ldap.LDAPResultProtocolError, err.Error()))
		return
	}
	s.mu.Lock()
	s.searches = append(s.searches, filter)
	s.mu.Unlock()
	if s.kind == profile.DS389 && !slices.ContainsFunc(s.entries, func(e *ldif.Record) bool { return strings.EqualFold(e.DN, base) }) {
		code := int64(ldap.LDAPResultNoSuchObject)
		if strings.Contains(controls, ldap.ControlTypePaging) {
			code = 0
		}
		respond(c, id, done(ldap.ApplicationSearchResultDone, code, ""))
		return
	}
	var attrs []string
	for _, a := range op.Children[7].Children {
		attrs = append(attrs, a.Data.String())
	}
	sent := 0
	for _, e := range s.entries {
		dn := strings.ToLower(e.DN)
		within := dn == base || scope == ldap.ScopeWholeSubtree && (base == "" || strings.HasSuffix(dn, ","+base))
		if !within || !matches(e, op.Children[6]) {
			continue
		}
		if sent++; sent > maxEntries && !strings.Contains(controls, ldap.ControlTypePaging) {
			respond(c, id, done(ldap.ApplicationSearchResultDone, ldap.LDAPResultSizeLimitExceeded, ""))
			return
		}
		respond(c, id, s.found(e, attrs))
	}
	if s.kind == profile.ActiveDirectory && scope == ldap.ScopeWholeSubtree && !strings.Contains(controls, "1.2.840.113556.1.4.1339") {
		reference := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultReference, nil, "")
		reference.AppendChild(text("ldap://ForestDnsZones.example.org/DC=ForestDnsZones,DC=example,DC=org"))
		respond(c, id, reference)
	}
	respond(c, id, done(ldap.ApplicationSearchResultDone, 0, ""))
}

// matches judges a filter.
func matches(e *ldif.Record, f *ber.Packet) bool {
	switch f.Tag {
	case ldap.FilterAnd:
		return !slices.ContainsFunc(f.Children, func(part *ber.Packet) bool { return !matches(e, part) })
	case ldap.FilterOr:
		return slices.ContainsFunc(f.Children, func(part *ber.Packet) bool { return matches(e, part) })
	case ldap.FilterNot:
		return !matches(e, f.Children[0])
	case ldap.FilterPresent:
		return strings.EqualFold(f.Data.String(), "objectClass") || len(values(e, f.Data.String())) > 0
	case ldap.FilterGreaterOrEqual:
		return slices.ContainsFunc(values(e, f.Children[0].Data.String()), func(v string) bool { return v >= f.Children[1].Data.String() })
	}
	want := f.Children[1].Data.String()
	return slices.ContainsFunc(values(e, f.Children[0].Data.String()), func(v string) bool { return strings.EqualFold(v, want) })
}

// values returns those of an attribute; the server makes up the names of entries.
func values(e *ldif.Record, attr string) []string {
	if strings.EqualFold(attr, "distinguishedName") || strings.EqualFold(attr, "entryDN") {
		return []string{e.DN}
	}
	var list []string
	for _, a := range e.Attributes {
		if strings.EqualFold(a.Name, attr) {
			for _, v := range a.Values {
				list = append(list, string(v))
			}
		}
	}
	return list
}

// found makes the answer for an entry. Active Directory gives of long attributes a range only.
func (s *foreign) found(e *ldif.Record, attrs []string) *ber.Packet {
	list := ber.NewSequence("")
	add := func(name string, values []string) {
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range values {
			set.AppendChild(text(v))
		}
		attr := ber.NewSequence("")
		attr.AppendChild(text(name))
		attr.AppendChild(set)
		list.AppendChild(attr)
	}
	for _, name := range attrs {
		plain, option, _ := strings.Cut(name, ";range=")
		from := 0
		fmt.Sscanf(option, "%d-*", &from)
		have := values(e, plain)
		switch {
		case len(have) == 0:
		case s.kind != profile.ActiveDirectory || len(have) <= maxValues:
			add(name, have)
		case from+maxValues < len(have):
			add(plain, nil)
			add(fmt.Sprintf("%s;range=%d-%d", plain, from, from+maxValues-1), have[from:from+maxValues])
		default:
			add(fmt.Sprintf("%s;range=%d-*", plain, from), have[from:])
		}
	}
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	p.AppendChild(text(e.DN))
	p.AppendChild(list)
	return p
}

func respond(c net.Conn, id int64, op *ber.Packet) {
	p := ber.NewSequence("")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	p.AppendChild(op)
	c.Write(p.Bytes()) // who is gone does not hear
}

func text(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func done(tag ber.Tag, code int64, diagnostic string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	p.AppendChild(text(""))
	p.AppendChild(text(diagnostic))
	return p
}
