// Command wallet-eth is the wallet connector for Ethereum: it serves a user's
// ordinary wallet, and its view of the chain, to the other programs of its user.
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
	"latchkey/wallet/eth"
)

const usage = `wallet-eth connects Latchkey to an Ethereum node.

  wallet-eth --config wallet-eth.toml

It serves until SIGINT or SIGTERM. When it is ready it prints one line of JSON on
standard output: {"ready":true,"listen":"127.0.0.1:8702","address":"0x…"}.

A configuration file, with the defaults of what may be left out:

  listen = "unix:/run/user/1000/wallet-eth.sock"  # or HOST:PORT on loopback;
                                                  # whoever connects can spend
  data = "/home/ann/.latchkey/wallet-eth"         # key and transactions
  node = "http://127.0.0.1:8545"                  # JSON-RPC of the node
  chain_id = 1
  confirmations = 12                              # that make a deposit count
  max_gwei = 200                                  # offered per gas at most
  resend = "3s"                                   # between looks after transactions
  max_tip_age = "5m"                              # of the newest block; older: the node
                                                  # stands still

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
	Address string `json:"address"`
	Chain   string `json:"chain"`
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("wallet-eth", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	config := flags.String("config", "", "configuration `file` (required)")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		_, err = fmt.Fprint(stdout, usage)
		return err
	case err != nil:
		return fmt.Errorf("%w; wallet-eth -h says more", err)
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q; wallet-eth -h says more", flags.Arg(0))
	case *config == "":
		return errors.New("--config is required: the configuration file; wallet-eth -h says what stands in it")
	}
	cfg, err := eth.ReadConfig(*config)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	w, err := eth.Open(ctx, cfg, logger)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	tended := make(chan struct{})
	go func() {
		defer close(tended)
		w.Run(ctx)
	}()
	defer func() {
		cancel()
		<-tended
		err = errors.Join(err, w.Close())
	}()
	listener, err := wallet.Open(cfg.Listen, gate.Tables{TLS: cfg.TLS, Limits: cfg.Limits}, cfg.TokenFile, logger)
	if err != nil {
		return err
	}
	listen := cfg.Listen
	if !strings.HasPrefix(listen, "unix:") {
		listen = listener.Addr().String()
	}
	line, err := json.Marshal(ready{Ready: true, Listen: listen, Address: w.Address(), Chain: w.Chain()})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if _, err := fmt.Fprintln(stdout, string(line)); err != nil {
		return errors.Join(err, listener.Close())
	}
	return listener.Serve(ctx, w)
}
