package actus

import (
	"math/big"
	"slices"
	"sort"
	"time"
)

// events lists what happens to the loan, in order.
func (l *loanState) events() (list []loanEvent, err error) {
	t := l.t
	list = append(list, loanEvent{at: l.start, what: exchangeStart})
	if t.text("contractType") != "UMP" {
		list = append(list, loanEvent{at: l.end, what: maturity})
	}
	if !l.fixing.IsZero() {
		list = append(list, loanEvent{at: l.fixing, what: fixing})
	}
	for _, at := range l.redemptions {
		list = append(list, loanEvent{at: at, what: redemption})
	}
	for _, e := range l.b.c.Events { // what is paid ahead, or into and out of an account, is observed
		id, effect := t.text("contractID"), t.text("prepaymentEffect")
		if e.ContractID != "" && e.ContractID != id || e.Type != "PP" && (e.Type != "PR" || t.text("contractType") != "UMP") {
			continue
		}
		if e.Type == "PP" && effect == "N" {
			return nil, leftOut("something was paid ahead that its terms do not let be (prepaymentEffect N)")
		}
		at, err := parseTime(e.Time)
		if err != nil {
			return nil, err
		}
		paid, err := e.Value.Rat()
		if err != nil {
			return nil, err
		}
		list = append(list, loanEvent{at, prepaid, paid})
	}
	more, lists, err := l.arrays()
	if err != nil {
		return nil, err
	}
	list = append(list, more...)
	until, capital, err := t.date("capitalizationEndDate")
	if err != nil {
		return nil, err
	}
	var paid []time.Time
	anchor, ok, err := t.date("cycleAnchorDateOfInterestPayment")
	if err != nil {
		return nil, err
	}
	cycle := t.text("cycleOfInterestPayment")
	switch typ := t.text("contractType"); {
	case lists != nil:
		paid = lists
	case !t.has("nominalInterestRate"):
	case ok || cycle != "":
		if !ok {
			p, err := parsePeriod(cycle)
			if err != nil {
				return nil, err
			}
			anchor = p.plus(l.start, 1, t.text("endOfMonthConvention") == "EOM")
		}
		if paid, err = schedule(anchor, cycle, l.end, t, true); err != nil {
			return nil, err
		}
	case typ == "NAM" || typ == "ANN":
		paid = append(slices.Clone(l.redemptions), l.end)
	}
	if typ := t.text("contractType"); typ == "CLM" || typ == "UMP" { // interest is added until it is called
		for _, at := range paid {
			if at.Before(l.end) {
				list = append(list, loanEvent{at: at, what: capitalization})
			}
		}
		if paid = nil; typ == "CLM" {
			paid = []time.Time{l.end}
		}
	}
	if capital && !slices.ContainsFunc(paid, until.Equal) {
		paid = append(paid, until)
	}
	for _, at := range paid {
		if capital && !at.After(until) {
			list = append(list, loanEvent{at: at, what: capitalization})
		} else {
			list = append(list, loanEvent{at: at, what: interest})
		}
	}
	for _, c := range []struct {
		anchor, cycle string
		what          int
	}{{"cycleAnchorDateOfRateReset", "cycleOfRateReset", reset}, {"cycleAnchorDateOfFee", "cycleOfFee", fee},
		{"cycleAnchorDateOfScalingIndex", "cycleOfScalingIndex", scaling}, {"cycleAnchorDateOfInterestCalculationBase", "cycleOfInterestCalculationBase", rebase}} {
		anchor, ok, err := t.date(c.anchor)
		if err != nil {
			return nil, err
		}
		cycle := t.text(c.cycle)
		if !ok && cycle == "" || c.what == fee && l.feeRate.is(0) || c.what == rebase && t.text("interestCalculationBase") != "NTL" {
			continue
		}
		if !ok {
			p, err := parsePeriod(cycle)
			if err != nil {
				return nil, err
			}
			anchor = p.plus(l.start, 1, t.text("endOfMonthConvention") == "EOM")
		}
		dates, err := schedule(anchor, cycle, l.end, t, c.what == fee)
		if err != nil {
			return nil, err
		}
		for _, at := range dates {
			if at.Before(l.end) || c.what == fee {
				list = append(list, loanEvent{at: at, what: c.what})
			}
		}
	}
	for _, d := range []struct {
		name string
		what int
	}{{"purchaseDate", purchase}, {"terminationDate", termination}} {
		if at, ok, err := t.date(d.name); err != nil {
			return nil, err
		} else if ok {
			list = append(list, loanEvent{at: at, what: d.what})
		}
	}
	sort.SliceStable(list, func(i, j int) bool {
		if !list[i].at.Equal(list[j].at) {
			return list[i].at.Before(list[j].at)
		}
		return list[i].what < list[j].what
	})
	return list, nil
}

