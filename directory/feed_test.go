package directory_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/feed"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/directory/profile"
	"github.com/dirpost/dirpost/directory/provision"
	"github.com/dirpost/dirpost/directory/view"
)

// eventually waits until what is so. The feed has no event of its own for tests to wait for.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %s it is not so that %s", patience, what)
		}
	}
}

// fed returns a client of the frontend and a view that is fed from it, closed before the server stops.
func (s *server) fed(t *testing.T, means, file string, changed func(old, now *ldap.Entry)) (*client.Client, *view.View, *feed.Feed) {
	t.Helper()
	c := s.frontend(t)
	if means == "" {
		means = os.Getenv("DIRPOST_TEST_FEED")
	}
	v := view.Open(view.Options{File: file, Changed: changed})
	f := feed.Start(c, v, feed.Options{Base: base, Means: means, Every: 20 * time.Millisecond, List: 100 * time.Millisecond})
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, v, f
}

func current(v *view.View) func() bool {
	return func() bool { now, ok := v.Moment(); return ok && now.Current }
}

// What happens in the directory happens in the view, by every means that the servers have.
func TestFeed(t *testing.T) {
	t.Parallel()
	for _, means := range means() {
		t.Run(means, func(t *testing.T) {
			onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
				user(t, p, "alice")
				_, v, f := s.fed(t, means, "", nil)
				eventually(t, "the view is current", current(v))
				if got := f.Status(); got.Means != means || !got.Up {
					t.Errorf("status is %+v, want up by %s", got, means)
				}
				holds := func(want string, terms ...view.Term) {
					t.Helper()
					var got string
					eventually(t, fmt.Sprintf("%v is an address of %q", terms, want), func() bool {
						now, _ := v.Moment()
						entries, err := now.Find(t.Context(), view.Query{Any: terms})
						if err != nil {
							t.Fatal(err)
						}
						var names []string
						for _, e := range entries {
							names = append(names, strings.ToLower(e.DN))
						}
						slices.Sort(names)
						got = strings.Join(names, " ")
						return got == want
					})
				}
				at := func(a string) view.Term { return view.Term{Attr: "mailLocalAddress", Value: a} }
				holds(person("alice"), at("alice@example.org"))
				user(t, p, "bob")
				holds(person("bob"), at("bob@example.org"))
				c := s.connect(t, s.admin)
				s.set(t, c, person("bob"), "mailLocalAddress", "robert@example.org")
				holds(person("bob"), at("robert@example.org"))
				holds("", at("bob@example.org"))
				if err := c.Rename(t.Context(), ldap.NewModifyDNRequest(person("bob"), "uid=robert", true, "")); err != nil {
					t.Fatal(err)
				}
				holds(person("robert"), at("robert@example.org"))
				holds("", view.Term{Attr: "entryDN", Value: person("bob")})
				if err := c.Delete(t.Context(), person("robert")); err != nil {
					t.Fatal(err)
				}
				holds("", at("robert@example.org"))
				holds(person("alice"), at("alice@example.org"))
			})
		})
	}
}

// After an outage the feed goes on from where it was, or learns what it must forget; the view stays meanwhile.
func TestFeedOutage(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		user(t, p, "alice")
		user(t, p, "bob")
		var changes atomic.Int64
		means := os.Getenv("DIRPOST_TEST_FEED")
		if means == view.TTL { // which is no feed
			means = view.Poll
		}
		_, v, _ := s.fed(t, means, "", func(old, now *ldap.Entry) { changes.Add(1) })
		eventually(t, "the view is current", current(v))
		entries := func() int { now, _ := v.Moment(); return now.Len() }
		before := entries()
		s.stop()
		eventually(t, "the view is not current", func() bool { return !current(v)() })
		if got := entries(); got != before {
			t.Errorf("%d entries during the outage, want %d", got, before)
		}
		s.start()
		c := s.connect(t, s.admin)
		if err := c.Delete(t.Context(), person("bob")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the view is current again", current(v))
		eventually(t, "bob is gone", func() bool { return entries() == before-1 })
		if got := changes.Load(); got < 1 || got > 3 {
			t.Errorf("%d changes were told, want that of bob, and of a group he was in, and not one for each entry", got)
		}
	})
}

