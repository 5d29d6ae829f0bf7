package main

import (
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// TestSyncsOfDelivery counts what a delivery costs the disk: one sync of the file, however many get it, and one of the
// directory for each mailbox, which messages that arrive together share. More would be slow, less would not be durable.
func TestSyncsOfDelivery(t *testing.T) {
	t.Parallel()
	one := func(s *site, i int) error {
		return lmtp(s.addr["lmtp"], "alice@example.org", message("a@b.example", "alice@example.org", fmt.Sprint("one ", i)))
	}
	tests := []struct {
		name  string
		do    func(s *site) error
		files int
		dirs  func(n int) bool
		want  string
	}{
		{"ten messages, one after the other", func(s *site) error { return times(10, func(i int) error { return one(s, i) }) }, 10,
			func(n int) bool { return n == 10 }, "10"},
		{"one message for two", func(s *site) error {
			c, err := smtp.Dial(s.addr["mx"])
			if err != nil {
				return err
			}
			defer c.Close()
			return c.SendMail("a@b.example", []string{"alice@example.org", "bob@example.org"}, strings.NewReader(message("a@b.example", "alice@example.org", "two")))
		}, 1, func(n int) bool { return n == 2 }, "2"},
		{"two hundred messages on ten connections", func(s *site) error { return atOnce(s, 10, 20) }, 200,
			func(n int) bool { return n < 200 }, "less than 200"},
	}
	s := embeddedSite(t)
	s.addPeople()
	s.start()
	for _, rcpt := range []string{"alice@example.org", "bob@example.org"} { // the first message makes the home
		if err := lmtp(s.addr["lmtp"], rcpt, message("a@b.example", rcpt, "first")); err != nil {
			t.Fatal(err)
		}
	}
	s.stop()
	for i, tt := range tests {
		trace := s.path(fmt.Sprint("trace", i))
		s.start("strace", "-D", "-f", "-y", "-e", "trace=fsync,fdatasync", "-o", trace, "--")
		if err := tt.do(s); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		s.stop()
		text := finished(t, trace)
		files := len(regexp.MustCompile(`(?m)f(data)?sync\(\d+<[^>]*/\.staging/\d+>`).FindAllString(text, -1))
		dirs := len(regexp.MustCompile(`(?m)f(data)?sync\(\d+<[^>]*/Maildir/new>`).FindAllString(text, -1))
		t.Logf("%s: %d syncs of files, %d of directories", tt.name, files, dirs)
		if files != tt.files || !tt.dirs(dirs) {
			t.Errorf("%s: %d syncs of files and %d of directories, want %d and %s", tt.name, files, dirs, tt.files, tt.want)
		}
	}
}

func times(n int, do func(int) error) error {
	for i := range n {
		if err := do(i); err != nil {
			return err
		}
	}
	return nil
}

// atOnce delivers to alice on several connections at once.
func atOnce(s *site, conns, each int) error {
	failed := make(chan error, conns)
	var senders sync.WaitGroup
	for worker := range conns {
		senders.Go(func() {
			conn, err := net.Dial("tcp", s.addr["lmtp"])
			if err != nil {
				failed <- err
				return
			}
			c := smtp.NewClientLMTP(conn)
			defer c.Close()
			failed <- times(each, func(i int) error {
				return lmtpOn(c, "alice@example.org", message("a@b.example", "alice@example.org", fmt.Sprintf("%d-%d", worker, i)))
			})
		})
	}
	senders.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}
