package switchboard

import (
	"context"
	"maps"
	"slices"
	"time"

	"latchkey/gate"
)

// count counts an event of the market.
func (b *Board) count(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events[name]++
}

// Reasons say why the switchboard cannot do its work now.
func (b *Board) Reasons() []string {
	out := b.troubles()
	if b.escrow.Load() == nil {
		out = append(out, "the escrow's log was not seen yet")
	}
	return out
}

// Figures are what an operator watches.
func (b *Board) Figures() []gate.Figure {
	now, offers := b.cfg.Clock(), 0
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	asked := b.do(ctx, func(t *turn) error {
		offers = len(t.b.market.OpenOffers())
		return nil
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []gate.Figure
	if asked == nil { // otherwise offers may still be written to
		out = append(out, gate.Figure{Name: "offers_open", Help: "Offers that stand.", Value: float64(offers)})
	}
	out = append(out, []gate.Figure{
		{Name: "log_entries", Help: "Events of the market, since ever.", Value: float64(b.cfg.Log.Next())},
		{Name: "vaults_enrolled", Help: "Vaults that have enrolled.", Value: float64(len(b.members))},
	}...)
	for _, name := range slices.Sorted(maps.Keys(b.events)) {
		out = append(out, gate.Figure{Name: "market_events_total", Help: "Events of the market since the start, by name.", Value: float64(b.events[name]), Count: true, Label: "event", Of: name})
	}
	for _, a := range b.cfg.Assets {
		r, known := b.rates[a.ID]
		fresh := 0.0
		if known && r.err == nil {
			fresh = 1
			out = append(out, gate.Figure{Name: "rate_age_seconds", Help: "Age of the newest rate.", Value: float64(now - r.rate.At), Label: "asset", Of: string(a.ID)})
		}
		out = append(out, gate.Figure{Name: "rate_ok", Help: "1 when the sources of a rate agreed at the last look.", Value: fresh, Label: "asset", Of: string(a.ID)})
	}
	return out
}
