package contract

// WordClause is a word that somebody may say now.
type WordClause struct {
	Word     string
	Parties  []int // who may say it and has not yet
	Said     []int // who has said it
	Need     int   // how many must say it
	HasValue bool
	Lo, Hi   int64 // the value's range; a condition may narrow it
	Line     int
}

// Words returns what the parties may say in state s, in the order of the source. Clauses whose condition fails
// whatever is said are left out; one whose condition depends on the value that comes with the word is there.
func (d *Deal) Words(s State) []WordClause {
	if s.Closed() {
		return nil
	}
	e := d.env()
	r := run{d: d, s: s}
	for i := range d.p.counters {
		*e.at(opCounter, int64(i)) = point(s.vars[i])
	}
	for i := range d.units {
		*e.at(opLeft, int64(i)) = point(r.left(i))
	}
	var list []WordClause
	for i := range d.p.phases[s.phase].clauses {
		c := &d.p.phases[s.phase].clauses[i]
		if c.kind != onWord {
			continue
		}
		*e.at(opInput, 0) = span{c.lo, c.hi}
		if c.guard != none && e.eval(c.guard).hi == 0 {
			continue
		}
		w := WordClause{Word: c.word, Need: c.need, HasValue: c.hasValue, Lo: c.lo, Hi: c.hi, Line: int(c.pos.line)}
		for party := range d.p.parties {
			switch {
			case c.members>>party&1 == 0:
			case c.need > 1 && s.said&c.seat(party) != 0:
				w.Said = append(w.Said, party)
			default:
				w.Parties = append(w.Parties, party)
			}
		}
		list = append(list, w)
	}
	return list
}
