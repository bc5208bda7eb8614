// Package explain puts contracts into plain English: who can do what until when,
// what happens if nobody does anything, who could gain by silence. It reads the
// contract as it is written; what comes out in figures, the machine of package
// contract has played.
package explain

import (
	"slices"
	"strings"
	"unicode/utf8"

	"latchkey/contract"
	"latchkey/studio/figures"
	"latchkey/studio/play"
	"latchkey/studio/syntax"
)

// doc is a contract that is being explained.
type doc struct {
	file *syntax.File
	prog *contract.Program
	now  string // what `now` means in the formula that is being put into words
	all  bool   // a formula goes over all holders of a role
}

// Text is an explanation: sections with sentences, some with sentences below them.
type Text struct {
	Title    string
	Sections []Section
}

// Section is a part of an explanation.
type Section struct {
	Title string
	items []item
}

// item is a paragraph, with those that belong below it.
type item struct {
	text  string
	items []item
}

// width is that of a line of text.
const width = 98

// Contract explains a contract. With a play that has not begun, what happens is told in figures as well;
// terms says which ones, for the reader, and example that they are nobody's but ours.
func Contract(src []byte, p *contract.Program, s *play.Session, terms string, example bool) (*Text, error) {
	f, err := syntax.Parse(src)
	if err != nil {
		return nil, err
	}
	d := &doc{file: f, prog: p, now: moment}
	t := &Text{Title: p.Name()}
	between := names(f.Parties)
	for _, r := range f.Roles {
		between = append(between, count(r.Range)+" parties that each are "+article(r.Name.Text))
	}
	t.add("", item{text: "An agreement between " + figures.List(between, "and") + "."})
	t.add("What is deposited", d.deposits()...)
	t.add("What has to be agreed on first", d.terms()...)
	t.add("What is observed and counted", d.values()...)
	if f.Open != nil {
		it := d.deeds(f.Open.Body, map[string]share{}, "")
		if n := len(f.Open.Body); f.Open.Body[n-1].Kind != "close" && f.Open.Body[n-1].Kind != "next" && len(f.Phases) > 0 {
			begins := "phase " + f.Phases[0].Name.Text + " begins"
			if len(it.items) > 0 {
				if it.text == "" {
					it.text = "as follows:"
				}
				it.items = append(it.items, item{text: "then " + begins})
			} else {
				it.text += ", and then " + begins
			}
		}
		t.add("As soon as it opens", it)
	}
	for i, ph := range f.Phases {
		title := "Phase " + ph.Name.Text + ", " + d.lasts(ph)
		if i == 0 && f.Open == nil {
			title = "First phase: " + ph.Name.Text + ", " + d.lasts(ph)
		}
		t.add(title, d.phase(ph)...)
	}
	t.add("What each party can do", d.rights()...)
	t.add("If nobody does anything", d.silentWay()...)
	if s != nil {
		with := "With " + terms
		if terms == "" {
			with = "In figures"
		} else if example {
			with = "For example, with " + terms
		}
		t.figures(s, with)
	}
	return t, nil
}

func (t *Text) add(title string, items ...item) {
	if len(items) > 0 {
		t.Sections = append(t.Sections, Section{title, items})
	}
}

// figures adds what a play shows.
func (t *Text) figures(s *play.Session, with string) {
	steps, err := silence(s)
	if err != nil {
		t.add(with, item{text: "it cannot open: " + err.Error()})
		return
	}
	const nobody = "If nobody does anything"
	if t.Sections[len(t.Sections)-1].Title != nobody {
		t.Sections = append(t.Sections, Section{Title: nobody})
	}
	last := &t.Sections[len(t.Sections)-1]
	it := item{text: with + ", it goes like this:"}
	for _, line := range steps {
		it.items = append(it.items, item{text: line})
	}
	last.items = append(last.items, it)
	gains, whole := Gains(s)
	var items []item
	for _, g := range gains {
		items = append(items, item{text: g.String()})
	}
	head := item{text: with + ", each time compared with nobody doing anything from there on:", items: items}
	if len(gains) == 0 {
		head = item{text: with + ", nobody ends up with more by keeping silent than by speaking."}
	}
	if !whole {
		head.items = append(head.items, item{text: "This contract is large: not all of it was looked at."})
	}
	t.add("Who could gain by silence", head, item{text: "One word is looked at a time, and nobody does anything after it. What others would do then is not weighed, and units of all pots count alike."})
}

