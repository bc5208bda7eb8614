package sim

import (
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	seeds = flag.Int("seeds", 1000, "how many seeds to play")
	first = flag.Uint64("first", 1, "the first of them")
	seed  = flag.Uint64("seed", 0, "play only this seed, and say what happens with -v")
	steps = flag.Int("steps", 120, "events drawn for each seed")
)

func TestSeeds(t *testing.T) {
	c, err := cast()
	if err != nil {
		t.Fatal(err)
	}
	if *seed != 0 {
		var log func(string)
		if testing.Verbose() {
			log = func(s string) { t.Log(s) }
		}
		if _, f := Run(c, *seed, *steps, log); f != nil {
			t.Fatal(f)
		}
		return
	}
	var next atomic.Uint64
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all Stats
	failures := 0
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				mu.Lock()
				done := i >= uint64(*seeds/slow) || failures >= 3
				mu.Unlock()
				if done {
					return
				}
				st, f := Run(c, *first+i, *steps, nil)
				mu.Lock()
				all.Add(st)
				if f != nil {
					failures++
					t.Error(f)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%+v", all)
}

// Every file of testdata is a world that once broke an invariant.
func TestRegressions(t *testing.T) {
	c, err := cast()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			seed, events, err := ParseFile(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Replay(c, seed, events, nil); err != nil {
				t.Error(err)
			}
		})
	}
}
