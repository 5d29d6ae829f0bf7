package main

import "testing"

// What is given back, and when: much, by who does little.
func TestMemoryIdle(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	for _, tt := range []struct {
		name string
		now  memory
		want bool
	}{
		{"after a burst", memory{allocated: 1001 * mb, live: 100 * mb, objects: 180 * mb, free: 20 * mb}, true},
		{"in a burst", memory{allocated: 1100 * mb, live: 100 * mb, objects: 180 * mb, free: 20 * mb}, false},
		{"with little to give", memory{allocated: 1001 * mb, live: 100 * mb, objects: 120 * mb, free: 5 * mb}, false},
		{"after it was given back", memory{allocated: 1001 * mb, live: 100 * mb, objects: 100 * mb}, false},
	} {
		if got := tt.now.idle(memory{allocated: 1000 * mb}); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if now := memoryNow(); now.allocated == 0 || now.objects == 0 {
		t.Errorf("the runtime tells %+v", now)
	}
}
