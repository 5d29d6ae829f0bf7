package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/ldif"
	"github.com/dirpost/dirpost/schema"
)

func directoryCommand() *cli.Command {
	return &cli.Command{
		Name:  "directory",
		Usage: "the directory as a whole: check it, take it out, put it in, have OpenLDAP hold it",
		Subcommands: []*cli.Command{
			slapdCommand(),
			ds389Command(),
			{
				Name:      "export",
				Usage:     "write every entry as LDIF",
				ArgsUsage: "[FILE]",
				Description: `The export goes to FILE, which must not exist, or to standard output. It has all attributes that the administrator
may read; as the local administrator also passwords, as they are stored, and what the server itself wrote, so that
"directory import" or slapadd make the same directory of it. Keep it as safe as the passwords.

Example:

   dirpost directory export people.ldif`,
				Action: exportDirectory,
			},
			{
				Name:      "import",
				Usage:     "add the entries of an LDIF file",
				ArgsUsage: "FILE",
				Description: `FILE is an export of this or another directory (RFC 2849); - is standard input. Entries may come in any order in
which those above come first. Stored passwords stay as they are. The server may run: it serves meanwhile, and who
keeps a copy of the directory learns of each entry. The first entry that is refused ends the import; what was added
before or together with it stays, and --skip-existing lets the next attempt go on from there.

As the local administrator of the embedded directory entries keep their identity and their times.

Example:

   dirpost directory import --dry-run people.ldif`,
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "dry-run", Usage: "read and check the file, and add nothing"},
					&cli.BoolFlag{Name: "skip-existing", Usage: "pass over entries that are there, as they are"},
					jsonFlag(),
				},
				Action: importDirectory,
			},
			{
				Name:        "check",
				Usage:       "tell what the directory lacks, and what does not work for that",
				Description: checkDescription,
				Flags:       []cli.Flag{jsonFlag()},
				Action:      checkDirectory,
			},
		},
	}
}

// writers is how many entries an import adds at once: they share syncs of the directory's file.
const writers = 32

// wholeTree is how long an export or import may take. One call is bounded by the directory itself.
const wholeTree = 6 * time.Hour

// openWhole connects for work on the whole tree.
func openWhole(c *cli.Context) (*admin, error) {
	cfg, err := config.Load(c.String("config"))
	if err != nil {
		return nil, err
	}
	return openAdmin(c, cfg, func(o *client.Options) { o.PoolSize, o.Timeout = writers, wholeTree })
}

func exportDirectory(c *cli.Context) (err error) {
	a, err := openWhole(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close(c.Context)) }()
	out, name := c.App.Writer, c.Args().First()
	if name != "" {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		out = f
		defer func() { err = errors.Join(err, f.Sync(), f.Close()) }()
	}
	w := ldif.NewWriter(out)
	entries := 0
	err = a.client.Each(c.Context, a.cfg.Directory.Base, ldap.ScopeWholeSubtree, "(objectClass=*)", []string{"*", "+"}, func(e *ldap.Entry) error {
		entries++
		return w.Write(exported(e))
	})
	if err = errors.Join(err, w.Flush()); err != nil {
		return err
	}
	fmt.Fprintf(c.App.ErrWriter, "%d entries exported\n", entries)
	return nil
}

// computed are attributes of every entry that no server stores: slapadd refuses some of them.
var computed = []string{schema.AttrEntryDN, schema.AttrSubschemaSubentry, schema.AttrHasSubordinates}

func exported(e *ldap.Entry) *ldif.Record {
	r := &ldif.Record{DN: e.DN}
	for _, a := range e.Attributes {
		if !slices.Contains(computed, a.Name) {
			r.Attributes = append(r.Attributes, ldif.Attribute{Name: a.Name, Values: a.ByteValues})
		}
	}
	return r
}

func importDirectory(c *cli.Context) (err error) {
	args, err := arguments(c, "FILE")
	if err != nil {
		return err
	}
	var in io.Reader = c.App.Reader
	if args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	began := time.Now()
	i := &importing{records: ldif.NewReader(bufio.NewReader(in), ldif.Limits{}), skip: c.Bool("skip-existing")}
	if c.Bool("dry-run") {
		n, err := i.check()
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		return done(c, map[string]any{"entries": n, "added": 0}, "%d entries are well formed", n)
	}
	a, err := openWhole(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close(c.Context)) }()
	i.client, i.local = a.client, a.cfg.Directory.Embedded && c.String("as") == ""
	if err := i.run(c.Context); err != nil {
		return fmt.Errorf("%s: %w; %d entries were added", args[0], err, i.added)
	}
	took := time.Since(began)
	return done(c, map[string]any{"added": i.added, "skipped": i.skipped, "seconds": took.Seconds()},
		"%d entries added, %d skipped, in %s", i.added, i.skipped, took.Round(time.Millisecond))
}

// serverAttributes is what the server writes itself, by lower-case name: only the local administrator of the embedded directory may
// give it, and what is computed nobody.
func serverAttributes() map[string]bool {
	out := map[string]bool{}
	for _, a := range schema.Load().AttributeTypes {
		if a.NoUserMod {
			out[strings.ToLower(a.Name())] = true
		}
	}
	return out
}

// relax asks the embedded directory to take what only it writes.
const relax = "1.3.6.1.4.1.4203.666.5.12"

// request makes the request that adds an entry.
func (i *importing) request(r *ldif.Record) *ldap.AddRequest {
	req := ldap.NewAddRequest(r.DN, nil)
	if i.local {
		req.Controls = []ldap.Control{ldap.NewControlString(relax, true, "")}
	}
	for _, a := range r.Attributes {
		if !i.local && i.server[strings.ToLower(a.Name)] {
			continue
		}
		values := make([]string, len(a.Values))
		for n, v := range a.Values {
			values[n] = string(v)
		}
		req.Attribute(a.Name, values)
	}
	return req
}

// add adds one entry.
func (i *importing) add(ctx context.Context, r *ldif.Record) error {
	return i.client.Add(ctx, i.request(r))
}
