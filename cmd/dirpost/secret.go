package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/dirpost/dirpost/directory/dit"
)

// maxPasswordBytes bounds what is read as a password. The embedded directory takes no longer one.
const maxPasswordBytes = dit.MaxPassword

func passwordFlag() cli.Flag {
	return &cli.StringFlag{Name: "password-file", Usage: "read the password from the first line of `FILE`, - for standard input (default: ask twice)"}
}

// newPassword returns the password for whom: from --password-file, or asked for twice. Passwords are never arguments,
// which everybody on the machine can read.
func newPassword(c *cli.Context, whom string) (string, error) {
	if file := c.String("password-file"); file != "" {
		return readPassword(c, file)
	}
	first, err := ask(c, "New password for "+whom+": ")
	if err != nil {
		return "", err
	}
	second, err := ask(c, "Once more: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ; nothing was changed")
	}
	return first, nil
}

// readPassword reads the first line of file.
func readPassword(c *cli.Context, file string) (string, error) {
	var r io.Reader = c.App.Reader
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		r = f
	}
	line, err := bufio.NewReader(io.LimitReader(r, maxPasswordBytes+2)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return checkPassword(strings.TrimRight(line, "\r\n"))
}

// ask prompts on the terminal without echo.
func ask(c *cli.Context, prompt string) (string, error) {
	in, ok := c.App.Reader.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", usagef("standard input is no terminal to ask on: use --password-file")
	}
	fmt.Fprint(c.App.ErrWriter, prompt)
	line, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(c.App.ErrWriter)
	if err != nil {
		return "", err
	}
	return checkPassword(string(line))
}

func checkPassword(p string) (string, error) {
	switch {
	case p == "":
		return "", usagef("the password is empty")
	case len(p) > maxPasswordBytes:
		return "", usagef("the password is longer than %d bytes", maxPasswordBytes)
	case strings.ContainsRune(p, 0):
		return "", usagef("the password has a NUL byte")
	}
	return p, nil
}
