package main

import (
	"io"
	"log/slog"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run the server until SIGTERM or Ctrl-C",
		Description: `It starts, and keeps what it has, while the directory is away: clients are then told to try again.

Example:

   dirpost --config /etc/dirpost/dirpost.toml serve`,
		Action: func(c *cli.Context) error {
			if _, err := arguments(c); err != nil {
				return err
			}
			cfg, err := config.Load(c.String("config"))
			if err != nil {
				return err
			}
			p, err := build(cfg, newLogger(cfg.Log, c.App.ErrWriter))
			if err != nil {
				return err
			}
			all, err := p.listen(c.Context)
			if err != nil {
				p.close(c.Context)
				return err
			}
			return p.serve(c.Context, all)
		},
	}
}

func newLogger(cfg config.Log, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.SlogLevel()}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
