package actus

import (
	"cmp"
	"errors"
	"math/big"
	"slices"
	"sort"
	"time"
)

// guarantee pays once, when one of the covered contracts is in default: what is then owed under all of them, or a part of it, and
// where it is collateral that stands behind it, no more than that is worth.
type guarantee struct {
	covered    []string // their names
	performing int64    // the state that counts as the event, by its number
	stretches  []stretch
	collateral []collateral
	mine       bool // the one who keeps the record pays
	currency   string
	fee        *big.Rat    // each time, and what of it has accrued with the payment; nil without
	fees       []time.Time // when
	cycle      period      // of the fees
	days       int         // from the event to the payment
	weekdays   int         // 1 and −1: a payment on a weekend moves forward or back
	event      []creditEvent
}

// stretch is a time in which what is owed grows by so much a day from a day on.
type stretch struct {
	until, from  time.Time
	owed, perDay *big.Rat
}

type collateral struct {
	object   string
	quantity *big.Rat
	price    observation
}

type creditEvent struct {
	at       time.Time
	contract string
	state    int64
}

// exposure is what a loan stands at after an event.
type exposure struct {
	at                          time.Time
	principal, accrued, perYear *formula
}

var states = map[string]int64{"PF": 0, "DL": 1, "DQ": 2, "DF": 3}

// guaranteed translates a guarantee, with or without collateral.
func (b *builder) guaranteed(t Terms, sign int64) (paid []payment, err error) {
	if err := t.refuse("not translated", "terminationDate", "exerciseDate"); err != nil {
		return nil, err
	}
	g := &guarantee{mine: sign < 0, currency: t.text("currency")}
	event := t.text("creditEventTypeCovered")
	if event == "" {
		event = "DF"
	}
	var ok bool
	if g.performing, ok = states[event]; !ok {
		return nil, leftOut("the credit event %q is not known", t.text("creditEventTypeCovered"))
	}
	coverage, err := t.number("coverageOfCreditEnhancement", 1)
	if err != nil {
		return nil, err
	}
	kind := t.text("guaranteedExposure")
	if kind != "" && kind != "NO" && kind != "NI" {
		return nil, leftOut("the exposure %q is a price that nobody observes", kind)
	}
	if err := g.settlement(t); err != nil {
		return nil, err
	}
	covered, err := t.parts("COVE")
	if err != nil {
		return nil, err
	}
	var traces [][]exposure
	var days []time.Time
	if t.has("notionalPrincipal") { // what is guaranteed is an amount, whatever is owed
		known, err := g.amount(b, t, covered)
		if err != nil {
			return nil, err
		}
		covered, kind, traces, days = nil, "NO", [][]exposure{known}, []time.Time{known[0].at, known[1].at}
	}
	for _, o := range covered {
		s, err := o.sign()
		if err != nil {
			return nil, err
		}
		if _, err := b.contract(o, s); err != nil {
			return nil, err
		}
		if len(b.trace) == 0 {
			return nil, leftOut("what is owed under a %s is not known", o.text("contractType"))
		}
		g.covered = append(g.covered, o.text("contractID"))
		traces = append(traces, b.trace)
		for _, e := range b.trace {
			days = append(days, e.at)
		}
	}
	if len(b.plan.seen) > 0 {
		return nil, leftOut("what is owed depends on rates that are observed")
	}
	if len(days) == 0 {
		return nil, leftOut("nothing is covered")
	}
	end := slices.MaxFunc(days, time.Time.Compare)
	if at, ok, err := t.date("maturityDate"); err != nil {
		return nil, err
	} else if ok && at.Before(end) {
		end = at
	}
	if paid, err = b.premiums(t, sign, g, end); err != nil {
		return nil, err
	}
	days = append(days, g.fees...)
	for _, p := range paid {
		days = append(days, p.at)
	}
	if bought, ok, err := t.date("purchaseDate"); err != nil {
		return nil, err
	} else if ok {
		days = append(days, bought)
	}
	slices.SortFunc(days, time.Time.Compare)
	days = slices.CompactFunc(days, time.Time.Equal)
	for i, from := range days[:max(0, len(days)-1)] {
		s := stretch{until: days[i+1], from: from, owed: new(big.Rat), perDay: new(big.Rat)}
		for k, trace := range traces {
			n := sort.Search(len(trace), func(j int) bool { return trace[j].at.After(from) }) - 1
			if n < 0 || trace[n].principal.op != opConst || trace[n].accrued.op != opConst || trace[n].perYear.op != opConst {
				continue
			}
			s.owed.Add(s.owed, trace[n].principal.value)
			if kind != "NI" {
				continue
			}
			year, err := daysOfYear(covered[k])
			if err != nil {
				return nil, err
			}
			daily := new(big.Rat).Quo(trace[n].perYear.value, year)
			s.perDay.Add(s.perDay, daily)
			s.owed.Add(s.owed, trace[n].accrued.value)
			gone := big.NewRat(int64(from.Sub(trace[n].at).Hours())/24, 1)
			s.owed.Add(s.owed, gone.Mul(gone, daily))
		}
		s.owed.Mul(s.owed, coverage)
		s.perDay.Mul(s.perDay, coverage)
		g.accrue(&s)
		if s.until.After(b.status) {
			g.stretches = append(g.stretches, s)
		}
	}
	g.stretches = slices.DeleteFunc(g.stretches, func(s stretch) bool { return !s.from.Before(end) })
	if n := len(g.stretches); n > 0 && g.stretches[n-1].until.After(end) {
		g.stretches[n-1].until = end
	}
	if len(g.stretches) == 0 {
		return nil, leftOut("nothing is covered")
	}
	if behind, err := t.parts("COVI"); err != nil || len(behind) > 0 && g.fee != nil {
		return nil, errors.Join(err, leftOut("fees of a guarantee with collateral are not translated"))
	}
	return paid, b.happened(t, g)
}

