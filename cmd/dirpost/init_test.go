package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
)

// TestInstall is what an administrator does on a fresh system: init, then systemd runs the server from the units that
// init wrote, as the user that init made, on the usual ports.
func TestInstall(t *testing.T) {
	t.Parallel()
	inOwnWorld(t, func() {
		if out, err := exec.Command("sed", "-i", "/^dirpost:/d", "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow").CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
			return
		}
		s := installedSite(t)
		defer s.stop()
		s.testInstalledFiles(t)
		s.testUnits(t)
		s.dirpost("user", "add", "alice", "--mail", "alice@example.org", "--password-file", s.secret("alice", alicePassword))
		s.startUnit(t)
		s.testInstalledServer(t)
		s.stop()

		// Without systemd: root starts it, and it steps down.
		s.start()
		s.testInstalledServer(t)

		// The machine is lost, and another made from a backup.
		s.dirpost("backup", s.path("b.tar"))
		s.stop()
		for _, dir := range []string{"/etc/dirpost", "/var/lib/dirpost", "/var/cache/dirpost", "/run/dirpost", "/etc/systemd/system/dirpost.service"} {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}
		if out := s.dirpost("restore", s.path("b.tar")); !strings.Contains(out, "systemctl enable --now dirpost.socket") {
			t.Errorf("restore says %q", out)
		}
		s.testInstalledFiles(t)
		s.start()
		s.testInstalledServer(t)
	})
}

// installedSite runs init as the README does, and lets others run the test program.
func installedSite(t *testing.T) *site {
	s := &site{t: t, dir: "/run/site", config: "/etc/dirpost/dirpost.toml", log: &logTail{}}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		t.Error(err)
		return s
	}
	other, err := net.Listen("tcp", "127.0.0.1:389") // a machine with a slapd, for one
	if err != nil {
		t.Error(err)
		return s
	}
	defer other.Close()
	program := exec.Command("/proc/self/exe", "init", "--domain", "example.org", "--password-file", s.secret("admin", "administrator-1"))
	program.Env = append(os.Environ(), asProgram+"=1")
	out, err := program.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "systemctl enable --now dirpost.socket") {
		t.Errorf("init: %v\n%s", err, out)
	}
	if want := "another program has 127.0.0.1:389 (listen.ldap): stop it"; !strings.Contains(string(out), want) {
		t.Errorf("no %q in\n%s", want, out)
	}
	s.configure(func(c *config.Config) { c.Log = config.Log{Level: "debug", Format: "json"} })
	return s
}

// testInstalledFiles looks at owners and modes.
func (s *site) testInstalledFiles(t *testing.T) {
	var got []string
	for _, path := range []string{
		"/etc/dirpost", "/etc/dirpost/dirpost.toml", "/etc/dirpost/tls", "/etc/dirpost/tls/server.pem", "/etc/dirpost/tls/server.key",
		"/var/lib/dirpost", "/var/lib/dirpost/keys", "/var/lib/dirpost/keys/frontend", "/var/lib/dirpost/directory/directory.db",
		"/var/cache/dirpost", "/etc/systemd/system/dirpost.service", "/etc/systemd/system/dirpost.socket",
	} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Error(err)
			continue
		}
		st := info.Sys().(*syscall.Stat_t)
		got = append(got, fmt.Sprintf("%s %s:%s %s", info.Mode(), name(st.Uid, user.LookupId), group(st.Gid), path))
	}
	want := []string{
		"drwxr-xr-x root:root /etc/dirpost",
		"-rw-r--r-- root:root /etc/dirpost/dirpost.toml",
		"drwxr-x--- root:dirpost /etc/dirpost/tls",
		"-rw-r--r-- root:root /etc/dirpost/tls/server.pem",
		"-rw-r----- root:dirpost /etc/dirpost/tls/server.key",
		"drwx------ dirpost:dirpost /var/lib/dirpost",
		"drwx------ dirpost:dirpost /var/lib/dirpost/keys",
		"-rw------- dirpost:dirpost /var/lib/dirpost/keys/frontend",
		"-rw------- dirpost:dirpost /var/lib/dirpost/directory/directory.db",
		"drwx------ dirpost:dirpost /var/cache/dirpost",
		"-rw-r--r-- root:root /etc/systemd/system/dirpost.service",
		"-rw-r--r-- root:root /etc/systemd/system/dirpost.socket",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func name(uid uint32, lookup func(string) (*user.User, error)) string {
	u, err := lookup(strconv.Itoa(int(uid)))
	if err != nil {
		return err.Error()
	}
	return u.Username
}

func group(gid uint32) string {
	g, err := user.LookupGroupId(strconv.Itoa(int(gid)))
	if err != nil {
		return err.Error()
	}
	return g.Name
}

// testUnits has systemd read them, where it is.
func (s *site) testUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Log("systemd-analyze is not here: nobody but this test has read the units")
		return
	}
	units, err := filepath.Glob("/etc/systemd/system/dirpost.*")
	if err != nil || len(units) != 2 {
		t.Error(units, err)
	}
	if out, err := s.try("systemd-analyze", append([]string{"verify", "--man=no"}, units...)...); err != nil || out != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// settings reads a unit.
