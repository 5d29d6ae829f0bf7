package login

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/protocols"
)

// resident is an account as a view has it; pairs are names and values in place of its own.
func resident(pairs ...string) *ldap.Entry {
	attrs := map[string][]string{
		"entryUUID": {"u-1"}, "objectClass": {"dpMailAccount"}, "uid": {"ann"}, "dpMailboxId": {"m-1"}, "dpAccountStatus": {"active"},
		"dpMailService": {"imap", "submission"}, "mail": {"ann@example.org"}, "mailLocalAddress": {"ann@example.org"},
		"pwdChangedTime": {"20260101000000Z"}, "entryCSN": {"20260101000000.1Z#0"},
	}
	for i := 0; i < len(pairs); i += 2 {
		delete(attrs, pairs[i])
		if pairs[i+1] != "" {
			attrs[pairs[i]] = strings.Fields(pairs[i+1])
		}
	}
	return ldap.NewEntry("uid=ann,ou=people", attrs)
}

// withUUID is a resident with another identity.
func withUUID(uuid string, pairs ...string) *ldap.Entry {
	return resident(append(pairs, "entryUUID", uuid)...)
}

// Whom a change concerns and whom it does not, for each way to have come in.
func TestChanged(t *testing.T) {
	t.Parallel()
	now := time.Now()
	tests := []struct {
		name string
		now  *ldap.Entry
		ends string // of password/imap, password/submission, both/imap
	}{
		{"nothing that matters", resident("cn", "Ann"), ""},
		{"gone", nil, "password/imap password/submission both/imap"},
		{"no account any more", resident("objectClass", "inetOrgPerson"), "password/imap password/submission both/imap"},
		{"another mailbox", resident("dpMailboxId", "m-2"), "password/imap password/submission both/imap"},
		{"suspended", resident("dpAccountStatus", "suspended"), "password/imap password/submission both/imap"},
		{"a state nobody knows", resident("dpAccountStatus", "aktiv"), "password/imap password/submission both/imap"},
		{"a service less", resident("dpMailService", "imap"), "password/submission"},
		{"another password", resident("pwdChangedTime", "20260101000005Z"), "password/imap password/submission both/imap"},
		{"another password in the same second", resident("entryCSN", "20260101000000.2Z#0"), "password/imap password/submission both/imap"},
		{"another change later", resident("entryCSN", "20260101000007.2Z#0"), ""},
		{"passwords only", resident("dpAuthPolicy", "password"), ""},
		{"both", resident("dpAuthPolicy", "both"), "password/imap password/submission"},
		{"certificates only", resident("dpAuthPolicy", "certificate"), "password/imap password/submission"},
		{"an address less to send as", resident("mail", "other@example.org"), "password/submission"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := New(nil, nil, Options{Now: func() time.Time { return now }})
			ended := map[string]int{}
			enter := func(name string, method directory.Method, service directory.Service, entry string) *Stay {
				id := directory.Identity{Method: method, Since: now, Account: directory.Account{DN: "uid=ann,ou=people", Entry: entry, ID: "m-1", Login: "ann"}}
				return d.Enter(protocols.Peer{}, service, id, func(error) { ended[name]++ })
			}
			enter("password/imap", directory.ByPassword, directory.IMAP, "u-1")
			enter("password/submission", directory.ByPassword, directory.Submission, "u-1")
			enter("both/imap", directory.ByBoth, directory.IMAP, "u-1")
			enter("of another", directory.ByPassword, directory.IMAP, "u-2")
			enter("over", directory.ByPassword, directory.IMAP, "u-1").Leave()
			d.Changed(t.Context(), lookup.ChangeOf(resident(), tt.now))
			d.Changed(t.Context(), lookup.ChangeOf(resident(), tt.now)) // nobody is told twice
			var got []string
			for _, name := range []string{"password/imap", "password/submission", "both/imap", "of another", "over"} {
				if ended[name] > 0 {
					got = append(got, name)
				}
				if ended[name] > 1 {
					t.Errorf("%s is told %d times", name, ended[name])
				}
			}
			if got := strings.Join(got, " "); got != tt.ends {
				t.Errorf("ended: %q, want %q", got, tt.ends)
			}
		})
	}
}

// A change that comes between the look at the account and the begin of the session ends it; one before the login does not.
func TestChangedDuringLogin(t *testing.T) {
	t.Parallel()
	now := time.Now()
	d := New(nil, nil, Options{Now: func() time.Time { return now }})
	d.Changed(t.Context(), lookup.ChangeOf(resident(), resident("dpAccountStatus", "suspended")))
	ended := make(chan error, 1)
	enter := func(since time.Time) {
		id := directory.Identity{Since: since, Account: directory.Account{Entry: "u-1"}}
		d.Enter(protocols.Peer{}, directory.IMAP, id, func(why error) { ended <- why })
	}
	d.Changed(t.Context(), lookup.ChangeOf(ldap.NewEntry("cn=x", map[string][]string{"entryUUID": {"u-9"}}), nil))
	// Nor does what a server notes for itself, such as that the wrong passwords are forgotten now.
	d.Changed(t.Context(), lookup.ChangeOf(withUUID("u-2", "entryCSN", "20260101000006.1Z#0"), withUUID("u-2", "entryCSN", "20260101000007.1Z#0")))
	d.Changed(t.Context(), lookup.ChangeOf(withUUID("u-2"), withUUID("u-2", "entryCSN", "20260101000008.1Z#0", "mailLocalAddress", "ann@example.org more@example.org")))
	id := directory.Identity{Since: now.Add(-time.Millisecond), Account: directory.Account{Entry: "u-2"}}
	d.Enter(protocols.Peer{}, directory.IMAP, id, func(why error) { ended <- why })
	enter(now.Add(time.Millisecond))
	time.Sleep(10 * time.Millisecond) // what is wrongly told is told by another goroutine
	select {
	case why := <-ended:
		t.Errorf("a login after the change ended: %v", why)
	default:
	}
	enter(now.Add(-time.Millisecond))
	if why := <-ended; !errors.Is(why, errGone) {
		t.Errorf("ended with %v, want %v", why, errGone)
	}
}
