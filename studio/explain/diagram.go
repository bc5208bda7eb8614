package explain

import (
	"slices"
	"strings"

	"latchkey/studio/figures"
	"latchkey/studio/syntax"
)

// Chart is a contract as boxes and what leads from one to another.
type Chart struct {
	Name, Parties string
	Boxes         []Box
}

// Box is a phase; the first one may be the opening.
type Box struct {
	Title, Note string
	Steps       []Step
}

// Step is one thing that can happen in a phase.
type Step struct {
	Text string
	To   []int // boxes that it leads to
	Ends bool  // it can end the contract
}

// Diagram reads a contract as a chart.
func Diagram(src []byte) (*Chart, error) {
	f, err := syntax.Parse(src)
	if err != nil {
		return nil, err
	}
	d := &doc{file: f, now: moment}
	c := &Chart{Name: f.Name.Text}
	who := names(f.Parties)
	for _, r := range f.Roles {
		who = append(who, strings.Replace(spread(r.Range), "..", "to", 1)+" of "+r.Name.Text)
	}
	c.Parties = figures.List(who, "and")
	first := 0
	if f.Open != nil {
		first = 1
		s := d.step(f.Open, "", 1)
		last := f.Open.Body[len(f.Open.Body)-1]
		if last.Kind != "close" && last.Kind != "next" && len(f.Phases) > 0 && !slices.Contains(s.To, 1) {
			s.To = append(s.To, 1)
		}
		if s.Text == "" {
			s.Text = "the first phase begins"
		}
		c.Boxes = append(c.Boxes, Box{Title: "Opening", Steps: []Step{s}})
	}
	for _, ph := range f.Phases {
		b := Box{Title: ph.Name.Text, Note: d.lasts(ph)}
		for _, cl := range ph.Clauses {
			b.Steps = append(b.Steps, d.step(cl, ph.Name.Text, first))
		}
		c.Boxes = append(c.Boxes, b)
	}
	return c, nil
}

// step tells a clause in short; where it leads, the arrows say.
func (d *doc) step(c *syntax.Clause, here string, first int) Step {
	s := Step{Text: d.short(c.Body, map[string]share{}, here)}
	d.leads(c.Body, first, &s)
	head := d.head(c)
	if c.Kind == "deadline" {
		head = "deadline"
		if c.If != nil {
			head += ", if " + d.say(c.If)
		}
	}
	if head != "" && s.Text != "" {
		s.Text = head + ": " + s.Text
	} else if head != "" {
		s.Text = head
	}
	return s
}

// short tells a body in one line, without what the arrows say.
func (d *doc) short(body []*syntax.Stmt, given map[string]share, here string) string {
	var parts []string
	for _, st := range body {
		switch st.Kind {
		case "next", "close", "stay":
		case "for":
			if text := d.short(st.Then, clone(given), here); text != "" {
				parts = append(parts, "for each "+st.Role.Text+", "+text)
			}
		case "if":
			yes, no := d.short(st.Then, clone(given), here), d.short(st.Else, clone(given), here)
			cond := d.say(st.Value)
			switch {
			case yes != "" && no != "":
				parts = append(parts, "if "+cond+", "+yes+", otherwise "+no)
			case yes != "":
				parts = append(parts, "if "+cond+", "+yes)
			case no != "":
				parts = append(parts, "unless "+cond+", "+no)
			}
		default:
			parts = append(parts, d.deed(st, given, here))
		}
	}
	return strings.Join(parts, "; ")
}

// leads collects the phases to which a body leads, and whether it ends the contract.
func (d *doc) leads(body []*syntax.Stmt, first int, s *Step) {
	for _, st := range body {
		switch st.Kind {
		case "next":
			for i, ph := range d.file.Phases {
				if ph.Name.Text == st.Phase.Text && !slices.Contains(s.To, i+first) {
					s.To = append(s.To, i+first)
				}
			}
		case "close":
			s.Ends = true
		}
		d.leads(st.Then, first, s)
		d.leads(st.Else, first, s)
	}
}
