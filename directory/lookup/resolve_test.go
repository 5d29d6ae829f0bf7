package lookup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/view"
)

const suffix = "dc=example,dc=org"

// tree is what the tests of resolution are about: an entry for each paragraph, its name first.
const tree = `
associatedDomain=example.org,ou=domains
objectClass: dpMailDomain
associatedDomain: example.org
dpRequiredLocalPart: abuse
dpFallbackRecipient: uid=root,ou=people,dc=example,dc=org

associatedDomain=lists.example.org,ou=domains
objectClass: dpMailDomain
associatedDomain: lists.example.org
dpTransport: lmtp:lists.internal.example:24

associatedDomain=bare.example,ou=domains
objectClass: dpMailDomain
associatedDomain: bare.example

associatedDomain=closed.example,ou=domains
objectClass: dpMailDomain
associatedDomain: closed.example
dpTransport: error:554 5.7.1 closed since 2020

uid=root,ou=people
objectClass: dpMailAccount
uid: root
dpAccountStatus: active
dpMailboxId: m-root

uid=alice,ou=people
objectClass: dpMailAccount
uid: alice
dpAccountStatus: active
dpMailboxId: m-alice
mailLocalAddress: alice@example.org
mailLocalAddress: Alice.Adams@example.org

uid=bob,ou=people
objectClass: dpMailAccount
uid: bob
dpAccountStatus: nologin
dpMailboxId: m-bob
mailLocalAddress: bob@example.org

uid=carol,ou=people
objectClass: dpMailAccount
uid: carol
dpAccountStatus: suspended
dpMailboxId: m-carol
mailLocalAddress: carol@example.org

uid=dave,ou=people
objectClass: dpMailAccount
uid: dave
dpAccountStatus: deleted
dpMailboxId: m-dave
mailLocalAddress: dave@example.org

uid=here,ou=people
objectClass: dpMailAccount
uid: here
dpAccountStatus: active
dpMailboxId: m-here
mailHost: elsewhere.example
dpTransport: LOCAL
mailLocalAddress: here@example.org

cn=admins,ou=groups
objectClass: groupOfNames
objectClass: dpAdminRole
dpAdminRight: full
member: uid=root,ou=people,dc=example,dc=org

cn=board,ou=groups
objectClass: groupOfNames
mailLocalAddress: board@example.org
dpSenderPolicy: members
owner: uid=root,ou=people,dc=example,dc=org
member: UID=alice, ou=people, dc=example, dc=org
member: cn=board,ou=groups,dc=example,dc=org
rfc822MailMember: outside@elsewhere.example
rfc822MailMember: alice@example.org

cn=news,ou=groups
objectClass: groupOfNames
mailLocalAddress: news@example.org
dpSenderPolicy: owners
owner: cn=admins,ou=groups,dc=example,dc=org
member: uid=alice,ou=people,dc=example,dc=org

cn=staff,ou=groups
objectClass: groupOfNames
mailLocalAddress: staff@example.org
dpSenderPolicy: authenticated
member: uid=alice,ou=people,dc=example,dc=org

cn=odd,ou=groups
objectClass: groupOfNames
mailLocalAddress: odd@example.org
dpSenderPolicy: freinds
member: uid=alice,ou=people,dc=example,dc=org

cn=press,ou=roles
objectClass: organizationalRole
mailLocalAddress: press@example.org
roleOccupant: uid=alice,ou=people,dc=example,dc=org
roleOccupant: uid=bob,ou=people,dc=example,dc=org
roleOccupant: uid=root,ou=people,dc=example,dc=org
dpTerm: 20250101000000Z 20260101000000Z uid=alice,ou=people,dc=example,dc=org
dpTerm: 20260601000000Z - uid=alice, ou=people, dc=example, dc=org
dpTerm: 2026010100Z 20260701000000+0200 uid=bob,ou=people,dc=example,dc=org

cn=chair,ou=roles
objectClass: organizationalRole
mailLocalAddress: chair@example.org
roleOccupant: uid=alice,ou=people,dc=example,dc=org
dpTerm: soon - uid=alice,ou=people,dc=example,dc=org

cn=tracker,ou=routes
objectClass: applicationProcess
mailLocalAddress: tracker@example.org
mailRoutingAddress: support@issue.example.com
dpTransport: smtp:issue.internal.example:25

cn=moved,ou=routes
objectClass: applicationProcess
mailLocalAddress: moved@example.org
dpTransport: error:551 5.1.6 we moved to new.example

cn=busy,ou=routes
objectClass: applicationProcess
mailLocalAddress: busy@example.org
dpTransport: error:450

cn=broken,ou=routes
objectClass: applicationProcess
mailLocalAddress: broken@example.org
dpTransport: ERROR:200 fine

cn=minutes,ou=folders
objectClass: applicationProcess
objectClass: dpSharedFolder
cn: minutes
dpMailboxId: m-minutes
mailLocalAddress: minutes@example.org
`

