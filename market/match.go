package market

import (
	"fmt"
	"slices"

	"latchkey/contract"
)

// obstacle says why no proposal can be made, in rising order of how near it was.
type obstacle uint8

const (
	noObstacle   obstacle = iota
	isClosed              // the offer is closed
	isFilled              // everything wanted is in live or settled proposals
	inOutage              // the operators' own outage
	noRate                // no fresh rate of an asset
	noOffer               // nobody offers the other side
	onlyApart             // only offers that it never meets
	onlyPaused            // only offers of clients with whom a proposal was declined just now
	noPrice               // only offers that do not meet its price
	mailFull              // a party's queue of notices is full
	noChunks              // a side has no chunks to give
	shareReached          // one counterparty may fill no more
	limitReached          // a limit of what may be at stake
	noSizes               // no whole chunks make a slice within prices and sizes
	badTerms              // the contract refuses the terms
)

// reason is an obstacle with what it is about.
type reason struct {
	obstacle obstacle
	asset    *denom
	domain   *domain
	client   *client // of whom it is true
	until    int64
	err      error
}

// fresh returns the rate of an asset, or the reason why there is none.
func (m *Market) fresh(now int64, d *denom) (Micros, reason) {
	r := m.rates[d.Asset.ID]
	if r == nil || r.lost != "" || r.perCoin == 0 || now-r.observed > m.policy.RateMaxAge {
		return 0, reason{obstacle: noRate, asset: d}
	}
	v, err := unitValue(d.Denomination, r.perCoin)
	if err != nil {
		return 0, reason{obstacle: noRate, asset: d, err: err}
	}
	return v, reason{}
}

// plan is a slice that may be proposed. The maker is the offer that came first; x is what it gives, y what the taker
// gives.
type plan struct {
	maker, taker *offer
	vx, vy       Micros // of a unit
	cut          cut
	chunksX      []*chunk
	chunksY      []*chunk
	otherX       []*chunk // those of chunksX that are not plain
	otherY       []*chunk
	potX, potY   uint8
	takersX      []uint8 // roles to which the contract may give chunks
	takersY      []uint8
	exchange     bool
	terms        []int64
	members      []*profile // parties, by role
	lockBy, end  int64
}

// seek returns the first slice for o: over the other side of its book by price and time, at most MaxTries offers. When
// there is none it returns the reason that came nearest. With exchange set it takes it that a contract that is over when
// it opens exchanges the sides whole: whoever uses the plan has to check that.
func (m *Market) seek(now int64, o *offer, exchange bool) (*plan, reason) {
	switch {
	case o.closed != 0 || now > o.Until:
		return nil, reason{obstacle: isClosed}
	case o.wants() == 0:
		return nil, reason{obstacle: isFilled}
	case m.outage:
		return nil, reason{obstacle: inOutage}
	}
	give, why := m.fresh(now, o.give)
	if why.obstacle != noObstacle {
		return nil, why
	}
	want, why := m.fresh(now, o.want)
	if why.obstacle != noObstacle {
		return nil, why
	}
	exchange = exchange && o.Settle == Atomic && len(o.Parties) == 2 && o.book.form.atOnce
	near := reason{obstacle: noOffer}
	p := new(plan)
	tries := 0
	for _, c := range o.book.sides[1-o.side] {
		if tries++; tries > m.policy.MaxTries {
			break
		}
		if now > c.Until {
			continue
		}
		why := m.pair(now, p, o, c, give, want, exchange)
		if why.obstacle == noObstacle {
			return p, reason{}
		}
		if why.obstacle > near.obstacle {
			near = why
		}
		if why.obstacle == noPrice {
			break // the rest asks for more
		}
	}
	return nil, near
}

// pair seeks a slice between two offers of one book, and fills in p. give and want are the values of the units that o
// gives and wants.
func (m *Market) pair(now int64, p *plan, o, c *offer, give, want Micros, exchange bool) reason {
	if apart(o, c) {
		return reason{obstacle: onlyApart}
	}
	if to := pausedTo(now, o.client, c.client); to > 0 {
		return reason{obstacle: onlyPaused, client: c.client, until: to}
	}
	if !meets(o.Premium, c.Premium) {
		return reason{obstacle: noPrice}
	}
	*p = plan{maker: c, taker: o, vx: want, vy: give, exchange: exchange, members: p.members[:0]}
	if o.pos < c.pos {
		p.maker, p.taker, p.vx, p.vy = o, c, give, want
	}
	if why := m.gather(p); why.obstacle != noObstacle {
		return why
	}
	return m.cutPlan(now, p)
}

