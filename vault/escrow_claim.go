package vault

import (
	"fmt"

	"latchkey/wire"
)

// fetch returns mail that its recipient has not yet acknowledged. That a step has
// none is held like the mail itself: a vault gives its chunks up on that word, and
// a copy of this escrow from before the step must not say it.
func (e *Escrow) fetch(from wire.VaultID, q Fetch) (Answer, error) {
	if q.Step > Index(e.front.Size()) {
		return Answer{}, fmt.Errorf("step %d of a log of %d entries: %w", q.Step, e.front.Size(), ErrUnknown)
	}
	if q.Step != 0 && q.Instance != (wire.InstanceID{}) {
		return e.fetchDeposit(from, q)
	}
	if q.Step != 0 {
		var r Reply
		if m, ok := e.mail[mailRow(from, q.Step)]; ok {
			r.Mail = []Mail{m}
		}
		return e.say(r, int64(q.Step))
	}
	in, err := e.instanceOf(q.Instance)
	if err != nil {
		return Answer{}, err
	}
	var r Reply
	early := false
	for i, v := range in.deal.parties {
		if m, ok := e.mail[handRow(q.Instance, from, v)]; ok {
			r.Mail = append(r.Mail, m)
		}
		early = early || in.deal.handsOver(i) && !in.handed[i]
	}
	a, err := e.say(r, 0) // its owner let it go; nothing of the escrow's own leaves
	a.Early = early && !in.open
	return a, err
}

// stored forgets the sealed r of a step: its receiver has them.
func (e *Escrow) stored(from wire.VaultID, q StoredAsk) (Answer, error) {
	k := mailRow(from, q.Step)
	if _, ok := e.mail[k]; !ok {
		return e.say(Reply{}, 0)
	}
	a, err := e.settle(plan{entries: []Entry{{Stored: &Stored{Recipients{from}, q.Step}}}, rows: []Row{{Key: k}}}, Reply{})
	a.Hold = 0
	return a, err
}

// checkOrder verifies an order's signature and that every chunk is the
// sender's, at the epoch named and in one of two states.
func (e *Escrow) checkOrder(from wire.VaultID, purpose string, order any, escrow wire.VaultID, list []ChunkEpoch, sig []byte) error {
	b, err := wire.Marshal(order)
	if err != nil {
		return err
	}
	if err := e.vaults[from].Identity.Verify(purpose, b, sig); err != nil {
		return err
	}
	if escrow != e.self {
		return fmt.Errorf("the order is for escrow %s", escrow.Short())
	}
	if len(list) == 0 || len(list) > maxOrder {
		return fmt.Errorf("an order of %d chunks, want 1 to %d", len(list), maxOrder)
	}
	seen := map[wire.ChunkID]bool{}
	for _, o := range list {
		c := e.chunks.at(o.Chunk)
		switch {
		case c == nil:
			return fmt.Errorf("chunk %s: %w", o.Chunk.Short(), ErrUnknown)
		case seen[o.Chunk]:
			return fmt.Errorf("chunk %s is named twice", o.Chunk.Short())
		case *c.owner != from:
			return fmt.Errorf("chunk %s: %w", o.Chunk.Short(), ErrNotYours)
		case c.epoch != o.Epoch:
			return fmt.Errorf("chunk %s: %w: it is at %d, the order says %d", o.Chunk.Short(), ErrEpoch, c.epoch, o.Epoch)
		case c.instance != nil:
			return fmt.Errorf("chunk %s: %w in instance %s until %s at the latest",
				o.Chunk.Short(), ErrLocked, c.instance.id.Short(), wire.UTC(c.instance.deal.ends()))
		}
		seen[o.Chunk] = true
	}
	return nil
}

// claim logs that chunks become whole and then, once that is witnessed, releases
// the escrow's shares to their owner's vault. Asked again, it releases again.
func (e *Escrow) claim(from wire.VaultID, q ClaimAsk) (Answer, error) {
	if err := e.checkOrder(from, purposeClaim, q.Order, q.Order.Escrow, q.Order.Chunks, q.Sig); err != nil {
		return Answer{}, err
	}
	n := &Claim{Owner: Recipients{from}, Order: q.Order, Sig: q.Sig}
	var reply Reply
	var hold Index
	fresh := false
	for _, o := range q.Order.Chunks {
		c := e.chunks.at(o.Chunk)
		if c.state == chunkSwept {
			return Answer{}, fmt.Errorf("chunk %s is swept: its share is erased", o.Chunk.Short())
		}
		if c.share.Public() != c.b {
			return Answer{}, fmt.Errorf("chunk %s: the share table holds another share", o.Chunk.Short())
		}
		fresh = fresh || c.state == chunkLive
		hold = max(hold, c.last)
		n.Prev = append(n.Prev, c.last)
		reply.Released = append(reply.Released, Released{o.Chunk, o.Epoch, c.share.Expose()})
	}
	if !fresh {
		return e.say(reply, int64(hold))
	}
	return e.settle(plan{entries: []Entry{{Claim: n}}}, reply)
}

// swept erases the escrow's shares of chunks whose coins have left.
func (e *Escrow) swept(from wire.VaultID, q SweptAsk) (Answer, error) {
	if err := e.checkOrder(from, purposeSwept, q.Order, q.Order.Escrow, q.Order.Chunks, q.Sig); err != nil {
		return Answer{}, err
	}
	n := &Swept{Owner: Recipients{from}, Order: q.Order, Sig: q.Sig}
	p := plan{}
	fresh := false
	for _, o := range q.Order.Chunks {
		c := e.chunks.at(o.Chunk)
		if c.state == chunkLive {
			return Answer{}, fmt.Errorf("chunk %s was never claimed", o.Chunk.Short())
		}
		fresh = fresh || c.state == chunkClaimed
		n.Prev = append(n.Prev, c.last)
		p.rows = append(p.rows, Row{Key: shareRow(o.Chunk)})
	}
	if !fresh {
		return e.say(Reply{}, 0)
	}
	p.entries = []Entry{{Swept: n}}
	a, err := e.settle(p, Reply{})
	a.Hold = 0
	return a, err
}
