package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

const bashCompletion = `_dirpost() {
	local cur words
	cur="${COMP_WORDS[COMP_CWORD]}"
	words=("${COMP_WORDS[@]:0:$COMP_CWORD}")
	if [[ "$cur" == -* ]]; then words+=("$cur"); fi
	COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _dirpost dirpost
`

const zshCompletion = `#compdef dirpost
_dirpost() {
	local -a words_so_far found
	words_so_far=(${words[1,$CURRENT-1]})
	[[ "${words[$CURRENT]}" == -* ]] && words_so_far+=("${words[$CURRENT]}")
	found=("${(@f)$(${words_so_far} --generate-bash-completion 2>/dev/null)}")
	compadd -a found
	_files
}
if [[ "${funcstack[1]}" == _dirpost ]]; then _dirpost "$@"; else compdef _dirpost dirpost; fi
`

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print what makes a shell complete dirpost commands",
		ArgsUsage: "bash|zsh|fish",
		Description: `Examples:

   . <(dirpost completion bash)
   dirpost completion fish > ~/.config/fish/completions/dirpost.fish`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "bash|zsh|fish")
			if err != nil {
				return err
			}
			var text string
			switch args[0] {
			case "bash":
				text = bashCompletion
			case "zsh":
				text = zshCompletion
			case "fish":
				if text, err = c.App.ToFishCompletion(); err != nil {
					return err
				}
			default:
				return usagef("unknown shell %q: bash, zsh or fish", args[0])
			}
			_, err = fmt.Fprint(c.App.Writer, text)
			return err
		},
	}
}
