package sim

import (
	"fmt"

	"latchkey/coin"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/wire"
)

// orderSource has a pot that is filled later, in one part or several.
const orderSource = `# The goods are held until the buyer pays; the price comes later, in one part or several.
contract Order
parties buyer, seller
term goods : units 1..1_000_000
term price : units 1..1_000_000
term pay_by : time
pot lot = goods units from seller
later pot money = price units from buyer
phase Open until pay_by
  when deposit money:
    give all of money to seller
    give all of lot to buyer
    close
  when seller says "hurry": next Hurry
  at deadline: close
phase Hurry until pay_by + 1 hours
  when deposit money:
    give all of money to seller
    give all of lot to buyer
    close
  at deadline: close
`

// ordering is Order, written by hand from its meaning: buyer 0, seller 1; pots lot 0
// and money 1.
type ordering struct {
	pots
	payBy int64
	phase uint32
}

func (*ordering) from(pot int) int               { return 1 - pot }
func (*ordering) mayReceive(pot, party int) bool { return pot == party }
func (*ordering) open() ([]payout, bool)         { return nil, false }

func (x *ordering) ends() int64 { return x.payBy + 3600*int64(x.phase) }

func (x *ordering) word(party int, word string, _, at int64) ([]payout, bool, error) {
	if party != 1 || word != "hurry" || x.phase != 0 || at >= x.payBy {
		return nil, false, errOutcome
	}
	x.phase = 1
	return nil, false, nil
}

func (x *ordering) deadline(now int64) ([]payout, bool, error) {
	if now < x.ends() {
		return nil, false, errOutcome
	}
	return nil, true, nil
}

// deposited says what the contract does when more of its money is there.
func (x *ordering) deposited() ([]payout, bool) {
	if x.missing(1) > 0 {
		return nil, false
	}
	return []payout{{1, 1, all}, {0, 0, all}}, true
}

// A pending is a deposit that waits.
type pending struct {
	order  vault.DepositOrder
	entry  vault.Index
	handed bool
	acked  []bool
}

// deposit folds an order that was logged: it must be its owner's, fit what was
// agreed, and come in time.
func (l *Ledger) deposit(e vault.Entry, at vault.Index) error {
	d := e.Deposit
	c := l.instances[d.Order.Instance]
	if c == nil || !c.Opened || c.Closed || c.Last != d.Prev {
		return rule("a deposit into instance %s, which is not open, or out of turn", d.Order.Instance.Short())
	}
	c.Last = at
	x, ok := c.outcome.(*ordering)
	if !ok || d.Order.Pot != 1 || len(d.Order.Chunks) == 0 || len(d.Order.Chunks) > x.missing(1) || len(d.Chunks) != len(d.Order.Chunks) {
		return rule("instance %s: a deposit of %d chunks into pot %d", c.ID.Short(), len(d.Order.Chunks), d.Order.Pot)
	}
	if d.Order.Phase != x.phase || d.Order.By <= e.At || d.Order.By >= x.ends() {
		return rule("instance %s: a deposit for phase %d waits until %d, it is %d in phase %d until %d", c.ID.Short(), d.Order.Phase, d.Order.By, e.At, x.phase, x.ends())
	}
	if len(c.waiting) > 0 {
		return rule("instance %s: two deposits wait", c.ID.Short())
	}
	body, err := wire.Marshal(d.Order)
	if err != nil {
		return rule("%w", err)
	}
	if l.cast.member(c.Parties[0]).Identity.Verify("latchkey/deposit/v1", body, d.Sig) != nil {
		return rule("instance %s: the buyer did not order the deposit", c.ID.Short())
	}
	next := x.next(1)
	for i, ce := range d.Order.Chunks {
		f := l.chunks[ce.Chunk]
		switch {
		case f == nil || f.Owner != c.Parties[0]:
			return rule("chunk %s is deposited by another than its owner", ce.Chunk.Short())
		case f.Instance != (wire.InstanceID{}):
			return rule("chunk %s has a second lock", ce.Chunk.Short())
		case f.Epoch != ce.Epoch:
			return rule("chunk %s is deposited at epoch %d by an order of epoch %d", ce.Chunk.Short(), f.Epoch, ce.Epoch)
		case f.Claimed || f.Swept:
			return rule("chunk %s is deposited after its claim", ce.Chunk.Short())
		case f.Cert.Weight != next[i].Weight:
			return rule("chunk %s weighs %d, the agreement says %d", ce.Chunk.Short(), f.Cert.Weight, next[i].Weight)
		case f.Cert.Denomination != c.Agreement.Later[0]:
			return rule("chunk %s is of %s, the agreement says %s", ce.Chunk.Short(), f.Cert.Denomination.ID, c.Agreement.Later[0].ID)
		case f.Cert.Expiry <= x.payBy+3600:
			return rule("chunk %s is deposited beyond its expiry", ce.Chunk.Short())
		case d.Chunks[i] != f.At:
			return rule("chunk %s: the entry before is %d, not %d", ce.Chunk.Short(), f.At, d.Chunks[i])
		}
		if _, twice := c.given[ce.Chunk]; twice {
			return rule("chunk %s is deposited into the instance that gave it", ce.Chunk.Short())
		}
		f.set(at, func(m *Moment) { m.Instance = c.ID })
	}
	c.waiting = append(c.waiting, &pending{order: d.Order, entry: at, acked: make([]bool, len(c.Parties))})
	return nil
}

