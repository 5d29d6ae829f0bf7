package main

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/storage/spool"
)

func queueCommand() *cli.Command {
	return &cli.Command{
		Name:  "queue",
		Usage: "messages that not everybody has yet",
		Description: `A message for several is accepted when one of them takes it. Who could not (a full mailbox, a disk that
fails) waits here and is tried again, less and less often, for five days; then the sender, or for mail
from outside the postmaster, gets a report. The running server is asked.`,
		Subcommands: []*cli.Command{
			{
				Name:        "list",
				Usage:       "list the messages",
				Description: "Example:\n\n   dirpost queue list",
				Flags:       []cli.Flag{jsonFlag()},
				Action:      listQueue,
			},
			{
				Name:        "show",
				Usage:       "show one message: who is still to get it, and why not yet",
				ArgsUsage:   "ID",
				Description: "ID is as list prints it, and mail= in the log.\n\nExample:\n\n   dirpost queue show 5b4e3v5pvusxmwa5",
				Flags:       []cli.Flag{jsonFlag()},
				Action:      showQueued,
			},
			changeQueued("retry", "try a message again now", "%s is tried now"),
			changeQueued("drop", "take a message out; nobody is told", "%s is taken out of the queue"),
		},
	}
}

// A queueView is a message in the queue as --json shows it; its names are stable.
type queueView struct {
	ID       string     `json:"id"`
	From     string     `json:"from"`
	Login    string     `json:"login,omitempty"`
	Received time.Time  `json:"received"`
	Attempts int        `json:"attempts"`
	Next     time.Time  `json:"next"`
	Rest     []restView `json:"rest"`
}

type restView struct {
	Address string `json:"address"`
	Mailbox string `json:"mailbox"`
	Err     string `json:"error"`
}

func queueViews(items []spool.Item) []queueView {
	out := make([]queueView, 0, len(items))
	for _, i := range items {
		v := queueView{i.ID, i.From, i.Login, i.Received, i.Attempts, i.Next, nil}
		for _, r := range i.Rest {
			v.Rest = append(v.Rest, restView(r))
		}
		out = append(out, v)
	}
	return out
}

func listQueue(c *cli.Context) error {
	var list []queueView
	if err := control(c, "GET", "/queue", &list); err != nil {
		return err
	}
	return show(c, list, func(w io.Writer) error {
		if len(list) == 0 {
			_, err := fmt.Fprintln(w, "the queue is empty")
			return err
		}
		var rows [][]string
		for _, v := range list {
			rows = append(rows, []string{v.ID, v.Received.Local().Format(time.DateTime), "<" + v.From + ">", strconv.Itoa(len(v.Rest)),
				strconv.Itoa(v.Attempts), v.Next.Local().Format(time.DateTime)})
		}
		return printTable(w, []string{"ID", "ARRIVED", "FROM", "WAITING", "TRIED", "NEXT"}, rows)
	})
}

func showQueued(c *cli.Context) error {
	args, err := arguments(c, "ID")
	if err != nil {
		return err
	}
	var list []queueView
	if err := control(c, "GET", "/queue", &list); err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(v queueView) bool { return v.ID == args[0] })
	if i < 0 {
		return fmt.Errorf("%w: %s is not in the queue", directory.ErrNotFound, args[0])
	}
	v := list[i]
	return show(c, v, func(w io.Writer) error {
		fmt.Fprintf(w, "%s from <%s>, arrived %s, tried %d times, next %s\n\n", v.ID, v.From, v.Received.Local().Format(time.DateTime), v.Attempts, v.Next.Local().Format(time.DateTime))
		var rows [][]string
		for _, r := range v.Rest {
			rows = append(rows, []string{r.Address, r.Mailbox, r.Err})
		}
		return printTable(w, []string{"RECIPIENT", "MAILBOX", "WHY NOT YET"}, rows)
	})
}

// changeQueued makes a command that changes one message. Said is printed afterwards, with the id.
func changeQueued(name, usage, said string) *cli.Command {
	return &cli.Command{
		Name:        name,
		Usage:       usage,
		ArgsUsage:   "ID",
		Description: "Example:\n\n   dirpost queue " + name + " 5b4e3v5pvusxmwa5",
		Flags:       []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "ID")
			if err != nil {
				return err
			}
			var answer map[string]string
			if err := control(c, "POST", "/queue/"+url.PathEscape(args[0])+"/"+name, &answer); err != nil {
				return err
			}
			return done(c, answer, said, args[0])
		},
	}
}
