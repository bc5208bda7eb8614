package contract

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
)

// hostile are sources that a stranger may write to make others work.
func hostile() map[string]string {
	head := "contract X\nparties a, b\nterm t : units 1..1000\nterm u : time\nterm v : number 1..9\npot p = t units from a\ncounter c = 0 in 0..9\n"
	fill := func(head, unit, tail string) string {
		return head + strings.Repeat(unit, (MaxSource-len(head)-len(tail))/len(unit)) + tail
	}
	var phases strings.Builder
	for i := range MaxPhases {
		fmt.Fprintf(&phases, "phase P%d until u\n when a says \"x\" if c < 9: set c = c + 1 next P%d\n at deadline: next P%d\n", i, (i*7+1)%MaxPhases, (i+1)%MaxPhases)
	}
	sources := map[string]string{
		"parentheses":    head + "at open: give " + strings.Repeat("(", 1_000_000),
		"fitting":        fill(head+"at open: give ", "(", ""),
		"minus":          fill(head+"at open: give ", "- ", ""),
		"not":            fill(head+"at open: if ", "not ", ""),
		"ifs":            fill(head+"at open: ", "if c = 1 then ", ""),
		"long sum":       fill(head+"at open: give ", "1 + ", "1 of p to b close"),
		"quotes":         fill(head+"phase A until u when a says ", "\"x", ""),
		"errors":         fill(head, "term 1 ", ""),
		"comment":        fill("# ", "é", "\n"),
		"newlines":       fill(head, "\n", "at open: close"),
		"zeros":          strings.Repeat("\x00", MaxSource),
		"letters":        strings.Repeat("a", MaxSource),
		"digits":         fill(head+"at open: give ", "9", " of p to b close"),
		"wide body":      fill(head+"at open: ", "give left(p) of p to b\n", "close"),
		"many ifs":       fill(head+"at open: ", "if v < 5 then set c = 1 else set c = 2 end\n", "close"),
		"facts":          fill(head+"at open: ", "if v + c < v * 2 then if t > left(p) then set c = 3 end end\n", "close"),
		"deep ifs":       fill(head+"at open: ", strings.Repeat("if v + c < v * 2 and v > 3 or c > 2 then ", 31)+"set c = 1 "+strings.Repeat("end ", 31), "close"),
		"conditions":     fill(head+"at open: ", "if ("+strings.Repeat("v < 3 and ", 20)+"(v < 3 or "+strings.Repeat("v > 2 and ", 20)+"c > 1)) then set c = 1 end ", "close"),
		"right nested":   fill(head+"at open: ", "if "+strings.Repeat("(v < 3 and (v < 2 or ", 14)+"c > 1"+strings.Repeat("))", 14)+" then set c = 1 end ", "close"),
		"phases":         head + phases.String(),
		"same word":      fill(head+"phase A until u at deadline: close ", "when a says \"x\": close\n", ""),
		"clause per way": fill(head+"phase A until u at deadline: close ", "when a says \"x\" if c + v > v - c: close\n", ""),
	}
	roles := "contract X\nparties a\nrole m 1..16\nrole n 1..16\nrole o 1..16\nterm u : time\npot p = 5 units from a\nfor each m: counter c = 0 in 0..9 end\nfor each n: counter d = 0 in 0..9 end\n"
	var points strings.Builder
	for i := range MaxPoints {
		fmt.Fprintf(&points, "%d -> %d%s", i*7, i*i%11, [...]string{", ", ""}[truthOf(i == MaxPoints-1)])
	}
	curve := head + "curve f : " + points.String() + "\n"
	var chain strings.Builder
	for i := range MaxPhases {
		fmt.Fprintf(&chain, "phase P%d until max(u, min(now + %d days, max(u, now + v * 1 days)))\n at deadline: %s\n", i, i, [...]string{fmt.Sprintf("next P%d", i+1), "close"}[truthOf(i == MaxPhases-1)])
	}
	for name, source := range map[string]string{
		"roles in roles":     fill(roles+"at open: for each m: for each n: for each o: ", "set c = min(9, c + d) ", "end end end give all of p to a close"),
		"few in many":        roles + "at open: for each m: for each n: for each o: for each m: for each n: set c = d end end end end end give all of p to a close",
		"sums of sums":       fill(roles+"at open: ", "if sum(m: sum(n: sum(o: c + d))) > 5 then for each m: set c = 1 end end ", "give all of p to a close"),
		"clauses of a role":  fill(roles+"phase A until u at deadline: close ", "when any m says \"x\" if c + most(n: d) > 5: for each n: set d = 1 end\n", ""),
		"wide curve":         fill(curve+"at open: ", "if f(v) > f(c) + f(v + c) then set c = f(v) end\n", "give all of p to b close"),
		"curve in curve":     curve + "at open: if " + strings.Repeat("f(", MaxDepth-3) + "v" + strings.Repeat(")", MaxDepth-3) + " > 5 then set c = 1 end give all of p to b close",
		"curve of points":    fill(head+"curve f : 0 -> 1", ", 1 -> 2", ""),
		"chain of deadlines": head + chain.String(),
		"horizons":           fill(head+"phase A until ", "max(min(now + 1 days, u), ", "u"+strings.Repeat(")", 30)+" at deadline: close"),
		"each holder":        fill(roles, "for each m: pot q = 5 units from m end ", "at open: close"),
		"seals":              fill(head, "sealed s in 0..5 ", "at open: close"),
		"decimals":           fill(head+"at open: give ", "1.00 + ", "1 of p to b close"),
	} {
		sources[name] = source
	}
	nested := "d = 0"
	for range 9 {
		nested = "count(n: " + nested + ") = 1 and d = 0"
	}
	few := "contract X\nparties a\nrole n 1..1\npot p = 5 units from a\ncounter d = 0 in 0..9\n"
	var tree func(n int) string
	tree = func(n int) string {
		if n == 0 {
			return "c"
		}
		return "(" + tree(n-1) + "-" + tree(n-1) + ")"
	}
	var many strings.Builder // of everything
	many.WriteString("contract X\nparties a, b\nrole m 1..1\nterm u : time\n")
	for i := range MaxTerms - 2 {
		fmt.Fprintf(&many, "term t%d : number 1..9\n", i)
	}
	for i := range MaxPots {
		fmt.Fprintf(&many, "pot p%d = 5 units from a\n", i)
	}
	for i := range MaxCounters {
		fmt.Fprintf(&many, "counter c%d = 0 in 0..9\nsealed s%d in 0..9\n", i, i)
	}
	for i := range MaxOracles {
		fmt.Fprintf(&many, "oracle o%d in 0..%d\n", i, int64(math.MaxInt64))
	}
	for i := range MaxCurves - 1 {
		fmt.Fprintf(&many, "curve f%d : %s\n", i, points.String())
	}
	var parties strings.Builder
	for i := range MaxParties {
		fmt.Fprintf(&parties, "%sx%d", [...]string{"", ", "}[min(i, 1)], i)
	}
	crowd := "contract X\nparties " + parties.String() + "\nterm u : time\npot p = 5 units from x0\ncounter c = 0 in 0..9\n"
	var ends, full strings.Builder
	for i := range 150 {
		fmt.Fprintf(&ends, "phase A%d until %su%s\n at deadline: %s\n", i, strings.Repeat("max(now + v * 1 days, ", 20), strings.Repeat(")", 20), [...]string{fmt.Sprintf("next A%d", i+1), "close"}[i/149])
	}
	for i := range 12 {
		fmt.Fprintf(&full, "phase A%d until u\n%s at deadline: %s\n", i, strings.Repeat("when a says \"x\":stay\n", MaxClauses-1), [...]string{fmt.Sprintf("next A%d", i+1), "close"}[i/11])
	}
	for name, source := range map[string]string{
		"nested counts":       few + "at open: if " + nested + " then stay end give all of p to a close",
		"facts of trees":      fill(head+"at open: if "+tree(11)+" < "+tree(11)+" + v then ", "set c = 1 ", "end close"),
		"gives under facts":   fill(head+"at open: if "+tree(10)+" < "+tree(11)+" + v then ", "give 1 of p to b ", "end close"),
		"trees like facts":    fill(head+"at open: if "+tree(9)+" + v < 5 and "+tree(9)+" * v < 5 and "+tree(9)+" - v < 5 then ", "set c = max(0, min(9, "+tree(9)+" + 2)) ", "end close"),
		"ifs over many":       fill(many.String()+"at open: ", "if c0>0 then stay end ", "close"),
		"ors over many":       fill(many.String()+"at open: ", "if c0>0 or c1>1 then stay end ", "close"),
		"clauses over many":   fill(many.String()+"phase A until u ", "when a says \"x\" if c0=1:stay\n", "at deadline: close"),
		"curves of oracles":   fill(many.String()+"phase A until u when oracle o0 each 60 seconds if f0(c0) > 0: stay at deadline: ", "if f0(f1(f2(c0)))>f3(c1) then stay end ", "close"),
		"prices of all":       many.String() + "phase A until u " + strings.Repeat("when oracle o1 for u - 5 days if f0(share(o1, c0 + 1, 9)) > f1(c1): set c0 = 1\n", 60) + "at deadline: close",
		"equal times":         fill(head+"oracle o in 1..9\nphase A until u + 99 days at deadline: close ", "when oracle o for u + ("+strings.Repeat("1 days + ", 25)+"2 days): close\n", ""),
		"quorums":             fill(crowd+"phase A until u at deadline: close ", "when 2 of "+parties.String()+" say \"x\" if c > 1: close\n", ""),
		"anybody":             fill(crowd+"phase A until u at deadline: close ", "when "+strings.ReplaceAll(parties.String(), ",", " or")+" says \"x\" if c > 1: close\n", ""),
		"later pots":          fill("contract X\nparties a\nrole m 1..16\nterm u : time\npot p = 5 units from a\nfor each m: later pot l = 5 units from m end\nphase A until u at deadline: close ", "when each deposit l if filled(l) < sum(m: filled(l)) - 2: give 1 of p to m\n", ""),
		"commas of holders":   fill(roles+"at open: ", "if most(m: most(m: most(n: c + d))) > 5 then stay end ", "give all of p to a close"),
		"ends of phases":      head + ends.String(),
		"full phases":         head + full.String(),
		"a name of all names": fill(head+"at open: ", "give t of p to b "+strings.Repeat("y", MaxName)+" ", "close"),
		"comments":            fill(head, "#\u202e\n", "at open: close"),
		"dots":                fill(head+"at open: give ", "1..", " of p to b close"),
		"unended words":       fill(head+"phase A until u ", "when a says \"\n", ""),
		"nested shares":       fill(head+"at open: ", "if "+strings.Repeat("share(", 30)+"v"+strings.Repeat(", v, 9)", 30)+" > 5 then stay end ", "close"),
		"shares in shares":    fill(head+"at open: ", "if "+strings.Repeat("share(v, v, share(v, 9, ", 12)+"v"+strings.Repeat(") + 1)", 12)+" > 5 then stay end ", "close"),
		"mins of maxes":       fill(head+"at open: ", "if "+strings.Repeat("min(v, max(c, ", 15)+"c - v"+strings.Repeat("))", 15)+" < 5 then set c = 1 end ", "close"),
		"requirements":        fill(head, "require t / v < 99 units or v * 2 < 7\n", "at open: close"),
		"equal requirements":  fill(head, "require v + v - v = v - v + v\n", "at open: close"),
		"long names":          fill(head, "counter "+strings.Repeat("n", MaxName)+" = 0 in 0..9 ", "at open: close"),
		"too long a name":     fill(head+"counter ", "n", " = 0 in 0..9 at open: close"),
		"underscores":         fill(head+"at open: give ", "1_", "1 of p to b close"),
		"one string":          fill(head+"phase A until u when a says \"", "x", "\": close"),
		"far scripts":         fill(head, "# \u0e01\u0301\U0001f600\n", "at open: close"),
		"broken UTF-8":        fill(head, "# \xff\xc3\n", "at open: close"),
		"returns":             fill(head, "\r", "at open: close"),
		"quorums of roles":    fill(roles+"phase A until u at deadline: close ", "when 9 of m, n, o say \"x\" if c > 1: stay\n", ""),
		"all for each":        fill(roles+"phase A until u at deadline: close ", "when any m says \"x\" if sum(n: d) > 1: for each n: set d = c end stay\n", ""),
		"stays":               fill(head+"at open: ", "stay ", "close"),
		"nested loops":        fill(roles+"at open: ", "for each m: for each n: for each o: stay end end end ", "close"),
		"oracles of all":      fill(many.String()+"phase A until u ", "when oracle o0 each 60 seconds if o0 / 2 > share(o0, c0, 9) and not o0 = c1: stay\n", "at deadline: close"),
		"sealed of all":       fill(many.String()+"phase A until u ", "when a says \"x\" with opened s0 if sealed(s1) and not sealed(s2) or s0 > c0: stay\n", "at deadline: close"),
	} {
		sources[name] = source
	}
	return sources
}

