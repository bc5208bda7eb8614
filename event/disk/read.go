package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"latchkey/event"
)

// reading begins a call that reads the store, unless the log has ended. The
// caller ends it with readers.Done.
func (l *Log) reading() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil {
		return l.ended
	}
	l.readers.Add(1)
	return nil
}

// going says why an iteration must end here, if it must.
func (l *Log) going(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// damaged returns why the log has ended, which names the file where one is
// damaged, or else err.
func (l *Log) damaged(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil {
		return l.ended
	}
	return err
}

// Read implements event.Log.
func (l *Log) Read(ctx context.Context, from uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		end := l.durable.Load()
		if from > end {
			yield(nil, fmt.Errorf("read from event %d of a log of %d", from, end))
			return
		}
		n := from
		for kv, err := range l.iterate(ctx, eventKey(from), eventKey(end)) {
			switch {
			case err != nil:
				yield(nil, err)
				return
			case !bytes.Equal(kv.Key, eventKey(n)) || len(kv.Value) < len(link{}):
				yield(nil, &ChainError{Folder: l.folder, Event: n, Reason: "it is missing or has no link"})
				return
			}
			if !yield(bytes.Clone(kv.Value[len(link{}):]), nil) {
				return
			}
			n++
		}
		if n != end && l.going(ctx) == nil {
			yield(nil, &ChainError{Folder: l.folder, Event: n, Reason: "it is missing"})
		}
	}
}

// Get implements event.Log.
func (l *Log) Get(_ context.Context, key []byte) ([]byte, bool, error) {
	if err := l.reading(); err != nil {
		return nil, false, err
	}
	defer l.readers.Done()
	value, closer, err := l.db.Get(rowKey(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, l.damaged(fmt.Errorf("read row %x in data folder %s: %w", key, l.folder, err))
	}
	out := bytes.Clone(value)
	if err := closer.Close(); err != nil {
		return nil, false, fmt.Errorf("read row %x in data folder %s: %w", key, l.folder, err)
	}
	return out, true, nil
}

// Scan implements event.Log.
func (l *Log) Scan(ctx context.Context, prefix []byte) iter.Seq2[event.Row, error] {
	return func(yield func(event.Row, error) bool) {
		lower := rowKey(prefix)
		for kv, err := range l.iterate(ctx, lower, after(lower)) {
			if err != nil {
				yield(event.Row{}, err)
				return
			}
			if !yield(event.Row{Key: bytes.Clone(kv.Key[1:]), Value: bytes.Clone(kv.Value)}, nil) {
				return
			}
		}
	}
}

// after returns the first key beyond all that begin with prefix, whose first
// byte is a key space.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	end[len(end)-1]++
	return end
}

// iterate yields the stored keys and values from lower to below upper, as they
// stand when it begins. What it yields is valid for one step.
func (l *Log) iterate(ctx context.Context, lower, upper []byte) iter.Seq2[event.Row, error] {
	return func(yield func(event.Row, error) bool) {
		if err := l.reading(); err != nil {
			yield(event.Row{}, err)
			return
		}
		defer l.readers.Done()
		it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			yield(event.Row{}, l.damaged(fmt.Errorf("read data folder %s: %w", l.folder, err)))
			return
		}
		// An error of the iterator shows in Error; Close would only repeat it.
		defer func() { _ = it.Close() }()
		for it.First(); it.Valid(); it.Next() {
			value, err := it.ValueAndErr()
			if err == nil {
				err = l.going(ctx)
			}
			if err != nil {
				yield(event.Row{}, l.damaged(fmt.Errorf("read data folder %s: %w", l.folder, err)))
				return
			}
			if !yield(event.Row{Key: it.Key(), Value: value}, nil) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(event.Row{}, l.damaged(fmt.Errorf("read data folder %s: %w", l.folder, err)))
		}
	}
}
