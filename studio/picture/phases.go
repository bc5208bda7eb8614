package picture

import (
	"slices"

	"latchkey/studio/explain"
)

// The measures of a diagram of phases.
const (
	cardX     = 30.0  // where cards begin
	cardW     = 640.0 // how wide they are
	cardGap   = 46.0
	titleH    = 46.0
	lineH     = 19.0
	rowPad    = 8.0
	lane      = 22.0 // between two arrows beside each other
	textSize  = 14.0
	smallSize = 13.0
	arrow     = 7.0
)

// card is a box of the diagram: a phase, or the beginning.
type card struct {
	title, note string
	rows        []row
	y, h        float64
}

// row is a clause on a card.
type row struct {
	lines []string
	to    []int // cards that it leads to
	ends  bool  // it can end the contract
	y, h  float64
}

// Phases draws the phases of a contract as cards: what can happen in each, and
// arrows to the phase that follows. What ends the contract is marked by a dot.
func Phases(src []byte) (*Drawing, error) {
	chart, err := explain.Diagram(src)
	if err != nil {
		return nil, err
	}
	var cards []card
	for _, box := range chart.Boxes {
		c := card{title: box.Title, note: box.Note}
		for _, s := range box.Steps {
			lines := wrap(textSize, false, cardW-60, s.Text)
			c.rows = append(c.rows, row{lines: lines, to: s.To, ends: s.Ends, h: float64(len(lines))*lineH + 2*rowPad})
		}
		cards = append(cards, c)
	}
	y := 92.0
	for i := range cards {
		c := &cards[i]
		c.y = y
		y += titleH
		for j := range c.rows {
			c.rows[j].y = y
			y += c.rows[j].h
		}
		c.h = y - c.y
		y += cardGap
	}
	lanes := route(cards)
	right := cardX + cardW + 24 + float64(lanes.count)*lane
	d := &Drawing{Title: "The phases of " + chart.Name, Width: max(right+16, cardX+cardW+60), Height: y - cardGap + 62}
	d.text(ink, 19, true, 0, cardX, 36, chart.Name)
	d.text(grey, smallSize, false, 0, cardX, 58, cut(smallSize, false, cardW, "between "+chart.Parties))
	for _, c := range cards {
		d.card(c)
	}
	for _, a := range lanes.arrows {
		d.arrow(cards, a)
	}
	if slices.ContainsFunc(cards, func(c card) bool { return slices.ContainsFunc(c.rows, func(r row) bool { return r.ends }) }) {
		d.dot(cardX+8, y-cardGap+34)
		d.text(grey, smallSize, false, 0, cardX+26, y-cardGap+38.5, "the contract ends; what is left goes back to who deposited it")
	}
	return d, nil
}

// link is an arrow from a row to a card, on a lane of its own to the right of the cards. It is the nth that leaves the row, from above.
type link struct{ from, row, to, nth, lane int }

type routes struct {
	arrows []link
	count  int
}

// route gives each arrow a lane on which no other arrow is in its way: short ones
// nearest to the cards. Arrows to one card may share a lane.
func route(cards []card) (r routes) {
	for i, c := range cards {
		for j, row := range c.rows {
			for nth, to := range slices.Sorted(slices.Values(row.to)) {
				r.arrows = append(r.arrows, link{i, j, to, nth, 0})
			}
		}
	}
	reach := func(a link) (lo, hi float64) {
		from, to := a.leaves(cards), cards[a.to].y+titleH/2
		return min(from, to), max(from, to)
	}
	slices.SortStableFunc(r.arrows, func(a, b link) int {
		alo, ahi := reach(a)
		blo, bhi := reach(b)
		return int((ahi - alo) - (bhi - blo))
	})
	for i := range r.arrows {
		a := &r.arrows[i]
		lo, hi := reach(*a)
		for taken := true; taken; {
			taken = false
			for _, b := range r.arrows[:i] {
				blo, bhi := reach(b)
				if b.lane == a.lane && b.to != a.to && lo < bhi+4 && blo < hi+4 {
					a.lane, taken = a.lane+1, true
					break
				}
			}
		}
		r.count = max(r.count, a.lane+1)
	}
	return r
}

// leaves is the height at which an arrow begins: those of one row share it between them.
func (a link) leaves(cards []card) float64 {
	r := &cards[a.from].rows[a.row]
	return r.y + r.h*float64(a.nth+1)/float64(len(r.to)+1)
}

func (d *Drawing) card(c card) {
	d.rect(white, frame, cardX, c.y, cardW, c.h)
	d.rect(mist, frame, cardX, c.y, cardW, titleH)
	d.text(ink, 16, true, 0, cardX+16, c.y+29, c.title)
	x := cardX + 16 + measure(16, true, c.title) + 16
	d.text(grey, smallSize, false, 0, x, c.y+28.5, cut(smallSize, false, cardX+cardW-16-x, c.note))
	for i, r := range c.rows {
		if i > 0 {
			d.line(pale, 1, nil, point{cardX + 1, r.y}, point{cardX + cardW - 1, r.y})
		}
		for j, text := range r.lines {
			d.text(ink, textSize, false, 0, cardX+16, r.y+rowPad+float64(j+1)*lineH-5, text)
		}
		if r.ends {
			d.dot(cardX+cardW-22, r.y+r.h/2)
		}
	}
}

// dot is the sign for the end of the contract: a disc in a ring.
func (d *Drawing) dot(x, y float64) {
	d.line(ink, 1.4, nil, circle(x, y, 7.5)...)
	d.fill(ink, circle(x, y, 4.5)...)
}

func circle(x, y, r float64) []point {
	const n = 24
	list := make([]point, 0, n+1)
	for i := range n + 1 {
		s, c := sincos(float64(i) / n)
		list = append(list, point{x + r*c, y + r*s})
	}
	return list
}

func (d *Drawing) arrow(cards []card, a link) {
	to := cards[a.to]
	y, ty := a.leaves(cards), to.y+titleH/2
	edge := cardX + cardW
	x := edge + 24 + float64(a.lane)*lane
	c := palette[a.to%(len(palette)-1)]
	d.line(c, 1.8, nil, point{edge, y}, point{x, y}, point{x, ty}, point{edge + arrow, ty})
	d.fill(c, point{edge, ty}, point{edge + arrow + 3, ty - arrow*0.7}, point{edge + arrow + 3, ty + arrow*0.7})
	d.fill(c, circle(edge, y, 3)...)
}
