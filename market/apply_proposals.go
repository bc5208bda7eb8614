package market

import (
	"fmt"
	"slices"

	"latchkey/wire"
)

// refer finds what a proposal refers to: offers, chunks, parties. It changes nothing.
func (m *Market) refer(p *proposal) error {
	p.members = make([]*profile, len(p.Parties))
	for i, id := range p.Parties {
		c, err := m.client(id)
		if err != nil {
			return err
		}
		if p.role(id) != i {
			return fmt.Errorf("client %s is two parties", id.Short())
		}
		p.members[i] = c.profile
	}
	if p.Maker > 1 {
		return fmt.Errorf("maker %d", p.Maker)
	}
	if p.LockBy < 1 || p.LockBy > maxTime {
		return fmt.Errorf("to be locked by %s, which is no time", wire.UTC(p.LockBy))
	}
	seen := map[wire.ChunkID]bool{}
	for i := range p.Sides {
		s := &p.Sides[i]
		o, err := m.offer(s.Client, s.Offer)
		if err != nil {
			return err
		}
		if int(s.Role) >= len(p.Parties) || p.Parties[s.Role] != s.Client || s.Value < 1 || s.Value > maxUnitValue || s.Units > MaxSlice {
			return fmt.Errorf("side %d has role %d and %d units of %v", i, s.Role, s.Units, s.Value)
		}
		for j, role := range s.Takers {
			if int(role) >= len(p.Parties) || role == s.Role || j > 0 && s.Takers[j-1] >= role {
				return fmt.Errorf("side %d goes to parties %v", i, s.Takers)
			}
		}
		if (p.Settle == TitForTat) != (p.Pace != nil) || p.Exchange && p.Settle != Atomic {
			return fmt.Errorf("settle %d, with a pace %t, exchange %t", p.Settle, p.Pace != nil, p.Exchange)
		}
		if p.Exchange && (len(s.Takers) != 1 || s.Takers[0] != p.Sides[1-i].Role) {
			return fmt.Errorf("an exchange whose side %d goes to parties %v", i, s.Takers)
		}
		p.offers[i] = o
		var sum Units
		for _, x := range s.Chunks {
			c := m.chunks[x.Chunk]
			if c == nil || seen[x.Chunk] || c.owner != o.client || c.epoch != x.Epoch || c.cert.id != x.Cert || uint32(c.units()) != x.Weight || c.cert.denom != o.give {
				return fmt.Errorf("chunk %s is not what the proposal says", x.Chunk.Short())
			}
			seen[x.Chunk] = true
			sum += c.units()
			p.stakes[i] = append(p.stakes[i], c)
		}
		if sum != s.Units || sum == 0 {
			return fmt.Errorf("side %d: chunks of %d units for %d", i, sum, s.Units)
		}
	}
	if p.offers[0].client == p.offers[1].client || p.offers[0].book != p.offers[1].book || p.offers[0].side == p.offers[1].side {
		return fmt.Errorf("the two offers do not meet")
	}
	return nil
}

// book computes what p adds to exposures.
func (m *Market) book(p *proposal) []booking {
	s := stakes{exchange: p.Exchange, chunks: p.stakes, members: p.members}
	for i := range p.Sides {
		s.takers[i] = p.Sides[i].Takers
		s.value[i], s.worth[i] = p.Sides[i].Value, p.Sides[i].Worth()
		s.asset[i] = p.offers[i].give.asset
		s.owner[i] = p.members[p.Sides[i].Role]
	}
	return m.bookings(&s, nil)
}

func (m *Market) applyProposed(at int64, f *Proposed) error {
	p := &proposal{Proposal: &f.Proposal, stage: proposed, acceptances: make([][]byte, len(f.Proposal.Parties))}
	if uint64(p.ID) != m.pos {
		return fmt.Errorf("proposal %v at position %d", p.ID, m.pos)
	}
	if err := m.refer(p); err != nil {
		return err
	}
	for i, list := range p.stakes {
		o := p.offers[i]
		if o.closed != 0 || o.gave+p.Sides[i].Units > o.Give.Units || o.got+p.Sides[1-i].Units > o.Want.Units+o.Over {
			return fmt.Errorf("offer %s has no room for it", o.ID)
		}
		for _, c := range list {
			if c.place != available {
				return fmt.Errorf("chunk %s is %v", c.id.Short(), c.place)
			}
		}
	}
	for i, list := range p.stakes {
		for _, c := range list {
			post(m.holding(c, nil), -1)
			m.move(c, reserved)
			c.proposal, c.value = p, p.Sides[i].Value
		}
	}
	p.bookings = m.book(p)
	post(p.bookings, 1)
	for i, o := range p.offers {
		o.gave += p.Sides[i].Units
		o.got += p.Sides[1-i].Units
		o.fill(p.offers[1-i].client, p.Sides[1-i].Units)
		o.live++
		m.relist(o)
	}
	m.proposals[p.ID] = p
	m.timers.add(timer{at: p.deadline(), pos: uint64(p.ID), proposal: p})
	for _, q := range p.members {
		q.client.mail.add(at, Delivery{Proposal: p.Proposal})
		q.client.owes += p.owes()
	}
	return nil
}

