package sim

import (
	"errors"

	"latchkey/head"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/wire"
)

// A broken client has its TEE's secrets: it signs what it likes and says what it
// likes, in its own name. What follows are the raw words that it needs; package
// vault has no functions for them, because no vault ever says such things.

// sign signs an order or statement with the client's identity key.
func (c *Client) sign(purpose string, v any) []byte {
	b, err := wire.Marshal(v)
	if err != nil {
		c.w.fail("%s: %w", c.Name, err)
	}
	return wire.Sign(c.Member.Sign, purpose, b)
}

// claimAsk orders the escrow's shares, in the name of the client.
func (c *Client) claimAsk(list ...vault.ChunkEpoch) vault.Request {
	o := vault.ClaimOrder{Escrow: c.w.cast.Escrow.ID, Chunks: list}
	return vault.Request{Claim: &vault.ClaimAsk{Order: o, Sig: c.sign("latchkey/claim/v1", o)}}
}

// sweptAsk asks for shares to be erased.
func (c *Client) sweptAsk(list ...vault.ChunkEpoch) vault.Request {
	o := vault.SweptOrder{Escrow: c.w.cast.Escrow.ID, Chunks: list}
	return vault.Request{Swept: &vault.SweptAsk{Order: o, Sig: c.sign("latchkey/swept/v1", o)}}
}

// ackAsk says that the client has all that was handed to it.
func (c *Client) ackAsk(in wire.InstanceID) vault.Request {
	return vault.Request{Ack: &vault.AckAsk{Instance: in, Sig: wire.Sign(c.Member.Sign, "latchkey/ack/v1", in[:])}}
}

// wordOf says a word in the name of a role, under the client's signature.
func (c *Client) wordOf(in wire.InstanceID, role uint32, seq uint64, word string, value int64, has bool) vault.Request {
	b := vault.Word{Instance: in, Role: role, Seq: seq, Word: word, Value: value, HasValue: has}
	return vault.Request{Word: &vault.SignedWord{Body: b, Sig: c.sign("latchkey/word/v1", b)}}
}

// acceptance accepts an agreement in a role, under the client's signature.
func (c *Client) acceptance(a vault.Agreement, role uint32) vault.SignedAcceptance {
	h, err := a.Hash()
	if err != nil {
		c.w.fail("%s: %w", c.Name, err)
	}
	b := vault.Acceptance{Agreement: h, Role: role}
	_, _ = c.w.rnd.Read(b.Nonce[:])
	return vault.SignedAcceptance{Body: b, Sig: c.sign("latchkey/accept/v1", b)}
}

// ask says something to the escrow that the client takes for it, at once.
func (c *Client) ask(q vault.Request) error {
	raw, err := wire.Marshal(q)
	if err != nil {
		return err
	}
	err = c.peer.Receive(c, raw)
	c.w.say("%s → %s: %s, of its own making%s", c.Name, c.peer.Name, kindOf(q), reason(err))
	c.peer.release()
	return err
}

// at names a chunk as the ledger has it, some epochs earlier.
func (f *Fate) at(back uint32) vault.ChunkEpoch {
	return vault.ChunkEpoch{Chunk: f.ID, Epoch: f.Epoch - min(back, f.Epoch)}
}

