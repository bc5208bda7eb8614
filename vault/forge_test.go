package vault_test

import (
	"bytes"
	"maps"
	"slices"

	"pgregory.net/rapid"

	"latchkey/coin"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/wire"
)

// broken is the owner whose TEE is broken: her vault made her chunks as it should,
// and from then on she signs whatever she likes with its key.
const broken = 2

// stakes draws what a party puts into a pot. The broken one stakes what she made,
// whatever has become of it.
func (x *machine) stakes(t *rapid.T, by int) (out []vault.Stake) {
	c := x.w.owners[by]
	if by != broken {
		return c.stakes(x.stake(t, by))
	}
	out = c.stakes(c.o.Chunks()[:1])
	out[0].Epoch = x.m.chunks[out[0].Chunk].epoch
	if rapid.IntRange(0, 4).Draw(t, "epoch") == 0 {
		out[0].Epoch = rapid.Uint32Range(0, 2).Draw(t, "at")
	}
	return out
}

func (x *machine) signed(purpose string, body any) []byte {
	x.t.Helper()
	b, err := wire.Marshal(body)
	if err != nil {
		x.t.Fatal(err)
	}
	x.counts["forged"]++
	return wire.Sign(x.w.owners[broken].sign, purpose, b)
}

func (x *machine) forgeAcceptance(a vault.Agreement, role int) vault.SignedAcceptance {
	x.t.Helper()
	h, err := a.Hash()
	if err != nil {
		x.t.Fatal(err)
	}
	s := vault.SignedAcceptance{Body: vault.Acceptance{Agreement: h, Role: uint32(role)}}
	_, _ = x.w.rnd.Read(s.Body.Nonce[:])
	s.Sig = x.signed("latchkey/accept/v1", s.Body)
	return s
}

// anyChunk draws one of all chunks, mostly of the broken one's.
func (x *machine) anyChunk(t *rapid.T) vault.ChunkEpoch {
	var all, mine []wire.ChunkID
	for _, id := range slices.SortedFunc(maps.Keys(x.m.chunks), func(a, b wire.ChunkID) int { return bytes.Compare(a[:], b[:]) }) {
		all = append(all, id)
		if x.m.chunks[id].owner == x.w.owners[broken].id {
			mine = append(mine, id)
		}
	}
	if len(mine) > 0 && rapid.IntRange(0, 2).Draw(t, "mine") > 0 {
		all = mine
	}
	id := rapid.SampledFrom(all).Draw(t, "chunk")
	ce := vault.ChunkEpoch{Chunk: id, Epoch: x.m.chunks[id].epoch}
	if rapid.IntRange(0, 3).Draw(t, "epoch") == 0 {
		ce.Epoch = rapid.Uint32Range(0, 2).Draw(t, "at")
	}
	return ce
}

func (x *machine) forgeOrder(t *rapid.T) {
	list := []vault.ChunkEpoch{x.anyChunk(t)}
	if rapid.IntRange(0, 3).Draw(t, "two") == 0 {
		list = append(list, x.anyChunk(t))
	}
	if rapid.Bool().Draw(t, "claim") {
		o := vault.ClaimOrder{Escrow: x.w.keys.id, Chunks: list}
		_, _ = x.ask(broken, vault.Request{Claim: &vault.ClaimAsk{Order: o, Sig: x.signed("latchkey/claim/v1", o)}})
		return
	}
	o := vault.SweptOrder{Escrow: x.w.keys.id, Chunks: list}
	_, _ = x.ask(broken, vault.Request{Swept: &vault.SweptAsk{Order: o, Sig: x.signed("latchkey/swept/v1", o)}})
}

// anyInstance draws one of all instances, the zero id if there is none.
func (x *machine) anyInstance(t *rapid.T) (id wire.InstanceID) {
	ids := slices.SortedFunc(maps.Keys(x.m.instances), func(a, b wire.InstanceID) int { return bytes.Compare(a[:], b[:]) })
	if len(ids) > 0 {
		id = rapid.SampledFrom(ids).Draw(t, "instance")
	}
	return id
}

func (x *machine) forgeWord(t *rapid.T) {
	w := vault.Word{
		Instance: x.anyInstance(t), Role: rapid.Uint32Range(0, 2).Draw(t, "role"), Seq: rapid.Uint64Range(0, 3).Draw(t, "number"),
		Word: rapid.SampledFrom([]string{"release", "refund", "alive"}).Draw(t, "word"),
	}
	_, _ = x.ask(broken, vault.Request{Word: &vault.SignedWord{Body: w, Sig: x.signed("latchkey/word/v1", w)}})
}

