// Command escrow is the host of an escrow's vault: its log, its network, its
// witnesses.
//
//	escrow --config escrow.toml
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"latchkey/escrow"
	"latchkey/event/disk"
	"latchkey/host"
	"latchkey/vault/enclave"
)

func main() {
	path := flag.String("config", "escrow.toml", "configuration file")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "error: unknown argument %q\nhint: escrow --config FILE\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *path); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. When the vault ends, all begins again from what is
// durable, with a new vault.
func run(ctx context.Context, path string) error {
	f, err := escrow.ReadFile(path)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	l, err := net.Listen("tcp", f.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w; is another escrow running?", err)
	}
	defer l.Close()
	log, err := disk.Open(disk.Config{Folder: f.Data, Logger: logger})
	if err != nil {
		return err
	}
	defer log.Close()
	c := f.Host()
	c.Log, c.Logger = log, logger
	var once sync.Once
	started := false
	for {
		h, err := escrow.NewHost(ctx, c)
		if err != nil {
			return err
		}
		err = serve(ctx, f, h, l, func(s enclave.Status) {
			started = true
			once.Do(func() {
				json.NewEncoder(os.Stdout).Encode(map[string]any{"ready": true, "listen": "http://" + l.Addr().String(), "log_key": s.LogKey})
			})
		})
		if ctx.Err() != nil {
			return nil
		}
		if !started || !errors.Is(err, host.ErrVaultGone) {
			return err
		}
		logger.Warn("begin again from what is durable", "err", err)
		if l, err = net.Listen("tcp", l.Addr().String()); err != nil {
			return fmt.Errorf("listen again: %w", err)
		}
	}
}

func serve(ctx context.Context, f escrow.File, h *escrow.Host, l net.Listener, ready func(enclave.Status)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel(nil)
	if len(f.Vault) > 0 {
		running.Go(func() {
			if err := host.RunVault(ctx, f.Vault, os.Stderr); err != nil {
				cancel(fmt.Errorf("%w: %w", host.ErrVaultGone, err))
				time.Sleep(100 * time.Millisecond) // a vault that cannot start is not started in a tight loop
			}
		})
	}
	s := &http.Server{Handler: escrow.Handler(h), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn)}
	running.Go(func() {
		if err := s.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			cancel(err)
		}
	})
	defer func() {
		stop, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer done()
		s.Shutdown(stop)
		s.Close()
	}()
	err := h.Run(ctx, ready)
	if cause := context.Cause(ctx); cause != nil && err == nil {
		err = cause
	}
	return err
}
