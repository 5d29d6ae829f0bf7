package mailbox

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// crashEnv makes the test binary a server to be killed; its value is the folder of the store.
const crashEnv = "DIRPOST_TEST_CRASH"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashEnv); dir != "" {
		fmt.Println("failed:", crashChild(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// crashChild appends and flags from many goroutines for ever, and tells what is acknowledged, a line each:
// "home folder UID token" or "flagged home UID".
func crashChild(dir string) error {
	store, err := Open(Options{Homes: filepath.Join(dir, "homes"), Cache: filepath.Join(dir, "cache"), Node: "node1", Idle: 10 * time.Millisecond})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for worker := range 8 {
		go func() { failed <- crashWorker(store, worker) }()
	}
	return <-failed
}

func crashWorker(store *Store, worker int) error {
	ctx := context.Background()
	h, err := store.Home([]string{"ann", "bob"}[worker%2])
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		token := fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, i)
		folder := []string{"INBOX", "Sent"}[i%2]
		st, err := store.Stage()
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(st, "token %s\r\n", token); err != nil {
			return err
		}
		if err := st.Seal(); err != nil {
			return err
		}
		o := AppendOptions{Date: time.Unix(1_000_000_000+int64(i), 0)}
		if worker%4 == 3 {
			o.Keywords = []string{"token"}
		}
		done, err := h.Append(ctx, folder, st, o)
		if err != nil {
			return err
		}
		fmt.Printf("%s %s %d %s\n", h.id, folder, done.UID, token)
		st.Discard()
		if worker < 2 && folder == "INBOX" {
			if err := crashFlag(ctx, h, done.UID); err != nil {
				return err
			}
			fmt.Printf("flagged %s %d\n", h.id, done.UID)
		}
	}
}

func crashFlag(ctx context.Context, h *Home, uid storage.UID) error {
	m, err := h.Open(ctx, "INBOX")
	if err != nil {
		return err
	}
	defer m.Close()
	_, err = m.Flag(ctx, []storage.UID{uid}, storage.AddFlags, storage.Flagged, nil, 0)
	return err
}

// acknowledged is what the killed servers told.
type acknowledged struct {
	tokens  map[string]string // token to "home folder UID"
	flagged map[string]bool   // "home INBOX UID"
}

// Whatever was acknowledged before a kill is there after it: each message once, under its UID, with its flags; and no UID
// comes twice.
func TestKill(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.must(l.store.Close())
	told := acknowledged{map[string]string{}, map[string]bool{}}
	for round := range 4 {
		before := len(told.tokens)
		runAndKill(t, filepath.Dir(l.opts.Homes), 100+50*round, &told)
		if len(told.tokens) == before {
			t.Fatal("nothing was acknowledged")
		}
	}
	l.open()
	found := map[string]string{}
	for _, id := range []string{"ann", "bob"} {
		for _, folder := range []string{"INBOX", "Sent"} {
			m := l.mailbox(id, folder)
			l.consistent(m)
			l.collect(m, id, folder, found, told.flagged)
		}
	}
	for token, place := range told.tokens {
		if found[token] != place {
			t.Errorf("%s was acknowledged as %q and is %q", token, place, found[token])
		}
	}
	t.Logf("%d acknowledged, %d found, %d flags", len(told.tokens), len(found), len(told.flagged))
	entries, err := os.ReadDir(filepath.Join(l.opts.Homes, stagingDir))
	if len(entries) > 0 || err != nil {
		t.Errorf("staging holds %d files, %v; want none", len(entries), err)
	}
}

// collect reads all messages of a folder.
func (l *lab) collect(m *Mailbox, id, folder string, found map[string]string, flagged map[string]bool) {
	l.t.Helper()
	last := storage.UID(0)
	for i, msg := range m.View().All() {
		row := m.View().row(i)
		data, err := os.ReadFile(l.dir(id, folder).Path(row.Sub, row.File))
		l.must(err)
		token := strings.TrimSpace(strings.TrimPrefix(string(data), "token "))
		place := fmt.Sprintf("%s %s %d", id, folder, msg.UID)
		if found[token] != "" || msg.UID <= last {
			l.t.Errorf("%s is %s after UID %d, and was %q", token, place, last, found[token])
		}
		found[token] = place
		last = msg.UID
		if flagged[place] && msg.Flags&storage.Flagged == 0 {
			l.t.Errorf("%s has lost its flag", place)
		}
	}
	if name := m.View().Keywords; len(name) > 0 && name[0] != "token" {
		l.t.Errorf("keywords = %q; want token", name)
	}
}

// runAndKill starts a server, kills it after it has told lines, and notes all that it told.
func runAndKill(t *testing.T, dir string, lines int, told *acknowledged) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), crashEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	kill := func() { once.Do(func() { cmd.Process.Kill() }) }
	defer kill()
	scanner := bufio.NewScanner(out)
	for n := 0; scanner.Scan(); n++ {
		if n == lines {
			kill() // the pipe may hold more: all of it was acknowledged
		}
		switch f := strings.Fields(scanner.Text()); {
		case len(f) == 4:
			told.tokens[f[3]] = strings.Join(f[:3], " ")
		case len(f) == 3 && f[0] == "flagged":
			told.flagged[f[1]+" INBOX "+f[2]] = true
		case n < lines:
			t.Errorf("the server says %q", scanner.Text())
		}
	}
	cmd.Wait() // it was killed
}

