package market

import (
	"fmt"
	"math/bits"

	"latchkey/coin"
)

// Prices. Let a party give y units worth vy each and get x units worth vx each. At a premium of p it takes any slice
// with y·vy·10⁴ ≤ x·vx·(10⁴+p): what it gives is worth at most p basis points more than what it gets. Two offers meet
// where both say yes, so only if (10⁴+p)(10⁴+q) ≥ 10⁸. Nothing is rounded in a comparison; where a bound on whole units
// is derived, it is rounded towards the party whose bound it is.

// unitValue returns what one unit is worth at a rate in µUSD per coin: unit × rate ÷ 10^decimals rounded down to a µUSD,
// which is at most one part in 10,000 of the least value allowed. Decimals of the unit beyond the 18th are dropped first.
// Values outside minUnitValue to maxUnitValue are refused.
func unitValue(d coin.Denomination, perCoin uint64) (Micros, error) {
	decimals := int(d.Asset.Decimals)
	unit := d.Unit
	if decimals > 18 {
		unit, _ = unit.Over(tenTo(decimals - 18))
		decimals = 18
	}
	v, err := unit.Times(perCoin) // beyond 128 bits it is far beyond maxUnitValue
	v, _ = v.Over(tenTo(decimals))
	u, ok := v.Uint64()
	if err != nil || !ok || u > uint64(maxUnitValue) {
		return 0, fmt.Errorf("value of a unit of %s: %w: above %v", d.ID, ErrInvalid, maxUnitValue)
	}
	if Micros(u) < minUnitValue {
		return 0, fmt.Errorf("value of a unit of %s: %w: below %v, too little to price it to a basis point", d.ID, ErrInvalid, minUnitValue)
	}
	return Micros(u), nil
}

// tenTo returns 10^n for n up to 18.
func tenTo(n int) uint64 {
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}

// meets reports whether some ratio suits two premiums.
func meets(p, q Bps) bool {
	return int64(wholeBps+p)*int64(wholeBps+q) >= wholeBps*wholeBps
}

// leastFor returns the fewest units, worth vy each, that somebody takes who gives x units worth vx each at a premium of
// p: ⌈x·vx·10⁴ / (vy·(10⁴+p))⌉.
func leastFor(x Units, vx, vy Micros, p Bps) uint64 {
	q, r := ratio(x, vx, wholeBps, vy, uint64(wholeBps+p))
	if r > 0 {
		q++
	}
	return q
}

// mostFor returns the most units, worth vy each, that somebody gives at a premium of p who gets x units worth vx each:
// ⌊x·vx·(10⁴+p) / (vy·10⁴)⌋.
func mostFor(x Units, vx, vy Micros, p Bps) uint64 {
	q, _ := ratio(x, vx, uint64(wholeBps+p), vy, wholeBps)
	return q
}

// ratio returns n·v·a ÷ (w·b) and the remainder. n < 2²¹, v and w within the bounds of a unit's value, a and b from
// 5,000 to 15,000: the quotient stays below 2⁵⁷.
func ratio(n Units, v Micros, a uint64, w Micros, b uint64) (q, r uint64) {
	hi, lo := bits.Mul64(uint64(n)*uint64(v), a)
	return bits.Div64(hi, lo, uint64(w)*b)
}
