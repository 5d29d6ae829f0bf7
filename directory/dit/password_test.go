package dit

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestBind(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	tests := []struct {
		name, dn, password string
		who                string
		code               int
	}{
		{"anonymous", "", "", "", 0},
		{"stored as {SSHA}", bob, "bobpw", bob, 0},
		{"stored as {CRYPT}", carol, "carolpw", carol, 0},
		{"hashed when it was added", "uid=dave," + people, "davepw", "uid=dave," + people, 0},
		{"the name in another spelling", "UID = Bob, ou=People," + base, "bobpw", bob, 0},
		{"wrong password", bob, "bobpW", "", codeCredentials},
		{"the hash is no password", bob, bobPassword, "", codeCredentials},
		{"nobody", "uid=nobody," + people, "x", "", codeCredentials},
		{"an entry without a password", people, "x", "", codeCredentials},
		{"outside of the naming contexts", "dc=net", "x", "", codeCredentials},
		{"no name, a password", "", "x", "", codeCredentials},
		{"a name, no password, RFC 4513 section 5.1.2", bob, "", "", codeUnwilling},
		{"no name at all", "nonsense", "x", "", codeBadDN},
		{"a password of a megabyte", bob, strings.Repeat("x", 1<<20), "", codeCredentials},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, _, err := tree.Bind(t.Context(), tt.dn, []byte(tt.password))
			if got != (Subject{DN: tt.who}) || codeOf(err) != tt.code {
				t.Errorf("Bind = %+v, %v; want %q, code %d", got, err, tt.who, tt.code)
			}
		})
	}
}

// A name that does not exist must cost a hash, as one that does: the cheapest refusal is not much cheaper than a hash.
func TestRefusedBindsCostTheSame(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	began := time.Now()
	if _, err := newStored([]byte("x")); err != nil {
		t.Fatal(err)
	}
	hash := time.Since(began)
	for _, dn := range []string{bob, "uid=dave," + people, "uid=nobody," + people, people} {
		least := time.Hour
		for range 3 {
			began := time.Now()
			if _, _, err := tree.Bind(t.Context(), dn, []byte("wrong")); codeOf(err) != codeCredentials {
				t.Fatalf("%s: %v", dn, err)
			}
			least = min(least, time.Since(began))
		}
		if least < hash/20 {
			t.Errorf("%s: refused after %v, a hash takes %v", dn, least, hash)
		}
	}
}

func TestBindWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	for range cap(tree.hashing) {
		tree.hashing <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := tree.Bind(ctx, bob, []byte("bobpw")); codeOf(err) != codeUnavailable {
		t.Errorf("with all turns taken: %v, want code %d", err, codeUnavailable)
	}
	<-tree.hashing
	if _, _, err := tree.Bind(t.Context(), bob, []byte("bobpw")); err != nil {
		t.Errorf("with a turn free: %v", err)
	}
}

func TestSetPassword(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		who      Subject
		dn       string
		old, new string // "-" = not given
		code     int
	}{
		{"the own, by default", as(bob), "", "-", "new-password", 0},
		{"the own, with the old one", as(bob), bob, "bobpw", "new-password", 0},
		{"the own, with a wrong old one", as(bob), bob, "x", "new", codeUnwilling},
		{"generated", as(bob), bob, "-", "-", 0},
		{"by an administrator", as(carol), bob, "-", "new-password", 0},
		{"by the local administrator", root, bob, "-", "new", 0},
		{"a password that looks stored is one in clear", as(bob), bob, "-", "{SSHA}abc", 0},
		{"by somebody else", as(alice), bob, "-", "new", codeNoObject},
		{"by the frontend", as(frontDN), bob, "-", "new", codeAccess},
		{"by nobody", Subject{}, bob, "bobpw", "new", codeStrongerAuth},
		{"of nobody", root, "uid=nobody," + people, "-", "new", codeNoObject},
		{"no name", root, "nonsense", "-", "new", codeBadSyntax},
		{"empty", as(bob), bob, "-", "", codeConstraint},
		{"513 octets", as(bob), bob, "-", strings.Repeat("x", 513), codeConstraint},
		{"of an entry that has none by its class", root, "cn=board," + groups, "-", "new", codeClass},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tree := sampleTree(t)
			given := func(s string) []byte {
				if s == "-" {
					return nil
				}
				return []byte(s)
			}
			made, err := tree.SetPassword(t.Context(), tt.who, tt.dn, given(tt.old), given(tt.new))
			if codeOf(err) != tt.code {
				t.Fatalf("got %v, want code %d", err, tt.code)
			}
			works := "bobpw"
			switch {
			case tt.code != 0:
			case tt.new == "-":
				if works = string(made); len(works) < 16 {
					t.Errorf("made up %q, want 16 characters", works)
				}
			default:
				works = tt.new
			}
			if _, _, err := tree.Bind(t.Context(), bob, []byte(works)); err != nil {
				t.Errorf("bind with %q afterwards: %v", works, err)
			}
		})
	}
}

func TestPasswordTimesAreKept(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	dave := "uid=dave," + people
	if n := readValues(dave, "pwdChangedTime")(t, tree, root); n != 1 {
		t.Errorf("%d times after an add with a password, want 1", n)
	}
	if code := modify(dave, DeleteValues, "userPassword")(t, tree, root); code != 0 {
		t.Fatalf("code %d", code)
	}
	if n := readValues(dave, "pwdChangedTime")(t, tree, root); n != 0 {
		t.Errorf("%d times without a password, want 0", n)
	}
}

func TestPeers(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	tree.opts.ServiceUIDs = []int{901}
	tree.opts.Locals = []Local{{0, 0, bob}, {902, 6, bob}, {903, 6, "uid=ghost,ou=people,dc=example,dc=org"}}
	tests := []struct {
		uid, gid int
		want     Subject
	}{
		{0, 0, Subject{DN: "gidNumber=0+uidNumber=0,cn=peercred,cn=external,cn=auth", Admin: true}},
		{901, 5, Subject{DN: "gidNumber=5+uidNumber=901,cn=peercred,cn=external,cn=auth", Admin: true}},
		{1000, 0, Subject{DN: "gidNumber=0+uidNumber=1000,cn=peercred,cn=external,cn=auth", Admin: false}},
		{902, 6, as(bob)},
		{902, 5, Subject{DN: "gidNumber=5+uidNumber=902,cn=peercred,cn=external,cn=auth"}},
		{903, 6, Subject{DN: "gidNumber=6+uidNumber=903,cn=peercred,cn=external,cn=auth"}},
	}
	for _, tt := range tests {
		if got := tree.Peer(tt.uid, tt.gid); got != tt.want {
			t.Errorf("Peer(%d, %d) = %+v, want %+v", tt.uid, tt.gid, got, tt.want)
		}
	}
	if got, want := tree.WhoAmI(as(bob)), "dn:"+bob; got != want {
		t.Errorf("WhoAmI = %q, want %q", got, want)
	}
	if got := tree.WhoAmI(Subject{}); got != "" {
		t.Errorf("WhoAmI of nobody = %q, want nothing", got)
	}
}
