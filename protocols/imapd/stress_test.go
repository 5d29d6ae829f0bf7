package imapd

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/dirpost/dirpost/storage"
)

// A model is what a client makes of what it is told: the UID of each number, 0 where it has not asked.
type model struct {
	*wireClient
	uids []uint32
	err  error
}

// hear takes in untagged lines.
func (m *model) hear(lines []string) {
	for _, line := range lines {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "*" {
			continue
		}
		n, err := strconv.Atoi(words[1])
		if err != nil {
			continue
		}
		switch words[2] {
		case "EXISTS":
			if n < len(m.uids) {
				m.err = fmt.Errorf("%d messages shrink to %d by EXISTS", len(m.uids), n)
				return
			}
			m.uids = append(m.uids, make([]uint32, n-len(m.uids))...)
		case "EXPUNGE":
			if n < 1 || n > len(m.uids) {
				m.err = fmt.Errorf("EXPUNGE %d of %d messages", n, len(m.uids))
				return
			}
			m.uids = slices.Delete(m.uids, n-1, n)
		case "FETCH":
			m.hearFetch(n, line)
		}
	}
}

// hearFetch checks the number of a FETCH against the UID it has.
func (m *model) hearFetch(n int, line string) {
	_, rest, ok := strings.Cut(line, "(UID ")
	if n < 1 || n > len(m.uids) {
		m.err = fmt.Errorf("%q, but there are %d messages", line, len(m.uids))
		return
	}
	if !ok {
		return
	}
	word, _, _ := strings.Cut(strings.TrimRight(rest, ")"), " ")
	uid, err := strconv.ParseUint(word, 10, 32)
	if err != nil || m.uids[n-1] != 0 && m.uids[n-1] != uint32(uid) {
		m.err = fmt.Errorf("%q, but message %d has UID %d", line, n, m.uids[n-1])
		return
	}
	m.uids[n-1] = uint32(uid)
}

// step does one random thing.
func (m *model) step(r *rand.Rand) {
	command := "NOOP"
	if len(m.uids) > 0 {
		n := r.IntN(len(m.uids)) + 1
		command = []string{
			"NOOP",
			fmt.Sprintf("FETCH %d:* (UID FLAGS)", n),
			fmt.Sprintf("STORE %d +FLAGS.SILENT (\\Deleted)", n),
			fmt.Sprintf("STORE %d +FLAGS (\\Seen kw%d)", n, r.IntN(5)),
			"EXPUNGE",
			fmt.Sprintf("COPY %d INBOX", n),
			"SEARCH UNSEEN",
			fmt.Sprintf("UID MOVE %d Archive", m.uids[n-1]+1),
			"UID FETCH 1:* (UID)",
		}[r.IntN(9)]
	}
	if strings.HasPrefix(command, "COPY") && len(m.uids) > 40 {
		command = "NOOP"
	}
	m.hear(m.do(command))
}

// TestSessionsAgree: whatever several sessions and deliveries do to a mailbox at the same time, the numbers that each
// is told make sense, and in the end all see the same.
func TestSessionsAgree(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	for range 10 {
		s.deliver(t, "alice", "INBOX", "A: b\n\nc\n", 0)
	}
	var models []*model
	for range 4 {
		w := s.connect(t, nil)
		w.login("alice")
		m := &model{wireClient: w}
		m.hear(w.do("SELECT INBOX"))
		models = append(models, m)
	}
	var all sync.WaitGroup
	for i, m := range models {
		all.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for range 150 {
				if m.step(r); m.err != nil {
					return
				}
			}
		})
	}
	for i := range 20 {
		s.deliver(t, "alice", "INBOX", "A: b\n\nc\n", storage.Flags(i%2)*storage.Seen)
	}
	all.Wait()
	for i, m := range models {
		m.hear(m.do("NOOP"))
		m.hear(m.do("UID FETCH 1:* (UID)"))
		if m.err != nil {
			t.Errorf("session %d: %v", i, m.err)
		}
		if !slices.Equal(m.uids, models[0].uids) {
			t.Errorf("session %d sees %v, session 0 %v", i, m.uids, models[0].uids)
		}
	}
	if len(models[0].uids) == 0 {
		t.Error("no message is left: the test says little")
	}
}
