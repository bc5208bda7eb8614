package sim

import (
	"errors"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/vault"
	"latchkey/wallet"
	"latchkey/wire"
)

// The tests of this file are named after the rows of the table "What breaks" in
// DESIGN.md, section 2. A row that promises no theft ends with everything in its
// place; a row that does not is shown to lose what it says.

// swapOf proposes that two clients exchange a chunk each and does nothing more.
func (w *World) swapOf(t testing.TB, a, b string) (*proposal, wire.ChunkID, wire.ChunkID) {
	t.Helper()
	x, y := w.stock(t, 0, a)[a], w.stock(t, 1, b)[b]
	p, err := w.Propose(Stakes{Contract: Swap, Parties: []*Client{w.Client(a), w.Client(b)}, Pots: [][]wire.ChunkID{{x}, {y}}, LockIn: 60})
	if err != nil {
		t.Fatal(err)
	}
	return p, x, y
}

func TestClientsHostRollsBackPastAnR(t *testing.T) {
	w := world(t, Config{Seed: 1})
	alice := w.Client("alice")
	p, _, y := w.swapOf(t, "alice", "bob")
	alice.Backup()
	w.until(t, "alice has stored her r", func() bool { x, _ := alice.m.Chunk(y); return p.locked(w) && x.Epoch == 1 && x.ShareAt == 1 })
	w.Rest(5)
	alice.Rollback(0)
	w.Settle()
	ok(t, w)
	if !alice.burnt(y) {
		t.Error("alice still has what her host burnt")
	}
	if w.ledger.chunks[y].Owner != alice.ID || w.Deposited(y) != nil {
		t.Error("somebody took what alice's host burnt")
	}
}

func TestClientsWalletLies(t *testing.T) {
	w := world(t, Config{Seed: 1, LyingWallets: map[string]bool{"bob": true}})
	x, y := w.stock(t, 0, "alice")["alice"], w.stock(t, 1, "bob")["bob"]
	// The coins behind alice's chunk are taken off the chain; only bob's wallet
	// still says that they are there.
	funding := w.deposit(t, x).FundingTx
	w.chains["xmr"].Reorg(1<<20, funding)
	w.chains["xmr"].MineEmpty(depth + 1)
	if err := w.Client("carol").funds(w.cast.Coins[0], w.points[x].Bytes(), coin.NewAmount(50_000)); err == nil {
		t.Fatal("the coins are still there")
	}
	p, err := w.Propose(Stakes{Contract: Swap, Parties: []*Client{w.Client("alice"), w.Client("bob")}, Pots: [][]wire.ChunkID{{x}, {y}}, LockIn: 60})
	if err != nil {
		t.Fatal(err)
	}
	w.Rest(20)
	if c := p.course(w); c == nil || !c.Ended || c.Aborted {
		t.Fatal("bob did not buy the empty chunk")
	}
	w.chains["xmr"].MineEmpty(1)
	if err := w.Deposited(x); !errors.Is(err, wallet.ErrNotFunded) && !errors.Is(err, wallet.ErrNotConfirmed) {
		t.Errorf("the chunk that bob bought: %v, want it empty", err)
	}
}

func TestClientsTEEIsBroken(t *testing.T) {
	w := world(t, Config{Seed: 1, Clients: 4, Broken: map[string]bool{"mallory": true}})
	p, x, y := w.swapOf(t, "mallory", "bob")
	w.stock(t, 1, "carol")
	for i := range 16 * 24 {
		if w.err != nil {
			t.Fatal(w.err)
		}
		w.attack(w.Client("mallory"), i*16%256+i/16)
		if i%16 == 15 {
			w.Tick(1)
			w.Pump()
		}
	}
	w.Settle()
	ok(t, w)
	// She has had the share of what she gave from the beginning, and is not the
	// wiser for it; what she was given is hers.
	if c := p.course(w); c != nil && c.Opened {
		if w.secrets.holds(x, "mallory") != "" || !w.ledger.chunks[y].Swept {
			t.Error("mallory has more than her bargain, or less")
		}
	}
}

