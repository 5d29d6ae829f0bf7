// Package slapdtest starts a real slapd with the reference configuration for a test, on loopback, in a folder of the
// test, as a child process that the test can stop and start again.
//
// A machine without slapd fails the test and says what to install: the platform over OpenLDAP is a promise, so its tests
// are never skipped.
//
// Start reading at [Start].
package slapdtest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/schema"
	"github.com/dirpost/dirpost/schema/slapd"
)

// install is what brings everything that this package runs on Debian.
const install = "apt-get install slapd slapd-contrib ldap-utils"

// startTime bounds how long slapd may take to answer, stopTime how long it may take to leave.
const (
	startTime = 20 * time.Second
	stopTime  = 10 * time.Second
)

// Options of [Start]; the zero value is good.
type Options struct {
	Base string // suffix; empty = dc=example,dc=org
	Peer string // what this process becomes by SASL EXTERNAL over LDAPI; empty = cn=frontend,ou=services,Base

	Peers []slapd.Peer // what others become; Peer then is nothing

	// Bare is a server as a package makes it, with the schema loaded and nothing else of the reference: no overlay, and
	// access rules by which everybody reads everything but passwords. It has neither LDAPS nor Peer.
	Bare bool
}

// A Server is a running slapd with an empty database. The fields are fixed; they stay right over Stop and Start.
type Server struct {
	URI          string // ldap://127.0.0.1:PORT
	LDAPS        string // ldaps://localhost:PORT
	LDAPI        string // ldapi://PATH, escaped
	Socket       string // the path behind LDAPI
	Base         string
	RootDN       string
	RootPassword string
	Files        // of TLS; slapd takes clients' certificates from its own authority

	dir    string
	slapd  string
	listen string // URIs as slapd -h takes them
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
}

// Start makes the configuration, starts slapd and waits until it answers. The server is stopped when the test ends.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	if opts.Base == "" {
		opts.Base = "dc=example,dc=org"
	}
	if opts.Peer == "" {
		opts.Peer = "cn=frontend," + slapd.Services + "," + opts.Base
	}
	s := &Server{Base: opts.Base, RootDN: "cn=root," + opts.Base, RootPassword: "root-password", dir: t.TempDir(), slapd: command(t, "slapd")}
	s.address(t)
	if opts.Bare {
		s.configureBare(t)
	} else {
		s.configure(t)
	}
	t.Cleanup(func() { s.Stop(t) })
	s.Start(t)
	if opts.Peers == nil {
		opts.Peers = []slapd.Peer{{UID: os.Getuid(), GID: os.Getgid(), DN: opts.Peer}}
	}
	if !opts.Bare {
		s.authz(t, opts.Peers)
	}
	return s
}

// address picks ports that the kernel holds free, and a socket path short enough for sun_path (108 bytes), which the
// folder of a test with a long name is not.
func (s *Server) address(t testing.TB) {
	t.Helper()
	short, err := os.MkdirTemp("", "slapd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	if err := os.Chmod(short, 0o755); err != nil { // other accounts are Peers
		t.Fatal(err)
	}
	var ports [2]int
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	s.Socket = filepath.Join(short, "ldapi")
	s.URI = fmt.Sprintf("ldap://127.0.0.1:%d", ports[0])
	s.LDAPS = fmt.Sprintf("ldaps://localhost:%d", ports[1])
	s.LDAPI = "ldapi://" + url.PathEscape(s.Socket)
	s.listen = strings.Join([]string{s.URI, fmt.Sprintf("ldaps://127.0.0.1:%d", ports[1]), s.LDAPI}, " ")
}

