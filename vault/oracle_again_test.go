package vault_test

import (
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/contract/oracle"
	"latchkey/vault"
	"latchkey/wire"
)

// twice waits for one value in two phases: whoever brings it twice gets on twice.
const twice = `contract Twice
parties long, short
term stake : units 1..1000
term due : time
oracle price "btc/usd" in 0.01..10_000_000.00
pot bull = stake units from long
pot bear = stake units from short
phase First until due + 2 hours
  when oracle price for due: next Second
  when short says "skip": next Second
  at deadline: close
phase Second until due + 4 hours
  when oracle price each 4 hours if price > 9000.00: close
  when oracle price for due:
    give all of bear to long
    close
  at deadline: close
`

func openedAgain(t *testing.T) (w *world, alice, bob *client, id wire.InstanceID, due int64, right []wire.ChunkID) {
	t.Helper()
	w = newWorld(t, 2)
	alice, bob = w.owners[0], w.owners[1]
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 1)
	right = bob.deposit(denomination("xmr", coin.Ed25519), 5, 1)
	a := w.swapOf(left, right)
	due = w.now + 10
	a.Source, a.Terms, a.Oracles = []byte(twice), []int64{a.Terms[0], due}, []oracle.Quorum{feed()}
	id = w.agree(a)
	w.run()
	w.now = due + 1
	w.witness()
	w.run()
	return w, alice, bob, id, due, right
}

// TestValueIsTakenAgain brings one value in a phase and, when that has gone by, in the next, which waits for it too.
func TestValueIsTakenAgain(t *testing.T) {
	t.Parallel()
	w, alice, bob, id, due, right := openedAgain(t)
	r := vault.Report{Instance: id, Signed: signed(t, due, 1500_00, 1600_00)}
	alice.bring(r)
	w.run()
	if in := bob.instance(); in.Closed || in.Phase != "Second" {
		t.Fatalf("after the first time bob's vault sees %+v", in)
	}
	alice.bring(r)
	alice.restart(t)
	w.run()
	if in := bob.instance(); !in.Closed || alice.holds(right) != 1 {
		t.Errorf("the contract waits for the value again and did not get it: %+v", in)
	}
	if qs, err := alice.o.Pending(w.rnd); err != nil || len(qs) != 0 {
		t.Errorf("alice's vault goes on saying %d things, %v", len(qs), err)
	}
}

// TestValueOfTwoIsTakenOnce has both parties bring a value that neither has seen in the log, and one of them twice: the
// contract waits for it again after the first, and none of them meant that.
func TestValueOfTwoIsTakenOnce(t *testing.T) {
	t.Parallel()
	w, alice, bob, id, due, right := openedAgain(t)
	mine := alice.bring(vault.Report{Instance: id, Signed: signed(t, due, 1500_00, 1600_00)})
	other := bob.bring(vault.Report{Instance: id, Signed: signed(t, due, 1500_00, 1600_00, 1700_00)})
	if kept := alice.bring(vault.Report{Instance: id, Signed: other.Signed}); len(kept.Signed) != 2 {
		t.Error("alice's vault keeps two reports of one time")
	}
	for i := range 2 { // the answer is lost, and it is said again
		a, err := alice.ask(vault.Request{Report: &mine})
		w.persist(a.Block, err)
		if a.Reply.Receipt == nil || len(a.Block.Entries) != 1-i {
			t.Fatalf("time %d: %d entries, receipt %v", i, len(a.Block.Entries), a.Reply.Receipt)
		}
	}
	if a, err := bob.ask(vault.Request{Report: &other}); err == nil || !strings.Contains(err.Error(), "oracle price") {
		t.Fatalf("bob's, who has not seen alice's in the log: %v, %d entries", err, len(a.Block.Entries))
	}
	early := mine
	early.After = 1 << 40
	if _, err := bob.ask(vault.Request{Report: &early}); err == nil {
		t.Error("a report after entries that are not there is taken")
	}
	again := w.restarted(t)
	if a, err := again.escrow.Handle(alice.id, vault.Request{Report: &mine}, w.rnd); err != nil || len(a.Block.Entries) != 0 || a.Reply.Receipt == nil {
		t.Errorf("after a restart of the escrow: %+v, %v", a, err)
	}
	w.run()
	for _, c := range []*client{alice, bob} {
		if in := c.instance(); in.Phase != "Second" || len(in.Brought) != 0 {
			t.Errorf("%s's vault sees %+v, want the second phase, and nothing waiting", c.name, in)
		}
	}
	bob.bring(other) // having seen the first
	w.run()
	if alice.holds(right) != 1 {
		t.Error("brought for the second phase, the value is not taken")
	}
}