// TestHostileSources holds what a source can cost to the counts from which its time follows: BenchmarkHostile says what
// that is. A token is at least one byte of the source, or one that is read again for a holder of a role; the checks end
// at maxSteps, and go once more over what is left of the statements, without looking at formulas; memory is 16 MiB.
func TestHostileSources(t *testing.T) {
	for name, source := range hostile() {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Compile([]byte(source))
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
				t.Errorf("allocated %d bytes (%v)", used, err)
			}
			if _, again := Compile([]byte(source)); fmt.Sprint(again) != fmt.Sprint(err) {
				t.Fatal("two answers")
			}
			if len(source) > MaxSource {
				return
			}
			taken, scanned, nodes, steps := costs(source)
			t.Logf("%d tokens, %d read, %d operations, %d steps, %d KiB: %.80v", scanned, taken, nodes, steps, (after.TotalAlloc-before.TotalAlloc)>>10, err)
			if most := len(source) + maxAgain + 1; taken > most {
				t.Errorf("%d tokens are taken, at most %d can be", taken, most)
			}
			if most := 2 * (len(source) + maxAgain); nodes > most {
				t.Errorf("%d operations, at most %d can be", nodes, most)
			}
			if most := maxSteps + nodes + 64*len(source); steps > most {
				t.Errorf("%d steps, at most %d can be", steps, most)
			}
		})
	}
}