// advance brings p to another stage, with what depends on it: notices that it owes, and its next moment.
func (m *Market) advance(p *proposal, to stage) {
	before := p.owes()
	p.stage = to
	for _, q := range p.members {
		q.client.owes += p.owes() - before
	}
	m.timers.add(timer{at: p.deadline(), pos: uint64(p.ID), proposal: p})
}

func (m *Market) applyAccepted(at int64, f *Accepted) error {
	p, err := m.proposal(f.Proposal)
	if err != nil {
		return err
	}
	if p.stage != proposed || int(f.Role) >= len(p.Parties) || p.acceptances[f.Role] != nil || len(f.Acceptance) == 0 {
		return fmt.Errorf("proposal %v takes no such acceptance", p.ID)
	}
	p.acceptances[f.Role] = f.Acceptance
	for _, a := range p.acceptances {
		if a == nil {
			return nil
		}
	}
	p.ask = p.LockBy + 1
	m.advance(p, accepted)
	for _, q := range p.members {
		q.client.mail.add(at, Delivery{Accepted: &AcceptedNotice{p.ID, p.acceptances}})
	}
	return nil
}

func (m *Market) applyAsked(f *Asked) error {
	p, err := m.proposal(f.Proposal)
	if err != nil {
		return err
	}
	if !p.asks() || f.Again <= p.ask {
		return fmt.Errorf("proposal %v is not waiting for the escrow until then", p.ID)
	}
	p.ask = f.Again
	m.advance(p, p.stage)
	return nil
}

// applyLocked notes an instance: from now on everyone to whom a chunk may be given may have held a share of it.
func (m *Market) applyLocked(f *WasLocked) error {
	p, err := m.proposal(f.Proposal)
	if err != nil {
		return err
	}
	if p.stage != proposed && p.stage != accepted || f.Instance == (wire.InstanceID{}) {
		return fmt.Errorf("proposal %v cannot be locked", p.ID)
	}
	p.instance, p.entry = f.Instance, f.Entry
	for i, list := range p.stakes {
		for _, c := range list {
			line := append(slices.Clone(c.line), p.members[p.Sides[i].Role].number())
			for _, role := range p.Sides[i].Takers {
				line = append(line, p.members[role].number())
			}
			c.line = m.tidy(line)
		}
	}
	m.advance(p, locked)
	return nil
}

func (m *Market) applyStrayed(f *Strayed) error {
	p, err := m.proposal(f.Proposal)
	if err != nil {
		return err
	}
	for _, s := range p.Sides {
		for _, x := range s.Chunks {
			if c := m.chunks[x.Chunk]; c != nil && (c.place == available || c.place == pledged) && c.epoch == x.Epoch {
				m.move(c, kept)
			}
		}
	}
	if len(p.rests) > 0 {
		p.rests = nil
		m.advance(p, p.stage)
	}
	return nil
}

