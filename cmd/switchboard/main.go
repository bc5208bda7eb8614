// Command switchboard matches the offers of clients whose vaults it appraised,
// and proposes which chunks to exchange. It holds no key.
//
//	switchboard --config switchboard.toml
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/escrow"
	"latchkey/event"
	"latchkey/event/disk"
	"latchkey/gate"
	"latchkey/gate/admin"
	"latchkey/rate"
	"latchkey/switchboard"
)

func main() {
	path := gate.Arguments("switchboard", "what matches the offers of clients; it holds no key", "docs/config-switchboard.md")
	ctx, stop := gate.Signals(context.Background())
	defer stop()
	if err := run(ctx, path, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends or the log fails.
func run(ctx context.Context, path string, stdout, stderr io.Writer) error {
	s, err := switchboard.ReadFile(path)
	if err != nil {
		return err
	}
	logger, err := s.Tables.Log.New(stderr)
	if err != nil {
		return err
	}
	call, err := s.Tables.Trust.Client(logger)
	if err != nil {
		return err
	}
	l, err := gate.Listen(s.Listen, s.Tables, logger)
	if gate.ErrInUse(err) {
		return fmt.Errorf("listen: %w; is another switchboard running?", err)
	}
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	log, err := disk.Open(disk.Config{Folder: s.Data, Logger: logger})
	if errors.Is(err, event.ErrInUse) {
		return fmt.Errorf("data folder %s: %w; is another switchboard running?", s.Data, event.ErrInUse)
	}
	if err != nil {
		return err
	}
	defer log.Close()
	clock := func() int64 { return time.Now().Unix() }
	feed, err := rate.NewFeed(s.Rate, clock)
	if err != nil {
		return err
	}
	b, err := switchboard.Open(ctx, switchboard.Config{
		Settings: s, Log: log, Verifiers: []attest.Verifier{sim.Verifier{}}, Group: s.Escrow.Group(), Guard: l.Guard,
		Escrow: escrow.NewClient(s.Escrow.URL, call), Feed: feed, Clock: clock, Logger: logger,
	})
	if err != nil {
		return err
	}
	return serve(ctx, s, l, b, logger, stdout)
}

// serve runs the board until ctx ends, and a little longer: requests in flight are
// answered first.
func serve(ctx context.Context, s switchboard.Settings, l *gate.Listener, b *switchboard.Board, logger *slog.Logger, stdout io.Writer) error {
	run, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	open, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	defer serving.Wait()
	defer cancel(nil)
	defer stop()
	role := admin.Role{
		Name: "switchboard", Data: s.Data, Reasons: b.Reasons,
		Figures: func() []gate.Figure { return append(l.Guard.Figures(), b.Figures()...) },
	}
	var ready atomic.Bool
	board := l.Guard.Handler(switchboard.Handler(b), switchboard.Stranger)
	serving.Go(func() {
		cancel(l.Serve(open, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ready.Load() {
				board.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Retry-After", "1")
			http.Error(w, "starting; try again in a second", http.StatusServiceUnavailable)
		})))
	})
	serving.Go(func() {
		if err := admin.Run(run, s.Admin, role, logger); err != nil {
			cancel(err)
		}
	})
	err := b.Run(run, func() {
		ready.Store(true)
		_ = json.NewEncoder(stdout).Encode(map[string]any{"ready": true, "listen": l.URL()})
	})
	if cause := context.Cause(run); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}
