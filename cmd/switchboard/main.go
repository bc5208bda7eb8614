// Command switchboard matches the offers of clients whose vaults it appraised,
// and proposes which chunks to exchange. It holds no key.
//
//	switchboard --config switchboard.toml
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/escrow"
	"latchkey/event"
	"latchkey/event/disk"
	"latchkey/rate"
	"latchkey/switchboard"
)

func main() {
	path := flag.String("config", "switchboard.toml", "configuration file; see docs/config-switchboard.md")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "error: unknown argument %q\nhint: switchboard --config FILE\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *path, os.Stdout, os.Stderr); err != nil {
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
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w; is another switchboard running?", err)
	}
	defer l.Close()
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
		Settings: s, Log: log, Verifiers: []attest.Verifier{sim.Verifier{}}, Group: s.Escrow.Group(),
		Escrow: escrow.NewClient(s.Escrow.URL, &http.Client{}), Feed: feed, Clock: clock, Logger: logger,
	})
	if err != nil {
		return err
	}
	h := &http.Server{
		Handler: switchboard.Handler(b), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = b.Run(ctx, func() {
		json.NewEncoder(stdout).Encode(map[string]any{"ready": true, "listen": "http://" + l.Addr().String()})
		go func() {
			if err := h.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("serve: %w", err))
			}
		}()
	})
	stop, done := context.WithTimeout(context.Background(), 2*time.Second)
	defer done()
	h.Shutdown(stop)
	h.Close()
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}
