package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/provision"
)

func userCommand() *cli.Command {
	return &cli.Command{
		Name:  "user",
		Usage: "people with a mailbox",
		Subcommands: []*cli.Command{
			userAdd(),
			{
				Name:        "list",
				Usage:       "list the users",
				Description: "Example:\n\n   dirpost user list --json",
				Flags:       []cli.Flag{jsonFlag()},
				Action:      withAdmin(listUsers),
			},
			{
				Name:        "show",
				Usage:       "show one user",
				ArgsUsage:   "LOGIN",
				Description: "LOGIN is the user name or an address the user sends with.\n\nExample:\n\n   dirpost user show alice",
				Flags:       []cli.Flag{jsonFlag()},
				Action:      withAdmin(showUser, "LOGIN"),
			},
			{
				Name:        "passwd",
				Usage:       "set the password of a user",
				ArgsUsage:   "LOGIN",
				Description: "Example:\n\n   dirpost user passwd alice",
				Flags:       []cli.Flag{passwordFlag(), jsonFlag()},
				Action:      setUserPassword,
			},
			userStatus("disable", "stop login and receiving; mail is kept (undo: enable)", directory.Suspended, "disabled"),
			userStatus("enable", "undo disable or nologin", directory.Active, "active again"),
			userStatus("nologin", "stop login, go on receiving", directory.NoLogin, "no longer able to log in"),
			{
				Name:      "delete",
				Usage:     "retire a user: no login, the addresses are unknown; the mailbox is kept",
				ArgsUsage: "LOGIN",
				Flags:     []cli.Flag{jsonFlag()},
				Action: withAdmin(func(c *cli.Context, a *admin, args []string) error {
					if err := a.provision.DeleteUser(c.Context, args[0]); err != nil {
						return err
					}
					return done(c, map[string]string{"login": args[0], "status": string(directory.Deleted)}, "%s is deleted; the mailbox is kept", args[0])
				}, "LOGIN"),
			},
		},
	}
}

func userAdd() *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "make a user with a mailbox",
		ArgsUsage: "LOGIN",
		Description: `The domain of the address must be one of ours (dirpost domain add).

Examples:

   dirpost user add alice --mail alice@example.org
   dirpost user add bob --mail bob@example.org --name "Bob Brandt" --quota 2G --password-file -`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "mail", Usage: "the user's `ADDRESS` (required)"},
			&cli.StringFlag{Name: "name", Usage: "the user's full `NAME` (default: LOGIN)"},
			&cli.StringSliceFlag{Name: "service", Usage: "`SERVICE` the user may use: submission imap pop3 managesieve webmail admin (default: submission, imap)"},
			&cli.StringFlag{Name: "quota", Usage: "`SIZE` of the mailbox: 500M, 2G (default: that of the domain)"},
			passwordFlag(),
			jsonFlag(),
		},
		Action: addUser,
	}
}

func addUser(c *cli.Context) error {
	user, err := newUser(c)
	if err != nil {
		return err
	}
	return withAdmin(func(c *cli.Context, a *admin, _ []string) error {
		dn, err := a.provision.AddUser(c.Context, user)
		if err != nil {
			return err
		}
		return done(c, map[string]string{"login": user.Login, "mail": user.Mail.String(), "dn": dn}, "%s receives %s (%s)", user.Login, user.Mail, dn)
	}, "LOGIN")(c)
}

// newUser is the user that the command line describes, with the password that is asked for last.
func newUser(c *cli.Context) (provision.NewUser, error) {
	user := provision.NewUser{Name: c.String("name")}
	args, err := arguments(c, "LOGIN")
	if err != nil {
		return user, err
	}
	user.Login = args[0]
	if err := errors.Join(checkLogin("LOGIN", user.Login), printable("--name", user.Name)); err != nil {
		return user, err
	}
	given, err := required(c, "mail")
	if err != nil {
		return user, err
	}
	if user.Mail, err = directory.ParseAddress(given); err != nil {
		return user, usagef("--mail: %v", err)
	}
	if user.Quota.Bytes, err = parseSize(c.String("quota")); err != nil {
		return user, err
	}
	for _, s := range c.StringSlice("service") {
		user.Services = append(user.Services, directory.Service(s))
	}
	user.Password, err = newPassword(c, user.Login)
	return user, err
}

// checkLogin says what is wrong with the name of a new account.
func checkLogin(what, login string) error {
	if err := provision.CheckLogin(login); err != nil {
		return usagef("%s: %v", what, err)
	}
	return nil
}

// parseSize reads a number of bytes with an optional K, M, G or T (powers of 1024). Empty is 0.
func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	digits, shift := strings.TrimSuffix(strings.ToUpper(s), "B"), 0
	for i, unit := range []string{"K", "M", "G", "T"} {
		if number, ok := strings.CutSuffix(digits, unit); ok {
			digits, shift = number, 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<62)>>shift {
		return 0, usagef("%q is no size: write 500M or 2G", s)
	}
	return n << shift, nil
}

