package vault_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/vault"
	"latchkey/wire"
)

// either gives what bob asks for, and what that is turns on whether alice said "skip".
// The rest goes back when its time is over.
const either = `contract Either
parties alice, bob
term a : units 1..1000
term b : units 1..1000
term by : time
pot first  = a units from alice
pot second = b units from alice
phase Before until by
  when alice says "skip": next After
  when bob says "mine":
    give all of first to bob
    next Rest
  at deadline: close
phase After until by + 1 hours
  when bob says "mine":
    give all of second to bob
    next Rest
  at deadline: close
phase Rest until by + 2 hours
  at deadline: close
`

// spoken opens an Either and returns what each says, once said.
func spoken(t *testing.T) (w *world, pots [2]wire.ChunkID, skip, mine vault.SignedWord) {
	t.Helper()
	w = newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	ids := alice.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	slices.SortFunc(ids, func(x, y wire.ChunkID) int { return strings.Compare(string(x[:]), string(y[:])) })
	a := w.swapOf(ids[:1], ids[1:])
	a.Pots[1] = alice.stakes(ids[1:])
	a.Source, a.Terms = []byte(either), []int64{5, 5, w.now + 3600}
	id := w.agree(a)
	w.run()
	word := func(c *client, text string) vault.SignedWord {
		_, rows, err := c.o.Say(id, text, 0, false)
		c.keep(rows, err)
		qs, err := c.o.Pending(w.rnd)
		if err != nil || len(qs) != 1 || qs[0].Word == nil {
			t.Fatalf("%s has to say %+v, %v", c.name, qs, err)
		}
		return *qs[0].Word
	}
	return w, [2]wire.ChunkID(ids), word(alice, "skip"), word(bob, "mine")
}

// prepared is a word whose work is done.
func (w *world) prepared(word vault.SignedWord, rnd io.Reader) *vault.Prepared {
	w.t.Helper()
	x, err := w.escrow.Prepare(word, rnd)
	if err != nil {
		w.t.Fatal(err)
	}
	x.Do()
	return x
}

// nothing is a source of randomness that a test does not expect to be asked.
type nothing struct{ t *testing.T }

func (n nothing) Read([]byte) (int, error) {
	n.t.Helper()
	n.t.Error("randomness is drawn")
	return 0, io.ErrUnexpectedEOF
}

// A prepared word moves what it moves without another refresh, and its receipt is the
// escrow's; said again, it moves nothing.
func TestPreparedWord(t *testing.T) {
	t.Parallel()
	w, pots, _, mine := spoken(t)
	size, root, work := w.escrow.Size(), w.escrow.Root(), w.escrow.Work()
	x := w.prepared(mine, w.rnd)
	if w.escrow.Size() != size || w.escrow.Root() != root || w.escrow.Work() != work {
		t.Error("to prepare a word changes something")
	}
	a, err := w.escrow.Word(x, nothing{t})
	w.persist(a.Block, err)
	h, err := mine.Hash()
	if err != nil || len(a.Block.Entries) != 1 || a.Hold != 0 || a.Reply.Receipt == nil || a.Reply.Receipt.Word != h || a.Reply.Receipt.Verify(w.keys.identity) != nil {
		t.Errorf("the answer is %+v, %v", a, err)
	}
	if w.escrow.Work() != work+1 {
		t.Errorf("%d units of work for one chunk", w.escrow.Work()-work)
	}
	for _, x := range []*vault.Prepared{x, w.prepared(mine, nothing{t})} {
		if again, err := w.escrow.Word(x, nothing{t}); err != nil || len(again.Block.Entries) != 0 || again.Reply.Receipt == nil {
			t.Errorf("said again: %+v, %v", again, err)
		}
	}
	w.run()
	if bob := w.owners[1]; !bob.o.Holds(pots[0]) || bob.o.Holds(pots[1]) {
		t.Error("bob does not hold what he asked for, or more")
	}
	for w.now += 86400; ; {
		w.witness()
		b, err := w.escrow.Due(w.rnd)
		if w.persist(b, err); len(b.Entries) == 0 {
			break
		}
	}
	size = w.escrow.Size()
	_, want := w.owners[1].ask(vault.Request{Word: &mine})
	if a, err := w.escrow.Word(x, nothing{t}); want == nil || err == nil || err.Error() != want.Error() || len(a.Block.Entries) != 0 || w.escrow.Size() != size {
		t.Errorf("of an instance that is over, prepared before: %+v, %v; else %v", a, err, want)
	}
	if _, err := w.escrow.Prepare(mine, nothing{t}); err == nil || err.Error() != want.Error() {
		t.Errorf("of an instance that is over: %v; else %v", err, want)
	}
}

// What was guessed when a word came, and is not what it moves when it is decided, is
// done again: the other chunk goes, and its own refresh with it.
func TestPreparedWordGuessedWrong(t *testing.T) {
	t.Parallel()
	w, pots, skip, mine := spoken(t)
	early, late := w.prepared(mine, w.rnd), w.prepared(skip, w.rnd)
	for _, x := range []*vault.Prepared{late, early} {
		a, err := w.escrow.Word(x, w.rnd)
		w.persist(a.Block, err)
	}
	w.run()
	bob := w.owners[1]
	if bob.o.Holds(pots[0]) || !bob.o.Holds(pots[1]) {
		t.Error("bob does not hold the second chunk, or holds the first")
	}
	bob.keep(bob.o.Claim(pots[1:]))
	w.run()
	if state := bob.o.ChunkState(pots[1]); state != "whole" { // the shares fit
		t.Errorf("the chunk that bob claims is %s", state)
	}
}

// A word that is not its party's, of no party, or that the contract does not take is
// refused as Handle refuses it, changes nothing, and costs no refresh.
func TestPreparedWordRefused(t *testing.T) {
	t.Parallel()
	w, _, skip, mine := spoken(t)
	forged := mine
	forged.Sig = slices.Clone(mine.Sig)
	forged.Sig[0] ^= 1
	nobody, unknown, other := mine, mine, mine
	nobody.Body.Role = 2
	unknown.Body.Instance[0] ^= 1
	other.Body.Word = "theirs"
	first := w.prepared(skip, w.rnd)
	twice := skip
	twice.Body.Word = "mine"
	a, err := w.escrow.Word(first, w.rnd)
	w.persist(a.Block, err)
	for name, word := range map[string]vault.SignedWord{"forged": forged, "of nobody": nobody, "of no instance": unknown, "of another text": other, "of one number": twice} {
		size, root := w.escrow.Size(), w.escrow.Root()
		_, want := w.owners[0].ask(vault.Request{Word: &word})
		x, got := w.escrow.Prepare(word, nothing{t})
		if got == nil {
			x.Do()
			_, got = w.escrow.Word(x, nothing{t})
		}
		if want == nil || got == nil || got.Error() != want.Error() {
			t.Errorf("a word %s: prepared %v, else %v", name, got, want)
		}
		if w.escrow.Size() != size || w.escrow.Root() != root {
			t.Errorf("a word %s changes something", name)
		}
	}
}
