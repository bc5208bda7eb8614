package vault

import (
	"errors"
	"fmt"
	"slices"

	"latchkey/wire"
)

// signedOrder is a deposit that this vault's party has signed.
type signedOrder struct {
	Order DepositOrder `cbor:"1,keyasint"`
	Sig   []byte       `cbor:"2,keyasint"`
}

func (o DepositOrder) names(id wire.ChunkID) bool {
	return slices.ContainsFunc(o.Chunks, func(ce ChunkEpoch) bool { return ce.Chunk == id })
}

// forget drops an order that needs not be said again.
func (in *running) forget(o DepositOrder) {
	in.Orders = slices.DeleteFunc(in.Orders, func(x signedOrder) bool { return x.Order.same(o) })
}

// machine returns the instance as its own replay has it.
func (in *running) machine(id wire.InstanceID) *instance {
	own := &instance{
		id: id, deal: in.Pledge.deal, state: in.state, open: in.Opened, closed: in.Closed, steps: int(in.Steps),
		given: map[wire.ChunkID]bool{}, late: in.Late,
	}
	for _, c := range in.Given {
		own.given[c] = true
	}
	return own
}

// awaited reports whether a chunk is in a deposit that this vault may receive of, and
// is followed for that.
func (o *Owner) awaited(id wire.ChunkID) bool {
	for _, in := range o.running {
		if in.awaits(id) {
			return true
		}
	}
	return false
}

func (t *tx) awaited(id wire.ChunkID) bool {
	for i, in := range t.o.running {
		if x := t.running[i]; x != nil {
			in = x
		}
		if in.awaits(id) {
			return true
		}
	}
	return false
}

func (in *running) awaits(id wire.ChunkID) bool {
	return !in.Closed && slices.ContainsFunc(in.Late, func(l late) bool { return l.Order.names(id) && !slices.Contains(in.Given, id) })
}

// Deposit prepares a deposit of free chunks of this vault into a later pot that it
// fills: the next ones of the weights agreed. It waits until by, Unix seconds, for
// those who may receive them. It is signed once, kept, and repeated until the log
// shows it or the escrow refuses it; till then the chunks serve nothing else.
func (o *Owner) Deposit(id wire.InstanceID, pot uint32, chunks []wire.ChunkID, by int64) ([]Row, error) {
	fail := func(err error) ([]Row, error) {
		return nil, fmt.Errorf("deposit into pot %d of instance %s: %w", pot, id.Short(), err)
	}
	t := o.begin()
	in := t.instance(id)
	if err := in.runs(); err != nil {
		return fail(err)
	}
	in.Orders = slices.DeleteFunc(in.Orders, func(x signedOrder) bool { return x.Order.By < o.head.Time })
	order := DepositOrder{Instance: id, Pot: pot, Phase: uint32(in.state.Phase()), By: by}
	for _, c := range chunks {
		if err := o.checkFree(c); err != nil {
			return fail(fmt.Errorf("chunk %s: %w", c.Short(), err))
		}
		order.Chunks = append(order.Chunks, ChunkEpoch{c, o.chunks[c].Epoch})
	}
	if err := in.machine(id).checkDeposit(order, o.head.Time); err != nil {
		return fail(err)
	}
	d := in.Pledge.deal
	if d.depositor(int(pot)) != int(in.Pledge.Mine.Body.Role) {
		return fail(errors.New("another party fills this pot"))
	}
	if slices.ContainsFunc(in.Orders, func(x signedOrder) bool { return x.Order.Pot == pot }) {
		return fail(fmt.Errorf("a deposit of it is on its way: %w", ErrNotReady))
	}
	q, err := o.askDeposit(signedOrder{Order: order})
	if err == nil {
		_, err = d.checkPapers(order, q.Papers, len(counted(in.Late, int(pot))), o.cfg.Escrow, o.head.Time)
	}
	if err != nil {
		return fail(err)
	}
	sig, err := o.sign(purposeDeposit, order)
	if err != nil {
		return fail(err)
	}
	in.Orders = append(in.Orders, signedOrder{order, sig})
	rows, err := t.commit()
	if err != nil {
		return fail(err)
	}
	return rows, nil
}

