package contract

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/bits"
	"slices"
)

// hashDomain opens the text under Program.Hash.
const hashDomain = "latchkey contract v1\n"

// What a symbol can be besides a variable.
const (
	isParty  op = 100
	isOracle op = 101
	isTaken  op = 102 // no name may be this
)

// symbol is a name that was declared.
type symbol struct {
	name  string
	what  op // the op that reads it, isParty or isOracle
	index int
	typ   Type
	pos   pos
	used  bool
}

// parser reads a source in one pass. Names are declared before they are used, except phases. After an error it stands
// still (the current token reads as the end of the text) until sync finds the next declaration or clause.
type parser struct {
	lexer
	findings
	*Program
	tok       token
	end       pos // of the last token that was taken
	failed    bool
	stuck     token // where the parser stands still
	depth     int
	symbols   []symbol
	targets   []token // of every `next`
	canon     []byte
	operators []operator
}

func parse(source []byte) (*Program, *findings) {
	p := &parser{lexer: lexer{src: string(source)}, Program: &Program{nodes: make([]node, 0, 48)}, operators: operators()}
	p.canon = append(make([]byte, 0, len(source)+64), hashDomain...)
	p.load()
	p.contract()
	p.hash = sha256.Sum256(p.canon)
	return p.Program, &p.findings
}

// load reads the next token.
func (p *parser) load() {
	if p.tok = p.scan(); p.tok.kind == tBad {
		p.fail(p.tok.pos, p.tok.text, p.tok.mend)
	}
}

func (p *parser) advance() {
	if !p.failed {
		p.canon = p.tok.appendCanon(p.canon)
		p.end = p.here()
		p.load()
	}
}

func (p *parser) fail(at pos, what, mend string) {
	if !p.failed {
		p.add(at, SeverityError, what, mend)
		p.failed, p.stuck = true, p.tok
		p.tok = token{pos: p.tok.pos}
	}
}

// wrong refuses the current token, or the end of the line before it.
func (p *parser) wrong(expected, mend string) {
	at, what := p.tok.pos, p.tok.String()+" stands"
	if at.line > p.end.line && p.end.line > 0 {
		at, what = p.end, "the line ends"
	}
	if what += " where " + expected + " is expected"; at == p.tok.pos && (p.is("later") || p.is("curve") || p.is("role") || p.is("deposit")) {
		what = p.tok.String() + " is not yet in this version of the language"
	}
	p.fail(at, what, mend)
}

// sync goes on after an error, at the next word that begins a declaration or a clause.
func (p *parser) sync() {
	if !p.failed {
		return
	}
	p.failed, p.tok = false, p.stuck
	if p.errors >= maxFindings {
		p.tok, p.off = token{}, len(p.src)
	}
	for p.tok.kind != tEOF && (p.tok.kind != tName || !slices.Contains([]string{"term", "pot", "counter", "oracle", "require", "phase", "when", "at", "later", "curve", "role"}, p.tok.text)) {
		p.tok = p.scan()
	}
}

// is tells that the current token is the keyword or sign s.
func (p *parser) is(s string) bool {
	return (p.tok.kind == tName || p.tok.kind == tSign) && p.tok.text == s
}

func (p *parser) accept(s string) bool {
	ok := p.is(s)
	if ok {
		p.advance()
	}
	return ok
}

func (p *parser) expect(s, mend string) {
	if !p.accept(s) {
		p.wrong("`"+s+"`", mend)
	}
}

// name reads a name.
func (p *parser) name(of string) token {
	t := p.tok
	if t.kind != tName || isReserved(t.text) {
		p.wrong("the name of "+of, "a name begins with a letter, holds letters, digits and _, and is no word of the language")
	}
	p.advance()
	return t
}

// lookup finds a name, nil if it was not declared.
func (p *parser) lookup(name string) *symbol {
	for i := len(p.symbols) - 1; i >= 0; i-- {
		if p.symbols[i].name == name {
			return &p.symbols[i]
		}
	}
	return nil
}

// declare reads the name of the n-th of at most limit things, which nothing else has. It returns its symbol, one that
// counts for nothing after an error.
func (p *parser) declare(of string, what op, n, limit int) *symbol {
	t := p.name(of)
	if p.lookup(t.text) != nil {
		p.fail(t.pos, "the name `"+t.text+"` is taken", "choose another name for "+of)
	}
	if n >= limit {
		p.fail(t.pos, fmt.Sprintf("this is one too many: %s may be one of %d at most", of, limit), "split the contract")
	}
	s := symbol{name: t.text, what: what, index: n, pos: t.pos}
	if p.failed {
		return &s
	}
	p.symbols = append(p.symbols, s)
	return &p.symbols[len(p.symbols)-1]
}

