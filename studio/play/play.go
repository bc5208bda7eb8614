// Package play plays contracts: step by step, with the way back. The machine of
// package contract decides what happens; here time passes as it does in an
// instance, where deadlines that are due fire by themselves, and what the parties
// have got is added up.
package play

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"latchkey/contract"
	"latchkey/studio/figures"
)

// Session is one play of a deal. A failed act changes nothing.
type Session struct {
	Deal    *contract.Deal
	Weights [][]int64 // of the chunks in each pot
	past    []moment  // the present one last
}

// moment is where a play stands.
type moment struct {
	opened bool
	state  contract.State
	now    int64
	got    map[gain]int64
	put    map[gain]int64 // units deposited into later pots
	act    Act
}

type gain struct{ party, pot int }

// Step is one step of the machine.
type Step struct {
	At      int64
	Event   contract.Event // its Kind is 0 when the contract opens
	Outcome contract.Outcome
}

// New begins a play at a time, in Unix seconds, before the contract opens. Pots
// without weights get a ladder of chunks.
func New(d *contract.Deal, weights [][]int64, now int64) *Session {
	pots := d.Program().Pots()
	s := &Session{Deal: d, Weights: make([][]int64, len(pots)), past: []moment{{now: now, got: map[gain]int64{}, put: map[gain]int64{}}}}
	for i := range pots {
		if i < len(weights) && weights[i] != nil {
			s.Weights[i] = weights[i]
		} else {
			s.Weights[i] = figures.Ladder(d.PotUnits(i))
		}
	}
	return s
}

// Clone returns a play that stands where s stands and goes its own way.
func (s *Session) Clone() *Session {
	c := *s
	c.past = slices.Clone(s.past)
	return &c
}

func (s *Session) present() *moment { return &s.past[len(s.past)-1] }

// Undo takes the last act back and returns it; ok is false at the beginning.
func (s *Session) Undo() (a Act, ok bool) {
	if len(s.past) == 1 {
		return Act{}, false
	}
	a = s.present().act
	s.past = s.past[:len(s.past)-1]
	return a, true
}

// Acts returns what was done, in order.
func (s *Session) Acts() []Act {
	var list []Act
	for _, m := range s.past[1:] {
		list = append(list, m.act)
	}
	return list
}

// Opened tells that the contract has opened.
func (s *Session) Opened() bool { return s.present().opened }

// Closed tells that the contract is over.
func (s *Session) Closed() bool { return s.Opened() && s.present().state.Closed() }

// State returns the state of the instance, once it has opened.
func (s *Session) State() contract.State { return s.present().state }

// Now returns the time of the last act, in Unix seconds.
func (s *Session) Now() int64 { return s.present().now }

// Got returns how many units of a pot a party has received so far, returns to the depositor included.
func (s *Session) Got(party, pot int) int64 { return s.present().got[gain{party, pot}] }

// Put returns how many units a party has deposited since the contract opened.
func (s *Session) Put(party int) (units int64) {
	for k, v := range s.present().put {
		if k.party == party {
			units += v
		}
	}
	return units
}

// Do does one act, and lets the deadlines before it fire. An error leaves the play as it was.
func (s *Session) Do(a Act) ([]Step, error) {
	m := *s.present()
	m.act = a
	m.got, m.put = maps.Clone(m.got), maps.Clone(m.put)
	steps, err := s.do(&m, a)
	if err != nil {
		return nil, err
	}
	s.past = append(s.past, m)
	return steps, nil
}

// maxDeadlines bounds how many deadlines pass in one act. A contract may count to
// nine trillion, a day each; whoever plays it does not want to wait for that.
const maxDeadlines = 20_000

// Refusals of the play, not of the machine.
var (
	errNotOpen = errors.New("the contract is not open yet: `open` comes first")
	errOpen    = errors.New("the contract is open already")
	errLong    = fmt.Errorf("more than %d deadlines would pass; say a nearer time", maxDeadlines)
)

