package ldapd

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestBrake(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := newBrake(func() time.Time { return now })
	guesser, neighbour := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	want := []time.Duration{0, 0, 0, brakeFirst, 2 * brakeFirst, 4 * brakeFirst}
	for i, w := range want {
		if got := b.failed(guesser); got != w {
			t.Errorf("failure %d: waits %v, want %v", i+1, got, w)
		}
	}
	for range 100 {
		b.failed(guesser)
	}
	if got := b.failed(guesser); got != brakeLongest {
		t.Errorf("after a hundred: waits %v, want %v", got, brakeLongest)
	}
	if got := b.failed(neighbour); got != 0 {
		t.Errorf("another address waits %v, want nothing", got)
	}
	if got := b.failed(netip.MustParseAddr("::ffff:192.0.2.1")); got != brakeLongest {
		t.Errorf("the address in its IPv6 form waits %v, want %v", got, brakeLongest)
	}
	now = now.Add(brakeMemory + time.Second)
	if got := b.failed(guesser); got != 0 {
		t.Errorf("after a rest: waits %v, want nothing", got)
	}
}

func TestBrakeCountsNetworksOfIPv6(t *testing.T) {
	t.Parallel()
	b := newBrake(time.Now)
	var got time.Duration
	for i := range brakeFree + 1 {
		got = b.failed(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)))
	}
	if got != brakeFirst {
		t.Errorf("fourth address of a /64 waits %v, want %v", got, brakeFirst)
	}
}

func TestBrakeIsBounded(t *testing.T) {
	t.Parallel()
	b := newBrake(time.Now)
	for i := range 3 * brakeSize {
		b.failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if len(b.failures) > brakeSize {
		t.Errorf("%d addresses are kept, want at most %d", len(b.failures), brakeSize)
	}
}
