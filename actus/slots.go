package actus

import (
	"fmt"
	"math/big"
	"slices"
)

// slot is a counter. Values of one kind that are not needed at the same time share one.
type slot struct {
	kind   string // v: observed; k and m: kept figures and amounts; d: what is due
	busy   string // what is in it, "" where nothing is
	lo, hi *big.Int
}

// hold finds a counter for a value and returns its name.
func (w *writer) hold(kind string, number int, lo, hi *big.Int) string {
	i := slices.IndexFunc(w.slots, func(s slot) bool { return s.kind == kind && s.busy == "" })
	if i < 0 {
		i = len(w.slots)
		w.slots = append(w.slots, slot{kind: kind, lo: new(big.Int), hi: new(big.Int)})
	}
	s := &w.slots[i]
	if s.busy = fmt.Sprint(kind, number); lo.Cmp(s.lo) < 0 {
		s.lo = lo
	}
	if hi.Cmp(s.hi) > 0 {
		s.hi = hi
	}
	return fmt.Sprint(kind, i+1)
}

// find is the slot that has a value.
func (w *writer) find(kind string, number int) int {
	return slices.IndexFunc(w.slots, func(s slot) bool { return s.busy == fmt.Sprint(kind, number) })
}

// held is the counter that has a value.
func (w *writer) held(kind string, number int) string {
	return fmt.Sprint(kind, w.find(kind, number)+1)
}

// forget writes that nothing needs a value any more.
func (w *writer) forget(kind string, number int) {
	fmt.Fprintf(&w.body, "    set %s = 0\n", w.held(kind, number))
	w.slots[w.find(kind, number)].busy = ""
}

// counters declares what was held.
func (w *writer) counters() {
	for i, s := range w.slots {
		unit := ""
		if s.kind == "d" {
			unit = " units"
		}
		fmt.Fprintf(&w.head, "counter %s%d = 0 in %s%s..%s%s\n", s.kind, i+1, s.lo, unit, s.hi, unit)
	}
}

// kind is the kind of counter that a kept value is in.
func (k kept) kind() string {
	if k.money {
		return "m"
	}
	return "k"
}

// needed says until which item observed and kept values are needed, by the order of the observations.
func (p *Plan) needed(order map[int]int) (seenUntil, keptUntil map[int]int) {
	seenUntil, keptUntil = make(map[int]int), make(map[int]int)
	note := func(f *formula) {
		if last := p.last(f); last >= 0 {
			seen, keeps := make(map[int]bool), make(map[int]bool)
			f.uses(seen, keeps)
			for i := range seen {
				seenUntil[i] = max(seenUntil[i], order[last])
			}
			for i := range keeps {
				keptUntil[i] = max(keptUntil[i], order[last])
			}
		}
	}
	for _, d := range p.payments {
		note(d.amount)
	}
	for _, k := range p.kept {
		note(k.f)
	}
	return seenUntil, keptUntil
}

// keep writes that a value is kept from now on, amounts to the nearest part of a unit.
func (w *writer) keep(i int) error {
	k := w.plan.kept[i]
	text, err := w.formula(k.f)
	if err != nil {
		return err
	}
	lo, hi := toward0(k.lo, w.scale.Figures), toward0(k.hi, w.scale.Figures)
	if part := big.NewInt(w.scale.part(k)); part.Int64() > 1 {
		away := new(big.Int) // parts, so that nothing that is divided is below 0
		if lo.Sign() < 0 {
			away.Sub(big.NewInt(1), new(big.Int).Quo(lo, part))
		}
		shift := new(big.Int).Mul(away, part)
		text = fmt.Sprintf("(%s + %s) / %s - %s", text, shift.Add(shift, new(big.Int).Quo(part, big.NewInt(2))), part, away)
		if k.lo.Sign() < 0 {
			lo = new(big.Int).Neg(away)
		} else {
			lo = new(big.Int).Quo(lo, part)
		}
		hi = hi.Add(hi.Quo(hi, part), big.NewInt(1))
	}
	// A counter begins at 0 and is forgotten by 0.
	least, most := lo, hi
	if least.Sign() > 0 {
		least = new(big.Int)
	}
	if most.Sign() < 0 {
		most = new(big.Int)
	}
	fmt.Fprintf(&w.body, "    set %s = max(%s, min(%s, %s))\n", w.hold(k.kind(), i, least, most), lo, hi, text)
	return nil
}
