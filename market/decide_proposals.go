package market

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"latchkey/wire"
)

func (m *Market) proposal(id ProposalID) (*proposal, error) {
	if p := m.proposals[id]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("proposal %v: %w", id, ErrNotFound)
}

// party returns a proposal and the role that a client has in it.
func (m *Market) party(id ProposalID, client wire.VaultID) (*proposal, int, error) {
	p, err := m.proposal(id)
	if err != nil {
		return nil, 0, err
	}
	role := p.role(client)
	if role < 0 {
		return nil, 0, fmt.Errorf("proposal %v: %w: client %s is no party of it", id, ErrState, client.Short())
	}
	return p, role, nil
}

func (m *Market) decideAccept(now int64, in Accept) ([]Fact, error) {
	p, role, err := m.party(in.Proposal, in.Client)
	if err != nil {
		return nil, err
	}
	if n := len(in.Acceptance); n < 1 || n > maxOpaque {
		return nil, fmt.Errorf("%w: acceptance of %d bytes, want 1 to %d", ErrInvalid, n, maxOpaque)
	}
	if old := p.acceptances[role]; old != nil {
		if !bytes.Equal(old, in.Acceptance) {
			return nil, fmt.Errorf("proposal %v: another acceptance %w with the one before", p.ID, ErrConflict)
		}
		return nil, nil
	}
	if err := p.unended(); err != nil {
		return nil, err
	}
	if p.stage != proposed || now > p.AcceptBy {
		return nil, fmt.Errorf("proposal %v: %w: it was to be accepted by %s, now is %s", p.ID, ErrState, wire.UTC(p.AcceptBy), wire.UTC(now))
	}
	return []Fact{&Accepted{p.ID, uint8(role), bytes.Clone(in.Acceptance)}}, nil
}

func (m *Market) decideDecline(now int64, in Decline) ([]Fact, error) {
	p, role, err := m.party(in.Proposal, in.Client)
	if err != nil {
		return nil, err
	}
	if in.Why < 1 || in.Why > maxDecline {
		return nil, fmt.Errorf("%w: reason %d", ErrInvalid, in.Why)
	}
	if p.stage == ended {
		return nil, nil // declined before, or over anyway
	}
	if p.acceptances[role] != nil || p.stage != proposed {
		return nil, fmt.Errorf("proposal %v: %w: it was accepted, and an acceptance stands until %s", p.ID, ErrState, wire.UTC(p.LockBy))
	}
	if in.Until != 0 != (in.Why == Pledged) || in.Until < 0 || in.Until > maxTime {
		return nil, fmt.Errorf("%w: reason %d, until %d", ErrInvalid, in.Why, in.Until)
	}
	e := ending{outcome: Aborted, why: Declined}
	switch in.Why {
	case Undesired:
		e.fault = []uint8{uint8(role)}
	case Pledged:
		e.rest = Rest{uint8(role), max(p.LockBy, min(in.Until, now+longestPause))}
	case Unable:
		e.rest = Rest{uint8(role), p.LockBy}
	default:
		for _, s := range p.Sides {
			if int(s.Role) != role {
				e.accused = append(e.accused, s.Role)
			}
		}
	}
	return m.end(now, p, e), nil
}

func checkReceipt(b []byte) error {
	if len(b) > maxOpaque {
		return fmt.Errorf("%w: receipt of %d bytes, at most %d", ErrInvalid, len(b), maxOpaque)
	}
	return nil
}

func (m *Market) decideLocked(in Locked) ([]Fact, error) {
	p, err := m.proposal(in.Proposal)
	if err != nil {
		return nil, err
	}
	if err := checkReceipt(in.Receipt); err != nil {
		return nil, err
	}
	if in.Instance == (wire.InstanceID{}) {
		return nil, fmt.Errorf("%w: no instance", ErrInvalid)
	}
	switch {
	case p.instance != wire.InstanceID{} && p.instance != in.Instance:
		return nil, fmt.Errorf("proposal %v: instance %s %w with instance %s", p.ID, in.Instance.Short(), ErrConflict, p.instance.Short())
	case p.instance == in.Instance:
		return nil, nil
	case p.stage == ended:
		return m.stray(p), nil
	}
	in.Receipt = bytes.Clone(in.Receipt)
	return []Fact{(*WasLocked)(&in)}, nil
}

// stray takes the chunks of an ended proposal off the market when it became an instance all the same: its parties must
// have gone past the market. They come back by a deposit with their new epochs and lineage.
func (m *Market) stray(p *proposal) []Fact {
	for _, s := range p.Sides {
		for _, x := range s.Chunks {
			if c := m.chunks[x.Chunk]; c != nil && (c.place == available || c.place == pledged) && c.epoch == x.Epoch {
				return []Fact{&Strayed{p.ID}}
			}
		}
	}
	return nil
}

