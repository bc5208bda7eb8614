package actus

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/contract"
)

// folder returns the ACTUS tests, which are no part of the project; without them there is nothing to compare with.
func folder(t *testing.T) []string {
	t.Helper()
	for _, up := range []string{"../../shared/actus", "../../../shared/actus"} {
		if paths, err := filepath.Glob(up + "/*.json"); err == nil && len(paths) > 0 {
			return paths
		}
	}
	t.Skip("the ACTUS tests are not beside the project")
	return nil
}

// counted is what became of the cases of the four files that the project was written against: how many are played, and why others are not.
var counted = map[string]map[string]int{
	"actus-tests-cec.json":   {"played": 15},
	"actus-tests-futur.json": {"played": 14},
	"actus-tests-fxout.json": {"played": 12},
	"actus-tests-optns.json": {"played": 23},
}

// TestCases plays every case of every file that is there: all payments, on their days and in their currencies, come out as expected to
// one unit, once at a scale of up to six digits and once at one that is coarse enough to be explored. A case is left out with a
// reason, or it has to come out.
func TestCases(t *testing.T) {
	for _, path := range folder(t) {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		cases, err := Read(src)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		got := make(map[string]int)
		for _, name := range slices.Sorted(maps.Keys(cases)) {
			t.Run(name, func(t *testing.T) {
				p, err := Translate(cases[name])
				if err == nil {
					err = compare(t, cases[name], p)
				}
				switch {
				case errors.Is(err, ErrLeftOut), errors.Is(err, ErrTooMuch):
					got[err.Error()]++
					t.Log(err)
				case err != nil:
					t.Error(err)
				default:
					got["played"]++
				}
			})
		}
		if want, ok := counted[filepath.Base(path)]; !ok {
			t.Logf("%s: %v", path, got)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

// compare plays a plan at two scales, the second as fine as a vault explores at most.
func compare(t *testing.T, c Case, p *Plan) error {
	t.Helper()
	fine, err := p.Write(6, 1_000_000_000_000)
	if err != nil {
		return err
	}
	agree(t, c, fine)
	coarse, rep, err := p.Explore(2, 1000, contract.Limits{States: 200_000, Moves: 1_000_000})
	if err != nil {
		return err
	}
	agree(t, c, coarse)
	t.Logf("%+v, off by %.2f: %d states, %d moves", coarse.Scale, coarse.Off, rep.States, rep.Moves)
	return nil
}

// agree holds what a play pays to what a case expects: to a unit for each event, and what rounding may do before.
func agree(t *testing.T, c Case, w *Written) {
	t.Helper()
	got, err := w.Play()
	if err != nil {
		t.Errorf("at %+v: %v\n%s", w.Scale, err, w.Source)
		return
	}
	want, err := c.Expected()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range want {
		var units int64
		got = slices.DeleteFunc(got, func(p Paid) bool {
			if p.At.Equal(e.At) && p.Currency == e.Currency {
				units += p.Units
				return true
			}
			return false
		})
		exact := new(big.Rat).Mul(e.Amount, power(w.Scale.Money))
		off := new(big.Rat).Sub(exact, big.NewRat(units, 1))
		if most, _ := off.Abs(off).Float64(); most > float64(e.Events)+w.Off {
			t.Errorf("at %+v: %s %s: got %d units, want %s\n%s", w.Scale, e.At.Format(time.DateOnly), e.Currency, units, exact.FloatString(3), w.Source)
		}
	}
	if len(got) > 0 {
		t.Errorf("at %+v: payments that nobody expects: %v\n%s", w.Scale, got, w.Source)
	}
}

// observe is a series of one market object.
func observe(values ...string) (s Series) {
	for i := 0; i < len(values); i += 2 {
		s.Data = append(s.Data, struct {
			Timestamp string `json:"timestamp"`
			Value     Scalar `json:"value"`
		}{values[i], Scalar(values[i+1])})
	}
	return s
}

func terms(text string) Terms {
	t := make(Terms)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			t[name] = []byte(value)
			if !strings.HasPrefix(value, "[") {
				t[name] = []byte(fmt.Sprintf("%q", value))
			}
		}
	}
	return t
}

// paid writes what a play pays, a payment a line, in hundredths.
func paid(t *testing.T, c Case) string {
	t.Helper()
	p, err := Translate(c)
	if err != nil {
		t.Fatal(err)
	}
	w, err := p.Write(2, 1_000_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if w.Scale.Money != 2 {
		t.Fatalf("scale %+v", w.Scale)
	}
	list, err := w.Play()
	if err != nil {
		t.Fatalf("%v\n%s", err, w.Source)
	}
	var b strings.Builder
	for _, p := range list {
		fmt.Fprintf(&b, "%s %s %d\n", p.At.Format(time.DateOnly), p.Currency, p.Units)
	}
	return b.String()
}

const lent = `
contractRole RPA
statusDate 2020-01-01T00:00:00
currency USD
initialExchangeDate 2020-01-02T00:00:00
notionalPrincipal 12000
nominalInterestRate 0.06
dayCountConvention 30E360
`

// switched are terms of a switch that looks at a price at the ends of four months.
const switched = `
contractType BCS
contractRole BUY
statusDate 2020-01-01T00:00:00
currency USD
boundaryValue 90
boundaryMonitoringAnchorDate 2020-03-31
boundaryMonitoringCycle P1ML1
boundaryMonitoringEndDate 2020-06-30
`

// loanOf is a loan at 6% whose interest is paid each month.
func loanOf(principal string) string {
	return `{"contractType":"PAM","currency":"USD","initialExchangeDate":"2020-02-29","maturityDate":"2020-07-29","notionalPrincipal":"` + principal +
		`","nominalInterestRate":"0.06","dayCountConvention":"30E360","cycleAnchorDateOfInterestPayment":"2020-03-29","cycleOfInterestPayment":"P1ML1"}`
}

// TestTypes plays types whose cases are not beside the project; what has to come out was computed by hand.
func TestTypes(t *testing.T) {
	tests := map[string]struct {
		c    Case
		want string
	}{
		"PAM: interest twice, the principal at the end": {
			Case{Terms: terms(lent + `contractType PAM
maturityDate 2021-01-02T00:00:00
cycleAnchorDateOfInterestPayment 2020-07-02T00:00:00
cycleOfInterestPayment P6ML0`), To: "2022-01-01"},
			"2020-01-02 USD -1200000\n2020-07-02 USD 36000\n2021-01-02 USD 1236000\n",
		},
		"PAM: borrowed, the rate of the second half is observed": {
			Case{Terms: terms(strings.Replace(lent, "RPA", "RPL", 1) + `contractType PAM
maturityDate 2021-01-02T00:00:00
cycleAnchorDateOfInterestPayment 2020-07-02T00:00:00
cycleOfInterestPayment P6ML0
cycleAnchorDateOfRateReset 2020-07-02T00:00:00
cycleOfRateReset P6ML0
marketObjectCodeOfRateReset LIBOR
rateSpread 0.01
lifeCap 0.08`), To: "2022-01-01", Data: map[string]Series{"LIBOR": observe("2020-06-01T00:00:00", "0.03", "2020-07-02T00:00:00", "0.09")}},
			"2020-01-02 USD 1200000\n2020-07-02 USD -36000\n2021-01-02 USD -1248000\n",
		},
		"PAM: a fee on the principal": {
			Case{Terms: terms(lent + `contractType PAM
maturityDate 2021-01-02T00:00:00
feeRate 0.01
feeBasis N
cycleAnchorDateOfFee 2020-07-02T00:00:00
cycleOfFee P6ML0`), To: "2022-01-01"},
			// 720 of interest, which no cycle pays, come with the principal
			"2020-01-02 USD -1200000\n2020-07-02 USD 6000\n2021-01-02 USD 1278000\n",
		},
		"PAM: fees that are amounts": {
			Case{Terms: terms(strings.Replace(lent, "RPA", "RPL", 1) + `contractType PAM
maturityDate 2021-01-02T00:00:00
feeRate 25
feeBasis A
cycleAnchorDateOfFee 2020-07-02T00:00:00
cycleOfFee P6ML0`), To: "2022-01-01"},
			"2020-01-02 USD 1200000\n2020-07-02 USD -2500\n2021-01-02 USD -1274500\n",
		},
		"CLM: interest is added until it is called": {
			Case{Terms: terms(lent + `contractType CLM
cycleAnchorDateOfInterestPayment 2020-07-02T00:00:00
cycleOfInterestPayment P6ML1
maturityDate 2021-01-02T00:00:00`), To: "2022-01-01"},
			// 12000 → 12360 after half a year; 370.80 of interest on that
			"2020-01-02 USD -1200000\n2021-01-02 USD 1273080\n",
		},
		"UMP: interest is added, and nothing is paid before the end": {
			Case{Terms: terms(lent + `contractType UMP
cycleAnchorDateOfInterestPayment 2020-07-02T00:00:00
cycleOfInterestPayment P6ML1`), To: "2022-01-01"},
			"2020-01-02 USD -1200000\n",
		},
		"UMP: borrowed at a rate below zero, ended at a price and what has accrued": {
			Case{Terms: terms(strings.NewReplacer("RPA", "RPL", "0.06", "-0.06").Replace(lent) + `contractType UMP
cycleAnchorDateOfInterestPayment 2020-07-02T00:00:00
cycleOfInterestPayment P6ML1
terminationDate 2021-04-02T00:00:00
priceAtTerminationDate 11000`), To: "2022-01-01"},
			// 12000 → 11640 → 11290.80; a quarter of a year on that is -169.362, and 169.362 to the one who owes
			"2020-01-02 USD 1200000\n2021-04-02 USD -1116936\n",
		},
		"PAM: the record begins between two payments, and what has accrued is a term": {
			Case{Terms: terms(strings.Replace(lent, "2020-01-01", "2020-04-02", 1) + `contractType PAM
maturityDate 2020-07-02T00:00:00
accruedInterest 100
cycleAnchorDateOfInterestPayment 2020-07-02T00:00:00`), To: "2022-01-01"},
			"2020-07-02 USD 1228000\n",
		},
		"PAM: bought later, with what has accrued": {
			Case{Terms: terms(lent + `contractType PAM
maturityDate 2021-01-02T00:00:00
purchaseDate 2020-10-02T00:00:00
priceAtPurchaseDate 11900
cycleAnchorDateOfInterestPayment 2020-07-02T00:00:00
cycleOfInterestPayment P6ML0`), To: "2022-01-01"},
			"2020-10-02 USD -1208000\n2021-01-02 USD 1236000\n",
		},
		"LAM: four parts, interest on what is left": {
			Case{Terms: terms(lent + `contractType LAM
cycleAnchorDateOfPrincipalRedemption 2020-04-02T00:00:00
cycleOfPrincipalRedemption P3ML0
nextPrincipalRedemptionPayment 3000
cycleAnchorDateOfInterestPayment 2020-04-02T00:00:00
cycleOfInterestPayment P3ML0`), To: "2022-01-01"},
			"2020-01-02 USD -1200000\n2020-04-02 USD 318000\n2020-07-02 USD 313500\n2020-10-02 USD 309000\n2021-01-02 USD 304500\n",
		},
		"NAM: 1,000 each quarter, of which interest comes first": {
			Case{Terms: terms(lent + `contractType NAM
maturityDate 2020-10-02T00:00:00
cycleAnchorDateOfPrincipalRedemption 2020-04-02T00:00:00
cycleOfPrincipalRedemption P3ML0
nextPrincipalRedemptionPayment 1000`), To: "2022-01-01"},
			// 12000 → 11180 → 10347.70; 10347.70 · 1.015 at the end
			"2020-01-02 USD -1200000\n2020-04-02 USD 100000\n2020-07-02 USD 100000\n2020-10-02 USD 1050291\n",
		},
		"ANN: equal payments": {
			Case{Terms: terms(lent + `contractType ANN
maturityDate 2021-01-02T00:00:00
cycleAnchorDateOfPrincipalRedemption 2020-07-02T00:00:00
cycleOfPrincipalRedemption P6ML0`), To: "2022-01-01"},
			// 12000 · 1.03² / 2.03 = 6271.33
			"2020-01-02 USD -1200000\n2020-07-02 USD 627133\n2021-01-02 USD 627133\n",
		},
		"LAX: parts of arrays, lent on top and paid back, at a fixed rate and then at observed ones": {
			Case{Terms: terms(strings.NewReplacer("12000", "1000", "0.06", "0.04").Replace(lent) + `contractType LAX
maturityDate 2020-08-02T00:00:00
arrayCycleAnchorDateOfPrincipalRedemption ["2020-02-02T00:00:00","2020-05-02T00:00:00"]
arrayCycleOfPrincipalRedemption ["P1ML1","P1ML1"]
arrayNextPrincipalRedemptionPayment [100,250]
arrayIncreaseDecrease ["INC","DEC"]
arrayCycleAnchorDateOfInterestPayment 2020-02-02T00:00:00
arrayCycleOfInterestPayment P3ML1
arrayCycleAnchorDateOfRateReset 2020-02-02T00:00:00, 2020-05-02T00:00:00
arrayCycleOfRateReset P1YL1, P2ML1
arrayRate 0.05, 0.01
arrayFixedVariable F, V
marketObjectCodeOfRateReset LIBOR`), To: "2022-01-01", Data: map[string]Series{"LIBOR": observe("2020-05-02T00:00:00", "0.07", "2020-07-02T00:00:00", "0.02")}},
			"2020-01-02 USD -100000\n2020-02-02 USD -9666\n2020-03-02 USD -10000\n2020-04-02 USD -10000\n2020-05-02 USD 26500\n2020-06-02 USD 25000\n2020-07-02 USD 25000\n2020-08-02 USD 56370\n",
		},
		"NAM: no end is said, and interest is on what was left half a year ago": {
			Case{Terms: terms(`contractType NAM
contractRole RPA
statusDate 2019-12-31T00:00:00
currency USD
initialExchangeDate 2020-01-01T00:00:00
notionalPrincipal 10000
nominalInterestRate 0.06
dayCountConvention A365
cycleAnchorDateOfPrincipalRedemption 2020-04-01T00:00:00
cycleOfPrincipalRedemption P3ML1
nextPrincipalRedemptionPayment 2600
interestCalculationBase NTL
interestCalculationBaseAmount 9000
cycleAnchorDateOfInterestCalculationBase 2020-07-01T00:00:00
cycleOfInterestCalculationBase P1YL1`), To: "2022-01-01"},
			"2020-01-01 USD -1000000\n2020-04-01 USD 260000\n2020-07-01 USD 260000\n2020-10-01 USD 260000\n2021-01-01 USD 260000\n2021-04-01 USD 9758\n",
		},
		"LAM: equal parts that are not said, on days on which one works": {
			Case{Terms: terms(`contractType LAM
contractRole RPA
statusDate 2021-01-01T00:00:00
currency USD
initialExchangeDate 2021-01-04T00:00:00
maturityDate 2021-05-31T00:00:00
notionalPrincipal 9000
nominalInterestRate 0.05
dayCountConvention B252
calendar MF
businessDayConvention SCF
endOfMonthConvention EOM
cycleAnchorDateOfPrincipalRedemption 2021-02-28T00:00:00
cycleOfPrincipalRedemption P1ML1
cycleAnchorDateOfInterestPayment 2021-02-28T00:00:00
cycleOfInterestPayment P1ML1`), To: "2022-01-01"},
			"2021-01-04 USD -900000\n2021-03-01 USD 307142\n2021-03-31 USD 302619\n2021-04-30 USD 301309\n",
		},
		"PAM: interest and principal follow an index": {
			Case{Terms: terms(strings.NewReplacer("12000", "1000", "0.06", "0.08", "30E360", "AA").Replace(lent) + `contractType PAM
maturityDate 2021-01-02T00:00:00
cycleAnchorDateOfInterestPayment 2020-07-02T00:00:00
cycleOfInterestPayment P6ML1
scalingEffect IN0
scalingIndexAtContractDealDate 200
marketObjectCodeOfScalingIndex CPI
cycleAnchorDateOfScalingIndex 2020-04-02T00:00:00
cycleOfScalingIndex P6ML1`), To: "2022-01-01", Data: map[string]Series{"CPI": observe("2020-04-02T00:00:00", "220", "2020-10-02T00:00:00", "180")}},
			"2020-01-02 USD -100000\n2020-07-02 USD 4375\n2021-01-02 USD 93619\n",
		},
		"PAM: interest from before the loan, whose rate is its own whatever was reset before": {
			Case{Terms: terms(lent + `contractType PAM
maturityDate 2020-10-02T00:00:00
cycleAnchorDateOfInterestPayment 2019-10-02T00:00:00
cycleOfInterestPayment P6ML1
cycleAnchorDateOfRateReset 2020-01-01T12:00:00
marketObjectCodeOfRateReset LIBOR`), To: "2022-01-01", Data: map[string]Series{"LIBOR": observe("2019-01-01T00:00:00", "0.5")}},
			"2020-01-02 USD -1200000\n2020-04-02 USD 36000\n2020-10-02 USD 1236000\n",
		},
		"ANN: the record begins when a part is paid": {
			Case{Terms: terms(`contractType ANN
contractRole RPA
statusDate 2020-08-01T00:00:00
currency USD
initialExchangeDate 2020-01-15T00:00:00
maturityDate 2020-12-15T00:00:00
notionalPrincipal 8000
nominalInterestRate 0.09
dayCountConvention 30E360
cycleAnchorDateOfPrincipalRedemption 2020-02-15T00:00:00
cycleOfPrincipalRedemption P1ML1`), To: "2022-01-01"},
			"2020-08-15 USD 163617\n2020-09-15 USD 163617\n2020-10-15 USD 163617\n2020-11-15 USD 163617\n2020-12-15 USD 163617\n",
		},
		"SWPPV: fixed against floating": {
			Case{Terms: terms(strings.Replace(lent, "RPA", "RFL", 1) + `contractType SWPPV
nominalInterestRate2 0.04
maturityDate 2021-01-02T00:00:00
cycleAnchorDateOfInterestPayment 2020-07-02T00:00:00
cycleOfInterestPayment P6ML0
cycleAnchorDateOfRateReset 2020-07-02T00:00:00
cycleOfRateReset P6ML0
marketObjectCodeOfRateReset LIBOR`), To: "2022-01-01", Data: map[string]Series{"LIBOR": observe("2020-07-02T00:00:00", "0.075")}},
			"2020-07-02 USD 12000\n2021-01-02 USD -9000\n",
		},
		"SWAPS: two legs": {
			Case{Terms: terms(`contractType SWAPS
contractRole RFL
statusDate 2020-01-01T00:00:00
currency USD
contractStructure [{"referenceRole":"FIL","object":{"contractType":"PAM","currency":"USD","initialExchangeDate":"2020-01-02T00:00:00","maturityDate":"2021-01-02T00:00:00","notionalPrincipal":"1000","nominalInterestRate":"0.06","dayCountConvention":"30E360","cycleAnchorDateOfInterestPayment":"2021-01-02T00:00:00"}},{"referenceRole":"SEL","object":{"contractType":"PAM","currency":"EUR","initialExchangeDate":"2020-01-02T00:00:00","maturityDate":"2021-01-02T00:00:00","notionalPrincipal":"900","nominalInterestRate":"0.05","dayCountConvention":"30E360","cycleAnchorDateOfInterestPayment":"2021-01-02T00:00:00"}}]`), To: "2022-01-01"},
			"2020-01-02 USD -100000\n2020-01-02 EUR 90000\n2021-01-02 USD 106000\n2021-01-02 EUR -94500\n",
		},
		"CAPFL: what the cap cuts off": {
			Case{Terms: terms(`contractType CAPFL
contractRole BUY
statusDate 2020-01-01T00:00:00
currency USD
lifeCap 0.05
contractStructure [{"referenceRole":"UDL","object":{"contractType":"PAM","currency":"USD","initialExchangeDate":"2020-01-02T00:00:00","maturityDate":"2021-01-02T00:00:00","notionalPrincipal":"1000","nominalInterestRate":"0.04","dayCountConvention":"30E360","cycleAnchorDateOfInterestPayment":"2020-07-02T00:00:00","cycleOfInterestPayment":"P6ML0","cycleAnchorDateOfRateReset":"2020-07-02T00:00:00","cycleOfRateReset":"P6ML0","marketObjectCodeOfRateReset":"LIBOR"}}]`), To: "2022-01-01", Data: map[string]Series{"LIBOR": observe("2020-07-02T00:00:00", "0.08")}},
			"2021-01-02 USD 1500\n",
		},
		"OPTNS: both sides of two strikes": {
			Case{Terms: terms(`contractType OPTNS
contractRole SEL
statusDate 2020-01-01T00:00:00
currency USD
optionType CP
optionExerciseType E
optionStrike1 100
optionStrike2 90
quantity 3
maturityDate 2020-06-30T00:00:00
contractStructure [{"referenceRole":"UDL","object":{"marketObjectCode":"X"}}]`), To: "2022-01-01", Data: map[string]Series{"X": observe("2020-06-30T00:00:00", "81.5")}},
			"2020-06-30 USD -2550\n",
		},
		"CEG: a guarantee without collateral, paid a week later": {
			Case{Terms: terms(`contractType CEG
contractRole SEL
statusDate 2020-01-01T00:00:00
currency USD
creditEventTypeCovered DF
coverageOfCreditEnhancement 0.8
settlementPeriod P1W
contractStructure [{"referenceRole":"COVE","object":{"contractType":"PAM","contractID":"loan","contractRole":"RPA","currency":"USD","initialExchangeDate":"2020-01-02T00:00:00","maturityDate":"2021-01-02T00:00:00","notionalPrincipal":"1000"}}]`), To: "2022-01-01", Events: []Observed{
				{Time: "2020-05-01T00:00:00", Type: "CE", ContractID: "loan", States: map[string]Scalar{"contractPerformance": "DQ"}},
				{Time: "2020-06-01T00:00:00", Type: "CE", ContractID: "loan", States: map[string]Scalar{"contractPerformance": "DF"}},
			}},
			"2020-06-08 USD -80000\n",
		},
		"PAM: no end of the record, a last second that counts as the next day, accrued from the record's date": {
			Case{Terms: terms(strings.NewReplacer("30E360", "A365", "2020-01-01", "2020-03-02").Replace(lent) + `contractType PAM
maturityDate 2020-12-31T23:59:59
cycleAnchorDateOfInterestPayment 2020-07-02T00:00:00`)},
			// 122 and 183 days on 12000 at 6%
			"2020-07-02 USD 24065\n2020-12-31 USD 1236098\n",
		},
		"PAM: months of 28 days, a rate that is fixed a month before": {
			Case{Terms: terms(strings.Replace(lent, "30E360", "28E336", 1) + `contractType PAM
maturityDate 2021-01-30T00:00:00
cycleAnchorDateOfInterestPayment 2020-07-30T00:00:00
cycleOfInterestPayment P6ML1
cycleAnchorDateOfRateReset 2020-07-30T00:00:00
marketObjectCodeOfRateReset LIBOR
fixingPeriod P1M`), To: "2022-01-01", Data: map[string]Series{"LIBOR": observe("2020-06-30T00:00:00", "0.04", "2020-07-15T00:00:00", "0.09")}},
			// 6 * 28 + 26 days of 336, then half a year
			"2020-01-02 USD -1200000\n2020-07-30 USD 41571\n2021-01-30 USD 1224000\n",
		},
		"PAM: a part is paid ahead": {
			Case{Terms: terms(lent + `contractType PAM
contractID loan
prepaymentEffect M
maturityDate 2021-01-02T00:00:00
cycleAnchorDateOfInterestPayment 2020-07-02T00:00:00
cycleOfInterestPayment P6ML1`), To: "2022-01-01", Events: []Observed{{Time: "2020-05-02T00:00:00", Type: "PP", ContractID: "loan", Value: "5000"}}},
			"2020-01-02 USD -1200000\n2020-05-02 USD 500000\n2020-07-02 USD 31000\n2021-01-02 USD 721000\n",
		},
		"LAM: what is paid ahead makes the later parts smaller": {
			Case{Terms: terms(lent + `contractType LAM
prepaymentEffect A
maturityDate 2021-01-02T00:00:00
cycleAnchorDateOfPrincipalRedemption 2020-04-02T00:00:00
cycleOfPrincipalRedemption P3ML1
nextPrincipalRedemptionPayment 3000
cycleAnchorDateOfInterestPayment 2020-04-02T00:00:00
cycleOfInterestPayment P3ML1`), To: "2022-01-01", Events: []Observed{{Time: "2020-05-02T00:00:00", Type: "PP", Value: "4500"}}},
			"2020-01-02 USD -1200000\n2020-04-02 USD 318000\n2020-05-02 USD 450000\n2020-07-02 USD 159000\n2020-10-02 USD 154500\n2021-01-02 USD 152250\n",
		},
		"ANN: what is paid ahead makes the later payments smaller": {
			Case{Terms: terms(strings.Replace(lent, "12000", "6000", 1) + `contractType ANN
prepaymentEffect A
maturityDate 2020-07-02T00:00:00
cycleAnchorDateOfPrincipalRedemption 2020-02-02T00:00:00
cycleOfPrincipalRedemption P1ML1`), To: "2022-01-01", Events: []Observed{{Time: "2020-03-12T00:00:00", Type: "PP", Value: "2000"}}},
			"2020-01-02 USD -600000\n2020-02-02 USD 101757\n2020-03-02 USD 101757\n2020-03-12 USD 200000\n2020-04-02 USD 51214\n2020-05-02 USD 51214\n2020-06-02 USD 51214\n2020-07-02 USD 51214\n",
		},
		"UMP: into and out of an account": {
			Case{Terms: terms(strings.NewReplacer("12000", "10000", "0.06", "0.04", "30E360", "A365").Replace(lent) + `contractType UMP
cycleAnchorDateOfInterestPayment 2021-01-02T00:00:00
cycleOfInterestPayment P1YL1
terminationDate 2021-04-02T00:00:00
priceAtTerminationDate 7000`), To: "2022-01-01", Events: []Observed{{Time: "2020-07-02", Type: "PR", Value: "3000"}, {Time: "2020-10-02", Type: "PR", Value: "-500"}}},
			"2020-01-02 USD -1000000\n2020-07-02 USD 300000\n2020-10-02 USD -50000\n2021-04-02 USD 707738\n",
		},
		"CLM: called, and repaid after notice, with interest until it was called": {
			Case{Terms: terms(lent + `contractType CLM
cycleAnchorDateOfInterestPayment 2020-04-02T00:00:00
cycleOfInterestPayment P3ML1
xDayNotice P1M`), To: "2020-06-01", Events: []Observed{{Time: "2020-05-20T00:00:00", Type: "XD"}}},
			"2020-01-02 USD -1200000\n2020-06-20 USD 1227744\n",
		},
		"LAX: no end is said": {
			Case{Terms: terms(lent + `contractType LAX
arrayCycleAnchorDateOfPrincipalRedemption ["2020-02-02","2020-05-02"]
arrayCycleOfPrincipalRedemption ["P1ML1","P2ML1"]
arrayNextPrincipalRedemptionPayment [1000,5500]
arrayIncreaseDecrease ["INC","DEC"]
arrayCycleAnchorDateOfInterestPayment 2020-05-02
arrayCycleOfInterestPayment P2ML1`), To: "2022-01-01"},
			// lent on top three times, 15000; 5500, 5500, 4000
			"2020-01-02 USD -1200000\n2020-02-02 USD -100000\n2020-03-02 USD -100000\n2020-04-02 USD -100000\n2020-05-02 USD 577000\n2020-07-02 USD 559500\n2020-09-02 USD 404000\n",
		},
		"NAM: each part depends on all rates before it": {
			Case{Terms: terms(strings.NewReplacer("12000", "9000", "30E360", "A365", "2020-01-01", "2021-01-01", "2020-01-02", "2021-01-15").Replace(lent) + `contractType NAM
maturityDate 2021-10-15T00:00:00
cycleAnchorDateOfPrincipalRedemption 2021-02-15T00:00:00
cycleOfPrincipalRedemption P1ML1
nextPrincipalRedemptionPayment 900
cycleAnchorDateOfRateReset 2021-03-15T00:00:00
cycleOfRateReset P3ML1
marketObjectCodeOfRateReset LIBOR`), To: "2022-01-01", Data: map[string]Series{"LIBOR": observe("2021-03-15", "0.125", "2021-06-15", "0.031", "2021-09-15", "0.07")}},
			"2021-01-15 USD -900000\n2021-02-15 USD 90000\n2021-03-15 USD 90000\n2021-04-15 USD 90000\n2021-05-15 USD 90000\n2021-06-15 USD 90000\n2021-07-15 USD 90000\n2021-08-15 USD 90000\n2021-09-15 USD 90000\n2021-10-15 USD 212936\n",
		},
		"ANN: payments at rates that are observed, as if it went on beyond its end": {
			Case{Terms: terms(strings.NewReplacer("12000", "6000", "30E360", "A365", "2020-01-01", "2021-01-01", "2020-01-02", "2021-01-15").Replace(lent) + `contractType ANN
maturityDate 2021-09-30T00:00:00
amortizationDate 2022-01-15T00:00:00
cycleAnchorDateOfPrincipalRedemption 2021-02-15T00:00:00
cycleOfPrincipalRedemption P1ML1
cycleAnchorDateOfRateReset 2021-04-15T00:00:00
cycleOfRateReset P3ML1
marketObjectCodeOfRateReset LIBOR`), To: "2022-01-01", Data: map[string]Series{"LIBOR": observe("2021-04-15", "0.14", "2021-07-15", "0.02")}},
			"2021-01-15 USD -600000\n2021-02-15 USD 51633\n2021-03-15 USD 51633\n2021-04-15 USD 51633\n2021-05-15 USD 53354\n2021-06-15 USD 53354\n2021-07-15 USD 53354\n2021-08-15 USD 51523\n2021-09-15 USD 51523\n2021-09-30 USD 205407\n",
		},
		"BCS: a put that begins when the price has fallen": {
			Case{Terms: terms(switched + `boundaryDirection DECR
boundaryEffect knockINSecondLeg
contractStructure [{"referenceRole":"externalReferenceIndex","object":{"marketObjectCode":"X"}},{"referenceRole":"FIL","object":{"contractType":"CSH"}},{"referenceRole":"SEL","object":{"contractType":"OPTNS","currency":"USD","optionType":"P","optionExerciseType":"E","optionStrike1":"100","maturityDate":"2020-06-30","settlementPeriod":"P2D","contractStructure":[{"referenceRole":"UDL","object":{"marketObjectCode":"X"}}]}}]`), To: "2021-01-01",
				Data: map[string]Series{"X": observe("2020-03-31", "95", "2020-04-30", "90.0", "2020-05-31", "99", "2020-06-30", "92.5")}},
			"2020-07-02 USD 750\n",
		},
		"BCS: a put that has not begun": {
			Case{Terms: terms(switched + `boundaryDirection DECR
boundaryEffect knockINSecondLeg
contractStructure [{"referenceRole":"externalReferenceIndex","object":{"marketObjectCode":"X"}},{"referenceRole":"SEL","object":{"contractType":"OPTNS","currency":"USD","optionType":"P","optionExerciseType":"E","optionStrike1":"100","maturityDate":"2020-06-30","contractStructure":[{"referenceRole":"UDL","object":{"marketObjectCode":"X"}}]}}]`), To: "2021-01-01",
				Data: map[string]Series{"X": observe("2020-03-31", "95", "2020-04-30", "90.01", "2020-05-31", "99", "2020-06-30", "92.5")}},
			"",
		},
		"BCS: a loan that is paid out when the price has risen, and ends one that ran": {
			Case{Terms: terms(switched + `boundaryDirection INCR
boundaryEffect knockINSecondLeg
boundaryLegInitiallyActive FIL
contractStructure [{"referenceRole":"externalReferenceIndex","object":{"marketObjectCode":"X"}},{"referenceRole":"FIL","object":` + loanOf("500") + `},{"referenceRole":"SEL","object":` + loanOf("1200") + `}]`), To: "2021-01-01",
				Data: map[string]Series{"X": observe("2020-03-31", "75", "2020-04-30", "80", "2020-05-31", "90", "2020-06-30", "92.5")}},
			// Of the first: begins in February, interest in March, April and May. The second begins on 31 May, and as its cycle of
			// interest was anchored before, with what has accrued since.
			"2020-02-29 USD 50000\n2020-03-29 USD -250\n2020-04-29 USD -250\n2020-05-29 USD -250\n2020-05-31 USD -120000\n2020-06-29 USD 1800\n2020-07-29 USD 120600\n",
		},
		"BCS: knocked out": {
			Case{Terms: terms(switched + `boundaryDirection INCR
boundaryEffect knockOUTCurrent
boundaryLegInitiallyActive SEL
contractStructure [{"referenceRole":"externalReferenceIndex","object":{"marketObjectCode":"X"}},{"referenceRole":"SEL","object":` + loanOf("500") + `}]`), To: "2021-01-01",
				Data: map[string]Series{"X": observe("2020-03-31", "91", "2020-04-30", "80", "2020-05-31", "90", "2020-06-30", "92.5")}},
			"2020-02-29 USD -50000\n2020-03-29 USD 250\n",
		},
		"CEG: a guarantee of an amount, bought, with fees": {
			Case{Terms: terms(`contractType CEG
contractRole BUY
statusDate 2020-01-01T00:00:00
currency USD
notionalPrincipal 1000
coverageOfCreditEnhancement 0.5
purchaseDate 2020-01-05T00:00:00
priceAtPurchaseDate 12
maturityDate 2021-01-01T00:00:00
feeBasis A
feeRate 9
cycleAnchorDateOfFee 2020-02-01T00:00:00
cycleOfFee P1ML1
contractStructure [{"referenceType":"CID","referenceRole":"COVE","object":{"contractIdentifier":"loan"}}]`), To: "2022-01-01", Events: []Observed{
				{Time: "2020-03-20T00:00:00", Type: "CE", ContractID: "other", States: map[string]Scalar{"contractPerformance": "DF"}},
				{Time: "2020-04-11T00:00:00", Type: "CE", ContractID: "loan", States: map[string]Scalar{"contractPerformance": "DF"}},
			}},
			// 10 of 30 days of a fee
			"2020-01-05 USD -1200\n2020-02-01 USD 900\n2020-03-01 USD 900\n2020-04-01 USD 900\n2020-04-11 USD 50300\n",
		},
		"STK: dividends that are observed": {
			Case{Terms: terms(`contractType STK
contractRole RPA
statusDate 2020-01-01T00:00:00
currency USD
quantity 10
purchaseDate 2020-01-05T00:00:00
priceAtPurchaseDate 100
cycleAnchorDateOfDividends 2020-03-01T00:00:00
cycleOfDividends P3ML1
marketObjectCodeOfDividends DIV`), To: "2020-07-01", Data: map[string]Series{"DIV": observe("2020-03-01T00:00:00", "1.25", "2020-06-01T00:00:00", "1.50")}},
			"2020-01-05 USD -100000\n2020-03-01 USD 1250\n2020-06-01 USD 1500\n",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, paid(t, test.c)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestLeftOut refuses with a reason what cannot be written.
func TestLeftOut(t *testing.T) {
	tests := map[string]struct{ change, reason string }{
		"a type":           {"contractType XYZ", `the type "XYZ" is not translated`},
		"an unknown payer": {"contractRole ABC", `the role "ABC" has no side`},
		"fees":             {"feeRate 0.01\nfeeBasis X", `the base of fees "X" is not known`},
		"other fees":       {"contractType STK\nfeeRate 0.01", "fees are translated for loans and guarantees alone"},
		"a holiday":        {"calendar TARGET", `the holidays of the calendar "TARGET" are not known`},
		"a day count":      {"dayCountConvention B365", `the day count "B365" is not known`},
		"no data":          {"cycleAnchorDateOfRateReset 2020-07-02\nmarketObjectCodeOfRateReset NONE", "no value of NONE is observed by 2020-07-02"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Translate(Case{Terms: terms(lent + "contractType PAM\nmaturityDate 2021-01-02\n" + test.change), To: "2022-01-01"})
			if !errors.Is(err, ErrLeftOut) || !strings.Contains(fmt.Sprint(err), test.reason) {
				t.Errorf("got %v, want %q", err, test.reason)
			}
		})
	}
}

// TestSilence holds the contracts to what the page says of an oracle that signs nothing: what is not yet paid goes back, and a guarantee pays as if
// its collateral were enough.
func TestSilence(t *testing.T) {
	future := Case{Terms: terms(`contractType FUTUR
contractRole BUY
statusDate 2020-01-01T00:00:00
currency USD
futuresPrice 80
maturityDate 2020-06-30T00:00:00
contractStructure [{"referenceRole":"UDL","object":{"marketObjectCode":"X"}}]`), To: "2022-01-01", Data: map[string]Series{"X": observe("2020-06-30T00:00:00", "90")}}
	backed := Case{Terms: terms(`contractType CEC
contractRole BUY
statusDate 2020-01-01T00:00:00
currency USD
settlementPeriod P2D
contractStructure [{"referenceRole":"COVE","object":{"contractType":"PAM","contractID":"loan","contractRole":"RPA","currency":"USD","initialExchangeDate":"2020-01-02T00:00:00","maturityDate":"2021-01-02T00:00:00","notionalPrincipal":"1000"}},{"referenceRole":"COVI","object":{"contractType":"COM","marketObjectCode":"GOLD","quantity":"2"}}]`), To: "2022-01-01",
		Events: []Observed{{Time: "2020-06-01T00:00:00", Type: "CE", ContractID: "loan", States: map[string]Scalar{"contractPerformance": "DF"}}},
		Data:   map[string]Series{"GOLD": observe("2020-05-01T00:00:00", "300")}}
	tests := []struct {
		name   string
		c      Case
		silent bool
		want   string
	}{
		{"the price of a future", future, false, "2020-06-30 USD 1000\n"},
		{"no price of a future", future, true, ""},
		{"the price of collateral", backed, false, "2020-06-03 USD 60000\n"},
		{"no price of collateral", backed, true, "2020-06-04 USD 100000\n"},
	}
	for _, test := range tests {
		p, err := Translate(test.c)
		if err != nil {
			t.Fatal(err)
		}
		w, err := p.Write(2, 1_000_000)
		if err != nil {
			t.Fatal(err)
		}
		if test.silent { // nobody brings what the contract waits for
			for i := range p.seen {
				p.seen[i].object = "silent"
			}
			if p.guarantee != nil {
				p.guarantee.collateral[0].object = "silent"
			}
		}
		list, err := w.Play()
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, p := range list {
			fmt.Fprintf(&got, "%s %s %d\n", p.At.Format(time.DateOnly), p.Currency, p.Units)
		}
		if got.String() != test.want {
			t.Errorf("%s: got %q, want %q\n%s", test.name, got.String(), test.want, w.Source)
		}
	}
}

func TestBusinessDays(t *testing.T) {
	saturday := time.Date(2020, 10, 31, 0, 0, 0, 0, time.UTC)
	for convention, want := range map[string]string{"CSF": "2020-11-02", "CSP": "2020-10-30", "CSMF": "2020-10-30", "SCMP": "2020-10-30", "NOS": "2020-10-31"} {
		got, err := terms("calendar MondayToFriday\nbusinessDayConvention " + convention).shifted(saturday)
		if err != nil || got.Format(time.DateOnly) != want {
			t.Errorf("%s: got %s, %v, want %s", convention, got.Format(time.DateOnly), err, want)
		}
	}
}

func TestSchedule(t *testing.T) {
	day := func(text string) time.Time {
		at, err := parseTime(text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	tests := map[string]struct{ anchor, cycle, end, eom, want string }{
		"whole":           {"2020-01-31", "P1ML0", "2020-04-30", "SD", "01-31 02-29 03-31 04-30"},
		"ends of months":  {"2020-02-29", "P1ML0", "2020-04-30", "EOM", "02-29 03-31 04-30"},
		"same day":        {"2020-02-29", "P1ML1", "2020-04-30", "SD", "02-29 03-29 04-29 04-30"},
		"a long stub":     {"2020-01-01", "P1ML0", "2020-03-15", "SD", "01-01 02-01 03-15"},
		"a short stub":    {"2020-01-01", "P1ML1", "2020-03-15", "SD", "01-01 02-01 03-01 03-15"},
		"weeks":           {"2020-01-01", "P2WL1", "2020-01-29", "SD", "01-01 01-15 01-29"},
		"nothing between": {"2020-01-01", "P1YL0", "2020-03-15", "SD", "01-01 03-15"},
	}
	for name, test := range tests {
		dates, err := schedule(day(test.anchor), test.cycle, day(test.end), terms("endOfMonthConvention "+test.eom), true)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range dates {
			got = append(got, d.Format("01-02"))
		}
		if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestResetsAreExplored has a loan whose rate is observed each month: states grow with the number of its payments, not with
// what each of them may come to, multiplied.
func TestResetsAreExplored(t *testing.T) {
	var moves []int
	for _, cycle := range []string{"P2ML1", "P1ML1"} {
		p, err := Translate(Case{Terms: terms(lent + `contractType PAM
maturityDate 2021-01-02T00:00:00
cycleAnchorDateOfInterestPayment 2020-02-02T00:00:00
cycleOfInterestPayment ` + cycle + `
cycleAnchorDateOfRateReset 2020-02-02T00:00:00
cycleOfRateReset ` + cycle + `
marketObjectCodeOfRateReset LIBOR`), To: "2022-01-01", Data: map[string]Series{"LIBOR": observe("2020-01-01T00:00:00", "0.09")}})
		if err != nil {
			t.Fatal(err)
		}
		w, err := p.Write(2, 300)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := w.Deal.Admit(w.Weights, contract.Limits{})
		if err != nil {
			t.Fatalf("%v\n%s", err, w.Source)
		}
		moves = append(moves, rep.Moves)
	}
	if moves[1] > 3*moves[0] {
		t.Errorf("%d moves for half as many payments, %d for all", moves[0], moves[1])
	}
}
