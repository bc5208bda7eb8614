package syntax

import (
	"slices"
)

// File is a contract, as it is written.
type File struct {
	Tokens  []Token
	Name    Token
	Parties []Token
	Roles   []*Role
	Decls   []*Decl
	Open    *Clause // nil without `at open`
	Phases  []*Phase
	lines   []line
}

// line is a line of the canonical layout: where it begins, and how deep.
type line struct {
	first, indent int
	gap           bool // a blank line stands before it in any case
	short         bool // it may stay on the line before
}

// Span is the tokens of a thing, by index in File.Tokens: First up to and without End.
type Span struct{ First, End int }

// Role is a part that several parties play, each for itself.
type Role struct {
	Span
	Name  Token
	Range string // how many there are, as it is written
}

// Decl is a declaration: of a term, pot, counter, sealed value, oracle or curve, or a requirement.
type Decl struct {
	Span
	Kind   string // "term", "pot", "counter", "sealed", "oracle", "curve", "require"
	Role   string // each holder of this role has one of its own
	Later  bool   // of a pot: it is filled while the contract runs
	Name   Token  // of all but a requirement
	Type   Token  // of a term
	Expr   *Expr  // of a pot or a requirement
	Asset  Token  // of a pot: a term's name or a string, if it is said
	From   Token  // of a pot
	Fixed  Token  // of an oracle: what it signs its values under, if it is said
	Start  string // of a counter, as it is written
	Range  string // as it is written, "" if there is none
	Points string // of a curve, as it is written
}

// Phase is a phase with its clauses.
type Phase struct {
	Span    // of its first line
	Name    Token
	Until   *Expr
	Clauses []*Clause
}

// Lasts returns how long a phase lasts that ends some time after it began, nil for any other.
func (ph *Phase) Lasts() *Expr {
	if u := ph.Until; u.Op == "+" && u.Args[0].Op == "now" {
		return u.Args[1]
	} else if u.Op == "+" && u.Args[1].Op == "now" {
		return u.Args[0]
	}
	return nil
}

// Clause is what is done when something happens.
type Clause struct {
	Span
	Kind   string // "open", "word", "each", "for", "deposit", "deadline"
	Who    []Token
	Join   string // of a word: "or", "and", "of", "all", "any"; "" for one party
	Need   int    // of "of": how many of Who
	Word   Token
	Part   bool   // of a deposit: a part of what is missing will do
	Sealed string // "sealed" where a commitment to Value comes with the word, "opened" where Value itself does
	Value  Token  // the name of the value that comes with the word
	Range  string // of the value, as it is written
	Oracle Token
	Time   *Expr // of an oracle's value: its age or its time
	Pot    Token // of a deposit
	If     *Expr
	Body   []*Stmt
}

// Stmt is a statement.
type Stmt struct {
	Span
	Kind       string // "give", "set", "if", "for", "next", "close", "stay"
	Amount     *Expr  // of a give: nil for all
	Pot, To    Token
	Counter    Token
	Value      *Expr // of a set; the condition of an if
	Role       Token // of a for
	Then, Else []*Stmt
	Phase      Token // of a next
}

// Expr is a formula. Op is the operator or the function; "number", "name" and "now"
// have no Args; "neg" has one. A call of a curve has its name in Tok. What goes
// over a role ("sum", "most", "least", "count") has the role as its first argument.
type Expr struct {
	Op   string
	Tok  Token
	Unit string // behind a number
	Args []*Expr
}

const maxDepth = 64

// reader reads tokens. After an error it stands at the end of the text.
type reader struct {
	*File
	at, depth int
	err       *Error
}

// Parse reads a contract. It understands every contract that compiles, and most
// that do not: it looks at no name, type or range.
func Parse(src []byte) (*File, error) {
	tokens, err := Scan(src)
	if err != nil {
		return nil, err
	}
	r := &reader{File: &File{Tokens: tokens}}
	r.contract()
	if r.err != nil {
		return nil, r.err
	}
	return r.File, nil
}

func (r *reader) tok() Token { return r.Tokens[r.at] }

func (r *reader) take() Token {
	t := r.tok()
	if t.Kind != EOF {
		r.at++
	}
	return t
}

