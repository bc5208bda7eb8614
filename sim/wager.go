package sim

import (
	"bytes"
	"crypto/ed25519"
	"slices"

	"latchkey/contract/oracle"
	"latchkey/vault"
	"latchkey/wire"
)

// wagerSource takes an oracle's value; no world plays it by chance, only cheats do.
const wagerSource = `# Who is right about a price takes the other's side.
contract Wager
parties alice, bob
term a : units 1..1_000_000
term b : units 1..1_000_000
term due : time
pot left_side  = a units from alice
pot right_side = b units from bob
oracle price in 0..1000
phase Open until due + 1 hours
  when oracle price for due:
    if price >= 500 then give all of right_side to alice else give all of left_side to bob end
    close
  at deadline: close
`

// twiceSource waits for one value in two phases.
const twiceSource = `# The price has to be brought twice.
contract Twice
parties alice, bob
term a : units 1..1_000_000
term b : units 1..1_000_000
term due : time
pot left_side  = a units from alice
pot right_side = b units from bob
oracle price in 0..1000
phase First until due + 1 hours
  when oracle price for due: next Second
  at deadline: close
phase Second until due + 2 hours
  when oracle price for due:
    if price >= 500 then give all of right_side to alice else give all of left_side to bob end
    close
  at deadline: close
`

// wager is Wager, and while more is above 0 a phase of Twice before its last, written by hand from their meaning.
type wager struct {
	pots
	due, until int64
	more       int
}

func (*wager) from(pot int) int               { return pot }
func (*wager) mayReceive(pot, party int) bool { return pot != party }
func (*wager) open() ([]payout, bool)         { return nil, false }
func (*wager) word(int, string, int64, int64) ([]payout, bool, error) {
	return nil, false, errOutcome
}

func (x *wager) deadline(now int64) ([]payout, bool, error) {
	if now < x.until {
		return nil, false, errOutcome
	}
	return nil, true, nil
}

func (x *wager) report(value, observed, at int64) ([]payout, bool, error) {
	switch {
	case observed != x.due || at < x.due || at >= x.until:
		return nil, false, errOutcome
	case x.more > 0:
		x.more, x.until = x.more-1, x.until+3600
		return nil, false, nil
	case value >= 500:
		return []payout{{1, 0, all}}, true, nil
	}
	return []payout{{0, 1, all}}, true, nil
}

// priceKeys are the keys of the oracle that wagers read, in rising order.
func priceKeys() (list []ed25519.PrivateKey) {
	for i := range 3 {
		list = append(list, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(200 + i)}, 32)))
	}
	slices.SortFunc(list, func(a, b ed25519.PrivateKey) int { return bytes.Compare(a[32:], b[32:]) })
	return list
}

func priceOracle() oracle.Quorum {
	q := oracle.Quorum{Feed: "price", Need: 2}
	for _, k := range priceKeys() {
		q.Keys = append(q.Keys, k[32:])
	}
	return q
}

// A heard value is one in the log.
type heard struct {
	at       vault.Index
	oracle   uint32
	observed int64
}

// reported checks an oracle's values in the log without the code that vaults check them by: enough different keys of
// the agreement signed a value of the feed for one time. It returns the median and that time.
func (l *Ledger) reported(c *Course, r *vault.Report) (value, observed int64, err error) {
	if r == nil || r.Instance != c.ID || int(r.Oracle) >= len(c.Agreement.Oracles) {
		return 0, 0, rule("instance %s hears a value of no oracle", c.ID.Short())
	}
	q := c.Agreement.Oracles[r.Oracle]
	by := map[string]int64{}
	for i, s := range r.Signed {
		body, err := wire.Marshal(s.Value)
		if err != nil {
			return 0, 0, rule("%w", err)
		}
		if observed = s.Value.Time; s.Value.Feed != q.Feed || observed != r.Signed[0].Value.Time {
			return 0, 0, rule("instance %s hears a value of feed %q at %d as %q at %d", c.ID.Short(), s.Value.Feed, s.Value.Time, q.Feed, r.Signed[0].Value.Time)
		}
		known := slices.ContainsFunc(q.Keys, func(k []byte) bool { return bytes.Equal(k, s.Key) })
		if !known || (wire.Identity{Sign: s.Key}).Verify("latchkey/oracle/v1", body, s.Sig) != nil {
			return 0, 0, rule("instance %s hears value %d, which its oracle's key %d did not sign", c.ID.Short(), s.Value.Value, i)
		}
		by[string(s.Key)] = s.Value.Value
	}
	if len(by) < int(q.Need) {
		return 0, 0, rule("instance %s hears a value that %d keys signed, and %d are needed", c.ID.Short(), len(by), q.Need)
	}
	var values []int64
	for _, v := range by {
		values = append(values, v)
	}
	for _, h := range c.values {
		if h.at > r.After && h.oracle == r.Oracle && h.observed == observed {
			return 0, 0, rule("instance %s hears a value of %d again, by one that had not seen it in entry %d", c.ID.Short(), observed, h.at-1)
		}
	}
	slices.Sort(values)
	return values[(len(values)-1)/2], observed, nil
}
