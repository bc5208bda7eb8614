package enclave_test

import (
	"slices"
	"testing"

	"latchkey/coin"
	"latchkey/settle"
	"latchkey/vault"
	"latchkey/vault/enclave"
)

// toss is over with the first word that anybody says.
const toss = `contract Toss
parties alice, bob
term a : units 1..1000
term b : units 1..1000
term by : time
pot left_side  = a units from alice
pot right_side = b units from bob
phase Open until by
  when alice or bob says "mine":
    give all of left_side to bob
    give all of right_side to alice
    close
  at deadline: close
`

// said has an owner say all that it has to say, and returns what its host hears of
// requests of one kind, with the error.
func (w *world) said(o *node, what string) (out enclave.Result, err error) {
	w.t.Helper()
	found := false
	for _, s := range o.must(enclave.Call{Talk: &enclave.Nothing{}}).Talk {
		n := w.escrow.send(enclave.Call{Frame: &enclave.Raw{Bytes: s.Frame}})
		if _, ok := w.escrow.results[n]; !ok {
			w.witness()
		}
		r, heard := o.call(enclave.Call{Heard: &enclave.Heard{N: s.N, Frame: w.escrow.results[n].Bytes}})
		if s.What == what {
			out, err, found = r, heard, true
		}
	}
	if !found {
		w.t.Fatalf("nothing of %s is said", what)
	}
	return out, err
}

// What a host hears of a word: the receipt, with the word where it is of a step; or that
// the escrow has refused it, and which.
func TestHostHearsOfWords(t *testing.T) {
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	w.deposit(alice, denomination("btc", coin.Secp256k1), 2)
	w.deposit(bob, denomination("xmr", coin.Ed25519), 2)
	lock := func(a vault.Agreement) {
		t.Helper()
		q, err := w.accept(a)
		if err != nil {
			t.Fatal(err)
		}
		w.escrow.must(enclave.Call{Lock: &q})
		w.run()
	}
	status := func(o *node) vault.Instance {
		t.Helper()
		all := o.must(enclave.Call{Status: &enclave.Nothing{}}).Status.Instances
		return all[slices.IndexFunc(all, func(in vault.Instance) bool { return !in.Settled })]
	}
	a := w.agreement()
	a.Source, a.Terms = []byte(toss), append(a.Terms, w.now+3600)
	lock(a)
	in := status(alice)
	for _, o := range w.owners { // both, before either hears of the other
		o.must(enclave.Call{Say: &enclave.Say{Instance: in.ID, Word: "mine"}})
	}
	if r, err := w.said(alice, "word"); err != nil || r.Receipt == nil || r.Word != nil || r.Step != nil {
		t.Fatalf("of a word that is taken: %+v, %v", r, err)
	}
	r, err := w.said(bob, "word")
	if err == nil || r.Receipt != nil || r.Word == nil || r.Word.Body.Word != "mine" || r.Word.Body.Instance != in.ID {
		t.Fatalf("of a word that is refused: %+v, %v", r, err)
	}
	w.run()

	a = w.agreement()
	a.Settle, a.Pace = vault.TitForTat, &settle.Pace{First: 5, Growth: 100, Most: 5, Wait: 600}
	lock(a)
	in = status(bob)
	if len(in.Open) != 1 || in.Said != nil {
		t.Fatalf("bob's first step: %+v", in)
	}
	bob.must(enclave.Call{Took: &enclave.Took{Instance: in.ID}})
	if in = status(bob); in.Said == nil || in.Said.Body.Step != 1 || in.Said.Verify(bob.status.Identity) != nil {
		t.Fatalf("bob's word is not shown until the log goes on: %+v", in.Said)
	}
	said, err := in.Said.Hash()
	if err != nil {
		t.Fatal(err)
	}
	r, err = w.said(bob, "step")
	if err != nil || r.Receipt == nil || r.Step == nil || r.Receipt.Word != said || r.Step.Body != in.Said.Body {
		t.Errorf("of a word about a step: %+v, %v", r, err)
	}
	w.run()
	if in = status(bob); in.Said != nil || in.Step != 2 {
		t.Errorf("the log has it, and it is shown still: %+v", in)
	}
}

