package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-smtp"
)

// TestOrderOfSyncs watches the system calls of the server: a message's file is synced, then it appears in the mailbox by
// a link or a rename, then the directory is synced, and only then does the client hear of success.
func TestOrderOfSyncs(t *testing.T) {
	t.Parallel()
	s := embeddedSite(t)
	s.addPeople()
	trace := s.path("trace")
	s.start("strace", "-D", "-f", "-y", "-s", "200", "-e", "trace=fsync,fdatasync,link,linkat,rename,renameat,renameat2,write,sendto,writev", "-o", trace, "--")

	ways := []struct {
		name  string
		send  func(subject string) error
		reply string // what the client hears
	}{
		{"LMTP", func(subject string) error {
			return lmtp(s.addr["lmtp"], "alice@example.org", message("a@b.example", "alice@example.org", subject))
		}, `accepted as `},
		{"MX", func(subject string) error {
			c, err := smtp.Dial(s.addr["mx"])
			if err != nil {
				return err
			}
			defer c.Close()
			return c.SendMail("a@b.example", []string{"alice@example.org"}, strings.NewReader(message("a@b.example", "alice@example.org", subject)))
		}, `accepted as `},
		{"APPEND", func(subject string) error {
			c, err := imapclient.DialInsecure(s.addr["imap"], nil)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.Login("alice", alicePassword).Wait(); err != nil {
				return err
			}
			text := message("a@b.example", "alice@example.org", subject)
			w := c.Append("INBOX", int64(len(text)), &imap.AppendOptions{Time: time.Unix(1700000000, 0)})
			if _, err := w.Write([]byte(text)); err != nil {
				return err
			}
			if err := w.Close(); err != nil {
				return err
			}
			_, err = w.Wait()
			return err
		}, `OK [APPENDUID`},
	}
	marks := []int{lines(t, trace)}
	for _, w := range ways {
		if err := w.send("order-" + w.name); err != nil {
			t.Fatalf("%s: %v", w.name, err)
		}
		marks = append(marks, lines(t, trace))
	}
	s.stop()
	all := calls(finished(t, trace))
	for i, w := range ways {
		if err := inOrder(all[marks[i]:], w.reply); err != nil {
			t.Errorf("%s: %v\n%s", w.name, err, strings.Join(all[marks[i]:min(marks[i]+120, len(all))], "\n"))
		}
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

// lines counts the lines of the trace so far.
func lines(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
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

var (
	fileSync  = regexp.MustCompile(`^(fsync|fdatasync)\(\d+<[^>]*/homes/\.staging/[^>]*>\)\s+= 0`)
	published = regexp.MustCompile(`^(link|linkat|rename|renameat|renameat2)\(.*Maildir/(new|cur)/[^"]*".*= 0`)
	dirSync   = regexp.MustCompile(`^(fsync|fdatasync)\(\d+<[^>]*/Maildir/(new|cur)>\)\s+= 0`)
)

// inOrder demands file sync, link or rename, directory sync and reply, in this order.
func inOrder(calls []string, reply string) error {
	steps := []struct {
		name string
		is   func(string) bool
	}{
		{"the file is synced", fileSync.MatchString},
		{"it is linked or renamed into the mailbox", published.MatchString},
		{"the directory is synced", dirSync.MatchString},
		{"the client hears " + reply, func(c string) bool { return strings.Contains(c, reply) }},
	}
	next := 0
	for _, c := range calls {
		for later := next + 1; later < len(steps); later++ {
			if steps[later].is(c) && later != next {
				return fmt.Errorf("%q came before %q", steps[later].name, steps[next].name)
			}
		}
		if steps[next].is(c) {
			if next++; next == len(steps) {
				return nil
			}
		}
	}
	return fmt.Errorf("%q never came", steps[next].name)
}
