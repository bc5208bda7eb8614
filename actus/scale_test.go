package actus

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"latchkey/contract"
)

// exact computes a formula with the values that the plan has observed, without rounding.
func (p *Plan) exact(f *formula) *big.Rat {
	switch f.op {
	case opConst:
		return f.value
	case opSeen:
		return p.seen[f.index].value
	case opKept:
		return p.exact(p.kept[f.index].f)
	case opStep:
		return compute(opStep, p.exact(f.a), nil)
	}
	return compute(f.op, p.exact(f.a), p.exact(f.b))
}

const monthly = lent + `maturityDate 2020-09-02
cycleAnchorDateOfPrincipalRedemption 2020-02-02
cycleOfPrincipalRedemption P1ML1
cycleAnchorDateOfInterestPayment 2020-02-02
cycleOfInterestPayment P1ML1
cycleAnchorDateOfRateReset 2020-03-02
cycleOfRateReset P2ML1
marketObjectCodeOfRateReset LIBOR
`

var rates = map[string]Series{"LIBOR": observe("2020-01-01", "0.04"), "EURIBOR": observe("2020-01-01", "-0.03")}

// many are contracts of which payments depend on several observed values.
var many = map[string]Case{
	"NAM":             {Terms: terms(monthly + "contractType NAM\nnextPrincipalRedemptionPayment 1500"), To: "2022-01-01", Data: rates},
	"ANN":             {Terms: terms(monthly + "contractType ANN"), To: "2022-01-01", Data: rates},
	"LAM, bounded":    {Terms: terms(monthly + "contractType LAM\nnextPrincipalRedemptionPayment 1000\nlifeCap 0.05\nperiodFloor -0.01\nrateMultiplier 1.3"), To: "2022-01-01", Data: rates},
	"CLM":             {Terms: terms(monthly + "contractType CLM"), To: "2022-01-01", Data: rates},
	"PAM, paid ahead": {Terms: terms(monthly + "contractType PAM"), To: "2022-01-01", Data: rates, Events: []Observed{{Time: "2020-05-12", Type: "PP", Value: "4000"}}},
	"PAM, between":    {Terms: terms(strings.Replace(monthly, "2020-03-02", "2020-03-17", 1) + "contractType PAM"), To: "2022-01-01", Data: rates},
	"SWAPS": {Terms: terms(`contractType SWAPS
contractRole RFL
statusDate 2020-01-01
currency USD
contractStructure [{"referenceRole":"FIL","object":` + floating("LIBOR") + `},{"referenceRole":"SEL","object":` + floating("EURIBOR") + `}]`), To: "2022-01-01", Data: rates},
	"BCS": {Terms: terms(switched + `boundaryDirection INCR
boundaryEffect knockINSecondLeg
boundaryLegInitiallyActive FIL
contractStructure [{"referenceRole":"externalReferenceIndex","object":{"marketObjectCode":"X"}},{"referenceRole":"FIL","object":` + loanOf("500") + `},{"referenceRole":"SEL","object":` + loanOf("1200") + `}]`), To: "2021-01-01", Data: map[string]Series{"X": observe("2020-01-01", "75")}},
}

// floating is a loan at a rate that is observed.
func floating(rate string) string {
	return `{"contractType":"PAM","currency":"USD","initialExchangeDate":"2020-01-02","maturityDate":"2021-01-02","notionalPrincipal":"10000","nominalInterestRate":"0.02","dayCountConvention":"A360","cycleAnchorDateOfInterestPayment":"2020-04-02","cycleOfInterestPayment":"P3ML1","cycleAnchorDateOfRateReset":"2020-04-02","cycleOfRateReset":"P3ML1","marketObjectCodeOfRateReset":"` + rate + `"}`
}

// TestOff plays contracts with random values of all that they observe, at a fine scale and at one that is explored: each payment is what its
// formula says exactly, but for a unit of rounding and for what the scale says that it may be off. The values include the ends of
// their ranges, and the boundary that is looked at.
func TestOff(t *testing.T) {
	for name, c := range many {
		t.Run(name, func(t *testing.T) {
			p, err := Translate(c)
			if err != nil {
				t.Fatal(err)
			}
			for _, units := range []int64{1_000_000_000_000, 1000, 30} {
				w, err := p.Write(6, units)
				if err != nil {
					t.Fatal(err)
				}
				random := rand.New(rand.NewPCG(uint64(units), 1))
				for range 60 {
					for i, o := range p.seen {
						v := new(big.Rat).Sub(o.hi, o.lo)
						v.Add(v.Mul(v, big.NewRat(random.Int64N(1_000_001), 1_000_000)), o.lo)
						switch random.IntN(8) {
						case 0:
							v = o.lo
						case 1:
							v = o.hi
						case 2:
							v = big.NewRat(90, 1)
						}
						if v.Cmp(o.hi) > 0 {
							v = o.hi
						}
						if name == "BCS" { // a price with the digits that it was observed with
							v = new(big.Rat).SetInt(toward0(v, o.exact))
							v.Mul(v, power(-o.exact))
						}
						p.seen[i].value = v
					}
					near(t, p, w)
				}
			}
		})
	}
}

// near holds what a play pays to what the formulas say.
func near(t *testing.T, p *Plan, w *Written) {
	t.Helper()
	paid, err := w.Play()
	if err != nil {
		t.Fatalf("%v\n%s", err, w.Source)
	}
	got, want, most := make(map[string]*big.Rat), make(map[string]*big.Rat), make(map[string]float64)
	sum := func(m map[string]*big.Rat, key string, v *big.Rat) {
		if m[key] == nil {
			m[key] = new(big.Rat)
		}
		m[key].Add(m[key], v)
	}
	for _, d := range paid {
		sum(got, fmt.Sprint(d.At, d.Currency), big.NewRat(d.Units, 1))
	}
	for _, d := range p.payments {
		key := fmt.Sprint(d.at, d.currency)
		sum(want, key, new(big.Rat).Mul(p.exact(d.amount), power(w.Scale.Money)))
		most[key] += 1 + w.Off
	}
	for key, v := range want {
		sum(got, key, new(big.Rat).Neg(v))
		if off, _ := new(big.Rat).Abs(got[key]).Float64(); off > most[key] {
			t.Fatalf("at %+v: %s: off by %.3f units, at most %.3f is said\n%s", w.Scale, key, off, most[key], w.Source)
		}
	}
	if len(got) > len(want) {
		t.Fatalf("payments on other days: %v, want %v", got, want)
	}
}

// TestExplore has contracts explored of which payments depend on several values, within what a vault takes at most; and gives up on what
// would need units as large as the payments.
func TestExplore(t *testing.T) {
	for name, c := range many {
		t.Run(name, func(t *testing.T) {
			p, err := Translate(c)
			if err != nil {
				t.Fatal(err)
			}
			w, rep, err := p.Explore(0, 100, contract.Limits{States: 200_000, Moves: 1_000_000})
			if err != nil {
				t.Fatal(err)
			}
			if w.Off > 1 || p.largest(w.Scale.Money).Cmp(big.NewInt(10)) < 0 {
				t.Errorf("at %+v, off by %.2f, the greatest payment is %s units", w.Scale, w.Off, p.largest(w.Scale.Money))
			}
			t.Logf("%+v, off by %.2f: %d states, %d moves", w.Scale, w.Off, rep.States, rep.Moves)
		})
	}
	p, err := Translate(many["NAM"])
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Explore(2, 1000, contract.Limits{Moves: 40}); !errors.Is(err, ErrTooMuch) {
		t.Errorf("got %v, want %v", err, ErrTooMuch)
	}
}
