package dit_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/directory/profile"
	"github.com/dirpost/dirpost/protocols/ldapd"
	"github.com/dirpost/dirpost/schema/slapd"
	"github.com/dirpost/dirpost/schema/slapdtest"
)

const (
	base   = "dc=example,dc=org"
	people = "ou=people," + base
	groups = "ou=groups," + base
	roles  = "ou=roles," + base
)

// The reference checks are what the rules of the reference configuration promise, on the sample tree. They run over a real
// slapd and over the embedded directory, in their order, for one builds on what another has changed. Result codes and
// entries are compared, never texts.

// A world is one server with the sample tree, and who is known on it.
type world struct {
	t         testing.TB
	uri       string
	slapd     bool
	names     *profile.Profile // what the server calls things; nil = as our schema does
	root      func(*ldap.Conn) error
	passwords map[string]string
	conns     map[string]*ldap.Conn
	der       []byte // a certificate for bob
	outside   *outside

	prepare func(*ldap.AddRequest) bool // makes an entry of the tree one for the server, or says that it needs it not; nil = all as they are
}

// A check has the id of the reference and returns what is wrong, "" = nothing.
type check struct {
	id string
	do func(w *world) string
}

func TestReferenceChecks(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *world{"slapd": overSlapd, "embedded": overEmbedded} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			passed := 0
			for _, c := range referenceChecks() {
				if wrong := c.do(w); wrong != "" {
					t.Errorf("%s: %s", c.id, wrong)
					continue
				}
				passed++
			}
			t.Logf("%d checks passed", passed)
		})
	}
}

// TestEachRuleIsNeeded drops the access rules one by one: some check has to notice.
func TestEachRuleIsNeeded(t *testing.T) {
	t.Parallel()
	for n := range dit.Rules() {
		w, tree := embedded(t)
		rule := tree.DropRule(n)
		caught := ""
		for _, c := range referenceChecks() {
			if c.do(w) != "" {
				caught = c.id
				break
			}
		}
		if caught == "" {
			t.Errorf("without the rule that %s: no check notices", rule)
		}
		t.Logf("rule %d, %s: %s", n, rule, caught)
	}
}

func overSlapd(t testing.TB) *world {
	s := slapdtest.Start(t, slapdtest.Options{Peers: []slapd.Peer{
		{UID: serviceID, GID: serviceID, DN: name("frontend")}, {UID: webID, GID: webID, DN: name("web")},
	}})
	w := newWorld(t, s.LDAPI)
	w.slapd = true
	w.root = func(c *ldap.Conn) error { return c.Bind(s.RootDN, s.RootPassword) }
	w.outside = newOutside(t, s.URI, s.Files)
	w.load()
	return w
}

func overEmbedded(t testing.TB) *world {
	w, _ := embedded(t)
	return w
}

func embedded(t testing.TB) (*world, *dit.Tree) {
	tree, err := dit.Open(filepath.Join(t.TempDir(), "directory"), dit.Options{Suffixes: []string{base}, ServiceUIDs: []int{os.Getuid()}, Locals: []dit.Local{
		{UID: serviceID, GID: serviceID, DN: name("frontend")}, {UID: webID, GID: webID, DN: name("web")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	dir, err := os.MkdirTemp("", "dit") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // others come too
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "ldapi")
	w := newWorld(t, "ldapi://"+url.PathEscape(socket))
	w.root = func(c *ldap.Conn) error { return c.ExternalBind() }
	files := slapdtest.Certify(t, t.TempDir())
	uri := w.serve(tree, socket, files)
	w.outside = newOutside(t, uri, files)
	w.load()
	w.trust(files.CADER())
	return w, tree
}

// serve puts the protocol server before a tree, on a unix socket and on a port with TLS, whose URI it returns.
func (w *world) serve(tree *dit.Tree, socket string, files slapdtest.Files) (uri string) {
	local, err := net.Listen("unix", socket)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		w.t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	server := ldapd.New(tree, ldapd.Options{
		TLS:         &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert},
		Certificate: w.certified,
	})
	served := make(chan error, 2)
	for _, l := range []net.Listener{local, tcp} {
		go func() { served <- server.Serve(l) }()
	}
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			w.t.Error(err)
		}
		<-served
		<-served
	})
	return "ldap://" + tcp.Addr().String()
}

