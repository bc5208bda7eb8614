package sim

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/contract/oracle"
	"latchkey/vault"
	"latchkey/wire"
)

// What an owner's vault looks at by itself where an oracle's word moves coins: an escrow whose TEE is broken writes
// values into its log that nobody signed so, or at other times, and brings agreements that name oracles, assets and
// terms as the contract does not.

// forgedPrice has a broken escrow end a wager by a high price, so that mallory takes all, and tells whether bob's vault
// believes it. ahead is when, in seconds after the price's time.
func (w *World) forgedPrice(t *testing.T, ahead int64, change func(c *Course, r *vault.Run)) error {
	t.Helper()
	w.cfg.BrokenEscrow = true
	c := w.wagerOf(t)
	due := c.Agreement.Terms[2]
	w.Tick(due - w.now + ahead)
	w.hosts[0].Round(15, 0)
	m, bob := w.Client("mallory").ID, w.Client("bob")
	left, right := c.Agreement.Pots[0][0].Chunk, c.Agreement.Pots[1][0].Chunk
	r := vault.Run{
		Instance: c.ID, Prev: c.Last, Kind: vault.RunReport, EventAt: due + ahead,
		Report: &vault.Report{Instance: c.ID, Signed: prices(t, due, 999), After: c.Last},
		Exits:  w.exits(t, map[wire.ChunkID]wire.VaultID{left: m, right: m}, right, left), Closed: true, Settled: true,
	}
	change(c, &r)
	w.forge(t, vault.Entry{At: due + ahead, Run: &r})
	for _, in := range bob.m.Instances() {
		if in.ID == c.ID && in.Closed {
			return errors.Join(errWorks, bob.stuck)
		}
	}
	return nil
}

