package contract

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// writer writes random contracts. Most of them pass the checks.
type writer struct {
	t      *rapid.T
	b      strings.Builder
	phases int
	value  Type // of the clause's value, Literal where there is none
	oracle bool // the value is the oracle's
}

func (w *writer) pick(of string, choices ...string) string {
	return rapid.SampledFrom(choices).Draw(w.t, of)
}

func (w *writer) n(of string, lo, hi int) int { return rapid.IntRange(lo, hi).Draw(w.t, of) }

func (w *writer) party() string { return w.pick("party", "ann", "ben", "carl") }

// amount writes an expression of type units.
func (w *writer) amount(depth int) string {
	leaves := []string{"u", "v", "3", "pot1", "pot2", "left(pot1)", "left(pot2)", "k"}
	if w.value == Units {
		leaves = append(leaves, "x", "x")
	}
	if depth == 0 {
		return w.pick("leaf", leaves...)
	}
	a, b := w.amount(depth-1), w.amount(depth-1)
	return w.pick("amount", "("+a+" + "+b+")", "("+a+" - "+b+")", "min("+a+", "+b+")", "max("+a+", "+b+")", a+" / 2",
		fmt.Sprintf("share(%s, %s, 10)", a, w.number(depth-1)), fmt.Sprintf("share(%s, %s, %s)", a, w.number(depth-1), w.number(depth-1)), a, b)
}

func (w *writer) number(depth int) string {
	leaves := []string{"n", "c", "2", "-1"}
	if w.value == Number {
		leaves = append(leaves, "x", "x", "x")
	}
	if w.oracle {
		leaves = append(leaves, "price", "price")
	}
	if depth == 0 {
		return w.pick("leaf", leaves...)
	}
	a, b := w.number(depth-1), w.number(depth-1)
	return w.pick("number", "("+a+" + "+b+")", "("+a+" - "+b+")", a+" * "+b, "max(1, "+a+")", a, b)
}

func (w *writer) condition(depth int) string {
	if depth > 0 {
		a, b := w.condition(depth-1), w.condition(depth-1)
		return w.pick("logic", a+" and "+b, "("+a+" or "+b+")", "not ("+a+")", a)
	}
	rel := w.pick("rel", " < ", " <= ", " > ", " >= ", " = ", " != ")
	if w.n("kind", 0, 1) == 0 {
		return w.amount(1) + rel + w.amount(1)
	}
	return w.number(1) + rel + w.number(1)
}

func (w *writer) statement(depth int) {
	switch w.n("statement", 0, 7) {
	case 0, 1:
		fmt.Fprintf(&w.b, "    give max(0 units, %s) of pot%d to %s\n", w.amount(2), w.n("pot", 1, 2), w.party())
	case 2:
		p := w.n("pot", 1, 2)
		fmt.Fprintf(&w.b, "    give max(0 units, min(left(pot%d), %s)) of pot%d to %s\n", p, w.amount(1), p, w.party())
	case 3:
		fmt.Fprintf(&w.b, "    set c = min(4, max(0, %s))\n", w.number(1))
	case 4:
		a := w.amount(1)
		fmt.Fprintf(&w.b, "    if %s >= 0 and %s <= 9 then set k = %s end\n", a, a, a)
	case 5:
		if depth > 0 {
			fmt.Fprintf(&w.b, "    if %s then\n", w.condition(1))
			w.statement(depth - 1)
			if w.n("else", 0, 1) == 0 {
				w.b.WriteString("    else\n")
				w.statement(depth - 1)
			}
			w.b.WriteString("    end\n")
			return
		}
		w.b.WriteString("    set c = min(4, c + 1)\n")
	case 6:
		p := w.n("pot", 1, 2)
		a := w.amount(1)
		fmt.Fprintf(&w.b, "    if %s >= 0 units and %s <= left(pot%d) then give %s of pot%d to %s end\n", a, a, p, a, p, w.party())
	case 7:
		fmt.Fprintf(&w.b, "    give all of pot%d to %s\n", w.n("pot", 1, 2), w.party())
	}
}

// end writes how a clause of phase i ends.
func (w *writer) end(i int, may bool) {
	switch next := w.n("end", 0, 2); {
	case next == 0 && may:
	case next == 1 && i+1 < w.phases:
		fmt.Fprintf(&w.b, "    next P%d\n", w.n("phase", i+1, w.phases-1))
	default:
		w.b.WriteString("    close\n")
	}
}

