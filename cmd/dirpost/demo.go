package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/demo"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "run a whole server on loopback and show, as its client, what it does",
		Description: `It makes a CA, certificates, a directory with people in it and all listeners below one folder, shows what
works in a table, and keeps serving until Ctrl-C. A second run uses the same folder again.

Exit status of --check: 0 if every row passed, 1 if not, 2 if a port is taken.

Examples:

   dirpost demo
   dirpost demo --dir /tmp/demo --port-base 3000
   dirpost demo --check`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Value: "demo", Usage: "keep everything in `FOLDER`"},
			&cli.IntFlag{Name: "port-base", Value: 2000, Usage: "add `N` to each well-known port"},
			&cli.BoolFlag{Name: "check", Usage: "stop after the table; the exit status tells whether all rows passed"},
			&cli.StringFlag{Name: "log", Usage: "write the server's log to `FILE` (default: FOLDER/dirpost.log)"},
		},
		Action: runDemo,
	}
}

func runDemo(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	begin := time.Now()
	base := c.Int("port-base")
	if base < 0 || base > 65535-993 {
		return usagef("--port-base %d: the highest port would be %d", base, base+993)
	}
	dir, err := filepath.Abs(c.String("dir"))
	if err != nil {
		return err
	}
	set, err := prepareDemo(c.Context, dir, base)
	if err != nil {
		return err
	}
	logFile := c.String("log")
	if logFile == "" {
		logFile = filepath.Join(dir, "dirpost.log")
	}
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	return set.run(c, slog.New(slog.NewTextHandler(log, nil)), begin)
}

// run serves, shows, and goes on serving.
func (d *demoSet) run(c *cli.Context, log *slog.Logger, begin time.Time) error {
	ctx, stop := context.WithCancel(c.Context)
	defer stop()
	p := newPlatform(d.cfg, log)
	if err := p.build(); err != nil {
		return err
	}
	all, err := p.listen(ctx)
	if err != nil {
		return errors.Join(fmt.Errorf("%w; another --port-base moves all ports", err), p.close(ctx))
	}
	if err := d.facts.Write(filepath.Join(d.dir, "demo.json")); err != nil {
		return errors.Join(err, p.close(ctx))
	}
	served := make(chan error, 1)
	go func() { served <- p.serve(ctx, all) }()

	out := c.App.Writer
	fmt.Fprintf(out, "dirpost %s serves %s on loopback; everything is in %s\n\n", version, d.facts.Domain, d.dir)
	passed, err := demo.Run(ctx, d.facts, func(r demo.Row) { printRow(out, r) })
	fmt.Fprintf(out, "\n%s in %.1f s\n", verdict(passed), time.Since(begin).Seconds())
	if err == nil && !c.Bool("check") {
		fmt.Fprint(out, howTo(d.facts))
		select {
		case err := <-served:
			return err
		case <-ctx.Done():
		}
	}
	stop()
	err = errors.Join(err, <-served)
	if err == nil && !passed {
		err = errors.New("not every row passed; see the log in " + d.dir)
	}
	if errors.Is(err, context.Canceled) && c.Context.Err() != nil {
		return nil // Ctrl-C is how a demonstration ends
	}
	return err
}

func verdict(passed bool) string {
	if passed {
		return "all passed"
	}
	return "NOT ALL PASSED"
}

func printRow(w io.Writer, r demo.Row) {
	mark, note := "PASS", r.Note
	if r.Err != nil {
		mark, note = "FAIL", strings.ReplaceAll(r.Err.Error(), "\n", "; ")
	}
	fmt.Fprintf(w, "%s  %-38s %-32s %7.1f ms  %s\n", mark, r.What, r.How, float64(r.Took.Microseconds())/1000, note)
}
