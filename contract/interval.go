package contract

import (
	"math"
	"slices"
)

// span is all int64 from lo to hi, both included; empty where lo > hi.
type span struct{ lo, hi int64 }

func point(v int64) span        { return span{v, v} }
func (s span) isPoint() bool    { return s.lo == s.hi }
func (s span) and(t span) span  { return span{max(s.lo, t.lo), min(s.hi, t.hi)} }
func (s span) hull(t span) span { return span{min(s.lo, t.lo), max(s.hi, t.hi)} }

// fact is something that a condition has established: expression x lies in s, or, with y given, x - y >= s.lo.
type fact struct {
	x, y int32
	s    span
}

// maxFacts bounds the work on hostile sources. A fact beyond is forgotten, which only makes the checks stricter.
const maxFacts = 16

// env maps variables to what they may be. The checks begin with the declared ranges and learn from conditions; the
// exploration uses one state and one interval of input, and has no faults to report.
type env struct {
	p      *Program
	vars   []span // terms; pots, what is left and what was put in them; counters; what is sealed; now; input
	first  [8]int // where each of them begins
	facts  []fact
	raised uint64 // counters raised for certain on the way here
	faults func(at pos, what, mend string)
	*work
}

// maxSteps bounds the work of the checks on hostile sources: the times that they look at an operation of a formula. What
// they say beyond it counts for nothing, because check refuses the contract.
const maxSteps = 400_000

// work is what the environments of one check share: their steps, and those that are free for use again.
type work struct {
	steps int
	spare []*env
}

// step counts n steps and tells that there may be more. An exploration, which has no faults to report, is bounded by its moves.
func (e *env) step(n int) bool {
	e.steps += n
	return e.steps <= maxSteps || e.faults == nil
}

// newEnv returns an environment in which counters may be anything they are declared to be, and all else is 0.
func (p *Program) newEnv() *env {
	e := &env{p: p, work: &work{}}
	n := 0
	for i, count := range [...]int{len(p.terms), len(p.pots), len(p.pots), len(p.pots), len(p.counters), len(p.seals), 1, 1} {
		e.first[i] = n
		n += count
	}
	e.vars = make([]span, n)
	for i, k := range p.counters {
		*e.at(opCounter, i) = span{k.Lo, k.Hi}
	}
	for i := range p.seals {
		*e.at(opSealed, i) = span{0, 1}
	}
	*e.at(opNow, 0) = span{0, farAway}
	return e
}

func (e *env) clone() *env {
	if len(e.spare) == 0 {
		e.spare = append(e.spare, &env{})
	}
	c := e.spare[len(e.spare)-1]
	e.spare = e.spare[:len(e.spare)-1]
	e.step(len(e.vars) / 16)
	vars, facts := append(c.vars[:0], e.vars...), append(c.facts[:0], e.facts...)
	*c = *e
	c.vars, c.facts = vars, facts
	return c
}

// free gives a clone back that is not needed any more.
func (e *env) free() { e.spare = append(e.spare, e) }

// at returns the place of a variable, nil where o is no variable.
func (e *env) at(o op, i int) *span {
	if o < opTerm || o > opInput {
		return nil
	}
	return &e.vars[e.first[o-opTerm]+i]
}

// eval returns everything that expression i may be, and possibly more. What leaves int64 is reported and cut off.
func (e *env) eval(i int32) (s span) {
	n := &e.p.nodes[i]
	if n.op == opConst {
		return point(n.v)
	}
	if !e.step(1) {
		return span{math.MinInt64, math.MaxInt64}
	}
	if v := e.at(n.op, int(n.v)); v != nil {
		return *v
	}
	var fits bool
	switch n.op {
	case opAnd, opOr:
		return e.logic(n)
	case opEq, opNe, opLt, opLe:
		return e.compare(n.op, n.a, n.b)
	case opSub:
		s, fits = e.difference(n.a, n.b)
	case opCurve:
		s, fits = e.p.curves[n.v].over(e.eval(n.a)), true
	default:
		s, fits = e.corners(n)
	}
	if !fits && e.faults != nil {
		e.faults(n.pos, "this can grow beyond 64 bits", "narrow the ranges of what it is made of")
	}
	for _, f := range e.facts {
		if f.y == none && e.same(f.x, i) {
			s = s.and(f.s)
		}
	}
	return s
}

