package sim

import (
	"errors"
	"slices"
	"testing"

	"latchkey/vault"
	"latchkey/wire"
)

// The cheats of this file are about pots that are filled later.

// ordered opens an order of goods, with the chunk that the buyer means to pay with,
// and lets the seller look at no deposit.
func (w *World) ordered(t testing.TB, buyer, seller string) (c *Course, lot, money wire.ChunkID) {
	t.Helper()
	money, lot = w.stock(t, 0, buyer)[buyer], w.stock(t, 1, seller)[seller]
	a, err := w.orderOf(w.Client(buyer), w.Client(seller), []wire.ChunkID{lot}, []wire.ChunkID{money}, 60)
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.accept(a)
	if err != nil {
		t.Fatal(err)
	}
	w.Client(seller).manner = silent
	w.Rest(20)
	ok(t, w)
	if c = p.course(w); c == nil || !c.Opened || c.Ended {
		t.Fatalf("the order is not open: %+v", c)
	}
	return c, lot, money
}

// orderFor is a deposit of chunks that waits ten minutes.
func (w *World) orderFor(c *Course, chunks ...wire.ChunkID) vault.DepositOrder {
	o := vault.DepositOrder{Instance: c.ID, Pot: 1, By: w.now + 600}
	for _, id := range chunks {
		o.Chunks = append(o.Chunks, vault.ChunkEpoch{Chunk: id, Epoch: w.ledger.chunks[id].Epoch})
	}
	return o
}

// handedOver has the buyer deposit, and brings it to where only the seller's
// acknowledgement is missing.
func (w *World) handedOver(t *testing.T, buyer string, c *Course, money wire.ChunkID) *pending {
	t.Helper()
	if err := w.Client(buyer).putIn(c.ID, 600, money); err != nil {
		t.Fatal(err)
	}
	w.Rest(20)
	ok(t, w)
	if len(c.waiting) != 1 || !c.waiting[0].handed || c.waiting[0].acked[1] {
		t.Fatalf("the deposit does not wait: %+v", c.waiting)
	}
	return c.waiting[0]
}

// lateAck says that the client has the shares of a deposit.
func (c *Client) lateAck(in wire.InstanceID, entry vault.Index) vault.Request {
	a := vault.DepositAck{Instance: in, Deposit: entry}
	return vault.Request{Ack: &vault.AckAsk{Instance: in, Deposit: entry, Sig: c.sign("latchkey/deposit-ack/v1", a)}}
}

// taking is the step by which a deposit counts.
func (w *World) taking(t *testing.T, c *Course, lot, money wire.ChunkID) vault.Run {
	t.Helper()
	to := map[wire.ChunkID]wire.VaultID{money: c.Parties[1], lot: c.Parties[0]}
	return vault.Run{
		Instance: c.ID, Prev: c.Last, Kind: vault.RunDeposit, EventAt: w.ledger.time, Deposit: c.waiting[0].entry,
		Exits: w.exits(t, to, money, lot), Closed: true, Settled: true,
	}
}

// forgeOrder forges the entry of a deposit, as an order has it.
func (w *World) forgeOrder(t *testing.T, c *Course, q vault.Request) {
	t.Helper()
	n := &vault.Deposit{Order: q.Deposit.Order, Sig: q.Deposit.Sig, Papers: q.Deposit.Papers, Prev: c.Last}
	for _, ce := range n.Order.Chunks {
		n.Chunks = append(n.Chunks, w.ledger.chunks[ce.Chunk].At)
	}
	w.forge(t, vault.Entry{Deposit: n})
}

func locked(x vault.Chunk) bool { return x.Instance != wire.InstanceID{} }

// believesDeposit reports whether a vault takes a forged deposit for one that waits.
func (w *World) believesDeposit(who string) error {
	for _, in := range w.Client(who).m.Instances() {
		if len(in.Deposits) > 0 {
			return errors.Join(errWorks, w.Client(who).stuck)
		}
	}
	return nil
}

