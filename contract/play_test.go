package contract

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the transcripts of testdata/plays")

// TestTranscripts plays testdata/plays/*.txt. A line without indent is an input, the indented lines after it are what
// came of it. Times count from `noon`.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/plays/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := transcript(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("transcript (-want +got):\n%s", diff)
			}
		})
	}
}

// transcript plays a script and writes beside each input what came of it.
func transcript(t *testing.T, text string) string { return script(t, text, nil) }

// script plays a script, shows each step to saw, and writes beside each input what came of it.
func script(t *testing.T, script string, saw func(p *Program, source string, terms []int64, weights [][]int64, ev Event, s State, o Outcome, err error)) string {
	var out strings.Builder
	var source string
	var terms []int64
	var ev Event
	var p *Program
	var d *Deal
	var s State
	var weights [][]int64
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "  ") {
			continue
		}
		out.WriteString(line)
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		number := func(i int) int64 {
			n, err := strconv.ParseInt(f[i], 10, 64)
			if err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
			return n
		}
		var o Outcome
		var err error
		next := s
		switch f[0] {
		case "contract":
			p, source = example(t, f[1]), sourceOf(t, f[1])
			continue
		case "terms":
			terms = nil
			if n := len(p.Roles()); n > 0 {
				holders := make([]int64, n)
				for i := range holders {
					holders[i] = number(i + 1)
				}
				if p, err = p.For(holders); err != nil {
					t.Fatal(err)
				}
			}
			for i, term := range p.Terms() {
				v := number(i + 1)
				if term.Type == Time {
					v += noon
				}
				terms = append(terms, v)
			}
			if d, err = p.Bind(terms); err != nil {
				fmt.Fprintf(&out, "  refused: %v\n", err)
			} else {
				p = d.Program()
			}
			continue
		case "chunks":
			weights = [][]int64{nil}
			for i := range f[1:] {
				if f[i+1] == "|" {
					weights = append(weights, nil)
				} else {
					weights[len(weights)-1] = append(weights[len(weights)-1], number(i+1))
				}
			}
			continue
		case "open":
			ev = Event{At: noon + number(1)}
			next, o, err = d.Open(weights, ev.At)
		case "deadline":
			ev = Event{Kind: Deadline, At: noon + number(1)}
			next, o, err = d.Step(s, ev)
		case "oracle":
			i := slices.IndexFunc(p.Oracles(), func(o Feed) bool { return o.Name == f[2] })
			ev = Event{Kind: Oracle, At: noon + number(1), Oracle: i, Value: number(3), Observed: noon + number(4)}
			next, o, err = d.Step(s, ev)
		case "deposit":
			i := slices.IndexFunc(p.Pots(), func(pot Pot) bool { return pot.Name == strings.ReplaceAll(f[2], "_", " ") })
			ev = Event{Kind: Deposit, At: noon + number(1), Pot: i, Value: number(3)}
			next, o, err = d.Step(s, ev)
		case "seal", "open-seal":
			party := slices.Index(p.Parties(), strings.ReplaceAll(f[2], "_", " "))
			ev = Event{Kind: Word, At: noon + number(1), Party: party, Word: f[3], Hash: Seal([32]byte{1}, party, number(4), [32]byte{byte(number(5))})}
			if f[0] == "open-seal" {
				ev.HasValue, ev.Value = true, number(4)
			}
			next, o, err = d.Step(s, ev)
		case "word":
			ev = Event{Kind: Word, At: noon + number(1), Party: slices.Index(p.Parties(), strings.ReplaceAll(f[2], "_", " ")), Word: strings.ReplaceAll(f[3], "_", " ")}
			if len(f) > 4 {
				ev.HasValue, ev.Value = true, number(4)
			}
			next, o, err = d.Step(s, ev)
		default:
			t.Fatalf("no such input: %q", line)
		}
		if saw != nil {
			saw(p, source, terms, weights, ev, next, o, err)
		}
		if err != nil {
			if f[0] != "open" && !cmp.Equal(encode(t, s), encode(t, next)) {
				t.Fatalf("a refusal changed the state, at %q", line)
			}
			fmt.Fprintf(&out, "  refused: %v\n", err)
			continue
		}
		s = next
		for _, g := range o.Gives {
			back := ""
			if g.Return {
				back = " (return)"
			}
			fmt.Fprintf(&out, "  %s %d of weight %d to %s%s\n", p.Pots()[g.Pot].Name, g.Chunk, weights[g.Pot][g.Chunk], p.Parties()[g.To], back)
		}
		if at, ok := d.Deadline(s); ok {
			fmt.Fprintf(&out, "  line %d; %s until %d, now %d", o.Line, p.Phases()[o.Phase], at-noon, s.Now()-noon)
		} else {
			fmt.Fprintf(&out, "  line %d; closed, now %d", o.Line, s.Now()-noon)
		}
		fmt.Fprintf(&out, "; snapshot %x\n", encode(t, s))
	}
	return out.String()
}

