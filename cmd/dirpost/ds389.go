package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/schema"
	"github.com/dirpost/dirpost/schema/ds389"
)

// ds389Command prints what a 389 Directory Server needs.
func ds389Command() *cli.Command {
	return &cli.Command{
		Name:  "389ds",
		Usage: "print the reference configuration of 389 Directory Server",
		Description: `With --schema it is the file for the schema folder of the instance. Else it is changes for ldapmodify: plugins
(references, unique addresses), indexes, password policy, limits, access rules, and the service entry; with
--content-sync those that switch content synchronization on, without which changes come by persistent search. The
instance has to be restarted after each.

In a directory that has entries already, build the indexes before you restart it the second time:
dsconf INSTANCE backend index reindex userRoot

Example:

   dirpost directory 389ds --schema > /etc/dirsrv/slapd-INSTANCE/schema/99dirpost-389ds.ldif
   dsctl INSTANCE restart
   dirpost directory 389ds --base dc=example,dc=org | ldapmodify -c -x -D "cn=Directory Manager" -W -H ldaps://ldap.example.org
   dsctl INSTANCE restart`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "base", Usage: "suffix of the tree, whose entry is there (required)"},
			&cli.StringFlag{Name: "backend", Value: "userRoot", Usage: "`NAME` of the database that has the suffix"},
			&cli.BoolFlag{Name: "schema", Usage: "print the schema instead"},
			&cli.BoolFlag{Name: "content-sync", Usage: "print what switches content synchronization on instead"},
		},
		Action: printDS389,
	}
}

func printDS389(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	text := ""
	switch {
	case c.Bool("schema"):
		text = schema.DS389
	case c.Bool("content-sync"):
		text = ds389.ContentSync
	default:
		base, err := required(c, "base")
		if err != nil {
			return err
		}
		text, err = ds389.Reference(base, c.String("backend"))
		if errors.Is(err, ds389.ErrValue) {
			return usagef("%v", err)
		}
		if err != nil {
			return err
		}
	}
	_, err := fmt.Fprint(c.App.Writer, text)
	return err
}
