package sim

import (
	"sync"
	"testing"

	"latchkey/wire"
)

var cast = sync.OnceValues(NewCast)

// world returns a world in which every client has made its deposits, confirmed.
func world(t testing.TB, cfg Config) *World {
	t.Helper()
	c, err := cast()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Clients == 0 {
		cfg.Clients = 3
	}
	w, err := New(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if testing.Verbose() {
		w.log = func(s string) { t.Log(s) }
	}
	return w
}

// stock gives each named client one chunk of weight 5 of each asset named.
func (w *World) stock(t testing.TB, asset int, names ...string) map[string]wire.ChunkID {
	t.Helper()
	old := map[wire.ChunkID]bool{}
	for _, n := range names {
		for _, id := range w.Client(n).Owned() {
			old[id] = true
		}
		if err := w.Client(n).Deposit(w.cast.Coins[asset], 5, 1); err != nil {
			t.Fatal(err)
		}
	}
	w.Rest(20)
	w.Mine(depth)
	ok(t, w)
	out := map[string]wire.ChunkID{}
	for _, n := range names {
		for _, id := range w.Client(n).Owned() {
			if !old[id] {
				out[n] = id
			}
		}
		if _, ok := out[n]; !ok {
			t.Fatalf("%s has no new chunk", n)
		}
	}
	ok(t, w)
	return out
}

func ok(t testing.TB, w *World) {
	t.Helper()
	if w.err != nil {
		t.Fatal(w.err)
	}
}

func TestSwapSmooth(t *testing.T) {
	w := world(t, Config{Seed: 1})
	a := w.stock(t, 0, "alice")["alice"]
	b := w.stock(t, 1, "bob")["bob"]
	p, err := w.Propose(Stakes{Contract: Swap, Parties: []*Client{w.Client("alice"), w.Client("bob")}, Pots: [][]wire.ChunkID{{a}, {b}}, LockIn: 60})
	if err != nil {
		t.Fatal(err)
	}
	w.Rest(20)
	ok(t, w)
	if c := p.course(w); c == nil || !c.Ended || c.Aborted {
		t.Fatalf("the swap did not end: %+v", c)
	}
	w.Settle()
	ok(t, w)
}

// deal makes and runs a deal to its end, without faults.
func (w *World) deal(t testing.TB, kind contractID, parties []string, pots ...[]wire.ChunkID) *Course {
	t.Helper()
	s := Stakes{Contract: kind, Pots: pots, LockIn: 60}
	for _, n := range parties {
		s.Parties = append(s.Parties, w.Client(n))
	}
	p, err := w.Propose(s)
	if err != nil {
		t.Fatal(err)
	}
	w.Rest(20)
	ok(t, w)
	c := p.course(w)
	if c == nil {
		t.Fatal("the deal was not locked")
	}
	return c
}

func TestSecondHand(t *testing.T) {
	w := world(t, Config{Seed: 1})
	a := w.stock(t, 0, "alice")["alice"]
	b := w.stock(t, 1, "bob")["bob"]
	c := w.stock(t, 1, "carol")["carol"]
	w.deal(t, Swap, []string{"alice", "bob"}, []wire.ChunkID{a}, []wire.ChunkID{b})
	for _, x := range []struct {
		from, to     string
		first, other wire.ChunkID
	}{{"bob", "carol", a, c}, {"carol", "alice", a, b}, {"alice", "bob", a, c}} {
		if d := w.deal(t, Swap, []string{x.from, x.to}, []wire.ChunkID{x.first}, []wire.ChunkID{x.other}); !d.Opened {
			w.Settle()
			t.Fatalf("the swap of %s and %s did not open", x.from, x.to)
		}
	}
	w.Settle()
	ok(t, w)
}

// until pumps until a condition holds.
func (w *World) until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for range 30 {
		if holds() {
			ok(t, w)
			return
		}
		w.Tick(1)
		w.Pump()
	}
	ok(t, w)
	t.Fatalf("it never comes to this: %s", what)
}

// loseAcks is a hook that loses the answers to acknowledgements, and the r with them.
func loseAcks(at point, _ *Client, what string) bool { return at == answered && what == "ack" }

// A copy of the escrow from before a step knows nothing of it. What it says to
// the step's receiver must not make a vault give the chunk up.
func TestStaleCloneKnowsNothing(t *testing.T) {
	w := world(t, Config{Seed: 1})
	alice, b, err := w.staleWord(t)
	if err != nil {
		t.Fatal(err)
	}
	if x, _ := alice.m.Chunk(b); x.Lost {
		t.Error("a word of a stale copy made alice's vault give her chunk up")
	}
	w.Settle()
	ok(t, w)
}

