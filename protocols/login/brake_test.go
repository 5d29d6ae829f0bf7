package login

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
)

// guesser tries passwords of one account at a brake, as the door does.
type guesser struct {
	b   *brake
	now time.Time
}

func (g *guesser) try(network, password string, right bool) error {
	tag := g.b.tagOf(Credentials{Login: "ann", Password: password})
	if err := g.b.peer(network, g.now); err != nil {
		return err
	}
	if err := g.b.account("u-1", network, tag, brakeTime, g.now); err != nil {
		return err
	}
	if right {
		g.b.succeeded("u-1", network, tag, g.now)
		return nil
	}
	g.b.failed("u-1", network, tag, g.now)
	return directory.ErrWrong
}

func TestBrake(t *testing.T) {
	t.Parallel()
	const office, home, stranger = "192.0.2.1/32", "198.51.100.7/32", "203.0.113.9/32"
	start := time.Unix(1_800_000_000, 0)
	fresh := func(perPeer, perAccount int) *guesser { return &guesser{newBrake(perPeer, perAccount), start} }
	wrong := func(t *testing.T, g *guesser, network string, from, to int, want error) {
		t.Helper()
		for n := from; n < to; n++ {
			if err := g.try(network, fmt.Sprint("guess ", n), false); !errors.Is(err, want) || want == directory.ErrWrong && errors.Is(err, ErrBraked) {
				t.Fatalf("guess %d from %s: %v, want %v", n, network, err, want)
			}
		}
	}
	right := func(t *testing.T, g *guesser, network string, want error) {
		t.Helper()
		if err := g.try(network, "right", true); !errors.Is(err, want) {
			t.Fatalf("the right password from %s: %v, want %v", network, err, want)
		}
	}
	t.Run("one address has so many for all accounts", func(t *testing.T) {
		g := fresh(6, 0)
		wrong(t, g, stranger, 0, 6, directory.ErrWrong)
		wrong(t, g, stranger, 6, 20, ErrBraked)
		right(t, g, stranger, ErrBraked)
		right(t, g, home, nil)
		g.now = g.now.Add(brakeTime)
		right(t, g, stranger, nil)
	})
	t.Run("one account has so many from all strangers", func(t *testing.T) {
		g := fresh(0, 5)
		right(t, g, home, nil)
		for n := range 4 {
			wrong(t, g, fmt.Sprintf("203.0.113.%d/32", n), n, n+1, directory.ErrWrong)
		}
		wrong(t, g, stranger, 4, 8, ErrBraked)
		right(t, g, office, ErrBraked) // nobody knows whether that is its owner
		right(t, g, home, nil)
		wrong(t, g, home, 4, 5, directory.ErrWrong)
		wrong(t, g, home, 5, 12, ErrBraked)
	})
	t.Run("an old password counts once, however often it is tried", func(t *testing.T) {
		g := fresh(3, 3)
		for range 100 {
			wrong(t, g, office, 0, 1, directory.ErrWrong)
			g.now = g.now.Add(time.Second)
		}
		right(t, g, office, nil)
	})
	t.Run("what was right once is no guess", func(t *testing.T) {
		g := fresh(2, 3)
		right(t, g, home, nil)
		for n := range 2 {
			wrong(t, g, fmt.Sprintf("203.0.113.%d/32", n), n, n+1, directory.ErrWrong)
		}
		if err := g.try(home, "right", false); !errors.Is(err, directory.ErrWrong) { // there is a new one
			t.Fatal(err)
		}
		if err := g.try(home, "new", true); err != nil {
			t.Errorf("the new password: %v", err)
		}
	})
	t.Run("until another password is set", func(t *testing.T) {
		g := fresh(0, 3)
		wrong(t, g, office, 0, 2, directory.ErrWrong)
		right(t, g, office, ErrBraked)
		g.b.forget("u-2")
		right(t, g, office, ErrBraked)
		g.b.forget("u-1")
		right(t, g, office, nil)
	})
	t.Run("programs on this machine are everybody", func(t *testing.T) {
		g := fresh(2, 0)
		wrong(t, g, "", 0, 50, directory.ErrWrong)
	})
	t.Run("no bounds", func(t *testing.T) {
		wrong(t, fresh(0, 0), stranger, 0, 50, directory.ErrWrong)
	})
	t.Run("memory has an end", func(t *testing.T) {
		g := fresh(1, 1)
		for n := range 3 * brakeSize {
			g.b.failed(fmt.Sprint("u-", n), fmt.Sprint(n), [16]byte{byte(n)}, g.now)
		}
		if n := len(g.b.wrong.now) + len(g.b.wrong.before); n > 2*brakeSize+2 {
			t.Errorf("%d addresses and accounts are remembered", n)
		}
	})
}

func TestNetworkOf(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"192.0.2.7:1": "192.0.2.7/32", "[::ffff:192.0.2.7]:1": "192.0.2.7/32", "[2001:db8:1:2:3::4]:1": "2001:db8:1:2::/64",
		"127.0.0.1:1": "", "[::1]:1": "",
	} {
		if got := networkOf(tcpPeer(t, addr, true)); got != want {
			t.Errorf("networkOf(%s) = %q, want %q", addr, got, want)
		}
	}
	forwarded := tcpPeer(t, "127.0.0.1:1", true)
	forwarded.Forwarded = true
	if networkOf(forwarded) == "" || networkOf(protocols.Peer{Unix: true}) != "" {
		t.Error("who a forwarder connects for is not on this machine, and a unix socket is")
	}
}

// Guessing does not make the directory lock the account, and its owner comes in from where he is at home. Without the brake
// slapd locks it.
func TestGuessing(t *testing.T) {
	t.Parallel()
	s := newSite(t, newAuthority(t, "Test CA"), nil, person("alice")+person("bob"))
	home, stranger := tcpPeer(t, "192.0.2.1:1", true), tcpPeer(t, "203.0.113.9:1", true)
	login := func(d *Door, peer protocols.Peer, login, pass string) error {
		_, err := d.Authenticate(t.Context(), peer, Credentials{Service: directory.IMAP, Login: login, Password: pass})
		return err
	}
	braked := New(s.door.accounts, s.door.prover, Options{FailureTime: time.Millisecond, WrongPerAccount: 4})
	if err := login(braked, home, "alice", password); err != nil {
		t.Fatal(err)
	}
	for n := range 12 {
		want := directory.ErrWrong
		if n >= 3 {
			want = ErrBraked
		}
		if err := login(braked, stranger, "alice", fmt.Sprint("guess ", n)); !errors.Is(err, want) {
			t.Errorf("guess %d: %v, want %v", n, err, want)
		}
	}
	old := braked.brake.tagOf(Credentials{Login: "alice", Password: "of last year"})
	braked.brake.succeeded("of somebody", "somewhere", old, time.Now())
	for range 12 {
		if err := login(braked, home, "alice", "of last year"); !errors.Is(err, directory.ErrWrong) || errors.Is(err, ErrBraked) {
			t.Errorf("an old password, again and again: %v, want %v", err, directory.ErrWrong)
		}
	}
	if err := login(braked, home, "alice", password); err != nil {
		t.Errorf("the right password after all that: %v", err)
	}
	for n := range 12 {
		login(s.door, stranger, "bob", fmt.Sprint("guess ", n))
	}
	if err := login(s.door, home, "bob", password); err == nil {
		t.Error("slapd does not lock the account of this test, which then shows nothing")
	}
}
