package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/directory"
)

func aliasCommand() *cli.Command {
	return &cli.Command{
		Name:  "alias",
		Usage: "further addresses that a user receives, but cannot send as",
		Subcommands: []*cli.Command{
			changeAddress("add", "let a user receive an address", "%[2]s receives %[1]s", func(ctx context.Context, a *admin, addr directory.Address, login string) error {
				return a.provision.AddAlias(ctx, login, addr)
			}),
			changeAddress("remove", "stop receiving an address", "%[2]s no longer receives %[1]s", func(ctx context.Context, a *admin, addr directory.Address, login string) error {
				return a.provision.RemoveAlias(ctx, login, addr)
			}),
		},
	}
}

// changeAddress makes a command that joins an address with a login, or parts them. Said is printed afterwards, with the
// address and the login as its arguments.
func changeAddress(name, usage, said string, change func(context.Context, *admin, directory.Address, string) error) *cli.Command {
	return &cli.Command{
		Name:      name,
		Usage:     usage,
		ArgsUsage: "ADDRESS LOGIN",
		Flags:     []cli.Flag{jsonFlag()},
		Action: withAdmin(func(c *cli.Context, a *admin, args []string) error {
			addr, err := directory.ParseAddress(args[0])
			if err != nil {
				return usagef("%v", err)
			}
			if err := change(c.Context, a, addr, args[1]); err != nil {
				return err
			}
			return done(c, map[string]string{"address": addr.String(), "login": args[1]}, said, addr, args[1])
		}, "ADDRESS", "LOGIN"),
	}
}
