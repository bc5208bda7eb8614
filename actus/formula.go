package actus

import (
	"cmp"
	"math/big"
	"slices"
)

// op says what a formula does.
type op byte

const (
	opConst op = iota
	opSeen     // an observed value
	opKept     // a value that the contract has computed and kept
	opAdd
	opMul
	opMin
	opMax
	opDiv
	opStep // 1 where a is not below 0, else 0
)

// formula is what an amount depends on: terms, and values that are observed. It is immutable.
type formula struct {
	op    op
	value *big.Rat // of a constant
	index int      // of an observed or a kept value: which one
	a, b  *formula
	size  int
	depth int
}

// maxSize bounds a formula, in operations. What grows with each period is kept before.
const maxSize = 1000

func constant(r *big.Rat) *formula { return &formula{op: opConst, value: r} }

func whole(n int64) *formula { return constant(big.NewRat(n, 1)) }

func observed(i int) *formula { return &formula{op: opSeen, index: i} }

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
	case o == opAdd && b.is(0), o == opMul && b.is(1), o == opDiv && b.is(1), (o == opMin || o == opMax) && a == b:
		return a
	case o == opMul && (a.is(0) || b.is(0)):
		return whole(0)
	case o == opMul && a.op == opConst && b.op == opMul && b.a.op == opConst:
		return times(constant(compute(opMul, a.value, b.a.value)), b.b)
	case o == opMul && b.op == opConst:
		return times(b, a)
	}
	return &formula{op: o, a: a, b: b, size: min(a.size+b.size+1, maxSize+1), depth: max(a.depth, b.depth) + 1}
}

// plus adds, and finds that x + min(a - x, b) is min(a, b + x), and that x + yx is (1 + y)x: a formula that names a value
// once has narrower bounds and does not double with each period.
func plus(a, b *formula) *formula {
	for range 2 {
		if b.op == opMin || b.op == opMax {
			if rest, ok := b.a.less(a); ok {
				return apply(b.op, rest, plus(a, b.b))
			}
			if rest, ok := b.b.less(a); ok {
				return apply(b.op, plus(a, b.a), rest)
			}
		}
		a, b = b, a
	}
	if b.op == opMul && b.b == a {
		return times(plus(whole(1), b.a), a)
	}
	return apply(opAdd, a, b)
}

// less returns f + x, where f is a difference of something and x.
func (f *formula) less(x *formula) (*formula, bool) {
	if f.op != opAdd {
		return nil, false
	}
	if minus := times(whole(-1), x); f.b.alike(minus) {
		return f.a, true
	}
	return nil, false
}

// alike tells that two formulas are written the same.
func (f *formula) alike(g *formula) bool {
	switch {
	case f == g:
		return true
	case f == nil || g == nil || f.op != g.op || f.size != g.size:
		return false
	case f.op == opConst:
		return f.value.Cmp(g.value) == 0
	case f.op == opSeen || f.op == opKept:
		return f.index == g.index
	}
	return f.a.alike(g.a) && f.b.alike(g.b)
}

func times(a, b *formula) *formula    { return apply(opMul, a, b) }
func minus(a, b *formula) *formula    { return plus(a, times(whole(-1), b)) }
func lesser(a, b *formula) *formula   { return apply(opMin, a, b) }
func greatest(a, b *formula) *formula { return apply(opMax, a, b) }
func quotient(a, b *formula) *formula { return apply(opDiv, a, b) }

// step is 1 where a is not below 0, else 0.
func step(a *formula) *formula {
	if a.op == opConst {
		return constant(compute(opStep, a.value, nil))
	}
	return &formula{op: opStep, a: a, size: a.size + 1, depth: a.depth + 1}
}

