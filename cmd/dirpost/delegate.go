package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols/ldapd"
)

// A delegate is the embedded directory as a process of the user who owns it runs it, for a command of root. So nothing in
// the data folder is ever opened or made by root, while the command can still read files that only root can.
type delegate struct {
	cmd    *exec.Cmd
	stdin  io.Closer // the process ends when it is closed, also if this one is killed
	folder string    // of the socket, for root only
}

// delegateFD is the listener that the process is started with.
const delegateFD = 3

// startDelegate starts the process. The caller closes it.
func startDelegate(cfg config.Config, o owner) (*delegate, error) {
	folder, err := os.MkdirTemp("", "dirpost-")
	if err != nil {
		return nil, err
	}
	d := &delegate{folder: folder}
	if err := d.start(cfg, o); err != nil {
		os.RemoveAll(folder)
		return nil, err
	}
	return d, nil
}

func (d *delegate) start(cfg config.Config, o owner) error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: d.socket(), Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	file, err := l.File()
	if err != nil {
		return err
	}
	defer file.Close()

	var stderr bytes.Buffer
	d.cmd = exec.Command("/proc/self/exe", "run-directory", cfg.Directory.Base, directoryFile(cfg))
	d.cmd.Dir = "/"
	d.cmd.Stderr = &stderr
	d.cmd.ExtraFiles = []*os.File{file}
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: o.credential()}
	if d.stdin, err = d.cmd.StdinPipe(); err != nil {
		return err
	}
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := d.cmd.Start(); err != nil {
		return fmt.Errorf("the embedded directory as user %d: %w", o.uid, err)
	}
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line == delegateReady {
		return nil
	}
	d.stdin.Close()
	err = d.cmd.Wait()
	if d.cmd.ProcessState.ExitCode() == exitUnavailable {
		return fmt.Errorf("the embedded directory: %w", dit.ErrInUse)
	}
	if text := strings.TrimSpace(stderr.String()); text != "" {
		return errors.New(strings.TrimPrefix(text, "dirpost: "))
	}
	return fmt.Errorf("the embedded directory as user %d: %w", o.uid, err)
}

const delegateReady = "ready\n"

func (d *delegate) socket() string { return filepath.Join(d.folder, "ldapi") }

// dial connects to the process, as the user this one is.
func (d *delegate) dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", d.socket())
}

// close ends the process and waits for it.
func (d *delegate) close(context.Context) error {
	d.stdin.Close()
	err := d.cmd.Wait()
	return errors.Join(err, os.RemoveAll(d.folder))
}

func (o owner) credential() *syscall.Credential {
	c := &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}
	for _, g := range o.groups {
		c.Groups = append(c.Groups, uint32(g))
	}
	return c
}

// delegateCommand is what the process runs. Nobody types it.
func delegateCommand() *cli.Command {
	return &cli.Command{
		Name:      "run-directory",
		ArgsUsage: "BASE FILE",
		Hidden:    true,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "BASE", "FILE")
			if err != nil {
				return err
			}
			l, err := net.FileListener(os.NewFile(delegateFD, "ldapi"))
			if err != nil {
				return err
			}
			e, err := serveTree(args[1], args[0], nil, ldapd.Options{})
			if err != nil {
				l.Close()
				return err
			}
			served := make(chan error, 1)
			go func() { served <- e.server.Serve(l) }()
			fmt.Fprint(c.App.Writer, delegateReady)
			_, err = io.Copy(io.Discard, c.App.Reader)
			err = errors.Join(err, e.close(context.Background()))
			<-served
			return err
		},
	}
}