// Words that wait while others are decided are opened and prepared before they are due.
// They are decided in the order in which they came, each frame once, and an answer
// leaves when its entry is durable, as of any other.
func TestWordsPreparedAhead(t *testing.T) {
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	w.deposit(alice, denomination("btc", coin.Secp256k1), 2)
	w.deposit(bob, denomination("xmr", coin.Ed25519), 2)
	a := w.agreement()
	a.Source, a.Terms = []byte(toss), append(a.Terms, w.now+3600)
	q, err := w.accept(a)
	if err != nil {
		t.Fatal(err)
	}
	w.escrow.must(enclave.Call{Lock: &q})
	w.run()
	var calls []enclave.Call
	var spoken []enclave.Spoken
	for _, o := range w.owners {
		in := o.must(enclave.Call{Status: &enclave.Nothing{}}).Status.Instances[0]
		o.must(enclave.Call{Say: &enclave.Say{Instance: in.ID, Word: "mine"}})
		said := o.must(enclave.Call{Talk: &enclave.Nothing{}}).Talk
		if len(said) != 1 {
			t.Fatalf("an owner has to say %+v", said)
		}
		w.escrow.n++
		calls, spoken = append(calls, enclave.Call{N: w.escrow.n, Frame: &enclave.Raw{Bytes: said[0].Frame}}), append(spoken, said[0])
	}
	e := w.escrow.e
	e.Come(calls...)
	if frames, words := e.Opened(); frames != 1 || words != 1 {
		t.Errorf("of two words that wait %d are opened, %d prepared; want that which is not due yet", frames, words)
	}
	w.escrow.hold = true
	size := len(w.escrow.entries)
	for i, waiting := 0, 1; waiting > 0; i++ {
		var n uint64
		var out []enclave.Message
		if n, waiting, out = e.Turn(); n != calls[i].N {
			t.Errorf("call %d is decided where %d is due", n, calls[i].N)
		}
		w.escrow.take(out)
	}
	for _, c := range calls {
		if r, early := w.escrow.results[c.N]; early {
			t.Errorf("before anything is durable leaves %+v", r)
		}
	}
	w.escrow.hold = false
	w.escrow.store()
	if len(w.escrow.entries) != size+1 {
		t.Errorf("two words, of which one closes, make %d entries", len(w.escrow.entries)-size)
	}
	heard := func(i int) (enclave.Result, error) {
		return w.owners[i].call(enclave.Call{Heard: &enclave.Heard{N: spoken[i].N, Frame: w.escrow.results[calls[i].N].Bytes}})
	}
	if r, err := heard(0); err != nil || r.Receipt == nil {
		t.Errorf("of alice's word: %+v, %v", r, err)
	}
	if r, err := heard(1); err == nil || r.Receipt != nil {
		t.Errorf("of bob's, which came too late: %+v, %v", r, err)
	}
	for i := range calls {
		w.escrow.n++
		calls[i].N = w.escrow.n
	}
	e.Come(calls...)
	for waiting := 1; waiting > 0; {
		var out []enclave.Message
		_, waiting, out = e.Turn()
		w.escrow.take(out)
	}
	for _, c := range calls {
		if r := w.escrow.results[c.N]; r.Error == "" {
			t.Errorf("a frame that was brought before is answered: %+v", r)
		}
	}
	w.run()
	for _, o := range w.owners {
		if in := o.must(enclave.Call{Status: &enclave.Nothing{}}).Status.Instances[0]; !in.Closed {
			t.Errorf("an owner sees %+v", in)
		}
	}
}

// Of each vault no more than a few calls are opened before they are due, however many wait.
func TestFewAreOpenedAhead(t *testing.T) {
	w := newWorld(t, 2)
	e := w.escrow.e
	for _, o := range w.owners {
		e.Come(w.frames(o, 8, 1)...)
	}
	for range 4 {
		if frames, _ := e.Opened(); frames != 2*enclave.AheadTurns {
			t.Fatalf("of 8 calls of each of two vaults %d are opened", frames)
		}
		e.Turn()
	}
}
