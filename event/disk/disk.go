// Package disk is the event.Log for disks: Pebble, with synced group commit,
// one log per folder. Events form a hash chain that opening checks from end to
// end.
package disk

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"latchkey/event"
)

// Key spaces of the Pebble store.
const (
	spaceEvent = 'e' // sequence number, big-endian -> link || event
	spaceHead  = 'h' // -> number of events, link of the last
	spaceRow   = 'r' // row key -> row value
)

// maxCommit ends the gathering of one commit, in bytes.
const maxCommit = 8 << 20

// Config says where a log is.
type Config struct {
	// Folder is the log's data folder. It is made if it is missing, with mode 0700.
	Folder string
	// Files is the file system. nil is the machine's.
	Files vfs.FS
	// Logger gets what Pebble has to report. nil reports nothing.
	Logger *slog.Logger
}

// link is what chains an event to all before it: SHA-256(link before || event),
// and zero before the first.
type link [sha256.Size]byte

func (l link) follow(event []byte) link {
	h := sha256.New()
	h.Write(l[:])
	h.Write(event)
	return link(h.Sum(nil))
}

// Log is an open log. Of its own goroutines one, the committer, gathers the
// submitted blocks and writes as many as there are at a time; another, the
// settler, waits for the syncs, in order, and gives the results. So the next
// write does not wait for the last sync, and Pebble syncs whatever was written
// meanwhile at once.
type Log struct {
	folder string
	db     *pebble.DB
	lock   *pebble.Lock
	wake   chan struct{} // one token: there are blocks in queue, or the log ends
	idle   chan struct{} // closed when committer and settler have ended
	failed chan struct{} // closed by the first failure

	durable atomic.Uint64 // number of durable events

	mu    sync.Mutex
	next  uint64   // number of events, those in flight included
	queue []flight // submitted, not yet taken by the committer
	taken []flight // taken by the committer, without a result yet
	ended error    // why nothing more is taken

	readers sync.WaitGroup // calls that read the store; none begins after ended
}

type flight struct {
	block  event.Block
	result chan error
}

var _ event.Log = (*Log)(nil)

// Submit implements event.Log.
func (l *Log) Submit(expect uint64, b event.Block) <-chan error {
	result := make(chan error, 1)
	if err := b.Check(); err != nil {
		result <- err
		return result
	}
	l.mu.Lock()
	switch {
	case l.ended != nil:
		result <- l.ended
	case expect != l.next:
		result <- event.Conflict(expect, l.next)
	default:
		l.next += uint64(len(b.Events))
		l.queue = append(l.queue, flight{b, result})
	}
	l.mu.Unlock()
	l.signal()
	return result
}

// Append implements event.Log.
func (l *Log) Append(ctx context.Context, expect uint64, b event.Block) error {
	return event.Wait(ctx, l.Submit(expect, b))
}

// Next implements event.Log.
func (l *Log) Next() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// signal wakes the committer.
func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// written is a number of blocks that the committer has written.
type written struct {
	batch  *pebble.Batch
	blocks int
	events uint64 // of the log, these blocks' included
}

// commitAll is the committer: it alone writes to the store. last is the link of
// the last event.
func (l *Log) commitAll(last link) {
	syncs := make(chan written, 64)
	go l.settleAll(syncs)
	defer close(syncs)
	n := l.durable.Load()
	for range l.wake {
		for {
			l.mu.Lock()
			blocks := l.gather()
			ended := l.ended
			l.mu.Unlock()
			if len(blocks) == 0 {
				if ended != nil {
					return
				}
				break
			}
			batch, err := l.write(blocks, &n, &last)
			if err != nil {
				l.fail(err)
				return
			}
			syncs <- written{batch, len(blocks), n}
		}
	}
}

