package vault_test

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"latchkey/coin"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/wire"
)

// What an owner's vault must not sign it refuses by name, and stays as it is.
func TestAcceptRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	alice, bob, carol := w.owners[0], w.owners[1], w.owners[2]
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	other := alice.deposit(denomination("sol", coin.Ed25519), 5, 1)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 5, 2)
	for _, x := range []struct {
		name   string
		change func(p *vault.Proposal)
		want   string
	}{
		{"another escrow", func(p *vault.Proposal) { p.Agreement.Escrow = bob.id }, "its escrow is"},
		{"a way to settle that is unknown", func(p *vault.Proposal) { p.Agreement.Settle = 7 }, "settle 7 is unknown"},
		{"a contract that is none", func(p *vault.Proposal) { p.Agreement.Source = []byte("hello") }, "contract: "},
		{"a contract that is cut", func(p *vault.Proposal) { p.Agreement.Source = p.Agreement.Source[:90] }, "contract: "},
		{"a lock in the past", func(p *vault.Proposal) { p.Agreement.LockBy = w.now - 1 }, "expired"},
		{"a lock in two days", func(p *vault.Proposal) { p.Agreement.LockBy = w.now + 2*86400 }, "lock by"},
		{"a lock at the end of time", func(p *vault.Proposal) { p.Agreement.LockBy = math.MaxInt64 }, "lock by"},
		{"somebody else's agreement", func(p *vault.Proposal) { p.Agreement.Parties[0] = vault.Recipients{carol.id} }, "this vault is no party"},
		{"a party twice", func(p *vault.Proposal) { p.Agreement.Parties[1] = p.Agreement.Parties[0] }, "is two parties"},
		{"a party too few", func(p *vault.Proposal) { p.Agreement.Parties = p.Agreement.Parties[:1] }, "1 parties"},
		{"two vaults for one owner", func(p *vault.Proposal) { p.Agreement.Parties[1] = vault.Recipients{bob.id, carol.id} }, "2 recipients"},
		{"a negative term", func(p *vault.Proposal) { p.Agreement.Terms[0] = -10 }, "terms: "},
		{"an absurd term", func(p *vault.Proposal) { p.Agreement.Terms[0] = math.MaxInt64 }, "terms: "},
		{"a term too few", func(p *vault.Proposal) { p.Agreement.Terms = p.Agreement.Terms[:1] }, "terms: "},
		{"a pot that lacks a chunk", func(p *vault.Proposal) { p.Agreement.Pots[0] = p.Agreement.Pots[0][:1] }, "holds 5 units, the contract wants 10"},
		{"a pot too few", func(p *vault.Proposal) { p.Agreement.Pots = p.Agreement.Pots[:1] }, "1 pots"},
		{"a chunk twice", func(p *vault.Proposal) { p.Agreement.Pots[0][1] = p.Agreement.Pots[0][0] }, "is put in twice"},
		{"a weight that is not the chunk's", func(p *vault.Proposal) { p.Agreement.Pots[0][0].Weight, p.Agreement.Pots[0][1].Weight = 4, 6 }, "it weighs 5, the agreement says 4"},
		{"an absurd weight", func(p *vault.Proposal) { p.Agreement.Pots[0][0].Weight = math.MaxUint32 }, "units, the contract wants"},
		{"an epoch to come", func(p *vault.Proposal) { p.Agreement.Pots[0][0].Epoch = 1 }, "another epoch"},
		{"a chunk that is unknown", func(p *vault.Proposal) { p.Agreement.Pots[0][0].Chunk = wire.ChunkID{9} }, "not held"},
		{"two denominations in one pot", func(p *vault.Proposal) { p.Agreement.Pots[0][1] = alice.stakes(other)[0] }, "mixes denominations"},
		{"its own chunk in the other's pot", func(p *vault.Proposal) { p.Agreement.Pots[1][0] = alice.stakes(other)[0] }, "it is this vault's"},
		{"no certificates", func(p *vault.Proposal) { p.Papers = nil }, "its certificate was not shown"},
		{"a certificate for another key", func(p *vault.Proposal) { p.Papers[0].Chunk.Key = p.Papers[1].Chunk.Key }, ""},
		{"a certificate that was changed", func(p *vault.Proposal) {
			b := slices.Clone(p.Papers[0].Cert.Body)
			b[len(b)-1] ^= 1
			p.Papers[0].Cert.Body, p.Papers[1].Cert.Body = b, b
		}, ""},
		{"a certificate without the escrow's signature", func(p *vault.Proposal) {
			p.Papers[0].Cert.EscrowSig, p.Papers[1].Cert.EscrowSig = nil, nil
		}, ""},
		{"a certificate of another owner", func(p *vault.Proposal) {
			p.Papers[0].Owner, p.Papers[1].Owner = carol.identity, carol.identity
		}, ""},
		{"a path that is cut", func(p *vault.Proposal) { p.Papers[0].Chunk.Path = nil }, ""},
		{"no evidence", func(p *vault.Proposal) { p.Peers = nil }, "1 of 2 parties showed evidence"},
		{"evidence of somebody else", func(p *vault.Proposal) { p.Peers[0].Identity = carol.identity }, "is given as a peer and is none"},
		{"evidence twice", func(p *vault.Proposal) { p.Peers = append(p.Peers, p.Peers[0]) }, "is given twice"},
		{"a TEE of the escrow's vendor", func(p *vault.Proposal) { p.Peers[0].Vendor = "vendor B" }, "one TEE vendor on both sides"},
	} {
		p := alice.proposal(w.swapOf(left, right))
		x.change(&p)
		before, rows := alice.state(), len(alice.rows)
		_, out, err := alice.o.Accept(p, w.rnd)
		if err == nil || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", x.name, err, x.want)
		}
		if alice.state() != before || len(out) > 0 || len(alice.rows) != rows {
			t.Errorf("%s: refused, and changed", x.name)
		}
	}
	// A certificate serves for locks as long as it lives, and for claims for ever.
	w.now += 91 * 86400
	w.witness()
	alice.sync()
	if _, _, err := alice.o.Accept(alice.proposal(w.swapOf(left, right)), w.rnd); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("certificates that have expired: %v", err)
	}
	alice.keep(alice.o.Claim(left))
	w.run()
	if _, err := alice.o.Key(left[0]); err != nil {
		t.Errorf("a claim after the certificate's end: %v", err)
	}
}

