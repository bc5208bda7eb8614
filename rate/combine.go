package rate

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"latchkey/coin"
)

// maxAhead is how many seconds a source's clock may be ahead of ours.
const maxAhead = 60

// Observation is what one source said, or why it said nothing.
type Observation struct {
	Source  string
	Price   Price
	At      int64  // Unix seconds: of the price, if the source says so, else of its answer
	Problem string // set where there is no price: what went wrong, for people
}

// Policy bounds what Combine accepts. The zero Policy refuses everything.
type Policy struct {
	MinSources   int    `toml:"min_sources"`   // so many sources must be left; at least 1
	MaxAge       int64  `toml:"max_age"`       // seconds; at least 1
	MaxDeviation uint32 `toml:"max_deviation"` // basis points from the median; 0 means that all agree
}

// Check returns an error that names the field which refuses everything.
func (p Policy) Check() error {
	switch {
	case p.MinSources < 1:
		return fmt.Errorf("rate policy: min_sources is %d, want at least 1", p.MinSources)
	case p.MaxAge < 1:
		return fmt.Errorf("rate policy: max_age is %d seconds, want at least 1", p.MaxAge)
	case p.MaxDeviation > 10_000:
		return fmt.Errorf("rate policy: max_deviation is %d basis points, at most 10000", p.MaxDeviation)
	}
	return nil
}

// Reason says why a source does not count.
type Reason string

// The reasons.
const (
	Failed   Reason = "failed"          // it gave no price
	Absurd   Reason = "absurd"          // zero, or more than MaxPrice
	Ahead    Reason = "from the future" // dated more than a minute ahead
	Stale    Reason = "stale"           // older than max_age
	Deviates Reason = "deviates"        // too far from the median
)

// Aside is a source that does not count, with the reason and its detail for people.
type Aside struct {
	Source string `json:"source"`
	Reason Reason `json:"reason"`
	Detail string `json:"detail"`
}

func (a Aside) String() string { return a.Source + " " + a.Detail }

// Rate is the price of an asset at a time.
type Rate struct {
	Asset   coin.AssetID `json:"asset"`
	Price   Price        `json:"usd"`
	At      int64        `json:"at"`      // Unix seconds: of the oldest observation that counts
	Sources []string     `json:"sources"` // that count, by name
	Aside   []Aside      `json:"aside"`   // that do not
}

// Unavailable is the error of everything that needs a fresh rate and has none. Its text is for the
// user: it names the asset, each source that does not count, and why.
type Unavailable struct {
	Asset coin.AssetID
	Why   string // what was needed
	Aside []Aside
}

func (u *Unavailable) Error() string {
	s := fmt.Sprintf("no fresh USD rate for %s: %s", u.Asset, u.Why)
	for i, a := range u.Aside {
		s += [...]string{": ", "; "}[min(i, 1)] + a.String()
	}
	return s
}

// Combine returns the median of the sources that count. First the failed, absurd and stale ones are set
// aside, then those further than MaxDeviation from the median of the rest, once; the rate is the median of
// what is left then. Of an even number, the median is the mean of the middle two, rounded down.
// A source is a name: what it says twice is an error of the caller. The order of the observations
// does not matter. The error is an *Unavailable unless policy or names are at fault.
func Combine(asset coin.AssetID, observed []Observation, p Policy, now int64) (Rate, error) {
	if err := errors.Join(p.Check(), asset.Check()); err != nil {
		return Rate{}, err
	}
	obs := slices.SortedFunc(slices.Values(observed), func(a, b Observation) int { return strings.Compare(a.Source, b.Source) })
	for i, o := range obs {
		if o.Source == "" || i > 0 && obs[i-1].Source == o.Source {
			return Rate{}, fmt.Errorf("rate for %s: source %q is unnamed or observed twice", asset, o.Source)
		}
	}
	var aside []Aside
	obs, aside = split(obs, aside, func(o Observation) (Reason, string) {
		switch age := now - o.At; {
		case o.Problem != "":
			return Failed, o.Problem
		case o.Price == 0 || o.Price > MaxPrice:
			return Absurd, fmt.Sprintf("says $%s", o.Price)
		case o.At > now+maxAhead:
			return Ahead, fmt.Sprintf("is dated %d s ahead of the clock", -age)
		case o.At <= 0 || age > p.MaxAge:
			return Stale, fmt.Sprintf("is %d s old, at most %d s", age, p.MaxAge)
		}
		return "", ""
	})
	if err := enough(asset, len(obs), len(observed), p, aside); err != nil {
		return Rate{}, err
	}
	mid := median(obs)
	obs, aside = split(obs, aside, func(o Observation) (Reason, string) {
		if dev := deviation(o.Price, mid); dev > uint64(p.MaxDeviation) {
			return Deviates, fmt.Sprintf("says $%s, %s%% from the median $%s, at most %s%%",
				o.Price, percent(dev), mid, percent(uint64(p.MaxDeviation)))
		}
		return "", ""
	})
	if err := enough(asset, len(obs), len(observed), p, aside); err != nil {
		return Rate{}, err
	}
	r := Rate{Asset: asset, Price: median(obs), At: obs[0].At, Aside: aside}
	for _, o := range obs {
		r.At = min(r.At, o.At)
		r.Sources = append(r.Sources, o.Source)
	}
	return r, nil
}

// Fresh returns an *Unavailable unless the rate was made under a policy and is at most maxAge seconds old
// at now. The zero Rate is never fresh.
func (r Rate) Fresh(now, maxAge int64) error {
	switch age := now - r.At; {
	case r.Price == 0 || r.At <= 0:
		return &Unavailable{Asset: r.Asset, Why: "none has been observed yet"}
	case age > maxAge || age < -maxAhead:
		return &Unavailable{Asset: r.Asset, Why: fmt.Sprintf("the last one, from %s, is %d s old, at most %d s",
			strings.Join(r.Sources, " and "), age, maxAge), Aside: r.Aside}
	}
	return nil
}

// split moves the observations for which why has a reason to aside.
func split(obs []Observation, aside []Aside, why func(Observation) (Reason, string)) ([]Observation, []Aside) {
	var left []Observation
	for _, o := range obs {
		if r, detail := why(o); r != "" {
			aside = append(aside, Aside{o.Source, r, detail})
		} else {
			left = append(left, o)
		}
	}
	return left, aside
}

func enough(asset coin.AssetID, left, of int, p Policy, aside []Aside) error {
	if left >= p.MinSources {
		return nil
	}
	return &Unavailable{Asset: asset, Why: fmt.Sprintf("%d of %d sources count, %d needed", left, of, p.MinSources), Aside: aside}
}

func median(obs []Observation) Price {
	by := slices.SortedFunc(slices.Values(obs), func(a, b Observation) int { return cmp.Compare(a.Price, b.Price) })
	lo, hi := by[(len(by)-1)/2].Price, by[len(by)/2].Price
	return lo + (hi-lo)/2
}

// deviation returns |p − mid| in basis points of mid, rounded up.
func deviation(p, mid Price) uint64 {
	hi, lo := bits.Mul64(uint64(max(p, mid)-min(p, mid)), 10_000)
	q, r := bits.Div64(hi, lo, uint64(mid)) // both at most MaxPrice, so the quotient fits
	if r > 0 {
		q++
	}
	return q
}

// percent writes basis points: "2.50".
func percent(bp uint64) string { return fmt.Sprintf("%d.%02d", bp/100, bp%100) }
