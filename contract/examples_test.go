package contract

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sourceOf reads a contract of testdata or of the examples folder.
func sourceOf(t testing.TB, name string) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", "contracts", name+".latchkey"))
	if errors.Is(err, os.ErrNotExist) {
		source, err = os.ReadFile(filepath.Join("..", "examples", name+".latchkey"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// example compiles one of them.
func example(t testing.TB, name string) *Program {
	t.Helper()
	p, err := Compile([]byte(sourceOf(t, name)))
	if err != nil {
		t.Fatalf("compile %s:\n%v", name, err)
	}
	return p
}

func bind(t testing.TB, p *Program, terms ...int64) *Deal {
	t.Helper()
	d, err := p.Bind(terms)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// repeat is n chunks of weight w.
func repeat(n int, w int64) []int64 {
	list := make([]int64, n)
	for i := range list {
		list[i] = w
	}
	return list
}

const (
	noon = 1_800_000_000 // some day
	day  = 24 * 60 * 60
)

// played are the deals that the tests play, by name of the example.
func played(t testing.TB, name string) (*Deal, [][]int64) {
	switch p := example(t, name); name {
	case "pay":
		return bind(t, p, 7), [][]int64{{1, 5, 1}}
	case "swap":
		return bind(t, p, 10, 4), [][]int64{{5, 5}, {2, 2}}
	case "escrow":
		return bind(t, p, 20, 2, noon+day, noon+2*day), [][]int64{{10, 5, 2, 2, 1}, {1, 1}}
	case "cfd":
		return bind(t, p, 10, 5, 1000, noon+day, day), [][]int64{repeat(10, 1), repeat(5, 2)}
	case "inheritance":
		return bind(t, p, 20, 30, 100*day, 10*day), [][]int64{repeat(4, 5)}
	case "loan":
		return bind(t, p, 10, 1, noon+day), [][]int64{repeat(5, 2), repeat(10, 2), {5, 5, 1}}
	case "note":
		return bind(t, p, 600_00, noon+day), [][]int64{{50, 20, 20, 5, 2, 2, 1}}
	case "english":
		return bind(t, p, 3, noon+1000, noon+2000), [][]int64{{1}, repeat(10, 1), {5, 2, 2, 1}, {10}}
	case "sealed":
		return bind(t, p, 2, noon+1000, noon+2000), [][]int64{{1}, repeat(10, 1), {5, 2, 2, 1}}
	case "salary":
		return bind(t, p, noon, 10*day, 100), [][]int64{repeat(20, 5)}
	case "treasury":
		return bind(t, p, 3, noon+day, 1, 5, 0), [][]int64{{5, 5}, {1}, {2, 3}, {}}
	default:
		t.Fatalf("no deal for %s", name)
		return nil, nil
	}
}

func TestAdmitPayouts(t *testing.T) {
	tests := map[string]string{
		"pay": `
money: payer 0..0
money: payee 7..7`,
		"swap": `
left_side: alice 0..0
left_side: bob 10..10
right_side: alice 4..4
right_side: bob 0..0`,
		"escrow": `
payment: buyer 0..20
payment: seller 0..20
costs: buyer 0..2
costs: arbiter 0..2`,
		"cfd": `
bull: long 0..10
bull: short 0..10
bear: long 0..10
bear: short 0..10`,
		"loan": `
loan: lender 0..0
loan: borrower 10..10
collateral: lender 0..20
collateral: borrower 0..20
repayment: lender 0..11
repayment: borrower 0..0`,
		"note": `
p: issuer 5..100
p: holder 0..95`,
		"english": `
lot: seller 0..1
lot: bidder 1 0..1
lot: bidder 2 0..1
lot: bidder 3 0..1
purse 1: seller 0..10
purse 1: bidder 1 0..10
purse 2: seller 0..10
purse 2: bidder 2 0..10
purse 3: seller 0..10
purse 3: bidder 3 0..10`,
		"sealed": `
lot: seller 0..1
lot: bidder 1 0..1
lot: bidder 2 0..1
purse 1: seller 0..10
purse 1: bidder 1 0..10
purse 2: seller 0..10
purse 2: bidder 2 0..10`,
		"salary": `
wages: employer 0..0
wages: worker 100..100`,
		"treasury": `
chest: owner 0..10
chest: shop 0..10
part 1: shop 0..1
part 1: signer 1 0..1
part 2: shop 0..5
part 2: signer 2 0..5
part 3: shop 0..0
part 3: signer 3 0..0`,
		"inheritance": `
wealth: owner 0..20
wealth: ann 0..5
wealth: ben 0..15`,
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			d, weights := played(t, name)
			rep, err := d.Admit(weights, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, pay := range rep.Payouts {
				fmt.Fprintf(&got, "\n%s: %s %d..%d", d.p.pots[pay.Pot].Name, d.p.parties[pay.Party], pay.Least, pay.Most)
			}
			if diff := cmp.Diff(want, got.String()); diff != "" {
				t.Errorf("payouts (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCrowdfundingHolders holds the example to what its comment says of the backers that are explored: 13 within the usual bounds, and the
// most that its role takes within the greatest that a vault lets parties raise them to.
func TestCrowdfundingHolders(t *testing.T) {
	if slow > 1 {
		t.Skip("half a million plays are too slow with the race detector")
	}
	for holders, lim := range map[int]Limits{13: {}, 15: {States: 200_000, Moves: 1_000_000}} {
		terms, weights := []int64{int64(holders), 20, noon}, make([][]int64, holders)
		for i := range weights {
			terms, weights[i] = append(terms, 5), []int64{5}
		}
		if _, err := bind(t, example(t, "crowdfunding"), terms...).Admit(weights, lim); err != nil {
			t.Errorf("%d backers: %v", holders, err)
		}
	}
}
