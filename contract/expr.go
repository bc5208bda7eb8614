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
			[...]string{Number: "a number is plain, as `5`, a term or a counter; a quotient of two amounts is one", Time: "a time is a term, or `now + 5 days`",
				Units:    "units are a pot, a term, a range `in 0..100 units`, or share(pot, number, number) of them",
				Duration: "a duration has a unit, as `5 days`", Money: "money has two decimals, as `12.50`", truth: "a condition compares, as `price > 5`"}[want])
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
		i := none
		if p.tok.kind == tSign || p.is("and") || p.is("or") {
			i = slices.IndexFunc(p.operators, func(o operator) bool { return o.text == p.tok.text })
		}
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
	case p.accept("now"):
		p.timed = true
		return p.leaf(opNow, Time, 0, t.pos)
	case p.is("left"), p.is("filled"), p.is("sealed"):
		return p.look(t)
	case p.is("sum"), p.is("most"), p.is("least"), p.is("count"):
		return p.over(t)
	case t.kind != tName || isReserved(t.text):
		p.wrong("a value", "write a number, a name, or a formula")
		return none
	default:
		p.advance()
		s := p.lookup(t.text)
		if s != nil && s.what == isCurve {
			s.used = true
			c := p.curves[s.index]
			n := p.call(opCurve, t.pos, 1, "write `"+c.name+"(value)`")
			if p.failed {
				return none
			}
			x := &p.nodes[n]
			if x.v, x.typ = int64(s.index), c.yt; p.nodes[x.a].typ != c.xt {
				if _, ok := unify(p.nodes[x.a].typ, c.xt); !ok {
					p.fail(t.pos, fmt.Sprintf("the curve goes over a %s, this is of type %s", c.xt, p.nodes[x.a].typ), "write the points of the curve in the units of the value")
				}
			}
			return n
		}
		if s == nil || s.what >= isParty || s.what == opSealed {
			p.fail(t.pos, "`"+t.text+"` is not a value that is known here", "use a term, a pot or a counter that is declared above, an oracle or an opened value in its clause")
			return none
		}
		return p.leaf(s.what, s.typ, p.of(s, t.pos), t.pos)
	}
}

func (p *parser) leaf(o op, typ Type, i int, at pos) int32 {
	return p.node(node{op: o, typ: typ, a: none, b: none, c: none, v: int64(i), pos: at})
}

// look reads what is known of a pot or of a sealed value.
func (p *parser) look(t token) int32 {
	form := "write `" + t.text + "(name)`"
	p.advance()
	p.expect("(", form)
	var o op
	var i int
	if t.text == "sealed" {
		o, i = opSealed, p.ref(opSealed, "a sealed value")
	} else if i = p.ref(opPot, "a pot"); t.text == "left" {
		o = opLeft
	} else if o = opFilled; !p.failed && !p.pots[i].Later {
		o = opPot
	}
	p.expect(")", form)
	return p.leaf(o, [...]Type{Units, truth}[truthOf(o == opSealed)], i, t.pos)
}

// over reads a value over all holders of a role: sum(role: units), most(role: units), least(role: units),
// count(role: condition), and count(role) for their number.
func (p *parser) over(t token) int32 {
	form := "write `" + t.text + "(role: value)`"
	p.advance()
	p.expect("(", form)
	role := p.role()
	if t.text == "count" && p.accept(")") {
		return p.leaf(opTerm, Number, role, t.pos)
	}
	p.expect(":", form)
	var list []int32
	p.forEach(role, func() {
		if t.text == "count" {
			list = append(list, p.typed(truth, "what is counted"))
		} else {
			list = append(list, p.expr(bindOr))
		}
		p.expect(")", form)
	})
	o := map[string]op{"sum": opAdd, "count": opAdd, "most": opMax, "least": opMin}[t.text]
	for len(list) > 1 && !p.failed { // as a tree, whose height is small
		var half []int32
		for i := 0; i+1 < len(list); i += 2 {
			n := node{op: o, a: list[i], b: list[i+1], c: none, pos: t.pos}
			if t.text == "count" {
				half = append(half, p.push(n, Number))
			} else {
				half = append(half, p.node(n))
			}
		}
		if len(list)%2 == 1 {
			half = append(half, list[len(list)-1])
		}
		list = half
	}
	if p.failed {
		return none
	}
	if p.nodes[list[0]].typ == truth { // one holder
		return p.push(node{op: opAdd, a: list[0], b: p.leaf(opConst, Literal, 0, t.pos), c: none, pos: t.pos}, Number)
	}
	return list[0]
}

// push adds a node of a type that no operation of the language has.
func (p *parser) push(n node, typ Type) int32 {
	if p.failed {
		return none
	}
	n.typ, n.height = typ, 1+max(p.nodes[n.a].height, p.nodes[n.b].height)
	p.nodes = append(p.nodes, n)
	return int32(len(p.nodes) - 1)
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
	if t.money {
		n.typ = Money
		return p.node(n)
	}
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
