package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"latchkey/key"
	"latchkey/wire"
)

// Pending returns what has to be said to the escrow in the present state, in
// order. Saying it again is harmless. Sealing may draw randomness inside the
// Sealer; nothing else is random here except the proofs of a batch, from rnd.
func (o *Owner) Pending(rnd io.Reader) ([]Request, error) {
	var out []Request
	for _, id := range sorted(o.batches) {
		b := o.batches[id]
		if b.Escrow == nil {
			out = append(out, Request{Begin: &Begin{id, b.Spec, b.Commit}})
			continue
		}
		if b.mine.Half().Points == nil {
			half, err := o.keyBatch(id, b.Spec).Prove(key.Owner, b.shares, rnd)
			if err != nil {
				return nil, err
			}
			b.mine = half
		}
		out = append(out, Request{Open: &OpenBatch{id, b.Salt, b.mine.Half()}})
	}
	for _, id := range sorted(o.running) {
		q, err := o.pendingOf(id, o.running[id])
		if err != nil {
			return nil, err
		}
		out = append(out, q...)
	}
	steps := map[Index]bool{}
	claim, swept := ClaimOrder{Escrow: o.escrow}, SweptOrder{Escrow: o.escrow}
	for _, id := range sorted(o.chunks) {
		c := o.chunks[id]
		switch {
		case c.Step != 0 && !c.Lost && !steps[c.Step]:
			steps[c.Step] = true
			out = append(out, Request{Fetch: &Fetch{Step: c.Step}})
		case c.Claim && c.Whole == nil && o.owns(c) && len(claim.Chunks) < maxOrder:
			claim.Chunks = append(claim.Chunks, ChunkEpoch{id, c.Epoch})
		case c.Done && !c.Swept && len(swept.Chunks) < maxOrder:
			swept.Chunks = append(swept.Chunks, ChunkEpoch{id, c.Epoch})
		}
	}
	for _, s := range sortedSteps(o.stored) {
		out = append(out, Request{Stored: &StoredAsk{s}})
	}
	size := maxOrder
	if o.apart = o.apart && len(claim.Chunks) > 0; o.apart {
		size = 1
	}
	for list := range slices.Chunk(claim.Chunks, size) {
		claim.Chunks = list
		sig, err := o.sign(purposeClaim, claim)
		if err != nil {
			return nil, err
		}
		out = append(out, Request{Claim: &ClaimAsk{claim, sig}})
	}
	if len(swept.Chunks) > 0 {
		sig, err := o.sign(purposeSwept, swept)
		if err != nil {
			return nil, err
		}
		out = append(out, Request{Swept: &SweptAsk{swept, sig}})
	}
	return out, nil
}