func (d *doc) deposits() (items []item) {
	for _, pot := range d.pots() {
		who := pot.From.Text
		if pot.Role == who {
			who = "each " + who
		}
		if pot.Role != "" && pot.Role != pot.From.Text {
			who = "for each " + pot.Role + ", " + who
		}
		text := who + " deposits " + d.say(pot.Expr)
		if pot.Later {
			text = who + " may deposit, while the agreement runs, " + d.say(pot.Expr)
		}
		if pot.Expr.Unit != "units" {
			text += " units"
		}
		switch pot.Asset.Kind {
		case syntax.Name:
			text += " of ‘" + pot.Asset.Text + "’"
		case syntax.String:
			text += " of " + pot.Asset.Unquoted()
		}
		if text += " into the pot " + pot.Name.Text; pot.Role != "" {
			if text += " of its own"; pot.Role != pot.From.Text {
				text = strings.TrimSuffix(text, "its own") + "that " + pot.Role
			}
		}
		items = append(items, item{text: text})
	}
	if len(items) > 0 {
		items = append(items, item{text: "What is not given to somebody else goes back to who deposited it."})
	}
	if d.gives(func(s *syntax.Stmt) bool { return s.Amount != nil }) {
		items = append(items, item{text: "An amount is given in whole chunks, which may come to less; the rest stays in the pot. Quotients are rounded toward zero."})
	}
	if slices.ContainsFunc(d.pots(), func(pot *syntax.Decl) bool { return pot.Later }) {
		items = append(items, item{text: "What is deposited while the agreement runs counts once all who may receive of it have found its coins and acknowledged them. Who stays silent keeps it from counting, and it goes back."})
	}
	return items
}

func (d *doc) terms() (items []item) {
	terms := d.prog.Terms()
	for _, r := range d.file.Roles {
		items = append(items, item{text: r.Name.Text + ": how many parties are " + article(r.Name.Text) + ", and who, " + count(r.Range)})
	}
	for _, decl := range d.file.Decls {
		switch decl.Kind {
		case "term":
			name := decl.Name.Text
			if decl.Role != "" {
				name += " of each " + decl.Role
			}
			items = append(items, item{text: name + ": " + d.termType(decl, terms)})
		case "require":
			items = append(items, item{text: "It is required that " + d.say(decl.Expr) + "."})
		}
	}
	return items
}

// count says how many parties may hold a role.
func count(span string) string {
	from, to, _ := strings.Cut(spread(span), " .. ")
	if from == to {
		return from
	}
	return from + " to " + to
}

// values tells what oracles report, what is counted or sealed, and the curves.
func (d *doc) values() (items []item) {
	for _, decl := range d.file.Decls {
		of := ""
		if decl.Role != "" {
			of = " of each " + decl.Role
		}
		span := strings.Replace(spread(decl.Range), "..", "to", 1)
		switch decl.Kind {
		case "oracle":
			text := "Oracle " + decl.Name.Text + " reports values from " + span
			if decl.Fixed.Kind == syntax.String {
				text += ", which it signs as " + decl.Fixed.Text
			}
			if text += "; its keys are agreed on first"; d.anyAge(decl.Name.Text) {
				text += ". Where any value of some age will do, it has to be newer than the one before"
			}
			items = append(items, item{text: text})
		case "counter":
			items = append(items, item{text: "‘" + decl.Name.Text + "’" + of + " is counted; it begins at " + grouped(decl.Start) + " and stays within " + span})
		case "sealed":
			items = append(items, item{text: "‘" + decl.Name.Text + "’" + of + ", " + span + ", is sealed first and shown later"})
		case "curve":
			points := strings.ReplaceAll(grouped(decl.Points), "->", "→")
			items = append(items, item{text: "Curve " + decl.Name.Text + ": " + points + "; straight between the points, level before the first and after the last"})
		}
	}
	return items
}

