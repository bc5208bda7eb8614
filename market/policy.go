package market

import "fmt"

// Limits bound what may be at stake in one failure domain at any moment, in Micros, each above zero.
type Limits struct {
	Client Micros `toml:"client"` // one client; a bond raises it
	Device Micros `toml:"device"` // one device; a bond raises it. All devices of a vendor that have no identity share one
	Vendor Micros `toml:"vendor"` // all devices of one TEE vendor
	TCB    Micros `toml:"tcb"`    // all devices of one vendor at one TCB level
	Asset  Micros `toml:"asset"`  // one asset
}

// Policy is the operator's. Its zero value refuses everything: New wants every field. Times are seconds.
type Policy struct {
	Limits Limits `toml:"limits"`

	RateMaxAge   int64 `toml:"rate_max_age"`  // an older rate makes no new proposal
	AcceptWithin int64 `toml:"accept_within"` // for the parties to accept a proposal
	LockWithin   int64 `toml:"lock_within"`   // for the escrow to lock it; above AcceptWithin
	AskEvery     int64 `toml:"ask_every"`     // between questions to an escrow that has not said what became of a proposal
	ChunkMargin  int64 `toml:"chunk_margin"`  // that a certificate outlives the last deadline of an instance
	MaxTill      int64 `toml:"max_till"`      // the longest time for which an offer is good
	KeepEnded    int64 `toml:"keep_ended"`    // after LockBy for which an ended proposal is remembered

	Share      Bps `toml:"share"`       // of an offer that one counterparty may fill, where the offer names none: 1 to 10,000
	MaxPremium Bps `toml:"max_premium"` // the highest premium and the deepest discount, at most 5,000

	MaxOffers    int `toml:"max_offers"`    // open offers of one client
	MaxClosed    int `toml:"max_closed"`    // its closed offers whose good-till has not passed
	MaxQueue     int `toml:"max_queue"`     // notices waiting for one client, those included that its offers and proposals will cause
	MaxStock     int `toml:"max_stock"`     // chunks of one client
	MaxPicks     int `toml:"max_picks"`     // chunks of one side of a proposal
	MaxTries     int `toml:"max_tries"`     // counterparties that one attempt to match an offer looks at
	MaxContracts int `toml:"max_contracts"` // contracts remembered
}

// DefaultPolicy returns a policy for a small switchboard. The limits per client and per device are below the public
// cost of breaking one device, about $1,000 of equipment (DESIGN.md section 6).
func DefaultPolicy() Policy {
	const usd = 1_000_000
	return Policy{
		Limits: Limits{
			Client: 900 * usd, Device: 900 * usd,
			Vendor: 250_000 * usd, TCB: 250_000 * usd, Asset: 500_000 * usd,
		},
		RateMaxAge: 60, AcceptWithin: 10, LockWithin: 30, AskEvery: 15,
		ChunkMargin: 24 * 3600, MaxTill: 30 * 24 * 3600, KeepEnded: 24 * 3600,
		Share: 6_000, MaxPremium: 2_000,
		MaxOffers: 64, MaxClosed: 1024, MaxQueue: 1024, MaxStock: 1 << 20, MaxPicks: 128, MaxTries: 256, MaxContracts: 1024,
	}
}

// Check returns an error that names the first field that is missing or absurd.
func (p Policy) Check() error {
	for _, f := range []struct {
		name   string
		v      int64
		lo, hi int64
	}{
		{"limits.client", int64(p.Limits.Client), 1, int64(maxMicros) / 4},
		{"limits.device", int64(p.Limits.Device), 1, int64(maxMicros) / 4},
		{"limits.vendor", int64(p.Limits.Vendor), 1, int64(maxMicros) / 4},
		{"limits.tcb", int64(p.Limits.TCB), 1, int64(maxMicros) / 4},
		{"limits.asset", int64(p.Limits.Asset), 1, int64(maxMicros) / 4},
		{"rate_max_age", p.RateMaxAge, 1, 24 * 3600},
		{"accept_within", p.AcceptWithin, 1, 24 * 3600},
		{"lock_within", p.LockWithin, p.AcceptWithin + 1, 24 * 3600},
		{"ask_every", p.AskEvery, 1, 24 * 3600},
		{"chunk_margin", p.ChunkMargin, 1, 10 * 366 * 24 * 3600},
		{"max_till", p.MaxTill, 1, 366 * 24 * 3600},
		{"keep_ended", p.KeepEnded, 1, 366 * 24 * 3600},
		{"share", int64(p.Share), 1, wholeBps},
		{"max_premium", int64(p.MaxPremium), 1, int64(maxBps)},
		{"max_offers", int64(p.MaxOffers), 1, 1 << 16},
		{"max_closed", int64(p.MaxClosed), 1, 1 << 20},
		{"max_queue", int64(p.MaxQueue), 4, 1 << 16},
		{"max_stock", int64(p.MaxStock), 1, 1 << 28},
		{"max_picks", int64(p.MaxPicks), 1, 512},
		{"max_tries", int64(p.MaxTries), 1, 1 << 20},
		{"max_contracts", int64(p.MaxContracts), 1, 1 << 16},
	} {
		if f.v < f.lo || f.v > f.hi {
			return fmt.Errorf("policy: %s is %d, want %d to %d", f.name, f.v, f.lo, f.hi)
		}
	}
	return nil
}
