package ldapd

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// A localAddr is the address of a client on a unix socket, with the user it runs as. The kernel tells that (SO_PEERCRED),
// so it needs no password: it is what SASL EXTERNAL means on such a connection.
type localAddr struct {
	net.Addr
	uid, gid int
}

// Account makes his connections count together (listen.Account).
func (a localAddr) Account() int { return a.uid }

// A localConn is a connection on a unix socket. Its remote address is a localAddr, through whatever wraps it.
type localConn struct {
	net.Conn
	remote localAddr
}

// RemoteAddr is the localAddr.
func (c localConn) RemoteAddr() net.Addr { return c.remote }

// A localListener looks at the credentials of each connection.
type localListener struct{ net.Listener }

// Accept waits for the next connection.
func (l localListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return withCredentials(c), nil
}

// withCredentials returns c as a localConn when it is a unix socket that tells who is at the other end, else as it is.
func withCredentials(c net.Conn) net.Conn {
	socket, ok := c.(syscall.Conn)
	if _, local := c.LocalAddr().(*net.UnixAddr); !ok || !local {
		return c // of TCP the kernel would say "user -1"
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return c
	}
	var ucred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		ucred, failed = unix.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err != nil || failed != nil {
		return c
	}
	return localConn{c, localAddr{c.RemoteAddr(), int(ucred.Uid), int(ucred.Gid)}}
}