// anyAge tells that a clause takes values of an oracle by their age.
func (d *doc) anyAge(oracle string) bool {
	return slices.ContainsFunc(d.file.Phases, func(ph *syntax.Phase) bool {
		return slices.ContainsFunc(ph.Clauses, func(c *syntax.Clause) bool { return c.Kind == "each" && c.Oracle.Text == oracle })
	})
}

func (d *doc) termType(decl *syntax.Decl, terms []contract.Term) string {
	switch decl.Type.Text {
	case "asset":
		return "an asset"
	case "oracle":
		return "an oracle, with its keys"
	}
	for _, t := range terms {
		if t.Name != decl.Name.Text && t.Name != decl.Name.Text+" 1" {
			continue
		}
		r := strings.ReplaceAll(figures.Range(t), "_", ",")
		switch decl.Type.Text {
		case "units":
			return "an amount, " + r
		case "percent":
			return "a percentage, " + r
		case "time", "duration":
			if strings.HasPrefix(r, "any") {
				return "a " + decl.Type.Text
			}
			return "a " + decl.Type.Text + ", " + r
		case "money":
			return "an amount of money, " + r
		}
		return "a " + decl.Type.Text + ", " + r
	}
	return decl.Type.Text
}

func (d *doc) phase(ph *syntax.Phase) (items []item) {
	for _, c := range ph.Clauses {
		items = append(items, d.clause(c, ph))
	}
	return items
}

// rights lists by party what it may say, and by oracle what it may report.
func (d *doc) rights() (items []item) {
	who := slices.Clone(d.file.Parties)
	for _, r := range d.file.Roles {
		who = append(who, r.Name)
	}
	for _, party := range who {
		it := item{text: party.Text}
		for _, ph := range d.file.Phases {
			var can []string
			for _, c := range ph.Clauses {
				if by := d.depositor(c.Pot.Text); c.Kind == "deposit" && (by == party.Text || by == "each "+party.Text) {
					can = append(can, "deposit "+c.Pot.Text)
				}
				for _, w := range c.Who {
					if w.Text != party.Text {
						continue
					}
					s := "say " + c.Word.Text
					switch others := without(names(c.Who), party.Text); {
					case c.Join == "and":
						s += " together with " + figures.List(others, "and")
					case c.Join == "of" && c.Need > 1:
						s += " as one of those needed"
					case c.Join == "all":
						s += " as all of them have to"
					}
					can = append(can, s)
				}
			}
			if can = distinct(can); len(can) > 0 {
				it.items = append(it.items, item{text: "in phase " + ph.Name.Text + ", " + d.lasts(ph) + ": " + figures.List(can, "or")})
			}
		}
		if len(it.items) == 0 {
			it.text += ": nothing; it only receives or gets back"
			if !d.receives(party.Text) {
				it.text = party.Text + ": nothing"
			}
		} else {
			it.text += ":"
		}
		items = append(items, it)
	}
	return items
}

