package head

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
)

// maxProof bounds the lines of a consistency proof (C2SP tlog-witness).
const maxProof = 63

// Request is one add-checkpoint call of C2SP tlog-witness: a signed checkpoint,
// and the proof that it continues the head of size Old.
type Request struct {
	Old    int64
	Proof  []Hash
	Signed []byte
}

// Origin returns the origin that the checkpoint claims, unverified: it tells
// which log's key and state to decide with.
func (r Request) Origin() (string, error) {
	c, err := unverified(r.Signed)
	return c.Origin, err
}

// Seen is what a witness remembers of one log: the last head it agreed to sign,
// and its stamp in Unix seconds. A log starts at the zero Seen, or where the
// witness's operator orders. A witness makes its Seen durable before it signs;
// if it loses one and starts again lower, it counts as one of the F.
type Seen struct {
	Size  int64
	Root  Hash
	Stamp int64
}

// ConflictError says that a request does not start from the witness's head. It
// carries that head's size, from which a request may succeed.
type ConflictError struct {
	Size int64 // of the witness's head
	Fork bool  // the request has a different head of the very same size
}

func (e *ConflictError) Error() string {
	if e.Fork {
		return fmt.Sprintf("witness has a different head of size %d", e.Size)
	}
	return fmt.Sprintf("witness is at size %d", e.Size)
}

// Consent is a witness's decision to sign: the Seen to store first, then
// Cosign. The zero Consent signs nothing.
type Consent struct {
	Next       Seen
	checkpoint Checkpoint
}

// Decide says whether a witness that remembers seen of a log cosigns the
// request's head, at now in Unix seconds. Stamps never run backwards: where now
// is before the last stamp, that one is used again. The same head may be signed
// anew; two heads that disagree never are. The error wraps ErrMalformed,
// ErrSignature or ErrProof, or is a *ConflictError, in the order of the checks
// of C2SP tlog-witness.
func Decide(log LogKey, seen Seen, r Request, now int64) (Consent, error) {
	c, err := OpenCheckpoint(r.Signed, log)
	if err != nil {
		return Consent{}, err
	}
	old := Checkpoint{Origin: c.Origin, Size: seen.Size, Root: seen.Root}
	if seen.Size == 0 {
		old.Root = EmptyRoot()
	}
	switch {
	case r.Old < 0 || r.Old > c.Size || len(r.Proof) > maxProof:
		return Consent{}, fmt.Errorf("%w request: old size %d with %d proof lines, checkpoint of size %d", ErrMalformed, r.Old, len(r.Proof), c.Size)
	case r.Old != seen.Size:
		return Consent{}, &ConflictError{Size: seen.Size}
	case c.Size == seen.Size && c.Root != old.Root:
		return Consent{}, &ConflictError{Size: seen.Size, Fork: true}
	}
	if err := VerifyConsistency(old, c, r.Proof); err != nil {
		return Consent{}, err
	}
	if now < 0 {
		return Consent{}, fmt.Errorf("witness clock shows %d, before 1970", now)
	}
	return Consent{Next: Seen{Size: c.Size, Root: c.Root, Stamp: max(now, seen.Stamp)}, checkpoint: c}, nil
}

// Cosign signs the head that the witness consented to and returns the signature
// line. Next must be durable by then.
func (c Consent) Cosign(name string, private ed25519.PrivateKey) ([]byte, error) {
	if c.checkpoint.Check() != nil || len(private) != ed25519.PrivateKeySize {
		return nil, errors.New("cosign: nothing consented to, or no private key")
	}
	key, err := NewWitnessKey(name, private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, fmt.Errorf("cosign: %w", err)
	}
	sig := binary.BigEndian.AppendUint64(nil, uint64(c.Next.Stamp))
	sig = append(sig, ed25519.Sign(private, cosignedMessage(c.checkpoint.Text(), c.Next.Stamp))...)
	return signatureLine(key.identity, sig), nil
}
