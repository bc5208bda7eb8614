package rival

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	pagePath   = flag.String("page", "", "measure, and write the table of the three machines to this file")
	pageRounds = flag.Int("rounds", 15, "of -page: how often each figure is measured")
)

// TestPage writes docs/contracts/engines.md. The machines take turns, figure by figure,
// so that what else the computer does meets all of them.
func TestPage(t *testing.T) {
	if *pagePath == "" {
		t.Skip("no -page")
	}
	if err := flag.Set("test.benchtime", "100ms"); err != nil {
		t.Fatal(err)
	}
	before := load1()
	got := make(map[string][]float64)
	for round := range *pageRounds {
		for _, name := range []string{"escrow", "cfd"} {
			c := load(t, name)
			for _, r := range rows {
				if r.slow && round >= 3 {
					continue
				}
				for _, m := range r.machines(machines(t, c)) {
					result := testing.Benchmark(func(b *testing.B) { r.run(b, c, m) })
					if result.N == 0 {
						t.Fatalf("%s, %s, %s failed", name, r.name, m.Name())
					}
					v := float64(result.T.Nanoseconds()) / float64(result.N)
					if r.unit != "" {
						v = result.Extra[r.unit]
					}
					key := name + "/" + r.name + "/" + m.Name()
					got[key] = append(got[key], v)
				}
			}
		}
		t.Logf("round %d of %d", round+1, *pageRounds)
	}
	var b strings.Builder
	b.WriteString(pageHead)
	fmt.Fprintf(&b, "%s, %s/%s, %d processors; %s. Load (processes that wanted to run, mean of a minute) %s before and %s after. Each figure is the median of n runs and, in brackets, the least and the most. Where other work shares the processors, the least tells more.\n\n",
		processor(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), before, load1())
	b.WriteString("| | n | goal | this language | wazero | EVM |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, r := range rows {
		for _, name := range []string{"escrow", "cfd"} {
			n := len(got[name+"/"+r.name+"/EVM"])
			fmt.Fprintf(&b, "| %s, %s | %d | %s |", r.title, name, n, r.goal)
			for _, m := range []string{"latchkey", "wazero", "EVM"} {
				fmt.Fprintf(&b, " %s |", figure(got[name+"/"+r.name+"/"+m], r.unit == ""))
			}
			b.WriteString("\n")
		}
	}
	fmt.Fprintf(&b, pageTail, stored(t, "escrow"), stored(t, "cfd"))
	if err := os.WriteFile(*pagePath, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
}

// stored returns how many bytes the EVM's database takes for one of a thousand
// instances.
func stored(t *testing.T, name string) int {
	m, err := NewEVM(load(t, name))
	if err != nil {
		t.Fatal(err)
	}
	for k := range int64(1000) { // no two alike: equal nodes are stored once
		if _, err := m.Open(benchTerms[name], noon+k); err != nil {
			t.Fatal(err)
		}
	}
	n, err := m.Stored()
	if err != nil {
		t.Fatal(err)
	}
	return n / 1000
}

func figure(runs []float64, isTime bool) string {
	if len(runs) == 0 {
		return "–"
	}
	slices.Sort(runs)
	show := func(v float64) string {
		if !isTime {
			return fmt.Sprintf("%.0f", v)
		}
		switch us := v / float64(time.Microsecond); {
		case us < 1:
			return fmt.Sprintf("%.3f", us)
		case us < 100:
			return fmt.Sprintf("%.1f", us)
		default:
			return fmt.Sprintf("%.0f", us)
		}
	}
	median, unit := runs[len(runs)/2], ""
	if isTime {
		unit = " µs"
	}
	least, most := show(runs[0]), show(runs[len(runs)-1])
	if least == most {
		return show(median) + unit
	}
	return fmt.Sprintf("%s%s (%s–%s)", show(median), unit, least, most)
}

// processor names the processor where the system tells.
func processor() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

func load1() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(data))[0]
}

const pageHead = `# Contracts beside other machines

What it costs to run the escrow and the contract for difference of ` + "`examples/`" + ` in this language, in WebAssembly (wazero v1.12.0, interpreter,
metered) and in the EVM (go-ethereum v1.17.10, gas counted). ` + "[rival](../../rival/README.md)" + ` has the contracts for all three. Before
anything is measured, a test plays each contract in a thousand random plays on the three machines and compares every answer: what is
refused, when it is over, and what each party gets of each pot. This page is written by

    cd rival && go test . -run Page -page ../docs/contracts/engines.md -timeout 30m

`

const pageTail = `
**Compile.** From a text to a program that runs. This language: with every check that needs no terms. The other two: assembled from the
text in ` + "`rival/contracts`" + ` by the assemblers of rival, which only write down opcodes and are not made for speed, and loaded. A compiler does more
and takes longer; solc is not measured here, in the prototype's comparison it took 1.9 seconds.

**Load.** Of that, what the machines themselves do with given bytes. wazero: CompileModule. EVM: code is stored under its hash, and its jumps are
analysed in a first call; it checks nothing, and on its own this takes less than this language's compiling. There is no row for this language,
because nothing but the text is handed around: who is given code has to believe that it is the contract, who is given the text has read it.

**First instance.** The same way for all three, from what a stranger hands over to an instance that is open: the text here, the code there. This language:
Compile with its checks, Bind, Open. wazero: CompileModule, a new instance, a call of its ` + "`open`" + `. EVM: the code is stored, analysed and deployed with the terms.

**Instantiate.** Terms are checked and an instance opens. This language: Bind and Open, over the chunks of the two pots. wazero: a new instance of
the compiled module and a call of its function ` + "`open`" + `. EVM: deployment, whose code stores the terms.

**Event.** Escrow: a party's word that begins the dispute. CFD: a price that ends nothing. The events go round 1,024 instances, so that
none has its memory at hand. In all three an event is a time, a party, a word and a value; nobody is authenticated. The other two machines
get the word as a number and this one as text. They keep a pot as a number of units; this language keeps single chunks and hands them over one
by one. The EVM's figure has what a transaction does inside of it: access list, call, and making its writes final; signatures, nonces,
fees, receipts, blocks and state roots are left out.

**Meters.** wazero counts nothing by itself: a counter is put into the code, which takes the instructions of each stretch from a global
before the stretch runs. The EVM counts gas. A step of this language is bounded by the contract's text and needs no meter.

**Live.** 100,000 instances that are all reachable: the growth of the heap (HeapAlloc after a collection), divided by their number. The
state of the EVM is the one in memory, before anything is written to a database.

**Snapshot.** Where the instance stands after that event, without terms. Only this language has snapshots. For wazero it is the globals
that the contract keeps its state in, for the EVM the storage slot with its state, packed by hand and without leading zeros. What the EVM itself
stores are the nodes of its tries: committed with a thousand others, an instance takes %d bytes in the database (escrow), %d (CFD).
`
