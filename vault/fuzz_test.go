package vault_test

import (
	"bytes"
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/coin"
	"latchkey/vault"
	"latchkey/wire"
)

// played returns a world with a swap behind it and a diary under way, and all
// that was said in it.
func played(t testing.TB) (w *world, requests, replies [][]byte) {
	w = newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 10, 1)
	note := func(c *client) {
		qs, err := c.o.Pending(w.rnd)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range qs {
			raw, err := wire.Marshal(q)
			if err != nil {
				t.Fatal(err)
			}
			requests = append(requests, raw)
			a, err := c.ask(q)
			if err != nil {
				continue
			}
			w.persist(a.Block, nil)
			if raw, err = wire.Marshal(a.Reply); err != nil {
				t.Fatal(err)
			}
			replies = append(replies, raw)
			rows, _ := c.o.Hear(q, a.Reply)
			save(c.rows, rows)
		}
	}
	rounds := func(n int) {
		for range n {
			w.witness()
			for _, c := range w.owners {
				c.sync()
				note(c)
			}
		}
	}
	_, rows, err := alice.o.NewBatch(vault.BatchSpec{Denomination: denomination("sol", coin.Ed25519), Weight: 1, N: 2, Expiry: w.now + 90*86400}, w.rnd)
	alice.keep(rows, err)
	rounds(3)
	w.agree(w.swapOf(left, right))
	rounds(8)
	a := w.diary(alice.newest("sol"))
	id := w.agree(a)
	rounds(6)
	_, rows, err = alice.o.Say(id, "alive", 0, false)
	alice.keep(rows, err)
	rounds(2)
	alice.keep(alice.o.Claim(right))
	rounds(2)
	l := &lending{world: w, lender: alice, borrower: bob, wait: 86400}
	l.money, l.coins = alice.deposit(denomination("btc", coin.Secp256k1), 5, 2), bob.deposit(denomination("xmr", coin.Ed25519), 10, 1)
	l.back = bob.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	l.id = w.agree(l.agreement())
	rounds(6)
	bob.keep(bob.o.Deposit(l.id, 2, l.back, w.now+600))
	rounds(3)
	for _, in := range alice.o.Instances() {
		for _, d := range in.Deposits {
			alice.keep(alice.o.Funded(in.ID, d.Entry))
		}
	}
	rounds(4)
	return w, requests, replies
}

// newest returns the chunks of an asset that a client holds.
func (c *client) newest(id coin.AssetID) (out []wire.ChunkID) {
	for _, x := range c.o.Chunks() {
		if cert, ok := c.o.Certificate(x); ok && cert.Denomination.Asset.ID == id && c.o.Holds(x) {
			out = append(out, x)
		}
	}
	return out
}

// diary writes down a contract in which alice says the same word again and again.
func (w *world) diary(ids []wire.ChunkID) vault.Agreement {
	alice, bob := w.owners[0], w.owners[1]
	a := vault.Agreement{
		Source: []byte(diary), Parties: []vault.Recipients{{alice.id}, {bob.id}}, Pots: [][]vault.Stake{alice.stakes(ids)},
		Escrow: w.keys.id, LockBy: w.now + 60, Settle: vault.Atomic,
	}
	var sum int64
	for _, s := range a.Pots[0] {
		sum += int64(s.Weight)
	}
	a.Terms = []int64{sum, 2 * 86400}
	return a
}

func FuzzParseEntry(f *testing.F) {
	w, _, _ := played(f)
	for _, e := range w.entries {
		f.Add(e)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		own, ownErr := vault.ParseOwn(b)
		if ownErr == nil { // it takes other encodings, of nothing that has none
			enc, err := wire.Marshal(own)
			if err != nil {
				t.Fatal(err)
			}
			same, err := vault.ParseOwn(enc)
			if err != nil {
				t.Fatalf("an entry of its own log, as it is encoded: %v", err)
			}
			again(t, enc, same)
			own.Touches()
		}
		e, err := vault.ParseEntry(b)
		if err != nil {
			return
		}
		again(t, b, e)
		e.Touches()
		if ownErr != nil {
			t.Errorf("an entry is none of its own log's: %v", ownErr)
		}
		if got, err := wire.Marshal(own); err != nil || !bytes.Equal(got, b) {
			t.Errorf("an entry of its own log differs: %v", err)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	_, requests, _ := played(f)
	for _, q := range requests {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := vault.ParseRequest(b); err == nil {
			again(t, b, q)
		}
	})
}

func FuzzReply(f *testing.F) {
	_, _, replies := played(f)
	for _, r := range replies {
		f.Add(r)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r vault.Reply
		if wire.Unmarshal(b, &r) == nil {
			again(t, b, r)
		}
	})
}

func FuzzSignedAcceptance(f *testing.F) {
	w, _, _ := played(f)
	for _, raw := range w.entries {
		e, err := vault.ParseEntry(raw)
		if err != nil || e.Lock == nil {
			continue
		}
		for _, a := range e.Lock.Acceptances {
			b, err := wire.Marshal(a)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var a vault.SignedAcceptance
		if wire.Unmarshal(b, &a) == nil {
			again(t, b, a)
			_ = a.Verify(w.keys.identity)
		}
	})
}

// again checks that what was decoded has one encoding: the one it came from.
func again(t *testing.T, b []byte, v any) {
	t.Helper()
	if enc, err := wire.Marshal(v); err != nil || !bytes.Equal(enc, b) {
		t.Errorf("%x decodes and encodes again as %x, %v", b, enc, err)
	}
}

