package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"latchkey/event"
)

// ChainError says where a log's chain of events is broken. Such a log does not
// open; nothing in it was changed.
type ChainError struct {
	Folder string
	Event  uint64 // sequence number of the first event that is not as it should be
	Reason string
}

func (e *ChainError) Error() string {
	return fmt.Sprintf("data folder %s: the chain is broken at event %d: %s", e.Folder, e.Event, e.Reason)
}

// Open opens the log in a folder, alone, and checks its chain from the first
// event to the last. It wraps event.ErrInUse where another process or log has
// the folder, and returns a *ChainError where the chain is broken.
//
// Damage in the last 32 KiB of the store's write-ahead log cannot be told from a
// power cut, which leaves a torn end there. Who keeps heads of the log elsewhere,
// as witnesses do, tells a log that has become shorter.
func Open(c Config) (*Log, error) {
	files, folder := c.Files, c.Folder
	if folder == "" {
		return nil, errors.New("open log: no data folder is named")
	}
	if files == nil {
		files = vfs.Default
		abs, err := filepath.Abs(folder)
		if err != nil {
			return nil, fmt.Errorf("data folder %s: %w", folder, err)
		}
		folder = abs
	}
	if err := files.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("data folder %s: %w", folder, err)
	}
	lock, err := pebble.LockDirectory(folder, files)
	if err != nil {
		return nil, lockError(folder, err)
	}
	l := &Log{
		folder: folder,
		lock:   lock,
		wake:   make(chan struct{}, 1),
		idle:   make(chan struct{}),
		failed: make(chan struct{}),
	}
	if err := l.openStore(files, c.Logger); err != nil {
		if !errors.Is(err, event.ErrFailed) {
			err = errors.Join(err, lock.Close())
		}
		return nil, err
	}
	n, last, err := l.checkChain()
	if err != nil {
		return nil, errors.Join(l.damaged(err), l.db.Close(), lock.Close())
	}
	l.durable.Store(n)
	l.next = n
	go l.commitAll(last)
	return l, nil
}

// lockError tells a folder that is taken from one that cannot be written.
func lockError(folder string, err error) error {
	if path := new(fs.PathError); errors.As(err, &path) {
		return fmt.Errorf("data folder %s cannot be written: %w", folder, err)
	}
	return fmt.Errorf("data folder %s: %w (%w); stop that one, or name another folder", folder, event.ErrInUse, err)
}

// openStore opens Pebble. Its fatal errors end the log instead of the process,
// so the opening runs beside a wait for them.
func (l *Log) openStore(files vfs.FS, logger *slog.Logger) error {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	options := &pebble.Options{
		FS:                 guard{files, l},
		Lock:               l.lock,
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       16 << 20,
		Logger:             &pebbleLogger{log: l, to: logger.With("folder", l.folder)},
		EventListener: &pebble.EventListener{
			BackgroundError: l.fail,
			// The reader that met the damage is told as well, and must not be kept.
			DataCorruption: func(i pebble.DataCorruptionInfo) { l.fail(fmt.Errorf("file %s is damaged", i.Path)) },
		},
	}
	type opened struct {
		db  *pebble.DB
		err error
	}
	done := make(chan opened, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- opened{err: fmt.Errorf("pebble: %v", p)}
			}
		}()
		was, err := pebble.Peek(l.folder, files)
		if err != nil {
			done <- opened{err: err}
			return
		}
		db, err := pebble.Open(l.folder, options)
		if err == nil && !was.Exists {
			// The first write-ahead log of a new store is of the oldest format, in which
			// a damaged record looks like the log's end. Begin another.
			err = db.Flush()
		}
		done <- opened{db, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return fmt.Errorf("open log in data folder %s: %w", l.folder, o.err)
		}
		l.db = o.db
		return nil
	case <-l.failed:
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.ended
	}
}

// checkChain reads all events and returns their number and the last link.
func (l *Log) checkChain() (n uint64, last link, err error) {
	broken := func(reason string) error { return &ChainError{Folder: l.folder, Event: n, Reason: reason} }
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceEvent}, UpperBound: []byte{spaceEvent + 1}})
	if err != nil {
		return 0, link{}, fmt.Errorf("read log in data folder %s: %w", l.folder, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.First(); it.Valid(); it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return n, last, fmt.Errorf("read event %d in data folder %s: %w", n, l.folder, err)
		}
		switch key := it.Key(); {
		case len(key) != 9 || binary.BigEndian.Uint64(key[1:]) != n:
			return n, last, broken(fmt.Sprintf("it is missing, the next stored key is %x", key))
		case len(value) < len(last):
			return n, last, broken("it has no link")
		}
		last = last.follow(value[len(last):])
		if last != link(value) {
			return n, last, broken("its link does not fit the events before it and its own bytes")
		}
		n++
	}
	if err := it.Error(); err != nil {
		return n, last, fmt.Errorf("read event %d in data folder %s: %w", n, l.folder, err)
	}
	value, closer, err := l.db.Get([]byte{spaceHead})
	switch {
	case errors.Is(err, pebble.ErrNotFound) && n == 0:
		return 0, last, nil
	case errors.Is(err, pebble.ErrNotFound):
		return n, last, broken("the log's end is not recorded")
	case err != nil:
		return n, last, fmt.Errorf("read the end of the log in data folder %s: %w", l.folder, err)
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	if len(value) != 8+len(last) || binary.BigEndian.Uint64(value) != n || link(value[8:]) != last {
		return n, last, broken("the log's recorded end is another")
	}
	return n, last, nil
}

// pebbleLogger hands Pebble's errors to a slog.Logger, and ends the log where
// Pebble would end the process.
type pebbleLogger struct {
	log *Log
	to  *slog.Logger
}

func (p *pebbleLogger) Infof(string, ...any) {}

func (p *pebbleLogger) Errorf(format string, args ...any) {
	p.to.Error("storage: " + fmt.Sprintf(format, args...))
}

// Fatalf fails the log and keeps the calling goroutine for good, as Pebble
// expects not to go on from here.
func (p *pebbleLogger) Fatalf(format string, args ...any) {
	p.log.fail(fmt.Errorf(format, args...))
	select {}
}

// guard is a file system on which the failed sync of a folder ends the log.
// Pebble would panic there, in a goroutine of its own.
type guard struct {
	vfs.FS
	log *Log
}

// OpenDir implements vfs.FS.
func (g guard) OpenDir(name string) (vfs.File, error) {
	dir, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return guardedDir{dir, g.log}, nil
}

// Unwrap implements vfs.FS.
func (g guard) Unwrap() vfs.FS { return g.FS }

type guardedDir struct {
	vfs.File
	log *Log
}

// Sync implements vfs.File. Where it fails it keeps the calling goroutine for
// good.
func (d guardedDir) Sync() error {
	if err := d.File.Sync(); err != nil {
		d.log.fail(fmt.Errorf("sync the folder: %w", err))
		select {}
	}
	return nil
}
