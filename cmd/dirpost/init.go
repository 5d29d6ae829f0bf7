package main

import (
	"bytes"
	"cmp"
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

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/cmd/dirpost/internal/systemd"
	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/profile"
	"github.com/dirpost/dirpost/directory/provision"
	"github.com/dirpost/dirpost/protocols/certs"
	"github.com/dirpost/dirpost/storage/maildir"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:  "init",
		Usage: "make the configuration, the folders, a certificate to start with, the directory, and the service",
		Description: `Nothing that exists is changed: a configuration that is there already stops the command.

Run by root it also makes the system user dirpost, who owns the mail and whom the server runs as, and units
for systemd. With a --config of your own it makes neither, unless --user or --systemd asks for it.

With --ldap-uri dirpost uses an LDAP server of your own. Load its schema first (schema/dirpost.ldif of the
source; for 389-ds see dirpost directory 389ds, and say --ldap-profile 389ds). As an administrator of it (--as) the containers, the service entry and the first administrator are
made where they are missing; without --as they must be there.

Examples:

   dirpost init --domain example.org
   dirpost --config ./dirpost.toml init --domain example.org --data ./data --cache ./cache      a trial
   dirpost --as cn=root,dc=example,dc=org init --domain example.org \
      --ldap-uri ldaps://ldap.example.org --ldap-ca /etc/ssl/ldap-ca.pem --bind-password-file /etc/dirpost/frontend`,
		Flags: append(accountFlags(),
			&cli.StringFlag{Name: "domain", Usage: "the first mail `DOMAIN` (required)"},
			&cli.StringFlag{Name: "hostname", Usage: "full `NAME` of this server (default: mail.DOMAIN)"},
			&cli.StringFlag{Name: "org", Usage: "`NAME` of the organisation (default: DOMAIN)"},
			&cli.StringFlag{Name: "base", Usage: "suffix of the tree (default: dc=… of DOMAIN)"},
			&cli.StringFlag{Name: "data", Usage: "`FOLDER` of what cannot be rebuilt (default: as in config example)"},
			&cli.StringFlag{Name: "cache", Usage: "`FOLDER` of what can (default: as in config example)"},
			&cli.StringFlag{Name: "admin", Value: "admin", Usage: "`LOGIN` of the first administrator, who also gets the mail for postmaster"},
			passwordFlag(),
			&cli.StringSliceFlag{Name: "ldap-uri", Usage: "use the LDAP server at `URI`; several in order of preference"},
			&cli.StringFlag{Name: "ldap-profile", Usage: "what it calls things: `NAME` of a profile (default: openldap; see config example)"},
			&cli.BoolFlag{Name: "start-tls", Usage: "protect ldap:// by StartTLS"},
			&cli.StringFlag{Name: "ldap-ca", Usage: "certificates (PEM) that the LDAP server is checked against: `FILE`"},
			&cli.StringFlag{Name: "bind-dn", Usage: "service entry dirpost searches as (default: cn=frontend,ou=services,BASE)"},
			&cli.StringFlag{Name: "bind-password-file", Usage: "`FILE` with its password"},
		),
		Action: runInit,
	}
}

func runInit(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	path, err := filepath.Abs(c.String("config"))
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("%w: %s; choose another with --config, or remove it", directory.ErrExists, path))
	}
	cfg, err := initialConfig(c, filepath.Dir(path))
	if err != nil {
		return err
	}
	first := provision.NewAdmin{Login: c.String("admin"), Name: "Administrator"}
	if err := errors.Join(checkLogin("--admin", first.Login), printable("--org", c.String("org"))); err != nil {
		return err
	}
	if cfg.Directory.Embedded || c.String("as") != "" {
		if first.Password, err = newPassword(c, first.Login); err != nil {
			return err
		}
	}
	o, service, err := account(c, cfg.Data)
	if err != nil {
		return err
	}
	if err := makeFiles(cfg); err != nil {
		return err
	}
	org := c.String("org")
	if org == "" {
		org = c.String("domain")
	}
	if cfg.Directory.Embedded {
		err = initEmbedded(c.Context, cfg, org, c.String("domain"), first)
	} else {
		err = initExternal(c, cfg, org, c.String("domain"), first)
	}
	if err != nil {
		return err
	}
	if err := writeConfig(cfg, path); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "made %s\n", path)
	start, err := handOver(c, cfg, path, o, service)
	if err != nil {
		return err
	}
	if ports := taken(c.Context, cfg); len(ports) > 0 {
		fmt.Fprintf(c.App.ErrWriter, "dirpost: note: another program has %s: stop it, or choose other ports and print dirpost.socket anew, before the start\n",
			strings.Join(ports, ", "))
	}
	_, err = fmt.Fprintf(c.App.Writer, "next:\n\n   %s\n   dirpost %suser add alice --mail alice@%s\n", start, globalFlags(c, cfg, path), c.String("domain"))
	return err
}

