package actus

import (
	"encoding/json"
	"testing"
)

// FuzzCase reads, translates, writes and plays whatever comes: nothing panics, and what is written can be played to its end.
func FuzzCase(f *testing.F) {
	seed := func(c Case) {
		b, err := json.Marshal(map[string]Case{"case": c})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seed(Case{Terms: terms(lent + `contractType LAM
cycleOfPrincipalRedemption P3ML0
nextPrincipalRedemptionPayment 3000
cycleOfInterestPayment P3ML0
cycleOfRateReset P6ML0
marketObjectCodeOfRateReset X
calendar MF
businessDayConvention SCMF`), To: "2022-01-01", Data: map[string]Series{"X": observe("2020-01-02", "0.05", "2020-08-01", "-0.01")}})
	seed(Case{Terms: terms(`contractType CEC
contractRole BUY
statusDate 2020-01-01T00:00:00
currency USD
guaranteedExposure NI
contractStructure [{"referenceRole":"COVE","object":{"contractType":"PAM","contractID":"loan","contractRole":"RPA","currency":"USD","initialExchangeDate":"2020-01-02","maturityDate":"2021-01-02","notionalPrincipal":"1000","nominalInterestRate":"0.05","dayCountConvention":"A365"}},{"referenceRole":"COVI","object":{"contractType":"COM","marketObjectCode":"GOLD","quantity":"2"}}]`), To: "2022-01-01",
		Events: []Observed{{Time: "2020-06-01", Type: "CE", ContractID: "loan", States: map[string]Scalar{"contractPerformance": "DF"}}},
		Data:   map[string]Series{"GOLD": observe("2020-05-01", "300")}})
	seed(Case{Terms: terms(`contractType OPTNS
contractRole SEL
statusDate 2020-01-01
currency USD
optionType CP
optionExerciseType E
optionStrike1 100
optionStrike2 90.5
settlementPeriod P1W
purchaseDate 2020-02-01
priceAtPurchaseDate 3
maturityDate 2020-06-30
contractStructure [{"referenceRole":"UDL","object":{"marketObjectCode":"X"}}]`), To: "2022-01-01", Data: map[string]Series{"X": observe("2020-06-30", "81.5")}})
	f.Fuzz(func(t *testing.T, src []byte) {
		cases, err := Read(src)
		if err != nil {
			return
		}
		for _, c := range cases {
			p, err := Translate(c)
			if err != nil {
				continue
			}
			w, err := p.Write(2, 1000)
			if err != nil {
				continue
			}
			if _, err := w.Play(); err != nil {
				t.Errorf("%v\n%s", err, w.Source)
			}
		}
	})
}