func (r *reader) is(s string) bool { return r.tok().Is(s) }

func (r *reader) accept(s string) bool {
	ok := r.is(s)
	if ok {
		r.at++
	}
	return ok
}

func (r *reader) fail(expected string) {
	if t := r.tok(); r.err == nil {
		what := "`" + t.Text + "` stands"
		if t.Kind == EOF {
			what = "the text ends"
			if r.at > 0 { // behind what is there, not behind what follows it
				last := r.Tokens[r.at-1]
				t.Line, t.Col = last.Line, last.Col+len(last.Text)
			}
		}
		r.err = &Error{t.Line, t.Col, what + " where " + expected + " is expected"}
	}
	r.at = len(r.Tokens) - 1
}

func (r *reader) expect(s string) {
	if !r.accept(s) {
		r.fail("`" + s + "`")
	}
}

func (r *reader) name(of string) Token {
	if t := r.tok(); t.Kind != Name || Reserved(t.Text) {
		r.fail("the name of " + of)
	}
	return r.take()
}

// begin notes that a line begins here.
func (r *reader) begin(indent int, gap bool) {
	r.lines = append(r.lines, line{first: r.at, indent: indent, gap: gap})
}

func (r *reader) contract() {
	r.begin(0, false)
	r.expect("contract")
	r.File.Name = r.name("the contract")
	r.begin(0, false)
	r.expect("parties")
	for more := true; more; more = r.accept(",") {
		r.Parties = append(r.Parties, r.name("a party"))
	}
	for r.is("role") {
		r.begin(0, false)
		role := &Role{Span: Span{First: r.at}}
		r.at++
		role.Name = r.name("a role")
		role.Range = r.span()
		role.End = r.at
		r.Roles = append(r.Roles, role)
	}
	for r.err == nil && r.tok().Kind != EOF {
		switch {
		case r.is("for"):
			r.begin(0, false)
			r.at++
			r.expect("each")
			role := r.name("a role")
			r.expect(":")
			for more := true; more; more = r.err == nil && !r.is("end") {
				r.begin(1, false)
				r.declaration(role.Text)
			}
			r.begin(0, false)
			r.expect("end")
		case r.is("phase"):
			r.phase()
		case r.is("at"):
			r.begin(0, false)
			r.Open = &Clause{Kind: "open", Span: Span{First: r.at}}
			r.at++
			r.expect("open")
			r.expect(":")
			r.Open.Body = r.body(1)
			r.Open.End = r.at
		default:
			r.begin(0, false)
			r.declaration("")
		}
	}
}

func (r *reader) declaration(role string) {
	d := &Decl{Span: Span{First: r.at}, Role: role, Later: r.accept("later")}
	switch d.Kind = r.tok().Text; {
	case r.accept("term"):
		d.Name = r.name("a term")
		r.expect(":")
		d.Type = r.take()
		if r.tok().Kind == Number || r.is("-") {
			d.Range = r.span()
		}
	case r.accept("pot"):
		d.Name = r.name("a pot")
		r.expect("=")
		d.Expr = r.expr(0)
		r.accept("units")
		if r.accept("of") {
			if d.Asset = r.tok(); d.Asset.Kind != Name && d.Asset.Kind != String {
				r.fail("an asset")
			}
			r.take()
		}
		r.expect("from")
		d.From = r.name("a party")
	case r.accept("counter"):
		d.Name = r.name("a counter")
		r.expect("=")
		first := r.at
		r.bound()
		d.Start = r.Text(Span{first, r.at})
		r.expect("in")
		d.Range = r.span()
	case r.accept("sealed"):
		d.Name = r.name("a sealed value")
		r.expect("in")
		d.Range = r.span()
	case r.accept("oracle"):
		if d.Name = r.name("an oracle"); r.tok().Kind == String {
			d.Fixed = r.take()
		}
		r.expect("in")
		d.Range = r.span()
	case r.accept("curve"):
		d.Name = r.name("a curve")
		r.expect(":")
		first := r.at
		for more := true; more; more = r.accept(",") {
			r.bound()
			r.expect("->")
			r.bound()
		}
		d.Points = r.Text(Span{first, r.at})
	case r.accept("require"):
		d.Expr = r.expr(0)
	default:
		r.fail("a declaration or a phase")
	}
	d.End = r.at
	r.Decls = append(r.Decls, d)
}

