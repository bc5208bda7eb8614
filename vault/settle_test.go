package vault_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/coin"
	"latchkey/contract"
	"latchkey/settle"
	"latchkey/vault"
	"latchkey/wire"
)

// inTurn makes a swap of a's chunks and b's one that is settled tit for tat.
func (w *world) inTurn(left, right []wire.ChunkID) vault.Agreement {
	a := w.swapOf(left, right)
	a.Settle, a.Pace = vault.TitForTat, &settle.Pace{First: 5, Growth: 200, Most: 10, Wait: 60}
	return a
}

// instance returns what a vault says of its newest instance.
func (c *client) instance() vault.Instance {
	c.w.t.Helper()
	all := c.o.Instances()
	if len(all) == 0 {
		c.w.t.Fatalf("%s knows no instance", c.name)
	}
	return all[len(all)-1]
}

// opened brings a tit-for-tat swap of n chunks a side to its first step.
func opened(t *testing.T, n uint32) (w *world, alice, bob *client, left, right []wire.ChunkID) {
	w = newWorld(t, 2)
	alice, bob = w.owners[0], w.owners[1]
	left = alice.deposit(denomination("btc", coin.Secp256k1), 5, n)
	right = bob.deposit(denomination("xmr", coin.Ed25519), 5, n)
	w.agree(w.inTurn(left, right))
	w.run()
	return w, alice, bob, left, right
}

// later lets seconds pass, and what they bring happen.
func (w *world) later(seconds int64) {
	w.t.Helper()
	w.now += seconds
	w.witness()
	for {
		b, err := w.escrow.Due(w.rnd)
		w.persist(b, err)
		if len(b.Entries) == 0 {
			break
		}
	}
	w.run()
}

// holds counts the chunks of a list that a client's vault has.
func (c *client) holds(ids []wire.ChunkID) (n int) {
	for _, id := range ids {
		if c.o.Holds(id) {
			n++
		}
	}
	return n
}

func TestTranscriptOfATitForTatSwap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 3)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 5, 3)
	var b strings.Builder
	w.say = func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	chapter := func(name string) { fmt.Fprintf(&b, "\n# %s\n", name) }
	chapter("Alice and Bob exchange three chunks each, in turn")
	id := w.agree(w.inTurn(left, right))
	w.run()
	chapter("Bob keeps the first of Alice's")
	bob.keep(bob.o.Took(id, false))
	w.run()
	chapter("Alice claims the first of Bob's")
	alice.keep(alice.o.Claim(alice.instance().Open))
	w.run()
	chapter("Bob is silent for a minute about the next two")
	w.later(63)
	golden(t, "testdata/tit-for-tat.txt", strings.TrimLeft(b.String(), "\n"))

	for _, c := range w.owners {
		if in := c.instance(); !in.Closed || !in.Settled || in.Broken || in.Step != 4 || in.Steps != 4 {
			t.Errorf("%s: %+v, want it settled after four steps", c.name, in)
		}
	}
	if got := alice.holds(right); got != 3 {
		t.Errorf("alice holds %d of bob's chunks, want 3", got)
	}
	if got := bob.holds(left); got != 3 {
		t.Errorf("bob holds %d of alice's chunks, want 3", got)
	}
}

