package main

import (
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
)

func systemdCommand() *cli.Command {
	print := func(name, file, usage string) *cli.Command {
		return &cli.Command{
			Name:        name,
			Usage:       usage,
			Description: fmt.Sprintf("Example:\n\n   dirpost systemd %s > /etc/systemd/system/%s", name, file),
			Action:      func(c *cli.Context) error { return printUnit(c, file) },
		}
	}
	return &cli.Command{
		Name:  "systemd",
		Usage: "print the units that run the server under systemd, as the configuration wants them",
		Subcommands: []*cli.Command{
			print("unit", "dirpost.service", "the service: sandboxed, watched, as the owner of the data folder"),
			print("socket", "dirpost.socket", "the ports, which systemd opens so that the server needs no right to"),
		},
	}
}

func printUnit(c *cli.Context, file string) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	path, err := filepath.Abs(c.String("config"))
	if err != nil {
		return err
	}
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	o, err := ownerOf(cfg.Data)
	if err != nil {
		return fmt.Errorf("%w; `dirpost init` makes it", err)
	}
	s, err := units(cfg, path, o)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(c.App.Writer, s.Files()[file])
	return err
}
