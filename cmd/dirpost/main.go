// Command dirpost is the mail platform: the server, the tools of its administrator, and a demonstration of both.
//
// Each command group has a file of its name. Commands that read or change the directory speak LDAP through [openAdmin];
// wire.go builds the server from its configuration, in order of dependency.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
)

// version is set by the build (make build).
var version = "unknown"

// usualConfig is where the configuration is unless --config says otherwise.
const usualConfig = "/etc/dirpost/dirpost.toml"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run is the program without the process: what the tests call. It returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := newApp()
	app.Reader, app.Writer, app.ErrWriter = stdin, stdout, stderr
	err := app.RunContext(ctx, permute(app, args))
	if err != nil {
		fmt.Fprintln(stderr, "dirpost:", err)
	}
	return exitCode(err)
}

func newApp() *cli.App {
	app := &cli.App{
		Name:    "dirpost",
		Usage:   "a mail platform whose identities live in LDAP and whose mail lives in a Maildir",
		Version: version,
		Description: `First steps:

   dirpost demo                                   see it all work, on loopback
   dirpost init --domain example.org              make configuration, embedded directory and service
   dirpost serve                                  run the server, where systemd does not
   dirpost user add alice --mail alice@example.org
   dirpost address show alice@example.org         where does mail for her go, and why
   dirpost status                                 how is the server
   dirpost backup mail.tar                        copy all that cannot be rebuilt

Exit status: 0 done, 1 refused or failed, 2 wrong usage or a port is taken, 3 no such entry,
4 already there, 75 the directory cannot be asked now (try again).`,
		EnableBashCompletion: true,
		Suggest:              true,
		HideHelpCommand:      true,
		ExitErrHandler:       func(*cli.Context, error) {}, // run prints and exits
		OnUsageError:         usageError,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Aliases: []string{"c"}, EnvVars: []string{"DIRPOST_CONFIG"}, Value: usualConfig, Usage: "read the configuration from `FILE`"},
			&cli.StringFlag{Name: "as", EnvVars: []string{"DIRPOST_AS"}, Usage: "act in the directory as this `DN`, with a password (default: the local administrator; of an LDAP server of your own the service entry, which reads)"},
			&cli.StringFlag{Name: "as-password-file", EnvVars: []string{"DIRPOST_AS_PASSWORD_FILE"}, Usage: "read the password of --as from `FILE` (default: ask)"},
		},
		Action: unknownCommand,
		Commands: []*cli.Command{
			initCommand(),
			serveCommand(),
			statusCommand(),
			queueCommand(),
			reloadCommand(),
			backupCommand(),
			restoreCommand(),
			handoverCommand(),
			demoCommand(),
			configCommand(),
			systemdCommand(),
			directoryCommand(),
			domainCommand(),
			userCommand(),
			aliasCommand(),
			roleCommand(),
			certCommand(),
			authorityCommand(),
			addressCommand(),
			completionCommand(),
			manCommand(),
			delegateCommand(),
		},
	}
	strict(app.Commands)
	return app
}

// strict gives every command what the library looks for at the place of the mistake only: how a wrong flag is told, what
// happens when a group is called without one of its commands, and that no argument is passed over in silence.
func strict(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = usageError
		if len(c.Subcommands) > 0 {
			c.Action = unknownCommand
			strict(c.Subcommands)
			continue
		}
		c.Action = atMost(len(strings.Fields(c.ArgsUsage)), c.Action)
	}
}

// atMost refuses more arguments than the usage of a command names.
func atMost(most int, do cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Args().Len() > most {
			return usagef("%s: unexpected %q (flags come before or after, each with its dashes)", c.Command.HelpName, c.Args().Get(most))
		}
		return do(c)
	}
}

// unknownCommand is what runs when no command was named, or none of ours.
func unknownCommand(c *cli.Context) error {
	if name := c.Args().First(); name != "" {
		known := c.App.Commands
		if len(c.Command.Subcommands) > 0 {
			known = c.Command.Subcommands
		}
		return usagef("unknown command %q. %s See %s --help", name, cli.SuggestCommand(known, name), c.App.HelpName)
	}
	if c.Command.Name == "" || len(c.Command.Subcommands) == 0 {
		return cli.ShowAppHelp(c)
	}
	return cli.ShowSubcommandHelp(c)
}
