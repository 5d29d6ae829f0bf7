package main

import (
	"context"
	"crypto/rand"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/cmd/dirpost/internal/demo"
	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/provision"
	"github.com/dirpost/dirpost/protocols/certs"
	"github.com/dirpost/dirpost/protocols/ldapd"
)

// demoMarker is the file that says a folder is ours to use.
const demoMarker = ".dirpost-demo"

// A demoSet is the folder of a demonstration: configuration, keys and directory, made once and used again.
type demoSet struct {
	dir   string
	cfg   config.Config
	facts demo.Facts
	ca    *certs.KeyPair
}

// prepareDemo makes what is missing in dir, which must be empty or of an earlier demonstration.
func prepareDemo(ctx context.Context, dir string, portBase int) (*demoSet, error) {
	if err := claim(dir); err != nil {
		return nil, err
	}
	d := &demoSet{dir: dir, cfg: demoConfig(dir, portBase)}
	d.facts = d.newFacts()
	if old, err := demo.ReadFacts(filepath.Join(dir, "demo.json")); err == nil {
		d.keepPasswords(old)
	}
	for _, step := range []func(context.Context) error{d.makeCertificates, d.makeDirectory, d.writeFiles} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// claim makes dir, or refuses one that holds something else.
func claim(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, demoMarker)); err == nil {
		return nil
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty and not of an earlier demo: choose another --dir", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, demoMarker), []byte("made by dirpost demo; remove the folder to start afresh\n"), 0o644)
}

func demoConfig(dir string, portBase int) config.Config {
	at := func(port int) []string { return []string{fmt.Sprintf("127.0.0.1:%d", portBase+port)} }
	cfg := config.Default()
	cfg.Data, cfg.Cache = filepath.Join(dir, "data"), filepath.Join(dir, "cache")
	cfg.Listen = config.Listen{
		Forwarded: cfg.Listen.Forwarded,
		MX:        at(525), LMTP: at(424), Submission: at(587), Submissions: at(465), IMAP: at(143), IMAPS: at(993), LDAP: at(389),
		LDAPI: filepath.Join(dir, "run", "ldapi"), Control: filepath.Join(dir, "run", "control"),
	}
	cfg.TLS = []config.KeyPair{{Cert: filepath.Join(dir, "server.pem"), Key: filepath.Join(dir, "server.key")}}
	return cfg
}

// newFacts names everything, with new passwords.
func (d *demoSet) newFacts() demo.Facts {
	base, l := d.cfg.Directory.Base, d.cfg.Listen
	user := func(login string) demo.User {
		return demo.User{
			Login: login, Mail: login + "@example.org", DN: "uid=" + login + ",ou=people," + base, Password: rand.Text()[:16],
			KeyPair: d.keyPair(login),
		}
	}
	return demo.Facts{
		PID: os.Getpid(), Base: base, Domain: "example.org",
		Config: filepath.Join(d.dir, "dirpost.toml"), CA: filepath.Join(d.dir, "ca.pem"),
		Admin: demo.Admin{DN: "uid=admin,ou=people," + base, Password: rand.Text()[:16]},
		Listen: demo.Listen{
			MX: l.MX[0], LMTP: l.LMTP[0], Submission: l.Submission[0], Submissions: l.Submissions[0],
			IMAP: l.IMAP[0], IMAPS: l.IMAPS[0], LDAP: l.LDAP[0], LDAPI: l.LDAPI,
		},
		Users:    []demo.User{user("alice"), user("bob")},
		Role:     demo.Role{Mail: "press@example.org", Holder: "alice"},
		Alias:    "wonderland@example.org",
		Stranger: d.keyPair("stranger"),
	}
}

func (d *demoSet) keyPair(name string) demo.KeyPair {
	return demo.KeyPair{Cert: filepath.Join(d.dir, "clients", name+".pem"), Key: filepath.Join(d.dir, "clients", name+".key")}
}

// keepPasswords takes the passwords of an earlier run.
func (d *demoSet) keepPasswords(old demo.Facts) {
	if old.Admin.Password != "" {
		d.facts.Admin.Password = old.Admin.Password
	}
	for i, u := range d.facts.Users {
		for _, o := range old.Users {
			if o.Login == u.Login && o.Password != "" {
				d.facts.Users[i].Password = o.Password
			}
		}
	}
}

// makeCertificates makes the CA, the server's certificate, those of the people, and one of a CA that nobody trusts.
func (d *demoSet) makeCertificates(context.Context) error {
	if err := os.MkdirAll(filepath.Join(d.dir, "clients"), 0o700); err != nil {
		return err
	}
	var err error
	if d.ca, err = authority(d.facts.CA, filepath.Join(d.dir, "ca.key"), "dirpost demo CA"); err != nil {
		return err
	}
	tls := d.cfg.TLS[0]
	if err := leaf(d.ca, tls.Cert, tls.Key, certs.Request{
		Subject: pkix.Name{CommonName: "mail.example.org"}, Server: true,
		DNS: []string{"localhost", "mail.example.org"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)},
	}); err != nil {
		return err
	}
	for _, u := range d.facts.Users {
		if err := leaf(d.ca, u.Cert, u.Key, clientRequest(u.Login, u.Mail)); err != nil {
			return err
		}
	}
	foreign, err := authority(filepath.Join(d.dir, "clients", "foreign-ca.pem"), filepath.Join(d.dir, "clients", "foreign-ca.key"), "A CA nobody here trusts")
	if err != nil {
		return err
	}
	return leaf(foreign, d.facts.Stranger.Cert, d.facts.Stranger.Key, clientRequest("alice", "alice@example.org"))
}

func clientRequest(name, mail string) certs.Request {
	return certs.Request{Subject: pkix.Name{CommonName: name, Organization: []string{"Example Association"}}, Client: true, Emails: []string{mail}}
}

