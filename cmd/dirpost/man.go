package main

import (
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
)

// manCommand prints the manual pages, for make install and who packages dirpost.
func manCommand() *cli.Command {
	return &cli.Command{
		Name:      "man",
		Usage:     "print a manual page",
		ArgsUsage: "dirpost.8|dirpost.toml.5",
		Description: `Example:

   dirpost man dirpost.8 | man -l -`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "dirpost.8|dirpost.toml.5")
			if err != nil {
				return err
			}
			var text string
			switch args[0] {
			case "dirpost.8":
				text = commandManual(newApp())
			case "dirpost.toml.5":
				if text, err = configManual(); err != nil {
					return err
				}
			default:
				return usagef("unknown page %q: dirpost.8 or dirpost.toml.5", args[0])
			}
			_, err = io.WriteString(c.App.Writer, text)
			return err
		},
	}
}

// A manual is a page being written, in the language of man(7).
type manual struct{ strings.Builder }

func (m *manual) macro(name string, words ...string) {
	m.WriteString("." + name)
	for _, w := range words {
		m.WriteString(` "` + strings.ReplaceAll(roff(w), `"`, `\(dq`) + `"`)
	}
	m.WriteByte('\n')
}

// roff writes plain text so that nothing in it is taken for a request.
func roff(text string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "…", "...").Replace(text)
}

func (m *manual) line(text string) {
	if strings.HasPrefix(text, ".") {
		m.WriteString(`\&`)
	}
	m.WriteString(roff(text) + "\n")
}

// text writes paragraphs. One that is indented is an example, and stays as it is.
func (m *manual) text(text string) {
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if !strings.HasPrefix(paragraph, " ") {
			m.macro("PP")
			for line := range strings.Lines(paragraph) {
				m.line(strings.TrimSpace(line))
			}
			continue
		}
		m.example(paragraph)
	}
}

func (m *manual) example(text string) {
	m.macro("PP")
	m.macro("RS", "4")
	m.macro("EX")
	for line := range strings.Lines(text) {
		m.line(strings.TrimSuffix(strings.TrimPrefix(line, "   "), "\n"))
	}
	m.macro("EE")
	m.macro("RE")
}

func (m *manual) options(flags []cli.Flag) {
	for _, f := range flags {
		doc, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		usage := doc.GetUsage()
		var names []string
		for _, name := range f.Names() {
			names = append(names, strings.Repeat("-", min(len(name), 2))+name)
		}
		head := strings.Join(names, ", ")
		if parts := strings.SplitN(usage, "`", 3); doc.TakesValue() && len(parts) == 3 {
			head, usage = head+" "+parts[1], parts[0]+parts[1]+parts[2]
		}
		m.macro("TP")
		m.macro("B", head)
		if v := doc.GetDefaultText(); doc.TakesValue() && v != "" && v != `""` {
			usage += " (default: " + v + ")"
		}
		m.line(usage + ".")
	}
}

// commands writes a section for each command that does something.
func (m *manual) commands(prefix string, list []*cli.Command) {
	for _, c := range list {
		if c.Hidden {
			continue
		}
		name := prefix + " " + c.Name
		if len(c.Subcommands) > 0 {
			m.commands(name, c.Subcommands)
			continue
		}
		m.macro("SS", strings.TrimSpace(name+" "+c.ArgsUsage))
		m.line(strings.ToUpper(c.Usage[:1]) + c.Usage[1:] + ".")
		if c.Description != "" {
			m.text(c.Description)
		}
		m.options(c.Flags)
	}
}

// commandManual is dirpost(8), made from the help texts.
func commandManual(app *cli.App) string {
	m := new(manual)
	m.macro("TH", "DIRPOST", "8", "", "dirpost "+version, "System Administration")
	m.macro("SH", "NAME")
	m.line("dirpost - " + app.Usage)
	m.macro("SH", "SYNOPSIS")
	m.macro("B", "dirpost")
	m.line("[GLOBAL OPTION...] COMMAND [OPTION...] [ARGUMENT...]")
	m.macro("SH", "DESCRIPTION")
	m.text(app.Description)
	m.macro("SH", "GLOBAL OPTIONS")
	m.options(app.Flags)
	m.macro("SH", "COMMANDS")
	m.commands("dirpost", app.Commands)
	m.macro("SH", "SIGNALS")
	m.text(`SIGTERM and SIGINT end the server: sessions finish what they are doing and are told so.

SIGHUP has it read configuration and certificates again, as dirpost reload.`)
	m.macro("SH", "FILES")
	d := config.Default()
	for _, file := range [][2]string{
		{usualConfig, "configuration, see dirpost.toml(5)"},
		{d.Data, "what cannot be rebuilt: directory, keys and homes; dirpost backup copies it"},
		{d.Cache, "indexes, which come back by themselves"},
		{d.Listen.Control, "socket of status, reload and backup"},
		{d.Listen.LDAPI, "socket of the embedded directory"},
	} {
		m.macro("TP")
		m.macro("I", file[0])
		m.line(file[1] + ".")
	}
	m.macro("SH", "SEE ALSO")
	m.line("dirpost.toml(5), systemd.service(5), ldapsearch(1)")
	return m.String()
}

// configManual is dirpost.toml(5): the commented example.
func configManual() (string, error) {
	var example strings.Builder
	if err := config.Write(&example, config.Default()); err != nil {
		return "", err
	}
	m := new(manual)
	m.macro("TH", "DIRPOST.TOML", "5", "", "dirpost "+version, "File Formats")
	m.macro("SH", "NAME")
	m.line("dirpost.toml - configuration of the mail platform dirpost")
	m.macro("SH", "DESCRIPTION")
	m.text(`A file in TOML. Relative paths count from its folder. What is left out has the value shown here; an unknown key is an error. A running server uses new certificates and a new log.level at dirpost reload, and everything else after a restart.`)
	m.macro("SH", "EXAMPLE")
	m.example(example.String())
	m.macro("SH", "SEE ALSO")
	m.line("dirpost(8)")
	return m.String(), nil
}