// shares folds a hand or an acknowledgement of a deposit.
func (l *Ledger) shares(id wire.InstanceID, role uint32, prev, entry, at vault.Index, sig []byte) error {
	c := l.instances[id]
	if c == nil || !c.Opened || c.Closed || int(role) >= len(c.Parties) || c.Last != prev {
		return rule("instance %s: shares of a deposit, and it is not open, or out of turn", id.Short())
	}
	c.Last = at
	for _, p := range c.waiting {
		if p.entry != entry {
			continue
		}
		if sig == nil {
			p.handed = true
			return nil
		}
		body, err := wire.Marshal(vault.DepositAck{Instance: id, Deposit: entry})
		if err != nil {
			return rule("%w", err)
		}
		if l.cast.member(c.Parties[role]).Identity.Verify("latchkey/deposit-ack/v1", body, sig) != nil {
			return rule("instance %s: party %d did not acknowledge the deposit", c.ID.Short(), role)
		}
		p.acked[role] = true
		return nil
	}
	return rule("instance %s: shares of a deposit that does not wait", id.Short())
}

// counts folds the step by which a deposit counts.
func (l *Ledger) counts(c *Course, e vault.Entry) ([]payout, bool, error) {
	x, ok := c.outcome.(*ordering)
	if !ok || len(c.waiting) == 0 || c.waiting[0].entry != e.Run.Deposit {
		return nil, false, rule("instance %s takes a deposit that does not wait", c.ID.Short())
	}
	p := c.waiting[0]
	if !p.acked[1] {
		return nil, false, rule("instance %s takes a deposit before the seller has its shares", c.ID.Short())
	}
	if e.Run.EventAt != e.At || e.At > p.order.By {
		return nil, false, rule("instance %s takes a deposit at %d that waited until %d", c.ID.Short(), e.At, p.order.By)
	}
	c.waiting = nil
	x.put(1, p.order.Chunks)
	want, over := x.deposited()
	return want, over, nil
}

// over names the deposits that go back with a step, and to whom.
func (c *Course) over(r *vault.Run, closed bool) map[wire.ChunkID]wire.VaultID {
	back := map[wire.ChunkID]wire.VaultID{}
	x, ok := c.outcome.(*ordering)
	if !ok || len(c.waiting) == 0 {
		return back
	}
	p := c.waiting[0]
	if closed || p.order.Phase != x.phase || r.Kind == vault.RunReturn && p.order.By <= r.EventAt {
		for _, ce := range p.order.Chunks {
			back[ce.Chunk] = c.Parties[0]
		}
		c.waiting = nil
	}
	return back
}

// orderOf writes down an order of goods for what a buyer will pay later, in chunks
// like those that it has.
func (w *World) orderOf(buyer, seller *Client, lot, like []wire.ChunkID, lockIn int64) (vault.Agreement, error) {
	a, err := w.Agreement(Stakes{Contract: Ordering, Parties: []*Client{buyer, seller}, Pots: [][]wire.ChunkID{lot}, LockIn: lockIn})
	if err != nil {
		return a, err
	}
	var money []vault.Stake
	for _, id := range like {
		cert, ok := buyer.m.Certificate(id)
		if !ok {
			return a, fmt.Errorf("%w: %s does not know chunk %s", errDeal, buyer.Name, id.Short())
		}
		money = append(money, vault.Stake{Weight: cert.Weight})
		a.Later = []coin.Denomination{cert.Denomination}
	}
	a.Pots = append(a.Pots, money)
	a.Terms = []int64{weigh(a.Pots[0]), weigh(a.Pots[1]), w.now + 1800}
	return a, nil
}

// order proposes an order of goods out of what its parties have free.
func (w *World) order(who, arg int) {
	n := len(w.clients)
	buyer, seller := w.clients[who%n], w.clients[(who+1+arg%(n-1))%n]
	lot, like := sameCoin(seller, 1), sameCoin(buyer, 1+arg/8%2)
	if len(lot) == 0 || len(like) == 0 || buyer.m == nil {
		return
	}
	a, err := w.orderOf(buyer, seller, lot, like, []int64{5, 60, 600}[arg/16%3])
	if err == nil {
		_, err = w.accept(a)
	}
	w.say("an order of %s from %s: %v", buyer.Name, seller.Name, err)
}

