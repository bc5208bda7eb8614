package market

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"latchkey/coin"
	"latchkey/contract"
	"latchkey/wire"
)

// Decide returns the events that follow from an input at a time, in order, without changing anything. An input that
// changes nothing, such as one that was seen before, has no events. A time before that of the newest event counts as
// that time: the market's clock never runs backwards.
func (m *Market) Decide(now int64, in Input) ([]Event, error) {
	if in == nil {
		return nil, fmt.Errorf("%w: no input", ErrInvalid)
	}
	if now < 1 || now > maxTime {
		return nil, fmt.Errorf("%s: %w: time %d", in.doing(), ErrInvalid, now)
	}
	now = max(now, m.now)
	facts, err := m.decide(now, in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in.doing(), err)
	}
	events := make([]Event, len(facts))
	for i, f := range facts {
		events[i] = Event{now, f}
	}
	return events, nil
}

func (m *Market) decide(now int64, in Input) ([]Fact, error) {
	switch in := in.(type) {
	case Enrol:
		return m.decideEnrol(in)
	case Bond:
		return m.decideBond(in)
	case Denominate:
		return m.decideDenominate(in)
	case Rate:
		return m.decideRate(now, in)
	case RateLost:
		return m.decideRateLost(in)
	case Outage:
		if in.On == m.outage {
			return nil, nil
		}
		return []Fact{(*OutageSet)(&in)}, nil
	case Publish:
		return m.decidePublish(in)
	case Deposit:
		return m.decideDeposit(now, in)
	case Withdraw:
		return m.decideWithdraw(in)
	case Claimed:
		return m.decideClaimed(now, in)
	case Place:
		return m.decidePlace(now, in)
	case Cancel:
		return m.decideCancel(in)
	case Match:
		return m.decideMatch(now, in)
	case Accept:
		return m.decideAccept(now, in)
	case Decline:
		return m.decideDecline(now, in)
	case Locked:
		return m.decideLocked(in)
	case NotLocked:
		return m.decideNotLocked(now, in)
	case Settled:
		return m.decideSettled(now, in)
	case Ack:
		return m.decideAck(in)
	case Tick:
		return m.decideTick(now), nil
	}
	return nil, fmt.Errorf("%w: unknown input %T", ErrInvalid, in)
}

func (m *Market) client(id wire.VaultID) (*client, error) {
	if c := m.clients[id]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("client %s: %w: it has to enrol first", id.Short(), ErrNotFound)
}

func (m *Market) decideEnrol(in Enrol) ([]Fact, error) {
	switch {
	case in.Client == wire.VaultID{}:
		return nil, fmt.Errorf("%w: no client", ErrInvalid)
	case len(in.Reach) > maxReach:
		return nil, fmt.Errorf("%w: reach information of %d bytes, at most %d", ErrInvalid, len(in.Reach), maxReach)
	case in.Device.Kind < DeviceUnique || in.Device.Kind > DeviceNone:
		return nil, fmt.Errorf("%w: device kind %d", ErrInvalid, in.Device.Kind)
	case (in.Device.Kind == DeviceNone) != (len(in.Device.ID) == 0) || len(in.Device.ID) > 64:
		return nil, fmt.Errorf("%w: device identity of %d bytes for kind %d", ErrInvalid, len(in.Device.ID), in.Device.Kind)
	case in.Vendor == wire.Hash{}:
		return nil, fmt.Errorf("%w: no TEE vendor", ErrInvalid)
	case in.TCB == "" || len(in.TCB) > maxText:
		return nil, fmt.Errorf("%w: TCB level of %d bytes, want 1 to %d", ErrInvalid, len(in.TCB), maxText)
	case in.Exempt && in.Device.Kind != DeviceUnique:
		return nil, fmt.Errorf("%w: only a device with an identity of its own can be exempt from limits", ErrInvalid)
	}
	in.Reach, in.Device.ID = bytes.Clone(in.Reach), bytes.Clone(in.Device.ID)
	c := m.clients[in.Client]
	if c == nil {
		return []Fact{(*Enrolled)(&in)}, nil
	}
	p := c.profile
	if bytes.Equal(c.reach, in.Reach) && c.exempt == in.Exempt && p.vendor == in.Vendor && p.tcb == in.TCB &&
		p.device.Kind == in.Device.Kind && bytes.Equal(p.device.ID, in.Device.ID) {
		return nil, nil
	}
	moved := p.domains[1].Domain != deviceDomain(in.Vendor, in.Device)
	if client := p.domains[0]; c.exempt && !in.Exempt && client.at > m.policy.Limits.Client+client.bond {
		return nil, fmt.Errorf("limits apply again: %w: %v is at stake in %v, at most %v",
			ErrLimit, client.at, client.Domain, m.policy.Limits.Client+client.bond)
	}
	if dev := p.domains[1]; (moved || c.exempt && !in.Exempt) && (dev.exempt == 0 || dev.exempt == 1 && c.exempt) {
		limit := m.policy.Limits.Device + dev.bond
		if moved {
			limit -= c.bond
		}
		if dev.at > limit {
			return nil, fmt.Errorf("leave the device: %w: %v is at stake in %v, at most %v", ErrLimit, dev.at, dev.Domain, limit)
		}
	}
	return []Fact{(*Enrolled)(&in)}, nil
}

