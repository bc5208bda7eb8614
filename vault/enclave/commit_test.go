package enclave_test

import (
	"slices"
	"testing"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/coin"
	"latchkey/vault"
	"latchkey/vault/enclave"
)

// Calls that wait together are made durable by one commit with one head. None is
// answered before that; a head signed between two of them is not given out before
// it either.
func TestCommitTogether(t *testing.T) {
	w := newWorld(t, 2)
	spec := vault.BatchSpec{Denomination: denomination("btc", coin.Secp256k1), Weight: 5, N: 1, Expiry: w.now + 80*86400}
	e := w.escrow
	var calls []enclave.Call
	for _, o := range w.owners {
		for range 2 {
			o.must(enclave.Call{Batch: &spec})
		}
		for _, s := range o.must(enclave.Call{Talk: &enclave.Nothing{}}).Talk {
			calls = append(calls, enclave.Call{Frame: &enclave.Raw{Bytes: s.Frame}})
		}
	}
	if len(calls) != 4 {
		t.Fatalf("%d requests, want 4", len(calls))
	}
	calls = append(calls[:2:2], append([]enclave.Call{{Tick: &enclave.Tick{}}, {Frame: &enclave.Raw{Bytes: []byte("garbage")}}}, calls[2:]...)...)
	for i := range calls {
		e.n++
		calls[i].N = e.n
	}
	var commits []enclave.Commit
	for _, m := range e.e.HandleAll(calls...) {
		if m.Result != nil {
			t.Errorf("call %d is answered before its commit is durable", m.Result.N)
		}
		if m.Commit != nil {
			commits = append(commits, *m.Commit)
		}
	}
	if len(commits) != 1 || len(commits[0].Entries) != 4 || len(commits[0].Head) == 0 {
		t.Fatalf("%d commits, want one with 4 entries and a head", len(commits))
	}
	e.entries = append(e.entries, commits[0].Entries...)
	answered := 0
	for _, m := range e.e.Handle(enclave.Call{Durable: &enclave.Durable{Commit: commits[0].Number}}) {
		if m.Commit != nil {
			t.Error("news of durability changes something")
		}
		if m.Result == nil {
			continue
		}
		if want := calls[answered].N; m.Result.N != want {
			t.Errorf("answered is call %d, want %d", m.Result.N, want)
		}
		if garbage := m.Result.N == calls[3].N; garbage != (m.Result.Error != "") {
			t.Errorf("call %d: error %q", m.Result.N, m.Result.Error)
		}
		answered++
	}
	if answered != len(calls) {
		t.Errorf("%d of %d calls are answered", answered, len(calls))
	}
	w.witness() // the head of the tick, too, is of this log
}

// A commit takes so many calls and no more, and half of those that wait where they
// are many: those before it are answered without it.
func TestCommitBounds(t *testing.T) {
	least, most := enclave.CommitCalls, enclave.MaxCommitCalls
	for _, c := range []struct{ calls, first int }{{least + 1, least}, {2 * least, least}, {4 * least, 2 * least}, {3 * most, most}} {
		w := newWorld(t, 1)
		var calls []enclave.Call
		spec := vault.BatchSpec{Denomination: denomination("btc", coin.Secp256k1), Weight: 5, N: 1, Expiry: w.now + 80*86400}
		o := w.owners[0]
		for range c.calls {
			w.escrow.n++
			calls = append(calls, enclave.Call{N: w.escrow.n, Status: &enclave.Nothing{}})
		}
		o.must(enclave.Call{Batch: &spec})
		frame := o.must(enclave.Call{Talk: &enclave.Nothing{}}).Talk[0].Frame
		calls[c.first] = enclave.Call{N: calls[c.first].N, Frame: &enclave.Raw{Bytes: frame}}
		answers := 0
		for _, m := range w.escrow.e.HandleAll(calls...) {
			if m.Result != nil {
				answers++
			}
			if m.Commit != nil && answers != c.first {
				t.Errorf("of %d calls, the commit of number %d comes after %d answers", c.calls, c.first, answers)
			}
		}
		if answers != c.first { // what comes after a change in doubt waits as well
			t.Errorf("of %d calls, %d are answered before the commit is durable, want %d", c.calls, answers, c.first)
		}
	}
}