// span reads a range and returns it as it is written, in the canonical layout.
func (r *reader) span() string {
	first := r.at
	r.bound()
	r.expect("..")
	r.bound()
	return r.Text(Span{first, r.at})
}

func (r *reader) bound() {
	r.accept("-")
	r.number()
}

func (r *reader) number() *Expr {
	t := r.tok()
	if t.Kind != Number {
		r.fail("a number")
	}
	e := &Expr{Op: "number", Tok: r.take()}
	if u := r.tok(); u.Kind == Name && slices.Contains(units, u.Text) {
		e.Unit = r.take().Text
	}
	return e
}

func (r *reader) phase() {
	r.begin(0, true)
	ph := &Phase{Span: Span{First: r.at}}
	r.at++
	ph.Name = r.name("a phase")
	r.expect("until")
	ph.Until = r.expr(0)
	ph.End = r.at
	for r.is("when") || r.is("at") {
		ph.Clauses = append(ph.Clauses, r.clause())
	}
	r.Phases = append(r.Phases, ph)
}

func (r *reader) clause() *Clause {
	r.begin(1, false)
	c := &Clause{Span: Span{First: r.at}}
	if r.accept("at") {
		c.Kind = "deadline"
		r.expect("deadline")
	} else if r.at++; r.accept("oracle") {
		c.Oracle = r.name("an oracle")
		if c.Kind = r.tok().Text; !r.accept("each") && !r.accept("for") {
			r.fail("`each` or `for`")
		}
		c.Time = r.expr(0)
	} else if r.is("deposit") || r.is("each") {
		c.Part = r.accept("each")
		r.expect("deposit")
		c.Kind, c.Pot = "deposit", r.name("a pot")
	} else {
		r.said(c)
	}
	if r.accept("if") {
		c.If = r.expr(0)
	}
	r.expect(":")
	c.Body = r.body(2)
	c.End = r.at
	return c
}

func (r *reader) said(c *Clause) {
	c.Kind, c.Need = "word", 1
	switch {
	case r.tok().Kind == Number:
		c.Join, c.Need = "of", int(min(r.take().Value(), 1000))
		r.expect("of")
	case r.accept("all"):
		c.Join = "all"
		r.expect("of")
	case r.accept("any"):
		c.Join = "any"
	}
	for more := true; more; {
		c.Who = append(c.Who, r.name("a party"))
		if t := r.tok(); c.Join == "" && (t.Is("and") || t.Is("or")) {
			c.Join = t.Text
		}
		switch c.Join {
		case "of", "all":
			more = r.accept(",")
		case "and", "or":
			more = r.accept(c.Join)
		default:
			more = false
		}
	}
	if !r.accept("says") {
		r.expect("say")
	}
	if r.tok().Kind != String {
		r.fail("a word in quotes")
	}
	c.Word = r.take()
	if r.accept("with") {
		if c.Sealed = r.tok().Text; r.accept("sealed") || r.accept("opened") {
			c.Value = r.name("a sealed value")
			return
		}
		c.Sealed = ""
		c.Value = r.name("the value")
		r.expect("in")
		c.Range = r.span()
	}
}

