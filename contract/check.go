package contract

import (
	"fmt"
	"slices"
)

// Compile reads a contract and checks what can be checked for all terms: every phase ends, every cycle of phases
// raises a bounded counter, no value leaves its range, no clause is hidden or out of reach. A refusal is an *Error
// with every finding; warnings do not refuse, they are in Program.Warnings. The source has at most MaxSource bytes.
func Compile(source []byte) (*Program, error) {
	if len(source) > MaxSource {
		return nil, &Error{[]Finding{{Severity: SeverityError, What: "the source is too long", Mend: fmt.Sprintf("a contract has at most %d bytes", MaxSource)}}}
	}
	p, found := parse(source)
	if p != nil {
		c := checker{findings: found, p: p}
		c.check()
		slices.SortStableFunc(found.list, func(a, b Finding) int {
			return (a.Line-b.Line)*(MaxSource+2) + a.Col - b.Col
		})
	}
	if found.errors > 0 {
		return nil, &Error{found.list}
	}
	p.warnings = found.list
	return p, nil
}

// graph is what the checks learn about the order of phases; Deal.LastDeadline reads it.
type graph struct {
	edges []edge
	comp  []int    // of each phase, its component; a component's successors have lesser numbers
	fuel  []uint64 // of each component, the counters that bound its cycles; 0 where it has none
}

// edge is one `next`. From is none for `at open`.
type edge struct {
	from, to int
	raised   uint64 // counters that are raised for certain on the way
	pos      pos
}

type checker struct {
	*findings
	p       *Program
	base    *env     // the declared ranges
	from    int      // phase that is being checked
	lowered []uint64 // of each phase, the counters that a clause in it may lower
}

func (c *checker) fail(at pos, what, mend string) { c.add(at, SeverityError, what, mend) }
func (c *checker) warn(at pos, what, mend string) { c.add(at, SeverityWarning, what, mend) }

func (c *checker) check() {
	p := c.p
	c.declared()
	c.lowered = make([]uint64, len(p.phases))
	c.from = none
	e := c.base.clone()
	for i, k := range p.counters {
		*e.at(opCounter, int64(i)) = point(k.start)
	}
	if ended := c.walk(p.opening.body, e); !ended {
		if len(p.phases) > 0 {
			p.graph.edges = append(p.graph.edges, edge{from: none, to: 0, pos: p.phases[0].pos})
		} else {
			c.fail(p.opening.pos, "this contract never ends", "it has no phases: end `at open` with `close`")
		}
	}
	for i := range p.phases {
		c.from = i
		c.phase(&p.phases[i])
	}
	c.cycles()
	c.unused()
}

// declared fills the base environment with the ranges of the declarations.
func (c *checker) declared() {
	p := c.p
	e := p.newEnv()
	e.faults = c.fail
	c.base = e
	for i, t := range p.terms {
		*e.at(opTerm, int64(i)) = span{t.Lo, t.Hi}
	}
	for i := range p.pots {
		pot := &p.pots[i]
		at := p.nodes[pot.expr].pos
		c.fixed(pot.expr, "what a pot holds")
		s := e.eval(pot.expr)
		if s.lo < 0 {
			c.fail(at, "a pot can hold less than nothing", "narrow the ranges of its terms")
		}
		*e.at(opPot, int64(i)), *e.at(opLeft, int64(i)) = s, span{0, s.hi}
	}
	for i, k := range p.counters {
		*e.at(opCounter, int64(i)) = span{k.lo, k.hi}
	}
	for _, r := range p.requires {
		c.fixed(r, "a requirement")
		e.eval(r)
		if !e.refine(r, true) {
			c.fail(p.nodes[r].pos, "no terms can meet this requirement", "change it, or the ranges of the terms")
		}
	}
}

