package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/cmd/dirpost/internal/systemd"
)

// serviceUser is whom the server runs as unless somebody else is named.
const serviceUser = "dirpost"

// accountFlags are of commands that make an installation.
func accountFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "user", Value: serviceUser, Usage: "as root: the system user `NAME` that the server runs as, made if missing"},
		&cli.StringFlag{Name: "systemd", Usage: "as root: write units for systemd into `FOLDER` (default: " + systemd.Folder + ", if it is there)"},
		&cli.BoolFlag{Name: "no-user", Usage: "make no user and no units: all belongs to who runs this command"},
	}
}

// elsewhere reports whether the configuration is in a place of its own: then it is somebody's trial, or one of several
// servers, and nothing of the system is touched unless flags ask for it.
func elsewhere(c *cli.Context) bool {
	path, err := filepath.Abs(c.String("config"))
	return err != nil || path != usualConfig
}

// account returns the user that the installation is for, made if missing, and false if it is for who runs the command.
func account(c *cli.Context, home string) (owner, bool, error) {
	asked := c.IsSet("user") || c.IsSet("systemd")
	switch {
	case c.Bool("no-user") && asked:
		return owner{}, false, usagef("--no-user contradicts --user and --systemd")
	case os.Geteuid() != 0 && asked:
		return owner{}, false, usagef("--user and --systemd are for root")
	case os.Geteuid() != 0, c.Bool("no-user"), elsewhere(c) && !asked:
		return owner{}, false, nil
	}
	name := c.String("user")
	if !regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`).MatchString(name) || name == "root" {
		return owner{}, false, usagef("--user %q: not the name of a system user", name)
	}
	found, err := user.Lookup(name)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		if err := makeUser(name, home); err != nil {
			return owner{}, false, err
		}
		found, err = user.Lookup(name)
	}
	if err != nil {
		return owner{}, false, err
	}
	uid, err := strconv.Atoi(found.Uid)
	if err != nil {
		return owner{}, false, err
	}
	gid, err := strconv.Atoi(found.Gid)
	return ownerNumbered(uid, gid), true, err
}

// makeUser makes a system user who cannot log in, with a group of the same name.
func makeUser(name, home string) error {
	shell := "/usr/sbin/nologin"
	if _, err := os.Stat(shell); err != nil {
		shell = "/bin/false"
	}
	out, err := exec.Command("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", home,
		"--shell", shell, "--comment", "dirpost mail server", name).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make the user %s (or make it yourself, or give --no-user): useradd: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// install gives the state to its owner and lets him read the configuration and the secrets that it names, which stay
// root's.
func (o owner) install(cfg config.Config, path string) error {
	for _, dir := range []string{cfg.Data, cfg.Cache} {
		if err := o.give(dir); err != nil {
			return err
		}
	}
	secrets := []string{filepath.Dir(path), cfg.Directory.PasswordFile}
	for _, pair := range cfg.TLS {
		secrets = append(secrets, filepath.Dir(pair.Key), pair.Key)
	}
	for _, path := range secrets {
		if path == "" {
			continue
		}
		if err := o.letRead(path); err != nil {
			return err
		}
	}
	return nil
}

// letRead lets the owner's group read a file of root, or go through a folder of his, that is root's alone.
func (o owner) letRead(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid != 0 || info.Mode()&fs.ModeSymlink != 0 || info.Mode().Perm()&0o077 != 0 {
		return nil
	}
	if err := os.Lchown(path, 0, o.gid); err != nil {
		return err
	}
	mode := fs.FileMode(0o640)
	if info.IsDir() {
		mode = 0o750
	}
	return os.Chmod(path, mode)
}

// units describes an installation to systemd.
func units(cfg config.Config, path string, o owner) (systemd.Service, error) {
	program, err := os.Executable()
	if err != nil {
		return systemd.Service{}, err
	}
	s := systemd.Service{
		Program: program, Config: path, User: strconv.Itoa(o.uid), Group: strconv.Itoa(o.gid),
		State: []string{cfg.Data, cfg.Cache}, Reads: []string{cfg.Directory.CA, cfg.Directory.PasswordFile},
	}
	if u, err := user.LookupId(s.User); err == nil {
		s.User = u.Username
	}
	if g, err := user.LookupGroupId(s.Group); err == nil {
		s.Group = g.Name
	}
	for _, pair := range cfg.TLS {
		s.Reads = append(s.Reads, pair.Cert, pair.Key)
	}
	seen := map[string]bool{}
	for _, service := range services(cfg) {
		for _, addr := range service.addresses {
			path, unix := strings.CutPrefix(addr, "unix:")
			if !unix {
				s.Ports = append(s.Ports, addr)
			} else if dir := filepath.Dir(path); !seen[dir] {
				seen[dir] = true
				s.Sockets = append(s.Sockets, dir)
			}
		}
	}
	return s, nil
}

// writeUnits writes the units into a folder. One that is there stays as it is. It returns the names of both.
func writeUnits(s systemd.Service, folder string) (written, kept []string, err error) {
	for _, name := range []string{"dirpost.service", "dirpost.socket"} {
		path := filepath.Join(folder, name)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			kept = append(kept, path)
			continue
		}
		if err != nil {
			return written, kept, err
		}
		_, err = f.WriteString(s.Files()[name])
		if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
			return written, kept, err
		}
		written = append(written, path)
	}
	return written, kept, nil
}