func (m *Market) decideBond(in Bond) ([]Fact, error) {
	c, err := m.client(in.Client)
	if err != nil {
		return nil, err
	}
	if in.Amount < 0 || in.Amount > maxMicros/1024 {
		return nil, fmt.Errorf("%w: bond of %v", ErrInvalid, in.Amount)
	}
	if in.Amount == c.bond {
		return nil, nil
	}
	for _, d := range c.profile.domains[:2] {
		if limit := m.limit(d); d.exempt == 0 && d.at > limit-c.bond+in.Amount {
			return nil, fmt.Errorf("bond of %v: %w: %v is at stake in %v, at most %v with it",
				in.Amount, ErrLimit, d.at, d.Domain, limit-c.bond+in.Amount)
		}
	}
	return []Fact{(*Bonded)(&in)}, nil
}

func (m *Market) decideDenominate(in Denominate) ([]Fact, error) {
	if err := in.Denomination.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if d := m.denoms[in.Denomination.ID]; d != nil {
		if d.Denomination != in.Denomination {
			return nil, fmt.Errorf("denomination %s %w with the one of that name: it never changes", in.Denomination.ID, ErrConflict)
		}
		return nil, nil
	}
	for _, d := range m.denoms {
		if d.Asset.ID == in.Denomination.Asset.ID && d.Asset != in.Denomination.Asset {
			return nil, fmt.Errorf("asset %s %w with the asset of that name", d.Asset.ID, ErrConflict)
		}
	}
	return []Fact{(*Denominated)(&in)}, nil
}

func (m *Market) asset(id coin.AssetID) error {
	for _, d := range m.denoms {
		if d.Asset.ID == id {
			return nil
		}
	}
	return fmt.Errorf("asset %q: %w: no denomination of it", id, ErrNotFound)
}

func (m *Market) decideRate(now int64, in Rate) ([]Fact, error) {
	if err := m.asset(in.Asset); err != nil {
		return nil, err
	}
	switch r := m.rates[in.Asset]; {
	case in.PerCoin == 0 || in.PerCoin > math.MaxInt64:
		return nil, fmt.Errorf("%w: %d µUSD for a coin of %s", ErrInvalid, in.PerCoin, in.Asset)
	case in.Observed < 1 || in.Observed > now+rateLead:
		return nil, fmt.Errorf("%w: rate of %s observed at %s, now is %s", ErrInvalid, in.Asset, wire.UTC(in.Observed), wire.UTC(now))
	case now-in.Observed > m.policy.RateMaxAge:
		return nil, fmt.Errorf("%w: rate of %s is %d s old, at most %d", ErrState, in.Asset, now-in.Observed, m.policy.RateMaxAge)
	case r != nil && in.Observed < r.observed:
		return nil, fmt.Errorf("%w: rate of %s observed at %d, there is one of %d", ErrState, in.Asset, in.Observed, r.observed)
	case r != nil && r.lost == "" && in.Observed == r.observed && in.PerCoin == r.perCoin:
		return nil, nil
	}
	return []Fact{(*Rated)(&in)}, nil
}

