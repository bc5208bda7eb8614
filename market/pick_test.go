package market

import (
	"slices"
	"testing"

	"latchkey/coin"

	"pgregory.net/rapid"
)

func TestLadderIsThatOfCoin(t *testing.T) {
	for w := uint32(0); w <= 2*coin.MaxWeight; w++ {
		i, got := rung(w)
		if want := coin.CheckWeight(w) == nil; got != want || got && weights[i] != w {
			t.Errorf("weight %d: on the ladder %v, package coin says %v", w, got, want)
		}
	}
}

// drawCounts draws an inventory: any weights, few or many of each.
func drawCounts(t *rapid.T, label string) counts {
	var c counts
	top := rapid.IntRange(1, ladder).Draw(t, label+" top")
	for i := range top {
		c[i] = rapid.SampledFrom([]uint32{0, 0, 1, 2, 3, 4, 7, 12, 30}).Draw(t, label)
	}
	return c
}

// fewest is what pick has to agree with, by dynamic programming over all weights and counts: the least number of
// chunks for each sum, and the least cost among choices of so few.
func fewest(have *counts, limit uint32) (n []int, cost []uint64) {
	n, cost = make([]int, limit+1), make([]uint64, limit+1)
	for i := range n {
		n[i] = -1
	}
	n[0] = 0
	for i, w := range weights {
		m, c := slices.Clone(n), slices.Clone(cost)
		for sum := range n {
			if n[sum] < 0 {
				continue
			}
			for k := uint32(1); k <= have[i] && uint32(sum)+k*w <= limit; k++ {
				to, chunks := uint32(sum)+k*w, n[sum]+int(k)
				price := cost[sum] + uint64(k)*scarcity(have[i])
				if m[to] < 0 || chunks < m[to] || chunks == m[to] && price < c[to] {
					m[to], c[to] = chunks, price
				}
			}
		}
		n, cost = m, c
	}
	return n, cost
}

func costOf(have, take *counts) (cost uint64) {
	for i, k := range take {
		if k > 0 {
			cost += uint64(k) * scarcity(have[i])
		}
	}
	return cost
}

// pick finds the fewest chunks, of these the choice that costs the inventory least, wherever any choice exists.
func TestPickAgreesWithExhaustiveSearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have := drawCounts(t, "have")
		limit := uint32(min(have.units(), 3000))
		n, cost := fewest(&have, limit)
		set := sumsOf(&have, Units(limit))
		for sum := uint32(1); sum <= limit; sum++ {
			if set.has(Units(sum)) != (n[sum] >= 0) {
				t.Fatalf("%v: sums has %d: %v, want %v", have, sum, set.has(Units(sum)), n[sum] >= 0)
			}
			take, ok := pick(&have, Units(sum), 1<<20)
			if ok != (n[sum] >= 0) {
				t.Fatalf("%v: pick %d: %v, want %v", have, sum, ok, n[sum] >= 0)
			}
			if !ok {
				continue
			}
			for i := range take {
				if take[i] > have[i] {
					t.Fatalf("%v: pick %d takes %v", have, sum, take)
				}
			}
			if take.units() != uint64(sum) || take.chunks() != n[sum] || costOf(&have, &take) != cost[sum] {
				t.Fatalf("%v: pick %d takes %v: %d units, %d chunks at cost %d, want %d chunks at cost %d",
					have, sum, take, take.units(), take.chunks(), costOf(&have, &take), n[sum], cost[sum])
			}
			if _, ok := pick(&have, Units(sum), n[sum]); !ok {
				t.Fatalf("%v: pick %d of at most %d chunks: none", have, sum, n[sum])
			}
			if got, ok := pick(&have, Units(sum), n[sum]-1); ok {
				t.Fatalf("%v: pick %d of at most %d chunks: %v", have, sum, n[sum]-1, got)
			}
		}
	})
}

func TestPickByHand(t *testing.T) {
	for _, test := range []struct {
		name string
		have counts
		sum  Units
		want counts
		ok   bool
	}{
		{"as many heavy ones as fit", counts{9, 9, 9, 9}, 38, counts{1, 1, 1, 3}, true},
		{"one heavy one less", counts{0, 3, 1}, 6, counts{0, 3}, true},
		{"greed would take eleven", counts{10, 0, 0, 0, 3, 1}, 60, counts{0, 0, 0, 0, 3}, true},
		{"spare the last ten", counts{2, 1, 9, 1}, 12, counts{0, 1, 0, 1}, true},
		{"ties spare what is scarce", counts{2, 9, 9, 1}, 12, counts{0, 1, 0, 1}, true},
		{"two fives and a two, not the last ten", counts{2, 0, 0, 1}, 12, counts{2, 0, 0, 1}, true},
		{"nothing makes three", counts{0, 5, 5}, 3, counts{}, false},
		{"more than there is", counts{1, 1, 1}, 9, counts{}, false},
		{"nothing", counts{1, 1, 1}, 0, counts{}, false},
	} {
		if got, ok := pick(&test.have, test.sum, 100); got != test.want || ok != test.ok {
			t.Errorf("%s: got %v, %v, want %v, %v", test.name, got, ok, test.want, test.ok)
		}
	}
	// 10+1+1 and 5+5+2 are three chunks each: the tens are plenty in one inventory and scarce in the other.
	for _, test := range []struct{ have, want counts }{
		{counts{8, 2, 8, 1}, counts{0, 1, 0, 1}},
		{counts{20, 0, 2, 9}, counts{2, 0, 0, 1}},
	} {
		if got, _ := pick(&test.have, 12, 100); got != test.want {
			t.Errorf("12 of %v: got %v, want %v", test.have, got, test.want)
		}
	}
}