// renewBefore is how long a certificate must still be good to be used again.
const renewBefore = 24 * time.Hour

// authority reads a CA or makes it.
func authority(cert, key, name string) (*certs.KeyPair, error) {
	if old, err := certs.Read(cert, key); err == nil && time.Until(old.Cert.NotAfter) > renewBefore {
		return old, nil
	}
	ca, err := certs.SelfSigned(certs.Request{Subject: pkix.Name{CommonName: name, Organization: []string{"Example Association"}}, CA: true})
	if err != nil {
		return nil, err
	}
	return ca, ca.Write(cert, key)
}

// leaf makes a certificate of ca unless a good one is there.
func leaf(ca *certs.KeyPair, cert, key string, r certs.Request) error {
	if old, err := certs.Read(cert, key); err == nil && time.Until(old.Cert.NotAfter) > renewBefore && old.Cert.CheckSignatureFrom(ca.Cert) == nil {
		return nil
	}
	pair, err := ca.Issue(r)
	if err != nil {
		return err
	}
	return pair.Write(cert, key)
}

// makeDirectory fills the embedded directory; what is there already stays as it is.
func (d *demoSet) makeDirectory(ctx context.Context) error {
	first := provision.NewAdmin{Login: "admin", Name: "Ada Admin", Password: d.facts.Admin.Password}
	if err := initEmbedded(ctx, d.cfg, "Example Association", d.facts.Domain, first); err != nil {
		return err
	}
	e, err := newEmbedded(d.cfg, ldapd.Options{})
	if err != nil {
		return err
	}
	c, err := client.New(client.Options{Dial: e.dial, External: true})
	if err != nil {
		return errors.Join(err, e.close(ctx))
	}
	err = d.addPeople(ctx, provision.New(c, provision.Options{Base: d.cfg.Directory.Base}))
	return errors.Join(err, c.Close(), e.close(ctx))
}

func (d *demoSet) addPeople(ctx context.Context, p *provision.Provisioner) error {
	ignore := func(err error) error {
		if errors.Is(err, directory.ErrExists) {
			return nil
		}
		return err
	}
	names := map[string]string{"alice": "Alice Adler", "bob": "Bob Brandt"}
	for _, u := range d.facts.Users {
		mail, err := directory.ParseAddress(u.Mail)
		if err != nil {
			return err
		}
		_, err = p.AddUser(ctx, provision.NewUser{Login: u.Login, Name: names[u.Login], Mail: mail, Password: u.Password})
		if err := ignore(err); err != nil {
			return err
		}
		pair, err := certs.Read(u.Cert, u.Key)
		if err != nil {
			return err
		}
		if err := ignore(p.AddCertificate(ctx, u.Login, pair.Cert, "sha256")); err != nil {
			return err
		}
	}
	alias, err := directory.ParseAddress(d.facts.Alias)
	if err != nil {
		return err
	}
	if err := ignore(p.AddAlias(ctx, d.facts.Users[0].Login, alias)); err != nil {
		return err
	}
	role, err := directory.ParseAddress(d.facts.Role.Mail)
	if err != nil {
		return err
	}
	_, err = p.AddRole(ctx, provision.NewRole{Address: role, Occupants: []string{d.facts.Role.Holder}})
	if err := ignore(err); err != nil {
		return err
	}
	return d.addAuthority(ctx, p)
}

// addAuthority tells the directory of the demo's CA, with a revocation list that is current for the next month.
func (d *demoSet) addAuthority(ctx context.Context, p *provision.Provisioner) error {
	now := time.Now()
	crl, err := d.ca.CRL(now, now.AddDate(0, 1, 0))
	if err != nil {
		return err
	}
	err = p.AddAuthority(ctx, "demo", d.ca.Cert, crl, []string{"sha256", "spki"}, "crl-hard")
	if errors.Is(err, directory.ErrExists) {
		return p.SetCRL(ctx, "demo", crl)
	}
	return err
}

func (d *demoSet) writeFiles(context.Context) error { return writeConfig(d.cfg, d.facts.Config) }

// howTo tells how to connect with programs people have.
func howTo(f demo.Facts) string {
	a := f.Users[0]
	port := func(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("")
	line("It keeps serving until Ctrl-C. The people, with their passwords: %s/demo.json", filepath.Dir(f.Config))
	line("")
	line("Thunderbird  import %s as an authority for web sites, then a new account:", f.CA)
	line("             %s, user name %s, password %s", a.Mail, a.Login, a.Password)
	line("             IMAP localhost port %s SSL/TLS, SMTP localhost port %s STARTTLS, normal password", port(f.Listen.IMAPS), port(f.Listen.Submission))
	line("mutt         mutt -e 'set ssl_ca_certificates_file=%s' -f imaps://%s@localhost:%s/INBOX", f.CA, a.Login, port(f.Listen.IMAPS))
	line("             ... with a certificate: -e 'set ssl_client_cert=FILE' (%s and its key in one file)", a.Cert)
	line("curl         curl --cacert %s --user %s:%s imaps://localhost:%s/INBOX?ALL", f.CA, a.Login, a.Password, port(f.Listen.IMAPS))
	line("ldapsearch   LDAPTLS_CACERT=%s ldapsearch -ZZ -x -H ldap://127.0.0.1:%s -D %s -w %s -b %s", f.CA, port(f.Listen.LDAP), a.DN, a.Password, f.Base)
	line("             ... as the local administrator: ldapsearch -Y EXTERNAL -H ldapi://%s -b %s", strings.ReplaceAll(f.Listen.LDAPI, "/", "%2F"), f.Base)
	line("dirpost      dirpost --config %s user list", f.Config)
	return b.String()
}
