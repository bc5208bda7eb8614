package contract

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Limits bound an exploration. A zero field means the default. A contract that needs more is refused, unless whoever
// signs it raises the bound.
type Limits struct {
	States int // default 50,000
	Moves  int // default 200,000: plays of one event over one interval of values, each counted again for every 64 chunks, and all that again for every 1,024 tokens of its phase
}

// Report is what an exploration found: what each party can end up with, and what rounding to whole chunks can cost.
type Report struct {
	States, Moves int
	Payouts       []Payout   // by pot, then party; parties that no chunk of the pot can reach are left out
	Rounding      []Rounding // by line, where a give can come out as less than it asks for
}

// Payout is the least and the most units of a pot that a party can end up with, each with a shortest way there from
// `at open`. Its events carry the times at which they were played where something depends on them, no times
// elsewhere; those of a way need not rise.
type Payout struct {
	Party, Pot          int
	Least, Most         int64
	LeastPath, MostPath []Event
}

// Rounding is the worst case of one give: it asks for so many units at the end of the path, and the chunks make so many of it.
type Rounding struct {
	Line, Pot    int
	Asked, Given int64
	Opens        int64 // when it was opened, where something depends on that; else 0
	Path         []Event
}

// Admit plays everything that the parties, the oracles and the clock can do under these terms and with these chunks;
// weights are those that Open takes. It refuses, with an *Error, a give that asks for more than its pot holds, a fault,
// and a contract that is larger than lim. A vault signs only what Admit has passed.
//
// The machine itself plays. Values of words and oracles, and the moment where a formula asks for it, are split into
// intervals until the machine does the same for every value of one, so no value is left out. Otherwise times are not
// played: a word counts as possible in a phase even if the phase is over as soon as it begins, each moment and each
// oracle's value as independent of the ones before. A sealed value counts as chosen when it is opened. So the payouts
// are bounds that hold for every play; in a contract where such a thing matters, it may be that no play reaches them.
func (d *Deal) Admit(weights [][]int64, lim Limits) (Report, error) {
	x, err := d.explore(weights, lim)
	if err != nil {
		return Report{}, err
	}
	return x.report(), nil
}

func (d *Deal) explore(weights [][]int64, lim Limits) (*explorer, error) {
	c, err := d.newChunks(weights)
	if err != nil {
		return nil, fmt.Errorf("admit contract %s: %w", d.p.name, err)
	}
	x := &explorer{d: d, lim: Limits{cmp.Or(lim.States, 50_000), cmp.Or(lim.Moves, 200_000)}, index: map[string]int32{}, base: d.env(), ends: d.env()}
	x.states = []place{{s: d.start(c, 0)}, {}}
	for i := 0; i < len(x.states) && x.errors == 0; i++ {
		if i != closed {
			x.base.load(d, x.states[i].s)
			x.expand(i)
		}
	}
	if x.errors > 0 {
		return x, &Error{x.list}
	}
	return x, nil
}

// The first two places: before `at open`, and when all is over.
const (
	unopened = 0
	closed   = 1
)

// place is a state with what can happen there. Its times are zero.
type place struct {
	s      State
	parent int // the place from which, and the event by which, it was first reached
	via    Event
	moves  []move
}

// move leads from one place to another.
type move struct {
	to    int32
	ev    Event
	gains []gain
}

// gain is what a move brings a party from a pot.
type gain struct {
	pot, party int
	units      int64
}

// explorer plays breadth first.
type explorer struct {
	findings
	d      *Deal
	lim    Limits
	index  map[string]int32
	states []place
	count  int
	base   *env // of the place that is being played
	ends   *env // of any place
	trace  trace
	over   []Rounding // the gives that ask for more than is there, which is their Given
	key    []byte
	gives  []Give // a buffer
}

// trace follows a run over an interval of input: whether the machine does the same for every value, and what the gives
// ask for.
type trace struct {
	env      env
	split    uint8 // what has to be split: byInput, byNow
	notes    []note
	rounding []Rounding // the worst of each give so far
}

const (
	byInput = 1 << iota
	byNow
)

// note is what one give gets on an interval of values, and the most that it asks for there: with value v at moment now.
type note struct {
	s                  *stmt
	asked, given, left int64
	v, now             int64
}

// same notes whether the machine does the same on the whole interval, which depends on an expression.
func (t *trace) same(ok bool, expr int32) {
	if ok {
		return
	}
	reads := func(o op) bool { return t.env.find(expr, func(n *node) bool { return n.op == o }) != nil }
	if reads(opInput) {
		t.split |= byInput
	}
	if reads(opNow) {
		t.split |= byNow
	}
}

