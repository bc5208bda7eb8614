package explain

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/contract"
	"latchkey/examples"
	"latchkey/studio/play"
	"latchkey/studio/scenario"
	"latchkey/studio/syntax"
)

var update = flag.Bool("update", false, "write testdata anew: read it, as a lawyer and as a beginner would")

// more are contracts with what the examples do not have.
func more(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("../../contract/testdata/more.latchkey")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, src := range strings.Split(string(raw), "\n---\n") {
		if p, err := contract.Compile([]byte(src)); err == nil {
			all[strings.ToLower(p.Name())] = src
		}
	}
	return all
}

// explained returns the explanation of a contract, with terms from its scenarios, or made up.
func explained(t *testing.T, src, scenarios string) string {
	t.Helper()
	p, err := contract.Compile([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	settings, example := scenario.Settings{}, scenarios == ""
	if example {
		var ok bool
		if settings, ok = scenario.Example(p); !ok {
			t.Fatal("no terms are found that the contract accepts")
		}
	} else {
		f, err := scenario.Parse([]byte(scenarios))
		if err != nil {
			t.Fatal(err)
		}
		settings = f.Settings
	}
	d, weights, err := settings.Bind(p)
	if err != nil {
		t.Fatal(err)
	}
	text, err := Contract([]byte(src), p, play.New(d, weights, settings.Begin(p)), settings.String(p), example)
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// The explanations of the examples, and of contracts with all that the language has,
// are files to be read. What every explanation has to have is looked for in each.
func TestGolden(t *testing.T) {
	golden := func(t *testing.T, name, got string) {
		path := filepath.Join("testdata", name+".txt")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	for _, name := range []string{"cfd", "escrow", "inheritance", "pay", "swap"} {
		t.Run(name, func(t *testing.T) {
			src, err := examples.Files.ReadFile(name + ".latchkey")
			if err != nil {
				t.Fatal(err)
			}
			tests, err := examples.Files.ReadFile(name + ".scenario")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, explained(t, string(src), string(tests)))
		})
	}
	for name, src := range more(t) {
		switch name {
		case "loan", "note", "english", "sealed", "treasury", "salary":
			t.Run(name, func(t *testing.T) { golden(t, name, explained(t, src, "")) })
		}
	}
}

// Every contract that compiles is explained: each phase, each party, each word that
// can be said stands in the text, and no piece of source shines through.
func TestEveryContractIsExplained(t *testing.T) {
	sources := more(t)
	paths, err := fs.Glob(examples.Files, "*.latchkey")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		src, err := examples.Files.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sources[path] = string(src)
	}
	for name, src := range sources {
		p, err := contract.Compile([]byte(src))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, err := Contract([]byte(src), p, nil, "", false)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		flat := strings.Join(strings.Fields(text.String()), " ")
		f, err := syntax.Parse([]byte(src))
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, party := range f.Parties {
			want = append(want, party.Text)
		}
		for _, d := range f.Decls {
			if d.Kind != "require" {
				want = append(want, d.Name.Text)
			}
		}
		for _, ph := range f.Phases {
			want = append(want, ph.Name.Text)
			for _, c := range ph.Clauses {
				want = append(want, c.Word.Text, c.Value.Text)
			}
		}
		for _, w := range want {
			if !strings.Contains(flat, w) {
				t.Errorf("%s: %q is not in the explanation", name, w)
			}
		}
		for _, bad := range []string{"share(", "min(", "max(", "left(", "filled(", " .. ", "; ;", ": .", ": ;", "  ", "‘’"} {
			if strings.Contains(flat, bad) {
				t.Errorf("%s: %q is in the explanation:\n%s", name, bad, text)
			}
		}
		if _, err := Diagram([]byte(src)); err != nil {
			t.Errorf("%s: diagram: %v", name, err)
		}
		// Hovering works at every token, with and without a program.
		for _, tok := range f.Tokens {
			About([]byte(src), p, tok.Line, tok.Col)
			About([]byte(src), nil, tok.Line, tok.Col)
		}
	}
}

// Gains are what the machine says: an escrow whose arbiter's fee goes back if it is
// silent has an arbiter with no reason to be.
// TestWhatALawyerAsks has what could be read in two ways: whether a way goes on after a branch that ends, or a second
// deadline beside the first; how many hold a role of one size; what rounding does; which values of an oracle count.
func TestWhatALawyerAsks(t *testing.T) {
	src := `contract Lawyer
parties a, b
role c 3..3
term t : time
pot p = 9 units from a
pot q = 9 units from b
oracle o in 1..9
counter n = 0 in 0..3
phase A until t
  when a says "x" if n < 3:
    give n * 1 units of p to b
    set n = n + 1
    if n = 3 then close end
    if n = 2 then stay end
    next A
  when oracle o each 1 days: stay
  at deadline if n = 0:
    close
  at deadline:
    close
`
	p, err := contract.Compile([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	text, err := Contract([]byte(src), p, nil, "", false)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(text.String()), " ")
	for _, want := range []string{
		"An agreement between a, b and 3 parties that each are a c.",
		"c: how many parties are a c, and who, 3.",
		"An amount is given in whole chunks, which may come to less; the rest stays in the pot. Quotients are rounded toward zero.",
		"Where any value of some age will do, it has to be newer than the one before.",
		"- if ‘n’ is 3: the agreement ends; what is then in the pots goes back, p to a and q to b. - otherwise, if ‘n’ is 2: the phase goes on. - then phase A begins anew.",
		"- At ‘t’, if ‘n’ is 0: the agreement ends; what is then in the pots goes back, p to a and q to b. - At ‘t’, otherwise: the agreement ends",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

func TestGains(t *testing.T) {
	const src = `
contract Toll
parties payer, keeper
term n : units 1..10
term by : time
pot p = n from payer
phase Wait until by
  when payer says "pass":
    give n / 2 of p to keeper
    close
  when keeper says "free": close
  at deadline:
    give all of p to keeper
    close
`
	p, err := contract.Compile([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Bind([]int64{10, 2_000_000_000})
	if err != nil {
		t.Fatal(err)
	}
	got, whole := Gains(play.New(d, nil, 1_900_000_000))
	want := []Gain{{Phase: "Wait", Party: "keeper", Act: `keeper says "free"`, Silent: 10, Spoken: 0}}
	if diff := cmp.Diff(want, got); diff != "" || !whole {
		t.Errorf("gains (-want +got):\n%s", diff)
	}
}

// TestGainsOfLaterStates has what somebody gains only in a state that a phase comes to later: when a counter stands at
// its last value, when a bid is sealed, when others have paid.
func TestGainsOfLaterStates(t *testing.T) {
	for name, want := range map[string][]Gain{
		"note":           {{Phase: "Watching", Party: "investor", Oracle: true, Act: "price = 0.00", Silent: 100, Spoken: 0}},
		"auction-sealed": {{Phase: "Show", Party: "bidder 1", Act: `bidder 1 says "show" with 8`, Silent: 10, Spoken: 5}},
		"crowdfunding":   {{Phase: "Pledging", Party: "backer 3", Act: "backer 3 deposits pledge 3", Silent: 0, Spoken: -5}},
	} {
		src, err := examples.Files.ReadFile(name + ".latchkey")
		if err != nil {
			t.Fatal(err)
		}
		scenarios, err := examples.Files.ReadFile(name + ".scenario")
		if err != nil {
			t.Fatal(err)
		}
		p, err := contract.Compile(src)
		if err != nil {
			t.Fatal(err)
		}
		f, err := scenario.Parse(scenarios)
		if err != nil {
			t.Fatal(err)
		}
		d, weights, err := f.Settings.Bind(p)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := Gains(play.New(d, weights, f.Settings.Begin(p)))
		for _, g := range want {
			if !slices.Contains(got, g) {
				t.Errorf("%s: %+v is not among %+v", name, g, got)
			}
		}
	}
}

func TestAbout(t *testing.T) {
	src, err := examples.Files.ReadFile("escrow.latchkey")
	if err != nil {
		t.Fatal(err)
	}
	p, err := contract.Compile(src)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(src), "\n")
	at := func(line, word string) (int, int) {
		for i, l := range lines {
			if strings.Contains(l, line) {
				return i + 1, strings.Index(l, line) + strings.Index(line, word) + 1
			}
		}
		t.Fatalf("no line has %q", line)
		return 0, 0
	}
	for _, c := range []struct{ line, word, want string }{
		{"parties buyer", "buyer", "buyer:\n- in phase Open, until ‘ship_by’: say \"release\" or say \"dispute\"."},
		{"term price", "price", "Term price: an amount, 1 to 1000 units, agreed on before the contract opens."},
		{"pot costs", "costs", "buyer deposits ‘fee’ units into the pot costs."},
		{"next Dispute", "Dispute", "Phase Dispute, until ‘judge_by’:\n- arbiter may say"},
		{"when arbiter", "when", "arbiter may say \"award\", naming ‘percent’ from 0 to 100. Then seller receives ‘percent’ percent of payment,"},
		{"percent, 100", "percent", "‘percent’: the value that comes with \"award\", from 0 to 100."},
		{"share(payment", "share", "`share(amount, numerator, denominator)`"},
		{"at deadline: next", "deadline", "If nothing of this has ended the phase by then: phase Dispute begins."},
	} {
		line, col := at(c.line, c.word)
		got, tok, ok := About(src, p, line, col)
		if !ok || tok.Text != c.word || !strings.HasPrefix(got, c.want) {
			t.Errorf("about %q in %q: %q (%q), want %q", c.word, c.line, got, tok.Text, c.want)
		}
	}
	if _, _, ok := About(src, p, 1, 5); ok {
		t.Error("there is something to say about a comment")
	}
	if _, _, ok := About([]byte("contract"), nil, 1, 1); ok {
		t.Error("there is something to say about a text that is no contract")
	}
}

func ExampleContract() {
	src := []byte("contract Pay\nparties payer, payee\nterm amount : units 1..10\npot money = amount from payer\nat open:\n  give all of money to payee\n  close\n")
	p, err := contract.Compile(src)
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := Contract(src, p, nil, "", false)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(text)
	// Output:
	// Pay
	// ===
	//
	// An agreement between payer and payee.
	//
	// What is deposited
	//   - payer deposits ‘amount’ units into the pot money.
	//   - What is not given to somebody else goes back to who deposited it.
	//
	// What has to be agreed on first
	//   - amount: an amount, 1 to 10 units.
	//
	// As soon as it opens
	//   - payee receives all of money, and the agreement ends.
	//
	// What each party can do
	//   - payer: nothing; it only receives or gets back.
	//   - payee: nothing; it only receives or gets back.
}
