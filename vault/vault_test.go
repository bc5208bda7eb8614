package vault_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/coin"
	"latchkey/vault"
	"latchkey/wire"
)

var update = flag.Bool("update", false, "write the golden transcripts anew")

func TestSwapFromDepositToSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 5, 2)
	w.agree(w.swapOf(left, right))
	if _, err := alice.o.Claim(left); err == nil {
		t.Error("alice claims what she has pledged: want an error")
	}
	w.run()
	for _, x := range []struct {
		c   *client
		ids []wire.ChunkID
	}{{alice, right}, {bob, left}} {
		for _, id := range x.ids {
			k, ok := x.c.o.Chunk(id)
			if !ok || k.Owner != x.c.id || k.Epoch != 1 || k.ShareAt != 1 {
				t.Fatalf("chunk %s after the swap: %+v, known %t", id.Short(), k, ok)
			}
		}
		x.c.keep(x.c.o.Claim(x.ids))
		w.run()
		for _, id := range x.ids {
			d, err := x.c.o.Key(id)
			if err != nil {
				t.Fatal(err)
			}
			k, _ := x.c.o.Chunk(id)
			if d.Public() != k.P {
				t.Errorf("chunk %s: the key is not that of its address", id.Short())
			}
		}
		x.c.keep(x.c.o.Swept(x.ids))
		w.run()
		for _, id := range x.ids {
			if k, _ := x.c.o.Chunk(id); !k.Swept || k.Whole != nil || k.Share != nil {
				t.Errorf("chunk %s is not forgotten after its sweep", id.Short())
			}
		}
	}
	if _, ok := alice.o.Chunk(left[0]); ok {
		t.Error("alice still follows what she gave")
	}
}

// The log may show a vault the birth of its chunks before the escrow's answer with
// their certificate has come: the answer was lost, or was slower. What follows is
// then a gap, as after any other entry that was left out; a vault that passed over
// it would wait for its own claim for ever.
func TestBirthIsShownBeforeTheCertificate(t *testing.T) {
	t.Parallel()
	for _, then := range []string{"claim", "lock"} {
		w := newWorld(t, 2)
		alice, bob := w.owners[0], w.owners[1]
		right := bob.deposit(denomination("xmr", coin.Ed25519), 5, 1)
		_, rows, err := alice.o.NewBatch(vault.BatchSpec{Denomination: denomination("btc", coin.Secp256k1), Weight: 5, N: 1, Expiry: w.now + 90*86400}, w.rnd)
		alice.keep(rows, err)
		alice.talk() // begin
		qs, err := alice.o.Pending(w.rnd)
		if err != nil || len(qs) != 1 || qs[0].Open == nil {
			t.Fatalf("pending are %d requests, %v; want to open the batch", len(qs), err)
		}
		a, err := alice.ask(qs[0])
		if err != nil {
			t.Fatal(err)
		}
		w.persist(a.Block, nil)
		w.witness()
		alice.sync() // the birth passes: this vault does not know that it is a birth of its own
		alice.talk() // the answer was lost, and is asked for again
		left := alice.o.Chunks()
		if x, _ := alice.o.Chunk(left[0]); x.Last != 0 || !alice.o.Holds(left[0]) {
			t.Fatalf("%s: the chunk stands at entry %d, held %t; the test wants its birth unseen", then, int64(x.Last)-1, alice.o.Holds(left[0]))
		}
		switch then {
		case "claim":
			alice.keep(alice.o.Claim(left))
			alice.talk()
		case "lock":
			w.agree(w.swapOf(left, right))
		}
		w.witness()
		alice.advance()
		if _, err := alice.observe(w.size - 1); !errors.Is(err, vault.ErrGap) {
			t.Fatalf("%s: the entry after the unseen birth: %v, want %v", then, err, vault.ErrGap)
		}
		alice.cursor = 0 // what a host does upon a gap: show all of it again
		w.run()
		switch then {
		case "claim":
			if _, err := alice.o.Key(left[0]); err != nil {
				t.Errorf("after the log was shown again: %v", err)
			}
		case "lock":
			if !alice.o.Holds(right[0]) {
				t.Error("the exchange is not over after the log was shown again")
			}
		}
	}
}

