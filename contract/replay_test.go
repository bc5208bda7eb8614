package contract

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// replay plays a way that an exploration found, each event with its value and, where something depends on it, at its
// moment, and returns what the gives of the last step asked for, by line. It plays as the exploration does, on the
// machine and apart from the order of times: a phase may be over when its word is said, and a value for a time comes too
// late for `each`. In a way with moments a value's age may be meant, or its time: late says which, by bit.
func replay(d *Deal, weights [][]int64, opens int64, way []Event, late int) (asked map[int][]note, err error) {
	c, err := d.newChunks(weights)
	if err != nil {
		return nil, err
	}
	s := d.start(c, 0)
	var notes []note
	same := 0
	for i, ev := range append([]Event{{At: opens}}, way...) {
		if i > 0 && s.Closed() { // another meaning of its values led elsewhere
			return nil, fmt.Errorf("%s: %w", d.p.Describe(ev), ErrClosed)
		}
		tr := trace{env: *d.env()}
		tr.env.load(d, s)
		r := run{d: d, s: s, exploring: &tr}
		*tr.env.at(opInput, 0), *tr.env.at(opNow, 0) = point(ev.Value), point(ev.At)
		if r.s.now = ev.At; ev.Kind == Oracle {
			if age := ev.At - ev.Observed; d.p.timed && age < farAway/2 {
				if late>>same&1 == 0 {
					ev.Observed = farAway - age
				}
				same++
			}
			ev.At = farAway
		}
		if i == 0 {
			r.open()
		} else if err = r.apply(&ev); err != nil {
			return nil, fmt.Errorf("%s: %w", d.p.Describe(ev), err)
		}
		if r.fault != nil {
			return nil, r.fault
		}
		for j := d.p.varNewest(); j < d.p.varLater() && !r.s.Closed(); j++ {
			r.words()[j] = 0 // the values of an oracle count as independent of each other
		}
		s, notes = r.s, tr.notes
	}
	asked = map[int][]note{}
	for _, n := range notes {
		asked[int(n.s.pos.line)] = append(asked[int(n.s.pos.line)], n)
	}
	return asked, nil
}

// reaches checks that the way of a finding leads to a note for which is holds.
func reaches(t failer, d *Deal, weights [][]int64, f Rounding, is func(n note) bool) {
	same := 0
	for _, ev := range f.Path {
		same += int(truthOf(ev.Kind == Oracle && ev.At-ev.Observed < farAway/2))
	}
	for late := 0; ; late++ {
		asked, err := replay(d, weights, f.Opens, f.Path, late)
		if err == nil && slices.ContainsFunc(asked[f.Line], func(n note) bool { return n.asked == f.Asked && n.s.index == f.Pot && is(n) }) {
			return
		}
		if late+1 >= 1<<min(same, 10) {
			t.Fatalf("line %d: %d are asked for and %d are there, or come of it, says the finding; the way %v from %d makes it %+v, %v", f.Line, f.Asked, f.Given, f.Path, f.Opens, asked[f.Line], err)
		}
	}
}

// reproduces checks that every counterexample of an exploration leads to exactly the numbers that its finding states:
// what a give asks for, and what is there or what the chunks make of it. It returns how many there were.
func reproduces(t failer, d *Deal, weights [][]int64, lim Limits) (findings, rounded int) {
	x, err := d.explore(weights, lim)
	if x == nil {
		t.Fatalf("%v", err)
	}
	for _, f := range x.over {
		reaches(t, d, weights, f, func(n note) bool { return n.left == f.Given })
		says := fmt.Sprintf("asks for %d units where the pot `%s` holds %d, after: the contract opens", f.Asked, d.p.pots[f.Pot].Name, f.Given)
		if !slices.ContainsFunc(x.list, func(one Finding) bool { return one.Line == f.Line && strings.Contains(one.What, says) }) && len(x.list) < maxFindings {
			t.Fatalf("no finding says that line %d %s:\n%v", f.Line, says, err)
		}
	}
	for _, l := range x.trace.losses {
		f := x.finding(l, l.given)
		reaches(t, d, weights, f, func(n note) bool { return n.given == f.Given })
	}
	return len(x.over), len(x.trace.losses)
}

