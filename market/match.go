package market

import (
	"fmt"
	"slices"

	"latchkey/coin"
	"latchkey/contract"
	"latchkey/wire"
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
	asset    *rateQuery
	domain   *domain
	client   *client // of whom it is true
	err      error
}

// rateQuery is the answer to a question for a rate.
type rateQuery struct {
	asset coin.AssetID
	have  *rate // nil: none was ever seen
}

// fresh returns the rate of an asset, or the reason why there is none.
func (m *Market) fresh(now int64, d *denom) (Micros, *reason) {
	r := m.rates[d.Asset.ID]
	if r == nil || r.lost != "" || r.perCoin == 0 || now-r.observed > m.policy.RateMaxAge {
		return 0, &reason{obstacle: noRate, asset: &rateQuery{d.Asset.ID, r}}
	}
	v, err := unitValue(d.Denomination, r.perCoin)
	if err != nil {
		return 0, &reason{obstacle: noRate, asset: &rateQuery{d.Asset.ID, r}, err: err}
	}
	return v, nil
}

// plan is a slice that may be proposed. The maker is the offer that came first.
type plan struct {
	maker, taker *offer
	vx, vy       Micros // of the units that the maker and that the taker gives
	cut          cut
	chunksX      []*chunk // of the maker
	chunksY      []*chunk
	potX, potY   uint8
	exchange     bool
	terms        []int64
	parties      []wire.VaultID
	members      []*profile
	takersX      []uint8 // roles to which the contract may give chunks of the maker
	takersY      []uint8
	lockBy, end  int64
}

