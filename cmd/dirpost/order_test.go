package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// TestOrderOfSyncs watches the system calls of the server: a message's file is synced, then it appears in the mailbox by
// a link or a rename, then the directory is synced, and only then does the client hear of success. At that moment no
// directory on the way to any message has a change that was not synced.
func TestOrderOfSyncs(t *testing.T) {
	t.Parallel()
	s := embeddedSite(t)
	s.addPeople()
	trace := s.path("trace")
	s.start("strace", "-D", "-f", "-y", "-s", "200", "-e", "trace=fsync,fdatasync,link,linkat,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,write,sendto,writev", "-o", trace, "--")

	marks := []int{0}
	for i, w := range orders {
		if err := w.do(s, "order-"+w.name); err != nil {
			t.Fatalf("%s: %v", w.name, err)
		}
		marks = append(marks, heard(t, trace, marks[i], w.steps[len(w.steps)-1]))
	}
	s.stop()
	all := calls(finished(t, trace))
	for i, w := range orders {
		if err := inOrder(all[marks[i]:marks[i+1]], w.steps); err != nil {
			t.Errorf("%s: %v\n%s", w.name, err, strings.Join(all[marks[i]:marks[i+1]], "\n"))
		}
		if left := unsynced(all[:marks[i+1]], s.path("data")); len(left) > 0 {
			t.Errorf("%s: when the client knows of success these names are not synced: %q", w.name, left)
		}
	}
}

// TestInitSyncs watches init: when it says that it is done, all that it made is there for good. The password of the service
// entry is in no other place.
func TestInitSyncs(t *testing.T) {
	t.Parallel()
	s := embeddedSite(t)
	s.config = s.path("other.toml")
	init := s.program("init", "--domain", "example.org", "--data", s.path("other"), "--cache", s.path("other-cache"), "--password-file", s.path("admin.pw"))
	trace := s.path("trace")
	args := []string{"-f", "-y", "-o", trace, "-e", "trace=fsync,fdatasync,link,linkat,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,write"}
	strace := exec.Command("strace", append(append(args, "--"), init.Args...)...)
	strace.Env = init.Env
	if out, err := strace.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	all := calls(string(text))
	if left := unsynced(all, s.dir); len(left) > 0 {
		t.Errorf("these names are not synced: %q", left)
	}
	for _, file := range []string{"other.toml.new", "other/keys/frontend.next"} {
		written := regexp.MustCompile(`^write\(\d+<[^>]*/` + regexp.QuoteMeta(file) + `>`)
		synced := regexp.MustCompile(`^fsync\(\d+<[^>]*/` + regexp.QuoteMeta(file) + `>\)\s+= 0`)
		if err := inOrder(all, []step{{file + " is written", written}, {file + " is synced", synced}}); err != nil {
			t.Error(err)
		}
	}
}