// fixed refuses an expression that changes while the contract runs.
func (c *checker) fixed(i int32, of string) {
	if i == none {
		return
	}
	n := &c.p.nodes[i]
	if n.op == opCounter || n.op == opLeft {
		c.fail(n.pos, of+" is fixed before the contract opens and cannot depend on this", "use terms and pots")
	}
	c.fixed(n.a, of)
	c.fixed(n.b, of)
	c.fixed(n.c, of)
}

func (c *checker) phase(ph *phase) {
	e := c.base.clone()
	until := e.eval(ph.until)
	if ph.relative && (until.lo < 0 || until.hi > MaxDuration) {
		c.fail(ph.pos, "this phase may last less than no time, or more than a thousand years", "narrow the ranges of its duration")
	}
	if !ph.relative && until.hi > MaxTime+MaxDuration {
		c.fail(ph.pos, "this phase may last beyond the year 10999", "narrow the ranges of its time")
	}
	certain := false
	for i := range ph.clauses {
		cl := &ph.clauses[i]
		c.hidden(ph, i)
		e := c.base.clone()
		if cl.hasValue {
			*e.at(opInput, 0) = span{cl.lo, cl.hi}
		}
		c.timing(ph, cl, e)
		if cl.guard != none {
			e.eval(cl.guard)
			if !e.refine(cl.guard, true) {
				c.fail(cl.pos, "the condition of this clause can never hold", "change the condition, or remove the clause")
				continue
			}
		} else if cl.kind == onDeadline {
			certain = true
		}
		if ended := c.walk(cl.body, e); !ended && cl.kind == onDeadline {
			c.fail(cl.pos, "after the deadline this phase is over, and nothing follows", "end every way through `at deadline` with `next` or `close`")
		}
	}
	if !certain {
		c.fail(ph.pos, "phase `"+ph.name+"` has no way out if nobody does anything", "add `at deadline:` without a condition, with what happens then")
	}
}

// timing checks the times of an oracle clause.
func (c *checker) timing(ph *phase, cl *clause, e *env) {
	if cl.time == none {
		return
	}
	s := e.eval(cl.time)
	if cl.kind == onEach && (s.lo < 1 || s.hi > MaxDuration) {
		c.fail(cl.pos, "the age of a value must be at least a second and at most a thousand years", "narrow the ranges of the duration")
	}
	if cl.kind == onFor && (s.lo < 0 || s.hi > MaxTime+MaxDuration) {
		c.fail(cl.pos, "the time of a value can lie outside the calendar", "narrow the ranges of the time")
	}
	if cl.kind == onFor && !ph.relative {
		if d, _ := e.difference(cl.time, ph.until); d.lo >= 0 {
			c.fail(cl.pos, "this value is observed when the phase is already over", "let the phase last longer than the time of the value")
		}
	}
}

// hidden refuses a clause that clauses above it leave nothing to do.
func (c *checker) hidden(ph *phase, i int) {
	cl := &ph.clauses[i]
	free := cl.members
	for j := range i {
		b := &ph.clauses[j]
		if b.kind != cl.kind || b.word != cl.word || b.oracle != cl.oracle {
			continue
		}
		if cl.kind == onWord && b.members&cl.members != 0 && b.hasValue != cl.hasValue {
			c.fail(cl.pos, "the word "+fmt.Sprintf("%q", cl.word)+" carries a value in one clause and none in another", "use two words")
		}
		if b.guard != none || cl.hasValue && (b.lo > cl.lo || b.hi < cl.hi) {
			continue
		}
		switch {
		case cl.kind == onWord:
			free &^= b.members
		case c.p.same(b.time, cl.time):
			c.fail(cl.pos, "this clause is hidden: one above it takes every case", "remove it, or give the clause above a condition")
		}
	}
	if cl.kind == onWord && free != cl.members {
		if free == 0 || popcount(free) < cl.need {
			c.fail(cl.pos, "this clause is hidden: those above it take the word first", "remove it, use another word, or give the clause above a condition")
		} else {
			c.warn(cl.pos, "for some parties a clause above takes this word first", "use another word")
		}
	}
}

