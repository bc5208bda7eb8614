package contract

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const paySource = `
contract Pay
parties payer, payee
term amount : units 1..1_000_000
pot money = amount units from payer
at open:
  give all of money to payee
  close
`

const holdSource = `
contract Hold
parties ann, ben
term stake : units 1..100
term wait : duration 1 hours .. 10 days
pot purse = stake units from ann
phase Held until now + wait
  when ann says "pay" with part in 0..100 units if part <= stake:
    give part of purse to ben
    close
  at deadline: close
`

func mustBind(source string, terms ...int64) *Deal {
	p, err := Compile([]byte(source))
	if err != nil {
		panic(err)
	}
	d, err := p.Bind(terms)
	if err != nil {
		panic(err)
	}
	return d
}

func ExampleCompile() {
	p, err := Compile([]byte(paySource))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Name(), p.Parties(), p.Terms())
	_, err = Compile([]byte(strings.Replace(paySource, "to payee", "to the payee", 1)))
	fmt.Println(err)
	// Output:
	// Pay [payer payee] [{amount units 1 1000000}]
	// line 7, column 24: error: `the` is not the name of a party; declare it above, or use a name that is declared
}

func ExampleProgram_Bind() {
	p, _ := Compile([]byte(paySource))
	d, err := p.Bind([]int64{50})
	fmt.Println(d.PotUnits(0), d.Candidates(0), err)
	_, err = p.Bind([]int64{0})
	fmt.Println(err)
	// Output:
	// 50 [1] <nil>
	// bind contract Pay: terms refused: term amount is 0, outside 1..1000000
}

