package contract

import (
	"errors"
	"fmt"
	"math"
)

// What a caller of Step may have to tell apart. Each refusal wraps one of them and leaves the state as it was.
var (
	ErrClosed  = errors.New("the contract is closed")
	ErrOverdue = errors.New("the deadline is due first")
	ErrNotDue  = errors.New("the deadline is not due")
	ErrEvent   = errors.New("event refused") // nobody waits for it, or it is malformed
	ErrFault   = errors.New("fault")         // arithmetic left its range: a bug in the checks, not a way to stop a contract
)

// EventKind says what happened.
type EventKind uint8

// The kinds. The zero value is none of them.
const (
	Word     EventKind = 1 + iota // a party said a word
	Deadline                      // the present phase's deadline passed
	Oracle                        // an oracle's value was observed
)

// Event is one thing that happened, as the log tells it. The caller has checked who is behind it: the signature of the
// party, the keys of the oracle.
type Event struct {
	Kind     EventKind
	At       int64  // log time, Unix seconds; never before the last step's
	Party    int    // of a Word
	Word     string // of a Word
	Value    int64  // of a Word with a payload, of an Oracle
	HasValue bool   // of a Word: a payload came with it
	Oracle   int    // of an Oracle
	Observed int64  // of an Oracle: when the value was observed, Unix seconds; never after At
}

// Outcome is what a step did.
type Outcome struct {
	Gives  []Give // in the order in which the rule picks them
	Closed bool   // the contract is over; what was left is among Gives
	Phase  int    // the phase after the step, -1 when closed
	Line   int    // line of the clause that fired; 0: a word of several was counted, or a value noted, no more
}

// Give hands one chunk to a party.
type Give struct {
	Pot, Chunk int  // the chunk's index in the pot's agreed order
	To         int  // party
	Return     bool // To is the depositor
}

// run is one step in progress. It works on a copy of the state and never writes into what the state points to.
type run struct {
	d     *Deal
	s     State
	input int64
	gives []Give
	fault error
	vars  bool // s.vars is the run's own
	gone  bool // s.gone is the run's own
}

// Open begins an instance at log time now: it runs `at open` and enters the first phase. weights[pot] are the weights
// of the pot's chunks in units, in the agreed order; together they weigh PotUnits, and pots of 0 units have none.
func (d *Deal) Open(weights [][]int64, now int64) (State, Outcome, error) {
	c, err := d.newChunks(weights)
	if err != nil {
		return State{}, Outcome{}, fmt.Errorf("open contract %s: %w", d.p.name, err)
	}
	if now < 0 || now > farAway {
		return State{}, Outcome{}, fmt.Errorf("open contract %s: %w: time %d", d.p.name, ErrEvent, now)
	}
	r := run{d: d, s: State{c: c, now: now, gone: make([]uint64, (len(c.weight)+63)/64)}}
	if n := d.p.vars(); n > 0 {
		r.s.vars = make([]int64, n)
		for i, k := range d.p.counters {
			r.s.vars[i] = k.start
		}
	}
	if !r.do(d.p.opening.body) {
		r.enter(0)
	}
	if r.fault != nil {
		return State{}, Outcome{}, fmt.Errorf("open contract %s: %w", d.p.name, r.fault)
	}
	return r.s, r.outcome(&d.p.opening), nil
}

// Step applies one event. It is pure: equal arguments give equal results, and s stays valid. On error the returned
// state is s and nothing happened. A deadline that is due comes before anything else: until it has fired, every other
// event is refused with ErrOverdue. It fires as a step of its own whose time is the deadline, however late the event.
func (d *Deal) Step(s State, ev Event) (State, Outcome, error) {
	if s.Closed() {
		return s, Outcome{}, ErrClosed
	}
	if ev.At < s.now || ev.At > farAway {
		return s, Outcome{}, fmt.Errorf("%w: time %d, the contract stands at %d", ErrEvent, ev.At, s.now)
	}
	r := run{d: d, s: s}
	if ev.Kind == Deadline {
		if ev.At < s.until {
			return s, Outcome{}, fmt.Errorf("%w: it is %d, now is %d", ErrNotDue, s.until, ev.At)
		}
		r.s.now = s.until
	} else {
		if ev.At >= s.until {
			return s, Outcome{}, fmt.Errorf("%w: it was %d, now is %d", ErrOverdue, s.until, ev.At)
		}
		r.s.now = ev.At
	}
	c, err := r.apply(&ev)
	if err == nil {
		err = r.fault
	}
	if err != nil {
		return s, Outcome{}, err
	}
	return r.s, r.outcome(c), nil
}

// Deadline returns when the present phase's deadline is due, in Unix seconds; ok is false when s is closed.
func (d *Deal) Deadline(s State) (at int64, ok bool) {
	if s.Closed() {
		return 0, false
	}
	return s.until, true
}