// ref reads a name that was declared as what.
func (p *parser) ref(what op, of string) int {
	t := p.name(of)
	s := p.lookup(t.text)
	if s == nil || s.what != what {
		p.fail(t.pos, "`"+t.text+"` is not the name of "+of, "declare it above, or use a name that is declared")
		return 0
	}
	s.used = true
	return s.index
}

func (p *parser) contract() {
	p.expect("contract", "begin with `contract` and its name")
	p.Program.name = p.name("the contract").text
	p.expect("parties", "after the contract's name comes `parties` and their names")
	for more := true; more; more = p.accept(",") {
		p.parties = append(p.parties, p.declare("a party", isParty, len(p.parties), MaxParties).name)
	}
	if p.failed {
		return // without parties every line would be an error
	}
	for ; p.tok.kind != tEOF; p.sync() {
		switch at := p.tok.pos; {
		case p.accept("phase"):
			p.phase()
		case p.accept("at"):
			p.expect("open", "here only `at open:` may stand; `at deadline:` belongs to a phase")
			if p.opening.body != nil || p.phases != nil {
				p.fail(at, "`at open` stands in the wrong place", "write it once, before the first phase")
			}
			p.expect(":", "write `at open:`")
			p.opening.pos, p.opening.body = at, p.body()
		case p.opening.body != nil || p.phases != nil:
			p.fail(at, p.tok.String()+" cannot stand here", "declare everything before `at open` and the first phase; a clause belongs below its phase")
			p.stuck = token{kind: tSign}
		case p.accept("term"):
			p.term()
		case p.accept("pot"):
			p.pot()
		case p.accept("counter"):
			p.counter()
		case p.accept("oracle"):
			o := Feed{Name: p.declare("an oracle", isOracle, len(p.oracles), MaxOracles).name}
			p.expect("in", "say the range of its values: `oracle price in 1..1_000_000`")
			o.Type, o.Lo, o.Hi = p.span(Literal)
			p.oracles = append(p.oracles, o)
		case p.accept("require"):
			p.requires = append(p.requires, p.typed(truth, "a requirement"))
		default:
			p.end = at // it is this word that is wrong, not the line before
			p.wrong("a declaration or a phase", "begin with term, pot, counter, oracle, require, at open or phase")
			p.stuck = token{kind: tSign}
		}
	}
	for _, sym := range p.symbols {
		if !sym.used && p.errors == 0 {
			p.add(sym.pos, SeverityWarning, "`"+sym.name+"` plays no part in this contract", "remove it, or use it")
		}
	}
	for _, t := range p.targets {
		to := slices.IndexFunc(p.phases, func(ph phase) bool { return ph.name == t.text })
		if p.jumps = append(p.jumps, int32(to)); to < 0 {
			p.add(t.pos, SeverityError, "there is no phase `"+t.text+"`", "write the name of a phase of this contract")
		}
	}
}

func (p *parser) term() {
	sym := p.declare("a term", opTerm, len(p.terms), MaxTerms)
	t := Term{Name: sym.name}
	p.expect(":", "write `term price : units 1..1000`")
	types := []Term{{"units", Units, 0, 0}, {"number", Number, 0, 0}, {"percent", Number, 0, 100}, {"time", Time, 0, MaxTime}, {"duration", Duration, 0, MaxDuration}}
	i := slices.IndexFunc(types, func(t Term) bool { return p.is(t.Name) })
	if i < 0 {
		p.wrong("a type", "the types are units, number, percent, time and duration; money, asset and oracle are not yet in this version")
		return
	}
	t.Type, t.Lo, t.Hi = types[i].Type, types[i].Lo, types[i].Hi
	p.advance()
	if at := p.tok.pos; t.Hi == 0 || p.tok.kind == tNumber || p.is("-") {
		_, t.Lo, t.Hi = p.span(t.Type)
		if most := types[i].Hi; most > 0 && (t.Lo < 0 || t.Hi > most) {
			p.fail(at, "the range is wider than its type allows", fmt.Sprintf("stay within 0..%d", most))
		}
	}
	p.terms, sym.typ = append(p.terms, t), t.Type
}

// span reads a range, both ends included, of type want; with want Literal the ends decide, for Number if they are plain.
func (p *parser) span(want Type) (Type, int64, int64) {
	at := p.tok.pos
	loType, lo := p.bound()
	p.expect("..", "a range is written `1..1000`")
	hiType, hi := p.bound()
	typ, ok1 := unify(loType, hiType)
	typ, ok2 := unify(typ, want)
	if !ok1 || !ok2 || hi < lo {
		p.fail(at, "this is not a range of this type", "write the lesser value first and the unit at both ends, as `1 days .. 30 days`")
	}
	if typ == Literal {
		typ = Number
	}
	return typ, lo, hi
}

