package directory_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/auth"
	"github.com/dirpost/dirpost/directory/feed"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/directory/profile"
	"github.com/dirpost/dirpost/directory/provision"
	"github.com/dirpost/dirpost/directory/view"
)

const foreignBase = "DC=example,DC=org"

// manyMembers are twice as many as Active Directory gives of an attribute.
const manyMembers = 2 * maxValues

// adTree is a domain with people, one of them switched off, a computer, and a group within a group.
func adTree(t testing.TB, ca *authority, cert string) string {
	t.Helper()
	guid := func(n int) string {
		return base64.StdEncoding.EncodeToString([]byte{byte(n), byte(n >> 8), 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	}
	var b strings.Builder
	user := func(n int, name, more string) {
		fmt.Fprintf(&b, "dn: CN=%s,CN=Users,%s\nobjectClass: user\nsAMAccountName: %s\nuserPrincipalName: %s@corp.example\nmail: %s@example.org\n"+
			"objectGUID:: %s\nuserPassword: %s-password\nwhenChanged: 20260101000000.0Z\n%s\n", name, foreignBase, name, name, name, guid(n), name, more)
	}
	user(1, "ann", "userAccountControl: 512\nproxyAddresses: SMTP:ann@example.org\nproxyAddresses: smtp:a.nother@example.org\nproxyAddresses: sip:ann@example.org\naltSecurityIdentities: "+cert+"\n")
	user(2, "off", "userAccountControl: 514\n")
	fmt.Fprintf(&b, "dn: CN=pc,CN=Computers,%s\nobjectClass: user\nobjectClass: computer\nsAMAccountName: pc$\nmail: pc@example.org\nobjectGUID:: %s\nuserAccountControl: 4096\n\n", foreignBase, guid(3))
	fmt.Fprintf(&b, "dn: CN=everybody,CN=Users,%s\nobjectClass: group\nmail: everybody@example.org\nobjectGUID:: %s\nmember: CN=members,CN=Users,%s\nmember: CN=ann,CN=Users,%s\n\n", foreignBase, guid(4), foreignBase, foreignBase)
	fmt.Fprintf(&b, "dn: CN=members,CN=Users,%s\nobjectClass: group\nobjectGUID:: %s\n", foreignBase, guid(5))
	for n := range manyMembers {
		fmt.Fprintf(&b, "member: CN=m%d,CN=Users,%s\n", n, foreignBase)
	}
	b.WriteString("\n")
	for n := range manyMembers {
		user(1000+n, fmt.Sprintf("m%d", n), "userAccountControl: 512\n")
	}
	fmt.Fprintf(&b, "dn: CN=CA,CN=Certification Authorities,%s\nobjectClass: certificationAuthority\ncn: CA\ncACertificate;binary:: %s\n",
		foreignBase, base64.StdEncoding.EncodeToString(ca.cert.Raw))
	return b.String()
}

const ipaTree = `dn: uid=ann,cn=users,cn=accounts,DC=example,DC=org
objectClass: inetOrgPerson
objectClass: posixAccount
uid: ann
mail: ann@example.org
mailAlternateAddress: a.nother@example.org
userPassword: ann-password
ipaUniqueID: 8b8d4d6a-0001
nsUniqueId: 66446001-1dd211b2-8f3ebb1c-cb4bb0a1
ipaCertMapData: %s

dn: uid=ann,cn=users,cn=compat,DC=example,DC=org
objectClass: posixAccount
uid: ann
nsUniqueId: 66446001-1dd211b2-8f3ebb1c-cb4bb0a2

dn: uid=off,cn=users,cn=accounts,DC=example,DC=org
objectClass: inetOrgPerson
objectClass: posixAccount
uid: off
mail: off@example.org
userPassword: off-password
nsAccountLock: TRUE
ipaUniqueID: 8b8d4d6a-0002
nsUniqueId: 66446001-1dd211b2-8f3ebb1c-cb4bb0a3

dn: cn=members,cn=groups,cn=accounts,DC=example,DC=org
objectClass: groupOfNames
member: uid=ann,cn=users,cn=accounts,DC=example,DC=org
nsUniqueId: 66446001-1dd211b2-8f3ebb1c-cb4bb0a4

dn: cn=everybody,cn=groups,cn=accounts,DC=example,DC=org
objectClass: groupOfNames
mail: everybody@example.org
member: cn=members,cn=groups,cn=accounts,DC=example,DC=org
nsUniqueId: 66446001-1dd211b2-8f3ebb1c-cb4bb0a5

dn: cn=CAcert,cn=ipa,cn=etc,DC=example,DC=org
objectClass: pkiCA
cn: CAcert
cACertificate;binary:: %s
`

const qmailTree = `dn: uid=ann,DC=example,DC=org
objectClass: qmailUser
uid: ann
mail: ann@example.org
mailAlternateAddress: a.nother@example.org
userPassword: ann-password
entryUUID: 66446001-1dd2-11b2-8f3e-bb1ccb4bb0a1

dn: uid=off,DC=example,DC=org
objectClass: qmailUser
uid: off
mail: off@example.org
userPassword: off-password
accountStatus: noaccess
entryUUID: 66446001-1dd2-11b2-8f3e-bb1ccb4bb0a2

dn: uid=away,DC=example,DC=org
objectClass: qmailUser
uid: away
mail: away@example.org
mailForwardingAddress: away@elsewhere.example
deliveryMode: nolocal
entryUUID: 66446001-1dd2-11b2-8f3e-bb1ccb4bb0a3

dn: cn=everybody,DC=example,DC=org
objectClass: qmailGroup
mail: everybody@example.org
dnmember: uid=ann,DC=example,DC=org
dnmember: uid=away,DC=example,DC=org
rfc822member: guest@elsewhere.example
entryUUID: 66446001-1dd2-11b2-8f3e-bb1ccb4bb0a4
`

// People of directories with other schemas get their mail and log in, with the directory asked each time and with a view of
// it. Of a group with more members than the server gives at once all are there.
func TestForeign(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "Corp CA")
	leaf := ca.leaf(t, leafOptions{name: "Ann Adler"})
	der := base64.StdEncoding.EncodeToString(ca.cert.Raw)
	serial := leaf.SerialNumber.Bytes()
	slices.Reverse(serial)
	for _, tt := range []struct {
		kind, tree string
		everybody  int // mailboxes of the group
		outside    int // other addresses of it
		logins     []string
		changes    profile.Changes
	}{
		{profile.ActiveDirectory, adTree(t, ca, fmt.Sprintf("X509:<I>O=Example Association,CN=Corp CA<SR>%x", serial)),
			manyMembers + 1, 0, []string{"ann", "ann@corp.example", "ann@example.org"}, profile.Changes{Defaults: map[string][]string{"dpRevocationCheck": {"none"}}}},
		{profile.FreeIPA, fmt.Sprintf(ipaTree, "X509:<I>O=Example Association,CN=Corp CA<S>CN=Ann Adler", der),
			1, 0, []string{"ann", "ann@example.org"}, profile.Changes{Defaults: map[string][]string{"dpRevocationCheck": {"none"}}}},
		{profile.Qmail, qmailTree, 1, 2, []string{"ann", "ann@example.org"}, profile.Changes{}},
	} {
		for _, means := range []string{"", view.Poll} {
			t.Run(strings.TrimSuffix(tt.kind+"/"+means, "/"), func(t *testing.T) {
				t.Parallel()
				c := newForeign(t, tt.kind, tt.tree).connect(t, tt.changes)
				opts := lookup.Options{Base: foreignBase, Domains: []string{"example.org"}}
				if means != "" {
					opts.View = view.Open(view.Options{})
					f := feed.Start(c, opts.View, feed.Options{Base: foreignBase, Means: means})
					t.Cleanup(func() { f.Close() })
					eventually(t, "the view is current", current(opts.View))
				}
				r := lookup.New(c, opts)
				a := auth.New(c, r, auth.Options{})
				for _, login := range tt.logins {
					acct, err := r.Account(t.Context(), login)
					if err != nil || acct.Login != "ann" || acct.Status != directory.Active || !slices.Contains(acct.Services, directory.IMAP) {
						t.Errorf("account of %s: %+v, %v", login, acct, err)
					}
				}
				ann, err := r.Account(t.Context(), "ann")
				if err != nil {
					t.Fatal(err)
				}
				if err := a.Password(t.Context(), ann, "ann-password"); err != nil {
					t.Errorf("the right password: %v", err)
				}
				if err := a.Password(t.Context(), ann, "wrong"); !errors.Is(err, directory.ErrWrong) {
					t.Errorf("a wrong password: %v, want %v", err, directory.ErrWrong)
				}
				off, err := r.Account(t.Context(), "off")
				if err != nil || off.Status != directory.NoLogin {
					t.Errorf("who may not log in is %+v, %v", off, err)
				}
				for addr, want := range map[string][2]int{"ann@example.org": {1, 0}, "A.nother@example.org": {1, 0}, "ann+tag@example.org": {1, 0}, "off@example.org": {1, 0}, "everybody@example.org": {tt.everybody, tt.outside}} {
					route, err := r.Route(t.Context(), address(t, addr), nil)
					if got := [2]int{len(route.Mailboxes), len(route.Remote)}; err != nil || got != want {
						t.Errorf("%s leads to %d mailboxes and addresses, %v; want %d", addr, got, err, want)
					}
				}
				for addr, want := range map[string]error{"pc@example.org": directory.ErrNoSuchAddress, "nobody@example.org": directory.ErrNoSuchAddress, "ann@elsewhere.example": directory.ErrNotLocal} {
					if _, err := r.Route(t.Context(), address(t, addr), nil); !errors.Is(err, want) {
						t.Errorf("%s: %v, want %v", addr, err, want)
					}
				}
				if may, err := r.MaySend(t.Context(), ann, address(t, "a.nother@example.org")); err != nil || may {
					t.Errorf("an address that is only received may be sent as: %v, %v", may, err)
				}
				if tt.kind == profile.Qmail {
					return
				}
				list, err := r.Authorities(t.Context())
				if err != nil || len(list) != 1 {
					t.Fatalf("authorities: %+v, %v", list, err)
				}
				acct, err := r.ByCertificate(t.Context(), lookup.KeysOf(leaf), list[0].Trust)
				if err != nil || acct.Login != "ann" || list[0].Revocation != lookup.NoRevocation {
					t.Errorf("by certificate: %+v, %v", acct, err)
				}
			})
		}
	}
}

// Entries of such directories are not changed.
func TestForeignIsNotChanged(t *testing.T) {
	t.Parallel()
	s := newForeign(t, profile.Qmail, qmailTree)
	c := s.connect(t, profile.Changes{})
	p := provision.New(c, provision.Options{Base: foreignBase})
	if err := p.AddDomain(t.Context(), "example.net"); !errors.Is(err, directory.ErrRefused) || !strings.Contains(err.Error(), "qmail") {
		t.Errorf("AddDomain() = %v, want %v", err, directory.ErrRefused)
	}
}

// What the server has no place for is not asked for at all.
func TestForeignSilence(t *testing.T) {
	t.Parallel()
	s := newForeign(t, profile.ActiveDirectory, "dn: CN=x,"+foreignBase+"\nobjectClass: user\n")
	r := lookup.New(s.connect(t, profile.Changes{}), lookup.Options{Base: foreignBase})
	if ours, err := r.Local(t.Context(), "example.org"); err != nil || ours {
		t.Errorf("Local() = %v, %v", ours, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.searches) != 0 {
		t.Errorf("it was asked %q", s.searches)
	}
}

// An answer that is a part only is none.
func TestForeignLimit(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "Corp CA")
	s := newForeign(t, profile.ActiveDirectory, adTree(t, ca, "X509:<SKI>00"))
	s.kind = profile.OpenLDAP // who does not know what server this is gets referred, and is told of that
	c := s.connect(t, profile.Changes{})
	s.kind = profile.ActiveDirectory
	began := time.Now()
	if got, err := c.Search(t.Context(), foreignBase, 2, "(objectClass=*)", "mail"); !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("%d entries and %v after %v, want %v", len(got), err, time.Since(began), directory.ErrUnavailable)
	}
}

