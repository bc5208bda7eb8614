package contract

import (
	"math"
	"slices"
)

// span is a set of int64: all from lo to hi, both included. A condition is 0 or 1.
type span struct{ lo, hi int64 }

func point(v int64) span        { return span{v, v} }
func (s span) isPoint() bool    { return s.lo == s.hi }
func (s span) empty() bool      { return s.lo > s.hi }
func (s span) and(t span) span  { return span{max(s.lo, t.lo), min(s.hi, t.hi)} }
func (s span) hull(t span) span { return span{min(s.lo, t.lo), max(s.hi, t.hi)} }
func truths(no, yes bool) span {
	s := span{0, 1}
	if no {
		s.hi = 0
	}
	if yes {
		s.lo = 1
	}
	return s
}

// fact is something that a condition has established: expression x lies in s, or, with y given, x - y >= s.lo.
type fact struct {
	x, y int32
	s    span
}

// maxFacts bounds the work on hostile sources; a fact beyond is forgotten, which only makes the checks stricter.
const maxFacts = 48

// env maps variables to what they may be. The checks use it with the declared ranges and learn from conditions; the
// exploration uses it with one state and one interval of input, and learns nothing (faults is nil).
type env struct {
	p      *Program
	vars   []span // terms, pots, what is left in the pots, counters, input
	facts  []fact
	raised uint64 // counters raised for certain on the way here
	faults func(at pos, what, mend string)
}

func (p *Program) newEnv() *env {
	return &env{p: p, vars: make([]span, len(p.terms)+2*len(p.pots)+len(p.counters)+1)}
}

func (e *env) clone() *env {
	c := *e
	c.vars, c.facts = slices.Clone(e.vars), slices.Clip(e.facts)
	return &c
}

// at returns the place of a variable, nil where o is no variable.
func (e *env) at(o op, v int64) *span {
	i, p := int(v), e.p
	switch o {
	case opTerm:
	case opPot:
		i += len(p.terms)
	case opLeft:
		i += len(p.terms) + len(p.pots)
	case opCounter:
		i += len(p.terms) + 2*len(p.pots)
	case opInput:
		i = len(e.vars) - 1
	default:
		return nil
	}
	return &e.vars[i]
}

func (e *env) fault(n *node, what, mend string) {
	if e.faults != nil {
		e.faults(n.pos, what, mend)
	}
}

// eval returns everything that expression i may be, and possibly more; what leaves int64 is reported and cut off.
func (e *env) eval(i int32) span {
	n := &e.p.nodes[i]
	if n.op == opConst {
		return point(n.v)
	}
	if v := e.at(n.op, n.v); v != nil {
		return *v
	}
	var s span
	switch n.op {
	case opNot:
		a := e.eval(n.a)
		return span{1 - a.hi, 1 - a.lo}
	case opAnd, opOr:
		return e.logic(n)
	case opEq, opNe, opLt, opLe:
		return e.compare(n.op, n.a, n.b)
	case opAdd:
		a, b := e.eval(n.a), e.eval(n.b)
		lo, ok1 := add(a.lo, b.lo)
		hi, ok2 := add(a.hi, b.hi)
		s = e.inRange(n, span{lo, hi}, ok1 && ok2)
	case opSub:
		d, ok := e.difference(n.a, n.b)
		s = e.inRange(n, d, ok)
	case opMin:
		a, b := e.eval(n.a), e.eval(n.b)
		s = span{min(a.lo, b.lo), min(a.hi, b.hi)}
	case opMax:
		a, b := e.eval(n.a), e.eval(n.b)
		s = span{max(a.lo, b.lo), max(a.hi, b.hi)}
	case opMul:
		s = e.corners(n, e.eval(n.a), e.eval(n.b), point(1))
	case opDiv:
		s = e.corners(n, e.eval(n.a), point(1), e.eval(n.b))
	case opShare:
		s = e.corners(n, e.eval(n.a), e.eval(n.b), e.eval(n.c))
	}
	for _, f := range e.facts {
		if f.y == none && e.p.same(f.x, i) {
			s = s.and(f.s)
		}
	}
	return s
}

func (e *env) inRange(n *node, s span, ok bool) span {
	if !ok {
		e.fault(n, "this can grow beyond 64 bits", "narrow the ranges of what it is made of")
	}
	return s
}

// corners returns x*num/den over three spans. The quotient is monotone in each of them while den keeps its sign, so
// its extremes lie at the corners.
func (e *env) corners(n *node, x, num, den span) span {
	if den.lo <= 0 && den.hi >= 0 {
		e.fault(n, "this can divide by zero", "give the divisor a range, or a condition, that leaves out 0")
		if e.faults == nil {
			// Exploring: a clause whose division a guard protects. Nothing is known until the guard is decided.
			return span{math.MinInt64, math.MaxInt64}
		}
		den = span{max(den.lo, 1), max(den.hi, 1)}
	}
	out, fits := span{math.MaxInt64, math.MinInt64}, true
	for _, a := range [2]int64{x.lo, x.hi} {
		for _, b := range [2]int64{num.lo, num.hi} {
			for _, c := range [2]int64{den.lo, den.hi} {
				q, ok := muldiv(a, b, c)
				out, fits = out.hull(point(q)), fits && ok
			}
		}
	}
	return e.inRange(n, out, fits)
}

