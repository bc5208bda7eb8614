package key

import (
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"latchkey/coin"
	"latchkey/wire"
)

// ErrProof is returned for a proof that does not verify.
var ErrProof = errors.New("proof of knowledge does not verify")

// A ProofContext says what a proof of knowledge is for: one share, of one index
// of one batch, made by one of its two holders. A proof for one context is none
// for another.
type ProofContext struct {
	Batch         wire.Hash
	Index         uint32
	Role          Role // whose share it is
	Owner, Escrow wire.VaultID
}

// Check returns an error unless the context names a batch, a role and two
// different holders.
func (c ProofContext) Check() error {
	if c.Batch == (wire.Hash{}) {
		return errors.New("proof for no batch")
	}
	if err := c.Role.check(); err != nil {
		return err
	}
	return checkHolders(c.Owner, c.Escrow)
}

// transcript returns what a proof about p binds: every field at a fixed length.
func (c ProofContext) transcript(p Point) []byte {
	b := make([]byte, 0, 32+4+1+32+32+1+33)
	b = append(b, c.Batch[:]...)
	b = binary.BigEndian.AppendUint32(b, c.Index)
	b = append(b, byte(c.Role))
	b = append(b, c.Owner[:]...)
	b = append(b, c.Escrow[:]...)
	b = append(b, byte(p.t))
	return append(b, p.enc[:pointSize(p.t)]...)
}

// A Proof shows that its maker knows the scalar of a point: a Schnorr proof made
// non-interactive by Fiat and Shamir's method (RFC 8235), in the form (R, s).
// Proofs are values; the zero Proof verifies nothing.
type Proof struct {
	t coin.KeyType
	r [33]byte // encoding of R, as in Point
	s [32]byte // canonical scalar
}

// Prove makes a proof that the caller knows share, for one context. The nonce is
// hedged: it is derived from the share, the context and 32 bytes of rand, so
// neither a weak source nor a repeated one reveals the share.
func Prove(share Share, ctx ProofContext, rand io.Reader) (Proof, error) {
	if share.IsZero() {
		return Proof{}, errors.New("prove: no share")
	}
	var noise [32]byte
	defer clear(noise[:])
	if err := readRandom(rand, noise[:]); err != nil {
		return Proof{}, fmt.Errorf("prove: %w", err)
	}
	proofs, err := prove([]Share{share}, []Point{share.Public()}, func(int) ProofContext { return ctx }, noise[:])
	if err != nil {
		return Proof{}, err
	}
	return proofs[0], nil
}

// prove is Prove for shares of which the points are at hand, and 32 bytes of noise
// for each.
func prove(shares []Share, ps []Point, ctx func(i int) ProofContext, noise []byte) ([]Proof, error) {
	transcripts, ks, xs := make([][]byte, len(shares)), make([]scalar, len(shares)), make([]*element, len(shares))
	defer clear(ks)
	for i, p := range ps {
		if err := ctx(i).Check(); err != nil {
			return nil, fmt.Errorf("prove: %w", err)
		}
		transcripts[i] = ctx(i).transcript(p)
		ks[i] = hashToScalar(p.t, "latchkey/key/nonce/v1", shares[i].scalar().b[:], noise[32*i:32*(i+1)], transcripts[i])
		xs[i] = ks[i].base()
	}
	rs, err := points(xs...)
	if err != nil {
		return nil, fmt.Errorf("prove: nonce: %w", err)
	}
	out := make([]Proof, len(rs))
	for i, R := range rs {
		e := challenge(transcripts[i], R)
		out[i] = Proof{t: R.t, r: R.enc, s: e.timesPlus(shares[i].scalar(), &ks[i]).b}
	}
	return out, nil
}

// VerifyProof returns ErrProof unless proof shows, for this context, that its
// maker knows the scalar of p. The equation is R = sG − e·p, compared in the
// canonical encoding, so R needs no check of its own.
func VerifyProof(p Point, ctx ProofContext, proof Proof) error {
	return verify([]Point{p}, func(int) ProofContext { return ctx }, []Proof{proof})
}

// verify is VerifyProof of several, each by its own equation; the error is of the
// first that fails.
func verify(ps []Point, ctx func(i int) ProofContext, proofs []Proof) error {
	var xs []*element
	var malformed error
	for i, p := range ps {
		x, err := p.element()
		if err == nil {
			err = ctx(i).Check()
		}
		if err == nil && proofs[i].t != p.t {
			err = fmt.Errorf("proof of %v for a point of %v", proofs[i].t, p.t)
		}
		if err != nil {
			malformed = fmt.Errorf("verify proof: %w", err)
			break
		}
		e := challenge(ctx(i).transcript(p), Point{p.t, proofs[i].r})
		xs = append(xs, baseMinus(&scalar{p.t, proofs[i].s}, &e, x))
	}
	rs, _ := points(xs...) // the identity is no proof's R
	for i, R := range rs {
		if R != (Point{proofs[i].t, proofs[i].r}) {
			return fmt.Errorf("verify proof: %v %d of batch %s: %w", ctx(i).Role, ctx(i).Index, ctx(i).Batch, ErrProof)
		}
	}
	return malformed
}

func challenge(transcript []byte, R Point) scalar {
	return hashToScalar(R.t, "latchkey/key/proof/v1", transcript, R.enc[:pointSize(R.t)])
}

// hashToScalar returns SHA-512(len(purpose) ‖ purpose ‖ parts…), the length in
// one byte, as an integer modulo the group's order. The parts' lengths are fixed
// by the purpose and the key type.
func hashToScalar(t coin.KeyType, purpose string, parts ...[]byte) scalar {
	h := sha512.New()
	h.Write([]byte{byte(len(purpose))})
	h.Write([]byte(purpose))
	for _, p := range parts {
		h.Write(p)
	}
	sum := [64]byte(h.Sum(nil))
	defer clear(sum[:])
	return wideScalar(t, &sum)
}

// MarshalCBOR writes one byte string: the key type's number, R, s. It refuses
// the zero Proof.
func (p Proof) MarshalCBOR() ([]byte, error) {
	if p.t == 0 {
		return nil, errors.New("encode proof: no proof")
	}
	b := append([]byte{byte(p.t)}, p.r[:pointSize(p.t)]...)
	return cborBytes(append(b, p.s[:]...)), nil
}

// UnmarshalCBOR reads what MarshalCBOR wrote. It checks lengths, and that s is
// canonical; R is checked by VerifyProof.
func (p *Proof) UnmarshalCBOR(b []byte) error {
	t, b, err := typedBytes(b)
	if err != nil {
		return fmt.Errorf("read proof: %w", err)
	}
	n := pointSize(t)
	if n == 0 || len(b) != n+32 {
		return fmt.Errorf("read proof: %d bytes of %v", len(b), t)
	}
	s, err := parseScalar(t, b[n:])
	if err != nil {
		return fmt.Errorf("read proof: %w", err)
	}
	v := Proof{t: t, s: s.b}
	copy(v.r[:], b[:n])
	*p = v
	return nil
}
