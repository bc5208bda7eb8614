package key

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"

	"latchkey/coin"
	"latchkey/wire"
)

// MaxBatch is the greatest number of keys that are made and certified together.
const MaxBatch = 4096

// A Batch names N keys that an owner's vault and an escrow make together. The
// owner draws the ID, 32 random bytes, anew for each batch.
type Batch struct {
	ID     wire.Hash    `cbor:"1,keyasint" json:"id"`
	Type   coin.KeyType `cbor:"2,keyasint" json:"type"`
	N      uint32       `cbor:"3,keyasint" json:"n"` // 1 to MaxBatch
	Owner  wire.VaultID `cbor:"4,keyasint" json:"owner"`
	Escrow wire.VaultID `cbor:"5,keyasint" json:"escrow"`
}

// Check returns an error that names the first field that is missing or absurd.
func (b Batch) Check() error {
	if b.ID == (wire.Hash{}) {
		return errors.New("batch without an id")
	}
	if pointSize(b.Type) == 0 {
		return fmt.Errorf("batch %s: unknown %v", b.ID, b.Type)
	}
	if b.N < 1 || b.N > MaxBatch {
		return fmt.Errorf("batch %s: %d keys, want 1 to %d", b.ID, b.N, MaxBatch)
	}
	if err := checkHolders(b.Owner, b.Escrow); err != nil {
		return fmt.Errorf("batch %s: %w", b.ID, err)
	}
	return nil
}

func (b Batch) context(role Role, i int) ProofContext {
	return ProofContext{Batch: b.ID, Index: uint32(i), Role: role, Owner: b.Owner, Escrow: b.Escrow}
}

// A Half is what one side of a batch publishes: its point for every index, and a
// proof of knowledge for each. As received it is unverified.
type Half struct {
	Points []Point `cbor:"1,keyasint"`
	Proofs []Proof `cbor:"2,keyasint"`
}

// maxHalf bounds the encoding of a Half: MaxBatch points of 36 bytes and proofs
// of 68, and ten bytes around them.
const maxHalf = MaxBatch*(36+68) + 10

// UnmarshalCBOR bounds the work that a hostile half causes, and then reads it as
// any other structure: every point is checked in full, no proof is verified.
func (h *Half) UnmarshalCBOR(b []byte) error {
	if len(b) > maxHalf {
		return fmt.Errorf("read half: %d bytes, at most %d", len(b), maxHalf)
	}
	type plain Half
	return wire.Unmarshal(b, (*plain)(h))
}

// A CheckedHalf is a Half of a known batch and role whose every proof verified,
// or which this side made itself. Only this package makes one; the zero
// CheckedHalf is refused.
type CheckedHalf struct {
	batch Batch
	role  Role
	half  Half
}

// Half returns what to send. The caller does not change it.
func (c CheckedHalf) Half() Half { return c.half }

// Generate draws one side's N shares and proves them: 96 bytes of rand for each
// key, those of all shares first. The shares must be durable before the
// certificate is signed.
func (b Batch) Generate(role Role, rand io.Reader) ([]Share, CheckedHalf, error) {
	if err := b.Check(); err != nil {
		return nil, CheckedHalf{}, fmt.Errorf("generate: %w", err)
	}
	shares := make([]Share, b.N)
	for i := range shares {
		var err error
		if shares[i], err = NewShare(b.Type, rand); err != nil {
			return nil, CheckedHalf{}, fmt.Errorf("generate: %w", err)
		}
	}
	half, err := b.Prove(role, shares, rand)
	if err != nil {
		return nil, CheckedHalf{}, err
	}
	return shares, half, nil
}

// Prove makes a side's half again from the shares that it kept: the points that
// Generate returned, with fresh proofs. It takes 32 bytes of rand for each.
func (b Batch) Prove(role Role, shares []Share, rand io.Reader) (CheckedHalf, error) {
	if err := b.Check(); err != nil {
		return CheckedHalf{}, fmt.Errorf("prove: %w", err)
	}
	if len(shares) != int(b.N) {
		return CheckedHalf{}, fmt.Errorf("prove batch %s: %d shares for %d keys", b.ID, len(shares), b.N)
	}
	noise := make([]byte, 32*len(shares))
	defer clear(noise)
	if err := readRandom(rand, noise); err != nil {
		return CheckedHalf{}, fmt.Errorf("prove batch %s: %w", b.ID, err)
	}
	half := Half{make([]Point, b.N), make([]Proof, b.N)}
	err := each(len(shares), func(i int) (err error) {
		if shares[i].Type() != b.Type {
			return fmt.Errorf("share %d is none, or not of %v", i, b.Type)
		}
		half.Points[i] = shares[i].Public()
		half.Proofs[i], err = prove(shares[i], half.Points[i], b.context(role, i), bytes.NewReader(noise[32*i:]))
		return err
	})
	if err != nil {
		return CheckedHalf{}, fmt.Errorf("prove batch %s: %w", b.ID, err)
	}
	return CheckedHalf{b, role, half}, nil
}

