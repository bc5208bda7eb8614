package switchboard

import (
	"context"
	"errors"
	"fmt"

	"latchkey/attest"
	"latchkey/gate"
	"latchkey/key"
	"latchkey/market"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// Rows of what clients showed, by prefix.
const (
	rowMember = "member/" // + vault: enclave.Peer
	rowCert   = "cert/"   // + certificate: shownCert
	rowPaper  = "paper/"  // + chunk: key.Chunk
)

// member is an enrolled vault.
type member struct {
	enclave.Peer
	expires int64 // the last second of its appraisal; 0: to be appraised again
}

// shownCert is a certificate with the identity of the vault that made it.
type shownCert struct {
	Cert  key.SignedCertificate `cbor:"1,keyasint"`
	Owner wire.Identity         `cbor:"2,keyasint"`
}

// loadMembers reads who is enrolled. Each is appraised again, by today's policy,
// when it is heard of.
func (b *Board) loadMembers(ctx context.Context) error {
	return scan(ctx, b.cfg.Log, rowMember, func(v wire.Hash, p *enclave.Peer) {
		b.members[wire.VaultID(v)] = &member{Peer: *p}
	})
}

func (b *Board) appraise(v wire.VaultID, evidence []byte) (attest.Result, error) {
	ev, err := attest.ParseEvidence(evidence)
	if err != nil {
		return attest.Result{}, err
	}
	want := attest.ReportData(attest.PurposeIdentity, v, [32]byte{})
	return attest.Appraise(b.cfg.Trust, b.cfg.Verifiers, ev, want, b.cfg.Clock())
}

// member returns an enrolled vault whose appraisal holds.
func (b *Board) member(v wire.VaultID) (enclave.Peer, error) {
	b.mu.Lock()
	m := b.members[v]
	b.mu.Unlock()
	if m == nil {
		return enclave.Peer{}, fmt.Errorf("vault %s: %w", v.Short(), ErrUnknown)
	}
	if b.cfg.Clock() <= m.expires {
		return m.Peer, nil
	}
	r, err := b.appraise(v, m.Evidence)
	if err != nil {
		return enclave.Peer{}, fmt.Errorf("vault %s: %w any more: %w", v.Short(), ErrUnknown, err)
	}
	b.admit(v, m.Peer, r.Expires())
	return m.Peer, nil
}

func (b *Board) admit(v wire.VaultID, p enclave.Peer, expires int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members[v] = &member{p, expires}
}

// enrol appraises a vault and makes it known, durably.
func (b *Board) enrol(ctx context.Context, p enclave.Peer) (string, error) {
	v, err := p.Identity.ID()
	if err != nil {
		return "", err
	}
	r, err := b.appraise(v, p.Evidence)
	if err != nil {
		return "", fmt.Errorf("%w: evidence of vault %s: %w", errRefused, v.Short(), err)
	}
	f := r.Facts()
	in := market.Enrol{
		Client: v, Device: market.Device{Kind: market.DeviceKind(f.Device.Kind), ID: f.Device.ID},
		Vendor: f.VendorRoot, TCB: f.TCB.Level(), Exempt: contains(b.cfg.Exempt, v),
	}
	b.mu.Lock()
	known := b.members[v] != nil
	b.mu.Unlock()
	err = b.do(ctx, func(t *turn) error {
		if g := b.cfg.Guard; g != nil && !known && !in.Exempt && in.Device.Kind == market.DeviceUnique {
			if n := b.market.OnDevice(in.Vendor, in.Device); n >= g.DeviceVaults {
				g.Refuse(gate.RefusedDevice)
				return fmt.Errorf("%w: %d vaults of this device are enrolled here, and no more than %d may be (limits.device_vaults); go on with one of them, or ask the operator", errRefused, n, g.DeviceVaults)
			}
		}
		if err := t.step(in); err != nil {
			return err
		}
		return t.put(rowMember+string(v[:]), p)
	})
	if err != nil {
		return "", err
	}
	b.admit(v, p, r.Expires())
	return r.String(), nil
}

func contains(list []wire.VaultID, v wire.VaultID) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}

// maxAnnounced bounds the chunks of one announcement.
const maxAnnounced = 1024

// announced is an announcement whose certificate was verified.
type announced struct {
	cert   key.VerifiedCertificate
	shown  shownCert
	chunks []key.Chunk
	epochs []uint32
}