// decided follows a condition, set a counter that gets value v, within the range of a word's value, deposited and sealed
// what has become of a pot and of a sealed value.
func (t *trace) decided(cond int32) {
	if t != nil && cond != none {
		t.same(t.env.eval(cond).isPoint(), cond)
	}
}

func (t *trace) set(s *stmt, v int64) {
	if t.decided(s.expr); t != nil {
		*t.env.at(opCounter, s.index) = point(v)
	}
}

func (t *trace) within(c *clause) {
	if t != nil {
		if v := t.env.at(opInput, 0); v.hi >= c.lo && v.lo <= c.hi && (v.lo < c.lo || v.hi > c.hi) {
			t.split |= byInput
		}
	}
}

func (t *trace) deposited(r run, pot int) {
	if t != nil {
		*t.env.at(opLeft, pot), *t.env.at(opFilled, pot) = point(r.s.left(pot)), point(r.s.filled(r.d.p, pot))
	}
}

func (t *trace) sealed(i int, h [32]byte) {
	if t != nil {
		*t.env.at(opSealed, i) = point(truthOf(h != [32]byte{}))
	}
}

// give follows a give that r, a copy, is about to run. Between two amounts for which the rule picks the same chunks it
// picks them for every amount. What is reported must be asked for by some value: where the bound of the interval is not
// reached at one of its ends and would be the worst rounding so far, the interval is split.
func (t *trace) give(r run, s *stmt) {
	if t == nil {
		return
	}
	left := t.env.at(opLeft, s.index)
	had, asked := left.lo, t.env.eval(s.expr)
	n := note{s: s, left: had, asked: math.MinInt64}
	for i := range 4 {
		r.input, r.s.now = t.env.at(opInput, 0).end(i), t.env.at(opNow, 0).end(i>>1)
		if v := r.eval(s.expr); v > n.asked {
			n.asked, n.v, n.now = v, r.input, r.s.now
		}
	}
	other := r
	r.own, other.own = false, false
	r.give(s.index, s.to, asked.lo)
	other.give(s.index, s.to, asked.hi)
	t.same(slices.Equal(r.s.words(), other.s.words()) && (asked.lo > had || asked.hi <= had), s.expr)
	*left = point(r.s.left(s.index))
	n.given = had - left.lo
	t.same(asked.hi == n.asked || asked.lo > had || asked.hi-n.given <= t.worst(s), s.expr)
	t.notes = append(t.notes, n)
}

// worst returns how much rounding has cost at most so far in the line of a give.
func (t *trace) worst(s *stmt) int64 {
	for _, r := range t.rounding {
		if r.Line == int(s.pos.line) {
			return r.Asked - r.Given
		}
	}
	return 0
}

// expand plays every event that a place may meet, over all values that a clause takes.
func (x *explorer) expand(i int) {
	if i == unopened {
		x.play(i, Event{}, span{}, x.moments(span{1, farAway}))
		return
	}
	var events []Event
	var values []span
	meet := func(c *clause, ev Event) {
		j := slices.Index(events, ev)
		if v := (span{c.lo, c.hi}); j < 0 {
			events, values = append(events, ev), append(values, v)
		} else {
			values[j] = values[j].hull(v)
		}
	}
	s := &x.states[i].s
	ph, r := &x.d.p.phases[s.phase], run{d: x.d, s: *s}
	until := x.ends.eval(ph.until) // as the counters were when the phase began
	before := span{1, min(until.hi-1, farAway)}
	x.play(i, Event{Kind: Deadline}, span{}, x.moments(span{max(until.lo, 1), farAway}))
	for j := range ph.clauses {
		// A value for a time comes too late for `each`, and a fresh one at a time that no clause waits for.
		switch c := &ph.clauses[j]; c.kind {
		case onEach:
			meet(c, Event{Kind: Oracle, Oracle: c.oracle, At: farAway, Observed: farAway})
		case onFor:
			meet(c, Event{Kind: Oracle, Oracle: c.oracle, At: farAway, Observed: r.eval(c.time)})
		case onWord:
			for party := range x.d.p.parties {
				if c.hears(party, c.word) {
					ev := Event{Kind: Word, Party: party, Word: c.word, HasValue: c.carries == aValue || c.carries == aKey}
					if c.seal != none {
						ev.Hash = [32]byte{31: 1} // every commitment is alike
					}
					meet(c, ev)
				}
			}
		case onDeposit:
			for n := range s.missing(x.d.p, c.oracle) {
				meet(&clause{lo: n + 1, hi: n + 1}, Event{Kind: Deposit, Pot: c.oracle, Value: n + 1})
			}
		}
	}
	for j, ev := range events {
		now := before
		if ev.Kind == Oracle && ev.Observed != farAway {
			now.lo = max(now.lo, ev.Observed)
		}
		if now = x.moments(now); now.lo <= now.hi {
			x.play(i, ev, values[j], now)
		}
	}
}

