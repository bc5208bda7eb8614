package figures_test

import (
	"fmt"

	"latchkey/contract"
	"latchkey/studio/figures"
)

func ExampleParse() {
	fmt.Println(figures.Parse(contract.Money, "12.50"))
	fmt.Println(figures.Parse(contract.Units, "1_000"))
	_, err := figures.Parse(contract.Duration, "soon")
	fmt.Println(err)
	// Output:
	// 1250 <nil>
	// 1000 <nil>
	// "soon": not understood: a duration is written "30 days", "1 day 12 hours", or in seconds
}

func ExampleParseTime() {
	fmt.Println(figures.ParseTime("2026-03-01T17:30:00+02:00"))
	// Output:
	// 1772379000 <nil>
}

func ExampleParseDuration() {
	fmt.Println(figures.ParseDuration("1 day 12 hours"))
	// Output:
	// 129600 <nil>
}

func ExampleRange() {
	fmt.Println(figures.Range(contract.Term{Name: "price", Type: contract.Money, Lo: 100, Hi: 1_000_000}))
	// Output:
	// 1.00 to 10_000.00
}

func ExampleList() {
	fmt.Println(figures.List([]string{"ann", "ben", "carl"}, "or"))
	// Output:
	// ann, ben or carl
}
