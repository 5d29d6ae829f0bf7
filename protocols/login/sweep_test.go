package login

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/auth"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/protocols/certs"
)

const authorityDN = "cn=test,ou=authorities," + base

// What takes the ground from a session without a change of its person: each ends those that it concerns, at the next look.
func TestSweep(t *testing.T) {
	t.Parallel()
	const soon = 30 * time.Minute // the revocation list of the site is good for an hour
	ca, other := newAuthority(t, "Test CA"), newAuthority(t, "Other CA")
	long := issue(t, ca, certs.Request{})
	short := issue(t, ca, certs.Request{NotAfter: time.Now().Add(soon)})
	mail := issue(t, ca, certs.Request{Emails: []string{"ann@example.org"}})
	crl := func(s *site, until time.Duration, revoked ...*certs.KeyPair) string {
		var list []*x509.Certificate
		for _, key := range revoked {
			list = append(list, key.Cert)
		}
		der, err := ca.CRL(s.now().Add(-time.Minute), s.now().Add(until), list...)
		if err != nil {
			t.Fatal(err)
		}
		return string(der)
	}
	all := []string{"long", "short", "mail"}
	causes := []struct {
		name string
		do   func(t *testing.T, s *site)
		ends []string
	}{
		{"nothing", func(t *testing.T, s *site) {}, nil},
		{"time", func(t *testing.T, s *site) { s.ahead.Add(int64(soon / 2)) }, nil},
		{"the end of a certificate", func(t *testing.T, s *site) { s.ahead.Add(int64(soon + time.Second)) }, []string{"short"}},
		{"the end of the revocation list", func(t *testing.T, s *site) { s.ahead.Add(int64(61 * time.Minute)) }, append(all, "role")},
		{"another revocation list", func(t *testing.T, s *site) {
			s.set(t, authorityDN, "certificateRevocationList;binary", crl(s, time.Hour, long))
		}, []string{"long"}},
		{"one that revokes nobody", func(t *testing.T, s *site) {
			s.set(t, authorityDN, "certificateRevocationList;binary", crl(s, time.Hour))
		}, nil},
		{"less trust", func(t *testing.T, s *site) { s.set(t, authorityDN, "dpCertTrust", "sha256") }, []string{"mail"}},
		{"another certificate of the authority", func(t *testing.T, s *site) {
			s.set(t, authorityDN, "cACertificate;binary", string(other.Cert.Raw))
		}, all},
		{"no authority", func(t *testing.T, s *site) {
			if err := s.admin(t).Del(ldap.NewDelRequest(authorityDN, nil)); err != nil {
				t.Fatal(err)
			}
		}, all},
		{"no directory", func(t *testing.T, s *site) {
			s.slapd.Stop(t)
			s.ahead.Add(int64(time.Minute))
		}, nil},
		{"the end of a term", func(t *testing.T, s *site) { s.ahead.Add(int64(40 * time.Minute)) }, []string{"role", "short"}},
	}
	for _, cause := range causes {
		t.Run(cause.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, ca, nil, strings.Join([]string{
				person("long", mapped(long)), person("short", mapped(short)), person("mail", "dpCertEmail: ann@example.org"), person("role"),
				ldif("associatedDomain=example.org,ou=domains,"+base, "objectClass: domain", "objectClass: domainRelatedObject", "objectClass: dpMailDomain",
					"dc: example", "associatedDomain: example.org"),
				ldif("cn=press,ou=roles,"+base, "objectClass: organizationalRole", "objectClass: inetLocalMailRecipient", "objectClass: dpMailRecipient",
					"cn: press", "mail: press@example.org", "mailLocalAddress: press@example.org", "dpSendGrant: uid=role,ou=people,"+base,
					"dpTerm: - "+time.Now().Add(soon+2*time.Minute).UTC().Format("20060102150405Z")+" uid=role,ou=people,"+base),
			}, ""))
			ended := make(chan string, 10)
			for uid, key := range map[string]*certs.KeyPair{"long": long, "short": short, "mail": mail, "role": nil} {
				peer, how := s.connect(t, key), Credentials{Service: directory.Submission, External: true}
				if key == nil {
					how = Credentials{Service: directory.Submission, Login: uid, Password: password}
				}
				id, err := s.door.Authenticate(t.Context(), peer, how)
				if err != nil {
					t.Fatal(uid, err)
				}
				stay := s.door.Enter(peer, how.Service, id, func(why error) {
					if !errors.Is(why, errGone) {
						t.Error(why)
					}
					ended <- uid
				})
				defer stay.Leave()
				stay.Used(directory.Address{Local: uid, Domain: "example.org"})
				if key == nil {
					stay.Used(directory.Address{Local: "press", Domain: "example.org"})
				}
			}
			s.door.Sweep(t.Context())
			cause.do(t, s)
			s.ahead.Add(int64(11 * time.Second)) // authorities are kept for ten
			s.door.Sweep(t.Context())
			s.door.Sweep(t.Context()) // nobody is told twice
			close(ended)
			var got []string
			for uid := range ended {
				got = append(got, uid)
			}
			slices.Sort(got)
			want := slices.Sorted(slices.Values(cause.ends))
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("ended: %q, want %q", got, want)
			}
		})
	}
}