// That the witnesses have signed is heard at once, and lets go what waits for it,
// while a commit is in the making: nothing that it does rests on that commit.
func TestCosignedFirst(t *testing.T) {
	w := newWorld(t, 1)
	spec := vault.BatchSpec{Denomination: denomination("btc", coin.Secp256k1), Weight: 5, N: 1, Expiry: w.now + 80*86400}
	frame := func() enclave.Call {
		o := w.owners[0]
		o.must(enclave.Call{Batch: &spec})
		w.talk(o) // begins; what is held is the answer to what opens the batch
		talk := o.must(enclave.Call{Talk: &enclave.Nothing{}}).Talk
		w.escrow.n++
		return enclave.Call{N: w.escrow.n, Frame: &enclave.Raw{Bytes: talk[0].Frame}}
	}
	held, making := frame(), frame()
	var number uint64
	for _, m := range w.escrow.e.Handle(held) {
		if m.Result != nil {
			t.Fatal("answered before it is durable")
		}
		w.escrow.entries = append(w.escrow.entries, m.Commit.Entries...)
		number = m.Commit.Number
	}
	if out := w.escrow.e.Handle(enclave.Call{Durable: &enclave.Durable{Commit: number}}); len(out) != 0 {
		t.Fatal("answered before it is witnessed")
	}
	note := w.countersign(w.escrow.must(enclave.Call{Tick: &enclave.Tick{}}).Bytes)
	w.escrow.n++
	var answered []uint64
	for _, m := range w.escrow.e.HandleAll(making, enclave.Call{N: w.escrow.n, Cosigned: &enclave.Raw{Bytes: note}}) {
		if m.Result != nil {
			answered = append(answered, m.Result.N)
		}
	}
	if want := []uint64{w.escrow.n, held.N}; !slices.Equal(answered, want) {
		t.Errorf("answered are calls %v, want %v: that of the witnesses, and what waited for it", answered, want)
	}
}

// Who asks for shares that are not handed over yet is answered when they are, and
// with the next tick if they are not.
func TestAskedEarly(t *testing.T) {
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	w.deposit(alice, denomination("btc", coin.Secp256k1), 1)
	w.deposit(bob, denomination("xmr", coin.Ed25519), 1)
	q, err := w.accept(w.agreement())
	if err != nil {
		t.Fatal(err)
	}
	w.escrow.must(enclave.Call{Lock: &q})
	w.witness()
	said := map[string]enclave.Spoken{}
	for i, o := range w.owners {
		w.sync(o)
		for _, s := range o.must(enclave.Call{Talk: &enclave.Nothing{}}).Talk {
			said[[]string{"alice ", "bob "}[i]+s.What] = s
		}
	}
	send := func(what string) uint64 {
		t.Helper()
		if said[what].Frame == nil {
			t.Fatalf("nobody says %s", what)
		}
		return w.escrow.send(enclave.Call{Frame: &enclave.Raw{Bytes: said[what].Frame}})
	}
	answered := func(n uint64) bool { _, ok := w.escrow.results[n]; return ok }
	early := send("alice fetch")
	if answered(early) {
		t.Fatal("a question that comes too early is answered at once")
	}
	w.escrow.must(enclave.Call{Tick: &enclave.Tick{}})
	if !answered(early) {
		t.Fatal("a question that comes too early is not answered at the tick")
	}
	alice.must(enclave.Call{Heard: &enclave.Heard{N: said["alice fetch"].N, Frame: w.escrow.results[early].Bytes}})
	for _, s := range alice.must(enclave.Call{Talk: &enclave.Nothing{}}).Talk {
		said["alice "+s.What] = s // asks again
	}
	early = send("alice fetch")
	if hand := send("alice hand"); !answered(hand) || answered(early) {
		t.Error("alice's own shares are what she is told of, or nobody heard her")
	}
	if hand := send("bob hand"); !answered(hand) || !answered(early) {
		t.Fatal("bob's shares are there, and alice is not told")
	}
	alice.must(enclave.Call{Heard: &enclave.Heard{N: said["alice fetch"].N, Frame: w.escrow.results[early].Bytes}})
	acks := 0
	for _, s := range alice.must(enclave.Call{Talk: &enclave.Nothing{}}).Talk {
		if s.What == "ack" {
			acks++
		}
	}
	if acks != 1 {
		t.Error("alice has what was handed to her, and does not say so")
	}
	w.run()
}

