package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"latchkey/contract"
	"latchkey/studio/figures"
	"latchkey/studio/play"
	"latchkey/vault"
)

// finding is a contract.Finding in JSON.
type finding struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Severity string `json:"severity"`
	What     string `json:"what"`
	Mend     string `json:"mend"`
}

func findings(path string, list []contract.Finding) []finding {
	all := []finding{}
	for _, f := range list {
		all = append(all, finding{path, f.Line, f.Col, f.Severity.String(), f.What, f.Mend})
	}
	return all
}

func contractCheck(_ context.Context, args []string, out, _ io.Writer) error {
	f := newFlags("contract check", "latchkey contract check FILE... checks contracts for all terms: that every phase ends, that nothing overflows, that no\nclause is hidden. It says where, what, and how to mend it. A vault refuses what is refused here.", out)
	asJSON := f.Bool("json", false, "print JSON")
	rest, err := parseMixed(f, args, 1, 10_000)
	if err != nil {
		return err
	}
	paths := rest
	if len(rest) != 1 || rest[0] != "-" {
		if paths, err = contractPaths(rest); err != nil {
			return err
		}
	}
	all, bad := []finding{}, 0
	for _, path := range paths {
		src, err := readContract(path)
		if err != nil {
			return err
		}
		p, err := contract.Compile(src)
		var list []contract.Finding
		var found *contract.Error
		switch {
		case errors.As(err, &found):
			list = found.Findings
			bad++
		case err != nil:
			return err
		default:
			list = p.Warnings()
		}
		all = append(all, findings(path, list)...)
		if *asJSON {
			continue
		}
		showFindings(out, path, src, list)
		switch {
		case p == nil:
		case len(list) > 0:
			fmt.Fprintf(out, "%s: %s can be agreed on; read the warnings\n", path, p.Name())
		default:
			fmt.Fprintf(out, "%s: nothing is wrong with %s\n", path, p.Name())
		}
	}
	if *asJSON {
		if err := printIndented(out, all); err != nil {
			return err
		}
	}
	if bad > 0 {
		return &hinted{fmt.Errorf("%d of %d contracts are refused", bad, len(paths)), "mend the first error first: others may come from it"}
	}
	return nil
}

func contractExplore(_ context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("contract explore", "latchkey contract explore FILE [TERM=VALUE...] plays everything that the parties, the oracles and the clock can do, and\nsays what each party ends up with at least and at most, with a shortest way there. A vault does the same before it signs.", out)
	asJSON := f.Bool("json", false, "print JSON")
	states := f.Int("states", 0, "give up at so many states (default 50000; vaults take at most 200000)")
	moves := f.Int("moves", 0, "give up at so many moves (default 200000; vaults take at most 1000000)")
	terms := addTermFlags(f)
	rest, err := parseMixed(f, args, 1, 1000)
	if err != nil {
		return err
	}
	if *states < 0 || *moves < 0 {
		return &hinted{fmt.Errorf("%w: a bound is not negative", errUsage), "leave --states and --moves out for the bounds of a vault"}
	}
	b, err := bind(rest[0], rest[1:], terms, false, talk)
	if err != nil {
		return err
	}
	if *states > vault.MaxStates || *moves > vault.MaxMoves {
		fmt.Fprintf(talk, "warning: no vault signs under such bounds: it takes at most %s states and %s moves\n", figures.Number(vault.MaxStates), figures.Number(vault.MaxMoves))
	}
	report, err := b.deal.Admit(b.weights, contract.Limits{States: *states, Moves: *moves})
	var found *contract.Error
	if err != nil && !errors.As(err, &found) {
		return err
	}
	if *asJSON {
		if err := printIndented(out, explorationJSON(b, report, found)); err != nil {
			return err
		}
	} else if found != nil {
		showFindings(out, b.path, b.source, found.Findings)
	} else if err := showReport(out, b, report); err != nil {
		return err
	}
	if found != nil {
		return &hinted{refused{fmt.Errorf("with these terms %s is refused: %s", b.program.Name(), countFindings(found.Findings))}, "each finding says a shortest way that leads there; a vault would not sign"}
	}
	return nil
}

