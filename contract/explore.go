package contract

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Limits bound an exploration. A zero field means the default. A contract that needs more is refused, unless whoever
// signs it raises the bound.
type Limits struct {
	States int // default 50,000; what is stored weighs at most 1,024 bytes for each, see spec/contract.md
	Moves  int // default 200,000: plays of one event over one interval of values, each counted again for every 64 chunks, and all that again for every 1,024 tokens of its phase; the payouts to tell count besides
}

// What an exploration stores weighs so many bytes, on every platform: about what it takes in memory on one of 64 bits.
const (
	stateBytes = 320
	wordBytes  = 24 // of a state
	moveBytes  = 160
	gainBytes  = 32
	eventBytes = 128  // of a way that is told
	bytesEach  = 1024 // of a state of the bound
	maxTold    = 16   // events of a way in words, at its beginning and at its end
	movesEach  = 32   // moves that are looked at for a payout count as one play
)

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
	Party, Pot            int
	Least, Most           int64
	LeastOpens, MostOpens int64 // when it was opened, where something depends on that; else 0
	LeastPath, MostPath   []Event
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
	rep := x.report()
	if x.errors > 0 {
		return Report{}, &Error{x.list}
	}
	return rep, nil
}

func (d *Deal) explore(weights [][]int64, lim Limits) (*explorer, error) {
	c, err := d.newChunks(weights)
	if err != nil {
		return nil, fmt.Errorf("admit contract %s: %w", d.p.name, err)
	}
	x := &explorer{d: d, lim: Limits{cmp.Or(lim.States, 50_000), cmp.Or(lim.Moves, 200_000)}, index: map[string]int32{}, trace: trace{losses: map[int32]loss{}}, base: d.env(), ends: d.env()}
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
	s           State
	parent, via int32 // the place from which, and the move of it by which, it was first reached
	moves       []move
}

// move leads from one place to another.
type move struct {
	to    int32
	ev    Event
	gains []gain
}

// gain is what a move brings a party from a pot.
type gain struct {
	pot, party int32
	units      int64
}

