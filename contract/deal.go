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
		if at := p.nodes[n].pos; r.eval(n) == 0 {
			return nil, fmt.Errorf("bind contract %s: %w: the requirement in line %d does not hold", p.name, ErrTerms, at.line)
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

// PotUnits returns how many units the chunks of a pot weigh together; 0 is a pot without chunks.
func (d *Deal) PotUnits(pot int) int64 { return d.units[pot] }

// Candidates returns the parties, by index and rising, to whom a give may bring a chunk of the pot. The depositor, to
// whom every chunk may return, is not among them.
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
// if deadlines fire when they are due. It is an upper bound, and exact for most contracts: each component of the phase
// graph is passed once, a cyclic one as often as the counters allow that bound it. It is the greatest int64 where the
// bound is beyond any calendar.
func (d *Deal) LastDeadline(openBy int64) int64 {
	p, g := d.p, &d.p.graph
	until := make([]int64, len(p.phases))
	e := d.env()
	for i, c := range p.counters {
		*e.at(opCounter, int64(i)) = span{c.lo, c.hi}
	}
	for i := range p.pots {
		*e.at(opLeft, int64(i)) = span{0, d.units[i]}
	}
	for i := range p.phases {
		until[i] = e.eval(p.phases[i].until).hi
	}
	enter := make([]int64, len(g.fuel)) // the latest moment at which a component is entered
	last := openBy
	for c := len(g.fuel) - 1; c >= 0; c-- {
		enter[c] = openBy
	}
	for c := len(g.fuel) - 1; c >= 0; c-- {
		end, lasting := enter[c], int64(0)
		for i := range p.phases {
			if g.comp[i] != c {
				continue
			}
			if p.phases[i].relative {
				lasting, _ = add(lasting, until[i])
			} else {
				end = max(end, until[i])
			}
		}
		rounds := int64(1)
		for i, k := range p.counters {
			if g.fuel[c]>>i&1 == 1 {
				width, _ := sub(k.hi, k.lo)
				rounds, _ = add(rounds, width)
			}
		}
		lasting, _ = muldiv(lasting, rounds, 1)
		end, _ = add(end, lasting)
		if end > farAway {
			end = math.MaxInt64
		}
		last = max(last, end)
		for _, x := range g.edges {
			if x.from != none && g.comp[x.from] == c && g.comp[x.to] != c {
				enter[g.comp[x.to]] = max(enter[g.comp[x.to]], end)
			}
		}
	}
	return last
}

// env returns the environment of this deal's terms and pots; counters and what is left are not filled in.
func (d *Deal) env() *env {
	e := d.p.newEnv()
	for i, v := range d.terms {
		*e.at(opTerm, int64(i)) = point(v)
	}
	for i, v := range d.units {
		*e.at(opPot, int64(i)) = point(v)
	}
	return e
}
