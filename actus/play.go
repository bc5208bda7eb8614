package actus

import (
	"fmt"
	"math/big"
	"slices"
	"time"

	"latchkey/contract"
)

// Paid is what the one who keeps the record received at a time, or, less than nothing, paid: in units of the scale.
type Paid struct {
	At       time.Time
	Currency string
	Units    int64
}

// Play plays the contract with the values that were observed, each brought when it was observed, and with its deadlines.
func (w *Written) Play() ([]Paid, error) {
	state, _, err := w.Deal.Open(w.Weights, w.Start.Unix())
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	now := w.Start.Unix()
	var credit []creditEvent
	if g := w.plan.guarantee; g != nil {
		credit = g.event
	}
	var list []Paid
	for !state.Closed() {
		ev, seen := w.value(state, now, &credit)
		if !seen {
			until, _ := w.Deal.Deadline(state)
			ev = contract.Event{Kind: contract.Deadline, At: until}
		}
		next, out, err := w.Deal.Step(state, ev)
		if err != nil {
			return nil, fmt.Errorf("step at %s: %w", time.Unix(ev.At, 0).UTC().Format(time.RFC3339), err)
		}
		state, now = next, ev.At
		for _, g := range out.Gives {
			if g.Return {
				continue
			}
			u := w.Weights[g.Pot][g.Chunk]
			if g.To != 0 {
				u = -u
			}
			at := time.Unix(ev.At, 0).UTC()
			i := slices.IndexFunc(list, func(p Paid) bool { return p.At.Equal(at) && p.Currency == w.pots[g.Pot] })
			if i < 0 {
				i = len(list)
				list = append(list, Paid{At: at, Currency: w.pots[g.Pot]})
			}
			list[i].Units += u
		}
	}
	return list, nil
}

// value is the next observed value that the contract waits for, if it comes before the deadline.
func (w *Written) value(state contract.State, now int64, credit *[]creditEvent) (ev contract.Event, ok bool) {
	until, _ := w.Deal.Deadline(state)
	for _, want := range w.Deal.Wants(state) {
		if want.Oracle < 0 {
			continue
		}
		object := w.objects[want.Oracle]
		ev = contract.Event{Kind: contract.Oracle, Oracle: want.Oracle, HasValue: true}
		if want.For > 0 {
			for _, o := range w.plan.seen {
				if o.object == object && o.at.Unix() == want.For && max(now, want.For) < until {
					ev.At, ev.Observed, ev.Value = max(now, want.For), want.For, nearest(o.value, w.Scale.Figures).Int64()
					return ev, true
				}
			}
			continue
		}
		g := w.plan.guarantee
		for _, c := range g.collateral {
			if c.object == object && !slices.Contains(g.covered, object) && now < until {
				ev.At, ev.Observed, ev.Value = now, now, nearest(c.price.value, w.Scale.Figures).Int64()
				return ev, true
			}
		}
		for len(*credit) > 0 && (*credit)[0].at.Unix() < now {
			*credit = (*credit)[1:]
		}
		if len(*credit) > 0 && (*credit)[0].contract == object && (*credit)[0].at.Unix() < until {
			c := (*credit)[0]
			*credit = (*credit)[1:]
			ev.At, ev.Observed, ev.Value = c.at.Unix(), c.at.Unix(), c.state
			return ev, true
		}
	}
	return ev, false
}

// Expected is what a case expects on one day in one currency: the sum of so many events.
type Expected struct {
	At       time.Time
	Currency string
	Amount   *big.Rat
	Events   int
}

// Expected adds up what a case expects, by day and currency.
func (c Case) Expected() (list []Expected, err error) {
	for _, r := range c.Results {
		v, err := r.Payoff.Rat()
		if err != nil {
			return nil, err
		}
		at, err := parseTime(r.Date)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(list, func(e Expected) bool { return e.At.Equal(at) && e.Currency == r.Currency })
		if i < 0 {
			i = len(list)
			list = append(list, Expected{At: at, Currency: r.Currency, Amount: new(big.Rat)})
		}
		list[i].Amount.Add(list[i].Amount, v)
		list[i].Events++
	}
	return list, nil
}
