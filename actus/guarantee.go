package actus

import (
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
	days       int // from the event to the payment
	weekdays   int // 1 and −1: a payment on a weekend moves forward or back
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
func (b *builder) guaranteed(t Terms, sign int64) error {
	if err := t.refuse("not translated", "notionalPrincipal", "purchaseDate", "terminationDate", "exerciseDate"); err != nil {
		return err
	}
	g := &guarantee{mine: sign < 0, currency: t.text("currency")}
	event := t.text("creditEventTypeCovered")
	if event == "" {
		event = "DF"
	}
	var ok bool
	if g.performing, ok = states[event]; !ok {
		return leftOut("the credit event %q is not known", t.text("creditEventTypeCovered"))
	}
	coverage, err := t.number("coverageOfCreditEnhancement", 1)
	if err != nil {
		return err
	}
	kind := t.text("guaranteedExposure")
	if kind != "" && kind != "NO" && kind != "NI" {
		return leftOut("the exposure %q is a price that nobody observes", kind)
	}
	if err := g.settlement(t); err != nil {
		return err
	}
	covered, err := t.parts("COVE")
	if err != nil {
		return err
	}
	var traces [][]exposure
	var days []time.Time
	for _, o := range covered {
		s, err := o.sign()
		if err != nil {
			return err
		}
		if _, err := b.contract(o, s); err != nil {
			return err
		}
		if len(b.trace) == 0 {
			return leftOut("what is owed under a %s is not known", o.text("contractType"))
		}
		g.covered = append(g.covered, o.text("contractID"))
		traces = append(traces, b.trace)
		for _, e := range b.trace {
			days = append(days, e.at)
		}
	}
	if len(b.plan.seen) > 0 {
		return leftOut("what is owed depends on rates that are observed")
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
				return err
			}
			daily := new(big.Rat).Quo(trace[n].perYear.value, year)
			s.perDay.Add(s.perDay, daily)
			s.owed.Add(s.owed, trace[n].accrued.value)
			gone := big.NewRat(int64(from.Sub(trace[n].at).Hours())/24, 1)
			s.owed.Add(s.owed, gone.Mul(gone, daily))
		}
		s.owed.Mul(s.owed, coverage)
		s.perDay.Mul(s.perDay, coverage)
		if s.until.After(b.status) {
			g.stretches = append(g.stretches, s)
		}
	}
	if end, ok, err := t.date("maturityDate"); err != nil {
		return err
	} else if ok {
		g.stretches = slices.DeleteFunc(g.stretches, func(s stretch) bool { return !s.from.Before(end) })
		if n := len(g.stretches); n > 0 && g.stretches[n-1].until.After(end) {
			g.stretches[n-1].until = end
		}
	}
	if len(g.stretches) == 0 {
		return leftOut("nothing is covered")
	}
	return b.happened(t, g)
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
		g.collateral = append(g.collateral, collateral{object, quantity, b.plan.seen[f.seen]})
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
