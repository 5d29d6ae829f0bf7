package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/directory/provision"
	"github.com/dirpost/dirpost/protocols/ldapd"
)

// An admin is the directory as the administrator's commands see it: LDAP, spoken as himself, so that the directory's
// own access rules judge what he does.
type admin struct {
	cfg       config.Config
	client    *client.Client
	provision *provision.Provisioner
	resolver  *lookup.Resolver
	stop      func(context.Context) error // ends the directory, if this command runs it because the server is stopped
}

// withAdmin makes an action of one that needs the directory and takes the named arguments. What is wrong with the command
// line is said before anything is opened, for who has the embedded directory open keeps others, and the server, from it.
func withAdmin(do func(*cli.Context, *admin, []string) error, names ...string) cli.ActionFunc {
	return func(c *cli.Context) error {
		args, err := arguments(c, names...)
		if err != nil {
			return err
		}
		cfg, err := config.Load(c.String("config"))
		if err != nil {
			return err
		}
		a, err := openAdmin(c, cfg)
		if err != nil {
			return err
		}
		err = do(c, a, args)
		if errors.Is(err, directory.ErrRefused) && !cfg.Directory.Embedded && c.String("as") == "" {
			err = fmt.Errorf("%w; name an administrator with --as", err)
		}
		return errors.Join(err, a.close(c.Context))
	}
}

// openAdmin connects to the directory of cfg: an LDAP server of one's own, the running dirpost through its unix socket,
// or, when that is stopped, the embedded directory run by this command for as long as it takes. Who names no administrator
// of the former sees it as the server does, through the service entry. adjust changes how the client works.
func openAdmin(c *cli.Context, cfg config.Config, adjust ...func(*client.Options)) (*admin, error) {
	a := &admin{cfg: cfg}
	opts, err := connectOptions(cfg)
	if err != nil {
		return nil, err
	}
	switch {
	case c.String("as") != "":
		err = actAs(c, &opts) // asks, and while somebody thinks nothing is open
	case cfg.Directory.Embedded:
		opts.External = true
		err = localAdministrator(cfg)
	default:
		err = actAsService(cfg, &opts)
	}
	if err != nil {
		return nil, err
	}
	for _, f := range adjust {
		f(&opts)
	}
	if cfg.Directory.Embedded {
		opts.URIs = []string{"ldapi://" + cfg.Listen.LDAPI}
		if !answers(c.Context, cfg.Listen.LDAPI) {
			if opts.Dial, a.stop, err = ownDirectory(cfg); err != nil {
				return nil, err
			}
		}
	}
	if a.client, err = client.New(opts); err != nil {
		return nil, errors.Join(err, a.close(c.Context))
	}
	if opts.BindDN != "" { // a wrong password is the administrator's, and no outage
		if err := a.client.Bind(c.Context, opts.BindDN, opts.Password); err != nil {
			return nil, errors.Join(err, a.close(c.Context))
		}
	}
	a.provision = provision.New(a.client, provision.Options{Base: cfg.Directory.Base})
	a.resolver = lookup.New(a.client, lookup.Options{Base: cfg.Directory.Base, Node: cfg.Hostname, Domains: cfg.Directory.Domains})
	return a, nil
}

// ownDirectory runs the embedded directory, which must be there already.
func ownDirectory(cfg config.Config) (dial func(context.Context) (net.Conn, error), stop func(context.Context) error, err error) {
	if err := findDirectory(cfg); err != nil {
		return nil, nil, err
	}
	return newDirectory(cfg)
}

// newDirectory runs the embedded directory, empty if there is none: in this process or, for root, in one of its owner.
func newDirectory(cfg config.Config) (dial func(context.Context) (net.Conn, error), stop func(context.Context) error, err error) {
	o, other, err := otherOwner(cfg)
	if err != nil {
		return nil, nil, err
	}
	if other {
		d, err := startDelegate(cfg, o)
		if err != nil {
			return nil, nil, err
		}
		return d.dial, d.close, nil
	}
	e, err := newEmbedded(cfg, ldapd.Options{})
	if err != nil {
		return nil, nil, err
	}
	return e.dial, e.close, nil
}

// actAs sets who the command acts as: --as, with a password.
func actAs(c *cli.Context, opts *client.Options) error {
	dn := c.String("as")
	if _, err := ldap.ParseDN(dn); err != nil {
		return usagef("--as %s: that is no DN, such as uid=admin,ou=people,dc=example,dc=org", dn)
	}
	password, err := actAsPassword(c, dn)
	opts.BindDN, opts.Password, opts.External = dn, password, false
	return err
}

// localAdministrator refuses who is not what SASL EXTERNAL makes the administrator of the embedded directory, for he would
// see an empty one.
func localAdministrator(cfg config.Config) error {
	if os.Geteuid() == 0 {
		return nil
	}
	o, err := ownerOf(cfg.Data)
	if err == nil && o.uid != os.Geteuid() {
		err = fmt.Errorf("%w: without --as this is for root and for whom %s belongs to", fs.ErrPermission, cfg.Data)
	}
	return err
}

func actAsPassword(c *cli.Context, dn string) (string, error) {
	if file := c.String("as-password-file"); file != "" {
		return readPassword(c, file)
	}
	return ask(c, "Password of "+dn+": ")
}

// answers reports whether a server listens on the unix socket at path.
func answers(ctx context.Context, path string) bool {
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func (a *admin) close(ctx context.Context) error {
	var errs []error
	if a.client != nil {
		errs = append(errs, a.client.Close())
	}
	if a.stop != nil {
		errs = append(errs, a.stop(ctx))
	}
	return errors.Join(errs...)
}
