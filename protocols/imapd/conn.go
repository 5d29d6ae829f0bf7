package imapd

import (
	"errors"
	"io"
	"net"
	"sync"
)

// errFlood ends the connection of a client that sends too much before it has logged in.
var errFlood = errors.New("too many octets before login")

// maxBatch is how much is kept to be sent at once.
const maxBatch = 32 << 10

// A conn lies between the engine (or TLS, if there is TLS) and the guarded connection of package listen. The engine
// writes line by line and then reads the next command: a conn sends what was written when something is to be read. Of
// reading that ends for any reason, the engine sees the end of the stream, which it takes most calmly; the session
// finds the reason in [conn.reason].
type conn struct {
	net.Conn
	session *session
	closed  chan struct{} // by the first Close

	mu       sync.Mutex // orders writes, also with regard to reads, and guards what follows
	out      []byte     // written, not sent
	reading  bool       // a read waits: what is written now goes out now
	budget   int64      // octets that may still be read; negative = any number
	stop     error      // why nothing is read any more
	fault    error      // why nothing can be sent any more
	sent     int64
	received int64
}

func newConn(c net.Conn, budget int64) *conn {
	return &conn{Conn: c, closed: make(chan struct{}), budget: budget}
}

// Read sends what is waiting and reads.
func (c *conn) Read(p []byte) (int, error) {
	if !c.beginRead() {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p)
	return n, c.endRead(n, err)
}

func (c *conn) beginRead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
	if cap(c.out) > 4096 {
		c.out = nil // sessions that wait are many
	}
	if c.budget == 0 {
		c.end(errFlood)
	}
	c.reading = c.stop == nil
	return c.reading
}

func (c *conn) endRead(n int, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = false
	c.received += int64(n)
	if c.budget > 0 {
		c.budget = max(0, c.budget-int64(n))
	}
	if err != nil {
		c.end(err)
		return io.EOF
	}
	return nil
}

// Write keeps p until there is more, or until something is to be read.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) == 0 && len(p) >= maxBatch {
		c.send(p)
	} else {
		c.out = append(c.out, p...)
	}
	if c.reading || len(c.out) >= maxBatch {
		c.flush()
	}
	if c.fault != nil {
		return 0, c.fault
	}
	return len(p), nil
}

// flush sends what is waiting. The caller holds mu.
func (c *conn) flush() {
	if len(c.out) > 0 {
		c.send(c.out)
	}
	c.out = c.out[:0]
}

// send sends p, unless nothing can be sent any more. The caller holds mu.
func (c *conn) send(p []byte) {
	if c.fault == nil {
		var n int
		n, c.fault = c.Conn.Write(p)
		c.sent += int64(n)
	}
}

// cut ends the connection without sending anything more.
func (c *conn) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = net.ErrClosed
	c.end(net.ErrClosed)
	c.Conn.Close()
}

// Close sends what is waiting and closes.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.closed:
		return nil
	default:
		close(c.closed)
	}
	c.flush()
	return c.Conn.Close()
}

// trust lifts the limit on what may be sent before login.
func (c *conn) trust() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.budget = -1
}

// finish makes the next read the end of the stream.
func (c *conn) finish(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(why)
}

// end notes the first reason. The caller holds mu.
func (c *conn) end(why error) {
	if c.stop == nil {
		c.stop = why
	}
}

// reason is why reading ended; nil while it has not.
func (c *conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stop
}

// traffic is what went over the connection, TLS included.
func (c *conn) traffic() (received, sent int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.received, c.sent
}
