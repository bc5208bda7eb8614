package key

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"latchkey/coin"
	"latchkey/wire"
)

// CertificateVersion is the only version of Certificate that this package takes.
const CertificateVersion = 1

// maxTime is the last second of the year 9999; no date in a certificate is later.
const maxTime = 253402300799

// ClockSkew is how far, in seconds, a certificate's Made may lie ahead of the
// verifier's time, whose clock follows other witnesses.
const ClockSkew = 600

// ErrExpired is returned for a certificate whose Expiry has come: it takes no
// new funding and no lock. Claims go on; see VerifyForClaim.
var ErrExpired = errors.New("certificate has expired")

// A Holder keeps one share of each key: any one of its vaults does.
type Holder struct {
	Role   Role           `cbor:"1,keyasint" json:"role"`
	Vaults []wire.VaultID `cbor:"2,keyasint" json:"vaults"`
}

// Custody says who holds shares, and how many of them make a key. Version 1
// knows one policy: the owner and one escrow, both needed, shares that add up.
type Custody struct {
	Holders   []Holder `cbor:"1,keyasint" json:"holders"`
	Threshold uint8    `cbor:"2,keyasint" json:"threshold"`
}

// A Certificate describes the keys of one batch: what each holds once it is
// funded, who keeps its shares and until when it may be used. It is a claim;
// VerifiedCertificate is the checked one.
type Certificate struct {
	Version      uint8             `cbor:"1,keyasint" json:"version"`
	Denomination coin.Denomination `cbor:"2,keyasint" json:"denomination"`
	Weight       uint32            `cbor:"3,keyasint" json:"weight"` // units in each chunk; on the 1-2-5 ladder
	N            uint32            `cbor:"4,keyasint" json:"n"`      // keys, 1 to MaxBatch
	Root         wire.Hash         `cbor:"5,keyasint" json:"root"`   // of the Tree over the keys
	Batch        wire.Hash         `cbor:"6,keyasint" json:"batch"`  // Batch.ID
	Owner        []wire.VaultID    `cbor:"7,keyasint" json:"owner"`  // recipients of a and every r; version 1 has one
	Escrow       wire.VaultID      `cbor:"8,keyasint" json:"escrow"`
	Custody      Custody           `cbor:"9,keyasint" json:"custody"`
	Made         int64             `cbor:"10,keyasint" json:"made"`   // Unix seconds
	Expiry       int64             `cbor:"11,keyasint" json:"expiry"` // Unix seconds; the first at which it is expired

	// Digests of the evidence under which the two holders accepted each other.
	OwnerEvidence  wire.Hash `cbor:"12,keyasint" json:"owner_evidence"`
	EscrowEvidence wire.Hash `cbor:"13,keyasint" json:"escrow_evidence"`

	Log string `cbor:"14,keyasint" json:"log"` // origin of the escrow's log, 1 to 255 visible ASCII characters without '+'
}

// AdditiveCustody is the policy of version 1: owner and escrow, both needed.
func AdditiveCustody(owner, escrow wire.VaultID) Custody {
	return Custody{Holders: []Holder{{Owner, []wire.VaultID{owner}}, {Escrow, []wire.VaultID{escrow}}}, Threshold: 2}
}

// Check returns an error that names the first field that is missing, absurd or
// at odds with another. It says nothing of signatures and of the time now.
func (c Certificate) Check() error {
	if err := c.check(); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return nil
}

func (c Certificate) check() error {
	if c.Version != CertificateVersion {
		return fmt.Errorf("version %d, want %d", c.Version, CertificateVersion)
	}
	if err := c.Denomination.Check(); err != nil {
		return err
	}
	if _, err := c.Denomination.Deposit(c.Weight); err != nil {
		return err
	}
	if c.N < 1 || c.N > MaxBatch {
		return fmt.Errorf("%d keys, want 1 to %d", c.N, MaxBatch)
	}
	switch (wire.Hash{}) {
	case c.Root:
		return errors.New("no root")
	case c.Batch:
		return errors.New("no batch")
	case c.OwnerEvidence:
		return errors.New("no digest of the owner's evidence")
	case c.EscrowEvidence:
		return errors.New("no digest of the escrow's evidence")
	}
	if len(c.Owner) != 1 {
		return fmt.Errorf("%d owner's vaults, version 1 wants one", len(c.Owner))
	}
	if err := checkHolders(c.Owner[0], c.Escrow); err != nil {
		return err
	}
	if !reflect.DeepEqual(c.Custody, AdditiveCustody(c.Owner[0], c.Escrow)) {
		return errors.New("custody is not that of the owner and the escrow, both needed")
	}
	if c.Made < 0 || c.Expiry <= c.Made || c.Expiry > maxTime {
		return fmt.Errorf("made at %d with expiry %d: want 0 ≤ made < expiry ≤ %d", c.Made, c.Expiry, int64(maxTime))
	}
	return checkOrigin(c.Log)
}

