package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"latchkey/coin"
	"latchkey/market"
	"latchkey/rate"
)

// defaultRateLimit is how far, in basis points, a proposal's values may lie from
// those at the client's own rates, unless its configuration says otherwise.
const defaultRateLimit = 300

// asRated holds the values that a proposal gives its sides against the client's
// own rates, if it has sources of its own. Without them the switchboard's count
// alone, within the ceilings of the offer. An *rate.Unavailable says that the own
// sources have no fresh rate: nothing is accepted then, and nothing declined.
func (h *Host) asRated(ctx context.Context, p market.Proposal) error {
	if h.cfg.Rates == nil {
		return nil
	}
	for i, s := range p.Sides {
		if s.Client != h.id {
			continue
		}
		var placed Placed
		if !h.store.get("offer/"+hex.EncodeToString(s.Offer[:]), &placed) {
			return errors.New("it fills an offer that this client did not place")
		}
		if placed.Give == nil {
			return errors.New("it fills an offer of an older version of this client, which does not say what it gives")
		}
		if err := h.rated(ctx, *placed.Give, s.Value); err != nil {
			return err
		}
		return h.rated(ctx, placed.Want, p.Sides[1-i].Value)
	}
	return errors.New("this client is on no side of it")
}

// rated compares what one unit is said to be worth with what it is worth.
func (h *Host) rated(ctx context.Context, d coin.Denomination, said market.Micros) error {
	r, err := h.cfg.Rates.Rate(ctx, d.Asset.ID)
	if err != nil {
		return err
	}
	many, err := d.Unit.Times(10_000) // cents of so many are millionths of a dollar of one
	if err != nil {
		return fmt.Errorf("own rate of %s: %w", d.Asset.ID, err)
	}
	own, err := r.Price.Value(many, d.Asset.Decimals)
	if err != nil {
		return fmt.Errorf("own rate of %s: %w", d.Asset.ID, err)
	}
	far := max(uint64(said), uint64(own)) - min(uint64(said), uint64(own))
	if own == 0 || said < 0 || far > uint64(own)/10_000*uint64(h.cfg.RateLimit)+uint64(own)%10_000*uint64(h.cfg.RateLimit)/10_000 {
		return fmt.Errorf("the switchboard says that a unit of %s is worth %d millionths of a dollar, the own sources say %d: more than %d basis points apart",
			d.Asset.ID, said, own, h.cfg.RateLimit)
	}
	return nil
}

// unavailable reports whether an error says that there is no fresh rate.
func unavailable(err error) bool {
	var u *rate.Unavailable
	return errors.As(err, &u)
}
