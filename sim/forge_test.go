package sim

import (
	"errors"
	"testing"

	"latchkey/key"
	"latchkey/vault"
	"latchkey/wire"
)

// The cheats of this file are those of an escrow whose TEE is broken: it writes
// what it likes into its log, and the witnesses see nothing wrong. A client's
// vault takes only what its own replay bears out.

// exits writes down how chunks leave, with shares refreshed as they should be.
func (w *World) exits(t *testing.T, to map[wire.ChunkID]wire.VaultID, order ...wire.ChunkID) (out []vault.Exit) {
	t.Helper()
	for _, id := range order {
		f := w.ledger.chunks[id]
		for _, s := range w.secrets.known["escrow"][id] {
			if s.share.Public() != f.B {
				continue
			}
			x, err := key.Refresh([]key.Share{s.share}, []key.Point{f.B}, w.rnd)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, vault.Exit{Chunk: id, To: vault.Recipients{to[id]}, Epoch: f.Epoch + 1, R: x[0].R, B: x[0].B, Prev: f.At})
		}
	}
	if len(out) != len(order) {
		t.Fatal("the escrow's shares are not known")
	}
	return out
}

// ready brings a swap to where only bob's acknowledgement is missing, and hands
// the escrow's log to whoever forges.
func (w *World) ready(t *testing.T) (*Course, wire.ChunkID, wire.ChunkID) {
	t.Helper()
	w.cfg.BrokenEscrow = true
	p, x, y := w.swapOf(t, "alice", "bob")
	w.hook = func(at point, c *Client, what string) bool { return at == arriving && what == "ack" && c.Name == "bob" }
	w.Rest(12)
	w.Pump()
	w.hook = nil
	c := p.course(w)
	if c == nil || c.Opened || !c.acked[0] {
		t.Fatalf("the swap is not nearly ready: %+v", c)
	}
	return c, x, y
}

// forge has entries witnessed that no machine decided on, and shows them to all.
func (w *World) forge(t *testing.T, entries ...vault.Entry) {
	t.Helper()
	for i := range entries {
		entries[i].At = max(entries[i].At, w.ledger.time)
	}
	w.Tick(20)
	if err := w.hosts[0].Forge(entries...); err != nil {
		t.Fatal(err)
	}
	for _, c := range w.clients {
		c.Sync()
	}
}

// opening is the entry with which bob acknowledges and that with which the swap
// opens.
func (w *World) opening(c *Course, exits []vault.Exit) []vault.Entry {
	size := vault.Index(w.hosts[0].Disk.size())
	return []vault.Entry{
		{Ack: &vault.Ack{Instance: c.ID, Role: 1, Prev: c.Last, Sig: w.Client("bob").ackAsk(c.ID).Ack.Sig}},
		{Run: &vault.Run{Instance: c.ID, Prev: size + 1, Kind: vault.RunOpen, EventAt: w.ledger.time, Exits: exits, Closed: true, Settled: true}},
	}
}

func (w *World) believes(who string, id wire.ChunkID, what func(vault.Chunk) bool) error {
	x, ok := w.Client(who).m.Chunk(id)
	if ok && what(x) {
		return errors.Join(errWorks, w.Client(who).stuck)
	}
	return nil
}

func ownedBy(v wire.VaultID) func(vault.Chunk) bool {
	return func(x vault.Chunk) bool { return x.Last != 0 && x.Owner == v }
}