func (r *reader) body(indent int) (list []*Stmt) {
	if r.depth++; r.depth > maxDepth {
		r.fail("something less deeply nested")
	}
	defer func() { r.depth-- }()
	start := len(r.lines)
	for {
		s := &Stmt{Span: Span{First: r.at}, Kind: r.tok().Text}
		if i := slices.Index([]string{"give", "set", "if", "for", "next", "close", "stay"}, s.Kind); i < 0 || r.tok().Kind != Name {
			break
		}
		r.begin(indent, false)
		r.at++
		switch s.Kind {
		case "give":
			if !r.accept("all") {
				s.Amount = r.expr(0)
			}
			r.expect("of")
			s.Pot = r.name("a pot")
			r.expect("to")
			s.To = r.name("a party")
		case "set":
			s.Counter = r.name("a counter")
			r.expect("=")
			s.Value = r.expr(0)
		case "if":
			s.Value = r.expr(0)
			r.expect("then")
			s.Then = r.body(indent + 1)
			if r.is("else") {
				r.begin(indent, false)
				r.at++
				s.Else = r.body(indent + 1)
			}
			r.begin(indent, false)
			r.expect("end")
		case "for":
			r.expect("each")
			s.Role = r.name("a role")
			r.expect(":")
			s.Then = r.body(indent + 1)
			r.begin(indent, false)
			r.expect("end")
		case "next":
			s.Phase = r.name("a phase")
		}
		s.End = r.at
		list = append(list, s)
	}
	if len(list) == 0 {
		r.fail("something to do")
	}
	if k := list; len(k) == 1 && indent == 2 && (k[0].Kind == "next" || k[0].Kind == "close" || k[0].Kind == "stay") {
		r.lines[start].short = true
	}
	return list
}

// How tightly operators bind, loosest first.
var binds = map[string]int{"or": 1, "and": 2, "=": 4, "!=": 4, "<": 4, ">": 4, "<=": 4, ">=": 4, "==": 4, "+": 5, "-": 5, "*": 6, "/": 6}

func (r *reader) expr(level int) *Expr {
	if r.depth++; r.depth > maxDepth {
		r.fail("a formula less deeply nested")
	}
	defer func() { r.depth-- }()
	var left *Expr
	switch t := r.tok(); {
	case level <= 3 && r.accept("not"):
		left = &Expr{Op: "not", Tok: t, Args: []*Expr{r.expr(3)}}
	case r.accept("-"):
		left = &Expr{Op: "neg", Tok: t, Args: []*Expr{r.operand()}}
	default:
		left = r.operand()
	}
	for {
		t := r.tok()
		b := binds[t.Text]
		if t.Kind != Sign && t.Kind != Name || b == 0 || b < level {
			return left
		}
		r.at++
		left = &Expr{Op: t.Text, Tok: t, Args: []*Expr{left, r.expr(b + 1)}}
	}
}

func (r *reader) operand() *Expr {
	t := r.tok()
	switch {
	case t.Kind == Number:
		return r.number()
	case r.accept("("):
		e := r.expr(0)
		r.expect(")")
		return e
	case r.accept("now"):
		return &Expr{Op: "now", Tok: t}
	case t.Is("share") || t.Is("min") || t.Is("max") || t.Is("left") || t.Is("filled") || t.Is("sealed"):
		e := &Expr{Op: t.Text, Tok: r.take()}
		r.arguments(e)
		return e
	case t.Is("sum") || t.Is("most") || t.Is("least") || t.Is("count"):
		e := &Expr{Op: t.Text, Tok: r.take()}
		r.expect("(")
		e.Args = []*Expr{{Op: "name", Tok: r.name("a role")}}
		if r.accept(":") {
			e.Args = append(e.Args, r.expr(0))
		}
		r.expect(")")
		return e
	}
	e := &Expr{Op: "name", Tok: r.name("a value")}
	if r.is("(") {
		e.Op = "call"
		r.arguments(e)
	}
	return e
}

func (r *reader) arguments(e *Expr) {
	r.expect("(")
	for more := true; more; more = r.accept(",") {
		e.Args = append(e.Args, r.expr(0))
	}
	r.expect(")")
}

// Text returns tokens as the canonical layout writes them in one line.
func (f *File) Text(s Span) string {
	var b []byte
	depth := 0
	for i := s.First; i < s.End; i++ {
		if i > s.First && f.spaced(i, depth) {
			b = append(b, ' ')
		}
		depth = nesting(depth, f.Tokens[i])
		b = append(b, f.Tokens[i].Text...)
	}
	return string(b)
}

// At returns the index of the token that stands at a place or ends there, -1 if
// there is none. Line and column count from 1, columns in bytes.
func (f *File) At(line, col int) int {
	found := -1
	for i, t := range f.Tokens {
		if t.Kind != EOF && t.Line == line && t.Col <= col && col <= t.Col+len(t.Text) {
			found = i
		}
	}
	return found
}
