package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestManual: every command with its flags is in the manual page, and groff has nothing to complain about.
func TestManual(t *testing.T) {
	t.Parallel()
	page := commandManual(newApp())
	var look func(prefix string, list []*cli.Command)
	look = func(prefix string, list []*cli.Command) {
		for _, c := range list {
			name := prefix + " " + c.Name
			if c.Hidden || len(c.Subcommands) > 0 {
				look(name, c.Subcommands)
				continue
			}
			heading := `.SS "` + roff(strings.TrimSpace(name+" "+c.ArgsUsage)) + `"`
			_, section, found := strings.Cut(page, heading)
			if !found {
				t.Errorf("no section %s", heading)
				continue
			}
			section, _, _ = strings.Cut(section, "\n.S")
			for _, f := range c.Flags {
				if !strings.Contains(section, roff("--"+f.Names()[0])) {
					t.Errorf("%s: no --%s in\n%s", name, f.Names()[0], section)
				}
			}
		}
	}
	look("dirpost", newApp().Commands)

	config, err := configManual()
	if err != nil || !strings.Contains(config, `hostname = "mail.example.org"`) {
		t.Errorf("dirpost.toml(5): %v\n%s", err, config)
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Log("groff is not here: nobody has read the pages")
		return
	}
	for name, text := range map[string]string{"dirpost.8": page, "dirpost.toml.5": config} {
		cmd := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestRoff(t *testing.T) {
	t.Parallel()
	m := new(manual)
	m.text(".profile is no request\n\nthree\nlines of \\ and -x\n\n   . <(dirpost completion bash)\n   second")
	want := ".PP\n\\&.profile is no request\n.PP\nthree\nlines of \\e and \\-x\n.PP\n.RS \"4\"\n.EX\n\\&. <(dirpost completion bash)\nsecond\n.EE\n.RE\n"
	if got := m.String(); got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}