var forgeries = map[string]cheat{
	// That vaults follow what is right, forged or not, shows that the others are
	// refused for what is wrong with them.
	"forged: an opening as it should be": func(t *testing.T, w *World) error {
		c, x, y := w.ready(t)
		alice, bob := w.Client("alice").ID, w.Client("bob").ID
		w.forge(t, w.opening(c, w.exits(t, map[wire.ChunkID]wire.VaultID{x: bob, y: alice}, x, y))...)
		if w.believes("bob", x, ownedBy(bob)) == nil || w.believes("alice", y, ownedBy(alice)) == nil {
			t.Errorf("a proper opening is not followed: %v, %v", w.Client("alice").stuck, w.Client("bob").stuck)
		}
		return nil
	},
	"forged: both sides' chunks for bob": func(t *testing.T, w *World) error {
		c, x, y := w.ready(t)
		bob := w.Client("bob").ID
		w.forge(t, w.opening(c, w.exits(t, map[wire.ChunkID]wire.VaultID{x: bob, y: bob}, x, y))...)
		return w.believes("bob", x, ownedBy(bob))
	},
	"forged: an opening before the shares are there": func(t *testing.T, w *World) error {
		c, x, y := w.ready(t)
		alice, bob := w.Client("alice").ID, w.Client("bob").ID
		open := w.opening(c, w.exits(t, map[wire.ChunkID]wire.VaultID{x: bob, y: alice}, x, y))[1:]
		open[0].Run.Prev = c.Last
		w.forge(t, open...)
		return w.believes("bob", x, ownedBy(bob))
	},
	// Alice's host withholds her share, and the escrow says for bob that he has it:
	// alice would have bob's chunk, and bob one that he can never claim.
	"forged: an opening back in time": func(t *testing.T, w *World) error {
		c, x, y := w.ready(t)
		alice, bob := w.Client("alice").ID, w.Client("bob").ID
		open := w.opening(c, w.exits(t, map[wire.ChunkID]wire.VaultID{x: bob, y: alice}, x, y))
		open[0].At, open[1].At, open[1].Run.EventAt = c.Agreement.LockBy+100, c.Agreement.LockBy, c.Agreement.LockBy
		w.forge(t, open...)
		return w.believes("bob", x, ownedBy(bob))
	},
	"forged: an acknowledgement for bob": func(t *testing.T, w *World) error {
		c, x, y := w.ready(t)
		alice, bob := w.Client("alice").ID, w.Client("bob").ID
		open := w.opening(c, w.exits(t, map[wire.ChunkID]wire.VaultID{x: bob, y: alice}, x, y))
		open[0].Ack.Sig = w.Client("alice").ackAsk(c.ID).Ack.Sig
		w.forge(t, open...)
		return w.believes("alice", y, ownedBy(alice))
	},
	"forged: a refresh that does not add up": func(t *testing.T, w *World) error {
		c, x, y := w.ready(t)
		alice, bob := w.Client("alice").ID, w.Client("bob").ID
		exits := w.exits(t, map[wire.ChunkID]wire.VaultID{x: bob, y: alice}, x, y)
		exits[0].R = exits[0].B
		w.forge(t, w.opening(c, exits)...)
		return w.believes("bob", x, ownedBy(bob))
	},
	"forged: an epoch left out": func(t *testing.T, w *World) error {
		c, x, y := w.ready(t)
		alice, bob := w.Client("alice").ID, w.Client("bob").ID
		exits := w.exits(t, map[wire.ChunkID]wire.VaultID{x: bob, y: alice}, x, y)
		exits[0].Epoch++
		w.forge(t, w.opening(c, exits)...)
		return w.believes("bob", x, ownedBy(bob))
	},
	"forged: a word of the buyer": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, a := w.sale(t)
		bob := w.Client("bob")
		q := bob.wordOf(c.ID, 0, 1, "release", 0, false)
		exits := w.exits(t, map[wire.ChunkID]wire.VaultID{a[0]: bob.ID, a[1]: w.Client("alice").ID}, a[0], a[1])
		w.forge(t, vault.Entry{Run: &vault.Run{
			Instance: c.ID, Prev: c.Last, Kind: vault.RunWord, Word: q.Word, EventAt: w.ledger.time, Exits: exits, Closed: true, Settled: true,
		}})
		return w.believes("bob", a[0], ownedBy(bob.ID))
	},
	"forged: an early deadline": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, _ := w.sale(t)
		clock := vault.Index(w.hosts[0].Disk.size() + 1)
		w.forge(t, vault.Entry{Clock: &vault.Clock{Head: w.hosts[0].note}}, vault.Entry{Run: &vault.Run{
			Instance: c.ID, Prev: c.Last, Kind: vault.RunDeadline, EventAt: c.outcome.(*sale).ends[0], Clock: clock,
		}})
		for _, in := range w.Client("bob").m.Instances() {
			if in.Phase == "Dispute" {
				return errWorks
			}
		}
		return nil
	},
	// Alice's host has brought back an old copy of her vault, which knows of no claim; the order is of the life before.
	"forged: a sweep without a claim": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		x := w.stock(t, 0, "alice")["alice"]
		q := w.Client("alice").sweptAsk(vault.ChunkEpoch{Chunk: x}).Swept
		w.forge(t, vault.Entry{Swept: &vault.Swept{
			Owner: vault.Recipients{w.Client("alice").ID}, Order: q.Order, Sig: q.Sig, Prev: []vault.Index{w.ledger.chunks[x].At},
		}})
		return w.believes("alice", x, func(c vault.Chunk) bool { return c.Swept })
	},
	"forged: a claim of alice's": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		x := w.stock(t, 0, "alice")["alice"]
		q := w.Client("mallory").claimAsk(vault.ChunkEpoch{Chunk: x}).Claim
		w.forge(t, vault.Entry{Claim: &vault.Claim{
			Owner: vault.Recipients{w.Client("alice").ID}, Order: q.Order, Sig: q.Sig, Prev: []vault.Index{w.ledger.chunks[x].At},
		}})
		return w.believes("alice", x, func(c vault.Chunk) bool { return c.Claimed })
	},
	"forged: a lock that alice did not accept": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		x := w.stock(t, 0, "alice")["alice"]
		m := w.Client("mallory")
		a, _ := w.forgery(m, w.ledger.chunks[x])
		w.forge(t, vault.Entry{Lock: &vault.Lock{
			Agreement: a, Acceptances: []vault.SignedAcceptance{m.acceptance(a, 0), m.acceptance(a, 1)}, Prev: [][]vault.Index{{w.ledger.chunks[x].At}},
		}})
		return w.believes("alice", x, func(c vault.Chunk) bool { return c.Instance != wire.InstanceID{} })
	},
	"forged: a lock that bob did not accept": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		x := w.stock(t, 0, "alice")["alice"]
		alice := w.Client("alice")
		a, err := w.Agreement(Stakes{Contract: Pay, Parties: []*Client{alice, w.Client("bob")}, Pots: [][]wire.ChunkID{{x}}, LockIn: 60})
		if err != nil {
			t.Fatal(err)
		}
		a.Terms = []int64{5}
		s, err := alice.Accept(a)
		if err != nil {
			t.Fatal(err)
		}
		w.forge(t, vault.Entry{Lock: &vault.Lock{
			Agreement: a, Acceptances: []vault.SignedAcceptance{s, w.Client("mallory").acceptance(a, 1)}, Prev: [][]vault.Index{{w.ledger.chunks[x].At}},
		}})
		return w.believes("alice", x, func(c vault.Chunk) bool { return c.Instance != wire.InstanceID{} })
	},
	"forged: a pot with alice's chunk in it": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		x := w.stock(t, 0, "alice")["alice"]
		m, bob := w.Client("mallory"), w.Client("bob")
		a, _ := w.forgery(bob, w.ledger.chunks[x])
		a.Parties[0] = vault.Recipients{m.ID}
		s, err := bob.Accept(a) // the papers say who made the chunk, not whose it is
		if err != nil {
			t.Fatal(err)
		}
		w.forge(t, vault.Entry{Lock: &vault.Lock{
			Agreement: a, Acceptances: []vault.SignedAcceptance{m.acceptance(a, 0), s}, Prev: [][]vault.Index{{w.ledger.chunks[x].At}},
		}})
		return w.believes("bob", x, func(c vault.Chunk) bool { return c.Instance != wire.InstanceID{} })
	},
}
