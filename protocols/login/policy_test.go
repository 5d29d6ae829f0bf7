package login

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxName+1)
	tests := []struct {
		name string
		c    Credentials
		ok   bool
	}{
		{"name and password", Credentials{Login: "alice", Password: "secret"}, true},
		{"an address", Credentials{Login: "alice@example.org", Password: "secret"}, true},
		{"the longest address", Credentials{Login: long[1:], Password: "secret"}, true},
		{"nothing is too odd to be searched for", Credentials{Login: "*)(uid=*", Password: "secret"}, true},
		{"letters above ASCII", Credentials{Login: "jörg", Password: "größer"}, true},
		{"the certificate needs no name", Credentials{External: true}, true},
		{"no name", Credentials{Password: "secret"}, false},
		{"no password", Credentials{Login: "alice"}, false},
		{"a name that is too long", Credentials{Login: long, Password: "secret"}, false},
		{"a NUL in the name", Credentials{Login: "alice\x00", Password: "secret"}, false},
		{"a line end in the name", Credentials{Login: "alice\r\nx", Password: "secret"}, false},
		{"a control character above ASCII", Credentials{Login: "alice\u0085", Password: "secret"}, false},
		{"a name that is no UTF-8", Credentials{Login: "alice\xff", Password: "secret"}, false},
		{"a NUL in the password", Credentials{Login: "alice", Password: "secret\x00"}, false},
		{"a password that is too long", Credentials{Login: "alice", Password: strings.Repeat("x", maxPassword+1)}, false},
		{"an authorization identity with a NUL", Credentials{Login: "alice", Password: "secret", AuthzID: "\x00"}, false},
		{"of the certificate too", Credentials{External: true, AuthzID: long}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.c.check()
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, directory.ErrWrong) {
				t.Errorf("check: %v, want ok %v, else ErrWrong", err, tt.ok)
			}
			if err != nil && len(err.Error()) > 300 {
				t.Errorf("the error repeats %d octets of hostile input", len(err.Error()))
			}
		})
	}
}

func TestNear(t *testing.T) {
	t.Parallel()
	from := func(addr string) protocols.Peer {
		return protocols.Peer{Addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 1234)}
	}
	unix := protocols.Peer{Unix: true}
	forwarded := func(addr string) protocols.Peer {
		p := from(addr)
		p.Forwarded = true
		return p
	}
	tests := []struct {
		name     string
		networks string
		peer     protocols.Peer
		want     bool
	}{
		{"no networks are all", "", from("192.0.2.1"), true},
		{"inside", "192.0.2.0/24", from("192.0.2.1"), true},
		{"outside", "192.0.2.0/24", from("198.51.100.1"), false},
		{"in the second", "192.0.2.0/24 2001:db8::/32", from("2001:db8::1"), true},
		{"IPv4 mapped into IPv6", "192.0.2.0/24", from("::ffff:192.0.2.1"), true},
		{"a zone is not part of an address", "fe80::/10", from("fe80::1%eth0"), true},
		{"a unix socket is loopback", "127.0.0.0/8", unix, true},
		{"in IPv6 too", "::1/128", unix, true},
		{"and nowhere else", "192.0.2.0/24", unix, false},
		{"through a forwarder, where he says", "192.0.2.0/24", forwarded("192.0.2.1"), true},
		{"through a forwarder, never on this machine", "127.0.0.0/8", forwarded("127.0.0.1"), false},
		{"in IPv6 neither", "::/0", forwarded("::1"), false},
		{"no address is nowhere", "0.0.0.0/0 ::/0", protocols.Peer{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var networks []netip.Prefix
			for _, text := range strings.Fields(tt.networks) {
				networks = append(networks, netip.MustParsePrefix(text))
			}
			if got := near(networks, tt.peer); got != tt.want {
				t.Errorf("near(%s, %s) = %v, want %v", tt.networks, tt.peer, got, tt.want)
			}
		})
	}
}

func TestOneself(t *testing.T) {
	t.Parallel()
	acct := directory.Account{
		Login: "alice",
		Mail:  directory.Address{Local: "alice.adler", Domain: "example.org"},
		Addresses: []directory.Address{
			{Local: "alice.adler", Domain: "example.org"},
			{Local: "inbox", Domain: "example.org"},
		},
	}
	tests := []struct {
		authzid string
		want    bool
	}{
		{"", true},
		{"alice", true},
		{"Alice", true},
		{"alice.adler@example.org", true},
		{"ALICE.ADLER@Example.ORG", true},
		{"inbox@example.org", true},
		{"bob", false},
		{"bob@example.org", false},
		{"alice.adler@example.net", false},
		{"alice@example.org", false},
		{"dn:uid=alice", false},
		{"ali", false},
	}
	for _, tt := range tests {
		if got := oneself(acct, tt.authzid); got != tt.want {
			t.Errorf("oneself(%q) = %v, want %v", tt.authzid, got, tt.want)
		}
	}
	// An account without mail is not everybody with an empty address.
	if oneself(directory.Account{Login: "robot"}, "@") {
		t.Error(`"@" is an account without addresses`)
	}
}

// TestVerdict: every error becomes exactly one of the three answers.
func TestVerdict(t *testing.T) {
	t.Parallel()
	three := []error{directory.ErrWrong, directory.ErrRefused, directory.ErrUnavailable}
	tests := []struct {
		name     string
		in, want error
	}{
		{"wrong", directory.ErrWrong, directory.ErrWrong},
		{"refused", directory.ErrRefused, directory.ErrRefused},
		{"unavailable", directory.ErrUnavailable, directory.ErrUnavailable},
		{"nobody of that name", directory.ErrNotFound, directory.ErrWrong},
		{"two of that name", directory.ErrAmbiguous, directory.ErrRefused},
		{"what nobody foresaw", errors.ErrUnsupported, directory.ErrUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := verdict(tt.in)
			for _, answer := range three {
				if errors.Is(got, answer) != (answer == tt.want) {
					t.Errorf("verdict(%v) = %v, want %v alone", tt.in, got, tt.want)
				}
			}
			if !errors.Is(got, tt.in) {
				t.Errorf("verdict(%v) = %v lost the reason", tt.in, got)
			}
		})
	}
	if err := verdict(nil); err != nil {
		t.Errorf("verdict(nil) = %v", err)
	}
}
