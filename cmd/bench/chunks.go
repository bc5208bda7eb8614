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
	_, witnessedSize, _ := w.host.Sizes()
	memory := figure{name: "memory a chunk, vault and host", unit: "bytes", n: o.chunks, note: "live heap of both, Pebble's tables included"}
	memory.samples = []float64{(heap() - empty) / float64(o.chunks)}
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
		start = time.Now()
		if _, err := w.startEscrow(); err != nil {
			return nil, err
		}
		restart.samples = append(restart.samples, time.Since(start).Seconds())
	}
	if err := w.witnessed(witnessedSize); err != nil {
		return nil, err
	}
	after := (heap() - empty) / float64(o.chunks)
	index, _, _ := hosts.median()
	vaults.samples = []float64{after - index}
	memory.note += "; the process's peak was " + cpuinfo("/proc/self/status", "VmHWM")
	restart.note = fmt.Sprintf("replay of %d entries and all rows, in one process; there is no snapshot", witnessedSize)
	return []figure{memory, hosts, vaults, restart, only}, nil
}

// heap is the live heap, in bytes.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