func (s *Session) do(m *moment, a Act) (steps []Step, err error) {
	at := m.now
	switch {
	case a.Timed && a.Relative:
		at += a.Time
	case a.Timed:
		at = a.Time
	}
	if at < m.now {
		return nil, fmt.Errorf("time runs forward: it is %s already", figures.Time(m.now))
	}
	if a.Open {
		if m.opened {
			return nil, errOpen
		}
		state, out, err := s.Deal.Open(s.Weights, at)
		if err != nil {
			return nil, err
		}
		m.opened, m.state, m.now = true, state, at
		s.count(m, out)
		return []Step{{At: at, Outcome: out}}, nil
	}
	if !m.opened {
		return nil, errNotOpen
	}
	// What is overdue fires first.
	for !m.state.Closed() {
		until, _ := s.Deal.Deadline(m.state)
		if !a.Nobody && until > at && !(a.Deadline && len(steps) == 0) {
			break
		}
		if at = max(at, until); len(steps) == maxDeadlines {
			return nil, errLong
		}
		step := Step{At: until, Event: contract.Event{Kind: contract.Deadline, At: until}}
		if m.state, step.Outcome, err = s.Deal.Step(m.state, step.Event); err != nil {
			return nil, err
		}
		s.count(m, step.Outcome)
		if steps = append(steps, step); a.Deadline {
			break
		}
	}
	m.now = at
	switch {
	case a.Nobody || a.Deadline || a.Event.Kind == 0:
		if (a.Nobody || a.Deadline) && len(steps) == 0 {
			return nil, contract.ErrClosed
		}
		return steps, nil
	case m.state.Closed() && len(steps) > 0:
		return nil, fmt.Errorf("%w: its last deadline passed on %s", contract.ErrClosed, figures.Time(steps[len(steps)-1].At))
	}
	ev := s.event(m.state, a, at)
	if ev.Kind == contract.Deposit && a.All && ev.Value == 0 && !m.state.Closed() {
		return nil, fmt.Errorf("%w: nobody waits for %s now", contract.ErrEvent, s.Deal.Program().Pots()[ev.Pot].Name)
	}
	state, out, err := s.Deal.Step(m.state, ev)
	if err != nil {
		return nil, err
	}
	if ev.Kind == contract.Deposit {
		first := int64(len(s.Weights[ev.Pot])) - s.missing(m.state, ev.Pot)
		for _, w := range s.Weights[ev.Pot][first : first+ev.Value] {
			m.put[gain{s.Deal.Program().Pots()[ev.Pot].From, ev.Pot}] += w
		}
	}
	m.state = state
	s.count(m, out)
	return append(steps, Step{At: at, Event: ev, Outcome: out}), nil
}

// event completes an act's event by what the contract waits for: the time of an
// oracle's value, the chunks that a pot misses, the commitment to a value. Salt
// and instance are nobody's business in a play, and zero.
func (s *Session) event(state contract.State, a Act, at int64) contract.Event {
	ev := a.Event
	ev.At = at
	switch ev.Kind {
	case contract.Oracle:
		if a.Observed {
			break
		}
		ev.Observed = at
		for _, w := range s.Deal.Wants(state) {
			if w.Oracle == ev.Oracle && w.For > 0 && w.For <= at {
				ev.Observed = w.For
				break
			}
		}
	case contract.Deposit:
		ev.Party = 0
		if a.All {
			ev.Value = s.missing(state, ev.Pot)
		}
	case contract.Word:
		seal := contract.Seal([32]byte{}, ev.Party, ev.Value, [32]byte{})
		for _, w := range s.Deal.Words(state) {
			if w.Word != ev.Word || !slices.Contains(w.Parties, ev.Party) || !ev.HasValue {
				continue
			}
			if w.Sealed {
				ev.HasValue, ev.Value, ev.Hash = false, 0, seal
			} else if w.Opened {
				ev.Hash = seal
			}
			break
		}
	}
	return ev
}

