package sim

import (
	"errors"
	"testing"

	"latchkey/settle"
	"latchkey/vault"
	"latchkey/wire"
)

// The cheats of this file are about settlements that go step by step.

// midway brings a swap of three chunks a side to its first step, which is b's to
// speak for, and lets nobody speak.
func (w *World) midway(t *testing.T, a, b string) (c *Course, x, y []wire.ChunkID) {
	t.Helper()
	x, y = w.stockOf(t, a, 0, 5, 5, 5), w.stockOf(t, b, 1, 5, 5, 5)
	w.Client(a).manner, w.Client(b).manner = silent, silent
	p := w.stepwise(t, a, b, settle.Pace{First: 5, Growth: 100, Most: 5, Wait: 600}, x, y)
	w.until(t, "it is open", func() bool { c := p.course(w); return c != nil && c.Opened })
	return p.course(w), x, y
}

// stepAsk says what became of a step, under the client's signature.
func (c *Client) stepAsk(in wire.InstanceID, step uint32, failed bool) vault.Request {
	b := vault.StepWord{Instance: in, Step: step, Failed: failed}
	return vault.Request{Step: &vault.SignedStep{Body: b, Sig: c.sign("latchkey/step/v1", b)}}
}

// coming returns what the next step gives, by the ledger's book, and to whom.
func (c *Course) coming() (ids []wire.ChunkID, to map[wire.ChunkID]wire.VaultID) {
	book := *c.turns
	to = map[wire.ChunkID]wire.VaultID{}
	ids = book.next()
	for _, id := range ids {
		to[id] = c.Parties[1-book.side]
	}
	return ids, to
}

// forgeStep forges the next entry of a settlement in which the next step goes out.
func (w *World) forgeStep(t *testing.T, c *Course, r vault.Run) {
	t.Helper()
	if r.Exits == nil {
		ids, to := c.coming()
		r.Exits = w.exits(t, to, ids...)
	}
	if r.EventAt == 0 {
		r.EventAt = w.ledger.time
	}
	r.Instance, r.Prev, r.Closed = c.ID, c.Last, true
	if !r.Settled {
		r.Settled = len(r.Exits)+len(c.given) == c.stakes()
	}
	w.forge(t, vault.Entry{Run: &r})
}

// back is what leaves an instance whose step failed.
func (w *World) back(t *testing.T, c *Course) []vault.Exit {
	t.Helper()
	var ids []wire.ChunkID
	to := map[wire.ChunkID]wire.VaultID{}
	for pot, stakes := range c.Agreement.Pots {
		for _, s := range stakes {
			if _, gone := c.given[s.Chunk]; !gone {
				ids, to[s.Chunk] = append(ids, s.Chunk), c.Parties[c.outcome.from(pot)]
			}
		}
	}
	return w.exits(t, to, ids...)
}

// returned reports whether a chunk is its depositor's again, by a vault's books.
func returned(v wire.VaultID) func(vault.Chunk) bool {
	return func(x vault.Chunk) bool { return x.Owner == v && x.Epoch == 1 && x.Instance == wire.InstanceID{} }
}