// distinct drops what stands in a list already.
func distinct(list []string) (out []string) {
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func without(list []string, name string) (rest []string) {
	for _, s := range list {
		if s != name {
			rest = append(rest, s)
		}
	}
	return rest
}

// receives tells that a party can get something.
func (d *doc) receives(party string) bool {
	return slices.ContainsFunc(d.pots(), func(pot *syntax.Decl) bool { return pot.From.Text == party }) ||
		d.gives(func(s *syntax.Stmt) bool { return s.To.Text == party })
}

// gives tells that there is such a give.
func (d *doc) gives(such func(*syntax.Stmt) bool) bool {
	found := false
	var look func(body []*syntax.Stmt)
	look = func(body []*syntax.Stmt) {
		for _, s := range body {
			found = found || s.Kind == "give" && such(s)
			look(s.Then)
			look(s.Else)
		}
	}
	if d.file.Open != nil {
		look(d.file.Open.Body)
	}
	for _, ph := range d.file.Phases {
		for _, c := range ph.Clauses {
			look(c.Body)
		}
	}
	return found
}

// silentWay tells the deadlines in the order in which they pass if nobody does anything.
func (d *doc) silentWay() (items []item) {
	if len(d.file.Phases) == 0 {
		return nil
	}
	at := d.file.Phases[0]
	if d.file.Open != nil {
		last := d.file.Open.Body[len(d.file.Open.Body)-1]
		if last.Kind == "close" {
			return nil
		}
		if last.Kind == "next" {
			at = d.phaseNamed(last.Phase.Text)
		}
	}
	for seen := map[string]bool{}; at != nil && !seen[at.Name.Text]; {
		seen[at.Name.Text] = true
		var next, asked *syntax.Phase
		for _, c := range at.Clauses {
			if c.Kind != "deadline" {
				continue
			}
			it := d.deeds(c.Body, map[string]share{}, at.Name.Text)
			when := "At " + strings.TrimPrefix(d.lasts(at), "until ")
			if e := at.Lasts(); e != nil {
				when = "After " + d.say(e) + " in phase " + at.Name.Text
			}
			if c.If != nil {
				when += ", if " + d.say(c.If)
			} else if asked == at {
				when += ", otherwise"
			}
			asked = at
			if it.text == "" {
				it.text = "as follows:"
			}
			it.text = when + ": " + it.text
			items = append(items, it)
			if last := c.Body[len(c.Body)-1]; last.Kind == "next" && c.If == nil {
				next = d.phaseNamed(last.Phase.Text)
			}
		}
		at = next
	}
	return items
}

func (d *doc) phaseNamed(name string) *syntax.Phase {
	for _, ph := range d.file.Phases {
		if ph.Name.Text == name {
			return ph
		}
	}
	return nil
}

// String lays an explanation out for a terminal.
func (t *Text) String() string {
	var b strings.Builder
	b.WriteString(t.Title + "\n" + strings.Repeat("=", utf8.RuneCountInString(t.Title)) + "\n")
	for _, s := range t.Sections {
		b.WriteByte('\n')
		if s.Title != "" {
			b.WriteString(s.Title + "\n")
		}
		indent := "  "
		if s.Title == "" {
			indent = ""
		}
		for _, it := range s.items {
			write(&b, it, indent)
		}
	}
	return b.String()
}

func write(b *strings.Builder, it item, indent string) {
	bullet, hang := "", indent
	if indent != "" {
		bullet, hang = "- ", indent+"  "
	}
	line := indent + bullet
	n := utf8.RuneCountInString(line)
	for i, w := range strings.Fields(sentence(it)) {
		switch length := utf8.RuneCountInString(w); {
		case i == 0:
			line, n = line+w, n+length
		case n+1+length > width:
			b.WriteString(line + "\n")
			line, n = hang+w, len(hang)+length
		default:
			line, n = line+" "+w, n+1+length
		}
	}
	b.WriteString(line + "\n")
	for _, sub := range it.items {
		write(b, sub, hang)
	}
}

// sentence ends a text as what follows asks for.
func sentence(it item) string {
	text := it.text
	if text == "" {
		return text
	}
	switch last := text[len(text)-1]; {
	case len(it.items) > 0 && last != ':' && last != '.':
		text += "; moreover:"
	case len(it.items) == 0 && last != '.' && last != ':':
		text += "."
	}
	return text
}
