package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
)

// An owner is the user whom the data belongs to, and whom the server runs as.
type owner struct {
	uid, gid int
	groups   []int // gid and all others he is in
}

// ownerOf returns who owns a folder.
func ownerOf(path string) (owner, error) {
	info, err := os.Stat(path)
	if err != nil {
		return owner{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return owner{}, fmt.Errorf("%s: its owner is not known", path)
	}
	return ownerNumbered(int(st.Uid), int(st.Gid)), nil
}

// ownerNumbered returns a user with his groups; who has no account is in the one group only.
func ownerNumbered(uid, gid int) owner {
	o := owner{uid: uid, gid: gid, groups: []int{gid}}
	account, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return o
	}
	if main, err := strconv.Atoi(account.Gid); err == nil {
		o.gid, o.groups = main, []int{main}
	}
	ids, err := account.GroupIds()
	if err != nil {
		return o
	}
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil && n != o.gid {
			o.groups = append(o.groups, n)
		}
	}
	return o
}

// otherOwner returns the owner of the data if this process is root and he is not.
func otherOwner(cfg config.Config) (o owner, other bool, err error) {
	if os.Geteuid() != 0 {
		return owner{}, false, nil
	}
	o, err = ownerOf(cfg.Data)
	if err != nil {
		return owner{}, false, fmt.Errorf("%w; `dirpost init` makes it", err)
	}
	return o, o.uid != 0, nil
}

// become makes this process the owner's, for good: all threads of it, and every file it makes from now on.
func (o owner) become() error {
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"setgroups", func() error { return syscall.Setgroups(o.groups) }},
		{"setgid", func() error { return syscall.Setgid(o.gid) }},
		{"setuid", func() error { return syscall.Setuid(o.uid) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("become user %d: %s: %w", o.uid, step.name, err)
		}
	}
	if syscall.Setuid(0) == nil {
		return fmt.Errorf("become user %d: still root", o.uid)
	}
	return nil
}

// stepDown has root open the ports and read the keys, and then be the owner of the data, so that nothing a stranger sends
// is looked at by root. Unix sockets are made afterwards, by their owner, in folders that are made for him here.
func (p *platform) stepDown(ctx context.Context) error {
	o, other, err := otherOwner(p.cfg)
	if err != nil {
		return err
	}
	if !other {
		if os.Geteuid() == 0 {
			p.log.Warn("the server runs as root: give the data folder to a user of its own", "data", p.cfg.Data)
		}
		return nil
	}
	if err := p.openCertificates(); err != nil {
		return err
	}
	if err := p.bindPorts(ctx); err != nil {
		return err
	}
	if err := p.makeSocketFolders(o); err != nil {
		return err
	}
	return o.become()
}

// makeSocketFolders makes the folders of unix sockets that are missing. What is there stays whose it is.
func (p *platform) makeSocketFolders(o owner) error {
	for _, s := range services(p.cfg) {
		for _, addr := range s.addresses {
			path, ok := strings.CutPrefix(addr, "unix:")
			if !ok {
				continue
			}
			dir := filepath.Dir(path)
			if _, err := os.Lstat(dir); err == nil {
				continue
			}
			if above, err := ownerOf(filepath.Dir(dir)); err == nil && above.uid == o.uid {
				continue // he can make it himself, and root does nothing where others can
			}
			if err := os.Mkdir(dir, 0o755); err != nil {
				return fmt.Errorf("listen.%s: %w", s.name, err)
			}
			if err := os.Lchown(dir, o.uid, o.gid); err != nil {
				return fmt.Errorf("listen.%s: %w", s.name, err)
			}
		}
	}
	return nil
}

// give makes path, and all that is below it, the owner's.
func (o owner) give(path string) error {
	return filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, o.uid, o.gid)
	})
}
