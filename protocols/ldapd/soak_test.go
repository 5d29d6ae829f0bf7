package ldapd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"
)

// soakVariable says how long TestSoak works; `make soak` sets it. By itself the test takes a moment.
const soakVariable = "DIRPOST_SOAK"

// TestSoak mixes readers, writers, logins, consumers, clients that hang up in the middle and clients that never read.
// In the end consumers have what the directory has, no goroutine is left, and memory is what it was after a third.
func TestSoak(t *testing.T) {
	lasts := 2 * time.Second
	if text := os.Getenv(soakVariable); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	before := runtime.NumGoroutine()
	t.Cleanup(func() { noGoroutineLeft(t, before) }) // after the clean-up of the server
	s := ownSide(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() { soakWriter(t, ctx, s, w) })
		group.Go(func() { soakReader(t, ctx, s) })
		group.Go(func() { soakHostile(ctx, s) })
	}
	c := newConsumer(s, "frontend", people, "(objectClass=dpMailAccount)")
	feed := c.begin(t, ldap.SyncRequestModeRefreshAndPersist)
	group.Go(func() { soakReturning(t, ctx, s) })
	third := memoryAfter(ctx, lasts/3)
	end := make(chan struct{})
	go func() { group.Wait(); close(end) }()
	for done := false; !done; {
		select {
		case _, open := <-feed.lines:
			if !open {
				feed.conn.Close()
				feed = c.begin(t, ldap.SyncRequestModeRefreshAndPersist) // it lagged too far behind
			}
		case <-end:
			done = true
		}
	}
	feed.conn.Close()
	feed.rest()
	c.begin(t, ldap.SyncRequestModeRefreshOnly).rest()
	var want, got []string
	found, err := s.dial(t, "admin").Search(ldap.NewSearchRequest(people, ldap.ScopeWholeSubtree, 0, 0, 0, false, c.filter, []string{"1.1"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range found.Entries {
		want = append(want, e.DN)
	}
	for name := range c.content {
		got = append(got, name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("directory (-), consumer (+):\n%s", diff)
	}
	if now := memory(); now > third+third/2+32<<20 {
		t.Errorf("%d MiB are in use, %d after a third of the time", now>>20, third>>20)
	}
}

func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// memoryAfter is how much is in use after that time.
func memoryAfter(ctx context.Context, wait time.Duration) uint64 {
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
	return memory()
}

// noGoroutineLeft waits until there are no more than before: connections close a little after their clients.
func noGoroutineLeft(t *testing.T, before int) {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		now := runtime.NumGoroutine()
		if now <= before {
			return
		}
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Errorf("%d goroutines, %d before:\n%s", now, before, stacks[:runtime.Stack(stacks, true)])
			return
		}
	}
}

// soakWriter adds, changes, renames and deletes people of its own.
func soakWriter(t *testing.T, ctx context.Context, s *side, w int) {
	c := s.dial(t, "admin")
	defer c.Close()
	for i := 0; ctx.Err() == nil; i++ {
		uid := fmt.Sprintf("w%d-%d", w, i%50)
		name := "uid=" + uid + "," + people
		next := uid + "x"
		drop := ldap.NewModifyRequest("uid="+next+","+people, nil)
		drop.Replace("description", []string{strings.Repeat("x", rand.IntN(4000)+1)})
		for _, err := range []error{
			c.Add(person(uid)),
			c.Modify(replace(uid, "userPassword", "{SSHA}7f0bGi3LBjadu4m2I8Lm1S7Yh91zYWx0c2FsdA==")),
			c.ModifyDN(ldap.NewModifyDNRequest(name, "uid="+next, true, "")),
			c.Modify(drop),
			c.Del(ldap.NewDelRequest("uid="+next+","+people, nil)),
		} {
			if err != nil {
				t.Errorf("%s: %v", uid, err)
				return
			}
		}
		if i%10 == 0 && i < 500 {
			if err := c.Add(person(fmt.Sprintf("stay%d-%d", w, i))); err != nil {
				t.Error(err)
			}
		}
	}
}

// soakReader searches and binds, and hangs up in between.
func soakReader(t *testing.T, ctx context.Context, s *side) {
	for ctx.Err() == nil {
		c := s.dial(t, "frontend")
		for range 20 {
			if _, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false,
				fmt.Sprintf("(|(mailLocalAddress=alice@example.org)(uid=w%d-*))", rand.IntN(4)), nil, nil)); err != nil {
				t.Error(err)
			}
		}
		if err := c.Bind(nameOf("alice"), "wrong"); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
			t.Errorf("a wrong password: %v", err)
		}
		c.Close()
	}
}

// soakReturning is a consumer that comes and goes with its cookie.
func soakReturning(t *testing.T, ctx context.Context, s *side) {
	c := newConsumer(s, "frontend", base, "(objectClass=*)")
	for ctx.Err() == nil {
		feed := c.begin(t, ldap.SyncRequestModeRefreshOnly)
		if lines := feed.rest(); feed.err != nil || len(lines) == 0 {
			t.Errorf("a refresh: %q, %v", lines, feed.err)
			return
		}
		feed.conn.Close()
	}
}

// soakHostile sends what it likes: half a message and nothing more, or a request for all changes of which it reads nothing.
func soakHostile(ctx context.Context, s *side) {
	for i := 0; ctx.Err() == nil; i++ {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.uri, "ldap://"))
		if err != nil {
			continue
		}
		if i%2 == 0 {
			io.WriteString(c, "\x30\x82\x01\x00\x02\x01")
			c.Close()
			continue
		}
		l := ldap.NewConn(c, false)
		l.Start()
		err = l.Bind(nameOf("frontend"), "frontend-password")
		if err == nil {
			l.Syncrepl(ctx, ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectClass=*)", nil, nil), 0,
				ldap.SyncRequestModeRefreshAndPersist, nil, false)
			select {
			case <-time.After(time.Duration(rand.IntN(500)) * time.Millisecond):
			case <-ctx.Done():
			}
		}
		if errors.Join(err, l.Close()) != nil {
			continue
		}
	}
}