// Where nothing tells of changes, what became of the people who are in is looked for.
func TestSweepBlind(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "Test CA")
	key := issue(t, ca, certs.Request{})
	const ann = "uid=ann,ou=people," + base
	causes := []struct {
		name string
		do   func(t *testing.T, s *site)
		ends []string
	}{
		{"nothing", func(t *testing.T, s *site) {}, nil},
		{"another name", func(t *testing.T, s *site) { s.set(t, ann, "cn", "Ann Other") }, nil},
		{"suspended", func(t *testing.T, s *site) { s.set(t, ann, "dpAccountStatus", "suspended") }, []string{"certificate", "password"}},
		{"another password", func(t *testing.T, s *site) { s.set(t, ann, "userPassword", "another horse") }, []string{"password"}},
		{"another certificate", func(t *testing.T, s *site) { s.set(t, ann, "dpCertSHA256", strings.Repeat("0", 64)) }, []string{"certificate"}},
		{"gone", func(t *testing.T, s *site) {
			if err := s.admin(t).Del(ldap.NewDelRequest(ann, nil)); err != nil {
				t.Fatal(err)
			}
		}, []string{"certificate", "password"}},
		{"no directory", func(t *testing.T, s *site) { s.slapd.Stop(t) }, nil},
	}
	for _, cause := range causes {
		t.Run(cause.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, ca, nil, person("ann", mapped(key))+person("bob"))
			nothing := view.Open(view.Options{})
			nothing.Abandon()
			r := lookup.New(s.client, lookup.Options{Base: base, Now: s.now, View: nothing})
			s.door = New(r, auth.New(s.client, r, auth.Options{Now: s.now}), Options{Now: s.now, FailureTime: time.Millisecond})
			ended := make(chan string, 10)
			enter := func(name string, shown *certs.KeyPair, how Credentials) {
				how.Service = directory.IMAP
				peer := s.connect(t, shown)
				id, err := s.door.Authenticate(t.Context(), peer, how)
				if err != nil {
					t.Fatal(name, err)
				}
				t.Cleanup(s.door.Enter(peer, how.Service, id, func(error) { ended <- name }).Leave)
			}
			enter("certificate", key, Credentials{External: true})
			enter("password", nil, Credentials{Login: "ann", Password: password})
			enter("bob", nil, Credentials{Login: "bob", Password: password})
			s.door.Sweep(t.Context())
			cause.do(t, s)
			s.door.Sweep(t.Context()) // too soon for a look
			s.ahead.Add(int64(lookTime))
			s.door.Sweep(t.Context())
			s.door.Sweep(t.Context())
			close(ended)
			var got []string
			for name := range ended {
				got = append(got, name)
			}
			slices.Sort(got)
			if fmt.Sprint(got) != fmt.Sprint(cause.ends) {
				t.Errorf("ended: %q, want %q", got, cause.ends)
			}
		})
	}
}

// admin is a connection that may do everything.
func (s *site) admin(t *testing.T) *ldap.Conn {
	t.Helper()
	c, err := ldap.DialURL(s.slapd.URI)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Bind(s.slapd.RootDN, s.slapd.RootPassword); err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *site) set(t *testing.T, dn, attr, value string) {
	t.Helper()
	req := ldap.NewModifyRequest(dn, nil)
	req.Replace(attr, []string{value})
	if err := s.admin(t).Modify(req); err != nil {
		t.Fatal(err)
	}
}