// attack lets a client whose TEE is broken try something on the escrow. Whatever
// comes of it, no invariant may break.
func (w *World) attack(c *Client, arg int) {
	if !c.peer.Up() || len(w.ledger.order) == 0 {
		return
	}
	f := w.ledger.chunks[w.ledger.order[arg/16%len(w.ledger.order)]]
	var in *Course
	if n := len(w.ledger.courses); n > 0 {
		in = w.ledger.courses[arg/16%n]
	}
	switch arg % 16 {
	case 0:
		_ = c.ask(c.claimAsk(f.at(0)))
	case 1:
		_ = c.ask(c.claimAsk(f.at(1)))
	case 2:
		_ = c.ask(c.sweptAsk(f.at(0)))
	case 3: // its own chunk, while it is locked
		for _, id := range w.ledger.order {
			if x := w.ledger.chunks[id]; x.Owner == c.ID && x.Instance != (wire.InstanceID{}) {
				_ = c.ask(c.claimAsk(x.at(0)))
			}
		}
	case 4: // an order that another vault signed
		other := w.clients[arg/16%len(w.clients)]
		q := other.claimAsk(f.at(0))
		_ = c.ask(q)
	case 5: // a deal that was made before
		if len(w.deals) > 0 {
			p := w.deals[arg/16%len(w.deals)]
			_ = c.ask(vault.Request{Lock: &vault.LockAsk{Agreement: p.a, Acceptances: p.all}})
		}
	case 6: // a deal that one party did not accept
		if a, ok := w.forgery(c, f); ok {
			all := []vault.SignedAcceptance{c.acceptance(a, 0), c.acceptance(a, 1)}
			_ = c.ask(vault.Request{Lock: &vault.LockAsk{Agreement: a, Acceptances: all}})
		}
	case 7: // the words of another party
		if in != nil {
			_ = c.ask(c.wordOf(in.ID, uint32(arg/16%3), uint64(1+arg/64%3), []string{"release", "refund", "award"}[arg/256%3], 100, arg/256%3 == 2))
		}
	case 8: // its own, twice and out of order
		if in != nil {
			for role, v := range in.Parties {
				if v == c.ID {
					_ = c.ask(c.wordOf(in.ID, uint32(role), 2, "dispute", 0, false))
					_ = c.ask(c.wordOf(in.ID, uint32(role), 1, "release", 0, false))
					_ = c.ask(c.wordOf(in.ID, uint32(role), 2, "refund", 0, false))
				}
			}
		}
	case 9: // shares that are none
		if in != nil && !in.Opened && !in.Ended {
			_ = c.ask(c.garbage(in))
		}
	case 10: // it has no shares yet
		if in != nil {
			_ = c.ask(c.ackAsk(in.ID))
		}
	case 11: // the mail of others, and steps that are none
		_ = c.ask(vault.Request{Fetch: &vault.Fetch{Step: vault.Index(arg / 16)}})
		if in != nil {
			_ = c.ask(vault.Request{Fetch: &vault.Fetch{Instance: in.ID}})
		}
	case 12:
		_ = c.ask(vault.Request{Stored: &vault.StoredAsk{Step: vault.Index(arg / 16)}})
	case 13:
		_ = c.ask(c.rogue())
	case 14: // bytes
		raw, err := wire.Marshal(c.claimAsk(f.at(0)))
		if err != nil {
			w.fail("%w", err)
			return
		}
		raw[arg*7919%len(raw)] ^= 1 << (arg % 8)
		if err := c.peer.Receive(c, raw[:len(raw)-arg/64%2]); err == nil {
			w.fail("%s: a damaged claim was taken", c.Name)
		}
		c.peer.release()
	case 15: // chunks of its own, in two deals at once
		if ids := sameCoin(c, 1); len(ids) > 0 {
			for i := range w.clients {
				other := w.clients[i]
				theirs := sameCoin(other, 1)
				if other == c || len(theirs) == 0 {
					continue
				}
				w.doubleStake(c, ids[:1], other, theirs[:1])
			}
		}
	}
}

// forgery writes an agreement that gives a chunk of somebody else to c.
func (w *World) forgery(c *Client, f *Fate) (vault.Agreement, bool) {
	if f.Owner == c.ID {
		return vault.Agreement{}, false
	}
	return vault.Agreement{
		Source: []byte(paySource), Terms: []int64{int64(f.Cert.Weight)}, Parties: []vault.Recipients{{f.Owner}, {c.ID}},
		Pots:   [][]vault.Stake{{{Chunk: f.ID, Epoch: f.Epoch, Weight: f.Cert.Weight}}},
		Escrow: w.cast.Escrow.ID, LockBy: w.now + 60, Settle: vault.Atomic,
	}, true
}

