package mailbox

import (
	"strings"
	"testing"

	"github.com/dirpost/dirpost/storage"
)

// TestCrossed: a mark is told once when the home grows over it, in octets or in messages, also after a restart; and again
// only after the home has been clearly below.
func TestCrossed(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	marks := []int{80, 95}
	bytes, messages := storage.Quota{Bytes: 1000}, storage.Quota{Messages: 20}
	crossed := func(id string, limit storage.Quota) int {
		t.Helper()
		got, err := l.home(id).Crossed(t.Context(), limit, marks)
		l.must(err)
		return got
	}
	steps := []struct {
		what string
		do   func()
		want int
	}{
		{"70 percent", func() { l.append("ann", "INBOX", strings.Repeat("x", 700), AppendOptions{}) }, 0},
		{"82 percent", func() { l.append("ann", "Sent", strings.Repeat("x", 120), AppendOptions{}) }, 80},
		{"the same", func() {}, 0},
		{"the same after a restart", func() { l.reopen() }, 0},
		{"78 percent is not clearly below", func() {
			l.must(l.mailbox("ann", "Sent").Expunge(t.Context(), []storage.UID{1}))
			l.append("ann", "Sent", strings.Repeat("x", 80), AppendOptions{})
		}, 0},
		{"82 percent again", func() { l.append("ann", "Drafts", strings.Repeat("x", 40), AppendOptions{}) }, 0},
		{"over both", func() { l.append("ann", "Drafts", strings.Repeat("x", 160), AppendOptions{}) }, 95},
		{"far below", func() { l.must(l.mailbox("ann", "INBOX").Expunge(t.Context(), []storage.UID{1})) }, 0},
		{"over both at once", func() { l.append("ann", "INBOX", strings.Repeat("x", 700), AppendOptions{}) }, 95},
	}
	for _, s := range steps {
		s.do()
		if got := crossed("ann", bytes); got != s.want {
			t.Errorf("%s: told %d, want %d", s.what, got, s.want)
		}
	}
	for i := range 20 {
		l.append("bob", "INBOX", "x", AppendOptions{})
		want := map[int]int{15: 80, 18: 95}[i]
		if got := crossed("bob", messages); got != want {
			t.Errorf("message %d: told %d, want %d", i+1, got, want)
		}
	}
	if got := crossed("bob", storage.Quota{}); got != 0 {
		t.Errorf("without a quota: told %d", got)
	}
}