// Closed is not settled: nothing is free before it is given, what is given is.
func TestClosedIsNotSettled(t *testing.T) {
	t.Parallel()
	w, alice, bob, left, right := opened(t, 3)
	for _, c := range w.owners {
		if in := c.instance(); !in.Closed || in.Settled || in.Step != 1 || in.Until != w.now+60 {
			t.Errorf("%s: %+v, want it closed, not settled, and the first step to lapse at %d", c.name, in, w.now+60)
		}
	}
	if len(alice.instance().Open) != 0 {
		t.Error("alice is asked about a step of bob's")
	}
	open := bob.instance().Open
	if len(open) != 1 || !bob.o.Holds(open[0]) || bob.holds(left) != 1 || alice.holds(right) != 0 {
		t.Fatalf("bob holds %d of alice's chunks and speaks for %d, alice holds %d; want 1, 1, 0", bob.holds(left), len(open), alice.holds(right))
	}
	if _, err := alice.o.Claim(slices.DeleteFunc(slices.Clone(left), func(id wire.ChunkID) bool { return id == open[0] })[:1]); !errors.Is(err, vault.ErrLocked) {
		t.Errorf("alice claims a chunk that is still to be given: %v, want ErrLocked", err)
	}
	if _, _, err := bob.o.Say(alice.instance().ID, "hurry", 0, false); err == nil {
		t.Error("a word in a closed instance is taken")
	}
	bob.keep(bob.o.Claim(open))
	w.run()
	if _, err := bob.o.Key(open[0]); err != nil {
		t.Errorf("bob's claim of what he was given: %v", err)
	}
	if got := alice.holds(right); got != 1 { // the claim counted as his word
		t.Errorf("alice holds %d of bob's chunks after his claim, want 1", got)
	}
}

func TestFailureReturnsTheRest(t *testing.T) {
	t.Parallel()
	w, alice, bob, left, right := opened(t, 3)
	id := bob.instance().ID
	bob.keep(bob.o.Took(id, false))
	w.run()
	alice.keep(alice.o.Took(id, true))
	w.run()
	for _, c := range w.owners {
		if in := c.instance(); !in.Settled || !in.Broken || len(in.Given) != 6 {
			t.Errorf("%s: %+v, want it settled and broken, all chunks given once", c.name, in)
		}
	}
	if alice.holds(left) != 2 || alice.holds(right) != 1 || bob.holds(left) != 1 || bob.holds(right) != 2 {
		t.Errorf("alice holds %d and %d, bob %d and %d; want 2 and 1, 1 and 2", alice.holds(left), alice.holds(right), bob.holds(left), bob.holds(right))
	}
	for _, c := range w.owners { // what came back is free, at a new epoch
		var mine []wire.ChunkID
		for _, ids := range [][]wire.ChunkID{left, right} {
			for _, x := range ids {
				if c.o.Holds(x) {
					mine = append(mine, x)
				}
			}
		}
		c.keep(c.o.Claim(mine))
	}
	w.run()
	a, err := bob.ask(vault.Request{Step: &vault.SignedStep{Body: vault.StepWord{Instance: id, Step: 2}}})
	if err != nil || len(a.Block.Entries) != 0 {
		t.Errorf("a word about a step of a settled instance: %d entries, %v; want it to change nothing", len(a.Block.Entries), err)
	}
}

// Nobody speaks: every step lapses, and the instance is settled by its end.
func TestSilenceSettles(t *testing.T) {
	t.Parallel()
	w, alice, bob, left, right := opened(t, 3)
	ends := alice.instance().Ends
	for !alice.instance().Settled {
		if w.now > ends {
			t.Fatalf("not settled at %d, it was to be by %d", w.now, ends)
		}
		w.later(1)
	}
	if alice.holds(right) != 3 || bob.holds(left) != 3 || bob.instance().Broken {
		t.Errorf("alice holds %d of bob's, bob %d of alice's, want 3 each", alice.holds(right), bob.holds(left))
	}
}