// doubleStake makes a deal that c accepts past its vault, and proposes it to an
// honest party.
func (w *World) doubleStake(c *Client, mine []wire.ChunkID, other *Client, theirs []wire.ChunkID) {
	a, err := w.Agreement(Stakes{Contract: Swap, Parties: []*Client{c, other}, Pots: [][]wire.ChunkID{mine, theirs}, LockIn: 60})
	if err != nil {
		return
	}
	a.Terms = []int64{weigh(a.Pots[0]), weigh(a.Pots[1])}
	s, err := other.Accept(a)
	if err != nil {
		w.say("%s refuses: %v", other.Name, err)
		return
	}
	_ = c.ask(vault.Request{Lock: &vault.LockAsk{Agreement: a, Acceptances: []vault.SignedAcceptance{c.acceptance(a, 0), s}}})
}

// garbage hands over shares that are sealed well and are not the right ones.
func (c *Client) garbage(in *Course) vault.Request {
	q := &vault.HandAsk{Instance: in.ID}
	s := c.w.sealer(c.Member, c.boot)
	for to, v := range in.Parties {
		m := vault.Mail{To: v, From: c.ID}
		for pot, stakes := range in.Agreement.Pots {
			if in.outcome.from(pot) == to || in.Parties[in.outcome.from(pot)] != c.ID || !in.outcome.mayReceive(pot, to) {
				continue
			}
			for _, x := range stakes {
				if x.Chunk == (wire.ChunkID{}) {
					continue // it comes later
				}
				wrong, err := key.NewShare(c.w.points[x.Chunk].Type(), c.w.rnd)
				if err != nil {
					c.w.fail("%w", err)
					return vault.Request{Hand: q}
				}
				ce := vault.ChunkEpoch{Chunk: x.Chunk, Epoch: x.Epoch}
				var text []byte
				if m.Enc, text, err = s.Seal(c.w.cast.member(v).Identity, shareLabel(in.ID, ce), wrong); err != nil {
					c.w.fail("%w", err)
				}
				m.Items = append(m.Items, vault.Sealed{Chunk: x.Chunk, Epoch: x.Epoch, Text: text})
			}
		}
		if len(m.Items) > 0 {
			q.Mail = append(q.Mail, m)
		}
	}
	return vault.Request{Hand: q}
}

// shareLabel is the label of a share that is handed over, from spec/vault.md.
func shareLabel(in wire.InstanceID, c vault.ChunkEpoch) []byte {
	b := append([]byte("latchkey/a/v1\x00"), in[:]...)
	b = append(b, c.Chunk[:]...)
	return append(b, byte(c.Epoch>>24), byte(c.Epoch>>16), byte(c.Epoch>>8), byte(c.Epoch))
}

// rogue opens the escrow's newest batch of this client with points that it does
// not know the scalars of.
func (c *Client) rogue() vault.Request {
	if c.m == nil || len(c.m.Batches()) == 0 {
		return vault.Request{Open: &vault.OpenBatch{Batch: wire.Hash{1}}}
	}
	q := &vault.OpenBatch{Batch: c.m.Batches()[0]}
	for _, id := range c.w.ledger.order {
		q.Half.Points = append(q.Half.Points, c.w.ledger.chunks[id].P)
		break
	}
	return vault.Request{Open: q}
}

var errBelieved = errors.New("a vault believed a lie")

