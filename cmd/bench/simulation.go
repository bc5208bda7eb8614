package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/sim"
)

// steps is how many events TestSeeds draws for each seed.
const steps = 120

// simulation plays seeds as sim's TestSeeds does, on all cores.
func simulation(ctx context.Context, o options) ([]figure, error) {
	cast, err := sim.NewCast()
	if err != nil {
		return nil, err
	}
	events := figure{name: "simulation", unit: "events/s", note: fmt.Sprintf("on %d cores, everybody's books compared after each event", runtime.GOMAXPROCS(0))}
	seeds := figure{name: "a million seeds", unit: "hours", goal: "a night: 10"}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // a world is small and gone in a moment
	next, used := uint64(1), cpu()
	for range 5 {
		n := uint64(o.few(160))
		var all sim.Stats
		var mu sync.Mutex
		var failed error
		var at atomic.Uint64
		at.Store(next)
		var running sync.WaitGroup
		start := time.Now()
		for range runtime.GOMAXPROCS(0) {
			running.Go(func() {
				for seed := at.Add(1) - 1; seed < next+n && ctx.Err() == nil; seed = at.Add(1) - 1 {
					st, f := sim.Run(cast, seed, steps, nil)
					mu.Lock()
					all.Add(st)
					if f != nil {
						failed = f
					}
					mu.Unlock()
				}
			})
		}
		running.Wait()
		if failed != nil {
			return nil, failed
		}
		took := time.Since(start).Seconds()
		next += n
		events.n += all.Events
		seeds.n += all.Worlds
		events.samples = append(events.samples, float64(all.Events)/took)
		seeds.samples = append(seeds.samples, 1e6/(float64(all.Worlds)/took)/3600)
	}
	each := (cpu() - used).Seconds() / float64(seeds.n)
	seeds.note = fmt.Sprintf("%.0f ms of CPU a seed: %.1f hours of %d cores that do nothing else", 1000*each, 1e6*each/float64(runtime.NumCPU())/3600, runtime.NumCPU())
	return []figure{events, seeds}, ctx.Err()
}