// What comes with the answer to an acknowledgement saves a question and decides
// nothing: r that are wrong, of which one is missing, or that did not come,
// stop neither the replay nor the exchange. The vault asks, as without them.
func TestOpeningThatIsWrong(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*vault.Mail){
		"wrong":   func(m *vault.Mail) { m.Items[1].Text[0] ^= 1 },
		"missing": func(m *vault.Mail) { m.Items = m.Items[:1] },
		"none":    func(m *vault.Mail) { m.Items = nil },
	} {
		w := newWorld(t, 2)
		alice, bob := w.owners[0], w.owners[1]
		right := bob.deposit(denomination("xmr", coin.Ed25519), 5, 2)
		spoilt, fetched := 0, 0
		w.answered = func(q vault.Request, r vault.Reply) {
			if q.Ack != nil && len(r.Mail) > 0 && r.Mail[0].To == alice.id {
				m := &r.Mail[0]
				m.Items = slices.Clone(m.Items)
				for i := range m.Items {
					m.Items[i].Text = bytes.Clone(m.Items[i].Text)
				}
				spoil(m)
				spoilt++
			}
			if q.Fetch != nil && q.Fetch.Step != 0 && len(r.Mail) > 0 && r.Mail[0].To == alice.id {
				fetched++
			}
		}
		w.agree(w.swapOf(alice.deposit(denomination("btc", coin.Secp256k1), 5, 1), right))
		w.run()
		if spoilt == 0 || fetched != 1 || alice.holds(right) != 2 {
			t.Errorf("%s: %d answers were spoilt, alice asked %d times and holds %d of 2 chunks", name, spoilt, fetched, alice.holds(right))
		}
	}
}

// What the host was told is ordered stays ordered: the escrow refuses to release one
// of two chunks, of whose lock this vault has not heard yet, and not the other.
func TestOneClaimIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	ids := alice.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	w.agree(w.swapOf(ids[1:], bob.deposit(denomination("xmr", coin.Ed25519), 5, 1)))
	w.now += 61
	w.witness()
	alice.advance() // to a time at which nothing is pledged any more, without what happened before
	alice.keep(alice.o.Claim(ids))
	alice.talk()
	alice.talk()
	alice.sync()
	if _, err := alice.o.Key(ids[0]); err != nil {
		t.Errorf("the free chunk: %v", err)
	}
	if x, _ := alice.o.Chunk(ids[1]); x.Claim || x.Claimed || x.Instance == (wire.InstanceID{}) {
		t.Errorf("the locked chunk: claim ordered %t, claimed %t, in instance %s", x.Claim, x.Claimed, x.Instance.Short())
	}
}

// One swap, word for word: who says what, what the log says of it, what waits
// for witnesses. Keys, shares and ids are left out.
func TestTranscriptOfASwap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	var b strings.Builder
	w.say = func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	chapter := func(name string) { fmt.Fprintf(&b, "\n# %s\n", name) }
	chapter("Alice makes two chunks")
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	chapter("Bob makes one")
	right := bob.deposit(denomination("xmr", coin.Ed25519), 10, 1)
	chapter("They exchange them")
	w.agree(w.swapOf(left, right))
	w.run()
	chapter("Alice claims and sweeps")
	alice.keep(alice.o.Claim(right))
	w.run()
	alice.keep(alice.o.Swept(right))
	w.run()
	golden(t, "testdata/swap.txt", strings.TrimLeft(b.String(), "\n"))
}

// golden compares with a file, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it anew):\n%s", name, diff)
	}
}

// describe says what an entry is, without ids.
func (w *world) describe(e vault.Entry) string {
	name := func(v wire.VaultID) string {
		for _, c := range w.owners {
			if c.id == v {
				return c.name
			}
		}
		return "nobody"
	}
	switch {
	case e.Genesis != nil:
		return "genesis of " + e.Genesis.Origin
	case e.Enrol != nil:
		return "enrol"
	case e.Generate != nil:
		return fmt.Sprintf("generate %d for %s", e.Generate.Spec.N, name(e.Generate.Owner[0]))
	case e.Certify != nil:
		return fmt.Sprintf("certify %d chunks of %d %s, owner %s", len(e.Certify.Points), e.Certify.Certificate.Weight, e.Certify.Certificate.Denomination.Asset.ID, name(e.Certify.Certificate.Owner[0]))
	case e.Lock != nil:
		var n []string
		for _, pot := range e.Lock.Agreement.Pots {
			n = append(n, fmt.Sprint(len(pot)))
		}
		return "lock " + strings.Join(n, " and ") + " chunks"
	case e.Deposit != nil:
		return fmt.Sprintf("deposit of %d chunks into pot %d", len(e.Deposit.Chunks), e.Deposit.Order.Pot)
	case e.Hand != nil:
		return fmt.Sprintf("hand by party %d", e.Hand.Role)
	case e.Ack != nil:
		return fmt.Sprintf("ack by party %d", e.Ack.Role)
	case e.Run != nil:
		var to []string
		for _, x := range e.Run.Exits {
			to = append(to, fmt.Sprintf("%s at epoch %d", name(x.To[0]), x.Epoch))
		}
		return fmt.Sprintf("run %s: gives to %s; closed %t, settled %t", [...]string{1: "open", 2: "word", 3: "deadline", 4: "abort", 5: "taken", 6: "lapsed", 7: "failed", 8: "report", 9: "deposit", 10: "return"}[e.Run.Kind], strings.Join(to, ", "), e.Run.Closed, e.Run.Settled)
	case e.Claim != nil:
		return fmt.Sprintf("claim of %d by %s", len(e.Claim.Order.Chunks), name(e.Claim.Owner[0]))
	case e.Stored != nil:
		return "stored by " + name(e.Stored.Owner[0])
	case e.Swept != nil:
		return fmt.Sprintf("swept %d by %s", len(e.Swept.Order.Chunks), name(e.Swept.Owner[0]))
	case e.Clock != nil:
		return "clock"
	}
	return "drop"
}

