package market

import (
	"slices"

	"latchkey/contract"
	"latchkey/wire"
)

// offer is an Offer with what became of it.
type offer struct {
	Offer
	client *client
	pos    uint64 // of the event that placed it: its time priority
	book   *book
	side   int // in the book
	give   *denom
	want   *denom
	stock  *stock // of what it gives

	got, gave Units // of Want and of Give, in live and in settled proposals
	live      int   // live proposals
	shares    []share
	avoid     []pairing
	closed    CloseReason // 0 while open
	dropped   bool        // forgotten: only stale timers still point to it
}

// share is how much of an offer one counterparty fills, in live and in settled proposals.
type share struct {
	client *client
	units  Units // of Want
}

// pairing names an offer with which a proposal has failed.
type pairing struct {
	Client wire.VaultID `cbor:"1,keyasint"`
	Offer  OfferID      `cbor:"2,keyasint"`
}

func (o *offer) pairing() pairing { return pairing{o.client.id, o.ID} }

// wants returns how much is still wanted; 0 when o is filled.
func (o *offer) wants() Units { return o.Want.Units - min(o.got, o.Want.Units) }

// deadline returns when time alone does something to o: it expires, or is forgotten.
func (o *offer) deadline() int64 {
	if o.dropped || o.closed != 0 && o.live > 0 {
		return 0
	}
	return o.Until + 1
}

func byPos(a, b *offer) int { return cmpUint(a.pos, b.pos) }

// fills returns how much of o a counterparty fills.
func (o *offer) fills(c *client) Units {
	for _, s := range o.shares {
		if s.client == c {
			return s.units
		}
	}
	return 0
}

// fill adds to it.
func (o *offer) fill(c *client, units Units) {
	for i := range o.shares {
		if o.shares[i].client == c {
			o.shares[i].units += units
			return
		}
	}
	o.shares = append(o.shares, share{c, units})
}

// unfill takes off it.
func (o *offer) unfill(c *client, units Units) {
	for i := range o.shares {
		if s := &o.shares[i]; s.client == c {
			if s.units -= min(units, s.units); s.units == 0 {
				o.shares = slices.Delete(o.shares, i, i+1)
			}
			return
		}
	}
}

// refuse notes that a proposal with another offer has failed. The oldest note is forgotten at maxAvoid.
func (o *offer) refuse(other *offer) {
	p := other.pairing()
	if slices.Contains(o.avoid, p) {
		return
	}
	if len(o.avoid) == maxAvoid {
		o.avoid = slices.Delete(o.avoid, 0, 1)
	}
	o.avoid = append(o.avoid, p)
}

func (o *offer) avoids(other *offer) bool {
	return len(o.avoid) > 0 && slices.Contains(o.avoid, other.pairing())
}

// book is one market: the offers that can meet, those of one role on each side, by price and then time.
type book struct {
	key    wire.Hash
	form   *form
	sides  [2][]*offer
	takers [2][]uint8 // parties that may be given chunks of each side, as far as can be told without the sizes
	refs   int        // offers that belong to it, listed or not
}

// learn notes to whom the contract may give chunks: that depends on its text, not on its terms.
func (b *book) learn(o *offer, deal *contract.Deal) {
	if b.form.takers == nil {
		for pot := range b.form.pots {
			b.form.takers = append(b.form.takers, rolesOf(deal.Candidates(pot)))
		}
	}
	if mine, theirs, err := potsOf(b.form.pots, deal, int(o.Role), int(o.Counter)); err == nil {
		b.takers[o.side], b.takers[1-o.side] = b.form.takers[mine], b.form.takers[theirs]
	}
}

// rank orders a side: the highest premium first, then the earliest.
func rank(a, b *offer) int {
	if a.Premium != b.Premium {
		return int(b.Premium - a.Premium)
	}
	return cmpUint(a.pos, b.pos)
}

func (b *book) add(o *offer) {
	side := &b.sides[o.side]
	if i, found := slices.BinarySearchFunc(*side, o, rank); !found {
		*side = slices.Insert(*side, i, o)
	}
}

func (b *book) remove(o *offer) {
	side := &b.sides[o.side]
	if i, found := slices.BinarySearchFunc(*side, o, rank); found {
		*side = slices.Delete(*side, i, i+1)
	}
}

// relist puts an offer into its book while it is open and wants something, and takes it out otherwise.
func (m *Market) relist(o *offer) {
	if o.closed == 0 && o.wants() > 0 {
		o.book.add(o)
		return
	}
	o.book.remove(o)
}

// apart reports whether two offers never meet, whatever price and chunks: they are of one client or of one device, one
// of them is of a fixed party of the contract, or they failed with each other before.
func apart(o, c *offer) bool {
	switch {
	case o.client == c.client, o.avoids(c), c.avoids(o):
		return true
	case o.client.profile.device.Kind == DeviceUnique && o.client.profile.domains[1] == c.client.profile.domains[1]:
		return true
	}
	return len(o.Parties) > 2 && (slices.Contains(o.Parties, o.client.id) || slices.Contains(o.Parties, c.client.id))
}

// alone reports whether c's client is the only one that could fill o now: no other has an offer on the other side that
// meets o's price, with a chunk to give.
func alone(now int64, o, c *offer) bool {
	for _, x := range o.book.sides[1-o.side] {
		if !meets(o.Premium, x.Premium) {
			break
		}
		if x.client != c.client && !apart(o, x) && pausedTo(now, o.client, x.client) == 0 {
			if x.stock.have != (counts{}) {
				return false
			}
		}
	}
	return true
}

// shareLeft returns how many more units of o's want c's client may fill: ⌈Want·Share⌉ in all; or everything while the
// client is alone and o permits it.
func shareLeft(now int64, o, c *offer) Units {
	whole := o.Want.Units + o.Over
	most := Units((uint64(o.Want.Units)*uint64(o.Share) + wholeBps - 1) / wholeBps)
	if most == o.Want.Units || o.Sole && alone(now, o, c) {
		most = whole
	}
	return most - min(o.fills(c.client), most)
}
