package vault

import (
	"errors"
	"fmt"
	"io"

	"latchkey/key"
	"latchkey/wire"
)

// A Peer is a party's vault as this vault appraised it: the shell has verified
// its evidence against this client's policy before it makes one.
type Peer struct {
	Identity wire.Identity
	Vendor   string // of its TEE
}

// Paper is what proves that a chunk of somebody else exists.
type Paper struct {
	Cert  key.SignedCertificate `cbor:"1,keyasint"`
	Owner wire.Identity         `cbor:"2,keyasint"` // who made the chunk; maybe not who owns it
	Chunk key.Chunk             `cbor:"3,keyasint"`
}

// Proposal is what a host asks its vault to accept.
type Proposal struct {
	Agreement Agreement
	Peers     []Peer  // every other party
	Papers    []Paper // of every chunk that this vault does not own
	// InsecureVendors names TEE vendors, the escrow's own, to whose vaults the
	// user lets shares go all the same.
	InsecureVendors []string
}

// Accept checks a proposal in every part and signs it. From then on the chunks
// that it stakes serve nothing else until LockBy has passed. The same agreement
// accepted again gives the same signature.
func (o *Owner) Accept(p Proposal, rnd io.Reader) (SignedAcceptance, []Row, error) {
	a, rows, err := o.accept(p, rnd)
	if err != nil {
		return SignedAcceptance{}, nil, fmt.Errorf("accept: %w", err)
	}
	return a, rows, nil
}

// accept is Accept: what was signed before comes first, then whose agreement it is and
// until when it can be locked, then each chunk that is staked. Nothing is signed or
// changed before all of it holds.
func (o *Owner) accept(p Proposal, rnd io.Reader) (SignedAcceptance, []Row, error) {
	fail := func(format string, args ...any) (SignedAcceptance, []Row, error) {
		return SignedAcceptance{}, nil, fmt.Errorf(format, args...)
	}
	d, err := p.Agreement.check()
	if err != nil {
		return fail("%w", err)
	}
	if old := o.pledges[d.hash]; old != nil {
		return old.Mine, nil, nil
	}
	for _, id := range sorted(o.running) {
		if in := o.running[id]; in.Pledge.Mine.Body.Agreement == d.hash {
			return in.Pledge.Mine, nil, nil
		}
	}
	me := d.role(o.self)
	switch {
	case me < 0:
		return fail("%w: this vault is no party", ErrAgreement)
	case p.Agreement.Escrow != o.escrow:
		return fail("%w: its escrow is %s, this vault's is %s", ErrAgreement, p.Agreement.Escrow.Short(), o.escrow.Short())
	case o.head.Size == 0:
		return fail("no witnessed head of the escrow was seen yet: %w", ErrNotReady)
	case p.Agreement.LockBy <= o.head.Time || p.Agreement.LockBy > o.head.Time+maxLockWait:
		return fail("%w: lock by %s, and it is %s: %w", ErrAgreement, wire.UTC(p.Agreement.LockBy), wire.UTC(o.head.Time), ErrExpired)
	}
	pl := &pledge{Agreement: p.Agreement, deal: d}
	if pl.Parties, err = o.parties(d, me, p); err != nil {
		return fail("%w", err)
	}
	t := o.begin()
	papers := map[wire.ChunkID]Paper{}
	for _, x := range p.Papers {
		papers[x.Chunk.ID()] = x
	}
	for i, pot := range p.Agreement.Pots {
		for j, s := range pot {
			if d.isLater(i) {
				break
			}
			c, err := o.checkStake(t, d, me, i, s, papers)
			if err != nil {
				return fail("pot %d, chunk %s: %w", i, s.Chunk.Short(), err)
			}
			if first, _ := o.certOf(t, t.peek(pot[0].Chunk)); j > 0 && c.Certificate().Denomination != first.Certificate().Denomination {
				return fail("%w: pot %d mixes denominations", ErrAgreement, i)
			}
		}
	}
	body := Acceptance{Agreement: d.hash, Role: uint32(me)}
	if _, err := io.ReadFull(rnd, body.Nonce[:]); err != nil {
		return fail("%w", err)
	}
	if pl.Mine, err = body.sign(o.cfg.Sign); err != nil {
		return fail("%w", err)
	}
	if err := t.put(rowPledge, d.hash[:], pl); err != nil {
		return fail("%w", err)
	}
	t.then = append(t.then, func() { o.pledges[d.hash] = pl })
	rows, err := t.commit()
	if err != nil {
		return fail("%w", err)
	}
	return pl.Mine, rows, nil
}

// parties puts the identities of all parties in order, and refuses to let this
// vault's shares go to a vault of the escrow's own TEE vendor, whose one defect
// would then open both sides, unless the user named that vendor.
func (o *Owner) parties(d *deal, me int, p Proposal) ([]wire.Identity, error) {
	out := make([]wire.Identity, len(d.parties))
	out[me] = o.cfg.Identity
	found := 1
	for _, peer := range p.Peers {
		v, err := peer.Identity.ID()
		if err != nil {
			return nil, err
		}
		role := d.role(v)
		if role < 0 || role == me || out[role].Sign != nil {
			return nil, fmt.Errorf("vault %s is given as a peer and is none, or is given twice", v.Short())
		}
		out[role] = peer.Identity
		found++
		if peer.Vendor != o.cfg.EscrowVendor || !d.mayHand(me, role) {
			continue
		}
		allowed := false
		for _, name := range p.InsecureVendors {
			allowed = allowed || name == peer.Vendor
		}
		if !allowed {
			return nil, fmt.Errorf("%w: party %d and the escrow both run in TEEs of %s; choose another, or allow that vendor by name", ErrVendor, role, peer.Vendor)
		}
	}
	if found != len(d.parties) {
		return nil, fmt.Errorf("%w: %d of %d parties showed evidence", ErrAgreement, found, len(d.parties))
	}
	return out, nil
}

