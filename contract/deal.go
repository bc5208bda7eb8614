package contract

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrTerms is wrapped by every refusal of Bind.
var ErrTerms = errors.New("terms refused")

// Deal is a program with its terms filled in. It is immutable.
type Deal struct {
	p      *Program
	values []int64 // of the terms, then the units of the pots
}

// units returns how many units each pot holds.
func (d *Deal) units() []int64 { return d.values[len(d.p.terms):] }

// Bind fills in the terms, in the order of Terms: units and numbers as they are, times in Unix seconds, durations in
// seconds. It refuses, with ErrTerms, a wrong count, a value outside its range, and terms that miss a requirement.
func (p *Program) Bind(terms []int64) (*Deal, error) {
	refuse := func(format string, args ...any) (*Deal, error) {
		return nil, fmt.Errorf("bind contract %s: %w: %s", p.name, ErrTerms, fmt.Sprintf(format, args...))
	}
	for i := range p.roles {
		if t := p.terms[i]; i < len(terms) && terms[i] != p.counts[i] && terms[i] >= t.Lo && terms[i] <= t.Hi {
			q, err := p.For(terms[:min(len(terms), len(p.roles))])
			if err != nil {
				return nil, err
			}
			return q.Bind(terms)
		}
	}
	if len(terms) != len(p.terms) {
		return refuse("%d values for %d terms", len(terms), len(p.terms))
	}
	for i, t := range p.terms {
		if v := terms[i]; v < t.Lo || v > t.Hi {
			return refuse("term %s is %d, outside %d..%d", t.Name, v, t.Lo, t.Hi)
		}
	}
	d := &Deal{p: p, values: append(make([]int64, 0, len(terms)+len(p.pots)), terms...)}
	r := run{d: d}
	for i := range p.pots {
		d.values = append(d.values, r.eval(p.pots[i].expr))
	}
	for _, n := range p.requires {
		if r.eval(n) == 0 {
			return refuse("the requirement in line %d does not hold", p.nodes[n].pos.line)
		}
	}
	if r.fault != nil {
		return nil, fmt.Errorf("bind contract %s: %w", p.name, r.fault)
	}
	return d, nil
}

// For writes a contract with roles out for other numbers of holders, one for each role: its Parties, Pots and Terms are
// then those of a deal with so many. It checks the contract again for these numbers.
func (p *Program) For(holders []int64) (*Program, error) {
	if len(holders) != len(p.roles) {
		return nil, fmt.Errorf("contract %s: %w: %d numbers of holders for %d roles", p.name, ErrTerms, len(holders), len(p.roles))
	}
	for i, r := range p.roles {
		if holders[i] < int64(r.Lo) || holders[i] > int64(r.Hi) {
			return nil, fmt.Errorf("contract %s: %w: %d holders of role %s, outside %d..%d", p.name, ErrTerms, holders[i], r.Name, r.Lo, r.Hi)
		}
	}
	if len(p.roles) == 0 {
		return p, nil
	}
	return compile(p.source, slices.Clone(holders))
}

// Program returns the program that d binds, written out for its numbers of holders.
func (d *Deal) Program() *Program { return d.p }

// PotUnits returns how many units the chunks of a pot weigh together; a pot of 0 has no chunks.
func (d *Deal) PotUnits(pot int) int64 { return d.units()[pot] }

// Candidates returns the parties, by rising index, to whom a give may bring a chunk of the pot. The depositor, to whom
// every chunk may return, is not among them.
func (d *Deal) Candidates(pot int) []int {
	var list []int
	for i := range d.p.parties {
		if d.p.pots[pot].cands>>i&1 == 1 && i != d.p.pots[pot].From {
			list = append(list, i)
		}
	}
	return list
}

// LastDeadline returns a time, in Unix seconds, by which every instance that opened at openBy or before has closed,
// if deadlines fire when they are due. It is an upper bound: the latest absolute end of a phase, or openBy, and then
// every phase that ends some time after now as often as the counters let it come. It is the greatest int64 where that is off any calendar.
func (d *Deal) LastDeadline(openBy int64) int64 {
	e := d.env()
	end, lasting := openBy, int64(0)
	for _, ph := range d.p.phases {
		at, after := e.horizon(ph.until)
		all, _ := muldiv(max(after, 0), ph.rounds, 1)
		lasting, end = plus(lasting, all), max(end, at)
	}
	if end = plus(end, lasting); end > farAway {
		return math.MaxInt64
	}
	return end
}