// resigned has keys of the oracle sign what change makes of a value for the price's time.
func resigned(t *testing.T, c *Course, keys []ed25519.PrivateKey, change func(*oracle.Value)) (list []oracle.Signed) {
	t.Helper()
	for _, k := range keys {
		v := oracle.Value{Feed: "price", Time: c.Agreement.Terms[2], Value: 999}
		change(&v)
		s, err := v.Sign(k)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

// wagerWith has bob's vault look at a wager that is written down in another way.
func (w *World) wagerWith(t *testing.T, change func(a *vault.Agreement)) error {
	t.Helper()
	x, y := w.stock(t, 0, "mallory")["mallory"], w.stock(t, 0, "bob")["bob"]
	a, err := w.Agreement(Stakes{Contract: Wager, Parties: []*Client{w.Client("mallory"), w.Client("bob")}, Pots: [][]wire.ChunkID{{x}, {y}}, LockIn: 60})
	if err != nil {
		t.Fatal(err)
	}
	a.Terms = []int64{weigh(a.Pots[0]), weigh(a.Pots[1]), w.now + 1800}
	change(&a)
	if _, err := w.Client("bob").Accept(a); err == nil {
		return errWorks
	}
	return nil
}

var reportCheats = map[string]cheat{
	// That this one is followed shows that the others are refused for what is wrong with them.
	"forged: a price as it should be": func(t *testing.T, w *World) error {
		if err := w.forgedPrice(t, 5, func(*Course, *vault.Run) {}); !errors.Is(err, errWorks) {
			t.Errorf("a proper price is not followed: %v", w.Client("bob").stuck)
		}
		return nil
	},
	"forged: a price that nobody signed": func(t *testing.T, w *World) error {
		return w.forgedPrice(t, 5, func(c *Course, r *vault.Run) {
			r.Report.Signed = prices(t, c.Agreement.Terms[2], 1)
			r.Report.Signed[0].Value.Value, r.Report.Signed[1].Value.Value = 999, 999
		})
	},
	"forged: a price of one key": func(t *testing.T, w *World) error {
		return w.forgedPrice(t, 5, func(_ *Course, r *vault.Run) { r.Report.Signed = r.Report.Signed[:1] })
	},
	"forged: a price of one key twice": func(t *testing.T, w *World) error {
		return w.forgedPrice(t, 5, func(_ *Course, r *vault.Run) { r.Report.Signed[1] = r.Report.Signed[0] })
	},
	"forged: a price of strangers' keys": func(t *testing.T, w *World) error {
		return w.forgedPrice(t, 5, func(c *Course, r *vault.Run) {
			keys := []ed25519.PrivateKey{ed25519.NewKeyFromSeed(make([]byte, 32)), priceKeys()[2]}
			if string(keys[0][32:]) > string(keys[1][32:]) {
				keys[0], keys[1] = keys[1], keys[0]
			}
			r.Report.Signed = resigned(t, c, keys, func(*oracle.Value) {})
		})
	},
	"forged: a price of another feed": func(t *testing.T, w *World) error {
		return w.forgedPrice(t, 5, func(c *Course, r *vault.Run) {
			r.Report.Signed = resigned(t, c, priceKeys()[:2], func(v *oracle.Value) { v.Feed = "another" })
		})
	},
	"forged: prices of two times": func(t *testing.T, w *World) error {
		return w.forgedPrice(t, 5, func(c *Course, r *vault.Run) {
			r.Report.Signed[1] = resigned(t, c, priceKeys()[1:2], func(v *oracle.Value) { v.Time++ })[0]
		})
	},
	"forged: a price for another time": func(t *testing.T, w *World) error {
		return w.forgedPrice(t, 5, func(c *Course, r *vault.Run) {
			r.Report.Signed = resigned(t, c, priceKeys()[:2], func(v *oracle.Value) { v.Time++ })
		})
	},
	"forged: a price before its time": func(t *testing.T, w *World) error {
		return w.forgedPrice(t, -60, func(*Course, *vault.Run) {})
	},
	"forged: a price out of its range": func(t *testing.T, w *World) error {
		return w.forgedPrice(t, 5, func(c *Course, r *vault.Run) {
			r.Report.Signed = resigned(t, c, priceKeys()[:2], func(v *oracle.Value) { v.Value = 1001 })
		})
	},
	"forged: a price of another instance": func(t *testing.T, w *World) error {
		return w.forgedPrice(t, 5, func(_ *Course, r *vault.Run) { r.Report.Instance[0] ^= 1 })
	},
	"forged: a price that comes late": func(t *testing.T, w *World) error {
		return w.forgedPrice(t, 3600+30, func(c *Course, r *vault.Run) { r.EventAt = c.Agreement.Terms[2] + 3599 })
	},
	"an oracle under whose key anybody signs": func(t *testing.T, w *World) error {
		return w.wagerWith(t, func(a *vault.Agreement) {
			identity := make([]byte, 32)
			identity[0] = 1
			a.Oracles = []oracle.Quorum{{Feed: "price", Keys: [][]byte{identity}, Need: 1}}
		})
	},
	"an oracle of which half is enough": func(t *testing.T, w *World) error {
		return w.wagerWith(t, func(a *vault.Agreement) { a.Oracles[0].Need = 1 })
	},
	"an oracle of another feed than the contract's": func(t *testing.T, w *World) error {
		return w.wagerWith(t, func(a *vault.Agreement) {
			a.Source = []byte(strings.Replace(wagerSource, "oracle price in", `oracle price "gold/usd" in`, 1))
		})
	},
	"a pot of another asset": func(t *testing.T, w *World) error {
		return w.wagerWith(t, func(a *vault.Agreement) {
			a.Source = []byte(strings.Replace(wagerSource, "a units from", `a units of "gold" from`, 1))
			a.Assets = []coin.AssetID{"gold"}
		})
	},
	"a term out of its range": func(t *testing.T, w *World) error {
		return w.wagerWith(t, func(a *vault.Agreement) {
			a.Source = []byte(strings.Replace(wagerSource, "term a : units 1..1_000_000", "term a : units 1..2", 1))
		})
	},
	"terms that miss a requirement": func(t *testing.T, w *World) error {
		return w.wagerWith(t, func(a *vault.Agreement) {
			a.Source = []byte(strings.Replace(wagerSource, "pot left_side", "require a < b\npot left_side", 1))
		})
	},
}
