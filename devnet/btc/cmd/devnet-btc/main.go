// Command devnet-btc runs a Bitcoin node (btcd, regtest) for development, on a
// chain of its own that restarts and crashes keep.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"latchkey/devnet/btc"
)

const usage = `devnet-btc runs a Bitcoin node for development: btcd, on a regtest chain of its own.

  go build -o btcd github.com/btcsuite/btcd          # once, in devnet/btc
  devnet-btc --data FOLDER --btcd ./btcd [flags]
  devnet-btc fund  --control URL --to ADDRESS --amount 0.5
  devnet-btc mine  --control URL --blocks 3
  devnet-btc reorg --control URL --blocks 1

The first serves until SIGINT or SIGTERM. When it is ready it prints one line of
JSON on standard output: {"ready":true,"rpc":URL,"control":URL,...}. The others
talk to one that runs, and print one line of JSON too. A btcd that dies is
started again; blocks are never lost, what waits for a block may be.

`

func main() {
	// btcd is bound to the thread that starts it: this one, which lives longest.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return command(ctx, args[0], args[1:], stdout, stderr)
	}
	return serve(ctx, args, stdout, stderr)
}

// ready is what serve prints when node and faucet answer.
type ready struct {
	Ready        bool   `json:"ready"`
	RPC          string `json:"rpc"`
	User         string `json:"user"`
	PasswordFile string `json:"password_file"`
	P2P          string `json:"p2p"`
	Control      string `json:"control"`
	Network      string `json:"network"`
	Height       int64  `json:"height"`
	Faucet       string `json:"faucet"`
}

func serve(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var cfg btc.Config
	flags := flag.NewFlagSet("devnet-btc", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	flags.StringVar(&cfg.Btcd, "btcd", "btcd", "path of the program btcd")
	flags.StringVar(&cfg.Data, "data", "", "`folder` of chain, faucet key and RPC password (required)")
	flags.StringVar(&cfg.RPC, "rpc", "", "loopback `address` of btcd's RPC (default: a free port, the same at each start)")
	flags.StringVar(&cfg.P2P, "p2p", "", "loopback `address` for other nodes (default: likewise)")
	flags.DurationVar(&cfg.Period, "period", 0, "time between blocks while nothing waits; 0 = none")
	flags.DurationVar(&cfg.Quick, "quick", btc.DefaultQuick, "time from a transaction to its block; 0 = none")
	flags.IntVar(&cfg.Initial, "initial", btc.DefaultInitial, "`blocks` of a new chain; the first 100 cannot be spent")
	control := flags.String("control", "127.0.0.1:0", "loopback `address` of faucet and mining commands")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if cfg.Data == "" {
		return errors.New("--data is required: the folder for chain and faucet key")
	}
	if cfg.Period < 0 || cfg.Quick < 0 || cfg.Initial < 0 || cfg.Initial > 10_000 {
		return errors.New("--period and --quick are not negative, --initial is 0 to 10000")
	}
	host, _, err := net.SplitHostPort(*control)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("--control %q: want a loopback address and a port", *control)
	}
	listener, err := net.Listen("tcp", *control)
	if err != nil {
		return fmt.Errorf("--control: %w", err)
	}
	defer listener.Close()
	node, err := btc.Start(ctx, cfg)
	if err != nil {
		return err
	}
	height, err := node.Height(ctx)
	if err != nil {
		return errors.Join(err, node.Close())
	}
	line, err := json.Marshal(ready{
		Ready: true, RPC: node.RPC(), User: node.User(), PasswordFile: node.PasswordFile(), P2P: node.P2P(),
		Control: "http://" + listener.Addr().String(), Network: "regtest", Height: height, Faucet: node.Faucet(),
	})
	if err == nil {
		_, err = fmt.Fprintln(stdout, string(line))
	}
	if err != nil {
		return errors.Join(err, node.Close())
	}
	server := &http.Server{Handler: node.Handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with Close below
	node.Run(ctx, func(err error) { fmt.Fprintln(stderr, "devnet-btc:", err) })
	return errors.Join(server.Close(), node.Close())
}

// command sends one command to a devnet-btc that runs.
func command(ctx context.Context, name string, args []string, stdout, stderr io.Writer) error {
	var c btc.Command
	flags := flag.NewFlagSet("devnet-btc "+name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	url := flags.String("control", "", "`URL` that the running devnet-btc printed (required)")
	switch name {
	case "fund":
		flags.StringVar(&c.To, "to", "", "`address` to pay (required)")
		flags.StringVar(&c.Amount, "amount", "", "bitcoins, such as 0.5 (required)")
	case "mine", "reorg":
		flags.IntVar(&c.Blocks, "blocks", 1, "how many `blocks`")
	default:
		return fmt.Errorf("unknown command %q: want fund, mine or reorg", name)
	}
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *url == "" {
		return errors.New("--control is required: the URL that the running devnet-btc printed")
	}
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(*url, "/")+"/"+name, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("--control: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("reach devnet-btc: %w", err)
	}
	defer answer.Body.Close()
	var r btc.Result
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<16)).Decode(&r); err != nil {
		return fmt.Errorf("read the answer of devnet-btc: %w", err)
	}
	if r.Error != "" {
		return errors.New(r.Error)
	}
	return json.NewEncoder(stdout).Encode(r)
}