func compute(o op, a, b *big.Rat) *big.Rat {
	switch o {
	case opAdd:
		return new(big.Rat).Add(a, b)
	case opMul:
		return new(big.Rat).Mul(a, b)
	case opDiv:
		return new(big.Rat).Quo(a, b)
	case opStep:
		return big.NewRat(int64(min(1, a.Sign()+1)), 1)
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

type valueRange struct{ lo, hi *big.Rat }

// abs is the greatest distance from 0.
func (r valueRange) abs() *big.Rat {
	return compute(opMax, new(big.Rat).Abs(r.lo), new(big.Rat).Abs(r.hi))
}

// kept is a value that a contract computes when the last value that it needs is seen, and keeps until nothing needs it any more. An
// amount of money may be rounded when it is kept: fewer different amounts are fewer states.
type kept struct {
	f     *formula
	money bool
	last  int // the observation with which it is known
	valueRange
}

// bounds returns the least and the greatest value: at least as wide as the truth. Its cost is the formula's size.
func (p *Plan) bounds(f *formula) valueRange {
	switch f.op {
	case opConst:
		return valueRange{f.value, f.value}
	case opSeen:
		return p.seen[f.index].valueRange
	case opKept:
		return p.kept[f.index].valueRange
	}
	a := p.bounds(f.a)
	if f.op == opStep {
		return valueRange{compute(opStep, a.lo, nil), compute(opStep, a.hi, nil)}
	}
	b := p.bounds(f.b)
	if f.op != opMul && f.op != opDiv {
		return valueRange{compute(f.op, a.lo, b.lo), compute(f.op, a.hi, b.hi)}
	}
	corners := []*big.Rat{compute(f.op, a.lo, b.lo), compute(f.op, a.lo, b.hi), compute(f.op, a.hi, b.lo), compute(f.op, a.hi, b.hi)}
	return valueRange{slices.MinFunc(corners, (*big.Rat).Cmp), slices.MaxFunc(corners, (*big.Rat).Cmp)}
}

// after tells which of two observations is seen later.
func (p *Plan) after(i, k int) int {
	return cmp.Or(p.seen[i].at.Compare(p.seen[k].at), cmp.Compare(i, k))
}

// last is the observation with which f is known, −1 where it needs none.
func (p *Plan) last(f *formula) int {
	switch f.op {
	case opConst:
		return -1
	case opSeen:
		return f.index
	case opKept:
		return p.kept[f.index].last
	}
	i := p.last(f.a)
	if f.b == nil {
		return i
	}
	if k := p.last(f.b); i < 0 || k >= 0 && p.after(k, i) > 0 {
		return k
	}
	return i
}

// keep has the contract keep an amount from when it is known: what comes later names it, and not all that it came of.
func (p *Plan) keep(f *formula, money bool) *formula {
	if f.op == opConst || f.op == opSeen || f.op == opKept {
		return f
	}
	if money {
		f = p.parted(f, p.last(f))
	}
	p.kept = append(p.kept, kept{f, money, p.last(f), p.bounds(f)})
	return &formula{op: opKept, index: len(p.kept) - 1}
}

// parted has what of an amount is known before its last observation be kept as an amount, so that the values that it came of need not
// be: each of these is a state of its own, of an amount there are no more than its units.
func (p *Plan) parted(f *formula, last int) *formula {
	if last < 0 || f.op == opConst || f.op == opSeen || f.op == opKept {
		return f
	}
	if i := p.last(f); i != last {
		return p.keep(f, true)
	}
	switch {
	case f.op == opAdd, f.op == opMin, f.op == opMax:
		return apply(f.op, p.parted(f.a, last), p.parted(f.b, last))
	case f.op == opMul && f.a.op == opConst && f.b.op == opAdd:
		return plus(p.parted(times(f.a, f.b.a), last), p.parted(times(f.a, f.b.b), last))
	case f.op == opMul && f.a.op == opConst && (f.b.op == opMin || f.b.op == opMax):
		o := f.b.op
		if f.a.value.Sign() < 0 {
			o = opMin + opMax - o
		}
		return apply(o, p.parted(times(f.a, f.b.a), last), p.parted(times(f.a, f.b.b), last))
	}
	return f
}

// uses lists the observed and the kept values that f names.
func (f *formula) uses(seen, kept map[int]bool) {
	switch f.op {
	case opConst:
	case opSeen:
		seen[f.index] = true
	case opKept:
		kept[f.index] = true
	default:
		f.a.uses(seen, kept)
		if f.b != nil {
			f.b.uses(seen, kept)
		}
	}
}

// renumbered is f with other numbers for what it names.
func (f *formula) renumbered(seen, kept map[int]int) *formula {
	g := *f
	switch f.op {
	case opConst:
	case opSeen:
		g.index = seen[f.index]
	case opKept:
		g.index = kept[f.index]
	default:
		g.a = f.a.renumbered(seen, kept)
		if f.b != nil {
			g.b = f.b.renumbered(seen, kept)
		}
	}
	return &g
}

// lesser and greatest, decided where the bounds decide.
func (b *builder) lesser(x, y *formula) *formula {
	switch r, s := b.plan.bounds(x), b.plan.bounds(y); {
	case r.hi.Cmp(s.lo) <= 0:
		return x
	case s.hi.Cmp(r.lo) <= 0:
		return y
	}
	return lesser(x, y)
}

func (b *builder) greatest(x, y *formula) *formula {
	switch r, s := b.plan.bounds(x), b.plan.bounds(y); {
	case r.lo.Cmp(s.hi) >= 0:
		return x
	case s.lo.Cmp(r.hi) >= 0:
		return y
	}
	return greatest(x, y)
}
