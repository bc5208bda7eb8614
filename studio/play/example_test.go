package play_test

import (
	"fmt"

	"latchkey/contract"
	"latchkey/studio/play"
)

// offer is a contract that somebody may take, or not.
const offer = `contract Offer
parties maker, taker
term ends : time
pot lot = 5 units from maker
phase Open until ends
  when taker says "take" if left(lot) > 0:
    give all of lot to taker
    close
  when maker says "raise" with n in 1..9: stay
  at deadline: close
`

// session is an instance of it, opened.
func session() (*play.Session, error) {
	p, err := contract.Compile([]byte(offer))
	if err != nil {
		return nil, err
	}
	d, err := p.Bind([]int64{1_800_086_400})
	if err != nil {
		return nil, err
	}
	s := play.New(d, [][]int64{{5}}, 1_800_000_000)
	_, err = s.Do(play.Act{Open: true})
	return s, err
}

func ExampleSession_Choices() {
	s, err := session()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range s.Choices() {
		fmt.Println(c.Text)
	}
	// Output:
	// taker says "take"
	// maker says "raise" with …
	// deadline
}

func ExampleParseAct() {
	s, err := session()
	if err != nil {
		fmt.Println(err)
		return
	}
	a, err := play.ParseAct(s.Deal.Program(), `maker says "raise" with 3`)
	fmt.Println(play.Tell(s.Deal.Program(), a.Event), err)
	_, err = play.ParseAct(s.Deal.Program(), `maker sings`)
	fmt.Println(err)
	// Output:
	// maker says "raise" with 3 <nil>
	// "maker sings": not understood: one says `buyer says "word"`, `oracle price is 5`, `buyer deposits pot`, `deadline`, `nobody does anything`, `at TIME …` or `after DURATION …`
}

func ExampleWay() {
	s, err := session()
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := s.Deal.Admit([][]int64{{5}}, contract.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	most := report.Payouts[1]
	fmt.Println(most.Most, play.Way(s.Deal.Program(), most.MostOpens, most.MostPath))
	// Output:
	// 5 the contract opens, taker says "take"
}

func ExampleSession_Undo() {
	s, err := session()
	if err != nil {
		fmt.Println(err)
		return
	}
	a, err := play.ParseAct(s.Deal.Program(), `taker says "take"`)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := s.Do(a); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Closed(), s.Balance())
	_, undone := s.Undo()
	fmt.Println(undone, s.Closed())
	// Output:
	// true taker 5 of lot
	// true false
}
