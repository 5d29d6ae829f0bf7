package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/lookup"
)

func addressCommand() *cli.Command {
	return &cli.Command{
		Name:  "address",
		Usage: "where mail goes",
		Subcommands: []*cli.Command{{
			Name:      "show",
			Usage:     "tell where mail for an address goes, and why",
			ArgsUsage: "ADDRESS",
			Description: `The answer comes from the code that decides about real mail. Who may write to a list is judged only for a given
sender: --from for a stranger, --login for one of our own. Exit status 3: nobody has the address.

Examples:

   dirpost address show press@example.org
   dirpost address show --from joe@elsewhere.example members@example.org`,
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "from", Usage: "judge for a stranger who writes as `ADDRESS`"},
				&cli.StringFlag{Name: "login", Usage: "judge for the account `LOGIN`, logged in"},
				jsonFlag(),
			},
			Action: withAdmin(showAddress, "ADDRESS"),
		}},
	}
}

// A routeView is a route as --json shows it; its names are stable.
type routeView struct {
	Address   string     `json:"address"`
	Mailboxes []boxView  `json:"mailboxes"`
	Remote    []string   `json:"remote"`
	Transport string     `json:"transport,omitempty"`
	Steps     []stepView `json:"steps"`
	Error     string     `json:"error,omitempty"`
}

type boxView struct {
	Login   string `json:"login"`
	Mailbox string `json:"mailbox"`
}

type stepView struct {
	Entry string `json:"entry,omitempty"`
	Text  string `json:"text"`
}

func showAddress(c *cli.Context, a *admin, args []string) error {
	addr, err := directory.ParseAddress(args[0])
	if err != nil {
		return usagef("%v", err)
	}
	from, err := senderFlags(c, a)
	if err != nil {
		return err
	}
	route, err := a.resolver.Route(c.Context, addr, from)
	view := routeView{Address: addr.String(), Mailboxes: []boxView{}, Remote: texts(route.Remote), Transport: route.Transport, Steps: []stepView{}}
	for _, m := range route.Mailboxes {
		view.Mailboxes = append(view.Mailboxes, boxView{m.Login, m.ID})
	}
	for _, s := range route.Steps {
		view.Steps = append(view.Steps, stepView{s.Entry, s.Text})
	}
	if err != nil { // the way to the refusal is what one wants to see
		view.Error = err.Error()
	}
	return errors.Join(show(c, view, view.print), err)
}

// senderFlags says for whom the route is judged; nil for nobody.
func senderFlags(c *cli.Context, a *admin) (*lookup.Sender, error) {
	var from lookup.Sender
	var err error
	if c.String("from") != "" {
		if from.Address, err = directory.ParseAddress(c.String("from")); err != nil {
			return nil, usagef("--from: %v", err)
		}
	}
	if name := c.String("login"); name != "" {
		acct, err := a.resolver.Account(c.Context, name)
		if err != nil {
			return nil, err
		}
		from.Entry = acct.DN
	}
	if from == (lookup.Sender{}) {
		return nil, nil
	}
	return &from, nil
}

func (v routeView) print(w io.Writer) error {
	for _, s := range v.Steps {
		line := s.Text
		if s.Entry != "" {
			line += "  (" + s.Entry + ")"
		}
		fmt.Fprintln(w, line)
	}
	for _, m := range v.Mailboxes {
		fmt.Fprintf(w, "=> mailbox of %s (%s)\n", m.Login, m.Mailbox)
	}
	for _, r := range v.Remote {
		fmt.Fprintf(w, "=> %s, outside\n", r)
	}
	if v.Transport != "" {
		fmt.Fprintf(w, "=> handed to %s\n", v.Transport)
	}
	return nil
}
