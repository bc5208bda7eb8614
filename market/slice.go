package market

// Proof certifies how well a slice answers what was asked of it. Target is what was asked: units of the later offer's
// want, as far as both offers and the limits go. Units that reach it with less overshoot are better, and any that reach
// it are better than any that fall short, of which more are better. No choice of whole chunks is better than Best.
// Proven says that none is better than Units; otherwise the gap is what lies between.
type Proof struct {
	Target Units `cbor:"1,keyasint" json:"target"`
	Units  Units `cbor:"2,keyasint" json:"units"`
	Best   Units `cbor:"3,keyasint" json:"best"`
	Proven bool  `cbor:"4,keyasint" json:"proven"`
}

// Gap returns how many units lie between what was found and what might be possible: 0 when proven.
func (p Proof) Gap() Units { return max(p.Units, p.Best) - min(p.Units, p.Best) }

// window is the room in which a slice is sought: x units that the earlier offer (the maker) gives and the later one
// (the taker) wants, against y units the other way.
type window struct {
	target, least, most Units // of x
	yleast, ymost       Units
	vx, vy              Micros // of a unit
	maker, taker        Bps
	tied                bool   // one term says both sizes: x = y
	x, y                counts // the chunks there are
	sum                 Micros // at most, of x·vx + y·vy
	picks               int    // chunks of a side, at most
}

// cut is a slice that was found.
type cut struct {
	x, y         Units
	takeX, takeY counts
	proof        Proof
}

// best returns the slice whose x is target, or exceeds it least, or falls short of it least; then the one with the
// fewest y, which is the maker's price as nearly as whole units allow; each side of the fewest chunks, and as pick
// says. It reports false when there is none.
func (w *window) best() (cut, bool) {
	if w.least > w.most || w.yleast > w.ymost {
		return cut{}, false
	}
	if lo, hi := w.against(w.target); lo <= hi {
		if c, ok := w.cut(w.target, lo); ok {
			return c, true
		}
	}
	return w.search()
}

// against returns the range of y for x: empty when lo > hi.
func (w *window) against(x Units) (lo, hi Units) {
	least, most := leastFor(x, w.vx, w.vy, w.maker), mostFor(x, w.vx, w.vy, w.taker)
	left := w.sum - Micros(x)*w.vx
	if left < 0 || least > uint64(w.ymost) {
		return 1, 0
	}
	most = min(most, uint64(w.ymost), uint64(left/w.vy))
	least = max(least, uint64(w.yleast))
	if w.tied {
		if uint64(x) < least || uint64(x) > most {
			return 1, 0
		}
		return x, x
	}
	return Units(least), Units(most)
}

// cut chooses the chunks of both sides.
func (w *window) cut(x, y Units) (c cut, ok bool) {
	c.x, c.y = x, y
	if c.takeX, ok = pick(&w.x, x, w.picks); ok {
		c.takeY, ok = pick(&w.y, y, w.picks)
	}
	c.proof = Proof{Target: w.target, Units: x, Best: x, Proven: true}
	return c, ok
}

// search tries every x in the order of preference. Sums tell which sizes the weights allow. Only when one of these turns
// out to need too many chunks, the fewest chunks of all sizes are worked out.
func (w *window) search() (cut, bool) {
	xs, ys := sumsOf(&w.x, w.most), sumsOf(&w.y, w.ymost)
	exact := false
	try := func(x Units) (c cut, ok bool) {
		if !xs.has(x) {
			return c, false
		}
		lo, hi := w.against(x)
		for y := lo; y <= hi; y++ {
			if !ys.has(y) {
				continue
			}
			if c, ok = w.cut(x, y); ok {
				return c, true
			}
			if !exact {
				exact = true
				xs.keep(fewestOf(&w.x, w.most), w.picks)
				ys.keep(fewestOf(&w.y, w.ymost), w.picks)
			}
			if !xs.has(x) {
				break
			}
		}
		return c, false
	}
	for x := w.target; x <= w.most; x++ {
		if c, ok := try(x); ok {
			return c, true
		}
	}
	for x := w.target; x > w.least; {
		x--
		if c, ok := try(x); ok {
			return c, true
		}
	}
	return cut{}, false
}
