package devnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"latchkey/escrow"
	"latchkey/event"
	"latchkey/event/disk"
	"latchkey/head"
	"latchkey/host"
	"latchkey/vault/enclave"
	"latchkey/vault/enclave/config"
	"latchkey/wire"
)

// Hosts that cheat, for the demo and the tests. They are modified hosts over real
// vaults' programs and real sockets; a vault's program cannot be modified without
// its evidence showing it. Nothing of this is in a product's program.

// ErrCheated is returned where a cheat was not refused.
var ErrCheated = errors.New("the cheat went through")

// Copy copies the disk of a client's or the escrow's process into a new folder of
// the world, as a host does that means to go back later. The process is killed
// for it, and started again.
func (w *World) Copy(ctx context.Context, name, as string) error {
	p := w.Process(name)
	if err := p.Kill(); err != nil {
		return err
	}
	if err := w.copyData(name, as); err != nil {
		return err
	}
	return p.Start(ctx, nil)
}

func (w *World) copyData(name, as string) error {
	if err := os.CopyFS(filepath.Join(w.dir(as), "data"), os.DirFS(filepath.Join(w.dir(name), "data"))); err != nil {
		return fmt.Errorf("copy the disk of %s: %w", name, err)
	}
	return nil
}

// A rogue is a vault's program with a host that is not the product's, over a
// folder of the world.
type rogue struct {
	disk *disk.Log
	link *host.Link
	stop func()
	once sync.Once
}

// rogue runs the vault's program, configured as f, over the disk in a folder.
func (w *World) rogue(ctx context.Context, folder string, f config.File, link host.LinkConfig, opened func(event.Log) error) (*rogue, enclave.Status, error) {
	none := enclave.Status{}
	f.Socket = filepath.Join(w.dir(folder), "vault.sock")
	path := filepath.Join(w.dir(folder), "rogue.toml")
	if err := write(path, f); err != nil {
		return nil, none, err
	}
	logFile, err := os.OpenFile(filepath.Join(w.cfg.Folder, "log", folder+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, none, err
	}
	d, err := disk.Open(disk.Config{Folder: filepath.Join(w.dir(folder), "data"), Logger: slog.New(slog.NewTextHandler(logFile, nil))})
	if err != nil {
		return nil, none, errors.Join(err, logFile.Close())
	}
	if opened != nil {
		if err := opened(d); err != nil {
			return nil, none, errors.Join(err, d.Close(), logFile.Close())
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = host.RunVault(ctx, []string{filepath.Join(w.cfg.Bin, "vault"), "--config", path}, logFile) })
	r := &rogue{disk: d, stop: func() {
		cancel()
		running.Wait()
		_ = d.Close()
		_ = logFile.Close()
	}}
	link.Log, link.Socket = d, f.Socket
	l, status, err := host.Connect(ctx, link)
	if err != nil {
		r.stop()
		return nil, none, fmt.Errorf("vault over %s: %w", folder, err)
	}
	r.link = l
	return r, status, nil
}

func (r *rogue) close() {
	r.once.Do(func() {
		r.link.Close()
		r.stop()
	})
}

// A RogueHost is a client's host that runs the client's vault over an old copy of
// its disk, tells it nothing of the log since, and carries only what it likes.
type RogueHost struct {
	*rogue
	id wire.VaultID
}

// RogueHost starts the vault of a client over a copy.
func (w *World) RogueHost(ctx context.Context, name, copied string) (*RogueHost, error) {
	r, s, err := w.rogue(ctx, copied, w.vaultFile(name, "owner"), host.LinkConfig{}, nil)
	if err != nil {
		return nil, err
	}
	id, err := s.Identity.ID()
	if err != nil {
		r.close()
		return nil, err
	}
	return &RogueHost{r, id}, nil
}

// Close stops the vault.
func (r *RogueHost) Close() { r.close() }

// Claim has the old vault order a claim of chunks and brings the order to an
// escrow. It returns why that was refused, by the vault itself or by the escrow;
// ErrCheated if it was not.
func (r *RogueHost) Claim(ctx context.Context, at *escrow.Client, note []byte, ids ...wire.ChunkID) error {
	v := r.link.Vault
	if _, err := v.Call(ctx, enclave.Call{Claim: &enclave.Chunks{IDs: ids}}); err != nil {
		return fmt.Errorf("the vault refuses: %w", err)
	}
	hello, err := v.Call(ctx, enclave.Call{Hello: &enclave.Nothing{}})
	if err != nil {
		return err
	}
	welcome, newest, err := at.Greet(ctx, hello.Bytes)
	if err != nil {
		return err
	}
	if note == nil {
		note = newest
	}
	if _, err := v.Call(ctx, enclave.Call{Finish: &enclave.Finish{Welcome: welcome, Head: note}}); err != nil {
		return err
	}
	talk, err := v.Call(ctx, enclave.Call{Talk: &enclave.Nothing{}})
	if err != nil {
		return err
	}
	for _, s := range talk.Talk {
		if s.What != "claim" {
			continue
		}
		answer, err := at.Send(ctx, s.Frame)
		if err != nil {
			return err
		}
		if _, err := v.Call(ctx, enclave.Call{Heard: &enclave.Heard{N: s.N, Frame: answer}}); err != nil {
			return err
		}
		return fmt.Errorf("%w: the escrow answered a claim of %d chunks", ErrCheated, len(ids))
	}
	return errors.New("the vault has no claim to bring")
}

// Escrow returns a caller of the world's escrow.
func (w *World) Escrow() *escrow.Client { return escrow.NewClient(w.urls["escrow"], httpClient()) }

// Trust returns the configuration of a client's vault: the keys that its user
// pinned.
func (w *World) Trust(name string) string { return filepath.Join(w.dir(name), "vault.toml") }

func (w *World) group() head.Group {
	return head.Group{Log: w.logKey, Witnesses: w.witnesses, K: 3, F: 1}
}
