package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/schema/slapdtest"
)

// A directory that stops is "cannot tell" for every call, and works again without a new client.
func TestOutage(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := connect(t, s, client.Options{BindDN: frontend, Password: "frontend-password"})
	calls := map[string]func() error{
		"search": func() error {
			_, err := c.One(t.Context(), alice, ldap.ScopeBaseObject, "(objectClass=*)", "uid")
			return err
		},
		"bind": func() error { return c.Bind(t.Context(), alice, "alice-password") },
	}
	check := func(when string, want error) {
		t.Helper()
		for name, call := range calls {
			if err := call(); !errors.Is(err, want) {
				t.Errorf("%s %s: error = %v, want %v", name, when, err, want)
			}
		}
	}
	check("before", nil)
	s.Stop(t)
	check("while slapd is stopped", directory.ErrUnavailable)
	s.Start(t)
	check("after", nil)
	s.Stop(t)
	s.Start(t)
	check("after a restart that nobody noticed", nil)
}

// stalled accepts connections and never says a word.
func stalled(t *testing.T) (uri string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}()
	return "ldap://" + l.Addr().String()
}

func TestStalled(t *testing.T) {
	t.Parallel()
	const timeout = 300 * time.Millisecond
	c := connect(t, nil, client.Options{URIs: []string{stalled(t)}, BindDN: frontend, Password: "x", Timeout: timeout, PoolSize: 2})
	var calls sync.WaitGroup
	for range 6 { // more than there are connections
		calls.Go(func() {
			begin := time.Now()
			err := c.Bind(t.Context(), alice, "alice-password")
			if took := time.Since(begin); !errors.Is(err, directory.ErrUnavailable) || took > 3*timeout {
				t.Errorf("Bind() = %v after %v, want %v after %v", err, took, directory.ErrUnavailable, timeout)
			}
		})
	}
	calls.Wait()
}

func TestCancel(t *testing.T) {
	t.Parallel()
	c := connect(t, nil, client.Options{URIs: []string{stalled(t)}, BindDN: frontend, Password: "x"})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	begin := time.Now()
	if err := c.Ping(ctx); !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("Ping() = %v, want %v", err, directory.ErrUnavailable)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("Ping() took %v after its context was cancelled", took)
	}
	done := make(chan error)
	go func() { done <- c.Ping(t.Context()) }()
	time.AfterFunc(50*time.Millisecond, func() { c.Close() })
	if err := <-done; !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("Ping() on a client that closes = %v, want %v", err, directory.ErrUnavailable)
	}
	if err := c.Ping(t.Context()); !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("Ping() on a closed client = %v, want %v", err, directory.ErrUnavailable)
	}
}

// proxy forwards a port to slapd and can be cut, so that one server has two addresses with separate fates.
type proxy struct {
	uri    string
	mu     sync.Mutex // guards what follows
	up     bool
	taken  int
	to     string
	active []net.Conn
}

func newProxy(t *testing.T, s *slapdtest.Server) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{uri: "ldap://" + l.Addr().String(), up: true, to: strings.TrimPrefix(s.URI, "ldap://")}
	t.Cleanup(func() { l.Close(); p.set(false) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.serve(c)
		}
	}()
	return p
}

func (p *proxy) serve(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active = append(p.active, c)
	if !p.up {
		return // swallowed: the worst kind of down
	}
	p.taken++
	s, err := net.Dial("tcp", p.to)
	if err != nil {
		c.Close()
		return
	}
	p.active = append(p.active, s)
	go func() { io.Copy(s, c); s.Close() }()
	go func() { io.Copy(c, s); c.Close() }()
}

func (p *proxy) set(up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up = up
	for _, c := range p.active {
		c.Close()
	}
	p.active = nil
}

func (p *proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

func TestFailover(t *testing.T) {
	t.Parallel()
	s := start(t)
	first, second := newProxy(t, s), newProxy(t, s)
	c := connect(t, s, client.Options{URIs: []string{first.uri, second.uri}, Timeout: 2 * time.Second, Retry: 20 * time.Millisecond})
	ping := func() time.Duration {
		t.Helper()
		begin := time.Now()
		if err := c.Ping(t.Context()); err != nil {
			t.Fatalf("Ping() = %v", err)
		}
		return time.Since(begin)
	}
	ping()
	if got := second.count(); got != 0 {
		t.Errorf("%d connections to the second server while the first works, want 0", got)
	}
	first.set(false)
	ping() // pays for finding out
	if got := second.count(); got != 1 {
		t.Errorf("%d connections to the second server after the first went down, want 1", got)
	}
	if took := ping(); took > time.Second {
		t.Errorf("the second call took %v: it waited for the dead server too", took)
	}
	first.set(true)
	before := first.count()
	deadline := time.Now().Add(20 * time.Second)
	for first.count() < before+2 { // the probe, and then a call
		if time.Now().After(deadline) {
			t.Fatal("calls did not return to the preferred server")
		}
		ping()
	}
}

// The pool is bounded, and calls share it.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := newProxy(t, s)
	c := connect(t, s, client.Options{URIs: []string{p.uri}, PoolSize: 3})
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			if _, err := c.One(t.Context(), people, ldap.ScopeWholeSubtree, "(uid=alice)", "uid"); err != nil {
				t.Error(err)
			}
			if err := c.Bind(t.Context(), alice, "alice-password"); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if got := p.count(); got > 6 {
		t.Errorf("%d connections for 50 callers, want at most 3 for searches and 3 for binds", got)
	}
}

