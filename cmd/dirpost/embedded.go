package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols/ldapd"
	"github.com/dirpost/dirpost/storage/maildir"
)

// An embedded is the embedded directory with the LDAP server before it, as this process runs it. The process itself
// reaches it through that server too, over a pair of connected sockets.
type embedded struct {
	tree   *dit.Tree
	server *ldapd.Server
}

// directoryFile is where the embedded directory lies.
func directoryFile(cfg config.Config) string {
	return filepath.Join(cfg.Data, "directory", "directory.db")
}

// openEmbedded opens the directory, which must be there already.
func openEmbedded(cfg config.Config, opts ldapd.Options) (*embedded, error) {
	if err := findDirectory(cfg); err != nil {
		return nil, err
	}
	return newEmbedded(cfg, opts)
}

func findDirectory(cfg config.Config) error {
	if _, err := os.Lstat(directoryFile(cfg)); err != nil {
		return fmt.Errorf("the embedded directory: %w; `dirpost init` makes one", err)
	}
	return nil
}

// newEmbedded opens the directory, empty if there is none.
func newEmbedded(cfg config.Config, opts ldapd.Options) (*embedded, error) {
	locals, err := localEntries(cfg.Directory.Locals)
	if err != nil {
		return nil, err
	}
	return serveTree(directoryFile(cfg), cfg.Directory.Base, locals, opts)
}

// localEntries looks the accounts of directory.locals up.
func localEntries(names map[string]string) ([]dit.Local, error) {
	var list []dit.Local
	for name, dn := range names {
		account, err := user.Lookup(name)
		if err != nil {
			return nil, fmt.Errorf("directory.locals: %w", err)
		}
		uid, err := strconv.Atoi(account.Uid)
		gid, wrong := strconv.Atoi(account.Gid)
		if err = errors.Join(err, wrong); err != nil {
			return nil, fmt.Errorf("directory.locals: %s: %w", name, err)
		}
		list = append(list, dit.Local{UID: uid, GID: gid, DN: dn})
	}
	return list, nil
}

func serveTree(path, base string, locals []dit.Local, opts ldapd.Options) (*embedded, error) {
	if err := maildir.MakeDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	tree, err := dit.Open(path, dit.Options{
		Suffixes:    []string{base},
		ServiceUIDs: []int{os.Getuid()},
		Locals:      locals,
		Log:         opts.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("the embedded directory: %w", err)
	}
	return &embedded{tree, ldapd.New(tree, opts)}, nil
}

// dial connects to the server inside this process. A pair of sockets, unlike a pipe, carries the peer's user id.
func (e *embedded) dial(context.Context) (net.Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, err := fileConn(fds[0])
	if err != nil {
		unix.Close(fds[1])
		return nil, err
	}
	theirs, err := fileConn(fds[1])
	if err != nil {
		ours.Close()
		return nil, err
	}
	go e.server.ServeConn(theirs) // ends with the connection; Shutdown waits for it
	return ours, nil
}

func fileConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "socketpair")
	defer f.Close() // FileConn works on a copy
	return net.FileConn(f)
}

func (e *embedded) close(ctx context.Context) error {
	return errors.Join(e.server.Shutdown(ctx), e.tree.Close())
}
