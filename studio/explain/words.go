package explain

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"latchkey/studio/figures"
	"latchkey/studio/syntax"
)

// isTime tells that a formula is a moment, so that less means before.
func (d *doc) isTime(e *syntax.Expr) bool {
	switch e.Op {
	case "name":
		for _, decl := range d.file.Decls {
			if decl.Kind == "term" && decl.Name.Text == e.Tok.Text {
				return decl.Type.Text == "time"
			}
		}
	case "now":
		return true
	case "neg", "number", "share", "left", "call":
		return false
	case "+", "-", "min", "max":
		return d.isTime(e.Args[0]) != (e.Op == "-" && d.isTime(e.Args[1])) || e.Op == "+" && d.isTime(e.Args[1])
	}
	return false
}

var fractions = map[string]string{"2": "half of ", "3": "a third of ", "4": "a quarter of ", "10": "a tenth of "}

// How tightly what is said of a formula holds together, loosest first.
const (
	asOr = iota
	asAnd
	asCompare
	asPhrase // "the lesser of a and b"
	asSum
	asProduct
	asValue
)

// say puts a formula into words. Names of what is filled in or counted stand in
// quotation marks.
func (d *doc) say(e *syntax.Expr) string {
	s, _ := d.spell(e)
	return s
}

// within is a formula inside another one that holds together as tightly as level.
func (d *doc) within(e *syntax.Expr, level int) string {
	s, own := d.spell(e)
	if own < level {
		return "(" + s + ")"
	}
	return s
}

func (d *doc) spell(e *syntax.Expr) (string, int) {
	arg := func(i, level int) string { return d.within(e.Args[i], level) }
	switch e.Op {
	case "number":
		return d.number(e), asValue
	case "name":
		return d.name(e.Tok.Text), asValue
	case "call":
		return "the curve " + e.Tok.Text + " at " + arg(0, asSum), asPhrase
	case "now":
		return d.now, asValue
	case "left":
		return "what is left of " + arg(0, asValue), asPhrase
	case "filled":
		return "what was put into " + arg(0, asValue), asPhrase
	case "sealed":
		return arg(0, asValue) + " is sealed and not shown yet", asCompare
	case "sum", "most", "least", "count":
		d.all = true
		defer func() { d.all = false }()
	}
	switch e.Op {
	case "sum":
		return "the sum of " + arg(1, asProduct) + " over each " + e.Args[0].Tok.Text, asPhrase
	case "most":
		return "the greatest " + arg(1, asProduct) + " of any " + e.Args[0].Tok.Text, asPhrase
	case "least":
		return "the least " + arg(1, asProduct) + " of any " + e.Args[0].Tok.Text, asPhrase
	case "count":
		if len(e.Args) == 1 {
			return "the number of holders of " + e.Args[0].Tok.Text, asPhrase
		}
		return "the number of holders of " + e.Args[0].Tok.Text + " for which " + arg(1, asCompare), asPhrase
	case "min", "max":
		if d.isTime(e) {
			return map[string]string{"min": "the earlier of ", "max": "the later of "}[e.Op] + arg(0, asPhrase) + " and " + arg(1, asPhrase), asPhrase
		}
		if e.Op == "max" {
			return "the greater of " + arg(0, asPhrase) + " and " + arg(1, asPhrase), asPhrase
		}
		return "the lesser of " + arg(0, asPhrase) + " and " + arg(1, asPhrase), asPhrase
	case "share":
		if e.Args[2].Op == "number" && e.Args[2].Tok.Value() == 100 {
			return arg(1, asValue) + " percent of " + arg(0, asValue), asPhrase
		}
		return arg(0, asProduct) + " × " + arg(1, asValue) + " / " + arg(2, asValue), asProduct
	case "neg":
		return "−" + arg(0, asValue), asProduct
	case "not":
		return "it is not so that " + arg(0, asPhrase), asCompare
	case "/":
		if f := fractions[e.Args[1].Tok.Text]; e.Args[1].Op == "number" && f != "" {
			return f + arg(0, asValue), asPhrase
		}
		return arg(0, asProduct) + " / " + arg(1, asValue), asProduct
	case "*":
		return arg(0, asProduct) + " × " + arg(1, asValue), asProduct
	case "+":
		if d.isTime(e) {
			return arg(0, asSum) + " plus " + arg(1, asSum), asSum
		}
		return arg(0, asSum) + " + " + arg(1, asProduct), asSum
	case "-":
		if z := e.Args[0]; z.Op == "number" && z.Tok.Value() == 0 {
			return "−" + arg(1, asValue), asProduct
		}
		if d.isTime(e) {
			return arg(0, asSum) + " less " + arg(1, asProduct), asSum
		}
		return arg(0, asSum) + " − " + arg(1, asProduct), asSum
	case "and":
		return arg(0, asAnd) + " and " + arg(1, asAnd), asAnd
	case "or":
		return arg(0, asCompare) + " or " + arg(1, asCompare), asOr
	}
	if len(e.Args) == 2 {
		return arg(0, asPhrase) + " " + d.compares(e) + " " + arg(1, asPhrase), asCompare
	}
	return e.Tok.Text, asValue
}

