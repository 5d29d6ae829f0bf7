// Package listen is the first door of every server: it opens addresses, decides how many connections may be open, and
// sees to it that none of them stays for ever.
//
// A [Gate] stands between a listener and a protocol library. [Gate.Guard] wraps the listener; what its Accept returns
// has a deadline on each read and each write and a last moment, whatever deadlines the library above sets or forgets.
// These connections must lie below TLS, so that a handshake is bounded like everything else:
//
//	net.Listener → Forwarded → Gate.Guard → tls.NewListener (implicit TLS only) → the library's Serve
//
// [Forwarded] takes the address of a client from a forwarder that stands between; forward.go and header.go have the PROXY
// protocol. It is left out where no forwarder can be.
//
// A [Server] is an accept loop over a Gate, for protocols whose sessions are ours. [PeerOf] tells who is at the other
// end of a connection, through all its wrappers.
//
// Start reading at [Gate.Guard]; conn.go has what happens to each read.
package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrInUse is wrapped by Listen when another process answers at the address.
var ErrInUse = errors.New("address is in use")

// maxUnixPath is what fits into the kernel's sockaddr_un with its final NUL.
const maxUnixPath = 107

// Listen opens addr, which is "host:port" or "unix:/path". The socket file of the latter gets exactly mode; 0 means
// 0600. A socket file that a dead process left behind is replaced; one that answers, or a file that is no socket, is
// left alone and an error (ErrInUse when another process has the address).
func Listen(ctx context.Context, addr string, mode fs.FileMode) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(addr, "unix:")
	if isUnix {
		return listenUnix(ctx, path, mode)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w: %w", ErrInUse, err)
	}
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

func listenUnix(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	if mode == 0 {
		mode = 0o600
	}
	if len(path) > maxUnixPath {
		return nil, fmt.Errorf("listen: path %s is longer than the %d octets a unix socket can have", path, maxUnixPath)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	// The mode is set on the socket before bind makes the file, so that there is no moment in which the file is open to
	// more than mode allows; the chmod after it gives back what the umask took away.
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		ctrl := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), uint32(mode.Perm())) })
		return errors.Join(ctrl, err)
	}}
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, mode.Perm()); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// removeStale removes the socket file of a process that is gone.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is no socket", path)
	}
	dialer := net.Dialer{Timeout: time.Second}
	c, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		c.Close()
		return fmt.Errorf("%w: %s", ErrInUse, path)
	}
	// Only a refusal proves that nobody listens. A full backlog, say, is somebody who does.
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w: %s: %w", ErrInUse, path, err)
	}
	return os.Remove(path)
}
