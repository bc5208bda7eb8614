package contract

import (
	"fmt"
	"math/bits"
)

// How tightly operators bind, loosest first: or, and, not, comparison, sum, product.
const (
	bindOr = iota
	bindAnd
	bindNot
	bindCompare
	bindSum
	bindProduct
	bindNone
)

func popcount(x uint64) int { return bits.OnesCount64(x) }

// condition reads an expression that is true or false.
func (p *parser) condition() int32 { return p.typed(truth, "a condition") }

// typed reads an expression of type want; a literal fits numbers and units.
func (p *parser) typed(want Type, of string) int32 {
	at := p.tok.pos
	n := p.expr(bindOr)
	if p.failed {
		return none
	}
	got := p.prog.nodes[n].typ
	if t, ok := unify(got, want); !ok || t != want {
		mend := fmt.Sprintf("write an expression of type %s", want)
		if want == Units && got == Number {
			mend = "give its range in units, as `in 0..100 units`, or take a part by share(pot, number, number)"
		}
		p.fail(at, fmt.Sprintf("%s must be %s, this is %s", of, article(want), article(got)), mend)
	}
	return n
}

func article(t Type) string {
	switch t {
	case Units:
		return "an amount in units"
	case Literal:
		return "a plain number"
	}
	return "a " + t.String()
}

// unify returns the common type of two operands.
func unify(a, b Type) (Type, bool) {
	switch {
	case a == b:
		return a, true
	case a == Literal && (b == Number || b == Units):
		return b, true
	case b == Literal && (a == Number || a == Units):
		return a, true
	}
	return a, false
}

func (p *parser) operator() (op, int) {
	switch {
	case p.tok.kind != tName && p.tok.kind != tPunct:
	case p.tok.text == "or":
		return opOr, bindOr
	case p.tok.text == "and":
		return opAnd, bindAnd
	case p.tok.text == "=" || p.tok.text == "==":
		return opEq, bindCompare
	case p.tok.text == "!=":
		return opNe, bindCompare
	case p.tok.text == "<" || p.tok.text == ">":
		return opLt, bindCompare
	case p.tok.text == "<=" || p.tok.text == ">=":
		return opLe, bindCompare
	case p.tok.text == "+":
		return opAdd, bindSum
	case p.tok.text == "-":
		return opSub, bindSum
	case p.tok.text == "*":
		return opMul, bindProduct
	case p.tok.text == "/":
		return opDiv, bindProduct
	}
	return 0, none
}

// expr reads an expression whose operators bind at least as tightly as level.
func (p *parser) expr(level int) int32 {
	if p.depth++; p.depth > MaxDepth {
		p.fail(p.tok.pos, "this is nested too deeply", fmt.Sprintf("at most %d levels", MaxDepth))
	}
	defer func() { p.depth-- }()
	if p.failed {
		return none
	}
	var left int32
	if at := p.tok.pos; level <= bindNot && p.accept("not") {
		left = p.node(opNot, at, p.expr(bindNot), none, none)
	} else {
		left = p.unary()
	}
	for {
		o, binds := p.operator()
		if binds < level || p.failed {
			return left
		}
		t := p.tok
		if t.text == "==" {
			p.wrong("an operator", "to compare, write one `=`")
			return none
		}
		p.advance()
		right := p.expr(binds + 1)
		if t.text == ">" || t.text == ">=" {
			left, right = right, left
		}
		left = p.node(o, t.pos, left, right, none)
		if _, b := p.operator(); b == bindCompare && binds == bindCompare {
			p.wrong("the end of the comparison", "compare two values at a time, joined by `and`")
		}
	}
}

func (p *parser) unary() int32 {
	if at := p.tok.pos; p.accept("-") {
		zero := p.leaf(node{op: opConst, pos: at})
		if p.is("-") {
			p.wrong("a value", "write one minus")
		}
		x := p.primary()
		if x != none && !p.failed {
			p.prog.nodes[zero].typ = p.prog.nodes[x].typ
		}
		return p.node(opSub, at, zero, x, none)
	}
	return p.primary()
}

func (p *parser) primary() int32 {
	t := p.tok
	switch {
	case t.kind == tNumber:
		return p.literal()
	case p.accept("("):
		n := p.expr(bindOr)
		p.expect(")", "close the parenthesis")
		return n
	case p.accept("share"):
		return p.call(opShare, t.pos, 3, "share(amount, numerator, denominator)")
	case p.accept("min"):
		return p.call(opMin, t.pos, 2, "min(a, b)")
	case p.accept("max"):
		return p.call(opMax, t.pos, 2, "max(a, b)")
	case p.accept("left"):
		p.expect("(", "write `left(pot)`")
		i := p.ref(int(opPot), "a pot")
		p.expect(")", "write `left(pot)`")
		return p.leaf(node{op: opLeft, typ: Units, v: int64(i), pos: t.pos})
	case p.is("now"):
		p.wrong("a value", "`now` may stand only in `until now + duration`")
		return none
	case t.kind == tName && !reserved(t.text):
		return p.variable()
	}
	p.wrong("a value", "write a number, a name, or a formula")
	return none
}

