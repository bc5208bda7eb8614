package vault_test

import (
	"errors"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/vault"
	"latchkey/wire"
)

// Work is counted by what is done, not by how often something is asked: keys made and
// checked, chunks refreshed, moves explored; refused requests count as well.
func TestWork(t *testing.T) {
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	since := w.escrow.Work()
	expect := func(what string, want uint64) {
		t.Helper()
		if got := w.escrow.Work() - since; got != want {
			t.Errorf("%s: %d units of work, want %d", what, got, want)
		}
		since = w.escrow.Work()
	}
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 7)
	expect("a batch of 7 is made and checked", 3*7)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 5, 7)
	expect("another", 3*7)

	id, _, err := alice.o.NewBatch(vault.BatchSpec{Denomination: denomination("btc", coin.Secp256k1), Weight: 5, N: 9, Expiry: w.now + 80*86400}, w.rnd)
	if err != nil {
		t.Fatal(err)
	}
	qs, err := alice.o.Pending(w.rnd)
	if err != nil || len(qs) != 1 || qs[0].Begin == nil || qs[0].Begin.Batch != id {
		t.Fatalf("to say are %+v, %v", qs, err)
	}
	for range 2 { // the second time it is there
		if _, err := alice.ask(qs[0]); err != nil {
			t.Fatal(err)
		}
	}
	expect("a batch of 9 is begun twice", 9)
	if _, err := alice.ask(vault.Request{Open: &vault.OpenBatch{Batch: id}}); err == nil {
		t.Fatal("a batch is opened with nothing")
	}
	expect("a batch of 9 is opened with nothing", 2*9)

	a := w.swapOf(left, right)
	q := w.accept(a)
	ans, err := w.escrow.LockAside(q, nil, w.rnd)
	if err != nil || ans.Explore == nil || len(ans.Block.Entries) != 0 || len(ans.Explore.Parties) != 2 {
		t.Fatalf("a lock whose outcomes were not explored: %+v, %v", ans, err)
	}
	expect("a lock that is to be explored", 0)
	ans.Explore.Run()
	if ans.Explore.Work < 1 {
		t.Errorf("an exploration takes %d units", ans.Explore.Work)
	}
	other := *ans.Explore
	other.Agreement[0] ^= 1 // of another agreement
	if again, err := w.escrow.LockAside(q, &other, w.rnd); err != nil || again.Explore == nil || len(again.Block.Entries) != 0 {
		t.Errorf("a lock with the exploration of another agreement: %+v, %v", again, err)
	}
	if done, err := w.escrow.LockAside(q, ans.Explore, w.rnd); err != nil || done.Reply.Locked == nil || len(done.Block.Entries) != 1 {
		t.Errorf("a lock that was explored: %+v, %v", done, err)
	}
	expect("a lock that was explored beside", 0)
}

// A vault of which the host says that it may begin no batch begins none, and another does;
// what was begun before goes on, repeated requests included.
func TestFull(t *testing.T) {
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	first := func(c *client) vault.Request {
		t.Helper()
		spec := vault.BatchSpec{Denomination: denomination("btc", coin.Secp256k1), Weight: 5, N: 3, Expiry: w.now + 80*86400}
		id, _, err := c.o.NewBatch(spec, w.rnd)
		if err != nil {
			t.Fatal(err)
		}
		qs, err := c.o.Pending(w.rnd)
		for _, q := range qs {
			if err == nil && q.Begin != nil && q.Begin.Batch == id {
				return q
			}
		}
		t.Fatalf("to say are %+v, %v", qs, err)
		return vault.Request{}
	}
	begun := first(alice)
	if _, err := alice.ask(begun); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no more")
	w.escrow.SetFull(map[wire.VaultID]error{alice.id: full})
	if _, err := alice.ask(begun); err != nil {
		t.Errorf("a batch that was begun before: %v", err)
	}
	size, work := w.escrow.Size(), w.escrow.Work()
	later := first(alice)
	if _, err := alice.ask(later); err == nil || !strings.Contains(err.Error(), full.Error()) || w.escrow.Size() != size || w.escrow.Work() != work {
		t.Errorf("another one: %v, %d entries, %d units of work", err, w.escrow.Size()-size, w.escrow.Work()-work)
	}
	if _, err := bob.ask(first(bob)); err != nil {
		t.Errorf("another vault: %v", err)
	}
	w.escrow.SetFull(nil)
	if _, err := alice.ask(later); err != nil {
		t.Errorf("when it may again: %v", err)
	}
}