// checkAnnouncement verifies the papers of an announcement: signatures of both
// holders, expiry, and that each chunk is covered.
func (b *Board) checkAnnouncement(a Announcement) (announced, error) {
	fail := func(format string, args ...any) (announced, error) {
		return announced{}, fmt.Errorf("%w: %w", market.ErrInvalid, fmt.Errorf(format, args...))
	}
	if len(a.Papers) < 1 || len(a.Papers) > maxAnnounced || len(a.Epochs) != len(a.Papers) {
		return fail("%d papers and %d epochs, want as many of both, 1 to %d", len(a.Papers), len(a.Epochs), maxAnnounced)
	}
	escrow := b.escrow.Load()
	if escrow == nil {
		return announced{}, errNoLog
	}
	first := a.Papers[0]
	cert, err := first.Cert.Verify(first.Owner, *escrow, b.cfg.Clock())
	if err != nil {
		return fail("certificate: %w", err)
	}
	out := announced{cert: cert, shown: shownCert{first.Cert, first.Owner}, epochs: a.Epochs}
	for _, p := range a.Papers {
		if p.Cert.ID() != first.Cert.ID() {
			return fail("chunks of several certificates")
		}
		if _, err := cert.VerifyChunk(p.Chunk); err != nil {
			return fail("chunk: %w", err)
		}
		out.chunks = append(out.chunks, p.Chunk)
	}
	return out, nil
}

// Refusals that are the switchboard's own.
var (
	errRefused = errors.New("not admitted")
	errNoLog   = errors.New("the escrow's log was not seen yet; try again in a second")
	errWait    = errors.New("not yet")
)

// deposit offers verified chunks of a client to the market: those that the
// escrow's log says are its own, at the epochs named, and free.
func (t *turn) deposit(client wire.VaultID, a announced) error {
	c := a.cert.Certificate()
	l := t.b.ledger
	if err := t.traded(c); err != nil {
		return err
	}
	in := market.Deposit{
		Client: client, Cert: a.cert.ID(), Escrow: c.Escrow, Denomination: c.Denomination.ID, Weight: c.Weight, Expiry: c.Expiry,
	}
	for i, x := range a.chunks {
		id := x.ID()
		h := l.chunks[id]
		switch {
		case h == nil:
			return fmt.Errorf("chunk %s: %w: the escrow's log, followed up to entry %d, does not have it", id.Short(), errWait, l.front.Size())
		case h.Owner != client || h.Epoch != a.epochs[i]:
			return fmt.Errorf("chunk %s: %w: the escrow's log says that it belongs to vault %s at epoch %d", id.Short(), errWait, h.Owner.Short(), h.Epoch)
		case h.Instance != (wire.InstanceID{}):
			return fmt.Errorf("chunk %s: %w: it is in instance %s", id.Short(), market.ErrState, h.Instance.Short())
		case h.Claimed:
			return fmt.Errorf("chunk %s: %w: it is claimed", id.Short(), market.ErrState)
		}
		in.Chunks = append(in.Chunks, market.DepositChunk{Chunk: id, Epoch: h.Epoch, Lineage: others(h.Line, client)})
	}
	if err := t.step(in); err != nil {
		return err
	}
	cert := a.cert.ID()
	if err := t.put(rowCert+string(cert[:]), a.shown); err != nil {
		return err
	}
	for _, x := range a.chunks {
		id := x.ID()
		if err := t.put(rowPaper+string(id[:]), x); err != nil {
			return err
		}
	}
	return nil
}

// traded checks that chunks are of a denomination made here, with a fresh rate:
// without one there is no new deposit.
func (t *turn) traded(c key.Certificate) error {
	for _, d := range t.b.market.Denominations() {
		if d.ID != c.Denomination.ID {
			continue
		}
		if d != c.Denomination {
			return fmt.Errorf("denomination %s %w with the one of that name", d.ID, market.ErrConflict)
		}
		for _, r := range t.b.market.Rates(t.now) {
			if r.Asset == d.Asset.ID && !r.Fresh {
				return fmt.Errorf("%w: no deposit without a rate: %s", market.ErrState, r.Why)
			}
		}
		return nil
	}
	return fmt.Errorf("denomination %q: %w: it was not made here", c.Denomination.ID, market.ErrNotFound)
}

func others(list []wire.VaultID, but wire.VaultID) (out []wire.VaultID) {
	for _, v := range list {
		if v != but {
			out = append(out, v)
		}
	}
	return out
}

// paper returns what was shown of a chunk.
func (b *Board) paper(ctx context.Context, id wire.ChunkID) (vault.Paper, error) {
	var p vault.Paper
	var cert shownCert
	err := b.get(ctx, rowPaper+string(id[:]), &p.Chunk)
	if err == nil {
		err = b.get(ctx, rowCert+string(p.Chunk.Cert[:]), &cert)
	}
	if err != nil {
		return vault.Paper{}, fmt.Errorf("papers of chunk %s: %w", id.Short(), err)
	}
	p.Cert, p.Owner = cert.Cert, cert.Owner
	return p, nil
}

func (b *Board) get(ctx context.Context, key string, v any) error {
	raw, found, err := b.cfg.Log.Get(ctx, []byte(key))
	if err != nil {
		return err
	}
	if !found {
		return errors.New("not stored here")
	}
	return wire.Unmarshal(raw, v)
}
