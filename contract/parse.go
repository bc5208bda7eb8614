package contract

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
)

// hashDomain opens the text under Program.Hash.
const hashDomain = "latchkey contract v1\n"

// What a symbol can be besides a variable.
const (
	isParty op = 100 + iota
	isOracle
	isAsset
	isCurve
	isTaken // no name may be this
)

// symbol is a name that was declared.
type symbol struct {
	name  string
	what  op // the op that reads it, or isParty, isOracle, isAsset, isCurve
	index int
	typ   Type
	role  int // whose holders have one each, counted from index on; none otherwise
	pos   pos
	used  bool
}

// maxAgain bounds how many tokens are read again, for the holders of a role after the first.
const maxAgain = 20_000

// parser reads a source in one pass; what holds for each holder of a role it reads again for each. Names are declared
// before they are used, except phases. After an error it stands still (the current token reads as the end of the text)
// until sync finds the next declaration or clause.
type parser struct {
	lexer
	findings
	*Program
	tok       token
	end       pos // of the last token that was taken
	failed    bool
	stuck     token // where the parser stands still
	depth     int
	repeated  int // tokens read again
	symbols   []symbol
	holder    [MaxRoles]int // of each role, the holder that its name stands for, none where it stands for nobody
	each      int           // the role whose declarations are being read, none outside of such a block
	again     int           // how often what is being read was read before, for other holders
	any       int           // the role that a clause was just read for, none for a clause of named parties
	targets   []token       // of every `next`
	canon     []byte
	operators []operator
}

// parse reads a source for the given numbers of holders of its roles; where there are none, for the greatest.
func parse(source string, counts []int64) (*Program, *findings) {
	p := &parser{lexer: lexer{src: source}, Program: &Program{nodes: make([]node, 0, 16+len(source)/32), counts: counts}, symbols: make([]symbol, 0, 16), each: none, any: none, operators: operators()}
	for i := range p.holder {
		p.holder[i] = none
	}
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
		if p.taken++; p.again > 0 {
			p.repeated++
		}
		if p.repeated > maxAgain {
			p.fail(p.tok.pos, "written out for each holder of its roles this contract is too long", "let fewer parties hold a role, or say less for each")
			p.stuck, p.off = token{pos: p.tok.pos}, len(p.src) // nothing after it is read
			return
		}
		p.canon = p.tok.appendCanon(p.canon)
		p.end = p.here()
		p.load()
	}
}