// configure writes cn=config with slapadd.
func (s *Server) configure(t testing.TB) {
	t.Helper()
	for _, sub := range []string{"conf", "data", "run"} {
		if err := os.Mkdir(filepath.Join(s.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.Files = Certify(t, s.dir)
	text, err := slapd.Config{
		Suffix: s.Base, RootDN: s.RootDN, RootPassword: s.RootPassword, ConfigPassword: s.RootPassword,
		Run: filepath.Join(s.dir, "run"), Data: filepath.Join(s.dir, "data"),
		Cert: s.Cert, Key: s.Key, CA: s.CAFile, MaxBytes: 256 << 20,
	}.Render()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.dir, "config.ldif")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(command(t, "slapadd"), "-n0", "-F", filepath.Join(s.dir, "conf"), "-l", file).CombinedOutput()
	if err != nil {
		t.Fatalf("slapadd of the reference configuration: %v\n%s", err, out)
	}
}

// configureBare converts a slapd.conf.
func (s *Server) configureBare(t testing.TB) {
	t.Helper()
	for _, sub := range []string{"conf", "data"} {
		if err := os.Mkdir(filepath.Join(s.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	own := filepath.Join(s.dir, "dirpost.schema")
	if err := os.WriteFile(own, []byte(schema.OpenLDAP), 0o600); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, name := range []string{"core", "cosine", "inetorgperson", "misc"} {
		fmt.Fprintf(&text, "include /etc/ldap/schema/%s.schema\n", name)
	}
	fmt.Fprintf(&text, "include %s\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\ndatabase mdb\nsuffix %s\nrootdn %s\nrootpw %s\ndirectory %s\n",
		own, s.Base, s.RootDN, s.RootPassword, filepath.Join(s.dir, "data"))
	text.WriteString("access to attrs=userPassword by anonymous auth by * none\naccess to * by * read\n")
	file := filepath.Join(s.dir, "slapd.conf")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.listen = strings.Join([]string{s.URI, s.LDAPI}, " ")
	out, err := exec.Command(command(t, "slaptest"), "-f", file, "-F", filepath.Join(s.dir, "conf")).CombinedOutput()
	if _, missing := os.Stat(filepath.Join(s.dir, "conf", "cn=config.ldif")); missing != nil {
		t.Fatalf("slaptest: %v\n%s", err, out) // without a database yet it complains and converts
	}
}

// Start starts slapd, again after a Stop, with the same configuration, data and addresses, and waits until it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(startTime)
	var err error
	for range 5 { // another process may have the port for a moment
		if err = s.start(t, deadline); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func (s *Server) start(t testing.TB, deadline time.Time) error {
	t.Helper()
	var log strings.Builder
	cmd := exec.Command(s.slapd, "-d", "0", "-F", filepath.Join(s.dir, "conf"), "-h", s.listen)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		cmd.Wait()
		close(exited)
	}()
	s.cmd, s.exited = cmd, exited
	for {
		if err := s.answers(deadline); err == nil {
			return nil
		} else if time.Now().After(deadline) {
			s.Stop(t)
			return fmt.Errorf("slapd does not answer on %s: %w", s.URI, err)
		}
		select {
		case <-exited:
			return fmt.Errorf("slapd ended: %v\n%s", cmd.ProcessState, log.String())
		case <-time.After(5 * time.Millisecond): // until the sockets are there, nothing tells
		}
	}
}

// answers reports whether slapd takes a request on its TCP port.
func (s *Server) answers(deadline time.Time) error {
	c, err := s.dial(deadline)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.UnauthenticatedBind("")
}

func (s *Server) dial(deadline time.Time) (*ldap.Conn, error) {
	c, err := ldap.DialURL(s.URI, ldap.DialWithDialer(&net.Dialer{Deadline: deadline}))
	if err != nil {
		return nil, err
	}
	c.SetTimeout(time.Until(deadline))
	return c, nil
}

// authz sets olcAuthzRegexp, which only a running slapd takes.
func (s *Server) authz(t testing.TB, peers []slapd.Peer) {
	t.Helper()
	change, err := slapd.Authz(s.Base, peers...)
	if err != nil {
		t.Fatal(err)
	}
	s.run(t, "ldapmodify", "cn=config", change)
}

// Load adds the entries of an LDIF text as the root DN.
func (s *Server) Load(t testing.TB, ldif string) {
	t.Helper()
	s.run(t, "ldapadd", s.RootDN, ldif)
}

func (s *Server) run(t testing.TB, tool, dn, ldif string) {
	t.Helper()
	cmd := exec.Command(command(t, tool), "-H", s.URI, "-x", "-D", dn, "-w", s.RootPassword)
	cmd.Stdin = strings.NewReader(ldif)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", tool, err, out)
	}
}

// Restore puts the entries of an LDIF file into the empty database of a server that is stopped, with slapadd.
func (s *Server) Restore(t testing.TB, file string) {
	t.Helper()
	if s.cmd != nil {
		t.Fatal("slapadd needs a slapd that is stopped")
	}
	out, err := exec.Command(command(t, "slapadd"), "-F", filepath.Join(s.dir, "conf"), "-b", s.Base, "-l", file).CombinedOutput()
	if err != nil {
		t.Fatalf("slapadd: %v\n%s", err, out)
	}
}

// Pid is the process id of the running slapd.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Stop ends slapd and waits for it. Stopping a stopped server does nothing.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(stopTime):
		s.cmd.Process.Kill()
		<-s.exited
		t.Errorf("slapd did not end within %s", stopTime)
	}
	s.cmd = nil
}

// command finds a program, also in the folders that only root has in its path.
func command(t testing.TB, name string) string {
	t.Helper()
	for _, file := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(file); err == nil {
			return path
		}
	}
	t.Fatalf("%s is missing: %s", name, install)
	return ""
}