// staleWord has alice ask a stale copy of the escrow for the r of a chunk that
// she has just been given.
func (w *World) staleWord(t testing.TB) (*Client, wire.ChunkID, error) {
	t.Helper()
	a, b := w.stock(t, 0, "alice")["alice"], w.stock(t, 1, "bob")["bob"]
	old := w.hosts[0].Clone("escrow2", w.hosts[0].Disk.Clone())
	alice := w.Client("alice")
	p, err := w.Propose(Stakes{Contract: Swap, Parties: []*Client{alice, w.Client("bob")}, Pots: [][]wire.ChunkID{{a}, {b}}, LockIn: 60})
	if err != nil {
		t.Fatal(err)
	}
	w.hook = loseAcks
	w.until(t, "the swap is over", func() bool { c := p.course(w); return c != nil && c.Ended })
	w.hook = nil
	alice.Sync() // she knows that b is hers, and has no r yet
	if x, _ := alice.m.Chunk(b); x.Step == 0 {
		t.Fatal("alice has her r already")
	}
	w.hosts = append(w.hosts, old)
	w.cloned = true
	old.Start()
	alice.Route(old)
	alice.Talk()
	for len(alice.up) > 0 {
		alice.Deliver(0, false)
	}
	old.Round(15, 0)
	for len(alice.down) > 0 {
		alice.Hear(0, false)
	}
	return alice, b, w.err
}

// Two copies of the escrow make the two halves of one batch: a vault that has
// the points of one and the certificate of the other lets the batch go.
func TestBatchBetweenTwoClones(t *testing.T) {
	w := world(t, Config{Seed: 1})
	alice := w.Client("alice")
	for _, x := range []*Host{w.hosts[0], w.hosts[0].Clone("escrow2", w.hosts[0].Disk.Clone())} {
		if x != w.hosts[0] {
			w.hosts = append(w.hosts, x)
			x.Start()
		}
	}
	w.cloned = true
	if err := alice.Deposit(w.cast.Coins[0], 5, 1); err != nil {
		t.Fatal(err)
	}
	batch := alice.m.Batches()[0]
	alice.Talk()
	begin := alice.up[0]
	alice.Deliver(0, true)
	w.hosts[0].Flush(1)
	alice.Route(w.hosts[1])
	begin.to = alice.peer.boot
	alice.up = []message{begin}
	alice.Deliver(0, false)
	w.hosts[1].Flush(1)
	alice.Hear(0, false) // the points of the second copy
	alice.Route(w.hosts[0])
	w.Rest(10)
	if len(alice.m.Batches()) != 0 {
		t.Errorf("batch %s is still being made", batch.Short())
	}
	w.Settle()
	ok(t, w)
}

// sale opens an instance of Escrow: alice buys from bob, carol arbitrates.
func (w *World) sale(t testing.TB) (*Course, [2]wire.ChunkID) {
	t.Helper()
	a := [2]wire.ChunkID{w.stock(t, 0, "alice")["alice"], w.stock(t, 0, "alice")["alice"]}
	c := w.deal(t, Escrow, []string{"alice", "bob", "carol"}, a[:1], a[1:])
	if !c.Opened || c.Ended {
		t.Fatalf("the sale is not open: %+v", c)
	}
	return c, a
}

// The escrow comes back long after a deadline, and a word arrives before it has
// done what time had brought.
func TestWordLongAfterDeadline(t *testing.T) {
	w := world(t, Config{Seed: 1})
	c, _ := w.sale(t)
	w.hosts[0].Crash(9)
	w.Tick(2 * 86400)
	w.hosts[0].Start()
	w.hosts[0].Round(15, 0)
	alice := w.Client("alice")
	if err := alice.Say(c.ID, "release", 0, false); err != nil {
		t.Fatal(err)
	}
	alice.Talk()
	alice.Deliver(0, false)
	w.Settle()
	ok(t, w)
}

// A vault accepts, is brought back from before that, and accepts again. Either
// acceptance may be locked; it follows both.
func TestAcceptedTwiceAroundARollback(t *testing.T) {
	w := world(t, Config{Seed: 1})
	a, b := w.stock(t, 0, "alice")["alice"], w.stock(t, 1, "bob")["bob"]
	alice := w.Client("alice")
	alice.Backup()
	p, err := w.Propose(Stakes{Contract: Swap, Parties: []*Client{alice, w.Client("bob")}, Pots: [][]wire.ChunkID{{a}, {b}}, LockIn: 60})
	if err != nil {
		t.Fatal(err)
	}
	alice.Rollback(0)
	if err := alice.Start(); err != nil {
		t.Fatal(err)
	}
	second, err := alice.Accept(p.a)
	if err != nil {
		t.Fatal(err)
	}
	if second.Body == p.all[0].Body {
		t.Fatal("the second acceptance is the first: nothing was brought back")
	}
	w.Rest(20)
	if c := p.course(w); c == nil || !c.Ended || c.Aborted {
		t.Errorf("the swap did not end well: %+v, %v", c, alice.stuck)
	}
	w.Settle()
	ok(t, w)
}
