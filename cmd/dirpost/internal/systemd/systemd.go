// Package systemd is what dirpost and systemd have to say to each other: the sockets that systemd opened before the start
// (sd_listen_fds(3)), the states it is told (sd_notify(3)), where the journal is read, and the units that run the server.
//
// All of it works without systemd: there are then no sockets, and nobody is told anything.
//
// Start reading at [Listeners] and [NewNotifier]; unit.go has the units.
package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// firstFD is the first descriptor that systemd hands over (SD_LISTEN_FDS_START).
const firstFD = 3

// A Socket is a listener that was opened before the start, with the FileDescriptorName= of its unit.
type Socket struct {
	Name string
	net.Listener
}

// Listeners returns the sockets that systemd handed to this process. It may be called once: it takes the variables that
// tell of them out of the environment, so that no child believes that they are meant for it.
func Listeners() ([]Socket, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("sockets of systemd: LISTEN_FDS=%q", count)
	}
	var sockets []Socket
	for i, name := range descriptorNames(n, names) {
		l, err := listener(firstFD+i, name)
		if err != nil {
			for _, s := range sockets {
				s.Close()
			}
			return nil, fmt.Errorf("sockets of systemd: %s: %w", name, err)
		}
		sockets = append(sockets, Socket{name, l})
	}
	return sockets, nil
}

// descriptorNames returns a name for each of n descriptors; one that has none is "unknown", as systemd says.
func descriptorNames(n int, text string) []string {
	names := make([]string, n)
	given := strings.Split(text, ":")
	for i := range names {
		names[i] = "unknown"
		if i < len(given) && given[i] != "" {
			names[i] = given[i]
		}
	}
	return names
}

func listener(fd int, name string) (net.Listener, error) {
	syscall.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), name)
	if f == nil {
		return nil, errors.New("no such descriptor")
	}
	defer f.Close() // FileListener works on a copy
	return net.FileListener(f)
}
