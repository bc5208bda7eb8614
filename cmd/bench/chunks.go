package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/event/disk"
	"latchkey/host"
	"latchkey/vault"
)

// vaultChunks is how many chunks one owner makes, in batches: its vault is then
// forgotten, for it is not what is measured.
const vaultChunks = 2 * vault.MaxBatch

// chunks fills an escrow with chunks, made as clients make them, half of each
// key type, and starts it again from its disk.
func chunks(ctx context.Context, o options) ([]figure, error) {
	w, err := newWorld(ctx, o, "chunks", 0)
	if err != nil {
		return nil, err
	}
	out, err := w.chunks(o)
	return out, errors.Join(err, w.close())
}

func (w *world) chunks(o options) ([]figure, error) {
	empty := heap()
	start := time.Now()
	for left, i := o.chunks, 0; left > 0; i++ {
		n, err := w.newNode(w.ctx)
		if err != nil {
			return nil, err
		}
		spec := vault.BatchSpec{Denomination: denomination("left", coin.Secp256k1), Weight: 5, Expiry: time.Now().Unix() + 80*86400}
		if i%2 == 1 {
			spec.Denomination = denomination("right", coin.Ed25519)
		}
		count := min(left, vaultChunks, max(1, o.chunks/2))
		for made := 0; made < count; made += int(spec.N) { // no feed: it has nothing to follow
			spec.N = uint32(min(count-made, vault.MaxBatch))
			if err := n.batch(w.ctx, spec); err != nil {
				return nil, err
			}
		}
		left -= count
		fmt.Fprintf(os.Stderr, "%d of %d chunks after %.0f s\n", o.chunks-left, o.chunks, time.Since(start).Seconds())
	}
	memory := figure{name: "memory a chunk, vault and host", unit: "bytes", n: o.chunks, note: "live heap of both, Pebble's tables included"}
	memory.samples = []float64{(heap() - empty) / float64(o.chunks)}
	if err := w.history(o.few(3072)); err != nil {
		return nil, err
	}
	long, _, _ := w.host.Sizes()
	whole := figure{name: "restart, from the whole log", unit: "s", n: o.chunks, note: fmt.Sprintf("replay of %d entries, and all rows, in one process", long)}
	snapshot := figure{name: "snapshot, until it is durable", unit: "s", n: o.chunks, goal: "under 10 s", note: "begun at a start; others are served meanwhile"}
	w.every = 1
	if err := w.restart(&whole); err != nil {
		return nil, err
	}
	if err := w.snapshot(&snapshot); err != nil {
		return nil, err
	}
	w.every = 0
	if err := w.restart(&figure{}); err != nil {
		return nil, err
	}
	if err := w.history(o.few(512)); err != nil {
		return nil, err
	}
	from, err := host.From(w.ctx, w.log)
	if err != nil {
		return nil, err
	}
	witnessedSize, _, _ := w.host.Sizes()
	restart := figure{name: "restart, until clients are let in", unit: "s", n: o.chunks, goal: "under 10 s"}
	only := figure{name: "… of it the log, without vault and host", unit: "s", n: o.chunks}
	hosts := figure{name: "… of it the host's index", unit: "bytes", n: o.chunks}
	vaults := figure{name: "memory a chunk, the escrow's vault", unit: "bytes", n: o.chunks, goal: "under 300", note: "the difference: shares, states, and the sealed table's index"}
	for range 3 {
		if err := w.endHost(); err != nil {
			return nil, err
		}
		runtime.GC()
		start := time.Now()
		log, err := disk.Open(disk.Config{Folder: filepath.Join(w.dir, "escrow")})
		if err != nil {
			return nil, err
		}
		only.samples = append(only.samples, time.Since(start).Seconds())
		before := heap()
		index, err := escrow.NewHost(w.ctx, escrow.HostConfig{Log: log, Origin: origin})
		if err != nil {
			return nil, err
		}
		hosts.samples = append(hosts.samples, (heap()-before)/float64(o.chunks))
		runtime.KeepAlive(index)
		if err := log.Close(); err != nil {
			return nil, err
		}
		if err := w.restart(&restart); err != nil {
			return nil, err
		}
	}
	if err := w.witnessed(witnessedSize); err != nil {
		return nil, err
	}
	after := (heap() - empty) / float64(o.chunks)
	index, _, _ := hosts.median()
	vaults.samples = []float64{after - index}
	memory.note += "; the process's peak was " + cpuinfo("/proc/self/status", "VmHWM")
	restart.note = fmt.Sprintf("a snapshot of %d entries, replay of %d more, and all rows, in one process", from, witnessedSize-int64(from))
	return []figure{memory, hosts, vaults, snapshot, restart, only, whole}, nil
}

// history lets so many chunks be made, locked, handed over and given away, so that
// the log is long.
func (w *world) history(n int) error {
	s := &stage{world: w, spec: vault.BatchSpec{Denomination: denomination("left", coin.Secp256k1), Weight: 5, Expiry: time.Now().Unix() + 80*86400}}
	durable, _, _ := w.host.Sizes()
	err := w.witnessed(durable)
	if err != nil {
		return err
	}
	if s.bob, err = w.newNode(w.ctx); err != nil {
		return err
	}
	for range payers {
		a, err := w.newNode(w.ctx)
		if err != nil {
			return err
		}
		s.alices = append(s.alices, a)
	}
	for ; n > 0; n -= min(n, 1024) {
		frames, err := s.prepare(max(payers, min(n, 1024)), 1)
		if err != nil {
			return err
		}
		if _, _, err := s.send(frames, 64); err != nil {
			return err
		}
	}
	return nil
}

// restart ends the escrow, if it runs, and starts it again.
func (w *world) restart(f *figure) error {
	if w.endHost != nil {
		if err := w.endHost(); err != nil {
			return err
		}
	}
	runtime.GC()
	start := time.Now()
	_, err := w.startEscrow()
	f.samples = append(f.samples, time.Since(start).Seconds())
	return err
}

// snapshot waits until the one that a start has begun is durable.
func (w *world) snapshot(f *figure) error {
	start := time.Now()
	durable, _, _ := w.host.Sizes()
	for {
		from, err := host.From(w.ctx, w.log)
		if err != nil || from >= uint64(durable) {
			f.samples = append(f.samples, time.Since(start).Seconds())
			return err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-w.ctx.Done():
			return context.Cause(w.ctx)
		}
	}
}

// heap is the live heap, in bytes.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
