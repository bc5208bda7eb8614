// Command escrow is the host of an escrow's vault: its log, its network, its
// witnesses.
//
//	escrow --config escrow.toml
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

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

func run(ctx context.Context, path string) error {
	f, err := escrow.ReadFile(path)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	l, err := net.Listen("tcp", f.Listen)
	if err != nil {
		return fmt.Errorf("%w; choose another address in %s, or stop what uses this one", err, path)
	}
	log, err := disk.Open(disk.Config{Folder: f.Data, Logger: logger})
	if err != nil {
		return err
	}
	defer log.Close()
	c := f.Host()
	c.Log, c.Logger = log, logger
	return host.Serve(ctx, l, f.Vault, logger, func(ctx context.Context) (host.Service, error) {
		h, err := escrow.NewHost(ctx, c)
		if err != nil {
			return host.Service{}, err
		}
		return host.Service{Handler: escrow.Handler(h), Run: func(ctx context.Context, ready func(map[string]any)) error {
			return h.Run(ctx, func(s enclave.Status) { ready(map[string]any{"log_key": s.LogKey}) })
		}}, nil
	})
}