// Whatever an enrolled vault says, the escrow refuses it and stays as it is, or
// does it and its log replays.
func FuzzHandle(f *testing.F) {
	_, requests, _ := played(f)
	for i, q := range requests {
		f.Add(i%2 == 0, q)
	}
	base, _, _ := played(f)
	f.Fuzz(func(t *testing.T, first bool, b []byte) {
		q, err := vault.ParseRequest(b)
		if err != nil {
			return
		}
		w := base.restarted(t)
		from := w.owners[0].id
		if !first {
			from = w.owners[1].id
		}
		size, root := w.escrow.Size(), w.escrow.Root()
		a, err := w.escrow.Handle(from, q, w.rnd)
		if err != nil {
			if w.escrow.Size() != size || w.escrow.Root() != root {
				t.Errorf("refused, and changed: %v", err)
			}
			return
		}
		w.t = t
		w.persist(a.Block, nil)
		w.restarted(t)
	})
}

// Whatever a log says, a client's vault refuses it and stays as it is, or follows
// it and can be loaded again.
func FuzzObserve(f *testing.F) {
	base, _, _ := played(f)
	for _, e := range base.entries {
		f.Add(e)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := vault.ParseEntry(b); err != nil {
			return
		}
		w := base.restarted(t)
		w.append(b)
		w.seal()
		for _, c := range w.owners {
			c.advance()
			before := c.state()
			rows, err := c.observe(int64(len(w.entries)) - 1)
			if err != nil {
				if c.state() != before {
					t.Errorf("%s refused, and changed: %v", c.name, err)
				}
				continue
			}
			save(c.rows, rows)
			c.restart(t)
		}
	})
}

// restarted returns a copy of the world in which every vault has been started
// again from what was durable.
func (w *world) restarted(t testing.TB) *world {
	t.Helper()
	n := *w
	n.t, n.rows, n.owners = t, maps.Clone(w.rows), nil
	n.entries, n.hashes = w.entries[:len(w.entries):len(w.entries)], w.hashes[:len(w.hashes):len(w.hashes)]
	n.witnesses = append([]witness(nil), w.witnesses...)
	var err error
	if n.escrow, err = vault.NewEscrow(w.cfg); err != nil {
		t.Fatal(err)
	}
	for _, e := range w.entries {
		if err := n.escrow.Replay(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.escrow.Load(rowsOf(w.rows)); err != nil {
		t.Fatal(err)
	}
	if n.escrow.Size() != w.escrow.Size() || n.escrow.Root() != w.escrow.Root() {
		t.Error("the escrow replayed is not the escrow that was")
	}
	if diff := vault.Differs(w.escrow, n.escrow); diff != "" {
		t.Errorf("the escrow replayed is not the escrow that was (-was +is):\n%s", diff)
	}
	if w.snapshot != nil { // and goes on with the one that began with a snapshot
		whole := n.escrow
		if n.escrow, err = w.restored(*w.snapshot); err != nil {
			t.Fatal(err)
		}
		if diff := vault.Differs(whole, n.escrow) + cmp.Diff(whole.Timed(), n.escrow.Timed()); diff != "" || whole.Now() != n.escrow.Now() {
			t.Errorf("a snapshot of %d entries, and %d more (-replayed +restored):\n%s", w.snapshot.Size, n.escrow.Size()-w.snapshot.Size, diff)
		}
	}
	for _, c := range w.owners {
		m := *c
		m.w, m.rows = &n, maps.Clone(c.rows)
		n.owners = append(n.owners, &m)
		m.restart(t)
	}
	return &n
}

// restored returns an escrow that begins with a snapshot and goes on with what came
// to the log since.
func (w *world) restored(s vault.Snapshot) (*vault.Escrow, error) {
	e, err := vault.NewEscrow(w.cfg)
	if err != nil {
		return nil, err
	}
	if err := e.Restore(s.Cover, s.Parts); err != nil {
		return nil, err
	}
	for _, raw := range w.entries[s.Size:] {
		if err := e.Replay(raw); err != nil {
			return nil, err
		}
	}
	return e, e.Load(rowsOf(w.rows))
}

// restart starts a client's vault again and compares it with its rows.
func (c *client) restart(t testing.TB) {
	t.Helper()
	was := c.state()
	var err error
	if c.o, err = vault.NewOwner(c.cfg); err != nil {
		t.Fatal(err)
	}
	if err := c.o.Load(rowsOf(c.rows)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(was, c.state()); diff != "" {
		t.Errorf("%s's vault loaded is not what it was (-want +got):\n%s", c.name, diff)
	}
}

// state says all that an owner's vault shows of itself.
func (c *client) state() string {
	c.w.t.Helper()
	var b bytes.Buffer
	fmt.Fprintln(&b, c.o.Size(), c.o.Now(), c.o.Batches(), c.o.Pledges())
	fmt.Fprintf(&b, "%x\n", encoded(c.w.t, c.o.Instances())) // not printed: an instance has a pointer
	for _, id := range c.o.Chunks() {
		x, _ := c.o.Chunk(id)
		raw, err := wire.Marshal(x)
		if err != nil {
			c.w.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %x %t\n", id, raw, c.o.Holds(id))
	}
	return b.String()
}
