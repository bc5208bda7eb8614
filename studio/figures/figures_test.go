package figures

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"latchkey/contract"
)

var types = []contract.Type{contract.Number, contract.Units, contract.Time, contract.Duration, contract.Money}

func TestShowIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := rapid.SampledFrom(types).Draw(t, "type")
		v := rapid.Int64Range(0, contract.MaxDuration).Draw(t, "value")
		got, err := Parse(typ, Show(typ, v))
		if err != nil || got != v {
			t.Errorf("%s %d is shown as %q, which reads as %d, %v", typ, v, Show(typ, v), got, err)
		}
	})
}

func TestParse(t *testing.T) {
	tests := []struct {
		typ  contract.Type
		text string
		want int64
		ok   bool
	}{
		{contract.Units, "20", 20, true},
		{contract.Units, "20 units", 20, true},
		{contract.Units, "1 unit", 1, true},
		{contract.Units, "1_000", 1000, true},
		{contract.Units, "20 days", 0, false},
		{contract.Units, "-5", -5, true}, // its range refuses it
		{contract.Number, "2.5", 0, false},
		{contract.Number, "_5", 0, false},
		{contract.Number, "", 0, false},
		{contract.Money, "12.50", 1250, true},
		{contract.Money, "12", 1200, true},
		{contract.Money, "1_000.00", 100000, true},
		{contract.Money, "-0.50", -50, true},
		{contract.Money, "0.05", 5, true},
		{contract.Money, "12.5", 0, false},
		{contract.Money, ".50", 0, false},
		{contract.Money, "12.505", 0, false},
		{contract.Time, "1970-01-02", 86400, true},
		{contract.Time, "1970-01-01T00:01", 60, true},
		{contract.Time, "1970-01-01 00:01:05 UTC", 65, true},
		{contract.Time, "1970-01-01T00:01:05Z", 65, true},
		{contract.Time, "1970-01-01T02:00:00+02:00", 0, true},
		{contract.Time, "1969-12-31", 0, false},
		{contract.Time, "2026-02-30", 0, false},
		{contract.Time, "tomorrow", 0, false},
		{contract.Duration, "1 day 12 hours", 129600, true},
		{contract.Duration, "2 weeks", 1209600, true},
		{contract.Duration, "90", 90, true},
		{contract.Duration, "5", 5, true},
		{contract.Duration, "5 parsecs", 0, false},
		{contract.Duration, "days 5", 0, false},
		{contract.Duration, "9223372036854775807 days", 0, false},
		{contract.Duration, "366001 days", 0, false},
	}
	for _, c := range tests {
		got, err := Parse(c.typ, c.text)
		if got != c.want || (err == nil) != c.ok || err != nil && !errors.Is(err, ErrFigure) {
			t.Errorf("Parse(%s, %q) = %d, %v, want %d, ok %t", c.typ, c.text, got, err, c.want, c.ok)
		}
	}
}

// Of a ladder's chunks every amount up to the whole can be made by the rule that
// picks chunks for a give.
func TestLadder(t *testing.T) {
	for units := int64(0); units <= 2000; units++ {
		weights := Ladder(units)
		if !slices.IsSortedFunc(weights, func(a, b int64) int { return int(b - a) }) {
			t.Fatalf("Ladder(%d) = %v is not sorted", units, weights)
		}
		sum := int64(0)
		for _, w := range weights {
			sum += w
		}
		if sum != units || len(weights) > 24 {
			t.Fatalf("Ladder(%d) = %v weighs %d", units, weights, sum)
		}
		for amount := range units + 1 {
			rest := amount
			for _, w := range weights {
				if w <= rest {
					rest -= w
				}
			}
			if rest != 0 {
				t.Fatalf("of Ladder(%d) = %v one cannot make %d", units, weights, amount)
			}
		}
	}
	if got := len(Ladder(1 << 62)); got > 200 {
		t.Errorf("a huge amount makes %d chunks", got)
	}
}

func ExampleShow() {
	fmt.Println(Show(contract.Time, 1_772_323_200), "/", Show(contract.Duration, 129_600), "/", Show(contract.Units, 20_000))
	// Output: 2026-03-01 / 1 day 12 hours / 20_000 units
}

func ExampleLadder() {
	fmt.Println(Ladder(20), Ladder(37))
	// Output: [10 5 2 2 1] [10 10 5 5 2 2 2 1]
}