// missing returns how many chunks of a later pot are not there.
func (s *Session) missing(state contract.State, pot int) int64 {
	for _, w := range s.Deal.Wants(state) {
		if w.Pot == pot {
			return int64(w.Chunks)
		}
	}
	return 0
}

func (s *Session) count(m *moment, out contract.Outcome) {
	for _, g := range out.Gives {
		m.got[gain{g.To, g.Pot}] += s.Weights[g.Pot][g.Chunk]
	}
}

// Describe says what a step did, a line for each fact: who has got what, and what comes now.
func (s *Session) Describe(st Step) []string {
	p := s.Deal.Program()
	parties, pots := p.Parties(), p.Pots()
	var lines []string
	type key struct{ pot, to int }
	var order []key
	units, chunks := map[key]int64{}, map[key][]string{}
	for _, g := range st.Outcome.Gives {
		k := key{g.Pot, g.To}
		if chunks[k] == nil {
			order = append(order, k)
		}
		w := s.Weights[g.Pot][g.Chunk]
		units[k] += w
		chunks[k] = append(chunks[k], figures.Number(w))
	}
	for _, k := range order {
		verb := "receives"
		if k.to == pots[k.pot].From {
			verb = "gets back"
		}
		lines = append(lines, fmt.Sprintf("%s %s %s of %s, %s", parties[k.to], verb, figures.Units(units[k]), pots[k.pot].Name, inChunks(chunks[k])))
	}
	switch {
	case st.Outcome.Closed:
		lines = append(lines, "the contract is over")
	case st.Outcome.Line == 0 && st.Event.Kind == contract.Word:
		lines = append(lines, "the word is noted; others have to say it too")
	case st.Outcome.Line == 0 && st.Event.Kind == contract.Deposit:
		lines = append(lines, "the deposit is noted; more is missing")
	case st.Outcome.Line == 0 && st.Event.Kind == contract.Oracle:
		lines = append(lines, "the value is noted and changes nothing")
	}
	return lines
}

// Title says in one line what happened.
func (s *Session) Title(st Step) string {
	what := "the contract opens"
	if st.Event.Kind != 0 {
		what = Tell(s.Deal.Program(), st.Event)
	}
	return figures.Time(st.At) + "  " + what
}

// Tell says an event in plain words, its value in the type that it has.
func Tell(p *contract.Program, ev contract.Event) string {
	value := ""
	switch {
	case ev.Kind == contract.Oracle && ev.Oracle >= 0 && ev.Oracle < len(p.Oracles()):
		value = figures.Show(p.Oracles()[ev.Oracle].Type, ev.Value)
	case ev.Kind == contract.Word && ev.HasValue:
		value = figures.Show(wordType(p, ev.Word), ev.Value)
	case ev.Kind == contract.Deposit && ev.Pot >= 0 && ev.Pot < len(p.Pots()):
		pot := p.Pots()[ev.Pot]
		chunks := "the next " + figures.Number(ev.Value) + " chunks"
		if ev.Value == 1 {
			chunks = "the next chunk"
		}
		return p.Parties()[pot.From] + " deposits " + chunks + " of " + pot.Name
	}
	text := p.Describe(ev)
	if value != "" {
		text = text[:strings.LastIndexByte(text, ' ')+1] + value
	}
	return text
}

// inChunks says what chunks weigh: each of a few, of many how many weigh the same.
func inChunks(weights []string) string {
	n := len(weights)
	if n == 1 {
		return "as one chunk"
	}
	if n <= 8 {
		return "in chunks of " + figures.List(weights, "and")
	}
	var alike []string
	for i := 0; i < n; {
		from := i
		for ; i < n && weights[i] == weights[from]; i++ {
		}
		alike = append(alike, fmt.Sprintf("%d of %s", i-from, weights[from]))
	}
	if len(alike) == 1 {
		return fmt.Sprintf("in %d chunks of %s", n, weights[0])
	}
	return fmt.Sprintf("in %d chunks: %s", n, figures.List(alike, "and"))
}