func listUsers(c *cli.Context, a *admin, _ []string) error {
	users, err := a.provision.Users(c.Context)
	if err != nil {
		return err
	}
	return show(c, views(users), func(w io.Writer) error {
		var rows [][]string
		for _, u := range users {
			rows = append(rows, []string{u.Login, u.Mail.String(), string(u.Status), join(u.Services), u.Name})
		}
		return printTable(w, []string{"LOGIN", "MAIL", "STATUS", "SERVICES", "NAME"}, rows)
	})
}

func showUser(c *cli.Context, a *admin, args []string) error {
	u, err := a.provision.User(c.Context, args[0])
	if err != nil {
		return err
	}
	return show(c, viewOf(u), func(w io.Writer) error {
		rows := [][2]string{
			{"login", u.Login}, {"name", u.Name}, {"dn", u.DN}, {"mailbox", u.ID}, {"status", string(u.Status)},
			{"mail", u.Mail.String()}, {"receives", join(u.Addresses)}, {"sends as", join(u.SendAddresses)},
			{"services", join(u.Services)}, {"login needs", string(u.AuthPolicy)}, {"networks", orAnywhere(join(u.Networks))},
			{"quota", size(u.Quota.Bytes)},
		}
		for _, r := range rows {
			if _, err := fmt.Fprintf(w, "%-12s %s\n", r[0], r[1]); err != nil {
				return err
			}
		}
		return nil
	})
}

func setUserPassword(c *cli.Context) error {
	args, err := arguments(c, "LOGIN")
	if err != nil {
		return err
	}
	password, err := newPassword(c, args[0])
	if err != nil {
		return err
	}
	return withAdmin(func(c *cli.Context, a *admin, args []string) error {
		if err := a.provision.SetPassword(c.Context, args[0], password); err != nil {
			return err
		}
		return done(c, map[string]string{"login": args[0]}, "the password of %s is changed", args[0])
	}, "LOGIN")(c)
}

func userStatus(name, usage string, status directory.Status, became string) *cli.Command {
	return &cli.Command{
		Name:        name,
		Usage:       usage,
		ArgsUsage:   "LOGIN",
		Description: "Example:\n\n   dirpost user " + name + " alice",
		Flags:       []cli.Flag{jsonFlag()},
		Action: withAdmin(func(c *cli.Context, a *admin, args []string) error {
			if err := a.provision.SetStatus(c.Context, args[0], status); err != nil {
				return err
			}
			return done(c, map[string]string{"login": args[0], "status": string(status)}, "%s is %s", args[0], became)
		}, "LOGIN"),
	}
}

// A userView is a user as --json shows it; its names are stable.
type userView struct {
	Login      string   `json:"login"`
	Name       string   `json:"name"`
	DN         string   `json:"dn"`
	Mailbox    string   `json:"mailbox"`
	Status     string   `json:"status"`
	Mail       string   `json:"mail"`
	Receives   []string `json:"receives"`
	SendsAs    []string `json:"sends_as"`
	Services   []string `json:"services"`
	AuthPolicy string   `json:"auth_policy"`
	Networks   []string `json:"networks"`
	QuotaBytes int64    `json:"quota_bytes"`
}

func viewOf(u directory.Account) userView {
	return userView{
		Login: u.Login, Name: u.Name, DN: u.DN, Mailbox: u.ID, Status: string(u.Status), Mail: u.Mail.String(),
		Receives: texts(u.Addresses), SendsAs: texts(u.SendAddresses), Services: texts(u.Services),
		AuthPolicy: string(u.AuthPolicy), Networks: texts(u.Networks), QuotaBytes: u.Quota.Bytes,
	}
}

func views(users []directory.Account) []userView {
	out := make([]userView, 0, len(users))
	for _, u := range users {
		out = append(out, viewOf(u))
	}
	return out
}

// texts turns values into their text, never nil, so that JSON has [] and not null.
func texts[T any](values []T) []string {
	out := make([]string, 0, len(values))
	for _, v := range values {
		out = append(out, fmt.Sprint(v))
	}
	return out
}

func join[T any](values []T) string { return strings.Join(texts(values), " ") }

func orAnywhere(s string) string {
	if s == "" {
		return "anywhere"
	}
	return s
}

func size(n int64) string {
	if n == 0 {
		return "unlimited"
	}
	for i, unit := range "TGMK" {
		if unitBytes := int64(1) << (40 - 10*i); n%unitBytes == 0 {
			return fmt.Sprintf("%d%c", n/unitBytes, unit)
		}
	}
	return strconv.FormatInt(n, 10)
}