func (m *Market) decideRateLost(in RateLost) ([]Fact, error) {
	if err := m.asset(in.Asset); err != nil {
		return nil, err
	}
	if in.Why == "" || len(in.Why) > maxText {
		return nil, fmt.Errorf("%w: a reason of %d bytes, want 1 to %d", ErrInvalid, len(in.Why), maxText)
	}
	if r := m.rates[in.Asset]; r != nil && r.lost == in.Why {
		return nil, nil
	}
	return []Fact{(*Unrated)(&in)}, nil
}

func (m *Market) decidePublish(in Publish) ([]Fact, error) {
	if len(in.Source) > maxSource {
		return nil, fmt.Errorf("%w: contract of %d bytes, at most %d", ErrInvalid, len(in.Source), maxSource)
	}
	prog, err := contract.Compile(in.Source)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if n := len(prog.Parties()); n < 2 || n > partiesSource {
		return nil, fmt.Errorf("%w: contract %s has %d parties, want 2 to %d", ErrInvalid, prog.Name(), n, partiesSource)
	}
	if m.contracts[wire.Hash(prog.Hash())] != nil {
		return nil, nil
	}
	p := &Published{Source: bytes.Clone(in.Source)}
	if len(m.contracts) >= m.policy.MaxContracts {
		var oldest *form
		for _, f := range m.contracts {
			if f.refs == 0 && (oldest == nil || f.pos < oldest.pos) {
				oldest = f
			}
		}
		if oldest == nil {
			return nil, fmt.Errorf("%w: %d contracts in use, at most %d", ErrLimit, len(m.contracts), m.policy.MaxContracts)
		}
		p.Evict = []wire.Hash{oldest.hash}
	}
	return []Fact{p}, nil
}

func (m *Market) offer(client wire.VaultID, id OfferID) (*offer, error) {
	c, err := m.client(client)
	if err != nil {
		return nil, err
	}
	if o := c.offers[id]; o != nil {
		return o, nil
	}
	return nil, fmt.Errorf("offer %s of client %s: %w", id, client.Short(), ErrNotFound)
}

func (m *Market) decidePlace(now int64, in Place) ([]Fact, error) {
	c, err := m.client(in.Client)
	if err != nil {
		return nil, err
	}
	o := in.Offer
	if err := o.check(); err != nil {
		return nil, err
	}
	o.Parties, o.Terms = slices.Clone(o.Parties), slices.Clone(o.Terms)
	if o.Share == 0 {
		o.Share = m.policy.Share
	}
	refuse := func(kind error, format string, args ...any) ([]Fact, error) {
		return nil, fmt.Errorf("offer %s: %w: %s", o.ID, kind, fmt.Sprintf(format, args...))
	}
	if old := c.offers[o.ID]; old != nil {
		if !old.Offer.equal(&o) {
			return nil, fmt.Errorf("offer %s %w with another offer of that id", o.ID, ErrConflict)
		}
		return nil, nil
	}
	switch {
	case o.Until <= now:
		return refuse(ErrState, "good till %s, now is %s", wire.UTC(o.Until), wire.UTC(now))
	case o.Until-now > m.policy.MaxTill:
		return refuse(ErrLimit, "good for %d s, at most %d", o.Until-now, m.policy.MaxTill)
	case o.Premium > m.policy.MaxPremium || o.Premium < -m.policy.MaxPremium:
		return refuse(ErrLimit, "premium of %d basis points, at most %d either way", o.Premium, m.policy.MaxPremium)
	case uint64(o.MinFill) > (uint64(o.Want.Units)*uint64(o.Share)+wholeBps-1)/wholeBps && !o.Sole:
		return refuse(ErrInvalid, "smallest fill of %d units, but one counterparty may fill %d basis points of %d", o.MinFill, o.Share, o.Want.Units)
	case c.open >= m.policy.MaxOffers:
		return refuse(ErrLimit, "%d open offers, at most %d", c.open, m.policy.MaxOffers)
	case len(c.offers)-c.open >= m.policy.MaxClosed:
		return refuse(ErrLimit, "%d closed offers whose good-till has not passed, at most %d", len(c.offers)-c.open, m.policy.MaxClosed)
	case m.mailRoom(c) < 1:
		return refuse(ErrLimit, "%d notices wait to be acknowledged, and more are due; at most %d", len(c.mail.queue), m.policy.MaxQueue)
	}
	for _, q := range []Quantity{o.Give, o.Want} {
		if m.denoms[q.Denomination] == nil {
			return refuse(ErrNotFound, "denomination %q", q.Denomination)
		}
	}
	for i, id := range o.Parties {
		if id != (wire.VaultID{}) && m.clients[id] == nil {
			return refuse(ErrNotFound, "party %d, client %s, is not enrolled", i, id.Short())
		}
		if id == c.id {
			return refuse(ErrInvalid, "party %d is the client itself", i)
		}
	}
	f := m.contracts[o.Contract]
	if f == nil {
		return refuse(ErrNotFound, "contract %s has to be published first", o.Contract)
	}
	if o.Settle == TitForTat && !f.atOnce {
		return refuse(ErrInvalid, "contract %s goes on after it opens: tit-for-tat is for exchanges", f.prog.Name())
	}
	if _, err := f.suits(&o); err != nil {
		return refuse(ErrInvalid, "contract %s: %s", f.prog.Name(), err)
	}
	return []Fact{&Placed{in.Client, o}}, nil
}

