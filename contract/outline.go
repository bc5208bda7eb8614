package contract

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Outline is what a contract says, for whoever shows it to people. A role is written out: what holds for each of its
// holders stands once for each, at the same place of the source.
type Outline struct {
	Requires []string // formulas
	Counters []Variable
	Sealed   []Variable
	Curves   []Curve
	Opening  []Statement
	Phases   []Phase
}

// Variable is a counter with its first value, or a sealed value. Its range includes Lo and Hi.
type Variable struct {
	Term
	Start int64
}

// Curve is a payout curve: level before the first point and after the last, straight between two.
type Curve struct {
	Name string
	X, Y Type
	Xs   []int64
	Ys   []int64
}

// Phase is one phase of a contract. Until is the formula of its end; Rounds is how often an instance can enter it.
type Phase struct {
	Name, Until string
	Rounds      int64
	Clauses     []Clause
	Line, Col   int
}

// Clause is what one event does in a phase.
type Clause struct {
	Kind    EventKind
	Word    string
	Parties []int    // who may say the word, and of a deposit who makes it
	Need    int      // how many of them must
	Value   Variable // what comes with the word or from the oracle; without a name there is none
	Sealed  bool     // a commitment to the value comes with the word
	Opened  bool     // the value that was committed to comes with the word
	Oracle  int      // -1: no oracle clause
	For     string   // the time of the oracle's value, a formula; empty where Each stands
	Each    string   // how old it may be
	Pot     int      // of a deposit; -1: none
	Partial bool     // of a deposit: the pot need not be full
	If      string   // the condition, empty if there is none
	Body    []Statement
	Line    int
	Col     int
}

// Statement is one thing that is done. Do is the word that it begins with: give, set, if, next, close or stay.
type Statement struct {
	Do         string
	Pot, To    int    // of a give
	All        bool   // of a give: all that is left
	Counter    int    // of a set
	Phase      int    // of a next
	Formula    string // the amount, the value, or the condition
	Then, Else []Statement
	Line, Col  int
}

// Outline returns what p says.
func (p *Program) Outline() Outline {
	o := Outline{Opening: p.statements(p.opening.body, "")}
	for _, n := range p.requires {
		o.Requires = append(o.Requires, p.text(n, "", 0))
	}
	for _, k := range p.counters {
		o.Counters = append(o.Counters, Variable{k.Term, k.start})
	}
	for _, t := range p.seals {
		o.Sealed = append(o.Sealed, Variable{Term: t})
	}
	for _, c := range p.curves {
		o.Curves = append(o.Curves, Curve{c.name, c.xt, c.yt, slices.Clone(c.xs), slices.Clone(c.ys)})
	}
	for i := range p.phases {
		ph := &p.phases[i]
		out := Phase{Name: ph.name, Until: p.text(ph.until, "", 0), Rounds: ph.rounds, Line: int(ph.pos.line), Col: int(ph.pos.col)}
		for j := range ph.clauses {
			out.Clauses = append(out.Clauses, p.outline(&ph.clauses[j]))
		}
		o.Phases = append(o.Phases, out)
	}
	return o
}

func (p *Program) outline(c *clause) Clause {
	out := Clause{Word: c.word, Need: c.need, Sealed: c.carries == aSeal, Opened: c.carries == aKey, Oracle: none, Pot: none,
		If: p.text(c.guard, c.input, 0), Body: p.statements(c.body, c.input), Line: int(c.pos.line), Col: int(c.pos.col)}
	for m := c.members; m != 0; m &= m - 1 {
		out.Parties = append(out.Parties, bits.TrailingZeros64(m))
	}
	if c.input != "" {
		out.Value.Term = Term{c.input, c.typ, c.lo, c.hi}
	}
	switch time := p.text(c.time, "", 0); c.kind {
	case onWord:
		out.Kind = Word
	case onEach:
		out.Kind, out.Oracle, out.Each = Oracle, c.oracle, time
	case onFor:
		out.Kind, out.Oracle, out.For = Oracle, c.oracle, time
	case onDeposit:
		out.Kind, out.Pot, out.Partial, out.Parties, out.Need = Deposit, c.oracle, c.partial, []int{p.pots[c.oracle].From}, 1
	case onDeadline:
		out.Kind = Deadline
	}
	return out
}