// forEach reads a part of the source once for each holder of a role, whose name stands for that holder.
func (p *parser) forEach(role int, read func()) {
	if p.failed {
		return
	}
	outer, again, at, tok, end, mark := p.holder[role], p.again, p.lexer, p.tok, p.end, 0
	for k := range int(p.counts[role]) {
		if k == 1 {
			mark = len(p.canon)
		}
		if p.failed {
			break
		}
		p.lexer, p.tok, p.end = at, tok, end
		p.holder[role], p.again = k, again+k
		read()
	}
	if p.holder[role], p.again = outer, again; mark > 0 {
		p.canon = p.canon[:mark]
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
	p.fail(at, what+" where "+expected+" is expected", mend)
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
// counts for nothing after an error. Of what each holder has the first is declared.
func (p *parser) declare(of string, what op, n, limit int) *symbol {
	t := p.name(of)
	old := p.lookup(t.text)
	if n >= limit {
		p.fail(t.pos, fmt.Sprintf("this is one too many: %s may be one of %d at most", of, limit), "split the contract, or let fewer parties hold a role")
	}
	if old != nil && p.each != none && p.again > 0 && old.pos == t.pos && !p.failed {
		return old
	}
	if old != nil {
		p.fail(t.pos, "the name `"+t.text+"` is taken", "choose another name for "+of)
	}
	if p.failed {
		return &symbol{name: t.text, what: what, index: n, role: p.each, pos: t.pos}
	}
	p.symbols = append(p.symbols, symbol{name: t.text, what: what, index: n, role: p.each, pos: t.pos})
	return &p.symbols[len(p.symbols)-1]
}

// label is the name of a thing that was just declared: with a number, where each holder has one.
func (p *parser) label(s *symbol) string {
	if p.each != none {
		return s.name + " " + strconv.Itoa(p.again+1)
	}
	return s.name
}

// of returns the index that a name stands for, where each holder has one that of the present holder.
func (p *parser) of(s *symbol, at pos) int {
	s.used = true
	if s.role == none {
		return s.index
	}
	k := p.holder[s.role]
	if k == none {
		role := p.roles[s.role].Name
		p.fail(at, "each "+role+" has its own `"+s.name+"`, and none is meant here", "write `when any "+role+" says …`, `for each "+role+": … end`, or sum("+role+": …)")
		return 0
	}
	if p.errors > 0 {
		return s.index // after an error the other holders may have none
	}
	return s.index + k
}

// ref reads a name that was declared as what.
func (p *parser) ref(what op, of string) int {
	t := p.name(of)
	s := p.lookup(t.text)
	if s != nil && s.what == opInput { // an oracle or a sealed value has the same name
		i := slices.IndexFunc(p.symbols, func(s symbol) bool { return s.name == t.text })
		s = &p.symbols[i]
	}
	if s == nil || s.what != what {
		p.fail(t.pos, "`"+t.text+"` is not the name of "+of, "declare it above, or use a name that is declared")
		return 0
	}
	return p.of(s, t.pos)
}

// role reads the name of a role.
func (p *parser) role() int {
	t := p.name("a role")
	if s := p.lookup(t.text); s != nil && s.what == isParty && s.role != none {
		s.used = true
		return s.role
	}
	p.fail(t.pos, "`"+t.text+"` is not the name of a role", "declare it below `parties`, as `role bidder 2..8`")
	return 0
}

func (p *parser) contract() {
	p.expect("contract", "begin with `contract` and its name")
	p.Program.name = p.name("the contract").text
	p.expect("parties", "after the contract's name comes `parties` and their names")
	for more := true; more; more = p.accept(",") {
		p.parties = append(p.parties, p.declare("a party", isParty, len(p.parties), MaxParties).name)
	}
	if p.tok.kind == tName && !isReserved(p.tok.text) {
		p.wrong("`,` or a declaration", "the names of parties are joined by commas: `parties a, b`")
	}
	for p.is("role") && !p.failed {
		p.holders()
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
			start := p.taken
			p.opening.pos, p.opening.body = at, p.body()
			p.opening.size = p.taken - start
		case p.opening.body != nil || p.phases != nil:
			p.fail(at, p.tok.String()+" cannot stand here", "declare everything before `at open` and the first phase; a clause belongs below its phase")
			p.stuck = token{kind: tSign}
		case p.accept("for"):
			p.expect("each", "write `for each role: … end`")
			role := p.role()
			p.expect(":", "write `for each role: … end`")
			for more := !p.failed; more; more = !p.failed && !p.is("end") {
				p.each = role
				p.forEach(role, func() { p.declaration() })
				p.each = none
			}
			p.expect("end", "what each holder has ends with `end`")
		default:
			p.declaration()
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

// holders reads a role: a name for several parties, and a term that says how many there are.
func (p *parser) holders() {
	p.advance()
	p.each = len(p.roles)
	sym := p.declare("a role", isParty, len(p.parties), MaxParties)
	p.each = none
	at := p.tok.pos
	_, lo, hi := p.span(Number)
	if !p.failed && (len(p.roles) >= MaxRoles || lo < 1 || hi > MaxHolders || len(p.parties)+int(hi) > MaxParties) {
		p.fail(at, fmt.Sprintf("this is a role too many, or one that too many or none may hold: %d..%d", lo, hi), fmt.Sprintf("at most %d roles of 1..%d parties, and %d parties in all", MaxRoles, MaxHolders, MaxParties))
	}
	if p.failed {
		return
	}
	if len(p.counts) <= len(p.roles) {
		p.counts = append(p.counts, hi)
	}
	p.roles = append(p.roles, Role{sym.name, int(lo), int(hi), len(p.parties)})
	p.terms = append(p.terms, Term{sym.name, Number, lo, hi})
	for k := range p.counts[len(p.roles)-1] {
		p.parties = append(p.parties, fmt.Sprintf("%s %d", sym.name, k+1))
	}
}

func (p *parser) declaration() {
	later := p.accept("later")
	switch at := p.tok.pos; {
	case p.is("pot"):
		p.advance()
		p.pot(later)
	case later:
		p.wrong("`pot`", "write `later pot repayment = owed units from borrower`")
	case p.accept("term"):
		p.term()
	case p.accept("counter"):
		p.counter()
	case p.accept("sealed"):
		sym := p.declare("a sealed value", opSealed, len(p.seals), MaxSeals)
		p.expect("in", "say the range of the value: `sealed bid in 0..100 units`")
		t := Term{Name: p.label(sym)}
		t.Type, t.Lo, t.Hi = p.span(Literal)
		p.seals, sym.typ = append(p.seals, t), t.Type
	case p.each != none:
		p.end = at
		p.wrong("what each holder has", "in `for each role: … end` stand term, pot, later pot, counter and sealed")
	case p.accept("oracle"):
		o := Feed{Name: p.declare("an oracle", isOracle, len(p.oracles), MaxOracles).name}
		if o.Fixed = p.tok.text; p.tok.kind == tString {
			p.advance()
		} else {
			o.Fixed = ""
		}
		p.expect("in", "say the range of its values: `oracle price in 1..1_000_000`")
		o.Type, o.Lo, o.Hi = p.span(Literal)
		p.oracles = append(p.oracles, o)
	case p.accept("curve"):
		p.curve()
	case p.errors > 0 && p.accept("end"): // of a block in which something is wrong
	case p.accept("require"):
		p.requires = append(p.requires, p.typed(truth, "a requirement"))
	default:
		p.end = at // it is this word that is wrong, not the line before
		p.wrong("a declaration or a phase", "begin with term, pot, later pot, counter, sealed, oracle, curve, require, for each, at open or phase")
		p.stuck = token{kind: tSign}
	}
}

// curve reads a payout curve.
func (p *parser) curve() {
	sym := p.declare("a curve", isCurve, len(p.curves), MaxCurves)
	c := curve{name: sym.name}
	p.expect(":", "write `curve payout : 50 -> 100, 120 -> 60, 200 -> 0`")
	for more := true; more && !p.failed; more = p.accept(",") {
		at := p.tok.pos
		xt, x := p.bound()
		p.expect("->", "a point is written `120 -> 60`")
		yt, y := p.bound()
		const far = 1 << 61 // no distance between two points leaves int64
		if n := len(c.xs); n > 0 && (x <= c.xs[n-1] || xt != c.xt || yt != c.yt) || n >= MaxPoints || max(x, -x, y, -y) > far {
			p.fail(at, "this point does not continue the curve", fmt.Sprintf("points go from left to right, each in the units of the first; a curve has at most %d", MaxPoints))
		}
		c.xt, c.yt, c.xs, c.ys = xt, yt, append(c.xs, x), append(c.ys, y)
	}
	p.curves = append(p.curves, c)
}

func (p *parser) term() {
	sym := p.declare("a term", opTerm, len(p.terms), MaxTerms)
	t := Term{Name: p.label(sym)}
	p.expect(":", "write `term price : units 1..1000`")
	types := []Term{{"units", Units, 0, 0}, {"number", Number, 0, 0}, {"money", Money, 0, 0}, {"percent", Number, 0, 100}, {"time", Time, 0, MaxTime}, {"duration", Duration, 0, MaxDuration}}
	i := slices.IndexFunc(types, func(t Term) bool { return p.is(t.Name) })
	switch {
	case p.each == none && p.accept("asset"):
		sym.what, sym.index = isAsset, len(p.assets)
		p.assets = append(p.assets, Asset{Name: sym.name})
		return
	case p.each == none && p.accept("oracle"):
		if len(p.oracles) >= MaxOracles {
			p.fail(sym.pos, fmt.Sprintf("this is one too many: an oracle may be one of %d at most", MaxOracles), "split the contract")
		}
		o := Feed{Name: sym.name}
		sym.what, sym.index = isOracle, len(p.oracles)
		o.Type, o.Lo, o.Hi = p.span(Literal)
		p.oracles = append(p.oracles, o)
		return
	case i < 0:
		p.wrong("a type", "the types are units, number, money, percent, time, duration, asset and oracle")
		return
	}
	t.Type, t.Lo, t.Hi = types[i].Type, types[i].Lo, types[i].Hi
	p.advance()
	if at := p.tok.pos; t.Hi == 0 || p.tok.kind == tNumber || p.is("-") {
		want := t.Type
		if want == Time {
			want = Number // seconds
		}
		_, t.Lo, t.Hi = p.span(want)
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
	ok2 := true
	if want != Literal {
		typ, ok2 = unify(typ, want)
	}
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

func (p *parser) pot(later bool) {
	sym := p.declare("a pot", isTaken, len(p.pots), MaxPots)
	sym.what = isTaken
	pot := Pot{Name: p.label(sym), Asset: none, Later: later, slot: none}
	p.expect("=", "write `pot payment = price units from buyer`")
	start := len(p.canon)
	pot.expr = p.typed(Units, "what a pot holds")
	pot.Units = string(bytes.ReplaceAll(bytes.TrimSuffix(p.canon[start:], []byte("\n")), []byte("\n"), []byte(" ")))
	p.accept("units")
	if p.accept("of") {
		pot.Asset = p.asset()
	}
	p.expect("from", "say who deposits it: `pot payment = price units from buyer`")
	pot.From = p.ref(isParty, "a party")
	if later {
		pot.slot = int32(p.later)
		p.later++
	}
	p.pots, sym.what, sym.typ = append(p.pots, pot), opPot, Units
}

// asset reads what the chunks of a pot must be: a term's name, or an asset's in quotes.
func (p *parser) asset() int {
	if p.tok.kind != tString {
		return p.ref(isAsset, "an asset")
	}
	fixed := p.tok.text
	p.advance()
	i := slices.IndexFunc(p.assets, func(a Asset) bool { return a.Fixed == fixed })
	if i < 0 {
		i, p.assets = len(p.assets), append(p.assets, Asset{fixed, fixed})
	}
	return i
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
	p.counters, sym.typ = append(p.counters, counter{Term{p.label(sym), t, lo, hi}, start}), t
}