func showReport(out io.Writer, b *bound, r contract.Report) error {
	p := b.deal.Program()
	with := ""
	if s := b.settings.String(b.program); s != "" {
		with = " with " + s
	}
	fmt.Fprintf(out, "%s%s: %s states, %s moves; this is everything that can happen\n\n", p.Name(), with, figures.Number(int64(r.States)), figures.Number(int64(r.Moves)))
	t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "PARTY\tOF POT\tHOLDING\tGETS AT LEAST\tAT MOST")
	parties, pots := p.Parties(), p.Pots()
	for i, party := range parties {
		for _, pay := range r.Payouts {
			if pay.Party == i {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", party, pots[pay.Pot].Name, figures.Number(b.deal.PotUnits(pay.Pot)), figures.Number(pay.Least), figures.Number(pay.Most))
			}
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nHow it comes to that")
	for i, party := range parties {
		for _, pay := range r.Payouts {
			if pay.Party != i {
				continue
			}
			fmt.Fprintf(out, "  %s, %s, %s: %s\n", party, pots[pay.Pot].Name, figures.Number(pay.Least), play.Way(p, pay.LeastOpens, pay.LeastPath))
			if pay.Most != pay.Least {
				fmt.Fprintf(out, "  %s, %s, %s: %s\n", party, pots[pay.Pot].Name, figures.Number(pay.Most), play.Way(p, pay.MostOpens, pay.MostPath))
			}
		}
	}
	if len(r.Rounding) > 0 {
		fmt.Fprintln(out, "\nWhat rounding to whole chunks can cost")
		for _, round := range r.Rounding {
			fmt.Fprintf(out, "  line %d gives %s of %s where %s are asked for: %s\n", round.Line, figures.Number(round.Given), pots[round.Pot].Name, figures.Number(round.Asked), play.Way(p, round.Opens, round.Path))
		}
	}
	if w := p.Warnings(); len(w) > 0 {
		fmt.Fprintln(out, "\nWarnings")
		for _, f := range w {
			fmt.Fprintf(out, "  %s\n", f)
		}
	}
	return nil
}

// exploration is an exploration in JSON.
type exploration struct {
	Contract string           `json:"contract"`
	Hash     string           `json:"hash"`
	Terms    map[string]int64 `json:"terms"`
	Chunks   [][]int64        `json:"chunks"`
	States   int              `json:"states"`
	Moves    int              `json:"moves"`
	Payouts  []payout         `json:"payouts"`
	Rounding []rounding       `json:"rounding"`
	Findings []finding        `json:"findings"`
}

type payout struct {
	Party     string   `json:"party"`
	Pot       string   `json:"pot"`
	Least     int64    `json:"least"`
	LeastPath []string `json:"least_path"`
	Most      int64    `json:"most"`
	MostPath  []string `json:"most_path"`
}

type rounding struct {
	Line  int      `json:"line"`
	Pot   string   `json:"pot"`
	Asked int64    `json:"asked"`
	Given int64    `json:"given"`
	Path  []string `json:"path"`
}

func explorationJSON(b *bound, r contract.Report, found *contract.Error) exploration {
	p := b.deal.Program()
	h := b.program.Hash()
	e := exploration{
		Contract: p.Name(), Hash: hex.EncodeToString(h[:]), Terms: b.settings.Values(b.program), Chunks: b.weights,
		States: r.States, Moves: r.Moves, Payouts: []payout{}, Rounding: []rounding{}, Findings: []finding{},
	}
	for _, pay := range r.Payouts {
		e.Payouts = append(e.Payouts, payout{p.Parties()[pay.Party], p.Pots()[pay.Pot].Name, pay.Least, play.Steps(p, pay.LeastOpens, pay.LeastPath), pay.Most, play.Steps(p, pay.MostOpens, pay.MostPath)})
	}
	for _, round := range r.Rounding {
		e.Rounding = append(e.Rounding, rounding{round.Line, p.Pots()[round.Pot].Name, round.Asked, round.Given, play.Steps(p, round.Opens, round.Path)})
	}
	if found != nil {
		e.Findings = findings(b.path, found.Findings)
	}
	return e
}

func contractTest(_ context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("contract test", "latchkey contract test FILE|FOLDER... runs the scenarios beside contracts: escrow.scenario tests escrow.latchkey.", out)
	asJSON := f.Bool("json", false, "print JSON")
	rest, err := parseMixed(f, args, 1, 10_000)
	if err != nil {
		return err
	}
	for i, a := range rest { // the scenarios of a contract may be named themselves
		rest[i] = strings.TrimSuffix(a, ".scenario")
		if rest[i] != a {
			rest[i] += ".latchkey"
		}
	}
	paths, err := contractPaths(rest)
	if err != nil {
		return err
	}
	type result struct {
		File     string `json:"file"`
		Line     int    `json:"line"`
		Scenario string `json:"scenario"`
		What     string `json:"what"`
	}
	failures, ran := []result{}, 0
	for _, path := range paths {
		file := scenarioFile(path)
		if file == "" {
			if slices.Contains(rest, path) {
				return &hinted{fmt.Errorf("%s has no scenarios", path), "write them into " + strings.TrimSuffix(path, ".latchkey") + ".scenario"}
			}
			fmt.Fprintf(talk, "%s has no scenarios\n", path)
			continue
		}
		p, _, err := compile(path, talk)
		if err != nil {
			return err
		}
		s, err := readScenarios(file)
		if err != nil {
			return err
		}
		failed := s.Run(p)
		for _, fail := range failed {
			failures = append(failures, result{file, fail.Line, fail.Scenario, fail.What})
			if !*asJSON {
				fmt.Fprintf(out, "%s:%d: %s: %s\n", file, fail.Line, named(fail.Scenario), fail.What)
			}
		}
		if ran += len(s.Scenarios); len(failed) == 0 && !*asJSON {
			comeOut := fmt.Sprintf("%d scenarios come out as they say", len(s.Scenarios))
			if len(s.Scenarios) == 1 {
				comeOut = "1 scenario comes out as it says"
			}
			fmt.Fprintf(out, "%s: %s\n", file, comeOut)
		}
	}
	if *asJSON {
		if err := printIndented(out, failures); err != nil {
			return err
		}
	}
	if len(failures) > 0 {
		return &hinted{fmt.Errorf("%d of %d scenarios fail", len(failures), ran), "latchkey contract simulate plays a contract step by step"}
	}
	return nil
}

func named(scenario string) string {
	if scenario == "" {
		return "always"
	}
	return scenario
}
