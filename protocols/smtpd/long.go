package smtpd

import (
	"errors"
	"sync"
)

const (
	// longCommand is what every client may send before it gets an answer, outside of a message. Real commands have 12 KiB
	// at most (RFC 4954 section 4), but the chunk of a message nobody takes is read too.
	longCommand = 32 << 10

	// maxLong bounds the clients who may send more at a time. The line of each may grow to maxLine in memory.
	maxLong = 64
)

// errLong ends the session of a client who sends a long command while many do.
var errLong = errors.New("too many long commands at a time")

// A burden is what a client has sent that is not answered yet, outside of a message.
type burden struct {
	places chan struct{} // of the server, one for each client with a long command

	mu     sync.Mutex // guards what follows
	octets int
	placed bool
	over   bool // there was no place
}

// add counts n octets more. An error, which stays, says that there is no place for so many.
func (b *burden) add(n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.octets += n
	switch {
	case b.over:
		return errLong
	case b.octets <= longCommand || b.placed:
		return nil
	}
	select {
	case b.places <- struct{}{}:
		b.placed = true
		return nil
	default:
		b.over = true
		return errLong
	}
}

// drop is for an answer, and for the end: nothing is kept any more.
func (b *burden) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.octets = 0
	if b.placed {
		<-b.places
		b.placed = false
	}
}