// corners evaluates an operation that is monotone in each operand, a quotient while its divisor keeps its sign: its
// extremes lie at the ends of the operands.
func (e *env) corners(n *node) (s span, fits bool) {
	var arg [3]span
	for i, x := range [3]int32{n.a, n.b, n.c} {
		if x != none {
			arg[i] = e.eval(x)
		}
	}
	if n.op == opDiv || n.op == opShare {
		den := &arg[1+truthOf(n.op == opShare)]
		if den.lo <= 0 && den.hi >= 0 {
			if e.faults == nil {
				return span{math.MinInt64, math.MaxInt64}, true // a condition that is not decided yet guards it
			}
			e.faults(n.pos, "this can divide by zero", "give the divisor a range, or a condition, that leaves out 0")
			*den = span{max(den.lo, 1), max(den.hi, 1)}
		}
	}
	s, fits = span{math.MaxInt64, math.MinInt64}, true
	for i := range 8 {
		v, ok := n.op.apply(arg[0].end(i), arg[1].end(i>>1), arg[2].end(i>>2))
		s, fits = s.hull(point(v)), fits && ok
	}
	return s, fits
}

// over returns what the curve may be over s: between two points it rises or falls all the way.
func (c *curve) over(s span) span {
	out := point(c.at(s.lo))
	if s.isPoint() {
		return out
	}
	out = out.hull(point(c.at(s.hi)))
	for i, _ := slices.BinarySearch(c.xs, s.lo); i < len(c.xs) && c.xs[i] < s.hi; i++ {
		out = out.hull(point(c.ys[i]))
	}
	return out
}

// horizon returns bounds of a formula that is the end of a phase: it is not after at, or not after a duration after
// now. Where it does not depend on now the second is negative, where it has no bound of the first kind the first.
func (e *env) horizon(i int32) (at, after int64) {
	n := &e.p.nodes[i]
	timed := func(i int32) bool { return e.find(i, func(n *node) bool { return n.op == opNow }) != nil }
	shift := func(i int32, by int64) (int64, int64) {
		at, after := e.horizon(i)
		if at >= 0 {
			at, _ = opAdd.apply(at, by, 0)
		}
		if after >= 0 {
			after, _ = opAdd.apply(after, by, 0)
		}
		return max(at, -1), max(after, -1)
	}
	switch {
	case !timed(i):
		return max(0, e.eval(i).hi), -1
	case n.op == opNow:
		return -1, 0
	case n.op == opAdd && !timed(n.b):
		return shift(n.a, e.eval(n.b).hi)
	case n.op == opAdd && !timed(n.a):
		return shift(n.b, e.eval(n.a).hi)
	case n.op == opSub && !timed(n.b):
		return shift(n.a, -e.eval(n.b).lo)
	case n.op == opMin && !timed(n.b):
		return e.horizon(n.b)
	case n.op == opMin:
		return e.horizon(n.a)
	case n.op == opMax:
		at1, after1 := e.horizon(n.a)
		at2, after2 := e.horizon(n.b)
		return max(at1, at2), max(after1, after2)
	}
	return max(0, e.eval(i).hi), -1
}

func (s span) end(i int) int64 {
	if i&1 == 0 {
		return s.lo
	}
	return s.hi
}

// difference returns what a - b may be, by their spans and by the facts about their order.
func (e *env) difference(a, b int32) (span, bool) {
	x, y := e.eval(a), e.eval(b) // whatever is known: either may leave 64 bits, or divide by zero
	if e.same(a, b) {
		return point(0), true
	}
	if n := &e.p.nodes[a]; n.op == opAdd && e.same(n.a, b) {
		return e.eval(n.b), true
	} else if n.op == opAdd && e.same(n.b, b) {
		return e.eval(n.a), true
	}
	lo, ok1 := opSub.apply(x.lo, y.hi, 0)
	hi, ok2 := opSub.apply(x.hi, y.lo, 0)
	if x, y := &e.p.nodes[a], &e.p.nodes[b]; x.v == y.v && (x.op == opPot && (y.op == opFilled || y.op == opLeft) || x.op == opFilled && y.op == opLeft) {
		lo = max(lo, 0) // no pot holds more than was put in, nor takes more than it asks for
	} else if x.v == y.v && (y.op == opPot && (x.op == opFilled || x.op == opLeft) || y.op == opFilled && x.op == opLeft) {
		hi = min(hi, 0)
	}
	for _, f := range e.facts {
		switch {
		case f.y == none:
		case e.same(f.x, a) && e.same(f.y, b):
			lo = max(lo, f.s.lo)
		case e.same(f.x, b) && e.same(f.y, a):
			hi = min(hi, -f.s.lo)
		}
	}
	return span{lo, hi}, ok1 && ok2
}

// compare evaluates a comparison by the sign of the difference, which being cut off does not change.
func (e *env) compare(o op, a, b int32) span {
	d, _ := e.difference(a, b)
	yes, no := d == point(0), d.lo > 0 || d.hi < 0
	switch o {
	case opNe:
		yes, no = no, yes
	case opLt:
		yes, no = d.hi < 0, d.lo >= 0
	case opLe:
		yes, no = d.hi <= 0, d.lo > 0
	}
	return span{truthOf(yes), 1 - truthOf(no)}
}

