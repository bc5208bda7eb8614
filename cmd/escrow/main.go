// Command escrow is the host of an escrow's vault: its log, its network, its
// witnesses.
//
//	escrow --config escrow.toml
package main

import (
	"context"
	"fmt"
	"os"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/escrow"
	"latchkey/event/disk"
	"latchkey/gate"
	"latchkey/host"
	"latchkey/vault/enclave"
)

func main() {
	path := gate.Arguments("escrow", "the host of an escrow's vault: its log, its network, its witnesses", "docs/config.md")
	gate.Heap()
	ctx, stop := gate.Signals(context.Background())
	defer stop()
	if err := run(ctx, path); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path string) error {
	f, err := escrow.ReadFile(path)
	if err != nil {
		return err
	}
	logger, err := f.Log.New(os.Stderr)
	if err != nil {
		return err
	}
	c := f.Host()
	if c.HTTP, err = f.Trust.Client(logger); err != nil {
		return err
	}
	l, err := gate.Listen(f.Listen, f.Tables, logger)
	if gate.ErrInUse(err) {
		return fmt.Errorf("%w; choose another address in %s, or stop what uses this one", err, path)
	}
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	log, err := disk.Open(disk.Config{Folder: f.Data, Logger: logger})
	if err != nil {
		return err
	}
	defer log.Close()
	c.Log, c.Logger, c.Guard, c.Verifiers = log, logger, l.Guard, []attest.Verifier{sim.Verifier{}}
	return host.Program{
		Name: "escrow", Listener: l, Vault: f.Vault, Data: f.Data, Admin: f.Admin, Logger: logger,
		Build: func(ctx context.Context) (host.Service, error) {
			h, err := escrow.NewHost(ctx, c)
			if err != nil {
				return host.Service{}, err
			}
			return host.Service{
				Handler: l.Guard.Handler(escrow.Handler(h), escrow.Stranger), Reasons: h.Reasons, Figures: h.Figures,
				Run: func(ctx context.Context, ready func(map[string]any)) error {
					return h.Run(ctx, func(s enclave.Status) { ready(map[string]any{"log_key": s.LogKey}) })
				},
			}, nil
		},
	}.Serve(ctx)
}