// TestWithheldReportBlocksNoOther has an escrow answer a report, and not log it.
func TestWithheldReportBlocksNoOther(t *testing.T) {
	t.Parallel()
	w, alice, bob, id, _, right := openedCfd(t)
	first := alice.bring(vault.Report{Instance: id, Signed: signed(t, w.now, 1500_00, 1600_00)})
	h, err := first.Hash()
	if err != nil {
		t.Fatal(err)
	}
	promise := vault.Receipt{Word: h, By: w.now + 60}
	promise.Sig = wire.Sign(w.keys.sign, "latchkey/receipt/v1", must(t, promise))
	answer := vault.Reply{Receipt: &promise}
	w.now += 30
	w.witness()
	alice.advance()
	for _, bad := range []vault.Receipt{{}, {Word: h, By: promise.By}, {Word: h, By: promise.By + 1, Sig: promise.Sig}} {
		if _, err := alice.o.Hear(vault.Request{Report: &first}, vault.Reply{Receipt: &bad}); err == nil {
			t.Errorf("a receipt %+v counts", bad)
		}
	}
	alice.keep(alice.o.Hear(vault.Request{Report: &first}, answer))
	if qs, err := alice.o.Pending(w.rnd); err != nil || len(qs) != 0 {
		t.Fatalf("with the receipt alice's vault goes on saying %d things, %v", len(qs), err)
	}
	second := alice.bring(vault.Report{Instance: id, Signed: signed(t, w.now, 2500_00, 2600_00)})
	if qs, err := alice.o.Pending(w.rnd); err != nil || len(qs) != 1 || qs[0].Report == nil || qs[0].Report.Signed[0].Value.Time != second.Signed[0].Value.Time {
		t.Fatalf("the report that was withheld blocks the next: %d things to say, %v", len(qs), err)
	}
	alice.restart(t)
	if in := alice.instance(); len(in.Brought) != 2 || in.Brought[0].Receipt.By == 0 || in.Brought[1].Receipt.By != 0 {
		t.Errorf("after a restart %+v wait for the log, want two, the first with its receipt", in.Brought)
	}
	w.run()
	if in := bob.instance(); !in.Closed || alice.holds(right) != 4 {
		t.Errorf("the second value did not act: %+v", in)
	}
	if qs, err := alice.o.Pending(w.rnd); err != nil || len(qs) != 0 {
		t.Errorf("alice's vault goes on saying %d things, %v", len(qs), err)
	}
}

// TestManyReports brings more values than an escrow remembers. What was brought before the oldest of these cannot be told
// from what was not, and is refused; its own log, replayed, says the same.
func TestManyReports(t *testing.T) {
	t.Parallel()
	w, alice, _, id, _, _ := openedCfd(t)
	opened := alice.instance().Newest
	last := opened
	seen := w.now
	next := func(after vault.Index) vault.Request {
		if seen++; seen > w.now {
			w.now += 32
			w.witness()
		}
		return vault.Request{Report: &vault.Report{Instance: id, After: after, Signed: signed(t, seen, 1500_00, 1600_00)}}
	}
	taken := func(w *world, q vault.Request) int {
		t.Helper()
		a, err := w.escrow.Handle(alice.id, q, w.rnd)
		w.persist(a.Block, err)
		if a.Reply.Receipt == nil {
			t.Fatal("a report without a receipt")
		}
		return len(a.Block.Entries)
	}
	const remembered = 1024
	var second vault.Request
	for i := range remembered {
		q := next(last)
		if i == 1 {
			second = q
		}
		if n := taken(w, q); n != 1 {
			t.Fatalf("value %d makes %d entries", i, n)
		}
		last = vault.Index(len(w.entries))
	}
	other, more := next(opened), next(last)
	for _, w := range []*world{w.restarted(t), w} {
		w.witness()
		if n := taken(w, second); n != 0 {
			t.Errorf("a report that was brought makes %d entries more", n)
		}
		if _, err := w.escrow.Handle(alice.id, other, w.rnd); err == nil || !strings.Contains(err.Error(), "follow the log") {
			t.Errorf("a report from before all that is remembered: %v", err)
		}
		if n := taken(w, more); n != 1 {
			t.Errorf("the next value makes %d entries", n)
		}
	}
}