func ExampleDeal_Admit() {
	d := mustBind(holdSource, 12, 3600)
	report, err := d.Admit([][]int64{{5, 5, 2}}, Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	p := d.Program()
	for _, pay := range report.Payouts {
		fmt.Printf("%s gets %d to %d of %s\n", p.Parties()[pay.Party], pay.Least, pay.Most, p.Pots()[pay.Pot].Name)
		for _, ev := range pay.MostPath {
			fmt.Println("  most:", p.Describe(ev))
		}
	}
	for _, r := range report.Rounding {
		fmt.Printf("line %d: of %d units the chunks make %d\n", r.Line, r.Asked, r.Given)
	}
	// Output:
	// ann gets 0 to 12 of purse
	//   most: the deadline passes
	// ben gets 0 to 12 of purse
	//   most: ann says "pay" with 12
	// line 9: of 4 units the chunks make 2
}

func ExampleDeal_Open() {
	d := mustBind(paySource, 7)
	s, outcome, err := d.Open([][]int64{{5, 2}}, 1_800_000_000)
	fmt.Println(outcome.Gives, s.Closed(), err)
	// Output:
	// [{0 0 1 false} {0 1 1 false}] true <nil>
}

func ExampleDeal_Step() {
	d := mustBind(holdSource, 12, 3600)
	s, _, _ := d.Open([][]int64{{5, 5, 2}}, 1_800_000_000)
	at, _ := d.Deadline(s)
	for _, w := range d.Words(s) {
		fmt.Printf("until %d: %q by %v, %d..%d\n", at, w.Word, w.Parties, w.Lo, w.Hi)
	}
	_, _, err := d.Step(s, Event{Kind: Word, At: 1_800_000_010, Party: 0, Word: "pay", HasValue: true, Value: 13})
	fmt.Println(err)
	s, outcome, err := d.Step(s, Event{Kind: Word, At: 1_800_000_010, Party: 0, Word: "pay", HasValue: true, Value: 7})
	fmt.Println(outcome.Gives, s.Closed(), err)
	// Output:
	// until 1800003600: "pay" by [0], 0..100
	// event refused: "pay" by ann: its condition does not hold
	// [{0 0 1 false} {0 2 1 false} {0 1 0 true}] true <nil>
}

func ExampleState_AppendBinary() {
	d := mustBind(holdSource, 12, 3600)
	weights := [][]int64{{5, 5, 2}}
	s, _, _ := d.Open(weights, 1_800_000_000)
	b, _ := s.AppendBinary(nil)
	fmt.Printf("%x\n", b)
	again, err := d.DecodeState(weights, b)
	fmt.Println(again.Phase(), again.Now(), err)
	// Output:
	// 010180a4a7da06901c0000
	// 0 1800000000 <nil>
}

func TestProgramTellsWhatItHas(t *testing.T) {
	p := example(t, "cfd")
	got := fmt.Sprint(p.Name(), p.Parties(), p.Phases(), p.Oracles())
	if want := "Cfd[long short] [Live Settle] [{price number 1 10000000000 }]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	pots := p.Pots()
	for i := range pots {
		pots[i].expr, pots[i].cands, pots[i].slot = 0, 0, 0
	}
	if diff := cmp.Diff([]Pot{{Name: "bull", From: 0, Units: "stake", Asset: -1}, {Name: "bear", From: 1, Units: "stake", Asset: -1}}, pots, cmp.AllowUnexported(Pot{})); diff != "" {
		t.Error(diff)
	}
	p.Parties()[0], p.Terms()[0].Hi = "changed", 0
	if p.Parties()[0] != "long" || p.Terms()[0].Hi != 1000 {
		t.Error("a caller can change the program")
	}
}

func TestCandidates(t *testing.T) {
	want := map[string][][]int{"pay": {{1}}, "swap": {{1}, {0}}, "escrow": {{1}, {2}}, "cfd": {{1}, {0}}, "inheritance": {{1, 2}}}
	for name, pots := range want {
		d, _ := played(t, name)
		for pot, parties := range pots {
			if diff := cmp.Diff(parties, d.Candidates(pot)); diff != "" {
				t.Errorf("%s, pot %d: %s", name, pot, diff)
			}
		}
	}
}

func TestLastDeadline(t *testing.T) {
	head := "contract X\nparties a, b\npot p = 5 units from a\nterm t : time\nterm d : duration\ncounter c = 0 in 0..3\n"
	tests := []struct {
		name, body string
		want       int64 // after noon; t is noon + 1000, d is 60
	}{
		{"closes at once", "at open: give all of p to b close\n", 0},
		{"absolute", "phase A until t at deadline: give all of p to b close\n", 1000},
		{"absolute in the past", "phase A until t - 1 days at deadline: give all of p to b close\n", 0},
		{"relative", "phase A until now + d at deadline: give all of p to b close\n", 60},
		{"one after the other", "phase A until now + d at deadline: next B\nphase B until now + 2 * d at deadline: give all of p to b close\n", 180},
		{"cycle", "phase A until now + d when a says \"x\" if c < 3: set c = c + 1 next A at deadline: give all of p to b close\n", 4 * 60},
		{"by counter", "phase A until t + c * d when a says \"x\" if c < 3: set c = c + 1 next A at deadline: give all of p to b close\n", 1000 + 3*60},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := mustBind(head+test.body, noon+1000, 60)
			if got := d.LastDeadline(noon) - noon; got != test.want {
				t.Errorf("last deadline after %d seconds, want %d", got, test.want)
			}
		})
	}
	far := mustBind("contract X\nparties a, b\npot p = 5 units from a\ncounter c = 0 in 0..9_000_000_000_000\nphase A until now + 1000 days\n when a says \"x\" if c < 9_000_000_000_000: set c = c + 1 next A\n at deadline: give all of p to b close\n")
	if got := far.LastDeadline(noon); got != math.MaxInt64 {
		t.Errorf("last deadline %d, want the greatest number", got)
	}
}

