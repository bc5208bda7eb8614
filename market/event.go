package market

import (
	"fmt"
	"reflect"

	"latchkey/wire"
)

// Event is one thing that the market decided, at a time of its log. It carries every value that a policy, a rate or a
// clock had a part in, so that Apply needs none of them.
type Event struct {
	At   int64 // Unix seconds; never less than the event before
	Fact Fact
}

// Fact is what an event says.
type Fact interface{ fact() }

type (
	// The facts that say what the input of the same shape said.

	Enrolled    Enrol
	Bonded      Bond
	Denominated Denominate
	Rated       Rate
	Unrated     RateLost
	OutageSet   Outage
	Withdrawn   Withdraw
	Gone        Claimed // a chunk was claimed
	WasLocked   Locked
	Acked       Ack

	// Published keeps a contract and forgets others that nothing refers to.
	Published struct {
		Source []byte      `cbor:"1,keyasint"`
		Evict  []wire.Hash `cbor:"2,keyasint"`
	}
	// Deposited adds chunks, or makes known ones available again.
	Deposited struct {
		Deposit Deposit `cbor:"1,keyasint"`
		Retire  int64   `cbor:"2,keyasint"` // from then on the certificate's chunks are not proposed any more
		Value   Micros  `cbor:"3,keyasint"` // of a unit, for chunks that others have held; else 0
	}
	// Retired takes all chunks of a certificate off the market.
	Retired struct {
		Cert wire.CertID `cbor:"1,keyasint"`
	}
	// Placed puts an offer into its market; its Share is no longer 0.
	Placed struct {
		Client wire.VaultID `cbor:"1,keyasint"`
		Offer  Offer        `cbor:"2,keyasint"`
	}
	// Closed takes an offer out of its market.
	Closed struct {
		Client wire.VaultID `cbor:"1,keyasint"`
		Offer  OfferID      `cbor:"2,keyasint"`
		Why    CloseReason  `cbor:"3,keyasint"`
	}
	// Proposed reserves the chunks of a slice between two offers.
	Proposed struct {
		Proposal Proposal `cbor:"1,keyasint"`
	}
	// Accepted notes the acceptance of one party.
	Accepted struct {
		Proposal   ProposalID `cbor:"1,keyasint"`
		Role       uint8      `cbor:"2,keyasint"`
		Acceptance []byte     `cbor:"3,keyasint"`
	}
	// Strayed takes the chunks of an ended proposal off the market: the escrow had locked it all the same.
	Strayed struct {
		Proposal ProposalID `cbor:"1,keyasint"`
	}
	// Asked sets when the escrow is asked again what became of a proposal.
	Asked struct {
		Proposal ProposalID `cbor:"1,keyasint"`
		Again    int64      `cbor:"2,keyasint"`
	}
	// Ended ends a proposal and gives back, or hands on, what it reserved.
	Ended struct {
		Proposal ProposalID `cbor:"1,keyasint"`
		Outcome  Outcome    `cbor:"2,keyasint"`
		Why      EndReason  `cbor:"3,keyasint"`
		Fault    []uint8    `cbor:"4,keyasint"` // parties, by role, against whom it counts
		Accused  []uint8    `cbor:"5,keyasint"` // parties about whom another one complained
		Avoid    bool       `cbor:"6,keyasint"` // the two offers are not matched again
		Gives    []Give     `cbor:"7,keyasint"` // of an instance: where each chunk went; else everything goes back
		Forget   int64      `cbor:"8,keyasint"` // when the proposal is forgotten

		Pause int64  `cbor:"9,keyasint,omitempty"`  // seconds for which the clients of the two offers are not matched
		Rests []Rest `cbor:"10,keyasint,omitempty"` // the soonest first: sides whose chunks are pledged; of no instance
	}
	// Freed puts chunks of an ended proposal back: the side of a party that rested has come to its end.
	Freed struct {
		Proposal ProposalID `cbor:"1,keyasint"`
		Role     uint8      `cbor:"2,keyasint"`
	}
	// Forgotten drops an ended proposal.
	Forgotten struct {
		Proposal ProposalID `cbor:"1,keyasint"`
	}
	// Dropped drops a closed offer whose good-till has passed.
	Dropped struct {
		Client wire.VaultID `cbor:"1,keyasint"`
		Offer  OfferID      `cbor:"2,keyasint"`
	}
)