// mayHand reports whether a party's shares may go to another's vault, before the
// instance opens or with a deposit.
func (d *deal) mayHand(from, to int) bool {
	for pot := range d.agreement.Pots {
		if d.depositor(pot) == from && d.receives(pot, to) {
			return true
		}
	}
	return false
}

// checkStake verifies one chunk of a pot: its own against its own books,
// another's against its papers, which from here on it follows.
func (o *Owner) checkStake(t *tx, d *deal, me, pot int, s Stake, papers map[wire.ChunkID]Paper) (key.VerifiedCertificate, error) {
	none := key.VerifiedCertificate{}
	c := o.chunks[s.Chunk]
	mine := d.depositor(pot) == me
	if !mine && c != nil && c.Owner == o.self {
		return none, errors.New("it is this vault's, in another party's pot")
	}
	if !mine && (c == nil || c.Last == 0) {
		paper, ok := papers[s.Chunk]
		if !ok {
			return none, errors.New("its certificate was not shown")
		}
		cert, err := paper.Cert.Verify(paper.Owner, o.cfg.Escrow, o.head.Time)
		if err != nil {
			return none, err
		}
		if _, err := cert.VerifyChunk(paper.Chunk); err != nil {
			return none, err
		}
		if err := t.follow(paper.Chunk, &ownCert{Signed: paper.Cert, Owner: paper.Owner, cert: cert}); err != nil {
			return none, err
		}
		c = t.chunks[s.Chunk]
	}
	if c == nil {
		return none, ErrHeld
	}
	cert, ok := o.certOf(t, c)
	if !ok {
		return none, errors.New("its certificate is missing")
	}
	if err := cert.CheckTime(o.head.Time); err != nil {
		return none, err
	}
	if last := d.ends(); last >= cert.Certificate().Expiry {
		return none, fmt.Errorf("%w: its certificate ends at %s, the contract may run until %s", ErrExpired, wire.UTC(cert.Certificate().Expiry), wire.UTC(last))
	}
	if c.Weight != s.Weight {
		return none, fmt.Errorf("it weighs %d, the agreement says %d", c.Weight, s.Weight)
	}
	if err := d.checkAsset(pot, cert.Certificate().Denomination.Asset.ID); err != nil {
		return none, err
	}
	if !mine {
		return cert, nil
	}
	if c.Epoch != s.Epoch {
		return none, fmt.Errorf("%w: it is at %d, the agreement says %d", ErrEpoch, c.Epoch, s.Epoch)
	}
	return cert, o.checkFree(s.Chunk)
}

// checkFree returns an error unless a chunk is this vault's, here, and serves nothing.
func (o *Owner) checkFree(id wire.ChunkID) error {
	c := o.chunks[id]
	switch {
	case c == nil || !o.owns(c):
		return fmt.Errorf("this vault does not own it: %w", ErrHeld)
	case c.Instance != (wire.InstanceID{}):
		return fmt.Errorf("%w in instance %s", ErrLocked, c.Instance.Short())
	case c.Claim || c.Claimed:
		return errors.New("it is claimed")
	}
	if h, until, ok := o.pledged(id); ok {
		return fmt.Errorf("%w: it is pledged to agreement %s until %s", ErrLocked, h.Short(), wire.UTC(until))
	}
	return nil
}

// follow begins to follow a chunk of a verified certificate.
func (t *tx) follow(c key.Chunk, oc *ownCert) error {
	id, o := oc.cert.ID(), t.o
	if o.certs[id] == nil {
		if err := t.put(rowOwnCert, id[:], oc); err != nil {
			return err
		}
		t.then = append(t.then, func() { o.certs[id] = oc })
		t.certs = append(t.certs, oc.cert)
	}
	t.chunks[c.ID()] = &Chunk{Cert: id, Index: c.Index, P: c.Key, Path: c.Path, Weight: oc.cert.Certificate().Weight}
	return nil
}

// peek returns what the transaction or the state knows of a chunk.
func (t *tx) peek(id wire.ChunkID) *Chunk {
	if c, ok := t.chunks[id]; ok {
		return c
	}
	return t.o.chunks[id]
}

func (o *Owner) certOf(t *tx, c *Chunk) (key.VerifiedCertificate, bool) {
	if c == nil {
		return key.VerifiedCertificate{}, false
	}
	if oc := o.certs[c.Cert]; oc != nil {
		return oc.cert, true
	}
	for _, v := range t.certs {
		if v.ID() == c.Cert {
			return v, true
		}
	}
	return key.VerifiedCertificate{}, false
}

// Paper returns what a peer needs to believe in a chunk.
func (o *Owner) Paper(id wire.ChunkID) (Paper, error) {
	c := o.chunks[id]
	if c == nil || o.certs[c.Cert] == nil {
		return Paper{}, fmt.Errorf("paper of chunk %s: %w", id.Short(), ErrHeld)
	}
	oc := o.certs[c.Cert]
	return Paper{oc.Signed, oc.Owner, key.Chunk{Cert: c.Cert, Index: c.Index, Key: c.P, Path: c.Path}}, nil
}