// What an escrow must not do it refuses by name, and stays as it is.
func TestEscrowRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	alice, bob := w.owners[0], w.owners[1]
	left := alice.deposit(denomination("btc", coin.Secp256k1), 5, 2)
	right := bob.deposit(denomination("xmr", coin.Ed25519), 5, 2)
	sign := func(c *client, purpose string, body any) []byte {
		b, err := wire.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		return wire.Sign(c.sign, purpose, b)
	}
	lock := func(change func(q *vault.LockAsk)) vault.Request {
		q := vault.LockAsk{Agreement: w.swapOf(left, right)}
		for role, c := range []*client{alice, bob} {
			h, err := q.Agreement.Hash()
			if err != nil {
				t.Fatal(err)
			}
			a := vault.Acceptance{Agreement: h, Role: uint32(role)}
			q.Acceptances = append(q.Acceptances, vault.SignedAcceptance{Body: a, Sig: sign(c, "latchkey/accept/v1", a)})
		}
		change(&q)
		return vault.Request{Lock: &q}
	}
	claim := func(change func(o *vault.ClaimOrder)) vault.Request {
		o := vault.ClaimOrder{Escrow: w.keys.id, Chunks: []vault.ChunkEpoch{{Chunk: left[0]}}}
		change(&o)
		return vault.Request{Claim: &vault.ClaimAsk{Order: o, Sig: sign(alice, "latchkey/claim/v1", o)}}
	}
	begin := func(change func(s *vault.BatchSpec)) vault.Request {
		s := vault.BatchSpec{Denomination: denomination("btc", coin.Secp256k1), Weight: 5, N: 1, Expiry: w.now + 90*86400}
		change(&s)
		return vault.Request{Begin: &vault.Begin{Batch: wire.Hash{7}, Spec: s}}
	}
	none := wire.InstanceID{7}
	for _, x := range []struct {
		name string
		q    vault.Request
		want string
	}{
		{"a lock without acceptances", lock(func(q *vault.LockAsk) { q.Acceptances = nil }), "0 acceptances of 2 parties"},
		{"a lock that one accepted", lock(func(q *vault.LockAsk) { q.Acceptances = q.Acceptances[:1] }), "1 acceptances of 2 parties"},
		{"acceptances in the wrong order", lock(func(q *vault.LockAsk) { slices.Reverse(q.Acceptances) }), "another agreement or order"},
		{"acceptances of another agreement", lock(func(q *vault.LockAsk) { q.Agreement.LockBy++ }), "another agreement or order"},
		{"one party's signature for both", lock(func(q *vault.LockAsk) { q.Acceptances[1].Sig = q.Acceptances[0].Sig }), "party 1: "},
		{"a signature that is cut", lock(func(q *vault.LockAsk) { q.Acceptances[0].Sig = q.Acceptances[0].Sig[:63] }), "party 0: "},
		{"another nonce than was signed", lock(func(q *vault.LockAsk) { q.Acceptances[0].Body.Nonce[0] = 1 }), "party 0: "},
		{"an order of nothing", claim(func(o *vault.ClaimOrder) { o.Chunks = nil }), "an order of 0 chunks, want 1 to 1024"},
		{"an order of too much", claim(func(o *vault.ClaimOrder) { o.Chunks = make([]vault.ChunkEpoch, 1025) }), "an order of 1025 chunks"},
		{"an order that names a chunk twice", claim(func(o *vault.ClaimOrder) { o.Chunks = append(o.Chunks, o.Chunks[0]) }), "is named twice"},
		{"an order for an unknown chunk", claim(func(o *vault.ClaimOrder) { o.Chunks[0].Chunk = wire.ChunkID{9} }), "chunk 09000000: unknown"},
		{"an order for another's chunk", claim(func(o *vault.ClaimOrder) { o.Chunks[0].Chunk = right[0] }), "not the owner"},
		{"an order of an epoch to come", claim(func(o *vault.ClaimOrder) { o.Chunks[0].Epoch = 1 }), "it is at 0, the order says 1"},
		{"an order for another escrow", claim(func(o *vault.ClaimOrder) { o.Escrow = bob.id }), "the order is for escrow"},
		{"an order signed by another", vault.Request{Claim: &vault.ClaimAsk{
			Order: vault.ClaimOrder{Escrow: w.keys.id, Chunks: []vault.ChunkEpoch{{Chunk: left[0]}}},
			Sig:   sign(bob, "latchkey/claim/v1", vault.ClaimOrder{Escrow: w.keys.id, Chunks: []vault.ChunkEpoch{{Chunk: left[0]}}}),
		}}, "signature"},
		{"swept and never claimed", func() vault.Request {
			o := vault.SweptOrder{Escrow: w.keys.id, Chunks: []vault.ChunkEpoch{{Chunk: left[0]}}}
			return vault.Request{Swept: &vault.SweptAsk{Order: o, Sig: sign(alice, "latchkey/swept/v1", o)}}
		}(), "was never claimed"},
		{"a batch of nothing", begin(func(s *vault.BatchSpec) { s.N = 0 }), "batch of 0 chunks"},
		{"a batch of too much", begin(func(s *vault.BatchSpec) { s.N = 1 << 30 }), "chunks, want 1 to 4096"},
		{"a weight that does not exist", begin(func(s *vault.BatchSpec) { s.Weight = 3 }), "weight"},
		{"an amount of nothing", begin(func(s *vault.BatchSpec) { s.Denomination.Unit = coin.Amount{} }), ""},
		{"an asset without a name", begin(func(s *vault.BatchSpec) { s.Denomination.Asset.ID = "" }), "asset"},
		{"a key type that is unknown", begin(func(s *vault.BatchSpec) { s.Denomination.Asset.Key = 9 }), "key type"},
		{"an expiry in the past", begin(func(s *vault.BatchSpec) { s.Expiry = w.now - 1 }), "expir"},
		{"an expiry in a hundred years", begin(func(s *vault.BatchSpec) { s.Expiry = w.now + 100*366*86400 }), "expir"},
		{"a batch that was never begun", vault.Request{Open: &vault.OpenBatch{Batch: wire.Hash{8}, Half: key.Half{}}}, "unknown"},
		{"shares for an unknown instance", vault.Request{Hand: &vault.HandAsk{Instance: none}}, "instance 07000000: unknown"},
		{"an acknowledgement for an unknown instance", vault.Request{Ack: &vault.AckAsk{Instance: none}}, "instance 07000000: unknown"},
		{"a word in an unknown instance", vault.Request{Word: &vault.SignedWord{Body: vault.Word{Instance: none}}}, "instance 07000000: unknown"},
		{"mail of an unknown instance", vault.Request{Fetch: &vault.Fetch{Instance: none}}, "instance 07000000: unknown"},
		{"mail of a step to come", vault.Request{Fetch: &vault.Fetch{Step: 1 << 40}}, "unknown"},
	} {
		size, root, rows := w.escrow.Size(), w.escrow.Root(), len(w.rows)
		_, err := alice.ask(x.q)
		if err == nil || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", x.name, err, x.want)
		}
		if w.escrow.Size() != size || w.escrow.Root() != root || len(w.rows) != rows {
			t.Errorf("%s: refused, and changed", x.name)
		}
	}
	if _, err := w.escrow.Handle(wire.VaultID{1}, vault.Request{Fetch: &vault.Fetch{Step: 1}}, w.rnd); err == nil || !strings.Contains(err.Error(), "is not enrolled") {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := vault.ParseRequest(bytes.Repeat([]byte{0xa0}, 2)); err == nil {
		t.Error("bytes after a request: no error")
	}
	// All of them good, it is locked, once.
	for range 2 {
		a, err := alice.ask(lock(func(*vault.LockAsk) {}))
		if err != nil {
			t.Fatal(err)
		}
		w.persist(a.Block, nil)
	}
	if _, err := alice.ask(lock(func(q *vault.LockAsk) {
		q.Acceptances[0].Body.Nonce[0] = 9
		q.Acceptances[0].Sig = sign(alice, "latchkey/accept/v1", q.Acceptances[0].Body)
	})); err == nil || !strings.Contains(err.Error(), "chunk is locked") {
		t.Errorf("the same agreement accepted anew: %v", err)
	}
}

// A log in another format than this program reads is refused at its first entry, as
// one of another name is.
func TestReplayRefusesAnotherFormat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	for name, c := range map[string]struct {
		change func(g *vault.Genesis)
		want   string
	}{
		"as it is":       {func(*vault.Genesis) {}, ""},
		"no format":      {func(g *vault.Genesis) { g.Format = 0 }, "in format 0; this program reads"},
		"another format": {func(g *vault.Genesis) { g.Format = vault.LogFormat + 1 }, "in format 2; this program reads"},
		"another name":   {func(g *vault.Genesis) { g.Origin = "other.test/log" }, `genesis of "other.test/log"`},
	} {
		first, err := vault.ParseEntry(w.entries[0])
		if err != nil {
			t.Fatal(err)
		}
		c.change(first.Genesis)
		raw, err := wire.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		e, err := vault.NewEscrow(w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Replay(raw); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
