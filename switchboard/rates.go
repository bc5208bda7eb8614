package switchboard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"latchkey/coin"
	"latchkey/market"
	"latchkey/rate"
)

// rated is what is known of an asset's rate: it, or why there is none.
type rated struct {
	rate rate.Rate
	err  error
}

// watchRate asks for an asset's rate, often enough that a fresh one is always
// there, and tells the market.
func (b *Board) watchRate(ctx context.Context, asset coin.AssetID) {
	every := time.Duration(max(1, min(b.cfg.Feed.Policy().MaxAge, b.cfg.Market.RateMaxAge)/4)) * time.Second
	for ctx.Err() == nil {
		r, err := b.cfg.Feed.Rate(ctx, asset)
		if ctx.Err() != nil {
			return
		}
		b.mu.Lock()
		b.rates[asset] = rated{r, err}
		b.mu.Unlock()
		b.problem("rate of "+string(asset), err)
		if err := b.do(ctx, func(t *turn) error { return t.rate(asset) }); err != nil && ctx.Err() == nil {
			b.cfg.Logger.Warn("the market does not take a rate", "asset", asset, "err", err)
		}
		pause(ctx, every)
	}
}

// known returns what is known of an asset's rate now.
func (b *Board) known(asset coin.AssetID) rated {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, ok := b.rates[asset]
	if !ok {
		return rated{err: fmt.Errorf("no rate of %s: its sources were not asked yet", asset)}
	}
	if r.err == nil {
		r.err = r.rate.Fresh(b.cfg.Clock(), min(b.cfg.Feed.Policy().MaxAge, b.cfg.Market.RateMaxAge))
	}
	return r
}

// maxWhy bounds a reason in the market's log, in bytes.
const maxWhy = 256

// rate tells the market an asset's rate, once there is a denomination of it.
func (t *turn) rate(asset coin.AssetID) error {
	r := t.b.known(asset)
	var err error
	if r.err == nil {
		err = t.step(market.Rate{Asset: asset, PerCoin: uint64(r.rate.Price), Observed: r.rate.At})
	} else {
		why := r.err.Error()
		for len(why) > maxWhy || !utf8.ValidString(why) {
			why = why[:min(len(why)-1, maxWhy)]
		}
		err = t.step(market.RateLost{Asset: asset, Why: why})
	}
	if errors.Is(err, market.ErrNotFound) || errors.Is(err, market.ErrState) {
		return nil // no denomination yet; or the market has a newer one
	}
	return err
}

// A unit is worth about ten dollars when its denomination is made; while it is
// within five percent of that, the denomination stays in use.
const (
	unitCents   = rate.Cents(1000)
	unitDigits  = 3
	exactDigits = 6
	driftOneIn  = 20
)

// denominate returns the denomination in which an asset is deposited today, and
// makes it if the rate has moved away from the last one.
func (t *turn) denominate(a coin.Asset) (coin.Denomination, error) {
	if !slices.Contains(t.b.cfg.Assets, a) {
		return coin.Denomination{}, fmt.Errorf("asset %s on %s: %w: it is not traded here", a.ID, a.Chain, market.ErrNotFound)
	}
	r := t.b.known(a.ID)
	if r.err != nil {
		return coin.Denomination{}, fmt.Errorf("%w: no deposit without a rate: %w", market.ErrState, r.err)
	}
	var last coin.Denomination
	day := time.Unix(t.now, 0).UTC().Format("2006-01-02")
	prefix := string(a.ID) + "-" + day + "-"
	today := 0
	for _, d := range t.b.market.Denominations() {
		if d.Asset != a {
			continue
		}
		if d.ID > last.ID { // dates and letters sort as they were made
			last = d
		}
		if strings.HasPrefix(d.ID, prefix) {
			today++
		}
	}
	exact, err := r.rate.Price.Unit(unitCents, a.Decimals, exactDigits)
	if err != nil {
		return coin.Denomination{}, err
	}
	if last.ID != "" && near(exact, last.Unit) {
		return last, t.rate(a.ID)
	}
	d := coin.Denomination{ID: prefix + letters(today), Asset: a}
	if d.Unit, err = r.rate.Price.Unit(unitCents, a.Decimals, unitDigits); err != nil {
		return coin.Denomination{}, err
	}
	if last.Unit == d.Unit {
		return last, t.rate(a.ID)
	}
	if err := t.step(market.Denominate{Denomination: d}); err != nil {
		return coin.Denomination{}, err
	}
	return d, t.rate(a.ID)
}

// near reports whether a and b are within five percent of b.
func near(a, b coin.Amount) bool {
	d, err := a.Minus(b)
	if err != nil {
		d, _ = b.Minus(a)
	}
	d, err = d.Times(driftOneIn)
	return err == nil && d.Cmp(b) <= 0
}

// letters numbers the denominations of a day: a, b, … y, za, … zy, zza, …
// Each sorts after those before.
func letters(n int) string {
	return strings.Repeat("z", n/25) + string(rune('a'+n%25))
}