func TestTwoClientsTEEsAreBroken(t *testing.T) {
	w := world(t, Config{Seed: 1, Clients: 4, Broken: map[string]bool{"mallory": true, "carol": true}})
	_, x, y := w.swapOf(t, "alice", "mallory")
	w.Rest(20)
	w.deal(t, Pay, []string{"mallory", "carol"}, []wire.ChunkID{x})
	for _, id := range []wire.ChunkID{x, y} {
		if how := w.secrets.holds(id, "mallory", "carol"); how != "" {
			t.Errorf("chunk %s is whole with two broken vaults and no claim: %s", id.Short(), how)
		}
	}
	w.Settle()
	ok(t, w)
}

func TestOneWitnessFails(t *testing.T) {
	for name, offset := range map[string]int64{"ahead": 1 << 40, "behind": -1 << 40, "amnesia": 0} {
		t.Run(name, func(t *testing.T) {
			w := world(t, Config{Seed: 1, Liars: 1})
			w.witnesses[3].offset = offset
			clone := w.hosts[0].Clone("escrow2", w.hosts[0].Disk.Clone())
			w.hosts, w.cloned = append(w.hosts, clone), true
			clone.Start()
			p, _, _ := w.swapOf(t, "alice", "bob")
			for range 10 {
				clone.Enrol(&w.cast.Clients[4])
				clone.Round(15, 0)
				w.Tick(1)
				w.Pump()
			}
			if !p.locked(w) {
				t.Error("one witness holds everything up")
			}
			w.Settle()
			ok(t, w)
		})
	}
}

// f + 1 witnesses and the host of the escrow together have two heads, and with
// them the coins: alice claims on one, bob receives on the other.
func TestTooManyWitnessesFail(t *testing.T) {
	w := world(t, Config{Seed: 1, Clients: 4, Liars: 2, Broken: map[string]bool{"mallory": true}})
	mallory := w.Client("mallory")
	x := w.stock(t, 0, "mallory")["mallory"]
	clone := w.hosts[0].Clone("escrow2", w.hosts[0].Disk.Clone())
	w.hosts, w.cloned = append(w.hosts, clone), true
	clone.Start()
	w.reach = 1 | 4 | 8 // each honest witness sees one of the two logs
	w.deal(t, Pay, []string{"mallory", "bob"}, []wire.ChunkID{x})
	mallory.Route(clone)
	if err := mallory.ask(mallory.claimAsk(vault.ChunkEpoch{Chunk: x})); err != nil {
		t.Fatal(err)
	}
	clone.Round(2|4|8, 0)
	if w.err == nil || !strings.Contains(w.err.Error(), "two witnessed heads") {
		t.Fatalf("more than f witnesses failed and nothing broke: %v", w.err)
	}
}

