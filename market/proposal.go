package market

import (
	"fmt"
	"slices"

	"latchkey/settle"
	"latchkey/wire"
)

// Stake is one chunk of a proposal.
type Stake struct {
	Chunk  wire.ChunkID `cbor:"1,keyasint" json:"chunk"`
	Epoch  uint32       `cbor:"2,keyasint" json:"epoch"`
	Weight uint32       `cbor:"3,keyasint" json:"weight"`
	Cert   wire.CertID  `cbor:"4,keyasint" json:"cert"`
}

// Side is what one of the two matched offers puts in.
type Side struct {
	Client       wire.VaultID `cbor:"1,keyasint" json:"client"`
	Offer        OfferID      `cbor:"2,keyasint" json:"offer"`
	Role         uint8        `cbor:"3,keyasint" json:"role"`
	Pot          uint8        `cbor:"4,keyasint" json:"pot"` // the pot that its chunks fill
	Denomination string       `cbor:"5,keyasint" json:"denomination"`
	Units        Units        `cbor:"6,keyasint" json:"units"`
	Value        Micros       `cbor:"7,keyasint" json:"value"`  // of one unit, at the rate when it was proposed
	Chunks       []Stake      `cbor:"8,keyasint" json:"chunks"` // in the agreed order: falling weight, the oldest first
	Takers       []uint8      `cbor:"9,keyasint" json:"takers"` // parties, by role and rising, to whom the contract may give of them
}

// Worth returns what the side was worth when it was proposed.
func (s Side) Worth() Micros { return Micros(s.Units) * s.Value }

// Proposal is a slice of two offers: an instance that its parties may agree on. It is never changed.
type Proposal struct {
	ID       ProposalID     `cbor:"1,keyasint" json:"id"`
	Made     int64          `cbor:"2,keyasint" json:"made"`
	Contract wire.Hash      `cbor:"3,keyasint" json:"contract"` // Market.Source has its text
	Settle   Settle         `cbor:"4,keyasint" json:"settle"`
	Escrow   wire.VaultID   `cbor:"5,keyasint" json:"escrow"`
	Terms    []int64        `cbor:"6,keyasint" json:"terms"`
	Parties  []wire.VaultID `cbor:"7,keyasint" json:"parties"` // all of the contract's
	Sides    [2]Side        `cbor:"8,keyasint" json:"sides"`   // the lower role first
	Maker    uint8          `cbor:"9,keyasint" json:"maker"`   // the side whose offer came first, and whose price counts
	Exchange bool           `cbor:"10,keyasint" json:"exchange"`
	AcceptBy int64          `cbor:"11,keyasint" json:"accept_by"` // not accepted by all parties by then: ended
	LockBy   int64          `cbor:"12,keyasint" json:"lock_by"`   // for the agreement: not locked by then: aborted by the escrow
	EndBy    int64          `cbor:"13,keyasint" json:"end_by"`    // it is settled by then, whatever happens
	Proof    Proof          `cbor:"14,keyasint" json:"proof"`
	Pace     *settle.Pace   `cbor:"15,keyasint,omitempty" json:"pace,omitempty"`
}

// Outcome says how a proposal ended.
type Outcome uint8

// The outcomes. Zero is a proposal that has not ended.
const (
	Done    Outcome = 1 // the instance is settled
	Aborted Outcome = 2 // it came to no instance, or the instance was aborted
	Lapsed  Outcome = 3 // it was not accepted in time
)

func (o Outcome) String() string { return word(o, "done", "aborted", "expired") }

// EndReason says why a proposal ended.
type EndReason uint8

// The reasons.
const (
	ContractClosed EndReason = 1 + iota // the contract came to its end
	NotAccepted                         // a party did not accept in time
	Declined                            // a party declined
	ChunkClaimed                        // the owner of a chunk claimed it
	NeverLocked                         // the escrow says that it was not locked in time
	InstanceBroken                      // the escrow aborted the instance
	StepFailed                          // a step was reported as failed: it is settled, and what was not given went back
)

func (r EndReason) String() string {
	return word(r, "the contract came to its end", "a party did not accept in time", "a party declined",
		"a chunk was claimed by its owner", "it was not locked in time", "the escrow aborted the instance", "a party reported that what it was given failed")
}

// Rest says until when the chunks of a party's side are pledged after their proposal has ended: its vault has signed an
// acceptance, and whoever has all of them could still have the agreement locked. No vault pledges a chunk twice.
type Rest struct {
	Role  uint8 `cbor:"1,keyasint" json:"role"`
	Until int64 `cbor:"2,keyasint" json:"until"` // Unix seconds of the escrow's log
}

// stage is where a live proposal stands.
type stage uint8

const (
	proposed stage = 1 // waits for acceptances
	accepted stage = 2 // waits for the escrow's word
	locked   stage = 3 // is an instance
	ended    stage = 4
)

func (s stage) String() string { return word(s, "proposed", "accepted", "locked", "ended") }

// proposal is a Proposal with what became of it.
type proposal struct {
	*Proposal
	stage       stage
	acceptances [][]byte    // by role; nil: none yet
	members     []*profile  // of the parties when it was made, by role
	offers      [2]*offer   // nil once ended
	stakes      [2][]*chunk // nil once ended
	bookings    []booking   // what it adds to exposures, until it ends
	instance    wire.InstanceID
	entry       uint64
	ask         int64 // when accepted, and while chunks of it rest: the next question to the escrow
	outcome     Outcome
	why         EndReason
	rests       []Rest // the soonest first; each waits for the escrow's word that its time has passed
	forget      int64
}

// role returns the index of a party, or −1.
func (p *Proposal) role(v wire.VaultID) int {
	for i, q := range p.Parties {
		if q == v {
			return i
		}
	}
	return -1
}

// mayHave reports whether a chunk of owner's side can end up with a client: it goes back, or to a taker.
func (p *Proposal) mayHave(owner, to wire.VaultID) bool {
	for _, s := range p.Sides {
		if s.Client == owner {
			role := p.role(to)
			return to == owner || role >= 0 && slices.Contains(s.Takers, uint8(role))
		}
	}
	return false
}

// owes returns how many notices p can still cause for each party.
func (p *proposal) owes() int {
	switch p.stage {
	case proposed:
		return 2 // all acceptances, the end
	case accepted, locked:
		return 1 // the end
	}
	return 0
}

// deadline returns when time alone does something to p, 0 if never.
func (p *proposal) deadline() int64 {
	switch p.stage {
	case proposed:
		return p.AcceptBy + 1
	case accepted:
		return p.ask
	case ended:
		if p.asks() {
			return p.ask
		}
		return p.forget
	}
	return 0
}

// asks reports whether p waits for the escrow's word.
func (p *proposal) asks() bool { return p.stage == accepted || p.stage == ended && len(p.rests) > 0 }

// lockable returns until when that is the answer to wait for.
func (p *proposal) lockable() int64 {
	if len(p.rests) > 0 {
		return p.rests[0].Until
	}
	return p.LockBy
}

func (p *proposal) unended() error {
	if p.stage == ended {
		return fmt.Errorf("proposal %v: %w: %v, %v", p.ID, ErrState, p.outcome, p.why)
	}
	return nil
}
