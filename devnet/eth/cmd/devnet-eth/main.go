// Command devnet-eth runs an Ethereum node for development, on a chain of its own
// that a restart keeps.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"os"
	"os/signal"
	"sort"
	"strings"
	"syscall"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/rpc"

	"latchkey/devnet/eth"
)

const usage = `devnet-eth runs an Ethereum node for development, on a chain of its own.

  devnet-eth --data FOLDER --http 127.0.0.1:8545 [flags]
  devnet-eth fund --rpc http://127.0.0.1:8545 --to ADDRESS --amount 2.5eth
  devnet-eth lie --rpc http://127.0.0.1:8545 --http 127.0.0.1:8546 [--still]

The first command serves until SIGINT or SIGTERM. When it is ready it prints one
line of JSON on standard output: {"ready":true,"http":URL,"chain_id":N,...}.
The third one listens before a node and says that there is what is not; with
--still, that there are no blocks but those that there are at its start.
Amounts are wei, or a decimal number with the unit gwei or eth.

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "fund" {
		return fund(ctx, args[1:], stdout, stderr)
	}
	if len(args) > 0 && args[0] == "lie" {
		return lie(ctx, args[1:], stdout, stderr)
	}
	return serve(ctx, args, stdout, stderr)
}

// ready is what serve prints when the RPC answers.
type ready struct {
	Ready   bool   `json:"ready"`
	HTTP    string `json:"http"`
	ChainID uint64 `json:"chain_id"`
	Block   uint64 `json:"block"`
	Faucet  string `json:"faucet"`
}

func serve(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var cfg eth.Config
	var verbose bool
	funds := fundFlag{}
	flags := flag.NewFlagSet("devnet-eth", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	flags.StringVar(&cfg.Data, "data", "", "folder of chain and faucet key (required)")
	flags.StringVar(&cfg.HTTP, "http", "127.0.0.1:8545", "loopback address of the RPC; port 0 chooses one")
	flags.Uint64Var(&cfg.ChainID, "chain-id", eth.DefaultChainID, "chain id; fixed by the first start")
	flags.DurationVar(&cfg.Period, "period", eth.DefaultPeriod, "time between blocks while transactions wait")
	flags.DurationVar(&cfg.Idle, "idle", eth.DefaultIdle, "time between blocks while none waits")
	flags.Var(funds, "fund", "`ADDRESS=AMOUNT` in the genesis of a new chain; may be repeated")
	flags.BoolVar(&verbose, "verbose", false, "print what the node says on standard error")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if cfg.Data == "" {
		return errors.New("--data is required: the folder for chain and faucet key")
	}
	cfg.Fund = funds
	level := log.LevelCrit // go-ethereum ends the process after such a line
	if verbose {
		level = log.LevelInfo
	}
	log.SetDefault(log.NewLogger(log.NewTerminalHandlerWithLevel(stderr, slog.Level(level), false)))

	node, err := eth.Start(ctx, cfg)
	if err != nil {
		return err
	}
	head, _ := node.Head()
	line, err := json.Marshal(ready{Ready: true, HTTP: node.HTTP(), ChainID: node.ChainID(), Block: head, Faucet: node.Faucet().Hex()})
	if err != nil {
		return errors.Join(err, node.Close())
	}
	if _, err := fmt.Fprintln(stdout, string(line)); err != nil {
		return errors.Join(err, node.Close())
	}
	select {
	case <-ctx.Done():
	case <-node.Done():
	}
	return node.Close()
}

func fund(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("devnet-eth fund", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	url := flags.String("rpc", "http://127.0.0.1:8545", "RPC of a running devnet-eth")
	to := flags.String("to", "", "address to pay (required)")
	amount := flags.String("amount", "", "amount to pay, such as 2.5eth (required)")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	address, err := eth.ParseAddress(*to)
	if err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	wei, err := eth.ParseAmount(*amount)
	if err != nil {
		return fmt.Errorf("--amount: %w", err)
	}
	client, err := rpc.DialContext(ctx, *url)
	if err != nil {
		return fmt.Errorf("reach the node at %s: %w", *url, err)
	}
	defer client.Close()
	var hash common.Hash
	if err := client.CallContext(ctx, &hash, "dev_fund", address, (*hexutil.Big)(wei)); err != nil {
		return fmt.Errorf("ask the node at %s: %w", *url, err)
	}
	_, err = fmt.Fprintln(stdout, hash.Hex())
	return err
}

// fundFlag collects ADDRESS=AMOUNT flags.
type fundFlag map[common.Address]*big.Int

func (f fundFlag) String() string {
	var parts []string
	for address, amount := range f {
		parts = append(parts, address.Hex()+"="+amount.String())
	}
	sort.Strings(parts)
	return strings.Join(parts, ",")
}

func (f fundFlag) Set(text string) error {
	left, right, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("want ADDRESS=AMOUNT")
	}
	address, err := eth.ParseAddress(left)
	if err != nil {
		return err
	}
	amount, err := eth.ParseAmount(right)
	if err != nil {
		return err
	}
	if _, twice := f[address]; twice {
		return fmt.Errorf("%v is named twice", address)
	}
	f[address] = amount
	return nil
}