// A base that is not there is an outage, also where the server finds nothing below it without an error.
func TestForeignBase(t *testing.T) {
	t.Parallel()
	s := newForeign(t, profile.DS389, "dn: "+foreignBase+"\nobjectClass: domain\n")
	for base, want := range map[string]error{foreignBase: directory.ErrNotLocal, "dc=nowhere": directory.ErrUnavailable} {
		r := lookup.New(s.connect(t, profile.Changes{}), lookup.Options{Base: base})
		if _, err := r.Route(t.Context(), address(t, "ann@example.org"), nil); !errors.Is(err, want) {
			t.Errorf("Route() below %s: %v, want %v", base, err, want)
		}
	}
}

// Where the version of an entry is a time in whole seconds, an authority that changed twice in one is read again.
func TestForeignAuthority(t *testing.T) {
	t.Parallel()
	const entry = "dn: cn=ca," + foreignBase + "\nobjectClass: dpCertAuthority\ncn: ca\nmodifyTimestamp: 20260101000000Z\ndpCertTrust: "
	base := "dn: " + foreignBase + "\nobjectClass: domain\n\n"
	s := newForeign(t, profile.DS389, base+entry+"sha256\n")
	now := time.Now()
	r := lookup.New(s.connect(t, profile.Changes{}), lookup.Options{Base: foreignBase, Now: func() time.Time { return now }})
	for _, trust := range []string{"sha256", "spki", "email"} {
		s.entries = newForeign(t, profile.DS389, base+entry+trust+"\n").entries
		now = now.Add(time.Minute)
		if list, err := r.Authorities(t.Context()); err != nil || len(list) != 1 || !slices.Equal(list[0].Trust, []string{trust}) {
			t.Errorf("authorities: %+v, %v; want one with trust in %s", list, err, trust)
		}
	}
}
