// Package scenario tests contracts by files that read as what happens:
//
//	term price = 20
//	term ship_by = 2026-03-01
//
//	scenario the goods arrive
//	  at 2026-02-01 open
//	  after 3 days seller says "release" -> refused: no such word
//	  buyer says "release" -> closed
//	  expect seller has 20 of payment
//
// A scenario is a play of package play, with what is expected of it. The file
// escrow.scenario is about escrow.latchkey beside it.
package scenario

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"latchkey/contract"
	"latchkey/studio/figures"
	"latchkey/studio/play"
)

// MaxFile bounds a scenario file, in bytes.
const MaxFile = 1 << 20

// File is a scenario file.
type File struct {
	Settings  Settings // of all scenarios
	Always    []Line   // bounds that an exploration is to confirm
	Scenarios []Scenario
}

// Scenario is one play and what is expected of it.
type Scenario struct {
	Name     string
	Line     int
	Settings Settings // that differ from the file's
	Steps    []Line
	Always   []Line
}

// Line is a line of a file, without comments.
type Line struct {
	Number int
	Text   string
}

// Failure is one line that did not come out as it says.
type Failure struct {
	Line     int
	Scenario string // "" of a line outside all scenarios
	What     string
}

func (f Failure) Error() string {
	if f.Scenario == "" {
		return fmt.Sprintf("line %d: %s", f.Line, f.What)
	}
	return fmt.Sprintf("line %d, scenario %q: %s", f.Line, f.Scenario, f.What)
}

// Parse reads a scenario file.
func Parse(src []byte) (*File, error) {
	if len(src) > MaxFile {
		return nil, fmt.Errorf("a scenario file has at most %d bytes", MaxFile)
	}
	f := &File{}
	var s *Scenario
	lines := bufio.NewScanner(bytes.NewReader(src))
	lines.Buffer(nil, MaxFile)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(uncomment(lines.Text()))
		if text == "" {
			continue
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r != '\t' && (r == utf8.RuneError || !unicode.IsPrint(r)) }) {
			return nil, Failure{n, "", "this line holds an invisible or broken character"} // it may be shown on a terminal
		}
		word, rest, _ := strings.Cut(text, " ")
		rest = strings.TrimSpace(rest)
		settings, always := &f.Settings, &f.Always
		if s != nil {
			settings, always = &s.Settings, &s.Always
		}
		switch word {
		case "scenario":
			if rest == "" {
				return nil, Failure{n, "", "a scenario has a name: `scenario the goods arrive`"}
			}
			f.Scenarios = append(f.Scenarios, Scenario{Name: rest, Line: n})
			s = &f.Scenarios[len(f.Scenarios)-1]
		case "term", "chunks":
			name, value, ok := strings.Cut(rest, "=")
			name, value = strings.TrimSpace(name), strings.TrimSpace(value)
			if !ok || name == "" || value == "" {
				return nil, Failure{n, "", "write `term price = 20`, or `chunks payment = 10 5 5`"}
			}
			if s != nil && len(s.Steps) > 0 {
				return nil, Failure{n, s.Name, "terms and chunks are set before the first step"}
			}
			list := &settings.terms
			if word == "chunks" {
				list = &settings.chunks
			}
			if slices.ContainsFunc(*list, func(o setting) bool { return o.name == name }) {
				return nil, Failure{n, "", word + " " + name + " is set twice"}
			}
			set(list, setting{name, value, n})
		case "always":
			*always = append(*always, Line{n, text})
		default:
			if s == nil {
				return nil, Failure{n, "", "`" + text + "` stands before the first scenario, where only term, chunks and always may stand"}
			}
			s.Steps = append(s.Steps, Line{n, text})
		}
	}
	return f, lines.Err()
}

// uncomment cuts a comment off, which begins with a # outside quotes.
func uncomment(line string) string {
	quoted := false
	for i, c := range line {
		if c == '"' {
			quoted = !quoted
		} else if c == '#' && !quoted {
			return line[:i]
		}
	}
	return line
}

// Run runs all scenarios of a file against a contract, and returns every line that
// did not come out. Of one scenario it stops at the first.
func (f *File) Run(p *contract.Program) (failures []Failure) {
	if len(f.Always) > 0 {
		if err := always(p, f.Settings, f.Always); err != nil {
			failures = append(failures, *err)
		}
	}
	for _, s := range f.Scenarios {
		if err := f.run(p, s); err != nil {
			err.Scenario = s.Name
			failures = append(failures, *err)
		}
	}
	return failures
}