// walk checks statements under e, which it changes, and reports whether every way through them ends.
func (c *checker) walk(body []stmt, e *env) bool {
	p := c.p
	for i := range body {
		s := &body[i]
		switch s.kind {
		case stGive:
			p.pots[s.index].cands |= 1 << s.to
			c.amount(s, e)
			e.forget(opLeft, int64(s.index))
			*e.at(opLeft, int64(s.index)) = span{0, e.at(opPot, int64(s.index)).hi}
		case stSet:
			c.set(s, e)
		case stIf:
			if c.branch(s, e) {
				return true
			}
		case stNext:
			p.graph.edges = append(p.graph.edges, edge{c.from, int(p.jumps[s.index]), e.raised, s.pos})
			return true
		case stClose:
			return true
		}
	}
	return false
}

func (c *checker) amount(s *stmt, e *env) {
	if s.expr == none {
		return
	}
	switch a := e.eval(s.expr); {
	case a.lo < 0:
		c.fail(s.pos, "this amount can be less than nothing", "add a condition, or write max(0 units, amount)")
	case a.hi == 0:
		c.warn(s.pos, "this amount is always nothing", "remove the give, or widen the ranges")
	case a.lo == 0:
		c.warn(s.pos, "this amount can come out as nothing", "see in the exploration what these chunks make of it")
	}
}

func (c *checker) set(s *stmt, e *env) {
	k, bit := &c.p.counters[s.index], uint64(1)<<s.index
	v := e.eval(s.expr)
	if v.lo < k.lo || v.hi > k.hi {
		c.fail(s.pos, fmt.Sprintf("counter `%s` can leave its range %d..%d", k.name, k.lo, k.hi), "add a condition to the clause, as `if "+k.name+" < limit`, or widen the range")
		v = v.and(span{k.lo, k.hi})
		if v.empty() {
			v = span{k.lo, k.hi}
		}
	}
	switch d := c.growth(s, e); {
	case d.lo > 0:
		e.raised |= bit
	case d.lo < 0 && c.from != none:
		c.lowered[c.from] |= bit
	}
	e.forget(opCounter, int64(s.index))
	*e.at(opCounter, int64(s.index)) = v
}

// growth returns by how much a set can change its counter.
func (c *checker) growth(s *stmt, e *env) span {
	n := &c.p.nodes[s.expr]
	isCounter := func(i int32) bool {
		return i != none && c.p.nodes[i].op == opCounter && c.p.nodes[i].v == int64(s.index)
	}
	switch {
	case n.op == opAdd && isCounter(n.a):
		return e.eval(n.b)
	case n.op == opAdd && isCounter(n.b):
		return e.eval(n.a)
	case isCounter(s.expr):
		return point(0)
	}
	old := *e.at(opCounter, int64(s.index))
	v := e.eval(s.expr)
	lo, _ := sub(v.lo, old.hi)
	hi, _ := sub(v.hi, old.lo)
	for _, f := range e.facts {
		if f.y != none && isCounter(f.y) && c.p.same(f.x, s.expr) {
			lo = max(lo, f.s.lo)
		}
	}
	return span{lo, hi}
}

// branch checks both sides of an if; a side that no values reach is not checked further.
func (c *checker) branch(s *stmt, e *env) (ended bool) {
	e.eval(s.expr)
	no := e.clone()
	canYes, canNo := e.refine(s.expr, true), no.refine(s.expr, false)
	if !canYes || !canNo {
		c.warn(s.pos, fmt.Sprintf("this condition is always %t", canYes), "remove the `if`")
	}
	endYes, endNo := true, true
	if canYes {
		endYes = c.walk(s.then, e)
	}
	if canNo {
		endNo = c.walk(s.els, no)
	}
	switch {
	case endYes && endNo:
		return true
	case endYes:
		*e = *no
	case !endNo:
		e.join(no)
	}
	return false
}

