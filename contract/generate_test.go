package contract

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// writer writes random contracts. Most of them pass the checks.
type writer struct {
	t      *rapid.T
	b      strings.Builder
	phases int
	value  Type   // of the clause's value, Literal where there is none
	oracle bool   // the value is the oracle's
	opened bool   // the value is the sealed one
	roles  bool   // there are members
	member bool   // one of them is meant
	guard  string // of the clause, empty where there is none
}

func (w *writer) pick(of string, choices ...string) string {
	return rapid.SampledFrom(choices).Draw(w.t, of)
}

func (w *writer) n(of string, lo, hi int) int { return rapid.IntRange(lo, hi).Draw(w.t, of) }

func (w *writer) party() string { return w.pick("party", "ann", "ben", "carl") }

// amount writes an expression of type units.
func (w *writer) amount(depth int) string {
	leaves := []string{"u", "v", "3", "pot1", "pot2", "left(pot1)", "left(pot2)", "k", "pot3", "left(pot3)", "filled(pot3)"}
	if w.value == Units {
		leaves = append(leaves, "x", "x")
	}
	if w.value == Duration || w.value == Money {
		leaves = append(leaves, "share(u, x, d)", "share(v, x, max(x, d))")
		if w.value == Money {
			leaves = []string{"share(u, x, 2.50)", "share(pot1, max(0.00, x), max(1.00, cash))"}
		}
	}
	if w.opened {
		leaves = append(leaves, "z", "z")
	}
	if w.roles {
		leaves = append(leaves, "sum(guest: sum(member: left(stake)))", "sum(member: left(stake))", "most(member: stake)", "least(member: filled(stake))")
	}
	if w.member {
		leaves = append(leaves, "left(stake)", "stake", "weight")
	}
	if depth == 0 {
		return w.pick("leaf", leaves...)
	}
	a, b := w.amount(depth-1), w.amount(depth-1)
	return w.pick("amount", "("+a+" + "+b+")", "("+a+" - "+b+")", "min("+a+", "+b+")", "max("+a+", "+b+")", a+" / 2",
		fmt.Sprintf("share(%s, %s, 10)", a, w.number(depth-1)), fmt.Sprintf("share(%s, %s, %s)", a, w.number(depth-1), w.number(depth-1)), fmt.Sprintf("line(%s)", w.number(depth-1)),
		"share("+a+", min(max(now, t), t + d) - t, d)", a, b)
}

func (w *writer) number(depth int) string {
	leaves := []string{"n", "c", "2", "-1", "big", "cash / 1.00", "share(big, n, 9223372036854775807)", "big / 9223372036854775807", "-7 / 2", "share(-c, pct, 100)", "wait / 20 seconds", "tent(d)"}
	if w.roles {
		leaves = append(leaves, "count(member)", "sum(member: mark)", "count(member: mark > 0)", "count(member: sealed(secret))", "most(guest: count(member: mark >= count(guest)))")
	}
	if w.member {
		leaves = append(leaves, "mark")
	}
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
	return w.pick("number", "max(-9, min(9, "+a+"))", "share("+a+", "+b+", max(1, "+a+"))", "share("+a+", min(9, max(-9, "+b+")), min(-1, "+b+"))", a+" / max(1, "+b+")", "("+a+" + "+b+")", "("+a+" - "+b+")", a+" * "+b, "max(1, "+a+")",
		"min(9, max(-9, big + ("+a+") - big))", "min(9, max(-9, big / ("+a+") - big / ("+a+")))", a, b)
}

func (w *writer) condition(depth int) string {
	if depth > 0 {
		a, b := w.condition(depth-1), w.condition(depth-1)
		return w.pick("logic", a+" and "+b, "("+a+" or "+b+")", "not ("+a+")", a)
	}
	rel := w.pick("rel", " < ", " <= ", " > ", " >= ", " = ", " != ")
	switch w.n("kind", 0, 12) {
	case 12: // what is known of a difference, whether its sides fit or not
		a := w.pick("known", "big * ", "big + ") + "(" + w.number(0) + ")"
		return w.pick("open", "", "c = 3 or ", "not sealed(z) and ") + a + rel + w.pick("as", a, "big")
	case 0:
		return "sealed(z)"
	case 10:
		return "wait" + rel + w.pick("duration", "d", "20 seconds", "t - now", "share(d, pct, 100)")
	case 11:
		if w.member {
			return "sealed(secret)"
		}
		return "cash" + rel + "2 * 1.50"
	case 1:
		return "now" + rel + w.pick("moment", "t", "t + d", "t + c * d")
	case 2, 3, 4, 5:
		return w.amount(1) + rel + w.amount(1)
	}
	return w.number(1) + rel + w.number(1)
}