// CheckHalf verifies the half of a batch that the holder of role sent: N points
// of the batch's type with a proof each. It returns ErrProof, with the index,
// for the first proof that does not verify.
func (b Batch) CheckHalf(role Role, h Half) (CheckedHalf, error) {
	h = Half{slices.Clone(h.Points), slices.Clone(h.Proofs)}
	err := b.Check()
	if err == nil && (len(h.Points) != int(b.N) || len(h.Proofs) != int(b.N)) {
		err = fmt.Errorf("%d points and %d proofs for %d keys", len(h.Points), len(h.Proofs), b.N)
	}
	if err == nil {
		err = each(len(h.Points), func(i int) error {
			if h.Points[i].t != b.Type {
				return fmt.Errorf("point %d is of %v, the batch of %v", i, h.Points[i].t, b.Type)
			}
			return VerifyProof(h.Points[i], b.context(role, i), h.Proofs[i])
		})
	}
	if err != nil {
		return CheckedHalf{}, fmt.Errorf("check half: %w", err)
	}
	return CheckedHalf{b, role, h}, nil
}

// Commit returns the owner's commitment to its points, which it sends before it
// sees the escrow's. It hides them while salt, 32 random bytes used once, is
// secret.
func (b Batch) Commit(points []Point, salt [32]byte) wire.Hash {
	m := make([]byte, 0, 32+1+4+32+32+32+len(points)*33)
	m = append(m, b.ID[:]...)
	m = append(m, byte(b.Type))
	m = binary.BigEndian.AppendUint32(m, b.N)
	m = append(m, b.Owner[:]...)
	m = append(m, b.Escrow[:]...)
	m = append(m, salt[:]...)
	for _, p := range points {
		m = append(m, p.enc[:pointSize(p.t)]...)
	}
	return wire.HashBytes("latchkey/key/commit/v1", m)
}

// CheckOpen verifies that the owner's half is the one it committed to, and all
// its proofs.
func (b Batch) CheckOpen(commitment wire.Hash, salt [32]byte, h Half) (CheckedHalf, error) {
	if b.Commit(h.Points, salt) != commitment {
		return CheckedHalf{}, fmt.Errorf("check opening of batch %s: the points are not those committed to", b.ID)
	}
	return b.CheckHalf(Owner, h)
}

// Join returns the public keys P = A + B of a batch, in order. It refuses halves
// of different batches or of one role, a key that is the identity, and a key
// that occurs twice: one address would back two chunks.
func Join(owner, escrow CheckedHalf) ([]Point, error) {
	if owner.batch != escrow.batch || owner.role != Owner || escrow.role != Escrow {
		return nil, errors.New("join: not the owner's and the escrow's half of one batch")
	}
	keys := make([]Point, len(owner.half.Points))
	err := each(len(keys), func(i int) (err error) {
		keys[i], err = owner.half.Points[i].Plus(escrow.half.Points[i])
		return err
	})
	if err == nil {
		err = checkDistinct(keys)
	}
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	return keys, nil
}

// checkDistinct refuses a list of keys in which one occurs twice.
func checkDistinct(keys []Point) error {
	seen := make(map[Point]int, len(keys))
	for i, p := range keys {
		if j, twice := seen[p]; twice {
			return fmt.Errorf("keys %d and %d are the same", j, i)
		}
		seen[p] = i
	}
	return nil
}

// each calls f(0) to f(n−1), on several cores when n is large, and returns the
// error of the lowest index that failed; f of higher ones may not be called.
func each(n int, f func(int) error) error {
	workers := max(1, min(runtime.GOMAXPROCS(0), n/16))
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w * n / workers; i < (w+1)*n/workers; i++ {
				if errs[w] = f(i); errs[w] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