// amount notes contracts that are covered by name, with an amount that the guarantee says: what is owed under them does not count.
func (g *guarantee) amount(b *builder, t Terms, covered []Terms) ([]exposure, error) {
	notional, err := t.number("notionalPrincipal", 0)
	if err != nil {
		return nil, err
	}
	end, ok, err := t.date("maturityDate")
	if err != nil {
		return nil, err
	}
	if !ok {
		end = b.to
	}
	for _, o := range covered {
		g.covered = append(g.covered, cmp.Or(o.text("contractID"), o.text("contractIdentifier")))
	}
	return []exposure{{b.status, constant(notional), whole(0), whole(0)}, {end, whole(0), whole(0), whole(0)}}, nil
}

// premiums reads what is paid for a guarantee while it lasts: fees that are amounts.
func (b *builder) premiums(t Terms, sign int64, g *guarantee, end time.Time) (paid []payment, err error) {
	fee, err := t.number("feeRate", 0)
	if err != nil || fee.Sign() == 0 {
		return nil, err
	}
	if basis := t.text("feeBasis"); basis != "A" {
		return nil, leftOut("fees of a guarantee that are no amounts (feeBasis %q) are not translated", basis)
	}
	anchor, err := t.need("cycleAnchorDateOfFee")
	if err != nil {
		return nil, err
	}
	if g.fees, err = schedule(anchor, t.text("cycleOfFee"), end, t, true); err != nil {
		return nil, err
	}
	if g.cycle, err = parsePeriod(t.text("cycleOfFee")); err != nil {
		return nil, err
	}
	g.fee = fee
	for _, at := range g.fees {
		day, err := t.shifted(at)
		if err != nil {
			return nil, err
		}
		paid = append(paid, payment{at: day, currency: g.currency, amount: times(whole(sign), constant(fee)), kind: "FP"})
	}
	return paid, nil
}

// accrue adds to a stretch what of a fee has accrued: by the day, from one fee to the next.
func (g *guarantee) accrue(s *stretch) {
	i := sort.Search(len(g.fees), func(i int) bool { return g.fees[i].After(s.from) })
	if i == 0 || i == len(g.fees) {
		return
	}
	all := big.NewRat(int64(g.cycle.plus(g.fees[i-1], 1, false).Sub(g.fees[i-1]).Hours())/24, 1)
	if all.Sign() <= 0 {
		return
	}
	daily := new(big.Rat).Quo(g.fee, all)
	s.perDay.Add(s.perDay, daily)
	s.owed.Add(s.owed, daily.Mul(daily, big.NewRat(int64(s.from.Sub(g.fees[i-1]).Hours())/24, 1)))
}

func daysOfYear(t Terms) (*big.Rat, error) {
	switch c := t.text("dayCountConvention"); c {
	case "A365":
		return big.NewRat(365, 1), nil
	case "A360":
		return big.NewRat(360, 1), nil
	default:
		return nil, leftOut("interest by the day count %q does not grow by the day alike", c)
	}
}

// settlement reads when is paid, as a contract can say it without knowing the day: so many days after, and not on a weekend.
func (g *guarantee) settlement(t Terms) error {
	if text := t.text("settlementPeriod"); text != "" {
		p, err := parsePeriod(text)
		if err != nil {
			return err
		}
		if p.months != 0 {
			return leftOut("it is settled after months, which differ in length, from a day not yet known")
		}
		g.days = p.days
	}
	if _, err := t.shifted(time.Time{}); err != nil {
		return err
	}
	if t.text("calendar") == "MF" {
		switch t.text("businessDayConvention") {
		case "SCF", "CSF":
			g.weekdays = 1
		case "SCP", "CSP":
			g.weekdays = -1
		case "", "NOS", "NULL":
		default:
			return leftOut("whether a day not yet known is the last of its month cannot be computed")
		}
	}
	return nil
}

// happened looks up collateral, and the events of the play.
func (b *builder) happened(t Terms, g *guarantee) error {
	at := b.to
	for _, e := range b.c.Events {
		if e.Type != "CE" || !slices.Contains(g.covered, e.ContractID) {
			continue
		}
		when, err := parseTime(e.Time)
		if err != nil {
			return err
		}
		state, ok := states[string(e.States["contractPerformance"])]
		if !ok {
			return leftOut("the state %q is not known", e.States["contractPerformance"])
		}
		g.event = append(g.event, creditEvent{when, e.ContractID, state})
		if state == g.performing && when.Before(at) {
			at = when
		}
	}
	slices.SortStableFunc(g.event, func(x, y creditEvent) int { return x.at.Compare(y.at) })
	behind, err := t.parts("COVI")
	if err != nil {
		return err
	}
	for _, o := range behind {
		quantity, err := o.number("quantity", 1)
		if err != nil {
			return err
		}
		object := o.text("marketObjectCode")
		f, err := b.see(object, at)
		if err != nil {
			return err
		}
		g.collateral = append(g.collateral, collateral{object, quantity, b.plan.seen[f.index]})
	}
	b.plan.guarantee = g
	return nil
}

// most is the greatest amount that can become due.
func (g *guarantee) most() *big.Rat {
	most := new(big.Rat)
	for _, s := range g.stretches {
		end := big.NewRat(int64(s.until.Sub(s.from).Hours())/24+1, 1)
		end.Add(end.Mul(end, s.perDay), s.owed)
		if end.Cmp(most) > 0 {
			most = end
		}
	}
	return most
}
