// Package ds389test starts a real 389 Directory Server with the reference configuration for a test, on loopback, in a
// folder of the test, as a child process that the test can stop and start again. Nothing outside the folder is touched, and
// systemd is not needed.
//
// It is for `make peers`: the server is heavier than what `make test` may ask of a machine. A machine without it fails the
// test and says what to install.
//
// Start reading at [Start].
package ds389test

import (
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/schema"
	"github.com/dirpost/dirpost/schema/ds389"
	"github.com/dirpost/dirpost/schema/slapdtest"
)

// install is what brings everything that this package runs on Debian, without starting any of it.
const install = "tools/deps.sh install peers"

// startTime bounds how long the server may take to answer, stopTime how long it may take to leave.
const (
	startTime = 60 * time.Second
	stopTime  = 60 * time.Second
)

// Options of [Start]; the zero value is good.
type Options struct {
	Base        string // suffix; empty = dc=example,dc=org
	ContentSync bool   // the plugin for content synchronization, which is off by default
	Bare        bool   // nothing of the reference configuration but the schema
}

// A Server is a running 389 Directory Server with an empty database. The fields are fixed; they stay right over Stop and
// Start.
type Server struct {
	URI          string // ldap://127.0.0.1:PORT
	LDAPS        string // ldaps://localhost:PORT
	LDAPI        string // ldapi://PATH, escaped
	Socket       string // the path behind LDAPI
	Base         string
	RootDN       string
	RootPassword string
	CA           *x509.CertPool // of the server's certificate, which is for localhost and 127.0.0.1
	CAFile       string

	dir    string
	name   string // of the instance, no other on the machine has it
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
}

// Start makes the configuration, starts the server and waits until it answers. It is stopped when the test ends.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	if opts.Base == "" {
		opts.Base = "dc=example,dc=org"
	}
	s := &Server{Base: opts.Base, RootDN: "cn=root", RootPassword: "root-password", dir: t.TempDir()}
	s.configure(t)
	t.Cleanup(func() {
		s.Stop(t)
		os.Remove("/dev/shm/sem." + s.name + ".stats") // which it leaves behind when it is killed
	})
	s.Start(t)
	rdn, _, _ := strings.Cut(s.Base, ",")
	s.Load(t, fmt.Sprintf("dn: %s\nobjectClass: dcObject\nobjectClass: organization\no: Example\n%s\n", s.Base, strings.Replace(rdn, "=", ": ", 1)))
	if opts.Bare {
		return s
	}
	changes, err := ds389.Reference(s.Base, backend)
	if err != nil {
		t.Fatal(err)
	}
	s.Change(t, changes)
	if opts.ContentSync {
		s.Change(t, ds389.ContentSync)
	}
	s.Stop(t)
	s.Start(t)
	return s
}

// backend is the name of the database.
const backend = "userRoot"

