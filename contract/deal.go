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
	if len(terms) != len(p.terms) {
		return nil, fmt.Errorf("bind contract %s: %w: %d values for %d terms", p.name, ErrTerms, len(terms), len(p.terms))
	}
	for i, t := range p.terms {
		if v := terms[i]; v < t.Lo || v > t.Hi {
			return nil, fmt.Errorf("bind contract %s: %w: term %s is %d, outside %d..%d", p.name, ErrTerms, t.Name, v, t.Lo, t.Hi)
		}
	}
	d := &Deal{p: p, terms: slices.Clone(terms), units: make([]int64, 0, len(p.pots))}
	r := run{d: d}
	for i := range p.pots {
		d.units = append(d.units, r.eval(p.pots[i].expr))
	}
	for _, n := range p.requires {
		if r.eval(n) == 0 {
			return nil, fmt.Errorf("bind contract %s: %w: the requirement in line %d does not hold", p.name, ErrTerms, p.nodes[n].pos.line)
		}
	}
	if r.fault != nil {
		return nil, fmt.Errorf("bind contract %s: %w", p.name, r.fault)
	}
	return d, nil
}

// Program returns the program that d binds.
func (d *Deal) Program() *Program { return d.p }

// Terms returns the values that d was bound with.
func (d *Deal) Terms() []int64 { return slices.Clone(d.terms) }

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
// if deadlines fire when they are due. It is an upper bound: phases on no cycle are passed once, in the longest order,
// those on cycles as often as the counters allow. It is the greatest int64 where that is beyond any calendar.
func (d *Deal) LastDeadline(openBy int64) int64 {
	p, g, e := d.p, &d.p.graph, d.env()
	for i, c := range p.counters {
		*e.at(opCounter, i) = span{c.lo, c.hi}
	}
	for i, u := range d.units {
		*e.at(opLeft, i) = span{0, u}
	}
	ends := make([]int64, len(p.phases))
	var end func(i int) int64
	end = func(i int) int64 {
		if ends[i] > 0 {
			return ends[i]
		}
		enter, lasting, rounds := max(openBy, 1), int64(0), int64(1)
		for _, x := range g.edges {
			if x.from != none && (x.to == i || g.cycle(x.to, i)) && x.from != i && !g.cycle(x.from, i) {
				enter = max(enter, end(x.from))
			}
		}
		for j := range p.phases {
			if until := e.eval(p.phases[j].until).hi; j != i && !g.cycle(i, j) {
				continue
			} else if p.phases[j].relative {
				lasting = plus(lasting, until)
			} else {
				enter = max(enter, until)
			}
		}
		for j, k := range p.counters {
			if g.fuel[i]>>j&1 == 1 {
				width, _ := opSub.apply(k.hi, k.lo, 0)
				rounds = plus(rounds, width)
			}
		}
		lasting, _ = muldiv(lasting, rounds, 1)
		ends[i] = plus(enter, lasting)
		return ends[i]
	}
	last := openBy
	for i := range p.phases {
		last = max(last, end(i))
	}
	if last > farAway {
		return math.MaxInt64
	}
	return last
}

// env returns the environment of this deal's terms and pots; counters and what is left are not filled in.
func (d *Deal) env() *env {
	e := d.p.newEnv()
	for i, v := range d.terms {
		*e.at(opTerm, i) = point(v)
	}
	for i, v := range d.units {
		*e.at(opPot, i) = point(v)
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
