package mailbox

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// mail4k is a message of 4 KB on the wire.
var mail4k = []byte("From: ann@example.org\r\nSubject: hello\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 56))

// fill makes a folder of n messages in cur, all links to few files.
func fill(b *testing.B, l *lab, id string, n int) {
	b.Helper()
	m := l.mailbox(id, "INBOX")
	dir := l.dir(id, "INBOX")
	file := dir.File("source")
	validity := m.UIDValidity()
	m.Close()
	if err := l.store.Close(); err != nil {
		b.Fatal(err)
	}
	names := maildir.NewNamer("node1", 1)
	for i := range n {
		if i%1000 == 0 {
			os.Remove(file)
			if err := os.WriteFile(file, mail4k, 0o600); err != nil {
				b.Fatal(err)
			}
		}
		size := int64(len(mail4k))
		base := names.Base(time.Now(), size, size, validity, storage.UID(i+1))
		if err := dir.Link(file, maildir.Cur, maildir.Info{Flags: storage.Seen}.File(base)); err != nil {
			b.Fatal(err)
		}
	}
	marks := newMarks(validity, "")
	marks.nextUID, marks.uidEnd = storage.UID(n+1), storage.UID(n+1)
	if err := marks.write(dir); err != nil {
		b.Fatal(err)
	}
	time.Sleep(2100 * time.Millisecond) // until the times of the directories are believed
	l.open()
}

func BenchmarkAppend(b *testing.B) {
	for _, clients := range []int{1, 10, 50} {
		for _, open := range []bool{false, true} {
			b.Run(fmt.Sprintf("clients=%d/open=%v", clients, open), func(b *testing.B) {
				l := newLab(b)
				if open {
					l.mailbox("ann", "INBOX")
				}
				benchmarkAppend(b, l, clients)
			})
		}
	}
}

func benchmarkAppend(b *testing.B, l *lab, clients int) {
	h := l.home("ann")
	var left atomic.Int64
	left.Store(int64(b.N))
	var group sync.WaitGroup
	before := cpuTime(b)
	b.ResetTimer()
	for range clients {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				st, err := l.store.Stage()
				if err == nil {
					_, err = st.Write(mail4k)
				}
				if err == nil {
					err = st.Seal()
				}
				if err == nil {
					_, err = h.Append(b.Context(), "INBOX", st, AppendOptions{})
				}
				if err != nil {
					b.Error(err)
					return
				}
				st.Discard()
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/msg")
}

// cpuTime is what the process has used of the processors.
func cpuTime(b *testing.B) time.Duration {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		l := newLab(b)
		fill(b, l, "ann", n)
		open := func(b *testing.B) {
			m, err := l.home("ann").Open(b.Context(), "INBOX")
			if err != nil {
				b.Fatal(err)
			}
			if got := m.View().Len(); got != n {
				b.Fatalf("%d messages; want %d", got, n)
			}
			m.Close()
		}
		b.Run(fmt.Sprintf("messages=%d/no index", n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				l.store.Close()
				os.RemoveAll(l.opts.Cache)
				l.open()
				b.StartTimer()
				open(b)
			}
		})
		b.Run(fmt.Sprintf("messages=%d/after restart", n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				l.reopen()
				b.StartTimer()
				open(b)
			}
		})
		b.Run(fmt.Sprintf("messages=%d/warm", n), func(b *testing.B) {
			for b.Loop() {
				open(b)
			}
		})
	}
}

func BenchmarkFlag(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("messages=%d", n), func(b *testing.B) {
			l := newLab(b)
			fill(b, l, "ann", n)
			m := l.mailbox("ann", "INBOX")
			i := 0
			for b.Loop() {
				uid := storage.UID(i%n + 1)
				op := storage.AddFlags
				if (i/n)%2 == 1 {
					op = storage.RemoveFlags
				}
				if _, err := m.Flag(b.Context(), []storage.UID{uid}, op, storage.Flagged, nil, 0); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
		})
	}
}
