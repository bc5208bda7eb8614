package explain

import (
	"strings"

	"latchkey/contract"
	"latchkey/studio/figures"
	"latchkey/studio/syntax"
)

// About explains what stands at a place of a contract: a name, a word, a clause. p
// may be nil, of a contract that does not compile. It returns the token that it
// is about; ok is false where there is nothing to say. Line and column count from
// 1, columns in bytes.
func About(src []byte, p *contract.Program, line, col int) (text string, at syntax.Token, ok bool) {
	f, err := syntax.Parse(src)
	if err != nil {
		return "", syntax.Token{}, false
	}
	i := f.At(line, col)
	if i < 0 {
		return "", syntax.Token{}, false
	}
	d := &doc{file: f, prog: p, now: moment}
	text = d.about(i)
	return text, f.Tokens[i], text != ""
}

func (d *doc) about(i int) string {
	t := d.file.Tokens[i]
	switch {
	case t.Kind == syntax.Name && !syntax.Reserved(t.Text):
		if i > 0 && (d.file.Tokens[i-1].Is("phase") || d.file.Tokens[i-1].Is("next")) {
			if ph := d.phaseNamed(t.Text); ph != nil {
				return d.aboutPhase(ph)
			}
		}
		if c, _ := d.clauseAt(i); c != nil && c.Value.Text == t.Text && c.Range != "" {
			return "‘" + t.Text + "’: the value that comes with " + c.Word.Text + ", from " + strings.Replace(spread(c.Range), "..", "to", 1) + "."
		}
		return d.aboutName(t.Text)
	case t.Is("when"), t.Is("deadline"), t.Kind == syntax.String:
		if c, ph := d.clauseAt(i); c != nil {
			return plain(d.clause(c, ph))
		}
	case t.Is("phase"):
		return d.about(i + 1)
	}
	if t.Kind == syntax.Name {
		return keywords[t.Text]
	}
	return ""
}

// clauseAt returns the clause that a token belongs to.
func (d *doc) clauseAt(i int) (*syntax.Clause, *syntax.Phase) {
	for _, ph := range d.file.Phases {
		for _, c := range ph.Clauses {
			if c.First <= i && i < c.End {
				return c, ph
			}
		}
	}
	return nil, nil
}

func (d *doc) aboutPhase(ph *syntax.Phase) string {
	lines := []string{"Phase " + ph.Name.Text + ", " + d.lasts(ph) + ":"}
	for _, it := range d.phase(ph) {
		lines = append(lines, "- "+plain(it))
	}
	return strings.Join(lines, "\n")
}

func (d *doc) aboutName(name string) string {
	for _, it := range d.rights() {
		if strings.TrimSuffix(it.text, ":") == name || strings.HasPrefix(it.text, name+": ") {
			return plain(it)
		}
	}
	for _, decl := range d.file.Decls {
		if decl.Name.Text != name {
			continue
		}
		one := &doc{file: &syntax.File{Decls: []*syntax.Decl{decl}, Tokens: d.file.Tokens}, prog: d.prog, now: moment}
		switch decl.Kind {
		case "pot":
			one.file.Decls = d.file.Decls
			for i, pot := range d.pots() {
				if pot == decl {
					return plain(one.deposits()[i])
				}
			}
		case "term":
			text := "Term " + name + ": "
			if d.prog == nil {
				return text + strings.TrimSpace(decl.Type.Text+" "+decl.Range) + "."
			}
			return text + d.termType(decl, d.prog.Terms()) + ", agreed on before the contract opens."
		default:
			if items := one.values(); len(items) > 0 {
				return plain(items[0])
			}
		}
	}
	return ""
}

// plain writes an item and what is below it, as a paragraph and a list.
func plain(it item) string {
	s := sentence(it)
	var add func(items []item, indent string)
	add = func(items []item, indent string) {
		for _, sub := range items {
			s += "\n" + indent + "- " + sentence(sub)
			add(sub.items, indent+"  ")
		}
	}
	add(it.items, "")
	return s
}