func TestWords(t *testing.T) {
	d, weights := played(t, "inheritance")
	s, _, err := d.Open(weights, noon)
	if err != nil {
		t.Fatal(err)
	}
	want := []WordClause{{Word: "alive", Parties: []int{0}, Need: 1, Line: 18}, {Word: "take back", Parties: []int{0}, Need: 1, Line: 21}}
	if diff := cmp.Diff(want, d.Words(s)); diff != "" {
		t.Error(diff)
	}
	at, _ := d.Deadline(s)
	for _, ev := range []Event{{Kind: Deadline, At: at}, {Kind: Word, At: at, Party: 2, Word: "confirm"}} {
		if s, _, err = d.Step(s, ev); err != nil {
			t.Fatal(err)
		}
	}
	want = []WordClause{{Word: "alive", Parties: []int{0}, Need: 1, Line: 25}, {Word: "confirm", Parties: []int{1, 3}, Said: []int{2}, Need: 2, Line: 28}}
	if diff := cmp.Diff(want, d.Words(s)); diff != "" {
		t.Error(diff)
	}
	s.words()[0] = 1000
	if got := d.Words(s); len(got) != 1 || got[0].Word != "confirm" {
		t.Errorf("when the renewals are used up: %+v", got)
	}
	if got := d.Words(State{}); got != nil {
		t.Errorf("words of nothing: %+v", got)
	}
}

