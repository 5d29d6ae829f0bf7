package ldapd

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/dirpost/dirpost/protocols/ldapwire"
)

func newOperation(id int32, size int) *operation {
	return &operation{Message: ldapwire.Message{ID: id}, size: size, cancel: func() {}}
}

func TestInflightBounds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		max    int
		sizes  []int
		budget int
		enter  int // how many of them get in at first
	}{
		{"by number", 2, []int{1, 1, 1}, 100, 2},
		{"by size", 10, []int{60, 40, 1}, 100, 2},
		{"one always, whatever its size", 10, []int{500, 1}, 100, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newInflight(tt.max)
				var ops []*operation
				entered := 0
				go func() {
					for i, size := range tt.sizes {
						ops = append(ops, newOperation(int32(i+1), size))
						f.enter(ops[i], tt.budget)
						entered++
					}
				}()
				synctest.Wait()
				if entered != tt.enter {
					t.Errorf("%d are in, want %d", entered, tt.enter)
				}
				f.leave(ops[0])
				synctest.Wait()
				if entered != len(tt.sizes) {
					t.Errorf("after one has left %d got in, want all %d", entered, len(tt.sizes))
				}
				for _, op := range ops[1:] {
					f.leave(op)
				}
				f.wait()
				if f.count != 0 || f.bytes != 0 || len(f.live) != 0 {
					t.Errorf("at the end %d operations, %d octets, %d live; want none", f.count, f.bytes, len(f.live))
				}
			})
		})
	}
}

func TestInflightNumbers(t *testing.T) {
	t.Parallel()
	f := newInflight(8)
	first, second := newOperation(7, 1), newOperation(7, 1)
	if err := f.enter(first, 100); err != nil {
		t.Fatal(err)
	}
	if err := f.enter(second, 100); !errors.Is(err, errSameID) {
		t.Errorf("a number in use: %v, want %v", err, errSameID)
	}
	if !f.answer(first) {
		t.Error("the first answer is not sent")
	}
	if f.answer(first) {
		t.Error("an operation is answered twice")
	}
	if !f.quiet() {
		t.Error("the client waits for an answer that it has")
	}
	// The number is free with the answer, though the operation has not left yet.
	if err := f.enter(second, 100); err != nil {
		t.Errorf("a number that was answered: %v", err)
	}
	f.leave(first)
	if f.quiet() {
		t.Error("leaving took the number of another operation")
	}
	f.abandon(7)
	if f.answer(second) {
		t.Error("an abandoned operation is answered")
	}
	f.abandon(7)
	f.leave(second)
	f.wait()
}

func TestInflightAbandonCancels(t *testing.T) {
	t.Parallel()
	f := newInflight(8)
	cancelled := false
	op := newOperation(1, 1)
	op.cancel = func() { cancelled = true }
	if err := f.enter(op, 100); err != nil {
		t.Fatal(err)
	}
	f.abandon(2)
	if cancelled {
		t.Error("abandoning another operation cancelled this one")
	}
	f.abandon(1)
	if !cancelled {
		t.Error("abandon did not cancel")
	}
}
