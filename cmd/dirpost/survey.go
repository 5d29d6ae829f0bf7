package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/survey"
)

const checkDescription = `Looks at the directory as the server sees it, with the service identity of the configuration: what of the schema, of
controls and of extended operations it lacks and what does not work for that, how many accounts and domains there are,
what accounts miss, and whether the service can read what it should not.

Exit status: 0 no fault, 1 a fault, or the directory does not answer.

Example:

   dirpost directory check --json`

// checkDirectory surveys the directory.
func checkDirectory(c *cli.Context) (err error) {
	cfg, err := config.Load(c.String("config"))
	if err != nil {
		return err
	}
	opts, err := clientOptions(cfg)
	if err != nil {
		return err
	}
	if cfg.Directory.Embedded {
		opts.URIs = []string{"ldapi://" + cfg.Listen.LDAPI}
		if !answers(c.Context, cfg.Listen.LDAPI) {
			var stop func(context.Context) error
			if opts.Dial, stop, err = ownDirectory(cfg); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, stop(c.Context)) }()
		}
	}
	cl, err := client.New(opts)
	if err != nil {
		return err
	}
	defer cl.Close()
	findings, err := survey.Server(c.Context, cl, surveyOptions(cfg, opts))
	if err != nil {
		return err
	}
	more, err := survey.Entries(c.Context, cl, surveyOptions(cfg, opts))
	if err != nil {
		return err
	}
	findings = append(findings, more...)
	if err := show(c, findings, func(w io.Writer) error { return printFindings(w, findings) }); err != nil {
		return err
	}
	faults := 0
	for _, f := range findings {
		if f.Level == survey.Fault {
			faults++
		}
	}
	if faults > 0 {
		return fmt.Errorf("the directory is not fit to serve: %d of its faults are above", faults)
	}
	return nil
}

func surveyOptions(cfg config.Config, opts client.Options) survey.Options {
	return survey.Options{Base: cfg.Directory.Base, Profile: opts.Profile, Domains: cfg.Directory.Domains}
}

func printFindings(w io.Writer, findings []survey.Finding) error {
	for _, f := range findings {
		if _, err := fmt.Fprintf(w, "%-6s %s\n", strings.ToUpper(string(f.Level)), f.Text); err != nil {
			return err
		}
	}
	return nil
}

// surveyPause is between attempts to look at a directory that does not answer.
const surveyPause = 10 * time.Second

// logSurvey looks once at what the directory lacks and logs it, as soon as it answers. The embedded one lacks nothing.
func (p *platform) logSurvey(ctx context.Context, opts survey.Options) {
	for {
		findings, err := survey.Server(ctx, p.client, opts)
		if err == nil {
			for _, f := range findings {
				if f.Level != survey.OK {
					p.log.WarnContext(ctx, "the directory is not complete", "finding", string(f.Level), "what", f.Text)
				}
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(surveyPause):
		}
	}
}