// logic evaluates `and` and `or`, whose right side counts only where the left side leaves the question open.
func (e *env) logic(n *node) span {
	a, settled := e.eval(n.a), truthOf(n.op == opOr)
	right := e
	if e.faults != nil {
		right = e.clone()
		defer right.free()
		if !right.refine(n.a, n.op == opAnd) {
			return point(settled)
		}
	}
	if a == point(settled) {
		return a
	}
	b := right.eval(n.b)
	lo, _ := n.op.apply(a.lo, b.lo, 0)
	hi, _ := n.op.apply(a.hi, b.hi, 0)
	return span{lo, hi}
}

// refine takes for granted that condition i is as told, and reports whether that can be. It works in linear time: it
// learns nothing from an `or` that holds or an `and` that does not.
func (e *env) refine(i int32, is bool) bool {
	n := &e.p.nodes[i]
	switch n.op {
	case opNot:
		return e.refine(n.a, !is)
	case opAnd, opOr:
		return (n.op == opAnd) != is || e.refine(n.a, is) && e.refine(n.b, is)
	case opSealed:
		return e.narrow(i, point(truthOf(is)))
	}
	o, a, b := n.op, n.a, n.b
	switch {
	case is:
	case o == opEq:
		o = opNe
	case o == opNe:
		o = opEq
	default: // not a < b: b <= a
		o, a, b = opLt+opLe-o, b, a
	}
	if e.compare(o, a, b).hi == 0 {
		return false
	}
	switch o {
	case opEq:
		return e.ordered(a, b, 0) && e.ordered(b, a, 0)
	case opNe:
		x, y := e.eval(a), e.eval(b)
		return e.narrow(a, x.without(y)) && e.narrow(b, y.without(x))
	}
	return e.ordered(a, b, truthOf(o == opLt))
}

// ordered takes for granted that b - a is at least gap.
func (e *env) ordered(a, b int32, gap int64) bool {
	e.know(fact{b, a, point(gap)})
	hi, _ := opSub.apply(e.eval(b).hi, gap, 0)
	lo, _ := opAdd.apply(e.eval(a).lo, gap, 0)
	return e.narrow(a, span{math.MinInt64, hi}) && e.narrow(b, span{lo, math.MaxInt64})
}

// without removes the one value that t is, where it stands at an end of s.
func (s span) without(t span) span {
	if t.isPoint() && s.lo == t.lo && s.lo < math.MaxInt64 {
		s.lo++
	} else if t.isPoint() && s.hi == t.hi && s.hi > math.MinInt64 {
		s.hi--
	}
	return s
}

func (e *env) know(f fact) {
	if e.facts == nil {
		e.facts = make([]fact, 0, maxFacts/2)
	}
	if len(e.facts) < maxFacts {
		e.facts = append(e.facts, f)
	}
}

// narrow takes for granted that expression i lies in s, and reports whether it can.
func (e *env) narrow(i int32, s span) bool {
	n := &e.p.nodes[i]
	s = s.and(e.eval(i))
	if v := e.at(n.op, int(n.v)); v != nil {
		*v = s
	} else if n.op != opConst {
		e.know(fact{i, none, s})
	}
	return s.lo <= s.hi
}

// assign gives a variable a new value and drops what was known about it.
func (e *env) assign(o op, i int, s span) {
	*e.at(o, i) = s
	reads := func(n *node) bool { return n.op == o && n.v == int64(i) }
	e.facts = slices.DeleteFunc(e.facts, func(f fact) bool { return e.find(f.x, reads) != nil || e.find(f.y, reads) != nil })
}

// join makes e hold whatever e or o may hold.
func (e *env) join(o *env) {
	for i := range e.vars {
		e.vars[i] = e.vars[i].hull(o.vars[i])
	}
	e.facts = slices.DeleteFunc(e.facts, func(f fact) bool { return !slices.Contains(o.facts, f) })
	e.raised &= o.raised
}

// same tells that two expressions are the same formula.
func (e *env) same(a, b int32) bool {
	if a == b || a == none || b == none {
		return a == b
	}
	x, y := &e.p.nodes[a], &e.p.nodes[b]
	return e.step(1) && x.op == y.op && x.v == y.v && e.same(x.a, y.a) && e.same(x.b, y.b) && e.same(x.c, y.c)
}

// find returns the first node of an expression for which is holds, nil if there is none.
func (e *env) find(n int32, is func(*node) bool) *node {
	if n == none || !e.step(1) {
		return nil
	}
	x := &e.p.nodes[n]
	if is(x) {
		return x
	}
	for _, arg := range [3]int32{x.a, x.b, x.c} {
		if found := e.find(arg, is); found != nil {
			return found
		}
	}
	return nil
}