// configure makes the folder of an instance: the server's own template of a configuration with our places in it.
func (s *Server) configure(t testing.TB) {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	ports := s.address(t)
	s.name = "slapd-dirpost-" + strconv.Itoa(ports[0])
	conf := filepath.Join(s.dir, s.name) // its name becomes that of a semaphore
	place := func(name string) string {
		dir := filepath.Join(s.dir, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	values := []string{
		"%schema_dir%", place(s.name + "/schema"), "%config_dir%", conf, "%cert_dir%", conf, "%lock_dir%", place("lock"), "%tmp_dir%", place("tmp"),
		"%ldif_dir%", place("ldif"), "%bak_dir%", place("bak"), "%run_dir%", place("run"), "%inst_dir%", place("run"), "%log_dir%", place("log"),
		"%db_dir%", place("db"), "%db_home_dir%", place("db"), "%db_lib%", "bdb", "%fqdn%", "localhost", "%ds_user%", me.Username,
		"%ds_port%", strconv.Itoa(ports[0]) + "\nnsslapd-listenhost: 127.0.0.1\nnsslapd-securelistenhost: 127.0.0.1\nnsslapd-security: on\nnsslapd-secureport: " + strconv.Itoa(ports[1]),
		"%rootdn%", s.RootDN, "%ds_passwd%", hashed(s.RootPassword), "%ldapi_enabled%", "on", "%ldapi%", s.Socket, "%ldapi_autobind%", "off",
		"%ds_suffix%", s.Base, "nsslapd-backend-implement: ", "nsslapd-cache-autosize: 0\nnsslapd-dbcachesize: 10000000\nnsslapd-backend-implement: ",
	}
	template := strings.TrimRight(read(t, "/usr/share/dirsrv/data/template-dse.ldif"), "\n")
	database := fmt.Sprintf(databases, s.Base, filepath.Join(s.dir, "db", backend), backend)
	write(t, filepath.Join(conf, "dse.ldif"), strings.NewReplacer(values...).Replace(template)+database)
	for _, name := range []string{"slapd-collations.conf", "certmap.conf"} {
		write(t, filepath.Join(conf, name), read(t, "/etc/dirsrv/config/"+name))
	}
	write(t, filepath.Join(conf, "schema", "99user.ldif"), read(t, "/etc/dirsrv/schema/99user.ldif"))
	write(t, filepath.Join(conf, "schema", "99dirpost-389ds.ldif"), schema.DS389)
	s.certify(t, conf)
}

// certify makes a certificate and puts it into the database where the server looks for it.
func (s *Server) certify(t testing.TB, conf string) {
	t.Helper()
	files := slapdtest.Certify(t, s.dir)
	s.CA, s.CAFile = files.CA, files.CAFile
	both := filepath.Join(s.dir, "server.p12")
	for _, args := range [][]string{
		{"openssl", "pkcs12", "-export", "-in", files.Cert, "-inkey", files.Key, "-name", "Server-Cert", "-passout", "pass:", "-out", both},
		{"certutil", "-N", "--empty-password", "-d", "sql:" + conf},
		{"certutil", "-A", "-d", "sql:" + conf, "-n", "authority", "-t", "CT,,", "-a", "-i", files.CAFile},
		{"pk12util", "-d", "sql:" + conf, "-i", both, "-W", "", "-K", ""},
	} {
		if out, err := exec.Command(command(t, args[0]), args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
	}
}

// databases is what the template has no place for: where entries below the suffix are kept.
const databases = `

dn: cn=%[3]s,cn=ldbm database,cn=plugins,cn=config
objectclass: top
objectclass: extensibleObject
objectclass: nsBackendInstance
nsslapd-suffix: %[1]s
nsslapd-directory: %[2]s
cn: %[3]s

dn: cn="%[1]s",cn=mapping tree,cn=config
objectclass: top
objectclass: extensibleObject
objectclass: nsMappingTree
cn: %[1]s
cn: "%[1]s"
nsslapd-state: backend
nsslapd-backend: %[3]s

`

// address picks ports that the kernel holds free, and a socket path short enough for sun_path (108 bytes).
func (s *Server) address(t testing.TB) (ports [2]int) {
	t.Helper()
	short, err := os.MkdirTemp("", "ds389")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
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
	return ports
}

// hashed is a password as the server stores it, which takes no clear one in its configuration.
func hashed(password string) string {
	salt := make([]byte, 8)
	rand.Read(salt)
	sum := sha1.Sum(append([]byte(password), salt...))
	return "{SSHA}" + base64.StdEncoding.EncodeToString(append(sum[:], salt...))
}

// Start starts the server, again after a Stop, with the same configuration, data and addresses, and waits until it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	log := filepath.Join(s.dir, "output")
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(command(t, "ns-slapd"), "-D", filepath.Join(s.dir, s.name), "-i", filepath.Join(s.dir, "run", "pid"), "-d", "0")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		cmd.Wait()
		close(exited)
	}()
	s.cmd, s.exited = cmd, exited
	deadline := time.Now().Add(startTime)
	for {
		err := s.answers(deadline)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("389-ds does not answer on %s: %v\n%s", s.LDAPI, err, read(t, log))
		}
		select {
		case <-exited:
			t.Fatalf("389-ds ended: %v\n%s%s", cmd.ProcessState, read(t, log), read(t, filepath.Join(s.dir, "log", "errors")))
		case <-time.After(10 * time.Millisecond): // until the sockets are there, nothing tells
		}
	}
}

// answers reports whether the server takes requests on its socket and on its port.
func (s *Server) answers(deadline time.Time) error {
	for _, uri := range []string{s.LDAPI, s.URI} {
		c, err := ldap.DialURL(uri, ldap.DialWithDialer(&net.Dialer{Deadline: deadline}))
		if err != nil {
			return err
		}
		c.SetTimeout(time.Until(deadline))
		err = c.Bind(s.RootDN, s.RootPassword)
		c.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// Load adds the entries of an LDIF text as the root DN.
func (s *Server) Load(t testing.TB, ldif string) {
	t.Helper()
	s.run(t, "ldapadd", ldif)
}

// Change makes the changes of an LDIF text as the root DN.
func (s *Server) Change(t testing.TB, ldif string) {
	t.Helper()
	s.run(t, "ldapmodify", ldif)
}

func (s *Server) run(t testing.TB, tool, ldif string) {
	t.Helper()
	cmd := exec.Command(command(t, tool), "-H", s.LDAPI, "-x", "-D", s.RootDN, "-w", s.RootPassword)
	cmd.Stdin = strings.NewReader(ldif)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", tool, err, out)
	}
}

// Pid is the process id of the running server.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Stop ends the server and waits for it. Stopping a stopped server does nothing.
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
		t.Errorf("389-ds did not end within %s", stopTime)
	}
	s.cmd = nil
}

// Unindexed returns the filters of searches for which the server had no index, as its log tells once it is stopped.
func (s *Server) Unindexed(t testing.TB) []string {
	t.Helper()
	asked := map[string]string{} // filters by connection and operation
	var list []string
	for line := range strings.Lines(read(t, filepath.Join(s.dir, "log", "access"))) {
		m := operation.FindStringSubmatch(line)
		switch {
		case m == nil:
		case m[2] == "SRCH":
			_, filter, _ := strings.Cut(line, `filter="`)
			filter, _, _ = strings.Cut(filter, `" attrs=`)
			asked[m[1]] = filter
		case strings.Contains(line, "notes=A") || strings.Contains(line, "notes=U"):
			list = append(list, asked[m[1]])
		}
	}
	return list
}

// operation finds in a line of the log which operation it is about.
var operation = regexp.MustCompile(`\b(\w+=\d+ op=\d+) (SRCH|RESULT) `)

func read(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) && strings.Contains(file, "dirsrv") {
		t.Fatalf("%v: %s", err, install)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
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
