package disk_test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"latchkey/event"
	"latchkey/event/disk"
)

const benchEvent = 500 // bytes, as in the measurements that this is held against

// inParallel runs b.N calls of one on n goroutines.
func inParallel(b *testing.B, n int, one func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var group sync.WaitGroup
	b.ResetTimer()
	for range n {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				if err := one(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkAppend has n writers, each waiting for its event to be durable.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("writers=%d", n), func(b *testing.B) {
			l, err := disk.Open(disk.Config{Folder: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			var order sync.Mutex
			payload := make([]byte, benchEvent)
			inParallel(b, n, func() error {
				order.Lock()
				r := l.Submit(l.Next(), event.Block{Events: [][]byte{payload}})
				order.Unlock()
				return <-r
			})
		})
	}
}

// BenchmarkBarePebble is what BenchmarkAppend is held against: the same writers,
// each committing a batch of its own, synced.
func BenchmarkBarePebble(b *testing.B) {
	for _, n := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("writers=%d", n), func(b *testing.B) {
			db, err := pebble.Open(b.TempDir(), &pebble.Options{MemTableSize: 16 << 20, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			var next atomic.Uint64
			inParallel(b, n, func() error {
				batch := db.NewBatch()
				if err := batch.Set(binary.BigEndian.AppendUint64(nil, next.Add(1)), make([]byte, benchEvent), nil); err != nil {
					return err
				}
				return batch.Commit(pebble.Sync)
			})
		})
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// BenchmarkPipeline is one owner with n blocks in flight, each with its tree row
// and a row of its own, as an escrow appends.
func BenchmarkPipeline(b *testing.B) {
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("flight=%d", n), func(b *testing.B) {
			l, err := disk.Open(disk.Config{Folder: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			tree, err := event.OpenTree(b.Context(), l)
			if err != nil {
				b.Fatal(err)
			}
			payload, value := make([]byte, benchEvent), make([]byte, 100)
			flight := make(chan (<-chan error), n)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for r := range flight {
					if err := <-r; err != nil {
						b.Error(err)
					}
				}
			}()
			b.ResetTimer()
			for i := range b.N {
				rows := append(tree.Append(payload), event.Row{Key: fmt.Appendf(nil, "share/%d", i%1000), Value: value})
				flight <- l.Submit(uint64(i), event.Block{Events: [][]byte{payload}, Puts: rows})
			}
			close(flight)
			<-done
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkOpen checks a chain of 100,000 events.
func BenchmarkOpen(b *testing.B) {
	const events = 100_000
	folder := b.TempDir()
	l, err := disk.Open(disk.Config{Folder: folder})
	if err != nil {
		b.Fatal(err)
	}
	var block event.Block
	for range 1000 {
		block.Events = append(block.Events, make([]byte, benchEvent))
	}
	for range events / len(block.Events) {
		if err := l.Append(b.Context(), l.Next(), block); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l, err := disk.Open(disk.Config{Folder: folder})
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(events*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkProve proves inclusion in a tree of 100,000 events.
func BenchmarkProve(b *testing.B) {
	const events = 100_000
	l, err := disk.Open(disk.Config{Folder: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	tree, err := event.OpenTree(b.Context(), l)
	if err != nil {
		b.Fatal(err)
	}
	for l.Next() < events {
		var block event.Block
		for range 1000 {
			block.Events = append(block.Events, make([]byte, 50))
		}
		block.Puts = tree.Append(block.Events...)
		if err := l.Append(b.Context(), l.Next(), block); err != nil {
			b.Fatal(err)
		}
	}
	prover := event.NewProver(l)
	i := int64(0)
	for b.Loop() {
		if _, err := prover.Inclusion(b.Context(), i*7919%events, events); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
