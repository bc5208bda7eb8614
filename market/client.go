package market

import (
	"slices"

	"latchkey/wire"
)

// Reputation is what is known of how a client behaved. Failures that an outage of the operators touched are not in it.
type Reputation struct {
	Successes   uint32 `cbor:"1,keyasint" json:"successes"`  // proposals that came to a settled instance
	Failures    uint32 `cbor:"2,keyasint" json:"failures"`   // proposals that failed by what it did or did not do
	Complaints  uint32 `cbor:"3,keyasint" json:"complaints"` // what counterparties said of it, unchecked
	Volume      Micros `cbor:"4,keyasint" json:"volume"`     // worth of its sides of the successes
	Since       int64  `cbor:"5,keyasint" json:"since"`      // when it enrolled
	LastFailure int64  `cbor:"6,keyasint" json:"last_failure"`
}

// client is what the market keeps of a client.
type client struct {
	id       wire.VaultID
	pos      uint64 // of its enrolment
	reach    []byte
	exempt   bool
	bond     Micros
	rep      Reputation
	profile  *profile // present
	profiles []*profile
	mail     mailbox
	owes     int // notices that its live proposals can still cause
	open     int // open offers
	offers   map[OfferID]*offer
	stocks   map[stockKey]*stock
	chunks   int // that it owns and that are not claimed
	pauses   []pause
}

// pause says until when a client is not matched with another: a proposal between the two was declined, and their offers
// did not close. A new offer does not end it; an exchange that they bring to its end does.
type pause struct {
	Client wire.VaultID `cbor:"1,keyasint"`
	Until  int64        `cbor:"2,keyasint"`
	Length int64        `cbor:"3,keyasint"` // of this one: the next is twice as long
}

// pausing returns the newest pause between c and another client, nil if there is none.
func (c *client) pausing(other *client) *pause {
	for i := range c.pauses {
		if c.pauses[i].Client == other.id {
			return &c.pauses[i]
		}
	}
	return nil
}

// resume forgets the pause between c and another client.
func (c *client) resume(other *client) {
	c.pauses = slices.DeleteFunc(c.pauses, func(p pause) bool { return p.Client == other.id })
}

// pause begins a pause between c and another client. The oldest one is forgotten at maxAvoid.
func (c *client) pause(other *client, at, length int64) {
	if c.resume(other); len(c.pauses) == maxAvoid {
		c.pauses = slices.Delete(c.pauses, 0, 1)
	}
	c.pauses = append(c.pauses, pause{other.id, at + length, length})
}

// pausedTo returns the end of the pause between two clients, 0 if there is none now. Either may have forgotten it.
func pausedTo(now int64, a, b *client) int64 {
	var to int64
	for _, p := range [2]*pause{a.pausing(b), b.pausing(a)} {
		if p != nil && p.Until > now {
			to = max(to, p.Until)
		}
	}
	return to
}

// nextPause returns how long the pause after another decline is: after a complaint twice as long as the one before.
func nextPause(a, b *client, complaint bool) int64 {
	length := int64(0)
	for _, p := range [2]*pause{a.pausing(b), b.pausing(a)} {
		if p != nil {
			length = max(length, p.Length)
		}
	}
	if complaint {
		length *= 2
	}
	return min(max(length, firstPause), longestPause)
}

// stock returns the client's stock of a denomination at an escrow, which may be empty.
func (c *client) stock(k stockKey) *stock {
	s := c.stocks[k]
	if s == nil {
		s = &stock{}
		c.stocks[k] = s
	}
	return s
}

// offersInOrder returns the client's offers in the order of their arrival.
func (c *client) offersInOrder() []*offer {
	list := make([]*offer, 0, len(c.offers))
	for _, o := range c.offers {
		list = append(list, o)
	}
	slices.SortFunc(list, byPos)
	return list
}

// Delivery is a notice for a client, kept until the client has acknowledged it. Exactly one of the pointers is set.
type Delivery struct {
	Seq      uint64          `cbor:"1,keyasint" json:"seq"` // 1, 2, … for each client
	At       int64           `cbor:"2,keyasint" json:"at"`
	Proposal *Proposal       `cbor:"3,keyasint,omitempty" json:"proposal,omitempty"` // to check, and to accept or decline
	Accepted *AcceptedNotice `cbor:"4,keyasint,omitempty" json:"accepted,omitempty"` // for the escrow
	Ended    *EndedNotice    `cbor:"5,keyasint,omitempty" json:"ended,omitempty"`
	Closed   *ClosedNotice   `cbor:"6,keyasint,omitempty" json:"closed,omitempty"`
}

// AcceptedNotice has the acceptances of all parties, by role.
type AcceptedNotice struct {
	Proposal    ProposalID `cbor:"1,keyasint" json:"proposal"`
	Acceptances [][]byte   `cbor:"2,keyasint" json:"acceptances"`
}