// Steps says a way through a contract that an exploration found, event by event, with the moments on which something
// depends. It begins with the opening where something depends on that.
func Steps(p *contract.Program, opens int64, way []contract.Event) []string {
	words := []string{}
	if opens > 0 && opens <= contract.MaxTime { // an exploration opens at 0 where any moment will do
		words = append(words, "the contract opens at "+figures.Time(opens))
	}
	for _, ev := range way {
		if words = append(words, Tell(p, ev)); ev.Kind != contract.Deadline && ev.At > 0 && ev.At <= contract.MaxTime {
			words[len(words)-1] += " at " + figures.Time(ev.At)
		}
	}
	return words
}

// Way says such a way in one sentence.
func Way(p *contract.Program, opens int64, way []contract.Event) string {
	words := Steps(p, opens, way)
	if len(words) == len(way) {
		words = append([]string{"the contract opens"}, words...)
	}
	return strings.Join(words, ", ")
}

// Choice is one thing that can be done now.
type Choice struct {
	Text  string // as ParseAct reads it; … stands for a value
	Note  string
	Value bool // a value has to be said
}

// Choices returns what can be done now, in the order of the source, the deadline last.
func (s *Session) Choices() (list []Choice) {
	p := s.Deal.Program()
	switch {
	case !s.Opened():
		return []Choice{{Text: "open"}}
	case s.Closed():
		return nil
	}
	parties := p.Parties()
	for _, w := range s.Deal.Words(s.State()) {
		for _, party := range w.Parties {
			c := Choice{Text: fmt.Sprintf("%s says %q", parties[party], w.Word)}
			if typ := wordType(p, w.Word); w.HasValue || w.Sealed {
				c.Text, c.Value, c.Note = c.Text+" with …", true, figures.Range(contract.Term{Type: typ, Lo: w.Lo, Hi: w.Hi})
			}
			if w.Sealed {
				c.Text = strings.Replace(c.Text, "with …", "with sealed …", 1)
			}
			if w.Need > 1 {
				var said []string
				for _, i := range w.Said {
					said = append(said, parties[i])
				}
				if c.Note = fmt.Sprintf("%d have to say it", w.Need); len(said) > 0 {
					c.Note += ", " + figures.List(said, "and") + " did"
				}
			}
			if !slices.Contains(list, c) {
				list = append(list, c)
			}
		}
	}
	for _, w := range s.Deal.Wants(s.State()) {
		var c Choice
		if w.Pot >= 0 {
			pot := p.Pots()[w.Pot]
			c = Choice{Text: parties[pot.From] + " deposits " + pot.Name, Note: fmt.Sprintf("%d chunks are missing", w.Chunks)}
		} else {
			feed := p.Oracles()[w.Oracle]
			c = Choice{Text: "oracle " + feed.Name + " is …", Value: true, Note: "observed " + figures.Time(w.For)}
			if w.Each > 0 {
				c.Note = "at most " + figures.Duration(w.Each) + " old"
			}
			c.Note = figures.Range(contract.Term{Type: feed.Type, Lo: feed.Lo, Hi: feed.Hi}) + ", " + c.Note
		}
		if !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	until, _ := s.Deal.Deadline(s.State())
	return append(list, Choice{Text: "deadline", Note: figures.Time(until)})
}

// Balance writes what each party has got of each pot: "seller 20 of payment, buyer 2 of costs".
func (s *Session) Balance() string {
	p := s.Deal.Program()
	var parts []string
	for i, party := range p.Parties() {
		for j, pot := range p.Pots() {
			if v := s.Got(i, j); v > 0 {
				parts = append(parts, fmt.Sprintf("%s %s of %s", party, figures.Number(v), pot.Name))
			}
		}
	}
	if len(parts) == 0 && !s.Closed() {
		return "nobody has anything yet"
	} else if len(parts) == 0 {
		return "nobody has anything"
	}
	return strings.Join(parts, ", ")
}
