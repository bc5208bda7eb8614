package contract

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

func (p *parser) phase() {
	start := p.taken
	ph := phase{pos: p.tok.pos, name: p.name("a phase").text, clauses: make([]clause, 0, 4)}
	if slices.ContainsFunc(p.phases, func(other phase) bool { return other.name == ph.name }) || len(p.phases) >= MaxPhases {
		p.fail(ph.pos, fmt.Sprintf("there are two phases of this name, or more than %d", MaxPhases), "choose another name for this one, or split the contract")
	}
	p.expect("until", "every phase says until when it lasts: `phase Name until time`, or `until now + duration`")
	timed := p.timed
	ph.until = p.typed(Time, "the end of a phase")
	p.timed = timed
	for p.sync(); p.is("when") || p.is("at"); p.sync() {
		p.clauses(&ph)
	}
	ph.size = p.taken - start
	p.phases = append(p.phases, ph)
}

// clauses reads one clause, one of a role once for each holder.
func (p *parser) clauses(ph *phase) {
	at, tok, end := p.lexer, p.tok, p.end
	for k := 0; k == 0 || p.any != none && k < int(p.counts[p.any]) && !p.failed; k++ {
		outer, mark := len(p.symbols), len(p.canon)
		if k > 0 {
			p.lexer, p.tok, p.end = at, tok, end
		}
		p.again, p.any = k, none
		p.clause(ph)
		if p.symbols = p.symbols[:outer]; k > 0 {
			p.canon = p.canon[:mark]
		}
		if p.any != none {
			p.holder[p.any] = none
		}
	}
	p.again, p.any = 0, none
}

// bind makes a clause one of a role: it is read again for each holder.
func (p *parser) bind(role int) {
	if !p.failed {
		p.any, p.holder[role] = role, p.again
	}
}

func (p *parser) clause(ph *phase) {
	c := clause{pos: p.tok.pos, guard: none, time: none, seal: none}
	if p.accept("at") {
		p.expect("deadline", "in a phase only `at deadline:` may stand")
		c.kind = onDeadline
	} else if p.advance(); p.accept("oracle") {
		p.observed(&c)
	} else if p.is("deposit") || p.is("each") {
		p.deposited(&c)
	} else {
		p.said(&c)
	}
	if p.accept("if") {
		c.guard = p.typed(truth, "a condition")
	}
	p.expect(":", "a colon ends what must happen; what is done follows it")
	c.body = p.body()
	if c.kind == onFor || c.need > 1 {
		for i := range ph.clauses {
			c.bit += ph.clauses[i].bits
		}
		c.bits = uint8(max(1, bits.OnesCount64(c.members)))
	}
	if c.bit+c.bits > MaxVoices || len(ph.clauses) >= MaxClauses {
		p.fail(c.pos, "this phase has too many clauses, or waits for too many voices", fmt.Sprintf("at most %d clauses and %d voices; split the phase", MaxClauses, MaxVoices))
	}
	if !p.failed {
		ph.clauses = append(ph.clauses, c)
	}
}

// said reads the head of a clause that waits for a word.
func (p *parser) said(c *clause) {
	c.kind = onWord
	between := ""
	switch t := p.tok; {
	case t.kind == tNumber && !t.money || p.is("all"):
		p.advance()
		p.expect("of", "write `when 2 of ann, ben, carl say \"word\"`, or `when all of signer say \"word\"`")
		if c.need, between = int(min(t.val, MaxParties+1)), ","; t.kind == tName {
			between = "all"
		}
	case p.accept("any"):
		role := p.role()
		if p.bind(role); !p.failed {
			c.members, between = 1<<(p.roles[role].First+p.holder[role]), "or"
		}
	}
	for more := c.members == 0; more; more = between != "" && p.accept(strings.Replace(between, "all", ",", 1)) {
		at, bit := p.tok.pos, p.members(between == "," || between == "all")
		if c.members&bit != 0 {
			p.fail(at, "a party is named twice", "name each party once")
		}
		c.members |= bit
		if between == "" && (p.is("and") || p.is("or")) {
			between = p.tok.text
		}
	}
	n := bits.OnesCount64(c.members)
	switch between {
	case "and", "all":
		c.need = n
	case "or", "":
		c.need = 1
	}
	if c.need < 1 || c.need > n {
		p.fail(c.pos, fmt.Sprintf("%d of %d parties cannot speak", c.need, n), "ask for at least one and at most all of them")
	}
	if !p.accept("says") {
		p.expect("say", "write `says \"word\"`; parties are joined by `or`, by `and`, or as `2 of a, b, c`")
	}
	if c.word = p.tok.text; p.tok.kind != tString {
		p.wrong("a word in quotes", "write `says \"release\"`")
	}
	p.advance()
	if at := p.tok.pos; p.accept("with") {
		if c.need > 1 {
			p.fail(at, "a word that several must say cannot carry a value", "let one party say the value, or write a clause for each value")
		}
		switch {
		case p.accept("sealed"):
			c.carries, c.seal = aSeal, p.ref(opSealed, "a sealed value")
		case p.accept("opened"):
			name := p.tok.text
			if c.carries, c.seal = aKey, p.ref(opSealed, "a sealed value"); !p.failed {
				t := p.seals[c.seal]
				c.input, c.typ, c.lo, c.hi = name, t.Type, t.Lo, t.Hi
				p.symbols = append(p.symbols, symbol{name: name, what: opInput, typ: t.Type, role: none})
			}
		default:
			sym := p.declare("the value", opInput, 0, 1)
			p.expect("in", "say its range: `with percent in 0..100`")
			c.typ, c.lo, c.hi = p.span(Literal)
			c.carries, c.input, sym.typ = aValue, sym.name, c.typ
		}
	}
}

