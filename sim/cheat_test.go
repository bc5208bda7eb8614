package sim

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"maps"
	"slices"
	"testing"

	"latchkey/coin"
	"latchkey/contract/oracle"
	"latchkey/head"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/wire"
)

// A cheat tries one thing that one check forbids. It returns what went wrong if
// it works, and nil if it is refused or comes to nothing. TestMutations builds
// the program without the check and wants the cheat to work then.
type cheat func(t *testing.T, w *World) error

// errWorks is wrapped by whatever a cheat got away with.
var errWorks = errors.New("the cheat works")

// try asks the escrow for something that it must refuse, and waits for the
// witnesses if it does not: then the ledger says what broke.
func (c *Client) try(q vault.Request) error {
	if err := c.ask(q); err != nil {
		return nil
	}
	c.w.hosts[0].Round(15, 0)
	if c.w.err != nil {
		return c.w.err
	}
	return errWorks
}

// lockOnly brings a deal to the escrow and lets nobody go on.
func (w *World) lockOnly(t *testing.T, p *proposal) {
	t.Helper()
	if err := w.Client("mallory").ask(vault.Request{Lock: &vault.LockAsk{Agreement: p.a, Acceptances: p.all}}); err != nil {
		t.Fatal(err)
	}
	w.hosts[0].Round(15, 0)
	ok(t, w)
}