var orderCheats = map[string]cheat{
	"a deposit as it should be": func(t *testing.T, w *World) error {
		c, lot, money := w.ordered(t, "mallory", "bob")
		m := w.Client("mallory")
		if err := m.try(m.depositAsk(w.orderFor(c, money))); !errors.Is(err, errWorks) {
			t.Fatalf("an honest deposit: %v", err)
		}
		w.Client("bob").manner = honest
		w.Rest(20)
		if !c.Ended || w.ledger.chunks[money].Owner != w.Client("bob").ID || w.ledger.chunks[lot].Owner != m.ID {
			t.Errorf("an honest deposit does not count: %+v", c)
		}
		return nil
	},
	"a deposit of another's chunk": func(t *testing.T, w *World) error {
		c, _, _ := w.ordered(t, "mallory", "bob")
		x := w.stock(t, 0, "alice")["alice"]
		m := w.Client("mallory")
		return m.try(m.depositAsk(w.orderFor(c, x)))
	},
	"a deposit of a locked chunk": func(t *testing.T, w *World) error {
		c, _, money := w.ordered(t, "mallory", "bob")
		p, err := w.Propose(Stakes{Contract: Pay, Parties: []*Client{w.Client("mallory"), w.Client("carol")}, Pots: [][]wire.ChunkID{{money}}, LockIn: 60})
		if err != nil {
			t.Fatal(err)
		}
		w.lockOnly(t, p)
		m := w.Client("mallory")
		return m.try(m.depositAsk(w.orderFor(c, money)))
	},
	"a deposit of a claimed chunk": func(t *testing.T, w *World) error {
		c, _, money := w.ordered(t, "mallory", "bob")
		m := w.Client("mallory")
		if err := m.ask(m.claimAsk(vault.ChunkEpoch{Chunk: money})); err != nil {
			t.Fatal(err)
		}
		return m.try(m.depositAsk(w.orderFor(c, money)))
	},
	"a deposit that weighs less": func(t *testing.T, w *World) error {
		c, _, _ := w.ordered(t, "mallory", "bob")
		m := w.Client("mallory")
		return m.try(m.depositAsk(w.orderFor(c, w.stockOf(t, "mallory", 0, 1)...)))
	},
	"a deposit of another asset": func(t *testing.T, w *World) error {
		c, _, _ := w.ordered(t, "mallory", "bob")
		m := w.Client("mallory")
		return m.try(m.depositAsk(w.orderFor(c, w.stock(t, 1, "mallory")["mallory"])))
	},
	"a deposit that waits beyond its phase": func(t *testing.T, w *World) error {
		c, _, money := w.ordered(t, "mallory", "bob")
		m, o := w.Client("mallory"), w.orderFor(c, money)
		o.By = w.now + 7000
		return m.try(m.depositAsk(o))
	},
	"a deposit for another phase": func(t *testing.T, w *World) error {
		c, _, money := w.ordered(t, "mallory", "bob")
		m, o := w.Client("mallory"), w.orderFor(c, money)
		o.Phase = 1
		return m.try(m.depositAsk(o))
	},
	"a deposit said again": func(t *testing.T, w *World) error {
		c, _, money := w.ordered(t, "mallory", "bob")
		m, o := w.Client("mallory"), w.orderFor(c, money)
		o.By = w.now + 60
		if err := m.ask(m.depositAsk(o)); err != nil {
			t.Fatal(err)
		}
		w.Tick(63)
		w.Rest(20)
		if ok(t, w); len(c.waiting) > 0 || w.ledger.chunks[money].Epoch != 1 {
			t.Fatal("the deposit did not go back")
		}
		return m.try(m.depositAsk(o))
	},
	"a deposit that its owner did not order": func(t *testing.T, w *World) error {
		c, _, money := w.ordered(t, "alice", "mallory")
		m := w.Client("mallory")
		return m.try(m.depositAsk(w.orderFor(c, money)))
	},
	"an acknowledgement of a deposit for another": func(t *testing.T, w *World) error {
		c, _, money := w.ordered(t, "mallory", "bob")
		p := w.handedOver(t, "mallory", c, money)
		m, bob := w.Client("mallory"), w.Client("bob")
		q := m.lateAck(c.ID, p.entry)
		w.say("mallory brings an acknowledgement in a session of bob's")
		return bob.try(q)
	},
	"an acknowledgement after a deposit's time": func(t *testing.T, w *World) error {
		c, _, money := w.ordered(t, "alice", "mallory")
		p := w.handedOver(t, "alice", c, money)
		w.Tick(601)
		w.hosts[0].Round(15, 0)
		m := w.Client("mallory")
		return m.try(m.lateAck(c.ID, p.entry))
	},
	"a claim of what is being deposited": func(t *testing.T, w *World) error {
		c, _, money := w.ordered(t, "alice", "bob")
		alice := w.Client("alice")
		if err := alice.putIn(c.ID, 600, money); err != nil {
			t.Fatal(err)
		}
		if alice.Claim(money) == nil {
			return errWorks
		}
		return nil
	},
	// The coins behind a deposit are not there: whose host looks, and does not find
	// them, has its vault acknowledge nothing.
	"a deposit without coins": func(t *testing.T, w *World) error {
		c, lot, money := w.ordered(t, "mallory", "bob")
		funding := w.deposit(t, money).FundingTx
		d := w.ledger.chunks[money].Cert.Denomination
		w.chains[d.Asset.ID].Reorg(1<<20, funding)
		w.chains[d.Asset.ID].MineEmpty(depth + 1)
		m, bob := w.Client("mallory"), w.Client("bob")
		bob.manner = honest
		if err := m.ask(m.depositAsk(w.orderFor(c, money))); err != nil {
			t.Fatal(err)
		}
		w.Rest(20)
		if w.ledger.chunks[lot].Owner == m.ID {
			return errWorks
		}
		return nil
	},

	"forged: a deposit that counts as it should": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, lot, money := w.ordered(t, "alice", "bob")
		p := w.handedOver(t, "alice", c, money)
		bob := w.Client("bob")
		size := vault.Index(w.hosts[0].Disk.size())
		run := w.taking(t, c, lot, money)
		run.Prev = size + 1
		w.forge(t, vault.Entry{Ack: &vault.Ack{Instance: c.ID, Role: 1, Prev: c.Last, Sig: bob.lateAck(c.ID, p.entry).Ack.Sig, Deposit: p.entry}}, vault.Entry{Run: &run})
		if w.believes("alice", lot, ownedBy(c.Parties[0])) == nil || w.believes("bob", money, ownedBy(c.Parties[1])) == nil {
			t.Errorf("a proper step is not followed: %v, %v", w.Client("alice").stuck, bob.stuck)
		}
		return nil
	},
	"forged: a deposit that nobody acknowledged": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, lot, money := w.ordered(t, "alice", "bob")
		w.handedOver(t, "alice", c, money)
		run := w.taking(t, c, lot, money)
		w.forge(t, vault.Entry{Run: &run})
		return w.believes("bob", money, ownedBy(c.Parties[1]))
	},
	"forged: an acknowledgement of a deposit": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, lot, money := w.ordered(t, "alice", "bob")
		p := w.handedOver(t, "alice", c, money)
		size := vault.Index(w.hosts[0].Disk.size())
		run := w.taking(t, c, lot, money)
		run.Prev = size + 1
		w.forge(t, vault.Entry{Ack: &vault.Ack{Instance: c.ID, Role: 1, Prev: c.Last, Sig: w.Client("alice").lateAck(c.ID, p.entry).Ack.Sig, Deposit: p.entry}}, vault.Entry{Run: &run})
		return w.believes("bob", money, ownedBy(c.Parties[1]))
	},
	"forged: a deposit that counts after its time": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, lot, money := w.ordered(t, "alice", "bob")
		p := w.handedOver(t, "alice", c, money)
		size := vault.Index(w.hosts[0].Disk.size())
		run := w.taking(t, c, lot, money)
		run.Prev, run.EventAt = size+1, p.order.By+1
		w.forge(t, vault.Entry{Ack: &vault.Ack{Instance: c.ID, Role: 1, Prev: c.Last, Sig: w.Client("bob").lateAck(c.ID, p.entry).Ack.Sig, Deposit: p.entry}},
			vault.Entry{At: p.order.By + 1, Run: &run})
		return w.believes("bob", money, ownedBy(c.Parties[1]))
	},
	"forged: a deposit that alice did not order": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, _, money := w.ordered(t, "alice", "bob")
		w.forgeOrder(t, c, w.Client("mallory").depositAsk(w.orderFor(c, money)))
		return w.believes("alice", money, locked)
	},
	"forged: a deposit of carol's chunk": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, _, _ := w.ordered(t, "alice", "bob")
		x := w.stock(t, 0, "carol")["carol"]
		w.forgeOrder(t, c, w.Client("alice").depositAsk(w.orderFor(c, x)))
		return w.believes("bob", x, locked)
	},
	"forged: a deposit of another weight": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, _, _ := w.ordered(t, "alice", "bob")
		w.forgeOrder(t, c, w.Client("alice").depositAsk(w.orderFor(c, w.stockOf(t, "alice", 0, 1)...)))
		return w.believesDeposit("bob")
	},
	"forged: a deposit of another asset": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, _, _ := w.ordered(t, "alice", "bob")
		w.forgeOrder(t, c, w.Client("alice").depositAsk(w.orderFor(c, w.stock(t, 1, "alice")["alice"])))
		return w.believesDeposit("bob")
	},
	"forged: a deposit with papers that nobody signed": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, _, money := w.ordered(t, "alice", "bob")
		q := w.Client("alice").depositAsk(w.orderFor(c, money))
		cert := &q.Deposit.Papers.Certs[0].Cert
		cert.OwnerSig = slices.Clone(cert.OwnerSig)
		cert.OwnerSig[5] ^= 1
		w.forgeOrder(t, c, q)
		return w.believesDeposit("bob")
	},
	"forged: a deposit for another phase": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, _, money := w.ordered(t, "alice", "bob")
		o := w.orderFor(c, money)
		o.Phase = 1
		w.forgeOrder(t, c, w.Client("alice").depositAsk(o))
		return w.believesDeposit("bob")
	},
	"forged: a deposit that goes back early": func(t *testing.T, w *World) error {
		w.cfg.BrokenEscrow = true
		c, _, money := w.ordered(t, "alice", "bob")
		p := w.handedOver(t, "alice", c, money)
		clock := vault.Index(w.hosts[0].Disk.size() + 1)
		w.forge(t, vault.Entry{Clock: &vault.Clock{Head: w.hosts[0].note}}, vault.Entry{Run: &vault.Run{
			Instance: c.ID, Prev: c.Last, Kind: vault.RunReturn, EventAt: p.order.By, Clock: clock,
			Exits: w.exits(t, map[wire.ChunkID]wire.VaultID{money: c.Parties[0]}, money),
		}})
		return w.believes("alice", money, func(x vault.Chunk) bool { return x.Epoch == 1 })
	},
}

