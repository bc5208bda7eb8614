// Command client is the host of a user's vault: what runs beside it, day and
// night, and what the latchkey command talks to.
//
//	client --config client.toml
package main

import (
	"context"
	"fmt"
	"os"

	"latchkey/client"
	"latchkey/event/disk"
	"latchkey/gate"
	"latchkey/host"
	"latchkey/vault/enclave"
	"latchkey/wallet"
)

func main() {
	path := gate.Arguments("client", "the host of a user's vault; latchkey commands talk to it", "docs/config.md")
	ctx, stop := gate.Signals(context.Background())
	defer stop()
	if err := run(ctx, path); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path string) error {
	f, err := client.ReadFile(path)
	if err != nil {
		return err
	}
	logger, err := f.Log.New(os.Stderr)
	if err != nil {
		return err
	}
	c, err := f.Host(logger)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	local, err := wallet.Listen(f.Listen)
	if err != nil {
		return fmt.Errorf("%w; choose another address in %s, or stop what uses this one", err, path)
	}
	defer local.Close()
	l, err := gate.New(local, f.Tables, logger)
	if err != nil {
		return err
	}
	log, err := disk.Open(disk.Config{Folder: f.Data, Logger: logger})
	if err != nil {
		return err
	}
	defer log.Close()
	c.Log = log
	return host.Program{
		Name: "client", Listener: l, Vault: f.Vault, Data: f.Data, Admin: f.Admin, Logger: logger,
		Build: func(ctx context.Context) (host.Service, error) {
			h, err := client.New(ctx, c)
			if err != nil {
				return host.Service{}, err
			}
			return host.Service{
				Handler: client.Handler(h), Reasons: h.Reasons, Figures: h.Figures,
				Run: func(ctx context.Context, ready func(map[string]any)) error {
					return h.Run(ctx, func(enclave.Status) { ready(map[string]any{"name": f.Name}) })
				},
			}, nil
		},
	}.Serve(ctx)
}
