package event

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"latchkey/head"
)

// Tree makes a log a transparency log: event i is leaf i of the Merkle tree of
// RFC 6962. It writes the tree's hashes as rows into the very blocks that carry
// the events; Root, ProveInclusion and ProveConsistency read them back at any
// size. A Tree has one owner, the log's writer. Nobody needs to trust it: package
// head verifies what it proves.
type Tree struct {
	size int64
	// edge[l] is the root of the full subtree of 2^l leaves at its place where bit
	// l of size is set.
	edge [64]tlog.Hash
}

const treePrefix = "\x00tree"

// OpenTree returns the tree of all events of a log without blocks in flight. It
// fails if an event was appended without the tree's rows.
func OpenTree(ctx context.Context, l Log) (*Tree, error) {
	size := l.Next()
	if size > head.MaxSize {
		return nil, fmt.Errorf("open tree: %d events, at most 2^48", size)
	}
	t := &Tree{size: int64(size)}
	for level := range t.edge {
		if t.size>>level&1 == 0 {
			continue
		}
		h, err := readHash(ctx, l, level, t.size>>level-1)
		if err != nil {
			return nil, fmt.Errorf("open tree of %d events: %w", size, err)
		}
		t.edge[level] = h
	}
	return t, nil
}

// Size returns the number of leaves.
func (t *Tree) Size() int64 { return t.size }

// Append adds events as leaves and returns the rows to put into the block that
// appends them to the log. When that block fails, the tree is ahead of the log
// and must be opened again.
func (t *Tree) Append(events ...[]byte) []Row {
	rows := make([]Row, 0, len(events))
	for _, e := range events {
		h, level := tlog.RecordHash(e), 0
		value := append(make([]byte, 0, 2*tlog.HashSize), h[:]...)
		for ; t.size>>level&1 == 1; level++ {
			h = tlog.NodeHash(t.edge[level], h)
			value = append(value, h[:]...)
		}
		t.edge[level] = h
		rows = append(rows, Row{Key: treeKey(t.size), Value: value})
		t.size++
	}
	return rows
}

// Root returns the root over all leaves, those in flight included.
func (t *Tree) Root() head.Hash {
	if t.size == 0 {
		return head.EmptyRoot()
	}
	low := bits.TrailingZeros64(uint64(t.size))
	h := t.edge[low]
	for level := low + 1; level < len(t.edge); level++ {
		if t.size>>level&1 == 1 {
			h = tlog.NodeHash(t.edge[level], h)
		}
	}
	return h
}

// Root returns the root over the first size events of a log.
func Root(ctx context.Context, l Log, size int64) (head.Hash, error) {
	if err := checkSize(l, size); err != nil {
		return head.Hash{}, fmt.Errorf("root: %w", err)
	}
	h, err := tlog.TreeHash(size, hashReader(ctx, l))
	if err != nil {
		return head.Hash{}, fmt.Errorf("root of %d events: %w", size, err)
	}
	return h, nil
}

// ProveInclusion proves that event index is in the tree of the first size
// events, for head.VerifyInclusion.
func ProveInclusion(ctx context.Context, l Log, index, size int64) ([]head.Hash, error) {
	if err := checkSize(l, size); err != nil {
		return nil, fmt.Errorf("prove inclusion: %w", err)
	}
	proof, err := tlog.ProveRecord(size, index, hashReader(ctx, l))
	if err != nil {
		return nil, fmt.Errorf("prove event %d of %d: %w", index, size, err)
	}
	return proof, nil
}

// ProveConsistency proves that the tree of the first size events begins with
// that of the first old events, for head.VerifyConsistency. From 0, and from size
// itself, the proof is empty.
func ProveConsistency(ctx context.Context, l Log, old, size int64) ([]head.Hash, error) {
	if err := checkSize(l, size); err != nil {
		return nil, fmt.Errorf("prove consistency: %w", err)
	}
	if old < 0 || old > size {
		return nil, fmt.Errorf("prove consistency from %d to %d events", old, size)
	}
	if old == 0 || old == size {
		return nil, nil
	}
	proof, err := tlog.ProveTree(size, old, hashReader(ctx, l))
	if err != nil {
		return nil, fmt.Errorf("prove consistency from %d to %d events: %w", old, size, err)
	}
	return proof, nil
}

func checkSize(l Log, size int64) error {
	if next := l.Next(); size < 0 || size > head.MaxSize || uint64(size) > next {
		return fmt.Errorf("tree of %d events of a log of %d", size, next)
	}
	return nil
}

func hashReader(ctx context.Context, l Log) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			level, n := tlog.SplitStoredHashIndex(index)
			h, err := readHash(ctx, l, level, n)
			if err != nil {
				return nil, err
			}
			hashes[i] = h
		}
		return hashes, nil
	})
}

// readHash reads the n'th hash of a level. The row of a leaf has the hashes of
// all subtrees that the leaf completes, from level 0 up.
func readHash(ctx context.Context, l Log, level int, n int64) (tlog.Hash, error) {
	leaf := (n+1)<<level - 1
	value, found, err := l.Get(ctx, treeKey(leaf))
	if err != nil {
		return tlog.Hash{}, fmt.Errorf("read tree hashes of event %d: %w", leaf, err)
	}
	if !found || len(value) != (1+bits.TrailingZeros64(uint64(leaf+1)))*tlog.HashSize {
		return tlog.Hash{}, fmt.Errorf("tree hashes of event %d are missing or not whole (%d bytes)", leaf, len(value))
	}
	return tlog.Hash(value[level*tlog.HashSize:][:tlog.HashSize]), nil
}

func treeKey(leaf int64) []byte {
	return binary.BigEndian.AppendUint64([]byte(treePrefix), uint64(leaf))
}
