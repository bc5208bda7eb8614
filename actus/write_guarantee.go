package actus

import (
	"fmt"
	"math/big"
	"time"
)

// guaranteed writes a guarantee: a phase for each stretch in which what is owed is one formula of the moment, one for the price of
// each collateral, and one until the payment.
func (w *writer) guaranteed(g *guarantee) error {
	limit := toward0(g.most(), w.scale.Money)
	if !limit.IsInt64() || limit.Int64() > w.limit {
		return errScale
	}
	cover := limit.Int64() + 1
	from, to := "other", "keeper"
	if g.mine {
		from, to = to, from
	}
	pot, err := w.pot(from, g.currency, ladder(cover))
	if err != nil {
		return err
	}
	fmt.Fprintf(&w.head, "counter due = 0 in 0..%d units\n", cover)
	if len(g.collateral) > 1 {
		fmt.Fprintf(&w.head, "counter behind = 0 in 0..%d units\n", cover)
	}
	for _, name := range g.covered {
		if _, err := w.oracle(name, valueRange{new(big.Rat), new(big.Rat).Mul(big.NewRat(3, 1), power(-w.scale.Figures))}); err != nil {
			return err
		}
	}
	shift := ""
	if g.weekdays != 0 {
		// A Monday is day 0 of a week; the first is one before the start.
		monday := w.start
		for monday.Weekday() != time.Monday {
			monday = monday.AddDate(0, 0, -1)
		}
		day := fmt.Sprintf("((now - start) / 1 days + %d)", int64(w.start.Sub(monday).Hours())/24+int64(g.days))
		shift = fmt.Sprintf("    set shifted = shift(%s - 7 * (%s / 7))\n", day, day)
		w.head.WriteString("counter shifted = 0 in -2..2\n")
		w.head.WriteString(map[int]string{
			1:  "curve shift : 0 -> 0, 4 -> 0, 5 -> 2, 6 -> 1\n",
			-1: "curve shift : 0 -> 0, 4 -> 0, 5 -> -1, 6 -> -2\n",
		}[g.weekdays])
	}
	after := "Payment"
	if len(g.collateral) > 0 {
		after = "Price1"
	}
	if err := w.fixed(); err != nil {
		return err
	}
	// What is paid for the guarantee comes when a stretch begins, or before the first.
	pays := func(from, until time.Time) error {
		for i, p := range w.plan.payments {
			if p.at.After(from) && !p.at.After(until) {
				if err := w.payment(i, false); err != nil {
					return err
				}
			}
		}
		return nil
	}
	fmt.Fprintf(&w.body, "phase Before until %s\n  at deadline:\n", w.when(g.stretches[0].from))
	if err := pays(time.Time{}, g.stretches[0].from); err != nil {
		return err
	}
	w.body.WriteString("    next Stretch1\n")
	for i, s := range g.stretches {
		owed, daily := nearest(s.owed, w.scale.Figures), nearest(s.perDay, w.scale.Figures)
		if most := new(big.Rat).Mul(g.most(), power(w.scale.Figures+1)); most.Cmp(tooLarge) > 0 {
			return errScale
		}
		due := fmt.Sprintf("%s units", toward0(s.owed, w.scale.Money))
		if daily.Sign() != 0 {
			// No moment of the stretch is later, but the clause has to hold for any.
			formula := fmt.Sprintf("%s + %s * min(%d, max(0, (now - start) / 1 days - %d))", owed, daily, int64(s.until.Sub(s.from).Hours())/24, int64(s.from.Sub(w.start).Hours())/24)
			due = fmt.Sprintf("min(%d units, max(0 units, %s))", cover, w.units(formula))
		}
		fmt.Fprintf(&w.body, "phase Stretch%d until %s\n", i+1, w.when(s.until))
		for k := range g.covered {
			fmt.Fprintf(&w.body, "  when oracle o%d each 1 days if o%d = %d:\n    set due = %s\n%s    next %s\n", k+1, k+1, g.performing, due, shift, after)
		}
		w.body.WriteString("  at deadline:\n")
		if err := pays(s.from, s.until); err != nil {
			return err
		}
		if i+1 < len(g.stretches) {
			fmt.Fprintf(&w.body, "    next Stretch%d\n", i+2)
		} else {
			w.body.WriteString("    close\n")
		}
	}
	for i, c := range g.collateral {
		n, err := w.oracle(c.object, c.price.valueRange)
		if err != nil {
			return err
		}
		worth, err := w.product(c, fmt.Sprintf("o%d", n+1))
		if err != nil {
			return err
		}
		// Without a price in time the collateral counts as enough: silence does not serve the one who has to pay.
		fmt.Fprintf(&w.body, "phase Price%d until now + 1 days\n  when oracle o%d each 1 days:\n", i+1, n+1)
		switch {
		case len(g.collateral) == 1:
			fmt.Fprintf(&w.body, "    set due = min(due, max(0 units, %s))\n    next Payment\n  at deadline: next Payment\n", worth)
		case i+1 == len(g.collateral):
			fmt.Fprintf(&w.body, "    set due = min(due, max(0 units, behind + %s))\n    set behind = 0\n    next Payment\n  at deadline: next Payment\n", worth)
		default:
			fmt.Fprintf(&w.body, "    set behind = min(%d units, max(0 units, behind + %s))\n    next Price%d\n  at deadline: next Payment\n", cover, worth, i+2)
		}
	}
	end := fmt.Sprintf("now + %d days", g.days)
	if g.weekdays != 0 {
		end += " + 1 days * shifted"
	}
	fmt.Fprintf(&w.body, "phase Payment until %s\n  at deadline:\n    give min(left(%s), due) of %s to %s\n    close\n", end, pot, pot, to)
	return nil
}

// product writes what a collateral is worth, in units.
func (w *writer) product(c collateral, price string) (string, error) {
	most := new(big.Rat).Mul(c.quantity, c.price.hi)
	if most.Mul(most, power(w.scale.Figures+1)).Cmp(tooLarge) > 0 {
		return "", errScale
	}
	if c.quantity.IsInt() {
		return w.units(c.quantity.Num().String() + " * " + price), nil
	}
	return w.units(fmt.Sprintf("share(%s, %s, %s)", nearest(c.quantity, w.scale.Figures), price, power(w.scale.Figures).Num())), nil
}