func encode(t testing.TB, s State) []byte {
	t.Helper()
	b, err := s.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var exampleNames = []string{"pay", "swap", "escrow", "cfd", "inheritance"}

// featureNames are contracts of testdata that use what those of examples do not.
var featureNames = []string{"loan", "note", "english", "sealed", "salary", "treasury"}

// failer is what the checks of a play need of a test: *testing.T and *rapid.T have it.
type failer interface {
	Fatalf(format string, args ...any)
}

// player plays an instance and checks after every step what must always hold.
type player struct {
	d       *Deal
	weights [][]int64
	s       State
	owner   map[[2]int]int // chunk to the party that got it
	there   []int          // by pot: how many chunks have been put in
	last    int64
	report  *Report
}

func open(t failer, d *Deal, weights [][]int64, report *Report) *player {
	s, o, err := d.Open(weights, noon)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	pl := &player{d: d, weights: weights, owner: map[[2]int]int{}, last: d.LastDeadline(noon), report: report}
	for i, pot := range d.Program().Pots() {
		pl.there = append(pl.there, len(weights[i]))
		if pot.Later {
			pl.there[i] = 0
		}
	}
	pl.took(t, s, o)
	return pl
}

// took checks a step that was taken.
func (pl *player) took(t failer, s State, o Outcome) {
	pl.s = s
	for _, g := range o.Gives {
		key := [2]int{g.Pot, g.Chunk}
		if to, given := pl.owner[key]; given {
			t.Fatalf("chunk %v went to %d and to %d", key, to, g.To)
		}
		from := pl.d.p.pots[g.Pot].From
		if g.Return != (g.To == from) || !g.Return && !slices.Contains(pl.d.Candidates(g.Pot), g.To) {
			t.Fatalf("give %+v goes to nobody who may have it", g)
		}
		pl.owner[key] = g.To
	}
	for pot, w := range pl.weights {
		for i := range w {
			if _, given := pl.owner[[2]int{pot, i}]; s.Holds(pot, i) != (!given && i < pl.there[pot]) {
				t.Fatalf("chunk %d of pot %d: given %t, held %t", i, pot, given, s.Holds(pot, i))
			}
		}
	}
	if o.Closed != s.Closed() || o.Phase != s.Phase() {
		t.Fatalf("outcome %+v does not tell the state", o)
	}
	if at, ok := pl.d.Deadline(s); ok && (at > pl.last || at < s.Now()) {
		t.Fatalf("a deadline at %d, now %d, the last is %d", at, s.Now(), pl.last)
	}
	b, err := s.AppendBinary(nil)
	if err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	back, err := pl.d.DecodeState(pl.weights, b)
	if err != nil {
		t.Fatalf("restore %x: %v", b, err)
	}
	if diff := cmp.Diff(s, back, cmp.AllowUnexported(State{}, chunks{})); diff != "" {
		t.Fatalf("restored state differs:\n%s", diff)
	}
	if o.Closed {
		pl.over(t)
	}
}

// over checks what has become of the chunks.
func (pl *player) over(t failer) {
	got := map[[2]int]int64{}
	count := 0
	for pot, w := range pl.weights {
		count += pl.there[pot]
		for i, units := range w[:pl.there[pot]] {
			got[[2]int{pl.owner[[2]int{pot, i}], pot}] += units
		}
	}
	if len(pl.owner) != count {
		t.Fatalf("%d of %d chunks are given at the end", len(pl.owner), count)
	}
	if pl.report == nil {
		return
	}
	for _, pay := range pl.report.Payouts {
		key := [2]int{pay.Party, pay.Pot}
		if u := got[key]; u < pay.Least || u > pay.Most {
			t.Fatalf("party %d got %d of pot %d, the exploration says %d..%d", pay.Party, u, pay.Pot, pay.Least, pay.Most)
		}
		delete(got, key)
	}
	for key, u := range got {
		if u != 0 {
			t.Fatalf("party %d got %d of pot %d, the exploration knows nothing of it", key[0], u, key[1])
		}
	}
}

// try plays one event. A refusal must change nothing; a fault must never come.
func (pl *player) try(t failer, ev Event) error {
	before, err := pl.s.AppendBinary(nil)
	if err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	s, o, err := pl.d.Step(pl.s, ev)
	again, _, err2 := pl.d.Step(pl.s, ev)
	if after, _ := pl.s.AppendBinary(nil); !slices.Equal(before, after) || fmt.Sprint(err) != fmt.Sprint(err2) || !cmp.Equal(s, again, cmp.AllowUnexported(State{}, chunks{})) {
		t.Fatalf("step %+v is not pure", ev)
	}
	if errors.Is(err, ErrFault) {
		t.Fatalf("step %+v: %v", ev, err)
	}
	if err == nil {
		if ev.Kind == Deposit {
			pl.there[ev.Pot] += int(ev.Value)
		}
		pl.took(t, s, o)
	} else if !cmp.Equal(s, pl.s, cmp.AllowUnexported(State{}, chunks{})) {
		t.Fatalf("the refusal %v changed the state", err)
	}
	return err
}

// random plays random events until the contract is over.
func (pl *player) random(t *rapid.T) {
	p := pl.d.p
	for step := 0; !pl.s.Closed(); step++ {
		at, _ := pl.d.Deadline(pl.s)
		ev := Event{Kind: Deadline, At: at + rapid.Int64Range(0, 3).Draw(t, "late")}
		kind := rapid.IntRange(0, 9).Draw(t, "kind")
		if at > pl.s.Now() && kind > 0 && step < 30 {
			clauses := p.phases[pl.s.phase].clauses
			c := clauses[rapid.IntRange(0, len(clauses)-1).Draw(t, "clause")]
			ev = Event{Kind: Word, At: rapid.Int64Range(pl.s.Now(), min(at-1, pl.s.Now()+1000)).Draw(t, "at"),
				Party: rapid.IntRange(0, len(p.parties)-1).Draw(t, "party"), Word: c.word}
			if c.seal != none {
				ev.Hash = [32]byte{byte(rapid.IntRange(0, 2).Draw(t, "hash"))}
			}
			if c.carries == aValue || c.carries == aKey {
				ev.HasValue = true
				ev.Value = rapid.OneOf(rapid.Int64Range(c.lo, c.hi), rapid.SampledFrom([]int64{c.lo, c.hi, c.lo - 1, c.hi + 1})).Draw(t, "value")
			}
			if c.kind == onDeposit {
				ev.Kind, ev.Pot = Deposit, c.oracle
				ev.Value = rapid.Int64Range(1, 4).Draw(t, "chunks")
				if missing := pl.s.missing(p, c.oracle); kind > 3 {
					ev.Value = max(1, min(ev.Value, missing))
				}
			}
			if c.kind == onEach || c.kind == onFor {
				ev.Kind, ev.Oracle, ev.Observed = Oracle, c.oracle, ev.At-rapid.Int64Range(0, 50).Draw(t, "age")
				if r := (&run{d: pl.d, s: pl.s}); c.kind == onFor && kind > 1 {
					ev.Observed = r.eval(c.time)
					ev.At = max(ev.At, ev.Observed)
				}
			}
		}
		err := pl.try(t, ev)
		if ev.Kind == Deadline && ev.At >= at && err != nil {
			t.Fatalf("a deadline that is due was refused: %v", err)
		}
		if step > 100_000 {
			t.Fatalf("no end after %d steps", step)
		}
	}
}

func TestRandomPlaysOfExamples(t *testing.T) {
	for _, name := range slices.Concat(exampleNames, featureNames) {
		t.Run(name, func(t *testing.T) {
			d, weights := played(t, name)
			report, err := d.Admit(weights, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			rapid.Check(t, func(t *rapid.T) { open(t, d, weights, &report).random(t) })
		})
	}
}

// TestRandomPlaysOfTheLibrary does so for the contracts of examples, with terms and chunks drawn at random, where a few
// draws find some that are soon explored.
func TestRandomPlaysOfTheLibrary(t *testing.T) {
	files, err := filepath.Glob("../examples/*.latchkey")
	if err != nil || len(files) == 0 {
		t.Fatalf("no library: %v", err)
	}
	played := 0
	for _, file := range files {
		p, random := example(t, strings.TrimSuffix(filepath.Base(file), ".latchkey")), rand.New(rand.NewPCG(3, 4))
		for range 40 {
			d, weights := drawn(random, p)
			if d == nil {
				continue
			}
			report, err := d.Admit(weights, Limits{Moves: 5_000})
			if err != nil {
				continue
			}
			played++
			t.Run(p.name, func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) { open(t, d, weights, &report).random(t) })
			})
			break
		}
	}
	if played < len(files)*3/4 {
		t.Errorf("%d of %d contracts are played", played, len(files))
	}
}

