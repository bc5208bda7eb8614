// Command wallet-btc is a user's Bitcoin wallet behind Latchkey's wallet
// interface. It needs a btcd node with --txindex and --addrindex.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"latchkey/gate"
	"latchkey/wallet"
	"latchkey/wallet/btc"
)

const usage = `wallet-btc serves a user's Bitcoin wallet to programs on this machine.

  wallet-btc --config wallet-btc.toml

It serves until SIGINT or SIGTERM. When it is ready it prints one line of JSON on
standard output: {"ready":true,"listen":"127.0.0.1:8701","address":"bc1…"}. The configuration file:

  listen             = "unix:/home/me/.latchkey/btc.sock"  # or "127.0.0.1:8701"
  data               = "/home/me/.latchkey/btc"            # own key, signed transactions
  node               = "http://127.0.0.1:8334"             # btcd --txindex --addrindex
  node_user          = "me"
  node_password_file = "/home/me/.latchkey/btcd.password"
  network            = "main"       # testnet3, testnet4, signet or regtest
  confirmations      = 6            # before a deposit counts
  max_sat_per_vbyte  = 200          # never pay more
  resend             = "2s"         # look after what is on its way
  max_tip_age        = "2h"         # of the newest block; older: the node stands still

The last four may be left out. Back up the file own.key in the data folder: it
holds the coins of this wallet.

`

func main() {
	ctx, stop := gate.Signals(context.Background())
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "error:", strings.ReplaceAll(err.Error(), "\n", "; "))
	os.Exit(1)
}

// ready is what run prints when the wallet is served.
type ready struct {
	Ready   bool   `json:"ready"`
	Listen  string `json:"listen"`
	Address string `json:"address"` // where the own wallet receives
	Chain   string `json:"chain"`
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("wallet-btc", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	config := flags.String("config", "", "configuration file (required)")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		_, err = fmt.Fprint(stdout, usage)
		return err
	case err != nil:
		return fmt.Errorf("%w; wallet-btc -h says more", err)
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q; wallet-btc -h says more", flags.Arg(0))
	case *config == "":
		return errors.New("--config is required: the configuration file; wallet-btc -h says what stands in it")
	}
	cfg, err := btc.ReadConfig(*config)
	if err != nil {
		return err
	}
	w, err := btc.Open(cfg)
	if err != nil {
		return err
	}
	listener, err := wallet.Open(cfg.Listen, gate.Tables{TLS: cfg.TLS, Limits: cfg.Limits}, cfg.TokenFile, slog.New(slog.NewTextHandler(stderr, nil)))
	if err != nil {
		return errors.Join(err, w.Close())
	}
	at := cfg.Listen
	if listener.Addr().Network() == "tcp" {
		at = listener.Addr().String()
	}
	line, err := json.Marshal(ready{Ready: true, Listen: at, Address: w.Address(), Chain: "bip122:" + cfg.Network})
	if err == nil {
		_, err = fmt.Fprintln(stdout, string(line))
	}
	if err != nil {
		return errors.Join(err, listener.Close(), w.Close())
	}
	done := make(chan struct{})
	work, stop := context.WithCancel(ctx)
	go func() {
		defer close(done)
		w.Run(work)
	}()
	err = listener.Serve(ctx, w)
	stop()
	<-done
	return errors.Join(err, w.Close())
}
