package explain

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"latchkey/contract"
	"latchkey/studio/figures"
	"latchkey/studio/play"
)

// silence plays a contract that nobody touches, and tells it.
func silence(start *play.Session) ([]string, error) {
	s := start.Clone()
	steps, err := s.Do(play.Act{Open: true})
	if err != nil {
		return nil, err
	}
	if !s.Closed() {
		more, err := s.Do(play.Act{Nobody: true})
		if err != nil {
			return nil, err
		}
		steps = append(steps, more...)
	}
	var lines []string
	phases := s.Deal.Program().Phases()
	for _, st := range steps {
		line := figures.Time(st.At) + ": "
		if st.Event.Kind == 0 {
			line += "it opens"
		} else {
			line += "the deadline passes"
		}
		said := append([]string{line}, s.Describe(st)...)
		if st.Outcome.Phase >= 0 {
			said = append(said, "phase "+phases[st.Outcome.Phase]+" begins")
		}
		if n := len(lines); n == maxLines {
			lines = append(lines, "and so on")
		} else if n < maxLines {
			lines = append(lines, strings.Join(said, "; "))
		}
	}
	return append(lines, "In the end: "+s.Balance()), nil
}

// maxLines bounds what is told of a contract with many deadlines.
const maxLines = 24

// Gain is what somebody has more by silence, in one phase, for one word or value.
type Gain struct {
	Phase  string
	Party  string
	Act    string // what is not done
	Oracle bool   // it is an oracle that keeps silent, not the party
	Taking bool   // it is another's deposit, which counts only if the party acknowledges it
	Silent int64  // units that the party ends up with if nobody does anything any more
	Spoken int64  // units if this one thing is done and nothing after it
}

// String is the gain as a sentence.
func (g Gain) String() string {
	if g.Oracle {
		return fmt.Sprintf("In phase %s, %s would rather have the oracle silent: %s ends up with %s if it is, and with %s after %s.",
			g.Phase, g.Party, g.Party, figures.Units(g.Silent), figures.Number(g.Spoken), g.Act)
	}
	if g.Taking {
		return fmt.Sprintf("In phase %s, %s has a reason not to acknowledge a deposit: it ends up with %s if nothing counts, and with %s if %s.",
			g.Phase, g.Party, figures.Units(g.Silent), figures.Number(g.Spoken), g.Act)
	}
	return fmt.Sprintf("In phase %s, %s has a reason to keep silent: it ends up with %s if nothing is said, and with %s if %s.",
		g.Phase, g.Party, figures.Units(g.Silent), figures.Number(g.Spoken), g.Act)
}

// Gains compares, in each phase, what a party ends up with
// if from there on nobody does anything, with what it ends up with if one word is
// said, one oracle's value reported, or one deposit made, and nothing after it. It returns those
// that keeping silent serves better, the greatest gain of each party, phase and
// word: of a deposit also those who may receive it, since it counts only when they
// acknowledge it. Units of all pots count alike. A phase that can be reached in many states, with other
// counters or bids, is looked at in the first of them, the least events first; where that
// is not all, or the contract is very large, whole is false.
func Gains(start *play.Session) (gains []Gain, whole bool) {
	s := start.Clone()
	if _, err := s.Do(play.Act{Open: true}); err != nil || s.Closed() {
		return nil, true
	}
	plays := 0
	p := s.Deal.Program()
	reached, states, counters := map[string]bool{}, make([]int, len(p.Phases())), len(p.Outline().Counters)
	var queue []*play.Session
	whole = true
	follow := func(c *play.Session) {
		if c.Closed() {
			return
		}
		key := standing(p, counters, c.State())
		if reached[key] {
			return
		}
		if n := &states[c.State().Phase()]; *n == maxStates {
			whole = false
		} else {
			*n++
			reached[key] = true
			queue = append(queue, c)
		}
	}
	for follow(s); len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		phase := p.Phases()[s.State().Phase()]
		silent, ok := settled(s)
		if !ok {
			continue
		}
		c := s.Clone()
		if _, err := c.Do(play.Act{Deadline: true}); err == nil {
			follow(c)
		}
		for _, m := range moves(s) {
			if plays++; plays > maxPlays {
				return gains, false
			}
			c := s.Clone()
			if !m.do(c) {
				continue
			}
			follow(c)
			spoken, ok := settled(c)
			if !ok {
				continue
			}
			for _, party := range m.parties {
				g := Gain{phase, p.Parties()[party], m.text, m.oracle, m.pot && party != m.parties[0], silent[party], spoken[party]}
				if g.Silent > g.Spoken {
					gains = keep(gains, g, m.key)
				}
			}
		}
	}
	return gains, whole
}

// standing is what tells states apart besides times: those of the phase, and of the
// newest values of oracles.
func standing(p *contract.Program, counters int, s contract.State) string {
	b, err := s.AppendBinary(nil)
	if err != nil {
		return ""
	}
	var key []byte
	b = b[1:]
	for i := range 4 + counters + len(p.Oracles()) { // phase, now, how long until the deadline, voices, and then those
		v, n := binary.Uvarint(b)
		if b = b[n:]; i != 1 && i != 2 && i < 4+counters {
			key = binary.AppendUvarint(key, v)
		}
	}
	return string(append(key, b...))
}

// maxStates bounds in how many states a phase is looked at.
const maxStates = 64