func (f *File) run(p *contract.Program, s Scenario) *Failure {
	settings := f.Settings.Over(s.Settings)
	if len(s.Steps) == 0 && len(s.Always) == 0 {
		return &Failure{s.Line, "", "nothing happens here"}
	}
	if len(s.Always) > 0 {
		if err := always(p, settings, s.Always); err != nil || len(s.Steps) == 0 {
			return err
		}
	}
	var session *play.Session
	deal, weights, refusal := settings.Bind(p)
	if refusal == nil {
		session = play.New(deal, weights, settings.Begin(p))
	}
	for i, line := range s.Steps {
		text, want, wants := cut(line.Text)
		if i == 0 && refusal != nil {
			// Terms are refused in the step that would open the contract.
			if !wants {
				return &Failure{line.Number, "", refusal.Error()}
			}
			if err := expectRefusal(want, refusal); err != "" {
				return &Failure{line.Number, "", err}
			}
			if len(s.Steps) > 1 {
				return &Failure{s.Steps[1].Number, "", "the contract did not open: nothing can follow"}
			}
			return nil
		}
		if rest, ok := strings.CutPrefix(text, "expect "); ok {
			if err := expect(session, rest); err != "" {
				return &Failure{line.Number, "", err}
			}
			continue
		}
		act, err := play.ParseAct(deal.Program(), text)
		if err != nil {
			return &Failure{line.Number, "", err.Error()}
		}
		_, err = session.Do(act)
		if msg := outcome(session, want, wants, err); msg != "" {
			return &Failure{line.Number, "", msg}
		}
	}
	return nil
}

// cut divides a line into what is done and what is expected behind the arrow.
func cut(text string) (act, want string, wants bool) {
	quoted := false
	for i := range len(text) - 1 {
		if text[i] == '"' {
			quoted = !quoted
		} else if !quoted && text[i:i+2] == "->" {
			return strings.TrimSpace(text[:i]), strings.TrimSpace(text[i+2:]), true
		}
	}
	return text, "", false
}

func expectRefusal(want string, err error) string {
	part, ok := strings.CutPrefix(want, "refused")
	if !ok {
		return err.Error()
	}
	part = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(part), ":"))
	if part == "" {
		return "say why it is refused: `-> refused: a part of the reason`; the reason is: " + err.Error()
	}
	if !strings.Contains(err.Error(), part) {
		return fmt.Sprintf("it is refused, but not for %q: %s", part, err)
	}
	return ""
}

// outcome compares what an act came to with what is expected of it.
func outcome(s *play.Session, want string, wants bool, err error) string {
	switch {
	case err != nil && wants:
		return expectRefusal(want, err)
	case err != nil:
		return err.Error()
	case !wants:
		return ""
	case strings.HasPrefix(want, "refused"):
		return "it is not refused; the contract " + where(s)
	}
	return expect(s, want)
}

func where(s *play.Session) string {
	switch {
	case !s.Opened():
		return "is not open yet"
	case s.Closed():
		return "is over: " + s.Balance()
	}
	return "stands in phase " + s.Deal.Program().Phases()[s.State().Phase()]
}

// expect returns what is wrong with an expectation, "" if nothing is.
func expect(s *play.Session, text string) string {
	if s == nil {
		return "the contract is not open"
	}
	p := s.Deal.Program()
	w := strings.Fields(text)
	is := func(form string) bool {
		f := strings.Fields(form)
		if len(f) != len(w) {
			return false
		}
		for i := range f {
			if f[i] != "_" && f[i] != w[i] {
				return false
			}
		}
		return true
	}
	wrong := func(ok bool) string {
		if ok {
			return ""
		}
		return fmt.Sprintf("expected %s; the contract %s", text, where(s))
	}
	switch {
	case is("closed"):
		return wrong(s.Closed())
	case is("open"):
		return wrong(s.Opened() && !s.Closed())
	case is("phase _"):
		if !slices.Contains(p.Phases(), w[1]) {
			return fmt.Sprintf("%s is no phase of this contract; it has %s", w[1], figures.List(p.Phases(), "and"))
		}
		return wrong(s.Opened() && !s.Closed() && p.Phases()[s.State().Phase()] == w[1])
	case len(w) > 1 && w[0] == "deadline":
		at, err := figures.ParseTime(strings.Join(w[1:], " "))
		if err != nil {
			return err.Error()
		}
		if !s.Opened() || s.Closed() {
			return wrong(false)
		}
		if due, _ := s.Deal.Deadline(s.State()); due != at {
			return fmt.Sprintf("the deadline is %s", figures.Time(due))
		}
		return ""
	}
	party, rest, ok := party(p, text)
	if !ok {
		if len(w) > 1 && slices.Contains([]string{"has", "can", "cannot"}, w[1]) {
			return noParty(p, w[0])
		}
		return noExpectation(text)
	}
	name := p.Parties()[party]
	switch {
	case rest == "has nothing":
		for pot := range p.Pots() {
			if s.Got(party, pot) != 0 {
				return name + " has something: " + s.Balance()
			}
		}
		return ""
	case strings.HasPrefix(rest, "can say "):
		return says(s, party, rest[8:], true)
	case strings.HasPrefix(rest, "cannot say "):
		return says(s, party, rest[11:], false)
	case strings.HasPrefix(rest, "has "):
		amount, potName, _ := strings.Cut(rest[4:], " of ")
		pot, msg := potOf(p, potName)
		n, err := figures.Parse(contract.Units, amount)
		switch {
		case msg != "":
			return msg
		case err != nil:
			return err.Error()
		case s.Got(party, pot) != n:
			return fmt.Sprintf("%s has %s of %s, expected %s", name, figures.Number(s.Got(party, pot)), potName, figures.Number(n))
		}
		return ""
	}
	return noExpectation(text)
}

