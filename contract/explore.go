package contract

import (
	"fmt"
	"slices"
	"strings"
)

// Limits bound an exploration. A zero field means the default. A contract that needs more is refused, unless whoever
// signs it raises the bound.
type Limits struct {
	States int // default 50,000
	Moves  int // default 200,000: ways from one state to another, each over an interval of values
}

// Report is what an exploration found: what each party can end up with, and what rounding to whole chunks can cost.
type Report struct {
	States, Moves int
	Payouts       []Payout   // by pot, then party; parties that no chunk of the pot can reach are left out
	Rounding      []Rounding // by line, where a give can come out as less than it asks for
}

// Payout is the least and the most units of a pot that a party can end up with, each with a shortest way there from
// `at open`. The events of a way carry no times.
type Payout struct {
	Party, Pot          int
	Least, Most         int64
	LeastPath, MostPath []Event
}

// Rounding is the worst case of one give: it asked for so many units, and the chunks made so many of it.
type Rounding struct {
	Line         int
	Pot          int
	Asked, Given int64
	Path         []Event
}

// Admit plays everything that the parties, the oracles and the clock can do under these terms and with these chunks;
// weights are those that Open takes. It refuses, with an *Error, a give that asks for more than its pot holds, a fault,
// and a contract that is larger than lim. A vault signs only what Admit has passed.
//
// Values of words and oracles are split into intervals on which the contract does the same, so that no value is left
// out. Times are not played: a word counts as possible in a phase whether or not its deadline has passed on entry, and
// an oracle's values as independent of each other. So the payouts are bounds that hold for every play, and in a
// contract where such a thing matters some play may not reach them.
func (d *Deal) Admit(weights [][]int64, lim Limits) (Report, error) {
	c, err := d.newChunks(weights)
	if err != nil {
		return Report{}, fmt.Errorf("admit contract %s: %w", d.p.name, err)
	}
	if lim.States == 0 {
		lim.States = 50_000
	}
	if lim.Moves == 0 {
		lim.Moves = 200_000
	}
	x := explorer{d: d, lim: lim, index: map[string]int32{}, base: d.env(), rounding: map[int]Rounding{}}
	x.explore(c)
	if x.errors > 0 {
		return Report{}, &Error{x.list}
	}
	return x.report(), nil
}

// move leads from one state to another.
type move struct {
	to    int32
	ev    Event
	gives []Give
}

// explorer plays breadth first. State 0 is before `at open`, state 1 is closed.
type explorer struct {
	findings
	d        *Deal
	lim      Limits
	index    map[string]int32
	states   []State
	moves    [][]move
	parent   []int32 // the state from which each was first reached
	count    int
	base     *env // of the state that is being played
	scratch  env
	notes    []note
	rounding map[int]Rounding
	key      []byte
}

// note is what one give asks for and gets on an interval of values.
type note struct {
	s                  *stmt
	asked, given, left int64
}

func (x *explorer) explore(c *chunks) {
	start := State{c: c, gone: make([]uint64, (len(c.weight)+63)/64), vars: make([]int64, x.d.p.vars())}
	for i, k := range x.d.p.counters {
		start.vars[i] = k.start
	}
	x.states = []State{start, {c: c, closed: true}}
	x.moves, x.parent = make([][]move, 2), []int32{0, 0}
	x.load(0)
	x.play(0, Event{}, 0, 0)
	for i := 2; i < len(x.states) && x.errors == 0; i++ {
		x.load(i)
		x.expand(i)
	}
}

// load fills the environment from a state.
func (x *explorer) load(i int) {
	r := run{d: x.d, s: x.states[i]}
	for j := range x.d.p.counters {
		*x.base.at(opCounter, int64(j)) = point(r.s.vars[j])
	}
	for j := range x.d.units {
		*x.base.at(opLeft, int64(j)) = point(r.left(j))
	}
}

// expand plays every event that a state may meet.
func (x *explorer) expand(i int) {
	p := x.d.p
	ph := &p.phases[x.states[i].phase]
	x.play(i, Event{Kind: Deadline}, 0, 0)
	r := run{d: x.d, s: x.states[i]}
	for j := range ph.clauses {
		c := &ph.clauses[j]
		lo, hi := c.lo, c.hi
		if c.kind == onEach || c.kind == onFor {
			ev := Event{Kind: Oracle, Oracle: c.oracle, At: farAway, Observed: farAway}
			if c.kind == onFor {
				ev.Observed = r.eval(c.time)
			}
			if !slices.ContainsFunc(ph.clauses[:j], func(b clause) bool {
				return b.kind == c.kind && b.oracle == c.oracle && (c.kind == onEach || r.eval(b.time) == ev.Observed)
			}) {
				x.play(i, ev, lo, hi)
			}
		}
		for party := range p.parties {
			if c.members>>party&1 == 0 {
				continue
			}
			first := true
			for k := range ph.clauses {
				if b := &ph.clauses[k]; b.word == c.word && b.members>>party&1 == 1 {
					first = first && k >= j
					lo, hi = min(lo, b.lo), max(hi, b.hi)
				}
			}
			if first {
				x.play(i, Event{Kind: Word, Party: party, Word: c.word, HasValue: c.hasValue}, lo, hi)
			}
		}
	}
}