// checkOrigin applies the rules of head.NewLogKey to the name of a log.
func checkOrigin(s string) error {
	bad := func(c rune) bool { return c <= ' ' || c > '~' || c == '+' }
	if len(s) < 1 || len(s) > 255 || strings.ContainsFunc(s, bad) {
		return fmt.Errorf("log origin %.300q is not 1 to 255 visible ASCII characters without '+'", s)
	}
	return nil
}

// CheckBatch returns an error unless c certifies exactly these keys of this
// batch: the last check of both sides before they sign.
func (c Certificate) CheckBatch(b Batch, keys []Point) error {
	root, err := MerkleRoot(keys)
	switch {
	case err != nil:
	case c.Batch != b.ID:
		err = errors.New("another batch")
	case c.Denomination.Asset.Key != b.Type || keys[0].t != b.Type:
		err = fmt.Errorf("asset with keys of %v, batch of %v, points of %v", c.Denomination.Asset.Key, b.Type, keys[0].t)
	case c.N != b.N || int(c.N) != len(keys):
		err = fmt.Errorf("%d keys, batch of %d, %d points", c.N, b.N, len(keys))
	case !slices.Equal(c.Owner, []wire.VaultID{b.Owner}) || c.Escrow != b.Escrow:
		err = errors.New("other holders")
	case c.Root != root:
		err = errors.New("the root is over other keys")
	}
	if err != nil {
		return fmt.Errorf("certificate for batch %s: %w", b.ID, err)
	}
	return nil
}

// Encode checks c and returns the body that both holders sign, and its id.
func (c Certificate) Encode() ([]byte, wire.CertID, error) {
	if err := c.Check(); err != nil {
		return nil, wire.CertID{}, err
	}
	body, err := wire.Marshal(c)
	if err != nil {
		return nil, wire.CertID{}, fmt.Errorf("certificate: %w", err)
	}
	return body, certID(body), nil
}

// ID checks c and returns its id, the hash of its deterministic encoding.
func (c Certificate) ID() (wire.CertID, error) {
	_, id, err := c.Encode()
	return id, err
}

func certID(body []byte) wire.CertID {
	return wire.CertID(wire.HashBytes("latchkey/certificate/v1", body))
}

// Sign returns the signature of one holder's identity key over c. It refuses a
// certificate that does not pass Check.
func (c Certificate) Sign(role Role, k ed25519.PrivateKey) ([]byte, error) {
	body, _, err := c.Encode()
	if err == nil {
		err = role.check()
	}
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return wire.Sign(k, role.certificatePurpose(), body), nil
}

// certificatePurpose keeps the two signatures apart: neither passes for the
// other.
func (r Role) certificatePurpose() string { return "latchkey/certificate/v1/" + r.String() }

// A SignedCertificate is the body of a certificate as both holders signed it.
type SignedCertificate struct {
	Body      []byte `cbor:"1,keyasint" json:"body"`
	OwnerSig  []byte `cbor:"2,keyasint" json:"owner_sig"`
	EscrowSig []byte `cbor:"3,keyasint" json:"escrow_sig"`
}

// ID returns the id of the certificate in the body, unverified.
func (s SignedCertificate) ID() wire.CertID { return certID(s.Body) }