// arrays reads what of a LAX follows each other: cycles each up to the anchor of the next, with a part of the principal that is paid back or
// lent on top, with a rate that is fixed or a spread on an observed one, or with interest.
func (l *loanState) arrays() (list []loanEvent, paid []time.Time, err error) {
	if l.t.text("contractType") != "LAX" {
		return nil, nil, nil
	}
	for _, a := range []struct{ of, figures, kinds string }{
		{"PrincipalRedemption", "arrayNextPrincipalRedemptionPayment", "arrayIncreaseDecrease"},
		{"InterestPayment", "", ""},
		{"RateReset", "arrayRate", "arrayFixedVariable"},
	} {
		anchors, cycles := l.t.list("arrayCycleAnchorDateOf"+a.of), l.t.list("arrayCycleOf"+a.of)
		figures, kinds := l.t.list(a.figures), l.t.list(a.kinds)
		for i, text := range anchors {
			anchor, err := parseTime(text)
			if err != nil {
				return nil, nil, err
			}
			end, last := l.end, i+1 == len(anchors)
			if !last {
				if end, err = parseTime(anchors[i+1]); err != nil {
					return nil, nil, err
				}
			}
			cycle := ""
			if i < len(cycles) {
				cycle = cycles[i]
			}
			dates, err := schedule(anchor, cycle, end, l.t, a.figures == "" && last)
			if err != nil {
				return nil, nil, err
			}
			if a.figures == "" {
				paid = append(paid, dates...)
				continue
			}
			if i >= len(figures) || i >= len(kinds) {
				return nil, nil, leftOut("%s or %s is shorter than its anchors", a.figures, a.kinds)
			}
			figure, err := Scalar(figures[i]).Rat()
			if err != nil {
				return nil, nil, err
			}
			what, ok := map[string]int{"INC": increase, "DEC": redemption, "F": firstReset, "FIX": firstReset, "V": reset, "VAR": reset}[kinds[i]]
			if !ok {
				return nil, nil, leftOut("%q in %s is not known", kinds[i], a.kinds)
			}
			for _, at := range dates {
				if at.Before(end) && at.Before(l.end) {
					list = append(list, loanEvent{at, what, figure})
				}
			}
		}
	}
	slices.SortFunc(paid, time.Time.Compare)
	return list, slices.CompactFunc(paid, time.Time.Equal), nil
}

// anchor is where a cycle begins: at its term, else one period after the start.
func (l *loanState) anchor(name string, p period) (time.Time, error) {
	at, ok, err := l.t.date(name)
	if !ok {
		at = p.plus(l.start, 1, l.t.text("endOfMonthConvention") == "EOM")
	}
	return at, err
}

// lastPart is the end of a loan that says only what is paid each time: it comes with the last of the parts that the principal has, of
// a NAM those that are left of a payment after the interest of its first period.
func (l *loanState) lastPart(principal, part *big.Rat) (end time.Time, err error) {
	typ := l.t.text("contractType")
	if typ == "LAX" {
		return l.lastOfArrays(principal)
	}
	p, err := parsePeriod(l.t.text("cycleOfPrincipalRedemption"))
	if typ != "LAM" && typ != "NAM" || err != nil {
		return end, leftOut("there is no maturityDate")
	}
	first, err := l.anchor("cycleAnchorDateOfPrincipalRedemption", p)
	if err != nil {
		return end, err
	}
	eom := l.t.text("endOfMonthConvention") == "EOM"
	for i := 0; !first.After(l.b.status); i++ { // what was before has left its mark in the principal
		if i > maxDates || p.days+p.months == 0 {
			return end, leftOut("it is repaid in more than %d parts", maxDates)
		}
		first = p.plus(first, 1, eom)
	}
	if typ == "NAM" {
		y, err := l.t.years(p.plus(first, -1, eom), first)
		if err != nil {
			return end, err
		}
		part = new(big.Rat).Sub(part, new(big.Rat).Mul(principal, new(big.Rat).Mul(y, l.rate.value)))
	}
	if part.Sign() <= 0 {
		return end, leftOut("there is no maturityDate")
	}
	count := upward(new(big.Rat).Quo(principal, part))
	if !count.IsInt64() || count.Int64() > maxDates {
		return end, leftOut("it is repaid in more than %d parts", maxDates)
	}
	return p.plus(first, max(0, int(count.Int64())-1), eom), nil
}

