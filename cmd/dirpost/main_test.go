package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/urfave/cli/v2"
)

// asProgram makes the test binary be dirpost itself: the integration tests run it as a process of its own, built with
// the race detector.
const asProgram = "DIRPOST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
	testscript.Main(m, map[string]func(){"dirpost": main})
}

func TestCommands(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: false,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": exitStatus,
		},
	})
}

// exitStatus runs dirpost and demands an exit status: status 3 user show nobody.
func exitStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N ARGUMENT...")
	}
	cmd := exec.Command(os.Args[0], args[1:]...)
	cmd.Dir = ts.Getenv("WORK")
	cmd.Env = append(os.Environ(), asProgram+"=1", "DIRPOST_CONFIG="+ts.MkAbs("dirpost.toml"))
	out, err := cmd.CombinedOutput()
	ts.Logf("%s", out)
	if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != args[0] {
		ts.Fatalf("exit status %s (%v), want %s", got, err, args[0])
	}
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

func TestFlagsMayFollowArguments(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		in, want []string
	}{
		{"flags first stay", []string{"dirpost", "user", "add", "--mail", "a@b", "alice"}, []string{"dirpost", "user", "add", "--mail", "a@b", "alice"}},
		{"flags last move", []string{"dirpost", "user", "add", "alice", "--mail", "a@b"}, []string{"dirpost", "user", "add", "--mail", "a@b", "alice"}},
		{"a boolean takes no word", []string{"dirpost", "user", "show", "--json", "alice"}, []string{"dirpost", "user", "show", "--json", "alice"}},
		{"with an equals sign", []string{"dirpost", "user", "add", "alice", "--mail=a@b"}, []string{"dirpost", "user", "add", "--mail=a@b", "alice"}},
		{"global flags before the command", []string{"dirpost", "-c", "f", "user", "show", "alice", "--json"}, []string{"dirpost", "-c", "f", "user", "show", "--json", "alice"}},
		{"standard input as a file", []string{"dirpost", "user", "passwd", "alice", "--password-file", "-"}, []string{"dirpost", "user", "passwd", "--password-file", "-", "alice"}},
		{"behind -- nothing is a flag", []string{"dirpost", "user", "show", "--json", "--", "-x"}, []string{"dirpost", "user", "show", "--json", "--", "-x"}},
		{"nothing", []string{"dirpost"}, []string{"dirpost"}},
		{"completion is left alone", []string{"dirpost", "user", "alice", "--generate-bash-completion"}, []string{"dirpost", "user", "alice", "--generate-bash-completion"}},
		{"a value that is missing", []string{"dirpost", "user", "add", "alice", "--mail"}, []string{"dirpost", "user", "add", "--mail", "alice"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := permute(newApp(), slices.Clone(tt.in))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want int64
		ok   bool
	}{
		{"", 0, true}, {"0", 0, true}, {"1000", 1000, true}, {"2K", 2048, true}, {"500m", 500 << 20, true}, {"2GB", 2 << 30, true},
		{"1T", 1 << 40, true}, {"-1", 0, false}, {"G", 0, false}, {"b", 0, false}, {"1.5G", 0, false}, {"9999999T", 0, false},
	}
	for _, tt := range tests {
		got, err := parseSize(tt.in)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("parseSize(%q) = %d, %v; want %d, ok %v", tt.in, got, err, tt.want, tt.ok)
		}
	}
}

// TestNothingIsPassedOver: no command leaves an argument out of account that it has no use for.
func TestNothingIsPassedOver(t *testing.T) {
	t.Parallel()
	var try func(path []string, commands []*cli.Command)
	try = func(path []string, commands []*cli.Command) {
		for _, c := range commands {
			here := append(slices.Clone(path), c.Name)
			if len(c.Subcommands) > 0 {
				try(here, c.Subcommands)
				continue
			}
			args := append(here, "x", "x", "surplus", "surplus")
			var out, errs strings.Builder
			if got := run(t.Context(), args, strings.NewReader(""), &out, &errs); got != exitUsage || !strings.Contains(errs.String(), "unexpected") {
				t.Errorf("%s: got %d, %q; want %d and what is unexpected", strings.Join(args, " "), got, errs.String(), exitUsage)
			}
		}
	}
	try([]string{"dirpost", "--config", filepath.Join(t.TempDir(), "none.toml")}, newApp().Commands)
}
