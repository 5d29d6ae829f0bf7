package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
)

func reloadCommand() *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Usage: "have the running server read its configuration and certificates again",
		Description: `Open sessions go on. New certificates and log.level are used at once; other keys that have changed are
named, since they need a restart. If anything is wrong the server stays as it is, and says what.

Example, after the certificate was renewed:

   dirpost reload`,
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if _, err := arguments(c); err != nil {
				return err
			}
			var said reloaded
			if err := control(c, "POST", "/reload", &said); err != nil {
				return err
			}
			return show(c, said, func(w io.Writer) error {
				text := "reloaded"
				if len(said.Restart) > 0 {
					text += "; what needs a restart: " + strings.Join(said.Restart, " ")
				}
				_, err := fmt.Fprintln(w, text)
				return err
			})
		},
	}
}

// A reloaded says what a reload did.
type reloaded struct {
	Changed []string `json:"changed"` // keys that are in use now
	Restart []string `json:"restart"` // keys whose new values wait for a restart
}

// reloadOn reloads at each signal.
func (p *platform) reloadOn(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			_, _ = p.reload() // it logs
		}
	}
}

// reload reads the configuration and the certificates again. On an error everything stays as it is.
func (p *platform) reload() (reloaded, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tell(p.notify.Reloading())
	said, err := p.change()
	state := "reloaded"
	if err != nil {
		state = "reload failed, all stays as it was"
		p.log.Error(state, "err", err)
	} else {
		p.log.Info(state, "changed", said.Changed)
	}
	if len(said.Restart) > 0 {
		state += ", changes need a restart"
		p.log.Warn("changes need a restart", "keys", said.Restart)
	}
	p.tell(p.notify.Ready(state))
	return said, err
}

// change puts a new configuration in use, as far as that is possible. The caller holds mu.
func (p *platform) change() (reloaded, error) {
	said := reloaded{Changed: []string{}, Restart: []string{}}
	next, err := config.Load(p.path)
	if err != nil {
		return said, err
	}
	if err := p.certs.Reload(certificatePairs(next)); err != nil {
		return said, notReadable(err)
	}
	p.level.Set(next.Log.SlogLevel())
	for _, key := range config.Changes(p.cfg, next) {
		if slices.Contains([]string{"tls", "log.level"}, key) {
			said.Changed = append(said.Changed, key)
		} else {
			said.Restart = append(said.Restart, key)
		}
	}
	p.cfg.TLS, p.cfg.Log.Level = next.TLS, next.Log.Level
	return said, nil
}
