package main

import (
	"io"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/directory/provision"
)

func domainCommand() *cli.Command {
	return &cli.Command{
		Name:  "domain",
		Usage: "the domains that mail is received for",
		Subcommands: []*cli.Command{
			{
				Name:        "add",
				Usage:       "receive mail for a domain",
				ArgsUsage:   "DOMAIN",
				Description: "Example:\n\n   dirpost domain add example.org",
				Flags:       []cli.Flag{jsonFlag()},
				Action: withAdmin(func(c *cli.Context, a *admin, args []string) error {
					if err := a.provision.AddDomain(c.Context, args[0]); err != nil {
						return err
					}
					return done(c, map[string]string{"domain": args[0]}, "mail for %s is received now", args[0])
				}, "DOMAIN"),
			},
			{
				Name:        "list",
				Usage:       "list the domains",
				Description: "Example:\n\n   dirpost domain list --json",
				Flags:       []cli.Flag{jsonFlag()},
				Action: withAdmin(func(c *cli.Context, a *admin, _ []string) error {
					domains, err := a.provision.Domains(c.Context)
					if err != nil {
						return err
					}
					return show(c, domainViews(domains), func(w io.Writer) error {
						var rows [][]string
						for _, d := range domains {
							rows = append(rows, []string{d.Name, string(d.Status), d.Transport})
						}
						return printTable(w, []string{"DOMAIN", "STATUS", "TRANSPORT"}, rows)
					})
				}),
			},
		},
	}
}

// A domainView is a domain as --json shows it; its names are stable.
type domainView struct {
	Name      string `json:"name"`
	DN        string `json:"dn"`
	Status    string `json:"status"`
	Transport string `json:"transport,omitempty"`
	AliasOf   string `json:"alias_of,omitempty"`
}

func domainViews(domains []provision.Domain) []domainView {
	out := make([]domainView, 0, len(domains))
	for _, d := range domains {
		out = append(out, domainView{d.Name, d.DN, string(d.Status), d.Transport, d.AliasOf})
	}
	return out
}