// A directory that shows nothing, or not even its base, is no view in which nobody is known.
func TestFeedSeesNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		c := s.frontend(t)
		for _, means := range means() {
			for _, hidden := range []string{"ou=policies," + base, "ou=nowhere," + base} {
				v := view.Open(view.Options{})
				f := feed.Start(c, v, feed.Options{Base: hidden, Means: means})
				eventually(t, "the feed says why it is down", func() bool { return f.Status().Err != "" })
				if now, ok := v.Moment(); ok {
					t.Errorf("%s below %s: there is a view of %d entries", means, hidden, now.Len())
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// Where nothing is learned of changes, answers about mail are kept for a minute, those that nobody is there for half of it, and
// logins are looked up each time.
func TestKeptAnswers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		user(t, p, "alice")
		_, v, f := s.fed(t, view.TTL, "", nil)
		eventually(t, "the feed knows that there is none", v.Abandoned)
		if got := f.Status(); got.Means != view.TTL {
			t.Errorf("status is %+v", got)
		}
		var asked atomic.Int64
		now := time.Now()
		c := s.counting(t, &asked)
		r := lookup.New(c, lookup.Options{Base: base, View: v, Now: func() time.Time { return now }})
		cost := func(what string, want int64, ask func() error, outcome error) {
			t.Helper()
			if err := c.Ping(t.Context()); err != nil { // the bind is not counted
				t.Fatal(err)
			}
			before := asked.Load()
			if err := ask(); !errors.Is(err, outcome) || outcome == nil && err != nil {
				t.Errorf("%s: %v, want %v", what, err, outcome)
			}
			if got := asked.Load() - before; got != want {
				t.Errorf("%s asked %d times, want %d", what, got, want)
			}
		}
		route := func(to string) func() error {
			return func() error { _, err := r.Route(t.Context(), address(t, to), nil); return err }
		}
		login := func() error { _, err := r.Account(t.Context(), "alice"); return err }
		cost("a new address", 1, route("alice@example.org"), nil)
		cost("the same address", 0, route("alice@example.org"), nil)
		cost("an unknown address", 1, route("nobody@example.org"), directory.ErrNoSuchAddress)
		cost("the same unknown address", 0, route("nobody@example.org"), directory.ErrNoSuchAddress)
		cost("a login", 1, login, nil)
		cost("the same login", 1, login, nil)
		now = now.Add(31 * time.Second)
		cost("the address half a minute later", 0, route("alice@example.org"), nil)
		cost("the unknown address half a minute later", 1, route("nobody@example.org"), directory.ErrNoSuchAddress)
		now = now.Add(30 * time.Second)
		cost("the address a minute later", 1, route("alice@example.org"), nil)
	})
}

// A snapshot from the file receives mail while the directory is away, lets nobody in, and knows that it does not know.
func TestRestartInOutage(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		user(t, p, "alice")
		file := filepath.Join(t.TempDir(), "directory")
		c := s.frontend(t)
		first := view.Open(view.Options{File: file})
		f := feed.Start(c, first, feed.Options{Base: base})
		eventually(t, "the view is current", current(first))
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		s.stop()

		now := time.Now()
		clock := func() time.Time { return now }
		v := view.Open(view.Options{File: file, Now: clock})
		r := lookup.New(c, lookup.Options{Base: base, View: v, Now: clock})
		check := func(when string, known, unknown, login error) {
			t.Helper()
			route, err := r.Route(t.Context(), address(t, "alice@example.org"), nil)
			if !errors.Is(err, known) || known == nil && (err != nil || len(route.Mailboxes) != 1) {
				t.Errorf("%s: route of a known address: %v, %v; want %v", when, route, err, known)
			}
			if _, err := r.Route(t.Context(), address(t, "nobody@example.org"), nil); !errors.Is(err, unknown) {
				t.Errorf("%s: route of an unknown address: %v, want %v", when, err, unknown)
			}
			if _, err := r.Account(t.Context(), "alice"); !errors.Is(err, login) {
				t.Errorf("%s: login: %v, want %v", when, err, login)
			}
		}
		check("just started", nil, directory.ErrUnavailable, directory.ErrUnavailable)
		now = now.Add(23 * time.Hour)
		check("after 23 hours", nil, directory.ErrUnavailable, directory.ErrUnavailable)
		now = now.Add(2 * time.Hour)
		check("after 25 hours", directory.ErrUnavailable, directory.ErrUnavailable, directory.ErrUnavailable)
		s.start()
		check("when the directory is back", nil, directory.ErrNoSuchAddress, nil)
	})
}

// A view that was kept is read anew when entries are read in another way, although nothing changed in the directory.
func TestFeedOfAnotherProfile(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		user(t, p, "alice")
		file := filepath.Join(t.TempDir(), "view")
		name := func(changes profile.Changes, want string) {
			t.Helper()
			names, err := profile.New(s.profile.Name(), changes)
			if err != nil {
				t.Fatal(err)
			}
			c := s.connect(t, client.Options{BindDN: provision.FrontendDN(base), Password: "frontend-password", Profile: names})
			v := view.Open(view.Options{File: file})
			f := feed.Start(c, v, feed.Options{Base: base, Means: means()[0]})
			eventually(t, "the view is current", current(v))
			now, _ := v.Moment()
			found, err := now.Find(t.Context(), view.Query{Any: []view.Term{{Attr: "uid", Value: "alice"}}})
			if err != nil || len(found) != 1 || found[0].GetAttributeValue("cn") != want {
				t.Errorf("found %v, %v; want the name %q", found, err, want)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s.set(t, s.connect(t, s.admin), person("alice"), "displayName", "Alice the First")
		name(profile.Changes{}, "alice")
		name(profile.Changes{Attributes: map[string]string{"cn": "displayName"}}, "Alice the First")
	})
}