func (*Enrolled) fact()    {}
func (*Bonded) fact()      {}
func (*Denominated) fact() {}
func (*Rated) fact()       {}
func (*Unrated) fact()     {}
func (*OutageSet) fact()   {}
func (*Published) fact()   {}
func (*Deposited) fact()   {}
func (*Withdrawn) fact()   {}
func (*Gone) fact()        {}
func (*Retired) fact()     {}
func (*Placed) fact()      {}
func (*Closed) fact()      {}
func (*Proposed) fact()    {}
func (*Accepted) fact()    {}
func (*WasLocked) fact()   {}
func (*Strayed) fact()     {}
func (*Asked) fact()       {}
func (*Ended) fact()       {}
func (*Forgotten) fact()   {}
func (*Dropped) fact()     {}
func (*Acked) fact()       {}
func (*Freed) fact()       {}

// envelope is an event as it is written: the time, and exactly one of the facts.
type envelope struct {
	At          int64        `cbor:"1,keyasint"`
	Enrolled    *Enrolled    `cbor:"2,keyasint,omitempty"`
	Bonded      *Bonded      `cbor:"3,keyasint,omitempty"`
	Denominated *Denominated `cbor:"4,keyasint,omitempty"`
	Rated       *Rated       `cbor:"5,keyasint,omitempty"`
	Unrated     *Unrated     `cbor:"6,keyasint,omitempty"`
	OutageSet   *OutageSet   `cbor:"7,keyasint,omitempty"`
	Published   *Published   `cbor:"8,keyasint,omitempty"`
	Deposited   *Deposited   `cbor:"9,keyasint,omitempty"`
	Withdrawn   *Withdrawn   `cbor:"10,keyasint,omitempty"`
	Gone        *Gone        `cbor:"11,keyasint,omitempty"`
	Retired     *Retired     `cbor:"12,keyasint,omitempty"`
	Placed      *Placed      `cbor:"13,keyasint,omitempty"`
	Closed      *Closed      `cbor:"14,keyasint,omitempty"`
	Proposed    *Proposed    `cbor:"15,keyasint,omitempty"`
	Accepted    *Accepted    `cbor:"16,keyasint,omitempty"`
	WasLocked   *WasLocked   `cbor:"17,keyasint,omitempty"`
	Strayed     *Strayed     `cbor:"18,keyasint,omitempty"`
	Asked       *Asked       `cbor:"19,keyasint,omitempty"`
	Ended       *Ended       `cbor:"20,keyasint,omitempty"`
	Forgotten   *Forgotten   `cbor:"21,keyasint,omitempty"`
	Dropped     *Dropped     `cbor:"22,keyasint,omitempty"`
	Acked       *Acked       `cbor:"23,keyasint,omitempty"`
	Freed       *Freed       `cbor:"24,keyasint,omitempty"`
}

// Marshal returns the one encoding of e.
func (e Event) Marshal() ([]byte, error) {
	v := envelope{At: e.At}
	f := reflect.ValueOf(&v).Elem()
	for i := 1; i < f.NumField(); i++ {
		if e.Fact != nil && f.Field(i).Type() == reflect.TypeOf(e.Fact) && !reflect.ValueOf(e.Fact).IsNil() {
			f.Field(i).Set(reflect.ValueOf(e.Fact))
			return wire.Marshal(v)
		}
	}
	return nil, fmt.Errorf("encode event: %w: %T is no fact", ErrEvent, e.Fact)
}

// ParseEvent reads what Marshal wrote and nothing else.
func ParseEvent(b []byte) (Event, error) {
	var v envelope
	if err := wire.Unmarshal(b, &v); err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	e := Event{At: v.At}
	f := reflect.ValueOf(v)
	for i := 1; i < f.NumField(); i++ {
		if f.Field(i).IsNil() {
			continue
		}
		if e.Fact != nil {
			return Event{}, fmt.Errorf("decode event: %w: it says %T and more", ErrEvent, e.Fact)
		}
		e.Fact = f.Field(i).Interface().(Fact)
	}
	if e.Fact == nil {
		return Event{}, fmt.Errorf("decode event: %w: it says nothing", ErrEvent)
	}
	return e, nil
}

// Name returns the word for what e says, for logs: "proposed".
func (e Event) Name() string {
	if e.Fact == nil {
		return "nothing"
	}
	return lower(reflect.TypeOf(e.Fact).Elem().Name())
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