func sortedSteps(m map[Index]bool) []Index {
	out := make([]Index, 0, len(m))
	for s := range m {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

func (o *Owner) sign(purpose string, order any) ([]byte, error) {
	b, err := wire.Marshal(order)
	if err != nil {
		return nil, err
	}
	return wire.Sign(o.cfg.Sign, purpose, b), nil
}

// pendingOf says what an instance still needs from this vault.
func (o *Owner) pendingOf(id wire.InstanceID, in *running) (out []Request, err error) {
	d, me := in.Pledge.deal, int(in.Pledge.Mine.Body.Role)
	if len(in.Said) > 0 && in.Opened && !in.Closed { // one at a time: an order that the network cannot change
		out = append(out, Request{Word: &in.Said[0]})
	}
	if i := slices.IndexFunc(in.Brought, func(b Brought) bool { return b.Receipt.By == 0 }); i >= 0 && in.Opened && !in.Closed {
		out = append(out, Request{Report: &in.Brought[i].Report})
	}
	if in.Step != nil {
		out = append(out, Request{Step: in.Step})
	}
	if in.Opened || in.Closed {
		late, err := o.pendingLate(id, in)
		return append(out, late...), err
	}
	if d.handsOver(me) && !in.Handed[me] {
		q := &HandAsk{Instance: id}
		if q.Mail, err = o.sealAll(id, in, func(to int) []ChunkEpoch { return d.handedTo(me, to) }); err != nil {
			return nil, err
		}
		out = append(out, Request{Hand: q})
	}
	if d.awaits(me) {
		if in.Acked[me] || o.hasAll(d, me) { // again until it opens: the answer is what that gives
			out = append(out, Request{Ack: &AckAsk{Instance: id, Sig: wire.Sign(o.cfg.Sign, purposeAck, id[:])}})
		} else {
			out = append(out, Request{Fetch: &Fetch{Instance: id}})
		}
	}
	return out, nil
}

// sealAll seals this vault's shares for every party that may receive some.
func (o *Owner) sealAll(id wire.InstanceID, in *running, what func(to int) []ChunkEpoch) (out []Mail, err error) {
	for to, v := range in.Pledge.deal.parties {
		m := Mail{To: v, From: o.self}
		for _, ce := range what(to) {
			share, err := key.ParseShare(o.chunks[ce.Chunk].P.Type(), o.chunks[ce.Chunk].Share)
			if err != nil {
				return nil, fmt.Errorf("hand over chunk %s: %w", ce.Chunk.Short(), err)
			}
			var text []byte
			if m.Enc, text, err = o.cfg.Sealer.Seal(in.Pledge.Parties[to], label(labelA, id, ce), share); err != nil {
				return nil, err
			}
			m.Items = append(m.Items, Sealed{ce.Chunk, ce.Epoch, text})
		}
		if len(m.Items) > 0 {
			out = append(out, m)
		}
	}
	return out, nil
}

// hasAll reports whether every share handed to role is stored here.
func (o *Owner) hasAll(d *deal, role int) bool {
	for from := range d.parties {
		for _, ce := range d.handedTo(from, role) {
			if c := o.chunks[ce.Chunk]; c == nil || len(c.Share) == 0 || c.ShareAt != ce.Epoch {
				return false
			}
		}
	}
	return true
}

// Hear takes the escrow's answer to a request that Pending returned. A refusal
// comes back as ErrRefused, of either side, with the rows that it changes all the
// same.
func (o *Owner) Hear(q Request, r Reply) ([]Row, error) {
	t := o.begin()
	err := t.hear(q, r)
	if err != nil && !errors.Is(err, ErrRefused) {
		return nil, err
	}
	rows, cerr := t.commit()
	return rows, errors.Join(err, cerr)
}

func (t *tx) hear(q Request, r Reply) error {
	if r.Refused != nil {
		return t.refused(q, r.Refused.Reason)
	}
	switch {
	case q.Begin != nil:
		return t.offered(q.Begin.Batch, r.Offered)
	case q.Open != nil:
		return t.certified(q.Open.Batch, r.Certified)
	case q.Fetch != nil && q.Fetch.Instance != (wire.InstanceID{}):
		return t.handed(q.Fetch.Instance, q.Fetch.Step, r.Mail)
	case q.Fetch != nil:
		return t.refreshed(q.Fetch.Step, r.Mail)
	case q.Ack != nil:
		t.opening(q.Ack.Instance, r.Mail)
	case q.Stored != nil:
		t.rows = append(t.rows, Row{Key: stepKey(q.Stored.Step)})
		t.then = append(t.then, func() { delete(t.o.stored, q.Stored.Step) })
	case q.Claim != nil:
		return t.claimed(r.Released)
	case q.Report != nil:
		return t.promised(*q.Report, r.Receipt)
	}
	return nil // what else there is to know comes through the log
}

// refused drops what the escrow will not do, so that it is not asked forever.
func (t *tx) refused(q Request, reason string) error {
	switch {
	case q.Begin != nil:
		if b := t.o.batches[q.Begin.Batch]; b != nil && b.Escrow == nil { // not an old answer to what was offered since
			t.dropBatch(q.Begin.Batch)
		}
	case q.Open != nil: // perhaps it restarted: offer again, from the start
		if b := t.o.batches[q.Open.Batch]; b != nil {
			again := *b
			again.Escrow = nil
			if err := t.put(rowOwnBatch, q.Open.Batch[:], &again); err != nil {
				return err
			}
			t.then = append(t.then, func() { t.o.batches[q.Open.Batch] = &again })
		}
	case q.Word != nil:
		if in := t.instance(q.Word.Body.Instance); in != nil {
			in.Said = slices.DeleteFunc(in.Said, func(w SignedWord) bool { return w.Body.Seq == q.Word.Body.Seq })
		}
	case q.Deposit != nil:
		if in := t.instance(q.Deposit.Order.Instance); in != nil {
			in.forget(q.Deposit.Order)
		}
	case q.Report != nil:
		if in := t.instance(q.Report.Instance); in != nil {
			in.Brought = slices.DeleteFunc(in.Brought, q.Report.waits)
		}
	case q.Claim != nil && len(q.Claim.Order.Chunks) > 1: // one of them may be the reason: the others are not to suffer
		t.then = append(t.then, func() { t.o.apart = true })
	case q.Claim != nil:
		for _, ce := range q.Claim.Order.Chunks {
			if c := t.chunk(ce.Chunk); c != nil && !c.Claimed {
				c.Claim = false
			}
		}
	}
	return fmt.Errorf("%w: %s", ErrRefused, reason)
}

func (t *tx) dropBatch(id wire.Hash) {
	t.del(rowOwnBatch, id[:])
	t.then = append(t.then, func() { delete(t.o.batches, id) })
}

func (t *tx) offered(id wire.Hash, r *Offered) error {
	b := t.o.batches[id]
	if b == nil || r == nil || r.Batch != id {
		return errors.New("an offer of points for no batch of this vault")
	}
	half, err := t.o.keyBatch(id, b.Spec).CheckHalf(key.Escrow, r.Half)
	if err != nil {
		return err
	}
	next := *b
	next.Escrow, next.half = &r.Half, half
	t.then = append(t.then, func() { t.o.batches[id] = &next })
	return t.put(rowOwnBatch, id[:], &next)
}

// certified checks the escrow's certificate against this vault's own and signs
// it; the chunks exist from here on.
func (t *tx) certified(id wire.Hash, s *key.SignedCertificate) error {
	o := t.o
	b := o.batches[id]
	if b == nil || b.Escrow == nil || s == nil {
		return errors.New("a certificate for no batch of this vault")
	}
	kb := o.keyBatch(id, b.Spec)
	mine := b.mine
	if mine.Half().Points == nil { // this vault restarted in between
		var err error
		if mine, err = kb.Prove(key.Owner, b.shares, zeroes{}); err != nil {
			return err
		}
	}
	points, err := key.Join(mine, b.half)
	if err != nil {
		return err
	}
	c, err := s.Unverified()
	if err != nil {
		return err
	}
	if !slices.Contains(o.cfg.Digests, c.OwnerEvidence) {
		return fmt.Errorf("certificate names evidence %s, which this vault did not show", c.OwnerEvidence.Short())
	}
	want, err := b.Spec.certificate(kb, points, c.OwnerEvidence, o.cfg.EscrowDigest, o.cfg.Group.Log.Name(), c.Made)
	if err != nil {
		return err
	}
	body, cid, err := want.Encode()
	if err != nil {
		return err
	}
	if !bytes.Equal(body, s.Body) { // perhaps of another copy of the escrow; nobody has paid to these keys
		t.dropBatch(id)
		return fmt.Errorf("%w: its certificate differs from what was agreed on", ErrRefused)
	}
	signed := *s
	if signed.OwnerSig, err = want.Sign(key.Owner, o.cfg.Sign); err != nil {
		return err
	}
	oc := &ownCert{Signed: signed, Owner: o.cfg.Identity}
	if oc.cert, err = signed.Verify(o.cfg.Identity, o.cfg.Escrow, o.head.Time); err != nil {
		return err
	}
	if err := t.put(rowOwnCert, cid[:], oc); err != nil {
		return err
	}
	tree, err := key.NewTree(points)
	if err != nil {
		return err
	}
	for i, p := range points {
		path, err := tree.Path(uint32(i))
		if err != nil {
			return err
		}
		t.chunks[key.ChunkIDOf(cid, uint32(i))] = &Chunk{
			Cert: cid, Index: uint32(i), P: p, Path: path, Weight: c.Weight,
			Owner: o.self, B: b.half.Half().Points[i].Bytes(), Share: b.shares[i].Expose(),
		}
	}
	t.dropBatch(id)
	t.then = append(t.then, func() { o.certs[cid] = oc })
	return nil
}

// zeroes serves where a proof is made only for its points and never leaves.
type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// The labels of sealed shares.
const (
	labelA = "latchkey/a/v1" // handed over before an instance opens
	labelR = "latchkey/r/v1" // the refresh of an exit
)

// handed checks and stores shares that other depositors left for this vault, at the
// lock or, with an entry, for one deposit.
func (t *tx) handed(id wire.InstanceID, entry Index, mail []Mail) error {
	in := t.o.running[id]
	if in == nil {
		return fmt.Errorf("mail of instance %s: %w", id.Short(), ErrUnknown)
	}
	d, me := in.Pledge.deal, int(in.Pledge.Mine.Body.Role)
	for _, m := range mail {
		from := d.role(m.From)
		if from < 0 || m.To != t.o.self {
			return errors.New("mail of no party, or for another vault")
		}
		want := d.handedTo(from, me)
		if entry != 0 {
			want = nil
			if l := lateAt(in.Late, entry); l != nil && d.depositor(int(l.Order.Pot)) == from && d.receives(int(l.Order.Pot), me) {
				want = l.Order.Chunks
			}
		}
		if len(m.Items) != len(want) {
			return fmt.Errorf("party %d left %d shares, want %d", from, len(m.Items), len(want))
		}
		for i, it := range m.Items {
			c := t.chunk(it.Chunk)
			if c == nil || (ChunkEpoch{it.Chunk, it.Epoch}) != want[i] || c.Instance != id || c.Epoch != it.Epoch {
				return fmt.Errorf("share %d of party %d is of another chunk or epoch: %w", i, from, ErrEpoch)
			}
			if len(c.Share) > 0 && c.ShareAt == it.Epoch {
				continue
			}
			a, err := t.o.cfg.Sealer.Open(m.From, m.Enc, label(labelA, id, want[i]), it.Text, c.P)
			if err != nil {
				return fmt.Errorf("share of chunk %s: %w", it.Chunk.Short(), err)
			}
			if err := c.accept(a); err != nil {
				return fmt.Errorf("share of chunk %s: %w", it.Chunk.Short(), err)
			}
		}
	}
	return nil
}

// accept makes a the chunk's share of its present epoch, if aG + B = P.
func (c *Chunk) accept(a key.Share) error {
	b, err := key.ParsePoint(c.P.Type(), c.B)
	if err != nil {
		return err
	}
	if err := key.CheckShare(a, b, c.P); err != nil {
		return err
	}
	c.Share, c.ShareAt = a.Expose(), c.Epoch
	return nil
}

// itemsOf returns mail of one share each, by what the share is of.
func itemsOf(mail []Mail) map[ChunkEpoch]Mail {
	items := map[ChunkEpoch]Mail{}
	for _, m := range mail {
		for i, it := range m.Items {
			one := m
			one.Items = m.Items[i : i+1]
			items[ChunkEpoch{it.Chunk, it.Epoch}] = one
		}
	}
	return items
}

// refreshed completes the shares of chunks that a step gave to this vault.
func (t *tx) refreshed(step Index, mail []Mail) error {
	items := itemsOf(mail)
	for _, id := range sorted(t.o.chunks) {
		if t.o.chunks[id].Step != step {
			continue
		}
		c := t.chunk(id)
		m, ok := items[ChunkEpoch{id, c.Epoch}]
		if !ok || len(c.Share) == 0 || c.ShareAt != c.Epoch-1 {
			c.Lost = true // this vault was rolled back past an r that it had acknowledged
			continue
		}
		if err := t.refresh(id, c, m); err != nil {
			return fmt.Errorf("r of chunk %s: %w", id.Short(), err)
		}
	}
	t.keepStep(step)
	return nil
}

// refresh completes the share of one chunk that was given to this vault.
func (t *tx) refresh(id wire.ChunkID, c *Chunk, m Mail) error {
	old, err := key.ParseShare(c.P.Type(), c.Share)
	if err != nil {
		return err
	}
	r, err := t.o.cfg.Sealer.Open(m.From, m.Enc, label(labelR, wire.InstanceID{}, ChunkEpoch{id, c.Epoch}), m.Items[0].Text, c.P)
	if err != nil {
		return err
	}
	a, err := old.Plus(r)
	if err == nil {
		err = c.accept(a)
	}
	if err == nil {
		c.Step = 0
	}
	return err
}

// keepStep lets the escrow hear that the r of a step are stored.
func (t *tx) keepStep(step Index) {
	t.rows = append(t.rows, Row{Key: stepKey(step), Value: []byte{1}})
	t.then = append(t.then, func() { t.o.stored[step] = true })
}

// opening takes what came with the answer to an acknowledgement. It counts when
// this vault's own replay has the step that gave it, and is kept until then.
func (t *tx) opening(id wire.InstanceID, mail []Mail) {
	in := t.o.running[id]
	if in == nil || len(mail) == 0 {
		return
	}
	if !in.Opened {
		t.then = append(t.then, func() { t.o.ahead[id] = mail })
		return
	}
	for _, c := range in.Given {
		if x := t.peek(c); x != nil && x.Step != 0 {
			t.early(x.Step, in.Given, mail)
		}
	}
}

// early completes the chunks of a step with r that came ahead of it. What does not
// fit stays for Fetch, which says what is wrong with it.
func (t *tx) early(step Index, given []wire.ChunkID, mail []Mail) {
	items, done := itemsOf(mail), false
	for _, id := range given {
		if x := t.peek(id); x == nil || x.Step != step {
			continue
		}
		c := t.chunk(id)
		m, ok := items[ChunkEpoch{id, c.Epoch}]
		if !ok || len(c.Share) == 0 || c.ShareAt != c.Epoch-1 || t.refresh(id, c, m) != nil {
			return
		}
		done = true
	}
	if done {
		t.keepStep(step)
	}
}
