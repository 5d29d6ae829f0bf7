package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// permute moves the flags of the innermost command before its arguments, so that `user add alice --mail a@b` means the
// same as `user add --mail a@b alice`: the library stops looking for flags at the first argument. Everything behind "--"
// is an argument. Words of shell completion are left alone.
func permute(app *cli.App, args []string) []string {
	if len(args) == 0 || args[len(args)-1] == "--generate-bash-completion" {
		return args
	}
	head, flags, commands := 1, app.Flags, app.Commands
	for head < len(args) {
		if strings.HasPrefix(args[head], "-") {
			head += 1 + valueWords(flags, args[head])
			continue
		}
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(args[head]) })
		if i < 0 {
			break
		}
		flags, commands = commands[i].Flags, commands[i].Subcommands
		head++
	}
	if head >= len(args) {
		return args
	}
	return slices.Concat(args[:head], flagsFirst(flags, args[head:]))
}

// flagsFirst sorts the words of one command: flags with their values, "--" if there was one, arguments.
func flagsFirst(flags []cli.Flag, words []string) []string {
	var first, rest []string
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case word == "--":
			return slices.Concat(first, []string{"--"}, rest, words[i+1:])
		case len(word) > 1 && word[0] == '-':
			end := min(i+1+valueWords(flags, word), len(words))
			first = append(first, words[i:end]...)
			i = end - 1
		default:
			rest = append(rest, word)
		}
	}
	return append(first, rest...)
}

// valueWords is how many of the words behind the flag word are its value: 1 for a flag with a value that is not
// written with "=", else 0.
func valueWords(flags []cli.Flag, word string) int {
	name, _, inline := strings.Cut(strings.TrimLeft(word, "-"), "=")
	if inline {
		return 0
	}
	for _, f := range flags {
		if _, boolean := f.(*cli.BoolFlag); slices.Contains(f.Names(), name) && !boolean {
			return 1
		}
	}
	return 0
}