func (w *writer) contract() string {
	fmt.Fprintf(&w.b, `contract Generated
parties ann, ben, carl
term u : units 1..8
term v : units 0..6
term n : number -3..6
term d : duration 1 minutes .. 1 hours
term t : time
pot pot1 = u units from ann
pot pot2 = 2 * v units from ben
counter c = 1 in 0..4
counter k = 0 in 0..9 units
counter fuel = 0 in 0..%d
oracle price in -20..20
`, w.n("fuel", 1, 3))
	w.phases = w.n("phases", 1, 3)
	if w.n("opening", 0, 1) == 0 {
		w.b.WriteString("at open:\n")
		w.statement(1)
	}
	for i := range w.phases {
		fmt.Fprintf(&w.b, "phase P%d until %s\n", i, w.pick("until", "now + d", "now + c * d", "t", "t + d", "t + 2 * d"))
		for range w.n("clauses", 1, 4) {
			w.value, w.oracle = Literal, false
			switch w.n("clause", 0, 5) {
			case 0:
				fmt.Fprintf(&w.b, "  when %s says \"%s\"", w.party(), w.pick("word", "go", "on"))
			case 1:
				fmt.Fprintf(&w.b, "  when %s say \"%s\"", w.pick("who", "ann and ben", "2 of ann, ben, carl", "ben or carl"), w.pick("word", "go", "stop"))
			case 2:
				w.value = Number
				fmt.Fprintf(&w.b, "  when %s says \"%s\" with x in %s", w.party(), w.pick("word", "more", "less"), w.pick("range", "0..5", "-3..20", "2..2"))
			case 3:
				w.value = Units
				fmt.Fprintf(&w.b, "  when %s says \"%s\" with x in %s units", w.party(), w.pick("word", "bid", "ask"), w.pick("range", "0..5", "1..12"))
			case 4:
				w.oracle = true
				w.b.WriteString("  when oracle price each 20 seconds")
			case 5:
				w.oracle = true
				fmt.Fprintf(&w.b, "  when oracle price for %s", w.pick("time", "t", "t - d"))
			}
			if w.n("guard", 0, 1) == 0 {
				fmt.Fprintf(&w.b, " if %s", w.condition(1))
			}
			w.b.WriteString(":\n")
			w.statement(2)
			if w.n("cycle", 0, 5) == 0 {
				fmt.Fprintf(&w.b, "    if fuel < 1 then set fuel = fuel + 1 next P%d end\n", w.n("phase", 0, w.phases-1))
			}
			w.end(i, true)
		}
		w.value, w.oracle = Literal, false
		w.b.WriteString("  at deadline:\n")
		w.statement(1)
		w.end(i, false)
	}
	return w.b.String()
}

// split cuts units into random chunks.
func split(t *rapid.T, units int64) (list []int64) {
	for units > 0 {
		w := rapid.Int64Range(1, units).Draw(t, "weight")
		list = append(list, w)
		units -= w
	}
	return list
}

// TestGeneratedContracts writes contracts, and plays those that the checks pass: no fault ever comes, every chunk goes
// to one party, every instance ends by its last deadline, restored equals live, and no play leaves the bounds of the
// exploration. What the exploration refuses is played as well: the machine is safe without it.
func TestGeneratedContracts(t *testing.T) {
	written, passed, admitted := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		written++
		w := &writer{t: t}
		source := w.contract()
		p, err := Compile([]byte(source))
		if err != nil {
			var refused *Error
			if !errors.As(err, &refused) {
				t.Fatal(err)
			}
			for _, f := range refused.Findings {
				if strings.Contains(f.What, "stands where") {
					t.Fatalf("%v\n%s", f, source)
				}
			}
			return
		}
		passed++
		terms := []int64{rapid.Int64Range(1, 8).Draw(t, "u"), rapid.Int64Range(0, 6).Draw(t, "v"), rapid.Int64Range(-3, 6).Draw(t, "n"),
			rapid.Int64Range(60, 3600).Draw(t, "d"), noon + rapid.Int64Range(-100, 2000).Draw(t, "t")}
		d, err := p.Bind(terms)
		if err != nil {
			t.Fatal(err)
		}
		weights := [][]int64{split(t, d.PotUnits(0)), split(t, d.PotUnits(1))}
		report, err := d.Admit(weights, Limits{})
		if err != nil {
			open(t, d, weights, nil).random(t)
			return
		}
		admitted++
		for range 3 {
			open(t, d, weights, &report).random(t)
		}
	})
	t.Logf("%d written, %d passed the checks, %d admitted", written, passed, admitted)
	if passed == 0 || admitted == 0 {
		t.Error("the writer writes nothing that passes")
	}
}