// bound reads one constant.
func (p *parser) bound() (Type, int64) {
	neg := p.accept("-")
	n := p.literal()
	if p.failed {
		return Literal, 0
	}
	if neg {
		p.nodes[n].v *= -1
	}
	return p.nodes[n].typ, p.nodes[n].v
}

func (p *parser) pot() {
	sym := p.declare("a pot", isTaken, len(p.pots), MaxPots)
	pot := Pot{Name: sym.name}
	p.expect("=", "write `pot payment = price units from buyer`")
	start := len(p.canon)
	pot.expr = p.typed(Units, "what a pot holds")
	pot.Units = string(bytes.ReplaceAll(bytes.TrimSuffix(p.canon[start:], []byte("\n")), []byte("\n"), []byte(" ")))
	p.accept("units")
	p.expect("from", "say who deposits it: `pot payment = price units from buyer`")
	pot.From = p.ref(isParty, "a party")
	p.pots, sym.what, sym.typ = append(p.pots, pot), opPot, Units
}

func (p *parser) counter() {
	sym := p.declare("a counter", opCounter, len(p.counters), MaxCounters)
	p.expect("=", "write `counter renewals = 0 in 0..1000`")
	at := p.tok.pos
	typ, start := p.bound()
	p.expect("in", "say its range: `counter renewals = 0 in 0..1000`")
	t, lo, hi := p.span(Literal)
	if _, ok := unify(typ, t); !ok || start < lo || start > hi {
		p.fail(at, "the counter begins outside its range", "begin with a value of its range")
	}
	p.counters, sym.typ = append(p.counters, counter{Term{sym.name, t, lo, hi}, start}), t
}

func (p *parser) phase() {
	ph := phase{pos: p.tok.pos, name: p.name("a phase").text}
	if slices.ContainsFunc(p.phases, func(other phase) bool { return other.name == ph.name }) || len(p.phases) >= MaxPhases {
		p.fail(ph.pos, fmt.Sprintf("there are two phases of this name, or more than %d", MaxPhases), "choose another name for this one, or split the contract")
	}
	p.expect("until", "every phase says until when it lasts: `phase Name until time`, or `until now + duration`")
	want := Time
	if p.accept("now") {
		p.expect("+", "write `until now + duration`")
		ph.relative, want = true, Duration
	}
	ph.until = p.typed(want, "the end of a phase")
	for p.sync(); p.is("when") || p.is("at"); p.sync() {
		outer := len(p.symbols)
		p.clause(&ph)
		p.symbols = p.symbols[:outer]
	}
	p.phases = append(p.phases, ph)
}

func (p *parser) clause(ph *phase) {
	c := clause{pos: p.tok.pos, guard: none, time: none}
	if p.accept("at") {
		p.expect("deadline", "in a phase only `at deadline:` may stand")
		c.kind = onDeadline
	} else if p.advance(); p.accept("oracle") {
		p.observed(&c)
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
	if t := p.tok; t.kind == tNumber {
		p.advance()
		p.expect("of", "write `when 2 of ann, ben, carl say \"word\"`")
		c.need, between = int(min(t.val, MaxParties+1)), ","
	}
	for more := true; more; more = between != "" && p.accept(between) {
		at, bit := p.tok.pos, uint64(1)<<p.ref(isParty, "a party")
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
	case "and":
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
		sym := p.declare("the value", opInput, 0, 1)
		p.expect("in", "say its range: `with percent in 0..100`")
		sym.typ, c.lo, c.hi = p.span(Literal)
		c.hasValue = true
	}
}

// observed reads the head of a clause that waits for an oracle. In it the oracle's name is its value.
func (p *parser) observed(c *clause) {
	if c.oracle = p.ref(isOracle, "an oracle"); p.failed {
		return
	}
	o := p.oracles[c.oracle]
	c.hasValue, c.lo, c.hi = true, o.Lo, o.Hi
	switch {
	case p.accept("each"):
		c.kind, c.time = onEach, p.typed(Duration, "the age of a value")
	case p.accept("for"):
		c.kind, c.time = onFor, p.typed(Time, "the time of a value")
	default:
		p.wrong("`each` or `for`", "say which value counts: `for settle_at`, or `each 60 seconds` for one that is at most so old")
	}
	p.symbols = append(p.symbols, symbol{name: o.Name, what: opInput, typ: o.Type})
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
		default:
			if len(list) == 0 {
				p.wrong("something to do", "say what is done: give, set, if, next or close")
			}
			return list
		}
		if ended {
			p.fail(s.pos, "nothing may follow `next` or `close`", "remove this line, or move it up")
		}
		ended = s.kind == stNext || s.kind == stClose
		list = append(list, s)
	}
}

// deeper counts a level of nesting.
func (p *parser) deeper() {
	if p.depth++; p.depth > MaxDepth {
		p.fail(p.tok.pos, "this is nested too deeply", fmt.Sprintf("at most %d levels", MaxDepth))
	}
}
