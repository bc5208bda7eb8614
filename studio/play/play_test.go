package play

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"latchkey/contract"
	"latchkey/examples"
)

const loan = `
contract Loan
parties lender, borrower
term debt : units 1..100
term due : time
pot money = debt units from lender
pot pledge = 2 * debt units from borrower
later pot repayment = debt units from borrower
at open: give all of money to borrower
phase Running until due
  when deposit repayment:
    give all of repayment to lender
    close
  at deadline:
    give all of repayment to lender
    give all of pledge to lender
    close
`

const auction = `
contract Sale
parties seller
role bidder 2..3
term commit_by : time
term reveal_by : time
pot lot = 1 units from seller
for each bidder:
  pot purse = 10 units from bidder
  sealed bid in 1..10 units
  counter shown = 0 in 0..10 units
end
phase Commit until commit_by
  when any bidder says "commit" with sealed bid: stay
  at deadline: next Reveal
phase Reveal until reveal_by
  when any bidder says "reveal" with opened bid: set shown = bid
  at deadline:
    for each bidder:
      if shown > 0 and shown = most(bidder: shown) and count(bidder: shown = most(bidder: shown)) = 1 then
        give all of lot to bidder
        give shown of purse to seller
      end
    end
    close
`

func begin(t *testing.T, source string, terms ...int64) *Session {
	t.Helper()
	p, err := contract.Compile([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Bind(terms)
	if err != nil {
		t.Fatal(err)
	}
	return New(d, nil, 1000)
}

// act does lines one after the other; one that begins with ! must be refused.
func act(t *testing.T, s *Session, lines ...string) {
	t.Helper()
	for _, line := range lines {
		text, refused := strings.CutPrefix(line, "!")
		a, err := ParseAct(s.Deal.Program(), text)
		if err == nil {
			_, err = s.Do(a)
		}
		if (err != nil) != refused {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

func TestLaterPot(t *testing.T) {
	s := begin(t, loan, 10, 5000)
	act(t, s, "open")
	if got := s.Got(1, 0); got != 10 {
		t.Errorf("the borrower has %d of the loan, want 10", got)
	}
	act(t, s, "!lender deposits repayment", "!borrower deposits pledge", "borrower deposits 2 chunks of repayment")
	if got := s.Put(1); got != 7 { // 10 is 5, 2, 2, 1
		t.Errorf("the borrower has deposited %d, want 7", got)
	}
	if got := s.Choices(); len(got) != 2 || got[0].Text != "borrower deposits repayment" || got[0].Note != "2 chunks are missing" {
		t.Errorf("choices: %+v", got)
	}
	act(t, s, "borrower deposits repayment")
	if !s.Closed() || s.Got(0, 2) != 10 || s.Got(1, 1) != 20 {
		t.Errorf("repaid: closed %t, %s", s.Closed(), s.Balance())
	}
	act(t, s, "!deadline", "!nobody does anything")
	for range 3 {
		s.Undo()
	}
	if s.Opened() || s.Put(1) != 0 || s.Now() != 1000 {
		t.Errorf("all taken back: opened %t, put %d, now %d", s.Opened(), s.Put(1), s.Now())
	}
}

func TestSealed(t *testing.T) {
	s := begin(t, auction, 2, 2000, 3000)
	act(t, s, "open", `bidder 1 says "commit" with sealed 7`, `bidder 2 says "commit" with 5`, `!bidder 2 says "commit" with 6`, `!bidder 3 says "commit" with 6`,
		"deadline", `!bidder 1 says "reveal" with 6`, `bidder 1 says "reveal" with 7`, `!bidder 1 says "reveal" with 7`, `bidder 2 says "reveal" with 5`, "deadline")
	if want := "seller 7 of purse 1, bidder 1 1 of lot, bidder 1 3 of purse 1, bidder 2 10 of purse 2"; s.Balance() != want {
		t.Errorf("it ends with %s, want %s", s.Balance(), want)
	}
}

// A contract that counts for ages is not waited for.
func TestEndlessSilence(t *testing.T) {
	s := begin(t, `
contract Ages
parties a, b
pot p = 1 units from a
counter c = 0 in 0..9_000_000_000_000
phase Wait until now + 0 days
  at deadline if c < 9_000_000_000_000:
    set c = c + 1
    next Wait
  at deadline: close
`)
	act(t, s, "open", "!nobody does anything", "deadline", "!after 1 hour")
	if s.Closed() || s.Now() != 1000 {
		t.Errorf("closed %t, now %d", s.Closed(), s.Now())
	}
}

// What an act writes is the act that was read.
func TestActsAreRead(t *testing.T) {
	for _, c := range []struct{ source, line string }{
		{loan, "open"}, {loan, "at 2026-03-01 open"}, {loan, "after 2 days 3 hours"}, {loan, "deadline"}, {loan, "nobody does anything"},
		{loan, "borrower deposits repayment"}, {loan, "after 1 hour borrower deposits 2 chunks of repayment"},
		{auction, `bidder 2 says "commit" with sealed 7 units`}, {auction, `at 2026-03-01 17:30 UTC bidder 1 says "reveal" with 7 units`},
	} {
		p, err := contract.Compile([]byte(c.source))
		if err != nil {
			t.Fatal(err)
		}
		a, err := ParseAct(p, c.line)
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		b, err := ParseAct(p, a.String(p))
		if err != nil || !cmp.Equal(a, b) {
			t.Errorf("%s is written %s (%v)", c.line, a.String(p), err)
		}
	}
}

func TestParseActRefuses(t *testing.T) {
	p, err := contract.Compile([]byte(auction))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"", "at", "at dawn open", "after 5 parsecs open", "bidder says \"commit\"", "bidder 9 says \"commit\"", `seller says`, `seller says "x" with`, `seller says "x" 5`,
		`seller says "x" with five`, "seller deposits lot", "seller deposits", "at 2026-03-01 deadline", "oracle gold is 5", `seller says "x`} {
		if a, err := ParseAct(p, line); !errors.Is(err, ErrAct) && err == nil {
			t.Errorf("%q is read as %+v", line, a)
		}
	}
}

// A random player cannot bring a play into disorder: what everybody has got and what
// is left is what was deposited, the machine agrees on what is over, undo goes back
// to what was, and what was done can be done again.
func TestRandomPlays(t *testing.T) {
	sources := []string{loan, auction}
	paths, err := fs.Glob(examples.Files, "*.latchkey")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		src, err := os.ReadFile("../../examples/" + path)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, string(src))
	}
	rapid.Check(t, func(t *rapid.T) {
		p, err := contract.Compile([]byte(rapid.SampledFrom(sources).Draw(t, "contract")))
		if err != nil {
			t.Fatal(err)
		}
		var values []int64
		if q, err := p.For(twos(p)); err == nil {
			p = q
		}
		for i, term := range p.Terms() {
			v := int64(2_000_000_000 + 1000*i)
			if term.Type != contract.Time {
				v = max(term.Lo, min(term.Hi, rapid.Int64Range(1, 50).Draw(t, term.Name)))
			}
			if i < len(p.Roles()) {
				v = 2
			}
			values = append(values, v)
		}
		d, err := p.Bind(values)
		if err != nil {
			t.Skip(err)
		}
		s := New(d, nil, 1_900_000_000)
		type snapshot struct {
			balance string
			now     int64
		}
		past := []snapshot{{s.Balance(), s.Now()}}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			choices := s.Choices()
			if len(choices) == 0 {
				break
			}
			c := rapid.SampledFrom(choices).Draw(t, "choice")
			text := strings.Replace(c.Text, "…", fmt.Sprint(rapid.Int64Range(0, 120).Draw(t, "value")), 1)
			a, err := ParseAct(d.Program(), text)
			if err != nil {
				t.Fatalf("the choice %q cannot be read: %v", text, err)
			}
			if _, err := s.Do(a); err != nil {
				continue
			}
			past = append(past, snapshot{s.Balance(), s.Now()})
		}
		if s.Opened() {
			for pot := range d.Program().Pots() {
				got := int64(0)
				for party := range d.Program().Parties() {
					got += s.Got(party, pot)
				}
				if most := d.PotUnits(pot); got > most || s.Closed() && !d.Program().Pots()[pot].Later && got != most {
					t.Fatalf("of pot %d with %d units %d are given", pot, most, got)
				}
			}
		}
		again := New(d, nil, 1_900_000_000)
		for _, a := range s.Acts() {
			b, err := ParseAct(d.Program(), a.String(d.Program()))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := again.Do(b); err != nil {
				t.Fatalf("%s cannot be done again: %v", a.String(d.Program()), err)
			}
		}
		if again.Balance() != s.Balance() || again.Now() != s.Now() {
			t.Fatalf("done again it is %s, it was %s", again.Balance(), s.Balance())
		}
		for _, want := range slices.Backward(past) {
			if got := (snapshot{s.Balance(), s.Now()}); got != want {
				t.Fatalf("taken back it is %+v, it was %+v", got, want)
			}
			s.Undo()
		}
	})
}

func twos(p *contract.Program) (list []int64) {
	for range p.Roles() {
		list = append(list, 2)
	}
	return list
}

func ExampleSession_Do() {
	p, err := contract.Compile([]byte(loan))
	if err != nil {
		fmt.Println(err)
		return
	}
	d, err := p.Bind([]int64{10, 5000})
	if err != nil {
		fmt.Println(err)
		return
	}
	s := New(d, nil, 1000)
	for _, line := range []string{"open", "borrower deposits repayment"} {
		a, err := ParseAct(p, line)
		if err != nil {
			fmt.Println(err)
			return
		}
		if _, err := s.Do(a); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(s.Balance())
	// Output: lender 10 of repayment, borrower 10 of money, borrower 20 of pledge
}

// TestTellWritesValuesOnce has values of all types written as sources write them, once, also of one that is some seconds old.
func TestTellWritesValuesOnce(t *testing.T) {
	p, err := contract.Compile([]byte(`contract Quote
parties ann, ben
pot stake = 1 units from ann
oracle price in -9.00..10_000.00
oracle tally in 0..1_000_000
phase Open until now + 1 days
  when ann says "ask" with ask in 0.01..50.00: stay
  when ben says "wait" with n in 1 days .. 9 days: stay
  when oracle price each 60 seconds: close
  when oracle tally each 60 seconds: close
  at deadline: close
`))
	if err != nil {
		t.Fatal(err)
	}
	for want, ev := range map[string]contract.Event{
		"oracle price is 1.00":                {Kind: contract.Oracle, Value: 100},
		"oracle price is -0.05":               {Kind: contract.Oracle, Value: -5},
		"oracle tally, 61 seconds old, is 5":  {Kind: contract.Oracle, Oracle: 1, Value: 5, At: 100, Observed: 39},
		"oracle tally is 12_345":              {Kind: contract.Oracle, Oracle: 1, Value: 12_345},
		`ann says "ask" with 0.50`:            {Kind: contract.Word, Word: "ask", HasValue: true, Value: 50},
		`ben says "wait" with 1 day 12 hours`: {Kind: contract.Word, Party: 1, Word: "wait", HasValue: true, Value: 129_600},
	} {
		if got := Tell(p, ev); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestStepsSayWhen checks that a way says when the contract opens, and when its words are said, where something depends on it.
func TestStepsSayWhen(t *testing.T) {
	p, err := contract.Compile([]byte("contract T\nparties a, b\nterm t : time\npot p = 10 units from a\npot q = 1 units from a\n" +
		"at open: if now > t then give all of p to b end\nphase A until t + 10 days when b says \"take\" if now > t + 1 days: give all of q to b close at deadline: close\n"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Bind([]int64{1_800_000_000})
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Admit([][]int64{{10}, {1}}, contract.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[int][]string{
		0: {"the contract opens at 2027-01-15 08:00:01 UTC", "the deadline passes"},
		1: {"b says \"take\" at 2027-01-16 08:00:01 UTC"},
	}
	for _, pay := range r.Payouts {
		if got := Steps(p, pay.MostOpens, pay.MostPath); pay.Party == 1 && !slices.Equal(got, want[pay.Pot]) {
			t.Errorf("pot %d: %q, want %q", pay.Pot, got, want[pay.Pot])
		}
		if got, want := Way(p, pay.LeastOpens, pay.LeastPath), "the contract opens, "; pay.Party == 1 && !strings.HasPrefix(got, want) {
			t.Errorf("pot %d: %q, want it to begin with %q", pay.Pot, got, want)
		}
	}
}
