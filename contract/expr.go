package contract

import "fmt"

// How tightly operators bind, loosest first.
const (
	bindOr = iota
	bindAnd
	bindNot
	bindCompare
	bindSum
	bindProduct
)

// typed reads an expression of type want; a literal fits numbers and units.
func (p *parser) typed(want Type, of string) int32 {
	at := p.tok.pos
	n := p.expr(bindOr)
	if p.failed {
		return none
	}
	if t, ok := unify(p.nodes[n].typ, want); !ok || t != want {
		mend := "write an expression of type " + want.String()
		if want == Units && t == Number {
			mend = "give its range in units, as `in 0..100 units`, or take a part by share(pot, number, number)"
		}
		p.fail(at, fmt.Sprintf("%s must be %s, this is %s", of, article(want), article(p.nodes[n].typ)), mend)
	}
	return n
}

// unify returns the common type of two operands, a where there is none.
func unify(a, b Type) (Type, bool) {
	if a == Literal && (b == Number || b == Units) {
		return b, true
	}
	return a, a == b || b == Literal && (a == Number || a == Units)
}

// operator returns the operator that stands here and how tightly it binds; none if none does.
func (p *parser) operator() (o op, binds int, swap bool) {
	if p.tok.kind == tName || p.tok.kind == tSign {
		switch p.tok.text {
		case "or":
			return opOr, bindOr, false
		case "and":
			return opAnd, bindAnd, false
		case "=", "==":
			return opEq, bindCompare, false
		case "!=":
			return opNe, bindCompare, false
		case "<", ">":
			return opLt, bindCompare, p.tok.text == ">"
		case "<=", ">=":
			return opLe, bindCompare, p.tok.text == ">="
		case "+":
			return opAdd, bindSum, false
		case "-":
			return opSub, bindSum, false
		case "*":
			return opMul, bindProduct, false
		case "/":
			return opDiv, bindProduct, false
		}
	}
	return 0, none, false
}

// expr reads an expression whose operators bind at least as tightly as level.
func (p *parser) expr(level int) int32 {
	p.deeper()
	defer func() { p.depth-- }()
	if p.failed {
		return none
	}
	var left int32
	switch at := p.tok.pos; {
	case level <= bindNot && p.accept("not"):
		left = p.node(node{op: opNot, a: p.expr(bindNot), b: none, c: none, pos: at})
	case p.accept("-"):
		zero := p.node(node{a: none, b: none, c: none, pos: at})
		left = p.value()
		if !p.failed {
			p.nodes[zero].typ = p.nodes[left].typ
		}
		left = p.node(node{op: opSub, a: zero, b: left, c: none, pos: at})
	default:
		left = p.value()
	}
	for compared := false; ; {
		o, binds, swap := p.operator()
		if binds < level || p.failed {
			return left
		}
		at := p.tok.pos
		if p.is("==") || compared && binds == bindCompare {
			p.wrong("another operator", "compare two values at a time, for equality by one `=`; join conditions by `and`")
		}
		compared = binds == bindCompare
		p.advance()
		right := p.expr(binds + 1)
		if swap {
			left, right = right, left
		}
		left = p.node(node{op: o, a: left, b: right, c: none, pos: at})
	}
}

// value reads one operand.
func (p *parser) value() int32 {
	switch t := p.tok; {
	case t.kind == tNumber:
		return p.literal()
	case p.accept("("):
		n := p.expr(bindOr)
		p.expect(")", "close the parenthesis")
		return n
	case p.accept("share"):
		return p.call(opShare, t.pos, 3, "write `share(amount, numerator, denominator)`")
	case p.accept("min"):
		return p.call(opMin, t.pos, 2, "write `min(a, b)`")
	case p.accept("max"):
		return p.call(opMax, t.pos, 2, "write `max(a, b)`")
	case p.accept("left"):
		p.expect("(", "write `left(pot)`")
		i := p.ref(opPot, "a pot")
		p.expect(")", "write `left(pot)`")
		return p.node(node{op: opLeft, typ: Units, a: none, b: none, c: none, v: int64(i), pos: t.pos})
	case t.kind != tName || isReserved(t.text):
		p.wrong("a value", "write a number, a name, or a formula; `now` may stand only in `until now + duration`")
		return none
	default:
		p.advance()
		s := p.lookup(t.text)
		switch {
		case s.what == isOracle:
			p.fail(t.pos, "the value of oracle `"+t.text+"` is not known here", "use it in a clause `when oracle "+t.text+" …`")
		case s.what >= isParty:
			p.fail(t.pos, "`"+t.text+"` is not a value", "use the name of a term, a pot or a counter that is declared above")
		}
		return p.node(node{op: s.what, typ: s.typ, a: none, b: none, c: none, v: int64(s.index), pos: t.pos})
	}
}

