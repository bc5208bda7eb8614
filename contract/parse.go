package contract

import (
	"crypto/sha256"
	"fmt"
	"strconv"
)

// parser reads a source in one pass. Names are declared before they are used, except phases. After an error it stands
// still (the current token reads as the end of the text) until sync finds the next declaration or clause.
type parser struct {
	lexer
	findings
	prog     *Program
	tok      token
	stuck    token // the token at which the parser stands still
	failed   bool
	depth    int
	scope    *clause // whose value may be named
	targets  []token // of every `next`
	canon    []byte
	lastWord pos // where the last consumed token stood
}

// hashDomain opens the text under Program.Hash.
const hashDomain = "latchkey contract v1\n"

func parse(source []byte) (*Program, *findings) {
	p := &parser{lexer: lexer{src: string(source)}, prog: &Program{}}
	p.prog.nodes = make([]node, 0, 64)
	p.canon = append(make([]byte, 0, len(source)+len(hashDomain)+64), hashDomain...)
	p.load()
	p.program()
	if p.errors > 0 {
		return nil, &p.findings
	}
	p.prog.hash = sha256.Sum256(p.canon)
	return p.prog, &p.findings
}

// load reads the next token into tok.
func (p *parser) load() {
	p.tok = p.scan()
	if p.tok.kind == tBad {
		p.fail(p.tok.pos, p.tok.text, p.tok.mend)
	}
}

func (p *parser) advance() {
	if !p.failed {
		p.canon = p.tok.appendCanon(p.canon)
		p.lastWord = p.tok.pos
		p.load()
	}
}

func (p *parser) fail(at pos, what, mend string) {
	if !p.failed {
		p.add(at, SeverityError, what, mend)
		p.failed, p.stuck = true, p.tok
		p.tok = token{kind: tEOF, pos: p.tok.pos}
	}
}

// wrong refuses the current token.
func (p *parser) wrong(expected, mend string) {
	if !p.failed {
		p.fail(p.tok.pos, fmt.Sprintf("%s stands where %s is expected", p.tok, expected), mend)
	}
}

// sync goes on after an error, at the next word that begins a declaration or a clause.
func (p *parser) sync() {
	if !p.failed {
		return
	}
	p.failed, p.tok = false, p.stuck
	if p.full() {
		p.tok, p.off = token{kind: tEOF}, len(p.src)
		return
	}
	for p.tok.kind != tEOF {
		if p.tok.kind == tName {
			switch p.tok.text {
			case "term", "pot", "counter", "oracle", "require", "phase", "when", "at":
				return
			}
		}
		p.tok = p.scan()
	}
}