// treeView returns a snapshot of the tree.
func treeView(t *testing.T) view.Snapshot {
	t.Helper()
	var entries []*ldap.Entry
	for i, text := range strings.Split(strings.TrimSpace(tree), "\n\n") {
		lines := strings.Split(text, "\n")
		attrs := map[string][]string{"entryUUID": {fmt.Sprintf("00000000-0000-0000-0000-%012d", i)}}
		for _, line := range lines[1:] {
			name, v, _ := strings.Cut(line, ": ")
			attrs[name] = append(attrs[name], v)
		}
		entries = append(entries, ldap.NewEntry(lines[0]+","+suffix, attrs))
	}
	s, err := view.New(entries...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestResolve(t *testing.T) {
	t.Parallel()
	const (
		before = "2026-06-15T12:00:00Z" // alice's second term, bob's first
		june30 = "2026-06-30T22:00:00Z" // the end of bob's term, in its own zone
	)
	alice := &Sender{Entry: "uid=alice,ou=people," + suffix}
	bob := &Sender{Entry: "uid=bob,ou=people," + suffix}
	root := &Sender{Entry: "uid=root,ou=people," + suffix}
	stranger := func(local, domain string) *Sender {
		return &Sender{Address: directory.Address{Local: local, Domain: domain}}
	}
	tests := []struct {
		name string
		to   string
		from *Sender
		want string // logins, outside addresses and the transport; or the error
	}{
		{"a1 user", "alice@example.org", nil, "alice"},
		{"a2 case", "ALICE.ADAMS@example.org", nil, "alice"},
		{"a3 detail address", "alice+list@example.org", nil, "alice"},
		{"a4 alias", "alice.adams@example.org", nil, "alice"},
		{"a5 role", "press@example.org", nil, "alice bob root"},
		{"a6 group", "board@example.org", nil, "alice outside@elsewhere.example"},
		{"a7 route", "tracker@example.org", nil, "support@issue.example.com smtp:issue.internal.example:25"},
		{"a8 list domain", "any@lists.example.org", nil, "lmtp:lists.internal.example:24"},
		{"a9 folder", "minutes@example.org", nil, "minutes"},
		{"a10 unknown", "nobody@example.org", nil, "no such address"},
		{"a11 domain of others", "alice@elsewhere.example", nil, "not one of our domains"},

		{"nologin receives", "bob@example.org", nil, "bob"},
		{"suspended", "carol@example.org", nil, "address is suspended"},
		{"deleted", "dave@example.org", nil, "no such address"},
		{"local goes before another host", "here@example.org", nil, "here"},

		{"required local part", "abuse@example.org", nil, "root"},
		{"postmaster, by the fallback", "postmaster@example.org", nil, "root"},
		{"postmaster without a fallback, by the administrators", "PostMaster+x@bare.example", nil, "root"},
		{"nobody else without a fallback", "abuse@bare.example", nil, "no such address"},
		{"postmaster of a domain that refuses", "postmaster@closed.example", nil, "554 5.7.1 closed since 2020"},

		{"error transport", "moved@example.org", nil, "551 5.1.6 we moved to new.example"},
		{"error transport without a text", "busy@example.org", nil, "450 4.2.0 address does not take mail"},
		{"error transport that is none", "broken@example.org", nil, "550 5.2.0 address does not take mail"},
		{"error transport of a domain", "x@closed.example", nil, "554 5.7.1 closed since 2020"},

		{"term that is not understood", "chair@example.org", nil, "no such address"},

		{"members: a member who is logged in", "board@example.org", alice, "alice outside@elsewhere.example"},
		{"members: an owner", "board@example.org", root, "alice outside@elsewhere.example"},
		{"members: another", "board@example.org", bob, "takes mail from others only"},
		{"members: an outside member", "board@example.org", stranger("OUTSIDE", "elsewhere.example"), "alice outside@elsewhere.example"},
		{"members: a stranger", "board@example.org", stranger("joe", "elsewhere.example"), "takes mail from others only"},
		{"members: a stranger who says he is one of ours", "board@example.org", stranger("alice", "example.org"), "takes mail from others only"},
		{"members: a bounce", "board@example.org", stranger("", ""), "takes mail from others only"},
		{"members: not judged", "board@example.org", nil, "alice outside@elsewhere.example"},
		{"owners, through a group", "news@example.org", root, "alice"},
		{"owners: a member", "news@example.org", alice, "takes mail from others only"},
		{"authenticated", "staff@example.org", bob, "alice"},
		{"authenticated: a stranger", "staff@example.org", stranger("joe", "elsewhere.example"), "takes mail from others only"},
		{"a policy that is not understood", "odd@example.org", alice, "takes mail from others only"},
		{"no policy", "press@example.org", stranger("", ""), "alice bob root"},
	}
	now, err := time.Parse(time.RFC3339, before)
	if err != nil {
		t.Fatal(err)
	}
	resolver := New(nil, Options{Now: func() time.Time { return now }})
	q := question{source: treeView(t), opts: &resolver.opts}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := resolve(t, q, tt.to, tt.from); got != tt.want {
				t.Errorf("mail for %s goes to %q, want %q", tt.to, got, tt.want)
			}
		})
	}

	if now, err = time.Parse(time.RFC3339, june30); err != nil {
		t.Fatal(err)
	}
	if got, want := resolve(t, q, "press@example.org", nil), "alice root"; got != want {
		t.Errorf("after bob's term the role is %q, want %q", got, want)
	}
	now = now.AddDate(0, -1, 0)
	if got, want := resolve(t, q, "press@example.org", nil), "bob root"; got != want {
		t.Errorf("between alice's terms the role is %q, want %q", got, want)
	}
}

// resolve tells a route in one line.
func resolve(t *testing.T, q question, to string, from *Sender) string {
	t.Helper()
	a, err := directory.ParseAddress(to)
	if err != nil {
		t.Fatal(err)
	}
	route, err := q.route(t.Context(), a, from)
	if len(route.Steps) == 0 {
		t.Error("no step tells why")
	}
	if err != nil {
		var refusal directory.Refusal
		if errors.As(err, &refusal) {
			return refusal.Error()
		}
		for _, kind := range []error{directory.ErrNoSuchAddress, directory.ErrNotLocal, directory.ErrSuspended, directory.ErrRestricted} {
			if errors.Is(err, kind) {
				return kind.Error()
			}
		}
		return err.Error()
	}
	var parts []string
	for _, m := range route.Mailboxes {
		parts = append(parts, m.Login)
	}
	slices.Sort(parts)
	for _, a := range route.Remote {
		parts = append(parts, a.String())
	}
	if route.Transport != "" {
		parts = append(parts, route.Transport)
	}
	return strings.Join(parts, " ")
}