func TestAdmitRefuses(t *testing.T) {
	head := "contract X\nparties a, b\npot p = 6 units from a\nterm t : time\nterm n : units 1..9\ncounter c = 0 in 0..60\noracle o in -1_000_000_000..1_000_000_000\n"
	tests := []struct{ name, body, want string }{
		{"more than the pot", "at open: give n of p to b close", "line 8, column 10: error: this give asks for 7 units where the pot `p` holds 6, after: the contract opens; write"},
		{"more than is left", "phase A until t\n when a says \"x\" with v in 1..5 units: give v of p to b next B\n at deadline: close\nphase B until t\n at deadline: give 2 of p to b close", `asks for 2 units where the pot ` + "`p`" + ` holds 1, after: the contract opens, a says "x" with 5, the deadline passes`},
		{"one value of many", "phase A until t\n when oracle o for t - 1 days: if o = 123_456_789 then give n of p to b end close\n at deadline: close", `oracle o is 123456789`},
		{"too many states", "phase A until t\n when a says \"x\" with v in 0..60: set c = v\n at deadline: give all of p to b close", "more than 20 states"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := mustBind(head+test.body, noon, 7)
			_, err := d.Admit([][]int64{repeat(6, 1)}, Limits{States: 20})
			var refused *Error
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
	d := mustBind(head+"at open: give 6 of p to b close", noon, 7)
	if _, err := d.Admit([][]int64{{5}}, Limits{}); err == nil || !strings.Contains(err.Error(), "1 of 6 units are missing") {
		t.Errorf("admitted with a chunk missing: %v", err)
	}
}

// TestAdmitFindsNarrowGuards checks that no value is left out: a give on one value of two billion, and on the last.
func TestAdmitFindsNarrowGuards(t *testing.T) {
	for _, value := range []string{"123_456_789", "-1_000_000_000", "1_000_000_000", "0"} {
		d := mustBind("contract X\nparties a, b\npot p = 6 units from a\nterm t : time\noracle o in -1_000_000_000..1_000_000_000\nphase A until t\n when oracle o each 5 seconds if o = "+value+": give all of p to b close\n at deadline: close", noon)
		report, err := d.Admit([][]int64{{6}}, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got := report.Payouts[1].Most; got != 6 {
			t.Errorf("o = %s: b gets %d at most, want 6", value, got)
		}
	}
}

// TestAdmitSeesRounding checks the rule that picks chunks, and what it costs, against every amount.
func TestAdmitSeesRounding(t *testing.T) {
	source := "contract X\nparties a, b\npot p = 18 units from a\nterm t : time\nphase A until t\n when a says \"x\" with v in 0..18 units:\n  give v of p to b\n  close\n at deadline: close"
	d := mustBind(source, noon+day)
	for _, test := range []struct {
		chunks       []int64
		asked, given int64
	}{
		{repeat(18, 1), 0, 0},
		{[]int64{18}, 17, 0},
		{[]int64{10, 5, 2, 1}, 4, 3},
		{[]int64{9, 9}, 17, 9},
		{[]int64{1, 7, 10}, 6, 1},
	} {
		report, err := d.Admit([][]int64{test.chunks}, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		worst := Rounding{}
		if len(report.Rounding) > 0 {
			worst = report.Rounding[0]
		}
		s, _, err := d.Open([][]int64{test.chunks}, noon)
		if err != nil {
			t.Fatal(err)
		}
		loss := int64(0)
		for v := range int64(19) {
			_, o, err := d.Step(s, Event{Kind: Word, At: noon + 1, Party: 0, Word: "x", HasValue: true, Value: v})
			if err != nil {
				t.Fatal(err)
			}
			got := int64(0)
			for _, g := range o.Gives {
				if g.To == 1 {
					got += test.chunks[g.Chunk]
				}
			}
			loss = max(loss, v-got)
		}
		if worst.Asked-worst.Given != loss || worst.Asked != test.asked && loss != test.asked-test.given {
			t.Errorf("%v: the exploration says %d of %d, the worst loss is %d", test.chunks, worst.Given, worst.Asked, loss)
		}
	}
}

func TestStepRefusesWhatNobodySent(t *testing.T) {
	d, weights := played(t, "escrow")
	s, _, err := d.Open(weights, noon)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		ev   Event
		want error
	}{
		{Event{At: noon + 1}, ErrEvent},
		{Event{Kind: 9, At: noon + 1}, ErrEvent},
		{Event{Kind: Word, At: noon + 1, Party: -1, Word: "release"}, ErrEvent},
		{Event{Kind: Word, At: noon + 1, Party: 3, Word: "release"}, ErrEvent},
		{Event{Kind: Word, At: noon + 1, Word: strings.Repeat("x", 1<<20)}, ErrEvent},
		{Event{Kind: Word, At: noon + 1, Word: ""}, ErrEvent},
		{Event{Kind: Word, At: noon - 1, Word: "release"}, ErrEvent},
		{Event{Kind: Word, At: math.MaxInt64, Word: "release"}, ErrEvent},
		{Event{Kind: Word, At: noon + day, Word: "release"}, ErrOverdue},
		{Event{Kind: Deadline, At: noon + 1}, ErrNotDue},
		{Event{Kind: Oracle, At: noon + 1}, ErrEvent},
	} {
		after, o, err := d.Step(s, test.ev)
		if !errors.Is(err, test.want) || len(o.Gives) > 0 || !slices.Equal(encode(t, after), encode(t, s)) {
			t.Errorf("%+v: %v, want %v", test.ev, err, test.want)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("%+v: an error of %d bytes", test.ev, len(err.Error()))
		}
	}
	if _, _, err := d.Step(State{}, Event{Kind: Deadline, At: noon}); !errors.Is(err, ErrClosed) {
		t.Errorf("a step of no instance: %v", err)
	}
	if _, err := (State{}).AppendBinary(nil); !errors.Is(err, ErrSnapshot) {
		t.Errorf("a snapshot of no instance: %v", err)
	}
	if _, _, err := d.Open(weights, -1); !errors.Is(err, ErrEvent) {
		t.Errorf("opened before 1970: %v", err)
	}
}

func TestOpenRefusesTooManyChunks(t *testing.T) {
	d := mustBind(paySource, MaxChunks+1)
	if _, _, err := d.Open([][]int64{repeat(MaxChunks+1, 1)}, noon); err == nil {
		t.Error("opened with too many chunks")
	}
	d = mustBind(paySource, MaxChunks)
	if _, o, err := d.Open([][]int64{repeat(MaxChunks, 1)}, noon); err != nil || len(o.Gives) != MaxChunks {
		t.Errorf("%d chunks: %d gives, %v", MaxChunks, len(o.Gives), err)
	}
}

// TestDecodeStateRefuses lists what no state encodes to, for the escrow: version, phase, now, wait, voices, chunks.
func TestDecodeStateRefuses(t *testing.T) {
	d, weights := played(t, "escrow")
	good := []byte{1, 2, 5, 3, 1, 0x7f}
	if _, err := d.DecodeState(weights, good); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty":            {},
		"version":          {2, 2, 5, 3, 1, 0},
		"version 0":        {0, 2, 5, 3, 1, 0},
		"phase":            {1, 3, 5, 3, 1, 0},
		"no such voice":    {1, 2, 5, 3, 4, 0},
		"all voices":       {1, 2, 5, 3, 3, 0},
		"voice elsewhere":  {1, 1, 5, 3, 1, 0},
		"no such chunk":    {1, 2, 5, 3, 1, 0x80},
		"short":            {1, 2, 5, 3, 1},
		"long":             {1, 2, 5, 3, 1, 0, 0},
		"not minimal":      {1, 2, 0x85, 0, 3, 1, 0},
		"closed and more":  {1, 0, 5, 3},
		"time":             {1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"unfinished":       {1, 0, 0xff},
		"overflowing uint": {1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	} {
		if _, err := d.DecodeState(weights, b); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: %x: %v", name, b, err)
		}
	}
	h, chunks := played(t, "inheritance")
	for _, b := range [][]byte{{1, 1, 5, 3, 0, 0x01, 0}, {1, 1, 5, 3, 0, 0xd2, 0x0f, 0}} { // -1 and 1001 renewals
		if _, err := h.DecodeState(chunks, b); !errors.Is(err, ErrSnapshot) {
			t.Errorf("a counter out of range: %x: %v", b, err)
		}
	}
}

func TestLimitsOfDeclarations(t *testing.T) {
	list := func(n int, form, sep string) string {
		var parts []string
		for i := range n {
			parts = append(parts, fmt.Sprintf(form, i))
		}
		return strings.Join(parts, sep)
	}
	tail := "\npot q = 5 units from x0\nterm w : time\noracle z in 0..5\nphase A until w\n at deadline: give all of q to x1 close\n"
	for _, test := range []struct {
		of     string
		most   int
		source func(n int) string
	}{
		{"parties", MaxParties, func(n int) string { return "contract X parties " + list(n, "x%d", ", ") + tail }},
		{"terms", MaxTerms - 1, func(n int) string {
			return "contract X parties x0, x1 " + list(n, "term t%d : number 1..2", "\n") + tail
		}},
		{"pots", MaxPots - 1, func(n int) string {
			return "contract X parties x0, x1 " + list(n, "pot p%d = 5 units from x1", "\n") + tail
		}},
		{"counters", MaxCounters, func(n int) string {
			return "contract X parties x0, x1 " + list(n, "counter c%d = 0 in 0..1", "\n") + tail
		}},
		{"oracles", MaxOracles - 1, func(n int) string {
			return "contract X parties x0, x1 " + list(n, "oracle o%d in 0..1", "\n") + tail
		}},
		{"phases", MaxPhases - 1, func(n int) string {
			return "contract X parties x0, x1 " + strings.Replace(tail, "close", "next P0\n", 1) + list(n, "phase P%d until w at deadline: ", "next LAST") + "close"
		}},
		{"clauses", MaxClauses - 1, func(n int) string {
			return "contract X parties x0, x1 " + tail + list(n, "when x0 says \"w%d\": close", "\n")
		}},
		{"voices", MaxVoices / 2, func(n int) string {
			return "contract X parties x0, x1 " + tail + list(n, "when x0 and x1 say \"w%d\": close", "\n")
		}},
	} {
		t.Run(test.of, func(t *testing.T) {
			for n, want := range map[int]bool{test.most: true, test.most + 1: false} {
				source := test.source(n)
				for i := 1; strings.Contains(source, "LAST"); i++ {
					source = strings.Replace(source, "LAST", fmt.Sprintf("P%d ", i), 1)
				}
				_, err := Compile([]byte(source))
				if (err == nil) != want {
					t.Errorf("%d %s: %v", n, test.of, err)
				}
			}
		})
	}
}

// TestStayingClauses plays clauses that do not leave their phase: a quorum votes anew, an oracle's value counts once.
func TestStayingClauses(t *testing.T) {
	d := mustBind(`
contract Stay
parties a, b
term t : time
pot p = 9 units from a
oracle o in 0..9
phase A until t + 10 days
  when a and b say "pay": give 1 of p to b
  when oracle o each 60 seconds if o > 4: give 1 of p to b
  when oracle o for t if o > 4: give 2 of p to b
  when oracle o for t: give 3 of p to b
  at deadline: close
`, noon+1000)
	s, _, err := d.Open([][]int64{repeat(9, 1)}, noon)
	if err != nil {
		t.Fatal(err)
	}
	word := func(at int64, party int) Event { return Event{Kind: Word, At: noon + at, Party: party, Word: "pay"} }
	value := func(at, observed, v int64) Event {
		return Event{Kind: Oracle, At: noon + at, Observed: noon + observed, Value: v}
	}
	for i, step := range []struct {
		ev    Event
		gives int // -1: refused
	}{
		{word(1, 0), 0}, {word(2, 0), -1}, {word(3, 1), 1},
		{word(4, 1), 0}, {word(5, 1), -1}, {word(6, 0), 1},
		{value(70, 9, 9), -1}, {value(70, 10, 9), 1}, {value(70, 10, 9), -1}, {value(70, 60, 4), 0}, {value(70, 60, 9), -1},
		{value(70, 61, 9), 1}, {value(70, 61, 9), -1},
		{value(2000, 1000, 9), 2}, {value(2000, 1000, 9), -1}, {value(2000, 1000, 1), -1},
	} {
		next, o, err := d.Step(s, step.ev)
		if (err != nil) != (step.gives < 0) || err == nil && len(o.Gives) != step.gives {
			t.Errorf("step %d, %+v: %d gives, %v, want %d", i, step.ev, len(o.Gives), err, step.gives)
		}
		s = next
	}
}

// TestAdmitFollowsTheMachine has cases in which following the statements over intervals goes wrong easily.
func TestAdmitFollowsTheMachine(t *testing.T) {
	head := "contract X\nparties a, b\npot p = 5 units from a\nterm t : time\ncounter c = 0 in 0..9\nphase A until t\n at deadline: close\n"
	for _, test := range []struct {
		name, body string
		most       int64
	}{
		{"a counter that was set before", `when a says "x" with v in 0..5: set c = 3 if v > c then give 1 of p to b end close`, 1},
		{"a later range of the same word", `when a says "x" with v in 0..2: close when a says "x" with v in 4..6: give 2 of p to b close`, 2},
		{"an amount whose formula looks greater than it is", `when a says "x" with v in 0..5 units: give max(5 units, 5 + v + v - 2 * v) of p to b close`, 5},
		{"a pot that was given from before", `when a says "x" with v in 0..5 units: give v of p to b give left(p) of p to b close`, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			report, err := mustBind(head+test.body, noon).Admit([][]int64{repeat(5, 1)}, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if got := report.Payouts[1].Most; got != test.most {
				t.Errorf("b gets %d at most, want %d", got, test.most)
			}
		})
	}
}

// TestAdmitRemembersWhenAPhaseEnds has a counter move that the end of the phase was made of: what was possible until then
// is possible still.
func TestAdmitRemembersWhenAPhaseEnds(t *testing.T) {
	d := mustBind("contract X\nparties a, b\npot p = 5 units from a\nterm t : time\ncounter c = 1 in 0..1\nphase A until t + c * 10 days\n when a says \"x\": set c = 0\n when b says \"y\" if c = 0 and now > t + 5 days: give all of p to b close\n at deadline: close\n", noon)
	report, err := d.Admit([][]int64{{5}}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := report.Payouts[1].Most; got != 5 {
		t.Errorf("b gets %d at most, want 5", got)
	}
	early := mustBind("contract X\nparties a, b\npot p = 5 units from a\nterm t : time\nphase A until t\n when b says \"y\" if now > t: give all of p to b close\n at deadline: close\n", noon)
	if report, err = early.Admit([][]int64{{5}}, Limits{}); err != nil || report.Payouts[1].Most != 0 {
		t.Errorf("after the phase is over b gets %d, %v", report.Payouts[1].Most, err)
	}
}