// Unused connections are closed, and the next call opens one.
func TestIdle(t *testing.T) {
	t.Parallel()
	s := start(t)
	closed := make(chan struct{})
	dial := func(ctx context.Context) (net.Conn, error) {
		raw, err := (&net.Dialer{}).DialContext(ctx, "unix", s.Socket)
		if err != nil {
			return nil, err
		}
		return &noticed{Conn: raw, closed: sync.OnceFunc(func() { closed <- struct{}{} })}, nil
	}
	c := connect(t, s, client.Options{Dial: dial, IdleTime: 20 * time.Millisecond})
	for range 2 {
		if err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-closed:
		case <-time.After(20 * time.Second):
			t.Fatal("an idle connection stays open")
		}
	}
}

type noticed struct {
	net.Conn
	closed func()
}

func (n *noticed) Close() error {
	go n.closed()
	return n.Conn.Close()
}

// A server that stops answering in the middle costs one call its time; the next go to another server at once.
func TestFrozen(t *testing.T) {
	t.Parallel()
	const timeout = 500 * time.Millisecond
	first, second := start(t), start(t)
	c := connect(t, first, client.Options{URIs: []string{first.LDAPI, second.LDAPI}, Timeout: timeout})
	ping := func() (time.Duration, error) {
		begin := time.Now()
		err := c.Ping(t.Context())
		return time.Since(begin), err
	}
	if _, err := ping(); err != nil {
		t.Fatal(err)
	}
	frozen, err := os.FindProcess(first.Pid())
	if err != nil {
		t.Fatal(err)
	}
	if err := frozen.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer frozen.Signal(syscall.SIGCONT)
	took, err := ping()
	for deadline := time.Now().Add(20 * time.Second); err == nil && time.Now().Before(deadline); { // until the signal is there
		took, err = ping()
	}
	if !errors.Is(err, directory.ErrUnavailable) || took > 4*timeout {
		t.Errorf("Ping() on a frozen server = %v after %v, want %v after %v", err, took, directory.ErrUnavailable, timeout)
	}
	for range 3 {
		if took, err := ping(); err != nil || took >= timeout {
			t.Errorf("next Ping() = %v after %v, want an answer of the other server", err, took)
		}
	}
}

// TestImpatientCaller: a caller who leaves says nothing about the server, so the other connections to it stay.
func TestImpatientCaller(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := newProxy(t, s)
	c := connect(t, nil, client.Options{URIs: []string{p.uri}, BindDN: frontend, Password: "frontend-password", PoolSize: 2})
	freeze := func(sig syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(s.Pid(), sig); err != nil {
			t.Fatal(err)
		}
		for begin := time.Now(); stopped(t, s.Pid()) != (sig == syscall.SIGSTOP); time.Sleep(time.Millisecond) {
			if time.Since(begin) > 10*time.Second {
				t.Fatalf("slapd does not heed %v", sig)
			}
		}
	}
	freeze(syscall.SIGSTOP)
	var pings sync.WaitGroup
	for range 2 {
		pings.Go(func() {
			if err := c.Ping(t.Context()); err != nil {
				t.Errorf("ping: %v", err)
			}
		})
	}
	for begin := time.Now(); p.count() < 2 && time.Since(begin) < 5*time.Second; time.Sleep(time.Millisecond) {
	}
	freeze(syscall.SIGCONT)
	pings.Wait()
	before := p.count()

	freeze(syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Ping(ctx); !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("ping of the impatient: %v, want %v", err, directory.ErrUnavailable)
	}
	freeze(syscall.SIGCONT)
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if got := p.count(); before != 2 || got != before {
		t.Errorf("%d connections, then %d; want 2 and no new one", before, got)
	}
}

// stopped reports whether every thread of a process is: a signal takes its time.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range threads {
		text, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		if !strings.HasPrefix(rest, "T") {
			return false
		}
	}
	return true
}
