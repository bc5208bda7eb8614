package market

import (
	"fmt"

	"latchkey/settle"
	"latchkey/wire"
)

// PurposeOffer is the purpose under which a client's vault identity signs an offer (wire.Sign). The shell checks it;
// the inputs of this package carry the client as a verified fact.
const PurposeOffer = "latchkey/offer/v1"

// Quantity is an amount in units of one denomination.
type Quantity struct {
	Denomination string `cbor:"1,keyasint" json:"denomination"`
	Units        Units  `cbor:"2,keyasint" json:"units"`
}

// Offer says: I am looking for Want against at most Give, bound by this contract in this role, and pay at most Premium
// over the rate. It may be filled by several counterparties, each in an instance of its own.
type Offer struct {
	ID       OfferID      `cbor:"1,keyasint" json:"id"`
	Contract wire.Hash    `cbor:"2,keyasint" json:"contract"` // contract.Program.Hash
	Settle   Settle       `cbor:"3,keyasint" json:"settle"`
	Escrow   wire.VaultID `cbor:"4,keyasint" json:"escrow"` // whose chunks; an instance uses one escrow

	Parties  []wire.VaultID `cbor:"5,keyasint" json:"parties"` // one for each party of the contract; zero at Role and at Counter
	Role     uint8          `cbor:"6,keyasint" json:"role"`    // the party that I am
	Counter  uint8          `cbor:"7,keyasint" json:"counter"` // the party that I am looking for
	Terms    []int64        `cbor:"8,keyasint" json:"terms"`   // in the order of the contract; zero at GiveTerm and WantTerm
	GiveTerm uint8          `cbor:"9,keyasint" json:"give_term"`
	WantTerm uint8          `cbor:"10,keyasint" json:"want_term"` // the terms that say how many units each side puts in; maybe the same

	Give    Quantity `cbor:"11,keyasint" json:"give"` // a ceiling, never exceeded
	Want    Quantity `cbor:"12,keyasint" json:"want"`
	Over    Units    `cbor:"13,keyasint" json:"over"`     // units above Want that whole chunks may come to
	Premium Bps      `cbor:"14,keyasint" json:"premium"`  // what I give is worth at most this much more than what I get
	MinFill Units    `cbor:"15,keyasint" json:"min_fill"` // units of Want in one proposal, unless less is left
	Share   Bps      `cbor:"16,keyasint" json:"share"`    // of Want that one counterparty may fill; 0 for the market's rule
	Sole    bool     `cbor:"17,keyasint" json:"sole"`     // Share does not count while there is only one counterparty
	Until   int64    `cbor:"18,keyasint" json:"until"`    // good till, Unix seconds

	Pace *settle.Pace `cbor:"19,keyasint,omitempty" json:"pace,omitempty"` // of tit-for-tat, and of nothing else
}

// Marshal returns the one encoding of o: what its client signs.
func (o Offer) Marshal() ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("encode offer: %w", err)
	}
	return wire.Marshal(o)
}

// ParseOffer reads what Marshal wrote and nothing else. It checks all that needs neither a market nor a contract.
func ParseOffer(b []byte) (o Offer, err error) {
	if err = wire.Unmarshal(b, &o); err == nil {
		err = o.check()
	}
	if err != nil {
		return Offer{}, fmt.Errorf("decode offer: %w", err)
	}
	return o, nil
}

