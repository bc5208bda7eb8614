package market

import (
	"fmt"
	"slices"

	"latchkey/wire"
)

// Apply folds one event into the state. It reads no policy, rate or clock: a log folds to the same state wherever and
// whenever it is replayed. An event that does not fit returns an error that wraps ErrEvent and changes nothing; the
// caller's log is not this market's, or is broken. The market keeps what the event points to, which is not to be
// changed any more.
func (m *Market) Apply(e Event) error {
	if e.At < m.now || e.At > maxTime {
		return fmt.Errorf("event %d: %w: time %d, the state is of %d", m.pos, ErrEvent, e.At, m.now)
	}
	if err := m.apply(e.At, e.Fact); err != nil {
		return fmt.Errorf("event %d, %s: %w: %w", m.pos, e.Name(), ErrEvent, err)
	}
	m.pos++
	m.now = e.At
	m.timers.clean()
	return nil
}

func (m *Market) apply(at int64, fact Fact) error {
	switch f := fact.(type) {
	case *Enrolled:
		return m.applyEnrolled(at, f)
	case *Bonded:
		return m.applyBonded(f)
	case *Denominated:
		return m.applyDenominated(f)
	case *Rated:
		if f.PerCoin == 0 {
			return fmt.Errorf("a rate of nothing")
		}
		m.rates[f.Asset] = &rate{perCoin: f.PerCoin, observed: f.Observed}
	case *Unrated:
		r := rate{}
		if old := m.rates[f.Asset]; old != nil {
			r = *old
		}
		r.lost, r.lostAt = f.Why, at
		m.rates[f.Asset] = &r
	case *OutageSet:
		if m.outage = f.On; f.On {
			m.outageAt = at
		} else {
			m.outageTo = at
		}
	case *Published:
		return m.applyPublished(f)
	case *Deposited:
		return m.applyDeposited(f)
	case *Withdrawn:
		return m.applyWithdrawn(f)
	case *Gone:
		return m.applyGone(f)
	case *Retired:
		return m.applyRetired(f)
	case *Placed:
		return m.applyPlaced(f)
	case *Closed:
		return m.applyClosed(at, f)
	case *Dropped:
		return m.applyDropped(f)
	case *Proposed:
		return m.applyProposed(at, f)
	case *Accepted:
		return m.applyAccepted(at, f)
	case *WasLocked:
		return m.applyLocked(f)
	case *Strayed:
		return m.applyStrayed(f)
	case *Asked:
		return m.applyAsked(f)
	case *Ended:
		return m.applyEnded(at, f)
	case *Forgotten:
		return m.applyForgotten(f)
	case *Freed:
		return m.applyFreed(f)
	case *Acked:
		c, err := m.client(f.Client)
		if err != nil {
			return err
		}
		if f.Cursor <= c.mail.acked || f.Cursor > c.mail.last {
			return fmt.Errorf("notice %d", f.Cursor)
		}
		c.mail.ack(f.Cursor)
	default:
		return fmt.Errorf("no such fact")
	}
	return nil
}

func (m *Market) applyEnrolled(at int64, f *Enrolled) error {
	if f.Device.Kind < DeviceUnique || f.Device.Kind > DeviceNone {
		return fmt.Errorf("device kind %d", f.Device.Kind)
	}
	c := m.clients[f.Client]
	if c == nil {
		c = &client{
			id: f.Client, pos: m.pos, rep: Reputation{Since: at},
			offers: map[OfferID]*offer{}, stocks: map[stockKey]*stock{},
		}
		m.clients[f.Client] = c
	}
	c.count(-1)
	c.reach, c.exempt = f.Reach, f.Exempt
	if p := m.profileOf(c, f.Device, f.Vendor, f.TCB); p != c.profile {
		m.become(c, p)
	}
	c.count(1)
	return nil
}

// become gives a client another present profile. What it has held as another is not plain any more.
func (m *Market) become(c *client, p *profile) {
	var stocked []*chunk
	for _, s := range c.stocks {
		for i := range weights {
			stocked = append(append(stocked, s.plain[i].all()...), s.other[i].all()...)
		}
	}
	for _, x := range stocked {
		m.move(x, kept)
	}
	c.profile = p
	for _, x := range stocked {
		m.move(x, available)
	}
}

// count adds the client's bond and exemption to its domains, or with sign −1 takes them off.
func (c *client) count(sign int) {
	if c.profile == nil {
		return
	}
	for _, d := range c.profile.domains[:2] {
		d.bond += Micros(sign) * c.bond
		if c.exempt {
			d.exempt += sign
		}
	}
}