// What is ordered, deposited and acknowledged happens, whatever dies in between.
func TestOrderIsPaid(t *testing.T) {
	w := world(t, Config{Seed: 1})
	c, lot, money := w.ordered(t, "alice", "bob")
	w.handedOver(t, "alice", c, money)
	for _, name := range []string{"alice", "bob"} {
		w.Client(name).Crash()
		if err := w.Client(name).Start(); err != nil {
			t.Fatal(err)
		}
	}
	w.hosts[0].Crash(9)
	w.hosts[0].Start()
	w.Client("bob").manner = honest
	w.Rest(20)
	ok(t, w)
	if !c.Ended || w.ledger.chunks[money].Owner != c.Parties[1] || w.ledger.chunks[lot].Owner != c.Parties[0] {
		t.Errorf("the order is not done: %+v", c)
	}
	w.Settle()
	ok(t, w)
}

// Nobody acknowledges, or the phase ends first: the buyer has its chunk back, and
// pays with it in the next phase.
func TestOrderIsPaidInTheNextPhase(t *testing.T) {
	w := world(t, Config{Seed: 1})
	c, lot, money := w.ordered(t, "alice", "bob")
	w.handedOver(t, "alice", c, money)
	if err := w.Client("bob").Say(c.ID, "hurry", 0, false); err != nil {
		t.Fatal(err)
	}
	w.Rest(20)
	if ok(t, w); len(c.waiting) > 0 || w.ledger.chunks[money].Owner != c.Parties[0] || w.ledger.chunks[money].Epoch != 1 || locked(vault.Chunk{Instance: w.ledger.chunks[money].Instance}) {
		t.Fatalf("the deposit did not go back with its phase: %+v", w.ledger.chunks[money].Moment)
	}
	w.Client("bob").manner = honest
	if err := w.Client("alice").putIn(c.ID, 600, money); err != nil {
		t.Fatal(err)
	}
	w.Rest(20)
	if ok(t, w); !c.Ended || w.ledger.chunks[money].Owner != c.Parties[1] || w.ledger.chunks[lot].Owner != c.Parties[0] {
		t.Errorf("the order is not done: %+v", c)
	}
	w.Settle()
	ok(t, w)
}
