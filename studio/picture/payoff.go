package picture

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"latchkey/contract"
	"latchkey/studio/figures"
	"latchkey/studio/play"
)

// ErrNothing is wrapped where there is nothing to draw.
var ErrNothing = errors.New("nothing to draw")

// Payoff is what each party ends up with, by the value of one event.
type Payoff struct {
	Of       string // the value's name
	Type     contract.Type
	When     string // which event it is, and when
	Lo, Hi   int64
	Parties  []string
	Stretch  []Stretch // from Lo to Hi, without gaps
	Terms    string
	Contract string
}

// Stretch is an interval of values for all of which the parties get the same.
type Stretch struct {
	Lo, Hi int64
	Units  []int64 // by party
}

// NewPayoff plays a contract for every value of one event: an oracle's value, or
// the value that comes with a word; "" means the first that there is. Before it
// the acts are done, then deadlines pass until the contract waits for the event;
// after it nobody does anything. It looks from lo to hi; if both are 0, where
// something changes. Seeds are values near which something may change.
func NewPayoff(s *play.Session, of string, before []play.Act, lo, hi int64, seeds []int64) (*Payoff, error) {
	s = s.Clone()
	for _, a := range append([]play.Act{{Open: true}}, before...) {
		if _, err := s.Do(a); err != nil {
			return nil, err
		}
	}
	s, ev, err := await(s, of)
	if err != nil {
		return nil, err
	}
	parties := s.Deal.Program().Parties()
	p := &Payoff{Of: ev.name, Type: ev.typ, When: ev.when, Parties: parties, Contract: s.Deal.Program().Name()}
	outcome := func(v int64) []int64 {
		c := s.Clone()
		a := ev.act
		a.Event.Value = v
		if _, err := c.Do(a); err != nil && !errors.Is(err, contract.ErrEvent) {
			return nil
		}
		if !c.Closed() {
			if _, err := c.Do(play.Act{Nobody: true}); err != nil {
				return nil
			}
		}
		units := make([]int64, len(parties))
		for i := range parties {
			for j := range s.Weights {
				units[i] += c.Got(i, j)
			}
		}
		return units
	}
	if p.Lo, p.Hi = max(lo, ev.lo), min(hi, ev.hi); lo == 0 && hi == 0 {
		p.Lo, p.Hi = window(ev.lo, ev.hi, seeds, outcome)
	}
	if p.Lo > p.Hi {
		return nil, fmt.Errorf("%w: %s is within %s to %s", ErrNothing, ev.name, figures.Show(ev.typ, ev.lo), figures.Show(ev.typ, ev.hi))
	}
	grid := even(p.Lo, p.Hi, 600)
	for _, v := range seeds {
		grid = append(grid, v-1, v, v+1)
	}
	p.Stretch = stretches(p.Lo, p.Hi, grid, outcome)
	return p, nil
}

// awaited is an event whose value is to be varied.
type awaited struct {
	name   string
	when   string
	typ    contract.Type
	lo, hi int64
	act    play.Act
}

// await lets deadlines pass until the contract waits for the event. Of an oracle a
// value for a time comes before any fresh one: it is what most contracts settle on.
func await(s *play.Session, of string) (*play.Session, *awaited, error) {
	var fresh *awaited
	var freshAt *play.Session
	for !s.Closed() {
		if ev := waiting(s, of); ev != nil && (ev.act.Event.Kind == contract.Word || ev.act.Observed) {
			return s, ev, nil
		} else if ev != nil && fresh == nil {
			fresh, freshAt = ev, s.Clone()
		}
		if _, err := s.Do(play.Act{Deadline: true}); err != nil {
			return nil, nil, err
		}
	}
	switch {
	case fresh != nil:
		return freshAt, fresh, nil
	case of == "":
		return nil, nil, fmt.Errorf("%w: if nobody does anything, this contract waits for no value", ErrNothing)
	}
	return nil, nil, fmt.Errorf("%w: if nobody does anything, this contract never waits for a value of %q", ErrNothing, of)
}