// fund has a client deposit what fits into a pot of its own that misses chunks, all
// that is missing or one chunk of it.
func (c *Client) fund(arg int) {
	if c.m == nil {
		return
	}
	for _, in := range c.m.Instances() {
		course := c.w.ledger.instances[in.ID]
		if course == nil || !in.Opened || in.Closed || in.Role != 0 {
			continue
		}
		x, ok := course.outcome.(*ordering)
		if !ok {
			continue
		}
		var chunks []wire.ChunkID
		for _, s := range x.next(1) {
			for _, id := range c.Owned() {
				if f := c.w.ledger.chunks[id]; f != nil && f.Cert.Weight == s.Weight && f.Cert.Denomination == course.Agreement.Later[0] && !has(chunks, id) {
					chunks = append(chunks, id)
					break
				}
			}
			if len(chunks) > 0 && arg%2 == 1 {
				break
			}
		}
		if len(chunks) > 0 {
			_ = c.putIn(in.ID, []int64{5, 60, 600}[arg/2%3], chunks...)
		}
		return
	}
}

func has(list []wire.ChunkID, id wire.ChunkID) bool {
	for _, x := range list {
		if x == id {
			return true
		}
	}
	return false
}

// putIn orders a deposit that waits some seconds.
func (c *Client) putIn(in wire.InstanceID, wait int64, chunks ...wire.ChunkID) error {
	return c.do("deposit", func(o *vault.Owner) ([]vault.Row, error) { return o.Deposit(in, 1, chunks, c.w.now+wait) })
}

// find has the client's host look, with its own wallet, at deposits that the client
// may receive, and has the vault acknowledge those that are funded.
func (c *Client) find() {
	for _, in := range c.m.Instances() {
		for _, d := range in.Deposits {
			if d.Asked && c.allFunded(d) {
				_ = c.do("funded", func(o *vault.Owner) ([]vault.Row, error) { return o.Funded(in.ID, d.Entry) })
			}
			if c.m == nil {
				return
			}
		}
	}
}

func (c *Client) allFunded(d vault.Filling) bool {
	for _, ce := range d.Order.Chunks {
		x, ok := c.m.Chunk(ce.Chunk)
		cert, known := c.m.Certificate(ce.Chunk)
		if !ok || !known {
			return false
		}
		want, err := cert.Denomination.Deposit(cert.Weight)
		if err != nil || c.funds(cert.Denomination, x.P.Bytes(), want) != nil {
			return false
		}
	}
	return true
}

// depositAsk orders a deposit in the client's name, past its vault, with the papers
// that are to be had.
func (c *Client) depositAsk(o vault.DepositOrder) vault.Request {
	q := &vault.DepositAsk{Order: o, Sig: c.sign("latchkey/deposit/v1", o)}
	seen := map[wire.CertID]bool{}
	for _, ce := range o.Chunks {
		for _, other := range c.w.clients {
			if other.m == nil {
				continue
			}
			p, err := other.m.Paper(ce.Chunk)
			if err != nil {
				continue
			}
			if !seen[p.Chunk.Cert] {
				q.Papers.Certs, seen[p.Chunk.Cert] = append(q.Papers.Certs, vault.Made{Cert: p.Cert, Owner: p.Owner}), true
			}
			q.Papers.Chunks = append(q.Papers.Chunks, key.Chunk{Cert: p.Chunk.Cert, Index: p.Chunk.Index, Key: p.Chunk.Key, Path: p.Chunk.Path})
			break
		}
	}
	return vault.Request{Deposit: q}
}

// forgeDeposit has a client whose TEE is broken order a deposit that its vault would
// not: of any chunk, into any instance. Whatever comes of it, no invariant may break.
func (w *World) forgeDeposit(c *Client, arg int) {
	if len(w.ledger.courses) == 0 || len(w.ledger.order) == 0 || !c.peer.Up() {
		return
	}
	in := w.ledger.courses[arg%len(w.ledger.courses)]
	f := w.ledger.chunks[w.ledger.order[arg/4%len(w.ledger.order)]]
	_ = c.ask(c.depositAsk(vault.DepositOrder{
		Instance: in.ID, Pot: uint32(arg / 64 % 3), Chunks: []vault.ChunkEpoch{f.at(uint32(arg / 16 % 2))}, Phase: uint32(arg / 32 % 2), By: w.now + []int64{5, 600, 7200}[arg%3],
	}))
	for _, p := range in.waiting { // it says that it has what it was handed
		a := vault.DepositAck{Instance: in.ID, Deposit: p.entry}
		_ = c.ask(vault.Request{Ack: &vault.AckAsk{Instance: in.ID, Deposit: p.entry, Sig: c.sign("latchkey/deposit-ack/v1", a)}})
	}
}
