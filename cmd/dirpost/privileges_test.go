package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
)

// nobody is a user who is not root and owns nothing.
const nobody = 65534

// ownedSite is a site whose data and cache belong to nobody; root runs everything in it. It returns false, and logs why, if
// this is not root.
func ownedSite(t *testing.T) (*site, bool) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Log("not root: there is no other user to become")
		return nil, false
	}
	s := embeddedSite(t)
	s.open(t)
	if err := os.Mkdir(s.path("run"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"data", "cache", "run"} {
		if err := ownerNumbered(nobody, nobody).give(s.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	s.configure(func(c *config.Config) {
		c.Listen.LMTP, c.Listen.LDAPI = []string{"unix:" + s.path("run/lmtp")}, s.path("data/run/ldapi")
		// A port that only root may open, where nobody else listens.
		c.Listen.MX = []string{fmt.Sprintf("127.%d.%d.%d:25", rand.IntN(255), rand.IntN(255), 1+rand.IntN(254))}
	})
	return s, true
}

// open lets others into the folder of the site.
func (s *site) open(t *testing.T) {
	t.Helper()
	for dir := s.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLocals: an account of the machine may be an entry of the embedded directory.
func TestLocals(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Log("not root: there is no other user to become")
		return
	}
	s := embeddedSite(t)
	s.open(t)
	web := frontendDN("dc=example,dc=org")
	for account, want := range map[string]string{"no such account": "unknown user", "daemon": ""} {
		s.configure(func(c *config.Config) { c.Directory.Locals = map[string]string{account: web} })
		if want != "" {
			if said := s.fails("serve"); !strings.Contains(said, "directory.locals") || !strings.Contains(said, want) {
				t.Errorf("serve: %s", said)
			}
			continue
		}
		s.start()
		who := exec.Command("ldapwhoami", "-Q", "-Y", "EXTERNAL", "-H", "ldapi://"+strings.ReplaceAll(s.path("ldapi"), "/", "%2F"))
		who.SysProcAttr, who.Dir = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1, Gid: 1}}, "/"
		if out, err := who.CombinedOutput(); string(out) != "dn:"+web+"\n" {
			t.Errorf("daemon is %s (%v)", out, err)
		}
		s.stop()
	}
}

// TestRootStepsDown: root starts the server, and a user without rights is what serves strangers. All files are his, those
// of root's commands too, whether the server runs or not.
func TestRootStepsDown(t *testing.T) {
	t.Parallel()
	s, ok := ownedSite(t)
	if !ok {
		return
	}
	s.addPeople() // the server is stopped: secrets and certificates are in files that only root can read
	s.start()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.proc.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Uid:\t65534\t65534\t65534\t65534\n", "Gid:\t65534\t65534\t65534\t65534\n", "Groups:\t65534 \n",
		"CapEff:\t0000000000000000\n", "CapPrm:\t0000000000000000\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	host, port, _ := strings.Cut(s.addr["mx"], ":")
	s.tool("swaks", "--server", host, "--port", port, "--from", "a@b.example", "--to", "alice@example.org", "--header", "Subject: to-nobody")
	s.dirpost("user", "add", "carol", "--mail", "carol@example.org", "--password-file", s.secret("carol", alicePassword))
	s.find(t, "alice", "to-nobody")
	if got := s.count(t, "alice", "INBOX"); got != 1 {
		t.Errorf("%d messages, want 1", got)
	}
	s.demandOwner(t, nobody)
	s.stop()
	s.dirpost("user", "add", "dave", "--mail", "dave@example.org", "--password-file", s.secret("dave", alicePassword))
	s.dirpost("user", "show", "carol")
	s.demandOwner(t, nobody)
	s.start()
	s.dirpost("user", "show", "dave")
}

// demandOwner looks whose all files of the site's state are.
func (s *site) demandOwner(t *testing.T, uid uint32) {
	t.Helper()
	for _, name := range []string{"data", "cache", "run"} {
		demandOwner(t, s.path(name), uid)
	}
}

func demandOwner(t *testing.T, dir string, uid uint32) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if got := info.Sys().(*syscall.Stat_t).Uid; got != uid {
			t.Errorf("%s is of user %d, want %d", path, got, uid)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestRenewedKey: a key that only root can read stops no server, and the reload says how it would be read.
func TestRenewedKey(t *testing.T) {
	t.Parallel()
	s, ok := ownedSite(t)
	if !ok {
		return
	}
	s.configure(func(c *config.Config) { c.Listen.Control = s.path("run/control") })
	s.start()
	s.renew("mail.example.org") // a file of root's, with mode 600
	if out := s.fails("reload"); !strings.Contains(out, "permission denied; let the server read it: chgrp "+group(nobody)+" KEY && chmod 640 KEY") {
		t.Errorf("it says %q", out)
	}
	if err := os.Chown(s.path("tls/server.key"), 0, nobody); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.path("tls/server.key"), 0o640); err != nil {
		t.Fatal(err)
	}
	if got, want := s.dirpost("reload"), "reloaded\n"; got != want {
		t.Errorf("then it says %q, want %q", got, want)
	}
}

// TestOtherUsers: who is neither root nor the owner needs --as, and nothing that only they can read.
func TestOtherUsers(t *testing.T) {
	t.Parallel()
	s, ok := ownedSite(t)
	if !ok {
		return
	}
	s.configure(func(c *config.Config) { c.Listen.LDAPI = s.path("run/ldapi") })
	password := s.secret("admin", "administrator-1")
	if err := errors.Join(os.Chmod(s.path("run"), 0o755), os.Chmod(password, 0o644)); err != nil {
		t.Fatal(err)
	}
	s.start()
	tests := []struct {
		name   string
		args   []string
		want   string
		failed bool
	}{
		{"without --as", []string{"user", "list"}, "without --as this is for root", true},
		{"as an administrator", []string{"--as", "uid=admin,ou=people,dc=example,dc=org", "--as-password-file", password, "user", "list"}, "Administrator", false},
	}
	for _, tt := range tests {
		cmd := s.program(tt.args...)
		cmd.Path = "/proc/self/exe" // the folder of the test program is root's
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody - 1, Gid: nobody - 1}}
		if out, err := cmd.CombinedOutput(); (err != nil) != tt.failed || !strings.Contains(string(out), tt.want) {
			t.Errorf("%s: %v, want %q in\n%s", tt.name, err, tt.want, out)
		}
	}
}

// TestDelegateFails: what goes wrong in the process of the owner is said by the command.
func TestDelegateFails(t *testing.T) {
	t.Parallel()
	s, ok := ownedSite(t)
	if !ok {
		return
	}
	file := s.path("data/directory/directory.db")
	if err := os.WriteFile(file, []byte("no directory"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := s.fails("user", "list"); !strings.Contains(out, "dirpost: the embedded directory: directory: open "+file) {
		t.Errorf("it says %q", out)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/shadow", file); err != nil {
		t.Fatal(err)
	}
	if out := s.fails("user", "list"); !strings.Contains(out, "permission denied") {
		t.Errorf("a link to what only root may read: %q", out)
	}
}

// TestPortsOfRoot: who may not open a port is told who may.
func TestPortsOfRoot(t *testing.T) {
	t.Parallel()
	inOwnWorld(t, func() {
		// Of this thread alone, which ends with the function.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			t.Error(errno)
			return
		}
		_, err := new(platform).open(t.Context(), service{name: "mx"}, "127.0.0.1:25")
		if want := "bind: permission denied: it takes root or systemd (dirpost.socket)"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("port 25 opens with %v, want %s", err, want)
		}
	})
}
