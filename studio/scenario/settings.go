package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"latchkey/contract"
	"latchkey/studio/figures"
)

// What is wrapped by terms, and by chunks, that cannot be used.
var (
	ErrSettings = errors.New("terms cannot be used")
	ErrChunks   = errors.New("chunks cannot be used")
)

// Settings are what the parties fill in: terms, and the chunks of the pots, as
// they are written.
type Settings struct {
	terms  []setting
	chunks []setting
}

type setting struct {
	name, text string
	line       int
}

// Clone returns settings that can be changed without a change of s.
func (s Settings) Clone() Settings {
	return Settings{slices.Clone(s.terms), slices.Clone(s.chunks)}
}

// Empty tells that nothing is set.
func (s Settings) Empty() bool { return len(s.terms)+len(s.chunks) == 0 }

// SetTerm gives a term a value; a later one counts.
func (s *Settings) SetTerm(name, value string) { set(&s.terms, setting{name, value, 0}) }

// SetChunks says what the chunks of a pot weigh: "10 5 5".
func (s *Settings) SetChunks(pot, weights string) { set(&s.chunks, setting{pot, weights, 0}) }

// Over returns s with all that is set in o set as there.
func (s Settings) Over(o Settings) Settings {
	c := s.Clone()
	for _, t := range o.terms {
		set(&c.terms, t)
	}
	for _, t := range o.chunks {
		set(&c.chunks, t)
	}
	return c
}

func set(list *[]setting, s setting) {
	if i := slices.IndexFunc(*list, func(o setting) bool { return o.name == s.name }); i >= 0 {
		(*list)[i] = s
	} else {
		*list = append(*list, s)
	}
}

// Missing is the refusal of settings that leave terms out.
type Missing struct{ Terms []contract.Term }

func (m *Missing) Error() string {
	var parts []string
	for _, t := range m.Terms {
		parts = append(parts, t.Name+" ("+figures.Range(t)+")")
	}
	return "these terms have no value: " + figures.List(parts, "and")
}

// program returns the program for the numbers of holders that are set, and its
// terms. A number that is missing or cannot be leaves p as it is.
func (s Settings) program(p *contract.Program) (*contract.Program, []contract.Term) {
	var holders []int64
	for _, r := range p.Roles() {
		if v, err := figures.Parse(contract.Number, s.text(r.Name)); err == nil {
			holders = append(holders, v)
		}
	}
	if q, err := p.For(holders); err == nil {
		p = q
	}
	return p, p.Terms()
}

// text returns what a term is set to, "" if it is not. What each holder of a role
// has, as "limit 2", may be set for all, as "limit".
func (s Settings) text(name string) string {
	all := ""
	for _, o := range s.terms {
		if o.name == name {
			return o.text
		}
		if of, n, ok := strings.Cut(name, " "); ok && n != "" && o.name == of {
			all = o.text
		}
	}
	return all
}

// Bind fills the terms of a program in and returns the deal, with the weights of
// the chunks that are set; a pot without has nil.
func (s Settings) Bind(p *contract.Program) (*contract.Deal, [][]int64, error) {
	_, terms := s.program(p)
	var missing Missing
	values := make([]int64, len(terms))
	for i, t := range terms {
		text := s.text(t.Name)
		if text == "" {
			missing.Terms = append(missing.Terms, t)
			continue
		}
		v, err := figures.Parse(t.Type, text)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %s: %w", ErrSettings, t.Name, err)
		}
		if v < t.Lo || v > t.Hi {
			return nil, nil, fmt.Errorf("%w: %s is %s, outside %s", ErrSettings, t.Name, figures.Show(t.Type, v), figures.Range(t))
		}
		values[i] = v
	}
	for _, o := range s.terms {
		if !slices.ContainsFunc(terms, func(t contract.Term) bool { return t.Name == o.name || strings.HasPrefix(t.Name, o.name+" ") }) {
			return nil, nil, fmt.Errorf("%w: %s is no term of %s; its terms are %s", ErrSettings, o.name, p.Name(), names(terms))
		}
	}
	if len(missing.Terms) > 0 {
		return nil, nil, fmt.Errorf("%w: %w", ErrSettings, &missing)
	}
	d, err := p.Bind(values)
	if err != nil {
		return nil, nil, err
	}
	weights, err := s.weights(d)
	return d, weights, err
}

