package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/provision"
)

func roleCommand() *cli.Command {
	return &cli.Command{
		Name:  "role",
		Usage: "addresses of an office: occupants receive, those with a grant send",
		Subcommands: []*cli.Command{
			{
				Name:      "add",
				Usage:     "make a role; its occupants receive its mail and may send as it",
				ArgsUsage: "ADDRESS",
				Description: `Example:

   dirpost role add press@example.org --occupant alice --occupant bob`,
				Flags: []cli.Flag{
					&cli.StringSliceFlag{Name: "occupant", Usage: "`LOGIN` of one who holds the office; may be given several times"},
					jsonFlag(),
				},
				Action: withAdmin(addRole, "ADDRESS"),
			},
			changeAddress("grant", "let a user send as a role", "%[2]s may send as %[1]s", func(ctx context.Context, a *admin, addr directory.Address, login string) error {
				return a.provision.Grant(ctx, addr, login)
			}),
			changeAddress("revoke", "take the right to send as a role away", "%[2]s may no longer send as %[1]s", func(ctx context.Context, a *admin, addr directory.Address, login string) error {
				return a.provision.Revoke(ctx, addr, login)
			}),
			changeAddress("occupy", "let a user receive the mail of a role", "%[2]s receives mail for %[1]s", func(ctx context.Context, a *admin, addr directory.Address, login string) error {
				return a.provision.Occupy(ctx, addr, login)
			}),
			changeAddress("vacate", "stop a user receiving the mail of a role", "%[2]s no longer receives mail for %[1]s", func(ctx context.Context, a *admin, addr directory.Address, login string) error {
				return a.provision.Vacate(ctx, addr, login)
			}),
		},
	}
}

func addRole(c *cli.Context, a *admin, args []string) error {
	addr, err := directory.ParseAddress(args[0])
	if err != nil {
		return usagef("%v", err)
	}
	occupants := c.StringSlice("occupant")
	if len(occupants) == 0 {
		return usagef("%s: name at least one --occupant", c.Command.HelpName)
	}
	dn, err := a.provision.AddRole(c.Context, provision.NewRole{Address: addr, Occupants: occupants})
	if err != nil {
		return err
	}
	return done(c, map[string]any{"address": addr.String(), "dn": dn, "occupants": occupants}, "%s is received by, and may be sent as by, %s", addr, join(occupants))
}