// maxPlays bounds the work on a contract that somebody has made large.
const maxPlays = 5000

// keep adds a gain, or replaces a lesser one of the same party, phase and kind.
func keep(list []Gain, g Gain, key string) []Gain {
	for i, o := range list {
		if o.Phase == g.Phase && o.Party == g.Party && o.Oracle == g.Oracle && strings.HasPrefix(o.Act, key) {
			if g.Silent-g.Spoken > o.Silent-o.Spoken {
				list[i] = g
			}
			return list
		}
	}
	return append(list, g)
}

// settled plays a session to its end by deadlines and adds up what each party has,
// less what it has deposited on the way.
func settled(s *play.Session) (units []int64, ok bool) {
	c := s.Clone()
	if !c.Closed() {
		if _, err := c.Do(play.Act{Nobody: true}); err != nil {
			return nil, false
		}
	}
	p := c.Deal.Program()
	for party := range p.Parties() {
		sum := int64(0)
		for pot := range p.Pots() {
			sum += c.Got(party, pot)
		}
		sum -= c.Put(party)
		units = append(units, sum)
	}
	return units, true
}

// move is one word or value, with whose silence would prevent it.
type move struct {
	text, key string
	oracle    bool
	pot       bool // a deposit: by the first of parties, received by the others
	parties   []int
	acts      []play.Act
}

func (m move) do(s *play.Session) bool {
	for _, a := range m.acts {
		if _, err := s.Do(a); err != nil {
			return false
		}
	}
	return true
}

// moves returns the words and values that a state waits for, with values at the
// ends of their ranges and in the middle.
func moves(s *play.Session) (list []move) {
	p := s.Deal.Program()
	parties := p.Parties()
	phases := p.Outline().Phases
	for _, w := range s.Deal.Words(s.State()) {
		if len(w.Parties)+len(w.Said) < w.Need {
			continue
		}
		values := []int64{0}
		if w.HasValue {
			values = spreadOver(w.Lo, w.Hi)
		} else if w.Sealed {
			values = spreadOver(shown(phases, w.Parties))
		}
		speakers := w.Parties[:w.Need-len(w.Said)]
		all := w.Need == len(w.Parties)+len(w.Said)
		for _, v := range values {
			for i := range w.Parties {
				m := move{parties: speakers}
				if !all && w.Need > 1 {
					m.parties = nil // no single silence prevents it
				} else if w.Need == 1 {
					speakers = w.Parties[i : i+1]
					m.parties = speakers
				}
				var who []string
				for _, party := range speakers {
					who = append(who, parties[party])
					m.acts = append(m.acts, play.Act{Event: contract.Event{Kind: contract.Word, Party: party, Word: w.Word, HasValue: w.HasValue || w.Sealed, Value: v}})
				}
				verb := " says "
				if len(who) > 1 {
					verb = " say "
				}
				m.key = figures.List(who, "and") + verb + fmt.Sprintf("%q", w.Word)
				switch m.text = m.key; {
				case w.Sealed:
					m.text += " with a sealed value"
				case w.HasValue:
					m.text += " with " + figures.Number(v)
				}
				list = append(list, m)
				if w.Need > 1 {
					break
				}
			}
		}
	}
	for _, w := range s.Deal.Wants(s.State()) {
		if w.Pot >= 0 {
			pot := p.Pots()[w.Pot]
			act := play.Act{All: true, Event: contract.Event{Kind: contract.Deposit, Party: pot.From, Pot: w.Pot}}
			text := parties[pot.From] + " deposits " + pot.Name
			list = append(list, move{text: text, key: text, pot: true, parties: append([]int{pot.From}, s.Deal.Candidates(w.Pot)...), acts: []play.Act{act}})
			continue
		}
		feed := p.Oracles()[w.Oracle]
		var everybody []int
		for i := range parties {
			everybody = append(everybody, i)
		}
		for _, v := range spreadOver(feed.Lo, feed.Hi) {
			a := play.Act{Timed: true, Time: s.Now() + 1, Event: contract.Event{Kind: contract.Oracle, Oracle: w.Oracle, HasValue: true, Value: v}}
			if w.Each == 0 {
				a.Time, a.Observed, a.Event.Observed = max(s.Now(), w.For), true, w.For
			}
			list = append(list, move{text: feed.Name + " = " + figures.Show(feed.Type, v), key: feed.Name, oracle: true, parties: everybody, acts: []play.Act{a}})
		}
	}
	return list
}

// shown returns the range of what one of these parties may show once it has sealed it.
func shown(phases []contract.Phase, parties []int) (lo, hi int64) {
	for _, ph := range phases {
		for _, c := range ph.Clauses {
			if c.Opened && slices.ContainsFunc(parties, func(party int) bool { return slices.Contains(c.Parties, party) }) {
				return c.Value.Lo, c.Value.Hi
			}
		}
	}
	return 0, 0
}

// spreadOver returns a few values of a range, its ends among them.
func spreadOver(lo, hi int64) []int64 {
	list := []int64{lo, hi}
	for i := int64(1); i < 8; i++ {
		list = append(list, lo+int64(uint64(hi-lo)/8)*i)
	}
	for v := int64(1); v > 0 && v < hi; v *= 2 { // prices lie anywhere on a wide scale
		if v > lo {
			list = append(list, v)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