func waiting(s *play.Session, of string) *awaited {
	p := s.Deal.Program()
	for _, w := range s.Deal.Wants(s.State()) {
		if w.Oracle < 0 || of != "" && of != p.Oracles()[w.Oracle].Name {
			continue
		}
		feed := p.Oracles()[w.Oracle]
		a := play.Act{Timed: true, Time: s.Now() + 1, Event: contract.Event{Kind: contract.Oracle, Oracle: w.Oracle, HasValue: true}}
		when := "reported in phase " + p.Phases()[s.State().Phase()]
		if w.Each == 0 {
			a.Time, a.Observed, a.Event.Observed = max(s.Now(), w.For), true, w.For
			when = "observed " + figures.Time(w.For)
		}
		if due, _ := s.Deal.Deadline(s.State()); a.Time < due {
			return &awaited{feed.Name, when, feed.Type, feed.Lo, feed.Hi, a}
		}
	}
	if len(p.Oracles()) > 0 && of == "" {
		return nil
	}
	for _, w := range s.Deal.Words(s.State()) {
		if w.HasValue && len(w.Parties) > 0 && (of == "" || of == w.Word) {
			a := play.Act{Event: contract.Event{Kind: contract.Word, Party: w.Parties[0], Word: w.Word, HasValue: true}}
			return &awaited{fmt.Sprintf("value of %q", w.Word), "said by " + p.Parties()[w.Parties[0]], contract.Number, w.Lo, w.Hi, a}
		}
	}
	return nil
}

// even returns about n values from lo to hi.
func even(lo, hi int64, n int64) []int64 {
	var list []int64
	step := max(1, int64(uint64(hi-lo)/uint64(n)))
	for v := lo; v < hi && v >= lo; v += step {
		list = append(list, v)
	}
	return append(list, hi)
}

// stretches finds where outcomes change: it compares the values of a grid, and
// bisects between those that differ.
func stretches(lo, hi int64, grid []int64, outcome func(int64) []int64) (list []Stretch) {
	grid = append(grid, lo, hi)
	slices.Sort(grid)
	grid = slices.DeleteFunc(slices.Compact(grid), func(v int64) bool { return v < lo || v > hi })
	var between func(a int64, ua []int64, b int64, ub []int64)
	between = func(a int64, ua []int64, b int64, ub []int64) {
		switch last := &list[len(list)-1]; {
		case slices.Equal(ua, ub):
			last.Hi = b
		case b-a == 1 || len(list) > maxStretches:
			list = append(list, Stretch{b, b, ub})
		default:
			mid := a + (b-a)/2
			um := outcome(mid)
			between(a, ua, mid, um)
			between(mid, um, b, ub)
		}
	}
	u := outcome(grid[0])
	list = []Stretch{{lo, lo, u}}
	for i := 1; i < len(grid); i++ {
		v := outcome(grid[i])
		between(grid[i-1], u, grid[i], v)
		u = v
	}
	return list
}

const maxStretches = 20_000

// window returns the part of a range in which outcomes change, with some room on both sides.
func window(lo, hi int64, seeds []int64, outcome func(int64) []int64) (int64, int64) {
	grid := even(lo, hi, 200)
	for d := int64(1); d > 0 && d <= hi-lo; d += max(1, d/12) { // near the low end of a wide range, closely
		grid = append(grid, lo+d)
	}
	for _, v := range seeds {
		grid = append(grid, v-1, v, v+1)
	}
	list := stretches(lo, hi, grid, outcome)
	if len(list) == 1 {
		return lo, hi
	}
	first, last := list[0].Hi, list[len(list)-1].Lo
	room := max((last-first)/5, 2)
	if hi-lo <= max(200, 2*(last-first)) {
		return lo, hi
	}
	a, b := max(lo, first-room), min(hi, last+room)
	if a > lo && a-lo < room {
		a = lo
	}
	return a, b
}

