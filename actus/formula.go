package actus

import (
	"math/big"
	"slices"
)

// op says what a formula does.
type op byte

const (
	opConst op = iota
	opSeen     // an observed value
	opAdd
	opMul
	opMin
	opMax
)

// formula is what an amount depends on: terms, and values that are observed. It is immutable.
type formula struct {
	op    op
	value *big.Rat // of a constant
	seen  int      // of an observed value: which one
	a, b  *formula
	size  int
}

// maxSize bounds a formula, in operations: one that goes over many periods of unknown rates grows with each.
const maxSize = 1000

func constant(r *big.Rat) *formula { return &formula{op: opConst, value: r} }

func whole(n int64) *formula { return constant(big.NewRat(n, 1)) }

func observed(i int) *formula { return &formula{op: opSeen, seen: i} }

func (f *formula) is(n int64) bool {
	return f.op == opConst && f.value.Cmp(big.NewRat(n, 1)) == 0
}

// apply makes a formula of two, and computes what needs no observation at once and exactly.
func apply(o op, a, b *formula) *formula {
	if a.op == opConst && b.op == opConst {
		return constant(compute(o, a.value, b.value))
	}
	switch {
	case o == opAdd && a.is(0), o == opMul && a.is(1):
		return b
	case o == opAdd && b.is(0), o == opMul && b.is(1):
		return a
	case o == opMul && (a.is(0) || b.is(0)):
		return whole(0)
	}
	return &formula{op: o, a: a, b: b, size: min(a.size+b.size+1, maxSize+1)}
}

func plus(a, b *formula) *formula     { return apply(opAdd, a, b) }
func times(a, b *formula) *formula    { return apply(opMul, a, b) }
func minus(a, b *formula) *formula    { return plus(a, times(whole(-1), b)) }
func lesser(a, b *formula) *formula   { return apply(opMin, a, b) }
func greatest(a, b *formula) *formula { return apply(opMax, a, b) }

func compute(o op, a, b *big.Rat) *big.Rat {
	switch o {
	case opAdd:
		return new(big.Rat).Add(a, b)
	case opMul:
		return new(big.Rat).Mul(a, b)
	case opMin:
		if a.Cmp(b) <= 0 {
			return a
		}
	default:
		if a.Cmp(b) >= 0 {
			return a
		}
	}
	return b
}

// bounds returns the least and the greatest value, for ranges of the observed values: at least as wide as the truth.
// Its cost is the formula's size.
func (f *formula) bounds(ranges []valueRange) (lo, hi *big.Rat) {
	switch f.op {
	case opConst:
		return f.value, f.value
	case opSeen:
		return ranges[f.seen].lo, ranges[f.seen].hi
	}
	al, ah := f.a.bounds(ranges)
	bl, bh := f.b.bounds(ranges)
	if f.op != opMul {
		return compute(f.op, al, bl), compute(f.op, ah, bh)
	}
	corners := []*big.Rat{compute(opMul, al, bl), compute(opMul, al, bh), compute(opMul, ah, bl), compute(opMul, ah, bh)}
	return slices.MinFunc(corners, (*big.Rat).Cmp), slices.MaxFunc(corners, (*big.Rat).Cmp)
}

// uses lists the observed values that f needs.
func (f *formula) uses(set map[int]bool) {
	switch f.op {
	case opConst:
	case opSeen:
		set[f.seen] = true
	default:
		f.a.uses(set)
		f.b.uses(set)
	}
}

type valueRange struct{ lo, hi *big.Rat }
