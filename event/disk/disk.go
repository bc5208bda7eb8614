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

// Log is an open log. One goroutine of its own gathers the submitted blocks and
// commits them, as many as there are at a time, with one sync.
type Log struct {
	folder string
	db     *pebble.DB
	lock   *pebble.Lock
	wake   chan struct{} // one token: there are blocks in queue, or the log ends
	idle   chan struct{} // closed when the committer has ended
	failed chan struct{} // closed by the first failure

	durable atomic.Uint64 // number of durable events

	mu    sync.Mutex
	next  uint64   // number of events, those in flight included
	queue []flight // submitted, not yet taken by the committer
	taken []flight // being committed
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

// commitAll is the committer: it alone writes to the store. It owns last, the
// link of the last durable event.
func (l *Log) commitAll(last link) {
	defer close(l.idle)
	for range l.wake {
		for {
			l.mu.Lock()
			l.taken, l.queue = l.gather()
			taken, ended := l.taken, l.ended
			l.mu.Unlock()
			if len(taken) == 0 {
				if ended != nil {
					return
				}
				break
			}
			next, err := l.commit(taken, last)
			if err != nil {
				l.fail(err)
				return
			}
			last = next
			l.mu.Lock()
			l.taken = nil
			failed := l.ended != nil && !errors.Is(l.ended, event.ErrClosed)
			l.mu.Unlock()
			if failed {
				return // fail has given the results
			}
			for _, f := range taken {
				f.result <- nil
			}
		}
	}
}

// gather splits the queue into what the next commit takes and the rest.
func (l *Log) gather() (take, rest []flight) {
	size := 0
	for i, f := range l.queue {
		for _, e := range f.block.Events {
			size += len(e)
		}
		for _, r := range f.block.Puts {
			size += len(r.Value)
		}
		if size >= maxCommit {
			return l.queue[: i+1 : i+1], l.queue[i+1:]
		}
	}
	return l.queue, nil
}

// commit writes blocks as one batch, synced, and returns the link of the last
// event. Pebble panics on some write errors; those are errors here.
func (l *Log) commit(blocks []flight, last link) (_ link, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("pebble: %v", p)
		}
	}()
	batch := l.db.NewBatch()
	n := l.durable.Load()
	before := n
	var key []byte
	for _, f := range blocks {
		for _, e := range f.block.Events {
			last = last.follow(e)
			key = eventKey(key[:0], n)
			op := batch.SetDeferred(len(key), len(last)+len(e))
			copy(op.Key, key)
			copy(op.Value[copy(op.Value, last[:]):], e)
			if err := op.Finish(); err != nil {
				return link{}, err
			}
			n++
		}
		for _, k := range f.block.Deletes {
			if err := batch.Delete(rowKey(k), nil); err != nil {
				return link{}, err
			}
		}
		for _, r := range f.block.Puts {
			if err := batch.Set(rowKey(r.Key), r.Value, nil); err != nil {
				return link{}, err
			}
		}
	}
	if n > before {
		value := append(binary.BigEndian.AppendUint64(nil, n), last[:]...)
		if err := batch.Set([]byte{spaceHead}, value, nil); err != nil {
			return link{}, err
		}
	}
	if !batch.Empty() {
		if err := batch.Commit(pebble.Sync); err != nil {
			return link{}, err
		}
	}
	if err := batch.Close(); err != nil {
		return link{}, err
	}
	l.durable.Store(n)
	return last, nil
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

func eventKey(dst []byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, spaceEvent), n)
}

func rowKey(key []byte) []byte { return append([]byte{spaceRow}, key...) }