func (p *parser) call(o op, at pos, n int, form string) int32 {
	arg := [3]int32{none, none, none}
	p.expect("(", form)
	for i := range n {
		if i > 0 {
			p.expect(",", form)
		}
		arg[i] = p.expr(bindOr)
	}
	p.expect(")", form)
	return p.node(node{op: o, a: arg[0], b: arg[1], c: arg[2], pos: at})
}

// literal reads a number and the unit behind it.
func (p *parser) literal() int32 {
	t, seconds := p.tok, int64(0)
	if t.kind != tNumber {
		p.wrong("a number", "write a whole number")
	}
	p.advance()
	n := node{v: t.val, a: none, b: none, c: none, pos: t.pos}
	if p.tok.kind == tName {
		switch p.tok.text {
		case "units":
			n.typ = Units
		case "seconds":
			seconds = 1
		case "minutes":
			seconds = 60
		case "hours":
			seconds = 60 * 60
		case "days":
			seconds = 24 * 60 * 60
		case "weeks":
			seconds = 7 * 24 * 60 * 60
		}
	}
	if seconds > 0 {
		if n.typ = Duration; n.v > MaxDuration/seconds {
			p.fail(t.pos, "this duration is longer than a thousand years", "write a shorter one")
		}
		n.v *= seconds
	}
	if n.typ != Literal {
		p.advance()
	}
	return p.node(n)
}

// node adds a node, or refuses operands that do not belong together.
func (p *parser) node(n node) int32 {
	var typ [3]Type
	for i, x := range [3]int32{n.a, n.b, n.c} {
		if x != none && !p.failed {
			typ[i] = p.nodes[x].typ
			n.height = max(n.height, p.nodes[x].height+1)
		}
	}
	if n.height > MaxDepth {
		p.fail(n.pos, "this formula is too long", "use fewer operations in one formula")
	}
	if n.op >= opAdd && !p.failed {
		var mend string
		if n.typ, mend = result(n.op, typ[0], typ[1], typ[2]); mend != "" {
			p.fail(n.pos, fmt.Sprintf("%s and %s do not go together here", article(typ[0]), article(typ[1])), mend)
		}
	}
	if p.failed {
		return none
	}
	p.nodes = append(p.nodes, n)
	return int32(len(p.nodes) - 1)
}

// result is the type of an operation over types a, b and c; mend is not empty where there is none.
func result(o op, a, b, c Type) (t Type, mend string) {
	t, ok := unify(a, b)
	amount := func(t Type) bool { return t != Time && t != truth }
	plain := func(t Type) bool { return t == Literal || t == Number }
	switch o {
	case opNot, opAnd, opOr:
		ok = a == truth && (o == opNot || b == truth)
		t, mend = truth, "join conditions, as `a > 1 and b < 2`"
	case opEq, opNe, opLt, opLe:
		ok = ok && t != truth
		t, mend = truth, "compare values of one type; a duration has a unit, as `0 seconds`"
	case opMin, opMax:
		ok, mend = ok && t != truth, "both must have one type"
	case opAdd, opSub:
		mend = "add and subtract values of one type, or a duration and a time"
		switch {
		case a == Time && b == Duration || o == opAdd && a == Duration && b == Time:
			t, ok = Time, true
		case o == opSub && a == Time && b == Time:
			t = Duration
		default:
			ok = ok && amount(t)
		}
	case opMul:
		ok = plain(a) && amount(b) || plain(b) && amount(a)
		t, mend = max(a, b), "multiply by a number; to take a part, write share(amount, numerator, denominator)"
	case opDiv:
		mend = "divide by a number, or amounts by amounts"
		if plain(b) && amount(a) {
			t, ok = max(a, b), true
		} else {
			t, ok = Number, ok && amount(t)
		}
	case opShare:
		both, fits := unify(b, c)
		t, ok, mend = a, fits && amount(a) && amount(both), "write share(amount, numerator, denominator); numerator and denominator have one type"
	}
	if ok {
		mend = ""
	}
	return t, mend
}
