package actus_test

import (
	"fmt"
	"time"

	"latchkey/actus"
	"latchkey/contract"
)

const file = `{"mine": {
	"identifier": "mine",
	"to": "2027-01-01T00:00:00",
	"terms": {"contractType": "OPTNS", "contractRole": "BUY", "currency": "USD", "statusDate": "2026-01-01T00:00:00",
		"purchaseDate": "2026-01-02T00:00:00", "priceAtPurchaseDate": "7", "maturityDate": "2026-06-30T00:00:00", "settlementPeriod": "P2D",
		"optionType": "C", "optionExerciseType": "E", "optionStrike1": "80",
		"contractStructure": [{"object": {"marketObjectCode": "OIL"}, "referenceType": "MOC", "referenceRole": "UDL"}]},
	"dataObserved": {"OIL": {"data": [{"timestamp": "2026-06-30T00:00:00", "value": "91.25"}]}}
}}`

// A call that is bought for 7 and pays 11.25.
func Example() {
	cases, err := actus.Read([]byte(file))
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := actus.Translate(cases["mine"])
	if err != nil {
		fmt.Println(err)
		return
	}
	written, err := plan.Write(2, 1000)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(written.Source)
	if _, err := written.Deal.Admit(written.Weights, contract.Limits{}); err != nil {
		fmt.Println(err)
	}
	paid, err := written.Play()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range paid {
		fmt.Println(p.At.Format(time.DateOnly), p.Units, "units of", p.Currency)
	}
	// Output:
	// contract ActusOPTNS
	// parties keeper, other
	// term start : time
	// term currency1 : asset # USD
	// pot p1 = 7 units of currency1 from keeper
	// oracle o1 in 0..100000 # OIL
	// pot p2 = 920 units of currency1 from other
	// counter d1 = 0 in 0 units..920 units
	// phase Step1 until start + 1 days
	//   at deadline:
	//     give 7 units of p1 to other
	//     next Step2
	// phase Step2 until start + 180 days + 1 days
	//   when oracle o1 for start + 180 days:
	//     set d1 = max(0 units, min(920 units, share(1 units, max(0, (o1 - 8000)), 100)))
	//     next Step3
	//   at deadline: close
	// phase Step3 until start + 182 days
	//   at deadline:
	//     give min(left(p2), max(0 units, d1)) of p2 to keeper
	//     close
	// 2026-01-02 -7 units of USD
	// 2026-07-02 11 units of USD
}