// globalFlags is what later commands must be given, each flag with a blank behind it.
func globalFlags(c *cli.Context, cfg config.Config, path string) string {
	flags := ""
	if elsewhere(c) {
		flags = "--config " + path + " "
	}
	if !cfg.Directory.Embedded {
		flags += "--as '" + cmp.Or(c.String("as"), "DN") + "' "
	}
	return flags
}

// handOver gives the installation to the service, if there is to be one, and returns how the server is started.
func handOver(c *cli.Context, cfg config.Config, path string, o owner, service bool) (start string, err error) {
	start = "dirpost --config " + path + " serve"
	if !service {
		return start, nil
	}
	if err := o.install(cfg, path); err != nil {
		return "", err
	}
	folder := c.String("systemd")
	if _, err := os.Stat(systemd.Folder); folder == "" && err == nil {
		folder = systemd.Folder
	}
	if folder == "" {
		return start, nil
	}
	s, err := units(cfg, path, o)
	if err != nil {
		return "", err
	}
	written, kept, err := writeUnits(s, folder)
	if err != nil {
		return "", err
	}
	for _, file := range written {
		fmt.Fprintf(c.App.Writer, "made %s\n", file)
	}
	for _, file := range kept {
		fmt.Fprintf(c.App.Writer, "left %s as it is\n", file)
	}
	return "systemctl daemon-reload && systemctl enable --now dirpost.socket dirpost.service", nil
}

// initialConfig is the default configuration with what the flags say.
func initialConfig(c *cli.Context, dir string) (config.Config, error) {
	cfg := config.Default()
	given, err := required(c, "domain")
	if err != nil {
		return cfg, err
	}
	domain, err := directory.ParseDomain(given)
	if err != nil {
		return cfg, usagef("--domain: %v", err)
	}
	cfg.Hostname = "mail." + domain
	cfg.Directory.Base = "dc=" + strings.ReplaceAll(domain, ".", ",dc=")
	cfg.TLS[0] = config.KeyPair{Cert: filepath.Join(dir, "tls", "server.pem"), Key: filepath.Join(dir, "tls", "server.key")}
	for flag, key := range map[string]*string{
		"hostname": &cfg.Hostname, "base": &cfg.Directory.Base, "data": &cfg.Data, "cache": &cfg.Cache, "ldap-ca": &cfg.Directory.CA,
		"bind-dn": &cfg.Directory.BindDN, "bind-password-file": &cfg.Directory.PasswordFile, "ldap-profile": &cfg.Directory.Profile,
	} {
		if !c.IsSet(flag) {
			continue
		}
		*key = c.String(flag)
		switch flag {
		case "data", "cache", "ldap-ca", "bind-password-file":
			if *key, err = filepath.Abs(*key); err != nil {
				return cfg, err
			}
		}
	}
	if elsewhere(c) { // next to another server, and for who may not write to /run
		cfg.Listen.LDAPI, cfg.Listen.Control = filepath.Join(cfg.Data, "run", "ldapi"), filepath.Join(cfg.Data, "run", "control")
	}
	if uris := c.StringSlice("ldap-uri"); len(uris) > 0 {
		cfg.Directory.Embedded, cfg.Directory.URIs, cfg.Directory.StartTLS = false, uris, c.Bool("start-tls")
		cfg.Listen.LDAP, cfg.Listen.LDAPI = nil, ""
	}
	var text bytes.Buffer
	if err := config.Write(&text, cfg); err != nil {
		return cfg, err
	}
	if _, err := config.Parse(text.Bytes()); err != nil {
		return cfg, usagef("%v", err)
	}
	return cfg, nil
}