// askDeposit adds the papers of its chunks to an order.
func (o *Owner) askDeposit(x signedOrder) (*DepositAsk, error) {
	q := &DepositAsk{Order: x.Order, Sig: x.Sig}
	shown := map[wire.CertID]bool{}
	for _, ce := range x.Order.Chunks {
		p, err := o.Paper(ce.Chunk)
		if err != nil {
			return nil, err
		}
		if !shown[p.Chunk.Cert] {
			q.Papers.Certs, shown[p.Chunk.Cert] = append(q.Papers.Certs, Made{p.Cert, p.Owner}), true
		}
		q.Papers.Chunks = append(q.Papers.Chunks, p.Chunk)
	}
	return q, nil
}

// Funded says that this vault's host has found the coins of a deposit's chunks,
// which this party may receive. Only then does the vault acknowledge their shares.
func (o *Owner) Funded(id wire.InstanceID, entry Index) ([]Row, error) {
	fail := func(err error) ([]Row, error) {
		return nil, fmt.Errorf("deposit of entry %d in instance %s: %w", int64(entry)-1, id.Short(), err)
	}
	t := o.begin()
	in := t.instance(id)
	if in == nil {
		return fail(ErrUnknown)
	}
	l := lateAt(in.Late, entry)
	if l == nil || !in.Pledge.deal.receives(int(l.Order.Pot), int(in.Pledge.Mine.Body.Role)) {
		return fail(ErrUnknown)
	}
	if l.Funded {
		return nil, nil
	}
	l.Funded = true
	rows, err := t.commit()
	if err != nil {
		return fail(err)
	}
	return rows, nil
}

// pendingLate says what deposits into an open instance still need from this vault.
func (o *Owner) pendingLate(id wire.InstanceID, in *running) (out []Request, err error) {
	if in.Closed {
		return nil, nil
	}
	d, me := in.Pledge.deal, int(in.Pledge.Mine.Body.Role)
	for _, x := range in.Orders {
		if x.Order.By < o.head.Time {
			continue
		}
		q, err := o.askDeposit(x)
		if err != nil {
			return nil, err
		}
		out = append(out, Request{Deposit: q})
	}
	for _, l := range in.Late {
		pot := int(l.Order.Pot)
		locked, here := true, true // by this vault's own replay; and their shares
		for _, ce := range l.Order.Chunks {
			c := o.chunks[ce.Chunk]
			locked = locked && c != nil && c.Instance == id && c.Epoch == ce.Epoch
			here = here && c != nil && len(c.Share) > 0 && c.ShareAt == ce.Epoch
		}
		switch {
		case l.Taken || !locked:
		case d.depositor(pot) == me && !l.Handed && here:
			q := &HandAsk{Instance: id, Deposit: l.Entry}
			q.Mail, err = o.sealAll(id, in, func(to int) []ChunkEpoch {
				if !d.receives(pot, to) {
					return nil
				}
				return l.Order.Chunks
			})
			if err != nil {
				return nil, err
			}
			out = append(out, Request{Hand: q})
		case !d.receives(pot, me) || l.Acked[me] || !l.Funded || l.Order.By < o.head.Time:
		case here:
			sig, err := o.sign(purposeDepositAck, DepositAck{id, l.Entry})
			if err != nil {
				return nil, err
			}
			out = append(out, Request{Ack: &AckAsk{Instance: id, Sig: sig, Deposit: l.Entry}})
		case l.Handed:
			out = append(out, Request{Fetch: &Fetch{Instance: id, Step: l.Entry}})
		}
	}
	return out, nil
}

func deviates(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDeviate, err)
	}
	return nil
}

