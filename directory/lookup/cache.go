package lookup

import (
	"context"
	"maps"
	"sync"
	"time"
)

// A cache keeps values for a short time, and lets callers who want the same missing value share one question. A nil cache
// keeps nothing.
type cache[V any] struct {
	ttl  time.Duration
	now  func() time.Time
	keep func(V) time.Duration // by value; nil = ttl
	most int                   // values; 0 = any number

	mu     sync.Mutex // guards what follows
	values map[string]cached[V]
	open   map[string]chan struct{} // closed when the question is answered
}

type cached[V any] struct {
	value V
	until time.Time
}

func newCache[V any](ttl time.Duration, now func() time.Time) *cache[V] {
	return &cache[V]{ttl: ttl, now: now, values: map[string]cached[V]{}, open: map[string]chan struct{}{}}
}

// get returns the value of key, asking load when it is missing or old. A failure of load is its caller's own: those who
// waited ask again, because it may have been the other one's context that ended.
func (c *cache[V]) get(ctx context.Context, key string, load func(context.Context) (V, error)) (V, error) {
	if c == nil {
		return load(ctx)
	}
	for {
		if v, ok := c.fresh(key); ok {
			return v, nil
		}
		c.mu.Lock()
		done, busy := c.open[key]
		if !busy {
			done = make(chan struct{})
			c.open[key] = done
			c.mu.Unlock()
			v, err := load(ctx)
			if err == nil {
				c.put(key, v)
			}
			c.mu.Lock()
			delete(c.open, key)
			c.mu.Unlock()
			close(done)
			return v, err
		}
		c.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		}
	}
}

// fresh returns the value of key if it is there and not old.
func (c *cache[V]) fresh(key string) (V, bool) {
	if c == nil {
		var none V
		return none, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.values[key]
	return v.value, ok && c.now().Before(v.until)
}

// put stores a value that came by another way.
func (c *cache[V]) put(key string, v V) {
	if c == nil {
		return
	}
	ttl := c.ttl
	if c.keep != nil {
		ttl = c.keep(v)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.most > 0 && len(c.values) >= c.most {
		maps.DeleteFunc(c.values, func(_ string, old cached[V]) bool { return !c.now().Before(old.until) })
		if len(c.values) >= c.most { // all of them asked for in a moment: somebody tries names
			clear(c.values)
		}
	}
	c.values[key] = cached[V]{v, c.now().Add(ttl)}
}

// drop forgets a value.
func (c *cache[V]) drop(key string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.values, key)
}

// last returns the value of key, however old.
func (c *cache[V]) last(key string) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.values[key]
	return v.value, ok
}
