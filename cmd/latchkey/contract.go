package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"latchkey/contract"
	"latchkey/studio/figures"
	"latchkey/studio/play"
	"latchkey/studio/scenario"
)

const contractUsage = `latchkey contract writes, checks and explains contracts. Nothing here moves a coin.

usage:
  latchkey contract new      NAME [--template escrow]   a contract to begin with, and scenarios for it
  latchkey contract check    FILE...                    what is wrong, where, and how to mend it
  latchkey contract fmt      FILE...                    one layout for all; the hash stays the same
  latchkey contract explain  FILE [TERM=VALUE...]       what it means, in plain English
  latchkey contract explore  FILE [TERM=VALUE...]       everything that can happen: least and most for each party
  latchkey contract plot     FILE [TERM=VALUE...]       pictures: the phases, and who gets what at which price
  latchkey contract simulate FILE [TERM=VALUE...]       play it step by step, with undo and what if
  latchkey contract test     FILE|FOLDER...             run the scenarios beside contracts
  latchkey contract hash     FILE...                    the hash that parties sign
  latchkey contract lsp                                 language server for editors, over stdin and stdout

Terms that are not given are taken from the head of NAME.scenario beside
NAME.latchkey. A time is written 2026-03-01, a duration "30 days".
latchkey contract COMMAND -h says more.

example:
  latchkey contract new sale.latchkey --template escrow
  latchkey contract explain sale.latchkey
  latchkey contract explore sale.latchkey price=40
`

// contractCommand runs `latchkey contract …`.
func contractCommand(ctx context.Context, args []string, out, talk io.Writer) error {
	commands := map[string]command{
		"new": contractNew, "check": contractCheck, "fmt": contractFormat, "explain": contractExplain, "explore": contractExplore,
		"plot": contractPlot, "simulate": contractSimulate, "test": contractTest, "hash": contractHash, "lsp": contractServe,
	}
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		fmt.Fprint(out, contractUsage)
		return nil
	}
	f := commands[args[0]]
	if f == nil {
		return &hinted{fmt.Errorf("%w: contract: unknown command %q", errUsage, args[0]), "latchkey contract help lists the commands"}
	}
	if args[0] == "new" || args[0] == "fmt" { // which write into what the user has
		return f(ctx, args[1:], out, talk)
	}
	done := make(chan error, 1) // the others compute, or wait for a line, and may be left where they are
	go func() { done <- f(ctx, args[1:], out, talk) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// parseMixed parses flags that may stand before, between and behind arguments,
// and returns the arguments.
func parseMixed(f *flag.FlagSet, args []string, least, most int) (rest []string, err error) {
	for len(args) > 0 {
		if err := parse(f, args, 0, len(args)); err != nil {
			return nil, err
		}
		args = f.Args()
		n := slices.IndexFunc(args, func(s string) bool { return strings.HasPrefix(s, "-") && len(s) > 1 })
		if n < 0 {
			n = len(args)
		}
		rest, args = append(rest, args[:n]...), args[n:]
	}
	why := ""
	if len(rest) < least {
		why = "something is missing: a name or a file"
	} else if len(rest) > most {
		why = fmt.Sprintf("%q is one too many", rest[most])
	}
	if why != "" {
		return nil, &hinted{fmt.Errorf("%w: %s: %s", errUsage, f.Name(), why), "latchkey " + f.Name() + " -h"}
	}
	return rest, nil
}

// readContract reads a file that can be a contract.
func readContract(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, contract.MaxSource+1))
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, &hinted{err, "latchkey contract new NAME begins a contract"}
	}
	if info.IsDir() || info.Size() > contract.MaxSource {
		return nil, &hinted{fmt.Errorf("%s is no contract: it is a folder, or has more than %d bytes", path, contract.MaxSource), "name a file such as escrow.latchkey"}
	}
	return os.ReadFile(path)
}

// refused tells that findings were shown already.
type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