// broken makes a deal past the vaults of its parties, and returns its lock.
func (w *World) broken(t *testing.T, s Stakes) vault.Request {
	t.Helper()
	a, err := w.Agreement(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, pot := range a.Pots {
		a.Terms = append(a.Terms, weigh(pot))
	}
	return sealDeal(w, a)
}

func sealDeal(w *World, a vault.Agreement) vault.Request {
	q := &vault.LockAsk{Agreement: a}
	for i, r := range a.Parties {
		q.Acceptances = append(q.Acceptances, w.byID(r[0]).acceptance(a, uint32(i)))
	}
	return vault.Request{Lock: q}
}

var cheats = map[string]cheat{
	"claim of a locked chunk": func(t *testing.T, w *World) error {
		p, x, _ := w.swapOf(t, "mallory", "bob")
		w.lockOnly(t, p)
		m := w.Client("mallory")
		return m.try(m.claimAsk(vault.ChunkEpoch{Chunk: x}))
	},
	"claim of another's chunk": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "alice")["alice"]
		m := w.Client("mallory")
		return m.try(m.claimAsk(vault.ChunkEpoch{Chunk: x}))
	},
	"claim of an old epoch": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "mallory")["mallory"]
		w.deal(t, Pay, []string{"mallory", "bob"}, []wire.ChunkID{x})
		w.deal(t, Pay, []string{"bob", "mallory"}, []wire.ChunkID{x})
		m := w.Client("mallory")
		return m.try(m.claimAsk(vault.ChunkEpoch{Chunk: x}))
	},
	"claim that its owner did not sign": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "mallory")["mallory"]
		m := w.Client("mallory")
		return m.try(w.Client("bob").claimAsk(vault.ChunkEpoch{Chunk: x}))
	},
	"claim of one chunk twice": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "mallory")["mallory"]
		m := w.Client("mallory")
		return m.try(m.claimAsk(vault.ChunkEpoch{Chunk: x}, vault.ChunkEpoch{Chunk: x}))
	},
	"claim for another escrow": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "mallory")["mallory"]
		m := w.Client("mallory")
		o := vault.ClaimOrder{Escrow: w.cast.Clients[4].ID, Chunks: []vault.ChunkEpoch{{Chunk: x}}}
		return m.try(vault.Request{Claim: &vault.ClaimAsk{Order: o, Sig: m.sign("latchkey/claim/v1", o)}})
	},
	"sweep before the claim": func(t *testing.T, w *World) error {
		x, y := w.stock(t, 0, "mallory")["mallory"], w.stock(t, 0, "mallory")["mallory"]
		m := w.Client("mallory")
		if err := m.ask(m.claimAsk(vault.ChunkEpoch{Chunk: x})); err != nil {
			t.Fatal(err)
		}
		return m.try(m.sweptAsk(vault.ChunkEpoch{Chunk: x}, vault.ChunkEpoch{Chunk: y}))
	},
	"claim on a clone": func(t *testing.T, w *World) error {
		return w.cloneClaims(t, w.stock(t, 0, "mallory")["mallory"], 1)
	},
	"claim on a clone, repeated": func(t *testing.T, w *World) error {
		return w.cloneClaims(t, w.stock(t, 0, "mallory")["mallory"], 3)
	},
	"two heads": func(t *testing.T, w *World) error {
		if err := w.cloneClaims(t, w.stock(t, 0, "mallory")["mallory"], 1); err != nil {
			return err
		}
		clone := w.hosts[1]
		for clone.Disk.size() <= w.ledger.size {
			clone.Enrol(&w.cast.Clients[4])
			d := w.cast.Clients[4].Digest
			d[0] ^= byte(clone.Disk.size())
			b, err := clone.m.Enrol(w.cast.Clients[4].Identity, nil, d)
			if err != nil {
				t.Fatal(err)
			}
			clone.decide(b)
			clone.Flush(9)
		}
		clone.Round(15, 0)
		return w.err
	},
	"two heads of one size": func(t *testing.T, w *World) error {
		clone := w.hosts[0].Clone("escrow2", w.hosts[0].Disk.Clone())
		w.hosts, w.cloned = append(w.hosts, clone), true
		clone.Start()
		for i, h := range w.hosts {
			d := wire.Hash{byte(i)}
			b, err := h.m.Enrol(w.cast.Clients[4].Identity, nil, d)
			if err != nil {
				t.Fatal(err)
			}
			h.decide(b)
			h.Round(15, 0)
		}
		return w.err
	},
	"a head with one cosignature": func(t *testing.T, w *World) error {
		h := w.hosts[0]
		h.Flush(9)
		signed, err := h.m.Head()
		if err != nil {
			t.Fatal(err)
		}
		note, _ := h.cosigned(signed, h.m.Size(), 1, 0)
		if h.Present(note, h.m.Size()) == nil {
			return errWorks
		}
		return nil
	},
	"a witness with a fast clock": func(t *testing.T, w *World) error {
		w.witnesses[3].offset = 7200
		c, _ := w.sale(t)
		w.hosts[0].Round(1|2|8, 0)
		w.hosts[0].Due()
		w.hosts[0].Round(1|2|8, 0)
		_ = c
		return w.err
	},
	"a word from a stale copy": func(t *testing.T, w *World) error {
		alice, y, err := w.staleWord(t)
		if err != nil {
			return err
		}
		if x, _ := alice.m.Chunk(y); x.Lost {
			return errWorks
		}
		return nil
	},
	"a second lock": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "mallory")["mallory"]
		s := Stakes{Contract: Pay, Parties: []*Client{w.Client("mallory"), w.Client("bob")}, Pots: [][]wire.ChunkID{{x}}, LockIn: 60}
		if err := w.Client("mallory").ask(w.broken(t, s)); err != nil {
			t.Fatal(err)
		}
		s.Parties[1] = w.Client("carol")
		return w.Client("mallory").try(w.broken(t, s))
	},
	"a stake of another's chunk": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "alice")["alice"]
		a, err := w.Agreement(Stakes{Contract: Pay, Parties: []*Client{w.Client("alice"), w.Client("bob")}, Pots: [][]wire.ChunkID{{x}}, LockIn: 60})
		if err != nil {
			t.Fatal(err)
		}
		a.Terms, a.Parties[0] = []int64{5}, vault.Recipients{w.Client("mallory").ID}
		return w.Client("mallory").try(sealDeal(w, a))
	},
	"a stake of an old epoch": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "mallory")["mallory"]
		s := Stakes{Contract: Pay, Parties: []*Client{w.Client("mallory"), w.Client("bob")}, Pots: [][]wire.ChunkID{{x}}, LockIn: 600}
		old := w.broken(t, s)
		w.deal(t, Pay, []string{"mallory", "bob"}, []wire.ChunkID{x})
		w.deal(t, Pay, []string{"bob", "mallory"}, []wire.ChunkID{x})
		return w.Client("mallory").try(old)
	},
	"a stake of a claimed chunk": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "mallory")["mallory"]
		m := w.Client("mallory")
		if err := m.ask(m.claimAsk(vault.ChunkEpoch{Chunk: x})); err != nil {
			t.Fatal(err)
		}
		s := Stakes{Contract: Pay, Parties: []*Client{m, w.Client("bob")}, Pots: [][]wire.ChunkID{{x}}, LockIn: 60}
		return m.try(w.broken(t, s))
	},
	"a stake that weighs less": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "mallory")["mallory"]
		a, err := w.Agreement(Stakes{Contract: Pay, Parties: []*Client{w.Client("mallory"), w.Client("bob")}, Pots: [][]wire.ChunkID{{x}}, LockIn: 60})
		if err != nil {
			t.Fatal(err)
		}
		a.Pots[0][0].Weight, a.Terms = 100, []int64{100}
		return w.Client("mallory").try(sealDeal(w, a))
	},
	"a stake that expires": func(t *testing.T, w *World) error {
		m := w.Client("mallory")
		err := m.do("new batch", func(o *vault.Owner) ([]vault.Row, error) {
			_, rows, err := o.NewBatch(vault.BatchSpec{Denomination: w.cast.Coins[0], Weight: 5, N: 1, Expiry: o.Now() + 3700}, w.rnd)
			return rows, err
		})
		if err != nil {
			t.Fatal(err)
		}
		w.Rest(20)
		s := Stakes{Contract: Pay, Parties: []*Client{m, w.Client("bob")}, Pots: [][]wire.ChunkID{m.Owned()}, LockIn: 7200}
		return m.try(w.broken(t, s))
	},
	"a lock after its time": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "mallory")["mallory"]
		q := w.broken(t, Stakes{Contract: Pay, Parties: []*Client{w.Client("mallory"), w.Client("bob")}, Pots: [][]wire.ChunkID{{x}}, LockIn: 60})
		w.Tick(100)
		w.hosts[0].Round(15, 0)
		return w.Client("mallory").try(q)
	},
	"a lock for another escrow": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "mallory")["mallory"]
		a := w.broken(t, Stakes{Contract: Pay, Parties: []*Client{w.Client("mallory"), w.Client("bob")}, Pots: [][]wire.ChunkID{{x}}, LockIn: 60}).Lock.Agreement
		a.Escrow = w.Client("carol").ID
		return w.Client("mallory").try(sealDeal(w, a))
	},
	"an acceptance that is forged": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "alice")["alice"]
		m := w.Client("mallory")
		a, _ := w.forgery(m, w.ledger.chunks[x])
		return m.try(vault.Request{Lock: &vault.LockAsk{Agreement: a, Acceptances: []vault.SignedAcceptance{m.acceptance(a, 0), m.acceptance(a, 1)}}})
	},
	"an opening after its time": func(t *testing.T, w *World) error {
		p, _, _ := w.swapOf(t, "mallory", "bob")
		w.lockOnly(t, p)
		w.hook = func(at point, _ *Client, what string) bool { return at == arriving && what == "ack" }
		for range 4 { // hand, fetch, and no ack arrives
			w.Tick(1)
			w.Pump()
		}
		w.hook = nil
		w.Tick(61) // past LockBy, and not yet past the grace in which the escrow aborts
		for _, c := range []*Client{w.Client("mallory"), w.Client("bob")} {
			if err := c.ask(c.ackAsk(p.course(w).ID)); err != nil {
				return nil
			}
			w.hosts[0].Round(15, 0)
		}
		return w.err
	},
	"an acknowledgement that is not signed": func(t *testing.T, w *World) error {
		p, _, _ := w.swapOf(t, "mallory", "bob")
		w.lockOnly(t, p)
		w.hook = func(at point, _ *Client, what string) bool { return at == arriving && what == "ack" }
		for range 4 {
			w.Tick(1)
			w.Pump()
		}
		bob := w.Client("bob")
		return bob.try(vault.Request{Ack: &vault.AckAsk{Instance: p.course(w).ID, Sig: make([]byte, 64)}})
	},
	"r before its step is witnessed": func(t *testing.T, w *World) error {
		p, _, _ := w.swapOf(t, "mallory", "bob")
		w.lockOnly(t, p)
		w.hook = func(at point, _ *Client, what string) bool { return at == arriving && what == "ack" }
		for range 4 {
			w.Tick(1)
			w.Pump()
		}
		w.hook = nil
		for range 2 { // the second time as one that has acknowledged
			for _, c := range []*Client{w.Client("bob"), w.Client("mallory")} {
				if err := c.ask(c.ackAsk(p.course(w).ID)); err != nil {
					t.Fatal(err)
				}
				w.hosts[0].Flush(9) // durable, and no witness has seen it
			}
		}
		return w.err
	},
	"an early deadline": func(t *testing.T, w *World) error {
		w.sale(t)
		w.hosts[0].Due()
		w.hosts[0].Round(15, 0)
		return w.err
	},
	"another party's word": func(t *testing.T, w *World) error {
		c := w.saleTo(t, "mallory")
		m := w.Client("mallory")
		return m.try(m.wordOf(c.ID, 0, 1, "release", 0, false))
	},
	"a word a second time": func(t *testing.T, w *World) error {
		c := w.saleTo(t, "mallory")
		m := w.Client("mallory")
		if err := m.ask(m.wordOf(c.ID, 1, 2, "dispute", 0, false)); err != nil {
			t.Fatal(err)
		}
		return m.try(m.wordOf(c.ID, 1, 1, "settle", 0, false))
	},
	"a receipt for another word": func(t *testing.T, w *World) error {
		c := w.saleTo(t, "mallory")
		m := w.Client("mallory")
		for _, word := range []string{"dispute", "refund"} {
			_ = m.ask(m.wordOf(c.ID, 1, 1, word, 0, false))
			w.hosts[0].Flush(9)
		}
		return w.promises(t, m)
	},
	"a word after the grace": func(t *testing.T, w *World) error {
		c := w.saleTo(t, "mallory")
		w.Tick(1803)
		w.hosts[0].Round(15, 0)
		m := w.Client("mallory")
		return m.try(m.wordOf(c.ID, 1, 1, "refund", 0, false))
	},
	"a price of too few keys": func(t *testing.T, w *World) error {
		return w.price(t, func(s []oracle.Signed) []oracle.Signed { return s[:1] })
	},
	"a price of one key twice": func(t *testing.T, w *World) error {
		return w.price(t, func(s []oracle.Signed) []oracle.Signed { return []oracle.Signed{s[0], s[0]} })
	},
	"a price that was changed": func(t *testing.T, w *World) error {
		return w.price(t, func(s []oracle.Signed) []oracle.Signed {
			s[0].Value.Value, s[1].Value.Value = 998, 998
			return s
		})
	},
	"a price of a stranger's key": func(t *testing.T, w *World) error {
		return w.price(t, func(s []oracle.Signed) []oracle.Signed {
			strange, err := s[0].Value.Sign(ed25519.NewKeyFromSeed(make([]byte, 32)))
			if err != nil {
				t.Fatal(err)
			}
			s[0] = strange
			slices.SortFunc(s, func(a, b oracle.Signed) int { return bytes.Compare(a.Key, b.Key) })
			return s
		})
	},
	"a price of another feed": func(t *testing.T, w *World) error {
		return w.price(t, func(s []oracle.Signed) []oracle.Signed {
			for i := range s {
				v := s[i].Value
				v.Feed = "another"
				var err error
				if s[i], err = v.Sign(priceKeys()[i]); err != nil {
					t.Fatal(err)
				}
			}
			return s
		})
	},
	"a price after the grace": func(t *testing.T, w *World) error {
		c := w.wagerOf(t)
		w.Tick(1800 + 3600 + 3)
		w.hosts[0].Round(15, 0)
		return w.Client("mallory").try(vault.Request{Report: &vault.Report{Instance: c.ID, Signed: prices(t, c.Agreement.Terms[2], 999)}})
	},
	"a price that two bring at once": func(t *testing.T, w *World) error {
		c := w.twice(t, "mallory")
		r := vault.Report{Instance: c.ID, Signed: prices(t, c.Agreement.Terms[2], 999), After: c.Last}
		m := w.Client("mallory")
		if err := m.ask(vault.Request{Report: &r}); err != nil {
			t.Fatal(err)
		}
		r.Signed = r.Signed[:2:2]
		third, err := r.Signed[0].Value.Sign(priceKeys()[2])
		if err != nil {
			t.Fatal(err)
		}
		r.Signed[1] = third
		return m.try(vault.Request{Report: &r})
	},
	"a receipt for another report": func(t *testing.T, w *World) error {
		c := w.twice(t, "mallory")
		m := w.Client("mallory")
		for n := 2; n <= 3; n++ {
			r := vault.Report{Instance: c.ID, After: c.Last}
			for _, k := range priceKeys()[:n] {
				s, err := oracle.Value{Feed: "price", Time: c.Agreement.Terms[2], Value: 999}.Sign(k)
				if err != nil {
					t.Fatal(err)
				}
				r.Signed = append(r.Signed, s)
			}
			_ = m.ask(vault.Request{Report: &r})
			w.hosts[0].Flush(9)
		}
		return w.promises(t, m)
	},
	"a share that is none": func(t *testing.T, w *World) error {
		p, _, _ := w.swapOf(t, "mallory", "bob")
		w.lockOnly(t, p)
		m := w.Client("mallory")
		if err := m.ask(m.garbage(p.course(w))); err != nil {
			t.Fatal(err)
		}
		w.Rest(10)
		return w.err
	},
	"a rogue key": func(t *testing.T, w *World) error { return w.rogueKey(t) },

	// What follows is done to a client's vault, by its own host or by an escrow
	// whose TEE is broken.
	"two pledges of one chunk": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "alice")["alice"]
		s := Stakes{Contract: Pay, Parties: []*Client{w.Client("alice"), w.Client("bob")}, Pots: [][]wire.ChunkID{{x}}, LockIn: 60}
		if _, err := w.Propose(s); err != nil {
			t.Fatal(err)
		}
		s.Parties[1] = w.Client("carol")
		return w.accepts("alice", s)
	},
	"a pledge for ever": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "alice")["alice"]
		return w.accepts("alice", Stakes{
			Contract: Pay, Parties: []*Client{w.Client("alice"), w.Client("bob")}, Pots: [][]wire.ChunkID{{x}}, LockIn: 30 * 86400,
		})
	},
	"a pledge of what is being claimed": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "alice")["alice"]
		if err := w.Client("alice").Claim(x); err != nil {
			t.Fatal(err)
		}
		return w.accepts("alice", Stakes{
			Contract: Pay, Parties: []*Client{w.Client("alice"), w.Client("bob")}, Pots: [][]wire.ChunkID{{x}}, LockIn: 60,
		})
	},
	"a claim of what is pledged": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "alice")["alice"]
		s := Stakes{Contract: Pay, Parties: []*Client{w.Client("alice"), w.Client("bob")}, Pots: [][]wire.ChunkID{{x}}, LockIn: 60}
		if _, err := w.Propose(s); err != nil {
			t.Fatal(err)
		}
		if w.Client("alice").Claim(x) == nil {
			return errWorks
		}
		return nil
	},
	"its own chunk in another's pot": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "alice")["alice"]
		return w.paperCheat(t, x, "alice", func(q *vault.Proposal) { q.Papers = nil })
	},
	"a certificate that nobody signed": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "bob")["bob"]
		return w.paperCheat(t, x, "alice", func(q *vault.Proposal) { q.Papers[0].Cert.EscrowSig[5] ^= 1 })
	},
	"a certificate of another key": func(t *testing.T, w *World) error {
		x, y := w.stock(t, 0, "bob")["bob"], w.stock(t, 0, "bob")["bob"]
		return w.paperCheat(t, x, "alice", func(q *vault.Proposal) { q.Papers[0].Chunk.Key = w.points[y] })
	},
	"a chunk that weighs less": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "bob")["bob"]
		return w.paperCheat(t, x, "alice", func(q *vault.Proposal) {
			q.Agreement.Pots[0][0].Weight, q.Agreement.Terms = 100, []int64{100}
		})
	},
	"a chunk that expires": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "bob")["bob"]
		w.Tick(90*86400 - 7200)
		w.Pump()
		w.Tick(1)
		w.Pump()
		return w.paperCheat(t, x, "alice", func(q *vault.Proposal) { q.Agreement.LockBy = w.now + 14000 })
	},
	"one vendor on both sides": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "alice")["alice"]
		s := Stakes{Contract: Pay, Parties: []*Client{w.Client("alice"), w.Client("vera")}, Pots: [][]wire.ChunkID{{x}}, LockIn: 60}
		if _, err := w.Propose(s); err != nil {
			return nil
		}
		w.Rest(20)
		if how := w.secrets.holds(x, "escrow", "vera"); how != "" {
			return errors.Join(errWorks, errors.New(how))
		}
		return nil
	},
	"a share before the log shows the claim": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "alice")["alice"]
		alice := w.Client("alice")
		if err := alice.Claim(x); err != nil {
			t.Fatal(err)
		}
		alice.Talk()
		for len(alice.up) > 0 {
			alice.Deliver(0, false)
		}
		w.hosts[0].Round(15, 0)
		for len(alice.down) > 0 {
			alice.Hear(0, false)
		}
		return w.err
	},
	"a sweep of what was never whole": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "alice")["alice"]
		if w.Client("alice").do("swept", func(o *vault.Owner) ([]vault.Row, error) { return o.Swept([]wire.ChunkID{x}) }) == nil {
			return errWorks
		}
		return nil
	},
	"an entry that is not in the log": func(t *testing.T, w *World) error {
		x := w.stock(t, 0, "alice")["alice"]
		p, err := w.Propose(Stakes{Contract: Pay, Parties: []*Client{w.Client("alice"), w.Client("bob")}, Pots: [][]wire.ChunkID{{x}}, LockIn: 60})
		if err != nil {
			t.Fatal(err)
		}
		l := &vault.Lock{Agreement: p.a, Acceptances: p.all, Prev: [][]vault.Index{{w.ledger.chunks[x].At}}}
		raw, err := wire.Marshal(vault.Entry{At: w.now, Lock: l})
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Client("alice").do("lie", func(o *vault.Owner) ([]vault.Row, error) {
			return o.Observe(vault.Logged{Position: o.Size(), Entry: raw, Proof: w.hosts[0].Disk.inclusion(o.Size()-1, o.Size())})
		})
		return w.err
	},
	"an entry left out": func(t *testing.T, w *World) error {
		c, _ := w.sale(t)
		carol, bob := w.Client("carol"), w.Client("bob")
		w.hook = func(at point, c *Client, what string) bool { return at == arriving && what == "word" && c == bob }
		for _, word := range []string{"dispute"} {
			if err := w.Client("alice").Say(c.ID, word, 0, false); err != nil {
				t.Fatal(err)
			}
		}
		w.Client("alice").Talk()
		w.Client("alice").Deliver(0, false)
		w.hosts[0].Round(15, 0)
		first := int64(c.Last) - 1
		alice := w.Client("alice")
		alice.Sync()
		if err := alice.Say(c.ID, "settle", 0, false); err != nil {
			t.Fatal(err)
		}
		alice.Talk()
		for len(alice.up) > 0 {
			alice.Deliver(0, false)
		}
		w.hosts[0].Round(15, 0)
		if second := int64(c.Last) - 1; second <= first {
			t.Fatal("the second word did not arrive")
		}
		if err := carol.do("advance", func(o *vault.Owner) ([]vault.Row, error) {
			return o.Advance(w.hosts[0].note, w.hosts[0].Disk.consistency(o.Size(), w.hosts[0].noted))
		}); err != nil {
			t.Fatal(err)
		}
		err := carol.observe(w.hosts[0], int64(c.Last)-1)
		if err == nil || !errors.Is(err, vault.ErrGap) {
			return errors.Join(errWorks, err)
		}
		return nil
	},
	"a head that forks": func(t *testing.T, w *World) error {
		alice := w.Client("alice")
		w.stock(t, 0, "alice", "bob")
		for i := range w.witnesses {
			w.witnesses[i].liar = true
		}
		root := head.LeafHash([]byte("fork"))
		signed, err := head.SignCheckpoint(head.Checkpoint{Origin: origin, Size: alice.m.Size() + 7, Root: root}, w.cast.Escrow.Sign)
		if err != nil {
			t.Fatal(err)
		}
		note, _ := w.hosts[0].cosigned(signed, 1<<40, 15, 0)
		if alice.do("fork", func(o *vault.Owner) ([]vault.Row, error) { return o.Advance(note, nil) }) == nil {
			return errWorks
		}
		return nil
	},
}