func (m *Market) decideNotLocked(now int64, in NotLocked) ([]Fact, error) {
	p, err := m.proposal(in.Proposal)
	if err != nil {
		return nil, err
	}
	switch {
	case p.instance != wire.InstanceID{}:
		return nil, fmt.Errorf("proposal %v %w: it is instance %s", p.ID, ErrConflict, p.instance.Short())
	case p.stage == ended && len(p.rests) == 0:
		return nil, nil
	case now <= p.lockable():
		return nil, fmt.Errorf("proposal %v: %w: it can be locked until %s, now is %s", p.ID, ErrState, wire.UTC(p.lockable()), wire.UTC(now))
	case p.stage == ended:
		var facts []Fact
		for _, r := range p.rests {
			if r.Until == p.lockable() {
				facts = append(facts, &Freed{p.ID, r.Role})
			}
		}
		return facts, nil
	}
	return m.end(now, p, ending{outcome: Aborted, why: NeverLocked}), nil
}

func (m *Market) decideSettled(now int64, in Settled) ([]Fact, error) {
	p, err := m.proposal(in.Proposal)
	if err != nil {
		return nil, err
	}
	if err := checkReceipt(in.Receipt); err != nil {
		return nil, err
	}
	e := ending{outcome: Done, why: ContractClosed}
	if in.Aborted {
		e.outcome, e.why = Aborted, InstanceBroken
	}
	if in.Reporter != (wire.VaultID{}) {
		e.why = StepFailed
	}
	switch {
	case e.why == StepFailed && (in.Aborted || p.Settle != TitForTat || p.role(in.Reporter) < 0):
		return nil, fmt.Errorf("proposal %v: %w: client %s reports a failed step", p.ID, ErrInvalid, in.Reporter.Short())
	case in.Instance == wire.InstanceID{}:
		return nil, fmt.Errorf("%w: no instance", ErrInvalid)
	case p.stage == ended && p.instance == wire.InstanceID{}:
		return m.stray(p), nil
	case p.instance != wire.InstanceID{} && p.instance != in.Instance:
		return nil, fmt.Errorf("proposal %v: instance %s %w with instance %s", p.ID, in.Instance.Short(), ErrConflict, p.instance.Short())
	case p.stage == ended && p.outcome != e.outcome:
		return nil, fmt.Errorf("proposal %v: %v %w with %v", p.ID, e.outcome, ErrConflict, p.outcome)
	case p.stage == ended:
		return nil, nil
	}
	if e.gives, err = p.checkGives(in); err != nil {
		return nil, fmt.Errorf("proposal %v: %w", p.ID, err)
	}
	for _, id := range in.Fault {
		role := p.role(id)
		if role < 0 || !in.Aborted {
			return nil, fmt.Errorf("proposal %v: %w: fault of client %s", p.ID, ErrInvalid, id.Short())
		}
		if !slices.Contains(e.fault, uint8(role)) {
			e.fault = append(e.fault, uint8(role))
		}
	}
	slices.Sort(e.fault)
	for _, s := range p.Sides {
		if e.why == StepFailed && s.Client != in.Reporter {
			e.accused = append(e.accused, s.Role)
		}
	}
	var facts []Fact
	if p.stage != locked {
		facts = []Fact{&WasLocked{Proposal: p.ID, Instance: in.Instance, Entry: in.Entry, Receipt: bytes.Clone(in.Receipt)}}
	}
	return append(facts, m.end(now, p, e)...), nil
}

// checkGives checks that every chunk of p went to one party, once, as it can under the contract, and returns the gives
// in the order of p's chunks.
func (p *proposal) checkGives(in Settled) ([]Give, error) {
	given := map[wire.ChunkID]Give{}
	for _, g := range in.Gives {
		if _, twice := given[g.Chunk]; twice {
			return nil, fmt.Errorf("%w: chunk %s is given twice", ErrInvalid, g.Chunk.Short())
		}
		given[g.Chunk] = g
	}
	var gives []Give
	for i, s := range p.Sides {
		for _, x := range s.Chunks {
			g, ok := given[x.Chunk]
			switch {
			case !ok:
				return nil, fmt.Errorf("%w: chunk %s is given to nobody", ErrInvalid, x.Chunk.Short())
			case !p.mayHave(s.Client, g.To):
				return nil, fmt.Errorf("%w: chunk %s is given to client %s, which the contract cannot do", ErrInvalid, x.Chunk.Short(), g.To.Short())
			case g.Epoch <= x.Epoch:
				return nil, fmt.Errorf("%w: chunk %s left the instance at epoch %d, it came in at %d", ErrInvalid, x.Chunk.Short(), g.Epoch, x.Epoch)
			case in.Aborted && g.To != s.Client:
				return nil, fmt.Errorf("%w: chunk %s did not go back, and the instance was aborted", ErrInvalid, x.Chunk.Short())
			case !in.Aborted && p.Exchange && g.To != p.Sides[1-i].Client:
				return nil, fmt.Errorf("%w: chunk %s did not go to the other side of the exchange", ErrInvalid, x.Chunk.Short())
			}
			gives = append(gives, g)
		}
	}
	if len(gives) != len(given) {
		return nil, fmt.Errorf("%w: %d gives for %d chunks", ErrInvalid, len(given), len(gives))
	}
	return gives, nil
}

