package key

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"latchkey/wire"
)

// A Tree is the Merkle tree over the public keys of a batch, with the hashes of
// RFC 6962 §2.1. A leaf is "latchkey/key/leaf/v1" ‖ key type ‖ index, four bytes
// big-endian ‖ point.
type Tree struct {
	levels [][]wire.Hash // leaves first, the root alone in the last
}

// NewTree hashes 1 to MaxBatch keys of one type, no two of them equal.
func NewTree(points []Point) (Tree, error) {
	if len(points) < 1 || len(points) > MaxBatch {
		return Tree{}, fmt.Errorf("tree of %d keys, want 1 to %d", len(points), MaxBatch)
	}
	leaves := make([]wire.Hash, len(points))
	for i, p := range points {
		if p.t == 0 || p.t != points[0].t {
			return Tree{}, fmt.Errorf("tree: key %d is of %v, the first of %v", i, p.t, points[0].t)
		}
		leaves[i] = leafHash(p, uint32(i))
	}
	if err := checkDistinct(points); err != nil {
		return Tree{}, fmt.Errorf("tree: %w", err)
	}
	t := Tree{levels: [][]wire.Hash{leaves}}
	for level := leaves; len(level) > 1; {
		// A last node without a partner moves up as it is; that is the shape that
		// RFC 6962 describes from the top.
		up := make([]wire.Hash, 0, (len(level)+1)/2)
		for i := 0; i+1 < len(level); i += 2 {
			up = append(up, nodeHash(level[i], level[i+1]))
		}
		if len(level)%2 == 1 {
			up = append(up, level[len(level)-1])
		}
		t.levels = append(t.levels, up)
		level = up
	}
	return t, nil
}

// Root returns the tree's root, or the zero Hash for the zero Tree.
func (t Tree) Root() wire.Hash {
	if len(t.levels) == 0 {
		return wire.Hash{}
	}
	return t.levels[len(t.levels)-1][0]
}

// Path returns the audit path of key i (RFC 6962 §2.1.1), lowest first: at most
// twelve hashes, none in a tree of one key.
func (t Tree) Path(i uint32) ([]wire.Hash, error) {
	if len(t.levels) == 0 || uint64(i) >= uint64(len(t.levels[0])) {
		return nil, fmt.Errorf("path: no key %d in this tree", i)
	}
	var path []wire.Hash
	for _, level := range t.levels {
		if sibling := int(i) ^ 1; sibling < len(level) {
			path = append(path, level[sibling])
		}
		i /= 2
	}
	return path, nil
}

// MerkleRoot returns the root of NewTree(points).
func MerkleRoot(points []Point) (wire.Hash, error) {
	t, err := NewTree(points)
	return t.Root(), err
}

// MerklePath returns the path of key i in NewTree(points). For many paths, keep
// the Tree.
func MerklePath(points []Point, i uint32) ([]wire.Hash, error) {
	t, err := NewTree(points)
	if err != nil {
		return nil, err
	}
	return t.Path(i)
}

// VerifyPath returns an error unless path shows that key i of the n keys under
// root is p.
func VerifyPath(root wire.Hash, n, i uint32, p Point, path []wire.Hash) error {
	if n < 1 || n > MaxBatch || i >= n || p.t == 0 {
		return fmt.Errorf("verify path: key %d of %d, %v", i, n, p.t)
	}
	h, rest := leafHash(p, i), path
	for at, size := i, n; size > 1; at, size = at/2, (size+1)/2 {
		if at^1 >= size {
			continue // the last node, without a partner
		}
		if len(rest) == 0 {
			return fmt.Errorf("verify path: %d hashes are too few for key %d of %d", len(path), i, n)
		}
		if at%2 == 1 {
			h = nodeHash(rest[0], h)
		} else {
			h = nodeHash(h, rest[0])
		}
		rest = rest[1:]
	}
	if len(rest) != 0 {
		return fmt.Errorf("verify path: %d hashes are too many for key %d of %d", len(path), i, n)
	}
	if h != root {
		return fmt.Errorf("verify path: %v is not key %d under root %s", p, i, root)
	}
	return nil
}

func leafHash(p Point, i uint32) wire.Hash {
	b := append([]byte{0}, "latchkey/key/leaf/v1"...)
	b = append(b, byte(p.t))
	b = binary.BigEndian.AppendUint32(b, i)
	return sha256.Sum256(append(b, p.enc[:pointSize(p.t)]...))
}

func nodeHash(left, right wire.Hash) wire.Hash {
	b := append([]byte{1}, left[:]...)
	return sha256.Sum256(append(b, right[:]...))
}
