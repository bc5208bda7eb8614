package actus

import (
	"math/big"
	"slices"
	"sort"
	"time"
)

// What happens to a loan, in the order in which ACTUS has it on one day.
const (
	exchangeStart = iota
	fee
	redemption
	interest
	capitalization
	firstReset
	reset
	purchase
	termination
	maturity
)

type loanEvent struct {
	at   time.Time
	what int
}

// loan is a principal that is lent, bears interest at a rate that may be reset by an observed one, and is repaid: at the end (PAM,
// CLM), in equal parts (LAM), or in payments that interest comes first out of (NAM, ANN). An account (UMP) has no end but its termination;
// its interest is added to it (ACTUS technical specification 1.1, section 7.7).
func (b *builder) loan(t Terms, sign int64) ([]payment, error) {
	if err := t.refuse("not translated", "scalingIndexAtContractDealDate", "marketObjectCodeOfScalingIndex", "fixingPeriod", "arrayCycleAnchorDateOfPrincipalRedemption"); err != nil {
		return nil, err
	}
	if p := t.text("prepaymentEffect"); p != "" && p != "N" {
		return nil, leftOut("prepayments are not translated")
	}
	if p := t.text("interestCalculationBase"); p != "" && p != "NT" && p != "NTIED" {
		return nil, leftOut("the interest base %q is not translated", p)
	}
	l := loanState{b: b, t: t, sign: sign}
	if err := l.read(); err != nil {
		return nil, err
	}
	events, err := l.events()
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		if err := l.happen(e); err != nil {
			return nil, err
		}
		of := l.principal
		if l.base != nil {
			of = l.base
		}
		l.trace = append(l.trace, exposure{e.at, l.principal, l.accrued, times(l.rate, of)})
		if l.over {
			break
		}
	}
	b.trace = l.trace
	return l.list, nil
}

// loanState is what a loan stands at while its events go by.
type loanState struct {
	b                        *builder
	t                        Terms
	sign                     int64
	start, end               time.Time
	redemptions              []time.Time
	principal, rate, accrued *formula
	fees, feeRate            *formula // what of fees has accrued, and the fee of a year or, with the basis A, of each time
	base, next               *formula // what interest is computed of, if not of the principal; the next payment
	last                     time.Time
	resetBefore, over        bool
	trace                    []exposure // what it stood at after each event
	list                     []payment
}

func (l *loanState) read() (err error) {
	t := l.t
	if l.start, err = t.need("initialExchangeDate"); err != nil {
		return err
	}
	principal, err := t.number("notionalPrincipal", 0)
	if err != nil {
		return err
	}
	rate, err := t.number("nominalInterestRate", 0)
	if err != nil {
		return err
	}
	l.principal, l.rate, l.accrued = constant(principal), constant(rate), whole(0)
	if t.text("interestCalculationBase") == "NTIED" {
		l.base = l.principal
	}
	charged, err := t.number("feeRate", 0)
	if err != nil {
		return err
	}
	given, err := t.number("feeAccrued", 0)
	if err != nil {
		return err
	}
	l.fees, l.feeRate = constant(given), constant(charged)
	if b := t.text("feeBasis"); charged.Sign() != 0 && b != "A" && b != "N" {
		return leftOut("the base of fees %q is not known", b)
	}
	typ := t.text("contractType")
	end, ok, err := t.date("maturityDate")
	if err != nil {
		return err
	}
	part, err := t.number("nextPrincipalRedemptionPayment", 0)
	if err != nil {
		return err
	}
	l.next = constant(part)
	repays := typ == "LAM" || typ == "NAM" || typ == "ANN"
	if typ == "UMP" || !ok && typ == "CLM" {
		end, ok = l.b.to, true // it has not been called by then, or has no end but its termination
	}
	if !ok {
		if typ != "LAM" || part.Sign() <= 0 {
			return leftOut("there is no maturityDate")
		}
		// As many parts as the principal has.
		n := new(big.Rat).Quo(principal, part)
		count := new(big.Int).Quo(new(big.Int).Sub(new(big.Int).Add(n.Num(), n.Denom()), big.NewInt(1)), n.Denom())
		p, err := parsePeriod(t.text("cycleOfPrincipalRedemption"))
		if err != nil {
			return err
		}
		anchor, err := l.anchor("cycleAnchorDateOfPrincipalRedemption", p)
		if err != nil {
			return err
		}
		if !count.IsInt64() || count.Int64() > maxDates {
			return leftOut("it is repaid in more than %d parts", maxDates)
		}
		end = p.plus(anchor, int(count.Int64())-1, t.text("endOfMonthConvention") == "EOM")
	}
	l.end = end
	if !repays {
		return nil
	}
	cycle := t.text("cycleOfPrincipalRedemption")
	p, err := parsePeriod(cycle)
	if err != nil {
		return err
	}
	anchor, err := l.anchor("cycleAnchorDateOfPrincipalRedemption", p)
	if err != nil {
		return err
	}
	if l.redemptions, err = schedule(anchor, cycle, l.end, t, false); err != nil {
		return err
	}
	l.redemptions = slices.DeleteFunc(l.redemptions, func(at time.Time) bool { return !at.Before(l.end) })
	if typ == "ANN" && part.Sign() == 0 {
		return l.annuity()
	}
	return nil
}