func describeRequest(q vault.Request) string {
	switch {
	case q.Deposit != nil:
		return fmt.Sprintf("deposit %d chunks into pot %d", len(q.Deposit.Order.Chunks), q.Deposit.Order.Pot)
	case q.Report != nil:
		return fmt.Sprintf("brings %d values of oracle %d", len(q.Report.Signed), q.Report.Oracle)
	case q.Begin != nil:
		return fmt.Sprintf("begin %d chunks of %d %s, committed", q.Begin.Spec.N, q.Begin.Spec.Weight, q.Begin.Spec.Denomination.Asset.ID)
	case q.Open != nil:
		return fmt.Sprintf("open %d points with %d proofs", len(q.Open.Half.Points), len(q.Open.Half.Proofs))
	case q.Lock != nil:
		return "lock"
	case q.Hand != nil:
		return fmt.Sprintf("hand %d sealed shares", len(q.Hand.Mail[0].Items))
	case q.Ack != nil:
		return "ack"
	case q.Word != nil:
		return "say " + q.Word.Body.Word
	case q.Fetch != nil && q.Fetch.Step > 0 && q.Fetch.Instance == (wire.InstanceID{}):
		return "fetch r"
	case q.Fetch != nil:
		return "fetch shares"
	case q.Stored != nil:
		return "stored"
	case q.Claim != nil:
		return fmt.Sprintf("claim %d", len(q.Claim.Order.Chunks))
	case q.Step != nil:
		return fmt.Sprintf("step %d, failed %t", q.Step.Body.Step, q.Step.Body.Failed)
	}
	return fmt.Sprintf("swept %d", len(q.Swept.Order.Chunks))
}

func describeReply(r vault.Reply) string {
	switch {
	case r.Offered != nil:
		return fmt.Sprintf("%d points with proofs", len(r.Offered.Half.Points))
	case r.Certified != nil:
		return "certificate, signed"
	case r.Locked != nil:
		return "locked"
	case len(r.Mail) > 0:
		n := 0
		for _, m := range r.Mail {
			n += len(m.Items)
		}
		return fmt.Sprintf("%d sealed", n)
	case r.Receipt != nil:
		return "receipt"
	case len(r.Released) > 0:
		return fmt.Sprintf("%d shares", len(r.Released))
	case r.Refused != nil:
		return "refused: " + r.Refused.Reason
	}
	return "done"
}

// An exchange costs as many appends as it has steps, whatever its size, and one
// refresh for each chunk that it gives.
func TestOneExchangeCounts(t *testing.T) {
	t.Parallel()
	for _, n := range []uint32{1, 7} {
		w := newWorld(t, 2)
		alice, bob := w.owners[0], w.owners[1]
		left := alice.deposit(denomination("sol", coin.Ed25519), 5, n)
		right := bob.deposit(denomination("xmr", coin.Ed25519), 5, n)
		before := len(w.entries)
		w.agree(w.swapOf(left, right))
		w.run()
		var kinds []string
		exits := 0
		for _, raw := range w.entries[before:] {
			e, err := vault.ParseEntry(raw)
			if err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, strings.Fields(w.describe(e))[0])
			if e.Run != nil {
				exits += len(e.Run.Exits)
			}
		}
		slices.Sort(kinds)
		want := []string{"ack", "ack", "hand", "hand", "lock", "run", "stored", "stored"}
		if diff := cmp.Diff(want, kinds); diff != "" {
			t.Errorf("%d chunks a side (-want +got):\n%s", n, diff)
		}
		if exits != int(2*n) {
			t.Errorf("%d chunks a side: %d exits, want one for each chunk", n, exits)
		}
	}
}
