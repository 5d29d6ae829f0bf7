package mailbox

import (
	"sync"
	"testing"

	"github.com/dirpost/dirpost/storage"
)

// TestMoveOfTwo: a message that several sessions move at once arrives once.
func TestMoveOfTwo(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	m, home := l.mailbox("ann", "INBOX"), l.home("ann")
	dest := l.mailbox("ann", "Trash")
	for round := range 20 {
		uid := l.append("ann", "INBOX", "text", AppendOptions{})
		var moved [4]Copied
		var movers sync.WaitGroup
		for i := range moved {
			movers.Go(func() {
				var err error
				if moved[i], err = m.Move(t.Context(), []storage.UID{uid}, home, "Trash", storage.Quota{}); err != nil {
					t.Errorf("move: %v", err)
				}
			})
		}
		movers.Wait()
		told := 0
		for _, done := range moved {
			told += len(done.To)
		}
		if got := dest.View().Len(); got != round+1 || told != 1 {
			t.Fatalf("round %d: %d messages arrived and %d were told, want %d and 1", round, got, told, round+1)
		}
		if got := m.View().Len(); got != 0 {
			t.Fatalf("round %d: %d are left behind", round, got)
		}
	}
}

// TestMoveUnderFlagging: a message can be copied and moved while others never stop to change its flags, each of which is
// another name of its file.
func TestMoveUnderFlagging(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	m, home := l.mailbox("ann", "INBOX"), l.home("ann")
	l.mailbox("ann", "Trash")
	for range 20 {
		uid := l.append("ann", "INBOX", "text", AppendOptions{})
		stop, begun := make(chan struct{}), make(chan struct{})
		var flagger sync.WaitGroup
		flagger.Go(func() {
			for i := 0; ; i++ {
				op := []storage.FlagOp{storage.AddFlags, storage.RemoveFlags}[i%2]
				if _, err := m.Flag(t.Context(), []storage.UID{uid}, op, storage.Flagged, []string{"busy"}, 0); err != nil {
					t.Errorf("flag: %v", err)
				}
				if i == 0 {
					close(begun)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		<-begun
		if done, err := m.Copy(t.Context(), []storage.UID{uid}, home, "Trash", storage.Quota{}); err != nil || len(done.To) != 1 {
			t.Errorf("copy: %v, %v", done, err)
		}
		if done, err := m.Move(t.Context(), []storage.UID{uid}, home, "Trash", storage.Quota{}); err != nil || len(done.To) != 1 {
			t.Errorf("move: %v, %v", done, err)
		}
		close(stop)
		flagger.Wait()
	}
	if got := m.View().Len(); got != 0 {
		t.Errorf("%d messages are left behind", got)
	}
}