// deposit returns what the chain has at a chunk's address.
func (w *World) deposit(t testing.TB, id wire.ChunkID) wallet.Deposit {
	t.Helper()
	f := w.ledger.chunks[id]
	r, err := w.clients[0].wallets[f.Cert.Denomination.Asset.ID].Deposits(ctx, wallet.DepositsRequest{
		Asset: f.Cert.Denomination.Asset, Queries: []wallet.DepositQuery{{Key: f.P.Bytes()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.Deposits[0]
}

func TestEscrowsHostClones(t *testing.T) {
	w := world(t, Config{Seed: 1, Liars: 1, Clients: 4, Broken: map[string]bool{"mallory": true}})
	mallory := w.Client("mallory")
	x := w.stock(t, 0, "mallory")["mallory"]
	clone := w.hosts[0].Clone("escrow2", w.hosts[0].Disk.Clone())
	w.hosts, w.cloned = append(w.hosts, clone), true
	clone.Start()
	w.deal(t, Pay, []string{"mallory", "bob"}, []wire.ChunkID{x})
	// The clone still takes the chunk for hers, and takes her claim. Its answer
	// waits for witnesses, who have seen the other log.
	mallory.Route(clone)
	for range 3 {
		if err := mallory.ask(mallory.claimAsk(vault.ChunkEpoch{Chunk: x})); err != nil {
			t.Fatal(err)
		}
		w.Tick(1)
		clone.Round(15, 0)
	}
	if len(mallory.down) != 0 || w.secrets.holds(x, "mallory") != "" {
		t.Error("the clone let its share go")
	}
	w.Settle()
	ok(t, w)
	if s := w.Client("bob").sweeps[x]; s == nil || !s.final {
		t.Error("bob did not get what was given to him")
	}
}

func TestEscrowsHostRollsBack(t *testing.T) {
	w := world(t, Config{Seed: 1, Clients: 4, Broken: map[string]bool{"mallory": true}})
	mallory := w.Client("mallory")
	x := w.stock(t, 0, "mallory")["mallory"]
	h := w.hosts[0]
	note, size := h.note, h.noted
	old := h.Clone("escrow2", h.Disk.Clone())
	w.deal(t, Pay, []string{"mallory", "bob"}, []wire.ChunkID{x})
	h.Crash(9)
	w.hosts, w.cloned = append(w.hosts, old), true
	old.Start()
	// The head of those days has all its cosignatures, and is no head of a new claim.
	mallory.Route(old)
	if err := mallory.ask(mallory.claimAsk(vault.ChunkEpoch{Chunk: x})); err != nil {
		t.Fatal(err)
	}
	old.Flush(9)
	_ = old.Present(note, size)
	for range 5 {
		w.Tick(1)
		old.Enrol(&w.cast.Clients[4])
		old.Round(15, 0)
	}
	if len(mallory.down) != 0 {
		t.Error("the escrow that was rolled back let its share go")
	}
	w.Settle()
	ok(t, w)
	if s := w.Client("bob").sweeps[x]; s == nil || !s.final {
		t.Error("bob did not get what was given to him")
	}
}

// The escrow's host drops a word. Without a receipt the party knows that it was
// not heard, says it again and again, and in the end the deadline's default
// applies; with a receipt, the log proves that the word was left out.
func TestEscrowsHostWithholdsAWord(t *testing.T) {
	t.Run("without a receipt", func(t *testing.T) {
		w := world(t, Config{Seed: 1})
		c, chunks := w.sale(t)
		alice := w.Client("alice")
		if err := alice.Say(c.ID, "release", 0, false); err != nil {
			t.Fatal(err)
		}
		dropped := 0
		w.hook = func(at point, _ *Client, what string) bool {
			if at != arriving || what != "word" {
				return false
			}
			dropped++
			return true
		}
		for range 6 {
			w.Tick(601)
			w.Pump()
			w.Pump()
		}
		if dropped < 3 {
			t.Errorf("alice said %d times what was not heard", dropped)
		}
		if len(w.receipts) != 0 {
			t.Error("a word that was not heard has a receipt")
		}
		w.Settle()
		ok(t, w)
		if got := c.given[chunks[0]]; got != w.Client("alice").ID {
			t.Errorf("half of a chunk of 5 units cannot be given: want it back with alice, got it with %s", got.Short())
		}
	})
	withReceipt := func(t *testing.T, start func(w *World) *Course, speak func(c *Client, on *Course) error) {
		w := world(t, Config{Seed: 1})
		c := start(w)
		alice := w.Client("alice")
		for _, c := range w.clients {
			c.Sync()
		}
		before := w.hosts[0].Clone("escrow", w.hosts[0].Disk.Clone())
		if err := speak(alice, c); err != nil {
			t.Fatal(err)
		}
		alice.Talk()
		alice.Deliver(0, false)
		w.hosts[0].Flush(9)
		alice.Hear(0, false)
		if len(w.receipts) != 1 {
			t.Fatalf("%d receipts for one thing said", len(w.receipts))
		}
		if out, err := w.Omitted(w.receipts[0].receipt); out || err != nil {
			t.Errorf("the time that the receipt names has not come: got %t, %v", out, err)
		}
		// The host said that the word was durable, and goes on with the disk of before.
		w.hosts[0].Crash(0)
		w.hosts, w.cloned = []*Host{before}, true
		before.Start()
		for _, c := range w.clients {
			c.Route(before)
		}
		alice.m = nil // and keeps her away, so that she cannot say it again
		for range 3 {
			w.Tick(30)
			before.Enrol(&w.cast.Clients[4])
			before.Round(15, 0)
		}
		if out, err := w.Omitted(w.receipts[0].receipt); !out || err != nil {
			t.Errorf("what has a receipt was left out and nothing proves it: %t, %v", out, err)
		}
		ok(t, w)
		w.Settle()
		ok(t, w)
	}
	t.Run("with a receipt", func(t *testing.T) {
		withReceipt(t, func(w *World) *Course { c, _ := w.sale(t); return c },
			func(c *Client, on *Course) error { return c.Say(on.ID, "release", 0, false) })
	})
	t.Run("a word about a step, with a receipt", func(t *testing.T) {
		withReceipt(t, func(w *World) *Course { c, _, _ := w.midway(t, "bob", "alice"); return c },
			func(c *Client, on *Course) error { c.took(on.ID, false); return nil })
	})
	t.Run("a report with a receipt", func(t *testing.T) {
		withReceipt(t, func(w *World) *Course { return w.twice(t, "alice") },
			func(c *Client, on *Course) error {
				return c.Bring(vault.Report{Instance: on.ID, Signed: prices(t, on.Agreement.Terms[2], 999)})
			})
	})
}

// With the escrow's TEE a former holder's host takes the chunk: it brings back
// the share of then, and the escrow never forgot its own.
func TestEscrowsTEEAndAFormerHoldersHost(t *testing.T) {
	w := world(t, Config{Seed: 1})
	p, x, y := w.swapOf(t, "alice", "bob")
	w.Rest(20)
	if c := p.course(w); c == nil || !c.Ended {
		t.Fatal("no swap")
	}
	if how := w.secrets.holds(x, "escrow"); how != "" {
		t.Errorf("the escrow alone has a whole key: %s", how)
	}
	if w.secrets.holds(x, "escrow", "alice") == "" {
		t.Error("a former holder's old share and the escrow's of that time are the key; want it shown")
	}
	if how := w.secrets.holds(x, "escrow", "carol"); how != "" {
		t.Errorf("carol never touched the chunk: %s", how)
	}
	_ = y
}

// With the escrow's TEE and a client's TEE go the chunks whose epochs that client
// touched, and no others.
func TestEscrowsTEEAndAClientsTEE(t *testing.T) {
	w := world(t, Config{Seed: 1})
	p, x, y := w.swapOf(t, "alice", "bob")
	z := w.stock(t, 0, "carol")["carol"]
	w.Rest(20)
	if c := p.course(w); c == nil || !c.Ended {
		t.Fatal("no swap")
	}
	for _, id := range []wire.ChunkID{x, y} {
		if w.secrets.holds(id, "escrow", "bob") == "" {
			t.Errorf("chunk %s went through bob's hands", id.Short())
		}
	}
	if w.secrets.holds(z, "escrow", "bob") != "" {
		t.Error("bob never touched carol's chunk")
	}
}

// One vendor's TEEs are all broken: the escrow's and vera's. Chunks that never
// came near a vault of that vendor are safe, and a vault lets none come near it
// unless its user says so by name.
func TestOneVendorIsBroken(t *testing.T) {
	w := world(t, Config{Seed: 1, Clients: 5})
	vera := w.Client("vera")
	x, y, z := w.stock(t, 0, "alice")["alice"], w.stock(t, 0, "bob")["bob"], w.stock(t, 1, "vera")["vera"]
	s := Stakes{Contract: Swap, Parties: []*Client{w.Client("alice"), vera}, Pots: [][]wire.ChunkID{{x}, {z}}, LockIn: 60}
	if _, err := w.Propose(s); !errors.Is(err, vault.ErrVendor) {
		t.Fatalf("alice's share may go to a vault of the escrow's vendor: %v, want ErrVendor", err)
	}
	w.allowed = []string{VendorB}
	s.Parties[0], s.Pots[0] = w.Client("bob"), []wire.ChunkID{y}
	if _, err := w.Propose(s); err != nil {
		t.Fatal(err)
	}
	w.Rest(20)
	if how := w.secrets.holds(x, "escrow", "vera"); how != "" {
		t.Errorf("alice's chunk is lost with vendor B: %s", how)
	}
	if w.secrets.holds(y, "escrow", "vera") == "" {
		t.Error("bob's user allowed it, so bob's chunk is lost with vendor B; want it shown")
	}
	ok(t, w)
}

// A switchboard that proposes nonsense: vaults and wallets look for themselves.
func TestSwitchboardIsBroken(t *testing.T) {
	w := world(t, Config{Seed: 1, Clients: 4})
	x, y := w.stock(t, 0, "alice")["alice"], w.stock(t, 1, "bob")["bob"]
	good, err := w.Agreement(Stakes{Contract: Swap, Parties: []*Client{w.Client("alice"), w.Client("bob")}, Pots: [][]wire.ChunkID{{x}, {y}}, LockIn: 60})
	if err != nil {
		t.Fatal(err)
	}
	good.Terms = []int64{5, 5}
	carol, alice := w.Client("carol"), w.Client("alice")
	for name, bad := range map[string]func(*vault.Agreement){
		"another weight":        func(a *vault.Agreement) { a.Pots[1][0].Weight, a.Terms[1] = 10, 10 },
		"another epoch":         func(a *vault.Agreement) { a.Pots[0][0].Epoch = 1 },
		"another party's chunk": func(a *vault.Agreement) { a.Parties[1] = vault.Recipients{carol.ID} },
		"herself twice":         func(a *vault.Agreement) { a.Parties[1] = vault.Recipients{alice.ID} },
		"another escrow":        func(a *vault.Agreement) { a.Escrow = carol.ID },
		"a chunk in both pots":  func(a *vault.Agreement) { a.Pots[1] = a.Pots[0] },
		"too little":            func(a *vault.Agreement) { a.Terms[1] = 4 },
		"too late":              func(a *vault.Agreement) { a.LockBy = alice.m.Now() },
		"for ever":              func(a *vault.Agreement) { a.LockBy = w.now + 10*365*86400 },
		"an unknown settlement": func(a *vault.Agreement) { a.Settle = 9 },
		"a broken contract":     func(a *vault.Agreement) { a.Source = []byte("contract Nonsense") },
		"an unknown chunk":      func(a *vault.Agreement) { a.Pots[1][0].Chunk[0] ^= 1 },
		"nothing at all":        func(a *vault.Agreement) { *a = vault.Agreement{} },
	} {
		a := good
		a.Terms = append([]int64(nil), good.Terms...)
		a.Parties = append([]vault.Recipients(nil), good.Parties...)
		a.Pots = [][]vault.Stake{append([]vault.Stake(nil), good.Pots[0]...), append([]vault.Stake(nil), good.Pots[1]...)}
		bad(&a)
		if _, err := alice.Accept(a); err == nil && name != "another party's chunk" {
			t.Errorf("%s: alice accepts", name)
		} else if name == "another party's chunk" {
			if _, err := carol.Accept(a); err == nil {
				t.Errorf("%s: carol accepts to put in bob's chunk", name)
			}
		}
		ok(t, w)
	}
	w.Settle()
	ok(t, w)
}

// A deposit that is reorganised away takes the chunk with it, whoever has it by
// then. Shallow reorganisations take nothing.
func TestDepositIsReorganisedAway(t *testing.T) {
	for _, deep := range []bool{false, true} {
		w := world(t, Config{Seed: 1})
		p, x, _ := w.swapOf(t, "alice", "bob")
		chain, blocks := w.chains["xmr"], 1
		if deep {
			blocks = 1 << 20
		}
		chain.Reorg(blocks, w.deposit(t, x).FundingTx)
		chain.MineEmpty(blocks%100 + 1)
		w.Rest(20)
		if c := p.course(w); c == nil || !c.Ended {
			t.Fatal("no swap")
		}
		for range 3 {
			chain.MineEmpty(1)
		}
		if gone := w.deposit(t, x).Confirmed.IsZero(); gone != deep {
			t.Errorf("deep %t: the deposit is gone: %t", deep, gone)
		}
	}
}
