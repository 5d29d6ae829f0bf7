package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/schema/slapdtest"
)

// twinSite is a site with two slapd that are providers of each other, the first one preferred.
func twinSite(t *testing.T) (s *site, first, second *slapdtest.Server) {
	t.Helper()
	first, second = slapdtest.Start(t, slapdtest.Options{}), slapdtest.Start(t, slapdtest.Options{})
	slapdtest.Mirror(t, first, second)
	dir := t.TempDir()
	for name, text := range map[string]string{"root": first.RootPassword, "frontend": "frontend-secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	as := []string{"--as", first.RootDN, "--as-password-file", filepath.Join(dir, "root")}
	s = newSite(t, as, "--ldap-uri", first.LDAPI, "--ldap-uri", second.LDAPI, "--base", first.Base, "--bind-password-file", filepath.Join(dir, "frontend"))
	return s, first, second
}

// A clientele is what clients are told while something happens to the directory.
type clientele struct {
	mu       sync.Mutex
	accepted []string // subjects of messages that got their 250
	failures []failure
}

type failure struct {
	at   time.Time
	what string
	err  error
}

func (r *clientele) note(what string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.accepted = append(r.accepted, what)
		return
	}
	r.failures = append(r.failures, failure{time.Now(), what, err})
}

// run delivers mail, also to addresses that nobody has, and logs in, again and again until stop is closed.
func (r *clientele) run(s *site, stop <-chan struct{}) *sync.WaitGroup {
	var clients sync.WaitGroup
	loop := func(every time.Duration, do func(n int)) {
		clients.Go(func() {
			for n := 0; ; n++ {
				do(n)
				select {
				case <-stop:
					return
				case <-time.After(every):
				}
			}
		})
	}
	for i := range 3 {
		loop(5*time.Millisecond, func(n int) {
			subject := fmt.Sprintf("m%d-%d", i, n)
			r.note(subject, lmtp(s.addr["lmtp"], "alice@example.org", message("list@elsewhere.example", "alice@example.org", subject)))
		})
	}
	loop(20*time.Millisecond, func(n int) {
		if err := s.logIn(); err != nil {
			r.note("login", err)
		}
	})
	return &clients
}

// logIn opens and closes a session.
func (s *site) logIn() error {
	c, err := imapclient.DialInsecure(s.addr["imap"], nil)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Login("alice", alicePassword).Wait()
}

// harmless reports whether a failure says to come again, and nothing about the address or the password.
func harmless(err error) bool {
	var no *imap.Error
	if errors.As(err, &no) {
		return no.Code == imap.ResponseCodeUnavailable
	}
	return replyCode(err)/100 == 4
}

// TestTwoProviders kills the preferred of two directory servers while mail arrives and people log in. Nothing that was accepted
// is lost, nobody hears that a password is wrong or an address unknown, changes go on to count, and when the server is back it
// is preferred again.
func TestTwoProviders(t *testing.T) {
	t.Parallel()
	s, first, second := twinSite(t)
	s.watched()
	s.addPeople()
	has := func(at *slapdtest.Server, filter string) func() bool {
		return func() bool {
			out, err := s.try("ldapsearch", "-x", "-LLL", "-H", at.LDAPI, "-D", at.RootDN, "-w", at.RootPassword, "-b", at.Base, filter, "dn")
			return err == nil && strings.Contains(out, "dn: ")
		}
	}
	s.eventually("the second server has everything", has(second, "(objectClass=dpCertAuthority)")) // the last entry
	s.start()
	s.eventually("the view is current", s.learns)
	r, stop := new(clientele), make(chan struct{})
	clients := r.run(s, stop)
	time.Sleep(300 * time.Millisecond) // of traffic before

	first.Kill(t)
	killed := time.Now()
	s.eventually("the view is fed again", s.learns)
	fed := time.Since(killed)
	s.dirpost("alias", "add", "afterwards@example.org", "alice")
	s.eventually("a change at the other server counts", func() bool {
		return lmtp(s.addr["lmtp"], "afterwards@example.org", message("a@b.example", "alice@example.org", "alias")) == nil
	})
	first.Start(t)
	s.eventually("the first server has what it missed", has(first, "(mailLocalAddress=afterwards@example.org)"))
	second.Stop(t) // the last proof that the first is in use again
	s.dirpost("alias", "add", "again@example.org", "alice")
	s.eventually("a change at the first server counts", func() bool {
		return lmtp(s.addr["lmtp"], "again@example.org", message("a@b.example", "alice@example.org", "again")) == nil
	})
	close(stop)
	clients.Wait()

	var last time.Duration
	for _, f := range r.failures {
		if !harmless(f.err) {
			t.Errorf("%s, %v after the kill: %v", f.what, f.at.Sub(killed), f.err)
		}
		if d := f.at.Sub(killed); d > 0 && d < fed+2*time.Second {
			last = d
		}
	}
	t.Logf("%d messages accepted, %d failures, the last of the first outage %v after the kill; fed again after %v", len(r.accepted), len(r.failures), last, fed)
	if fed > 30*time.Second {
		t.Errorf("the view was fed again after %v", fed)
	}
	if got, want := s.count(t, "alice", "INBOX"), len(r.accepted)+2; got != want {
		t.Errorf("%d messages, want %d: each that was accepted, once", got, want)
	}
}

func (s *site) viewOf() viewReport {
	s.t.Helper()
	out, _ := s.program("status", "--json").Output() // it fails while something is wrong, and says what all the same
	var r statusReport
	if err := json.Unmarshal(out, &r); err != nil {
		s.t.Fatalf("%v in %s", err, out)
	}
	return r.Directory.View
}

// learns reports whether the server knows what is in the directory, or will ask each time.
func (s *site) learns() bool {
	v := s.viewOf()
	return v.Current || v.Source == view.TTL
}

// eventually waits until what is so.
func (s *site) eventually(what string, so func() bool) {
	s.t.Helper()
	for begun := time.Now(); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > patience {
			s.t.Fatalf("it is not so that %s", what)
		}
	}
}