func newWorld(t testing.TB, uri string) *world {
	return &world{t: t, uri: uri, conns: map[string]*ldap.Conn{}, passwords: map[string]string{
		"frontend": "frontendpw", "apppw": "apppwpw", "web": "webpw", "webmail": "masterpw",
		"bob": "bobpw", "carol": "carolpw", "dave": "davepw", "erin": "erinpw", "frank": "frankpw", "gina": "ginapw", "alice": "alicepw",
	}}
}

// load adds the sample tree, with a certificate for bob, and with hashes that are checked fast.
func (w *world) load() {
	w.der = certificate(w.t)
	for _, e := range dit.SampleEntries(w.t) {
		req := ldap.NewAddRequest(e.DN, nil)
		for _, a := range e.Attributes {
			var values []string
			for _, v := range a.Values {
				value := string(v)
				if a.Name == "userPassword" && !strings.HasPrefix(value, "{") {
					value = hashed(value)
				}
				values = append(values, value)
			}
			req.Attribute(a.Name, values)
		}
		if strings.HasPrefix(e.DN, "uid=bob,") {
			req.Attribute("userCertificate;binary", []string{string(w.der)})
		}
		if w.prepare != nil && !w.prepare(req) {
			continue
		}
		if err := w.as("root").Add(w.names.Add(req)); err != nil {
			w.t.Fatalf("add %s: %v", e.DN, err)
		}
	}
}

func hashed(password string) string {
	sum := sha1.Sum([]byte(password + "salt"))
	return "{SSHA}" + base64.StdEncoding.EncodeToString(append(sum[:], "salt"...))
}

// certificate makes one with the serial number that the checks ask for.
func certificate(t testing.TB) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name := pkix.Name{Organization: []string{"Example Association"}, OrganizationalUnit: []string{"Client certificates"}, CommonName: "Example Class 3 Root"}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: name, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(4098), Subject: pkix.Name{CommonName: "Bob Brandt"}, NotAfter: ca.NotAfter}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// name is the entry of somebody.
func name(login string) string {
	switch login {
	case "frontend", "apppw", "web", "webmail":
		return "cn=" + login + ",ou=services," + base
	}
	return "uid=" + login + "," + people
}

// as returns a connection of somebody, bound with the password that he has now; "" is anonymous.
func (w *world) as(login string) *ldap.Conn {
	key := login + " " + w.passwords[login]
	if c := w.conns[key]; c != nil {
		return c
	}
	c := w.dial()
	var err error
	switch login {
	case "":
	case "root":
		err = w.root(c)
	default:
		err = c.Bind(name(login), w.passwords[login])
	}
	if err != nil {
		w.t.Logf("bind as %s: %v", login, err)
	}
	w.conns[key] = c
	return c
}

func (w *world) dial() *ldap.Conn {
	c, err := ldap.DialURL(w.uri)
	if err != nil {
		w.t.Fatal(err)
	}
	c.SetTimeout(20 * time.Second)
	w.t.Cleanup(func() { c.Close() })
	return c
}

// bind tries a password and returns the code and the control.
func (w *world) bind(login, password string) (int, *ldap.ControlBeheraPasswordPolicy) {
	req := ldap.NewSimpleBindRequest(name(login), password, []ldap.Control{ldap.NewControlBeheraPasswordPolicy()})
	result, err := w.dial().SimpleBind(req)
	if result == nil {
		return code(err), nil
	}
	policy, _ := ldap.FindControl(result.Controls, ldap.ControlTypeBeheraPasswordPolicy).(*ldap.ControlBeheraPasswordPolicy)
	return code(err), policy
}

func code(err error) int {
	var e *ldap.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return int(e.ResultCode)
	}
	return -1
}

