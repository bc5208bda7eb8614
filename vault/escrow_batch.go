package vault

import (
	"fmt"
	"io"

	"latchkey/key"
	"latchkey/wire"
)

// keyBatch names a batch for the proofs of both sides.
func (s BatchSpec) keyBatch(id wire.Hash, owner, escrow wire.VaultID) key.Batch {
	return key.Batch{ID: id, Type: s.Denomination.Asset.Key, N: s.N, Owner: owner, Escrow: escrow}
}

// begin makes the escrow's shares of a batch and offers their points. The
// shares are durable before the offer leaves.
func (e *Escrow) begin(from wire.VaultID, q Begin, rnd io.Reader) (Answer, error) {
	if b := e.pending[q.Batch]; b != nil {
		if b.owner() != from || b.Spec != q.Spec || b.Commit != q.Commit {
			return Answer{}, fmt.Errorf("batch %s was begun with other terms", q.Batch.Short())
		}
		if b.half.Half().Points == nil { // this escrow restarted in between
			e.work += uint64(b.Spec.N)
			half, err := b.Spec.keyBatch(q.Batch, from, e.self).Prove(key.Escrow, b.shares, rnd)
			if err != nil {
				return Answer{}, err
			}
			b.half = half
		}
		return e.say(Reply{Offered: &Offered{q.Batch, b.half.Half()}}, 0)
	}
	if _, done := e.certified[q.Batch]; done {
		return Answer{}, fmt.Errorf("batch %s is certified", q.Batch.Short())
	}
	if err := q.Spec.check(); err != nil {
		return Answer{}, err
	}
	if q.Spec.Expiry < e.clock+minCertLife || q.Spec.Expiry > e.clock+maxCertLife {
		return Answer{}, fmt.Errorf("expiry %d is not between an hour and five years after %d: %w", q.Spec.Expiry, e.clock, ErrExpired)
	}
	if err := e.full[from]; err != nil {
		return Answer{}, err
	}
	mine := 0
	for _, b := range e.pending {
		if b.owner() == from {
			mine++
		}
	}
	if mine >= maxPendingBatches {
		return Answer{}, fmt.Errorf("%d batches are begun and not opened; open one, or wait an hour", mine)
	}
	e.work += uint64(q.Spec.N)
	b := &pendingBatch{Generate: Generate{Recipients{from}, q.Batch, q.Spec, q.Commit}, at: e.clock}
	var err error
	if b.shares, b.half, err = q.Spec.keyBatch(q.Batch, from, e.self).Generate(key.Escrow, rnd); err != nil {
		return Answer{}, err
	}
	a, err := e.settle(plan{
		entries: []Entry{{Generate: &b.Generate}}, batch: b,
		rows: []Row{{Key: batchRow(q.Batch), Value: joinShares(b.shares)}},
	}, Reply{Offered: &Offered{q.Batch, b.half.Half()}})
	a.Hold = 0 // points promise nothing: durable is enough
	return a, err
}

func (b *pendingBatch) owner() wire.VaultID { return b.Owner[0] } // checked when it was begun

// joinShares and splitShares keep the shares of a batch in one row.
func joinShares(shares []key.Share) (b []byte) {
	for _, s := range shares {
		b = append(b, s.Expose()...)
	}
	return b
}

func (s BatchSpec) splitShares(b []byte) ([]key.Share, error) {
	if len(b) != 32*int(s.N) {
		return nil, fmt.Errorf("%d bytes of shares for a batch of %d", len(b), s.N)
	}
	shares := make([]key.Share, s.N)
	for i := range shares {
		var err error
		if shares[i], err = key.ParseShare(s.Denomination.Asset.Key, b[32*i:32*i+32]); err != nil {
			return nil, err
		}
	}
	return shares, nil
}

// openBatch checks the owner's points and proofs and certifies the chunks.
func (e *Escrow) openBatch(from wire.VaultID, q OpenBatch) (Answer, error) {
	if made := e.certified[q.Batch]; made != nil {
		if made.cert.Owner[0] != from {
			return Answer{}, fmt.Errorf("batch %s: %w", q.Batch.Short(), ErrNotYours)
		}
		signed, err := e.signCertificate(*made.cert)
		if err != nil {
			return Answer{}, err
		}
		return e.say(Reply{Certified: signed}, int64(made.born))
	}
	b := e.pending[q.Batch]
	if b == nil {
		return Answer{}, fmt.Errorf("batch %s: %w; begin it again", q.Batch.Short(), ErrUnknown)
	}
	if b.owner() != from {
		return Answer{}, fmt.Errorf("batch %s: %w", q.Batch.Short(), ErrNotYours)
	}
	if b.half.Half().Points == nil {
		return Answer{}, fmt.Errorf("batch %s: ask for the escrow's points again first: %w", q.Batch.Short(), ErrNotReady)
	}
	e.work += 2 * uint64(b.Spec.N)
	kb := b.Spec.keyBatch(q.Batch, from, e.self)
	theirs, err := kb.CheckOpen(b.Commit, q.Salt, q.Half)
	if err != nil {
		return Answer{}, err
	}
	points, err := key.Join(theirs, b.half)
	if err != nil {
		return Answer{}, err
	}
	c, err := b.Spec.certificate(kb, points, e.vaults[from].Digest, e.cfg.Digest, e.cfg.Origin, b.at)
	if err != nil {
		return Answer{}, err
	}
	id, err := c.ID()
	if err != nil {
		return Answer{}, err
	}
	if err := e.chunks.room(id, len(points)); err != nil {
		return Answer{}, err
	}
	signed, err := e.signCertificate(c)
	if err != nil {
		return Answer{}, err
	}
	p := plan{
		entries: []Entry{{Certify: &Certify{Certificate: c, Points: points, B: b.half.Half().Points}}},
		rows:    []Row{{Key: batchRow(b.Batch)}},
		shares:  map[wire.ChunkID]key.Share{},
	}
	for i, s := range b.shares {
		chunk := key.ChunkIDOf(id, uint32(i))
		p.shares[chunk] = s
		p.rows = append(p.rows, Row{Key: shareRow(chunk), Value: shareValue(0, s)})
	}
	return e.settle(p, Reply{Certified: signed})
}

func (e *Escrow) signCertificate(c key.Certificate) (*key.SignedCertificate, error) {
	body, _, err := c.Encode()
	if err != nil {
		return nil, err
	}
	sig, err := c.Sign(key.Escrow, e.cfg.Sign)
	return &key.SignedCertificate{Body: body, EscrowSig: sig}, err
}

// certificate is what both vaults derive for themselves from what they agreed
// on, so that neither can slip a field past the other.
func (s BatchSpec) certificate(b key.Batch, points []key.Point, ownerEvidence, escrowEvidence wire.Hash, origin string, made int64) (key.Certificate, error) {
	root, err := key.MerkleRoot(points)
	if err != nil {
		return key.Certificate{}, err
	}
	c := key.Certificate{
		Version: key.CertificateVersion, Denomination: s.Denomination, Weight: s.Weight, N: s.N, Root: root, Batch: b.ID,
		Owner: []wire.VaultID{b.Owner}, Escrow: b.Escrow, Custody: key.AdditiveCustody(b.Owner, b.Escrow),
		Made: made, Expiry: s.Expiry, OwnerEvidence: ownerEvidence, EscrowEvidence: escrowEvidence, Log: origin,
	}
	return c, c.CheckBatch(b, points)
}