// accepts has a client's vault look at a deal that it must refuse.
func (w *World) accepts(who string, s Stakes) error {
	a, err := w.Agreement(s)
	if err != nil {
		return err
	}
	a.Terms = []int64{weigh(a.Pots[0])}
	if _, err := w.Client(who).Accept(a); err == nil {
		return errWorks
	}
	return nil
}

// paperCheat has a vault look at a payment to it, with papers that are changed.
func (w *World) paperCheat(t *testing.T, x wire.ChunkID, to string, change func(*vault.Proposal)) error {
	t.Helper()
	a, err := w.Agreement(Stakes{Contract: Pay, Parties: []*Client{w.byID(w.ledger.chunks[x].Owner), w.Client(to)}, Pots: [][]wire.ChunkID{{x}}, LockIn: 60})
	if err != nil {
		t.Fatal(err)
	}
	a.Terms = []int64{weigh(a.Pots[0])}
	if w.ledger.chunks[x].Owner == w.Client(to).ID {
		a.Parties[0] = vault.Recipients{w.Client("bob").ID}
	}
	c := w.Client(to)
	q, err := c.Proposal(a)
	if err != nil {
		t.Fatal(err)
	}
	change(&q)
	err = c.do("accept", func(o *vault.Owner) ([]vault.Row, error) {
		_, rows, err := o.Accept(q, w.rnd)
		return rows, err
	})
	if err == nil {
		return errWorks
	}
	return nil
}