// lines searches below a place and returns what is found as lines of LDIF, and the result code.
func (w *world) lines(who, from, filter string, scope int, controls []ldap.Control, attrs ...string) ([]string, int) {
	if theirs, err := w.names.Filter(filter); err == nil { // others are not translated
		filter = theirs
	}
	found, err := w.as(who).Search(ldap.NewSearchRequest(from, scope, 0, 0, 0, false, filter, w.names.Attributes(attrs), controls))
	var out []string
	if found != nil {
		for _, e := range found.Entries {
			e = w.names.Entry(e)
			out = append(out, "dn: "+e.DN)
			for _, a := range e.Attributes {
				for _, v := range a.Values {
					out = append(out, a.Name+": "+v)
				}
			}
		}
	}
	return out, code(err)
}

// sees wants a line with the beginning.
func sees(id, who, from, filter, want string, attrs ...string) check {
	return check{id, func(w *world) string {
		got, result := w.lines(who, from, filter, ldap.ScopeWholeSubtree, nil, attrs...)
		if !slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(strings.ToLower(l), strings.ToLower(want)) }) {
			return fmt.Sprintf("result %d and %q, want %q", result, got, want)
		}
		return ""
	}}
}

// misses wants no line of that form from a search that is answered.
func misses(id, who, from, filter, form string, attrs ...string) check {
	return check{id, func(w *world) string {
		got, result := w.lines(who, from, filter, ldap.ScopeWholeSubtree, nil, attrs...)
		if result != 0 && result != ldap.LDAPResultNoSuchObject && result != ldap.LDAPResultInsufficientAccessRights {
			return fmt.Sprintf("result %d", result)
		}
		if at := slices.IndexFunc(got, regexp.MustCompile(form).MatchString); at >= 0 {
			return fmt.Sprintf("got %q", got[at])
		}
		return ""
	}}
}

// refused are the codes of a refusal: not even the existence of an entry may be told.
var refused = []int{ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultNoSuchObject}

var done = []int{0}

// ends wants one of the codes.
func ends(id string, want []int, do func(w *world) error) check {
	return check{id, func(w *world) string {
		if err := do(w); !slices.Contains(want, code(err)) {
			return fmt.Sprintf("%v, want %v", err, want)
		}
		return ""
	}}
}

func modify(kind uint, who, dn, attr string, controls []ldap.Control, values ...string) func(w *world) error {
	return func(w *world) error {
		req := ldap.NewModifyRequest(dn, controls)
		req.Changes = []ldap.Change{{Operation: kind, Modification: ldap.PartialAttribute{Type: attr, Vals: values}}}
		return w.as(who).Modify(w.names.Modify(req))
	}
}

func put(who, dn, attr string, values ...string) func(w *world) error {
	return modify(ldap.AddAttribute, who, dn, attr, nil, values...)
}

func set(who, dn, attr string, values ...string) func(w *world) error {
	return modify(ldap.ReplaceAttribute, who, dn, attr, nil, values...)
}

func drop(who, dn, attr string, values ...string) func(w *world) error {
	return modify(ldap.DeleteAttribute, who, dn, attr, nil, values...)
}

// reset sets somebody's password by the operation for it.
func reset(who, of, password string) func(w *world) error {
	return func(w *world) error {
		_, err := w.as(who).PasswordModify(ldap.NewPasswordModifyRequest(name(of), "", password))
		return err
	}
}

// changes are steps that all have to succeed; afterwards the password is known.
func changes(login, password string, steps ...func(w *world) error) func(w *world) error {
	return func(w *world) error {
		for _, step := range steps {
			if err := step(w); err != nil {
				return err
			}
		}
		w.passwords[login] = password
		_, err := w.dial().SimpleBind(ldap.NewSimpleBindRequest(name(login), password, nil))
		return err
	}
}

// eventually waits until nothing is wrong: slapd mends references behind the answer.
func eventually(wrong func() string) (last string) {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if last = wrong(); last == "" {
			return ""
		}
	}
	return last
}