func noExpectation(text string) string {
	return fmt.Sprintf("%q is no expectation: write closed, open, phase NAME, deadline TIME, PARTY has N of POT, PARTY has nothing, PARTY can say \"word\", PARTY cannot say \"word\", or refused: REASON", text)
}

// party returns the party that a text begins with, and what follows.
func party(p *contract.Program, text string) (party int, rest string, ok bool) {
	for i, name := range p.Parties() {
		if after, found := strings.CutPrefix(text, name+" "); found && (!ok || len(after) < len(rest)) {
			party, rest, ok = i, strings.TrimSpace(after), true
		}
	}
	return party, rest, ok
}

func noParty(p *contract.Program, name string) string {
	return fmt.Sprintf("%s is no party of this contract; its parties are %s", name, figures.List(p.Parties(), "and"))
}

func says(s *play.Session, party int, word string, can bool) string {
	word = strings.Trim(strings.TrimSpace(word), `"`)
	name := s.Deal.Program().Parties()[party]
	found := s.Opened() && slices.ContainsFunc(s.Deal.Words(s.State()), func(w contract.WordClause) bool {
		return w.Word == word && slices.Contains(w.Parties, party)
	})
	switch {
	case can && !found:
		return fmt.Sprintf("%s cannot say %q now; the contract %s", name, word, where(s))
	case !can && found:
		return fmt.Sprintf("%s can say %q now; the contract %s", name, word, where(s))
	}
	return ""
}

func potOf(p *contract.Program, name string) (int, string) {
	var all []string
	for i, pot := range p.Pots() {
		if pot.Name == name {
			return i, ""
		}
		all = append(all, pot.Name)
	}
	return 0, fmt.Sprintf("%s is no pot of this contract; it has %s", name, figures.List(all, "and"))
}

// always explores the contract under the settings and compares what each party can
// get with the bounds that the lines promise.
func always(p *contract.Program, settings Settings, lines []Line) *Failure {
	deal, weights, err := settings.Bind(p)
	if err != nil {
		return &Failure{lines[0].Number, "", err.Error()}
	}
	session := play.New(deal, weights, settings.Begin(p))
	report, err := deal.Admit(session.Weights, contract.Limits{})
	if err != nil {
		return &Failure{lines[0].Number, "", err.Error()}
	}
	for _, l := range lines {
		if msg := bound(session, report, l.Text); msg != "" {
			return &Failure{l.Number, "", msg}
		}
	}
	return nil
}

func bound(s *play.Session, report contract.Report, text string) string {
	p := s.Deal.Program()
	text = strings.TrimSpace(strings.TrimPrefix(text, "always"))
	who, rest, ok := party(p, text)
	if !ok && strings.Contains(text, " gets ") {
		return noParty(p, strings.Fields(text)[0])
	}
	amounts, potName, ok2 := strings.Cut(strings.TrimPrefix(rest, "gets "), " of ")
	if !ok || !ok2 || !strings.HasPrefix(rest, "gets ") {
		return "write `always seller gets 0..20 of payment`"
	}
	pot, msg := potOf(p, potName)
	if msg != "" {
		return msg
	}
	lo, hi, ok := strings.Cut(amounts, "..")
	if !ok {
		hi = lo
	}
	least, err1 := strconv.ParseInt(strings.ReplaceAll(lo, "_", ""), 10, 64)
	most, err2 := strconv.ParseInt(strings.ReplaceAll(hi, "_", ""), 10, 64)
	if err := errors.Join(err1, err2); err != nil || least > most {
		return fmt.Sprintf("%q is no range, as 0..20", amounts)
	}
	got := contract.Payout{Party: who, Pot: pot}
	for _, pay := range report.Payouts {
		if pay.Party == who && pay.Pot == pot {
			got = pay
		}
	}
	switch {
	case got.Least < least:
		return fmt.Sprintf("%s can end up with %s of %s: %s", p.Parties()[who], figures.Number(got.Least), potName, play.Way(p, got.LeastOpens, got.LeastPath))
	case got.Most > most:
		return fmt.Sprintf("%s can end up with %s of %s: %s", p.Parties()[who], figures.Number(got.Most), potName, play.Way(p, got.MostOpens, got.MostPath))
	}
	return ""
}