func (m *Market) applyBonded(f *Bonded) error {
	c, err := m.client(f.Client)
	if err != nil {
		return err
	}
	if f.Amount < 0 || f.Amount > maxMicros {
		return fmt.Errorf("bond of %v", f.Amount)
	}
	c.count(-1)
	c.bond = f.Amount
	c.count(1)
	return nil
}

func (m *Market) applyDenominated(f *Denominated) error {
	if err := f.Denomination.Check(); err != nil {
		return err
	}
	if m.denoms[f.Denomination.ID] != nil {
		return fmt.Errorf("denomination %s %w", f.Denomination.ID, ErrConflict)
	}
	m.denoms[f.Denomination.ID] = &denom{f.Denomination, m.domainOf(Domain{OfAsset, string(f.Denomination.Asset.ID)}, true)}
	return nil
}

func (m *Market) applyPublished(f *Published) error {
	x, err := formOf(f.Source, m.pos)
	if err != nil {
		return err
	}
	if m.contracts[x.hash] != nil {
		return fmt.Errorf("contract %s %w", x.hash, ErrConflict)
	}
	for _, h := range f.Evict {
		if old := m.contracts[h]; old == nil || old.refs > 0 {
			return fmt.Errorf("contract %s is not there, or in use", h)
		}
	}
	for _, h := range f.Evict {
		delete(m.contracts, h)
	}
	m.contracts[x.hash] = x
	return nil
}

func (m *Market) applyDeposited(f *Deposited) error {
	in := &f.Deposit
	c, err := m.client(in.Client)
	if err != nil {
		return err
	}
	d := m.denoms[in.Denomination]
	r, ok := rung(in.Weight)
	if d == nil || !ok || f.Value < 0 || f.Value > maxUnitValue {
		return fmt.Errorf("denomination %q, weight %d, value %d", in.Denomination, in.Weight, f.Value)
	}
	k := m.certs[in.Cert]
	if k != nil && (k.denom != d || k.rung != r || k.escrow != in.Escrow || k.retired) {
		return fmt.Errorf("certificate %s %w", in.Cert.Short(), ErrConflict)
	}
	seen := map[wire.ChunkID]bool{}
	for _, x := range in.Chunks {
		old := m.chunks[x.Chunk]
		if seen[x.Chunk] || old != nil && (old.cert != k || old.place == reserved || old.place == gone) {
			return fmt.Errorf("chunk %s cannot be deposited", x.Chunk.Short())
		}
		seen[x.Chunk] = true
		for _, id := range x.Lineage {
			if _, err := m.client(id); err != nil {
				return err
			}
		}
	}
	if k == nil {
		k = &cert{id: in.Cert, pos: m.pos, escrow: in.Escrow, denom: d, rung: r, expiry: in.Expiry, retire: f.Retire}
		m.certs[in.Cert] = k
		m.timers.add(timer{at: k.retire, pos: m.pos, cert: k})
	}
	for _, x := range in.Chunks {
		old := m.chunks[x.Chunk]
		line := m.lineOf(old, c, x.Lineage)
		if old == nil {
			old = &chunk{id: x.Chunk, seq: m.chunkSeq, cert: k, rung: k.rung, owner: c, place: kept}
			m.chunkSeq++
			m.chunks[x.Chunk] = old
			k.chunks = append(k.chunks, old)
			c.chunks++
		}
		m.move(old, kept)
		post(m.holding(old, nil), -1)
		old.owner.chunks--
		c.chunks++
		old.owner, old.epoch, old.line = c, x.Epoch, line
		if m.foreign(old) {
			old.value = f.Value
		}
		post(m.holding(old, nil), 1)
		m.move(old, available)
	}
	return nil
}

// move brings a chunk to another place: into its owner's stock and out of it. Exposures are the caller's business.
func (m *Market) move(c *chunk, to place) {
	if c.place == available {
		c.owner.stock(stockKey{c.cert.denom, c.cert.escrow}).take(c)
	}
	if c.place != to && c.place == pledged {
		c.proposal = nil
	}
	if c.place = to; to == available {
		c.owner.stock(stockKey{c.cert.denom, c.cert.escrow}).put(c)
	}
}

func (m *Market) applyWithdrawn(f *Withdrawn) error {
	for i, id := range f.Chunks {
		if c := m.chunks[id]; c == nil || c.owner.id != f.Client || c.place != available && c.place != pledged || slices.Contains(f.Chunks[:i], id) {
			return fmt.Errorf("chunk %s cannot be withdrawn", id.Short())
		}
	}
	for _, id := range f.Chunks {
		m.move(m.chunks[id], kept)
	}
	return nil
}