// ending is how a proposal ends.
type ending struct {
	outcome        Outcome
	why            EndReason
	fault, accused []uint8
	gives          []Give
	rest           Rest // of a side whose party speaks of itself: it is pledged elsewhere, or cannot check
}

// end returns the facts that end p: its end, and the end of offers that are thereby filled or whose client failed.
// What an outage touched counts against nobody, and the two offers may meet again; after a decline not at once, or
// nothing would bound how often. Chunks of a party that had accepted rest until it is sure that no lock comes of that.
func (m *Market) end(now int64, p *proposal, e ending) []Fact {
	excused := m.outage || m.outageTo >= p.Made
	if excused {
		e.fault, e.accused = nil, nil
	}
	facts := []Fact{&Ended{
		Proposal: p.ID, Outcome: e.outcome, Why: e.why, Fault: e.fault, Accused: e.accused, Gives: e.gives,
		Avoid: (e.outcome != Done || e.why == StepFailed) && !excused && e.rest.Until == 0, Forget: max(now, p.LockBy) + m.policy.KeepEnded,
	}}
	complaint := len(e.accused) == 1 // of one side about the other, not of a third party
	if e.why == Declined && (complaint || excused || e.rest.Until > 0) {
		facts[0].(*Ended).Pause = nextPause(p.offers[0].client, p.offers[1].client, complaint)
	}
	if p.stage != locked && e.why != NeverLocked && len(e.gives) == 0 {
		facts[0].(*Ended).Rests = p.resting(e.rest)
	}
	for i, o := range p.offers {
		if o.closed != 0 {
			continue
		}
		s := &p.Sides[i]
		got := o.got
		if e.outcome != Done {
			got -= p.Sides[1-i].Units
		}
		failed := slices.Contains(e.fault, s.Role)
		switch {
		case failed && e.why == NotAccepted:
			facts = append(facts, &Closed{s.Client, s.Offer, Silent})
		case failed && e.why == Declined:
			facts = append(facts, &Closed{s.Client, s.Offer, Refused})
		case got >= o.Want.Units && o.live == 1:
			facts = append(facts, &Closed{s.Client, s.Offer, Filled})
		}
	}
	return facts
}

// resting returns which sides of p are pledged if it ends now, the soonest to be free first.
func (p *proposal) resting(own Rest) (list []Rest) {
	for _, s := range p.Sides {
		switch {
		case p.acceptances[s.Role] != nil:
			list = append(list, Rest{s.Role, p.LockBy})
		case own.Until > 0 && own.Role == s.Role:
			list = append(list, own)
		}
	}
	slices.SortStableFunc(list, func(a, b Rest) int { return cmp.Compare(a.Until, b.Until) })
	return list
}

// decideTick returns what is due: any number of expiries, and at most one end of a proposal, as the next one depends on
// it.
func (m *Market) decideTick(now int64) []Fact {
	var facts []Fact
	for _, t := range m.timers.due(now) {
		if len(facts) == maxDue {
			break
		}
		switch {
		case t.cert != nil:
			facts = append(facts, &Retired{t.cert.id})
		case t.offer != nil && t.offer.closed != 0:
			facts = append(facts, &Dropped{t.offer.client.id, t.offer.ID})
		case t.offer != nil:
			facts = append(facts, &Closed{t.offer.client.id, t.offer.ID, Expired})
		case t.proposal.asks():
			facts = append(facts, &Asked{t.proposal.ID, now + m.policy.AskEvery})
		case t.proposal.stage == ended:
			facts = append(facts, &Forgotten{t.proposal.ID})
		default:
			if len(facts) == 0 {
				var fault []uint8
				for role, a := range t.proposal.acceptances {
					if a == nil {
						fault = append(fault, uint8(role))
					}
				}
				return m.end(now, t.proposal, ending{outcome: Lapsed, why: NotAccepted, fault: fault})
			}
			return facts
		}
	}
	return facts
}
