package ldapd

import (
	"bufio"
	"io"
	"sync"
	"sync/atomic"
)

const (
	outputBuffer = 8 << 10  // kept by each connection
	outputStep   = 64 << 10 // what a client must take within the write time-out
)

// An output writes answers to a connection, each whole. Small ones are gathered: entries until the buffer is full, the
// end of an operation until no other writer waits.
type output struct {
	waiting atomic.Int32 // writers in send

	mu  sync.Mutex // guards what follows; held while the client takes what is written, so that all operations wait for it
	w   *bufio.Writer
	due bool // the buffer holds the end of an operation
}

func newOutput(w io.Writer) *output {
	return &output{w: bufio.NewWriterSize(stepped{w}, outputBuffer)}
}

// send writes b. With end, it does not stay in the buffer. The first error stays: nothing is written after it.
func (o *output) send(b []byte, end bool) error {
	o.waiting.Add(1)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.due = o.due || end
	_, err := o.w.Write(b)
	if o.waiting.Add(-1) == 0 && o.due && err == nil {
		o.due = false
		err = o.w.Flush()
	}
	return err
}

// A stepped writer writes no more than outputStep at once, because the time-out is that of one write.
type stepped struct{ w io.Writer }

// Write writes p in steps.
func (s stepped) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		var k int
		k, err = s.w.Write(p[:min(len(p), outputStep)])
		n += k
		p = p[k:]
	}
	return n, err
}