// cycles refuses phases out of reach and cycles that nothing bounds.
func (c *checker) cycles() {
	p := c.p
	g := &p.graph
	reached := make([]bool, len(p.phases))
	for changed := true; changed; {
		changed = false
		for _, d := range g.edges {
			if !reached[d.to] && (d.from == none || reached[d.from]) {
				reached[d.to], changed = true, true
			}
		}
	}
	for i, ok := range reached {
		if !ok {
			c.fail(p.phases[i].pos, "phase `"+p.phases[i].name+"` can never begin", "lead to it with `next "+p.phases[i].name+"`, or remove it")
		}
	}
	g.components(len(p.phases))
	fuel := make([]uint64, len(g.fuel))
	for i := range fuel {
		fuel[i] = ^uint64(0)
	}
	for i, low := range c.lowered {
		fuel[g.comp[i]] &^= low
	}
	// Within a component, a way along edges that raise nothing must never come back to where it began.
	plain := make([][]int, len(p.phases))
	for _, d := range g.edges {
		if d.from == none || g.comp[d.from] != g.comp[d.to] {
			continue
		}
		if f := d.raised & fuel[g.comp[d.to]]; f != 0 {
			g.fuel[g.comp[d.to]] |= f
			continue
		}
		plain[d.from] = append(plain[d.from], d.to)
		if reaches(plain, d.to, d.from, make([]bool, len(plain))) {
			c.fail(d.pos, "from here phase `"+p.phases[d.to].name+"` can come again without end", "raise a counter on the way, as `set rounds = rounds + 1`, and lower it nowhere in these phases")
			plain[d.from] = plain[d.from][:len(plain[d.from])-1]
		}
	}
}

func reaches(next [][]int, from, to int, seen []bool) bool {
	if from == to {
		return true
	}
	seen[from] = true
	for _, n := range next[from] {
		if !seen[n] && reaches(next, n, to, seen) {
			return true
		}
	}
	return false
}

// components finds the strongly connected components of n phases (Tarjan, Depth-first search and linear graph
// algorithms, SIAM J. Comput. 1, 1972).
func (g *graph) components(n int) {
	next := make([][]int, n)
	for _, d := range g.edges {
		if d.from != none {
			next[d.from] = append(next[d.from], d.to)
		}
	}
	g.comp = make([]int, n)
	index, low := make([]int, n), make([]int, n)
	var stack []int
	count, comps := 0, 0
	var visit func(v int)
	visit = func(v int) {
		count++
		index[v], low[v], g.comp[v] = count, count, none
		stack = append(stack, v)
		for _, w := range next[v] {
			if index[w] == 0 {
				visit(w)
				low[v] = min(low[v], low[w])
			} else if g.comp[w] == none {
				low[v] = min(low[v], index[w])
			}
		}
		if low[v] < index[v] {
			return
		}
		for w := none; w != v; {
			w = stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			g.comp[w] = comps
		}
		comps++
	}
	for v := range n {
		if index[v] == 0 {
			visit(v)
		}
	}
	g.fuel = make([]uint64, comps)
}

// unused warns of what is declared and plays no part.
func (c *checker) unused() {
	p := c.p
	var terms, parties uint64
	for _, n := range p.nodes {
		if n.op == opTerm {
			terms |= 1 << n.v
		}
	}
	for _, pot := range p.pots {
		parties |= 1<<pot.From | pot.cands
		if pot.cands == 0 {
			c.warn(p.nodes[pot.expr].pos, "pot `"+pot.Name+"` is never given to anybody", "give it, or remove it")
		}
	}
	for i := range p.phases {
		for _, cl := range p.phases[i].clauses {
			parties |= cl.members
		}
	}
	for i, t := range p.terms {
		if terms>>i&1 == 0 {
			c.warn(pos{}, "term `"+t.Name+"` is never used", "remove it")
		}
	}
	for i, name := range p.parties {
		if parties>>i&1 == 0 {
			c.warn(pos{}, "party `"+name+"` has no part in this contract", "remove it")
		}
	}
}