func (m *Market) applyEnded(at int64, f *Ended) error {
	p, err := m.proposal(f.Proposal)
	if err != nil {
		return err
	}
	n := len(p.stakes[0]) + len(p.stakes[1])
	switch {
	case p.stage == ended:
		return fmt.Errorf("proposal %v has ended", p.ID)
	case f.Pause != 0 && (f.Pause < firstPause || f.Pause > longestPause):
		return fmt.Errorf("a pause of %d s, want none or %d to %d", f.Pause, firstPause, longestPause)
	case f.Outcome < Done || f.Outcome > Lapsed || f.Why < ContractClosed || f.Why > StepFailed:
		return fmt.Errorf("outcome %d, reason %d", f.Outcome, f.Why)
	case len(f.Gives) > 0 != (p.stage == locked) || len(f.Gives) > 0 && len(f.Gives) != n || f.Outcome == Done && len(f.Gives) == 0:
		return fmt.Errorf("%d gives for %d chunks", len(f.Gives), n)
	}
	if err := p.checkRests(f); err != nil {
		return err
	}
	for _, list := range [2][]uint8{f.Fault, f.Accused} {
		for _, role := range list {
			if int(role) >= len(p.members) {
				return fmt.Errorf("party %d", role)
			}
		}
	}
	for i, c := range slices.Concat(p.stakes[0], p.stakes[1]) {
		if len(f.Gives) > 0 && (f.Gives[i].Chunk != c.id || !p.mayHave(c.owner.id, f.Gives[i].To) || f.Gives[i].Epoch <= c.epoch) {
			return fmt.Errorf("give %d", i)
		}
	}
	post(p.bookings, -1)
	p.rests = f.Rests
	for i, c := range slices.Concat(p.stakes[0], p.stakes[1]) {
		c.proposal = nil
		switch {
		case len(f.Gives) > 0:
			m.receive(c, m.clients[f.Gives[i].To], f.Gives[i].Epoch)
		case slices.ContainsFunc(p.rests, func(r Rest) bool { return p.Parties[r.Role] == c.owner.id }):
			m.move(c, pledged)
			c.proposal = p
		default:
			m.restore(c)
		}
		post(m.holding(c, nil), 1)
	}
	for i, o := range p.offers {
		if other := p.offers[1-i].client; f.Pause > 0 {
			o.client.pause(other, at, f.Pause)
		} else if f.Why == ContractClosed {
			o.client.resume(other)
		}
		o.live--
		if f.Outcome != Done {
			o.gave -= p.Sides[i].Units
			o.got -= p.Sides[1-i].Units
			o.unfill(p.offers[1-i].client, p.Sides[1-i].Units)
		}
		if f.Avoid {
			o.refuse(p.offers[1-i])
		}
		m.relist(o)
		m.timers.add(timer{at: o.deadline(), pos: o.pos, offer: o})
	}
	m.judge(at, p, f)
	p.outcome, p.why, p.forget = f.Outcome, f.Why, f.Forget
	if len(p.rests) > 0 {
		p.ask = p.lockable() + 1
	}
	m.advance(p, ended)
	for _, q := range p.members {
		q.client.mail.add(at, Delivery{Ended: &EndedNotice{p.ID, f.Outcome, f.Why, f.Fault}})
	}
	p.offers, p.stakes, p.bookings = [2]*offer{}, [2][]*chunk{}, nil
	return nil
}

// checkRests checks which sides are said to rest when p ends.
func (p *proposal) checkRests(f *Ended) error {
	for i, r := range f.Rests {
		side := slices.IndexFunc(p.Sides[:], func(s Side) bool { return s.Role == r.Role })
		if side < 0 || len(f.Gives) > 0 || r.Until < 1 || r.Until > maxTime || i > 0 && (f.Rests[0].Role == r.Role || f.Rests[0].Until > r.Until) || i > 1 {
			return fmt.Errorf("rest %d: party %d until %d", i, r.Role, r.Until)
		}
	}
	return nil
}

// applyFreed puts the chunks of the side back that rested for the shortest time.
func (m *Market) applyFreed(f *Freed) error {
	p, err := m.proposal(f.Proposal)
	if err != nil {
		return err
	}
	if p.stage != ended || len(p.rests) == 0 || p.rests[0].Role != f.Role {
		return fmt.Errorf("proposal %v: nothing of party %d rests first", p.ID, f.Role)
	}
	p.rests = slices.Clone(p.rests[1:])
	if len(p.rests) > 0 {
		p.ask = max(p.ask, p.lockable()+1)
	}
	for _, s := range p.Sides {
		for _, x := range s.Chunks {
			if c := m.chunks[x.Chunk]; s.Role == f.Role && c != nil && c.place == pledged && c.proposal == p {
				m.restore(c)
			}
		}
	}
	m.advance(p, ended)
	return nil
}

// restore puts a reserved or pledged chunk back where it was.
func (m *Market) restore(c *chunk) {
	if c.cert.retired {
		m.move(c, kept)
		return
	}
	m.move(c, available)
}

// receive gives a reserved chunk to a party at a new epoch. Its depositor has it on the market again; anybody else
// keeps it, until a deposit brings it back.
func (m *Market) receive(c *chunk, to *client, epoch uint32) {
	c.epoch = epoch
	if to == c.owner {
		m.restore(c)
		return
	}
	c.owner.chunks--
	to.chunks++
	c.owner = to
	m.move(c, kept)
}

// judge notes in the parties' reputation how a proposal ended.
func (m *Market) judge(at int64, p *proposal, f *Ended) {
	if f.Why == ContractClosed {
		for _, q := range p.members {
			q.client.rep.Successes++
		}
		for i := range p.Sides {
			rep := &p.offers[i].client.rep
			rep.Volume = min(rep.Volume+p.Sides[i].Worth(), maxMicros)
		}
	}
	for _, role := range f.Fault {
		rep := &p.members[role].client.rep
		rep.Failures++
		rep.LastFailure = at
	}
	for _, role := range f.Accused {
		p.members[role].client.rep.Complaints++
	}
}

func (m *Market) applyForgotten(f *Forgotten) error {
	p, err := m.proposal(f.Proposal)
	if err != nil {
		return err
	}
	if p.stage != ended || len(p.rests) > 0 {
		return fmt.Errorf("proposal %v has not ended, or chunks of it rest", p.ID)
	}
	delete(m.proposals, p.ID)
	p.forget = 0
	return nil
}
