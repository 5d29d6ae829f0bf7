package ldapd

import (
	"net/netip"
	"sync"
	"time"
)

const (
	brakeFree    = 3                // failures that are answered at once
	brakeFirst   = time.Second / 4  // delay of the next; doubled with each
	brakeLongest = 5 * time.Second  //
	brakeMemory  = 10 * time.Minute // without a failure, until an address is forgotten
	brakeSize    = 10_000           // addresses
)

// A brake slows down who guesses passwords: the more binds from an address failed, the later the next failure is
// answered. Good binds are never delayed. IPv6 addresses count by their /64.
type brake struct {
	now func() time.Time

	mu       sync.Mutex // guards what follows
	failures map[netip.Prefix]failures
}

type failures struct {
	count int
	last  time.Time
}

func newBrake(now func() time.Time) *brake {
	return &brake{now: now, failures: map[netip.Prefix]failures{}}
}

// failed counts one more and tells how long its answer should wait.
func (b *brake) failed(addr netip.Addr) time.Duration {
	bits := 64
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		bits = 32
	}
	of, err := addr.Prefix(bits)
	if err != nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.failures[of]
	if b.now().Sub(f.last) > brakeMemory {
		f.count = 0
	}
	f.count++
	f.last = b.now()
	if len(b.failures) >= brakeSize {
		b.forget()
	}
	b.failures[of] = f
	if f.count <= brakeFree {
		return 0
	}
	return min(brakeFirst<<min(f.count-brakeFree-1, 10), brakeLongest)
}

// forget drops the addresses whose time is over, or all of them when there are none. The caller holds mu.
func (b *brake) forget() {
	for of, f := range b.failures {
		if b.now().Sub(f.last) > brakeMemory {
			delete(b.failures, of)
		}
	}
	if len(b.failures) >= brakeSize {
		clear(b.failures)
	}
}