func (r *run) outcome(c *clause) Outcome {
	o := Outcome{Gives: r.gives, Closed: r.s.closed, Phase: r.s.Phase()}
	if c != nil {
		o.Line = int(c.pos.line)
	}
	return o
}

// apply finds the clause that an event fires and runs it. No clause and no error: the event was taken down, and that
// is all. It looks at no deadline.
func (r *run) apply(ev *Event) (*clause, error) {
	ph := &r.d.p.phases[r.s.phase]
	switch ev.Kind {
	case Word:
		return r.word(ph, ev)
	case Oracle:
		return r.observe(ph, ev)
	case Deadline:
		for i := range ph.clauses {
			if c := &ph.clauses[i]; c.kind == onDeadline && r.holds(c) {
				r.fire(c)
				return c, nil
			}
		}
		return nil, fmt.Errorf("%w: no clause takes the deadline of phase %s", ErrFault, ph.name)
	}
	return nil, fmt.Errorf("%w: unknown kind %d", ErrEvent, ev.Kind)
}

// word counts a word towards the first clause that waits for it and whose condition holds.
func (r *run) word(ph *phase, ev *Event) (*clause, error) {
	if ev.Party < 0 || ev.Party >= len(r.d.p.parties) {
		return nil, fmt.Errorf("%w: no party %d", ErrEvent, ev.Party)
	}
	r.input = ev.Value
	why := "this party has no such word in this phase"
	for i := range ph.clauses {
		c := &ph.clauses[i]
		if c.kind != onWord || c.members>>ev.Party&1 == 0 || c.word != ev.Word {
			continue
		}
		switch {
		case c.hasValue != ev.HasValue:
			why = "a value is missing, or one too many"
		case c.hasValue && (ev.Value < c.lo || ev.Value > c.hi):
			why = "the value is outside its range"
		case !r.holds(c):
			why = "its condition does not hold"
		case c.need == 1:
			r.fire(c)
			return c, nil
		case r.s.said&c.seat(ev.Party) != 0:
			return nil, fmt.Errorf("%w: %s has said %q before", ErrEvent, r.d.p.parties[ev.Party], c.word)
		default:
			r.s.said |= c.seat(ev.Party)
			if popcount(r.s.said&c.mask()) < c.need {
				return nil, nil
			}
			r.s.said &^= c.mask()
			r.fire(c)
			return c, nil
		}
	}
	return nil, fmt.Errorf("%w: %s, by party %d: %s", ErrEvent, shown(ev.Word), ev.Party, why)
}

// shown is a word as far as it is fit to print.
func shown(word string) string {
	if len(word) > MaxName {
		word = word[:MaxName]
	}
	return fmt.Sprintf("word %q", word)
}

// observe takes an oracle's value to the first clause whose time it fits and whose condition holds. A value that fits
// an `each` clause in time but meets no condition is noted, so that no older one can come after it.
func (r *run) observe(ph *phase, ev *Event) (*clause, error) {
	p := r.d.p
	if ev.Oracle < 0 || ev.Oracle >= len(p.oracles) {
		return nil, fmt.Errorf("%w: no oracle %d", ErrEvent, ev.Oracle)
	}
	o := &p.oracles[ev.Oracle]
	if ev.Value < o.Lo || ev.Value > o.Hi {
		return nil, fmt.Errorf("%w: oracle %s: %d is outside %d..%d", ErrEvent, o.Name, ev.Value, o.Lo, o.Hi)
	}
	if ev.Observed < 0 || ev.Observed > ev.At {
		return nil, fmt.Errorf("%w: oracle %s: observed at %d, which is not before %d", ErrEvent, o.Name, ev.Observed, ev.At)
	}
	r.input = ev.Value
	newest := len(p.counters) + ev.Oracle
	fits := false
	for i := range ph.clauses {
		c := &ph.clauses[i]
		if c.oracle != ev.Oracle || c.kind != onEach && c.kind != onFor {
			continue
		}
		t := r.eval(c.time)
		if c.kind == onEach {
			if ev.Observed <= r.s.vars[newest] || ev.At-ev.Observed > t {
				continue
			}
			fits = true
		} else if ev.Observed != t || r.s.said&c.mask() != 0 {
			continue
		}
		if !r.holds(c) {
			continue
		}
		if c.kind == onEach {
			r.set(newest, ev.Observed)
		} else {
			r.taken(ph, c, t)
		}
		r.fire(c)
		return c, nil
	}
	if fits {
		r.set(newest, ev.Observed)
		return nil, nil
	}
	return nil, fmt.Errorf("%w: oracle %s: no clause takes the value %d observed at %d", ErrEvent, o.Name, ev.Value, ev.Observed)
}

// taken marks every clause of the phase that waits for the same value: it is taken once.
func (r *run) taken(ph *phase, c *clause, t int64) {
	for i := range ph.clauses {
		if b := &ph.clauses[i]; b.kind == onFor && b.oracle == c.oracle && r.eval(b.time) == t {
			r.s.said |= b.mask()
		}
	}
}

