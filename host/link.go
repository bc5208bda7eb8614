// Package host has what the hosts of vaults share: the link to the vault's
// process (Link), reading configuration files, and a program's life from its
// start to its orderly end (Program).
//
// Nothing here is trusted: what the vault commits arrives sealed, and is made
// durable as it is. A host can stop its vault and no more, but for the whole keys that
// an owner's vault hands to it.
package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"latchkey/event"
	"latchkey/vault/enclave"
)

// rowPrefix is that of the vault's rows in the host's table.
const rowPrefix = "vault/"

// fromRow is the position of the first entry that a start brings back, 8 bytes
// big-endian: the vault has said so. A wrong one is noticed by the vault.
const fromRow = "from"

// loadPart is how much is brought back to the vault in one message, in bytes.
const loadPart = 1 << 20

// LinkConfig says which vault, and where its commits go.
type LinkConfig struct {
	Log    event.Log
	Socket string
	Rows   func(enclave.Commit) []event.Row // more rows for the block of a commit; nil: none
	Done   func(enclave.Commit)             // called, in order, when a commit is durable; nil: nothing
	Idle   func() []event.Row               // rows for a block of their own, while no commit is on its way; nil, and no rows: none
}

// A Link ties a vault to the log that its commits go to: what the vault decides
// becomes durable, in order, and then the vault is told.
type Link struct {
	Vault *enclave.Client

	cfg     LinkConfig
	cancel  context.CancelCauseFunc
	ctx     context.Context
	running sync.WaitGroup
}

// ErrVaultGone is why a link ends when the vault's process has ended.
var ErrVaultGone = errors.New("the vault has ended")

// Connect waits for the vault's socket, brings the vault all that is stored, and
// returns when it is ready, with its status.
func Connect(ctx context.Context, cfg LinkConfig) (*Link, enclave.Status, error) {
	l := &Link{cfg: cfg}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	commits := make(chan enclave.Commit, 1024)
	v, err := enclave.Dial(l.ctx, cfg.Socket, func(c enclave.Commit) {
		select {
		case commits <- c:
		case <-l.ctx.Done():
		}
	})
	if err != nil {
		if cause := context.Cause(l.ctx); gone(cause) { // how its program ended says more
			err = cause
		}
		l.cancel(err)
		return nil, enclave.Status{}, err
	}
	l.Vault = v
	l.running.Go(func() { l.cancel(l.persist(commits)) })
	l.running.Go(func() {
		select {
		case <-v.Done():
			l.cancel(ErrVaultGone)
		case <-l.ctx.Done():
		}
	})
	status, err := l.load()
	if err != nil {
		if cause := context.Cause(l.ctx); cause != nil {
			err = cause
		}
		l.Close()
		return nil, enclave.Status{}, err
	}
	return l, status, nil
}

// Done is closed when the link has ended: by Close, with the vault, or because
// the log failed.
func (l *Link) Done() <-chan struct{} { return l.ctx.Done() }

// Err says why the link ended.
func (l *Link) Err() error { return context.Cause(l.ctx) }

// Close leaves the vault, whose process then ends. When it returns, every block that
// the link submitted is durable or will never be: who reads the log next, to begin
// again, reads all of it.
func (l *Link) Close() {
	l.cancel(nil)
	l.Vault.Close()
	l.running.Wait()
}

// From returns the position of the first entry of a log that a start brings back to
// the vault: a snapshot among the rows has those before it.
func From(ctx context.Context, log event.Log) (uint64, error) {
	v, found, err := log.Get(ctx, []byte(fromRow))
	if err == nil && found && len(v) != 8 {
		err = fmt.Errorf("row %q has %d bytes", fromRow, len(v))
	}
	if err != nil || !found {
		return 0, err
	}
	return binary.BigEndian.Uint64(v), nil
}

