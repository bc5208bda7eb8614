package enclave_test

import (
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// frames has an owner begin so many batches and returns what it says to the escrow,
// as calls of the escrow's host.
func (w *world) frames(o *node, batches int, n uint32) (out []enclave.Call) {
	w.t.Helper()
	for range batches {
		o.must(enclave.Call{Batch: &vault.BatchSpec{Denomination: denomination("xmr", coin.Ed25519), Weight: 5, N: n, Expiry: w.now + 80*86400}})
	}
	for _, s := range o.must(enclave.Call{Talk: &enclave.Nothing{}}).Talk {
		w.escrow.n++
		out = append(out, enclave.Call{N: w.escrow.n, Frame: &enclave.Raw{Bytes: s.Frame}})
	}
	if len(out) != batches {
		w.t.Fatalf("%d requests of %d batches", len(out), batches)
	}
	return out
}

// One vault asks for as many keys as it may, another for one key after all of that has
// come: it waits for no more than the request that is being decided, however many there
// are, and for what the host asks itself.
func TestGreedyWaitsAlone(t *testing.T) {
	const batch = 1024
	w := newWorld(t, 2)
	e := w.escrow.e
	greedy := w.frames(w.owners[0], 8, batch)
	honest := w.frames(w.owners[1], 1, 1)[0]
	e.Come(greedy...)
	first, _, _ := e.Turn() // the machine is at work on it when the other comes
	w.escrow.n++
	tick := enclave.Call{N: w.escrow.n, Tick: &enclave.Tick{}}
	e.Come(honest, tick)
	before := e.Work()
	var order []uint64
	for waiting := 1; waiting > 0; {
		var n uint64
		n, waiting, _ = e.Turn()
		if order = append(order, n); n == honest.N && e.Work()-before != 1 {
			t.Errorf("%d units of work before one key is made, want those of this key", e.Work()-before)
		}
	}
	if first != greedy[0].N || order[0] != tick.N || order[1] != honest.N {
		t.Errorf("decided are %d, then %v; want the greedy vault's %d, then the host's %d and the honest vault's %d", first, order, greedy[0].N, tick.N, honest.N)
	}
	for i, n := range order[2:] { // and its own keep their order
		if n != greedy[i+1].N {
			t.Errorf("of the greedy vault, call %d is decided where %d is due", n, greedy[i+1].N)
		}
	}
	if got := e.Work() - before; got != 7*batch+1 {
		t.Errorf("%d units of work for %d keys", got, 7*batch+1)
	}
}

// Vaults that ask for much share what is left of the time by how much they ask, not by
// how often: while one has a batch, another has as many keys one by one.
func TestTurnsCountWork(t *testing.T) {
	const batch = 256
	w := newWorld(t, 2)
	e := w.escrow.e
	e.Come(w.frames(w.owners[0], 4, batch)...)
	e.Come(w.frames(w.owners[1], 8, 8)...)
	small := map[uint64]bool{}
	for i := range 8 {
		small[w.escrow.n-uint64(i)] = true
	}
	large := 0
	for waiting := 1; waiting > 0 && len(small) > 0; {
		var n uint64
		if n, waiting, _ = e.Turn(); small[n] {
			delete(small, n)
		} else {
			large++
		}
	}
	if large > 1 {
		t.Errorf("8 batches of 8 keys wait for %d batches of %d", large, batch)
	}
}

// What was cheap is answered before something dear is begun, though both wait.
func TestCheapIsNotHeldByDear(t *testing.T) {
	w := newWorld(t, 2)
	e := w.escrow.e
	greedy := w.frames(w.owners[0], 3, 1024)
	e.Come(greedy...)
	if _, _, out := e.Turn(); len(out) == 0 {
		t.Error("a batch of 1,024 keys waits for what comes after it")
	}
	honest := w.frames(w.owners[1], 1, 1)[0]
	e.Come(honest)
	n, waiting, out := e.Turn()
	if n != honest.N || waiting != 2 {
		t.Fatalf("call %d is decided and %d wait; want %d, and 2", n, waiting, honest.N)
	}
	for _, m := range out {
		if m.Commit != nil && len(m.Commit.Entries) == 1 {
			return
		}
	}
	t.Errorf("what one key needs stored is kept until the next batch is made: %d messages", len(out))
}

// pair is a world in which only two of the owners act.
func (w *world) pair(a, b int) *world {
	p := *w
	p.owners = []*node{w.owners[a], w.owners[b]}
	return &p
}

// swaps are locks of two owners, one for each of the chunks that both have.
func (w *world) swaps(n int) (out []enclave.Call) {
	w.t.Helper()
	all := w.agreement()
	for i := range n {
		a := all
		a.Pots = [][]vault.Stake{all.Pots[0][i : i+1], all.Pots[1][i : i+1]}
		a.Terms = []int64{5, 5}
		q, err := w.accept(a)
		if err != nil {
			w.t.Fatal(err)
		}
		w.escrow.n++
		out = append(out, enclave.Call{N: w.escrow.n, Lock: &q})
	}
	return out
}

// lockWorld has five owners, four of them with chunks, and locks of two pairs: the
// first pair has three, the second one.
func lockWorld(t *testing.T) (w *world, greedy []enclave.Call, honest enclave.Call) {
	t.Helper()
	w = newWorld(t, 5)
	for i, o := range w.owners[:4] {
		w.more(o, denomination([]coin.AssetID{"btc", "xmr"}[i%2], []coin.KeyType{coin.Secp256k1, coin.Ed25519}[i%2]), 3)
	}
	return w, w.pair(0, 1).swaps(3), w.pair(2, 3).swaps(1)[0]
}

// Outcomes are explored beside all else: a lock that waits for that keeps nobody
// waiting, and other agreements of the same parties wait for those of others.
func TestExploredBeside(t *testing.T) {
	w, greedy, honest := lockWorld(t)
	e := w.escrow.e
	size := len(w.escrow.entries)
	e.Come(greedy...)
	for range greedy {
		if n, _, _ := e.Turn(); n < greedy[0].N || n > greedy[2].N {
			t.Errorf("call %d is decided, there are %d to %d", n, greedy[0].N, greedy[2].N)
		}
	}
	frame := w.frames(w.owners[4], 1, 1)[0]
	e.Come(frame)
	n, _, out := e.Turn()
	w.escrow.take(out)
	if _, ok := w.escrow.results[frame.N]; n != frame.N || !ok || len(w.escrow.entries) != size+1 {
		t.Errorf("while three agreements are to be explored, call %d is decided, call %d answered: %t, and there are %d entries, want %d",
			n, frame.N, ok, len(w.escrow.entries), size+1)
	}
	var locked []uint64
	next := func() {
		t.Helper()
		if !e.Beside() {
			t.Fatal("no agreement is to be explored")
		}
		for waiting := 1; waiting > 0; {
			var out []enclave.Message
			n, waiting, out = e.Turn()
			w.escrow.take(out)
			if r, ok := w.escrow.results[n]; !ok || r.Locked == nil {
				t.Fatalf("call %d after its exploration: %+v", n, r)
			}
			locked = append(locked, n)
		}
	}
	next()
	e.Come(honest)
	e.Turn()
	for range 3 {
		next()
	}
	if locked[1] != honest.N {
		t.Errorf("locked are %v: the other parties' lock, %d, waits for more than the exploration before it", locked, honest.N)
	}
	if e.Beside() {
		t.Error("something is explored that nobody waits for")
	}
}

// However many bring one lock, its outcomes are explored once. What was found counts
// for that agreement alone, and as things stand when it is locked.
func TestExploredOnce(t *testing.T) {
	w, locks, _ := lockWorld(t)
	e := w.escrow.e
	again := locks[0]
	w.escrow.n++
	again.N = w.escrow.n
	e.Come(locks[0], again)
	e.Turn()
	e.Turn()
	if !e.Beside() || e.Beside() {
		t.Error("want one exploration of one agreement")
	}
	var ids []wire.InstanceID
	for waiting := 1; waiting > 0; {
		var out []enclave.Message
		_, waiting, out = e.Turn()
		w.escrow.take(out)
	}
	for _, n := range []uint64{locks[0].N, again.N} {
		if r := w.escrow.results[n]; r.Locked != nil {
			ids = append(ids, r.Locked.Instance)
		}
	}
	if len(ids) != 2 || ids[0] != ids[1] {
		t.Errorf("one lock, brought twice, makes %v", ids)
	}
	e.Come(locks[1]) // its time passes while it is explored
	e.Turn()
	w.now += 120
	w.escrow.n++
	tick := w.escrow.n
	e.Come(enclave.Call{N: tick, Tick: &enclave.Tick{}})
	_, _, out := e.Turn()
	w.escrow.take(out)
	w.escrow.must(enclave.Call{Cosigned: &enclave.Raw{Bytes: w.countersign(w.escrow.results[tick].Bytes)}})
	if !e.Beside() {
		t.Fatal("nothing is to be explored")
	}
	_, _, out = e.Turn()
	w.escrow.take(out)
	if r := w.escrow.results[locks[1].N]; !strings.Contains(r.Error, "expired") {
		t.Errorf("a lock whose time passed while its outcomes were explored: %+v", r)
	}
}

// An operator sees how much there is to do.
func TestBusy(t *testing.T) {
	w := newWorld(t, 1)
	e := w.escrow.e
	e.Come(w.frames(w.owners[0], 3, 16)...)
	before := e.Work()
	_, _, out := e.Turn()
	w.escrow.take(out)
	w.escrow.n++
	tick := w.escrow.n
	e.Come(enclave.Call{N: tick, Tick: &enclave.Tick{}})
	for waiting := 1; waiting > 0; {
		_, waiting, out = e.Turn()
		w.escrow.take(out)
	}
	b := w.escrow.results[tick].Busy
	if b == nil || b.Work != before+16 || b.Waiting != 2 || b.Exploring != 0 {
		t.Errorf("after one of three batches the vault says %+v", b)
	}
}
