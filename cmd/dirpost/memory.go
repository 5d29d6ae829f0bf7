package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The collector waits until the heap has doubled, and gives memory back slowly. What a start or an import of a large directory
// needed would stay with the process for as long as it has little to do, so it is given back when it is quiet.
const (
	memoryEvery = 10 * time.Second // between looks
	memoryQuiet = 16 << 20         // allocated between two looks, at most, when it is quiet
	memorySlack = 32 << 20         // that is worth a collection
)

// giveBack returns memory to the system when the process is quiet and has much that it does not need, until ctx ends.
func giveBack(ctx context.Context) {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	for last := memoryNow(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := memoryNow()
		if now.idle(last) {
			debug.FreeOSMemory()
		}
		last = now
	}
}

// A memory is how much the heap has, in octets.
type memory struct {
	allocated     uint64 // since the start
	live          uint64 // found by the last collection
	objects, free uint64 // that take room now, and room for others
}

func memoryNow() memory {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	of := func(i int) uint64 { return samples[i].Value.Uint64() }
	return memory{of(0), of(1), of(2), of(3)}
}

// idle reports whether little was allocated since before, and much could be given back.
func (m memory) idle(before memory) bool {
	return m.allocated-before.allocated <= memoryQuiet && m.objects+m.free >= m.live+memorySlack
}
