package market

import (
	"fmt"
	"slices"
	"strings"

	"latchkey/coin"
	"latchkey/wire"
)

// Wait says what something waits for, until when, and what happens then if nothing else does. The texts are for people.
// Until is in Unix seconds, 0 for no end of its own. The zero Wait waits for nothing.
type Wait struct {
	For   string `json:"for"`
	Until int64  `json:"until"`
	Then  string `json:"then"`
}

// OfferStatus is an offer with what became of it. Its Wait is found by looking for a match now, so it is always true.
type OfferStatus struct {
	Client    wire.VaultID `json:"client"`
	Offer     Offer        `json:"offer"`
	Got       Units        `json:"got"`  // of Want, in live and in settled proposals
	Gave      Units        `json:"gave"` // of Give, likewise
	Proposals []ProposalID `json:"proposals"`
	Closed    CloseReason  `json:"closed"` // 0 while open
	Wait      Wait         `json:"wait"`
}

// OfferStatus returns what an offer is doing at a time.
func (m *Market) OfferStatus(now int64, client wire.VaultID, id OfferID) (OfferStatus, error) {
	o, err := m.offer(client, id)
	if err != nil {
		return OfferStatus{}, err
	}
	s := OfferStatus{Client: client, Offer: o.Offer, Got: o.got, Gave: o.gave, Closed: o.closed}
	for _, p := range m.proposalsInOrder() {
		if p.stage != ended && (p.offers[0] == o || p.offers[1] == o) {
			s.Proposals = append(s.Proposals, p.ID)
		}
	}
	if o.closed != 0 {
		if o.live > 0 {
			s.Wait = Wait{For: fmt.Sprintf("%d proposals that were made before it closed", o.live)}
		}
		return s, nil
	}
	s.Wait = Wait{For: "its turn to be matched", Until: o.Until, Then: "it closes; what is proposed goes on"}
	if _, why := m.next(max(now, m.now), o); why.obstacle != noObstacle {
		s.Wait.For = m.text(max(now, m.now), why)
	}
	return s, nil
}

// OpenOffers returns all open offers in the order of their arrival.
func (m *Market) OpenOffers() []Match {
	list := make([]Match, len(m.open))
	for i, o := range m.open {
		list[i] = Match{o.client.id, o.ID}
	}
	return list
}

// OffersOf returns the ids of a client's offers, open and closed, in the order of their arrival.
func (m *Market) OffersOf(id wire.VaultID) []OfferID {
	c := m.clients[id]
	if c == nil {
		return nil
	}
	var list []OfferID
	for _, o := range c.offersInOrder() {
		list = append(list, o.ID)
	}
	return list
}

// text says what a reason waits for.
func (m *Market) text(now int64, r reason) string {
	switch r.obstacle {
	case isClosed:
		return "nothing: it is no longer good"
	case isFilled:
		return "its proposals to be settled: everything wanted is in them"
	case inOutage:
		return fmt.Sprintf("the end of the operators' outage, which began at %s", wire.UTC(m.outageAt))
	case noRate:
		return m.rateText(now, r)
	case noOffer:
		return "an offer of the other side"
	case onlyApart:
		return "another counterparty: those that there are share its client or its device, or a proposal with them failed"
	case onlyPaused:
		return fmt.Sprintf("another counterparty, or the end of a pause at %s: a proposal with client %s was declined", wire.UTC(r.until), r.client.id.Short())
	case noPrice:
		return "an offer of the other side that meets its price"
	case mailFull:
		return fmt.Sprintf("client %s to acknowledge its notices: %d are waiting or due, at most %d",
			r.client.id.Short(), m.policy.MaxQueue-m.mailRoom(r.client), m.policy.MaxQueue)
	case noChunks:
		if r.err != nil {
			return "chunks that live long enough: " + r.err.Error()
		}
		return fmt.Sprintf("available chunks of client %s", r.client.id.Short())
	case shareReached:
		return "another counterparty: the share of one is used up"
	case limitReached:
		return fmt.Sprintf("less at stake in %v: it is %v, at most %v", r.domain.Domain, r.domain.at, m.limit(r.domain))
	case noSizes:
		return "chunks of other weights: none make a slice within the prices and sizes of both sides"
	case badTerms:
		return "other terms: " + r.err.Error()
	}
	return "nothing"
}

