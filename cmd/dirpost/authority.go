package main

import (
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

func authorityCommand() *cli.Command {
	return &cli.Command{
		Name:  "authority",
		Usage: "issuers whose client certificates may log users in",
		Subcommands: []*cli.Command{
			{
				Name:      "add",
				Usage:     "trust an issuer for certificate logins",
				ArgsUsage: "NAME FILE",
				Description: `FILE is the issuer's certificate, PEM or DER. --trust says which mapping kinds are honoured for it:
sha256 spki issuerserial subject email. Trust email only for an issuer that verifies addresses.

Example:

   dirpost authority add class3 class3.pem --trust sha256 --trust email --crl class3.crl`,
				Flags: []cli.Flag{
					&cli.StringSliceFlag{Name: "trust", Value: cli.NewStringSlice("sha256", "spki"), Usage: "mapping `KIND` honoured; may be given several times"},
					&cli.StringFlag{Name: "crl", Usage: "revocation list of the issuer, PEM or DER, in `FILE`"},
					&cli.StringFlag{Name: "revocation", Usage: "`MODE`: crl-hard (no current list, no login), crl-soft, none (default: crl-hard with --crl, else none)"},
					jsonFlag(),
				},
				Action: withAdmin(addAuthority, "NAME", "FILE"),
			},
			{
				Name:        "crl",
				Usage:       "replace the revocation list of an authority",
				ArgsUsage:   "NAME FILE",
				Description: "Example:\n\n   dirpost authority crl class3 class3.crl",
				Flags:       []cli.Flag{jsonFlag()},
				Action: withAdmin(func(c *cli.Context, a *admin, args []string) error {
					crl, err := readDER(args[1], "X509 CRL")
					if err != nil {
						return err
					}
					if err := a.provision.SetCRL(c.Context, args[0], crl); err != nil {
						return err
					}
					return done(c, map[string]string{"authority": args[0]}, "%s has a new revocation list", args[0])
				}, "NAME", "FILE"),
			},
			{
				Name:        "remove",
				Usage:       "stop trusting an issuer: its certificates log nobody in any more",
				ArgsUsage:   "NAME",
				Description: "The mappings of the users stay, and count again should the issuer be added again.\n\nExample:\n\n   dirpost authority remove class3",
				Flags:       []cli.Flag{jsonFlag()},
				Action:      withAdmin(removeAuthority, "NAME"),
			},
			{
				Name:        "list",
				Usage:       "list the authorities",
				Description: "Example:\n\n   dirpost authority list",
				Flags:       []cli.Flag{jsonFlag()},
				Action:      withAdmin(listAuthorities),
			},
		},
	}
}

func addAuthority(c *cli.Context, a *admin, args []string) error {
	cert, err := readCertificate(args[1])
	if err != nil {
		return err
	}
	var crl []byte
	revocation := "none"
	if file := c.String("crl"); file != "" {
		if crl, err = readDER(file, "X509 CRL"); err != nil {
			return err
		}
		revocation = "crl-hard"
	}
	if c.IsSet("revocation") {
		revocation = c.String("revocation")
	}
	trust := c.StringSlice("trust")
	if err := a.provision.AddAuthority(c.Context, args[0], cert, crl, trust, revocation); err != nil {
		return err
	}
	return done(c, map[string]any{"authority": args[0], "trust": trust, "revocation": revocation},
		"certificates of %q may log users in by %s (revocation: %s)", cert.Subject, strings.Join(trust, ", "), revocation)
}

func removeAuthority(c *cli.Context, a *admin, args []string) error {
	if err := a.provision.RemoveAuthority(c.Context, args[0]); err != nil {
		return err
	}
	return done(c, map[string]string{"authority": args[0]}, "certificates of %s log nobody in any more", args[0])
}

func listAuthorities(c *cli.Context, a *admin, _ []string) error {
	authorities, err := a.resolver.Authorities(c.Context)
	if err != nil {
		return err
	}
	type view struct {
		Name       string   `json:"name"`
		Subject    string   `json:"subject"`
		Trust      []string `json:"trust"`
		Revocation string   `json:"revocation"`
		NotAfter   string   `json:"not_after"`
	}
	out := make([]view, 0, len(authorities))
	for _, x := range authorities {
		out = append(out, view{x.Name, x.Certificates[0].Subject.String(), texts(x.Trust), x.Revocation, x.Certificates[0].NotAfter.Format("2006-01-02")})
	}
	return show(c, out, func(w io.Writer) error {
		var rows [][]string
		for _, v := range out {
			rows = append(rows, []string{v.Name, strings.Join(v.Trust, " "), v.Revocation, v.NotAfter, v.Subject})
		}
		return printTable(w, []string{"NAME", "TRUST", "REVOCATION", "UNTIL", "SUBJECT"}, rows)
	})
}