// lastOfArrays is when the parts of a LAX have repaid its principal.
func (l *loanState) lastOfArrays(principal *big.Rat) (end time.Time, err error) {
	anchors, cycles := l.t.list("arrayCycleAnchorDateOfPrincipalRedemption"), l.t.list("arrayCycleOfPrincipalRedemption")
	figures, kinds := l.t.list("arrayNextPrincipalRedemptionPayment"), l.t.list("arrayIncreaseDecrease")
	eom, left := l.t.text("endOfMonthConvention") == "EOM", new(big.Rat).Set(principal)
	for i := range min(len(anchors), len(cycles), len(figures), len(kinds)) {
		anchor, err := parseTime(anchors[i])
		if err != nil {
			return end, err
		}
		p, err := parsePeriod(cycles[i])
		if err != nil {
			return end, err
		}
		figure, err := Scalar(figures[i]).Rat()
		if err != nil {
			return end, err
		}
		next := farAway
		if i+1 < len(anchors) {
			if next, err = parseTime(anchors[i+1]); err != nil {
				return end, err
			}
		}
		for k := 0; k < maxDates; k++ {
			at := p.plus(anchor, k, eom)
			if !at.Before(next) {
				break
			}
			if kinds[i] == "INC" {
				left.Add(left, figure)
			} else if left.Sub(left, figure); left.Sign() <= 0 {
				return at, nil
			}
		}
	}
	return end, leftOut("there is no maturityDate, and its parts do not repay it")
}

// evenly divides the principal by the periods that are left.
func (l *loanState) evenly(p period, anchor time.Time) error {
	eom := l.t.text("endOfMonthConvention") == "EOM"
	for i := 0; !anchor.After(l.b.status) && i < maxDates; i++ {
		anchor = p.plus(anchor, 1, eom)
	}
	all, err := l.t.years(anchor, l.end)
	if err != nil {
		return err
	}
	one, err := l.t.years(anchor, p.plus(anchor, 1, eom))
	if err != nil || one.Sign() == 0 || all.Sign() <= 0 {
		return err
	}
	l.next = constant(new(big.Rat).Quo(l.principal.value, new(big.Rat).SetInt(upward(new(big.Rat).Quo(all, one)))))
	return nil
}

// upward is the least whole number that is not less.
func upward(r *big.Rat) *big.Int {
	n := new(big.Int).Add(r.Num(), new(big.Int).Sub(r.Denom(), big.NewInt(1)))
	return n.Div(n, r.Denom())
}

// annuity computes the payment that repays the principal and what has accrued with equal payments from a moment on: they are divided by
// what payments of 1 are worth when the first of them is due.
func (l *loanState) annuity(from time.Time) error {
	dates := l.annuities
	for len(dates) > 1 && (!dates[0].After(l.b.status) || !dates[0].After(from)) { // what was before has left its mark in the principal
		if dates[0].After(from) {
			from = dates[0]
		}
		dates = dates[1:]
	}
	if len(dates) == 0 {
		return leftOut("an annuity has no payments")
	}
	y, err := l.t.years(from, dates[0])
	if err != nil {
		return err
	}
	owed := plus(plus(l.principal, times(times(constant(y), l.rate), l.principal)), l.accrued) // when the first is paid
	worth := whole(1)
	if len(dates) > 1 {
		factors := make([]*formula, len(dates)-1)
		for i, at := range dates[1:] {
			y, err := l.t.years(dates[i], at)
			if err != nil {
				return err
			}
			grows := plus(whole(1), times(constant(y), l.rate))
			if l.b.plan.bounds(grows).lo.Sign() <= 0 {
				return leftOut("the rate of an annuity may be so far below zero that no payments repay it")
			}
			factors[i] = quotient(whole(1), grows)
		}
		_, rest := discount(factors)
		worth = plus(worth, rest)
	}
	l.next = quotient(owed, worth)
	if l.rate.op != opConst {
		l.next = l.b.plan.keep(l.next, true)
	}
	return nil
}

// discount multiplies factors, and adds up the first, the first times the second, and so on: halves first, so that many are no deep
// formula. All of it falls with the rate alike, so its bounds are exact.
func discount(factors []*formula) (all, sum *formula) {
	if len(factors) == 1 {
		return factors[0], factors[0]
	}
	half := len(factors) / 2
	a, s := discount(factors[:half])
	b, t := discount(factors[half:])
	return times(a, b), plus(s, times(a, t))
}