// compile reads and compiles a contract. Findings are shown on talk.
func compile(path string, talk io.Writer) (*contract.Program, []byte, error) {
	src, err := readContract(path)
	if err != nil {
		return nil, nil, err
	}
	p, err := contract.Compile(src)
	var found *contract.Error
	if errors.As(err, &found) {
		showFindings(talk, path, src, found.Findings)
		return nil, src, &hinted{refused{fmt.Errorf("%s: %s", path, countFindings(found.Findings))}, "the language is described in docs/contracts/reference.md"}
	}
	return p, src, err
}

func countFindings(list []contract.Finding) string {
	n := 0
	for _, f := range list {
		if f.Severity == contract.SeverityError {
			n++
		}
	}
	if n == 1 {
		return "1 error"
	}
	return fmt.Sprintf("%d errors", n)
}

// maxShown is the longest line of a source, in bytes, that is shown with what is wrong in it.
const maxShown = 500

// visible returns a line of a source that a stranger may have written, with ? for what could steer a terminal.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// showFindings prints findings with the lines that they are about.
func showFindings(w io.Writer, path string, src []byte, list []contract.Finding) {
	lines := strings.Split(string(src), "\n")
	for _, f := range list {
		if f.Line == 0 {
			fmt.Fprintf(w, "%s: %s: %s\n", path, f.Severity, f.What)
		} else {
			fmt.Fprintf(w, "%s:%d:%d: %s: %s\n", path, f.Line, f.Col, f.Severity, f.What)
			if f.Line <= len(lines) && len(lines[f.Line-1]) <= maxShown {
				text := visible(strings.TrimRight(lines[f.Line-1], "\r"))
				lead := []byte(text[:min(f.Col-1, len(text))])
				for i, c := range lead {
					if c != '\t' {
						lead[i] = ' '
					}
				}
				fmt.Fprintf(w, "    %s\n    %s^\n", text, lead)
			}
		}
		fmt.Fprintf(w, "    to mend it: %s\n", f.Mend)
	}
}

// termFlags are the ways to fill a contract in.
type termFlags struct {
	file   string
	chunks []string
	open   string
}

func addTermFlags(f *flag.FlagSet) *termFlags {
	t := &termFlags{}
	f.StringVar(&t.file, "terms", "", "scenario file whose head has the terms; without it NAME.scenario beside the contract, if there is one")
	f.Func("chunks", "what the chunks of a pot weigh, as payment=10,5,5; may be repeated", func(s string) error {
		if !strings.Contains(s, "=") {
			return errors.New("write --chunks payment=10,5,5")
		}
		t.chunks = append(t.chunks, s)
		return nil
	})
	f.StringVar(&t.open, "open", "", "when the contract opens")
	return t
}

// bound is a contract that is filled in.
type bound struct {
	path     string
	source   []byte
	program  *contract.Program
	settings scenario.Settings
	deal     *contract.Deal
	weights  [][]int64
	begin    int64
}

// session begins a play.
func (b *bound) session() *play.Session { return play.New(b.deal, b.weights, b.begin) }

// bind compiles a contract and fills it in from a file and from words TERM=VALUE.
// Without any term at all, and none asked for, deal is nil if partly is set.
func bind(path string, words []string, t *termFlags, partly bool, talk io.Writer) (*bound, error) {
	p, src, err := compile(path, talk)
	if err != nil {
		return nil, err
	}
	b := &bound{path: path, source: src, program: p}
	file := t.file
	if file == "" {
		if beside := scenarioFile(path); beside != "" {
			file = beside
		}
	}
	if file != "" {
		f, err := readScenarios(file)
		switch {
		case err == nil:
			b.settings = f.Settings
			if t.file == "" && !b.settings.Empty() {
				fmt.Fprintf(talk, "terms from %s\n", file)
			}
		case t.file != "":
			return nil, err
		default:
			fmt.Fprintf(talk, "warning: %v\n", err)
		}
	}
	seen := map[string]bool{}
	twice := func(name string) error {
		if seen[name] {
			return &hinted{fmt.Errorf("%w: %s is given twice", errUsage, name), "give each term and each pot once; what is given here counts before the file"}
		}
		seen[name] = true
		return nil
	}
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok || name == "" {
			return nil, &hinted{fmt.Errorf("%w: %q is not TERM=VALUE", errUsage, w), "latchkey contract explore escrow.latchkey price=20 ship_by=2026-03-01"}
		}
		if err := twice(name); err != nil {
			return nil, err
		}
		b.settings.SetTerm(name, value)
	}
	for _, w := range t.chunks {
		name, value, _ := strings.Cut(w, "=")
		if err := twice(name); err != nil {
			return nil, err
		}
		b.settings.SetChunks(name, value)
	}
	if partly && b.settings.Empty() && len(p.Terms()) > 0 {
		return b, nil
	}
	if b.deal, b.weights, err = b.settings.Bind(p); err != nil {
		return nil, termHint(path, p, err)
	}
	b.begin = b.settings.Begin(p)
	if t.open != "" {
		if b.begin, err = figures.ParseTime(t.open); err != nil {
			return nil, &hinted{fmt.Errorf("%w: --open: %w", errUsage, err), "--open 2026-02-01"}
		}
	}
	b.weights = b.session().Weights
	return b, nil
}