// cloneClaims gives a chunk away on one copy of the escrow and claims it on
// another, asking several times.
func (w *World) cloneClaims(t *testing.T, x wire.ChunkID, times int) error {
	t.Helper()
	clone := w.hosts[0].Clone("escrow2", w.hosts[0].Disk.Clone())
	w.hosts, w.cloned = append(w.hosts, clone), true
	clone.Start()
	w.deal(t, Pay, []string{"mallory", "bob"}, []wire.ChunkID{x})
	m := w.Client("mallory")
	m.Route(clone)
	for range times {
		if err := m.ask(m.claimAsk(vault.ChunkEpoch{Chunk: x})); err != nil {
			t.Fatal(err)
		}
		clone.Flush(9)
	}
	return w.err
}

// saleTo opens a sale whose seller is broken.
func (w *World) saleTo(t *testing.T, seller string) *Course {
	t.Helper()
	a, b := w.stock(t, 0, "alice")["alice"], w.stock(t, 0, "alice")["alice"]
	c := w.deal(t, Escrow, []string{"alice", seller, "carol"}, []wire.ChunkID{a}, []wire.ChunkID{b})
	if !c.Opened || c.Ended {
		t.Fatal("the sale is not open")
	}
	return c
}

// wagerOf opens a wager of mallory, who needs a high price, and bob.
func (w *World) wagerOf(t *testing.T) *Course {
	t.Helper()
	a, b := w.stock(t, 0, "mallory")["mallory"], w.stock(t, 0, "bob")["bob"]
	c := w.deal(t, Wager, []string{"mallory", "bob"}, []wire.ChunkID{a}, []wire.ChunkID{b})
	if !c.Opened || c.Ended {
		t.Fatal("the wager is not open")
	}
	return c
}

