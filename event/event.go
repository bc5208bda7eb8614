// Package event keeps a log of events with a table of rows beside it. A Log
// appends blocks: events, and rows to put and to delete, all durable or none,
// under the sequence number that the writer expects. The package has the
// interface, an engine in memory for tests and the simulation, and the tree that
// makes a log a transparency log; package disk has the engine for disks,
// package eventtest what every engine must pass.
//
// The log belongs to an untrusted host. Who relies on it checks what it reads:
// against the tree's root (package head), or by opening what is sealed.
package event

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
)

// Bounds of one block and of one row key, in bytes.
const (
	MaxBlock = 64 << 20
	MaxKey   = 4 << 10
)

var (
	// ErrConflict is wrapped where a block does not expect the next sequence
	// number. Nothing was changed.
	ErrConflict = errors.New("log is not at the expected sequence number")
	// ErrFailed is wrapped by everything after a failed write. Whether that
	// write's blocks are durable is unknown until the log is opened again.
	ErrFailed = errors.New("log has failed and takes nothing more until it is opened again")
	// ErrClosed is returned by a log that was closed.
	ErrClosed = errors.New("log is closed")
	// ErrInUse is wrapped where another log has the same data open.
	ErrInUse = errors.New("in use by another process or log")
)

// Log is an ordered log of events with a table of rows. Any goroutine may call
// any method; blocks become durable in the order of their submission.
type Log interface {
	// Submit hands in a block to follow all blocks submitted before, which may
	// still be in flight, and returns at once. The channel gives one result: nil
	// when the block is durable; ErrConflict, without any change, unless expect is
	// Next; an error wrapping ErrFailed when it may or may not be durable, and
	// then every later block fails too. The block's bytes must stay unchanged until
	// the result. A block of nothing waits for those before it.
	Submit(expect uint64, b Block) <-chan error

	// Append is Submit and the wait for its result. When ctx ends first, the block
	// may still become durable.
	Append(ctx context.Context, expect uint64, b Block) error

	// Next returns the sequence number that the next submitted block must expect:
	// the count of all events, those in flight included.
	Next() uint64

	// Read yields the durable events from sequence number from, in order, up to
	// where the log was durable when the iteration began. It yields an error, last,
	// if from is beyond that or an event cannot be read.
	Read(ctx context.Context, from uint64) iter.Seq2[[]byte, error]

	// Get returns a row's value and whether there is such a row. It may already
	// see a block in flight.
	Get(ctx context.Context, key []byte) (value []byte, found bool, err error)

	// Scan yields the rows whose keys begin with prefix, in the order of their
	// keys. It may already see blocks in flight, but never a part of one.
	Scan(ctx context.Context, prefix []byte) iter.Seq2[Row, error]

	// Close waits for the blocks in flight, ends iterations with ErrClosed at their
	// next step, and gives the data free. Later calls return ErrClosed. It must not
	// be called from within an iteration.
	Close() error
}

// Row is an entry of the table beside the events. Keys that begin with a zero
// byte belong to this package.
type Row struct{ Key, Value []byte }

// Block is what becomes durable at once. Its deletes apply before its puts; a
// later put of one key replaces an earlier one.
type Block struct {
	Events  [][]byte
	Puts    []Row
	Deletes [][]byte
}

// Check refuses a block above MaxBlock, and keys that are empty or above MaxKey.
func (b Block) Check() error {
	size := 0
	for _, e := range b.Events {
		size += len(e)
	}
	for i, r := range b.Puts {
		if len(r.Key) == 0 || len(r.Key) > MaxKey {
			return fmt.Errorf("put %d of the block has a key of %d bytes, want 1 to %d", i, len(r.Key), MaxKey)
		}
		size += len(r.Key) + len(r.Value)
	}
	for i, k := range b.Deletes {
		if len(k) == 0 || len(k) > MaxKey {
			return fmt.Errorf("delete %d of the block has a key of %d bytes, want 1 to %d", i, len(k), MaxKey)
		}
		size += len(k)
	}
	if size > MaxBlock {
		return fmt.Errorf("block of %d bytes, at most %d", size, MaxBlock)
	}
	return nil
}

// Snapshot is a state as it was after the events before sequence number Next.
type Snapshot struct {
	Next  uint64
	State []byte
}

const snapshotKey = "\x00snapshot"

// Row returns the row that stores the snapshot in place of any earlier one. Put
// it into a block that does not come before the events it covers.
func (s Snapshot) Row() Row {
	return Row{Key: []byte(snapshotKey), Value: append(binary.BigEndian.AppendUint64(nil, s.Next), s.State...)}
}

// LoadSnapshot returns the stored snapshot, or the zero Snapshot, which is that
// of a log before its first event.
func LoadSnapshot(ctx context.Context, l Log) (Snapshot, error) {
	raw, found, err := l.Get(ctx, []byte(snapshotKey))
	if err != nil || !found {
		return Snapshot{}, err
	}
	if len(raw) < 8 {
		return Snapshot{}, fmt.Errorf("stored snapshot has %d bytes", len(raw))
	}
	s := Snapshot{Next: binary.BigEndian.Uint64(raw), State: raw[8:]}
	if next := l.Next(); s.Next > next {
		return Snapshot{}, fmt.Errorf("stored snapshot covers %d events of a log of %d", s.Next, next)
	}
	return s, nil
}

// Wait waits for the result of a Submit, or for ctx.
func Wait(ctx context.Context, result <-chan error) error {
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the log: %w", context.Cause(ctx))
	}
}

// Conflict returns a result that wraps ErrConflict, for engines.
func Conflict(expect, next uint64) error {
	return fmt.Errorf("%w: expected %d, is at %d", ErrConflict, expect, next)
}