// explorer plays breadth first.
type explorer struct {
	findings
	d      *Deal
	lim    Limits
	index  map[string]int32
	states []place
	moves  int  // of all places
	count  int  // of plays
	bytes  int  // what is stored weighs
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
	env    env
	split  uint8 // what has to be split: byInput, byNow
	notes  []note
	losses map[int32]loss // by line, the worst of its gives so far
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

// loss is a note of the event that follows a place.
type loss struct {
	note
	from int
	last Event
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

func (t *trace) deposited(r *run, pot int) {
	if t != nil {
		*t.env.at(opLeft, pot), *t.env.at(opFilled, pot) = point(r.s.left(pot)), point(r.d.filled(&r.s, pot))
	}
}

func (t *trace) sealed(i int, h [32]byte) {
	if t != nil {
		*t.env.at(opSealed, i) = point(truthOf(h != [32]byte{}))
	}
}

// give follows a give that a run is about to make, on copies of it. Between two amounts for which the rule picks the
// same chunks it picks them for every amount. What is reported must be asked for by some value: where the bound of the
// interval is not reached at one of its ends and would be the worst rounding so far, the interval is split.
func (t *trace) give(live *run, s *stmt) {
	if t == nil {
		return
	}
	r := *live
	left := t.env.at(opLeft, s.index)
	had, asked := left.lo, t.env.eval(s.expr)
	n := note{s, asked.lo, 0, had, t.env.at(opInput, 0).lo, t.env.at(opNow, 0).lo}
	for i := 0; i < 4 && !asked.isPoint(); i++ {
		r.input, r.s.now = t.env.at(opInput, 0).end(i), t.env.at(opNow, 0).end(i>>1)
		if v := r.eval(s.expr); v > n.asked {
			n.asked, n.v, n.now = v, r.input, r.s.now
		}
	}
	r.own = false
	other := r
	r.give(s.index, s.to, asked.lo)
	if !asked.isPoint() {
		other.give(s.index, s.to, asked.hi)
		t.same(slices.Equal(r.s.words(), other.s.words()) && (asked.lo > had || asked.hi <= had), s.expr)
	}
	*left = point(r.s.left(s.index))
	n.given = had - left.lo
	t.same(asked.hi == n.asked || asked.lo > had || asked.hi-n.given <= t.worst(s.pos.line), s.expr)
	t.notes = append(t.notes, n)
}

// worst returns how much rounding has cost at most so far in a line.
func (t *trace) worst(line int32) int64 {
	l := t.losses[line]
	return l.asked - l.given
}

// expand plays every event that a place may meet, over all values that a clause takes.
func (x *explorer) expand(i int) {
	if i == unopened {
		x.play(i, Event{}, span{}, x.moments(span{0, farAway}))
		return
	}
	var events []Event
	var values []span
	met := map[Event]int{}
	meet := func(c *clause, ev Event) {
		j, again := met[ev]
		if v := (span{c.lo, c.hi}); !again {
			met[ev], events, values = len(events), append(events, ev), append(values, v)
		} else {
			values[j] = values[j].hull(v)
		}
	}
	s := &x.states[i].s
	ph, r := &x.d.p.phases[s.phase], run{d: x.d, s: *s}
	until := x.ends.eval(ph.until) // as the counters were when the phase began
	before := span{0, min(until.hi-1, farAway)}
	x.play(i, Event{Kind: Deadline}, span{}, x.moments(span{max(until.lo, 0), farAway}))
	var ages [MaxClauses]int64 // that a clause takes, and those of an oracle's clauses at most: each computed once
	var oldest [MaxOracles]int64
	for j := range ph.clauses {
		if c := &ph.clauses[j]; c.kind == onEach {
			ages[j] = max(r.eval(c.time), -1)
			oldest[c.oracle] = max(oldest[c.oracle], ages[j])
		}
	}
	for j := range ph.clauses {
		// A value for a time comes too late for `each`, and any other at a time that no clause waits for. One that is too
		// old for a clause may fit another, and is played where it just does not fit.
		switch c := &ph.clauses[j]; c.kind {
		case onEach:
			meet(c, Event{Kind: Oracle, Oracle: c.oracle, At: farAway, Observed: farAway})
			if ages[j] < oldest[c.oracle] {
				meet(c, Event{Kind: Oracle, Oracle: c.oracle, At: farAway, Observed: farAway - ages[j] - 1})
			}
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
		if ev.Kind == Oracle {
			now.lo = max(now.lo, min(ev.Observed, farAway-ev.Observed+1)) // a time, or an age and the first time that is newer than none
		}
		if now = x.moments(now); now.lo <= now.hi {
			x.play(i, ev, values[j], now)
		}
	}
	x.states[i].moves = slices.Clone(x.states[i].moves) // without room for more
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
	if x.count += (1 + x.states[0].s.c.count()/64) * (1 + size/1024); !x.bounded(x.count) {
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
		m := move{x.place(&r, i), one, r.gains()}
		x.states[i].moves = append(x.states[i].moves, m)
		x.moves, x.bytes = x.moves+1, x.bytes+moveBytes+gainBytes*len(m.gains)
		x.judge(i, ev)
	}
	x.gives = r.gives
}

// bounded refuses the contract where it has more states or plays than the bounds allow, or what is stored weighs more.
func (x *explorer) bounded(plays int) bool {
	switch {
	case x.errors > 0:
	case plays > x.lim.Moves || len(x.states) > x.lim.States:
		x.add(pos{}, SeverityError, fmt.Sprintf("this contract has more than %d states or %d moves to explore", x.lim.States, x.lim.Moves), "narrow its ranges, or raise the bound if all parties agree")
	case x.bytes > 0 && (x.bytes-1)/bytesEach >= x.lim.States:
		x.add(pos{}, SeverityError, fmt.Sprintf("what there is to explore of this contract weighs more than %d bytes, %d for each of %d states: a bound of states bounds bytes, too, and %d states with their moves and ways take them all", bytesEach*x.lim.States, bytesEach, x.lim.States, len(x.states)-1), "let it have fewer counters, chunks or payouts, or raise the bound of states if all parties agree")
	}
	return x.errors == 0
}

// with returns the event with one value and, where something depends on it, one moment.
func (x *explorer) with(ev Event, v, now int64) Event {
	if ev.Value = v; x.d.p.timed {
		if ev.At = now; ev.Observed > farAway/2 { // so old, not at a time
			ev.Observed -= farAway - now
		}
	}
	return ev
}

func (r *run) gains() (list []gain) {
	for _, g := range r.gives {
		i := slices.IndexFunc(list, func(n gain) bool { return int(n.pot) == g.Pot && int(n.party) == g.To })
		if i < 0 {
			i, list = len(list), append(list, gain{int32(g.Pot), int32(g.To), 0})
		}
		list[i].units += r.s.c.weight(r.s.c.start(g.Pot) + int32(g.Chunk))
	}
	return list
}

// place returns the place where a run has led, by the next move of the one from which it came.
func (x *explorer) place(r *run, from int) int32 {
	if r.s.phase == none {
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
		x.states = append(x.states, place{s: r.s, parent: int32(from), via: int32(len(x.states[from].moves))})
		x.bytes += stateBytes + wordBytes*(int(r.s.c.vars)+(r.s.c.count()+63)/64)
	}
	return to
}

// judge turns what the gives of a move asked for into findings.
func (x *explorer) judge(i int, ev Event) {
	for _, n := range x.trace.notes {
		last := x.with(ev, n.v, n.now)
		if n.asked > n.left {
			x.over = append(x.over, x.finding(loss{n, i, last}, n.left))
			x.add(n.s.pos, SeverityError, fmt.Sprintf("this give asks for %d units where the pot `%s` holds %d, after: %s", n.asked, x.d.p.pots[n.s.index].Name, n.left, x.path(i, last)),
				"write `give all of …`, or min(amount, left(pot))")
		}
		if n.asked-n.given > x.trace.worst(n.s.pos.line) {
			x.trace.losses[n.s.pos.line] = loss{n, i, last}
		}
	}
}

// finding states what a give asks for, and got, at the end of a way.
func (x *explorer) finding(l loss, got int64) Rounding {
	opens, way := x.way(l.from, l.last)
	return Rounding{int(l.s.pos.line), l.s.index, l.asked, got, opens, way}
}

// way returns a shortest way to a place, and the event that follows there; and when it begins.
func (x *explorer) way(i int, last Event) (opens int64, way []Event) {
	for i != unopened {
		way = append(way, last)
		from := &x.states[x.states[i].parent]
		i, last = int(x.states[i].parent), from.moves[x.states[i].via].ev
	}
	slices.Reverse(way)
	return last.At, way
}

func (x *explorer) path(i int, last Event) string {
	opens, way := x.way(i, last)
	words := []string{"the contract opens"}
	if opens > 0 {
		words[0] += fmt.Sprintf(" at %d", opens)
	}
	for j, ev := range way {
		if more := len(way) - 2*maxTold; more > 0 && j >= maxTold && j < maxTold+more {
			if j == maxTold {
				words = append(words, fmt.Sprintf("%d events more", more))
			}
			continue
		}
		if words = append(words, x.d.p.Describe(ev)); x.d.p.timed && ev.Kind != Deadline {
			words[len(words)-1] += fmt.Sprintf(" at %d", ev.At)
		}
	}
	return strings.Join(words, ", ")
}

// report tells the payouts and the rounding, as far as the bounds allow.
func (x *explorer) report() Report {
	rep := Report{States: len(x.states) - 1, Moves: x.count}
	for _, line := range slices.Sorted(maps.Keys(x.trace.losses)) {
		l := x.trace.losses[line]
		r := x.finding(l, l.given)
		if x.bytes += eventBytes * len(r.Path); !x.bounded(x.count) {
			return rep
		}
		rep.Rounding = append(rep.Rounding, r)
	}
	for i, pot := range x.d.p.pots {
		for party := range x.d.p.parties {
			if pot.From == party || pot.cands>>party&1 == 1 {
				rep.Payouts = append(rep.Payouts, Payout{Party: party, Pot: i})
			}
		}
	}
	if !x.bounded(x.count + len(rep.Payouts)*(x.moves/movesEach)) {
		return rep
	}
	w := x.ways()
	for i := range rep.Payouts {
		pay := &rep.Payouts[i]
		pay.Least, pay.LeastOpens, pay.LeastPath = w.best(pay.Pot, pay.Party, -1)
		pay.Most, pay.MostOpens, pay.MostPath = w.best(pay.Pot, pay.Party, 1)
		if x.bytes += eventBytes * (len(pay.LeastPath) + len(pay.MostPath)); !x.bounded(x.count) {
			return rep
		}
	}
	return rep
}

// ways finds the best ways to the end from all places.
type ways struct {
	*explorer
	into []int32 // of each place, the last of the arrivals there, counted from 1
	all  []arrival
	pot  int     // the one that free is about
	free []int64 // of each place, the units of a pot that nobody has got
	vals []value
	next []value // a heap: what costs least, and then is shortest, first
}

// arrival is a move of a place, and the arrival at the same place before.
type arrival struct{ from, move, before int32 }

// value is the best that is known of a place: what it costs to the end, and in how many moves, the end's own one.
type value struct {
	cost         int64
	moves, place int32
}

func (x *explorer) ways() *ways {
	n := len(x.states)
	w := &ways{x, make([]int32, n), make([]arrival, 0, x.moves), none, make([]int64, n), make([]value, n), nil}
	for i := range x.states {
		for j, m := range x.states[i].moves {
			w.all = append(w.all, arrival{int32(i), int32(j), w.into[m.to]})
			w.into[m.to] = int32(len(w.all))
		}
	}
	return w
}

// cost returns what a move costs whoever wants the most (sign 1) or the least (sign -1) for a party: what it takes away
// from what the party might get, or what the party gets. It is never less than nothing.
func (w *ways) cost(from int32, m *move, party int, sign int64) (c int64) {
	for _, g := range m.gains {
		if int(g.pot) == w.pot && int(g.party) == party {
			c += g.units
		}
	}
	if sign > 0 {
		c = w.free[from] - w.free[m.to] - c
	}
	return c
}

// best returns the most or the least that a party can get of a pot, and a shortest way there. It works backwards from
// the end, the cheapest first (Dijkstra, A note on two problems in connexion with graphs, Numerische Mathematik 1, 1959):
// in time that no contract can make worse than the number of its moves.
func (w *ways) best(pot, party int, sign int64) (units, opens int64, way []Event) {
	if w.pot != pot {
		w.pot = pot
		for i := range w.states {
			if s := &w.states[i].s; i != closed {
				w.free[i] = s.left(pot) + w.d.units()[pot] - w.d.filled(s, pot)
			}
		}
	}
	clear(w.vals)
	w.next = append(w.next[:0], value{0, 1, closed})
	for len(w.next) > 0 {
		v := w.pop()
		if w.vals[v.place].moves > 0 {
			continue
		}
		w.vals[v.place] = v
		for k := w.into[v.place]; k > 0; k = w.all[k-1].before {
			from := w.all[k-1].from
			if w.vals[from].moves == 0 {
				m := &w.states[from].moves[w.all[k-1].move]
				w.push(value{v.cost + w.cost(from, m, party, sign), v.moves + 1, from})
			}
		}
	}
	for i := int32(unopened); i != closed; {
		moves := w.states[i].moves
		j := slices.IndexFunc(moves, func(m move) bool {
			v := w.vals[m.to]
			return v.cost+w.cost(i, &m, party, sign) == w.vals[i].cost && v.moves+1 == w.vals[i].moves
		})
		if ev := moves[j].ev; i != unopened {
			way = append(way, ev)
		} else {
			opens = ev.At
		}
		i = moves[j].to
	}
	if units = w.vals[unopened].cost; sign > 0 {
		units = w.free[unopened] - units
	}
	return units, opens, way
}

func (w *ways) before(i, j int) bool {
	a, b := &w.next[i], &w.next[j]
	return a.cost < b.cost || a.cost == b.cost && a.moves < b.moves
}

func (w *ways) push(v value) {
	w.next = append(w.next, v)
	for i := len(w.next) - 1; i > 0 && w.before(i, (i-1)/2); i = (i - 1) / 2 {
		w.next[i], w.next[(i-1)/2] = w.next[(i-1)/2], w.next[i]
	}
}

func (w *ways) pop() value {
	top, n := w.next[0], len(w.next)-1
	w.next[0], w.next = w.next[n], w.next[:n]
	for i, j := 0, 1; j < n; i, j = j, 2*j+1 {
		if j+1 < n && w.before(j+1, j) {
			j++
		}
		if !w.before(j, i) {
			break
		}
		w.next[i], w.next[j] = w.next[j], w.next[i]
	}
	return top
}
