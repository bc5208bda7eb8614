// Command bench measures what a user of this system waits for, beside the least
// that the machine allows, and prints one table.
//
//	go run ./cmd/bench                     all rows, in some twenty minutes; writes docs/figures.md
//	go run ./cmd/bench -run 'assign|keys'  some rows; writes nothing
//	go run ./cmd/bench -quick              small numbers, to see that all of it runs
//	go run ./cmd/bench -run exchange -trace  and what each exchange waits for
//
// All of a row is measured in one run, its limit included, and what is compared
// with a limit is a ratio: on a machine that others use too, both suffer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime/pprof"
	"syscall"

	"latchkey/gate"
)

// options are the flags.
type options struct {
	quick  bool
	chunks int    // in the escrow whose memory and restart are measured
	dir    string // for data, removed at the end
	trace  *trace // of exchanges; nil: none
}

// few returns n, or what is enough to see that it runs.
func (o options) few(n int) int {
	if o.quick {
		return max(1, n/16)
	}
	return n
}

// A section measures some rows.
type section struct {
	name string
	run  func(context.Context, options) ([]figure, error)
}

var sections = []section{
	{"keys", keys},
	{"assign", assigns},
	{"exchange", exchanges},
	{"simulation", simulation},
	{"chunks", chunks}, // last: what a million chunks leave in a process slowed the simulation after them by half
}

func main() {
	var o options
	which := flag.String("run", "", "regular expression: measure only these of keys, assign, exchange, chunks, simulation, and write no file")
	out := flag.String("out", "docs/figures.md", "file to write the table to, unless -run or -quick is given")
	profile := flag.String("cpuprofile", "", "file to write a CPU profile to")
	flag.BoolVar(&o.quick, "quick", false, "small numbers: says that it runs, not how fast")
	traced := flag.Bool("trace", false, "with -run exchange: show what each exchange waits for")
	flag.IntVar(&o.chunks, "chunks", 1_000_000, "chunks in the escrow whose memory and restart are measured")
	flag.Parse()
	gate.Heap() // as the programs of an escrow and of its witnesses do
	if *traced {
		o.trace = new(trace)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, *which, *out, *profile); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, which, out, profile string) (err error) {
	pick, err := regexp.Compile(which)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if o.quick {
		o.chunks = min(o.chunks, 4096)
	}
	if o.dir, err = os.MkdirTemp("", "bench-"); err != nil { // short: paths of sockets are bounded
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	t := newTable(o.quick)
	for _, s := range sections {
		if !pick.MatchString(s.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s …\n", s.name)
		figures, err := s.run(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		t.add(figures...)
	}
	fmt.Print(t.markdown())
	if o.quick || which != "" {
		return nil
	}
	return os.WriteFile(out, []byte(t.markdown()), 0o644)
}
