package actus

import (
	"errors"
	"math/big"
	"slices"
	"strings"
	"time"
)

// What happens to a loan, in the order in which ACTUS has it on one day.
const (
	exchangeStart = iota
	fee
	redemption
	increase
	prepaid
	fixing // of the payments of an annuity
	interest
	capitalization
	firstReset
	reset
	purchase
	termination
	scaling
	rebase
	maturity
)

type loanEvent struct {
	at     time.Time
	what   int
	figure *big.Rat // of a LAX: a part of the principal, a fixed rate, a spread
}

// loan is a principal that is lent, bears interest at a rate that may be reset by an observed one, and is repaid: at the end (PAM,
// CLM), in equal parts (LAM), in parts that the terms list (LAX), or in payments that interest comes first out of (NAM, ANN). An account (UMP) has no end but its termination;
// its interest is added to it (ACTUS technical specification 1.1, section 7.7).
func (b *builder) loan(t Terms, sign int64) ([]payment, error) {
	if p := t.text("interestCalculationBase"); p != "" && p != "NT" && p != "NTIED" && p != "NTL" {
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
		l.trace = append(l.trace, exposure{e.at, l.principal, l.accrued, times(l.rate, l.bears())})
		if l.over {
			break
		}
		l.keep(maxNested)
	}
	b.trace = l.trace
	return l.list, nil
}

// maxNested bounds what of a loan is written as one formula, in operations within each other: a contract takes 32.
const maxNested = 9

// keep has the contract keep what a loan stands at, where it is written with more operations within each other than so many.
func (l *loanState) keep(nested int) {
	for _, f := range []**formula{&l.principal, &l.accrued, &l.next, &l.base, &l.fees} {
		if *f != nil && (*f).depth > nested {
			*f = l.b.plan.keep(*f, true)
		}
	}
}