// costs counts what Compile does with a source: tokens taken, tokens there are, operations, and steps of the checks.
func costs(source string) (taken, scanned, nodes, steps int) {
	l := lexer{src: source}
	for l.scan().kind != tEOF {
		scanned++
	}
	p, found := parse(source, nil)
	if found.errors == 0 {
		c := checker{findings: found, p: p, from: none, lowered: make([]uint64, len(p.phases))}
		c.check()
		steps = c.base.steps
	}
	return p.taken, scanned, len(p.nodes), steps
}

// BenchmarkHostile reports what each source takes to be refused, or done.
func BenchmarkHostile(b *testing.B) {
	for name, source := range hostile() {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Compile([]byte(source))
			}
		})
	}
}

// hostileDeal is a contract that passes the checks and grows without end when it is explored.
type hostileDeal struct {
	*Deal
	weights [][]int64
}

// hostileDeals are contracts that pass the checks and make work when they are explored: by plays without end, by heavy plays,
// by large states, by long ways, by many payouts.
func hostileDeals(t testing.TB) map[string]hostileDeal {
	head := "contract X\nparties a, b\nterm u : units 1..1_000_000\npot p = u units from a\nterm t : time\ncounter c = 0 in 0..1_000_000\ncounter d = 0 in 0..1_000_000\nphase A until t\n at deadline: close\n"
	deals := map[string]hostileDeal{}
	for name, body := range map[string]string{
		"many breakpoints": `when a says "x" with v in 0..1_000_000_000 units: give v / 100_000 of p to b close`,
		"many states":      `when a says "x" with v in 0..1_000_000: set c = v when b says "x" with v in 0..1_000_000: set d = v`,
		"long chain":       `when a says "x" if c < 1_000_000: set c = c + 1`,
		"long gives":       `when a says "x": give 1 of p to b when b says "y": give 2 of p to b`,
		"heavy steps":      `when a says "x" with v in 0..1_000_000: ` + strings.Repeat("if left(p) = filled(p) then stay end ", 1500) + `set c = v`,
		"loose bounds":     `when a says "x" with v in 1..1_000_000_000: give share(u, max(0, v - 77), v) of p to b close`,
		"moments":          `when a says "x" with v in 1..1_000_000_000: give share(u, v * 1 seconds, max(1 seconds, t - now)) of p to b close`,
	} {
		for _, n := range []int64{1, MaxChunks} {
			p, err := Compile([]byte(head + body))
			if err != nil {
				t.Fatal(err)
			}
			deals[fmt.Sprintf("%s, %d chunks", name, n)] = hostileDeal{bind(t, p, n, noon), [][]int64{repeat(int(n), 1)}}
		}
	}
	repeated := func(n int, format string, args ...any) string { // with {i} counted
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(fmt.Sprintf(format, args...), "{i}", fmt.Sprint(i)))
		}
		return b.String()
	}
	var points strings.Builder
	for i := range MaxPoints {
		fmt.Fprintf(&points, "%s%d -> %d", [...]string{"", ", "}[min(i, 1)], i*1000, (i*i%11)*1000)
	}
	const (
		begin  = "contract X\nparties a, b\n"
		day    = "phase A until now + 1 days at deadline: close\n"
		chain  = `when a says "x" if c < 60_000: set c = c + 1 `
		spread = "role m 12..12\nrole n 12..12\nrole o 12..12\nrole q 12..12\nfor each m: pot s = 1 units from m end for each n: pot t = 1 units from n end for each o: pot u = 1 units from o end for each q: pot v = 1 units from q end\n"
	)
	all := ""
	for _, pots := range []string{"m: give all of s", "n: give all of t", "o: give all of u", "q: give all of v"} {
		for _, to := range []string{"m", "n", "o", "q"} {
			if role, give, _ := strings.Cut(pots, ":"); role != to {
				all += "for each " + role + ": for each " + to + ":" + give + " to " + to + " end end\n"
			}
		}
	}
	for name, source := range map[string]string{
		"large states":          begin + repeated(MaxCounters-1, "counter k{i} = 4_000_000_000_000_000_000 in 0..4_000_000_000_000_000_000\n") + "counter c = 0 in 0..1_000_000\n" + day + `when a says "x" with v in 0..1_000_000: set c = v`,
		"sealed states":         begin + repeated(MaxSeals, "sealed s{i} in 0..9\n") + day + repeated(MaxSeals, "when a says \"s{i}\" with sealed s{i}: stay when a says \"o{i}\" with opened s{i}: stay\n"),
		"wide moves":            begin + repeated(63, "pot p{i} = 1 units from a\n") + "counter c = 0 in 0..1_000_000\n" + day + chain + `when b says "y": close`,
		"long ways to rounding": begin + "pot p = 1_000_000 units from a\ncounter c = 1 in 0..1_000_000\n" + day + chain + `when b says "y": give share(p, c, 1_000_000) of p to b close`,
		"rounding everywhere": begin + "pot p = 1_000_000 units from a\ncounter c = 1 in 0..1_000_000\n" + day + `when a says "x": ` + repeated(3000, "give 1 of p to b\n") + "next B\n" +
			"phase B until now + 1 days at deadline: close when a says \"x\" with v in 0..1_000_000: " + repeated(140, "give 1 of p to b\n") + "set c = v",
		"payouts without end": begin + spread + "counter c = 0 in 0..1_000_000\n" + day + chain + `when b says "y" if c > 40_000: next B` + "\nphase B until now + 1 days at deadline:" + all + "close",
		"up and down": begin + "pot p = 1 units from a\ncounter c = 0 in 0..1_000_000\n" + day + `when a says "up" if c < 60_000: set c = c + 1
when a says "down" if c > 0: set c = c - 1 when b says "y" if c = 0: give 1 of p to b close`,
		"curve in curve, played": begin + "counter c = 0 in 0..1_000_000\ncurve f : " + points.String() + "\n" + day + `when a says "x" with v in 0..63_000: set c = v ` + repeated(10, "if %sv%s > 100_000 then stay end\n", strings.Repeat("f(", 28), strings.Repeat(")", 28)),
		"words of all":           "contract X\nparties a\nrole m 15..15\nrole n 15..15\nrole o 15..15\nrole q 15..15\ncounter c = 0 in 0..1_000_000\n" + day + repeated(250, "when 1 of m, n, o, q say \"x{i}\": set c = 1\n"),
		"deposits of all":        begin + "later pot p = 4_000 units from a\n" + day + repeated(250, "when each deposit p if left(p) > {i}: stay\n"),
		"times of all":           begin + "term u : time\noracle o in 0..1_000_000\ncounter c = 0 in 0..1_000_000\n" + day + chain + "when oracle o for u + c * 1 seconds: stay",
		"ages of all":            begin + "pot p = 4_000 units from a\noracle o in 0..9\ncounter c = 0 in 0..1_000_000\n" + day + chain + repeated(MaxClauses-2, "when oracle o each share(1 days, left(p)%s, 9) if c = 1: stay\n", strings.Repeat("+left(p)", 24)),
		"voices of all":          begin + day + repeated(30, "when a and b say \"x{i}\": stay\n"),
	} {
		p, err := Compile([]byte(source))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		terms := make([]int64, len(p.Terms()))
		for i, term := range p.Terms() {
			terms[i] = term.Lo
		}
		d, err := p.Bind(terms)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		weights := make([][]int64, len(d.units()))
		for i, units := range d.units() {
			if weights[i] = []int64{units}; d.p.pots[i].Later || name == "ages of all" {
				weights[i] = repeat(int(units), 1)
			}
		}
		deals[name] = hostileDeal{d, weights}
	}
	return deals
}