// deposit replays an order that the escrow has logged. Of its own instances a vault
// checks all of it; chunks that it may be given it follows from their birth on, and
// is shown this entry again after that.
func (t *tx) deposit(n Entry, at Index) error {
	q := n.Deposit
	id := q.Order.Instance
	if len(q.Chunks) != len(q.Order.Chunks) {
		return fmt.Errorf("%w: a deposit names the past of %d of %d chunks", ErrDeviate, len(q.Chunks), len(q.Order.Chunks))
	}
	in := t.instance(id)
	if in != nil {
		ok, err := follows("instance "+id.Short(), in.Prev, q.Prev, at)
		if err != nil {
			return err
		}
		if ok {
			if err := t.depositOwn(in, n, at); err != nil {
				return fmt.Errorf("%w: instance %s: %w", ErrDeviate, id.Short(), err)
			}
		}
	}
	for i, ce := range q.Order.Chunks {
		c := t.chunk(ce.Chunk)
		if c == nil || !t.o.concerned(c) {
			continue
		}
		ok, err := follows("chunk "+ce.Chunk.Short(), c.Last, q.Chunks[i], at)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if c.Owner == t.o.self {
			if err := q.Order.verify(t.o.cfg.Identity, q.Sig); err != nil {
				return fmt.Errorf("%w: chunk %s is deposited without this vault's order: %w", ErrDeviate, ce.Chunk.Short(), err)
			}
		}
		if in != nil && int64(q.Order.Pot) >= int64(len(in.Pledge.Agreement.Pots)) {
			return fmt.Errorf("%w: a deposit into pot %d of instance %s", ErrDeviate, q.Order.Pot, id.Short())
		}
		if in != nil && c.Owner != in.Pledge.deal.parties[in.Pledge.deal.depositor(int(q.Order.Pot))] {
			return fmt.Errorf("%w: chunk %s is deposited by a party that does not own it", ErrDeviate, ce.Chunk.Short())
		}
		if c.Epoch != ce.Epoch || c.Instance != (wire.InstanceID{}) || c.Claimed {
			return fmt.Errorf("%w: chunk %s is deposited at epoch %d, in instance %s, claimed %t", ErrDeviate, ce.Chunk.Short(), c.Epoch, c.Instance.Short(), c.Claimed)
		}
		c.Last, c.Instance = at, id
	}
	return nil
}

// depositOwn replays an order that fills a later pot of an instance of this vault: it was
// due, who fills that pot signed it, and its papers are its chunks'. Chunks that this vault
// may receive are followed from now on.
func (t *tx) depositOwn(in *running, n Entry, at Index) error {
	o, d := n.Deposit.Order, in.Pledge.deal
	own := in.machine(o.Instance)
	if err := own.checkDeposit(o, n.At); err != nil {
		return err
	}
	pot := int(o.Pot)
	if err := o.verify(in.Pledge.Parties[d.depositor(pot)], n.Deposit.Sig); err != nil {
		return err
	}
	certs, err := d.checkPapers(o, n.Deposit.Papers, len(counted(in.Late, pot)), t.o.cfg.Escrow, n.At)
	if err != nil {
		return err
	}
	if err := in.moves(n, at); err != nil {
		return err
	}
	in.Late = own.with(n.Deposit, at).late
	in.forget(o)
	if !d.receives(pot, int(in.Pledge.Mine.Body.Role)) {
		return nil
	}
	for i, c := range n.Deposit.Papers.Chunks {
		if t.chunk(c.ID()) != nil {
			continue // followed already, or this vault's own: the chunk's books say which
		}
		if err := t.follow(c, certs[i]); err != nil {
			return err
		}
	}
	return nil
}

// checkTaken verifies that a deposit counts only once everybody who may receive its
// chunks has acknowledged their shares, and in time.
func (in *running) checkTaken(n Entry) error {
	l := lateAt(in.Late, n.Run.Deposit)
	switch {
	case l == nil || l.Taken:
		return fmt.Errorf("%w: a step by no deposit that waits", ErrDeviate)
	case n.Run.EventAt != n.At || n.At > l.Order.By:
		return fmt.Errorf("%w: a deposit that waits until %s counts at %s, in an entry of %s", ErrDeviate, wire.UTC(l.Order.By), wire.UTC(n.Run.EventAt), wire.UTC(n.At))
	case !in.Pledge.deal.acknowledged(*l):
		return fmt.Errorf("%w: a deposit counts before everybody had its shares", ErrDeviate)
	}
	return nil
}

// lapsing returns when the first deposit that waits is over.
func (in *running) lapsing() int64 {
	first := int64(1) << 62
	for _, l := range in.Late {
		if !l.Taken {
			first = min(first, l.Order.By)
		}
	}
	return first
}