// check verifies what can be seen from the offer alone.
func (o *Offer) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("offer %s: %w: %s", o.ID, ErrInvalid, fmt.Sprintf(format, args...))
	}
	roles, terms := len(o.Parties), len(o.Terms)
	switch {
	case o.ID == OfferID{}:
		return bad("no id")
	case o.Contract == wire.Hash{}:
		return bad("no contract")
	case o.Settle != Atomic && o.Settle != TitForTat || (o.Settle == TitForTat) != (o.Pace != nil):
		return bad("settle %d, want %d (atomic), or %d (tit-for-tat) with a pace", o.Settle, Atomic, TitForTat)
	case o.Settle == TitForTat && roles != 2:
		return bad("%d parties, tit-for-tat is for two", roles)
	case o.Escrow == wire.VaultID{}:
		return bad("no escrow")
	case roles < 2 || roles > partiesSource:
		return bad("%d parties, want 2 to %d", roles, partiesSource)
	case int(o.Role) >= roles || int(o.Counter) >= roles || o.Role == o.Counter:
		return bad("role %d and counterparty %d, want two of %d parties", o.Role, o.Counter, roles)
	case int(o.GiveTerm) >= terms || int(o.WantTerm) >= terms:
		return bad("terms %d and %d say the sizes, there are %d", o.GiveTerm, o.WantTerm, terms)
	case o.Terms[o.GiveTerm] != 0 || o.Terms[o.WantTerm] != 0:
		return bad("the terms that say the sizes have to be 0: the market fills them in")
	case o.Give.Denomination == "" || o.Want.Denomination == "":
		return bad("no denomination")
	case o.Give.Units < 1 || o.Give.Units > MaxUnits:
		return bad("gives %d units, want 1 to %d", o.Give.Units, MaxUnits)
	case o.Want.Units < 1 || o.Want.Units > MaxUnits:
		return bad("wants %d units, want 1 to %d", o.Want.Units, MaxUnits)
	case o.Over > o.Want.Units:
		return bad("takes %d units above the %d that it wants, at most as many", o.Over, o.Want.Units)
	case o.Premium < -maxBps || o.Premium > maxBps:
		return bad("premium of %d basis points, want %d to %d", o.Premium, -maxBps, maxBps)
	case o.MinFill > o.Want.Units:
		return bad("smallest fill of %d units, wants %d", o.MinFill, o.Want.Units)
	case o.Share < 0 || o.Share > wholeBps:
		return bad("share of %d basis points, want 0 to %d", o.Share, wholeBps)
	case o.Until < 1 || o.Until > maxTime:
		return bad("good till %d, want a time in Unix seconds", o.Until)
	}
	if o.Pace != nil {
		if err := o.Pace.Check(); err != nil {
			return bad("%v", err)
		}
	}
	seen := map[wire.VaultID]bool{}
	for i, v := range o.Parties {
		market := i == int(o.Role) || i == int(o.Counter)
		switch {
		case market && v != wire.VaultID{}:
			return bad("party %d is for the market to fill in, and is %s", i, v.Short())
		case !market && v == wire.VaultID{}:
			return bad("party %d is missing", i)
		case !market && seen[v]:
			return bad("vault %s is two parties", v.Short())
		}
		seen[v] = true
	}
	return nil
}

// key names the market that o belongs to: offers meet only where all of contract, settlement with its pace, escrow, fixed parties,
// terms, the roles with their size terms, and denominations agree. The side is 0 for the lower role, 1 for the other.
func (o *Offer) key() (key wire.Hash, side int, err error) {
	type seat struct {
		_            struct{} `cbor:",toarray"`
		Role, Term   uint8
		Denomination string
	}
	seats := [2]seat{
		{Role: o.Role, Term: o.GiveTerm, Denomination: o.Give.Denomination},
		{Role: o.Counter, Term: o.WantTerm, Denomination: o.Want.Denomination},
	}
	if o.Role > o.Counter {
		seats[0], seats[1], side = seats[1], seats[0], 1
	}
	key, err = wire.HashOf("latchkey/market/v1", struct {
		_        struct{} `cbor:",toarray"`
		Contract wire.Hash
		Settle   Settle
		Escrow   wire.VaultID
		Parties  []wire.VaultID
		Terms    []int64
		Seats    [2]seat
		Pace     *settle.Pace
	}{struct{}{}, o.Contract, o.Settle, o.Escrow, o.Parties, o.Terms, seats, o.Pace})
	return key, side, err
}

// equal reports whether two offers are the same in every field.
func (o *Offer) equal(p *Offer) bool {
	a, errA := wire.Marshal(*o)
	b, errB := wire.Marshal(*p)
	return errA == nil && errB == nil && string(a) == string(b)
}

// CloseReason says why an offer is closed.
type CloseReason uint8

// The reasons. Zero is an open offer.
const (
	Filled    CloseReason = 1 + iota // everything wanted was settled
	Cancelled                        // by its client
	Expired                          // its good-till passed
	Silent                           // its client did not accept a proposal in time; it may place another offer
	Refused                          // its client declined a proposal without a complaint
)

func (r CloseReason) String() string {
	return word(r, "filled", "cancelled", "expired", "closed: a proposal was not accepted in time", "closed: a proposal was declined")
}

// word names a number above 0.
func word[T ~uint8](v T, words ...string) string {
	if v == 0 || int(v) > len(words) {
		return fmt.Sprintf("unknown (%d)", uint8(v))
	}
	return words[v-1]
}
