// Command vault is the program inside the TEE: it holds the shares of private
// keys of a client, or of an escrow. Its host starts it and talks to it over a
// Unix socket.
//
//	vault --config vault.toml
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/vault/enclave"
	"latchkey/vault/enclave/config"
)

func main() {
	path := flag.String("config", "vault.toml", "configuration file; see docs/config.md")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "error: unknown argument %q\nhint: vault --config FILE\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(*path); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	c, err := config.Read(path)
	if err != nil {
		return err
	}
	if c.Trust.Role == "escrow" && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // as gate.Heap does for the host
	}
	p, err := sim.OpenPlatform(c.Platform)
	if err != nil {
		return err
	}
	m, err := sim.MeasureSelf()
	if err != nil {
		return err
	}
	program, err := p.Launch(sim.Launch{Measurement: m})
	if err != nil {
		return err
	}
	e, err := enclave.New(enclave.Config{Trust: c.Trust, Platform: program, Verifiers: []attest.Verifier{sim.Verifier{}}, SnapshotEvery: c.SnapshotEvery})
	if err != nil {
		return err
	}
	l, err := enclave.Listen(c.Socket)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return e.Serve(ctx, l)
}