// seek returns the first slice for o: over the other side of its book by price and time, at most MaxTries offers. When
// there is none it returns the reason that came nearest.
func (m *Market) seek(now int64, o *offer) (*plan, *reason) {
	switch {
	case o.closed != 0 || now > o.Until:
		return nil, &reason{obstacle: isClosed}
	case o.wants() == 0:
		return nil, &reason{obstacle: isFilled}
	case m.outage:
		return nil, &reason{obstacle: inOutage}
	}
	give, why := m.fresh(now, o.give)
	if why != nil {
		return nil, why
	}
	want, why := m.fresh(now, o.want)
	if why != nil {
		return nil, why
	}
	near := &reason{obstacle: noOffer}
	tries := 0
	for _, c := range o.book.sides[1-o.side] {
		if tries++; tries > m.policy.MaxTries {
			break
		}
		if now > c.Until {
			continue
		}
		p, why := m.pair(now, o, c, give, want)
		if why == nil {
			return p, nil
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

// pair seeks a slice between two offers of one book. give and want are the values of the units that o gives and wants.
func (m *Market) pair(now int64, o, c *offer, give, want Micros) (*plan, *reason) {
	if apart(o, c) {
		return nil, &reason{obstacle: onlyApart}
	}
	if !meets(o.Premium, c.Premium) {
		return nil, &reason{obstacle: noPrice}
	}
	p := &plan{maker: c, taker: o, vx: want, vy: give}
	if o.pos < c.pos {
		p.maker, p.taker, p.vx, p.vy = o, c, give, want
	}
	if why := m.gather(p); why != nil {
		return nil, why
	}
	for p.exchange = len(p.members) == 2 && len(o.book.form.prog.Phases()) == 0; ; p.exchange = false {
		why := m.cutPlan(now, p)
		if why == nil {
			return p, nil
		}
		if !p.exchange || why.obstacle != badTerms || why.err != errNoExchange {
			return nil, why
		}
	}
}

// gather finds the parties of a plan, and checks that all of them can be told.
func (m *Market) gather(p *plan) *reason {
	t := p.taker
	p.parties = slices.Clone(t.Parties)
	p.parties[t.Role], p.parties[t.Counter] = t.client.id, p.maker.client.id
	p.members = make([]*profile, len(p.parties))
	for i, id := range p.parties {
		c := m.clients[id]
		if m.mailRoom(c) < 3 { // the proposal, all acceptances, the end
			return &reason{obstacle: mailFull, client: c}
		}
		p.members[i] = c.profile
	}
	p.takersX, p.takersY = []uint8{t.Role}, []uint8{t.Counter} // until the contract is asked
	return nil
}

// cutPlan finds the sizes and chunks of a plan. Chunks that stand in the way of a limit, or whose certificate ends too
// early, are left out and the search goes on without them.
func (m *Market) cutPlan(now int64, p *plan) *reason {
	maker, taker := p.maker, p.taker
	sx, sy := maker.client.stock(maker.stock, false), taker.client.stock(taker.stock, false)
	if sx == nil || sx.have == (counts{}) {
		return &reason{obstacle: noChunks, client: maker.client}
	}
	if sy == nil || sy.have == (counts{}) {
		return &reason{obstacle: noChunks, client: taker.client}
	}
	w, why := m.windowOf(p)
	if why != nil {
		return why
	}
	p.lockBy = now + m.policy.LockWithin
	haveX, haveY := sx.have, sy.have
	w.x, w.y = &haveX, &haveY
	var full []*domain
	var endsBy int64
	usable := func(c *chunk) bool {
		return c.cert.expiry >= endsBy && !slices.ContainsFunc(full, func(d *domain) bool { return m.touches(c, d) })
	}
	var filter func(*chunk) bool
	var relaxed Units
	last := &reason{obstacle: noSizes}
	for range 8 {
		cut, ok := w.best()
		if !ok {
			return last
		}
		if filter == nil {
			relaxed = cut.proof.Best
		}
		p.cut, p.chunksX, p.chunksY = cut, sx.choose(cut.takeX, filter), sy.choose(cut.takeY, filter)
		takersX, takersY := p.takersX, p.takersY
		deal, why := m.bind(p)
		if why != nil {
			return why
		}
		if !slices.Equal(takersX, p.takersX) || !slices.Equal(takersY, p.takersY) {
			x, y := w.x, w.y
			if w, why = m.windowOf(p); why != nil {
				return why
			}
			w.x, w.y = x, y
			continue
		}
		if p.end = deal.LastDeadline(p.lockBy); p.end > maxTime {
			return &reason{obstacle: badTerms, err: errEndless}
		}
		if need := p.end + m.policy.ChunkMargin; need > endsBy && slices.ContainsFunc(slices.Concat(p.chunksX, p.chunksY), func(c *chunk) bool { return c.cert.expiry < need }) {
			endsBy = need
			last = &reason{obstacle: noChunks, err: errExpiry}
		} else if d := m.overPlan(p); d != nil {
			if slices.Contains(full, d) {
				return &reason{obstacle: limitReached, domain: d}
			}
			full = append(full, d)
			last = &reason{obstacle: limitReached, domain: d}
		} else {
			if filter != nil && p.cut.proof.Units != relaxed {
				p.cut.proof.Best, p.cut.proof.Proven = relaxed, false
			}
			return nil
		}
		filter = usable
		haveX, haveY = sx.count(usable), sy.count(usable)
	}
	return last
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
func (m *Market) windowOf(p *plan) (*window, *reason) {
	maker, taker := p.maker, p.taker
	termX, termY := taker.book.form.terms[maker.GiveTerm], taker.book.form.terms[taker.GiveTerm]
	w := &window{
		vx: p.vx, vy: p.vy, maker: maker.Premium, taker: taker.Premium,
		least:  max(1, min(taker.MinFill, taker.wants()), clip(termX.Lo)),
		yleast: max(1, min(maker.MinFill, maker.wants()), clip(termY.Lo)),
		most:   min(MaxSlice, taker.wants()+taker.Over, maker.Give.Units-maker.gave, clip(termX.Hi)),
		ymost:  min(MaxSlice, maker.wants()+maker.Over, taker.Give.Units-taker.gave, clip(termY.Hi)),
		tied:   maker.GiveTerm == taker.GiveTerm,
		picks:  m.policy.MaxPicks,
		sum:    maxMicros,
	}
	why := &reason{obstacle: noSizes}
	if x, y := shareLeft(taker, maker), shareLeft(maker, taker); x < w.least || y < w.yleast {
		why = &reason{obstacle: shareReached}
		w.most, w.ymost = min(w.most, x), min(w.ymost, y)
	} else {
		w.most, w.ymost = min(w.most, x), min(w.ymost, y)
	}
	capped := func(d *domain, limitX, limitY bool) {
		room := m.room(d)
		if x := clip(int64(room / p.vx)); limitX && x < w.most {
			if w.most = x; x < w.least {
				why = &reason{obstacle: limitReached, domain: d}
			}
		}
		if y := clip(int64(room / p.vy)); limitY && y < w.ymost {
			if w.ymost = y; y < w.yleast {
				why = &reason{obstacle: limitReached, domain: d}
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
		return nil, why
	}
	// What the maker wants, and the most that it may get, in units of what it gives.
	cover := func(y Units) Units { return clip(int64(mostFor(y, p.vy, p.vx, maker.Premium))) }
	w.most = min(w.most, cover(w.ymost))
	w.target = min(taker.wants(), cover(maker.wants()), w.most)
	if w.target < w.least {
		w.target = w.least
	}
	if w.most < w.least {
		return nil, why
	}
	return w, nil
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

// stakesOf returns the two sides as bookings wants them, the lower role first.
func (m *Market) stakesOf(p *plan) *stakes {
	x, y := 0, 1
	if p.maker.Role > p.taker.Role {
		x, y = 1, 0
	}
	s := &stakes{exchange: p.exchange}
	for _, role := range p.takersX {
		s.takers[x] = append(s.takers[x], p.members[role])
	}
	for _, role := range p.takersY {
		s.takers[y] = append(s.takers[y], p.members[role])
	}
	s.chunks[x], s.chunks[y] = p.chunksX, p.chunksY
	s.value[x], s.value[y] = p.vx, p.vy
	s.worth[x], s.worth[y] = Micros(p.cut.x)*p.vx, Micros(p.cut.y)*p.vy
	s.asset[x], s.asset[y] = p.maker.give.asset, p.taker.give.asset
	s.owner[x], s.owner[y] = p.maker.client.profile, p.taker.client.profile
	return s
}

// overPlan returns the domain whose limit the plan would exceed, or nil.
func (m *Market) overPlan(p *plan) *domain {
	var off []booking
	for _, list := range [2][]*chunk{p.chunksX, p.chunksY} {
		for _, c := range list {
			off = append(off, m.holding(c, nil)...)
		}
	}
	return m.over(m.bookings(m.stakesOf(p)), off)
}

var (
	errExpiry     = fmt.Errorf("certificates expire too soon for the contract")
	errEndless    = fmt.Errorf("the contract may go on beyond any calendar")
	errNoExchange = fmt.Errorf("the contract does not exchange the sides")
)

// bind fills in the terms of a plan and checks that the contract asks exactly these chunks of exactly these parties.
func (m *Market) bind(p *plan) (*contract.Deal, *reason) {
	form, maker, taker := p.taker.book.form, p.maker, p.taker
	refuse := func(err error) (*contract.Deal, *reason) { return nil, &reason{obstacle: badTerms, err: err} }
	terms := slices.Clone(taker.Terms)
	terms[maker.GiveTerm], terms[taker.GiveTerm] = int64(p.cut.x), int64(p.cut.y)
	deal, err := form.prog.Bind(terms)
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
	p.terms, p.potX, p.potY = terms, uint8(x), uint8(y)
	p.takersX, p.takersY = rolesOf(deal.Candidates(x)), rolesOf(deal.Candidates(y))
	if p.exchange && !exchanges(deal, p) {
		return refuse(errNoExchange)
	}
	return deal, nil
}

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

// exchanges reports whether the deal is over as soon as it opens and has given every chunk of each pot to the other
// party.
func exchanges(deal *contract.Deal, p *plan) bool {
	weights := make([][]int64, len(p.taker.book.form.pots))
	for i, list := range [2][]*chunk{p.chunksX, p.chunksY} {
		pot := [2]uint8{p.potX, p.potY}[i]
		for _, c := range list {
			weights[pot] = append(weights[pot], int64(c.units()))
		}
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

// decideMatch makes the next proposal for an offer, if there is one.
func (m *Market) decideMatch(now int64, in Match) ([]Fact, error) {
	o, err := m.offer(in.Client, in.Offer)
	if err != nil {
		return nil, err
	}
	p, _ := m.seek(now, o)
	if p == nil {
		return nil, nil
	}
	side := func(o *offer, pot uint8, units Units, value Micros, list []*chunk, takers []uint8) Side {
		s := Side{
			Client: o.client.id, Offer: o.ID, Role: o.Role, Pot: pot, Takers: takers,
			Denomination: o.Give.Denomination, Units: units, Value: value, Chunks: make([]Stake, len(list)),
		}
		for i, c := range list {
			s.Chunks[i] = Stake{c.id, c.epoch, uint32(c.units()), c.cert.id}
		}
		return s
	}
	x := side(p.maker, p.potX, p.cut.x, p.vx, p.chunksX, p.takersX)
	y := side(p.taker, p.potY, p.cut.y, p.vy, p.chunksY, p.takersY)
	prop := Proposal{
		ID: ProposalID(m.pos), Made: now,
		Contract: o.Contract, Settle: o.Settle, Escrow: o.Escrow, Terms: p.terms, Parties: p.parties,
		Sides: [2]Side{x, y}, Exchange: p.exchange,
		AcceptBy: now + m.policy.AcceptWithin, LockBy: p.lockBy, EndBy: p.end, Proof: p.cut.proof,
	}
	if x.Role > y.Role {
		prop.Sides, prop.Maker = [2]Side{y, x}, 1
	}
	return []Fact{&Proposed{prop}}, nil
}