func (m *Market) rateText(now int64, r reason) string {
	have := m.rates[r.asset.Asset.ID]
	s := fmt.Sprintf("a fresh rate of %s: ", r.asset.Asset.ID)
	switch {
	case r.err != nil:
		return s + r.err.Error()
	case have == nil:
		return s + "none was ever seen"
	case have.lost != "":
		return s + have.lost
	}
	return s + fmt.Sprintf("the last one is %d s old, at most %d", now-have.observed, m.policy.RateMaxAge)
}

// RateStatus is what is known of an asset's rate.
type RateStatus struct {
	Asset    coin.AssetID `json:"asset"`
	PerCoin  uint64       `json:"per_coin"` // µUSD; 0: none was ever seen
	Observed int64        `json:"observed"`
	Fresh    bool         `json:"fresh"` // good for new proposals
	Why      string       `json:"why"`   // why not
}

// Rates returns what is known of the rate of every asset that has a denomination, by name.
func (m *Market) Rates(now int64) []RateStatus {
	var list []RateStatus
	for _, d := range m.denomsInOrder() {
		if slices.ContainsFunc(list, func(s RateStatus) bool { return s.Asset == d.Asset.ID }) {
			continue
		}
		s := RateStatus{Asset: d.Asset.ID, Fresh: true}
		if r := m.rates[d.Asset.ID]; r != nil {
			s.PerCoin, s.Observed = r.perCoin, r.observed
		}
		if _, why := m.fresh(max(now, m.now), d); why.obstacle != noObstacle {
			s.Fresh, s.Why = false, m.rateText(max(now, m.now), why)
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b RateStatus) int { return strings.Compare(string(a.Asset), string(b.Asset)) })
	return list
}

// ProposalStatus is a proposal with what became of it. Stage is "proposed", "accepted", "locked" or "ended".
type ProposalStatus struct {
	Proposal *Proposal       `json:"proposal"` // not to be changed
	Stage    string          `json:"stage"`
	Accepted []bool          `json:"accepted"` // by role
	Instance wire.InstanceID `json:"instance"` // zero while there is none
	Entry    uint64          `json:"entry"`
	Outcome  Outcome         `json:"outcome"` // 0 until it has ended
	Why      EndReason       `json:"why"`
	Rests    []Rest          `json:"rests"` // of an ended one: sides that are pledged, the soonest to be free first
	Wait     Wait            `json:"wait"`
}

// ProposalStatus returns what a proposal is doing.
func (m *Market) ProposalStatus(id ProposalID) (ProposalStatus, error) {
	p, err := m.proposal(id)
	if err != nil {
		return ProposalStatus{}, err
	}
	s := ProposalStatus{
		Proposal: p.Proposal, Stage: p.stage.String(), Instance: p.instance, Entry: p.entry, Outcome: p.outcome, Why: p.why, Rests: slices.Clone(p.rests), Wait: p.wait(),
	}
	for _, a := range p.acceptances {
		s.Accepted = append(s.Accepted, a != nil)
	}
	return s, nil
}

func (p *proposal) wait() Wait {
	switch p.stage {
	case proposed:
		var who []string
		for role, a := range p.acceptances {
			if a == nil {
				who = append(who, p.Parties[role].Short())
			}
		}
		return Wait{"acceptance by " + strings.Join(who, " and "), p.AcceptBy,
			"it ends, everything reserved is free again, and it counts against who did not accept"}
	case accepted:
		return Wait{"the escrow to lock it", p.LockBy,
			"the escrow does not lock it any more; its word ends the proposal, and until then it is asked again and again"}
	case locked:
		return Wait{"the instance " + p.instance.Short() + " to be settled", p.EndBy,
			"the contract has come to its end by its own deadlines"}
	case ended:
		if p.asks() {
			return Wait{"the escrow's log to pass the time until which chunks of it are pledged", p.lockable(), "they are offered again"}
		}
	}
	return Wait{}
}

// ChunkStatus is what the market knows of a chunk. Place is "available", "reserved", "kept", "claimed" or
// "pledged".
type ChunkStatus struct {
	Chunk        wire.ChunkID   `json:"chunk"`
	Cert         wire.CertID    `json:"cert"`
	Denomination string         `json:"denomination"`
	Weight       uint32         `json:"weight"`
	Epoch        uint32         `json:"epoch"`
	Owner        wire.VaultID   `json:"owner"`
	Held         []wire.VaultID `json:"held"` // all that ever held a share of the owner's side
	Place        string         `json:"place"`
	Proposal     ProposalID     `json:"proposal"` // while reserved or pledged
	Wait         Wait           `json:"wait"`
}