// moments is when an event may happen: at any time of s, or where nothing depends on it at no time in particular.
func (x *explorer) moments(s span) span {
	if !x.d.p.timed {
		return span{}
	}
	return s
}

// play plays an event with every value of v at every moment of now.
func (x *explorer) play(i int, ev Event, v, now span) {
	if x.errors > 0 {
		return
	}
	size := x.d.p.opening.size
	if i != unopened {
		size = x.d.p.phases[x.states[i].s.phase].size
	}
	if x.count += (1 + x.states[0].s.c.count()/64) * (1 + size/1024); x.count > x.lim.Moves || len(x.states) > x.lim.States {
		x.add(pos{}, SeverityError, fmt.Sprintf("this contract has more than %d states or %d moves to explore", x.lim.States, x.lim.Moves), "narrow its ranges, or raise the bound if all parties agree")
		return
	}
	t := &x.trace
	t.env.p, t.env.work, t.env.first, t.env.vars = x.d.p, x.base.work, x.base.first, append(t.env.vars[:0], x.base.vars...)
	*t.env.at(opInput, 0), *t.env.at(opNow, 0), t.split, t.notes = v, now, 0, t.notes[:0]
	all := ev
	if ev.Value = v.lo; x.d.p.timed && ev.Kind != Oracle {
		ev.At = now.lo
	}
	r := run{d: x.d, s: x.states[i].s, exploring: t, gives: x.gives[:0]}
	r.s.now = now.lo
	var err error
	if i == unopened {
		r.open()
	} else {
		err = r.apply(&ev)
	}
	switch {
	case t.split&byInput != 0 && v.lo < v.hi && (t.split&byNow == 0 || uint64(v.hi-v.lo) >= uint64(now.hi-now.lo)):
		mid := v.lo + int64(uint64(v.hi-v.lo)/2)
		x.play(i, all, span{v.lo, mid}, now)
		x.play(i, all, span{mid + 1, v.hi}, now)
	case t.split&byNow != 0 && now.lo < now.hi:
		mid := now.lo + (now.hi-now.lo)/2
		x.play(i, all, v, span{now.lo, mid})
		x.play(i, all, v, span{mid + 1, now.hi})
	case r.fault != nil:
		x.add(pos{}, SeverityError, r.fault.Error()+", after: "+x.path(i, x.with(ev, v.lo, now.lo)), "narrow the ranges")
	case err == nil:
		one := x.with(ev, v.lo, now.lo)
		x.states[i].moves = append(x.states[i].moves, move{x.place(&r, i, one), one, r.gains()})
		x.judge(i, ev)
	}
	x.gives = r.gives
}

// with returns the event with one value and, where something depends on it, one moment.
func (x *explorer) with(ev Event, v, now int64) Event {
	if ev.Value = v; x.d.p.timed {
		if ev.At = now; ev.Observed == farAway {
			ev.Observed = now
		}
	}
	return ev
}

func (r *run) gains() (list []gain) {
	for _, g := range r.gives {
		i := slices.IndexFunc(list, func(n gain) bool { return n.pot == g.Pot && n.party == g.To })
		if i < 0 {
			i, list = len(list), append(list, gain{g.Pot, g.To, 0})
		}
		list[i].units += r.s.c.weight(r.s.c.start(g.Pot) + int32(g.Chunk))
	}
	return list
}

// place returns the place where a run has led.
func (x *explorer) place(r *run, from int, ev Event) int32 {
	if r.s.closed {
		return closed
	}
	r.s.now, r.s.until = 0, 0
	for j := x.d.p.varNewest(); j < x.d.p.varLater(); j++ {
		if r.s.words()[j] != 0 {
			r.words()[j] = 0
		}
	}
	x.key = r.s.appendRest(append(x.key[:0], byte(r.s.phase), byte(r.s.phase>>8)))
	to, ok := x.index[string(x.key)]
	if !ok {
		to = int32(len(x.states))
		x.index[string(x.key)] = to
		x.states = append(x.states, place{s: r.s, parent: from, via: ev})
	}
	return to
}