// play plays an event with every value from lo to hi.
func (x *explorer) play(i int, ev Event, lo, hi int64) {
	if x.errors > 0 {
		return
	}
	if x.count++; x.count > x.lim.Moves || len(x.states) > x.lim.States {
		x.add(pos{}, SeverityError, fmt.Sprintf("this contract has more than %d states or %d moves to explore", x.lim.States, x.lim.Moves), "narrow its ranges, or raise the bound if all parties agree")
		return
	}
	x.notes = x.notes[:0]
	if !x.uniform(i, &ev, span{lo, hi}) {
		mid := lo + int64(uint64(hi-lo)/2)
		x.play(i, ev, lo, mid)
		x.play(i, ev, mid+1, hi)
		return
	}
	ev.Value = lo
	m, ok := x.step(i, ev)
	if !ok {
		return
	}
	if hi > lo {
		ev.Value = hi
		if other, _ := x.step(i, ev); other.to != m.to || !slices.Equal(other.gives, m.gives) {
			x.add(pos{}, SeverityError, "the exploration took two plays for one", "this is a bug in Latchkey; report it with the contract")
			return
		}
	}
	x.moves[i] = append(x.moves[i], m)
	x.judge(i, m.ev)
}

// step plays an event with one value on the machine itself. It is not ok where nobody takes the event.
func (x *explorer) step(i int, ev Event) (move, bool) {
	r := run{d: x.d, s: x.states[i]}
	var err error
	if i > 0 {
		_, err = r.apply(&ev)
	} else if !r.do(x.d.p.opening.body) {
		r.enter(0)
	}
	if r.fault != nil {
		x.add(pos{}, SeverityError, r.fault.Error()+", after: "+x.path(i, ev), "narrow the ranges")
	}
	if err != nil || r.fault != nil {
		return move{}, false
	}
	m := move{to: 1, ev: ev, gives: r.gives}
	if r.s.closed {
		return m, true
	}
	r.s.now, r.s.until = 0, 0
	for j := len(x.d.p.counters); j < len(r.s.vars); j++ {
		if r.s.vars[j] != 0 {
			r.set(j, 0)
		}
	}
	x.key = r.s.appendChanging(append(x.key[:0], byte(r.s.phase), byte(r.s.phase>>8)))
	to, ok := x.index[string(x.key)]
	if !ok {
		to = int32(len(x.states))
		x.index[string(x.key)] = to
		x.states, x.moves, x.parent = append(x.states, r.s), append(x.moves, nil), append(x.parent, int32(i))
	}
	m.to = to
	return m, true
}

// uniform tells that the contract does the same for every value of v: fires the same clause, takes the same branches,
// picks the same chunks, sets the same counters. A single value always is.
func (x *explorer) uniform(i int, ev *Event, v span) bool {
	e := &x.scratch
	e.p, e.vars = x.d.p, append(e.vars[:0], x.base.vars...)
	*e.at(opInput, 0) = v
	r := run{d: x.d, s: x.states[i]}
	if i == 0 {
		same, _ := x.body(x.d.p.opening.body, e, &r)
		return same
	}
	ph := &x.d.p.phases[r.s.phase]
	for j := range ph.clauses {
		c := &ph.clauses[j]
		switch c.kind {
		case onWord:
			if ev.Kind != Word || c.members>>ev.Party&1 == 0 || c.word != ev.Word || v.hi < c.lo || v.lo > c.hi {
				continue
			}
			if v.lo < c.lo || v.hi > c.hi {
				return false
			}
		case onEach, onFor:
			each := ev.Observed == farAway
			if ev.Kind != Oracle || c.oracle != ev.Oracle || each != (c.kind == onEach) || !each && (r.eval(c.time) != ev.Observed || r.s.said&c.mask() != 0) {
				continue
			}
		case onDeadline:
			if ev.Kind != Deadline {
				continue
			}
		}
		if c.guard != none {
			if g := e.eval(c.guard); !g.isPoint() {
				return false
			} else if g.hi == 0 {
				continue
			}
		}
		if c.need > 1 {
			if voices := r.s.said & c.mask(); voices&c.seat(ev.Party) != 0 || popcount(voices)+1 < c.need {
				return true
			}
		}
		same, _ := x.body(c.body, e, &r)
		return same
	}
	return true
}