// Drawing draws the payoff as lines over the value.
func (p *Payoff) Drawing() *Drawing {
	const left, right, top, bottom, w, h = 78.0, 28.0, 96.0, 62.0, 860.0, 520.0
	d := &Drawing{Title: "What each party of " + p.Contract + " ends up with, by " + p.Of, Width: w, Height: h}
	d.text(ink, 19, true, 0, left, 30, p.Contract+": what each party ends up with")
	d.text(grey, 13, false, 0, left, 50, cut(13, false, w-left-right, p.Terms))
	most := int64(1)
	for _, s := range p.Stretch {
		for _, u := range s.Units {
			most = max(most, u)
		}
	}
	yStep := nice(float64(most) / 6)
	if yStep < 1 {
		yStep = 1
	}
	yTop := math.Ceil(float64(most)*1.04/yStep) * yStep
	x := func(v float64) float64 {
		if p.Hi == p.Lo {
			return (left + w - right) / 2
		}
		return left + (v-float64(p.Lo))/(float64(p.Hi)-float64(p.Lo))*(w-left-right)
	}
	y := func(u float64) float64 { return h - bottom - u/yTop*(h-top-bottom) }
	for u := 0.0; u <= yTop+1e-9; u += yStep {
		d.line(pale, 1, nil, point{left, y(u)}, point{w - right, y(u)})
		d.text(ink, 13, false, 1, left-8, y(u)+4.5, figures.Number(int64(u)))
	}
	xStep := math.Max(1, nice((float64(p.Hi)-float64(p.Lo))/8))
	for v := math.Ceil(float64(p.Lo)/xStep) * xStep; v <= float64(p.Hi); v += xStep {
		d.line(pale, 1, nil, point{x(v), top}, point{x(v), h - bottom})
		d.line(ink, 1.2, nil, point{x(v), h - bottom}, point{x(v), h - bottom + 5})
		tick := p.tick(int64(v))
		d.text(ink, 13, false, 0.5, math.Min(x(v), w-4-measure(13, false, tick)/2), h-bottom+20, tick)
	}
	d.line(ink, 1.4, nil, point{left, top}, point{left, h - bottom}, point{w - right, h - bottom})
	d.text(ink, 14, false, 0.5, (left+w-right)/2, h-16, p.Of+", "+p.When)
	d.shapes = append(d.shapes, shape{kind: label, points: []point{{24, (top + h - bottom) / 2}}, color: ink, size: 14, anchor: 0.5, turned: true, text: "units in the end, of all pots"})
	legend, drawn := left, 0
	for i, party := range p.Parties {
		if !slices.ContainsFunc(p.Stretch, func(s Stretch) bool { return s.Units != nil && s.Units[i] > 0 }) {
			continue
		}
		c, dash := palette[drawn%len(palette)], dashes[drawn%len(dashes)]
		drawn++
		var line []point
		for k, s := range p.Stretch {
			if s.Units == nil {
				continue
			}
			u := y(float64(s.Units[i]))
			if k > 0 && p.Stretch[k-1].Units != nil && line[len(line)-1].y == u { // it goes on: dashes are not begun anew
				line[len(line)-1].x = x(float64(s.Hi))
				continue
			}
			from := x(float64(s.Lo))
			if k > 0 && p.Stretch[k-1].Units != nil { // a step stands half way between two values
				from = (x(float64(p.Stretch[k-1].Hi)) + from) / 2
				line = append(line, point{from, line[len(line)-1].y})
			}
			line = append(line, point{from, u}, point{x(float64(s.Hi)), u})
		}
		d.line(c, 2.6, dash, line...)
		d.line(c, 2.6, dash, point{legend, 74}, point{legend + 34, 74})
		d.text(ink, 14, false, 0, legend+42, 79, party)
		legend += 42 + measure(14, false, party) + 28
	}
	return d
}

// tick writes a value at the axis.
func (p *Payoff) tick(v int64) string {
	if p.Type == contract.Duration {
		return figures.Duration(v)
	}
	return strings.ReplaceAll(figures.Show(p.Type, v), "_", ",") // as at the other axis
}

// nice rounds a step up to 1, 2 or 5 times a power of ten.
func nice(step float64) float64 {
	if step <= 0 {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(step)))
	for _, m := range []float64{1, 2, 5} {
		if m*p >= step*0.999 {
			return m * p
		}
	}
	return 10 * p
}
