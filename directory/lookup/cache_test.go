package lookup

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCache(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := newCache[int](time.Minute, func() time.Time { return now })
	loads := 0
	get := func() int {
		t.Helper()
		v, err := c.get(t.Context(), "k", func(context.Context) (int, error) { loads++; return loads, nil })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if a, b := get(), get(); a != 1 || b != 1 {
		t.Errorf("values %d, %d; want 1, 1: the second is kept", a, b)
	}
	now = now.Add(time.Minute)
	if _, ok := c.fresh("k"); ok {
		t.Error("a value is fresh at its end")
	}
	if v, ok := c.last("k"); !ok || v != 1 {
		t.Errorf("last() = %d, %v; want 1: old, and there", v, ok)
	}
	if v := get(); v != 2 {
		t.Errorf("value %d after its time, want 2", v)
	}
	c.drop("k")
	if v := get(); v != 3 {
		t.Errorf("value %d after drop, want 3", v)
	}
	fault := errors.New("fault")
	c.drop("k")
	if _, err := c.get(t.Context(), "k", func(context.Context) (int, error) { return 0, fault }); err != fault {
		t.Errorf("error %v, want %v", err, fault)
	}
	if v := get(); v != 4 {
		t.Errorf("value %d after a failure, want 4: failures are not kept", v)
	}
}

// A bounded cache forgets what is old, and when all is new everything, before it takes more than its bound.
func TestCacheBound(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := newCache[int](time.Minute, func() time.Time { return now })
	c.most, c.keep = 2, func(v int) time.Duration { return time.Duration(v) * time.Second }
	fresh := func(want ...string) {
		t.Helper()
		for _, key := range []string{"short", "long", "third", "fourth"} {
			if _, got := c.fresh(key); got != slices.Contains(want, key) {
				t.Errorf("%s is fresh: %v; want %v to be", key, got, want)
			}
		}
	}
	c.put("short", 1)
	c.put("long", 10)
	fresh("short", "long")
	now = now.Add(time.Second)
	fresh("long")
	c.put("third", 10)
	fresh("long", "third")
	c.put("fourth", 10)
	fresh("fourth")
}

// Those who want the same value wait for one question; when its asker gives up, another asks.
func TestCacheShares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCache[int](time.Minute, time.Now)
		first, giveUp := context.WithCancel(t.Context())
		var loads atomic.Int64
		load := func(ctx context.Context) (int, error) {
			loads.Add(1)
			select {
			case <-time.After(time.Second):
				return 7, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		var calls sync.WaitGroup
		calls.Go(func() {
			if _, err := c.get(first, "k", load); !errors.Is(err, context.Canceled) {
				t.Errorf("error of the one who gave up = %v", err)
			}
		})
		synctest.Wait()
		for range 10 {
			calls.Go(func() {
				if v, err := c.get(t.Context(), "k", load); v != 7 || err != nil {
					t.Errorf("get() = %d, %v; want 7", v, err)
				}
			})
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := c.get(impatient, "k", load); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error of the impatient = %v", err)
		}
		giveUp()
		calls.Wait()
		if got := loads.Load(); got != 2 {
			t.Errorf("%d questions for 12 callers, want 2", got)
		}
	})
}