func (p *Program) statements(body []stmt, input string) (list []Statement) {
	for i := range body {
		s := &body[i]
		out := Statement{Do: [...]string{"give", "set", "if", "next", "close", "stay"}[s.kind], Formula: p.text(s.expr, input, 0), Line: int(s.pos.line), Col: int(s.pos.col)}
		switch s.kind {
		case stGive:
			n := &p.nodes[s.expr]
			out.Pot, out.To, out.All = s.index, s.to, n.op == opLeft && n.v == int64(s.index)
		case stSet:
			out.Counter = s.index
		case stIf:
			out.Then, out.Else = p.statements(s.then, input), p.statements(s.els, input)
		case stNext:
			out.Phase = int(p.jumps[s.index])
		}
		list = append(list, out)
	}
	return list
}

// text writes a formula in the language, with parentheses only where what stands around it binds tighter than level.
func (p *Program) text(i int32, input string, level int) string {
	if i == none {
		return ""
	}
	n := &p.nodes[i]
	call := func(name string, args ...int32) string {
		var list []string
		for _, a := range args {
			list = append(list, p.text(a, input, 0))
		}
		return name + "(" + strings.Join(list, ", ") + ")"
	}
	switch n.op {
	case opConst:
		return p.constant(n)
	case opTerm:
		return p.terms[n.v].Name
	case opPot:
		return p.pots[n.v].Name
	case opLeft:
		return "left(" + p.pots[n.v].Name + ")"
	case opFilled:
		return "filled(" + p.pots[n.v].Name + ")"
	case opCounter:
		return p.counters[n.v].Name
	case opSealed:
		return "sealed(" + p.seals[n.v].Name + ")"
	case opNow:
		return "now"
	case opInput:
		return input
	case opCurve:
		return call(p.curves[n.v].name, n.a)
	case opMin:
		return call("min", n.a, n.b)
	case opMax:
		return call("max", n.a, n.b)
	case opShare:
		return call("share", n.a, n.b, n.c)
	}
	s, own := "", bindNot
	switch first := &p.nodes[n.a]; {
	case n.op == opNot:
		s = "not " + p.text(n.a, input, own)
	case n.op == opMul && first.op == opConst && first.v == -1:
		own, s = bindProduct, "-"+p.text(n.b, input, bindProduct+1)
	default:
		list := operators()
		o := list[slices.IndexFunc(list, func(o operator) bool { return o.op == n.op && !o.swap })]
		if own = o.binds; o.binds == bindCompare {
			s = p.text(n.a, input, own+1) + " " + o.text + " " + p.text(n.b, input, own+1)
		} else {
			s = p.text(n.a, input, own) + " " + o.text + " " + p.text(n.b, input, own+1)
		}
	}
	if own < level {
		return "(" + s + ")"
	}
	return s
}

// constant writes a number in the unit that fits.
func (p *Program) constant(n *node) string {
	switch n.typ {
	case Units:
		return strconv.FormatInt(n.v, 10) + " units"
	case Money:
		return Format(Money, n.v)
	case Duration:
		for _, u := range []struct {
			name string
			secs int64
		}{{"weeks", 604800}, {"days", 86400}, {"hours", 3600}, {"minutes", 60}} {
			if n.v != 0 && n.v%u.secs == 0 {
				return strconv.FormatInt(n.v/u.secs, 10) + " " + u.name
			}
		}
		return strconv.FormatInt(n.v, 10) + " seconds"
	}
	return strconv.FormatInt(n.v, 10)
}

// Format writes a value as a source does: money with two decimals, everything else as a whole number.
func Format(t Type, v int64) string {
	s := strconv.FormatInt(v, 10)
	if t != Money {
		return s
	}
	sign := ""
	if v < 0 {
		sign, s = "-", s[1:]
	}
	s = strings.Repeat("0", max(0, 3-len(s))) + s
	return sign + s[:len(s)-2] + "." + s[len(s)-2:]
}
