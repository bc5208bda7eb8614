package sim

import (
	"flag"
	"math/rand/v2"
	"testing"

	"latchkey/settle"
	"latchkey/wire"
)

var stepwise = flag.Int("stepwise", 60, "how many settlements with a cheat TestStepwiseCheats plays")

// stockOf gives a client chunks of these weights, one batch each.
func (w *World) stockOf(t testing.TB, who string, asset int, weights ...uint32) (ids []wire.ChunkID) {
	t.Helper()
	c := w.Client(who)
	for _, weight := range weights {
		old := map[wire.ChunkID]bool{}
		for _, id := range c.Owned() {
			old[id] = true
		}
		if err := c.Deposit(w.cast.Coins[asset], weight, 1); err != nil {
			t.Fatal(err)
		}
		w.Rest(20)
		for _, id := range c.Owned() {
			if !old[id] {
				ids = append(ids, id)
			}
		}
	}
	w.Mine(depth)
	ok(t, w)
	if len(ids) != len(weights) {
		t.Fatalf("%s has %d new chunks, want %d", who, len(ids), len(weights))
	}
	return ids
}

// stepwise proposes a swap that is settled tit for tat.
func (w *World) stepwise(t testing.TB, a, b string, pace settle.Pace, x, y []wire.ChunkID) *proposal {
	t.Helper()
	p, err := w.Propose(Stakes{Contract: Swap, Parties: []*Client{w.Client(a), w.Client(b)}, Pots: [][]wire.ChunkID{x, y}, LockIn: 60, Pace: &pace})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestStepwiseSmooth(t *testing.T) {
	w := world(t, Config{Seed: 1})
	x, y := w.stockOf(t, "alice", 0, 5, 5, 5, 5), w.stockOf(t, "bob", 1, 10, 5, 5)
	p := w.stepwise(t, "alice", "bob", settle.Pace{First: 5, Growth: 200, Most: 20, Wait: 3600}, x, y)
	closed := false
	w.until(t, "the swap is settled", func() bool {
		c := p.course(w)
		closed = closed || c != nil && c.Closed && !c.Ended
		return c != nil && c.Ended
	})
	c := p.course(w)
	if !closed || c.Broken || len(c.turns.steps) != 5 {
		t.Errorf("closed before it was settled: %t, broken %t, %d steps; want true, false, 5", closed, c.Broken, len(c.turns.steps))
	}
	for n, s := range c.turns.steps[:4] {
		if !s.spoken {
			t.Errorf("step %d lapsed", n+1)
		}
	}
	w.Settle()
	ok(t, w)
}

// Nobody says anything: the settlement ends by the time that it was to end by.
func TestStepwiseSilence(t *testing.T) {
	w := world(t, Config{Seed: 1})
	x, y := w.stockOf(t, "alice", 0, 5, 5, 5), w.stockOf(t, "bob", 1, 5, 5, 5)
	alice, bob := w.Client("alice"), w.Client("bob")
	alice.manner, bob.manner = silent, silent
	p := w.stepwise(t, "alice", "bob", settle.Pace{First: 5, Growth: 100, Most: 5, Wait: 600}, x, y)
	w.until(t, "the swap is open", func() bool { c := p.course(w); return c != nil && c.Opened })
	alice.Sync()
	ends := alice.m.Instances()[0].Ends
	for !p.course(w).Ended {
		if w.now > ends+2*maxSkew {
			t.Fatalf("at %d it is not settled, and was to be by %d", w.now, ends)
		}
		w.Tick(30)
		w.Pump()
		ok(t, w)
	}
	if c := p.course(w); c.Broken || len(c.turns.steps) != 6 {
		t.Errorf("broken %t after %d steps, want all 6", c.Broken, len(c.turns.steps))
	}
	w.Settle()
	ok(t, w)
}

// A party sells empty chunks, its TEE and another broken, whenever it likes; or it
// says of good chunks that they failed; or nothing. Whoever looks and speaks
// loses no more than its vault told it before it accepted.
func TestStepwiseCheats(t *testing.T) {
	broken, lost, most := 0, 0, 0
	for seed := range uint64(max(1, *stepwise/slow)) {
		r := rand.New(rand.NewPCG(seed, 7))
		w := world(t, Config{Seed: seed, Clients: 4, Broken: map[string]bool{"mallory": true}})
		w.log = nil
		m := w.Client("mallory")
		weights := func() (out []uint32) {
			for range 1 + r.IntN(5) {
				out = append(out, []uint32{1, 2, 5, 10}[r.IntN(4)])
			}
			return out
		}
		names := []string{"bob", "mallory"}
		if r.IntN(2) == 0 {
			names[0], names[1] = names[1], names[0]
		}
		x, y := w.stockOf(t, names[0], 0, weights()...), w.stockOf(t, names[1], 1, weights()...)
		first := 1 + r.Uint32N(5)
		pace := settle.Pace{First: first, Growth: 100 + r.Uint32N(200), Most: first + r.Uint32N(10), Wait: 60}
		p := w.stepwise(t, names[0], names[1], pace, x, y)
		hard := r.IntN(4) // how she goes about it
		for range 80 {
			switch c := p.course(w); {
			case c == nil:
			case c.Ended:
			case hard == 0 && r.IntN(8) == 0, hard == 1 && len(c.turns.steps) > 1 && r.IntN(3) == 0:
				w.drain(m, r.IntN(100))
			case hard == 2 && r.IntN(6) == 0:
				m.manner = slanders
			case hard == 3:
				m.manner = silent
			}
			if r.IntN(3) == 0 {
				w.Mine(1)
			}
			w.Tick(1 + r.Int64N(3))
			w.Pump()
		}
		w.Settle()
		if w.err != nil {
			t.Fatalf("seed %d: %v", seed, w.err)
		}
		c := p.course(w)
		if c == nil || !c.Ended {
			t.Fatalf("seed %d: the settlement has not ended", seed)
		}
		if c.Broken {
			broken++
		}
		me := 0
		if names[1] == "bob" {
			me = 1
		}
		gave, got, _ := c.balance(me, w.drained)
		look, err := c.Agreement.Outlook()
		if err != nil {
			t.Fatal(err)
		}
		mine, theirs := c.turns.sum[me], c.turns.sum[1-me]
		if gave*theirs > got*mine {
			lost++
		}
		if (gave-look.Loss[me]+1)*theirs > got*mine {
			most++
		}
	}
	t.Logf("%d broken off, %d with a loss, %d with the greatest that there can be", broken, lost, most)
	if n := *stepwise / slow; n >= 50 && (broken < n/8 || lost < n/8 || most < 1) {
		t.Errorf("of %d settlements only %d were broken off, %d ended with a loss, %d with the greatest: the cheats do too little", n, broken, lost, most)
	}
}

// Bob has bought chunks whose coins are gone, step by step: he finds out at the
// first, and what he has not given goes back to him.
func TestStepwiseEmptyChunks(t *testing.T) {
	w := world(t, Config{Seed: 1, Clients: 4, Broken: map[string]bool{"mallory": true}})
	x, y := w.stockOf(t, "mallory", 0, 5, 5, 5), w.stockOf(t, "bob", 1, 5, 5, 5)
	p := w.stepwise(t, "mallory", "bob", settle.Pace{First: 5, Growth: 200, Most: 20, Wait: 3600}, x, y)
	w.until(t, "it is locked", func() bool { return p.locked(w) })
	for range x {
		w.drain(w.Client("mallory"), 0)
	}
	w.Mine(depth)
	w.until(t, "it is settled", func() bool { return p.course(w).Ended })
	c := p.course(w)
	if gave, got, _ := c.balance(1, w.drained); !c.Broken || gave != 0 || got != 0 {
		t.Errorf("bob gave %d and got %d, broken off %t; want 0, 0 and true", gave, got, c.Broken)
	}
	for _, id := range y {
		if w.ledger.chunks[id].Owner != w.Client("bob").ID {
			t.Error("a chunk of bob's did not come back")
		}
	}
	w.Settle()
	ok(t, w)
}

// A wallet that lies covers the cheat, as it does everywhere.
func TestStepwiseLyingWallet(t *testing.T) {
	w := world(t, Config{Seed: 1, Clients: 4, Broken: map[string]bool{"mallory": true}, LyingWallets: map[string]bool{"bob": true}})
	x, y := w.stockOf(t, "mallory", 0, 5, 5), w.stockOf(t, "bob", 1, 5, 5)
	p := w.stepwise(t, "mallory", "bob", settle.Pace{First: 5, Growth: 100, Most: 5, Wait: 3600}, x, y)
	w.until(t, "it is locked", func() bool { return p.locked(w) })
	for range x {
		w.drain(w.Client("mallory"), 0)
	}
	w.Mine(depth)
	w.until(t, "it is settled", func() bool { return p.course(w).Ended })
	if gave, got, _ := p.course(w).balance(1, w.drained); gave != 10 || got != 0 {
		t.Errorf("bob, whose wallet lies, gave %d and got %d, want 10 and 0", gave, got)
	}
	w.Settle()
	ok(t, w)
}
