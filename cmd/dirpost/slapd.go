package main

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/schema/slapd"
)

// slapdCommand prints the reference configuration of OpenLDAP.
func slapdCommand() *cli.Command {
	return &cli.Command{
		Name:  "slapd",
		Usage: "print the reference configuration of OpenLDAP's slapd, for a new server",
		Description: `It has the schema, indexes, access rules, limits and overlays (password policies, references, unique addresses,
content synchronization), for slapadd into an empty configuration. The password is that of cn=root,BASE, who makes
all entries ("dirpost --as cn=root,BASE init"), and of cn=config.

On Debian slapd-contrib must be installed, for stored passwords of further kinds.

Example:

   dirpost directory slapd --base dc=example,dc=org > slapd.ldif
   systemctl stop slapd && rm -r /etc/ldap/slapd.d/* /var/lib/ldap/*
   slapadd -n0 -F /etc/ldap/slapd.d -l slapd.ldif
   chown -R openldap:openldap /etc/ldap/slapd.d && systemctl start slapd`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "base", Usage: "suffix of the tree (required)"},
			passwordFlag(),
			&cli.StringFlag{Name: "cert", Usage: "certificate of the server: `FILE` (default: no TLS)"},
			&cli.StringFlag{Name: "key", Usage: "its key: `FILE`"},
			&cli.StringFlag{Name: "ca", Usage: "authorities of client certificates: `FILE`"},
			&cli.StringFlag{Name: "database", Value: "/var/lib/ldap", Usage: "`FOLDER` of the entries"},
			&cli.StringFlag{Name: "run", Value: "/run/slapd", Usage: "`FOLDER` of the pid file"},
		},
		Action: printSlapd,
	}
}

func printSlapd(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	base, err := required(c, "base")
	if err != nil {
		return err
	}
	password, err := newPassword(c, "cn=root,"+base)
	if err != nil {
		return err
	}
	stored := saltedSHA(password)
	text, err := slapd.Config{
		Suffix: base, RootPassword: stored, ConfigPassword: stored,
		Data: c.String("database"), Run: c.String("run"),
		Cert: c.String("cert"), Key: c.String("key"), CA: c.String("ca"),
	}.Render()
	if errors.Is(err, slapd.ErrValue) {
		return usagef("%v", err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(c.App.Writer, text)
	return err
}

// saltedSHA is the form that every slapd can check without a module (RFC 2307, with a salt).
func saltedSHA(password string) string {
	salt := make([]byte, 8)
	rand.Read(salt) // never fails
	sum := sha1.Sum(append([]byte(password), salt...))
	return "{SSHA}" + base64.StdEncoding.EncodeToString(append(sum[:], salt...))
}