// TestCounterexamplesOfExamples does so for the deals that the tests play, and for all contracts of the library with
// terms drawn at random, each also with chunks that are too coarse.
func TestCounterexamplesOfExamples(t *testing.T) {
	found, rounded := 0, 0
	for _, name := range slices.Concat(exampleNames, featureNames) {
		t.Run(name, func(t *testing.T) {
			d, weights := played(t, name)
			for _, weights := range [][][]int64{weights, coarse(weights)} {
				n, m := reproduces(t, d, weights, Limits{})
				found, rounded = found+n, rounded+m
			}
		})
	}
	files, err := filepath.Glob("../examples/*.latchkey")
	if err != nil || len(files) == 0 {
		t.Fatalf("no library: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".latchkey")
		t.Run("library/"+name, func(t *testing.T) {
			p, bound := example(t, name), 0
			random := rand.New(rand.NewPCG(1, 2))
			for try := 0; bound < 3 && try < 10_000; try++ {
				d, weights := drawn(random, p)
				if d == nil {
					continue
				}
				bound++
				for _, weights := range [][][]int64{weights, coarse(weights)} {
					n, m := reproduces(t, d, weights, Limits{Moves: 20_000})
					found, rounded = found+n, rounded+m
				}
			}
			if bound == 0 {
				t.Error("no terms were found for it")
			}
		})
	}
	t.Logf("%d findings, %d roundings", found, rounded)
	if rounded == 0 {
		t.Error("no give of any of them is rounded")
	}
}

// drawn binds a program to small random terms and divides its pots at random; nil where the terms miss a requirement.
func drawn(random *rand.Rand, p *Program) (*Deal, [][]int64) {
	between := func(lo, hi int64) int64 { return lo + random.Int64N(hi-lo+1) }
	var holders []int64
	for _, r := range p.roles {
		holders = append(holders, between(int64(r.Lo), int64(min(r.Hi, 3))))
	}
	p, err := p.For(holders)
	if err != nil {
		return nil, nil
	}
	terms := holders
	for _, term := range p.terms[len(holders):] {
		if term.Type == Time {
			term.Lo, term.Hi = noon, noon+100*day
		}
		most := [...]int64{10, 1000, 1_000_000}[random.IntN(3)]
		terms = append(terms, between(term.Lo, min(term.Hi, term.Lo+most)))
	}
	d, err := p.Bind(terms)
	if err != nil {
		return nil, nil
	}
	weights := make([][]int64, len(p.pots))
	for i, units := range d.units() {
		for units > 0 && len(weights[i]) < 20 {
			w := between(1, (units+3)/4)
			if len(weights[i]) == 19 {
				w = units
			}
			weights[i], units = append(weights[i], w), units-w
		}
	}
	return d, weights
}

// coarse makes one chunk of each pot.
func coarse(weights [][]int64) [][]int64 {
	out := make([][]int64, len(weights))
	for i, pot := range weights {
		sum := int64(0)
		for _, w := range pot {
			sum += w
		}
		if sum > 0 {
			out[i] = []int64{sum}
		}
	}
	return out
}

// The amounts that fooled an earlier exploration.
const (
	counterHead = "contract X\nparties a, b\nterm n : units 1..100\nterm t : time\npot p = n units from a\noracle price in 1..1_000_000\ncurve hill : 0 -> 0, 50 -> 99, 100 -> 0\nphase A until t\n"
	counterTail = " of p to b close\n at deadline: close\n"
)

var counterexamples = []struct{ name, clause string }{
	{"rises", "when a says \"x\" with v in 0..100: give share(p, v, 70)"},
	{"falls", "when a says \"x\" with v in 0..100: give share(p, 100 - v, 70)"},
	{"over by a little", "when a says \"x\" with v in 0..100: give share(p, v, 99)"},
	{"between", "when a says \"x\" with v in 0..100: give share(p, hill(v), 98)"},
	{"depends twice", "when oracle price each 60 seconds: give share(p, max(0, price - 77), price)"},
	{"a product", "when a says \"x\" with v in 0..100: give share(p, v * (100 - v), 2600)"},
	{"a product above all", "when a says \"x\" with v in 0..100: give share(p, v * (100 - v), 2400)"},
	{"a moment", "when a says \"x\": give share(p, max(0 seconds, now - (t - 9 seconds)), 12 seconds)"},
	{"a moment above all", "when a says \"x\": give share(p, max(0 seconds, now - (t - 9 seconds)), 7 seconds)"},
	{"a price at a moment", "when oracle price each 60 seconds if price < 50: give share(p, price * 1 seconds, max(1 seconds, t - now))"},
}

// TestCounterexamplesStateWhatTheyReach has the amounts that fooled an earlier exploration: one that rises over an
// interval, one that falls, one with its greatest value between the ends, one whose interval bounds no value reaches, and
// ones that depend on the moment.
func TestCounterexamplesStateWhatTheyReach(t *testing.T) {
	findings, rounded := 0, 0
	for _, test := range counterexamples {
		t.Run(test.name, func(t *testing.T) {
			for _, weights := range [][]int64{{20, 5, 5}, {7, 7, 7, 7, 2}, {30}, repeat(30, 1)} {
				n, m := reproduces(t, mustBind(counterHead+test.clause+counterTail, 30, noon), [][]int64{weights}, Limits{})
				findings, rounded = findings+n, rounded+m
			}
		})
	}
	if findings < 4 || rounded < 10 {
		t.Errorf("%d findings and %d roundings: the tests test nothing", findings, rounded)
	}
}

// twoAges takes a value of the last minute in one clause, and any older one in another.
const twoAges = `contract Ages
parties a, b
term t : time
pot p = 10 units from a
oracle price in 1..100
phase Live until t
  when oracle price each 60 seconds if price > 5:
    give all of p to a
    close
  when oracle price each 10 days if price > 5:
    give 4 of p to b
    close
  at deadline: close
`

// TestAgesAreTold has a value that is too old for the first clause that waits for it and fits the second, which an exploration
// of fresh values alone never plays: it is among the payouts, with its age, and in the rounding.
func TestAgesAreTold(t *testing.T) {
	d, weights := mustBind(twoAges, noon+day), [][]int64{{3, 7}}
	report, err := d.Admit(weights, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	last := report.Payouts[len(report.Payouts)-1]
	if last.Party != 1 || last.Most != 3 || len(report.Rounding) != 1 {
		t.Fatalf("%+v", report)
	}
	if got, want := d.p.Describe(last.MostPath[0]), "oracle price, 61 seconds old, is 6"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	pl := open(t, d, weights, &report)
	if err := pl.try(t, Event{Kind: Oracle, At: noon + 100, Observed: noon + 39, Value: 6}); err != nil || !pl.s.Closed() {
		t.Errorf("%v", err)
	}
	reproduces(t, d, weights, Limits{})
}
