package contract

import "testing"

// TestDescribeWritesMoney has events written as sources write their values.
func TestDescribeWritesMoney(t *testing.T) {
	p, err := Compile([]byte(`contract Quote
parties ann, ben
pot money = 1 units from ann
oracle price in 0.01..100.00
oracle tally in 0..9
phase Open until now + 1 days
  when ann says "ask" with ask in 0.01..50.00: stay
  when ben says "take" with n in 1..9: close
  when oracle price each 60 seconds: close
  when oracle tally each 60 seconds: close
  at deadline: close
`))
	if err != nil {
		t.Fatal(err)
	}
	for want, ev := range map[string]Event{
		"oracle price is 12.05":              {Kind: Oracle, Value: 1205},
		"oracle tally is 5":                  {Kind: Oracle, Oracle: 1, Value: 5},
		"oracle tally, 61 seconds old, is 5": {Kind: Oracle, Oracle: 1, Value: 5, At: 100, Observed: 39},
		`ann says "ask" with 0.50`:           {Kind: Word, Word: "ask", HasValue: true, Value: 50},
		`ben says "take" with 9`:             {Kind: Word, Party: 1, Word: "take", HasValue: true, Value: 9},
		`ben says "nothing" with 50`:         {Kind: Word, Party: 1, Word: "nothing", HasValue: true, Value: 50},
	} {
		if got := p.Describe(ev); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
