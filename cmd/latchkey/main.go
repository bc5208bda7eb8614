// Command latchkey is what a user types: the demo, and the commands that talk to
// the host of the user's vault.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `latchkey exchanges coins of different chains by handing over their private keys.

usage:
  latchkey demo                      a whole world on this machine: two chains, an
                                     exchange between three clients, swept on chain
  latchkey status    --client SOCKET what there is, what it waits for, until when
  latchkey timeline  --client SOCKET what has happened
  latchkey deposit   --client SOCKET --asset btc --usd 500
  latchkey exchange  --client SOCKET --give btc --want eth --usd 500
                                     all at once; --settle tit-for-tat: in turn
  latchkey cancel    --client SOCKET OFFER
  latchkey claim     --client SOCKET CHUNK...
  latchkey keep      --client SOCKET --asset btc [--up-to 0.01] [--until 2027-01-31]

payments without a chain, and agreements between people who know each other:
  latchkey receive   --client SOCKET --asset btc --usd 100
  latchkey pay       --client SOCKET REQUEST
  latchkey propose   --client SOCKET --contract FILE --party NAME=VAULT... \
                     --term NAME=VALUE... --pot NAME=ASSET... \
                     --oracle NAME=K:KEY,KEY...
  latchkey review    --client SOCKET DRAFT
  latchkey accept    --client SOCKET DRAFT
  latchkey decline   --client SOCKET DRAFT
  latchkey say       --client SOCKET --instance ID WORD [VALUE]
  latchkey fund      --client SOCKET DEAL POT
                                     put chunks into a pot that is filled later
  latchkey report    --client SOCKET --instance ID FILE...
                                     bring values that oracles signed
  latchkey withheld  --client SOCKET --trust FILE
                                     whether the escrow kept its promises

contracts, written and looked at without any process running:
  latchkey contract  COMMAND FILE    write, check, explain, explore and test contracts
  latchkey oracle    COMMAND         sign values for contracts

  latchkey doctor    --config FILE   what is wrong with a set-up, and how to mend it
  latchkey head      --escrow URL    the newest head of an escrow's log, for witness adopt
  latchkey simulate  ...             SIMULATED platforms, in the place of hardware

SOCKET is where the client's host listens: unix:PATH or http://127.0.0.1:PORT;
the variable LATCHKEY_CLIENT serves instead. Each of them takes --json.
latchkey COMMAND -h says more.

example:
  go run ./cmd/latchkey demo
  latchkey deposit --client unix:alice/client.sock --asset btc --usd 500
`

// A command runs with its own arguments.
type command func(ctx context.Context, args []string, out, talk io.Writer) error

// errUsage is wrapped by mistakes in the command line.
var errUsage = errors.New("usage")

// hinted is an error with the way out.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, out, talk io.Writer) int {
	commands := map[string]command{
		"demo": demo, "status": status, "timeline": timeline, "deposit": deposit,
		"exchange": exchange, "cancel": cancel, "claim": claim, "say": say, "fund": fund, "report": report, "keep": keep,
		"receive": receive, "pay": pay, "propose": propose, "review": review, "accept": accept, "decline": decline, "withheld": withheld,
		"doctor": examine, "head": newestHead, "simulate": simulate,
		"contract": contractCommand, "oracle": oracleCommand,
	}
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		fmt.Fprint(out, usage)
		return 0
	}
	f := commands[args[0]]
	if f == nil {
		fmt.Fprintf(talk, "error: unknown command %q\nhint: latchkey help lists the commands\n", args[0])
		return 2
	}
	err := f(ctx, args[1:], out, talk)
	var h *hinted
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(talk, "stopped")
		return 130
	}
	fmt.Fprintln(talk, "error:", err)
	if errors.As(err, &h) {
		fmt.Fprintln(talk, "hint:", h.hint)
	}
	switch {
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, errBroken):
		return 3
	}
	return 1
}

// newFlags returns the flags of a command, whose help begins with about.
func newFlags(name, about string, out io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {
		fmt.Fprintf(out, "%s\n\n", about)
		f.SetOutput(out)
		f.PrintDefaults()
		f.SetOutput(io.Discard)
	}
	return f
}

func parse(f *flag.FlagSet, args []string, least, most int) error {
	help := f.Usage
	f.Usage = func() {} // a mistake is one line; help is what was asked for
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		help()
		return err
	} else if err != nil {
		return &hinted{fmt.Errorf("%w: %s: %w", errUsage, f.Name(), err), "latchkey " + f.Name() + " -h"}
	}
	if n := f.NArg(); n < least || n > most {
		want := fmt.Sprint(least)
		switch {
		case most == 0:
			want = "none"
		case most > least:
			want += " or more"
		}
		return &hinted{fmt.Errorf("%w: %s: %s after the flags, want %s", errUsage, f.Name(), tally(n, "argument"), want), "latchkey " + f.Name() + " -h"}
	}
	return nil
}