// TestAdmitIsBounded checks that what grows without end is refused at the bounds from which its time follows: a play is
// counted for its chunks and for the size of its phase, and none begins beyond the bound.
func TestAdmitIsBounded(t *testing.T) {
	for name, d := range hostileDeals(t) {
		t.Run(name, func(t *testing.T) {
			lim := Limits{States: 5000 / slow, Moves: 20_000 / slow}
			x, err := d.explore(d.weights, lim)
			if x == nil {
				t.Fatal(err)
			}
			opening := 1 + x.states[0].s.c.count()/64
			weight := opening * (1 + d.p.phases[len(d.p.phases)-1].size/1024)
			if len(d.p.phases) == 1 && (x.count-opening)%weight != 0 || x.count > lim.Moves+weight || len(x.states) > lim.States+2 {
				t.Errorf("%d plays of weight %d, %d states: %v", x.count, weight, len(x.states), err)
			}
			if err == nil && x.count > lim.Moves {
				t.Error("passed beyond the bound")
			}
		})
	}
}

// TestWeightOfExplorations checks that what an exploration stores is counted: the count is not below what it takes in
// memory, and none goes on beyond the bound, neither while it plays nor while it tells what came out.
func TestWeightOfExplorations(t *testing.T) {
	if slow > 1 {
		t.Skip("the race detector takes memory of its own")
	}
	deals := hostileDeals(t)
	for name, says := range map[string]string{
		"large states":          "weighs more than 51200000 bytes, 1024 for each of 50000 states",
		"sealed states":         "weighs more than 51200000 bytes, 1024 for each of 50000 states",
		"payouts without end":   "weighs more than 51200000 bytes, 1024 for each of 50000 states",
		"wide moves":            "weighs more than 51200000 bytes, 1024 for each of 50000 states",
		"long chain, 1 chunks":  "more than 50000 states or 200000 moves",
		"moments, 1 chunks":     "more than 50000 states or 200000 moves",
		"long ways to rounding": "more than 50000 states or 200000 moves",
	} {
		t.Run(name, func(t *testing.T) {
			d := deals[name]
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			x, err := d.explore(d.weights, Limits{})
			runtime.GC()
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("got %.200v, want %q", err, says)
			}
			got := int(after.HeapAlloc) - int(before.HeapAlloc)
			if t.Logf("%d states and %d moves weigh %d, and take %d", len(x.states), x.moves, x.bytes, got); got > x.bytes+1<<16 {
				t.Errorf("%d states and %d moves weigh %d bytes, and take %d", len(x.states), x.moves, x.bytes, got)
			}
			if most := bytesEach*50_000 + 1<<14; x.bytes > most {
				t.Errorf("went on to %d bytes", x.bytes)
			}
			if _, err := d.Admit(d.weights, Limits{States: 1_000, Moves: 1_000_000}); err == nil {
				t.Error("passed at a bound of 1,000 states")
			}
		})
	}
	// Few states, long ways, and each payout tells two of them.
	d := deals["payouts without end"]
	p, err := Compile([]byte(strings.NewReplacer("60_000", "2_000", "40_000", "1_000").Replace(d.p.source)))
	if err != nil {
		t.Fatal(err)
	}
	if d.Deal, err = p.Bind([]int64{12, 12, 12, 12}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		lim  Limits
		says string
	}{
		{Limits{States: 20_000, Moves: 200_000}, "more than 20000 states or 200000 moves"},
		{Limits{States: 8_000, Moves: 1_000_000}, "weighs more than 8192000 bytes"},
	} {
		if _, err := d.Admit(d.weights, test.lim); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("got %.200v, want %q", err, test.says)
		}
	}
}

// BenchmarkHostileDeals reports what each takes to be explored, or given up.
func BenchmarkHostileDeals(b *testing.B) {
	for name, d := range hostileDeals(b) {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = d.Admit(d.weights, Limits{})
			}
		})
	}
}