// is tells that the current token is the keyword or sign s.
func (p *parser) is(s string) bool {
	return (p.tok.kind == tName || p.tok.kind == tPunct) && p.tok.text == s
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

// name reads a name that is not a word of the language.
func (p *parser) name(of string) token {
	t := p.tok
	switch {
	case t.kind != tName:
		p.wrong("the name of "+of, "a name begins with a letter and holds letters, digits and _")
	case reserved(t.text):
		p.wrong("the name of "+of, "this word belongs to the language; choose another name")
	default:
		p.advance()
	}
	return t
}

// newName reads a name that nothing else has.
func (p *parser) newName(of string) string {
	t := p.name(of)
	if o, _ := p.lookup(t.text); o != none && !p.failed {
		p.fail(t.pos, "the name `"+t.text+"` is taken", "choose another name for "+of)
	}
	return t.text
}

// What lookup returns for a party and an oracle; for the rest it returns the op that reads the variable.
const (
	isParty  = 100
	isOracle = 101
)

func (p *parser) lookup(name string) (what, index int) {
	for i := range p.prog.parties {
		if p.prog.parties[i] == name {
			return isParty, i
		}
	}
	for i := range p.prog.terms {
		if p.prog.terms[i].Name == name {
			return int(opTerm), i
		}
	}
	for i := range p.prog.pots {
		if p.prog.pots[i].Name == name {
			return int(opPot), i
		}
	}
	for i := range p.prog.counters {
		if p.prog.counters[i].name == name {
			return int(opCounter), i
		}
	}
	if p.scope != nil && p.scope.hasValue && p.scope.name == name {
		return int(opInput), 0
	}
	for i := range p.prog.oracles {
		if p.prog.oracles[i].Name == name {
			return isOracle, i
		}
	}
	return none, 0
}

// ref reads the name of something declared before, of kind what.
func (p *parser) ref(what int, of string) int {
	t := p.tok
	p.name(of)
	if p.failed {
		return 0
	}
	got, i := p.lookup(t.text)
	if got != what {
		p.fail(t.pos, "`"+t.text+"` is not the name of "+of, "declare it above, or use a name that is declared")
	}
	return i
}

// room refuses a declaration beyond the limit.
func (p *parser) room(have, limit int, of string) {
	if have >= limit {
		p.fail(p.lastWord, fmt.Sprintf("there are more than %d %s", limit, of), "split the contract")
	}
}

func (p *parser) program() {
	p.expect("contract", "begin with `contract` and its name")
	p.prog.name = p.name("the contract").text
	p.expect("parties", "after the contract's name comes `parties` and their names")
	for {
		p.room(len(p.prog.parties), MaxParties, "parties")
		p.prog.parties = append(p.prog.parties, p.newName("a party"))
		if !p.accept(",") {
			break
		}
	}
	if p.failed {
		return
	}
	p.prog.opening = clause{kind: onOpen, guard: none, time: none}
	for declaring := true; ; p.sync() {
		at := p.tok.pos
		switch {
		case p.is("phase") || p.is("at"):
			declaring = false
			p.running()
		case !declaring && (p.is("term") || p.is("pot") || p.is("counter") || p.is("oracle") || p.is("require")):
			p.wrong("a phase", "declare everything before `at open` and the first phase")
			p.stuck = token{kind: tPunct, pos: at}
		case p.accept("term"):
			p.term()
		case p.accept("pot"):
			p.pot()
		case p.accept("counter"):
			p.counter()
		case p.accept("oracle"):
			p.oracle()
		case p.accept("require"):
			p.prog.requires = append(p.prog.requires, p.condition())
		case p.is("later") || p.is("curve") || p.is("role"):
			p.fail(at, "`"+p.tok.text+"` is not yet in this version of the language", "leave it out")
		case p.is("when"):
			p.fail(at, "this clause stands outside a phase", "put it below a line `phase Name until time`")
			p.stuck = token{kind: tPunct, pos: at}
		case p.tok.kind == tEOF && !p.failed:
			p.resolve()
			return
		default:
			p.wrong("a declaration or a phase", "a line begins with term, pot, counter, oracle, require, at open or phase")
		}
	}
}

// running reads `at open` or a phase.
func (p *parser) running() {
	at := p.tok.pos
	if p.accept("at") {
		p.expect("open", "here only `at open:` may stand; `at deadline:` belongs to a phase")
		p.expect(":", "write `at open:`")
		if len(p.prog.opening.body) > 0 || len(p.prog.phases) > 0 {
			p.fail(at, "`at open` stands in the wrong place", "write it once, before the first phase")
		}
		p.prog.opening.pos = at
		p.prog.opening.body = p.body()
		return
	}
	p.advance()
	p.room(len(p.prog.phases), MaxPhases, "phases")
	ph := phase{pos: p.tok.pos, name: p.name("a phase").text}
	for i := range p.prog.phases {
		if p.prog.phases[i].name == ph.name {
			p.fail(ph.pos, "there are two phases `"+ph.name+"`", "choose another name for this one")
		}
	}
	p.expect("until", "every phase says until when it lasts: `phase Name until time`, or `until now + duration`")
	want := Time
	if p.accept("now") {
		p.expect("+", "write `until now + duration`")
		ph.relative, want = true, Duration
	}
	ph.until = p.typed(want, "the end of a phase")
	p.accept(":")
	for p.sync(); p.is("when") || p.is("at"); p.sync() {
		p.room(len(ph.clauses), MaxClauses, "clauses in a phase")
		if c := p.clause(&ph); !p.failed {
			ph.clauses = append(ph.clauses, c)
		}
	}
	p.prog.phases = append(p.prog.phases, ph)
}

func (p *parser) clause(ph *phase) clause {
	c := clause{pos: p.tok.pos, guard: none, time: none}
	if p.accept("at") {
		p.expect("deadline", "in a phase only `at deadline:` may stand")
		c.kind = onDeadline
	} else {
		p.advance()
		if p.accept("oracle") {
			p.observed(&c)
		} else if p.is("deposit") {
			p.fail(p.tok.pos, "`deposit` is not yet in this version of the language", "leave it out")
		} else {
			p.said(&c)
		}
	}
	p.scope = &c
	if p.accept("if") {
		c.guard = p.condition()
	}
	p.expect(":", "a colon ends what must happen; what is done follows it")
	c.body = p.body()
	p.scope = nil
	if c.kind == onFor || c.need > 1 {
		taken, want := 0, 1
		for i := range ph.clauses {
			taken += int(ph.clauses[i].bits)
		}
		if c.kind == onWord {
			want = popcount(c.members)
		}
		c.bit, c.bits = uint8(taken), uint8(want)
		if taken+want > 63 {
			p.fail(c.pos, "the clauses of this phase wait for too many voices", "at most 63 voices, counted over the clauses that need more than one")
		}
	}
	return c
}

// said reads the head of a clause that waits for a word.
func (p *parser) said(c *clause) {
	c.kind = onWord
	between := ""
	if t := p.tok; t.kind == tNumber {
		p.advance()
		c.need, between = int(min(t.val, MaxParties+1)), ","
		p.expect("of", "write `when 2 of ann, ben, carl say \"word\"`")
	}
	for {
		at := p.tok.pos
		i := p.ref(isParty, "a party")
		if c.members>>i&1 == 1 {
			p.fail(at, "a party is named twice", "name each party once")
		}
		c.members |= 1 << i
		if between == "" && (p.is("and") || p.is("or")) {
			between = p.tok.text
		}
		if between == "" || !p.accept(between) {
			break
		}
	}
	n := popcount(c.members)
	switch between {
	case "and":
		c.need = n
	case "or", "":
		c.need = 1
	}
	if c.need < 1 || c.need > n {
		p.fail(c.pos, fmt.Sprintf("%d of %d parties can never speak", c.need, n), "ask for at least one and at most all of them")
	}
	if !p.accept("says") {
		p.expect("say", "write `says \"word\"`; parties are joined by `or`, by `and`, or as `2 of a, b, c`")
	}
	t := p.tok
	if t.kind != tString {
		p.wrong("a word in quotes", "write `says \"release\"`")
	}
	p.advance()
	c.word = t.text
	if p.accept("with") {
		if c.need > 1 {
			p.fail(c.pos, "a word that several must say cannot carry a value", "let one party say the value, or write a clause for each value")
		}
		c.name = p.newName("the value")
		p.expect("in", "say its range: `with percent in 0..100`")
		c.typ, c.lo, c.hi = p.span(Literal)
		c.hasValue = true
	}
}

// observed reads the head of a clause that waits for an oracle.
func (p *parser) observed(c *clause) {
	c.oracle = p.ref(isOracle, "an oracle")
	if !p.failed {
		o := p.prog.oracles[c.oracle]
		c.hasValue, c.name, c.typ, c.lo, c.hi = true, o.Name, o.Type, o.Lo, o.Hi
	}
	switch {
	case p.accept("each"):
		c.kind, c.time = onEach, p.typed(Duration, "the age of a value")
	case p.accept("for"):
		c.kind, c.time = onFor, p.typed(Time, "the time of a value")
	default:
		p.wrong("`each` or `for`", "say which value counts: `for settle_at`, or `each 60 seconds` for one that is at most so old")
	}
}

func (p *parser) term() {
	p.room(len(p.prog.terms), MaxTerms, "terms")
	t := Term{Name: p.newName("a term")}
	p.expect(":", "write `term price : units 1..1000`")
	open := true
	switch p.tok.text {
	case "units":
		t.Type, open = Units, false
	case "number":
		t.Type, open = Number, false
	case "percent":
		t.Type, t.Lo, t.Hi = Number, 0, 100
	case "time":
		t.Type, t.Lo, t.Hi = Time, 0, MaxTime
	case "duration":
		t.Type, t.Lo, t.Hi = Duration, 0, MaxDuration
	case "money", "asset", "oracle":
		p.fail(p.tok.pos, "terms of type "+p.tok.text+" are not yet in this version of the language", "use units or number")
	default:
		p.wrong("a type", "the types are units, number, percent, time and duration")
	}
	p.advance()
	if p.tok.kind == tNumber || p.is("-") {
		lo, hi := t.Lo, t.Hi
		_, t.Lo, t.Hi = p.span(t.Type)
		if open && (t.Lo < lo || t.Hi > hi) {
			p.fail(p.lastWord, "the range is wider than its type allows", fmt.Sprintf("stay within %d..%d", lo, hi))
		}
	} else if !open {
		p.wrong("a range", "say the least and the greatest value: `1..1000`")
	}
	p.prog.terms = append(p.prog.terms, t)
}

// span reads a range, both ends included. With want given, its type must fit; else Literal becomes Number.
func (p *parser) span(want Type) (Type, int64, int64) {
	at := p.tok.pos
	loType, lo := p.bound()
	p.expect("..", "a range is written `1..1000`")
	hiType, hi := p.bound()
	typ, ok := unify(loType, hiType)
	if want != Literal && ok {
		typ, ok = unify(typ, want)
	}
	// `1..5 days`: the unit of the upper end holds for both.
	if ok && hiType == Duration && loType == Literal || ok && hi < lo {
		ok = false
	}
	if !ok {
		p.fail(at, "this is not a range", "write the lesser value first and the unit at both ends, as `1 days .. 30 days`")
	}
	if typ == Literal {
		typ = Number
	}
	return typ, lo, hi
}

func (p *parser) bound() (Type, int64) {
	neg := p.accept("-")
	n := p.literal()
	if p.failed {
		return Literal, 0
	}
	x := p.prog.nodes[n]
	if neg {
		x.v = -x.v
	}
	return x.typ, x.v
}

func (p *parser) pot() {
	p.room(len(p.prog.pots), MaxPots, "pots")
	pot := Pot{Name: p.newName("a pot")}
	p.expect("=", "write `pot payment = price units from buyer`")
	start := len(p.canon)
	pot.expr = p.typed(Units, "what a pot holds")
	pot.Units = spaced(p.canon[start:])
	p.accept("units")
	p.expect("from", "say who deposits it: `pot payment = price units from buyer`")
	pot.From = p.ref(isParty, "a party")
	p.prog.pots = append(p.prog.pots, pot)
}

// spaced turns canonical text into one line.
func spaced(canon []byte) string {
	out := make([]byte, len(canon))
	for i, c := range canon {
		if c == '\n' {
			c = ' '
		}
		out[i] = c
	}
	if len(out) > 0 {
		out = out[:len(out)-1]
	}
	return string(out)
}

func (p *parser) counter() {
	p.room(len(p.prog.counters), MaxCounters, "counters")
	c := counter{name: p.newName("a counter")}
	p.expect("=", "write `counter renewals = 0 in 0..1000`")
	at := p.tok.pos
	typ, start := p.bound()
	p.expect("in", "say its range: `counter renewals = 0 in 0..1000`")
	c.typ, c.lo, c.hi = p.span(Literal)
	c.start = start
	if _, ok := unify(typ, c.typ); !ok || start < c.lo || start > c.hi {
		p.fail(at, "the counter begins outside its range", "begin with a value of its range")
	}
	p.prog.counters = append(p.prog.counters, c)
}

func (p *parser) oracle() {
	p.room(len(p.prog.oracles), MaxOracles, "oracles")
	o := Feed{Name: p.newName("an oracle")}
	p.expect("in", "say the range of its values: `oracle price in 1..1_000_000`")
	o.Type, o.Lo, o.Hi = p.span(Literal)
	p.prog.oracles = append(p.prog.oracles, o)
}

// body reads statements up to the next clause. Each block ends by at most one `next` or `close`.
func (p *parser) body() []stmt {
	var list []stmt
	for {
		at, before := p.tok.pos, len(list)
		if before > 0 && (list[before-1].kind == stNext || list[before-1].kind == stClose) {
			if p.is("give") || p.is("set") || p.is("if") || p.is("next") || p.is("close") {
				p.fail(at, "nothing may follow `next` or `close`", "remove this line, or move it up")
			}
			return list
		}
		s := stmt{pos: at, expr: none}
		switch {
		case p.accept("give"):
			s.kind = stGive
			if !p.accept("all") {
				s.expr = p.typed(Units, "what is given")
			}
			p.expect("of", "write `give all of pot to party`, or `give amount of pot to party`")
			s.index = p.ref(int(opPot), "a pot")
			p.expect("to", "say who receives it: `to party`")
			s.to = p.ref(isParty, "a party")
		case p.accept("set"):
			s.kind = stSet
			s.index = p.ref(int(opCounter), "a counter")
			p.expect("=", "write `set counter = value`")
			if !p.failed {
				s.expr = p.typed(p.prog.counters[s.index].typ, "the value of this counter")
			}
		case p.accept("if"):
			s.kind = stIf
			s.expr = p.condition()
			p.expect("then", "write `if condition then … else … end`")
			if p.depth++; p.depth > MaxDepth {
				p.fail(at, "this is nested too deeply", fmt.Sprintf("at most %d levels", MaxDepth))
			}
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
			if before == 0 {
				p.wrong("something to do", "say what is done: give, set, if, next or close")
			}
			return list
		}
		if p.failed {
			return list
		}
		list = append(list, s)
	}
}

// resolve finds the phase of every `next`.
func (p *parser) resolve() {
	p.prog.jumps = make([]int32, len(p.targets))
	for i, t := range p.targets {
		p.prog.jumps[i] = none
		for j := range p.prog.phases {
			if p.prog.phases[j].name == t.text {
				p.prog.jumps[i] = int32(j)
			}
		}
		if p.prog.jumps[i] == none {
			p.add(t.pos, SeverityError, "there is no phase "+strconv.Quote(t.text), "write the name of a phase of this contract")
		}
	}
}
