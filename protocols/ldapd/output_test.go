package ldapd

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
)

// A recorder keeps the sizes of writes, and may fail from one on.
type recorder struct {
	bytes.Buffer
	sizes []int
	fail  error
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.fail != nil {
		return 0, r.fail
	}
	r.sizes = append(r.sizes, len(p))
	return r.Buffer.Write(p)
}

func TestOutputGathers(t *testing.T) {
	t.Parallel()
	var r recorder
	o := newOutput(&r)
	for _, entry := range []string{"a", "b", "c"} {
		if err := o.send([]byte(entry), false); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.sizes) != 0 {
		t.Errorf("entries were written one by one: %v", r.sizes)
	}
	if err := o.send([]byte("done"), true); err != nil {
		t.Fatal(err)
	}
	if got, want := r.String(), "abcdone"; got != want || len(r.sizes) != 1 {
		t.Errorf("wrote %q in %v, want %q at once", got, r.sizes, want)
	}
}

// While another writer waits, it is left to that one to send what is due, even if its own answer is not.
func TestOutputLeavesFlushingToTheNext(t *testing.T) {
	t.Parallel()
	var r recorder
	o := newOutput(&r)
	o.waiting.Add(1)
	if err := o.send([]byte("done"), true); err != nil || r.Len() != 0 {
		t.Errorf("while another waits: %q, %v; want nothing written", r.String(), err)
	}
	o.waiting.Add(-1)
	if err := o.send([]byte("entry"), false); err != nil || r.String() != "doneentry" {
		t.Errorf("wrote %q, %v; want both", r.String(), err)
	}
}

func TestOutputSteps(t *testing.T) {
	t.Parallel()
	var r recorder
	o := newOutput(&r)
	big := bytes.Repeat([]byte("x"), 3*outputStep+1)
	if err := o.send(big, true); err != nil {
		t.Fatal(err)
	}
	for _, n := range r.sizes {
		if n > outputStep {
			t.Errorf("one write of %d octets, want at most %d", n, outputStep)
		}
	}
	if !bytes.Equal(r.Bytes(), big) {
		t.Errorf("wrote %d octets, want %d", r.Len(), len(big))
	}
}

func TestOutputKeepsItsError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	o := newOutput(&recorder{fail: broken})
	for range 2 {
		if err := o.send([]byte("x"), true); !errors.Is(err, broken) {
			t.Errorf("send: %v, want %v", err, broken)
		}
	}
}

// Every answer goes out whole and none stays behind, however many writers there are.
func TestOutputFromManyWriters(t *testing.T) {
	t.Parallel()
	var r recorder
	o := newOutput(&r)
	var writers sync.WaitGroup
	const each = 200
	for w := range 8 {
		line := strings.Repeat(string(rune('a'+w)), 50) + "\n"
		writers.Go(func() {
			for i := range each {
				o.send([]byte(line), i == each-1)
			}
		})
	}
	writers.Wait()
	lines := strings.Split(strings.TrimSuffix(r.String(), "\n"), "\n")
	if len(lines) != 8*each {
		t.Fatalf("%d lines, want %d", len(lines), 8*each)
	}
	for _, l := range lines {
		if l != strings.Repeat(l[:1], 50) {
			t.Fatalf("torn: %q", l)
		}
	}
}
