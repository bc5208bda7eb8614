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
	p     *Program
	terms []int64
	units []int64
}

// Bind fills in the terms, in the order of Terms: units and numbers as they are, times in Unix seconds, durations in
// seconds. It refuses, with ErrTerms, a wrong count, a value outside its range, and terms that miss a requirement.
func (p *Program) Bind(terms []int64) (*Deal, error) {
	refuse := func(format string, args ...any) (*Deal, error) {
		return nil, fmt.Errorf("bind contract %s: %w: %s", p.name, ErrTerms, fmt.Sprintf(format, args...))
	}
	if len(terms) != len(p.terms) {
		return refuse("%d values for %d terms", len(terms), len(p.terms))
	}
	for i, t := range p.terms {
		if v := terms[i]; v < t.Lo || v > t.Hi {
			return refuse("term %s is %d, outside %d..%d", t.Name, v, t.Lo, t.Hi)
		}
	}
	d := &Deal{p: p, terms: slices.Clone(terms), units: make([]int64, 0, len(p.pots))}
	r := run{d: d}
	for i := range p.pots {
		d.units = append(d.units, r.eval(p.pots[i].expr))
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

// Program returns the program that d binds.
func (d *Deal) Program() *Program { return d.p }

// PotUnits returns how many units the chunks of a pot weigh together; a pot of 0 has no chunks.
func (d *Deal) PotUnits(pot int) int64 { return d.units[pot] }

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
// every relative phase as often as the counters let it come. It is the greatest int64 where that is off any calendar.
func (d *Deal) LastDeadline(openBy int64) int64 {
	e := d.env()
	end, lasting := openBy, int64(0)
	for _, ph := range d.p.phases {
		if until := e.eval(ph.until).hi; ph.relative {
			all, _ := muldiv(until, ph.rounds, 1)
			lasting = plus(lasting, all)
		} else {
			end = max(end, until)
		}
	}
	if end = plus(end, lasting); end > farAway {
		return math.MaxInt64
	}
	return end
}

// env returns the environment of this deal's terms and pots; counters and what is left may be anything.
func (d *Deal) env() *env {
	e := d.p.newEnv()
	for i, v := range d.terms {
		*e.at(opTerm, i) = point(v)
	}
	for i, v := range d.units {
		*e.at(opPot, i), *e.at(opLeft, i) = point(v), span{0, v}
	}
	return e
}

// load fills in counters and what is left from a state.
func (e *env) load(d *Deal, s State) {
	for i := range d.p.counters {
		*e.at(opCounter, i) = point(s.vars[i])
	}
	for i := range d.units {
		*e.at(opLeft, i) = point(s.left(i))
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
		if c.kind != onWord || c.guard != none && e.eval(c.guard).hi == 0 {
			continue
		}
		w := WordClause{Word: c.word, Need: c.need, HasValue: c.hasValue, Lo: c.lo, Hi: c.hi, Line: int(c.pos.line)}
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