// settleAll is the settler.
func (l *Log) settleAll(syncs <-chan written) {
	defer close(l.idle)
	for w := range syncs {
		if !w.batch.Empty() {
			if err := w.batch.SyncWait(); err != nil {
				l.fail(err)
				continue
			}
		}
		l.mu.Lock()
		if len(l.taken) < w.blocks {
			l.mu.Unlock()
			continue // the log has failed, and given the results
		}
		settled := l.taken[:w.blocks]
		l.taken = l.taken[w.blocks:]
		l.durable.Store(w.events)
		l.mu.Unlock()
		for i := range settled {
			settled[i].result <- nil
			settled[i] = flight{} // the array behind it may live on
		}
		// Closing gives the batch's memory back, no more.
		_ = w.batch.Close()
	}
}

// gather takes from the queue what the next write carries. l.mu is held.
func (l *Log) gather() []flight {
	n, size := 0, 0
	for n < len(l.queue) && size < maxCommit {
		for _, e := range l.queue[n].block.Events {
			size += len(e)
		}
		for _, r := range l.queue[n].block.Puts {
			size += len(r.Value)
		}
		n++
	}
	blocks := l.queue[:n:n]
	if l.queue = l.queue[n:]; len(l.queue) == 0 {
		l.queue = nil // so that its memory is free after the write
	}
	l.taken = append(l.taken, blocks...)
	return blocks
}

// write writes blocks as one batch that Pebble syncs later, and moves on the
// number of events and the last link. Pebble panics on some errors of writing;
// those are errors here.
func (l *Log) write(blocks []flight, n *uint64, last *link) (batch *pebble.Batch, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("pebble: %v", p)
		}
	}()
	batch = l.db.NewBatch()
	before := *n
	for _, f := range blocks {
		for _, e := range f.block.Events {
			*last = last.follow(e)
			op := batch.SetDeferred(9, len(last)+len(e))
			copy(op.Key, eventKey(*n))
			copy(op.Value[copy(op.Value, last[:]):], e)
			if err := op.Finish(); err != nil {
				return nil, err
			}
			*n++
		}
		for _, k := range f.block.Deletes {
			if err := batch.Delete(rowKey(k), nil); err != nil {
				return nil, err
			}
		}
		for _, r := range f.block.Puts {
			if err := batch.Set(rowKey(r.Key), r.Value, nil); err != nil {
				return nil, err
			}
		}
	}
	if *n > before {
		value := append(binary.BigEndian.AppendUint64(nil, *n), last[:]...)
		if err := batch.Set([]byte{spaceHead}, value, nil); err != nil {
			return nil, err
		}
	}
	if batch.Empty() {
		return batch, nil
	}
	return batch, l.db.ApplyNoSyncWait(batch, pebble.Sync)
}

// fail ends the log for good: whatever is in flight may or may not be durable.
// The store is left alone from here on, and the folder locked, until the process
// ends: Pebble cannot be closed safely after a failed commit.
func (l *Log) fail(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.ended, event.ErrFailed) {
		return
	}
	l.ended = fmt.Errorf("%w: data folder %s: %w", event.ErrFailed, l.folder, cause)
	for _, f := range append(l.taken, l.queue...) {
		f.result <- l.ended
	}
	l.taken, l.queue = nil, nil
	close(l.failed)
	l.signal()
}

// Close implements event.Log.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.ended != nil {
		defer l.mu.Unlock()
		return l.ended
	}
	l.ended = event.ErrClosed
	l.mu.Unlock()
	l.signal()
	select {
	case <-l.idle:
	case <-l.failed:
	}
	l.readers.Wait()
	l.mu.Lock()
	ended := l.ended
	l.mu.Unlock()
	if !errors.Is(ended, event.ErrClosed) {
		return ended
	}
	if err := errors.Join(l.db.Close(), l.lock.Close()); err != nil {
		return fmt.Errorf("close data folder %s: %w", l.folder, err)
	}
	return nil
}

func eventKey(n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{spaceEvent}, n)
}

func rowKey(key []byte) []byte { return append([]byte{spaceRow}, key...) }