func (w *writer) statement(depth int) {
	switch w.n("statement", 0, 13) {
	case 11:
		w.trap()
	case 12:
		fmt.Fprintf(&w.b, "    set wait = %s\n", w.pick("wait", "min(wait, d)", "max(wait, share(d, pct, 100))", "0 seconds", "min(1 hours, wait + 20 seconds)"))
	case 13:
		c := w.condition(1)
		fmt.Fprintf(&w.b, "    if %s then\n", c)
		w.statement(0)
		outer := w.guard
		w.guard = c
		w.trap()
		w.guard = outer
		w.b.WriteString("    end\n")
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
		fmt.Fprintf(&w.b, "    give all of pot%d to %s\n", w.n("pot", 1, 3), w.party())
	case 8:
		w.b.WriteString("    stay\n")
	case 9, 10:
		if !w.roles || depth == 0 {
			w.b.WriteString("    give max(0 units, min(left(pot3), 2)) of pot3 to ann\n")
			return
		}
		outer := w.member
		w.b.WriteString("    for each member:\n")
		w.member = true
		switch w.n("for member", 0, 3) {
		case 0:
			fmt.Fprintf(&w.b, "    set mark = min(2, max(0, %s))\n", w.number(1))
		case 1:
			fmt.Fprintf(&w.b, "    give min(left(stake), max(0 units, %s)) of stake to %s\n", w.amount(1), w.party())
		case 2:
			fmt.Fprintf(&w.b, "    give min(left(pot1), max(0 units, %s)) of pot1 to member\n", w.amount(1))
		case 3:
			w.statement(depth - 1)
		}
		w.b.WriteString("    end\n")
		w.member = outer
	}
}