func (p *parser) call(o op, at pos, n int, form string) int32 {
	var arg [3]int32
	arg[2] = none
	p.expect("(", "write `"+form+"`")
	for i := range n {
		if i > 0 {
			p.expect(",", "write `"+form+"`")
		}
		arg[i] = p.expr(bindOr)
	}
	p.expect(")", "write `"+form+"`")
	return p.node(o, at, arg[0], arg[1], arg[2])
}

func (p *parser) variable() int32 {
	t := p.tok
	p.advance()
	what, i := p.lookup(t.text)
	n := node{op: op(what), v: int64(i), pos: t.pos}
	switch what {
	case int(opTerm):
		n.typ = p.prog.terms[i].Type
	case int(opPot):
		n.typ = Units
	case int(opCounter):
		n.typ = p.prog.counters[i].typ
	case int(opInput):
		n.typ = p.scope.typ
	case isOracle:
		p.fail(t.pos, "the value of oracle `"+t.text+"` is not known here", "use it in a clause `when oracle "+t.text+" …`")
	case isParty:
		p.fail(t.pos, "`"+t.text+"` is a party, not a value", "use the name of a term, a pot or a counter")
	default:
		p.fail(t.pos, "nothing is named `"+t.text+"`", "declare it above, or use a name that is declared")
	}
	return p.leaf(n)
}

// literal reads a number and the unit behind it.
func (p *parser) literal() int32 {
	t := p.tok
	if t.kind != tNumber {
		p.wrong("a number", "write a whole number")
		return none
	}
	p.advance()
	n, seconds := node{op: opConst, v: t.val, pos: t.pos}, int64(0)
	if p.tok.kind == tName {
		switch p.tok.text {
		case "units":
			n.typ = Units
			p.advance()
		case "seconds", "minutes", "hours", "days", "weeks":
			seconds = secondsIn(p.tok.text)
			p.advance()
		}
	}
	if seconds > 0 {
		n.typ = Duration
		if n.v > MaxDuration/seconds {
			p.fail(t.pos, "this duration is longer than a thousand years", "write a shorter one")
		}
		n.v *= seconds
	}
	return p.leaf(n)
}

func secondsIn(unit string) int64 {
	switch unit {
	case "minutes":
		return 60
	case "hours":
		return 60 * 60
	case "days":
		return 24 * 60 * 60
	case "weeks":
		return 7 * 24 * 60 * 60
	}
	return 1
}

func (p *parser) leaf(n node) int32 {
	if p.failed {
		return none
	}
	n.a, n.b, n.c = none, none, none
	p.prog.nodes = append(p.prog.nodes, n)
	return int32(len(p.prog.nodes) - 1)
}

// node makes an operation, or refuses operands that do not belong together.
func (p *parser) node(o op, at pos, a, b, c int32) int32 {
	if p.failed {
		return none
	}
	n := node{op: o, a: a, b: b, c: c, pos: at}
	var typ [3]Type
	for i, x := range [3]int32{a, b, c} {
		if x != none {
			typ[i] = p.prog.nodes[x].typ
			n.height = max(n.height, p.prog.nodes[x].height+1)
		}
	}
	if n.height > MaxDepth {
		p.fail(at, "this formula is too long", "use fewer operations in one formula")
		return none
	}
	var mend string
	if n.typ, mend = result(o, typ[0], typ[1], typ[2]); mend != "" {
		p.fail(at, fmt.Sprintf("%s and %s do not go together here", article(typ[0]), article(typ[1])), mend)
		return none
	}
	p.prog.nodes = append(p.prog.nodes, n)
	return int32(len(p.prog.nodes) - 1)
}

// result is the type of an operation over types a, b, c; mend is not empty where there is none.
func result(o op, a, b, c Type) (t Type, mend string) {
	both, ok := unify(a, b)
	plain := func(t Type) bool { return t == Literal || t == Number }
	switch o {
	case opNot, opAnd, opOr:
		ok = a == truth && (o == opNot || b == truth)
		both, mend = truth, "join conditions, as `a > 1 and b < 2`"
	case opEq, opNe, opLt, opLe:
		ok = ok && both != truth
		both, mend = truth, "compare values of one type; a duration has a unit, as `0 seconds`"
	case opMin, opMax:
		ok, mend = ok && both != truth, "both must have one type"
	case opAdd, opSub:
		switch {
		case a == Time && b == Duration, o == opAdd && a == Duration && b == Time:
			both, ok = Time, true
		case o == opSub && a == Time && b == Time:
			both = Duration
		default:
			ok = ok && both != truth && both != Time
		}
		mend = "add and subtract values of one type, or a duration to a time"
	case opMul:
		ok = plain(a) && b != Time && b != truth || plain(b) && a != Time && a != truth
		both = max(a, b)
		mend = "multiply by a number; to take a part, write share(amount, numerator, denominator)"
	case opDiv:
		switch {
		case plain(b) && a != Time && a != truth:
			both, ok = max(a, b), true
		default:
			ok = ok && (both == Units || both == Duration)
			both = Number
		}
		mend = "divide by a number, or amounts by amounts"
	case opShare:
		bc, fits := unify(b, c)
		both, ok = a, fits && a != Time && a != truth && bc != Time && bc != truth
		mend = "write share(amount, numerator, denominator); numerator and denominator have one type"
	}
	if ok {
		mend = ""
	}
	return both, mend
}
