package event

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"latchkey/head"
)

// Tree makes a log a transparency log: event i is leaf i of the Merkle tree of
// RFC 6962. It writes the tree's hashes as rows into the very blocks that carry
// the events; a Prover reads them back. A Tree has one owner, the log's writer.
// Nobody needs to trust it: package head verifies what is proven.
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
		row, err := readRow(ctx, l, leafOf(level, t.size>>level-1))
		if err != nil {
			return nil, fmt.Errorf("open tree of %d events: %w", size, err)
		}
		t.edge[level] = row.hash(level)
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

// Prover proves things about a log at any size from the rows that a Tree wrote.
// Any goroutine may use it. It keeps rows in memory that many proofs share.
type Prover struct {
	log  Log
	mu   sync.Mutex
	rows map[int64]treeRow // by leaf
}

// maxProverRows bounds the rows that a Prover keeps; they take about 1 MB.
const maxProverRows = 4096

// NewProver returns a prover over a log.
func NewProver(l Log) *Prover { return &Prover{log: l, rows: map[int64]treeRow{}} }

// Root returns the root over the first size events.
func (p *Prover) Root(ctx context.Context, size int64) (head.Hash, error) {
	if err := p.checkSize(size); err != nil {
		return head.Hash{}, fmt.Errorf("root: %w", err)
	}
	h, err := tlog.TreeHash(size, p.reader(ctx))
	if err != nil {
		return head.Hash{}, fmt.Errorf("root of %d events: %w", size, err)
	}
	return h, nil
}

// Inclusion proves that event index is in the tree of the first size events, for
// head.VerifyInclusion.
func (p *Prover) Inclusion(ctx context.Context, index, size int64) ([]head.Hash, error) {
	if err := p.checkSize(size); err != nil {
		return nil, fmt.Errorf("prove inclusion: %w", err)
	}
	proof, err := tlog.ProveRecord(size, index, p.reader(ctx))
	if err != nil {
		return nil, fmt.Errorf("prove event %d of %d: %w", index, size, err)
	}
	return proof, nil
}

// Consistency proves that the tree of the first size events begins with that of
// the first old events, for head.VerifyConsistency. From 0, and from size itself,
// the proof is empty.
func (p *Prover) Consistency(ctx context.Context, old, size int64) ([]head.Hash, error) {
	if err := p.checkSize(size); err != nil {
		return nil, fmt.Errorf("prove consistency: %w", err)
	}
	if old < 0 || old > size {
		return nil, fmt.Errorf("prove consistency from %d to %d events", old, size)
	}
	if old == 0 || old == size {
		return nil, nil
	}
	proof, err := tlog.ProveTree(size, old, p.reader(ctx))
	if err != nil {
		return nil, fmt.Errorf("prove consistency from %d to %d events: %w", old, size, err)
	}
	return proof, nil
}

func (p *Prover) checkSize(size int64) error {
	if next := p.log.Next(); size < 0 || size > head.MaxSize || uint64(size) > next {
		return fmt.Errorf("tree of %d events of a log of %d", size, next)
	}
	return nil
}

func (p *Prover) reader(ctx context.Context) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			level, n := tlog.SplitStoredHashIndex(index)
			row, err := p.row(ctx, level, leafOf(level, n))
			if err != nil {
				return nil, err
			}
			hashes[i] = row.hash(level)
		}
		return hashes, nil
	})
}

// row reads a leaf's row. It keeps those of which more than four leaves' proofs
// have need.
func (p *Prover) row(ctx context.Context, level int, leaf int64) (treeRow, error) {
	p.mu.Lock()
	row, found := p.rows[leaf]
	p.mu.Unlock()
	if found {
		return row, nil
	}
	row, err := readRow(ctx, p.log, leaf)
	if err != nil || level < 2 {
		return row, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.rows) >= maxProverRows {
		clear(p.rows)
	}
	p.rows[leaf] = row
	return row, nil
}

// treeRow is the row of a leaf: the hashes of all subtrees that the leaf
// completes, from its own at level 0 up.
type treeRow []byte

func (r treeRow) hash(level int) tlog.Hash {
	return tlog.Hash(r[level*tlog.HashSize:][:tlog.HashSize])
}

// leafOf returns the leaf that completes the n'th subtree of a level.
func leafOf(level int, n int64) int64 { return (n+1)<<level - 1 }

func readRow(ctx context.Context, l Log, leaf int64) (treeRow, error) {
	value, found, err := l.Get(ctx, treeKey(leaf))
	if err != nil {
		return nil, fmt.Errorf("read tree hashes of event %d: %w", leaf, err)
	}
	if !found || len(value) != (1+bits.TrailingZeros64(uint64(leaf+1)))*tlog.HashSize {
		return nil, fmt.Errorf("tree hashes of event %d are missing or not whole (%d bytes)", leaf, len(value))
	}
	return value, nil
}

func treeKey(leaf int64) []byte {
	return binary.BigEndian.AppendUint64([]byte(treePrefix), uint64(leaf))
}
