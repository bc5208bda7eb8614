package actus

import (
	"math/big"
	"slices"
	"strings"
	"time"
)

// boundary is one or two contracts that a value switches on or off when it has crossed a boundary, as it is observed on some days (BCS).
// That it has crossed is a figure, 0 or 1, which the contract keeps; what is paid on a day is multiplied by it.
func (b *builder) boundary(t Terms) (list []payment, err error) {
	objects, err := t.parts("externalReferenceIndex")
	if err != nil {
		return nil, err
	}
	if len(objects) != 1 {
		return nil, leftOut("it watches %d values, not one", len(objects))
	}
	days, crossed, err := b.crossings(t, objects[0].text("marketObjectCode"))
	if err != nil {
		return nil, err
	}
	effect, active := t.text("boundaryEffect"), t.text("boundaryLegInitiallyActive")
	in, ok := map[string]string{"knockINFirstLeg": "FIL", "knockINSecondLeg": "SEL", "knockOUTCurrent": ""}[effect]
	if !ok {
		return nil, leftOut("the effect of the boundary %q is not known", effect)
	}
	// As the reference has it, one side of the switch is paid and the other received, whatever the roles that the legs name.
	sides := map[string]int64{"FIL": -1, "SEL": 1}
	if t.text("contractRole") == "RFL" {
		sides = map[string]int64{"FIL": 1, "SEL": -1}
	}
	for _, role := range []string{"FIL", "SEL"} {
		legs, err := t.parts(role)
		if err != nil {
			return nil, err
		}
		if len(legs) > 1 || len(legs) == 0 && (role == in || role == active) {
			return nil, leftOut("it has %d legs %s, not one", len(legs), role)
		}
		var more []payment
		switch {
		case role == in && role == active: // it begins at once, and goes on
			more, err = b.leg(legs[0], sides[role], time.Time{})
		case role == in:
			more, err = b.switchedOn(legs[0], sides[role], days, crossed)
		case role == active:
			more, err = b.switchedOff(legs[0], sides[role], days, crossed)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

// leg is what a leg pays, of a loan that begins on another day if one is given. How many pieces an option is for does not count, as the
// reference has it.
func (b *builder) leg(t Terms, sign int64, from time.Time) ([]payment, error) {
	t = t.with(map[string]string{"quantity": ""})
	if !from.IsZero() && t.has("initialExchangeDate") {
		t = t.with(map[string]string{"initialExchangeDate": from.Format("2006-01-02T15:04:05")})
	}
	return b.contract(t, sign)
}

// crossings are the days on which the value is looked at, and whether it has crossed by each.
func (b *builder) crossings(t Terms, object string) (days []time.Time, crossed []*formula, err error) {
	anchor, err := t.need("boundaryMonitoringAnchorDate")
	if err != nil {
		return nil, nil, err
	}
	end, err := t.need("boundaryMonitoringEndDate")
	if err != nil {
		return nil, nil, err
	}
	if days, err = schedule(anchor, t.text("boundaryMonitoringCycle"), end, t, true); err != nil {
		return nil, nil, err
	}
	boundary, err := t.number("boundaryValue", 0)
	if err != nil {
		return nil, nil, err
	}
	so := whole(0)
	if strings.EqualFold(t.text("boundaryCrossedFlag"), "true") {
		so = whole(1)
	}
	for _, at := range days {
		v, err := b.see(object, at)
		if err != nil {
			return nil, nil, err
		}
		o := &b.plan.seen[v.index]
		o.exact = max(o.exact, decimals(boundary), decimals(o.value))
		var over *formula
		switch d := t.text("boundaryDirection"); d {
		case "INCR":
			over = step(minus(v, constant(boundary)))
		case "DECR":
			over = step(minus(constant(boundary), v))
		default:
			return nil, nil, leftOut("the direction %q is not known", d)
		}
		so = b.plan.keep(greatest(so, over), false)
		crossed = append(crossed, so)
	}
	return days, crossed, nil
}

// decimals is how many decimal digits a figure has, 14 at most.
func decimals(r *big.Rat) int {
	for n := range 14 {
		if new(big.Rat).Mul(r, power(n)).IsInt() {
			return n
		}
	}
	return 14
}

// switchedOn is what a leg pays that begins when the value has crossed: for each day on which that may be, the payments from then on,
// multiplied by whether it was that day. What is paid alike on whichever day it began is multiplied by whether it has.
func (b *builder) switchedOn(leg Terms, sign int64, days []time.Time, crossed []*formula) (list []payment, err error) {
	type share struct {
		payment
		first, last int // began on one of these days
	}
	var all []share
	for i, day := range days {
		payments, err := b.leg(leg, sign, day)
		if err != nil {
			return nil, err
		}
		for _, p := range payments {
			if p.at.Before(day) {
				continue
			}
			k := slices.IndexFunc(all, func(s share) bool {
				return s.last == i-1 && s.at.Equal(p.at) && s.currency == p.currency && s.kind == p.kind && s.amount.alike(p.amount)
			})
			if k >= 0 {
				all[k].last = i
			} else {
				all = append(all, share{p, i, i})
			}
		}
	}
	for _, s := range all {
		began := crossed[s.last]
		if s.first > 0 {
			began = minus(began, crossed[s.first-1])
		}
		s.amount = times(began, s.amount)
		list = append(list, s.payment)
	}
	return list, nil
}

// switchedOff is what a leg pays until the value has crossed: on that day still what comes before an end.
func (b *builder) switchedOff(leg Terms, sign int64, days []time.Time, crossed []*formula) (list []payment, err error) {
	payments, err := b.leg(leg, sign, time.Time{})
	if err != nil {
		return nil, err
	}
	for _, p := range payments {
		ends := p.kind == "MD" || p.kind == "STD"
		n := 0
		for n < len(days) && (days[n].Before(p.at) || ends && days[n].Equal(p.at)) {
			n++
		}
		if n > 0 {
			p.amount = times(minus(whole(1), crossed[n-1]), p.amount)
		}
		list = append(list, p)
	}
	return list, nil
}