// An acknowledgement is answered when the instance is open and that is witnessed,
// with what the opening gives: nobody has to ask for it. Until it is open it waits,
// and is answered with nothing by the next tick.
func TestOpeningAnswers(t *testing.T) {
	w := newWorld(t, 2)
	w.deposit(w.owners[0], denomination("btc", coin.Secp256k1), 1)
	w.deposit(w.owners[1], denomination("xmr", coin.Ed25519), 1)
	q, err := w.accept(w.agreement())
	if err != nil {
		t.Fatal(err)
	}
	w.escrow.must(enclave.Call{Lock: &q})
	w.witness()
	type asked struct {
		o    *node
		said enclave.Spoken
		n    uint64
	}
	answered := func(a asked) bool { _, ok := w.escrow.results[a.n]; return ok }
	hear := func(a asked) {
		t.Helper()
		if !answered(a) {
			t.Fatalf("%s is not answered", a.said.What)
		}
		a.o.must(enclave.Call{Heard: &enclave.Heard{N: a.said.N, Frame: w.escrow.results[a.n].Bytes}})
	}
	talk := func(o *node, want ...string) (out []asked) {
		t.Helper()
		for _, s := range o.must(enclave.Call{Talk: &enclave.Nothing{}}).Talk {
			out = append(out, asked{o, s, w.escrow.send(enclave.Call{Frame: &enclave.Raw{Bytes: s.Frame}})})
		}
		if len(out) != len(want) {
			t.Fatalf("%d requests, want %v: %v", len(out), want, out)
		}
		for i, a := range out {
			if a.said.What != want[i] {
				t.Fatalf("request %d is %s, want %v", i, a.said.What, want)
			}
		}
		return out
	}
	var shares []asked
	for _, o := range w.owners {
		w.sync(o)
		shares = append(shares, talk(o, "hand", "fetch")...)
	}
	for _, a := range shares {
		hear(a)
	}
	first := talk(w.owners[0], "ack")[0]
	if answered(first) {
		t.Error("an instance that is not open answers an acknowledgement")
	}
	w.escrow.must(enclave.Call{Tick: &enclave.Tick{}})
	hear(first)
	first = talk(w.owners[0], "ack")[0] // again, though the escrow has it
	second := talk(w.owners[1], "ack")[0]
	if answered(first) || answered(second) {
		t.Error("what the opening gives leaves before that is witnessed")
	}
	w.witness()
	hear(first) // ahead of the log
	w.sync(w.owners[0])
	w.sync(w.owners[1]) // the log is ahead
	hear(second)
	for _, o := range w.owners {
		n := 0
		for _, c := range o.must(enclave.Call{Status: &enclave.Nothing{}}).Status.Chunks {
			if c.Holds {
				n++
			}
		}
		if n != 1 {
			t.Errorf("a vault holds %d chunks after the exchange, want 1", n)
		}
		talk(o, "stored")
	}
	w.run()
}

// counted counts how often evidence is verified, and with which time the last.
type counted struct {
	sim.Verifier
	n    int
	last int64
}

func (c *counted) Verify(ev attest.Evidence, now int64) (attest.Facts, error) {
	c.n, c.last = c.n+1, now
	return c.Verifier.Verify(ev, now)
}

// Heads of one second cost one look at the vault's own evidence, those of the next
// another; a vault that has started again looks anew, be it in the same second.
func TestOwnDigest(t *testing.T) {
	w := newWorld(t, 0)
	v := &counted{}
	w.escrow.cfg.Verifiers = []attest.Verifier{v}
	for i, x := range []struct {
		start   bool
		seconds int64
		want    int
	}{{true, 0, 1}, {false, 0, 0}, {false, 1, 1}, {false, 0, 0}, {true, 0, 1}} {
		if x.start {
			if err := w.escrow.start(); err != nil {
				t.Fatal(err)
			}
		}
		w.now += x.seconds
		before := v.n
		w.witness()
		if got := v.n - before; got != x.want || v.last != w.now {
			t.Errorf("head %d: the evidence is verified %d times, last at %d, want %d times, at %d", i, got, v.last, x.want, w.now)
		}
	}
}