func TestStepWordsRefused(t *testing.T) {
	t.Parallel()
	w, alice, bob, _, _ := opened(t, 3)
	id := bob.instance().ID
	if _, err := alice.o.Took(id, false); err == nil {
		t.Error("alice's vault speaks for bob's step")
	}
	if _, err := bob.o.Took(wire.InstanceID{1}, false); !errors.Is(err, vault.ErrUnknown) {
		t.Errorf("a step of an unknown instance: %v", err)
	}
	bob.keep(bob.o.Took(id, false))
	if _, err := bob.o.Took(id, true); err == nil {
		t.Error("bob's vault says two things of one step")
	}
	qs, err := bob.o.Pending(w.rnd)
	if err != nil || len(qs) != 1 || qs[0].Step == nil {
		t.Fatalf("bob's vault has %d things to say, %v; want his word", len(qs), err)
	}
	good := *qs[0].Step
	for _, x := range []struct {
		name string
		from *client
		word vault.SignedStep
		want error
	}{
		{"of a step to come", bob, vault.SignedStep{Body: vault.StepWord{Instance: id, Step: 2}, Sig: good.Sig}, vault.ErrNotReady},
		{"of step 0", bob, vault.SignedStep{Body: vault.StepWord{Instance: id}, Sig: good.Sig}, vault.ErrExpired},
		{"another word under his signature", bob, vault.SignedStep{Body: vault.StepWord{Instance: id, Step: 1, Failed: true}, Sig: good.Sig}, wire.ErrSignature},
		{"of the giver", alice, vault.SignedStep{Body: good.Body, Sig: wire.Sign(alice.sign, "latchkey/step/v1", must(t, good.Body))}, wire.ErrSignature},
		{"of an unknown instance", bob, vault.SignedStep{Body: vault.StepWord{Instance: wire.InstanceID{1}, Step: 1}}, vault.ErrUnknown},
	} {
		if _, err := x.from.ask(vault.Request{Step: &x.word}); !errors.Is(err, x.want) {
			t.Errorf("a word %s: %v, want %v", x.name, err, x.want)
		}
	}
	w.now += 61 // past the deadline, on its way
	w.witness()
	a, err := alice.ask(vault.Request{Step: &good}) // any session may bring it
	w.persist(a.Block, err)
	if a.Reply.Receipt == nil || a.Reply.Receipt.Verify(w.keys.identity) != nil {
		t.Error("bob's word has no receipt of the escrow's")
	}
	again, err := bob.ask(vault.Request{Step: &good})
	if err != nil || len(again.Block.Entries) != 0 || again.Reply.Receipt == nil {
		t.Errorf("the same word again: %+v, %v; want the receipt and nothing else", again, err)
	}
	w.run()
	alice.keep(alice.o.Took(id, true))
	w.now += 62
	w.witness()
	if !alice.talk() || alice.instance().Settled {
		t.Error("a report after the deadline and the grace counts")
	}
	w.later(1)
	if in := alice.instance(); in.Broken || in.Step != 3 {
		t.Errorf("%+v, want the third step", in)
	}
}

func must(t *testing.T, v any) []byte {
	t.Helper()
	b, err := wire.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTitForTatRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	alice, bob, carol := w.owners[0], w.owners[1], w.owners[2]
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 5, 2)
	good := w.inTurn(left, right)
	if look, err := good.Outlook(); err != nil || !slices.Equal(look.Loss, []int64{10, 5}) || !slices.Equal(look.Turns, []int{1, 0, 1, 0}) || look.Ends != good.LockBy+4*62 {
		t.Errorf("%+v, %v; want a loss of 10 and 5 of 10, 4 steps of 62 seconds", look, err)
	}
	atomic := w.swapOf(left, right)
	if look, err := atomic.Outlook(); err != nil || !slices.Equal(look.Loss, []int64{10, 10}) || look.Turns != nil || look.Ends != atomic.LockBy {
		t.Errorf("the atomic swap: %+v, %v; want a loss of 10 and 10, no steps, and an end at once", look, err)
	}
	for _, x := range []struct {
		name string
		edit func(*vault.Agreement)
		want string
	}{
		{"no pace", func(a *vault.Agreement) { a.Pace = nil }, "with a pace"},
		{"a pace of an atomic one", func(a *vault.Agreement) { a.Settle = vault.Atomic }, "with a pace"},
		{"a third way", func(a *vault.Agreement) { a.Settle = 3 }, "settle 3 is unknown"},
		{"steps that shrink", func(a *vault.Agreement) { a.Pace = &settle.Pace{First: 5, Growth: 50, Most: 5, Wait: 60} }, "growth of 50 percent"},
		{"a contract that goes on", func(a *vault.Agreement) {
			a.Source, a.Terms, a.Pots = []byte(diary), []int64{10, 86400}, a.Pots[:1]
		}, "over when it opens"},
		{"three parties", func(a *vault.Agreement) {
			a.Source = []byte(strings.Replace(swap, "alice, bob", "alice, bob, carol", 1))
			a.Parties = append(a.Parties, vault.Recipients{carol.id})
		}, "two parties"},
		{"one side gives nothing", func(a *vault.Agreement) {
			a.Source = []byte(strings.Replace(swap, "  give all of right_side to alice\n", "", 1))
		}, "gives nothing"},
		{"it ends after the chunks expire", func(a *vault.Agreement) { a.Pace = &settle.Pace{First: 5, Growth: 100, Most: 5, Wait: 7 * 86400} }, ""},
		{"it ends after the chunks expire, in more steps", func(a *vault.Agreement) {
			more := alice.stakes(alice.deposit(denomination("btc", coin.Secp256k1), 5, 10))
			a.Pots[0] = append(a.Pots[0], more...)
			a.Pots[1] = append(a.Pots[1], bob.stakes(bob.deposit(denomination("xmr", coin.Ed25519), 5, 10))...)
			a.Terms = []int64{60, 60}
			a.Pace = &settle.Pace{First: 5, Growth: 100, Most: 5, Wait: 7 * 86400}
		}, "the contract may run until"},
	} {
		a := good
		a.Pots = slices.Clone(good.Pots)
		x.edit(&a)
		_, _, err := alice.o.Accept(alice.proposal(a), w.rnd)
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.name, err, x.want)
		}
	}
}