var stepCheats = map[string]cheat{
	// The escrow and what is said of steps.
	"a word about the other's step": func(t *testing.T, w *World) error {
		c, _, _ := w.midway(t, "mallory", "bob")
		m := w.Client("mallory")
		return m.try(m.stepAsk(c.ID, 1, false))
	},
	"a word about a step that is over": func(t *testing.T, w *World) error {
		c, _, _ := w.midway(t, "bob", "mallory")
		m := w.Client("mallory")
		if err := m.ask(m.stepAsk(c.ID, 1, false)); err != nil {
			t.Fatal(err)
		}
		w.Client("bob").manner = honest
		w.until(t, "it comes to the third step", func() bool { return len(c.turns.steps) == 3 })
		return m.try(m.stepAsk(c.ID, 1, false))
	},
	"a word about a step to come": func(t *testing.T, w *World) error {
		c, _, _ := w.midway(t, "bob", "mallory")
		m := w.Client("mallory")
		return m.try(m.stepAsk(c.ID, 3, false))
	},
	"a report after its step": func(t *testing.T, w *World) error {
		c, _, _ := w.midway(t, "bob", "mallory")
		m := w.Client("mallory")
		w.Tick(700)
		w.hosts[0].Round(15, 0)
		return m.try(m.stepAsk(c.ID, 1, true))
	},
	"a claim of what is still to be given": func(t *testing.T, w *World) error {
		_, _, y := w.midway(t, "bob", "mallory")
		m := w.Client("mallory")
		return m.try(m.claimAsk(vault.ChunkEpoch{Chunk: y[2]}))
	},
	"a step that lapses early": func(t *testing.T, w *World) error {
		w.midway(t, "alice", "bob")
		w.Tick(20)
		for range 3 {
			w.Pump()
		}
		return w.err
	},
	"a stake that expires before the last step": func(t *testing.T, w *World) error {
		m := w.Client("mallory")
		err := m.do("new batch", func(o *vault.Owner) ([]vault.Row, error) {
			_, rows, err := o.NewBatch(vault.BatchSpec{Denomination: w.cast.Coins[0], Weight: 5, N: 1, Expiry: o.Now() + 3700}, w.rnd)
			return rows, err
		})
		if err != nil {
			t.Fatal(err)
		}
		y := w.stock(t, 1, "bob")["bob"]
		return m.try(w.broken(t, Stakes{
			Contract: Swap, Parties: []*Client{m, w.Client("bob")}, Pots: [][]wire.ChunkID{m.Owned(), {y}}, LockIn: 60,
			Pace: &settle.Pace{First: 5, Growth: 100, Most: 5, Wait: 3600},
		}))
	},

	// Bob has looked and said that he keeps the first chunk; then its coins go, and
	// those of all that mallory has still to give. He was told that he can lose so much.
	"coins spent right after they were looked at": func(t *testing.T, w *World) error {
		c, x, _ := w.midway(t, "mallory", "bob")
		w.Client("bob").manner = honest
		w.until(t, "bob gives in turn", func() bool { return len(c.turns.steps) == 2 })
		for range x {
			w.drain(w.Client("mallory"), 0)
		}
		w.Mine(depth)
		w.Tick(700)
		w.until(t, "it is settled", func() bool { return c.Ended })
		if gave, got, spoke := c.balance(1, w.drained); !c.Broken || gave != 5 || got != 0 || !spoke {
			t.Errorf("bob gave %d and got %d, spoke %t, broken off %t; want 5, 0, true, true", gave, got, spoke, c.Broken)
		}
		return w.bounded(c)
	},

	// A client's vault and its host.
	"kept before the share is here": func(t *testing.T, w *World) error {
		w.hook = loseAcks
		c, _, _ := w.midway(t, "alice", "bob")
		bob := w.Client("bob")
		bob.Sync()
		if _, err := bob.m.Took(c.ID, false); err == nil {
			return errWorks
		}
		return nil
	},
	"two words about one step": func(t *testing.T, w *World) error {
		c, _, _ := w.midway(t, "alice", "bob")
		w.Rest(5)
		bob := w.Client("bob")
		bob.took(c.ID, false)
		ok(t, w)
		if _, err := bob.m.Took(c.ID, true); err == nil {
			return errWorks
		}
		return nil
	},

	// A broken escrow.
	"forged: a step as it should be": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, _, _ := w.midway(t, "alice", "bob")
		ids, _ := c.coming()
		w.forgeStep(t, c, vault.Run{Kind: vault.RunTaken, Step: w.Client("bob").stepAsk(c.ID, 1, false).Step})
		if w.believes("alice", ids[0], ownedBy(w.Client("alice").ID)) == nil {
			t.Errorf("a proper step is not followed: %v", w.Client("alice").stuck)
		}
		return nil
	},
	"forged: a step that nobody took": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, _, _ := w.midway(t, "alice", "bob")
		ids, _ := c.coming()
		w.forgeStep(t, c, vault.Run{Kind: vault.RunTaken, Step: w.Client("alice").stepAsk(c.ID, 1, false).Step})
		return w.believes("alice", ids[0], ownedBy(w.Client("alice").ID))
	},
	"forged: a step out of turn": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, x, _ := w.midway(t, "alice", "bob")
		bob := w.Client("bob")
		w.forgeStep(t, c, vault.Run{
			Kind: vault.RunTaken, Step: bob.stepAsk(c.ID, 1, false).Step, Exits: w.exits(t, map[wire.ChunkID]wire.VaultID{x[1]: bob.ID}, x[1]),
		})
		return w.believes("bob", x[1], ownedBy(bob.ID))
	},
	"forged: a word about another step": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, _, _ := w.midway(t, "alice", "bob")
		ids, _ := c.coming()
		w.forgeStep(t, c, vault.Run{Kind: vault.RunTaken, Step: w.Client("bob").stepAsk(c.ID, 3, false).Step})
		return w.believes("alice", ids[0], ownedBy(w.Client("alice").ID))
	},
	"forged: a step that lapses early": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, _, _ := w.midway(t, "alice", "bob")
		ids, to := c.coming()
		clock := vault.Index(w.hosts[0].Disk.size() + 1)
		w.forge(t, vault.Entry{Clock: &vault.Clock{Head: w.hosts[0].note}}, vault.Entry{Run: &vault.Run{
			Instance: c.ID, Prev: c.Last, Kind: vault.RunLapsed, EventAt: w.ledger.time, Clock: clock, Exits: w.exits(t, to, ids...), Closed: true,
		}})
		return w.believes("alice", ids[0], ownedBy(w.Client("alice").ID))
	},
	"forged: a failure that nobody reported": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, x, _ := w.midway(t, "alice", "bob")
		w.forgeStep(t, c, vault.Run{Kind: vault.RunFailed, Step: w.Client("alice").stepAsk(c.ID, 1, true).Step, Exits: w.back(t, c)})
		return w.believes("alice", x[2], returned(w.Client("alice").ID))
	},
	"forged: a step at another time": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, _, _ := w.midway(t, "alice", "bob")
		ids, _ := c.coming()
		w.forgeStep(t, c, vault.Run{Kind: vault.RunTaken, Step: w.Client("bob").stepAsk(c.ID, 1, false).Step, EventAt: w.ledger.time - 1})
		return w.believes("alice", ids[0], ownedBy(w.Client("alice").ID))
	},
	"forged: a report after its step": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, x, _ := w.midway(t, "alice", "bob")
		exits := w.back(t, c)
		w.forge(t, vault.Entry{At: c.turns.lapses() + 60, Run: &vault.Run{
			Instance: c.ID, Prev: c.Last, Kind: vault.RunFailed, EventAt: c.turns.lapses() + 60, Exits: exits, Closed: true, Settled: true,
			Step: w.Client("bob").stepAsk(c.ID, 1, true).Step,
		}})
		return w.believes("alice", x[2], returned(w.Client("alice").ID))
	},
	"forged: settled before all is given": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, _, _ := w.midway(t, "alice", "bob")
		w.forgeStep(t, c, vault.Run{Kind: vault.RunTaken, Step: w.Client("bob").stepAsk(c.ID, 1, false).Step, Settled: true})
		for _, in := range w.Client("alice").m.Instances() {
			if in.Settled {
				return errors.Join(errWorks, w.Client("alice").stuck)
			}
		}
		return nil
	},
}