// orders are what is done, one after the other, and the steps that must follow each other.
var orders = []struct {
	name  string
	do    func(s *site, subject string) error
	steps []step
}{
	{"LMTP", func(s *site, subject string) error {
		return lmtp(s.addr["lmtp"], "alice@example.org", message("a@b.example", "alice@example.org", subject))
	}, arrival("accepted as ")},
	{"MX", func(s *site, subject string) error {
		c, err := smtp.Dial(s.addr["mx"])
		if err != nil {
			return err
		}
		defer c.Close()
		return c.SendMail("a@b.example", []string{"alice@example.org"}, strings.NewReader(message("a@b.example", "alice@example.org", subject)))
	}, arrival("accepted as ")},
	{"submission", func(s *site, subject string) error {
		c, err := smtp.Dial(s.addr["submission"])
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.Auth(sasl.NewPlainClient("", "bob", bobPassword)); err != nil {
			return err
		}
		return c.SendMail("bob@example.org", []string{"alice@example.org"}, strings.NewReader(message("bob@example.org", "alice@example.org", subject)))
	}, arrival("accepted as ")},
	{"APPEND", inInbox(func(c *imapclient.Client, subject string) error {
		text := message("a@b.example", "alice@example.org", subject)
		w := c.Append("INBOX", int64(len(text)), &imap.AppendOptions{Time: time.Unix(1700000000, 0)})
		if _, err := w.Write([]byte(text)); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		_, err := w.Wait()
		return err
	}), arrival("OK [APPENDUID")},
	{"COPY", inInbox(func(c *imapclient.Client, _ string) error {
		_, err := c.Copy(imap.UIDSetNum(1), "Archive").Wait()
		return err
	}), []step{published, dirSync, reply("OK [COPYUID")}},
	{"STORE", inInbox(func(c *imapclient.Client, _ string) error {
		return c.Store(imap.UIDSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}}, nil).Close()
	}), []step{published, dirSync, reply("STORE completed")}},
	{"MOVE", inInbox(func(c *imapclient.Client, _ string) error {
		_, err := c.Move(imap.UIDSetNum(1), "Sent").Wait()
		return err
	}), []step{published, dirSync, removed, dirSync, reply("MOVE completed")}},
	{"EXPUNGE", inInbox(func(c *imapclient.Client, _ string) error {
		if err := c.Store(imap.UIDSetNum(2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
			return err
		}
		_, err := c.UIDExpunge(imap.UIDSetNum(2)).Collect()
		return err
	}), []step{removed, dirSync, reply("EXPUNGE completed")}},
	{"CREATE", inInbox(func(c *imapclient.Client, _ string) error { return c.Create("Made", nil).Wait() }),
		[]step{reply("CREATE completed")}},
	{"the directory", func(s *site, _ string) error {
		_, err := s.program("alias", "add", "order@example.org", "alice").CombinedOutput()
		return err
	}, []step{fileOfDirectory, fileOfDirectory, {"the client hears of success", regexp.MustCompile(`^(write|sendto)\(.*"0\\[^"]*g\\7\\n\\1\\0`)}}},
}

// inInbox has alice do something in her INBOX.
func inInbox(do func(*imapclient.Client, string) error) func(*site, string) error {
	return func(s *site, subject string) error {
		c, err := imapclient.DialInsecure(s.addr["imap"], nil)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.Login("alice", alicePassword).Wait(); err != nil {
			return err
		}
		if _, err := c.Select("INBOX", nil).Wait(); err != nil {
			return err
		}
		return do(c, subject)
	}
}

// finished waits until the tracer, which outlives the server by a moment, has written all, and returns it.
func finished(t *testing.T, path string) string {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(text); n > 0 && strings.Contains(string(text[max(0, n-200):]), "+++ exited with 0 +++") {
			return string(text)
		}
	}
	t.Fatal("the tracer never ended")
	return ""
}

// heard waits until the tracer has written that a reply went out, and returns how many calls there are up to it.
func heard(t *testing.T, path string, from int, reply step) int {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all := calls(string(text))
		for i := from; i < len(all); i++ {
			if reply.is.MatchString(all[i]) {
				return i + 1
			}
		}
	}
	t.Fatalf("%q never came", reply.name)
	return 0
}

// calls returns one line for each line of the trace; where a call is interrupted by another thread, the line of its
// end carries the whole of it and the line of its beginning says nothing, for what counts is when it had succeeded.
func calls(trace string) []string {
	begun := map[string]string{}
	var out []string
	for line := range strings.Lines(trace) {
		line = strings.TrimSpace(line)
		pid, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		if head, ok := strings.CutSuffix(rest, " <unfinished ...>"); ok {
			begun[pid] = head
			if !strings.HasPrefix(head, "write") && !strings.HasPrefix(head, "sendto") {
				head = "" // a reply is out as soon as it begins; all else counts when done
			}
			out = append(out, head)
			continue
		}
		if strings.HasPrefix(rest, "<... ") {
			_, tail, _ := strings.Cut(rest, "resumed>")
			rest = begun[pid] + tail
			if strings.HasPrefix(rest, "write") || strings.HasPrefix(rest, "sendto") {
				rest = ""
			}
		}
		out = append(out, rest)
	}
	return out
}

