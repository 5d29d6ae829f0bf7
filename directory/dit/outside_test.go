package dit_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory/auth"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/schema/slapdtest"
)

// Accounts that need not exist: the kernel tells numbers.
const (
	serviceID = 64001 // is the frontend
	webID     = 64002 // is the web pages
)

// An outside is what proves somebody without a password: certificates under TLS. Local accounts need nothing.
type outside struct {
	tls    string // ldap:// with StartTLS
	caFile string
	people map[string][2]string // login: files of a certificate and its key
}

func newOutside(t testing.TB, uri string, files slapdtest.Files) *outside {
	o := &outside{tls: uri, caFile: files.CAFile, people: map[string][2]string{}}
	for login, email := range map[string]string{"alice": "alice.adler@example.org", "bob": "bob.brandt@example.org"} {
		cert, key := files.Client(t, login, email)
		o.people[login] = [2]string{cert, key}
	}
	return o
}

// trust makes an authority an entry, trusted for e-mail addresses.
func (w *world) trust(der []byte) {
	req := ldap.NewAddRequest("cn=outside,ou=authorities,"+base, nil)
	req.Attribute("objectClass", []string{"applicationProcess", "pkiCA", "dpCertAuthority"})
	req.Attribute("cn", []string{"outside"})
	req.Attribute("cACertificate;binary", []string{string(der)})
	req.Attribute("dpCertTrust", []string{lookup.KindEmail})
	req.Attribute("dpRevocationCheck", []string{lookup.NoRevocation})
	if err := w.as("root").Add(req); err != nil {
		w.t.Fatal(err)
	}
}

// certified is whom a certificate proves to the embedded directory: whom the frontend finds in it, as for mail.
func (w *world) certified(ctx context.Context, chain []*x509.Certificate) (string, error) {
	c, err := client.New(client.Options{URIs: []string{w.uri}, BindDN: name("frontend"), Password: w.passwords["frontend"]})
	if err != nil {
		return "", err
	}
	defer c.Close()
	acct, err := auth.New(c, lookup.New(c, lookup.Options{Base: base}), auth.Options{}).Certificate(ctx, chain)
	return acct.DN, err
}

// ldapCode is the result code in what the tools print.
var ldapCode = regexp.MustCompile(`\((-?[0-9]+)\)`)

// external asks with ldapwhoami who one is by EXTERNAL: "dn:..." in lower case, or the result code.
func external(run *exec.Cmd, as string) string {
	run.Args = append(run.Args, "-Q", "-Y", "EXTERNAL")
	if as != "" {
		run.Args = append(run.Args, "-X", "dn:"+as)
	}
	out, err := run.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err == nil {
		return strings.ToLower(text)
	}
	if found := ldapCode.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	return text
}

// byCertificate is who the holder of a certificate is.
func (w *world) byCertificate(login, as string) string {
	run := exec.Command("ldapwhoami", "-H", w.outside.tls, "-ZZ")
	files := w.outside.people[login]
	run.Env = append(os.Environ(), "LDAPTLS_CACERT="+w.outside.caFile, "LDAPTLS_CERT="+files[0], "LDAPTLS_KEY="+files[1])
	return external(run, as)
}

// byAccount is who a program of a local account is. Only root can try another than its own.
func (w *world) byAccount(uid, gid int, as string) string {
	run := exec.Command("ldapwhoami", "-H", w.uri)
	run.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	run.Dir = "/"
	return external(run, as)
}

// outsideChecks are those of the reference for EXTERNAL, by certificate and by local account, with and without another identity.
func outsideChecks() []check {
	is := func(id string, who func(w *world) string, want ...string) check {
		return check{id, func(w *world) string {
			if got := who(w); !slices.ContainsFunc(want, func(form string) bool {
				return form == got || strings.HasPrefix(form, "dn:") && strings.HasPrefix(got, form)
			}) {
				return fmt.Sprintf("got %q, want %q", got, want)
			}
			return ""
		}}
	}
	certificate := func(login, as string) func(w *world) string {
		return func(w *world) string { return w.byCertificate(login, as) }
	}
	out := []check{
		is("l1-certificate-is-bob", certificate("bob", ""), "dn:"+name("bob")),
		// To slapd he is somebody whom no rule knows, to the embedded directory nobody.
		is("l2-not-without-dpCertEmail", certificate("alice", ""), "dn:email=", strconv.Itoa(ldap.LDAPResultInvalidCredentials)),
		is("l3-bob-not-alice-by-X", certificate("bob", name("alice")), denials...),
	}
	if os.Getuid() != 0 && os.Getenv("CI") != "true" {
		return out // l4 to l9 need other accounts
	}
	account := func(uid, gid int, as string) func(w *world) string {
		return func(w *world) string { return w.byAccount(uid, gid, as) }
	}
	return append(out,
		is("l4-service-uid", account(serviceID, serviceID, ""), "dn:"+name("frontend")),
		is("l5-root-is-not-the-frontend", account(0, 0, ""), "dn:gidnumber=0+uidnumber=0,cn=peercred"),
		is("l6-other-gid", account(serviceID, webID, ""), "dn:gidnumber="),
		is("l7-web-uid", account(webID, webID, ""), "dn:"+name("web")),
		is("l8-web-X-alice", account(webID, webID, name("alice")), "dn:"+name("alice")),
		is("l9-web-X-not-frontend", account(webID, webID, name("frontend")), denials...),
		is("l9-frontend-X-not-alice", account(serviceID, serviceID, name("alice")), denials...))
}

// denials are the codes of an identity that one may not have.
var denials = []string{
	strconv.Itoa(ldap.LDAPResultInvalidCredentials), strconv.Itoa(ldap.LDAPResultInsufficientAccessRights),
	strconv.Itoa(ldap.LDAPResultAuthorizationDenied), strconv.Itoa(ldap.LDAPResultInappropriateAuthentication),
}
