package contract_test

import (
	"fmt"

	"latchkey/contract"
)

// rent is a contract that may pay nothing: half of one chunk.
const rent = `contract Rent
parties tenant, owner
term ends : time
pot deposit_money = 4 units from tenant
phase Let until ends
  when owner says "damage" with percent in 0..100:
    give share(deposit_money, percent, 100) of deposit_money to owner
    close
  at deadline: close
`

func ExampleProgram_Warnings() {
	p, err := contract.Compile([]byte(rent))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range p.Warnings() {
		fmt.Println(w)
	}
	// Output:
	// line 7, column 5: warning: this amount can come out as nothing; see in the exploration what the chunks make of it
}

func ExampleProgram_Describe() {
	p, err := contract.Compile([]byte(rent))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Describe(contract.Event{Kind: contract.Word, Party: 1, Word: "damage", HasValue: true, Value: 30}))
	// Output:
	// owner says "damage" with 30
}

func ExampleDeal_LastDeadline() {
	p, err := contract.Compile([]byte(rent))
	if err != nil {
		fmt.Println(err)
		return
	}
	d, err := p.Bind([]int64{1_800_086_400})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(d.LastDeadline(1_800_000_000))
	// Output:
	// 1800086400
}

func ExampleDeal_Words() {
	p, err := contract.Compile([]byte(rent))
	if err != nil {
		fmt.Println(err)
		return
	}
	d, err := p.Bind([]int64{1_800_086_400})
	if err != nil {
		fmt.Println(err)
		return
	}
	s, _, err := d.Open([][]int64{{2, 1, 1}}, 1_800_000_000)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range d.Words(s) {
		fmt.Println(w.Word, w.Parties, w.Lo, w.Hi)
	}
	// Output:
	// damage [1] 0 100
}
