// Command client is the host of a user's vault: what runs beside it, day and
// night, and what the latchkey command talks to.
//
//	client --config client.toml
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"latchkey/client"
	"latchkey/event/disk"
	"latchkey/host"
	"latchkey/vault/enclave"
	"latchkey/wallet"
)

func main() {
	path := flag.String("config", "client.toml", "configuration file")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "error: unknown argument %q\nhint: client --config FILE\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *path); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path string) error {
	f, err := client.ReadFile(path)
	if err != nil {
		return err
	}
	c, err := f.Host()
	if err != nil {
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	l, err := wallet.Listen(f.Listen)
	if err != nil {
		return fmt.Errorf("%w; choose another address in %s, or stop what uses this one", err, path)
	}
	log, err := disk.Open(disk.Config{Folder: f.Data, Logger: logger})
	if err != nil {
		return err
	}
	defer log.Close()
	c.Log, c.Logger = log, logger
	return host.Serve(ctx, l, f.Vault, logger, func(ctx context.Context) (host.Service, error) {
		h, err := client.New(ctx, c)
		if err != nil {
			return host.Service{}, err
		}
		return host.Service{Handler: client.Handler(h), Run: func(ctx context.Context, ready func(map[string]any)) error {
			return h.Run(ctx, func(enclave.Status) { ready(map[string]any{"name": f.Name}) })
		}}, nil
	})
}