// ChunkStatus returns what a chunk is doing.
func (m *Market) ChunkStatus(id wire.ChunkID) (ChunkStatus, error) {
	c := m.chunks[id]
	if c == nil {
		return ChunkStatus{}, fmt.Errorf("chunk %s: %w", id.Short(), ErrNotFound)
	}
	s := ChunkStatus{
		Chunk: id, Cert: c.cert.id, Denomination: c.cert.denom.ID, Weight: uint32(c.units()), Epoch: c.epoch,
		Owner: c.owner.id, Place: c.place.String(),
	}
	for _, n := range c.line {
		if v := m.profiles[n].client.id; !slices.Contains(s.Held, v) {
			s.Held = append(s.Held, v)
		}
	}
	switch c.place {
	case available:
		s.Wait = Wait{"an offer that uses it", c.cert.retire, "it is kept for its owner to claim: its certificate is about to expire"}
	case reserved, pledged:
		s.Proposal, s.Wait = c.proposal.ID, c.proposal.wait()
	case kept:
		s.Wait = Wait{"its owner to claim it or to offer it again", c.cert.expiry, "it can only be claimed"}
	}
	return s, nil
}

// ClientStatus is what the market knows of a client.
type ClientStatus struct {
	Client     wire.VaultID `json:"client"`
	Reach      []byte       `json:"reach"`
	Exempt     bool         `json:"exempt"` // the operators' own: no limit per client and device
	Bond       Micros       `json:"bond"`
	Reputation Reputation   `json:"reputation"`
	Exposures  []Exposure   `json:"exposures"` // of the domains that it is in
	Queued     int          `json:"queued"`    // notices not acknowledged
	Acked      uint64       `json:"acked"`
	Last       uint64       `json:"last"` // sequence number of the newest notice
	Stock      []Holding    `json:"stock"`
}

// Holding counts a client's available chunks of one denomination at one escrow, by weight.
type Holding struct {
	Denomination string       `json:"denomination"`
	Escrow       wire.VaultID `json:"escrow"`
	Units        uint64       `json:"units"`
	Chunks       []Count      `json:"chunks"`
}

// Count is a number of chunks of one weight.
type Count struct {
	Weight uint32 `json:"weight"`
	N      uint32 `json:"n"`
}

// ClientStatus returns what is known of a client.
func (m *Market) ClientStatus(id wire.VaultID) (ClientStatus, error) {
	c, err := m.client(id)
	if err != nil {
		return ClientStatus{}, err
	}
	s := ClientStatus{
		Client: id, Reach: slices.Clone(c.reach), Exempt: c.exempt, Bond: c.bond, Reputation: c.rep,
		Queued: len(c.mail.queue), Acked: c.mail.acked, Last: c.mail.last,
	}
	for _, d := range c.profile.domains {
		s.Exposures = append(s.Exposures, Exposure{d.Domain, d.at, m.limit(d), d.exempt > 0})
	}
	for k, stock := range c.stocks { // sorted below
		h := Holding{Denomination: k.denom.ID, Escrow: k.escrow, Units: stock.have.units()}
		for i, n := range stock.have {
			if n > 0 {
				h.Chunks = append(h.Chunks, Count{weights[i], n})
			}
		}
		if h.Units > 0 {
			s.Stock = append(s.Stock, h)
		}
	}
	slices.SortFunc(s.Stock, func(a, b Holding) int {
		if n := strings.Compare(a.Denomination, b.Denomination); n != 0 {
			return n
		}
		return slices.Compare(a.Escrow[:], b.Escrow[:])
	})
	return s, nil
}

// OnDevice returns how many clients have enrolled with a device, of a vendor.
func (m *Market) OnDevice(vendor wire.Hash, d Device) (n int) {
	domain := deviceDomain(vendor, d)
	for _, c := range m.clients {
		if c.profile.domains[1].Domain == domain {
			n++
		}
	}
	return n
}

// Source returns the text of a contract by its hash.
func (m *Market) Source(hash wire.Hash) ([]byte, error) {
	if f := m.contracts[hash]; f != nil {
		return slices.Clone(f.source), nil
	}
	return nil, fmt.Errorf("contract %s: %w", hash, ErrNotFound)
}

// Denominations returns all denominations by name.
func (m *Market) Denominations() []coin.Denomination {
	var list []coin.Denomination
	for _, d := range m.denomsInOrder() {
		list = append(list, d.Denomination)
	}
	return list
}

func (m *Market) denomsInOrder() []*denom {
	list := make([]*denom, 0, len(m.denoms))
	for _, d := range m.denoms {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b *denom) int { return strings.Compare(a.ID, b.ID) })
	return list
}
