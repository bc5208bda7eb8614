// Package key makes, refreshes and joins the two halves of a chunk's private
// key, and certifies whole batches of such keys.
//
// A chunk's key is d = a + b modulo the group's order, its public key is
// P = A + B with A = aG and B = bG. The owner's vault holds the share a, the
// escrow holds b; nobody holds d before the chunk is claimed. The same sum works
// on both curves. In the order of a chunk's life:
//
//   - Batch.Generate, CheckHalf, CheckOpen and Join make N keys at once, with a
//     commitment and a proof of knowledge (Prove, VerifyProof) for every share;
//   - NewTree hashes their public keys into the root that a Certificate names,
//     and a Chunk travels with its path under that root;
//   - Refresh moves a random r from b to a: P stays, older shares go stale;
//     CheckRefresh and CheckShare are what others verify of it;
//   - Combine yields the whole Private key, and only the one that fits P.
//
// Everything here is a pure function of its arguments: randomness and time are
// passed in, equal arguments give equal results. The formats, and the protocols
// for other implementers, are in spec/key.md.
//
// Operations on shares run in constant time. Those on points do not: points are
// public.
package key

import (
	"errors"
	"fmt"

	"latchkey/wire"
)

// A Role says which of the two shares of a key somebody holds. The zero Role is
// none and is refused everywhere.
type Role uint8

// The roles. Their numbers are part of every format.
const (
	Owner  Role = 1 // holds a
	Escrow Role = 2 // holds b
)

// String returns the name used in formats and messages.
func (r Role) String() string {
	switch r {
	case Owner:
		return "owner"
	case Escrow:
		return "escrow"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

func (r Role) check() error {
	if r != Owner && r != Escrow {
		return fmt.Errorf("unknown %v", r)
	}
	return nil
}

// checkHolders refuses missing holders, and one vault as both.
func checkHolders(owner, escrow wire.VaultID) error {
	switch {
	case owner == wire.VaultID{}:
		return errors.New("no owner")
	case escrow == wire.VaultID{}:
		return errors.New("no escrow")
	case owner == escrow:
		return fmt.Errorf("vault %s is both owner and escrow", owner.Short())
	}
	return nil
}
