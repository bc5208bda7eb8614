package scenario_test

import (
	"fmt"

	"latchkey/contract"
	"latchkey/studio/scenario"
)

func ExampleSettings_Bind() {
	p, err := contract.Compile([]byte("contract Pay parties payer, payee term amount : units 1..10 pot money = amount from payer at open: give all of money to payee close"))
	if err != nil {
		fmt.Println(err)
		return
	}
	var s scenario.Settings
	s.SetTerm("amount", "7")
	s.SetChunks("money", "5 2")
	d, weights, err := s.Bind(p)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(d.PotUnits(0), weights)
	s.SetTerm("amount", "70")
	_, _, err = s.Bind(p)
	fmt.Println(err)
	// Output:
	// 7 [[5 2]]
	// terms cannot be used: amount is 70 units, outside 1 to 10 units
}

func ExampleExample() {
	p, err := contract.Compile([]byte("contract Pay parties payer, payee term amount : units 1..10 pot money = amount from payer at open: give all of money to payee close"))
	if err != nil {
		fmt.Println(err)
		return
	}
	s, ok := scenario.Example(p)
	fmt.Println(s.String(p), ok)
	// Output:
	// amount = 10 units true
}

func ExampleParse() {
	f, err := scenario.Parse([]byte("term amount = 7\nscenario paid\n  open -> closed\n  expect payee has 7 of money\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(f.Scenarios), f.Scenarios[0].Name)
	// Output:
	// 1 paid
}