func settings(t *testing.T, unit string) map[string][]string {
	text, err := os.ReadFile("/etc/systemd/system/" + unit)
	if err != nil {
		t.Error(err)
	}
	values := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[key] = append(values[key], value)
		}
	}
	return values
}

// startUnit does what systemd does with the two units, without the sandbox.
func (s *site) startUnit(t *testing.T) {
	unit, ports := settings(t, "dirpost.service"), settings(t, "dirpost.socket")["ListenStream"]
	u, err := user.Lookup(unit["User"][0])
	if err != nil {
		t.Error(err)
		return
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	o := ownerNumbered(uid, gid)
	runtime := "/run/" + unit["RuntimeDirectory"][0]
	if err := os.Mkdir(runtime, 0o755); err != nil {
		t.Error(err)
	}
	if err := o.give(runtime); err != nil {
		t.Error(err)
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, strings.Fields(unit["ExecStart"][0])...)...)
	cmd.Args[4] = "/proc/self/exe" // the program itself lies where only this test can reach it
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Error(err)
		return
	}
	defer self.Close()
	cmd.Env = append(os.Environ(), asProgram+"=1", "LISTEN_FDS="+strconv.Itoa(len(ports)))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: o.credential()}
	for _, addr := range ports {
		if !strings.Contains(addr, ":") {
			addr = ":" + addr
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Error(err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		defer f.Close()
		defer l.Close()
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, self)
	cmd.Args[4] = fmt.Sprintf("/proc/self/fd/%d", 3+len(ports))
	s.launch(cmd)
}

// testInstalledServer uses it as a stranger, a user and an administrator do.
func (s *site) testInstalledServer(t *testing.T) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.proc.Process.Pid))
	if err != nil || !strings.Contains(string(status), "CapEff:\t0000000000000000\n") || strings.Contains(string(status), "Uid:\t0") {
		t.Errorf("the server has rights: %v\n%s", err, status)
	}
	s.tool("swaks", "--server", "127.0.0.1", "--from", "a@b.example", "--to", "alice@example.org")
	out := s.tool("curl", "-sSk", "--user", "alice:"+alicePassword, "imaps://127.0.0.1/INBOX", "-X", "UID SEARCH ALL")
	if !strings.Contains(out, "* SEARCH 1") {
		t.Errorf("alice has %q", out)
	}
	if out := s.dirpost("status"); !strings.Contains(out, "/var/lib/dirpost") {
		t.Errorf("status says\n%s", out)
	}
	if got, want := s.dirpost("reload"), "reloaded\n"; got != want {
		t.Errorf("reload says %q, want %q", got, want)
	}
	if code := s.tool("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8025/healthz"); code != "200" {
		t.Errorf("/healthz answers %s", code)
	}
	u, err := user.Lookup("dirpost")
	if err != nil {
		t.Error(err)
		return
	}
	uid, _ := strconv.Atoi(u.Uid)
	for _, dir := range []string{"/var/lib/dirpost", "/var/cache/dirpost", "/run/dirpost"} {
		demandOwner(t, dir, uint32(uid))
	}
}
