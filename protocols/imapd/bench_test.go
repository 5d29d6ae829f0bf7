package imapd

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// fillInbox gives alice n messages of about size octets: few files, many links.
func (s *site) fillInbox(b *testing.B, n, size int) {
	b.Helper()
	home := s.home(b, "alice")
	staged, err := s.store.Stage()
	must(b, err)
	defer staged.Discard()
	head := "Date: Thu, 1 Jan 2026 10:00:00 +0100\nFrom: Alice <alice@example.org>\nTo: bob@example.org\nSubject: a message\nMessage-ID: <1@example.org>\n\n"
	_, err = io.WriteString(staged, head+strings.Repeat(strings.Repeat("0123456", 10)+"\n", (size-len(head))/71+1))
	must(b, err)
	must(b, staged.Seal())
	work := make(chan int)
	done := make(chan error, 32)
	for range cap(done) {
		go func() {
			var failed error
			for range work {
				_, err := home.Append(b.Context(), "INBOX", staged, mailbox.AppendOptions{Flags: storage.Seen})
				if err != nil {
					failed = err
				}
			}
			done <- failed
		}()
	}
	for i := range n {
		work <- i
	}
	close(work)
	for range cap(done) {
		must(b, <-done)
	}
}

// opened is a connection with INBOX selected.
func (s *site) opened(b *testing.B, secure bool) *wireClient {
	b.Helper()
	config := s.clientTLS(nil)
	if !secure {
		config = nil
	}
	w := s.connect(b, config)
	must(b, w.conn.SetDeadline(time.Time{}))
	w.in = bufio.NewReaderSize(w.conn, 256<<10)
	w.login("alice")
	w.do("SELECT INBOX")
	return w
}

// drain sends a command and counts the octets of the answer, looking at no more than line ends.
func (w *wireClient) drain(command string) (octets int64) {
	w.t.Helper()
	w.send("x " + command + "\n")
	for {
		line, err := w.in.ReadSlice('\n')
		octets += int64(len(line))
		if err != nil && err != bufio.ErrBufferFull {
			w.t.Fatal(err)
		}
		if strings.HasPrefix(string(line), "x ") {
			return octets
		}
	}
}

func BenchmarkFetchBodies(b *testing.B) {
	for _, size := range []int{4_000, 20_000, 1 << 20} {
		s := newSite(b, Options{})
		s.fillInbox(b, max(20, 4_000_000/size), size)
		for _, secure := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dKB/TLS=%v", size/1000, secure), func(b *testing.B) {
				w := s.opened(b, secure)
				var n int64
				for b.Loop() {
					n = w.drain("FETCH 1:* BODY.PEEK[]")
				}
				b.SetBytes(n)
			})
		}
	}
}

// BenchmarkMailbox asks of a mailbox with 10,000 messages.
func BenchmarkMailbox(b *testing.B) {
	const messages = 10_000
	s := newSite(b, Options{})
	s.fillInbox(b, messages, 4000)
	for _, command := range []string{
		"SELECT INBOX", "NOOP", "FETCH 1:* FLAGS", "UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)",
		"FETCH 1:* (ENVELOPE BODYSTRUCTURE)", "FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)]",
		"SEARCH UNSEEN", "SEARCH FROM nobody", "SEARCH TEXT rareword", "STATUS INBOX (MESSAGES UNSEEN)",
	} {
		b.Run(strings.ReplaceAll(command, " ", "_"), func(b *testing.B) {
			w := s.opened(b, false)
			for b.Loop() {
				w.drain(command)
			}
		})
	}
	b.Run("STORE_one_flag", func(b *testing.B) {
		w := s.opened(b, false)
		for i := 0; b.Loop(); i++ {
			w.drain(fmt.Sprintf("STORE %d %cFLAGS.SILENT (\\Flagged)", i/2%messages+1, "+-"[i%2]))
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	s := newSite(b, Options{})
	w := s.opened(b, false)
	text := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 78)+"\r\n", 50)
	for b.Loop() {
		w.send(fmt.Sprintf("a APPEND INBOX {%d}\n", len(text)))
		w.until("+")
		_, err := io.WriteString(w.conn, text+"\r\n")
		must(b, err)
		w.until("a ")
	}
}

func BenchmarkLoginTLS(b *testing.B) {
	s := newSite(b, Options{})
	config := s.clientTLS(s.certificate(b))
	for b.Loop() {
		w := s.connect(b, config)
		w.line()
		if got := w.do("AUTHENTICATE EXTERNAL ="); !strings.HasPrefix(got[0], "x OK") {
			b.Fatal(got)
		}
		w.conn.Close()
	}
}