// suits returns the contract bound with an offer's terms and the least sizes, nil where a requirement stands against
// these, or reports why an offer cannot be of contract f.
func (f *form) suits(o *Offer) (*contract.Deal, error) {
	parties := f.prog.Parties()
	if len(o.Parties) != len(parties) {
		return nil, fmt.Errorf("%d parties, it has %d", len(o.Parties), len(parties))
	}
	if len(o.Terms) != len(f.terms) {
		return nil, fmt.Errorf("%d terms, it has %d", len(o.Terms), len(f.terms))
	}
	probe := slices.Clone(o.Terms)
	for i, t := range f.terms {
		size := i == int(o.GiveTerm) || i == int(o.WantTerm)
		switch {
		case size && t.Type != contract.Units:
			return nil, fmt.Errorf("term %s is a %v and says no size", t.Name, t.Type)
		case size && (t.Hi < 1 || t.Lo > int64(MaxSlice)):
			return nil, fmt.Errorf("term %s ranges from %d to %d units, a slice has 1 to %d", t.Name, t.Lo, t.Hi, MaxSlice)
		case size:
			probe[i] = max(t.Lo, 1)
		case probe[i] < t.Lo || probe[i] > t.Hi:
			return nil, fmt.Errorf("term %s is %d, outside %d..%d", t.Name, probe[i], t.Lo, t.Hi)
		}
	}
	deal, err := f.prog.Bind(probe)
	if err != nil {
		return nil, nil // a requirement that other sizes may meet
	}
	_, _, err = potsOf(f.pots, deal, int(o.Role), int(o.Counter))
	return deal, err
}

func (m *Market) decideCancel(in Cancel) ([]Fact, error) {
	o, err := m.offer(in.Client, in.Offer)
	if err != nil {
		return nil, err
	}
	if o.closed == Cancelled {
		return nil, nil
	}
	if o.closed != 0 {
		return nil, fmt.Errorf("offer %s: %w: %v", in.Offer, ErrState, o.closed)
	}
	return []Fact{&Closed{in.Client, in.Offer, Cancelled}}, nil
}

func (m *Market) decideAck(in Ack) ([]Fact, error) {
	c, err := m.client(in.Client)
	if err != nil {
		return nil, err
	}
	if in.Cursor > c.mail.last {
		return nil, fmt.Errorf("%w: notice %d, the newest is %d", ErrInvalid, in.Cursor, c.mail.last)
	}
	if in.Cursor <= c.mail.acked {
		return nil, nil
	}
	return []Fact{(*Acked)(&in)}, nil
}