func (d *doc) number(e *syntax.Expr) string {
	n := grouped(e.Tok.Text)
	if e.Unit == "" {
		return n
	}
	if e.Tok.Value() == 1 {
		return n + " " + strings.TrimSuffix(e.Unit, "s")
	}
	return n + " " + e.Unit
}

// name puts the name of a value in quotation marks, not that of a pot.
func (d *doc) name(s string) string {
	its := ""
	for _, decl := range d.file.Decls {
		if decl.Name.Text == s && decl.Role != "" && !d.all {
			its = "its "
		}
		if decl.Name.Text == s && decl.Kind == "pot" {
			return its + s
		}
	}
	return its + "‘" + s + "’"
}

// compares is the verb of a comparison.
func (d *doc) compares(e *syntax.Expr) string {
	verbs := map[string]string{"=": "is", "!=": "is not", "<": "is less than", "<=": "is at most", ">": "is more than", ">=": "is at least"}
	if d.isTime(e.Args[0]) && d.isTime(e.Args[1]) {
		verbs = map[string]string{"=": "is", "!=": "is not", "<": "is before", "<=": "is not after", ">": "is after", ">=": "is not before"}
	}
	return verbs[e.Op]
}

// mentions tells that a formula reads a name.
func mentions(e *syntax.Expr, name string) bool {
	return e != nil && (e.Op == "name" && e.Tok.Text == name || slices.ContainsFunc(e.Args, func(a *syntax.Expr) bool { return mentions(a, name) }))
}

// pots returns the names of the pots, in order, and who fills them.
func (d *doc) pots() (list []*syntax.Decl) {
	for _, decl := range d.file.Decls {
		if decl.Kind == "pot" {
			list = append(list, decl)
		}
	}
	return list
}

// How much of a pot a way has given.
type share int

const (
	untouched share = iota
	partly
	wholly
)

// deed puts a statement into words; given is what the statements before it gave.
func (d *doc) deed(s *syntax.Stmt, given map[string]share, here string) string {
	switch s.Kind {
	case "give":
		before := given[s.Pot.Text]
		if s.Amount == nil {
			given[s.Pot.Text] = wholly
			if before != untouched {
				return d.receiver(s.To.Text) + " receives what is left of " + d.name(s.Pot.Text)
			}
			return d.receiver(s.To.Text) + " receives all of " + d.name(s.Pot.Text)
		}
		given[s.Pot.Text] = max(before, partly)
		if op := s.Amount.Op; mentions(s.Amount, s.Pot.Text) && op != "min" && op != "max" {
			return d.receiver(s.To.Text) + " receives " + d.say(s.Amount)
		}
		return "from " + d.name(s.Pot.Text) + ", " + d.receiver(s.To.Text) + " receives " + d.say(s.Amount) + d.units(s.Amount)
	case "set":
		c := d.name(s.Counter.Text)
		if v := s.Value; (v.Op == "+" || v.Op == "-") && v.Args[0].Op == "name" && v.Args[0].Tok.Text == s.Counter.Text {
			return c + map[string]string{"+": " goes up by ", "-": " goes down by "}[v.Op] + d.say(v.Args[1])
		}
		return c + " becomes " + d.say(s.Value)
	case "next":
		if s.Phase.Text == here {
			return "phase " + here + " begins anew"
		}
		return "phase " + s.Phase.Text + " begins"
	case "close":
		return "the agreement ends" + d.rest(given)
	case "stay":
		return "the phase goes on"
	}
	return ""
}

