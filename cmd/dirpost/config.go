package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
)

func configCommand() *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "check the configuration, or print an example",
		Subcommands: []*cli.Command{
			{
				Name:      "check",
				Usage:     "read the configuration and say what is wrong with it",
				ArgsUsage: "[FILE]",
				Description: `Examples:

   dirpost config check
   dirpost config check ./dirpost.toml`,
				Action: func(c *cli.Context) error {
					path := c.String("config")
					if c.Args().Present() {
						path = c.Args().First()
					}
					if _, err := config.Load(path); err != nil {
						return err
					}
					_, err := fmt.Fprintf(c.App.Writer, "%s is good\n", path)
					return err
				},
			},
			{
				Name:  "example",
				Usage: "print a configuration with every key, its meaning and its default",
				Action: func(c *cli.Context) error {
					return config.Write(c.App.Writer, config.Default())
				},
			},
		},
	}
}