// Unverified decodes the body and checks its structure only: for finding the
// identities with which to verify it.
func (s SignedCertificate) Unverified() (Certificate, error) {
	var c Certificate
	if err := wire.Unmarshal(s.Body, &c); err != nil {
		return Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	return c, c.Check()
}

// Verify checks a certificate for new use, funding or a lock, at now in Unix
// seconds: its structure, that owner and escrow are the identities it names, both
// signatures, and that it is neither expired (ErrExpired) nor made more than
// ClockSkew after now. Whether the two identities are trustworthy is for evidence
// and policy to say.
func (s SignedCertificate) Verify(owner, escrow wire.Identity, now int64) (VerifiedCertificate, error) {
	v, err := s.VerifyForClaim(owner, escrow)
	if err != nil {
		return VerifiedCertificate{}, err
	}
	if err := v.CheckTime(now); err != nil {
		return VerifiedCertificate{}, err
	}
	return v, nil
}

// VerifyForClaim is Verify without the time: expiry bars no claim.
func (s SignedCertificate) VerifyForClaim(owner, escrow wire.Identity) (VerifiedCertificate, error) {
	c, err := s.Unverified()
	if err != nil {
		return VerifiedCertificate{}, err
	}
	v := VerifiedCertificate{c: c, id: s.ID()}
	if v.deposit, err = c.Denomination.Deposit(c.Weight); err == nil {
		err = s.verify(Owner, c.Owner[0], owner, s.OwnerSig)
	}
	if err == nil {
		err = s.verify(Escrow, c.Escrow, escrow, s.EscrowSig)
	}
	if err != nil {
		return VerifiedCertificate{}, fmt.Errorf("certificate %s: %w", v.id.Short(), err)
	}
	return v, nil
}

// verify checks one holder's signature, and that it is the one the body names.
func (s SignedCertificate) verify(role Role, named wire.VaultID, holder wire.Identity, sig []byte) error {
	id, err := holder.ID()
	if err == nil && id != named {
		err = fmt.Errorf("names vault %s, not %s", named, id)
	}
	if err == nil {
		err = holder.Verify(role.certificatePurpose(), s.Body, sig)
	}
	if err != nil {
		return fmt.Errorf("%v: %w", role, err)
	}
	return nil
}

// A VerifiedCertificate is a certificate that both its holders signed. Only
// SignedCertificate makes one; the zero VerifiedCertificate covers nothing.
type VerifiedCertificate struct {
	c       Certificate
	id      wire.CertID
	deposit coin.Amount
}

// Certificate returns the content. The caller does not change its lists.
func (v VerifiedCertificate) Certificate() Certificate { return v.c }

// ID returns the certificate's id.
func (v VerifiedCertificate) ID() wire.CertID { return v.id }

// Deposit returns the coins that each of its chunks holds: weight × unit.
func (v VerifiedCertificate) Deposit() coin.Amount { return v.deposit }

// CheckTime returns ErrExpired from the certificate's Expiry on, and an error
// more than ClockSkew before its Made.
func (v VerifiedCertificate) CheckTime(now int64) error {
	switch {
	case now < 0 || now > maxTime:
		return fmt.Errorf("certificate %s: absurd time %d", v.id.Short(), now)
	case now >= v.c.Expiry:
		return fmt.Errorf("certificate %s: expiry %d, now %d: %w", v.id.Short(), v.c.Expiry, now, ErrExpired)
	case v.c.Made > now+ClockSkew:
		return fmt.Errorf("certificate %s: made at %d, after now, %d", v.id.Short(), v.c.Made, now)
	}
	return nil
}

// CheckDenomination returns an error unless the certificate is for exactly this
// denomination: asset, chain, address form, key type and unit.
func (v VerifiedCertificate) CheckDenomination(want coin.Denomination) error {
	if got := v.c.Denomination; got != want {
		return fmt.Errorf("certificate %s: denomination %+v, want %+v", v.id.Short(), got, want)
	}
	return nil
}

// ChunkIDOf names key index of a certificate.
func ChunkIDOf(cert wire.CertID, index uint32) wire.ChunkID {
	return wire.ChunkID(wire.HashBytes("latchkey/chunk/v1", binary.BigEndian.AppendUint32(cert[:], index)))
}

// A Chunk refers to one key of a certificate and carries the path that shows it
// to be there. As received it is unverified.
type Chunk struct {
	Cert  wire.CertID `cbor:"1,keyasint" json:"cert"`
	Index uint32      `cbor:"2,keyasint" json:"index"`
	Key   Point       `cbor:"3,keyasint" json:"key"`
	Path  []wire.Hash `cbor:"4,keyasint" json:"path"`
}

// ID returns the chunk's id, which says nothing of whether it exists.
func (c Chunk) ID() wire.ChunkID { return ChunkIDOf(c.Cert, c.Index) }

// VerifyChunk checks that c is a chunk of this certificate: the same certificate
// id, a key of the asset's type, and a path to the root.
func (v VerifiedCertificate) VerifyChunk(c Chunk) (VerifiedChunk, error) {
	if c.Cert != v.id {
		return VerifiedChunk{}, fmt.Errorf("chunk of certificate %s, have %s", c.Cert, v.id)
	}
	if t := v.c.Denomination.Asset.Key; c.Key.t != t {
		return VerifiedChunk{}, fmt.Errorf("chunk %s: key of %v, certificate for %v", c.ID().Short(), c.Key.t, t)
	}
	if err := VerifyPath(v.c.Root, v.c.N, c.Index, c.Key, c.Path); err != nil {
		return VerifiedChunk{}, fmt.Errorf("chunk %s: %w", c.ID().Short(), err)
	}
	return VerifiedChunk{id: c.ID(), cert: v, index: c.Index, key: c.Key}, nil
}

// A VerifiedChunk is a chunk that its certificate covers. Only VerifyChunk makes
// one.
type VerifiedChunk struct {
	id    wire.ChunkID
	cert  VerifiedCertificate
	index uint32
	key   Point
}

// ID returns the chunk's id.
func (c VerifiedChunk) ID() wire.ChunkID { return c.id }

// Certificate returns the certificate that covers it.
func (c VerifiedChunk) Certificate() VerifiedCertificate { return c.cert }

// Index returns the chunk's place in its certificate.
func (c VerifiedChunk) Index() uint32 { return c.index }

// Key returns P, the public key that the deposit is paid to.
func (c VerifiedChunk) Key() Point { return c.key }