// lie lets a client's host tell its own vault something that is not so, or not
// so any more. The vault says no, or nothing changes.
func (w *World) lie(c *Client, arg int) {
	h := w.hosts[arg/8%len(w.hosts)]
	if c.m == nil || h.Disk.size() == 0 || c.m.Size() == 0 {
		return
	}
	before := c.digest
	same := func(err error) {
		if errors.Is(err, errCrashed) {
			return
		}
		if c.m != nil && c.digest != before && err == nil {
			w.fail("%w: %s, lie %d", errBelieved, c.Name, arg%8)
		}
	}
	size := c.m.Size()
	p := int64(arg/64) % size
	switch arg % 8 {
	case 0: // a head that its escrow signed and no witness
		signed, err := head.SignCheckpoint(head.Checkpoint{Origin: origin, Size: size + 5, Root: head.LeafHash([]byte("lie"))}, w.cast.Escrow.Sign)
		if err != nil {
			w.fail("%w", err)
			return
		}
		same(c.do("lie", func(o *vault.Owner) ([]vault.Row, error) { return o.Advance(signed, nil) }))
	case 1: // a head that it has seen
		if h.note != nil && h.noted < size {
			same(c.do("lie", func(o *vault.Owner) ([]vault.Row, error) { return o.Advance(h.note, nil) }))
		}
	case 2: // an entry that is another's
		if p < h.Disk.size() && size <= h.Disk.size() && size > 1 {
			same(c.do("lie", func(o *vault.Owner) ([]vault.Row, error) {
				return o.Observe(vault.Logged{Position: p, Entry: h.Disk.entries[(p+1)%size], Proof: h.Disk.inclusion(p, size)})
			}))
		}
	case 3: // an entry that it has seen
		if c.peer.noted >= size && c.cursor[c.peer] > 0 && c.peer.Disk.size() >= size {
			all, _ := c.peer.feed.From(c.ID, 0, c.cursor[c.peer])
			at := all[int(p)%len(all)]
			if at < size && c.follows(at) {
				same(c.do("lie", func(o *vault.Owner) ([]vault.Row, error) {
					return o.Observe(vault.Logged{Position: at, Entry: c.peer.Disk.entries[at], Proof: c.peer.Disk.inclusion(at, size)})
				}))
			}
		}
	case 4: // an entry of its own making: the chunk is mine
		e := vault.Entry{At: w.now, Run: &vault.Run{Kind: vault.RunOpen, Closed: true}}
		raw, err := wire.Marshal(e)
		if err != nil {
			w.fail("%w", err)
			return
		}
		same(c.do("lie", func(o *vault.Owner) ([]vault.Row, error) {
			return o.Observe(vault.Logged{Position: p, Entry: raw, Proof: h.Disk.inclusion(min(p, h.Disk.size()-1), h.Disk.size())})
		}))
	case 5: // a deal over chunks that it does not have, or has pledged
		if len(w.deals) > 0 {
			d := w.deals[arg/64%len(w.deals)]
			a := d.a
			a.LockBy = c.m.Now() + 30
			if q, err := c.Proposal(a); err == nil && d.locked(w) {
				err := c.do("lie", func(o *vault.Owner) ([]vault.Row, error) {
					_, rows, err := o.Accept(q, w.rnd)
					return rows, err
				})
				if err == nil && c.staked(a) {
					w.fail("%w: %s accepts a deal over chunks of an old epoch", errBelieved, c.Name)
				}
			}
		}
	case 6: // an answer to something else
		if len(c.heard) > 1 {
			x, y := c.heard[arg/64%len(c.heard)], c.heard[arg/512%len(c.heard)]
			x.raw = y.raw
			if x.what != y.what && x.what != "stored" && len(c.m.Instances()) == 0 {
				c.hear(x)
			}
		}
	case 7: // it is swept, says the host
		for _, id := range c.m.Chunks() {
			x, _ := c.m.Chunk(id)
			if len(x.Whole) == 0 && !x.Swept {
				err := c.do("lie", func(o *vault.Owner) ([]vault.Row, error) { return o.Swept([]wire.ChunkID{id}) })
				same(err)
				return
			}
		}
	}
}

// follows reports whether an entry is only about chunks and instances that the
// vault still follows: what it forgot, it may learn again.
func (c *Client) follows(at int64) bool {
	e, err := c.w.parse(c.peer.Disk.entries[at])
	if err != nil {
		return false
	}
	if e.Clock != nil {
		return true
	}
	chunks, _ := e.Touches()
	for _, id := range chunks {
		if x, ok := c.m.Chunk(id); ok && x.Last == 0 {
			return false
		}
	}
	return true
}

// staked reports whether an agreement stakes chunks of this client.
func (c *Client) staked(a vault.Agreement) bool {
	for i, pot := range a.Pots {
		o, err := outcomeOf(a)
		if err == nil && len(pot) > 0 && pot[0].Chunk != (wire.ChunkID{}) && a.Parties[o.from(i)][0] == c.ID {
			return true
		}
	}
	return false
}
