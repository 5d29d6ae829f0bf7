package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

func handoverCommand() *cli.Command {
	return &cli.Command{
		Name:  "handover",
		Usage: "write what Dovecot needs to go on with the mailboxes",
		Description: `Writes dovecot-uidlist into every folder of every home, so that clients of a Dovecot that takes the Maildirs over need
not read them anew; flags, keywords, folder names and subscriptions are as Dovecot has them already. The server must be
stopped, and must not run again on the same homes after Dovecot did, without its files "dirpost-folder" removed.

The way in needs no command: put the Maildir of Dovecot at <data>/homes/<id>/Maildir, where <id> is dpMailboxId of the
account, owned by the user dirpost runs as. UIDs, flags, keywords and subscriptions are taken over when it is first opened.

Example:

   systemctl stop dirpost && dirpost handover`,
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) (err error) {
			cfg, err := config.Load(c.String("config"))
			if err != nil {
				return err
			}
			o, other, err := otherOwner(cfg)
			if err != nil {
				return err
			}
			if other {
				if err := o.become(); err != nil {
					return err
				}
			}
			store, err := mailbox.Open(mailbox.Options{Homes: homesFolder(cfg), Cache: cfg.Cache, Node: cfg.Hostname})
			if errors.Is(err, storage.ErrBusy) {
				return fmt.Errorf("%w: stop the server first", err)
			}
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			folders, err := store.HandOver(c.Context)
			if err != nil {
				return err
			}
			return done(c, map[string]int{"folders": folders}, "lists of UIDs are in %d folders", folders)
		},
	}
}
