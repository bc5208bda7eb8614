package contract

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
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
	Deposit                       // chunks were put into a later pot
)

// Event is one thing that happened, as the log tells it. The caller has checked who is behind it: the signature of the
// party, the keys of the oracle.
type Event struct {
	Kind     EventKind
	At       int64  // log time, Unix seconds; never before the last step's
	Party    int    // of a Word
	Word     string // of a Word
	HasValue bool   // of a Word: a value came with it
	Value    int64  // of a Word with a value, of an Oracle; of a Deposit: how many of the chunks that are missing came, in the agreed order
	Oracle   int    // of an Oracle
	Observed int64  // of an Oracle: when the value was observed, Unix seconds; never after At
	Pot      int    // of a Deposit
	// Hash is, of a Word that seals a value, the commitment; of one that opens it, what Seal makes of the value and the
	// salt that came with it. Else it is zero.
	Hash [32]byte
}

// Seal returns the commitment to a value that a party of an instance will show later: SHA-256 over a domain, the
// instance, the party, the value and a secret salt. With instance and party in it nobody can take over another's.
func Seal(instance [32]byte, party int, value int64, salt [32]byte) [32]byte {
	b := append([]byte("latchkey/sealed/v1\n"), instance[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(party))
	b = binary.BigEndian.AppendUint64(b, uint64(value))
	return sha256.Sum256(append(b, salt[:]...))
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
	d         *Deal
	s         State
	input     int64
	gives     []Give
	line      int32 // of the clause that fired
	fault     error
	own       bool   // s.many is the run's own
	exploring *trace // nil in a real run
}

// Open begins an instance at log time now: it runs `at open` and enters the first phase. weights[pot] are the weights
// of the pot's chunks in units, in the agreed order; together they weigh PotUnits, and pots of 0 units have none.
func (d *Deal) Open(weights [][]int64, now int64) (State, Outcome, error) {
	c, err := d.newChunks(weights)
	if err == nil && (now < 0 || now > farAway) {
		err = fmt.Errorf("%w: time %d", ErrEvent, now)
	}
	if err != nil {
		return State{}, Outcome{}, fmt.Errorf("open contract %s: %w", d.p.name, err)
	}
	r := run{d: d, s: d.start(c, now)}
	r.open()
	if r.fault != nil {
		return State{}, Outcome{}, fmt.Errorf("open contract %s: %w", d.p.name, r.fault)
	}
	return r.s, r.outcome(), nil
}

// Step applies one event. It is pure: equal arguments give equal results, and s stays valid. On error the returned
// state is s and nothing happened. A deadline that is due comes before anything else: until it has fired, every other
// event is refused with ErrOverdue. It fires as a step of its own whose time is the deadline, however late the event.
func (d *Deal) Step(s State, ev Event) (State, Outcome, error) {
	if s.c == nil || s.phase == none { // as Closed, which would copy it
		return s, Outcome{}, ErrClosed
	}
	if ev.At < s.now || ev.At > farAway {
		return s, Outcome{}, fmt.Errorf("%w: time %d, the contract stands at %d", ErrEvent, ev.At, s.now)
	}
	var r run // filled in place: a literal is made beside it and copied
	r.d, r.s = d, s
	r.s.now = ev.At
	switch due := ev.At >= s.until; {
	case due && ev.Kind == Deadline:
		r.s.now = s.until
	case due:
		return s, Outcome{}, fmt.Errorf("%w: it was %d, now is %d", ErrOverdue, s.until, ev.At)
	case ev.Kind == Deadline:
		return s, Outcome{}, fmt.Errorf("%w: it is %d, now is %d", ErrNotDue, s.until, ev.At)
	}
	if err := r.apply(&ev); err != nil {
		return s, Outcome{}, err
	}
	return r.s, r.outcome(), nil
}

// Deadline returns when the present phase's deadline is due, in Unix seconds; ok is false when s is closed.
func (d *Deal) Deadline(s State) (at int64, ok bool) { return s.until, !s.Closed() }

func (r *run) outcome() Outcome {
	return Outcome{Gives: r.gives, Closed: r.s.phase == none, Phase: int(r.s.phase), Line: int(r.line)}
}

func (r *run) open() {
	if r.line = r.d.p.opening.pos.line; !r.do(r.d.p.opening.body) {
		r.enter(0)
	}
}

// apply finds the clause that an event fires and runs it. No clause and no error: the event was taken down, no more.
// It looks at no deadline.
func (r *run) apply(ev *Event) (err error) {
	var c *clause
	ph := &r.d.p.phases[r.s.phase]
	r.input = ev.Value
	switch ev.Kind {
	case Word:
		c, err = r.word(ph, ev)
	case Oracle:
		c, err = r.observe(ph, ev)
	case Deposit:
		c, err = r.deposit(ph, ev)
	case Deadline:
		for i := 0; c == nil; i++ { // the checks saw to it that one is without a condition
			if b := &ph.clauses[i]; b.kind == onDeadline && r.holds(b.guard) {
				c = b
			}
		}
	default:
		err = fmt.Errorf("%w: unknown kind %d", ErrEvent, ev.Kind)
	}
	if c != nil {
		r.line = c.pos.line
		r.do(c.body)
	}
	if r.fault != nil {
		return r.fault
	}
	return err
}

// word counts a word towards the first clause that waits for it and whose condition holds.
func (r *run) word(ph *phase, ev *Event) (*clause, error) {
	if ev.Party < 0 || ev.Party >= len(r.d.p.parties) || len(ev.Word) > MaxName {
		return nil, fmt.Errorf("%w: no such party or word", ErrEvent)
	}
	why := "this party has no such word in this phase"
	for i := range ph.clauses {
		c := &ph.clauses[i]
		if !c.hears(ev.Party, ev.Word) {
			continue
		}
		r.exploring.within(c)
		switch hasValue := c.carries == aValue || c.carries == aKey; {
		case hasValue != ev.HasValue, (c.seal != none) != (ev.Hash != [32]byte{}):
			why = "a value is missing, or one too many"
		case hasValue && (ev.Value < c.lo || ev.Value > c.hi):
			why = "the value is outside its range"
		case c.carries == aSeal && r.s.seal(r.d.p, c.seal) != [32]byte{}:
			why = "a value is sealed already"
		case c.carries == aKey && r.s.seal(r.d.p, c.seal) != ev.Hash:
			why = "this is not the value that was sealed"
		case !r.holds(c.guard):
			why = "its condition does not hold"
		case c.need == 1:
			if c.carries == aSeal {
				r.seal(c.seal, ev.Hash)
			} else if c.carries == aKey {
				r.seal(c.seal, [32]byte{})
			}
			return c, nil
		case r.s.said&c.seat(ev.Party) != 0:
			return nil, fmt.Errorf("%w: %s has said %q before", ErrEvent, r.d.p.parties[ev.Party], c.word)
		default:
			if r.s.said |= c.seat(ev.Party); bits.OnesCount64(r.s.said&c.mask()) < c.need {
				return nil, nil
			}
			r.s.said &^= c.mask()
			return c, nil
		}
	}
	return nil, fmt.Errorf("%w: %q by %s: %s", ErrEvent, ev.Word, r.d.p.parties[ev.Party], why)
}

// deposit takes chunks into a later pot, and returns the first clause that waits for so many and whose condition, with
// them in the pot, holds. Where one waits for a full pot, a part of it is taken down, no more.
func (r *run) deposit(ph *phase, ev *Event) (*clause, error) {
	if ev.Pot < 0 || ev.Pot >= len(r.d.p.pots) || ev.Value < 1 || ev.Value > r.s.missing(r.d.p, ev.Pot) {
		return nil, fmt.Errorf("%w: pot %d does not miss %d chunks", ErrEvent, ev.Pot, ev.Value)
	}
	first := r.s.c.end(ev.Pot) - int32(r.s.missing(r.d.p, ev.Pot))
	words := r.words()
	for i := first; i < first+int32(ev.Value); i++ {
		words[int32(r.s.c.vars)+i/64] &^= 1 << (i % 64)
	}
	words[r.d.p.varLater()+int(r.d.p.pots[ev.Pot].slot)] += ev.Value
	r.exploring.deposited(r, ev.Pot)
	part := r.s.missing(r.d.p, ev.Pot) > 0
	waited := false
	for i := range ph.clauses {
		c := &ph.clauses[i]
		if c.kind != onDeposit || c.oracle != ev.Pot {
			continue
		}
		if part && !c.partial {
			waited = true
		} else if r.holds(c.guard) {
			return c, nil
		}
	}
	if waited {
		return nil, nil
	}
	return nil, fmt.Errorf("%w: no clause takes %d chunks of pot %s", ErrEvent, ev.Value, r.d.p.pots[ev.Pot].Name)
}

// waits tells that the phase can be waiting with these bits set: no clause has all its voices.
func (ph *phase) waits(said uint64) bool {
	for i := range ph.clauses {
		c := &ph.clauses[i]
		if c.kind == onWord && c.need > 1 && bits.OnesCount64(said&c.mask()) >= c.need {
			return false
		}
		said &^= c.mask()
	}
	return said == 0
}

// observe takes an oracle's value to the first clause whose time it fits and whose condition holds. A value that fits
// an `each` clause in time but meets no condition is noted, so that no older one can come after it.
func (r *run) observe(ph *phase, ev *Event) (*clause, error) {
	p := r.d.p
	if ev.Oracle < 0 || ev.Oracle >= len(p.oracles) {
		return nil, fmt.Errorf("%w: contract %s reads no oracle number %d", ErrEvent, p.name, ev.Oracle+1)
	}
	if f := &p.oracles[ev.Oracle]; ev.Value < f.Lo || ev.Value > f.Hi || ev.Observed < 0 || ev.Observed > ev.At {
		return nil, fmt.Errorf("%w: oracle %s: its value %d is outside its range %d..%d, or observed after %d", ErrEvent, f.Name, ev.Value, f.Lo, f.Hi, ev.At)
	}
	newest, fresh := p.varNewest()+ev.Oracle, false
	last := r.s.words()[newest]
	for i := range ph.clauses {
		c := &ph.clauses[i]
		if c.kind != onEach && c.kind != onFor || c.oracle != ev.Oracle {
			continue
		}
		t := r.eval(c.time)
		fits := ev.Observed > last && ev.At-ev.Observed <= t
		if c.kind == onFor {
			fits = ev.Observed == t && r.s.said&c.mask() == 0
		} else if fits {
			fresh = true
		}
		if !fits || !r.holds(c.guard) {
			continue
		}
		if c.kind == onEach {
			r.words()[newest] = ev.Observed
			return c, nil
		}
		for j := range ph.clauses { // every clause that waits for this value has had it
			if b := &ph.clauses[j]; b.kind == onFor && b.oracle == c.oracle && r.eval(b.time) == t {
				r.s.said |= b.mask()
			}
		}
		return c, nil
	}
	if !fresh {
		return nil, fmt.Errorf("%w: oracle %s: no clause takes the value %d observed at %d: it is too old, of another time, or not newer than the last of %d, or no condition holds", ErrEvent, p.oracles[ev.Oracle].Name, ev.Value, ev.Observed, last)
	}
	r.words()[newest] = ev.Observed
	return nil, nil
}

// holds tells that a condition, if there is one, is true.
func (r *run) holds(cond int32) bool {
	if r.exploring != nil { // asked here: nothing is called so often
		r.exploring.decided(cond)
	}
	return cond == none || r.eval(cond) != 0
}

// do runs statements and reports whether they ended in next or close.
func (r *run) do(body []stmt) bool {
	for i := range body {
		s := &body[i]
		switch s.kind {
		case stGive:
			r.exploring.give(r, s)
			r.give(s.index, s.to, r.eval(s.expr))
		case stSet:
			v := r.eval(s.expr)
			if k := &r.d.p.counters[s.index]; v < k.Lo || v > k.Hi {
				r.broken(s.pos)
			}
			r.exploring.set(s, v)
			r.words()[s.index] = v
		case stIf:
			branch := s.els
			if r.holds(s.expr) {
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
		case stStay:
		}
	}
	return false
}

// give hands over chunks of a pot by the fixed rule: the greatest weight not above what is still owed, the first in the
// agreed order among equals, until nothing fits. One pass by falling weight does that: what did not fit or is gone
// will not fit later either.
func (r *run) give(pot, to int, amount int64) {
	c := r.s.c
	for _, i := range c.order(pot) {
		w := c.weight(int32(i))
		if w > amount || r.s.has(int32(i)) {
			continue
		}
		amount -= w
		if r.gives == nil {
			r.gives = make([]Give, 0, c.count())
		}
		r.words()[int(c.vars)+int(i)/64] |= 1 << (i % 64)
		r.gives = append(r.gives, Give{pot, int(i) - int(c.start(pot)), to, to == r.d.p.pots[pot].From})
	}
}

// close returns what is left to the depositors, by the same rule.
func (r *run) close() {
	for pot := range r.d.p.pots {
		r.give(pot, r.d.p.pots[pot].From, math.MaxInt64)
	}
	r.s = State{c: r.s.c, phase: none, now: r.s.now}
}

// words returns the words of the state that is being made, to be written.
func (r *run) words() []int64 {
	if !r.own && r.s.many != nil {
		r.s.many, r.own = append(make([]int64, 0, len(r.s.many)), r.s.many...), true
	}
	return r.s.words()
}

func (r *run) seal(i int, h [32]byte) {
	for j := range 4 {
		r.words()[r.d.p.varSeals()+4*i+j] = int64(binary.BigEndian.Uint64(h[8*j:]))
	}
	r.exploring.sealed(i, h)
}

// enter begins a phase. A deadline that lies in the past is due at once.
func (r *run) enter(i int) {
	ph := &r.d.p.phases[i]
	r.s.phase, r.s.said, r.s.until = int32(i), 0, max(r.eval(ph.until), r.s.now)
}

func (r *run) broken(at pos) {
	if r.fault == nil {
		r.fault = fmt.Errorf("%w: line %d, column %d", ErrFault, at.line, at.col)
	}
}

// eval computes an expression. A result out of range sets fault; the checks have ruled it out.
func (r *run) eval(i int32) int64 { return r.value(&r.d.p.nodes[i]) }

// value computes a node: a term, as most are, without a call.
func (r *run) value(n *node) int64 {
	if n.op == opTerm {
		return r.d.values[n.v]
	}
	return r.compute(n)
}

func (r *run) compute(n *node) (v int64) {
	var ok bool
	switch n.op {
	case opConst:
		return n.v
	case opPot:
		return r.d.units()[n.v]
	case opLeft:
		return r.s.left(int(n.v))
	case opCounter:
		return r.s.words()[n.v]
	case opFilled:
		return r.d.filled(&r.s, int(n.v))
	case opSealed:
		return truthOf(r.s.seal(r.d.p, int(n.v)) != [32]byte{})
	case opNow:
		return r.s.now
	case opInput:
		return r.input
	case opCurve:
		return r.d.p.curves[n.v].at(r.eval(n.a))
	case opNot:
		return 1 - r.eval(n.a)
	case opAnd, opOr:
		if v = r.eval(n.a); v == truthOf(n.op == opOr) {
			return v
		}
		return r.eval(n.b)
	case opEq:
		return truthOf(r.eval(n.a) == r.eval(n.b))
	case opNe:
		return truthOf(r.eval(n.a) != r.eval(n.b))
	case opLt:
		return truthOf(r.eval(n.a) < r.eval(n.b))
	case opLe:
		return truthOf(r.eval(n.a) <= r.eval(n.b))
	case opMul:
		v, ok = muldiv(r.eval(n.a), r.eval(n.b), 1)
	case opShare:
		v, ok = muldiv(r.eval(n.a), r.eval(n.b), r.eval(n.c))
	default:
		v, ok = n.op.apply(r.eval(n.a), r.eval(n.b), 0)
	}
	if !ok {
		r.broken(n.pos)
	}
	return v
}
