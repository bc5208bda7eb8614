package syntax_test

import (
	"fmt"

	"latchkey/studio/syntax"
)

func ExampleParse() {
	f, err := syntax.Parse([]byte("contract Pay parties payer, payee pot money = 5 units from payer at open: give all of money to payee close"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.Name.Text, f.Parties[1].Text, f.Decls[0].Kind, len(f.Open.Body))
	// Output:
	// Pay payee pot 2
}

func ExampleScan() {
	tokens, err := syntax.Scan([]byte("give 1_000 of money # all"))
	for _, t := range tokens[:len(tokens)-1] { // the last one is the end
		fmt.Printf("%d:%d %s %q\n", t.Line, t.Col, t.Text, t.Trail)
	}
	fmt.Println(err)
	// Output:
	// 1:1 give ""
	// 1:6 1_000 ""
	// 1:12 of ""
	// 1:15 money "# all"
	// <nil>
}

func ExampleReserved() {
	fmt.Println(syntax.Reserved("give"), syntax.Reserved("money"))
	// Output:
	// true false
}