// Values returns the terms that are set, as Bind takes them.
func (s Settings) Values(p *contract.Program) map[string]int64 {
	values := make(map[string]int64)
	_, terms := s.program(p)
	for _, t := range terms {
		if v, err := figures.Parse(t.Type, s.text(t.Name)); err == nil {
			values[t.Name] = v
		}
	}
	return values
}

// Begin returns when a play begins of which nobody says when: thirty days before the
// first of its terms that is a time, else at the beginning of 2026.
func (s Settings) Begin(p *contract.Program) int64 {
	const month, year2026 = 30 * 86400, 1_767_225_600
	first := int64(contract.MaxTime)
	values := s.Values(p)
	_, terms := s.program(p)
	for _, t := range terms {
		if v, ok := values[t.Name]; ok && t.Type == contract.Time {
			first = min(first, v)
		}
	}
	if first == contract.MaxTime {
		return year2026
	}
	return max(0, first-month)
}

// String writes the terms in the order of the program: "price = 20 units, fee = 2 units".
func (s Settings) String(p *contract.Program) string {
	var parts []string
	values := s.Values(p)
	_, terms := s.program(p)
	for _, t := range terms {
		if v, ok := values[t.Name]; ok {
			parts = append(parts, t.Name+" = "+figures.Show(t.Type, v))
		}
	}
	return strings.Join(parts, ", ")
}

func names(terms []contract.Term) string {
	var list []string
	for _, t := range terms {
		list = append(list, t.Name)
	}
	return figures.List(list, "and")
}

func (s Settings) weights(d *contract.Deal) ([][]int64, error) {
	pots := d.Program().Pots()
	weights := make([][]int64, len(pots))
	for _, c := range s.chunks {
		i := slices.IndexFunc(pots, func(p contract.Pot) bool { return p.Name == c.name })
		if i < 0 {
			return nil, fmt.Errorf("%w: %s is no pot of %s", ErrChunks, c.name, d.Program().Name())
		}
		weights[i] = []int64{}
		sum := int64(0)
		for _, w := range strings.FieldsFunc(c.text, func(r rune) bool { return r == ',' || r == ' ' }) {
			v, err := figures.Parse(contract.Units, w)
			if err != nil || v < 1 || v > 1<<40 {
				return nil, fmt.Errorf("%w: chunks of %s: %q is no weight of a chunk", ErrChunks, c.name, w)
			}
			weights[i], sum = append(weights[i], v), sum+v
		}
		if sum != d.PotUnits(i) {
			return nil, fmt.Errorf("%w: the chunks of %s weigh %s together, the pot holds %s", ErrChunks, c.name, figures.Units(sum), figures.Units(d.PotUnits(i)))
		}
	}
	return weights, nil
}

// Head writes the settings as the head of a scenario file.
func (s Settings) Head() string {
	var b strings.Builder
	for _, t := range s.terms {
		fmt.Fprintf(&b, "term %s = %s\n", t.name, t.text)
	}
	for _, t := range s.chunks {
		fmt.Fprintf(&b, "chunks %s = %s\n", t.name, t.text)
	}
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	return b.String()
}

// Example makes terms up that a program accepts: amounts around 20, times a month
// apart from March 2026, durations of 30 days. ok is false if none of those that
// are tried meet the requirements.
func Example(p *contract.Program) (s Settings, ok bool) {
	const march, month = 1_772_323_200, 30 * 86400
	for try := range int64(64) {
		s = Settings{}
		for _, r := range p.Roles() {
			s.SetTerm(r.Name, fmt.Sprint(max(r.Lo, min(r.Hi, 3))))
		}
		_, terms := s.program(p)
		for i, t := range terms {
			if i < len(p.Roles()) {
				continue
			}
			var v int64
			switch n := int64(i); t.Type {
			case contract.Time:
				v = march + n*month
			case contract.Duration:
				v = month
			case contract.Money:
				v = 10000
			default:
				v = 20
			}
			if spread := t.Hi - t.Lo; try > 0 && spread > 0 && t.Type != contract.Time { // other places of the range
				v = t.Lo + int64((uint64(try)*0x9E3779B97F4A7C15+uint64(i)*0xBF58476D1CE4E5B9)>>1)%min(spread+1, 1<<(try%20+1))
			}
			s.SetTerm(t.Name, fmt.Sprint(max(t.Lo, min(t.Hi, v))))
		}
		if _, _, err := s.Bind(p); err == nil {
			return s, true
		}
	}
	return Settings{}, false
}