// A step is a system call to come.
type step struct {
	name string
	is   *regexp.Regexp
}

var (
	fileSync        = step{"the file is synced", regexp.MustCompile(`^(fsync|fdatasync)\(\d+<[^>]*/homes/\.staging/[^>]*>\)\s+= 0`)}
	published       = step{"it is linked or renamed into the mailbox", regexp.MustCompile(`^(link|linkat|rename|renameat|renameat2)\(.*Maildir/([^"/]*/)?(new|cur)/[^"]*".*= 0`)}
	dirSync         = step{"the directory is synced", regexp.MustCompile(`^(fsync|fdatasync)\(\d+<[^>]*/Maildir/([^>/]*/)?(new|cur)>\)\s+= 0`)}
	removed         = step{"it is removed", regexp.MustCompile(`^(unlink|unlinkat)\(.*Maildir/(new|cur)/[^"]*".*= 0`)}
	fileOfDirectory = step{"the file of the directory is synced", regexp.MustCompile(`^fdatasync\(\d+<[^>]*/directory\.db>\)\s+= 0`)}
)

func reply(text string) step {
	return step{"the client hears " + text, regexp.MustCompile(`^(write|sendto|writev)\(.*` + regexp.QuoteMeta(text))}
}

// arrival is how a message comes into a mailbox.
func arrival(text string) []step { return []step{fileSync, published, dirSync, reply(text)} }

// inOrder demands all steps, one after the other, and the last of them, the reply, not before its turn.
func inOrder(calls []string, steps []step) error {
	next := 0
	for _, c := range calls {
		if last := len(steps) - 1; next < last && steps[last].is.MatchString(c) {
			return fmt.Errorf("%q came before %q", steps[last].name, steps[next].name)
		}
		if steps[next].is.MatchString(c) {
			if next++; next == len(steps) {
				return nil
			}
		}
	}
	return fmt.Errorf("%q never came", steps[next].name)
}

var (
	syncOf  = regexp.MustCompile(`^(?:fsync|fdatasync)\(\d+<([^>]*)>\)\s+= 0`)
	entryOf = regexp.MustCompile(`^(mkdir|link|rename|unlink)(?:at2?)?\((.*)\)\s+= 0`)
	quoted  = regexp.MustCompile(`"(/[^"]*)"`)
)

// unsynced returns the names below a folder that a power cut could take away again, or bring back: those made, renamed
// or removed since their directory was last synced. What is staged and in caches does not count.
func unsynced(calls []string, below string) []string {
	pending := map[string]bool{}
	for _, c := range calls {
		if m := syncOf.FindStringSubmatch(c); m != nil {
			maps.DeleteFunc(pending, func(name string, _ bool) bool { return filepath.Dir(name) == m[1] })
			continue
		}
		m := entryOf.FindStringSubmatch(c)
		if m == nil {
			continue
		}
		var names []string
		for _, q := range quoted.FindAllStringSubmatch(m[2], -1) {
			names = append(names, q[1])
		}
		if m[1] == "link" && len(names) == 2 {
			names = names[1:] // nothing happens to the other
		}
		if m[1] == "rename" && len(names) == 2 { // what lies below moves along
			for name := range maps.Clone(pending) {
				if rest, ok := strings.CutPrefix(name, names[0]+"/"); ok {
					delete(pending, name)
					pending[names[1]+"/"+rest] = true
				}
			}
		}
		for _, name := range names {
			pending[name] = true
		}
	}
	maps.DeleteFunc(pending, func(name string, _ bool) bool {
		return !strings.HasPrefix(name, below+"/") || strings.Contains(name, "/.staging")
	})
	return slices.Sorted(maps.Keys(pending))
}