// receiver says who a give is to: of a role the holder that is spoken of.
func (d *doc) receiver(name string) string {
	for _, r := range d.file.Roles {
		if r.Name.Text == name {
			return "that " + name
		}
	}
	return name
}

// article puts a or an before a name.
func article(name string) string {
	if strings.ContainsRune("aeiouAEIOU", rune(name[0])) {
		return "an " + name
	}
	return "a " + name
}

// units says that a plain name or number is an amount.
func (d *doc) units(e *syntax.Expr) string {
	if e.Op == "name" || e.Op == "number" && e.Unit == "" {
		return " units"
	}
	return ""
}

// rest says where what was not given goes.
func (d *doc) rest(given map[string]share) string {
	var left, back, each []string
	for _, pot := range d.pots() {
		if given[pot.Name.Text] == wholly {
			continue
		}
		left = append(left, pot.Name.Text)
		if back = append(back, pot.From.Text); pot.Role != "" {
			left[len(left)-1] = "each " + pot.Name.Text
			if pot.From.Text == pot.Role {
				back[len(back)-1] = "its " + pot.From.Text
			}
		}
		each = append(each, left[len(left)-1]+" to "+back[len(back)-1])
	}
	switch back = slices.Compact(back); len(back) {
	case 0:
		return ""
	case 1:
		return "; what is then in " + figures.List(left, "and") + " goes back to " + back[0]
	}
	return "; what is then in the pots goes back, " + figures.List(each, "and")
}

func (d *doc) depositor(pot string) string {
	for _, p := range d.pots() {
		if p.Name.Text == pot {
			if p.Role == p.From.Text {
				return "each " + p.From.Text
			}
			return p.From.Text
		}
	}
	return ""
}

// deeds puts a body into words: one sentence, with a list below it where it branches.
func (d *doc) deeds(body []*syntax.Stmt, given map[string]share, here string) item {
	var it item
	var parts []string
	then := "then " // where the way before may have ended
	for _, s := range body {
		switch {
		case s.Kind == "for":
			sub := d.deeds(s.Then, clone(given), here)
			sub.text = strings.TrimSpace("for each " + s.Role.Text + ": " + sub.text)
			it.items = append(it.items, sub)
			continue
		case s.Kind != "if" && len(it.items) > 0:
			it.items = append(it.items, item{text: then + d.deed(s, given, here)})
			then = "then "
			continue
		case s.Kind != "if":
			parts = append(parts, d.deed(s, given, here))
			continue
		}
		for _, side := range []struct {
			head string
			body []*syntax.Stmt
		}{{"if " + d.say(s.Value) + ": ", s.Then}, {"otherwise: ", s.Else}} {
			if side.body == nil {
				continue
			}
			sub := d.deeds(side.body, clone(given), here)
			if then == "otherwise " && side.head != "otherwise: " {
				side.head = "otherwise, " + side.head
			}
			sub.text = strings.TrimSpace(side.head + sub.text)
			it.items = append(it.items, sub)
		}
		if then = "then "; s.Else == nil && ends(s.Then) {
			then = "otherwise "
		}
	}
	if it.text = strings.Join(parts, ", "); len(parts) > 1 {
		it.text = strings.Join(parts[:len(parts)-1], ", ") + ", and " + parts[len(parts)-1]
	}
	return it
}

// ends tells that nothing follows a body.
func ends(body []*syntax.Stmt) bool {
	last := body[len(body)-1]
	return last.Kind == "next" || last.Kind == "close"
}

