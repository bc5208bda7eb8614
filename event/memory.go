package event

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
)

// Memory is what a disk would be: the durable state of logs kept in memory. One
// log at a time has it open.
type Memory struct {
	mu     sync.Mutex
	events [][]byte
	rows   map[string][]byte
	open   *MemoryLog
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{rows: map[string][]byte{}} }

// Open opens the log, as a starting process would.
func (m *Memory) Open() (*MemoryLog, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open != nil {
		return nil, fmt.Errorf("open log in memory: %w", ErrInUse)
	}
	m.open = &MemoryLog{memory: m, next: uint64(len(m.events))}
	return m.open, nil
}

// Clone returns a copy of what is durable: a cloned or, later, a restored disk.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{events: slices.Clone(m.events), rows: maps.Clone(m.rows)}
}

// apply makes a block durable. It copies what it keeps; stored slices are never
// written again, so that clones and readers may share them.
func (m *Memory) apply(b Block) {
	for _, e := range b.Events {
		m.events = append(m.events, bytes.Clone(e))
	}
	for _, k := range b.Deletes {
		delete(m.rows, string(k))
	}
	for _, r := range b.Puts {
		m.rows[string(r.Key)] = bytes.Clone(r.Value)
	}
}

// MemoryLog is a Log over a Memory. Blocks are durable at once, unless Hold says
// otherwise; so one goroutine can run a deterministic simulation with it.
type MemoryLog struct {
	memory *Memory
	// The fields below are guarded by memory.mu.
	held   bool
	flight []flight
	next   uint64
	ended  error // why the log takes nothing more
}

type flight struct {
	block  Block
	result chan error
}

var _ Log = (*MemoryLog)(nil)

// Hold keeps blocks submitted from now on in flight until Flush.
func (l *MemoryLog) Hold() {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	l.held = true
}

// InFlight returns the number of blocks submitted and not yet durable.
func (l *MemoryLog) InFlight() int {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	return len(l.flight)
}

// Flush makes up to n of the blocks in flight durable, in order, and gives them
// their results.
func (l *MemoryLog) Flush(n int) {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	l.flush(n, nil)
}

// Crash ends the log as a power cut would: up to keep of the blocks in flight
// had become durable, the others are lost, and nobody learns which. The Memory
// can be opened again.
func (l *MemoryLog) Crash(keep int) {
	l.end(keep, fmt.Errorf("%w: crashed", ErrFailed))
	l.release()
}

// Fail makes the disk fail, at the blocks in flight and for good, with cause.
func (l *MemoryLog) Fail(cause error) {
	l.end(0, fmt.Errorf("%w: %w", ErrFailed, cause))
}

// end flushes keep blocks under the result err and takes nothing more.
func (l *MemoryLog) end(keep int, err error) {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	if l.ended != nil {
		return
	}
	l.ended = err
	l.flush(keep, err)
	for _, f := range l.flight {
		f.result <- err
	}
	l.flight = nil
}

func (l *MemoryLog) flush(n int, result error) {
	for ; n > 0 && len(l.flight) > 0; n-- {
		l.memory.apply(l.flight[0].block)
		l.flight[0].result <- result
		l.flight = l.flight[1:]
	}
}

func (l *MemoryLog) release() {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	if l.memory.open == l {
		l.memory.open = nil
	}
}

// Submit implements Log.
func (l *MemoryLog) Submit(expect uint64, b Block) <-chan error {
	result := make(chan error, 1)
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	err := b.Check()
	switch {
	case l.ended != nil:
		result <- l.ended
	case err != nil:
		result <- err
	case expect != l.next:
		result <- Conflict(expect, l.next)
	default:
		l.next += uint64(len(b.Events))
		l.flight = append(l.flight, flight{b, result})
		if !l.held {
			l.flush(len(l.flight), nil)
		}
	}
	return result
}

// Append implements Log.
func (l *MemoryLog) Append(ctx context.Context, expect uint64, b Block) error {
	return Wait(ctx, l.Submit(expect, b))
}

// Next implements Log.
func (l *MemoryLog) Next() uint64 {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	return l.next
}

// Read implements Log.
func (l *MemoryLog) Read(ctx context.Context, from uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		l.memory.mu.Lock()
		events, err := l.memory.events, l.ended
		l.memory.mu.Unlock()
		if err == nil && from > uint64(len(events)) {
			err = fmt.Errorf("read from event %d of a log of %d", from, len(events))
		}
		if err != nil {
			yield(nil, err)
			return
		}
		for _, e := range events[from:] {
			if err := context.Cause(ctx); err != nil {
				yield(nil, fmt.Errorf("read the log: %w", err))
				return
			}
			if !yield(bytes.Clone(e), nil) {
				return
			}
		}
	}
}

// Get implements Log. It sees durable rows only.
func (l *MemoryLog) Get(_ context.Context, key []byte) ([]byte, bool, error) {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	if l.ended != nil {
		return nil, false, l.ended
	}
	v, found := l.memory.rows[string(key)]
	return bytes.Clone(v), found, nil
}

// Scan implements Log. It sees durable rows only.
func (l *MemoryLog) Scan(ctx context.Context, prefix []byte) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		l.memory.mu.Lock()
		err := l.ended
		var rows []Row
		for k, v := range l.memory.rows {
			if bytes.HasPrefix([]byte(k), prefix) {
				rows = append(rows, Row{[]byte(k), bytes.Clone(v)})
			}
		}
		l.memory.mu.Unlock()
		if err != nil {
			yield(Row{}, err)
			return
		}
		slices.SortFunc(rows, func(a, b Row) int { return bytes.Compare(a.Key, b.Key) })
		for _, r := range rows {
			if err := context.Cause(ctx); err != nil {
				yield(Row{}, fmt.Errorf("scan the log's rows: %w", err))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Close implements Log. Blocks that Hold keeps become durable.
func (l *MemoryLog) Close() error {
	l.memory.mu.Lock()
	ended := l.ended
	l.flush(len(l.flight), nil)
	if l.ended == nil {
		l.ended = ErrClosed
	}
	l.memory.mu.Unlock()
	l.release()
	return ended
}