func (r *run) holds(c *clause) bool { return c.guard == none || r.eval(c.guard) != 0 }

func (r *run) fire(c *clause) { r.do(c.body) }

// do runs statements and reports whether they ended in next or close.
func (r *run) do(body []stmt) bool {
	for i := range body {
		s := &body[i]
		switch s.kind {
		case stGive:
			amount := int64(math.MaxInt64)
			if s.expr != none {
				amount = r.eval(s.expr)
			}
			r.give(s.index, s.to, amount)
		case stSet:
			v := r.eval(s.expr)
			if k := &r.d.p.counters[s.index]; v < k.lo || v > k.hi {
				r.broken(s.pos)
			}
			r.set(s.index, v)
		case stIf:
			branch := s.els
			if r.eval(s.expr) != 0 {
				branch = s.then
			}
			if r.do(branch) {
				return true
			}
		case stNext:
			r.enter(int(r.d.p.jumps[s.index]))
			return true
		case stClose:
			r.close()
			return true
		}
	}
	return false
}

// give hands over chunks of a pot by the fixed rule: the greatest weight not above what is still owed, the first in the
// agreed order among equals, until nothing fits. One pass by falling weight does that: what did not fit or is gone
// will not fit later either.
func (r *run) give(pot, to int, amount int64) {
	c := r.s.c
	first := c.start[pot]
	for _, i := range c.order[first:c.start[pot+1]] {
		if w := c.weight[i]; w <= amount && !r.s.has(i) {
			amount -= w
			r.hand(pot, i, to)
		}
	}
}

// close returns every chunk that is left to its depositor, in the agreed order.
func (r *run) close() {
	c := r.s.c
	for pot := range r.d.p.pots {
		for i := c.start[pot]; i < c.start[pot+1]; i++ {
			if !r.s.has(i) {
				r.hand(pot, i, r.d.p.pots[pot].From)
			}
		}
	}
	r.s = State{c: c, closed: true, now: r.s.now}
}

func (r *run) hand(pot int, i int32, to int) {
	if !r.gone {
		r.s.gone = append(make([]uint64, 0, len(r.s.gone)), r.s.gone...)
		r.gone = true
	}
	r.s.gone[i/64] |= 1 << (i % 64)
	r.gives = append(r.gives, Give{pot, int(i - r.s.c.start[pot]), to, to == r.d.p.pots[pot].From})
}

func (r *run) set(i int, v int64) {
	if !r.vars {
		r.s.vars = append(make([]int64, 0, len(r.s.vars)), r.s.vars...)
		r.vars = true
	}
	r.s.vars[i] = v
}

// enter begins a phase. A deadline that lies in the past is due at once.
func (r *run) enter(i int) {
	ph := &r.d.p.phases[i]
	until := r.eval(ph.until)
	if ph.relative {
		until += r.s.now
	}
	r.s.phase, r.s.said, r.s.until = int32(i), 0, max(until, r.s.now)
}

// left returns the units of a pot that are not given.
func (r *run) left(pot int) int64 {
	c, sum := r.s.c, int64(0)
	for i := c.start[pot]; i < c.start[pot+1]; i++ {
		if !r.s.has(i) {
			sum += c.weight[i]
		}
	}
	return sum
}

func (r *run) broken(at pos) {
	if r.fault == nil {
		r.fault = fmt.Errorf("%w: line %d, column %d", ErrFault, at.line, at.col)
	}
}

// eval computes an expression. A condition is 0 or 1. A result out of range sets fault; the checks have ruled it out.
func (r *run) eval(i int32) int64 {
	n := &r.d.p.nodes[i]
	switch n.op {
	case opConst:
		return n.v
	case opTerm:
		return r.d.terms[n.v]
	case opPot:
		return r.d.units[n.v]
	case opLeft:
		return r.left(int(n.v))
	case opCounter:
		return r.s.vars[n.v]
	case opInput:
		return r.input
	case opNot:
		return 1 - r.eval(n.a)
	case opAnd:
		return b2i(r.eval(n.a) != 0 && r.eval(n.b) != 0)
	case opOr:
		return b2i(r.eval(n.a) != 0 || r.eval(n.b) != 0)
	}
	a, b := r.eval(n.a), r.eval(n.b)
	v, ok := int64(0), true
	switch n.op {
	case opEq:
		return b2i(a == b)
	case opNe:
		return b2i(a != b)
	case opLt:
		return b2i(a < b)
	case opLe:
		return b2i(a <= b)
	case opMin:
		return min(a, b)
	case opMax:
		return max(a, b)
	case opAdd:
		v, ok = add(a, b)
	case opSub:
		v, ok = sub(a, b)
	case opMul:
		v, ok = muldiv(a, b, 1)
	case opDiv:
		v, ok = muldiv(a, 1, b)
	case opShare:
		v, ok = muldiv(a, b, r.eval(n.c))
	}
	if !ok {
		r.broken(n.pos)
	}
	return v
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
