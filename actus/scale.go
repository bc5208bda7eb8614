package actus

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"latchkey/contract"
)

// ErrTooMuch is wrapped where a contract cannot be explored within the limits at any scale.
var ErrTooMuch = errors.New("too much to explore")

// Explore writes a plan at the finest scale at which an exploration passes it within the limits: as Write, then with fewer and fewer
// digits of money. Each try takes as much as the limits allow.
func (p *Plan) Explore(digits int, units int64, lim contract.Limits) (*Written, contract.Report, error) {
	for {
		w, err := p.Write(digits, units)
		if err != nil {
			return nil, contract.Report{}, err
		}
		rep, err := w.Deal.Admit(w.Weights, lim)
		if err == nil {
			return w, rep, nil
		}
		var refused *contract.Error
		if !errors.As(err, &refused) || !slices.ContainsFunc(refused.Findings, func(f contract.Finding) bool { return strings.Contains(f.What, "to explore") }) {
			return nil, contract.Report{}, fmt.Errorf("explore at %+v: %w", w.Scale, err)
		}
		if digits = w.Scale.Money - 1; p.guarantee == nil && p.largest(digits).Cmp(big.NewInt(10)) < 0 {
			return nil, contract.Report{}, fmt.Errorf("%w: with units of 10^%d, at which its greatest payment is %s: %w", ErrTooMuch, -w.Scale.Money, p.largest(w.Scale.Money), err)
		}
	}
}

// Scale is the one place where amounts become units and figures become whole numbers.
//
// A unit is 10^-Money of a currency; every amount is rounded toward zero to it, once, when it is paid. Figures inside of formulas
// count 10^-Figures: constants and observed values are rounded to the nearest, products toward zero. An amount that is kept from one
// observation to the next counts parts of a unit, so many to each, and is rounded to the nearest; without Parts it counts as figures do.
type Scale struct{ Money, Figures, Parts int }

// largest is the most units that one payment which depends on a value may come to.
func (p *Plan) largest(money int) *big.Int {
	most := new(big.Int)
	for _, d := range p.payments {
		if d.amount.op != opConst {
			if n := toward0(p.bounds(d.amount).abs(), money); n.Cmp(most) > 0 {
				most = n
			}
		}
	}
	return most
}

// maxFigures is the most digits that figures have.
const maxFigures = 14

// manyUnits is from how many units on nobody explores, and what is kept is not rounded to parts of a unit.
const manyUnits = 1_000_000

// scales lists what may serve for so many digits of money, best first.
func (p *Plan) scales(money int, units int64) (list []Scale) {
	if p.guarantee != nil {
		for f := max(money, 8); f >= max(money, 2); f-- {
			list = append(list, Scale{money, f, 0})
		}
		return list
	}
	figures := max(money, 2)
	for _, o := range p.seen {
		figures = max(figures, o.exact)
	}
	most := 0.125
	if units < manyUnits {
		most = 0.25
	}
	for figures < maxFigures && p.off(Scale{money, figures, 0}) > most {
		figures++
	}
	parts := 0
	if units < manyUnits && slices.ContainsFunc(p.kept, func(k kept) bool { return k.money }) {
		for parts = 1; parts < 32 && p.off(Scale{money, figures, parts}) > 1; {
			parts *= 2
		}
	}
	return []Scale{{money, figures, parts}}
}

// part is how many counts of figures what is kept is rounded to.
func (s Scale) part(k kept) int64 {
	if !k.money || s.Parts == 0 {
		return 1
	}
	unit := new(big.Int).Quo(power(s.Figures-s.Money).Num(), big.NewInt(int64(s.Parts)))
	return max(1, unit.Int64())
}

// off bounds by how many units a payment is off, before it is rounded to units.
func (p *Plan) off(s Scale) float64 {
	e := errorsAt{p, s, nil}
	for _, k := range p.kept {
		at := new(big.Rat)
		if part := s.part(k); part > 1 {
			at.Mul(power(-s.Figures), big.NewRat(part, 2))
		}
		e.kept = append(e.kept, at.Add(at, e.of(k.f)))
	}
	worst := new(big.Rat)
	for _, d := range p.payments {
		if d.amount.op != opConst {
			worst = compute(opMax, worst, e.of(d.amount))
		}
	}
	off, _ := new(big.Rat).Mul(worst, power(s.Money)).Float64()
	return off
}

// errorsAt bounds what rounding does to formulas.
type errorsAt struct {
	p    *Plan
	s    Scale
	kept []*big.Rat
}

func (e errorsAt) of(f *formula) *big.Rat {
	count := power(-e.s.Figures)
	half := new(big.Rat).Quo(count, big.NewRat(2, 1))
	switch f.op {
	case opConst:
		if new(big.Rat).Mul(f.value, power(e.s.Figures)).IsInt() {
			return new(big.Rat)
		}
		return half
	case opSeen:
		return half
	case opKept:
		return e.kept[f.index]
	case opStep:
		return new(big.Rat) // its value is reported with all digits that it has
	}
	a, b := e.of(f.a), e.of(f.b)
	x, y := e.p.bounds(f.a).abs(), e.p.bounds(f.b).abs()
	switch f.op {
	case opAdd:
		return new(big.Rat).Add(a, b)
	case opMin, opMax:
		return compute(opMax, a, b)
	case opMul:
		if f.whole() {
			return new(big.Rat).Mul(x, b)
		}
		sum := new(big.Rat).Add(new(big.Rat).Mul(a, y), new(big.Rat).Mul(b, x))
		return sum.Add(sum.Add(sum, new(big.Rat).Mul(a, b)), count)
	}
	// |a/b - a'/b'| is at most (ea + |a/b| eb) / (|b| - eb).
	least := new(big.Rat).Sub(e.p.bounds(f.b).lo, b)
	if least.Sign() <= 0 {
		return power(18)
	}
	sum := new(big.Rat).Add(a, new(big.Rat).Mul(e.p.bounds(f).abs(), b))
	return sum.Add(sum.Quo(sum, least), count)
}

// whole tells that a product is by a small whole number, which is written as such.
func (f *formula) whole() bool {
	return f.a.op == opConst && f.a.value.IsInt() && new(big.Rat).Abs(f.a.value).Cmp(power(6)) < 0
}