// TestFirstMoment opens at the earliest time that Open takes, where another branch is taken than ever after, and has a value there that
// is not newer than none.
func TestFirstMoment(t *testing.T) {
	d := mustBind("contract First\nparties a, b\nterm t : time\npot p = 3 units from a\noracle o in 1..9\nat open: if now < t then give 1 of p to b end\nphase A until t + 2 days\n"+
		"when oracle o each 1 days if now < t: give 2 of p to b close\nwhen a says \"x\" if now < t and left(p) = 2: give 1 of p to b\nat deadline: close\n", 1)
	weights := [][]int64{{1, 1, 1}}
	report, err := d.Admit(weights, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if most := report.Payouts[len(report.Payouts)-1].Most; most != 2 { // by the opening and the word
		t.Errorf("at most %d", most)
	}
	s, o, err := d.Open(weights, 0)
	if err != nil || len(o.Gives) != 1 {
		t.Fatalf("%+v, %v", o, err)
	}
	if _, _, err := d.Step(s, Event{Kind: Oracle, Value: 5}); !errors.Is(err, ErrEvent) {
		t.Errorf("a value observed at 0 is taken: %v", err)
	}
	if s, o, err = d.Step(s, Event{Kind: Word, Word: "x"}); err != nil || len(o.Gives) != 1 || s.Closed() {
		t.Errorf("%+v, %v", o, err)
	}
	reproduces(t, d, weights, Limits{})
}

// TestPathsLeadThere replays every path of the payout table and of the rounding on the machine.
func TestPathsLeadThere(t *testing.T) {
	for _, name := range slices.Concat(exampleNames, featureNames) {
		t.Run(name, func(t *testing.T) {
			d, weights := played(t, name)
			report, err := d.Admit(weights, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			replay := func(path []Event) (*player, Outcome) {
				pl := open(t, d, weights, &report)
				var o Outcome
				for _, ev := range path {
					switch ev.At = pl.s.Now() + 1; ev.Kind {
					case Deadline:
						ev.At, _ = d.Deadline(pl.s)
					case Oracle:
						if ev.Observed > farAway/2 {
							ev.Observed -= farAway - ev.At
						}
						ev.At = max(ev.At, ev.Observed)
					}
					if err := pl.try(t, ev); err != nil {
						t.Fatalf("%s on the path %v: %v", d.p.Describe(ev), path, err)
					}
				}
				return pl, o
			}
			for _, pay := range report.Payouts {
				for want, path := range map[int64][]Event{pay.Least: pay.LeastPath, pay.Most: pay.MostPath} {
					pl, _ := replay(path)
					if !pl.s.Closed() {
						t.Errorf("the path %v does not end", path)
					}
					got := int64(0)
					for i, w := range weights[pay.Pot] {
						if to, given := pl.owner[[2]int{pay.Pot, i}]; given && to == pay.Party {
							got += w
						}
					}
					if got != want {
						t.Errorf("the path %v pays %d, want %d", path, got, want)
					}
				}
			}
			for _, r := range report.Rounding {
				replay(r.Path)
			}
		})
	}
}

func FuzzDecodeState(f *testing.F) {
	var deals []*Deal
	var chunkSets [][][]int64
	for i, name := range exampleNames {
		d, weights := played(f, name)
		deals, chunkSets = append(deals, d), append(chunkSets, weights)
		s, _, err := d.Open(weights, noon)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, encode(f, s))
		f.Add(i, encode(f, State{c: s.c, phase: none, now: noon}))
	}
	f.Add(2, []byte{1, 2, 0, 0, 3, 0})
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		if i < 0 || i >= len(deals) {
			return
		}
		s, err := deals[i].DecodeState(chunkSets[i], b)
		if err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Fatalf("refused without saying so: %v", err)
			}
			return
		}
		if got := encode(t, s); !slices.Equal(got, b) {
			t.Fatalf("%x was read, %x is written", b, got)
		}
		// Whatever was accepted must go on to the end without a fault.
		for !s.Closed() {
			at, _ := deals[i].Deadline(s)
			if at > farAway {
				return
			}
			if s, _, err = deals[i].Step(s, Event{Kind: Deadline, At: at}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
