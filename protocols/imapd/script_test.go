package imapd

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/dirpost/dirpost/storage"
)

// TestScripts plays the conversations in testdata. Each line of the file "session" is one of
//
//	C: line        the client sends it
//	S: line        the server must send it to the letter; <n> stands for any number
//	S~ line        the server must send a line that begins so: the rest is the engine's
//	deliver FILE   the file is filed in alice's INBOX
//
// A digit before C and S names the connection; without one it is the first. Connections are made, and greetings read,
// at their first line; "login" logs alice in on it. Files other than the session are messages.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	must(t, err)
	if len(files) == 0 {
		t.Fatal("no scripts")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			must(t, err)
			p := player{t: t, site: newSite(t, Options{MaxBytes: 50_000, MaxAuthFailures: 3}), mails: map[string]string{}}
			for _, f := range archive.Files {
				p.mails[f.Name] = string(f.Data)
			}
			for i, line := range strings.Split(p.mails["session"], "\n") {
				p.play(i+1, strings.TrimRight(line, "\r"))
			}
		})
	}
}

type player struct {
	t     *testing.T
	site  *site
	mails map[string]string
	conns [10]*wireClient
}

func (p *player) play(number int, line string) {
	p.t.Helper()
	if line == "" || strings.HasPrefix(line, "#") {
		return
	}
	if name, ok := strings.CutPrefix(line, "deliver "); ok {
		text, ok := p.mails[name]
		if !ok {
			p.t.Fatalf("line %d: no file %s", number, name)
		}
		p.site.deliver(p.t, "alice", "INBOX", text, storage.Flags(0))
		return
	}
	n, rest := 1, line
	if d, err := strconv.Atoi(line[:1]); err == nil {
		n, rest = d, line[1:]
	}
	fresh := p.conns[n] == nil
	if fresh {
		p.conns[n] = p.site.connect(p.t, nil)
	}
	w := p.conns[n]
	switch {
	case rest == "login":
		w.login("alice")
	case strings.HasPrefix(rest, "C: "):
		if fresh {
			w.line()
		}
		w.send(rest[3:] + "\n")
	case rest == "C:":
		w.send("\n")
	case strings.HasPrefix(rest, "S: "), rest == "S:":
		want := strings.TrimPrefix(rest[2:], " ")
		if got := w.line(); !matchesLine(want, got) {
			p.t.Fatalf("line %d:\n got %s\nwant %s", number, got, want)
		}
	case strings.HasPrefix(rest, "S~ "):
		if got := w.line(); !strings.HasPrefix(got, rest[3:]) {
			p.t.Fatalf("line %d:\n got %s\nwant %s...", number, got, rest[3:])
		}
	default:
		p.t.Fatalf("line %d: %q is no line of a script", number, line)
	}
}

func matchesLine(want, got string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "<n>", "[0-9]+")
	return regexp.MustCompile("^" + pattern + "$").MatchString(got)
}