// gather finds the parties of a plan, and checks that all of them can be told.
func (m *Market) gather(p *plan) reason {
	t := p.taker
	for i, id := range t.Parties {
		var c *client
		switch i {
		case int(t.Role):
			c = t.client
		case int(t.Counter):
			c = p.maker.client
		default:
			c = m.clients[id]
		}
		if m.mailRoom(c) < 3 { // the proposal, all acceptances, the end
			return reason{obstacle: mailFull, client: c}
		}
		p.members = append(p.members, c.profile)
	}
	p.takersX, p.takersY = t.book.takers[p.maker.side], t.book.takers[t.side] // until the contract is asked
	return reason{}
}

// cutPlan finds the sizes and chunks of a plan. Chunks that stand in the way of a limit, or whose certificate ends too
// early, are left out and the search goes on without them.
func (m *Market) cutPlan(now int64, p *plan) reason {
	maker, taker := p.maker, p.taker
	sx, sy := maker.stock, taker.stock
	if sx.have == (counts{}) {
		return reason{obstacle: noChunks, client: maker.client}
	}
	if sy.have == (counts{}) {
		return reason{obstacle: noChunks, client: taker.client}
	}
	w, why := m.windowOf(now, p)
	if why.obstacle != noObstacle {
		return why
	}
	p.lockBy = now + m.policy.LockWithin
	w.x, w.y = sx.have, sy.have
	var (
		full    []*domain // whose limits chunks stand in the way of
		endsBy  int64     // least expiry of a certificate
		filter  func(*chunk) bool
		relaxed Units // the best size before anything was left out
	)
	usable := func(c *chunk) bool {
		return c.cert.expiry >= endsBy && !slices.ContainsFunc(full, func(d *domain) bool { return m.touches(c, d) })
	}
	last := reason{obstacle: noSizes}
	for range 8 {
		cut, ok := w.best()
		if !ok {
			return last
		}
		if filter == nil {
			relaxed = cut.proof.Best
		}
		p.cut = cut
		room := make([]*chunk, 0, cut.takeX.chunks()+cut.takeY.chunks())
		p.chunksX, p.otherX = sx.choose(&cut.takeX, filter, room, nil)
		p.chunksX = slices.Clip(p.chunksX)
		p.chunksY, p.otherY = sy.choose(&cut.takeY, filter, room[len(p.chunksX):len(p.chunksX)], nil)
		takersX, takersY := p.takersX, p.takersY
		if why := m.bind(p); why.obstacle != noObstacle {
			return why
		}
		if !slices.Equal(takersX, p.takersX) || !slices.Equal(takersY, p.takersY) {
			x, y := w.x, w.y
			if w, why = m.windowOf(now, p); why.obstacle != noObstacle {
				return why
			}
			w.x, w.y = x, y
			continue
		}
		if need := p.end + m.policy.ChunkMargin; need > endsBy && p.expires(need) {
			endsBy = need
			last = reason{obstacle: noChunks, err: errExpiry}
		} else if d := m.overPlan(p); d != nil {
			if slices.Contains(full, d) {
				return reason{obstacle: limitReached, domain: d}
			}
			full = append(full, d)
			last = reason{obstacle: limitReached, domain: d}
		} else {
			if filter != nil && p.cut.proof.Units != relaxed {
				p.cut.proof.Best, p.cut.proof.Proven = relaxed, false
			}
			return reason{}
		}
		filter = usable
		w.x, w.y = sx.count(usable), sy.count(usable)
	}
	return last
}

// expires reports whether a certificate of a chosen chunk expires before a time.
func (p *plan) expires(before int64) bool {
	early := func(c *chunk) bool { return c.cert.expiry < before }
	return p.maker.stock.soonest < before && slices.ContainsFunc(p.chunksX, early) ||
		p.taker.stock.soonest < before && slices.ContainsFunc(p.chunksY, early)
}

// touches reports whether choosing c rather than a chunk of its owner's own adds to what is at stake in d.
func (m *Market) touches(c *chunk, d *domain) bool {
	for _, n := range c.line {
		if p := m.profiles[n]; p.client != c.owner && p.in(d) {
			return true
		}
	}
	return false
}