// termHint says how terms are given.
func termHint(path string, p *contract.Program, err error) error {
	var missing *scenario.Missing
	if errors.As(err, &missing) {
		var words []string
		times := 0
		for _, t := range missing.Terms {
			value := exampleValue(t)
			if t.Type == contract.Time { // one after the other, as most contracts want them
				value = figures.Time(1_772_323_200 + int64(times)*31*86400)
				times++
			}
			words = append(words, t.Name+"="+value)
		}
		return &hinted{err, fmt.Sprintf("latchkey contract explore %s %s", path, strings.Join(words, " "))}
	}
	if errors.Is(err, scenario.ErrChunks) {
		return &hinted{err, "as --chunks payment=10,5,5: what each chunk weighs, in the agreed order, together what the pot holds"}
	}
	if required := strings.Join(p.Outline().Requires, "; "); errors.Is(err, contract.ErrTerms) && len(required) < 400 {
		return &hinted{err, "it is required that " + required}
	}
	var terms []string
	for _, t := range p.Terms() {
		terms = append(terms, t.Name+" "+figures.Range(t))
	}
	if len(terms) == 0 {
		return &hinted{err, "this contract has no terms"}
	}
	return &hinted{err, "the terms are: " + strings.Join(terms, "; ")}
}

func exampleValue(t contract.Term) string {
	if t.Type == contract.Duration {
		return `"` + figures.Duration(max(t.Lo, min(t.Hi, 30*86400))) + `"`
	}
	return figures.Number(max(t.Lo, min(t.Hi, 20)))
}

// scenarioFile returns the scenario file that belongs to a contract, "" if there is none.
func scenarioFile(path string) string {
	name := strings.TrimSuffix(path, ".latchkey") + ".scenario"
	if info, err := os.Stat(name); err != nil || info.IsDir() || !strings.HasSuffix(path, ".latchkey") {
		return ""
	}
	return name
}

func readScenarios(path string) (*scenario.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() || info.Size() > scenario.MaxFile {
		return nil, fmt.Errorf("%s is no scenario file", path)
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f, err := scenario.Parse(src)
	if err != nil {
		return nil, &hinted{fmt.Errorf("%s: %w", path, err), "docs/contracts/reference.md says how scenarios are written"}
	}
	return f, nil
}

// printIndented prints a value as JSON.
func printIndented(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// contractPaths are the contracts among files and folders.
func contractPaths(args []string) (paths []string, err error) {
	for _, a := range args {
		info, err := os.Stat(a)
		if err != nil {
			return nil, &hinted{err, "name a contract such as escrow.latchkey, or a folder with contracts"}
		}
		if !info.IsDir() {
			paths = append(paths, a)
			continue
		}
		found, err := filepath.Glob(filepath.Join(a, "*.latchkey"))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, &hinted{fmt.Errorf("%s: no contract is in this folder", a), "contracts are named NAME.latchkey"}
		}
		paths = append(paths, found...)
	}
	return paths, nil
}
