package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/key"
	"latchkey/vault"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

// A letter is what hosts say to each other about one draft. Exactly one of the
// parts from Propose on is set.
type letter struct {
	Draft   draftID                 `cbor:"1,keyasint"`
	Propose *draftBody              `cbor:"2,keyasint,omitempty"` // its proposer's: a draft, complete or not
	Fill    *draftFill              `cbor:"3,keyasint,omitempty"` // to the proposer: chunks for the sender's pots
	Accept  *vault.SignedAcceptance `cbor:"4,keyasint,omitempty"` // to the proposer: of the complete agreement
	Decline *draftDecline           `cbor:"5,keyasint,omitempty"`
}

// A draftID names a draft: its proposer's choice.
type draftID [16]byte

func (id draftID) String() string { return fmt.Sprintf("%x", id[:]) }

// draftBody is an agreement that may still lack the chunks of others. It is
// complete when every pot holds what the contract wants.
type draftBody struct {
	Agreement vault.Agreement `cbor:"1,keyasint"`
	Asks      []draftAsk      `cbor:"2,keyasint"` // by pot: what somebody else is to put in
	Papers    papers          `cbor:"3,keyasint"` // of the chunks that are in
	Request   draftID         `cbor:"4,keyasint"` // the payment request that it answers; zero: none
}

// draftAsk says which coins a pot is to hold. Zero: those that its proposer put
// in.
type draftAsk struct {
	Asset coin.AssetID `cbor:"1,keyasint"`
	Chain string       `cbor:"2,keyasint"`
	Unit  coin.Amount  `cbor:"3,keyasint"` // of a unit, about; see sameUnit
}

// draftFill has chunks for all pots of its sender, in the order of the pots.
type draftFill struct {
	Pots   [][]vault.Stake `cbor:"1,keyasint"` // by pot; empty: another's
	Papers papers          `cbor:"2,keyasint"`
}

// draftDecline ends a draft for all.
type draftDecline struct {
	Reason string `cbor:"1,keyasint"`
}

// papers are those of several chunks, each certificate once.
type papers struct {
	Certs  []certPaper `cbor:"1,keyasint"`
	Chunks []key.Chunk `cbor:"2,keyasint"`
}

type certPaper struct {
	Cert  key.SignedCertificate `cbor:"1,keyasint"`
	Owner wire.Identity         `cbor:"2,keyasint"`
}

func packPapers(list []vault.Paper) (p papers) {
	seen := map[wire.CertID]bool{}
	for _, x := range list {
		if id := x.Cert.ID(); !seen[id] {
			seen[id] = true
			p.Certs = append(p.Certs, certPaper{x.Cert, x.Owner})
		}
		p.Chunks = append(p.Chunks, x.Chunk)
	}
	return p
}

func (p papers) unpack() ([]vault.Paper, error) {
	certs := map[wire.CertID]certPaper{}
	for _, c := range p.Certs {
		certs[c.Cert.ID()] = c
	}
	out := make([]vault.Paper, len(p.Chunks))
	for i, c := range p.Chunks {
		x, ok := certs[c.Cert]
		if !ok {
			return nil, fmt.Errorf("chunk %s comes without its certificate", c.ID().Short())
		}
		out[i] = vault.Paper{Cert: x.Cert, Owner: x.Owner, Chunk: c}
	}
	return out, nil
}

// parts returns how many parts of a letter are set.
func (l letter) parts() (n int) {
	for _, set := range []bool{l.Propose != nil, l.Fill != nil, l.Accept != nil, l.Decline != nil} {
		if set {
			n++
		}
	}
	return n
}

// escrowID returns whose escrow this client's is, asked once. The vault compares
// it with its own.
func (h *Host) escrowID(ctx context.Context) (wire.VaultID, error) {
	h.mu.Lock()
	id := h.escrowIs
	h.mu.Unlock()
	if id != (wire.VaultID{}) {
		return id, nil
	}
	d, err := h.escrow.Describe(ctx)
	if err != nil {
		return wire.VaultID{}, err
	}
	if id, err = d.Identity.ID(); err != nil {
		return wire.VaultID{}, err
	}
	h.mu.Lock()
	h.escrowIs = id
	h.mu.Unlock()
	return id, nil
}