// windowOf returns the sizes that the two offers, the contract's terms and the limits of both parties leave, without
// the chunks.
func (m *Market) windowOf(now int64, p *plan) (window, reason) {
	maker, taker := p.maker, p.taker
	termX, termY := taker.book.form.terms[maker.GiveTerm], taker.book.form.terms[taker.GiveTerm]
	w := window{
		vx: p.vx, vy: p.vy, maker: maker.Premium, taker: taker.Premium,
		least:  max(1, min(taker.MinFill, taker.wants()), clip(termX.Lo)),
		yleast: max(1, min(maker.MinFill, maker.wants()), clip(termY.Lo)),
		most:   min(MaxSlice, taker.wants()+taker.Over, maker.Give.Units-maker.gave, clip(termX.Hi)),
		ymost:  min(MaxSlice, maker.wants()+maker.Over, taker.Give.Units-taker.gave, clip(termY.Hi)),
		tied:   maker.GiveTerm == taker.GiveTerm,
		picks:  m.policy.MaxPicks,
		sum:    maxMicros,
	}
	why := reason{obstacle: noSizes}
	if x, y := shareLeft(now, taker, maker), shareLeft(now, maker, taker); x < w.least || y < w.yleast {
		why = reason{obstacle: shareReached}
		w.most, w.ymost = min(w.most, x), min(w.ymost, y)
	} else {
		w.most, w.ymost = min(w.most, x), min(w.ymost, y)
	}
	capped := func(d *domain, limitX, limitY bool) {
		room := m.room(d)
		if x := clip(int64(room / p.vx)); limitX && x < w.most {
			if w.most = x; x < w.least {
				why = reason{obstacle: limitReached, domain: d}
			}
		}
		if y := clip(int64(room / p.vy)); limitY && y < w.ymost {
			if w.ymost = y; y < w.yleast {
				why = reason{obstacle: limitReached, domain: d}
			}
		}
	}
	both := func(d *domain) { // x·vx + y·vy within the room of d
		if room := m.room(d); room < w.sum {
			w.sum = room
		}
		capped(d, true, true)
	}
	for _, q := range p.members {
		for _, d := range q.domains {
			holdsX, holdsY := p.holds(d)
			if holdsX && holdsY && (!p.exchange || maker.client.profile.in(d) && taker.client.profile.in(d)) {
				both(d)
			} else {
				capped(d, holdsX, holdsY)
			}
		}
	}
	if dx, dy := maker.give.asset, taker.give.asset; dx == dy {
		both(dx)
	} else {
		capped(dx, true, false)
		capped(dy, false, true)
	}
	if w.most < w.least || w.ymost < w.yleast {
		return window{}, why
	}
	// What the maker wants, and the most that it may get, in units of what it gives.
	cover := func(y Units) Units { return clip(int64(mostFor(y, p.vy, p.vx, maker.Premium))) }
	w.most = min(w.most, cover(w.ymost))
	w.target = min(taker.wants(), cover(maker.wants()), w.most)
	if w.target < w.least {
		w.target = w.least
	}
	if w.most < w.least {
		return window{}, why
	}
	return w, reason{}
}

// holds reports for each side whether somebody in d owns it or may be given chunks of it.
func (p *plan) holds(d *domain) (x, y bool) {
	x, y = p.maker.client.profile.in(d), p.taker.client.profile.in(d)
	for _, role := range p.takersX {
		x = x || p.members[role].in(d)
	}
	for _, role := range p.takersY {
		y = y || p.members[role].in(d)
	}
	return x, y
}

// clip brings v within 0 and MaxUnits.
func clip(v int64) Units { return Units(min(max(v, 0), int64(MaxUnits))) }

// overPlan returns the domain whose limit the plan would exceed, or nil.
func (m *Market) overPlan(p *plan) *domain {
	x, y := 0, 1
	if p.maker.Role > p.taker.Role {
		x, y = 1, 0
	}
	s := stakes{members: p.members, exchange: p.exchange}
	s.chunks[x], s.chunks[y] = p.otherX, p.otherY
	s.takers[x], s.takers[y] = p.takersX, p.takersY
	s.value[x], s.value[y] = p.vx, p.vy
	s.worth[x], s.worth[y] = Micros(p.cut.x)*p.vx, Micros(p.cut.y)*p.vy
	s.asset[x], s.asset[y] = p.maker.give.asset, p.taker.give.asset
	s.owner[x], s.owner[y] = p.maker.client.profile, p.taker.client.profile
	var off []booking
	for _, list := range s.chunks {
		for _, c := range list {
			off = m.holding(c, off)
		}
	}
	var room [16]booking
	return m.over(m.bookings(&s, room[:0]), off)
}

var (
	errExpiry  = fmt.Errorf("certificates expire too soon for the contract")
	errEndless = fmt.Errorf("the contract may go on beyond any calendar")
)

