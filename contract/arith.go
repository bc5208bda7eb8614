package contract

import (
	"math"
	"math/bits"
)

// op is what a node of an expression does.
type op uint8

const (
	opConst op = iota
	opTerm
	opPot    // units that the pot holds when it is full
	opLeft   // units that it still holds
	opFilled // units that were put into it
	opCounter
	opSealed // whether a commitment is there that was not opened
	opNow    // logical time of the step
	opInput  // the value that came with the word, or the oracle's
	opCurve  // v is the curve
	opAdd
	opSub
	opMul
	opDiv
	opMin
	opMax
	opShare
	opEq
	opNe
	opLt
	opLe
	opAnd
	opOr
	opNot
)

// apply computes an operation that is no comparison; a condition is 0 or 1. A result out of range comes back as the
// nearest int64 and false.
func (o op) apply(a, b, c int64) (int64, bool) {
	switch o {
	case opAdd:
		if s := a + b; (a^s)&(b^s) >= 0 {
			return s, true
		}
		return limit(a < 0), false
	case opSub:
		if s := a - b; (a^b)&(a^s) >= 0 {
			return s, true
		}
		return limit(a < 0), false
	case opMul:
		return muldiv(a, b, 1)
	case opDiv:
		return muldiv(a, 1, b)
	case opShare:
		return muldiv(a, b, c)
	case opMin, opAnd:
		return min(a, b), true
	case opMax, opOr:
		return max(a, b), true
	}
	return 1 - a, true // opNot
}

// muldiv returns x*num/den rounded toward zero, the product taken in 128 bits. A quotient out of range comes back as
// the nearest int64 and false, a zero den as 0 and false.
func muldiv(x, num, den int64) (int64, bool) {
	if den == 0 {
		return 0, false
	}
	if int64(int32(x)) == x && int64(int32(num)) == num { // most are: the product fits, and division rounds as is wanted
		if den == 1 {
			return x * num, true
		}
		return x * num / den, true
	}
	neg := (x < 0) != (num < 0) != (den < 0)
	hi, lo := bits.Mul64(uint64(max(x, -x)), uint64(max(num, -num))) // -MinInt64 is itself, as uint64 the magnitude
	d := uint64(max(den, -den))
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

func limit(neg bool) int64 {
	if neg {
		return math.MinInt64
	}
	return math.MaxInt64
}

func truthOf(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// plus adds numbers that are not negative, up to the greatest int64.
func plus(a, b int64) int64 {
	s, _ := opAdd.apply(a, b, 0)
	return s
}
