package gate

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// A Figure is one number by which a process is watched. Names have the form of
// Prometheus, without the prefix latchkey_.
type Figure struct {
	Name   string
	Help   string
	Value  float64
	Count  bool    // it only grows
	Label  string  // name of its one label; empty: none
	Of     string  // the label's value
	Timing *Timing // in the place of Value: a distribution of durations
}

// Figures are what the guard counted.
func (g *Guard) Figures() []Figure {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := []Figure{
		{Name: "requests_total", Help: "Requests that were let in.", Value: float64(g.passed), Count: true},
		{Name: "connections", Help: "Open connections.", Value: float64(g.all)},
		{Name: "requests_waiting", Help: "Requests to an escrow's vault that are not answered yet: they wait for their turn, the disk or the witnesses.", Value: float64(g.taken)},
	}
	kinds := map[string]uint64{RefusedAddress: 0, RefusedStranger: 0, RefusedVault: 0, RefusedWaiting: 0, RefusedDevice: 0, RefusedConnection: 0, RefusedBody: 0}
	maps.Copy(kinds, g.refused)
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		out = append(out, Figure{Name: "refused_total", Help: "Requests and connections that were refused, by the limit that refused them.", Value: float64(kinds[k]), Count: true, Label: "limit", Of: k})
	}
	return out
}

// bounds are the upper ends of a Timing's buckets, in seconds.
var bounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// A Timing counts durations. Its zero value is ready; any goroutine may use it.
type Timing struct {
	mu    sync.Mutex
	in    [13]uint64 // by bound
	count uint64
	sum   float64
}

// Observe counts a duration.
func (t *Timing) Observe(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := d.Seconds()
	t.count++
	t.sum += s
	if i, _ := slices.BinarySearch(bounds, s); i < len(bounds) {
		t.in[i]++
	}
}

// Read returns how many were counted, their sum in seconds, and how many are at
// most each bound.
func (t *Timing) Read() (count uint64, sum float64, most map[float64]uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	most = map[float64]uint64{}
	var n uint64
	for i, b := range bounds {
		n += t.in[i]
		most[b] = n
	}
	return t.count, t.sum, most
}