// judge turns what the gives of a move asked for into findings.
func (x *explorer) judge(i int, ev Event) {
	for _, n := range x.trace.notes {
		line, last := int(n.s.pos.line), x.with(ev, n.v, n.now)
		if n.asked > n.left {
			x.over = append(x.over, x.finding(n, n.left, i, last))
			x.add(n.s.pos, SeverityError, fmt.Sprintf("this give asks for %d units where the pot `%s` holds %d, after: %s", n.asked, x.d.p.pots[n.s.index].Name, n.left, x.path(i, last)),
				"write `give all of …`, or min(amount, left(pot))")
		}
		if n.asked-n.given > x.trace.worst(n.s) {
			x.trace.rounding = slices.DeleteFunc(x.trace.rounding, func(r Rounding) bool { return r.Line == line })
			x.trace.rounding = append(x.trace.rounding, x.finding(n, n.given, i, last))
		}
	}
}

// finding states what a give asks for, and got, at the end of a way.
func (x *explorer) finding(n note, got int64, i int, last Event) Rounding {
	opens, way := x.way(i, last)
	return Rounding{int(n.s.pos.line), n.s.index, n.asked, got, opens, way}
}

// way returns a shortest way to a place, and the event that follows there; and when it begins.
func (x *explorer) way(i int, last Event) (opens int64, way []Event) {
	for i != unopened {
		way = append(way, last)
		i, last = x.states[i].parent, x.states[i].via
	}
	slices.Reverse(way)
	return last.At, way
}

func (x *explorer) path(i int, last Event) string {
	opens, way := x.way(i, last)
	words := []string{"the contract opens"}
	if opens > 1 {
		words[0] += fmt.Sprintf(" at %d", opens)
	}
	for _, ev := range way {
		if words = append(words, x.d.p.Describe(ev)); x.d.p.timed && ev.Kind != Deadline {
			words[len(words)-1] += fmt.Sprintf(" at %d", ev.At)
		}
	}
	return strings.Join(words, ", ")
}

// report works backwards from the end: what a party can get from a place is what a move gives, and what it can get
// after it.
func (x *explorer) report() Report {
	slices.SortFunc(x.trace.rounding, func(a, b Rounding) int { return a.Line - b.Line })
	rep := Report{States: len(x.states) - 1, Moves: x.count, Rounding: x.trace.rounding}
	// Cycles apart, each place comes after those that it leads to.
	order, seen := make([]int32, 0, len(x.states)), make([]bool, len(x.states))
	var visit func(i int32)
	visit = func(i int32) {
		seen[i] = true
		for _, m := range x.states[i].moves {
			if !seen[m.to] {
				visit(m.to)
			}
		}
		order = append(order, i)
	}
	visit(unopened)
	for i, pot := range x.d.p.pots {
		for party := range x.d.p.parties {
			if pot.From == party || pot.cands>>party&1 == 1 {
				pay := Payout{Party: party, Pot: i}
				pay.Least, pay.LeastPath = x.best(order, i, party, -1)
				pay.Most, pay.MostPath = x.best(order, i, party, 1)
				rep.Payouts = append(rep.Payouts, pay)
			}
		}
	}
	return rep
}

// best returns the most (sign 1) or the least (sign -1) that a party can get of a pot, and a shortest way there.
func (x *explorer) best(order []int32, pot, party int, sign int64) (int64, []Event) {
	type value struct {
		units int64 // from this place on
		moves int32 // to the end; 0: not known yet
	}
	vals := make([]value, len(x.states))
	after := func(m *move) value {
		v := vals[m.to]
		for _, g := range m.gains {
			if g.pot == pot && g.party == party {
				v.units += g.units
			}
		}
		return value{v.units, v.moves + 1}
	}
	for changed := true; changed; {
		changed = false
		for _, i := range order {
			for j := range x.states[i].moves {
				m, old := &x.states[i].moves[j], vals[i]
				if v := after(m); (m.to == closed || v.moves > 1) && (old.moves == 0 || sign*v.units > sign*old.units || v.units == old.units && v.moves < old.moves) {
					vals[i], changed = v, true
				}
			}
		}
	}
	var way []Event
	for i := int32(unopened); i != closed; {
		j := slices.IndexFunc(x.states[i].moves, func(m move) bool { return after(&m) == vals[i] })
		if i != unopened {
			way = append(way, x.states[i].moves[j].ev)
		}
		i = x.states[i].moves[j].to
	}
	return vals[unopened].units, way
}