// trap writes what must never run, under a condition that contradicts what the clause's may have established. Where the
// checks pass it, they say that it never does.
func (w *writer) trap() {
	cond := w.guard
	if cond == "" {
		cond = w.condition(0)
	}
	if w.n("negated", 0, 3) > 0 {
		cond = "not (" + cond + ")"
	}
	fmt.Fprintf(&w.b, "    if %s then %s end\n", cond, w.pick("never", "set c = 5", fmt.Sprintf("next P%d", w.n("phase", 0, w.phases-1)), "give 0 - 1 of pot1 to ann", "set c = 1 / (c - c)"))
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
	role, each := "", ""
	if w.roles = w.n("roles", 0, 2) == 0; w.roles {
		role, each = "role member 1..3\nrole guest 1..2", "for each member:\n  term weight : units 0..4\n  "+w.pick("later", "", "later ")+"pot stake = weight from member\n  counter mark = 0 in 0..2\n  sealed secret in 0..1\nend"
	}
	fmt.Fprintf(&w.b, `contract Generated
parties ann, ben, carl
%s
term u : units 1..8
term v : units 0..6
term n : number -3..6
term d : duration 1 minutes .. 1 hours
term t : time
term big : number -9_223_372_036_854_775_807..9_223_372_036_854_775_807
term pct : percent
term cash : money -1_000_000_000_000.00..92_233_720_368_547_758.07
pot pot1 = u units from ann
pot pot2 = 2 * v units from ben
later pot pot3 = u + 1 from carl
%s
sealed z in 0..4 units
curve line : -3 -> 0, 2 -> 6, 9 -> 1
curve tent : 0 minutes -> -2, 20 minutes -> 3, 1 hours -> 0
counter c = 1 in 0..4
counter wait = 30 seconds in 0 seconds .. 1 hours
counter k = 0 in 0..9 units
counter fuel = 0 in 0..%d
oracle price in -20..20
oracle rate "some/rate" in -1.00..2.50
require %s
`, role, each, w.n("fuel", 1, 3), w.pick("require", "u >= 1", "v <= u or n < 5", "not (pot2 > 10 and n = 6)"))
	w.phases = w.n("phases", 1, 3)
	if w.n("opening", 0, 1) == 0 {
		w.b.WriteString("at open:\n")
		w.statement(1)
		if w.n("opens", 0, 3) == 0 {
			fmt.Fprintf(&w.b, "    next P%d\n", w.n("phase", 0, w.phases-1))
		}
	}
	for i := range w.phases {
		fmt.Fprintf(&w.b, "phase P%d until %s\n", i, w.pick("until", "now + d", "now + c * d", "t", "t + d", "t + 2 * d", "min(t, now + d)", "max(now + d, t)", "t + c * d", "t + c * 10 * d", "now + wait", "max(t, now) + wait", "now + share(d, left(pot1), 10 units)"))
		for range w.n("clauses", 1, 4) {
			w.value, w.oracle, w.opened, w.member, w.guard = Literal, false, false, false, ""
			switch w.n("clause", 0, 13) {
			case 6, 7:
				fmt.Fprintf(&w.b, "  when %sdeposit pot3", w.pick("partial", "", "each "))
			case 8:
				w.b.WriteString("  when ann says \"seal\" with sealed z")
			case 9:
				w.opened = true
				w.b.WriteString("  when ann says \"show\" with opened z")
			case 10:
				if !w.roles {
					w.b.WriteString("  when carl says \"go\"")
				} else {
					w.member = true
					fmt.Fprintf(&w.b, "  when %s", w.pick("of members", "any member says \"member\"", "any member says \"member\"", "each deposit stake", "any member says \"keep\" with sealed secret", "any member says \"tell\" with opened secret"))
				}
			case 11:
				who := w.pick("quorum", "all of", "2 of")
				if w.roles {
					fmt.Fprintf(&w.b, "  when %s say \"%s\"", w.pick("voices", who+" member, guest", who+" guest, ann", "all of member"), w.pick("word", "vote", "stop"))
				} else {
					fmt.Fprintf(&w.b, "  when %s carl, ben say \"vote\"", who)
				}
			case 12:
				w.value = Money
				if w.n("money", 0, 1) == 0 {
					fmt.Fprintf(&w.b, "  when carl says \"cost\" with x in -0.50..3.00")
				} else {
					fmt.Fprintf(&w.b, "  when oracle rate %s", w.pick("when", "each 30 seconds", "for t", "for t + d", "each wait"))
					w.value = Literal
				}
			case 13:
				w.value = Duration
				fmt.Fprintf(&w.b, "  when ben says \"wait\" with x in 0 seconds .. %s", w.pick("long", "1 minutes", "2 days"))
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
				fmt.Fprintf(&w.b, "  when oracle price each %s", w.pick("age", "20 seconds", "20 seconds", "40 seconds", "c * 15 seconds", "share(d, n, 90)"))
			case 5:
				w.oracle = true
				fmt.Fprintf(&w.b, "  when oracle price for %s", w.pick("time", "t", "t - d"))
			}
			if w.n("guard", 0, 1) == 0 {
				w.guard = w.condition(1)
				fmt.Fprintf(&w.b, " if %s", w.guard)
			}
			w.b.WriteString(":\n")
			w.statement(2)
			if w.n("cycle", 0, 5) == 0 {
				fmt.Fprintf(&w.b, "    if fuel < 1 then set fuel = fuel + 1 next P%d end\n", w.n("phase", 0, w.phases-1))
			}
			w.end(i, true)
		}
		w.value, w.oracle, w.opened, w.member, w.guard = Literal, false, false, false, ""
		if w.n("deadlines", 0, 3) == 0 {
			w.guard = w.condition(0)
			fmt.Fprintf(&w.b, "  at deadline if %s:\n", w.guard)
			w.statement(1)
			w.end(i, false)
			w.guard = ""
		}
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
// exploration. What the exploration refuses is played as well: the machine is safe without it. Every counterexample
// reproduces its numbers.
func TestGeneratedContracts(t *testing.T) {
	written, passed, admitted, found := 0, 0, 0, 0
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
				if strings.Contains(f.What, "stands where") || strings.Contains(f.What, "is not the name") || strings.Contains(f.What, "do not go together") {
					t.Fatalf("%v\n%s", f, source)
				}
			}
			return
		}
		passed++
		var terms []int64
		if w.roles {
			terms = append(terms, rapid.Int64Range(1, 3).Draw(t, "members"), rapid.Int64Range(1, 2).Draw(t, "guests"))
		}
		terms = append(terms, rapid.Int64Range(1, 8).Draw(t, "u"), rapid.Int64Range(0, 6).Draw(t, "v"), rapid.Int64Range(-3, 6).Draw(t, "n"),
			rapid.Int64Range(60, 3600).Draw(t, "d"), noon+rapid.Int64Range(-100, 2000).Draw(t, "t"), rapid.OneOf(rapid.Int64Range(-9223372036854775807, 9223372036854775807), rapid.SampledFrom([]int64{-9223372036854775807, 9223372036854775807, 0, 1, -1})).Draw(t, "big"), rapid.Int64Range(0, 100).Draw(t, "pct"), rapid.SampledFrom([]int64{-100_000_000_000_000, 9223372036854775807, 0, 1, -1}).Draw(t, "cash"))
		if w.roles {
			for range terms[0] {
				terms = append(terms, rapid.Int64Range(0, 4).Draw(t, "weight"))
			}
		}
		d, err := p.Bind(terms)
		var refused *Error
		if errors.As(err, &refused) {
			return // a count of members between the ends that the checks do not pass
		}
		if errors.Is(err, ErrTerms) {
			return // the requirement
		}
		if err != nil {
			t.Fatal(err)
		}
		var weights [][]int64
		for i := range d.Program().Pots() {
			weights = append(weights, split(t, d.PotUnits(i)))
		}
		lim := Limits{States: 2000, Moves: 8000}
		n, _ := reproduces(t, d, weights, lim)
		found += n
		report, err := d.Admit(weights, lim)
		if err != nil {
			if errors.As(err, &refused); slices.ContainsFunc(refused.Findings, func(f Finding) bool { return strings.Contains(f.What, ErrFault.Error()) }) {
				t.Fatalf("the checks passed what faults: %v\n%s\nterms %v, chunks %v", err, source, terms, weights)
			}
			open(t, d, weights, nil).random(t)
			return
		}
		admitted++
		defer func() {
			if t.Failed() {
				t.Logf("%s\nterms %v, chunks %v", source, terms, weights)
			}
		}()
		for range 3 {
			open(t, d, weights, &report).random(t)
		}
	})
	t.Logf("%d written, %d passed the checks, %d admitted, %d counterexamples", written, passed, admitted, found)
	if passed == 0 || admitted == 0 || found == 0 {
		t.Error("the writer writes nothing that passes")
	}
}
