package contract

import (
	"math"
	"math/bits"
)

// add returns a + b; out of range it returns the nearest int64 and false.
func add(a, b int64) (int64, bool) {
	s := a + b
	if (a^s)&(b^s) < 0 {
		return limit(a < 0), false
	}
	return s, true
}

// sub returns a - b; out of range it returns the nearest int64 and false.
func sub(a, b int64) (int64, bool) {
	s := a - b
	if (a^b)&(a^s) < 0 {
		return limit(a < 0), false
	}
	return s, true
}

// muldiv returns x*num/den rounded toward zero, the product taken in 128 bits. A quotient out of range comes back as
// the nearest int64 and false, a zero den as 0 and false. With den = 1 it multiplies, with num = 1 it divides.
func muldiv(x, num, den int64) (int64, bool) {
	if den == 0 {
		return 0, false
	}
	neg := (x < 0) != (num < 0) != (den < 0)
	hi, lo := bits.Mul64(magnitude(x), magnitude(num))
	d := magnitude(den)
	if hi >= d {
		return limit(neg), false
	}
	q, _ := bits.Div64(hi, lo, d)
	switch {
	case neg && q <= 1<<63:
		return -int64(q), true
	case !neg && q <= math.MaxInt64:
		return int64(q), true
	}
	return limit(neg), false
}

func magnitude(x int64) uint64 {
	if x < 0 {
		return -uint64(x)
	}
	return uint64(x)
}

func limit(neg bool) int64 {
	if neg {
		return math.MinInt64
	}
	return math.MaxInt64
}
