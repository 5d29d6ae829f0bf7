package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/directory/lookup"
)

// maxCertBytes bounds a certificate or revocation list file.
const maxCertBytes = 16 << 20

func certCommand() *cli.Command {
	return &cli.Command{
		Name:  "cert",
		Usage: "client certificates that users log in with",
		Description: `A certificate logs a user in when its mapping is in the user's entry and its issuer is a known
authority (dirpost authority add). Removing the mapping is the fast way to revoke it.`,
		Subcommands: []*cli.Command{
			{
				Name:      "add",
				Usage:     "let a user log in with a certificate",
				ArgsUsage: "LOGIN FILE",
				Description: `FILE is PEM or DER. Kinds: sha256 (this certificate), spki (its key, so renewal with the same key is
covered), issuerserial, subject, email. The authority must trust the kind.

Examples:

   dirpost cert add alice alice.pem
   dirpost cert add alice alice.der --kind spki`,
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "kind", Value: "sha256", Usage: "what of the certificate counts: `KIND`"},
					jsonFlag(),
				},
				Action: withAdmin(addCertificate, "LOGIN", "FILE"),
			},
			{
				Name:        "list",
				Usage:       "list the certificates of a user",
				ArgsUsage:   "LOGIN",
				Description: "Example:\n\n   dirpost cert list alice",
				Flags:       []cli.Flag{jsonFlag()},
				Action:      withAdmin(listCertificates, "LOGIN"),
			},
			{
				Name:      "remove",
				Usage:     "stop a certificate from logging a user in",
				ArgsUsage: "LOGIN VALUE|FILE",
				Description: `VALUE is as cert list prints it. FILE is the certificate itself: then every mapping that fits it goes, of whatever kind.

Example:

   dirpost cert remove alice alice.pem`,
				Flags:  []cli.Flag{jsonFlag()},
				Action: withAdmin(removeCertificate, "LOGIN", "VALUE|FILE"),
			},
		},
	}
}

func addCertificate(c *cli.Context, a *admin, args []string) error {
	cert, err := readCertificate(args[1])
	if err != nil {
		return err
	}
	if err := a.provision.AddCertificate(c.Context, args[0], cert, c.String("kind")); err != nil {
		return err
	}
	kind, fingerprint := c.String("kind"), lookup.KeysOf(cert).SHA256
	warning, err := distrust(c, a, cert, kind)
	if err != nil {
		return err
	}
	said := map[string]string{"login": args[0], "kind": kind, "sha256": fingerprint}
	if warning != "" {
		said["warning"] = warning
		fmt.Fprintf(c.App.ErrWriter, "dirpost: warning: %s\n", warning)
	}
	return done(c, said, "%s logs in with the certificate %q, sha256 %s, by %s", args[0], cert.Subject, fingerprint, kind)
}

// distrust says why a certificate does not log anybody in although it is mapped, "" if its issuer is trusted for the kind.
func distrust(c *cli.Context, a *admin, cert *x509.Certificate, kind string) (string, error) {
	authorities, err := a.resolver.Authorities(c.Context)
	if err != nil {
		return "", err
	}
	known := ""
	for _, x := range authorities {
		issued := slices.ContainsFunc(x.Certificates, func(ca *x509.Certificate) bool { return cert.CheckSignatureFrom(ca) == nil })
		if issued && slices.Contains(x.Trust, kind) {
			return "", nil
		}
		if issued {
			known = x.Name
		}
	}
	if known != "" {
		return fmt.Sprintf("the authority %s is not trusted for the kind %s, so this does not log in yet; add it anew with --trust %s", known, kind, kind), nil
	}
	return fmt.Sprintf("no authority has issued this certificate, so it does not log in yet: dirpost authority add NAME FILE --trust %s", kind), nil
}

func listCertificates(c *cli.Context, a *admin, args []string) error {
	mappings, err := a.provision.Certificates(c.Context, args[0])
	if err != nil {
		return err
	}
	type view struct {
		Kind  string `json:"kind"`
		Value string `json:"value"`
	}
	out := make([]view, 0, len(mappings))
	for _, m := range mappings {
		out = append(out, view{m.Kind, m.Value})
	}
	return show(c, out, func(w io.Writer) error {
		var rows [][]string
		for _, m := range out {
			rows = append(rows, []string{m.Kind, m.Value})
		}
		return printTable(w, []string{"KIND", "VALUE"}, rows)
	})
}

func removeCertificate(c *cli.Context, a *admin, args []string) error {
	cert, err := readCertificate(args[1])
	if err != nil { // no file: a value
		if err := a.provision.RemoveCertificate(c.Context, args[0], args[1]); err != nil {
			return err
		}
		return done(c, map[string]any{"login": args[0], "removed": []string{args[1]}}, "%s no longer logs in by %s", args[0], args[1])
	}
	gone, err := a.provision.Unmap(c.Context, args[0], cert)
	if err != nil {
		return err
	}
	removed := make([]string, 0, len(gone))
	for _, m := range gone {
		removed = append(removed, m.Kind+" "+m.Value)
	}
	return done(c, map[string]any{"login": args[0], "removed": removed}, "%s no longer logs in with this certificate; removed: %s",
		args[0], strings.Join(removed, ", "))
}

// readCertificate reads one certificate, PEM or DER; of a PEM chain the first.
func readCertificate(path string) (*x509.Certificate, error) {
	der, err := readDER(path, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s is no certificate, neither PEM nor DER: %w", path, err)
	}
	return cert, nil
}

// readDER reads a file that is DER, or PEM with a block of the given type.
func readDER(path, blockType string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxCertBytes {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxCertBytes)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return text, nil
		}
		if block.Type == blockType {
			return block.Bytes, nil
		}
	}
}
