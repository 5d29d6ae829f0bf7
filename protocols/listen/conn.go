package listen

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// Why a read of a guarded connection ended. All are time-outs (net.Error, os.ErrDeadlineExceeded) and sticky:
// after the first one nothing is read any more, so that the rest of a body cannot be taken for commands. Writing stays
// possible, for the last word of the protocol.
var (
	ErrIdle     error = timeoutError("no data for too long")
	ErrLife     error = timeoutError("connection lasted too long")
	ErrDraining error = timeoutError("server is shutting down")
	ErrEnded    error = timeoutError("session was ended by the server") // see [End]
)

type timeoutError string

func (e timeoutError) Error() string { return string(e) }

// Timeout makes libraries say "idle" and not "broken".
func (e timeoutError) Timeout() bool { return true }

// Temporary is false because the error is sticky; crypto/tls then never reads again either.
func (e timeoutError) Temporary() bool { return false }

// Is lets callers ask for os.ErrDeadlineExceeded as with any other connection.
func (e timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// A conn is a connection that cannot be kept for ever. Its deadlines are its own: those set from above are ignored,
// because protocol libraries set them once for a whole command, or for a whole body (which cuts slow but steady
// senders), or not at all.
type conn struct {
	net.Conn
	id    string
	gate  *Gate
	of    any // see peerKey
	write time.Duration

	mu       sync.Mutex // guards what follows, and that the deadline of Conn fits it
	idle     time.Duration
	turn     time.Duration // 0 = no limit
	spoke    time.Time     // the last thing that was said to the peer
	heard    int64         // octets since then
	end      time.Time
	held     int   // commands in hand that a drain lets finish
	draining error // why Read fails as soon as nothing is held; nil = it does not
	fault    error
}

// Read waits for data no longer than the idle time, and not beyond the end of the peer's turn and the connection's life.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.arm(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	c.heard += int64(n)
	c.mu.Unlock()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, c.timedOut()
	}
	return n, err
}

// arm sets the deadline of the next read, or tells why there is none.
func (c *conn) arm() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault == nil && c.held == 0 {
		c.fault = c.draining
	}
	if c.fault != nil {
		return c.fault
	}
	return c.Conn.SetReadDeadline(c.deadline())
}

// leastRate is how many octets in a second make a turn in which much is said, such as a message, longer.
const leastRate = 500

// deadline is when the next read ends. The caller holds mu.
func (c *conn) deadline() time.Time {
	deadline := time.Now().Add(c.idle)
	if c.turn > 0 {
		turn := c.spoke.Add(c.turn)
		if c.held > 0 {
			turn = turn.Add(time.Duration(c.heard/leastRate) * time.Second)
		}
		if turn.Before(deadline) {
			deadline = turn
		}
	}
	if c.end.Before(deadline) {
		deadline = c.end
	}
	return deadline
}

// timedOut names the reason of a time-out and makes it stick.
func (c *conn) timedOut() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.fault != nil:
	case c.draining != nil && c.held == 0:
		c.fault = c.draining
	case !time.Now().Before(c.end):
		c.fault = ErrLife
	default:
		c.fault = ErrIdle
	}
	return c.fault
}

// Write gives the peer a bounded time to take p. When the connection's life is over there is that much time once more
// for the last words.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	last := c.end
	if now := time.Now(); now.Before(last) {
		last = now
	}
	c.spoke, c.heard = last, 0
	c.mu.Unlock()
	if err := c.Conn.SetWriteDeadline(last.Add(c.write)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close ends the connection and gives its place to another.
func (c *conn) Close() error {
	defer c.gate.release(c)
	return c.Conn.Close()
}

// SetDeadline does nothing: see conn.
func (c *conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing: see conn.
func (c *conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing: see conn.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// drain ends the read that waits, and all later ones, with an error, unless a command is in hand; then it does so after
// that. The first error counts.
func (c *conn) drain(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining == nil {
		c.draining = why
	}
	c.wake()
}

// End ends the session on c as a shutdown would, for a reason of its own: reading is over with ErrEnded once no command is
// in hand, and the last words can still be said. c is as for [Limit]; the call does not wait.
func End(c net.Conn) { mustFind(c).drain(ErrEnded) }

// wake ends a read that waits although nothing is in hand. The caller holds mu.
func (c *conn) wake() {
	if c.draining != nil && c.held == 0 {
		c.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// Hold says that a command is in hand which has to read on, such as the body after DATA: a shutdown lets c read until
// release is called, which must happen once. c came through a [Gate]; see [Limit].
func Hold(c net.Conn) (release func()) {
	guarded := mustFind(c)
	guarded.mu.Lock()
	defer guarded.mu.Unlock()
	guarded.held++
	return func() {
		guarded.mu.Lock()
		defer guarded.mu.Unlock()
		guarded.held--
		guarded.wake()
	}
}

// Limit gives c another idle time, from the next read on, and another life, from now on: short ones belong to
// strangers, long ones to who has logged in. c came through a [Gate], and what has been put over it since has a method
// NetConn, as a tls.Conn has; any other is a bug and panics, for limits that silently do not hold are worse.
func Limit(c net.Conn, idle, life time.Duration) {
	guarded := mustFind(c)
	guarded.mu.Lock()
	defer guarded.mu.Unlock()
	guarded.idle, guarded.end = idle, time.Now().Add(life)
}

// Hurry gives c a shorter idle time, if it is shorter, until relax is called. c is as for [Limit].
func Hurry(c net.Conn, idle time.Duration) (relax func()) {
	guarded := mustFind(c)
	guarded.mu.Lock()
	defer guarded.mu.Unlock()
	before := guarded.idle
	guarded.idle = min(idle, before)
	return func() {
		guarded.mu.Lock()
		defer guarded.mu.Unlock()
		guarded.idle = before
	}
}

// Early waits before the first word is said to c, and reports whether the peer speaks meanwhile, which no program does
// that listens for an answer. What it said is lost. c is as for [Limit], and nobody else reads it.
func Early(c net.Conn, wait time.Duration) bool {
	guarded := mustFind(c)
	guarded.mu.Lock()
	until := time.Now().Add(wait)
	if last := guarded.deadline(); last.Before(until) {
		until = last
	}
	if guarded.draining == nil {
		guarded.Conn.SetReadDeadline(until)
	}
	guarded.mu.Unlock()
	n, _ := guarded.Conn.Read(make([]byte, earlyRoom))
	return n > 0
}

// earlyRoom is how much of what was said too early is taken. What is left makes the kernel reset the connection when it is
// closed, and the answer may be lost.
const earlyRoom = 4 << 10

func mustFind(c net.Conn) *conn {
	guarded := find(c)
	if guarded == nil {
		panic(fmt.Sprintf("listen: no guarded connection below a %T", c))
	}
	return guarded
}

// find looks for the guarded connection below TLS and other wrappers; nil when there is none.
func find(c net.Conn) *conn {
	for c != nil {
		if guarded, ok := c.(*conn); ok {
			return guarded
		}
		wrapper, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = wrapper.NetConn()
	}
	return nil
}
