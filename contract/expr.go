package contract

import (
	"fmt"
	"slices"
)

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
		p.fail(at, fmt.Sprintf("%s must be of type %s, this is of type %s", of, want, p.nodes[n].typ),
			"units are a pot, a term, a range `in 0..100 units`, or share(pot, number, number) of them; a duration has a unit, as `5 days`")
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

// operators of two operands. A swapped one is written the other way round.
func operators() []operator {
	return []operator{{"or", opOr, bindOr, false}, {"and", opAnd, bindAnd, false}, {"=", opEq, bindCompare, false},
		{"!=", opNe, bindCompare, false}, {"<", opLt, bindCompare, false}, {">", opLt, bindCompare, true},
		{"<=", opLe, bindCompare, false}, {">=", opLe, bindCompare, true}, {"==", opEq, bindCompare, false},
		{"+", opAdd, bindSum, false}, {"-", opSub, bindSum, false}, {"*", opMul, bindProduct, false}, {"/", opDiv, bindProduct, false}}
}

type operator struct {
	text  string
	op    op
	binds int
	swap  bool
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
		minus := p.node(node{v: -1, a: none, b: none, c: none, pos: at})
		left = p.node(node{op: opMul, a: minus, b: p.value(), c: none, pos: at})
	default:
		left = p.value()
	}
	for compared := false; ; {
		i := slices.IndexFunc(p.operators, func(o operator) bool { return p.is(o.text) })
		if i < 0 || p.operators[i].binds < level || p.failed {
			return left
		}
		o := p.operators[i]
		at := p.tok.pos
		if p.is("==") || compared && o.binds == bindCompare {
			p.wrong("another operator", "compare two values at a time, for equality by one `=`; join conditions by `and`")
		}
		compared = o.binds == bindCompare
		p.advance()
		right := p.expr(o.binds + 1)
		if o.swap {
			left, right = right, left
		}
		left = p.node(node{op: o.op, a: left, b: right, c: none, pos: at})
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
		if s == nil || s.what >= isParty {
			p.fail(t.pos, "`"+t.text+"` is not a value that is known here", "use a term, a pot or a counter that is declared above, an oracle in its clause")
			return none
		}
		s.used = true
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
	t := p.tok
	if t.kind != tNumber {
		p.wrong("a number", "write a whole number")
	}
	p.advance()
	n := node{v: t.val, a: none, b: none, c: none, pos: t.pos}
	units := []string{"units", "seconds", "minutes", "hours", "days", "weeks"}
	if i := slices.IndexFunc(units, p.is); i == 0 {
		p.advance()
		n.typ = Units
	} else if i > 0 {
		p.advance()
		seconds, _ := muldiv(n.v, [...]int64{0, 1, 60, 60 * 60, 24 * 60 * 60, 7 * 24 * 60 * 60}[i], 1)
		if n.typ, n.v = Duration, seconds; seconds > MaxDuration {
			p.fail(t.pos, "this duration is longer than a thousand years", "write a shorter one")
		}
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
		t, ok := result(n.op, typ[0], typ[1], typ[2])
		if n.typ = t; !ok {
			p.fail(n.pos, fmt.Sprintf("the types %s and %s do not go together here", typ[0], typ[1]),
				"add and compare values of one type, as `1 days` and a duration; multiply and divide by plain numbers; take a part by share(amount, numerator, denominator)")
		}
	}
	if p.failed {
		return none
	}
	p.nodes = append(p.nodes, n)
	return int32(len(p.nodes) - 1)
}

// result is the type of an operation over types a, b and c, and whether they go together.
func result(o op, a, b, c Type) (t Type, ok bool) {
	t, ok = unify(a, b)
	amount := func(t Type) bool { return t != Time && t != truth }
	plain := func(t Type) bool { return t == Literal || t == Number }
	switch o {
	case opNot, opAnd, opOr:
		return truth, a == truth && (o == opNot || b == truth)
	case opEq, opNe, opLt, opLe:
		return truth, ok && t != truth
	case opMin, opMax:
		return t, ok && t != truth
	case opMul:
		return max(a, b), plain(a) && amount(b) || plain(b) && amount(a)
	case opDiv:
		if plain(b) && amount(a) {
			return max(a, b), true
		}
		return Number, ok && amount(t)
	case opShare:
		both, fits := unify(b, c)
		return a, fits && amount(a) && amount(both)
	}
	switch { // a sum or a difference
	case a == Time && b == Duration || o == opAdd && a == Duration && b == Time:
		return Time, true
	case o == opSub && a == Time && b == Time:
		return Duration, true
	}
	return t, ok && amount(t)
}
