package scenario

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/contract"
	"latchkey/examples"
	"latchkey/studio/play"
)

// Every example has scenarios, and they come out.
func TestExamples(t *testing.T) {
	paths, err := fs.Glob(examples.Files, "*.latchkey")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d examples, %v", len(paths), err)
	}
	for _, path := range paths {
		src, err := examples.Files.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		p, err := contract.Compile(src)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		text, err := examples.Files.ReadFile(strings.TrimSuffix(path, ".latchkey") + ".scenario")
		if err != nil {
			t.Errorf("%s has no scenarios: %v", path, err)
			continue
		}
		f, err := Parse(text)
		if err != nil {
			t.Errorf("%s: scenarios: %v", path, err)
			continue
		}
		for _, failure := range f.Run(p) {
			t.Errorf("%s: scenarios: %v", path, failure)
		}
		deal, weights, err := f.Settings.Bind(p)
		if err != nil {
			t.Errorf("%s: the terms at the head of the scenarios are not whole: %v", path, err)
			continue
		}
		// A vault takes it, within the bounds that hold where the parties raise none.
		if _, err := deal.Admit(play.New(deal, weights, 0).Weights, contract.Limits{}); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

const escrow = `
contract Small
parties buyer, seller, arbiter
term price : units 1..100
term ship_by : time
pot payment = price units from buyer
phase Open until ship_by
  when buyer says "release":
    give all of payment to seller
    close
  when arbiter says "award" with percent in 0..100:
    give share(payment, percent, 100) of payment to seller
    close
  at deadline: close
`

// Every line that does not come out says so, with its number and what is true.
func TestFailures(t *testing.T) {
	p, err := contract.Compile([]byte(escrow))
	if err != nil {
		t.Fatal(err)
	}
	const head = "term price = 10\nterm ship_by = 2026-03-01\n"
	tests := []struct{ steps, want string }{
		{"open\nbuyer says \"release\"\nexpect seller has 10 of payment", ""},
		{"open\nbuyer says \"release\"\nexpect seller has 9 of payment", `line 6, scenario "x": seller has 10 of payment, expected 9`},
		{"open\nseller says \"release\"", `line 5, scenario "x": event refused: "release" by seller: this party has no such word in this phase`},
		{"open\nseller says \"release\" -> refused: no such word", ""},
		{"open\nseller says \"release\" -> refused: too late", `it is refused, but not for "too late"`},
		{"open\nseller says \"release\" -> refused", "say why it is refused"},
		{"open\nbuyer says \"release\" -> refused: no", "it is not refused; the contract is over: seller 10 of payment"},
		{"open\nbuyer says \"release\" -> open", "expected open; the contract is over"},
		{"open\nexpect closed", "expected closed; the contract stands in phase Open"},
		{"open\nexpect phase Shut", "Shut is no phase of this contract; it has Open"},
		{"open\nexpect deadline 2026-03-02", "the deadline is 2026-03-01"},
		{"open\nexpect buyer cannot say \"release\"", `buyer can say "release" now`},
		{"open\nexpect seller can say \"release\"", `seller cannot say "release" now`},
		{"open\nexpect bob has 5 of payment", "bob is no party of this contract; its parties are buyer, seller and arbiter"},
		{"open\nexpect buyer has 5 of pay", "pay is no pot of this contract; it has payment"},
		{"open\nexpect the best", `"the best" is no expectation`},
		{"open\nbob says \"release\"", `"bob" is no party of this contract`},
		{"open\nbuyer says release", "the word stands in"},
		{"open\nbuyer says \"release", "a word ends with another"},
		{"open\noracle price is 5", "this contract has no oracle"},
		{"open\nat 2025-01-01 buyer says \"release\"", "time runs forward"},
		{"buyer says \"release\"", "not open yet"},
		{"open\nopen", "open already"},
		{"open\ndance", `"dance": not understood`},
		{"at noon open", "a time is written"},
		{"open\nat 2026-03-02 buyer says \"release\"", "the contract is closed: its last deadline passed on 2026-03-01"},
		{"open\nnobody does anything -> closed\nexpect buyer has 10 of payment\nexpect seller has nothing", ""},
		{"term price = 0\nopen", "price is 0 units, outside 1 to 100 units"},
		{"term price = 0\nopen -> refused: outside 1 to 100", ""},
		{"term price = 0\nopen -> refused: outside\nbuyer says \"release\"", "the contract did not open"},
		{"term prize = 5\nopen", "prize is no term of Small; its terms are price and ship_by"},
		{"term price = ten\nopen", "an amount is a whole number of units"},
		{"chunks payment = 5 4\nopen", "weigh 9 units together, the pot holds 10 units"},
		{"chunks payment = 5 x\nopen", `"x" is no weight of a chunk`},
		{"chunks purse = 5\nopen", "purse is no pot"},
		{"always seller gets 0..10 of payment", ""},
		{"always seller gets 1..10 of payment", `seller can end up with 0 of payment: the contract opens, the deadline passes`},
		{"always seller gets 0..9 of payment", `seller can end up with 10 of payment: the contract opens, buyer says "release"`},
		{"always seller wins", "write `always seller gets 0..20 of payment`"},
		{"always seller gets 5..1 of payment", "is no range"},
		{"", "nothing happens here"},
	}
	for _, c := range tests {
		f, err := Parse([]byte(head + "scenario x\n" + c.steps))
		if err != nil {
			t.Errorf("%q: %v", c.steps, err)
			continue
		}
		var got []string
		for _, failure := range f.Run(p) {
			got = append(got, failure.Error())
		}
		if all := strings.Join(got, "\n"); (c.want == "") != (all == "") || !strings.Contains(all, c.want) {
			t.Errorf("%q: %q, want %q", c.steps, all, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for src, want := range map[string]string{
		"open":                                  "line 1: `open` stands before the first scenario, where only term, chunks and always may stand",
		"open\n\x1b[31mred":                     "line 1: `open` stands before the first scenario, where only term, chunks and always may stand",
		"term a = 5\n\x1b[31mred":               "line 2: this line holds an invisible or broken character",
		"term a = \xff":                         "line 1: this line holds an invisible or broken character",
		"scenario":                              "line 1: a scenario has a name: `scenario the goods arrive`",
		"term price 5":                          "line 1: write `term price = 20`, or `chunks payment = 10 5 5`",
		"scenario x\nopen\nterm price = 5":      "line 3, scenario \"x\": terms and chunks are set before the first step",
		strings.Repeat("#", MaxFile) + "\nopen": "a scenario file has at most 1048576 bytes",
	} {
		_, err := Parse([]byte(src))
		if err == nil || err.Error() != want {
			t.Errorf("Parse(%.30q): %v, want %s", src, err, want)
		}
	}
}

func TestMissingTerms(t *testing.T) {
	p, err := contract.Compile([]byte(escrow))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Settings{}.Bind(p)
	want := "terms cannot be used: these terms have no value: price (1 to 100 units) and ship_by (any time)"
	if err == nil || cmp.Diff(want, err.Error()) != "" {
		t.Errorf("Bind of nothing: %v, want %s", err, want)
	}
}

func FuzzParse(f *testing.F) {
	p, err := contract.Compile([]byte(escrow))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("term price = 5\nterm ship_by = 5\nscenario x\nat 0 open\nbuyer says \"release\" -> closed\n"))
	f.Add([]byte("scenario x\nafter 1 day at 5 open -> refused: -> #"))
	f.Fuzz(func(t *testing.T, src []byte) {
		if file, err := Parse(src); err == nil {
			file.Run(p)
		}
	})
}

func ExampleFile_Run() {
	p, err := contract.Compile([]byte(escrow))
	if err != nil {
		fmt.Println(err)
		return
	}
	f, err := Parse([]byte(`
term price = 10
term ship_by = 2026-03-01
scenario the buyer pays
  open
  seller says "release" -> refused: no such word
  buyer says "release" -> closed
  expect seller has 9 of payment
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, failure := range f.Run(p) {
		fmt.Println(failure)
	}
	// Output: line 8, scenario "the buyer pays": seller has 10 of payment, expected 9
}