// fund has an owner deposit what it has into a pot of its own that is filled later.
func (x *machine) fund(t *rapid.T) {
	by := rapid.IntRange(0, broken-1).Draw(t, "owner")
	for _, in := range x.w.owners[by].o.Instances() {
		if in.Contract != "Later" || in.Role != 1 || !in.Opened || in.Closed {
			continue
		}
		chunks := x.stake(t, by)
		if model := x.m.instances[in.ID]; model != nil && rapid.IntRange(0, 3).Draw(t, "fit") > 0 {
			chunks = x.fitting(t, by, model.missing)
		}
		wait := rapid.SampledFrom([]int64{60, 600, 5, 90_000}).Draw(t, "wait")
		if x.owner(by, func(c *client) ([]vault.Row, error) { return c.o.Deposit(in.ID, 1, chunks, x.w.now+wait) }) == nil {
			x.counts["deposit ordered"]++
		}
	}
}

// open has two owners lock and open a contract whose second pot is filled later, with
// a chunk like the one that the second has.
func (x *machine) open(buyer, seller int) {
	x.t.Helper()
	l, r := x.w.owners[buyer], x.w.owners[seller]
	pay, goods := l.stakes(l.o.Chunks()[:1]), r.stakes(r.o.Chunks()[:1])
	cert, _ := r.o.Certificate(goods[0].Chunk)
	a := vault.Agreement{
		Source: []byte(later), Terms: []int64{int64(pay[0].Weight), int64(goods[0].Weight), 3600}, Parties: []vault.Recipients{{l.id}, {r.id}},
		Pots: [][]vault.Stake{pay, {{Weight: goods[0].Weight}}}, Later: []coin.Denomination{cert.Denomination},
		Escrow: x.w.keys.id, LockBy: x.w.now + 60, Settle: vault.Atomic,
	}
	q := x.w.accept(a)
	x.locks = append(x.locks, q)
	if _, err := x.ask(buyer, vault.Request{Lock: &q}); err != nil {
		x.t.Fatal(err)
	}
	x.rest()
}

// fitting returns free chunks of an owner with weights that a pot misses, at most as
// many as there are.
func (x *machine) fitting(t *rapid.T, by int, missing []uint32) (out []wire.ChunkID) {
	c := x.w.owners[by]
	for _, weight := range missing[:rapid.IntRange(0, len(missing)).Draw(t, "n")] {
		for _, id := range c.o.Chunks() {
			k, _ := c.o.Chunk(id)
			if k.Weight == weight && c.o.Holds(id) && k.Instance == (wire.InstanceID{}) && !k.Claim && c.o.Pledged(id) == (wire.Hash{}) && !slices.Contains(out, id) {
				out = append(out, id)
				break
			}
		}
	}
	return out
}

// find has an owner's host find the coins of all deposits that it is asked about.
func (x *machine) find(t *rapid.T) {
	by := rapid.IntRange(0, broken-1).Draw(t, "owner")
	for _, in := range x.w.owners[by].o.Instances() {
		for _, d := range in.Deposits {
			if d.Asked {
				_ = x.owner(by, func(c *client) ([]vault.Row, error) { return c.o.Funded(in.ID, d.Entry) })
			}
		}
	}
}

// forgeDeposit orders a deposit of any chunk, and acknowledges any.
func (x *machine) forgeDeposit(t *rapid.T) {
	id, c := x.anyInstance(t), x.w.owners[broken]
	x.counts["forged"]++
	o := vault.DepositOrder{Instance: id, Pot: 1, By: x.w.now + 600}
	var papers vault.Papers
	for _, other := range x.w.owners {
		for _, chunk := range other.o.Chunks() {
			k, _ := other.o.Chunk(chunk)
			p, err := other.o.Paper(chunk)
			if err == nil && len(o.Chunks) == 0 && rapid.IntRange(0, 3).Draw(t, "this") == 0 {
				o.Chunks = []vault.ChunkEpoch{{Chunk: chunk, Epoch: k.Epoch}}
				papers = vault.Papers{Certs: []vault.Made{{Cert: p.Cert, Owner: p.Owner}}, Chunks: []key.Chunk{p.Chunk}}
			}
		}
	}
	b, err := wire.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = x.ask(broken, vault.Request{Deposit: &vault.DepositAsk{Order: o, Sig: wire.Sign(c.sign, "latchkey/deposit/v1", b), Papers: papers}})
	entry := vault.Index(rapid.IntRange(1, len(x.w.entries)).Draw(t, "entry"))
	if b, err = wire.Marshal(vault.DepositAck{Instance: id, Deposit: entry}); err != nil {
		t.Fatal(err)
	}
	_, _ = x.ask(broken, vault.Request{Ack: &vault.AckAsk{Instance: id, Deposit: entry, Sig: wire.Sign(c.sign, "latchkey/deposit-ack/v1", b)}})
}

func (x *machine) forgeAck(t *rapid.T) {
	id := x.anyInstance(t)
	x.counts["forged"]++
	_, _ = x.ask(broken, vault.Request{Ack: &vault.AckAsk{Instance: id, Sig: wire.Sign(x.w.owners[broken].sign, "latchkey/ack/v1", id[:])}})
}