// keywords explains the words of the language.
var keywords = map[string]string{
	"contract": "`contract Name` begins a contract.",
	"parties":  "`parties a, b`: who agrees. Each party has a key; what it says is signed by it.",
	"role":     "`role bidder 2..8`: a part that several parties play, each for itself. How many, the parties agree on first.",
	"term":     "`term price : units 1..1000`: something that the parties agree on before the contract opens, within a range.",
	"pot":      "`pot payment = price units from buyer`: what a party deposits. What is not given away goes back to it.",
	"later":    "`later pot repayment = …`: a pot that is filled while the contract runs; a clause `when deposit repayment` waits for it.",
	"counter":  "`counter rounds = 0 in 0..10`: a number that the contract keeps. It lets phases come again, so often and no more.",
	"sealed":   "`sealed bid in 1..100 units`: a value that is committed to first and shown later. `sealed(bid)` tells that it is not shown yet.",
	"opened":   "`with opened bid`: the value comes with the word, and must be the one that was sealed.",
	"oracle":   "`oracle price in 1..1_000_000`: a value from outside, signed by agreed keys and bound to its time of observation.",
	"curve":    "`curve payout : 50 -> 100, 120 -> 60`: a line through points, level before the first and after the last.",
	"require":  "`require a < b`: terms that do not meet this are refused.",
	"until":    "`until time`: when the phase's deadline is. `until now + 3 days` counts from its beginning.",
	"when":     "`when buyer says \"release\": …`: what is done when this happens.",
	"give":     "`give amount of pot to party`: chunks change hands, the greatest first that do not exceed the amount. A chunk is never divided.",
	"all":      "`give all of pot to party` gives what is left. `all of role` means each of its holders.",
	"close":    "`close` ends the contract: what is left in each pot goes back to who deposited it.",
	"next":     "`next Phase`: that phase begins, with a deadline of its own.",
	"stay":     "`stay`: nothing is done; the phase goes on.",
	"set":      "`set counter = value` gives a counter a new value, within its range.",
	"share":    "`share(amount, numerator, denominator)`: amount × numerator / denominator, rounded toward zero.",
	"left":     "`left(pot)`: the units that the pot still holds.",
	"filled":   "`filled(pot)`: the units that were put into a later pot so far.",
	"min":      "`min(a, b)`: the lesser of the two.",
	"max":      "`max(a, b)`: the greater of the two.",
	"sum":      "`sum(role: value)`: the sum of the value over all holders of the role.",
	"most":     "`most(role: value)`: the greatest value of any holder of the role.",
	"least":    "`least(role: value)`: the least value of any holder of the role.",
	"count":    "`count(role)`: how many hold the role; `count(role: condition)`: for how many of them the condition holds.",
	"each":     "`each 60 seconds`: any value that is at most so old and newer than the last. `for each role: … end`: for every holder. `each deposit`: a part will do.",
	"for":      "`for time`: the value observed at that time and no other. `for each role: … end`: for every holder.",
	"any":      "`any bidder`: one holder of the role; in the clause the role's name then means that one.",
	"now":      "`now`: the time of the step; in `until`, that of the phase's beginning.",
	"if":       "`if condition`: behind a clause's head, when it counts; in a body, `if … then … else … end`.",
	"deadline": "`at deadline`: what is done when the phase's time is over.",
	"open":     "`at open`: what is done as soon as all pots are locked.",
	"with":     "`with percent in 0..100`: a value comes with the word, within this range.",
}

// Symbols lists the names that a contract declares, for an outline: name, kind, place.
func Symbols(src []byte) (list []Symbol) {
	f, err := syntax.Parse(src)
	if err != nil {
		return nil
	}
	for _, decl := range f.Decls {
		if decl.Name.Text != "" {
			list = append(list, Symbol{decl.Name.Text, decl.Kind, decl.Name})
		}
	}
	for _, ph := range f.Phases {
		list = append(list, Symbol{ph.Name.Text, "phase", ph.Name})
		for _, c := range ph.Clauses {
			name := "deadline"
			switch c.Kind {
			case "word":
				name = figures.List(names(c.Who), "and") + " " + c.Word.Text
			case "each", "for":
				name = "oracle " + c.Oracle.Text
			case "deposit":
				name = "deposit " + c.Pot.Text
			}
			list = append(list, Symbol{name, "clause", f.Tokens[c.First]})
		}
	}
	return list
}

// Symbol is a thing that an outline lists.
type Symbol struct {
	Name, Kind string
	At         syntax.Token
}
