// Command witness countersigns the heads of escrows' logs, and never two heads
// of one log that disagree. It speaks C2SP tlog-witness over HTTP.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"latchkey/event/witness/config"
	"latchkey/gate"
)

const usage = `witness countersigns the heads of logs, never two that disagree.

usage:
  witness run   [--config FILE]    serve; the first start makes key and state;
                                   prints a line of JSON when it is ready
  witness init  [--config FILE]    make key and state and print the public key
  witness key   [--config FILE]    print the public key, for the log's group
  witness adopt [--config FILE] [--lost-state] CHECKPOINT-FILE...
                                   start logs without state at signed heads;
                                   --lost-state makes a lost state anew
  witness example                  print a configuration file

FILE is witness.toml where none is named.

example:
  witness example > w1.toml
  witness run --config w1.toml
`

//go:embed example.toml
var example string

// hintError is an error with a way out.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

func main() {
	gate.Heap()
	ctx, stop := gate.Signals(context.Background())
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs a command line and returns the exit status: 0, 1 for an error, 2 for
// a command line that is none.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := command(ctx, args, stdout, stderr)
	if err == nil {
		return 0
	}
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		return 0
	}
	fmt.Fprintln(stderr, "error:", err)
	var hint *hintError
	var wanted *config.HintError
	switch {
	case errors.As(err, &hint):
		fmt.Fprintln(stderr, "hint:", hint.hint)
	case errors.As(err, &wanted):
		fmt.Fprintln(stderr, "hint:", wanted.Hint)
	}
	var wrong *usageError
	if errors.As(err, &wrong) {
		fmt.Fprint(stderr, "\n"+usage)
		return 2
	}
	return 1
}

type usageError struct{ error }

func command(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	if len(args) == 0 {
		return &usageError{errors.New("no command")}
	}
	name := args[0]
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	path := flags.String("config", "witness.toml", "")
	lostState := false
	switch name {
	case "run", "init", "key", "example":
	case "adopt":
		flags.BoolVar(&lostState, "lost-state", false, "")
	case "help", "-h", "--help":
		return flag.ErrHelp
	default:
		return &usageError{fmt.Errorf("unknown command %q", name)}
	}
	if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return &usageError{err}
	}
	if name == "adopt" && flags.NArg() == 0 && !lostState {
		return &usageError{errors.New("adopt: no checkpoint file is named")}
	}
	if name != "adopt" && flags.NArg() > 0 {
		return &usageError{fmt.Errorf("%s: unknown argument %q", name, flags.Arg(0))}
	}
	if name == "example" {
		_, err := io.WriteString(stdout, example)
		return err
	}
	c, err := config.Read(*path)
	if err != nil {
		return err
	}
	logger, err := c.Log.New(stderr)
	if err != nil {
		return err
	}
	if name == "key" {
		return printKey(stdout, c)
	}
	if len(c.Logs) == 0 && name != "init" { // its key is needed before a log's is known
		return &hintError{fmt.Errorf("%s: field logs is missing or empty", *path), "list the key of each log that it is to countersign"}
	}
	s, err := openService(ctx, c, logger)
	if err != nil {
		return err
	}
	defer func() {
		if closed := s.close(); err == nil {
			err = closed
		}
	}()
	switch name {
	case "init":
		if _, err := s.witness(ctx); err != nil {
			return err
		}
		_, err = fmt.Fprintln(stdout, s.public)
		return err
	case "adopt":
		return s.adopt(ctx, flags.Args(), lostState, logger)
	default:
		return s.serve(ctx, stdout, logger)
	}
}
