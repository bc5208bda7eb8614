package contract

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
)

// Compile reads a contract and checks what can be checked for all terms: every phase ends, every cycle of phases
// raises a bounded counter, no value leaves its range, no clause is hidden or out of reach. A refusal is an *Error
// with every finding; warnings do not refuse, they are in Program.Warnings. The source has at most MaxSource bytes.
// A contract with roles is checked for the most and for the fewest holders; Bind checks it again for the number it is given.
func Compile(source []byte) (*Program, error) {
	if len(source) > MaxSource {
		return nil, &Error{[]Finding{{0, 0, SeverityError, "the source is too long", fmt.Sprintf("a contract has at most %d bytes", MaxSource)}}}
	}
	p, err := compile(string(source), nil)
	if err != nil || len(p.roles) == 0 {
		return p, err
	}
	fewest := make([]int64, len(p.roles))
	for i, r := range p.roles {
		fewest[i] = int64(r.Lo)
	}
	if _, err := compile(string(source), fewest); err != nil {
		return nil, err
	}
	return p, nil
}

// compile compiles a source for the given numbers of holders of its roles, nil for the greatest.
func compile(source string, counts []int64) (*Program, error) {
	p, found := parse(source, counts)
	if found.errors == 0 {
		c := checker{findings: found, p: p, from: none, lowered: make([]uint64, len(p.phases))}
		c.check()
	}
	slices.SortStableFunc(found.list, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	if found.errors > 0 {
		return nil, &Error{found.list}
	}
	if p.warnings = found.list; len(p.roles) > 0 {
		p.source = source
	}
	return p, nil
}

// edge is one `next`. From is none for `at open`.
type edge struct {
	from, to int
	raised   uint64 // counters that are raised for certain on the way
	pos      pos
}

// set is a set of phases.
type set [(MaxPhases + 63) / 64]uint64

func (s *set) has(i int) bool { return s[i/64]>>(i%64)&1 == 1 }

// closure returns which phases follow which, at any distance, along the edges for which use holds (Warshall, A theorem
// on Boolean matrices, JACM 9, 1962).
func (c *checker) closure(use func(edge) bool) []set {
	reach := make([]set, len(c.p.phases))
	for _, d := range c.edges {
		if d.from != none && use(d) {
			reach[d.from][d.to/64] |= 1 << (d.to % 64)
		}
	}
	for via := range reach {
		for from := range reach {
			if reach[from].has(via) {
				for i, word := range reach[via] {
					reach[from][i] |= word
				}
			}
		}
	}
	return reach
}

type checker struct {
	*findings
	p       *Program
	base    *env // the declared ranges
	from    int  // the phase that is being checked, none in `at open`
	edges   []edge
	lowered []uint64 // of each phase, the counters that a clause in it may lower
}

func (c *checker) fail(at pos, what, mend string) { c.add(at, SeverityError, what, mend) }
func (c *checker) warn(at pos, what, mend string) { c.add(at, SeverityWarning, what, mend) }

func (c *checker) check() {
	p := c.p
	c.declarations()
	e := c.base.clone()
	for i, k := range p.counters {
		*e.at(opCounter, i) = point(k.start)
	}
	if ended := c.walk(p.opening.body, e); !ended && len(p.phases) > 0 {
		c.edges = append(c.edges, edge{from: none, to: 0})
	} else if !ended {
		c.fail(p.opening.pos, "this contract never ends", "it has no phases: end `at open` with `close`")
	}
	e.free()
	for i := range p.phases {
		c.from = i
		c.phase(&p.phases[i])
	}
	c.cycles()
	if e.steps > maxSteps {
		c.list, c.errors = nil, 0
		c.fail(pos{}, fmt.Sprintf("this contract takes more than %d steps to check", maxSteps), "make its formulas shorter, nest them less, or let fewer parties hold a role")
	}
}

// declarations fills the base environment with the declared ranges.
func (c *checker) declarations() {
	p, e := c.p, c.p.newEnv()
	e.faults = c.fail
	c.base = e
	changes := func(n *node) bool {
		return n.op == opCounter || n.op == opLeft || n.op == opFilled || n.op == opSealed || n.op == opNow
	}
	for i, t := range p.terms {
		*e.at(opTerm, i) = span{t.Lo, t.Hi}
	}
	for i, n := range p.counts {
		*e.at(opTerm, i) = point(n)
	}
	for i := range p.pots {
		s := e.eval(p.pots[i].expr)
		if at := p.nodes[p.pots[i].expr].pos; s.lo < 0 || e.find(p.pots[i].expr, changes) != nil {
			c.fail(at, "a pot can hold less than nothing, or changes while the contract runs", "make it of terms, and narrow their ranges")
		}
		*e.at(opPot, i), *e.at(opLeft, i), *e.at(opFilled, i) = s, span{0, s.hi}, span{0, s.hi}
	}
	for _, r := range p.requires {
		at := p.nodes[r].pos
		if e.find(r, changes) != nil {
			c.fail(at, "a requirement is decided before the contract opens and cannot depend on what changes", "make it of terms and pots")
		}
		if e.eval(r); !e.refine(r, true) {
			c.fail(at, "no terms can meet this requirement", "change it, or the ranges of the terms")
		}
	}
}

func (c *checker) phase(ph *phase) {
	e := c.base.clone()
	defer e.free()
	e.eval(ph.until)
	if at, after := e.horizon(ph.until); at >= farAway/2 || after >= farAway/2 {
		c.fail(ph.pos, "this phase can last beyond any calendar", "narrow the ranges of its end; begin with a time, or with `now + duration`")
	}
	certain := false
	for i := range ph.clauses {
		cl, e := &ph.clauses[i], c.base.clone()
		*e.at(opInput, 0) = span{cl.lo, cl.hi}
		c.hidden(ph, i)
		c.timing(ph, cl, e)
		if certain = certain || cl.kind == onDeadline && cl.guard == none; cl.guard != none {
			e.eval(cl.guard)
		}
		holds := cl.guard == none || e.refine(cl.guard, true)
		if cl.seal != none { // which changes between the condition and the body
			e.assign(opSealed, cl.seal, point(truthOf(cl.carries == aSeal)))
		}
		if !holds {
			c.fail(cl.pos, "the condition of this clause can never hold", "change the condition, or remove the clause")
		} else if ended := c.walk(cl.body, e); !ended && cl.kind == onDeadline {
			c.fail(cl.pos, "after the deadline this phase is over, and nothing follows", "end every way through `at deadline` with `next` or `close`")
		}
		e.free()
	}
	if !certain {
		c.fail(ph.pos, "phase `"+ph.name+"` has no way out if nobody does anything", "add `at deadline:` without a condition, with what happens then")
	}
}

// timing checks the time of an oracle clause.
func (c *checker) timing(ph *phase, cl *clause, e *env) {
	if cl.time == none {
		return
	}
	s := e.eval(cl.time)
	if e.find(cl.time, func(n *node) bool { return n.op == opNow }) != nil {
		c.fail(cl.pos, "the time of this value depends on when somebody brings it", "write `for` a time, or `each` duration, without now")
	}
	if s.hi >= farAway/2 {
		c.fail(cl.pos, "the time of this value can lie beyond any calendar", "narrow the ranges of its time")
	}
	if cl.kind == onFor {
		if late, _ := e.difference(cl.time, ph.until); late.lo >= 0 {
			c.fail(cl.pos, "this value is observed when the phase is already over", "let the phase last longer than the time of the value")
		}
	}
}

// hidden refuses a clause to which those above it leave nothing.
func (c *checker) hidden(ph *phase, i int) {
	cl := &ph.clauses[i]
	free, over := cl.members, false
	for _, b := range ph.clauses[:i] {
		if b.kind != cl.kind || b.word != cl.word || b.oracle != cl.oracle {
			continue
		}
		if b.members&cl.members != 0 && (b.carries != cl.carries || b.seal != cl.seal) {
			c.fail(cl.pos, "the word \""+cl.word+"\" carries a value in one clause and none, or another, in another", "use two words")
			return
		}
		if b.guard == none && b.lo <= cl.lo && b.hi >= cl.hi && (b.partial || !cl.partial) {
			free &^= b.members
			over = over || cl.kind != onWord && c.base.same(b.time, cl.time)
		}
	}
	if over || bits.OnesCount64(free) < cl.need {
		c.fail(cl.pos, "this clause is hidden: those above it take every case", "remove it, use another word, or give those above a condition")
	}
}

// walk checks statements under e, which it changes, and reports whether every way through them ends.
func (c *checker) walk(body []stmt, e *env) bool {
	p := c.p
	for i := range body {
		switch s := &body[i]; s.kind {
		case stGive:
			p.pots[s.index].cands |= 1 << s.to
			switch a, n := e.eval(s.expr), &p.nodes[s.expr]; {
			case a.lo < 0:
				c.fail(s.pos, "this amount can be less than nothing", "add a condition, or write max(0 units, amount)")
			case n.v == int64(s.index) && (n.op == opLeft || n.op == opPot && a.lo > 0): // down to the last chunk
			case a.lo == 0:
				c.warn(s.pos, "this amount can come out as nothing", "see in the exploration what the chunks make of it")
			case a.lo < e.at(opLeft, s.index).hi:
				c.warn(s.pos, "this can give nothing, for no chunk is divided", "see in the exploration what the chunks make of it")
			}
			e.assign(opLeft, s.index, span{0, e.at(opPot, s.index).hi})
		case stSet:
			c.set(s, e)
		case stIf:
			if c.branch(s, e) {
				return true
			}
		case stNext:
			c.edges = append(c.edges, edge{c.from, int(p.jumps[s.index]), e.raised, s.pos})
			return true
		case stClose:
			return true
		}
	}
	return false
}

func (c *checker) set(s *stmt, e *env) {
	k := &c.p.counters[s.index]
	v := e.eval(s.expr)
	if v.lo < k.Lo || v.hi > k.Hi {
		c.fail(s.pos, fmt.Sprintf("counter `%s` can leave its range %d..%d", k.Name, k.Lo, k.Hi), "add a condition to the clause, as `if "+k.Name+" < limit`, or widen the range")
		v = span{k.Lo, k.Hi}
	}
	if grows, _ := e.difference(s.expr, s.old); grows.lo > 0 {
		e.raised |= 1 << s.index
	} else if grows.lo < 0 && c.from != none {
		c.lowered[c.from] |= 1 << s.index
	}
	e.assign(opCounter, s.index, v)
}

// branch checks both sides of an if; a side that no values reach counts for nothing.
func (c *checker) branch(s *stmt, e *env) (ended bool) {
	e.eval(s.expr)
	no := e.clone()
	defer no.free()
	canYes, canNo := e.refine(s.expr, true), no.refine(s.expr, false)
	if !canYes || !canNo {
		c.warn(s.pos, fmt.Sprintf("this condition is always %t", canYes), "remove the `if`")
	}
	endYes := !canYes || c.walk(s.then, e)
	endNo := !canNo || c.walk(s.els, no)
	if endYes {
		*e, *no = *no, *e
	} else if !endNo {
		e.join(no)
	}
	return endYes && endNo
}

// cycles refuses phases out of reach, and cycles that nothing bounds. A counter is the fuel of a cycle if no clause of
// the phases on the cycle can lower it; without the edges that burn fuel, no phase may lead back to itself.
func (c *checker) cycles() {
	p := c.p
	reach := c.closure(func(edge) bool { return true })
	cycle := func(a, b int) bool { return reach[a].has(b) && reach[b].has(a) }
	for j := range c.edges {
		d := &c.edges[j]
		for i, low := range c.lowered {
			if d.from != none && cycle(i, d.from) {
				d.raised &^= low
			}
		}
	}
	plain := c.closure(func(d edge) bool { return d.raised == 0 })
	for _, d := range c.edges {
		if d.from != none && d.raised == 0 && plain[d.to].has(d.from) {
			c.fail(d.pos, "from here phase `"+p.phases[d.to].name+"` can come again without end", "raise a counter on the way, as `set rounds = rounds + 1`, and lower it nowhere in these phases")
		}
	}
	for i := range p.phases {
		reached, fuel := false, uint64(0)
		for _, d := range c.edges {
			if d.from == none {
				reached = reached || d.to == i || reach[d.to].has(i)
			} else if cycle(d.from, d.to) && cycle(i, d.to) {
				fuel |= d.raised
			}
		}
		if !reached {
			c.fail(p.phases[i].pos, "phase `"+p.phases[i].name+"` can never begin", "lead to it with `next "+p.phases[i].name+"`, or remove it")
		}
		p.phases[i].rounds = 1
		for j, k := range p.counters {
			if width, _ := opSub.apply(k.Hi, k.Lo, 0); fuel>>j&1 == 1 {
				p.phases[i].rounds = plus(p.phases[i].rounds, width)
			}
		}
	}
}