// members reads a party, or in a quorum a role, and returns who that is, by bit.
func (p *parser) members(quorum bool) uint64 {
	if s := p.lookup(p.tok.text); quorum && s != nil && s.what == isParty && s.role != none && p.holder[s.role] == none {
		r := p.roles[p.role()]
		return (1<<p.counts[s.role] - 1) << r.First
	}
	return 1 << p.ref(isParty, "a party")
}

// deposited reads the head of a clause that waits for chunks of a later pot. One of a pot that each holder has is read
// for each.
func (p *parser) deposited(c *clause) {
	c.kind, c.partial = onDeposit, p.accept("each")
	p.expect("deposit", "write `when deposit pot`, or `when each deposit pot` for a part of it")
	if s := p.lookup(p.tok.text); s != nil && s.what == opPot && s.role != none && p.holder[s.role] == none {
		p.bind(s.role)
	}
	at := p.tok.pos
	c.oracle = p.ref(opPot, "a pot")
	if !p.failed && !p.pots[c.oracle].Later {
		p.fail(at, "this pot is full from the start", "declare it as `later pot …`")
	}
}

// observed reads the head of a clause that waits for an oracle. In it the oracle's name is its value.
func (p *parser) observed(c *clause) {
	if c.oracle = p.ref(isOracle, "an oracle"); p.failed {
		return
	}
	o := p.oracles[c.oracle]
	c.input, c.typ, c.lo, c.hi = o.Name, o.Type, o.Lo, o.Hi
	switch {
	case p.accept("each"):
		c.kind, c.time = onEach, p.typed(Duration, "the age of a value")
	case p.accept("for"):
		c.kind, c.time = onFor, p.typed(Time, "the time of a value")
	default:
		p.wrong("`each` or `for`", "say which value counts: `for settle_at`, or `each 60 seconds` for one that is at most so old")
	}
	p.symbols = append(p.symbols, symbol{name: o.Name, what: opInput, typ: o.Type, role: none})
}

// body reads statements up to the next clause. A body ends by at most one `next` or `close`.
func (p *parser) body() []stmt {
	var list []stmt
	for ended := false; ; {
		s := stmt{pos: p.tok.pos, expr: none}
		switch {
		case p.accept("give"):
			all := p.accept("all")
			if s.kind = stGive; !all {
				s.expr = p.typed(Units, "what is given")
			}
			p.expect("of", "write `give all of pot to party`, or `give amount of pot to party`")
			if s.index = p.ref(opPot, "a pot"); all {
				s.expr = p.node(node{op: opLeft, typ: Units, a: none, b: none, c: none, v: int64(s.index), pos: s.pos})
			}
			p.expect("to", "say who receives it: `to party`")
			s.to = p.ref(isParty, "a party")
		case p.accept("set"):
			s.kind, s.index = stSet, p.ref(opCounter, "a counter")
			p.expect("=", "write `set counter = value`")
			if !p.failed {
				s.old = p.node(node{op: opCounter, a: none, b: none, c: none, v: int64(s.index), pos: s.pos})
				s.expr = p.typed(p.counters[s.index].Type, "the value of this counter")
			}
		case p.accept("if"):
			s.kind, s.expr = stIf, p.typed(truth, "a condition")
			p.expect("then", "write `if condition then … else … end`")
			p.deeper()
			s.then = p.body()
			if p.accept("else") {
				s.els = p.body()
			}
			p.depth--
			p.expect("end", "an `if` ends with `end`")
		case p.accept("next"):
			s.kind, s.index = stNext, len(p.targets)
			p.targets = append(p.targets, p.name("a phase"))
		case p.accept("close"):
			s.kind = stClose
		case p.accept("stay"):
			s.kind = stStay
		case p.accept("for"):
			if list = append(list, p.loop()...); ended {
				p.fail(s.pos, "nothing may follow `next` or `close`", "remove this line, or move it up")
			}
			continue
		default:
			if len(list) == 0 {
				p.wrong("something to do", "say what is done: give, set, if, for each, next, close, or stay for nothing")
			}
			return list
		}
		if ended {
			p.fail(s.pos, "nothing may follow `next` or `close`", "remove this line, or move it up")
		}
		ended = s.kind == stNext || s.kind == stClose
		if list == nil {
			list = make([]stmt, 0, 3)
		}
		list = append(list, s)
	}
}

// loop reads what is done for each holder of a role.
func (p *parser) loop() (list []stmt) {
	const form = "write `for each role: … end`"
	p.expect("each", form)
	role := p.role()
	p.expect(":", form)
	p.deeper()
	p.forEach(role, func() {
		for _, s := range p.body() {
			if s.kind == stNext || s.kind == stClose {
				p.fail(s.pos, "a loop goes on to the next holder and cannot end here for all", "put it behind the loop, or into an `if`")
			}
			list = append(list, s)
		}
		p.expect("end", "a loop ends with `end`")
	})
	p.depth--
	return list
}

// deeper counts a level of nesting.
func (p *parser) deeper() {
	if p.depth++; p.depth > MaxDepth {
		p.fail(p.tok.pos, "this is nested too deeply", fmt.Sprintf("at most %d levels", MaxDepth))
	}
}