// anchor is where a cycle begins: at its term, else one period after the start.
func (l *loanState) anchor(name string, p period) (time.Time, error) {
	at, ok, err := l.t.date(name)
	if !ok {
		at = p.plus(l.start, 1, l.t.text("endOfMonthConvention") == "EOM")
	}
	return at, err
}

// annuity computes the payment that repays the principal with equal payments, at a rate that is known.
func (l *loanState) annuity() error {
	if l.rate.op != opConst || l.t.has("cycleOfRateReset") || l.t.has("cycleAnchorDateOfRateReset") {
		return leftOut("the payments of an annuity at rates not yet known are quotients of what is observed")
	}
	grown, sum := big.NewRat(1, 1), new(big.Rat)
	dates := append(slices.Clone(l.redemptions), l.end)
	one := big.NewRat(1, 1)
	for i := len(dates) - 1; i >= 0; i-- {
		sum.Add(sum, grown)
		from := l.start
		if i > 0 {
			from = dates[i-1]
		}
		y, err := l.t.years(from, dates[i])
		if err != nil {
			return err
		}
		grown = new(big.Rat).Mul(grown, new(big.Rat).Add(one, new(big.Rat).Mul(y, l.rate.value)))
	}
	l.next = constant(new(big.Rat).Quo(new(big.Rat).Mul(l.principal.value, grown), sum))
	return nil
}