// load brings everything stored back to the vault.
func (l *Link) load() (enclave.Status, error) {
	part, size := &enclave.Load{}, 0
	send := func(least int) error {
		if size <= least {
			return nil
		}
		_, err := l.Vault.Call(l.ctx, enclave.Call{Load: part})
		part, size = &enclave.Load{}, 0
		return err
	}
	first, err := From(l.ctx, l.cfg.Log)
	if err != nil {
		return enclave.Status{}, fmt.Errorf("bring the log back to the vault: %w", err)
	}
	for raw, err := range l.cfg.Log.Read(l.ctx, first) {
		if err == nil {
			part.Entries, size = append(part.Entries, raw), size+len(raw)+16
			err = send(loadPart)
		}
		if err != nil {
			return enclave.Status{}, fmt.Errorf("bring the log back to the vault: %w", err)
		}
	}
	for r, err := range l.cfg.Log.Scan(l.ctx, []byte(rowPrefix)) {
		if err == nil {
			part.Rows = append(part.Rows, enclave.StoredRow{Key: r.Key[len(rowPrefix):], Value: r.Value})
			size += len(r.Key) + len(r.Value) + 16
			err = send(loadPart)
		}
		if err != nil {
			return enclave.Status{}, fmt.Errorf("bring the rows back to the vault: %w", err)
		}
	}
	err = send(0)
	var r enclave.Result
	if err == nil {
		r, err = l.Vault.Call(l.ctx, enclave.Call{Ready: &enclave.Nothing{}})
	}
	if err != nil {
		return enclave.Status{}, fmt.Errorf("the vault does not start: %w", err)
	}
	return *r.Status, nil
}

// persist submits commits as they come, several in flight, and tells the vault
// when each is durable. When none is in flight it submits what else there is, one
// block at a time: a commit waits for one of those at most.
func (l *Link) persist(commits <-chan enclave.Commit) error {
	type flight struct {
		commit *enclave.Commit // nil: rows of the host's own
		result <-chan error
	}
	flights := make(chan flight, 64)
	failed := make(chan error, 1)
	landed := make(chan struct{}, 1)
	var flying atomic.Int64
	var settling sync.WaitGroup
	settling.Go(func() {
		ended := false
		for f := range flights {
			err := <-f.result // waited for also when the link has ended: it is part of the log
			if ended || l.ctx.Err() != nil {
				continue
			}
			switch {
			case f.commit == nil && err != nil:
				err = fmt.Errorf("make rows of the host durable: %w", err)
			case f.commit != nil:
				if err == nil {
					if l.cfg.Done != nil {
						l.cfg.Done(*f.commit)
					}
					err = l.Vault.Durable(f.commit.Number)
				}
				if err != nil {
					err = fmt.Errorf("make commit %d of the vault durable: %w", f.commit.Number, err)
				}
			}
			if err != nil {
				failed <- err
				ended = true
				continue
			}
			if flying.Add(-1) == 0 {
				select {
				case landed <- struct{}{}:
				default:
				}
			}
		}
	})
	defer settling.Wait()
	defer close(flights)
	for {
		select {
		case c := <-commits:
			b := event.Block{Events: c.Entries}
			if l.cfg.Rows != nil {
				b.Puts = l.cfg.Rows(c)
			}
			for _, r := range c.Rows {
				k := append([]byte(rowPrefix), r.Key...)
				if len(r.Value) == 0 { // deleted: nothing that is sealed is empty
					b.Deletes = append(b.Deletes, k)
				} else {
					b.Puts = append(b.Puts, event.Row{Key: k, Value: r.Value})
				}
			}
			if c.From > 0 {
				b.Puts = append(b.Puts, event.Row{Key: []byte(fromRow), Value: binary.BigEndian.AppendUint64(nil, uint64(c.From))})
			}
			expect := l.cfg.Log.Next()
			if len(c.Entries) > 0 && uint64(c.First) != expect {
				return fmt.Errorf("the vault's commit begins at entry %d, the log ends at %d", c.First, expect)
			}
			flying.Add(1)
			flights <- flight{&c, l.cfg.Log.Submit(expect, b)}
		case <-landed:
			if l.cfg.Idle == nil || len(commits) > 0 || flying.Load() > 0 {
				continue // it lands again
			}
			if rows := l.cfg.Idle(); len(rows) > 0 {
				flying.Add(1)
				flights <- flight{nil, l.cfg.Log.Submit(l.cfg.Log.Next(), event.Block{Puts: rows})}
			}
		case err := <-failed:
			return err
		case <-l.ctx.Done():
			return nil
		}
	}
}

// RunVault runs a vault's program as a child of its host until ctx ends, or the
// program does. The vault ends by itself when its host does: its socket closes.
// What it prints goes to stderr.
func RunVault(ctx context.Context, command []string, stderr io.Writer) error {
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Stderr = stderr
	c.SysProcAttr = apart()
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 5 * time.Second
	err := c.Run()
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("it ended by itself")
	}
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return fmt.Errorf("vault %s: %w; what it said is above", command[0], err)
	}
	return fmt.Errorf("vault %s: %w", command[0], err)
}