func (m *Market) applyGone(f *Gone) error {
	c := m.chunks[f.Chunk]
	if c == nil || c.place == reserved || c.place == gone {
		return fmt.Errorf("chunk %s cannot be claimed", f.Chunk.Short())
	}
	post(m.holding(c, nil), -1)
	m.move(c, gone)
	c.owner.chunks--
	m.sweep(c.cert)
	return nil
}

// sweep forgets a certificate that has retired when all its chunks are claimed.
func (m *Market) sweep(k *cert) {
	if !k.retired || slices.ContainsFunc(k.chunks, func(c *chunk) bool { return c.place != gone }) {
		return
	}
	for _, c := range k.chunks {
		delete(m.chunks, c.id)
	}
	delete(m.certs, k.id)
}

func (m *Market) applyRetired(f *Retired) error {
	k := m.certs[f.Cert]
	if k == nil || k.retired {
		return fmt.Errorf("certificate %s cannot retire", f.Cert.Short())
	}
	k.retired = true
	for _, c := range k.chunks {
		if c.place == available {
			m.move(c, kept)
		}
	}
	m.sweep(k)
	return nil
}

func (m *Market) applyPlaced(f *Placed) error {
	c, err := m.client(f.Client)
	if err != nil {
		return err
	}
	o := &offer{Offer: f.Offer, client: c, pos: m.pos}
	if err := m.enter(o); err != nil {
		return err
	}
	c.open++
	m.open = append(m.open, o)
	m.relist(o)
	return nil
}

// enter connects an offer with its client, contract, denominations and book.
func (m *Market) enter(o *offer) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.client.offers[o.ID] != nil || o.Share < 1 {
		return fmt.Errorf("offer %s %w", o.ID, ErrConflict)
	}
	form := m.contracts[o.Contract]
	o.give, o.want = m.denoms[o.Give.Denomination], m.denoms[o.Want.Denomination]
	if form == nil || o.give == nil || o.want == nil {
		return fmt.Errorf("offer %s: contract or denomination: %w", o.ID, ErrNotFound)
	}
	deal, err := form.suits(&o.Offer)
	if err != nil {
		return fmt.Errorf("offer %s: %w", o.ID, err)
	}
	for _, id := range o.Parties {
		if id != (wire.VaultID{}) && m.clients[id] == nil {
			return fmt.Errorf("offer %s: client %s: %w", o.ID, id.Short(), ErrNotFound)
		}
	}
	key, side, err := o.key()
	if err != nil {
		return err
	}
	o.stock, o.side = o.client.stock(stockKey{o.give, o.Escrow}), side
	if o.book = m.books[key]; o.book == nil {
		o.book = &book{key: key, form: form}
		m.books[key] = o.book
		o.book.takers[side], o.book.takers[1-side] = []uint8{o.Counter}, []uint8{o.Role}
		if deal != nil {
			o.book.learn(o, deal)
		}
	}
	o.book.refs++
	form.refs++
	o.client.offers[o.ID] = o
	m.timers.add(timer{at: o.deadline(), pos: o.pos, offer: o})
	return nil
}

func (m *Market) applyClosed(at int64, f *Closed) error {
	o, err := m.offer(f.Client, f.Offer)
	if err != nil {
		return err
	}
	if o.closed != 0 || f.Why < Filled || f.Why > Refused {
		return fmt.Errorf("offer %s cannot be closed", f.Offer)
	}
	o.closed = f.Why
	o.client.open--
	if i, found := slices.BinarySearchFunc(m.open, o, byPos); found {
		m.open = slices.Delete(m.open, i, i+1)
	}
	m.relist(o)
	m.timers.add(timer{at: o.deadline(), pos: o.pos, offer: o})
	o.client.mail.add(at, Delivery{Closed: &ClosedNotice{f.Offer, f.Why}})
	return nil
}

func (m *Market) applyDropped(f *Dropped) error {
	o, err := m.offer(f.Client, f.Offer)
	if err != nil {
		return err
	}
	if o.closed == 0 || o.live > 0 {
		return fmt.Errorf("offer %s is open or has live proposals", f.Offer)
	}
	delete(o.client.offers, f.Offer)
	o.dropped = true
	o.book.form.refs--
	if o.book.refs--; o.book.refs == 0 {
		delete(m.books, o.book.key)
	}
	return nil
}
