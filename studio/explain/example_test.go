package explain_test

import (
	"fmt"

	"latchkey/contract"
	"latchkey/studio/explain"
	"latchkey/studio/play"
)

// late is a contract in which one party had rather the other paid late.
const late = `contract Late
parties buyer, seller
term ends : time
pot stake = 5 units from buyer
later pot price = 3 units from buyer
phase Open until ends
  when deposit price:
    give all of price to seller
    close
  at deadline:
    give all of stake to seller
    close
`

func ExampleGains() {
	p, err := contract.Compile([]byte(late))
	if err != nil {
		fmt.Println(err)
		return
	}
	d, err := p.Bind([]int64{1_800_086_400})
	if err != nil {
		fmt.Println(err)
		return
	}
	gains, whole := explain.Gains(play.New(d, [][]int64{{5}, {3}}, 1_800_000_000))
	for _, g := range gains {
		fmt.Println(g)
	}
	fmt.Println(whole)
	// Output:
	// In phase Open, seller has a reason not to acknowledge a deposit: it ends up with 5 units if nothing counts, and with 3 if buyer deposits price.
	// true
}

func ExampleAbout() {
	p, err := contract.Compile([]byte(late))
	if err != nil {
		fmt.Println(err)
		return
	}
	text, at, ok := explain.About([]byte(late), p, 4, 5)
	fmt.Println(at.Text, ok)
	fmt.Println(text)
	// Output:
	// stake true
	// buyer deposits 5 units into the pot stake.
}

func ExampleDiagram() {
	c, err := explain.Diagram([]byte(late))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, b := range c.Boxes {
		fmt.Printf("%+v\n", b)
	}
	// Output:
	// {Title:Open Note:until ‘ends’ Steps:[{Text:buyer may deposit all that price is missing: seller receives all of price To:[] Ends:true} {Text:deadline: seller receives all of stake To:[] Ends:true}]}
}

func ExampleSymbols() {
	for _, s := range explain.Symbols([]byte(late)) {
		fmt.Println(s.Kind, s.Name, s.At.Line)
	}
	// Output:
	// term ends 3
	// pot stake 4
	// pot price 5
	// phase Open 6
	// clause deposit price 7
	// clause deadline 10
}
