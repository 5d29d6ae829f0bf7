package maildir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Change is what the kernel tells of a watched directory: a name came or went. Overflow tells instead that changes
// were lost, in any directory.
type Change struct {
	File     string
	Gone     bool // removed, or renamed to another name; else it came
	Overflow bool
}

// A Notifier watches directories by inotify. Changes made through this process are told like those of others.
type Notifier struct {
	file *os.File
	raw  syscall.RawConn
	done chan struct{} // closed when the reading goroutine has ended

	mu      sync.Mutex // guards what follows, and the order in which sinks are called
	closed  bool
	sinks   map[int32]func(Change)
	scratch []byte
}

// NewNotifier starts watching nothing. It fails where the system has no more inotify instances to give.
func NewNotifier() (*Notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	file := os.NewFile(uintptr(fd), "inotify")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	n := &Notifier{file: file, raw: raw, done: make(chan struct{}), sinks: map[int32]func(Change){}, scratch: make([]byte, 64<<10)}
	go n.run()
	return n, nil
}

// Close ends all watches and waits for the calls of their sinks.
func (n *Notifier) Close() error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	err := n.file.Close()
	<-n.done
	return err
}

// A WatchID names one watched directory of a Notifier.
type WatchID int32

// Watch has sink called for each change of the directory from now on. The sink must be quick and must not call the
// Notifier.
func (n *Notifier) Watch(d Dir, s Sub, sink func(Change)) (WatchID, error) {
	const mask = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_ONLYDIR
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return 0, os.ErrClosed
	}
	id := -1
	err := n.control(func(fd int) (err error) {
		id, err = unix.InotifyAddWatch(fd, d.Sub(s), mask)
		return err
	})
	if err != nil {
		return 0, &os.PathError{Op: "watch", Path: d.Sub(s), Err: err}
	}
	n.sinks[int32(id)] = sink
	return WatchID(id), nil
}

// Forget ends a watch. Its sink is not called once Forget has returned.
func (n *Notifier) Forget(id WatchID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.sinks[int32(id)] == nil {
		return
	}
	delete(n.sinks, int32(id))
	// It fails if the directory is gone, and the watch with it.
	_ = n.control(func(fd int) error {
		_, err := unix.InotifyRmWatch(fd, uint32(id))
		return err
	})
}

// Drain returns when the sinks have been told all that happened before the call.
func (n *Notifier) Drain() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	_ = n.control(func(fd int) error { n.readAll(fd); return nil })
}

// control calls f with the descriptor, which stays open meanwhile.
func (n *Notifier) control(f func(fd int) error) error {
	var err error
	if failed := n.raw.Control(func(fd uintptr) { err = f(int(fd)) }); failed != nil {
		return failed
	}
	return err
}

// run tells the sinks whenever the kernel has something to tell, until Close.
func (n *Notifier) run() {
	defer close(n.done)
	for {
		err := n.raw.Read(func(fd uintptr) bool {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.closed || n.readAll(int(fd))
		})
		n.mu.Lock()
		closed := n.closed
		n.mu.Unlock()
		if closed || err != nil {
			return
		}
	}
}

// readAll tells what the kernel has, and whether it had anything. The caller holds mu.
func (n *Notifier) readAll(fd int) bool {
	told := false
	for {
		size, err := unix.Read(fd, n.scratch)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || size <= 0 {
			return told
		}
		told = true
		n.tell(n.scratch[:size])
	}
}

// tell takes a block of events apart (inotify(7)).
func (n *Notifier) tell(block []byte) {
	for len(block) >= unix.SizeofInotifyEvent {
		id := int32(binary.NativeEndian.Uint32(block))
		mask := binary.NativeEndian.Uint32(block[4:])
		length := int(binary.NativeEndian.Uint32(block[12:]))
		block = block[unix.SizeofInotifyEvent:]
		if length > len(block) {
			return
		}
		file, _, _ := bytes.Cut(block[:length], []byte{0})
		block = block[length:]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0:
			for _, sink := range n.sinks {
				sink(Change{Overflow: true})
			}
		case mask&unix.IN_IGNORED != 0:
			delete(n.sinks, id)
		case n.sinks[id] != nil && len(file) > 0 && file[0] != '.' && mask&unix.IN_ISDIR == 0:
			n.sinks[id](Change{File: string(file), Gone: mask&(unix.IN_MOVED_FROM|unix.IN_DELETE) != 0})
		}
	}
}