// makeFiles makes the folders, and a self-signed certificate where there is none.
func makeFiles(cfg config.Config) error {
	keys := filepath.Dir(cfg.TLS[0].Cert)
	if err := os.MkdirAll(filepath.Dir(keys), 0o755); err != nil {
		return err
	}
	for _, dir := range []string{cfg.Data, cfg.Cache, keys} {
		if err := maildir.MakeDir(dir); err != nil {
			return err
		}
	}
	if _, err := os.Stat(cfg.TLS[0].Cert); err == nil {
		return nil
	}
	pair, err := certs.SelfSigned(certs.Request{
		Subject: pkix.Name{CommonName: cfg.Hostname},
		Server:  true,
		DNS:     []string{cfg.Hostname, "localhost"},
		IPs:     []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	})
	if err != nil {
		return err
	}
	return pair.Write(cfg.TLS[0].Cert, cfg.TLS[0].Key)
}

// initEmbedded fills the embedded directory: the containers, the service entry, the administrator and the domain.
func initEmbedded(ctx context.Context, cfg config.Config, org, domain string, first provision.NewAdmin) error {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return err
	}
	secret, err := frontendSecret(cfg)
	if err != nil {
		return err
	}
	dial, stop, err := newDirectory(cfg)
	if err != nil {
		return err
	}
	c, err := client.New(client.Options{Dial: dial, External: true})
	if err != nil {
		return errors.Join(err, stop(ctx))
	}
	p := provision.New(c, provision.Options{Base: cfg.Directory.Base})
	err = fillTree(ctx, p, org, domain, secret, first)
	return errors.Join(err, c.Close(), stop(ctx))
}

func fillTree(ctx context.Context, p *provision.Provisioner, org, domain, secret string, first provision.NewAdmin) error {
	if err := p.Init(ctx, org, secret, first); err != nil {
		return err
	}
	if err := p.AddDomain(ctx, domain); err != nil && !errors.Is(err, directory.ErrExists) {
		return err
	}
	return nil
}

// frontendSecret returns the password of the service entry, made at random the first time. It stays within the data
// folder whatever links lie there, for that may belong to somebody else already.
func frontendSecret(cfg config.Config) (string, error) {
	data, err := os.OpenRoot(cfg.Data)
	if err != nil {
		return "", err
	}
	defer data.Close()
	file, err := filepath.Rel(cfg.Data, frontendFile(cfg))
	if err != nil {
		return "", err
	}
	text, err := data.ReadFile(file)
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := data.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	secret := rand.Text()
	return secret, keepSecret(data, file, secret)
}

// keepSecret writes a new file in a folder of root, whole and durably: the directory holds only the hash of what is in it.
func keepSecret(root *os.Root, file, secret string) error {
	next := file + ".next"
	f, err := root.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(secret + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := root.Rename(next, file); err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(file), "."} { // the folder may be new too
		d, err := root.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// initExternal prepares an LDAP server of one's own, as its administrator where --as is given, and in any case proves
// that dirpost can search it.
func initExternal(c *cli.Context, cfg config.Config, org, domain string, first provision.NewAdmin) error {
	service, err := clientOptions(cfg)
	if err != nil {
		return err
	}
	if c.String("as") != "" {
		opts := service
		if err := actAs(c, &opts); err != nil {
			return err
		}
		as, err := client.New(opts)
		if err != nil {
			return err
		}
		if err := as.Bind(c.Context, opts.BindDN, opts.Password); err != nil { // a wrong password is no outage
			return errors.Join(err, as.Close())
		}
		p := provision.New(as, provision.Options{Base: cfg.Directory.Base})
		err = fillTree(c.Context, p, org, domain, service.Password, first)
		if has, unknown := p.HasPolicies(c.Context); err == nil && unknown == nil && !has && cfg.Directory.Profile == profile.OpenLDAP {
			fmt.Fprintln(c.App.ErrWriter, "dirpost: note: this server has no password policies (OpenLDAP: overlay ppolicy), so none were made")
		}
		if err := errors.Join(err, as.Close()); err != nil {
			return err
		}
	}
	search, err := client.New(service)
	if err != nil {
		return err
	}
	if err := errors.Join(search.Ping(c.Context), search.Close()); err != nil {
		return fmt.Errorf("dirpost cannot search %s as %s: %w", strings.Join(service.URIs, " "), service.BindDN, err)
	}
	return nil
}

func writeConfig(cfg config.Config, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := config.Write(&text, cfg); err != nil {
		return err
	}
	return writeText(path, text.Bytes())
}

// writeText puts a configuration in place, whole or not at all.
func writeText(path string, text []byte) error {
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()) // readable whatever the umask: there is no secret in it
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return err
	}
	return maildir.SyncDir(filepath.Dir(path))
}
