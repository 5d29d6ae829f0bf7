package smtpd

import (
	"io"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dirpost/dirpost/directory"
)

// TestTranscripts runs the scripts of testdata, each against a mail system of its own. Their commands:
//
//	serve KIND       starts a server: mx, lmtp, submission or submissions; talk then speaks with it
//	suspend LOGIN    and the like: see the table in commands
//	talk FILE        follows a dialogue, see talker.play
//	inbox LOGIN      prints the last message LOGIN got
//	count LOGIN N    demands that LOGIN has N messages
func TestTranscripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Values["world"] = newWorld(env.T().(testing.TB))
			return nil
		},
		Cmds: commands,
	})
}

var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"serve": func(ts *testscript.TestScript, _ bool, args []string) {
		_, addr := worldOf(ts).serve(args[0], Options{})
		ts.Setenv("addr", addr)
		ts.Setenv("kind", args[0])
	},
	"talk": func(ts *testscript.TestScript, _ bool, args []string) {
		w := worldOf(ts)
		k := talkTo(w.t, ts.Getenv("addr"))
		if ts.Getenv("kind") == "submissions" {
			k = k.secure(w.dial)
		}
		ts.Check(k.play(ts.ReadFile(args[0]), w.dial))
	},
	"inbox": func(ts *testscript.TestScript, _ bool, args []string) {
		messages := worldOf(ts).inbox(args[0])
		if len(messages) == 0 {
			ts.Fatalf("%s has no message", args[0])
		}
		io.WriteString(ts.Stdout(), messages[len(messages)-1])
	},
	"count": func(ts *testscript.TestScript, _ bool, args []string) {
		if got := strconv.Itoa(len(worldOf(ts).inbox(args[0]))); got != args[1] {
			ts.Fatalf("%s has %s messages, want %s", args[0], got, args[1])
		}
	},
	"queued": func(ts *testscript.TestScript, _ bool, args []string) {
		if got := strconv.Itoa(len(worldOf(ts).queue.Items())); got != args[0] {
			ts.Fatalf("%s messages are queued, want %s", got, args[0])
		}
	},
	"user": func(ts *testscript.TestScript, _ bool, args []string) {
		most, err := strconv.ParseInt(args[1], 10, 64)
		ts.Check(err)
		worldOf(ts).addUser(args[0], directory.Quota{Bytes: most})
	},
	"role": func(ts *testscript.TestScript, _ bool, args []string) {
		worldOf(ts).addRole(args[0], args[1:]...)
	},
	"suspend": func(ts *testscript.TestScript, _ bool, args []string) {
		w := worldOf(ts)
		ts.Check(w.people.SetStatus(w.t.Context(), args[0], directory.Suspended))
	},
	"outage": func(ts *testscript.TestScript, _ bool, _ []string) {
		worldOf(ts).outage()
	},
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value("world").(*world) }
