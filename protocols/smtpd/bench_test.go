package smtpd

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dirpost/dirpost/directory"
)

// BenchmarkLMTP delivers messages of 4 KB to one mailbox for each connection. Every one of them is on the disk, fsynced,
// when its answer comes.
func BenchmarkLMTP(b *testing.B) {
	message := "Subject: bench\r\nFrom: ann@example.net\r\n\r\n" + strings.Repeat(strings.Repeat("x", 62)+"\r\n", 64) + ".\r\n"
	for _, conns := range []int{1, 10} {
		b.Run(fmt.Sprintf("c=%d", conns), func(b *testing.B) {
			w := newWorld(b)
			_, addr := w.serve("lmtp", Options{})
			talkers := make([]*talker, conns)
			for i := range talkers {
				w.addUser(fmt.Sprintf("user%d", i), directory.Quota{})
				talkers[i] = dial(b, addr)
				talkers[i].do("LHLO client.test", "250")
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			b.SetBytes(int64(len(message)))
			b.ResetTimer()
			var done sync.WaitGroup
			for i, k := range talkers {
				done.Go(func() {
					for left.Add(-1) >= 0 {
						k.mail("ann@example.net", fmt.Sprintf("user%d@example.org", i))
						k.raw(message)
						if reply, err := k.reply(); err != nil || !strings.HasPrefix(reply, "250") {
							b.Errorf("got %q, %v", reply, err)
							return
						}
					}
				})
			}
			done.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