func (l *loanState) events() (list []loanEvent, err error) {
	t := l.t
	list = append(list, loanEvent{l.start, exchangeStart})
	if t.text("contractType") != "UMP" {
		list = append(list, loanEvent{l.end, maturity})
	}
	for _, at := range l.redemptions {
		list = append(list, loanEvent{at, redemption})
	}
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
				list = append(list, loanEvent{at, capitalization})
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
			list = append(list, loanEvent{at, capitalization})
		} else {
			list = append(list, loanEvent{at, interest})
		}
	}
	for _, c := range []struct {
		anchor, cycle string
		what          int
	}{{"cycleAnchorDateOfRateReset", "cycleOfRateReset", reset}, {"cycleAnchorDateOfFee", "cycleOfFee", fee}} {
		anchor, ok, err := t.date(c.anchor)
		if err != nil {
			return nil, err
		}
		cycle := t.text(c.cycle)
		if !ok && cycle == "" || c.what == fee && l.feeRate.is(0) {
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
				list = append(list, loanEvent{at, c.what})
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
			list = append(list, loanEvent{at, d.what})
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

// pay adds a payment on a day on which one works.
func (l *loanState) pay(at time.Time, amount *formula, kind string) error {
	day, err := l.t.shifted(at)
	l.list = append(l.list, payment{day, l.t.text("currency"), times(whole(l.sign), amount), kind})
	return err
}

// happen applies one event. What was before the date of the record has left its mark in the terms, but for interest.
func (l *loanState) happen(e loanEvent) error {
	day, err := l.t.counted(e.at)
	if err != nil {
		return err
	}
	before := !e.at.After(l.b.status)
	if text := l.t.text("accruedInterest"); text != "" && !before && !l.last.IsZero() && !l.last.After(l.b.status) {
		given, err := l.t.number("accruedInterest", 0)
		if err != nil {
			return err
		}
		l.accrued, l.last = constant(given), l.b.status
	}
	if e.what == exchangeStart {
		l.last = day
		discount, err := l.t.number("premiumDiscountAtIED", 0)
		if err != nil {
			return err
		}
		return l.pay(e.at, times(whole(-1), plus(l.principal, constant(discount))), "IED")
	}
	if !l.last.IsZero() && day.After(l.last) {
		y, err := l.t.years(l.last, day)
		if err != nil {
			return err
		}
		of := l.principal
		if l.base != nil {
			of = l.base
		}
		l.accrued = plus(l.accrued, times(times(constant(y), l.rate), of))
		if l.t.text("feeBasis") == "N" && !(before && l.t.has("feeAccrued")) {
			l.fees = plus(l.fees, times(times(constant(y), l.feeRate), l.principal))
		}
		l.last = day
	}
	switch e.what {
	case fee:
		amount := l.feeRate
		if l.t.text("feeBasis") == "N" {
			amount = l.fees
		}
		if !before || !l.t.has("feeAccrued") {
			l.fees = whole(0)
		}
		return l.pay(e.at, amount, "FP")
	case redemption:
		return l.redeem(e.at, before)
	case interest:
		err := l.pay(e.at, l.accrued, "IP")
		l.accrued = whole(0)
		return err
	case capitalization:
		if !before {
			l.principal = plus(l.principal, l.accrued)
		}
		l.accrued = whole(0)
	case reset:
		if before {
			return nil
		}
		return l.reset(e.at)
	case purchase:
		price, err := l.t.number("priceAtPurchaseDate", 0)
		if err != nil {
			return err
		}
		l.list = nil
		return l.pay(e.at, times(whole(-1), plus(constant(price), l.accrued)), "PRD")
	case termination:
		price, err := l.t.number("priceAtTerminationDate", 0)
		if err != nil {
			return err
		}
		l.over = true
		return l.pay(e.at, plus(constant(price), l.accrued), "TD")
	case maturity:
		l.over = true
		err := l.pay(e.at, l.principal, "MD")
		l.principal, l.accrued = whole(0), whole(0)
		return err
	}
	return nil
}

func (l *loanState) redeem(at time.Time, before bool) error {
	if before {
		return nil
	}
	part := l.next
	if typ := l.t.text("contractType"); typ != "LAM" {
		part = minus(l.next, l.accrued)
	}
	part = lesser(part, l.principal)
	l.principal = minus(l.principal, part)
	if l.principal.size > maxSize {
		return leftOut("an amount depends on too many observed values")
	}
	return l.pay(at, part, "PR")
}

// reset takes the rate of a market object, within the bounds of the terms.
func (l *loanState) reset(at time.Time) error {
	if fixed := l.t.text("nextResetRate"); fixed != "" && !l.resetBefore {
		l.resetBefore = true
		r, err := l.t.number("nextResetRate", 0)
		l.rate = constant(r)
		return err
	}
	v, err := l.b.see(l.t.text("marketObjectCodeOfRateReset"), at)
	if err != nil {
		return err
	}
	figures := make(map[string]*formula)
	for name, without := range map[string]int64{"rateMultiplier": 1, "rateSpread": 0, "lifeCap": 0, "lifeFloor": 0, "periodCap": 0, "periodFloor": 0} {
		r, err := l.t.number(name, without)
		if err != nil {
			return err
		}
		figures[name] = constant(r)
	}
	rate := plus(times(figures["rateMultiplier"], v), figures["rateSpread"])
	if l.t.has("periodCap") {
		rate = lesser(rate, plus(l.rate, figures["periodCap"]))
	}
	if l.t.has("periodFloor") {
		rate = greatest(rate, plus(l.rate, figures["periodFloor"]))
	}
	if l.t.has("lifeCap") {
		rate = lesser(rate, figures["lifeCap"])
	}
	if l.t.has("lifeFloor") {
		rate = greatest(rate, figures["lifeFloor"])
	}
	l.rate = rate
	return nil
}