func clone(m map[string]share) map[string]share {
	c := make(map[string]share, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// names returns the texts of tokens.
func names(tokens []syntax.Token) (list []string) {
	for _, t := range tokens {
		list = append(list, t.Text)
	}
	return list
}

// lasts says until when a phase lasts.
func (d *doc) lasts(ph *syntax.Phase) string {
	if e := ph.Lasts(); e != nil {
		return "for " + d.say(e) + " from its beginning"
	}
	d.now = "the moment it begins"
	defer func() { d.now = moment }()
	return "until " + d.say(ph.Until)
}

// moment is what `now` means outside the end of a phase.
const moment = "the moment"

// head says when a clause applies.
func (d *doc) head(c *syntax.Clause) string {
	s := ""
	switch who := names(c.Who); c.Kind {
	case "word":
		switch c.Join {
		case "or":
			s = figures.List(who, "or") + " may say " + c.Word.Text
		case "and":
			s = figures.List(who, "and") + " may say " + c.Word.Text + "; it counts when all of them have said it"
		case "of":
			s = fmt.Sprintf("%s may say %s; it counts when %d of them have said it", figures.List(d.holders(who), "and"), c.Word.Text, c.Need)
		case "all":
			s = figures.List(d.holders(who), "and") + " may say " + c.Word.Text + "; it counts when all of them have said it"
		case "any":
			s = "any " + who[0] + " may say " + c.Word.Text
		default:
			s = who[0] + " may say " + c.Word.Text
		}
		switch {
		case c.Sealed == "sealed":
			s += ", with a sealed ‘" + c.Value.Text + "’ that nobody can read yet"
		case c.Sealed == "opened":
			s += ", showing the ‘" + c.Value.Text + "’ that it has sealed"
		case c.Range != "":
			s += ", naming ‘" + c.Value.Text + "’ from " + strings.Replace(spread(c.Range), "..", "to", 1)
		}
	case "each":
		s = "oracle " + c.Oracle.Text + " may report a value that is at most " + d.say(c.Time) + " old"
	case "for":
		s = "oracle " + c.Oracle.Text + " may report its value for " + d.say(c.Time)
	case "deposit":
		s = d.depositor(c.Pot.Text) + " may deposit all that " + c.Pot.Text + " is missing"
		if c.Part {
			s = d.depositor(c.Pot.Text) + " may deposit into " + c.Pot.Text + ", a part or all that is missing"
		}
	}
	if c.If != nil && c.Kind != "deadline" {
		s += ", provided that " + d.say(c.If)
	}
	return s
}

// holders says of a role that each of its holders is meant.
func (d *doc) holders(who []string) []string {
	list := slices.Clone(who)
	for i, w := range list {
		for _, r := range d.file.Roles {
			if r.Name.Text == w {
				list[i] = "each " + w
			}
		}
	}
	return list
}

// spread puts blanks around the sign of a range.
func spread(text string) string {
	if strings.Contains(text, " .. ") {
		return grouped(text)
	}
	return grouped(strings.Replace(text, "..", " .. ", 1))
}

var numberText = regexp.MustCompile(`[0-9][0-9_]*`)

// grouped groups the digits of every number of five and more by thousands, however the source groups them.
func grouped(text string) string {
	return numberText.ReplaceAllStringFunc(text, func(s string) string {
		n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64)
		if err != nil || len(s) == 2 { // two decimals are no number of their own
			return s
		}
		return strings.ReplaceAll(figures.Number(n), "_", ",")
	})
}

// clause puts a clause into words.
func (d *doc) clause(c *syntax.Clause, ph *syntax.Phase) item {
	it := d.deeds(c.Body, map[string]share{}, ph.Name.Text)
	then := it.text
	if then == "" && len(it.items) > 0 {
		then = "as follows:"
	}
	switch {
	case c.Kind == "deadline" && c.If != nil:
		it.text = "If the phase has not ended by then, and " + d.say(c.If) + ": " + then
	case c.Kind == "deadline":
		it.text = "If nothing of this has ended the phase by then: " + then
		if len(ph.Clauses) == 1 {
			it.text = "When the time has come: " + then
		}
	default:
		it.text = d.head(c) + ". Then " + then
	}
	return it
}