// env returns the environment of this deal's terms and pots; counters and what is left may be anything.
func (d *Deal) env() *env {
	e := d.p.newEnv()
	for i, v := range d.values[:len(d.p.terms)] {
		*e.at(opTerm, i) = point(v)
	}
	for i, v := range d.units() {
		*e.at(opPot, i), *e.at(opLeft, i), *e.at(opFilled, i) = point(v), span{0, v}, span{0, v}
	}
	return e
}

// load fills in counters and what is left from a state.
func (e *env) load(d *Deal, s State) {
	for i := range d.p.counters {
		*e.at(opCounter, i) = point(s.words()[i])
	}
	for i := range d.units() {
		*e.at(opLeft, i) = point(s.left(i))
		*e.at(opFilled, i) = point(d.filled(&s, i))
	}
	for i := range d.p.seals {
		*e.at(opSealed, i) = point(truthOf(s.seal(d.p, i) != [32]byte{}))
	}
}

// WordClause is a word that somebody may say now.
type WordClause struct {
	Word     string
	Parties  []int // who may say it and has not yet
	Said     []int // who has said it
	Need     int   // how many must say it
	HasValue bool
	Lo, Hi   int64 // the value's range; a condition may narrow it
	Sealed   bool  // it comes with a commitment to a value; see Seal
	Opened   bool  // it comes with the value committed to
	Line     int
}

// Words returns what the parties may say in state s, in the order of the source. Clauses whose condition fails
// whatever is said are left out; one whose condition depends on the value that comes with the word is there.
func (d *Deal) Words(s State) []WordClause {
	if s.Closed() {
		return nil
	}
	e := d.env()
	e.load(d, s)
	var list []WordClause
	for i := range d.p.phases[s.phase].clauses {
		c := &d.p.phases[s.phase].clauses[i]
		*e.at(opInput, 0) = span{c.lo, c.hi}
		if c.kind != onWord || c.seal != none && (*e.at(opSealed, c.seal)).isPoint() && (c.carries == aSeal) == (e.at(opSealed, c.seal).lo == 1) || c.guard != none && e.eval(c.guard).hi == 0 {
			continue
		}
		w := WordClause{Word: c.word, Need: c.need, HasValue: c.carries == aValue || c.carries == aKey, Lo: c.lo, Hi: c.hi,
			Sealed: c.carries == aSeal, Opened: c.carries == aKey, Line: int(c.pos.line)}
		for party := range d.p.parties {
			if c.hears(party, c.word) && c.need > 1 && s.said&c.seat(party) != 0 {
				w.Said = append(w.Said, party)
			} else if c.hears(party, c.word) {
				w.Parties = append(w.Parties, party)
			}
		}
		list = append(list, w)
	}
	return list
}

// Wanted is a value of an oracle, or a deposit, that the present phase waits for.
type Wanted struct {
	Oracle int   // index of the oracle, -1 for a deposit
	For    int64 // the value observed at this time; 0 where any new one serves that is at most so old as Each says
	Each   int64
	Pot    int // of a deposit, -1 for an oracle
	Chunks int // of a deposit: how many are missing
	Line   int
}

// Wants returns what the present phase waits for besides words and its deadline, in the order of the source.
func (d *Deal) Wants(s State) []Wanted {
	if s.Closed() {
		return nil
	}
	r := run{d: d, s: s}
	var list []Wanted
	for i := range d.p.phases[s.phase].clauses {
		c := &d.p.phases[s.phase].clauses[i]
		w := Wanted{Oracle: none, Pot: none, Line: int(c.pos.line)}
		switch c.kind {
		case onEach:
			w.Oracle, w.Each = c.oracle, r.eval(c.time)
		case onFor:
			if w.Oracle, w.For = c.oracle, r.eval(c.time); s.said&c.mask() != 0 {
				continue
			}
		case onDeposit:
			if w.Pot, w.Chunks = c.oracle, int(s.missing(d.p, c.oracle)); w.Chunks == 0 {
				continue
			}
		default:
			continue
		}
		list = append(list, w)
	}
	return list
}