// bind fills in the terms of a plan and checks that the contract asks exactly these chunks of exactly these parties. It
// notes to whom it may give them, and when it has ended at the latest.
func (m *Market) bind(p *plan) reason {
	form, maker, taker := p.taker.book.form, p.maker, p.taker
	refuse := func(err error) reason { return reason{obstacle: badTerms, err: err} }
	p.terms = slices.Clone(taker.Terms)
	p.terms[maker.GiveTerm], p.terms[taker.GiveTerm] = int64(p.cut.x), int64(p.cut.y)
	deal, err := form.prog.Bind(p.terms)
	if err != nil {
		return refuse(err)
	}
	x, y, err := potsOf(form.pots, deal, int(maker.Role), int(taker.Role))
	if err != nil {
		return refuse(err)
	}
	if deal.PotUnits(x) != int64(p.cut.x) || deal.PotUnits(y) != int64(p.cut.y) {
		return refuse(fmt.Errorf("the pots hold %d and %d units, the terms say %d and %d",
			deal.PotUnits(x), deal.PotUnits(y), p.cut.x, p.cut.y))
	}
	p.potX, p.potY = uint8(x), uint8(y)
	if takers := form.takers; takers != nil {
		p.takersX, p.takersY = takers[x], takers[y]
	} else {
		p.takersX, p.takersY = rolesOf(deal.Candidates(x)), rolesOf(deal.Candidates(y))
	}
	switch p.end = p.lockBy; {
	case taker.Pace != nil: // a step has at least one chunk
		p.end += taker.Pace.Span(len(p.chunksX) + len(p.chunksY))
	case !form.atOnce:
		p.end = deal.LastDeadline(p.lockBy)
	}
	if p.end > maxTime {
		return refuse(errEndless)
	}
	return reason{}
}

// rolesOf returns parties as roles.
func rolesOf(parties []int) []uint8 {
	list := make([]uint8, len(parties))
	for i, p := range parties {
		list[i] = uint8(p)
	}
	return list
}

// potsOf returns the one pot that each of two parties fills. Anything else is not for the market.
func potsOf(pots []contract.Pot, deal *contract.Deal, a, b int) (x, y int, err error) {
	x, y = -1, -1
	for i, pot := range pots {
		switch {
		case deal.PotUnits(i) == 0:
		case pot.From == a && x < 0:
			x = i
		case pot.From == b && y < 0:
			y = i
		default:
			return 0, 0, fmt.Errorf("pot %s is filled by a third party, or is a second one of its party", pot.Name)
		}
	}
	if x < 0 || y < 0 {
		return 0, 0, fmt.Errorf("one of the two parties has no pot to fill")
	}
	return x, y, nil
}

// exchanges reports whether the contract is over as soon as it opens and has given every chunk of each side to the other
// one.
func (p *plan) exchanges() bool {
	form := p.taker.book.form
	weights := make([][]int64, len(form.pots))
	for i, list := range [2][]*chunk{p.chunksX, p.chunksY} {
		pot := [2]uint8{p.potX, p.potY}[i]
		for _, c := range list {
			weights[pot] = append(weights[pot], int64(c.units()))
		}
	}
	deal, err := form.prog.Bind(p.terms)
	if err != nil {
		return false
	}
	_, out, err := deal.Open(weights, 0)
	if err != nil || !out.Closed || len(out.Gives) != len(p.chunksX)+len(p.chunksY) {
		return false
	}
	for _, g := range out.Gives {
		to := p.maker.Role
		if g.Pot == int(p.potX) {
			to = p.taker.Role
		}
		if g.To != int(to) {
			return false
		}
	}
	return true
}

// next returns the slice that is proposed next for o, or the reason why there is none.
func (m *Market) next(now int64, o *offer) (*plan, reason) {
	p, why := m.seek(now, o, true)
	if p != nil && p.exchange && !p.exchanges() {
		return m.seek(now, o, false)
	}
	return p, why
}

// decideMatch makes the next proposal for an offer, if there is one.
func (m *Market) decideMatch(now int64, in Match) ([]Fact, error) {
	o, err := m.offer(in.Client, in.Offer)
	if err != nil {
		return nil, err
	}
	p, _ := m.next(now, o)
	if p == nil {
		return nil, nil
	}
	prop := Proposal{
		ID: ProposalID(m.pos), Made: now,
		Contract: o.Contract, Settle: o.Settle, Pace: o.Pace, Escrow: o.Escrow, Terms: p.terms, Exchange: p.exchange,
		AcceptBy: now + m.policy.AcceptWithin, LockBy: p.lockBy, EndBy: p.end, Proof: p.cut.proof,
	}
	for _, q := range p.members {
		prop.Parties = append(prop.Parties, q.client.id)
	}
	x := sideOf(p.maker, p.potX, p.vx, p.chunksX, p.takersX)
	y := sideOf(p.taker, p.potY, p.vy, p.chunksY, p.takersY)
	prop.Sides = [2]Side{x, y}
	if x.Role > y.Role {
		prop.Sides, prop.Maker = [2]Side{y, x}, 1
	}
	return []Fact{&Proposed{prop}}, nil
}

func sideOf(o *offer, pot uint8, value Micros, list []*chunk, takers []uint8) Side {
	s := Side{
		Client: o.client.id, Offer: o.ID, Role: o.Role, Pot: pot,
		Denomination: o.Give.Denomination, Value: value, Chunks: make([]Stake, len(list)), Takers: takers,
	}
	for i, c := range list {
		s.Chunks[i] = Stake{c.id, c.epoch, uint32(c.units()), c.cert.id}
		s.Units += c.units()
	}
	return s
}