// body follows statements over intervals, as long as they do the same on all of them.
func (x *explorer) body(list []stmt, e *env, r *run) (same, ended bool) {
	for i := range list {
		s := &list[i]
		switch s.kind {
		case stGive:
			left := e.at(opLeft, int64(s.index))
			had, asked := left.lo, *left
			if s.expr != none {
				asked = e.eval(s.expr)
			}
			other := *r
			r.gone, other.gone = false, false
			r.give(s.index, s.to, asked.lo)
			other.give(s.index, s.to, asked.hi)
			if asked.lo <= had && asked.hi > had && !asked.isPoint() || !slices.Equal(r.s.gone, other.s.gone) {
				return false, false
			}
			*left = point(r.left(s.index))
			x.notes = append(x.notes, note{s, asked.hi, had - left.lo, had})
		case stSet:
			v := e.eval(s.expr)
			if !v.isPoint() {
				return false, false
			}
			*e.at(opCounter, int64(s.index)) = v
		case stIf:
			c := e.eval(s.expr)
			if !c.isPoint() {
				return false, false
			}
			branch := s.els
			if c.hi == 1 {
				branch = s.then
			}
			if same, ended := x.body(branch, e, r); !same || ended {
				return same, ended
			}
		case stNext, stClose:
			return true, true
		}
	}
	return true, false
}

// judge turns the notes of a move into findings.
func (x *explorer) judge(i int, ev Event) {
	for _, n := range x.notes {
		if n.asked > n.left {
			x.add(n.s.pos, SeverityError, fmt.Sprintf("this give asks for %d units where the pot `%s` holds %d, after: %s", n.asked, x.d.p.pots[n.s.index].Name, n.left, x.path(i, ev)),
				"write `give all of …`, or min(amount, left(pot))")
		}
		line := int(n.s.pos.line)
		if old, ok := x.rounding[line]; n.asked-n.given > old.Asked-old.Given || !ok && n.asked > n.given {
			x.rounding[line] = Rounding{line, n.s.index, n.asked, n.given, x.events(i, ev)}
		}
	}
}

// events returns a shortest way to a state, and the event that follows there.
func (x *explorer) events(i int, last Event) []Event {
	var way []Event
	for i > 0 {
		way = append(way, last)
		from := int(x.parent[i])
		for _, m := range x.moves[from] {
			if int(m.to) == i {
				last = m.ev
				break
			}
		}
		i = from
	}
	slices.Reverse(way)
	return way
}

func (x *explorer) path(i int, last Event) string {
	words := []string{"the contract opens"}
	for _, ev := range x.events(i, last) {
		words = append(words, x.d.p.Describe(ev))
	}
	return strings.Join(words, ", ")
}

// value is the best that a party can reach from a state, and in how many moves.
type value struct {
	units int64
	moves int32
	known bool
}

// report works backwards from the closed state: what a party can get from a state is what a move gives plus what it can
// get after it.
func (x *explorer) report() Report {
	rep := Report{States: len(x.states) - 1, Moves: x.count}
	for _, r := range x.rounding {
		rep.Rounding = append(rep.Rounding, r)
	}
	slices.SortFunc(rep.Rounding, func(a, b Rounding) int { return a.Line - b.Line })
	order := x.order()
	for pot := range x.d.p.pots {
		for party := range x.d.p.parties {
			if x.d.p.pots[pot].From != party && x.d.p.pots[pot].cands>>party&1 == 0 {
				continue
			}
			pay := Payout{Party: party, Pot: pot}
			pay.Least, pay.LeastPath = x.best(order, pot, party, -1)
			pay.Most, pay.MostPath = x.best(order, pot, party, 1)
			rep.Payouts = append(rep.Payouts, pay)
		}
	}
	return rep
}

// best returns the most (sign 1) or the least (sign -1) that a party can get of a pot, and a shortest way there.
func (x *explorer) best(order []int32, pot, party int, sign int64) (int64, []Event) {
	vals := make([]value, len(x.states))
	vals[1] = value{known: true}
	gain := func(m *move) (u int64) {
		for _, g := range m.gives {
			if g.Pot == pot && g.To == party {
				c := x.states[0].c
				u += c.weight[int(c.start[pot])+g.Chunk]
			}
		}
		return u
	}
	for changed := true; changed; {
		changed = false
		for _, i := range order {
			for j := range x.moves[i] {
				m := &x.moves[i][j]
				after, v := vals[m.to], &vals[i]
				u := after.units + gain(m)
				if after.known && (!v.known || sign*u > sign*v.units || u == v.units && after.moves+1 < v.moves) {
					*v, changed = value{u, after.moves + 1, true}, true
				}
			}
		}
	}
	var way []Event
	for i := int32(0); i != 1; {
		for j := range x.moves[i] {
			m := &x.moves[i][j]
			if after := vals[m.to]; after.known && after.units+gain(m) == vals[i].units && after.moves+1 == vals[i].moves {
				if i > 0 {
					way = append(way, m.ev)
				}
				i = m.to
				break
			}
		}
	}
	return vals[0].units, way
}

// order lists the states such that, cycles apart, each comes after those that it leads to.
func (x *explorer) order() []int32 {
	type frame struct{ state, next int32 }
	seen := make([]bool, len(x.states))
	order, stack := make([]int32, 0, len(x.states)), []frame{{}}
	for len(stack) > 0 {
		f := &stack[len(stack)-1]
		if int(f.next) == len(x.moves[f.state]) {
			order = append(order, f.state)
			stack = stack[:len(stack)-1]
			continue
		}
		to := x.moves[f.state][f.next].to
		f.next++
		if !seen[to] {
			seen[to] = true
			stack = append(stack, frame{state: to})
		}
	}
	return order
}