// The numbers of a folder survive a kill at any moment because they are written before they are used; this is what the
// file says at each.
func TestMarksAreAhead(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dir := l.dir("ann", "INBOX")
	m := l.mailbox("ann", "INBOX")
	for range uidBlock + 10 {
		st := l.stage("")
		done, err := l.home("ann").Append(t.Context(), "INBOX", st, AppendOptions{})
		l.must(err)
		st.Discard()
		disk, err := readMarks(dir)
		if err != nil || disk.uidEnd <= done.UID || disk.modseqEnd < m.View().HighestModSeq {
			t.Fatalf("file says UID %d, modseq %d, %v; given out are %d, %d", disk.uidEnd, disk.modseqEnd, err, done.UID, m.View().HighestModSeq)
		}
	}
}

func TestParseMarks(t *testing.T) {
	t.Parallel()
	for _, tt := range marksTable {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseMarks([]byte(tt.in))
			if got != tt.want || (err != nil) != tt.bad {
				t.Errorf("got %+v, %v; want %+v, error %v", got, err, tt.want, tt.bad)
			}
		})
	}
}

var marksTable = []struct {
	name string
	in   string
	want marks
	bad  bool
}{
	{"all lines", "dirpost-folder 1\nuidvalidity 6923a1f0\nuid 513\nmodseq 9\nboot b\nspecial-use \\Sent\n",
		marks{validity: 0x6923a1f0, nextUID: 513, uidEnd: 513, modseq: 9, modseqEnd: 9, boot: "b", use: `\Sent`}, false},
	{"unknown lines are passed over", "dirpost-folder 1\nuidvalidity 1\nuid 1\nmodseq 1\nfuture x\n",
		marks{validity: 1, nextUID: 1, uidEnd: 1, modseq: 1, modseqEnd: 1}, false},
	{"empty", "", marks{}, true},
	{"another version", "dirpost-folder 2\nuidvalidity 1\nuid 1\nmodseq 1\n", marks{}, true},
	{"no uid", "dirpost-folder 1\nuidvalidity 1\nmodseq 1\n", marks{}, true},
	{"zero uid", "dirpost-folder 1\nuidvalidity 1\nuid 0\nmodseq 1\n", marks{}, true},
	{"uid beyond 32 bits", "dirpost-folder 1\nuidvalidity 1\nuid 4294967296\nmodseq 1\n", marks{}, true},
	{"no number", "dirpost-folder 1\nuidvalidity 1\nuid x\nmodseq 1\n", marks{}, true},
	{"too long", "dirpost-folder 1\n" + strings.Repeat("x\n", marksBytes), marks{}, true},
}

// Whatever is parsed is written back the same.
func FuzzMarks(f *testing.F) {
	for _, tt := range marksTable {
		f.Add([]byte(tt.in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMarks(data)
		if err != nil {
			return
		}
		dir := maildir.Dir(t.TempDir())
		if err := m.write(dir); err != nil {
			t.Fatal(err)
		}
		again, err := readMarks(dir)
		if again != m || err != nil {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}