// difference returns what a - b may be, by their spans and by the facts about their order.
func (e *env) difference(a, b int32) (span, bool) {
	if e.p.same(a, b) {
		return point(0), true
	}
	x, y := e.eval(a), e.eval(b)
	lo, ok1 := sub(x.lo, y.hi)
	hi, ok2 := sub(x.hi, y.lo)
	d := span{lo, hi}
	for _, f := range e.facts {
		switch {
		case f.y == none:
		case e.p.same(f.x, a) && e.p.same(f.y, b):
			d.lo = max(d.lo, f.s.lo)
		case e.p.same(f.x, b) && e.p.same(f.y, a):
			d.hi = min(d.hi, -f.s.lo)
		}
	}
	return d, ok1 && ok2
}

func (e *env) compare(o op, a, b int32) span {
	d, _ := e.difference(a, b) // cut off at the ends, its sign is right
	switch o {
	case opLt:
		return truths(d.lo >= 0, d.hi < 0)
	case opLe:
		return truths(d.lo > 0, d.hi <= 0)
	}
	same, differ := d == point(0), d.lo > 0 || d.hi < 0
	if o == opNe {
		same, differ = differ, same
	}
	return truths(differ, same)
}

// logic evaluates `and` and `or`, whose right side counts only where the left side leaves the question open.
func (e *env) logic(n *node) span {
	a := e.eval(n.a)
	right, open := e, true
	if e.faults != nil {
		right = e.clone()
		open = right.refine(n.a, n.op == opAnd)
	}
	if n.op == opAnd {
		if a.hi == 0 || !open {
			return point(0)
		}
		b := right.eval(n.b)
		return span{a.lo & b.lo, a.hi & b.hi}
	}
	if a.lo == 1 || !open {
		return point(1)
	}
	b := right.eval(n.b)
	return span{a.lo | b.lo, a.hi | b.hi}
}

// refine takes for granted that condition i is as told, and reports whether that can be. It works in linear time: it
// learns nothing from an `or` that holds or an `and` that does not.
func (e *env) refine(i int32, is bool) bool {
	n := &e.p.nodes[i]
	switch n.op {
	case opNot:
		return e.refine(n.a, !is)
	case opAnd, opOr:
		if (n.op == opAnd) == is {
			return e.refine(n.a, is) && e.refine(n.b, is)
		}
		return true
	}
	o, a, b := n.op, n.a, n.b
	if !is {
		switch o {
		case opLt: // not a < b: b <= a
			o, a, b = opLe, b, a
		case opLe:
			o, a, b = opLt, b, a
		case opEq:
			o = opNe
		case opNe:
			o = opEq
		}
	}
	quiet := e.faults
	e.faults = func(pos, string, string) {}
	defer func() { e.faults = quiet }()
	if e.compare(o, a, b).hi == 0 {
		return false
	}
	x, y := e.eval(a), e.eval(b)
	switch o {
	case opEq:
		e.know(fact{a, b, point(0)})
		e.know(fact{b, a, point(0)})
		return e.narrow(a, y) && e.narrow(b, x)
	case opNe:
		return e.narrow(a, without(x, y)) && e.narrow(b, without(y, x))
	case opLt:
		e.know(fact{b, a, point(1)})
		hi, _ := sub(y.hi, 1)
		lo, _ := add(x.lo, 1)
		return e.narrow(a, span{math.MinInt64, hi}) && e.narrow(b, span{lo, math.MaxInt64})
	}
	e.know(fact{b, a, point(0)})
	return e.narrow(a, span{math.MinInt64, y.hi}) && e.narrow(b, span{x.lo, math.MaxInt64})
}

// without removes from s the one value that t is, where that stands at an end of s.
func without(s, t span) span {
	if t.isPoint() && s.lo == t.lo && s.lo < math.MaxInt64 {
		s.lo++
	} else if t.isPoint() && s.hi == t.hi && s.hi > math.MinInt64 {
		s.hi--
	}
	return s
}

// know adds a fact; the order of a value and a constant is in the value's span already.
func (e *env) know(f fact) {
	order := f.y != none && (e.p.nodes[f.x].op == opConst || e.p.nodes[f.y].op == opConst)
	if len(e.facts) < maxFacts && !order {
		e.facts = append(e.facts, f)
	}
}

// narrow takes for granted that expression i lies in s, and reports whether it can.
func (e *env) narrow(i int32, s span) bool {
	n := &e.p.nodes[i]
	if v := e.at(n.op, n.v); v != nil {
		*v = v.and(s)
		return !v.empty()
	}
	s = s.and(e.eval(i))
	if n.op != opConst {
		e.know(fact{i, none, s})
	}
	return !s.empty()
}

// forget drops what is known about a variable that changes.
func (e *env) forget(o op, v int64) {
	kept := make([]fact, 0, len(e.facts))
	for _, f := range e.facts {
		if !e.p.mentions(f.x, o, v) && !e.p.mentions(f.y, o, v) {
			kept = append(kept, f)
		}
	}
	e.facts = kept
}

// join makes e hold whatever e or o may hold.
func (e *env) join(o *env) {
	for i := range e.vars {
		e.vars[i] = e.vars[i].hull(o.vars[i])
	}
	both := make([]fact, 0, len(e.facts))
	for _, f := range e.facts {
		if slices.Contains(o.facts, f) {
			both = append(both, f)
		}
	}
	e.facts, e.raised = both, e.raised&o.raised
}
