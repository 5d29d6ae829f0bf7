package main

import (
	"errors"
	"fmt"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/dit"
)

// The exit statuses, which scripts may rely on.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitExists      = 4
	exitUnavailable = 75 // EX_TEMPFAIL of sysexits
)

// A usage error is the caller's: a wrong argument, not a fault of the system.
type usage struct{ text string }

func (u usage) Error() string { return u.text }

func usagef(format string, args ...any) error { return usage{fmt.Sprintf(format, args...)} }

// usageError is called by the flag parser.
func usageError(c *cli.Context, err error, _ bool) error {
	return usagef("%v; see %s --help", err, c.Command.HelpName)
}

// errTaken is wrapped when an address is in use.
var errTaken = errors.New("address already in use")

func exitCode(err error) int {
	var u usage
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &u), errors.Is(err, errTaken), errors.Is(err, syscall.EADDRINUSE):
		return exitUsage
	case errors.Is(err, directory.ErrNotFound), errors.Is(err, directory.ErrNoSuchAddress), errors.Is(err, directory.ErrNotLocal):
		return exitNotFound
	case errors.Is(err, directory.ErrExists):
		return exitExists
	case errors.Is(err, directory.ErrUnavailable), errors.Is(err, dit.ErrInUse):
		return exitUnavailable
	}
	return exitFailed
}

// arguments returns the named arguments of a command, or says which are missing. That there are no more [atMost] sees to.
func arguments(c *cli.Context, names ...string) ([]string, error) {
	args := c.Args().Slice()
	if len(args) < len(names) {
		return nil, usagef("%s: missing %s; see %s --help", c.Command.HelpName, names[len(args)], c.Command.HelpName)
	}
	for i, arg := range args {
		if err := printable(names[i], arg); err != nil {
			return nil, err
		}
	}
	return args, nil
}

// printable refuses what would not be shown as it is: names go to terminals, logs and mail headers.
func printable(what, value string) error {
	for _, r := range value {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return usagef("%s %q has a character that cannot be printed", what, value)
		}
	}
	return nil
}

// required returns the value of a flag that must be given.
func required(c *cli.Context, flag string) (string, error) {
	if v := c.String(flag); v != "" {
		return v, nil
	}
	return "", usagef("%s: missing --%s; see %s --help", c.Command.HelpName, flag, c.Command.HelpName)
}