// bears is what interest is computed of.
func (l *loanState) bears() *formula {
	if l.base != nil {
		return l.base
	}
	return l.principal
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
	ofPrincipal, ofInterest  *formula // what both are multiplied by when they are paid, as an index moves
	last                     time.Time
	repaid                   time.Time // a loan that was called: when it is repaid, after notice
	resetBefore, over        bool
	paidBefore               bool       // interest, before the date of the record
	trace                    []exposure // what it stood at after each event
	list                     []payment
	annuities                []time.Time // the payments that an annuity is computed for
	fixing                   time.Time   // when, unless as the record begins
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
	if base := t.text("interestCalculationBase"); base == "NTIED" || base == "NTL" {
		l.base = l.principal
		if t.has("interestCalculationBaseAmount") {
			of, err := t.number("interestCalculationBaseAmount", 0)
			if err != nil {
				return err
			}
			l.base = constant(of)
		}
	}
	for _, m := range []struct {
		of   **formula
		name string
	}{{&l.ofPrincipal, "notionalScalingMultiplier"}, {&l.ofInterest, "interestScalingMultiplier"}} {
		factor, err := t.number(m.name, 1)
		if err != nil {
			return err
		}
		*m.of = constant(factor)
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
	if typ == "CLM" && !ok {
		if end, ok, err = l.called(); err != nil {
			return err
		}
	}
	if typ == "UMP" || !ok && typ == "CLM" {
		end, ok = l.b.to, true // it has not been called by then, or has no end but its termination
	}
	amortized, known, err := t.date("amortizationDate")
	if err != nil {
		return err
	}
	if typ == "ANN" && !ok && known {
		end, ok = amortized, true
	}
	if !ok {
		if end, err = l.lastPart(principal, part); err != nil {
			return err
		}
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
	switch {
	case typ == "ANN":
		// The payments are computed as if they went on to the amortization date, wherever the loan ends.
		if !known {
			amortized = l.end
		}
		if l.annuities, err = schedule(anchor, cycle, amortized, t, true); err != nil || part.Sign() != 0 {
			return err
		}
		if day := l.annuities[0].AddDate(0, 0, -1); day.After(l.b.status) && !day.Before(l.start) {
			l.fixing = day
			return nil
		}
		return l.annuity(l.start)
	case typ == "LAM" && part.Sign() == 0:
		return l.evenly(p, anchor)
	}
	return nil
}

// called returns when a loan that has no end was called, which ends its interest; it is repaid after notice.
func (l *loanState) called() (end time.Time, ok bool, err error) {
	if end, ok, err = l.b.event("XD", l.t.text("contractID")); !ok {
		return end, ok, err
	}
	l.repaid = end
	if text := l.t.text("xDayNotice"); text != "" {
		p, err := parsePeriod(text)
		if err != nil {
			return end, ok, err
		}
		l.repaid = p.plus(end, 1, false)
	}
	return end, ok, nil
}

// pay adds a payment on a day on which one works.
func (l *loanState) pay(at time.Time, amount *formula, kind string) error {
	called := !l.repaid.IsZero() && !at.Before(l.end)
	if called {
		at = l.repaid
	}
	day, err := l.t.shifted(at)
	l.list = append(l.list, payment{at: day, currency: l.t.text("currency"), amount: times(whole(l.sign), amount), kind: kind, called: called})
	return err
}

// happen applies one event. What was before the date of the record has left its mark in the terms, but for interest.
func (l *loanState) happen(e loanEvent) error {
	day, err := l.t.counted(e.at)
	if err != nil {
		return err
	}
	before := !e.at.After(l.b.status)
	if !before && !l.last.IsZero() && !l.last.After(l.b.status) {
		// What has accrued by the date of the record is a term, or comes of the last interest that its cycle has before. Without both, and
		// where interest is added until a loan is called, it is nothing.
		typ := l.t.text("contractType")
		if l.t.has("accruedInterest") || !l.paidBefore || typ == "CLM" || typ == "UMP" {
			given, err := l.t.number("accruedInterest", 0)
			if err != nil {
				return err
			}
			l.accrued, l.last = constant(given), l.b.status
		}
	}
	l.paidBefore = l.paidBefore || before && (e.what == interest || e.what == capitalization)
	if e.what == exchangeStart {
		l.last = day
		if err := l.begin(e.at); err != nil {
			return err
		}
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
		l.accrued = plus(l.accrued, times(times(constant(y), l.rate), l.bears()))
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
		return l.redeem(e, before)
	case increase:
		if before {
			return nil
		}
		l.principal = plus(l.principal, constant(e.figure))
		return l.pay(e.at, times(l.ofPrincipal, times(whole(-1), constant(e.figure))), "PI")
	case firstReset:
		if !before {
			l.rate = constant(e.figure)
		}
	case interest:
		err := l.pay(e.at, times(l.ofInterest, l.accrued), "IP")
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
		l.keep(0)
		return l.reset(e)
	case prepaid:
		if before {
			return nil
		}
		return l.prepay(e)
	case fixing:
		return l.annuity(e.at)
	case purchase:
		price, err := l.t.number("priceAtPurchaseDate", 0)
		if err != nil {
			return err
		}
		l.list = nil
		return l.pay(e.at, times(whole(-1), plus(constant(price), times(whole(l.sign), l.accrued))), "PRD")
	case termination:
		price, err := l.t.number("priceAtTerminationDate", 0)
		if err != nil {
			return err
		}
		l.over = true
		// As the specification writes it, here and for the purchase: what has accrued has the sign of the role, the price has not.
		return l.pay(e.at, plus(constant(price), times(whole(l.sign), l.accrued)), "TD")
	case scaling:
		if before {
			return nil
		}
		return l.scale(e.at)
	case rebase:
		if !before {
			l.base = l.principal
		}
	case maturity:
		l.over = true
		// Interest and fees that no cycle pays are due with the principal.
		err := errors.Join(l.pay(e.at, times(l.ofInterest, l.accrued), "IP"), l.pay(e.at, l.fees, "FP"), l.pay(e.at, times(l.ofPrincipal, l.principal), "MD"))
		l.principal, l.accrued, l.fees = whole(0), whole(0), whole(0)
		return err
	}
	return nil
}

// begin sets what a loan begins with: its rate, whatever was reset before, and interest from an anchor that lies before.
func (l *loanState) begin(at time.Time) error {
	rate, err := l.t.number("nominalInterestRate", 0)
	if err != nil {
		return err
	}
	given, err := l.t.number("accruedInterest", 0)
	if err != nil {
		return err
	}
	l.rate, l.accrued = constant(rate), whole(0)
	anchor, ok, err := l.t.date("cycleAnchorDateOfInterestPayment")
	switch {
	case err != nil || at.Before(l.b.status):
		return err
	case l.t.has("accruedInterest"):
		l.accrued = constant(given)
	case ok && anchor.Before(at):
		y, err := l.t.years(anchor, at)
		if err != nil {
			return err
		}
		l.accrued = times(constant(y.Mul(y, rate)), l.principal)
	}
	return nil
}

// scale takes the value of an index, in proportion to what it was when the deal was made, as the factor of what the terms name:
// interest (I), principal (N).
func (l *loanState) scale(at time.Time) error {
	first, err := l.t.number("scalingIndexAtContractDealDate", 0)
	if err != nil {
		return err
	}
	if first.Sign() == 0 {
		return leftOut("there is no scalingIndexAtContractDealDate")
	}
	day, err := l.t.shifted(at)
	if err != nil {
		return err
	}
	v, err := l.b.see(l.t.text("marketObjectCodeOfScalingIndex"), day)
	if err != nil {
		return err
	}
	factor, effect := times(constant(first.Inv(first)), v), l.t.text("scalingEffect")
	if strings.Contains(effect, "I") {
		l.ofInterest = factor
	}
	if strings.Contains(effect, "N") {
		l.ofPrincipal = factor
	}
	return nil
}

func (l *loanState) redeem(e loanEvent, before bool) error {
	if before {
		return nil
	}
	part, left := l.next, minus(l.principal, l.next)
	if e.figure != nil {
		part = constant(e.figure)
		left = minus(l.principal, part)
	} else if typ := l.t.text("contractType"); typ != "LAM" {
		part = minus(l.next, l.accrued)
		left = minus(plus(l.principal, l.accrued), l.next)
	}
	part = l.b.lesser(part, l.principal)
	l.principal = l.b.greatest(left, whole(0))
	return l.pay(e.at, times(l.ofPrincipal, part), "PR")
}

// prepay has the principal fall by what was paid ahead, which is observed; an account's rises where money is drawn.
func (l *loanState) prepay(e loanEvent) error {
	object := "payments of " + l.t.text("contractID")
	paid, err := l.b.reported(object, e.at, e.figure, l.t.text("contractType") == "UMP")
	if err != nil {
		return err
	}
	l.keep(0)
	amount := paid
	if l.t.text("contractType") != "UMP" {
		amount = l.b.lesser(paid, l.principal)
	}
	l.principal = l.b.plan.keep(l.b.greatest(minus(l.principal, paid), whole(0)), true)
	if err := l.pay(e.at, times(l.ofPrincipal, amount), "PP"); err != nil || l.t.text("prepaymentEffect") != "A" {
		return err
	}
	switch l.t.text("contractType") {
	case "LAM":
		n := int64(1) // the last part comes at the end
		for _, at := range l.redemptions {
			if at.After(e.at) {
				n++
			}
		}
		l.next = quotient(l.principal, whole(n))
	case "ANN":
		return l.annuity(e.at)
	case "NAM":
		return leftOut("what a prepayment changes of the payments of a NAM is not said")
	}
	return nil
}

// fixed is the rate that is observed for a reset: on its day, or as long before it as the terms say.
func (l *loanState) fixed(at time.Time) (*formula, error) {
	if text := l.t.text("fixingPeriod"); text != "" {
		p, err := parsePeriod(text)
		if err != nil {
			return nil, err
		}
		at = p.plus(at, -1, false)
	}
	day, err := l.t.shifted(at)
	if err != nil {
		return nil, err
	}
	object := l.t.text("marketObjectCodeOfRateReset")
	v, err := l.b.see(object, day)
	if err != nil && day.Before(at) { // moved to before anything is observed
		return l.b.see(object, at)
	}
	return v, err
}

// reset takes the rate of a market object, within the bounds of the terms.
func (l *loanState) reset(e loanEvent) error {
	if fixed := l.t.text("nextResetRate"); fixed != "" && !l.resetBefore {
		l.resetBefore = true
		r, err := l.t.number("nextResetRate", 0)
		if l.rate = constant(r); err == nil && l.t.text("contractType") == "ANN" {
			err = l.annuity(e.at)
		}
		return err
	}
	v, err := l.fixed(e.at)
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
	if e.figure != nil {
		figures["rateSpread"] = constant(e.figure)
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
	if l.t.text("contractType") == "ANN" {
		return l.annuity(e.at)
	}
	return nil
}