// EndedNotice says that a proposal ended. Fault lists the parties, by role, against whom it counts.
type EndedNotice struct {
	Proposal ProposalID `cbor:"1,keyasint" json:"proposal"`
	Outcome  Outcome    `cbor:"2,keyasint" json:"outcome"`
	Why      EndReason  `cbor:"3,keyasint" json:"why"`
	Fault    []uint8    `cbor:"4,keyasint" json:"fault"`
}

// ClosedNotice says that an offer is closed.
type ClosedNotice struct {
	Offer OfferID     `cbor:"1,keyasint" json:"offer"`
	Why   CloseReason `cbor:"2,keyasint" json:"why"`
}

// mailbox is the queue of one client. Nothing is ever dropped from it: whatever can cause a notice (an open offer: one;
// a live proposal: see proposal.owes) is only let in while there is room for all that it can cause.
type mailbox struct {
	queue []Delivery
	last  uint64 // sequence number of the newest notice ever
	acked uint64
}

func (b *mailbox) add(at int64, d Delivery) {
	b.last++
	d.Seq, d.At = b.last, at
	b.queue = append(b.queue, d)
}

func (b *mailbox) ack(cursor uint64) {
	n := 0
	for n < len(b.queue) && b.queue[n].Seq <= cursor {
		n++
	}
	clear(b.queue[:n])
	b.queue = b.queue[n:]
	if len(b.queue) == 0 {
		b.queue = nil
	}
	b.acked = cursor
}

// mailRoom returns how many more notices the client's obligations may come to.
func (m *Market) mailRoom(c *client) int {
	return m.policy.MaxQueue - len(c.mail.queue) - c.owes - c.open
}

// Deliveries returns the notices for a client after a sequence number, at most n, the oldest first. They share memory
// with the state and are not to be changed.
func (m *Market) Deliveries(id wire.VaultID, after uint64, n int) []Delivery {
	c := m.clients[id]
	if c == nil {
		return nil
	}
	list := c.mail.queue
	i, _ := slices.BinarySearchFunc(list, after, func(d Delivery, seq uint64) int {
		if d.Seq <= seq {
			return -1
		}
		return 1
	})
	return slices.Clone(list[i:min(len(list), i+max(n, 0))])
}

// EffectKind is what a shell does.
type EffectKind uint8

// The kinds.
const (
	Deliver   EffectKind = 1 // hand a client the notice with this sequence number, if it is online; it stays queued until acknowledged
	AskEscrow EffectKind = 2 // ask the escrow what became of a proposal: the answer is Locked, NotLocked or Settled
)

// Effect is something for the shell to do once the event that caused it is durable. Doing it twice does no harm. The
// event's position and the effect's number among those of the event identify it.
type Effect struct {
	Position uint64
	Number   int
	Kind     EffectKind
	Client   wire.VaultID
	Delivery uint64 // sequence number of the notice
	Proposal ProposalID
}

// Effects returns what follows from the event that was applied last.
func (m *Market) Effects(e Event) []Effect {
	var list []Effect
	add := func(x Effect) {
		x.Position, x.Number = m.pos-1, len(list)
		list = append(list, x)
	}
	notify := func(parties []wire.VaultID) {
		for _, id := range parties {
			if c := m.clients[id]; c != nil {
				add(Effect{Kind: Deliver, Client: id, Delivery: c.mail.last})
			}
		}
	}
	switch f := e.Fact.(type) {
	case *Proposed:
		notify(f.Proposal.Parties)
	case *Accepted:
		if p := m.proposals[f.Proposal]; p != nil && p.stage == accepted {
			notify(p.Parties)
		}
	case *Ended:
		if p := m.proposals[f.Proposal]; p != nil {
			notify(p.Parties)
		}
	case *Closed:
		notify([]wire.VaultID{f.Client})
	case *Asked:
		add(Effect{Kind: AskEscrow, Proposal: f.Proposal})
	}
	return list
}

// Outstanding returns the effects that a shell performs when it starts again: every notice that is not acknowledged,
// and a question for every proposal of which the escrow has not said what became of it after its LockBy, or after the
// time until which a side of it rests.
func (m *Market) Outstanding() []Effect {
	var list []Effect
	for _, c := range m.clientsInOrder() {
		for _, d := range c.mail.queue {
			list = append(list, Effect{Position: m.pos, Number: len(list), Kind: Deliver, Client: c.id, Delivery: d.Seq})
		}
	}
	for _, p := range m.proposalsInOrder() {
		if p.asks() && m.now > p.lockable() {
			list = append(list, Effect{Position: m.pos, Number: len(list), Kind: AskEscrow, Proposal: p.ID})
		}
	}
	return list
}

func (m *Market) clientsInOrder() []*client {
	list := make([]*client, 0, len(m.clients))
	for _, c := range m.clients {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *client) int { return cmpUint(a.pos, b.pos) })
	return list
}

func (m *Market) proposalsInOrder() []*proposal {
	list := make([]*proposal, 0, len(m.proposals))
	for _, p := range m.proposals {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *proposal) int { return cmpUint(uint64(a.ID), uint64(b.ID)) })
	return list
}

func cmpUint(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
