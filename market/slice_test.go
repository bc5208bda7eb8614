package market

import (
	"testing"

	"latchkey/coin"

	"pgregory.net/rapid"
)

// drawWindow draws room for a slice, mostly narrow prices and small inventories.
func drawWindow(t *rapid.T) *window {
	x, y := drawCounts(t, "x"), drawCounts(t, "y")
	w := &window{
		x: x, y: y,
		vx:     Micros(rapid.Int64Range(int64(minUnitValue), 60_000_000).Draw(t, "vx")),
		maker:  Bps(rapid.SampledFrom([]int{-300, 0, 50, 100, 500, 2000}).Draw(t, "maker")),
		taker:  Bps(rapid.SampledFrom([]int{-300, 0, 50, 100, 500, 2000}).Draw(t, "taker")),
		least:  Units(rapid.SampledFrom([]int{1, 1, 2, 10}).Draw(t, "least")),
		yleast: Units(rapid.SampledFrom([]int{1, 1, 2, 10}).Draw(t, "yleast")),
		most:   Units(rapid.IntRange(40, 300).Draw(t, "most")),
		ymost:  Units(rapid.IntRange(40, 300).Draw(t, "ymost")),
		tied:   rapid.IntRange(0, 9).Draw(t, "tied") == 0,
		picks:  rapid.SampledFrom([]int{2, 5, 128}).Draw(t, "picks"),
		sum:    maxMicros,
	}
	w.vy = max(w.vx*Micros(rapid.SampledFrom([]int64{1000, 1000, 990, 1013, 1100, 333}).Draw(t, "drift"))/1000, minUnitValue)
	w.target = min(max(Units(rapid.IntRange(1, 300).Draw(t, "target")), w.least), w.most)
	if rapid.Bool().Draw(t, "limited") {
		w.sum = Micros(rapid.Int64Range(0, 300).Draw(t, "sum")) * w.vx
	}
	return w
}

// exhaustive finds the best slice by trying every pair of sizes, with the definition of an acceptable price and nothing
// derived from it.
func (w *window) exhaustive() (x, y Units, found bool) {
	nx, _ := fewest(&w.x, uint32(w.most))
	ny, _ := fewest(&w.y, uint32(w.ymost))
	better := func(a, b Units) bool { // a is a better x than b
		switch {
		case a >= w.target && b >= w.target:
			return a < b
		case a < w.target && b < w.target:
			return a > b
		}
		return a >= w.target
	}
	for a := w.least; a <= w.most; a++ {
		for b := w.yleast; b <= w.ymost; b++ {
			va, vb := int64(a)*int64(w.vx), int64(b)*int64(w.vy)
			switch {
			case nx[a] < 0 || nx[a] > w.picks || ny[b] < 0 || ny[b] > w.picks:
			case va*wholeBps > vb*int64(wholeBps+w.maker), vb*wholeBps > va*int64(wholeBps+w.taker):
			case w.tied && a != b, Micros(va+vb) > w.sum:
			case !found || better(a, x) || a == x && b < y:
				x, y, found = a, b, true
			}
		}
	}
	return x, y, found
}

// best finds the best slice wherever there is one, and says so.
func TestBestAgreesWithExhaustiveSearch(t *testing.T) {
	found, short := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := drawWindow(t)
		x, y, ok := w.exhaustive()
		got, gotOK := w.best()
		if gotOK != ok || got.x != x || got.y != y {
			t.Fatalf("found %d against %d units: %v; the best is %d against %d: %v", got.x, got.y, gotOK, x, y, ok)
		}
		if !ok {
			return
		}
		if found++; x != w.target {
			short++
		}
		if got.proof != (Proof{w.target, x, x, true}) || got.takeX.units() != uint64(x) || got.takeY.units() != uint64(y) {
			t.Fatalf("slice %+v does not say what it is", got)
		}
		for _, side := range []struct{ have, take *counts }{{&w.x, &got.takeX}, {&w.y, &got.takeY}} {
			n, cost := fewest(side.have, uint32(side.take.units()))
			if sum := side.take.units(); side.take.chunks() != n[sum] || costOf(side.have, side.take) != cost[sum] {
				t.Fatalf("%d units of %v: took %v", sum, *side.have, *side.take)
			}
		}
	})
	t.Logf("%d slices found, %d beside the target", found, short)
	if found == 0 || short == 0 {
		t.Error("a kind of slice was never found")
	}
}

// The derived bounds on whole units are exactly those of the definition.
func TestPriceBoundsAreTight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := Units(rapid.Uint32Range(1, uint32(MaxUnits)).Draw(t, "x"))
		vx := Micros(rapid.Int64Range(int64(minUnitValue), int64(maxUnitValue)).Draw(t, "vx"))
		vy := Micros(rapid.Int64Range(int64(minUnitValue), int64(maxUnitValue)).Draw(t, "vy"))
		p := Bps(rapid.Int32Range(int32(-maxBps), int32(maxBps)).Draw(t, "p"))
		big := func(n uint64, v Micros, by int64) coin.Amount {
			a, err := coin.NewAmount(n).Times(uint64(v))
			if err == nil {
				a, err = a.Times(uint64(by))
			}
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		gives := func(x, y uint64) bool { // x worth vx are worth giving for y worth vy
			return big(x, vx, wholeBps).Cmp(big(y, vy, int64(wholeBps+p))) <= 0
		}
		if y := leastFor(x, vx, vy, p); !gives(uint64(x), y) || y > 0 && gives(uint64(x), y-1) {
			t.Errorf("leastFor gives %d", y)
		}
		pays := func(y uint64) bool { // y worth vy are worth paying for x worth vx
			return big(y, vy, wholeBps).Cmp(big(uint64(x), vx, int64(wholeBps+p))) <= 0
		}
		if y := mostFor(x, vx, vy, p); !pays(y) || pays(y+1) {
			t.Errorf("mostFor gives %d", y)
		}
	})
}

// Offers that do not meet have no ratio, offers that meet have one (with units fine enough).
func TestMeets(t *testing.T) {
	for _, test := range []struct {
		p, q Bps
		want bool
	}{
		{0, 0, true}, {50, -50, false}, {50, -49, true}, {-1, 0, false}, {100, -100, false}, {101, -100, false}, {102, -100, true},
		{-5000, 5000, false}, {2000, 2000, true},
	} {
		if got := meets(test.p, test.q); got != test.want || meets(test.q, test.p) != got {
			t.Errorf("meets(%d, %d) = %v, want %v", test.p, test.q, got, test.want)
		}
		x := Units(1 << 20)
		lo, hi := leastFor(x, 1e7, 1e7, test.p), mostFor(x, 1e7, 1e7, test.q)
		if (lo <= hi) != test.want {
			t.Errorf("premiums %d and %d: %d to %d units, want one: %v", test.p, test.q, lo, hi, test.want)
		}
	}
}
