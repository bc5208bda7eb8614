package head

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Frontier is the right edge of a growing tree: enough to append entries and to
// compute roots in O(log n), with no access to the log. It is a value: copying
// it clones it, and equal frontiers compare equal. The zero Frontier is empty.
type Frontier struct {
	size int64
	// nodes[l] is the root of the full subtree of 2^l entries at its place where
	// bit l of size is set, and zero elsewhere.
	nodes [49]Hash
}

// Size returns the number of entries.
func (f *Frontier) Size() int64 { return f.size }

// Append adds an entry. It fails, changing nothing, at MaxSize.
func (f *Frontier) Append(entry []byte) error {
	if f.size >= MaxSize {
		return errors.New("log is full: 2^48 entries")
	}
	h, level := LeafHash(entry), 0
	for ; f.size>>level&1 == 1; level++ {
		h = tlog.NodeHash(f.nodes[level], h)
		f.nodes[level] = Hash{}
	}
	f.nodes[level] = h
	f.size++
	return nil
}

// Root returns the root of the tree of all entries (RFC 6962 section 2.1).
func (f *Frontier) Root() Hash {
	if f.size == 0 {
		return EmptyRoot()
	}
	low := bits.TrailingZeros64(uint64(f.size))
	h := f.nodes[low]
	for level := low + 1; level < len(f.nodes); level++ {
		if f.size>>level&1 == 1 {
			h = tlog.NodeHash(f.nodes[level], h)
		}
	}
	return h
}

// MarshalBinary encodes the frontier: the size in eight bytes, big-endian, then
// a hash for each bit set in it, the highest bit first.
func (f *Frontier) MarshalBinary() ([]byte, error) {
	out := binary.BigEndian.AppendUint64(nil, uint64(f.size))
	for level := len(f.nodes) - 1; level >= 0; level-- {
		if f.size>>level&1 == 1 {
			out = append(out, f.nodes[level][:]...)
		}
	}
	return out, nil
}

// UnmarshalBinary reads what MarshalBinary writes. It checks the shape; whether
// the hashes are those of a certain log shows only in the Root.
func (f *Frontier) UnmarshalBinary(data []byte) error {
	if len(data) < 8 {
		return fmt.Errorf("%w frontier: %d bytes", ErrMalformed, len(data))
	}
	size, rest := binary.BigEndian.Uint64(data), data[8:]
	if size > MaxSize || len(rest) != bits.OnesCount64(size)*tlog.HashSize {
		return fmt.Errorf("%w frontier: size %d with %d bytes of hashes", ErrMalformed, size, len(rest))
	}
	next := Frontier{size: int64(size)}
	for level := len(next.nodes) - 1; level >= 0; level-- {
		if size>>level&1 == 1 {
			next.nodes[level] = Hash(rest[:tlog.HashSize])
			rest = rest[tlog.HashSize:]
		}
	}
	*f = next
	return nil
}
