// Package mailbox is the store of mail: homes with folders that sessions read and change. It composes packages maildir,
// which knows files, and index, which saves reading them again.
//
// What a message is, which flags it has and which UID, stands in the name of its file, so the Maildir alone is the truth.
// Beside tmp, new and cur a folder has two small durable files: dirpost-folder, with the numbers that must never come
// twice (marks.go), and dovecot-keywords, with what the letters of keywords mean. The Maildir of a home also has
// dirpost-uidvalidity, a counter, subscriptions, and dirpost-warned, which tells of the quota. None of these can be rebuilt; all that is in the cache can.
//
// All changes of a folder go through its box, one batch after another: the operations that arrive while a batch is under
// way are carried out together, and share the fsync of the directories (box.go tells the order). Readers hold a [View],
// which never changes, and wait for nobody.
//
// Other programs may deliver into, rename in, and delete from a Maildir at any time; an open mailbox notices at once
// (inotify), a closed one by the times of its directories when it is opened (load.go, scan.go).
//
// Start reading at [Store.Home], then [Home.Append] and [Home.Open].
package mailbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// Options say where the mail lies and what bounds it. Fields that are not marked as required work when zero.
type Options struct {
	Homes  string           // required: the folder of all homes
	Cache  string           // required: where indexes lie; may be deleted while the store is closed
	Node   string           // this machine, in names of files; the host name when empty
	Limits storage.Limits   // 64 MiB a message, 10,000 folders, 255 octets a folder name
	Log    *slog.Logger     // nil discards
	Now    func() time.Time // the clock of INTERNALDATE and UIDVALIDITY; time.Now when nil

	Idle time.Duration // how long an unused mailbox stays in memory: 1 minute
	Kept int           // how many messages of unused mailboxes stay in memory, 1000 more counted for each: 1,000,000
}

func (o Options) withDefaults() (Options, error) {
	if o.Homes == "" || o.Cache == "" {
		return o, errors.New("homes and cache are required")
	}
	if o.Node == "" {
		o.Node, _ = os.Hostname() // without one the names say localhost
	}
	if o.Limits.MessageBytes <= 0 {
		o.Limits.MessageBytes = 64 << 20
	}
	if o.Limits.Folders <= 0 {
		o.Limits.Folders = 10_000
	}
	if o.Limits.NameBytes <= 0 || o.Limits.NameBytes > 255 {
		o.Limits.NameBytes = 255
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Idle <= 0 {
		o.Idle = time.Minute
	}
	if o.Kept <= 0 {
		o.Kept = 1_000_000
	}
	return o, nil
}

// A Store is all the homes of this node. Its methods, and those of what it hands out, may be called concurrently unless
// they say otherwise.
type Store struct {
	opts  Options
	log   *slog.Logger
	names *maildir.Namer
	boot  string // of the running kernel: while it is the same, what was written to a file is in it
	lock  *os.File

	notifier *maildir.Notifier // nil where the system gives none: mailboxes then notice others only in Refresh

	mu     sync.Mutex // guards what follows
	closed bool
	homes  map[string]*home
	staged uint64 // counts staging files

	calls   sync.WaitGroup // calls under way; grows only under mu, while not closed
	actors  sync.WaitGroup // goroutines of boxes
	janitor *janitor
}

const (
	lockFile   = ".lock"
	stagingDir = ".staging"
)

// Open takes the homes for this process and removes what a crash left half-written. storage.ErrBusy is wrapped if another
// process has them.
func Open(opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{opts: opts, log: opts.Log, homes: map[string]*home{}, boot: bootID()}
	s.names = maildir.NewNamer(opts.Node, os.Getpid())
	for _, dir := range []string{opts.Homes, opts.Cache} {
		if err := maildir.MakeDir(dir); err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
	}
	if s.lock, err = lockHomes(opts.Homes); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.sweep(); err != nil {
		unlockHomes(s.lock)
		return nil, fmt.Errorf("open store: %w", err)
	}
	if s.notifier, err = maildir.NewNotifier(); err != nil {
		s.log.Warn("mailboxes are not watched: mail from other programs shows when a session asks", "err", err)
	}
	s.janitor = startJanitor(s)
	return s, nil
}

// lockHomes takes a lock that ends with the process, however that ends.
func lockHomes(homes string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(homes, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is locked by another process", storage.ErrBusy, f.Name())
		}
		return nil, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return f, nil
}

// unlockHomes gives the lock back. Closing the file alone would leave it to a child of this process that is just being
// started, and has the file until it becomes another program.
func unlockHomes(lock *os.File) error {
	return errors.Join(unix.Flock(int(lock.Fd()), unix.LOCK_UN), lock.Close())
}

// sweep empties the staging folder: nobody else can be using it, so all that is there was left by a crash.
func (s *Store) sweep() error {
	staging := filepath.Join(s.opts.Homes, stagingDir)
	if err := os.RemoveAll(staging); err != nil {
		return err
	}
	return os.Mkdir(staging, 0o700)
}

// bootID names the running kernel. Without one every process counts as its own, which costs only time.
func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if id := strings.TrimSpace(string(data)); err == nil && id != "" && !strings.ContainsAny(id, " \n") {
		return id
	}
	return fmt.Sprintf("process-%d-%d", os.Getpid(), time.Now().UnixNano())
}

// Close waits for the calls under way, writes the indexes and gives up the homes. Mailboxes that are still open keep
// their view; all else is storage.ErrClosed from now on.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()

	s.janitor.stop()
	s.calls.Wait()
	s.closeHomes()
	var err error
	if s.notifier != nil {
		err = s.notifier.Close() // before Wait: it starts actors
	}
	s.actors.Wait()
	return errors.Join(err, unlockHomes(s.lock))
}

// closers is how many mailboxes are written at the same time when the store closes: their fsyncs can then share.
const closers = 16

// closeHomes unloads every box.
func (s *Store) closeHomes() {
	s.mu.Lock()
	var boxes []*box
	for _, h := range s.homes {
		boxes = append(boxes, h.known()...)
	}
	s.mu.Unlock()
	work := make(chan *box)
	var workers sync.WaitGroup
	for range closers {
		workers.Go(func() {
			for b := range work {
				b.close(true)
			}
		})
	}
	for _, b := range boxes {
		work <- b
	}
	close(work)
	workers.Wait()
}

// enter counts a call in, leave out.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return storage.ErrClosed
	}
	s.calls.Add(1)
	return nil
}

func (s *Store) leave() { s.calls.Done() }