// promises lets time pass until all that the escrow's receipts promise has to be in
// its log, and looks.
func (w *World) promises(t *testing.T, m *Client) error {
	t.Helper()
	for len(m.down) > 0 {
		m.Hear(0, false)
	}
	if len(w.receipts) == 0 {
		t.Fatal("there is no receipt")
	}
	for range 3 {
		w.Tick(60)
		w.Pump()
	}
	for _, r := range w.receipts {
		if out, err := w.Omitted(r.receipt); err != nil || out {
			return errWorks
		}
	}
	return nil
}

// twice opens a contract of somebody and bob that waits for one price twice, and lets
// the price's time come.
func (w *World) twice(t *testing.T, who string) *Course {
	t.Helper()
	a, b := w.stock(t, 0, who)[who], w.stock(t, 0, "bob")["bob"]
	c := w.deal(t, Twice, []string{who, "bob"}, []wire.ChunkID{a}, []wire.ChunkID{b})
	if !c.Opened || c.Ended {
		t.Fatal("it is not open")
	}
	w.Tick(1801)
	w.hosts[0].Round(15, 0)
	return c
}

// prices are what the first two keys of the oracle sign for one time.
func prices(t *testing.T, at, value int64) (list []oracle.Signed) {
	t.Helper()
	for _, k := range priceKeys()[:2] {
		s, err := oracle.Value{Feed: "price", Time: at, Value: value}.Sign(k)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

// price has mallory bring a high price that cheat has made of what two keys signed.
func (w *World) price(t *testing.T, cheat func([]oracle.Signed) []oracle.Signed) error {
	t.Helper()
	c := w.wagerOf(t)
	w.Tick(1801)
	w.hosts[0].Round(15, 0)
	return w.Client("mallory").try(vault.Request{Report: &vault.Report{Instance: c.ID, Signed: cheat(prices(t, c.Agreement.Terms[2], 999))}})
}

// TestWagerOfAnHonestPrice shows that what the cheats above spoil works when nobody spoils it.
func TestWagerOfAnHonestPrice(t *testing.T) {
	w := world(t, Config{Seed: 1, Clients: 5, Liars: 1, Broken: map[string]bool{"mallory": true}})
	w.witnesses[3].liar = false
	if err := w.price(t, func(s []oracle.Signed) []oracle.Signed { return s }); !errors.Is(err, errWorks) {
		t.Errorf("an honest price: %v", err)
	}
}

// rogueKey makes a batch whose public key mallory chose after she saw the
// escrow's point: she would know the whole key, and nobody the first share.
func (w *World) rogueKey(t *testing.T) error {
	t.Helper()
	m := w.Client("mallory")
	d := w.cast.Coins[0]
	batch := key.Batch{ID: wire.Hash{7}, Type: coin.Ed25519, N: 1, Owner: m.ID, Escrow: w.cast.Escrow.ID}
	spec := vault.BatchSpec{Denomination: d, Weight: 5, N: 1, Expiry: w.now + 90*86400}
	shares, half, err := batch.Generate(key.Owner, w.rnd)
	if err != nil {
		t.Fatal(err)
	}
	commit := batch.Commit(half.Half().Points, [32]byte{})
	if err := m.ask(vault.Request{Begin: &vault.Begin{Batch: batch.ID, Spec: spec, Commit: commit}}); err != nil {
		t.Fatal(err)
	}
	w.hosts[0].Flush(9)
	var r vault.Reply
	if err := wire.Unmarshal(m.down[len(m.down)-1].raw, &r); err != nil || r.Offered == nil {
		t.Fatal("no offer")
	}
	x := shares[0]
	a, err := x.Public().Minus(r.Offered.Half.Points[0])
	if err != nil {
		t.Fatal(err)
	}
	rogue := key.Half{Points: []key.Point{a}, Proofs: half.Half().Proofs}
	if m.ask(vault.Request{Open: &vault.OpenBatch{Batch: batch.ID, Half: rogue}}) != nil {
		return nil
	}
	w.hosts[0].Round(15, 0)
	for _, id := range w.ledger.order {
		if w.points[id] == x.Public() {
			return errors.Join(errWorks, errors.New("mallory has the whole key of a chunk from its birth"))
		}
	}
	return nil
}

// allCheats returns the cheats of clients and hosts, and those of a broken escrow.
func allCheats() map[string]cheat {
	all := maps.Clone(cheats)
	maps.Copy(all, forgeries)
	maps.Copy(all, stepCheats)
	maps.Copy(all, orderCheats)
	maps.Copy(all, reportCheats)
	maps.Copy(all, snapshotCheats)
	return all
}

func TestCheats(t *testing.T) {
	for name, try := range allCheats() {
		t.Run(name, func(t *testing.T) {
			w := world(t, Config{Seed: 1, Clients: 5, Liars: 1, Broken: map[string]bool{"mallory": true}})
			w.witnesses[3].liar = false
			if err := try(t, w); err != nil {
				t.Errorf("the cheat works: %v", err)
			}
			ok(t, w)
		})
	}
}