// A contract that returns some of a pot returns it with the first step.
func TestReturnsGoWithTheFirstStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 3)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 5, 2)
	a := w.inTurn(left, right)
	a.Source = []byte(strings.Replace(swap, "give all of left_side", "give 10 of left_side", 1))
	if _, err := contract.Compile(a.Source); err != nil {
		t.Fatal(err)
	}
	w.agree(a)
	w.run()
	free := 0
	for _, id := range left {
		if c, ok := alice.o.Chunk(id); ok && c.Owner == alice.id && c.Instance == (wire.InstanceID{}) && c.Epoch == 1 {
			free++
		}
	}
	if free != 1 || bob.holds(left) != 1 || alice.holds(right) != 0 {
		t.Errorf("at the first step alice has %d of hers back and %d of bob's, bob %d of alice's; want 1, 0, 1", free, alice.holds(right), bob.holds(left))
	}
	if got := bob.instance().Open; len(got) != 1 {
		t.Errorf("bob speaks for %d chunks, want 1", len(got))
	}
	for range 4 {
		w.later(62)
	}
	if alice.holds(left) != 1 || alice.holds(right) != 2 || bob.holds(left) != 2 {
		t.Errorf("in the end alice holds %d and %d, bob %d; want 1, 2, 2", alice.holds(left), alice.holds(right), bob.holds(left))
	}
}

// Both machines start again in the middle of a settlement.
func TestSettlementGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	w, alice, bob, left, right := opened(t, 3)
	id := bob.instance().ID
	bob.keep(bob.o.Took(id, false))
	for _, c := range w.owners {
		before := c.o.Instances()
		o, err := vault.NewOwner(c.cfg)
		if err == nil {
			err = o.Load(rowsOf(c.rows))
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, o.Instances()); diff != "" {
			t.Errorf("%s after a restart (-before +after):\n%s", c.name, diff)
		}
		c.o = o
	}
	e, err := vault.NewEscrow(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range w.entries {
		if err := e.Replay(raw); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Load(rowsOf(w.rows)); err != nil {
		t.Fatal(err)
	}
	w.escrow = e
	w.run()
	if alice.holds(right) != 1 {
		t.Fatalf("bob's word of before the restart was not said: %+v", alice.instance())
	}
	for range 4 {
		w.later(62)
	}
	if alice.holds(right) != 3 || bob.holds(left) != 3 {
		t.Errorf("alice holds %d of bob's, bob %d of alice's, want 3 each", alice.holds(right), bob.holds(left))
	}
}
