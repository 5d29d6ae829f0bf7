package queue

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/directory/provision"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/protocols/delivery"
	"github.com/dirpost/dirpost/protocols/delivery/trace"
	"github.com/dirpost/dirpost/protocols/ldapd"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// A world has an embedded directory with alice, bob and carol, a role team@ of all three, and a store and queue that can
// be started again. carol's mailbox can be broken: its home is then a file, in which nothing can be filed now. The mailbox
// of full holds one octet, and full is in the role crowd@ with alice. admin gets the mail for the postmaster.
type world struct {
	t      testing.TB
	dir    string
	people *provision.Provisioner
	lookup *lookup.Resolver
	store  *mailbox.Store
	desk   *delivery.Deliverer
	queue  *Queue
	log    logged

	mu    sync.Mutex // guards what follows
	now   time.Time
	down  bool
	links []net.Conn
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), now: time.Unix(1_800_000_000, 0)}
	tree, err := dit.Open(filepath.Join(w.dir, "directory.db"), dit.Options{Suffixes: []string{"dc=example,dc=org"}, ServiceUIDs: []int{os.Getuid()}})
	w.must(err)
	t.Cleanup(func() { tree.Close() })
	server := ldapd.New(tree, ldapd.Options{})
	t.Cleanup(func() { server.Shutdown(context.Background()) })
	c, err := client.New(client.Options{External: true, Dial: func(context.Context) (net.Conn, error) { return w.dial(server) }})
	w.must(err)
	t.Cleanup(func() { c.Close() })
	w.people = provision.New(c, provision.Options{Base: "dc=example,dc=org"})
	w.lookup = lookup.New(c, lookup.Options{Base: "dc=example,dc=org"})
	ctx := t.Context()
	w.must(w.people.Init(ctx, "Example", "secret", provision.NewAdmin{Login: "admin", Name: "Admin", Password: "secret"}))
	w.must(w.people.AddDomain(ctx, "example.org"))
	for _, login := range []string{"alice", "bob", "carol", "full"} {
		user := provision.NewUser{Login: login, Mail: address(login + "@example.org")}
		if login == "full" {
			user.Quota.Bytes = 1
		}
		_, err := w.people.AddUser(ctx, user)
		w.must(err)
	}
	for role, logins := range map[string][]string{"team": {"alice", "bob", "carol"}, "crowd": {"full", "alice"}} {
		_, err := w.people.AddRole(ctx, provision.NewRole{Address: address(role + "@example.org"), Occupants: logins})
		w.must(err)
	}
	w.start()
	return w
}

// dial makes a connection to the directory, unless that is down.
func (w *world) dial(server *ldapd.Server) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, errors.New("the directory is down")
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket pair")
		ends[i], err = net.FileConn(f)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	go server.ServeConn(ends[1])
	w.links = append(w.links, ends[1])
	return ends[0], nil
}

// outage takes the directory out of reach, or brings it back.
func (w *world) outage(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
	for _, c := range w.links {
		c.Close()
	}
	w.links = nil
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// start opens the store and the queue.
func (w *world) start() {
	w.t.Helper()
	var err error
	w.store, err = mailbox.Open(mailbox.Options{Homes: filepath.Join(w.dir, "homes"), Cache: filepath.Join(w.dir, "cache"), Node: "node"})
	w.must(err)
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	w.desk = delivery.New(w.store, delivery.Options{Log: log})
	w.queue, err = Open(filepath.Join(w.dir, "spool"), w.store, w.lookup, w.desk, Options{Hostname: "mx.example.org", Now: w.clock, Log: log})
	w.must(err)
	store, queue := w.store, w.queue
	w.t.Cleanup(func() { queue.Close(); store.Close() })
}

// stop ends the queue and the store, as a server that is stopped.
func (w *world) stop() {
	w.t.Helper()
	w.must(w.queue.Close())
	w.must(w.store.Close())
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time pass, and the queue look.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	w.now = w.now.Add(d)
	w.mu.Unlock()
	w.queue.wake <- struct{}{}
}

// home is the folder of a user's home.
func (w *world) home(login string) string {
	w.t.Helper()
	acct, err := w.lookup.Account(context.Background(), login)
	w.must(err)
	return filepath.Join(w.dir, "homes", acct.ID)
}

func (w *world) breakHome(login string) { w.must(os.WriteFile(w.home(login), nil, 0o600)) }
func (w *world) mendHome(login string)  { w.must(os.Remove(w.home(login))) }

// inbox returns the messages of a user, as they lie on the disk.
func (w *world) inbox(login string) []string {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.home(login), "Maildir", "new", "*"))
	w.must(err)
	texts := []string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		w.must(err)
		texts = append(texts, string(text))
	}
	return texts
}

// counts tells who has how many messages.
func (w *world) counts(logins ...string) string {
	var out []string
	for _, login := range logins {
		out = append(out, login+" "+string(rune('0'+len(w.inbox(login)))))
	}
	return strings.Join(out, ", ")
}

func address(s string) directory.Address {
	a, err := directory.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// An order is a transaction to be.
type order struct {
	rcpts string // local parts
	lmtp  bool
	login string // of the submitter
}

// deliver hands a message to the queue, and returns a result for each recipient.
func (w *world) deliver(o order) []error {
	w.t.Helper()
	env := protocols.Envelope{ID: "mail" + string(rune('a'+len(w.queue.Items()))), From: address("ann@example.net"), Login: o.login, PerRecipient: o.lmtp, Received: w.clock()}
	if o.login != "" {
		env.From = address(o.login + "@example.org")
	}
	for _, local := range strings.Fields(o.rcpts) {
		addr := address(local + "@example.org")
		route, err := w.lookup.Route(w.t.Context(), addr, nil)
		w.must(err)
		env.Rcpts = append(env.Rcpts, protocols.Recipient{Address: addr, Route: route})
	}
	msg, err := trace.Read(strings.NewReader("Subject: hello\r\nFrom: "+env.From.String()+"\r\n\r\nbody\r\n"), trace.Limits{})
	w.must(err)
	staged, err := w.desk.Stage(msg, "")
	w.must(err)
	defer staged.Discard()
	return w.queue.Deliver(w.t.Context(), env, staged)
}

// await waits until the queue has this many messages and nobody is at work on one.
func (w *world) await(what string, fits func() bool) {
	w.t.Helper()
	for begun := time.Now(); time.Since(begun) < 20*time.Second; time.Sleep(time.Millisecond) {
		w.queue.mu.Lock()
		busy := false
		for _, item := range w.queue.items {
			busy = busy || item.busy
		}
		w.queue.mu.Unlock()
		if !busy && fits() {
			return
		}
	}
	w.t.Fatalf("%s: not so after long; the queue has %+v; log:\n%s", what, w.queue.Items(), w.log.String())
}

// logged is a log that many may write and one reads.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