// peer returns a vault's identity and evidence, as the escrow's host has them,
// asked once. The vault appraises them; that the keys are the vault's own shows in
// its id.
func (h *Host) peer(ctx context.Context, v wire.VaultID) (enclave.Peer, error) {
	h.mu.Lock()
	p, ok := h.peers[v]
	h.mu.Unlock()
	if ok {
		return p, nil
	}
	p, err := h.escrow.Peer(ctx, v)
	if err != nil {
		return enclave.Peer{}, err
	}
	if id, err := p.Identity.ID(); err != nil || id != v {
		return enclave.Peer{}, fmt.Errorf("the escrow's host shows the keys of another vault for %s", v.Short())
	}
	h.mu.Lock()
	if len(h.peers) > 1000 {
		clear(h.peers)
	}
	h.peers[v] = p
	h.mu.Unlock()
	return p, nil
}

// post sends a letter about a draft.
func (h *Host) post(ctx context.Context, to wire.VaultID, l letter) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	self, err := h.escrowID(ctx)
	if err != nil {
		return err
	}
	body, err := wire.Marshal(l)
	if err != nil {
		return err
	}
	raw, err := wire.Marshal(escrow.Letter{
		Purpose: escrow.PurposeLetter, Escrow: self, From: h.id, To: to, At: time.Now().Unix(), Body: body,
	})
	if err != nil {
		return err
	}
	sig, err := signer{h}.Sign(ctx, raw)
	if err != nil {
		return err
	}
	return h.escrow.Post(ctx, escrow.Signed{Body: raw, Sig: sig})
}

// letterLoop takes letters: what they say is stored first, then they are let go
// with the next collection.
func (h *Host) letterLoop(ctx context.Context) error {
	for ctx.Err() == nil {
		if !h.store.flag("enrolled/escrow") {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		list, err := h.collect(ctx, h.store.number("letters"))
		if ctx.Err() != nil {
			return nil
		}
		h.problem("letters", err)
		if err != nil {
			pause(ctx, retry)
			continue
		}
		for _, r := range list {
			if err := h.letter(ctx, r.Signed); err != nil {
				h.cfg.Logger.Warn("a letter is of no use", "err", err)
			}
			h.store.setNumber(ctx, "letters", r.Number)
		}
		if err := h.store.err(); err != nil {
			return err
		}
		if len(list) > 0 {
			wake(h.work)
		}
	}
	return nil
}

func (h *Host) collect(ctx context.Context, after uint64) ([]escrow.Received, error) {
	self, err := h.escrowID(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := wire.Marshal(escrow.Collect{Purpose: escrow.PurposeCollect, Escrow: self, Vault: h.id, At: time.Now().Unix(), After: after})
	if err != nil {
		return nil, err
	}
	sig, err := signer{h}.Sign(ctx, raw)
	if err != nil {
		return nil, err
	}
	return h.escrow.Collect(ctx, escrow.Signed{Body: raw, Sig: sig}, 10*time.Second)
}

// letter takes one letter, whoever wrote it, once or more often.
func (h *Host) letter(ctx context.Context, s escrow.Signed) error {
	w, err := s.Open(h.id, func(v wire.VaultID) (wire.Identity, error) {
		p, err := h.peer(ctx, v)
		return p.Identity, err
	})
	if err != nil {
		return err
	}
	var l letter
	if err := wire.Unmarshal(w.Body, &l); err != nil {
		return fmt.Errorf("letter of vault %s: %w", w.From.Short(), err)
	}
	if l.parts() != 1 {
		return fmt.Errorf("letter of vault %s: it says %d things", w.From.Short(), l.parts())
	}
	h.dealing.Lock()
	defer h.dealing.Unlock()
	switch {
	case l.Propose != nil:
		err = h.drafted(ctx, w.From, l.Draft, *l.Propose)
	default:
		err = h.answered(ctx, w.From, l)
	}
	if err != nil {
		return fmt.Errorf("letter of vault %s about draft %s: %w", w.From.Short(), l.Draft, err)
	}
	return nil
}

var errDraft = errors.New("not a draft that this client can take")
