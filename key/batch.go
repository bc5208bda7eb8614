package key

import (
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

// contexts returns those of the proofs from the i'th on.
func (b Batch) contexts(role Role, i int) func(k int) ProofContext {
	return func(k int) ProofContext {
		return ProofContext{Batch: b.ID, Index: uint32(i + k), Role: role, Owner: b.Owner, Escrow: b.Escrow}
	}
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
	for i, s := range shares {
		if s.Type() != b.Type {
			return CheckedHalf{}, fmt.Errorf("prove batch %s: share %d is none, or not of %v", b.ID, i, b.Type)
		}
	}
	err := each(len(shares), 16, func(i, j int) error {
		p := public(shares[i:j]...)
		proofs, err := prove(shares[i:j], p, b.contexts(role, i), noise[32*i:])
		copy(half.Points[i:], p)
		copy(half.Proofs[i:], proofs)
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
		err = each(len(h.Points), 16, func(i, j int) error {
			for k, p := range h.Points[i:j] {
				if p.t != b.Type {
					return fmt.Errorf("point %d is of %v, the batch of %v", i+k, p.t, b.Type)
				}
			}
			return verify(h.Points[i:j], b.contexts(role, i), h.Proofs[i:j])
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
	err := each(len(keys), 16, func(i, j int) error {
		sums := make([]*element, j-i)
		for k := range sums {
			x, err := elements(owner.half.Points[i+k], escrow.half.Points[i+k])
			if err != nil {
				return err
			}
			sums[k] = x[0].plus(x[1])
		}
		p, err := points(sums...)
		copy(keys[i:], p)
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

// each calls f for parts [i, j) of 0 to n−1, each of at most 64, on as many cores as
// have at least so much to do, and returns the error of the lowest part that
// failed; f of higher ones may not be called.
func each(n, least int, f func(i, j int) error) error {
	workers := max(1, min(runtime.GOMAXPROCS(0), n/least))
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		work := func() {
			end := (w + 1) * n / workers
			for i := w * n / workers; i < end && errs[w] == nil; i += 64 {
				errs[w] = f(i, min(i+64, end))
			}
		}
		if w == workers-1 {
			work()
		} else {
			wg.Go(work)
		}
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
